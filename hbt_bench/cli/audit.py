"""The work of ``hbt-bench tasks audit``."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import click

from hbt_bench.checks.audit import Audit, known_answers, read_answers
from hbt_bench.cli.terminal import print_table, progress_bars
from hbt_bench.errors import UsageError
from hbt_bench.files import check_writable
from hbt_bench.ranking.near_duplicates import THRESHOLD
from hbt_bench.reports.audit import audit_tables, audit_values
from hbt_bench.tasks.registry import Selection
from hbt_bench.tasks.task import TaskSpec

log = logging.getLogger(__name__)


def print_audits(
    selections: Sequence[Selection],
    threshold: float | None,
    answers: Path | None,
    output: Path | None,
    style: str,
    languages: Sequence[str],
    data_dir: Path | None,
) -> None:
    """Audit each collection and print its tables. Raises `UsageError` for options that need a single collection."""
    specs = _specs(selections)
    if len(specs) > 1 and (answers or output):
        raise UsageError(f"--answers and --output are for a single collection, but the tasks name {len(specs)}")
    if output:
        check_writable(output.absolute().parent)
    values = []
    for selection, spec in specs:
        collection = spec.load(languages or None, data_dir)
        known = (
            read_answers(answers, {query.id for query in collection.queries})
            if answers
            else known_answers(spec, collection.languages, data_dir)
        )
        audit = Audit(collection, known, THRESHOLD if threshold is None else threshold)
        with progress_bars():
            candidates = audit.unjudged
        name = spec.narrowed(languages).name if languages else spec.name
        if style == "json":
            values.append(audit_values(name, audit, selection.modes))
        else:
            _print_tables(name, audit, selection, style)
        if known is None:
            log.info(f"{name}: the data have no answers to look for; name a file with --answers")
        if output:
            audit.write(output)
            log.info(f"wrote {len(candidates):,} candidates to {output}")
    if style == "json":
        click.echo(json.dumps(values, ensure_ascii=False, indent=2))


def _specs(selections: Sequence[Selection]) -> list[tuple[Selection, TaskSpec]]:
    specs = [(selection, selection.spec) for selection in selections if selection.spec]
    stock = [selection.stock for selection in selections if not selection.spec]
    if stock:
        message = f"{', '.join(stock)} of MTEB cannot be audited: write a task file with a source of the kind mteb"
        if not specs:
            raise UsageError(message)
        log.warning(message)
    return specs


def _print_tables(name: str, audit: Audit, selection: Selection, style: str) -> None:
    tables = audit_tables(name, audit, selection.modes)
    if style == "md":
        click.echo("\n\n".join(f"{table.title}\n\n{table.markdown()}".strip() for table in tables) + "\n")
        return
    for table in tables:
        print_table(table, name_width=44)
