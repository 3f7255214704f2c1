"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from hbt_bench.tasks.registry import parse_names

#: What a click option is, to the function of a command.
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

data_dir = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder that has the data files already; nothing is downloaded. [env: HBT_BENCH_DATA]",
)


def languages() -> Decorator:
    """``--languages en,de``, several times or with commas."""
    return click.option(
        "--languages",
        multiple=True,
        metavar="CODES",
        callback=lambda context, option, value: parse_names(value) or None,
        help="Only these languages, as in en,de,zh; the multilingual pool shrinks with them.",
    )


def formats(*names: str) -> Decorator:
    """``--format``, the first name being the default."""
    return click.option(
        "--format", "style", type=click.Choice(names), default=names[0], show_default=True, help="What stdout gets."
    )
