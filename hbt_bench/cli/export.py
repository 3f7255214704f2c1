"""``hbt-bench export``: lay results out for other tools."""

from __future__ import annotations

import logging
from pathlib import Path

import click

log = logging.getLogger(__name__)

_FOR = {"mteb-results": Path("export/mteb-results"), "hub": Path("export/hub")}


@click.command("export")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path("results"))
@click.option("--for", "target", type=click.Choice(list(_FOR)), required=True, help="The layout.")
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), help="[default: export/mteb-results or hub]"
)
def command(folder: Path, target: str, output: Path | None) -> None:
    """Copy the results in DIR (results by default) into the layout of another tool; DIR stays unchanged.

    mteb-results is the layout of the repository embeddings-benchmark/results, read back with MTEB's loaders. hub is a
    folder to upload as a data set. Incomplete results are left out. Messages on stderr list the files that the
    repository would refuse, such as results of a task that mteb does not have.

    \b
    hbt-bench export --for mteb-results results/ --output submission/
    hbt-bench export --for hub --output my-results/
    """  # noqa: D301 -- click needs the character
    from hbt_bench.reports import export

    output = output or _FOR[target]
    exported = (export.export_mteb if target == "mteb-results" else export.export_hub)(folder, output)
    for note in exported.notes:
        log.warning(note)
    click.echo(f"{output}")
    checked = ", read back with MTEB's loaders" if target == "mteb-results" else ""
    log.info(f"{len(exported.files):,} files in {output}{checked}")
