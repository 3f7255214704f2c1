"""``hbt-bench bias``: show the language bias of a model."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from hbt_bench.cli import options
from hbt_bench.cli.terminal import print_table, progress_bars
from hbt_bench.errors import DataError, UsageError
from hbt_bench.identity.task_name import TaskName

if TYPE_CHECKING:
    from rich.console import Console

    from hbt_bench.data.collection import Collection
    from hbt_bench.reports.bias import BiasReport, WorstQuery
    from hbt_bench.results.ranks_file import StoredRanks
    from hbt_bench.results.store import Result
    from hbt_bench.tasks.registry import TaskRegistry

log = logging.getLogger(__name__)


@click.command("bias")
@click.argument("source", metavar="RESULT-or-MODEL")
@click.option("--task", default="xquad-r-multi", show_default=True, help="The multilingual task, if you name a model.")
@options.languages
@options.results()
@options.data_dir
@options.task_dir
@options.formats("table", "json", "md", "csv")
@options.plot
def command(
    source: str,
    task: str,
    languages: tuple[str, ...],
    results: Path,
    data_dir: Path | None,
    registry: TaskRegistry,
    style: str,
    plot: Path | None,
) -> None:
    """Show the language bias of a model: a sentence, a summary, matrices by language, the worst questions.

    RESULT is the JSON file of a multilingual task. A MODEL is looked up in the folder of results, and evaluated
    first if it is missing.

    \b
    hbt-bench bias results/MODEL/REVISION/XQuADRMultilingualRetrieval.json
    hbt-bench bias ckpt/ --task xquad-r-multi --plot bias.png
    """  # noqa: D301 -- click needs the character
    from hbt_bench.measures.bias import Bias
    from hbt_bench.reports.bias import BiasReport
    from hbt_bench.reports.render import check_plot, write_chart
    from hbt_bench.results.store import Result

    if plot:
        check_plot(plot)
    if not source.endswith(".json"):
        result = _evaluated(source, task, registry, languages, results, data_dir)
    elif Path(source).is_file():
        result = Result.read(Path(source))
    else:
        raise UsageError(f"there is no file {source}: name a result, as in results/<model>/<revision>/<Task>.json")
    if result.ranks is None or TaskName.parse(result.task).mode != "multi":
        raise UsageError(f"{result.path} is a result of {result.task}: name a result of a multilingual task")
    stored = result.stored_ranks()
    if len(stored.judgements.languages) < 2:
        raise UsageError(f"{result.path} has a single language: language bias needs two")
    collection = _texts(result.task, stored, registry, data_dir)
    report = BiasReport.from_bias(
        Bias(stored.judgements, stored.ranks), result.task, result.label, result.signature, collection
    )
    if plot:
        from hbt_bench.reports.charts import bias

        write_chart(bias(report), plot)
    if style == "table":
        show(report)
    else:
        click.echo({"json": report.json, "md": report.markdown, "csv": report.by_language().csv}[style]())


def _evaluated(
    model: str,
    task: str,
    registry: TaskRegistry,
    languages: tuple[str, ...],
    output: Path,
    data_dir: Path | None,
) -> Result:
    """Return the result of a model, and evaluate the model if the result is missing.

    A name that is neither a folder nor BM25 may be that of a result whose model is not here.
    """
    from hbt_bench.mteb.models import BM25, ModelRequest
    from hbt_bench.reports.systems import ModelResults
    from hbt_bench.results.evaluate import Evaluation
    from hbt_bench.results.store import Result

    selections = registry.select(task)
    spec = selections[0].spec
    if len(selections) != 1 or spec is None or "multi" not in selections[0].modes:
        raise UsageError(f"--task {task} is not a multilingual task: name, for example, xquad-r-multi")
    if len(spec.select(languages or None)) < 2:
        raise UsageError("language bias needs two languages: add a language to --languages")
    if not Path(model).is_dir() and model.partition("@")[0] != BM25:
        path = (
            ModelResults.find(model, output).folder
            / f"{spec.mteb_task_name('multi', spec.select(languages or None))}.json"
        )
        if path.is_file():
            return Result.read(path)
    selections = [replace(selections[0], modes=("multi",))]  # a collection or a task file selects all modes
    with progress_bars():
        return Evaluation(ModelRequest(model), selections, output, languages or None, data_dir).run()[0]


def _texts(task: str, stored: StoredRanks, registry: TaskRegistry, data_dir: Path | None) -> Collection | None:
    """Return the collection with the texts, or None if it is missing or is not that of the result."""
    name = TaskName.parse(task).mode_name
    try:
        if name not in registry.tasks:
            raise registry.unknown(name)
        collection = registry.tasks[name][0].load(stored.judgements.languages, data_dir)
    except (DataError, UsageError) as error:
        log.warning(f"the texts are left out: {error}")
        return None
    if collection.fingerprint == stored.data:
        return collection
    log.warning("the texts are left out: the data here are not those of the result")
    return None


def show(report: BiasReport) -> None:
    """Print a report to a terminal; colours only repeat the numbers."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(f"{report.model} on {report.task}", style="bold"))
    console.print(Text(report.diagnosis))
    console.print(Text(report.gap_sentence))
    print_table(report.summary())
    shares, ranks = report.matrices()
    fair = np.vstack([report.top_shares / report.pool_shares, np.ones(len(report.languages))])
    _matrix(console, shares.title, shares.header, shares.rows, fair)
    spread = report.mean_ranks / np.nanmean(report.mean_ranks)
    _matrix(console, ranks.title, ranks.header, ranks.rows, 1 / spread)
    if report.worst:
        console.print(Text(f"The {len(report.worst)} worst questions", style="bold"))
    for number, query in enumerate(report.worst, 1):
        _question(console, number, query)
    for note in report.notes:
        console.print(Text(note, style="dim"))
    console.print(Text(report.signature, style="dim"))


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
