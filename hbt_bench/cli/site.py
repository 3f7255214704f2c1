"""``hbt-bench site``: write a static site on the results."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from hbt_bench.cli.report import page_options
from hbt_bench.cli.terminal import progress_bars

log = logging.getLogger(__name__)


@click.command("site")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path("results"))
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("public"),
    show_default=True,
    help="Folder of the site: new, empty, or with an earlier site.",
)
@page_options
def command(folder: Path, output: Path, **shown: Any) -> None:
    """Write the report on the results in DIR (results by default) as a static site.

    The site has a page with all leaderboards, a page for each collection and for each model, the ranks of every
    question, and each leaderboard as CSV. All links are relative, so the folder opens from a disk or from GitHub Pages.

    \b
    hbt-bench site results/ --output public/
    """  # noqa: D301 -- click needs the character
    from hbt_bench.actions import site

    with progress_bars():
        index = site(folder, output, **shown)
    click.echo(f"{index}")
    files = [path for path in output.rglob("*") if path.is_file()]
    log.info(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB")
