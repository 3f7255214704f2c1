"""The three modes as blocks of a score matrix, the names of the blocks, and the judged pairs of each block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection, TextlessCollection
from hbt_bench.data.judgements import Qrels
from hbt_bench.identity.task_name import Mode
from hbt_bench.languages import find


@dataclass(frozen=True)
class Subset:
    """Queries in a language against the documents of a language, or of all languages (`documents` is None)."""

    queries: str
    documents: str | None

    @property
    def mode(self) -> Mode:
        """The mode of this block."""
        if self.documents is None:
            return "multi"
        return "mono" if self.queries == self.documents else "cross"

    @property
    def name(self) -> str:
        """MTEB's name of the subset: ``en``, ``en-de`` (query language first) or ``en-multi``."""
        if self.documents is None:
            return f"{self.queries}-multi"
        return pair_name(self.queries, self.documents)

    @classmethod
    @lru_cache(maxsize=65536)
    def parse(cls, name: str) -> Subset | None:
        """Read the name of a subset, or return None for a name of another form, as other tasks of MTEB have.

        A code may have hyphens, but its subtags after the first are no codes, so there is a single way to read a name.
        For example, ``zh-Hant-en`` has the queries of "zh-Hant" and the documents of "en".
        """
        if find(name):
            return cls(name, name)
        words = name.split("-")
        for length in range(1, len(words)):
            queries, documents = "-".join(words[:length]), "-".join(words[length:])
            if find(queries) and (documents == "multi" or find(documents)):
                return cls(queries, None if documents == "multi" else documents)
        return None


def pair_name(queries: str, documents: str) -> str:
    """Return the name of queries in a language against documents in a language, such as ``en-de`` or ``en``."""
    return queries if queries == documents else f"{queries}-{documents}"


def subsets(languages: tuple[str, ...], mode: Mode) -> tuple[Subset, ...]:
    """Return all blocks of a mode, in the order of the languages.

    For example, ``subsets(("de", "en"), "cross")`` are the blocks ``de-en`` and ``en-de``.
    """
    if mode == "multi":
        return tuple(Subset(language, None) for language in languages)
    pairs = ((queries, documents) for queries in languages for documents in languages)
    return tuple(Subset(*pair) for pair in pairs if (pair[0] == pair[1]) == (mode == "mono"))


@dataclass(frozen=True, eq=False)
class SubsetQrels:
    """The judged pairs of a subset.

    `pairs` (pairs,) are indices into the collection's qrels, `rows` (queries,) the queries with a relevant document
    in the block, and `owner` (pairs,) the index in `rows` of each pair's query, ascending.
    """

    subset: Subset
    pairs: NDArray[np.int64]
    rows: NDArray[np.int64]
    owner: NDArray[np.int64]

    @classmethod
    def from_collection(cls, collection: TextlessCollection, subset: Subset) -> SubsetQrels:
        """Select the pairs with query and document in the block of a subset."""
        qrels = collection.qrels
        block = collection.query_blocks[subset.queries]
        pairs = np.arange(qrels.offsets[block.start], qrels.offsets[block.stop])
        if subset.documents is not None:
            columns = collection.document_blocks[subset.documents]
            documents = qrels.documents[pairs]
            pairs = pairs[(documents >= columns.start) & (documents < columns.stop)]
        rows, owner = np.unique(qrels.queries[pairs], return_inverse=True)
        return cls(subset, pairs, rows, owner)

    def judgements(self, qrels: Qrels) -> Iterator[tuple[int, int, int]]:
        """Yield the row of the query, the column of the document and the grade of each pair."""
        documents, grades = qrels.documents[self.pairs].tolist(), qrels.grades[self.pairs].tolist()
        return zip(self.rows[self.owner].tolist(), documents, grades, strict=True)

    def by_id(self, collection: Collection) -> dict[str, dict[str, int]]:
        """Return the relevant documents of each query, by id, with their grades, as pytrec_eval and MTEB take them."""
        relevant: dict[str, dict[str, int]] = {}
        for row, column, grade in self.judgements(collection.qrels):
            relevant.setdefault(collection.queries[row].id, {})[collection.documents[column].id] = grade
        return relevant


def judged_subsets(collection: TextlessCollection, mode: Mode) -> Iterator[SubsetQrels]:
    """Yield the subsets of a mode in which at least one query has a relevant document."""
    for subset in subsets(collection.languages, mode):
        judged = SubsetQrels.from_collection(collection, subset)
        if len(judged.rows):
            yield judged
