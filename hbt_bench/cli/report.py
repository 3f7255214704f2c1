"""``hbt-bench report``: write an HTML page on the results."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hbt_bench.cli import options
from hbt_bench.cli.leaderboard import readable
from hbt_bench.cli.terminal import progress_bars
from hbt_bench.errors import OutputError

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
    from hbt_bench.files import check_writable, write_text
    from hbt_bench.measures.registry import MEASURES
    from hbt_bench.reports.page import ReportRequest, results_page
    from hbt_bench.reports.render import is_page, require_charts
    from hbt_bench.reports.rows import ResultFilter

    if output.is_file() and not is_page(output.read_bytes()):
        raise OutputError(f"{output} is not a page of hbt-bench: choose another --output, or move the file away")
    require_charts("the report")
    check_writable(output.resolve().parent)
    with progress_bars():
        request = ReportRequest(ResultFilter(tasks, models), reported, baseline, data_dir, registry)
        content = request.content(readable(folder, MEASURES.in_summary()))
    text = results_page(content, title)
    write_text(output, text)
    click.echo(f"{output}")
    size = len(text.encode())
    advice = "open it in a browser" if size < _LARGE else "leave models out with --models or --tasks to shrink it"
    log.info(f"{size / 1e6:.1f} MB, one file: {advice}")
