"""``hbt-bench report``: write an HTML page on the results."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hbt_bench.cli import options
from hbt_bench.cli.terminal import progress_bars

if TYPE_CHECKING:
    from hbt_bench.tasks.registry import TaskRegistry

log = logging.getLogger(__name__)

#: Bytes of a page that is slow to send and to open.
_LARGE = 5_000_000


@click.command("report")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path("results"))
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="File of the page.",
)
@click.option("--title", default="Multilingual retrieval", show_default=True, help="Heading of the page.")
@options.names("--tasks", "NAMES", "Only these collections, as in xquad-r,mlqa-r.")
@options.names("--models", "PATTERNS", "Only models with matching names, as in 'local/*'.")
@click.option("--baseline", metavar="NAME", help="The model to compare with.  [default: the best]")
@click.option("--reported", is_flag=True, help="Add the figures that papers report, marked as reported.")
@options.cluster
@options.task_dir
@options.data_dir
def command(
    folder: Path,
    output: Path,
    title: str,
    tasks: tuple[str, ...],
    models: tuple[str, ...],
    baseline: str | None,
    reported: bool,
    cluster: str | None,
    registry: TaskRegistry,
    data_dir: Path | None,
) -> None:
    """Write an HTML page on the results in DIR (results by default); it opens without network.

    The page has a sortable leaderboard, the trade-off between the modes, rank distances, heat maps by language, the
    worst questions, the comparison with a baseline, and the signature of every number.

    \b
    hbt-bench report --output report.html
    hbt-bench report sweep/ --tasks xquad-r --baseline bm25 --output sweep.html
    """  # noqa: D301 -- click needs the character
    from hbt_bench.actions import report

    with progress_bars():
        report(
            folder,
            output,
            title=title,
            tasks=tasks,
            models=models,
            baseline=baseline,
            reported=reported,
            cluster=cluster,
            data_dir=data_dir,
            registry=registry,
        )
    click.echo(f"{output}")
    size = output.stat().st_size
    advice = "open it in a browser" if size < _LARGE else "leave models out with --models or --tasks to shrink it"
    log.info(f"{size / 1e6:.1f} MB, one file: {advice}")
