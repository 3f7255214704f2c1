"""``hbt-bench export``: lay results out for other tools."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from hbt_bench.errors import UsageError

log = logging.getLogger(__name__)


@click.command("export")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path("results"))
@click.option(
    "--for",
    "target",
    type=click.Choice(["mteb-results", "hub"]),
    metavar="mteb-results",
    required=True,
    help="The layout: that of the repository embeddings-benchmark/results.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("export/mteb-results"),
    show_default=True,
    help="Folder of the copies.",
)
def command(folder: Path, target: str, output: Path) -> None:
    """Copy the results in DIR (results by default) into the layout of another tool; DIR stays unchanged.

    The copies are read back with MTEB's loaders. If a result is incomplete, it is left out. If the repository would
    refuse a file, such as the result of a task that mteb does not have, a message on stderr names it.

    \b
    hbt-bench export --for mteb-results results/ --output submission/
    """  # noqa: D301 -- click needs the character
    if target == "hub":
        raise UsageError(
            "--for hub was removed. Write the results to a Parquet file in Python: "
            f'hbt_bench.load_results("{folder}").to_parquet("results.parquet")'
        )
    from hbt_bench.reports.export import export_mteb

    files = export_mteb(folder, output)
    click.echo(f"{output}")
    log.info(f"{len(files):,} files in {output}, read back with MTEB's loaders")
