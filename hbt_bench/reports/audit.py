"""The tables of an audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from hbt_bench.checks.audit import Audit
from hbt_bench.checks.unjudged import KINDS
from hbt_bench.identity.task_name import Mode
from hbt_bench.reports.table import Table

#: The row of the strong candidates among the documents with the answer.
_STRONG = "… and as much of the question as a relevant document"


def audit_tables(name: str, audit: Audit, modes: Sequence[Mode]) -> list[Table]:
    """Return three tables: texts that occur twice, candidates for judgement, and the best AP of each mode."""
    return [_doubles(name, audit), _candidates(audit), _bounds(audit, modes)]


def audit_values(name: str, audit: Audit, modes: Sequence[Mode]) -> dict[str, Any]:
    """Return the values of the tables for JSON; "answer" is None if the answers are not known."""
    documents, queries = audit.lookalikes.document_doubles(), audit.lookalikes.query_doubles()
    counts: dict[str, Any] = {kind: asdict(audit.counts[kind]) if kind in audit.counts else None for kind in KINDS}
    counts["strong answer"] = None if audit.answers is None else asdict(audit.strong_answers)
    return {
        "collection": name,
        "data": audit.collection.fingerprint,
        "threshold": audit.threshold,
        "doubles": [
            {"language": code or "all", "documents": asdict(documents[code]), "queries": asdict(queries[code])}
            for code in documents
        ],
        "unjudged": counts,
        "best_AP": {mode: {level: asdict(bound) for level, bound in audit.bounds(mode).items()} for mode in modes},
    }


def _doubles(name: str, audit: Audit) -> Table:
    documents, queries = audit.lookalikes.document_doubles(), audit.lookalikes.query_doubles()
    header = ("language", "documents", "same words", "near", "queries", "same words", "near")
    rows = [
        [code or "all", *(f"{count:,}" for part in (documents[code], queries[code]) for count in asdict(part).values())]
        for code in documents
    ]
    return Table(header, rows, f"{name}: texts that other texts repeat")


def _candidates(audit: Audit) -> Table:
    rows = [[KINDS[kind], f"{count.documents:,}", f"{count.questions:,}"] for kind, count in audit.counts.items()]
    if audit.answers is not None:
        rows.append([_STRONG, f"{audit.strong_answers.documents:,}", f"{audit.strong_answers.questions:,}"])
    return Table(("unjudged document", "documents", "questions"), rows, "Candidates for judgement")


def _bounds(audit: Audit, modes: Sequence[Mode]) -> Table:
    rows = [
        [mode, *(cell for bound in bounds.values() for cell in (f"{bound.AP:.5f}", f"{bound.lowered:,}"))]
        for mode in modes
        if (bounds := audit.bounds(mode))
    ]
    header = ("mode", "same words", "queries", "near too", "queries", "all strong", "queries")
    return Table(header, rows, "Best AP of a system to which candidates look relevant, and queries below 1")
