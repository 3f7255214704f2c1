"""``hbt-bench score``: score the rankings of any system."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hbt_bench.cli import options
from hbt_bench.cli.terminal import progress_bars, show_results

if TYPE_CHECKING:
    from hbt_bench.tasks.registry import TaskRegistry


@click.command("score")
@click.argument("files", nargs=-1, required=True, metavar="RUN...")
@click.option("--tasks", multiple=True, required=True, metavar="NAMES", help="Tasks of a collection, with commas.")
@click.option("--name", help="Name of the system in the results, as in me/colbert.")
@options.languages
@options.task_dir
@options.results("--output")
@options.data_dir
@options.formats("table", "json")
@click.option("--depth", type=click.IntRange(min=1), help="Documents kept of each ranking.  [default: all]")
@click.option(
    "--order", type=click.Choice(["score", "rank"]), help="Column that ranks.  [default: score, if the ranks agree]"
)
@click.option(
    "--query-ids", default="{id}", metavar="PATTERN", help="Form of the run's query ids, as in q-{id}.  [default: {id}]"
)
@click.option("--document-ids", default="{id}", metavar="PATTERN", help="Form of the document ids.  [default: {id}]")
@click.option(
    "--missing",
    type=click.Choice(["refuse", "empty"]),
    default="refuse",
    show_default=True,
    help="Queries without a ranking: an error, or nothing was retrieved.",
)
@click.option("--verify", is_flag=True, help="Compute the measures with trec_eval, too, and refuse a difference.")
@click.option("--overwrite", is_flag=True, help="Repeat finished work.")
def command(
    files: tuple[str, ...],
    tasks: tuple[str, ...],
    name: str | None,
    languages: tuple[str, ...],
    registry: TaskRegistry,
    output: Path,
    data_dir: Path | None,
    style: str,
    overwrite: bool,
    **rules: Any,
) -> None:
    """Score RUN, the rankings of any system, and write results as `run` does.

    RUN is a TREC run, JSON of ranx, pytrec_eval or MTEB's prediction_folder, or parquet; .gz may follow. If you have
    a file for each subset or mode, name it run.en-de.trec, or state the subset or mode as in multi=run.trec.

    A run is cut: measures that depend on documents below its depth are left out, and their limits are shown.

    \b
    hbt-bench score run.trec --tasks xquad-r-multi --name me/colbert
    hbt-bench score multi=a.json mono=b.json cross=c.json --tasks xquad-r --name me/splade
    hbt-bench score run.parquet --tasks xquad-r-multi --name me/rrf --document-ids 'xquad/{id}' --verify
    """  # noqa: D301 -- click needs the character
    from hbt_bench.mteb.run_model import RunRules
    from hbt_bench.reports.table import number
    from hbt_bench.results.runs import score_selections

    selections = registry.select(tasks)
    if languages:
        selections = [
            replace(selection, spec=selection.spec.narrowed(languages)) if selection.spec else selection
            for selection in selections
        ]
    with progress_bars():
        results = score_selections(files, selections, output, name, RunRules(**rules), None, data_dir, overwrite)
    if style == "json":
        entries = [{**result.as_json(), "depth": result.depth, "limits": result.limits} for result in results]
        click.echo(json.dumps({"results": entries}, ensure_ascii=False))
        return
    show_results(results)
    for result in results:
        for measure, ends in result.limits.items():
            low, high = (number(end, measure) for end in ends)
            click.echo(f"{result.task}: {measure} is between {low} and {high}: the run was cut at {result.depth:,}")
