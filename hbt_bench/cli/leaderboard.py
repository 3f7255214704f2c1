"""``hbt-bench leaderboard``: compare the models in a folder of results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from hbt_bench.cli import options
from hbt_bench.errors import OutputError
from hbt_bench.reporting import results
from hbt_bench.reporting.leaderboard import Leaderboard


@click.command("leaderboard")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("results"))
@options.formats("table", "md", "csv", "json")
@click.option("--reported", is_flag=True, help="Add the figures that papers report, marked as reported.")
def command(folder: Path, style: str, reported: bool) -> None:
    """Compare the models in FOLDER (results by default): one row a model, the three modes and rank distance."""
    report(folder, style, reported)


def report(folder: Path, style: str, reported: bool = False) -> None:
    """Write the leaderboard of a folder to stdout."""
    board = Leaderboard.of(_readable(folder), reported)
    if not board.rows:
        raise OutputError(f"there are no results of multilingual collections in {folder}: run `hbt-bench run` first")
    if style == "table":
        _show(board)
    else:
        click.echo(
            board.json() if style == "json" else {"md": board.table().markdown, "csv": board.table().csv}[style]()
        )


def _show(board: Leaderboard) -> None:
    from rich.console import Console

    console = Console()
    for table in board.tables():
        console.print(table.rich())
    if board.incomplete:
        click.echo("* mean over fewer languages than the task has: the run is not complete")
    if any(not row.data for row in board.rows):
        click.echo("reported: figures of arXiv 2408.10536 and arXiv 2004.05484, not measured here")


def _readable(folder: Path) -> Iterator[results.Result]:
    for found in results.read_all(folder):
        if isinstance(found, OutputError):
            click.echo(f"hbt-bench: left out: {found}", err=True)
        else:
            yield found
