"""The golden counts of a task definition: how many queries and documents each language must have."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import Field

from hbt_bench.data.collection import Collection
from hbt_bench.errors import DataError
from hbt_bench.yaml_file import StrictModel

log = logging.getLogger(__name__)


class Expect(StrictModel):
    """Golden counts of a collection.

    `queries` and `documents` are counts by language. `relevant` maps a number of relevant documents to the number of
    questions that have so many. Counts that are left out are not checked. If `version` is set, the counts hold for
    that version of the source and are not checked for others.
    """

    version: str | None = None
    queries: dict[str, int] = Field(default_factory=dict)
    documents: dict[str, int] = Field(default_factory=dict)
    relevant: dict[int, int] = Field(default_factory=dict)

    @classmethod
    def from_collection(cls, collection: Collection) -> Expect:
        """Count a collection."""
        return cls(
            queries=dict(sorted(Counter(query.language for query in collection.queries).items())),
            documents=dict(sorted(Counter(document.language for document in collection.documents).items())),
            relevant=dict(sorted(Counter(_relevant_by_question(collection).values()).items())),
        )

    def check(
        self, collection: Collection, languages: Sequence[str] | None = None, *, languages_independent: bool = True
    ) -> None:
        """Raise `DataError` with the first count that differs.

        If the collection was restricted to `languages`, their documents are checked, and their queries if
        `languages_independent`. A restricted question has fewer relevant documents, so those are not checked.
        """
        name = collection.name
        queries = Counter(query.language for query in collection.queries)
        documents = Counter(document.language for document in collection.documents)
        if languages is None:
            _compare(name, "queries in", queries, self.queries)
            _compare(name, "documents in", documents, self.documents)
            relevant = Counter(_relevant_by_question(collection).values())
            _compare(name, "questions whose number of relevant documents is", relevant, self.relevant)
            return
        if languages_independent:
            _compare(name, "queries in", queries, _restricted(self.queries, languages))
        _compare(name, "documents in", documents, _restricted(self.documents, languages))


@cache
def warn_of_version(name: str, expected: str | None, actual: str | None) -> None:
    """Warn once that counts hold for another version of the source."""
    hold = f"hold for version {expected} of the source" if expected else "name no version of the source"
    log.warning(f"{name}: the counts in `expect` are not checked, because they {hold}, and this is version {actual}")


def _compare(name: str, items: str, actual: Mapping[Any, int], expected: Mapping[Any, int]) -> None:
    if not expected:
        return
    for key in sorted({*actual, *expected}, key=str):
        if actual.get(key, 0) != expected.get(key, 0):
            raise DataError(
                f"{name} has {actual.get(key, 0)} {items} {key}, but its definition expects {expected.get(key, 0)}: "
                "the data or the reader changed"
            )


def _restricted(counts: Mapping[str, int], languages: Sequence[str]) -> dict[str, int]:
    return {code: counts[code] for code in languages if code in counts}


def _relevant_by_question(collection: Collection) -> dict[str, int]:
    counts = collection.qrels.offsets[1:] - collection.qrels.offsets[:-1]
    return {query.question: int(count) for query, count in zip(collection.queries, counts, strict=True)}
