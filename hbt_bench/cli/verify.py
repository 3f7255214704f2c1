"""``hbt-bench verify``: check results that somebody else made."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hbt_bench.cli import options
from hbt_bench.cli.terminal import progress_bars
from hbt_bench.errors import OutputError
from hbt_bench.text import one_line

if TYPE_CHECKING:
    from hbt_bench.checks.submission import Verification
    from hbt_bench.tasks.registry import TaskRegistry


@click.command("verify")
@click.argument("folders", metavar="DIR-or-FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Refuse results that cannot be verified, such as those without ranks.")
@options.names("--tasks", "NAMES", "Only these collections, as in xquad-r,mlqa-r.")
@click.option(
    "--repeat", metavar="MODEL", help="Evaluate this model (a folder or bm25) again, and compare with its results here."
)
@options.task_dir
@options.data_dir
@click.option("--json", "as_json", is_flag=True, help="Print all results and findings as JSON.")
def command(
    folders: tuple[Path, ...],
    strict: bool,
    tasks: tuple[str, ...],
    repeat: str | None,
    registry: TaskRegistry,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Check that the results in folders are what `hbt-bench run` writes; exit with code 5 if a result is refused.

    All scores, intervals and contributions are computed again from the ranks. Names, signatures, counts, data hashes
    and the model's metadata must fit each other and the task. If the data are here, they are compared, too.

    \b
    hbt-bench verify results/
    hbt-bench verify results/me__model/1a2b3c4d/ --strict --json
    hbt-bench verify results/ --repeat bm25 --tasks xquad-r
    """  # noqa: D301 -- click needs the character
    from hbt_bench.checks.submission import Verifier

    with progress_bars():
        verification = Verifier(registry, data_dir).check(folders, tasks)
        if repeat is not None:
            from hbt_bench.checks.repeat import repeated

            verification = repeated(verification, repeat, registry, data_dir)
    refused = verification.refused(strict)
    if as_json:
        click.echo(json.dumps(_values(verification, strict), ensure_ascii=False, indent=2))
    else:
        for finding in refused:
            click.echo(one_line(finding))
        is_open = Counter(one_line(each.problem) for each in verification.findings if each not in refused)
        for problem, count in is_open.items():
            click.echo(f"not verified: {count:,} x {problem}")
        click.echo(_summary(verification))
    if refused:
        files = len({finding.path for finding in refused})
        raise OutputError(f"{len(refused)} findings in {files} files: these results are refused")


def _summary(verification: Verification) -> str:
    counts = Counter(each.verified for each in verification.checked)
    data = Counter(each.data for each in verification.checked)
    return (
        f"{len(verification.checked)} results: {counts[True]} follow from their ranks, {counts[False]} do not or have "
        f"none. Data: {data['here']} compared, {data['pinned']} by their pinned hash, {data['unknown']} unknown."
    )


def _values(verification: Verification, strict: bool) -> dict[str, Any]:
    refused = verification.refused(strict)
    return {
        "refused": bool(refused),
        "results": [
            {
                "path": str(each.result.path),
                "task": each.result.task,
                "model": each.result.model,
                "revision": each.result.revision,
                "verified": each.verified,
                "data": each.data,
            }
            for each in verification.checked
        ],
        "findings": [
            {"path": str(each.path), "problem": each.problem, "advice": each.advice, "refused": each in refused}
            for each in verification.findings
        ],
    }
