"""``hbt-bench export``: lay results out for other tools."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from hbt_bench.cli import options
from hbt_bench.errors import UsageError
from hbt_bench.tasks.registry import TaskRegistry

log = logging.getLogger(__name__)


@click.command("export")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path("results"))
@click.option(
    "--for",
    "target",
    type=click.Choice(["mteb-results", "mteb-task", "trec", "queries", "hub"]),
    metavar="[mteb-results|mteb-task|trec|queries]",
    required=True,
    help="The layout: that of the repository embeddings-benchmark/results, TREC runs, or a table of queries.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Folder of the copies, or the table.  [default: export/LAYOUT; queries.parquet]",
)
@click.option("--depth", type=click.IntRange(min=1), help="Documents of each query in TREC runs.  [default: all kept]")
@click.option("--tasks", metavar="NAMES", help="Tasks of the table of queries.  [default: all]")
@click.option("--measures", metavar="NAMES", help="Measures of the table of queries.  [default: those of results]")
@click.option("--hub", metavar="ORG/NAME", help="Repository of the hub for the data of a task.")
@click.option("--revision", default="main", show_default=True, help="Commit of the uploaded data of a task.")
@options.data_dir
@options.task_dir
def command(
    folder: Path,
    target: str,
    output: Path | None,
    depth: int | None,
    tasks: str | None,
    measures: str | None,
    hub: str | None,
    revision: str,
    data_dir: Path | None,
    registry: TaskRegistry,
) -> None:
    """Write the results in DIR (results by default) in the layout of another tool; DIR stays unchanged.

    mteb-results: copies that are read back with MTEB's loaders. If a result is incomplete, it is left out. If the
    repository would refuse a file, such as the result of a task that mteb does not have, a message on stderr names it.

    trec: the run and the qrels of each subset. Stored ranks have the best 20 documents of the pool; for more, or for
    other modes, evaluate with `run --keep-run DEPTH` first.

    queries: a row for each query and measure, as CSV or parquet.

    mteb-task: a task, named in the place of DIR, for a pull request to MTEB, with the data for the hub.

    \b
    hbt-bench export --for mteb-results results/ --output submission/
    hbt-bench export --for trec results/ --depth 20 --output runs/
    hbt-bench export --for queries results/ --measures AP,nDCG@10 --output queries.csv
    hbt-bench export --for mteb-task xquad-r-multi --hub ORG/xquad-r-multi
    """  # noqa: D301 -- click needs the character
    if target == "hub":
        raise UsageError(
            "--for hub was removed. Write the results to a Parquet file in Python: "
            f'hbt_bench.load_results("{folder}").to_parquet("results.parquet")'
        )
    if target == "queries":
        _export_queries(folder, output or Path("queries.parquet"), tasks, measures)
        return
    if tasks or measures:
        raise UsageError("--tasks and --measures are for --for queries. Leave them out.")
    output = output or Path("export") / target
    if target == "mteb-task":
        from hbt_bench.reports.mteb_task import export_task

        if hub is None:
            raise UsageError("--for mteb-task needs the repository of the data. Add --hub ORG/NAME.")
        click.echo(f"{export_task(str(folder), hub, output, data_dir, registry, revision)}")
        log.info(f"the steps of the pull request are in {output / 'PULL_REQUEST.md'}")
        return
    if hub:
        raise UsageError("--hub is for --for mteb-task. Leave it out.")
    if target == "trec":
        from hbt_bench.reports.export_trec import export_trec

        folders = export_trec(folder, output, depth)
        click.echo(f"{output}")
        log.info(f"the runs of {len(folders):,} results in {output}")
        return
    from hbt_bench.reports.export import export_mteb

    files = export_mteb(folder, output)
    click.echo(f"{output}")
    log.info(f"{len(files):,} files in {output}, read back with MTEB's loaders")


def _export_queries(folder: Path, output: Path, tasks: str | None, measures: str | None) -> None:
    from hbt_bench.files import replacing
    from hbt_bench.results.queries import load_queries

    if output.suffix not in (".parquet", ".csv"):
        raise UsageError(f"{output} ends in neither .parquet nor .csv: name such a file")
    frame = load_queries(folder, measures, tasks)
    with replacing(output) as file:
        if output.suffix == ".parquet":
            frame.to_parquet(file, index=False)
        else:
            file.write(frame.to_csv(index=False).encode())
    click.echo(f"{output}")
    log.info(f"{len(frame):,} rows")
