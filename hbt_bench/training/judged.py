"""Passages that data sets judge: only those of a grade above 0 answer the query.

The grade is a field of the record, or of each passage: as a list next to the texts (MS MARCO's ``is_selected``), or in
the mapping of each passage.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hbt_bench.data.beir import parse_grade
from hbt_bench.data.records import first_value, is_missing, values
from hbt_bench.data.row_fields import usual_fields
from hbt_bench.errors import DataError

log = logging.getLogger(__name__)

#: Records that are searched for grades that the recipe does not name.
_SEARCHED = 10_000


def grades_at(record: object, path: str, language: str, position: str) -> list[int]:
    """Return the grades at a path: that of a record, or those of its passages; empty if there are none.

    Raises `DataError` with the position for a value that is not a grade. For example, with the path
    ``passages.is_selected``, the record ``{"passages": {"is_selected": [0, 1]}}`` has the grades 0 and 1.
    """
    members = list(values(record, path, language))
    if len(members) == 1 and isinstance(members[0], list):
        return [_grade(value, position) for value in members[0]]
    return [_grade(value, position) for value in members if "*" in path or not is_missing(value)]


def _grade(value: object, position: str) -> int:
    if is_missing(value):
        return 0
    return parse_grade(str(int(value) if isinstance(value, bool) else value), position)


def relevant(texts: Sequence[str], grades: Sequence[int], path: str, position: str) -> list[str]:
    """Return the texts with a grade above 0; a single grade is that of all texts.

    Raises `DataError` if texts and grades have different numbers. For example,
    ``relevant(["a", "b"], [0, 1], "rel", "t.csv:1")`` is ``["b"]``.
    """
    if len(grades) == 1:
        return list(texts) if grades[0] > 0 else []
    if len(texts) != len(grades):
        raise DataError(
            f"{position} has {len(texts)} passages and {len(grades)} grades in '{path}': `grade` needs a grade for each"
        )
    return [text for text, grade in zip(texts, grades, strict=True) if grade > 0]


class Unread:
    """Fields that look like grades, and that the recipe does not name."""

    def __init__(self, name: str, passages: Sequence[str], named: Sequence[str]) -> None:
        self._name, self._named = name, set(named)
        self._parents = list(dict.fromkeys(["", *(path.rpartition(".")[0] for path in passages)]))
        self._lists = [path for path in passages if "*" not in path]
        self._counts: dict[str, Counter[bool]] = defaultdict(Counter)
        self._records = 0

    def watch(self, record: object, language: str) -> None:
        """Count the grades of a record: 0, or others."""
        self._records += 1
        if self._records > _SEARCHED:
            return
        for parent in self._parents:
            for member in values(record, parent, language) if parent else [record]:
                self._count(parent, member)
        for path in self._lists:
            members = first_value(record, path, language)
            for member in members if isinstance(members, list) else ():
                self._count(f"{path}.*", member)

    def _count(self, parent: str, fields: object) -> None:
        if not isinstance(fields, Mapping):
            return
        names = [*usual_fields(fields, "grade"), *(["score"] if parent.endswith("*") and "score" in fields else [])]
        for name in names:
            for value in _numbers(fields[name]):
                self._counts[f"{parent}.{name}".lstrip(".")][value > 0] += 1

    def warn(self) -> None:
        """Log the fields that have both grades above 0 and others, which are not read."""
        for field, counts in self._counts.items():
            if len(counts) == 2 and field not in self._named:
                log.warning(
                    f"{self._name}: passages are judged in '{field}' ({counts[False]:,} with 0), and all are read as "
                    f"answers. Set `grade: {field}` to read those above 0 only"
                )


def _numbers(value: Any) -> Iterator[float]:
    """Yield the numbers in a value or a list, also those in cells of a table."""
    for member in value if isinstance(value, list) else [value]:
        try:
            yield float(member)
        except (TypeError, ValueError):
            continue
