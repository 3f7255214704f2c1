"""``hbt-bench leaderboard``: compare the models in a folder of results."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from hbt_bench.actions import leaderboard
from hbt_bench.actions import plot as chart
from hbt_bench.cli import options
from hbt_bench.cli.terminal import print_table, progress_bars
from hbt_bench.errors import UsageError
from hbt_bench.reports.columns import Column
from hbt_bench.reports.leaderboard import Leaderboard
from hbt_bench.reports.table import Table, render

log = logging.getLogger(__name__)

#: Names of models keep this many characters in a narrow terminal.
_NAME_WIDTH = 20


@click.command("leaderboard")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("results"))
@options.formats("table", "md", "csv", "json", "latex", "html")
@click.option("--reported", is_flag=True, help="Add the figures that papers report, marked as reported.")
@options.names(
    "--columns",
    "NAMES",
    "Columns: model, multi:AP, R@1 (in each mode), bias, worst, speed, ...; or all.",
)
@click.option(
    "--sort",
    metavar="NAME",
    help="The column to sort and rank by. A measure without a mode is read from the multilingual mode, else from the "
    "cross-lingual or monolingual mode. A column without a test (model, parameters) only sorts.  [default: AP]",
)
@options.names("--tasks", "NAMES", "Only these collections or modes, as in xquad-r,mlqa-r-multi.")
@options.names("--languages", "CODES", "Only these languages; the multilingual pool keeps all.")
@options.names("--models", "PATTERNS", "Only models with matching names, as in 'local/*'.")
@options.cluster
@click.option("--intervals/--no-intervals", default=True, show_default=True, help="Show 95 % intervals and ranks.")
@click.option(
    "--update",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    multiple=True,
    help="Write the table into this Markdown file, and print nothing.",
)
@options.plot
def command(
    folder: Path,
    style: str,
    reported: bool,
    columns: tuple[str, ...],
    sort: str | None,
    tasks: tuple[str, ...],
    languages: tuple[str, ...],
    models: tuple[str, ...],
    cluster: str | None,
    intervals: bool,
    update: tuple[Path, ...],
    plot: Path | None,
) -> None:
    """Compare the models in FOLDER (results by default): a row for each model, best first.

    Models share a rank if the test by clusters of questions finds no significant difference from the best of that
    rank. If the terminal is too narrow for all columns, the last columns are left out. With --update, the table
    replaces the lines between <!-- leaderboard --> and <!-- /leaderboard -->.

    \b
    hbt-bench leaderboard --reported --sort rank_distance
    hbt-bench leaderboard --columns model,AP,multi:nDCG@10 --format latex
    hbt-bench leaderboard --update README.md
    hbt-bench leaderboard --tasks xquad-r --models '*e5*,bm25' --plot modes.svg
    """  # noqa: D301 -- click needs the character
    if update and style not in ("table", "md"):
        raise UsageError(
            f"--update writes Markdown, not {style}: leave --format out, or print the table without --update"
        )
    with progress_bars(), _no_collection():
        board = leaderboard(
            folder,
            tasks=tasks,
            models=models,
            languages=languages,
            columns=columns,
            reported=reported,
            sort=sort,
            intervals=intervals,
            cluster=cluster,
        )
    chosen = board.columns(columns)
    if plot:
        from hbt_bench.reports.render import check_plot, write_chart

        check_plot(plot)
        write_chart(chart(board), plot)
        log.info(f"wrote {plot}")
    if update:
        from hbt_bench.reports.card import update_block

        text = render(board.tables(chosen), "md", board.legend)
        for path in update:
            update_block(path, "leaderboard", text)
            click.echo(f"{path}")
    elif style == "table":
        _show(board, chosen, bool(columns))
    else:
        click.echo(render(board.tables(chosen), style, board.legend))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Pause the garbage collector: thousands of results stay to the end, and a search for cycles costs a quarter."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # else it searches them now and when the program ends
        gc.enable()


def _show(board: Leaderboard, chosen: list[Column], keep_all: bool) -> None:
    """Print the tables. If `keep_all` is false, leave out columns that do not fit the terminal, from the right."""
    from rich.console import Console

    console = Console(highlight=False)
    left_out: list[str] = []
    for table in board.tables(chosen):
        count = len(chosen) if keep_all else _fitting(table, console.width)
        if count < len(table.header):  # a board of reported scores may have fewer columns
            left_out = left_out or [column.name for column in chosen[count:]]
        shown = replace(table, header=table.header[:count], rows=[row[:count] for row in table.rows])
        print_table(shown, _NAME_WIDTH)
    for line in board.legend:
        console.print(line, markup=False)
    if left_out:
        console.print(f"No room for {', '.join(left_out)}. Use a wider terminal, --columns or --format csv.")


def _fitting(table: Table, width: int) -> int:
    """Return the number of columns that fit the terminal if names are folded, at least two."""
    widths = table.widths(0, _NAME_WIDTH)
    fitting = [count for count in range(2, len(widths) + 1) if sum(widths[:count]) + 2 * (count - 1) <= width]
    return max(fitting, default=2)
