"""``hbt-bench report``: write an HTML page on the results."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from hbt_bench.cli import options
from hbt_bench.cli.terminal import progress_bars

log = logging.getLogger(__name__)

#: Bytes of a page that is slow to send and to open.
_LARGE = 5_000_000


def page_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for the content of a page to a command, which receives those of `hbt_bench.actions.report`."""
    for option in (
        options.data_dir,
        options.task_dir,
        options.cluster,
        click.option("--reported", is_flag=True, help="Add the figures that papers report, marked as reported."),
        click.option("--baseline", metavar="NAME", help="The model to compare with.  [default: the best]"),
        options.names("--models", "PATTERNS", "Only models with matching names, as in 'local/*'."),
        options.names("--tasks", "NAMES", "Only these collections, as in xquad-r,mlqa-r."),
        click.option("--title", default="Multilingual retrieval", show_default=True, help="Heading of the page."),
    ):
        command = option(command)
    return command


@click.command("report")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path("results"))
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="File of the page.",
)
@page_options
def command(folder: Path, output: Path, **shown: Any) -> None:
    """Write an HTML page on the results in DIR (results by default); it opens without network.

    The page has a sortable leaderboard, the trade-off between the modes, rank distances, heat maps by language, the
    worst questions, the comparison with a baseline, and the signature of every number.

    \b
    hbt-bench report --output report.html
    hbt-bench report sweep/ --tasks xquad-r --baseline bm25 --output sweep.html
    """  # noqa: D301 -- click needs the character
    from hbt_bench.actions import report

    with progress_bars():
        report(folder, output, **shown)
    click.echo(f"{output}")
    size = output.stat().st_size
    advice = "open it in a browser" if size < _LARGE else "leave models out with --models or --tasks to shrink it"
    log.info(f"{size / 1e6:.1f} MB, one file: {advice}")
