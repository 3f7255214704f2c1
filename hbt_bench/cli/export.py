"""``hbt-bench export``: lay results out for other tools."""

from __future__ import annotations

from pathlib import Path

import click

from hbt_bench.cli import options
from hbt_bench.errors import UsageError
from hbt_bench.tasks.registry import TaskRegistry


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
@click.option(
    "--tasks", metavar="NAMES", callback=options.not_empty, help="Tasks of the table of queries.  [default: all]"
)
@click.option(
    "--measures",
    metavar="NAMES",
    callback=options.not_empty,
    help="Measures of the table of queries.  [default: those of results]",
)
@options.cluster
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
    cluster: str | None,
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

    queries: a row for each query and measure, as CSV or parquet, with the clusters of --cluster.

    mteb-task: a task, named in the place of DIR, for a pull request to MTEB, with the data for the hub.

    \b
    hbt-bench export --for mteb-results results/ --output submission/
    hbt-bench export --for trec results/ --depth 20 --output runs/
    hbt-bench export --for queries results/ --measures AP,nDCG@10 --output queries.csv
    hbt-bench export --for mteb-task xquad-r-multi --hub ORG/xquad-r-multi
    """  # noqa: D301 -- click needs the character
    from hbt_bench.actions import export

    if target == "hub":
        raise UsageError(
            "--for hub was removed. Write the results to a Parquet file in Python: "
            f'hbt_bench.load_results("{folder}").to_parquet("results.parquet")'
        )
    made = export(
        folder,
        target,  # type: ignore[arg-type]
        output,
        depth=depth,
        tasks=tasks,
        measures=measures,
        cluster=cluster,
        hub=hub,
        revision=revision,
        data_dir=data_dir,
        registry=registry,
    )
    click.echo(f"{made}")
