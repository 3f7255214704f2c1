"""``hbt-bench doctor``: check the installation."""

from __future__ import annotations

from pathlib import Path

import click

from hbt_bench.cli import options
from hbt_bench.errors import HbtBenchError


@click.command("doctor")
@options.data_dir
def command(data_dir: Path | None) -> None:
    """Check versions, devices, cache, data and free disk, without a model or the network.

    Each line is a check: ✓ passed, ? warning, ✗ failed, - missing but optional. Exit with code 1 if a check failed.

    \b
    hbt-bench doctor --data-dir data/
    """  # noqa: D301 -- click needs the character
    from hbt_bench.checks.installation import check_all

    failed = []
    for check in check_all(data_dir):
        click.echo(f" {check.mark}  {check.name:22} {check.message}")
        failed += [check.name] if check.status == "failed" else []
    if failed:
        raise HbtBenchError(f"{', '.join(failed)}: fix the checks marked ✗ and run `hbt-bench doctor` again")
