"""``hbt-bench bias``: show the language bias of a model."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from hbt_bench.cli import options
from hbt_bench.cli.terminal import print_table, progress_bars
from hbt_bench.languages.groups import GROUPS

if TYPE_CHECKING:
    from rich.console import Console

    from hbt_bench.reports.bias import BiasReport, View
    from hbt_bench.reports.worst_questions import WorstQuery
    from hbt_bench.tasks.registry import TaskRegistry


@click.command("bias")
@click.argument("source", metavar="RESULT-or-MODEL")
@click.option("--task", help="The multilingual task, if you name a model.  [default: xquad-r-multi]")
@options.languages
@options.results()
@options.data_dir
@options.task_dir
@options.formats("table", "json", "md", "csv")
@options.cluster
@click.option(
    "--view",
    type=click.Choice(["fair", "user"]),
    default="fair",
    show_default=True,
    help="fair: judge for all languages; user: judge for a reader of the query's language alone, who gains from bias.",
)
@click.option(
    "--by", type=click.Choice(GROUPS), help="Add scores by script, family or resource class of the languages."
)
@options.plot
def command(
    source: str,
    task: str | None,
    languages: tuple[str, ...],
    results: Path,
    data_dir: Path | None,
    registry: TaskRegistry,
    style: str,
    cluster: str | None,
    view: View,
    by: str | None,
    plot: Path | None,
) -> None:
    """Show the language bias of a model: a sentence, a summary, matrices by language, the worst questions.

    RESULT is the JSON file of a multilingual task. A MODEL is looked up in the folder of results, and evaluated
    first if it is missing.

    \b
    hbt-bench bias results/MODEL/REVISION/XQuADRMultilingualRetrieval.json
    hbt-bench bias ckpt/ --task xquad-r-multi --plot bias.png
    """  # noqa: D301 -- click needs the character
    from hbt_bench.actions import bias
    from hbt_bench.actions import plot as chart
    from hbt_bench.reports.render import check_plot, write_chart

    if plot:
        check_plot(plot)
    with progress_bars():
        report = bias(
            source,
            task,
            languages=languages,
            results=results,
            data_dir=data_dir,
            cluster=cluster,
            view=view,
            by=by,
            registry=registry,
        )
    if plot:
        write_chart(chart(report), plot)
    if style == "table":
        show(report)
    else:
        click.echo({"json": report.json, "md": report.markdown, "csv": report.by_language().csv}[style]())


def show(report: BiasReport) -> None:
    """Print a report to a terminal; colours only repeat the numbers."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(f"{report.model} on {report.task}", style="bold"))
    console.print(Text(report.diagnosis))
    console.print(Text(report.gap_sentence))
    if report.hubs is not None:
        console.print(Text(report.hubs.sentence))
    print_table(report.summary())
    for table in report.strata.tables(report.view == "user") if report.strata else ():
        print_table(table)
    shares, ranks = report.matrices()
    fair = np.vstack([report.top_shares / report.pool_shares, np.ones(len(report.languages))])
    _matrix(console, shares.title, shares.header, shares.rows, fair)
    if np.isfinite(report.mean_ranks).any():
        spread = report.mean_ranks / np.nanmean(report.mean_ranks)
        _matrix(console, ranks.title, ranks.header, ranks.rows, 1 / spread)
    if report.worst:
        console.print(Text(f"The {len(report.worst)} worst questions", style="bold"))
    for number, query in enumerate(report.worst, 1):
        _question(console, number, query)
    for note in report.notes:
        console.print(Text(note, style="dim"))
    console.print(Text(report.signature, style="dim"))
    console.print(Text(f"intervals: {report.interval_signature}", style="dim"))


def _matrix(
    console: Console, title: str, header: Iterable[str], rows: Iterable[Iterable[str]], strength: np.ndarray
) -> None:
    """Print a matrix, in parts if the terminal is narrow; green is at least twice the fair share, red at most half."""
    from rich.text import Text

    header, body = list(header), [list(row) for row in rows]
    width = max(len(cell) for row in (header[1:], *(row[1:] for row in body)) for cell in row) + 1
    first = max(len(row[0]) for row in (header, *body)) + 1
    fit = max(1, (console.width - first) // width)
    console.print(Text(title, style="bold"))
    for start in range(0, len(header) - 1, fit):
        columns = range(start, min(start + fit, len(header) - 1))
        console.print(Text(header[0].ljust(first) + "".join(header[c + 1].rjust(width) for c in columns), style="dim"))
        for row, cells in enumerate(body):
            line = Text(cells[0].ljust(first))
            for column in columns:
                colour = "bold green" if strength[row, column] >= 2 else "red" if strength[row, column] <= 0.5 else ""
                line.append(cells[column + 1].rjust(width), style=colour)
            console.print(line)
        console.print()


def _question(console: Console, number: int, query: WorstQuery) -> None:
    from rich.padding import Padding
    from rich.text import Text

    # rich breaks a line at a no-break space, which would part a language from its rank; textwrap does not
    ranks = "  ".join(f"{code}\u00a0{rank:,}" for code, rank in sorted(query.ranks.items(), key=lambda item: item[1]))
    console.print(Text(f"{number:2}. {query.text} [{query.language}]"))
    for line in (
        *textwrap.wrap(f"rank distance {query.rank_distance:,}: {ranks}", max(20, console.width - 4)),
        f"ranked first: {query.first_text[:300]} [{query.first_language}]",
    ):
        console.print(Padding(Text(line), (0, 0, 0, 4)))
