"""Language bias of multilingual rankings, from the exact ranks and from each query's top documents.

Every measure is one value a query, (queries,), NaN where the measure does not apply to a query; a mean over the
queries of a language, then over the languages, is the figure. q is a query in language l(q), G_q are its relevant
documents, L(d) is the language of a document and r(d) its rank in the pool of all languages.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.errors import DataError
from hbt_bench.measures.samples import jensen_shannon, kruskal_wallis, ratio, runs, top_k_spearman
from hbt_bench.ranking.ranks import TOP_K, Ranks

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Depth of the shares of the top, of TLR and of the first part of Complete.
DEPTH = 10


@dataclass(frozen=True)
class LanguageGap:
    """The mean AP of each query language: NaN for a language without queries."""

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


@dataclass(frozen=True, eq=False)
class Bias:
    """The measures of one model on one collection."""

    judgements: TextlessCollection
    ranks: Ranks

    @cached_property
    def _query(self) -> Ints:
        return self.judgements.qrels.queries

    @cached_property
    def _rank(self) -> Ints:
        return self.ranks.pool.astype(np.int64)

    @cached_property
    def _language(self) -> Ints:
        """L(d) of each pair."""
        return self.judgements.document_languages[self.judgements.qrels.documents].astype(np.int64)

    @cached_property
    def _own(self) -> NDArray[np.bool_]:
        """Whether the document of a pair is in the language of the query."""
        return np.equal(self._language, self.judgements.query_languages[self._query])

    @cached_property
    def _relevant(self) -> Ints:
        return np.diff(self.judgements.qrels.offsets)

    def _count(self, pairs: NDArray[np.bool_]) -> Ints:
        return np.bincount(self._query[pairs], minlength=len(self._relevant))

    def _extreme(self, reduce: np.ufunc) -> Ints:
        found: Ints = reduce.reduceat(self._rank, self.judgements.qrels.offsets[:-1])
        return found

    def _need_parallel(self, measure: str) -> None:
        if not self.judgements.parallel:
            raise DataError(
                f"{measure} compares the translations of an answer, and here the relevant documents of a question are "
                "no translations of one another"
            )

    def rank_distance(self) -> Array:
        """Max r(d) - min r(d) over G_q (arXiv 2408.10536); not for a query with one relevant document.

        From |G_q| - 1 (all together) to the size of the pool minus 1. Raises `DataError` where the relevant documents
        are no translations of one another.
        """
        self._need_parallel("rank distance")
        distance = self._extreme(np.maximum) - self._extreme(np.minimum)
        return np.where(self._relevant > 1, distance, np.nan)

    def relative_rank_distance(self) -> Array:
        """Rank distance over its expectation for a random ranking, (N + 1)(n - 1)/(n + 1): 1 is random."""
        relevant = self._relevant
        documents = len(self.judgements.document_languages)
        expected = (documents + 1) * (relevant - 1) / (relevant + 1)
        return self.rank_distance() / expected  # NaN / 0 for a single one

    def max_rank(self) -> Array:
        """Max@R: the rank of the last relevant document, how far one must read to have all."""
        return self._extreme(np.maximum).astype(np.float64)

    def complete(self, depth: int) -> Array:
        """Complete@K: 1 where all of G_q is in the top `depth`."""
        return (self._extreme(np.maximum) <= depth).astype(np.float64)

    def target_language_recall(self, depth: int = DEPTH) -> Array:
        """TLR@k: the share of the relevant documents in other languages that is in the top (arXiv 2606.18801)."""
        others = self._count(~self._own)
        return ratio(self._count(~self._own & (self._rank <= depth)), others)

    def same_language_first(self) -> Array:
        """1 where the best-ranked relevant document is in l(q); not where none of G_q is."""
        best = self._rank == self._extreme(np.minimum)[self._query]
        return np.where(self._count(self._own) > 0, self._count(best & self._own), np.nan)

    def top_shares(self, depth: int = DEPTH) -> Array:
        """The share of each language in the top `depth`, (queries, languages)."""
        languages = self.judgements.document_languages[self.ranks.top[:, :depth]]
        return np.stack([(languages == place).mean(axis=1) for place in range(len(self.judgements.languages))], axis=1)

    @cached_property
    def pool_shares(self) -> Array:
        """The share of each language in the pool, (languages,)."""
        counts = np.bincount(self.judgements.document_languages, minlength=len(self.judgements.languages))
        shares: Array = counts / counts.sum()
        return shares

    def same_language_excess(self, depth: int = DEPTH) -> Array:
        """The share of the top `depth` in l(q) minus the share of l(q) in the pool: 0 is no preference.

        Not for a query in whose language the pool has no document, or has all: no ranking can prefer it there.
        """
        own = self.judgements.query_languages
        fair = self.pool_shares[own]
        excess = self.top_shares(depth)[np.arange(len(own)), own] - fair
        return np.where((fair > 0) & (fair < 1), excess, np.nan)

    def peer(self, weights: Mapping[int, float] | None = None) -> Array:
        """PEER: p of Kruskal-Wallis over the ranks of G_q by language (arXiv 2405.00978), a mean over grades.

        High means that no language is ranked otherwise than another. `weights` are those of the grades, alike if not
        given. A grade of a query counts where it is in several languages and has several documents in one of them:
        elsewhere the statistic says nothing. Raises `DataError` where no query has such a grade: the statistic is then
        the same for every ranking, the number of documents minus 1.
        """
        grades = self.judgements.qrels.grades
        order = np.lexsort((self._rank, grades, self._query))
        level = runs(self._query[order], grades[order])
        tests = kruskal_wallis(level, self._language[order])
        if tests.largest.max(initial=0) < 2:
            raise DataError(
                "PEER needs several relevant documents in a language: with one each, its statistic is the number of "
                "documents minus 1 whatever the ranking"
            )
        usable = (tests.largest > 1) & (tests.groups > 1)
        query = np.zeros(len(usable), np.int64)
        query[level] = self._query[order]
        grade = np.zeros(len(usable), np.int64)
        grade[level] = grades[order]
        weight = np.array([1.0 if weights is None else weights.get(int(value), 0.0) for value in grade]) * usable
        return ratio(np.bincount(query, weights=weight * tests.p), np.bincount(query, weights=weight))

    def rank_consistency(self, depth: int = TOP_K) -> Array:
        """MRC@k x 100: mean Spearman correlation with the rankings of q's versions (arXiv 2509.06195).

        Over the union of both top k; documents outside a ranking's top k share the mean of the places below it.
        """
        total, partners = np.zeros(len(self._relevant)), np.zeros(len(self._relevant))
        blocks = list(self.judgements.query_blocks.values())
        for number, first in enumerate(blocks):
            for second in blocks[number + 1 :]:
                one, two = _versions(self.judgements.questions, first, second)
                if len(one):
                    value = top_k_spearman(self.ranks.top[one, :depth], self.ranks.top[two, :depth])
                    for rows in (one, two):
                        total[rows] += value
                        partners[rows] += 1
        return 100 * ratio(total, partners)

    def exposure_fairness(self, depth: int = TOP_K) -> Array:
        """AWRF: 1 - JSD between the languages' exposure in the top, 1/log2(rank + 1), and their share of G_q."""
        exposure = np.zeros((len(self._relevant), len(self.judgements.languages)))
        languages = self.judgements.document_languages[self.ranks.top[:, :depth]]
        rows = np.arange(len(self._relevant))
        for place in range(languages.shape[1]):
            exposure[rows, languages[:, place]] += 1 / np.log2(place + 2)
        target = np.zeros_like(exposure)
        np.add.at(target, (self._query, self._language), 1)
        exposure /= exposure.sum(axis=1, keepdims=True)
        target /= target.sum(axis=1, keepdims=True)
        return 1 - jensen_shannon(exposure, target)

    def removal(self) -> tuple[Array, Array]:
        """AP minus AP with one relevant document taken out of the pool (LAReQA): of l(q), and of another language.

        The documents below the one that is taken out move up by one, so the ranks without it are exact. Several of a
        kind are taken out one at a time and averaged. Not for a query with one relevant document. Raises `DataError`
        as `rank_distance` does.
        """
        self._need_parallel("taking one answer out")
        order = np.lexsort((self._rank, self._query))
        query, rank = self._query[order], self._rank[order]
        first = self.judgements.qrels.offsets[:-1][query]
        found = np.arange(len(order)) - first + 1
        relevant = self._relevant[query]
        # precision at each relevant document, with all in the pool and with one above it taken out
        precision, moved = found / rank, (found - 1) / np.maximum(rank - 1, 1)
        total = np.bincount(query, weights=precision)[query]
        above = _before(precision, first)
        below = np.bincount(query, weights=moved)[query] - _before(moved, first) - moved
        effect = total / relevant - (above + below) / np.maximum(relevant - 1, 1)
        own = self._own[order]
        several = self._relevant > 1
        same, other = (
            ratio(
                np.bincount(query[kind], weights=effect[kind], minlength=len(several)),
                several * np.bincount(query[kind], minlength=len(several)),
            )
            for kind in (own, ~own)
        )
        return same, other

    def average_precision(self) -> Array:
        """AP in the pool, of which `gap` tells how it differs between languages."""
        order = np.lexsort((self._rank, self._query))
        query, rank = self._query[order], self._rank[order]
        found = np.arange(len(order)) - self.judgements.qrels.offsets[:-1][query] + 1
        return np.bincount(query, weights=found / rank) / self._relevant

    def gap(self) -> LanguageGap:
        """How far apart the query languages are in AP."""
        means = self.by_language(self.average_precision())
        return LanguageGap({code: float(mean) for code, mean in zip(self.judgements.languages, means, strict=True)})

    def mean_ranks(self) -> Array:
        """Mean rank of the relevant documents, (query languages, document languages); NaN where there are none."""
        shape = (len(self.judgements.languages),) * 2
        cell = self.judgements.query_languages[self._query] * shape[0] + self._language
        total = np.bincount(cell, weights=self._rank, minlength=shape[0] ** 2)
        return ratio(total, np.bincount(cell, minlength=shape[0] ** 2)).reshape(shape)

    def by_language(self, values: Array) -> Array:
        """Mean of per-query values, (queries,) or (queries, n), over the queries of each language."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a language without an applicable query is NaN
            return np.stack([np.nanmean(values[rows], axis=0) for rows in self.judgements.query_blocks.values()])


def _same(bias: Bias) -> Array:
    return bias.removal()[0]


def _other(bias: Bias) -> Array:
    return bias.removal()[1]


#: Every measure by the name it has in results: one value a query.
MEASURES: dict[str, Callable[[Bias], Array]] = {
    "rank_distance": Bias.rank_distance,
    "rank_distance_relative": Bias.relative_rank_distance,
    "Max@R": Bias.max_rank,
    "Complete@20": lambda bias: bias.complete(20),
    "Complete@100": lambda bias: bias.complete(100),
    "TLR@10": Bias.target_language_recall,
    "same_language_first": Bias.same_language_first,
    "same_language_excess@10": Bias.same_language_excess,
    "PEER": Bias.peer,
    "MRC@20": Bias.rank_consistency,
    "AWRF@20": Bias.exposure_fairness,
    "remove_same_language": _same,
    "remove_other_language": _other,
}


def scores(bias: Bias) -> dict[str, dict[str, float]]:
    """All measures as means, by query language: what goes into the results of the multilingual mode.

    ``AP_below_best`` is how far a language's AP lies below that of the best; ``top10_share_<language>`` and
    ``mean_rank_<language>`` are the row of the matrices query language x document language. A measure that does not
    apply to a language, or to the collection, is left out.
    """
    columns: dict[str, Array] = {}
    for name, measure in MEASURES.items():
        try:
            columns[name] = bias.by_language(measure(bias))
        except DataError:  # PEER and rank distance where they cannot be had
            continue
    gap = bias.gap()
    columns["AP_below_best"] = gap.languages[gap.best] - np.array(list(gap.languages.values()))
    shares, ranks = bias.by_language(bias.top_shares()), bias.mean_ranks()
    for place, language in enumerate(bias.judgements.languages):
        columns[f"top10_share_{language}"] = shares[:, place]
        columns[f"mean_rank_{language}"] = ranks[:, place]
    return {
        language: {name: float(column[row]) for name, column in columns.items() if np.isfinite(column[row])}
        for row, language in enumerate(bias.judgements.languages)
    }


def _before(values: Array, first: Ints) -> Array:
    """The sum of the values of the same query that stand before each; `first` is where its query begins."""
    ends = np.r_[0.0, np.cumsum(values)]
    before: Array = ends[:-1] - ends[first]
    return before


def _versions(questions: NDArray[np.int32], first: slice, second: slice) -> tuple[Ints, Ints]:
    """The rows of the questions that two blocks of queries have both."""
    _, one, two = np.intersect1d(questions[first], questions[second], return_indices=True)
    return one + first.start, two + second.start
