"""Measures of one subset, from the ranks of its relevant documents alone.

Written as the field writes them: ``AP``, ``nDCG@10``, ``RR@10``, ``R@1``, ``P@1``, ``Success@1`` (trec_eval's
definitions; nDCG's gain is the grade itself). `mteb_scores` gives the same numbers under MTEB's keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.ranking.ranks import Confidences, Ranks
from hbt_bench.ranking.subsets import SubsetQrels

#: MTEB's cut-offs.
CUTOFFS = (1, 3, 5, 10, 20, 100, 1000)
#: Abstention rates of nAUC: 0, 0.1, ..., 0.9.
_ABSTENTION = np.linspace(0, 1, 11)[:-1]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ranking:
    """The relevant documents of each query of a subset, best rank first.

    `ranks`, `grades`, `owner` (pairs,): rank from 1, relevance level, and position of the query; sorted by owner,
    then rank. `queries` is the number of queries, `parallel` whether the documents are translations.
    Every property and method returns one value a query, (queries,).
    """

    ranks: NDArray[np.int64]
    grades: NDArray[np.int64]
    owner: NDArray[np.int64]
    queries: int
    parallel: bool = True

    @classmethod
    def of(cls, judgements: TextlessCollection, ranks: Ranks, judged: SubsetQrels) -> Ranking:
        """The rankings of one subset: ranks in the pool for the multilingual mode, else in the block."""
        values = (ranks.pool if judged.subset.documents is None else ranks.block)[judged.pairs]
        order = np.lexsort((values, judged.owner))
        return cls(
            values[order].astype(np.int64),
            judgements.qrels.grades[judged.pairs][order].astype(np.int64),
            judged.owner[order],
            len(judged.rows),
            judgements.parallel,
        )

    @cached_property
    def relevant(self) -> NDArray[np.int64]:
        """The number of relevant documents."""
        return np.bincount(self.owner, minlength=self.queries)

    @cached_property
    def _first(self) -> NDArray[np.int64]:
        return np.cumsum(self.relevant) - self.relevant

    @cached_property
    def _found(self) -> NDArray[np.int64]:
        """How many relevant documents are ranked at or above each pair."""
        return np.arange(len(self.ranks)) - self._first[self.owner] + 1

    def _sum(self, values: NDArray[np.float64]) -> Array:
        return np.bincount(self.owner, weights=values, minlength=self.queries).astype(np.float64)

    def average_precision(self, cutoff: int | None = None, *, capped: bool = False) -> Array:
        """AP over the whole ranking, or cut after `cutoff` (MTEB's ``map_at_k``).

        The divisor is |relevant|, or min(|relevant|, cutoff) if `capped`, as in XTREME-R's mAP@20 on LAReQA.
        """
        inside = np.ones(len(self.ranks), bool) if cutoff is None else self.ranks <= cutoff
        divisor = np.minimum(self.relevant, cutoff) if capped and cutoff else self.relevant
        return np.divide(self._sum(inside * self._found / self.ranks), divisor)

    def retrieved(self, cutoff: int) -> NDArray[np.int64]:
        """The number of relevant documents in the top `cutoff`."""
        return np.bincount(self.owner[self.ranks <= cutoff], minlength=self.queries)

    def precision(self, cutoff: int) -> Array:
        """P@cutoff."""
        return self.retrieved(cutoff) / cutoff

    def recall(self, cutoff: int) -> Array:
        """R@cutoff."""
        return self.retrieved(cutoff) / self.relevant

    def success(self, cutoff: int) -> Array:
        """1 where a relevant document is in the top `cutoff`: the hit rate."""
        return (self.ranks[self._first] <= cutoff).astype(np.float64)

    def reciprocal_rank(self, cutoff: int | None = None) -> Array:
        """RR of the first relevant document, 0 when it is below `cutoff`."""
        best = self.ranks[self._first]
        return np.where(True if cutoff is None else best <= cutoff, 1 / best, 0.0)

    def ndcg(self, cutoff: int) -> Array:
        """nDCG@cutoff with the grade as gain and log2(rank + 1) as discount."""
        gain = self._sum((self.ranks <= cutoff) * self.grades / np.log2(self.ranks + 1))
        ideal_order = np.lexsort((-self.grades, self.owner))
        inside = self._found <= cutoff
        ideal = self._sum(inside * self.grades[ideal_order] / np.log2(self._found + 1))
        return np.divide(gain, ideal)

    def span(self) -> Array:
        """The rank of the last relevant document minus that of the first: rank distance (arXiv 2408.10536).

        NaN for a query with one relevant document, which has no distance, and for all where the documents are no
        translations of one another.
        """
        last = self._first + self.relevant - 1
        return np.where(self.parallel & (self.relevant > 1), self.ranks[last] - self.ranks[self._first], np.nan)


def own_scores(ranking: Ranking, multilingual: bool) -> dict[str, float]:
    """The measures that hbt-bench adds to MTEB's, as means over the queries of a subset."""
    scores = {
        "AP": ranking.average_precision(),
        "RR": ranking.reciprocal_rank(),
        "nDCG@10": ranking.ndcg(10),
        "R@1": ranking.recall(1),
        "R@10": ranking.recall(10),
        "R@100": ranking.recall(100),
    }
    if multilingual and ranking.parallel and (ranking.relevant > 1).any():
        scores["rank_distance"] = ranking.span()
    return {measure: float(np.nanmean(values)) for measure, values in scores.items()}


def mteb_scores(
    ranking: Ranking, judged: SubsetQrels, confidences: Confidences | None, judgements: TextlessCollection
) -> dict[str, float]:
    """Every key of MTEB's retrieval scores with MTEB's value, as of mteb 2.26.5; nAUC only with `confidences`."""
    values: dict[str, Array] = {}
    for name, measure in (
        ("ndcg", ranking.ndcg),
        ("map", ranking.average_precision),
        ("recall", ranking.recall),
        ("precision", ranking.precision),
        ("mrr", ranking.reciprocal_rank),
    ):
        values |= {f"{name}_at_{cutoff}": measure(cutoff) for cutoff in CUTOFFS}
    scores = {key: float(value.mean()) for key, value in values.items()}
    scores |= {f"hit_rate_at_{cutoff}": float(ranking.success(cutoff).mean()) for cutoff in CUTOFFS}
    scores["accuracy"] = scores["recall_at_1"]
    if confidences is not None:
        place = len(judgements.languages)
        if judged.subset.documents is not None:
            place = judgements.languages.index(judged.subset.documents)
        levels = (confidences.highest, confidences.spread, confidences.margin)
        areas = _nauc(np.stack([level[judged.rows, place] for level in levels]), np.stack(list(values.values())))
        for key, row in zip(values, areas, strict=True):
            for confidence, area in zip(("max", "std", "diff1"), row, strict=True):
                scores[f"nauc_{key}_{confidence}"] = float(area)
    return scores


def _nauc(confidences: Array, values: Array) -> Array:
    """Normalised area under the abstention curve (arXiv 2402.12997), shape (measures, confidences).

    `confidences` (confidences, queries), `values` (measures, queries). NaN where a measure is the same for all
    queries, as no abstention can then change it. Written in the order of operations that MTEB uses, since the
    normaliser is a difference of nearly equal numbers when a measure hardly varies. NaN also for a confidence that
    is none (the spread of infinite scores): a sort would take it for the highest.
    """
    best = np.sort(values, axis=1)
    oracle = _abstention_curves(best, best)
    oracle_area = np.trapezoid(oracle, _ABSTENTION, axis=1)
    flat_area = oracle[:, 0] * (_ABSTENTION[-1] - _ABSTENTION[0])
    orders = [np.argsort(confidence, stable=True) for confidence in confidences]
    curves = [
        _abstention_curves(confidence[order], values[:, order])
        for confidence, order in zip(confidences, orders, strict=True)
    ]
    areas = np.stack([np.trapezoid(curve, _ABSTENTION, axis=1) for curve in curves], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        normalised = (areas - flat_area[:, None]) / (oracle_area - flat_area)[:, None]
    unknown = (oracle_area == flat_area)[:, None] | np.isnan(confidences).any(axis=1)
    return np.where(unknown, np.nan, normalised)


def _abstention_curves(confidences: Array, values: Array) -> Array:
    """Mean of each measure over the queries kept at every abstention rate, shape (measures, rates).

    `values` (measures, queries) by rising confidence; `confidences` one row for each measure, or one for all. Queries
    of equal confidence share their mean, which is the expectation over all orders of the tie.
    """
    first = np.ones(values.shape, dtype=bool)  # of its tie
    first[:, 1:] = confidences[..., 1:] != confidences[..., :-1]
    start = np.flatnonzero(first)
    size = np.diff(np.append(start, values.size))
    shared = np.repeat(np.add.reduceat(values.ravel(), start) / size, size).reshape(values.shape)
    queries = values.shape[1]
    dropped = [min(round(rate * queries), queries - 1) for rate in _ABSTENTION]
    return np.stack([shared[:, count:].mean(axis=1) for count in dropped], axis=1)
