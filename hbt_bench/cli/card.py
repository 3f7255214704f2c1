"""``hbt-bench card``: write the evaluation block of a checkpoint's model card."""

from __future__ import annotations

from pathlib import Path

import click

from hbt_bench.cli import options


@click.command("card")
@click.argument("checkpoint", metavar="CKPT", type=click.Path(path_type=Path, exists=True, file_okay=False))
@options.results()
def command(checkpoint: Path, results: Path) -> None:
    """Write or update the evaluation block of CKPT's README.md from its results.

    The block has the hub's metadata (model-index), a table and the signatures. If the file has other text, it stays.

    \b
    hbt-bench run --model ckpt/ --tasks xquad-r
    hbt-bench card ckpt/
    """  # noqa: D301 -- click needs the character
    from hbt_bench.actions import card

    click.echo(f"{card(checkpoint, results)}")
