"""``hbt-bench export``: results as others take them."""

from __future__ import annotations

import logging
from pathlib import Path

import click

log = logging.getLogger(__name__)

_FOR = {"mteb-results": Path("export/mteb-results"), "hub": Path("export/hub")}


@click.command("export")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path("results"))
@click.option("--for", "taker", type=click.Choice(list(_FOR)), required=True, help="Who takes them.")
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), help="[default: export/mteb-results or hub]"
)
def command(folder: Path, taker: str, output: Path | None) -> None:
    """Lay the results in DIR (results by default) out as others take them; DIR stays as it is.

    mteb-results is the layout of the repository embeddings-benchmark/results, read back with MTEB's own loaders; hub
    is a folder to upload as a data set. Incomplete results stay behind, and what the taker would not accept as it is,
    such as a task that mteb does not have, is told on stderr.

    \b
    hbt-bench export --for mteb-results results/ --output submission/
    hbt-bench export --for hub --output my-results/
    """  # noqa: D301 -- click wants the character
    from hbt_bench.reports import export

    output = output or _FOR[taker]
    found = (export.export_mteb if taker == "mteb-results" else export.export_hub)(folder, output)
    for note in found.notes:
        log.warning(note)
    click.echo(f"{output}")
    checked = ", read back with MTEB's loaders" if taker == "mteb-results" else ""
    log.info(f"{len(found.files):,} files in {output}{checked}")
