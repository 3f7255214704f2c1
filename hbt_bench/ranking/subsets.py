"""The three modes as blocks of one score matrix, and what was judged in each block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import TextlessCollection

Mode = Literal["mono", "cross", "multi"]
MODES: tuple[Mode, ...] = ("mono", "cross", "multi")


@dataclass(frozen=True)
class Subset:
    """Queries in one language against the documents of one language, or of all (`documents` is None)."""

    queries: str
    documents: str | None

    @property
    def mode(self) -> Mode:
        """Which of the three modes this block belongs to."""
        if self.documents is None:
            return "multi"
        return "mono" if self.queries == self.documents else "cross"

    @property
    def name(self) -> str:
        """MTEB's name of the subset: ``en``, ``en-de`` (query language first) or ``en-multi``."""
        if self.documents is None:
            return f"{self.queries}-multi"
        return self.queries if self.queries == self.documents else f"{self.queries}-{self.documents}"


def subsets(languages: tuple[str, ...], mode: Mode) -> tuple[Subset, ...]:
    """All blocks of `mode`, in the order of `languages`."""
    if mode == "multi":
        return tuple(Subset(language, None) for language in languages)
    pairs = ((queries, documents) for queries in languages for documents in languages)
    return tuple(Subset(*pair) for pair in pairs if (pair[0] == pair[1]) == (mode == "mono"))


@dataclass(frozen=True, eq=False)
class SubsetQrels:
    """The judged pairs of one subset.

    `pairs` (pairs,) indexes into the judgements's qrels, `rows` (queries,) are the queries that have a relevant
    document in the block, `owner` (pairs,) is the position in `rows` of each pair's query, ascending.
    """

    subset: Subset
    pairs: NDArray[np.int64]
    rows: NDArray[np.int64]
    owner: NDArray[np.int64]

    @classmethod
    def of(cls, judgements: TextlessCollection, subset: Subset) -> SubsetQrels:
        """Select the pairs whose query and document lie in the block of `subset`."""
        qrels = judgements.qrels
        block = judgements.query_blocks[subset.queries]
        pairs = np.arange(qrels.offsets[block.start], qrels.offsets[block.stop])
        if subset.documents is not None:
            columns = judgements.document_blocks[subset.documents]
            documents = qrels.documents[pairs]
            pairs = pairs[(documents >= columns.start) & (documents < columns.stop)]
        rows, owner = np.unique(qrels.queries[pairs], return_inverse=True)
        return cls(subset, pairs, rows, owner)


def judged_subsets(judgements: TextlessCollection, mode: Mode) -> Iterator[SubsetQrels]:
    """The subsets of `mode` in which at least one query has a relevant document."""
    for subset in subsets(judgements.languages, mode):
        judged = SubsetQrels.of(judgements, subset)
        if len(judged.rows):
            yield judged
