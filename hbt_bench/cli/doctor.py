"""``hbt-bench doctor``: is this installation sound, and if not, what is to be done."""

from __future__ import annotations

from pathlib import Path

import click

from hbt_bench.cli import options
from hbt_bench.errors import HbtBenchError


@click.command("doctor")
@options.data_dir
def command(data_dir: Path | None) -> None:
    """Check versions, devices, cache, data and free disk; load no model and use no network.

    One line a check: ✓ sound, ? worth a look, ✗ to be mended, - not there and not needed by all. Exit code 0 when
    nothing is marked ✗, else 1.
    """
    from hbt_bench.checks.installation import check_all

    failed = []
    for check in check_all(data_dir):
        click.echo(f" {check.mark}  {check.name:22} {check.message}")
        failed += [check.name] if check.status == "failed" else []
    if failed:
        raise HbtBenchError(f"{', '.join(failed)}: mend what is marked ✗ and look again")
