"""Documents that look like others: with the same words, nearly the same words, or the id of a translation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection
from hbt_bench.ranking.near_duplicates import THRESHOLD, NearDuplicates
from hbt_bench.ranking.word_table import WordTable


@dataclass(frozen=True)
class Doubles:
    """Counts of texts: `same` have the words of another text, and `near` have nearly the words of another text."""

    texts: int
    same: int
    near: int


@dataclass(frozen=True, eq=False)
class Lookalikes:
    """The lookalikes of each document, in all languages, and the queries with the same words.

    Documents are columns and queries are rows, as in the collection. For example,
    ``list(Lookalikes(collection).of(column))`` are the documents that look like a document.
    """

    collection: Collection
    threshold: float = THRESHOLD

    @cached_property
    def words(self) -> WordTable:
        """The words of the documents."""
        return WordTable.from_texts(document.text for document in self.collection.documents)

    @cached_property
    def documents(self) -> NearDuplicates:
        """The near-duplicates among the documents."""
        return NearDuplicates.from_words(self.words, self.threshold)

    @cached_property
    def queries(self) -> NearDuplicates:
        """The near-duplicates among the queries."""
        table = WordTable.from_texts(query.text for query in self.collection.queries)
        return NearDuplicates.from_words(table, self.threshold)

    def of(self, column: int) -> Iterator[tuple[int, float | None]]:
        """Yield the documents that look like a document, with their similarity, or None if the words are the same."""
        group = int(self.documents.group[column])
        yield from ((other, None) for other in self.documents.members[group] if other != column)
        for near, similarity in self.documents.near.get(group, ()):
            yield from ((other, similarity) for other in self.documents.members[near])

    def translations(self, column: int) -> Iterator[int]:
        """Yield the documents with the same id in other languages, if equal ids are translations.

        The readers of parallel data make ids such as "de-d-7". LAReQA's ids number the sentences of each language.
        """
        document = self.collection.documents[column]
        prefix = f"{document.language}-d-"
        if self.collection.parallel and document.id.startswith(prefix):
            key = document.id.removeprefix(prefix)
            others = (f"{code}-d-{key}" for code in self.collection.languages if code != document.language)
            yield from (self._columns[other] for other in others if other in self._columns)

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {document.id: column for column, document in enumerate(self.collection.documents)}

    def document_doubles(self) -> dict[str | None, Doubles]:
        """Return the doubles among the documents of each language, and under None those among all."""
        return self._doubles(self.documents, self.collection.document_blocks)

    def query_doubles(self) -> dict[str | None, Doubles]:
        """Return the doubles among the queries of each language, and under None those among all."""
        return self._doubles(self.queries, self.collection.query_blocks)

    def _doubles(self, doubles: NearDuplicates, blocks: dict[str, slice]) -> dict[str | None, Doubles]:
        counts: dict[str | None, Doubles] = {
            code: _count(doubles, doubles.group[block]) for code, block in blocks.items()
        }
        return {**counts, None: _count(doubles, doubles.group)}


def _count(doubles: NearDuplicates, groups: NDArray[np.int32]) -> Doubles:
    sizes = np.bincount(groups, minlength=len(doubles.members))
    near = np.zeros(len(sizes), bool)
    present = doubles.pairs[(sizes[doubles.pairs] > 0).all(axis=1)]
    near[present.ravel()] = True
    return Doubles(len(groups), int((sizes[groups] > 1).sum()), int(near[groups].sum()))
