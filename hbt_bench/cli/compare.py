"""``hbt-bench compare``: which model is better, and whether that holds."""

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
@options.languages()
@options.task_dir
@click.option("--baseline", help="The model to compare with, one of MODELS; the first if not given.")
@click.option(
    "--measure",
    "measures",
    multiple=True,
    default=(",".join(MEASURES.headline()),),
    show_default=True,
    metavar="NAMES",
    help="Such as AP, RR, nDCG@10, R@1, P@5, Success@10, rank_distance.",
)
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@options.formats("table", "md", "csv", "latex", "json")
@click.option("--by-language", is_flag=True, help="Add a row for each query language, corrected among themselves.")
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
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def command(
    models: tuple[str, ...],
    tasks: tuple[str, ...],
    languages: tuple[str, ...] | None,
    registry: TaskRegistry,
    baseline: str | None,
    measures: tuple[str, ...],
    results: Path,
    style: str,
    by_language: bool,
    samples: int,
    resamples: int,
    seed: int,
) -> None:
    """Compare MODELS that were evaluated, with a paired test clustered by question.

    A model is a local folder, a hub name or bm25 as for `hbt-bench run`, NAME@REVISION, or a folder of results.
    Differences have bootstrap intervals, and p-values are corrected for the number of comparisons made.

    \b
    hbt-bench compare bm25 ckpt/ --tasks xquad-r
    hbt-bench compare a/ b/ c/ --baseline b/ --tasks xquad-r-multi --measure AP,R@10 --format latex
    """  # noqa: D301 -- click wants the character
    from hbt_bench.reports.compare import compare

    found = compare(
        models,
        tasks,
        baseline,
        measures,
        results,
        languages=languages,
        by_language=by_language,
        samples=samples,
        resamples=resamples,
        seed=seed,
        registry=registry,
    )
    if style == "table":
        _show(found)
        return
    table = found.table()
    formats = {"md": table.markdown, "latex": table.latex, "csv": found.csv, "json": found.json}
    click.echo(formats[style]())
    if style != "json":  # where the notes are among the rest
        for note in found.notes:
            log.info(note)


def _show(found: Comparison) -> None:
    for table in found.tables():
        print_table(table)
    conclude(found, found.method)


def conclude(found: Comparison, method: str) -> None:
    """Write what was found, in sentences, and how."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for sentence in found.conclusions:
        console.print(Text(f"- {sentence}"))
    for sentence in (method, *(f"Note: {note}." for note in found.notes)):
        console.print(Text(f"\n{sentence}"))
