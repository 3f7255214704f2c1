"""Measures of language bias, computed from the exact ranks and from each query's top documents.

A measure has a value for each query, (queries,), NaN if it does not apply to the query. Results give the mean over
the queries of a language. In the docstrings, q is a query in language l(q), G_q are its relevant documents, L(d) is
the language of a document, and r(d) its rank in the pool of all languages.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.errors import DataError
from hbt_bench.measures import peer as equal_ranks
from hbt_bench.measures import preference
from hbt_bench.measures.ranking import Ranking, ratio
from hbt_bench.ranking.ranks import BELOW_CUT, TOP_K, Ranks

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Depth of the language shares of the top documents, and of TLR.
DEPTH = 10


@dataclass(frozen=True)
class LanguageGap:
    """The mean AP of each query language, NaN for a language without queries."""

    languages: dict[str, float]

    @property
    def best(self) -> str:
        """The language with the highest mean."""
        return max((code for code, mean in self.languages.items() if mean == mean), key=self.languages.__getitem__)

    @property
    def worst(self) -> str:
        """The language with the lowest mean."""
        return min((code for code, mean in self.languages.items() if mean == mean), key=self.languages.__getitem__)

    @property
    def gap(self) -> float:
        """Best minus worst."""
        return self.languages[self.best] - self.languages[self.worst]

    @property
    def deviation(self) -> float:
        """Standard deviation over the languages."""
        return float(np.nanstd(list(self.languages.values())))


def require_translations(judgements: TextlessCollection, measure: str) -> None:
    """Raise `DataError` if the relevant documents of a question are not translations of each other."""
    if not judgements.parallel:
        raise DataError(
            f"{measure} compares the translations of an answer, but the relevant documents of a question are not "
            "translations of each other here"
        )


@dataclass(frozen=True, eq=False)
class Bias:
    """The bias measures of a model on a collection.

    For example, ``Bias(collection, ranks).rank_distance()`` has a value for each query of the collection.
    """

    judgements: TextlessCollection
    ranks: Ranks

    def __repr__(self) -> str:
        return f"Bias({self.judgements!r})"

    @cached_property
    def ranking(self) -> Ranking:
        """The ranking of every query in the pool, for the retrieval measures."""
        return Ranking.in_pool(self.judgements, self.ranks)

    @cached_property
    def _query(self) -> Ints:
        return self.judgements.qrels.queries

    @cached_property
    def _rank(self) -> Ints:
        """The rank of each pair; a document that its query cannot find counts as the last of the pool."""
        return np.minimum(self.ranks.pool, len(self.judgements.document_languages)).astype(np.int64)

    @cached_property
    def _language(self) -> Ints:
        """L(d) of each pair."""
        return self.judgements.document_languages[self.judgements.qrels.documents].astype(np.int64)

    @cached_property
    def _same_language(self) -> NDArray[np.bool_]:
        """Whether the document of a pair is in the language of the query."""
        return np.equal(self._language, self.judgements.query_languages[self._query])

    @cached_property
    def _relevant(self) -> Ints:
        return np.diff(self.judgements.qrels.offsets)

    def _count(self, pairs: NDArray[np.bool_]) -> Ints:
        return np.bincount(self._query[pairs], minlength=len(self._relevant))

    def _extreme(self, reduce: np.ufunc) -> Ints:
        ranks: Ints = reduce.reduceat(self._rank, self.judgements.qrels.offsets[:-1])
        return ranks

    def rank_distance(self) -> Array:
        """Return max r(d) - min r(d) over G_q (arXiv 2408.10536), NaN for a query with a single relevant document.

        Raises `DataError` if the relevant documents of a question are not translations of each other.
        """
        require_translations(self.judgements, "rank distance")
        return self.ranking.rank_distance()

    def relative_rank_distance(self) -> Array:
        """Return rank distance over its mean for a random ranking, (N + 1)(n - 1)/(n + 1): 1 is random."""
        documents, relevant = len(self.judgements.document_languages), self._relevant
        expected = (documents + 1) * (relevant - 1) / (relevant + 1)
        return self.rank_distance() / expected  # NaN / 0 for a query with a single relevant document

    def max_rank(self) -> Array:
        """Return Max@R: the rank of the last relevant document, the depth at which a reader has seen all of them."""
        return self._extreme(np.maximum).astype(np.float64)

    def complete(self, depth: int) -> Array:
        """Return Complete@K: 1 if all of G_q is in the top `depth`, else 0."""
        return (self._extreme(np.maximum) <= depth).astype(np.float64)

    def target_language_recall(self, depth: int = DEPTH, among: NDArray[np.bool_] | None = None) -> Array:
        """Return TLR@k: of the relevant documents in other languages, the share in the top (arXiv 2606.18801).

        `among` (languages,) are the languages whose documents count, by default all but l(q).
        """
        counted = ~self._same_language if among is None else ~self._same_language & among[self._language]
        return ratio(self._count(counted & (self._rank <= depth)), self._count(counted))

    def same_language_first(self) -> Array:
        """Return 1 if the best-ranked relevant document is in l(q), else 0; NaN if none of G_q is in l(q).

        Its mean is the language preference rate, LPR (arXiv 2605.07249).
        """
        best = self._rank == self._extreme(np.minimum)[self._query]
        return np.where(self._count(self._same_language) > 0, self._count(best & self._same_language), np.nan)

    def lang_ndcg(self, depth: int = DEPTH) -> Array:
        """Return Lang-nDCG@k: only documents in l(q) have a gain; see `preference.lang_ndcg`."""
        return preference.lang_ndcg(self.judgements, self.ranks, depth)

    def first_document(self, kind: str) -> Array:
        """Return 1 if the first document is of a kind of `preference.FIRST`, such as ``first_right_own``, else 0."""
        return preference.first_document(self.judgements, self.ranks, kind)

    def rank_shift(self) -> Array:
        """Return MLRS-Q: how far answers rise if the question is in their language; see `preference.rank_shift`."""
        return preference.rank_shift(self.judgements, self.ranks)

    def top_shares(self, depth: int = DEPTH) -> Array:
        """Return the share of each language in the top `depth`, (queries, languages), NaN if a run is too short."""
        if self.ranks.cut is not None and self.ranks.top.shape[1] < min(depth, len(self.judgements.document_languages)):
            return np.full((len(self._relevant), len(self.judgements.languages)), np.nan)
        top = self.judgements.document_languages[self.ranks.top[:, :depth]]
        return np.stack([(top == language).mean(axis=1) for language in range(len(self.judgements.languages))], axis=1)

    @cached_property
    def pool_shares(self) -> Array:
        """The share of each language in the pool, (languages,)."""
        counts = np.bincount(self.judgements.document_languages, minlength=len(self.judgements.languages))
        shares: Array = counts / counts.sum()
        return shares

    def same_language_excess(self, depth: int = DEPTH) -> Array:
        """Return the share of l(q) in the top `depth` minus its share of the pool: 0 is no preference.

        The value is NaN if no document of the pool is in l(q), or if all documents are: no ranking can prefer l(q)
        then.
        """
        languages = self.judgements.query_languages
        fair = self.pool_shares[languages]
        excess = self.top_shares(depth)[np.arange(len(languages)), languages] - fair
        return np.where((fair > 0) & (fair < 1), excess, np.nan)

    def peer(self, depth: int = TOP_K, weights: equal_ranks.Weights | None = None) -> Array:
        """Return PEER@depth, as the package of arXiv 2405.00978 computes it; see `hbt_bench.measures.peer.peer`."""
        return equal_ranks.peer(self.judgements, self.ranks, depth, weights)

    def rank_equality(self, weights: equal_ranks.Weights | None = None) -> Array:
        """Return p of Kruskal-Wallis over the exact ranks of G_q; see `hbt_bench.measures.peer.rank_equality`."""
        return equal_ranks.rank_equality(self.judgements, self._rank, weights)

    def rank_consistency(self, depth: int = TOP_K) -> Array:
        """Return MRC@k x 100: the mean Spearman correlation with the rankings of q's versions (arXiv 2509.06195).

        The correlation is over the union of both top k. Documents outside a ranking's top k share the mean of the
        places below it.
        """
        total, partners = np.zeros(len(self._relevant)), np.zeros(len(self._relevant))
        questions, blocks = self.judgements.questions, list(self.judgements.query_blocks.values())
        for number, first in enumerate(blocks):
            for second in blocks[number + 1 :]:
                shared = np.intersect1d(questions[first], questions[second], return_indices=True)
                rows, other_rows = shared[1] + first.start, shared[2] + second.start
                correlation = top_k_spearman(self.ranks.top[rows, :depth], self.ranks.top[other_rows, :depth])
                for versions in (rows, other_rows):
                    total[versions] += correlation
                    partners[versions] += 1
        return 100 * ratio(total, partners)

    def exposure_fairness(self, depth: int = TOP_K) -> Array:
        """Return AWRF: 1 - JSD between the exposure of the languages in the top and their shares of G_q.

        The exposure of a document is 1/log2(rank + 1).
        """
        exposure = np.zeros((len(self._relevant), len(self.judgements.languages)))
        top = self.judgements.document_languages[self.ranks.top[:, :depth]]
        rows = np.arange(len(self._relevant))
        for column in range(top.shape[1]):
            exposure[rows, top[:, column]] += 1 / np.log2(column + 2)
        target = np.zeros_like(exposure)
        np.add.at(target, (self._query, self._language), 1)
        exposure /= exposure.sum(axis=1, keepdims=True)
        target /= target.sum(axis=1, keepdims=True)
        return 1 - jensen_shannon(exposure, target)

    def removal(self) -> tuple[Array, Array]:
        """Return the fall of AP when a relevant document in l(q), or in another language, is removed (LAReQA).

        The documents below the removed document move up by 1, so the ranks without it are exact. Several documents
        are removed singly and the effects averaged. The values are NaN for a query with a single relevant document.
        """
        order = np.lexsort((self._rank, self._query))
        query, rank = self._query[order], self._rank[order]
        first = self.judgements.qrels.offsets[:-1][query]
        hits = np.arange(len(order)) - first + 1
        relevant = self._relevant[query]
        # precision at each relevant document, in the whole pool and without a document above it
        precision, moved = hits / rank, (hits - 1) / np.maximum(rank - 1, 1)
        total = np.bincount(query, weights=precision)[query]
        above = _before(precision, first)
        below = np.bincount(query, weights=moved)[query] - _before(moved, first) - moved
        effect = total / relevant - (above + below) / np.maximum(relevant - 1, 1)
        same_language = self._same_language[order]
        several = self._relevant > 1
        same, other = (
            ratio(
                np.bincount(query[pairs], weights=effect[pairs], minlength=len(several)),
                several * np.bincount(query[pairs], minlength=len(several)),
            )
            for pairs in (same_language, ~same_language)
        )
        return same, other

    def gap(self) -> LanguageGap | None:
        """Return the mean AP of each query language, or None if the cut of a run leaves it open."""
        if self.ranking.open.any():
            return None
        means = self.by_language(self.ranking.average_precision())
        return LanguageGap({code: float(mean) for code, mean in zip(self.judgements.languages, means, strict=True)})

    def mean_ranks(self) -> Array:
        """Return the mean ranks, (query languages, document languages), NaN for no pairs or a pair below a cut."""
        shape = (len(self.judgements.languages),) * 2
        cell = self.judgements.query_languages[self._query] * shape[0] + self._language
        total = np.bincount(cell, np.where(self.ranks.pool == BELOW_CUT, np.nan, self._rank), shape[0] ** 2)
        return ratio(total, np.bincount(cell, minlength=shape[0] ** 2)).reshape(shape)

    def by_language(self, values: Array) -> Array:
        """Return the mean of per-query values, (queries,) or (queries, n), over the queries of each language."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # nanmean warns of a language without values, which is NaN
            return np.stack([np.nanmean(values[rows], axis=0) for rows in self.judgements.query_blocks.values()])


def _before(values: Array, first: Ints) -> Array:
    """Return the sum of the values of the same query before each value; `first` is the first index of its query."""
    ends = np.r_[0.0, np.cumsum(values)]
    before: Array = ends[:-1] - ends[first]
    return before


def top_k_spearman(tops: NDArray[np.int32], other_tops: NDArray[np.int32]) -> Array:
    """Return the Spearman correlation of two top-k lists over their union, row by row, for lists (rows, k).

    Items that only the other list has share the mean of the ranks below k. The correlation is 1 if both lists are the
    same single document.
    """
    depth = tops.shape[1]
    ranks = np.arange(1, depth + 1)
    same = tops[:, :, None] == other_tops[:, None, :]
    shared, other_shared = same.any(axis=2), same.any(axis=1)
    union = 2 * depth - shared.sum(axis=1)
    below = (depth + 1 + union) / 2
    both = np.einsum("nij,i,j->n", same, ranks, ranks)
    unshared = (~shared @ ranks) + (~other_shared @ ranks)
    mean = (union + 1) / 2
    squares = np.sum(ranks**2) + (union - depth) * below**2
    variance = squares - union * mean**2
    covariance = both + below * unshared - union * mean**2
    return np.where(variance > 0, ratio(covariance, variance), 1.0)


def jensen_shannon(shares: Array, other_shares: Array) -> Array:
    """Return the Jensen-Shannon divergence in bits of two distributions, row by row, for (rows, n) that sum to 1.

    For example, the divergence of ``[[1.0, 0.0]]`` and ``[[0.0, 1.0]]`` is 1.
    """
    middle = (shares + other_shares) / 2
    return (_divergence(shares, middle) + _divergence(other_shares, middle)) / 2


def _divergence(shares: Array, reference: Array) -> Array:
    quotient = np.divide(shares, reference, out=np.ones_like(shares), where=shares > 0)  # 0 log 0 is 0
    divergence: Array = np.sum(shares * np.log2(quotient), axis=1)
    return divergence
