"""``hbt-bench compare``: test which model is better."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hbt_bench.cli import options
from hbt_bench.cli.terminal import print_table
from hbt_bench.measures.registry import MEASURES
from hbt_bench.stats.clusters import RESAMPLES
from hbt_bench.stats.paired import RANDOMIZATIONS

if TYPE_CHECKING:
    from hbt_bench.reports.difference import Comparison
    from hbt_bench.tasks.registry import TaskRegistry

log = logging.getLogger(__name__)


@click.command("compare")
@click.argument("models", nargs=-1, required=True)
@click.option("--tasks", multiple=True, required=True, metavar="NAMES", help="Task names, with commas or repeated.")
@options.languages
@options.task_dir
@click.option("--baseline", help="The model to compare with, out of MODELS.  [default: the first]")
@click.option(
    "--measure",
    "measures",
    multiple=True,
    default=(",".join(MEASURES.headline()),),
    show_default=True,
    metavar="NAMES",
    callback=options.not_empty,
    help="Measures, for example AP, RR, nDCG@10, R@1, P@5, Success@10, rank_distance.",
)
@options.results()
@options.formats("table", "md", "csv", "latex", "json")
@click.option("--by-language", is_flag=True, help="Add a row for each query language, with its own correction.")
@options.cluster
@click.option(
    "--margin",
    type=options.POSITIVE,
    help="Also test whether models are the same within this margin. Choose it beforehand.",
)
@click.option("--power", is_flag=True, help="Add the smallest difference that these questions show, at a power of 0.8.")
@click.option(
    "--samples",
    type=click.IntRange(min=1, max=10_000_000),
    default=RANDOMIZATIONS,
    show_default=True,
    help="Random swaps of the test.",
)
@click.option(
    "--resamples",
    type=click.IntRange(min=1, max=100_000),
    default=RESAMPLES,
    show_default=True,
    help="Resamples of the intervals.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the swaps and resamples."
)
def command(
    models: tuple[str, ...],
    tasks: tuple[str, ...],
    languages: tuple[str, ...],
    registry: TaskRegistry,
    baseline: str | None,
    measures: tuple[str, ...],
    results: Path,
    style: str,
    by_language: bool,
    cluster: str | None,
    margin: float | None,
    power: bool,
    samples: int,
    resamples: int,
    seed: int,
) -> None:
    """Compare evaluated MODELS with a paired test over clusters of questions.

    A model is a local folder, a hub name or bm25 as for `hbt-bench run`, NAME@REVISION, or a folder of results.
    Differences have bootstrap intervals. Intervals and p-values are corrected for the number of comparisons.

    \b
    hbt-bench compare bm25 ckpt/ --tasks xquad-r
    hbt-bench compare a/ b/ c/ --baseline b/ --tasks xquad-r --format latex
    """  # noqa: D301 -- click needs the character
    from hbt_bench.reports.compare import compare

    comparison = compare(
        models,
        tasks,
        baseline,
        measures,
        results,
        languages=languages or None,
        by_language=by_language,
        cluster=cluster,
        margin=margin,
        power=power,
        samples=samples,
        resamples=resamples,
        seed=seed,
        registry=registry,
    )
    if style == "table":
        for table in comparison.tables():
            print_table(table)
        conclude(comparison, comparison.method())
        return
    table = comparison.table()
    formats = {"md": table.markdown, "latex": table.latex, "csv": comparison.csv, "json": comparison.json}
    click.echo(formats[style]())
    if style != "json":  # JSON has the notes already
        for note in comparison.notes:
            log.info(note)


def conclude(comparison: Comparison, method: str) -> None:
    """Print the conclusions in sentences, then the method."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for sentence in comparison.conclusions:
        console.print(Text(f"- {sentence}"))
    for sentence in (method, *(f"Note: {note}." for note in comparison.notes)):
        console.print(Text(f"\n{sentence}"))
