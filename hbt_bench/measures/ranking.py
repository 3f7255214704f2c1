"""Retrieval measures of a subset, computed from the ranks of its relevant documents alone.

The definitions are those of trec_eval; the gain of nDCG is the grade itself. `hbt_bench.measures.registry` gives the
measures their names, such as ``nDCG@10``, and `hbt_bench.measures.scores` computes MTEB's keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.ranking.ranks import BELOW_CUT, UNRETRIEVED, Ranks
from hbt_bench.ranking.subsets import SubsetQrels

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RankingCut:
    """The ends of the rankings of a subset: their common `depth`, `lengths` (queries,), and the `candidates`."""

    depth: int
    lengths: NDArray[np.int64]
    candidates: int


@dataclass(frozen=True, eq=False)
class Ranking:
    """The relevant documents of each query of a subset, best rank first.

    `ranks`, `grades` and `owner` (pairs,) are the rank from 1, the relevance grade, and the position of the query.
    They are sorted by owner, then by rank. `queries` is the number of queries. `parallel` is true if the relevant
    documents of a question are translations of each other. `cut` has the ends of a run's rankings, None for whole
    rankings. Properties and methods return a value for each query, (queries,).

    For example, a query with relevant documents at ranks 2 and 5:

    >>> Ranking(np.array([2, 5]), np.array([1, 1]), np.array([0, 0]), 1).average_precision()
    array([0.45])
    """

    ranks: NDArray[np.int64]
    grades: NDArray[np.int64]
    owner: NDArray[np.int64]
    queries: int
    parallel: bool = True
    cut: RankingCut | None = None

    @classmethod
    def from_ranks(cls, judgements: TextlessCollection, ranks: Ranks, judged: SubsetQrels) -> Ranking:
        """Select the ranks of a subset: those in the pool for the multilingual mode, else those in the block."""
        documents, grades = judged.subset.documents, judgements.qrels.grades[judged.pairs]
        values = (ranks.pool if documents is None else ranks.block)[judged.pairs]
        cut = _ranking_cut(judgements, ranks, judged.rows, documents)
        return cls._sorted(judgements, values, grades, judged.owner, len(judged.rows), cut)

    of = from_ranks  # the old name

    @classmethod
    def in_pool(cls, judgements: TextlessCollection, ranks: Ranks) -> Ranking:
        """Select the ranks of every query of a collection in the pool of all languages."""
        qrels, queries = judgements.qrels, len(judgements.qrels.offsets) - 1
        cut = _ranking_cut(judgements, ranks, np.arange(queries), None)
        return cls._sorted(judgements, ranks.pool, qrels.grades, qrels.queries, queries, cut)

    @classmethod
    def _sorted(
        cls,
        judgements: TextlessCollection,
        ranks: NDArray[np.int32],
        grades: NDArray[np.int16],
        owner: NDArray[np.int64],
        queries: int,
        cut: RankingCut | None = None,
    ) -> Ranking:
        order = np.lexsort((ranks, owner))
        ranks_by_query, grades_by_query = ranks[order].astype(np.int64), grades[order].astype(np.int64)
        return cls(ranks_by_query, grades_by_query, owner[order], queries, judgements.parallel, cut)

    @cached_property
    def relevant(self) -> NDArray[np.int64]:
        """The number of relevant documents."""
        return np.bincount(self.owner, minlength=self.queries)

    @cached_property
    def _first(self) -> NDArray[np.int64]:
        """The index of the best-ranked pair of each query."""
        return np.cumsum(self.relevant) - self.relevant

    @cached_property
    def _hits(self) -> NDArray[np.int64]:
        """The number of relevant documents ranked at or above each pair, (pairs,)."""
        return np.arange(len(self.ranks)) - self._first[self.owner] + 1

    def _sum(self, values: NDArray[np.float64]) -> Array:
        return np.bincount(self.owner, weights=values, minlength=self.queries).astype(np.float64)

    def average_precision(self, cutoff: int | None = None, *, capped: bool = False) -> Array:
        """Return AP over the whole ranking, or over the top `cutoff` (MTEB's ``map_at_k``).

        The divisor is |relevant|, or min(|relevant|, cutoff) if `capped`, as in XTREME-R's mAP@20 on LAReQA.
        """
        counted = np.ones(len(self.ranks), bool) if cutoff is None else self.ranks <= cutoff
        divisor = np.minimum(self.relevant, cutoff) if capped and cutoff else self.relevant
        return np.divide(self._sum(counted * self._hits / self.ranks), divisor)

    def retrieved(self, cutoff: int) -> NDArray[np.int64]:
        """Return the number of relevant documents in the top `cutoff`."""
        return np.bincount(self.owner[self.ranks <= cutoff], minlength=self.queries)

    def precision(self, cutoff: int) -> Array:
        """Return P@cutoff."""
        return self.retrieved(cutoff) / cutoff

    def recall(self, cutoff: int) -> Array:
        """Return R@cutoff."""
        return self.retrieved(cutoff) / self.relevant

    def success(self, cutoff: int) -> Array:
        """Return 1 if a relevant document is in the top `cutoff`, else 0: the hit rate."""
        return (self.ranks[self._first] <= cutoff).astype(np.float64)

    def reciprocal_rank(self, cutoff: int | None = None) -> Array:
        """Return the reciprocal rank of the first relevant document, 0 if that rank is below `cutoff`."""
        best = self.ranks[self._first]
        return np.where(True if cutoff is None else best <= cutoff, 1 / best, 0.0)

    def r_precision(self) -> Array:
        """Return the precision at the number of relevant documents (trec_eval's Rprec)."""
        return self._sum((self.ranks <= self.relevant[self.owner]).astype(np.float64)) / self.relevant

    def ndcg(self, cutoff: int, *, exponential: bool = False) -> Array:
        """Return nDCG@cutoff with the grade as gain and log2(rank + 1) as discount.

        The gain of a grade g is 2^g - 1 if `exponential` (Burges et al. 2005), as in many learning-to-rank papers.
        """
        gains = self.grades.astype(np.float64)
        if exponential and len(gains):
            highest = gains.max()  # all gains are divided by 2^highest, which may be larger than a float
            gains = np.exp2(gains - highest) - np.exp2(-highest)
        gain = self._sum((self.ranks <= cutoff) * gains / np.log2(self.ranks + 1))
        ideal_order = np.lexsort((-self.grades, self.owner))
        counted = self._hits <= cutoff
        ideal = self._sum(counted * gains[ideal_order] / np.log2(self._hits + 1))
        return np.divide(gain, ideal)

    def rank_distance(self) -> Array:
        """Return the rank of the last relevant document minus that of the first (arXiv 2408.10536).

        The value is NaN for a query with a single relevant document or with a document that it cannot find, and for
        all queries if the relevant documents are not translations of each other. It lies between |relevant| - 1 and
        the size of the pool minus 1.
        """
        last = self.ranks[self._first + self.relevant - 1]
        defined = self.parallel & (self.relevant > 1) & (last < UNRETRIEVED)
        return np.where(defined, last - self.ranks[self._first], np.nan)

    span = rank_distance  # the old name

    @cached_property
    def open(self) -> NDArray[np.int64]:
        """The number of relevant documents below the cut of a run, at unknown ranks."""
        return np.bincount(self.owner[self.ranks == BELOW_CUT], minlength=self.queries)

    def known_to(self, depth: int) -> bool:
        """Return whether the relevant documents at the ranks up to `depth` are known for every query."""
        return self.cut is None or depth <= self.cut.depth or not self.open.any()

    def completed(self, last: bool) -> Ranking:
        """Return the ranking with the documents below the cut directly below it, or at the end if `last` is true.

        No measure that falls with the ranks has a higher value than in the first case, or a lower than in the second.
        """
        if self.cut is None:
            return self
        below = np.flatnonzero(self.ranks == BELOW_CUT)
        owner = self.owner[below]
        number = np.arange(len(below)) - np.searchsorted(owner, owner)
        first = self.cut.candidates - self.open[owner] if last else self.cut.lengths[owner]
        ranks = self.ranks.copy()
        ranks[below] = first + number + 1
        return replace(self, ranks=ranks, cut=None)

    def limits(self, measure: Callable[[Ranking], Array]) -> tuple[Array, Array]:
        """Return the lowest and highest value that the cut leaves open, of a measure that falls with the ranks."""
        return measure(self.completed(last=True)), measure(self.completed(last=False))

    def rank_distance_limits(self) -> tuple[Array, Array]:
        """Return the smallest and the largest rank distance that the cut leaves open."""
        high, low = self.limits(Ranking.rank_distance)
        if self.cut is None:
            return low, high
        # without any relevant document above the cut, they may be farther apart than all at the end
        widest = self.cut.candidates - self.cut.lengths - 1
        return low, np.where(np.isfinite(high) & (self.open == self.relevant), widest, high)


def ratio(numerator: Array | NDArray[np.integer], denominator: Array | NDArray[np.integer]) -> Array:
    """Return the elementwise quotient, NaN if the denominator is not above 0."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=np.greater(denominator, 0))


def _ranking_cut(
    judgements: TextlessCollection, ranks: Ranks, rows: NDArray[np.int64], documents: str | None
) -> RankingCut | None:
    """Return the ends of the rankings of the queries `rows` among the documents of a language, or of the pool."""
    if ranks.cut is None:
        return None
    block = slice(0, len(judgements.document_languages)) if documents is None else judgements.document_blocks[documents]
    column = -1 if documents is None else judgements.languages.index(documents)
    lengths = ranks.cut.lengths[rows, column].astype(np.int64)
    return RankingCut(ranks.cut.depth, lengths, block.stop - block.start)
