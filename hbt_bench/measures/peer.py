"""Tests of equal ranks between languages: PEER as its authors' package computes it, and over the whole ranking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.errors import DataError
from hbt_bench.measures.ranking import Array, ratio
from hbt_bench.ranking.ranks import Ranks

Ints = NDArray[np.int64]

#: The weight of each grade.
Weights = Mapping[int, float]


@dataclass(frozen=True, eq=False)
class _Documents:
    """Documents by query, with the number of the document's language, its grade, and its rank."""

    query: Ints
    language: Ints
    grade: Ints
    rank: Ints

    @classmethod
    def judged(cls, judgements: TextlessCollection, rank: Ints) -> _Documents:
        """Return the relevant documents of all queries; `rank` (pairs,) are their ranks."""
        qrels = judgements.qrels
        language = judgements.document_languages[qrels.documents].astype(np.int64)
        return cls(qrels.queries, language, qrels.grades.astype(np.int64), rank)

    def with_others(self, judgements: TextlessCollection, top: NDArray[np.int32]) -> _Documents:
        """Add the documents of `top` (queries, depth) that are not relevant, with grade 0."""
        qrels, documents = judgements.qrels, len(judgements.document_languages)
        query = np.repeat(np.arange(len(top)), top.shape[1])
        rank = np.tile(np.arange(1, top.shape[1] + 1), len(top))
        column = top.ravel().astype(np.int64)
        other = ~np.isin(query * documents + column, qrels.queries * documents + qrels.documents)
        language = judgements.document_languages[column[other]].astype(np.int64)
        added = (query[other], language, np.zeros(other.sum(), np.int64), rank[other])
        fields = (self.query, self.language, self.grade, self.rank)
        return _Documents(*(np.concatenate(pair) for pair in zip(fields, added, strict=True)))

    def by_grade(self) -> _Grades:
        """Group the documents by query and grade, best rank first."""
        level = self.query * (int(self.grade.max(initial=0)) + 1) + self.grade
        order = np.lexsort((self.rank, level))
        _, first, sample = np.unique(level[order], return_index=True, return_inverse=True)
        rows = order[first]
        return _Grades(sample, self.language[order], self.rank[order], self.query[rows], self.grade[rows])


@dataclass(frozen=True, eq=False)
class _Grades:
    """Samples of a test, a query and a grade each.

    `sample`, `language` and `rank` describe a document, `query` and `grade` a sample.
    """

    sample: Ints
    language: Ints
    rank: Ints
    query: Ints
    grade: Ints

    def weights(self, weights: Weights) -> Array:
        """Return the weight of each sample, 0 for a grade without a weight."""
        return np.array([weights.get(grade, 0.0) for grade in self.grade.tolist()], dtype=np.float64)


def peer(judgements: TextlessCollection, ranks: Ranks, depth: int, weights: Weights | None = None) -> Array:
    """Return PEER@depth (arXiv 2405.00978), (queries,), as version 0.0.1 of the authors' package `peer_measure`.

    The value is the sum over grades of weight times p. p is that of a Kruskal-Wallis test over the positions of the
    grade's documents by language. Those below `depth` share the position (2M + U + 1)/2, where M documents have
    the grade, and U of them are below `depth`. p is 1 if no document of the grade is in the top `depth`, or if all are
    in a single language, and the value is NaN if all positions are equal. `weights` must add up to 1; by default, the
    grades of the collection have equal weights. Grade 0 are the other documents of the top `depth`. A grade that a
    query does not have adds nothing.

    Raises `DataError` if no sample has two documents in a language, because the statistic is then the same for every
    ranking with an answer in the top; if `weights` do not add up to 1; and if grade 0 needs more of the top than is
    stored.
    """
    grades = np.unique(judgements.qrels.grades).tolist()
    weights = {grade: 1 / len(grades) for grade in grades} if weights is None else weights
    if not np.isclose(sum(weights.values()), 1):
        raise DataError(f"the weights of PEER's grades add up to {sum(weights.values()):g}: they must add up to 1")
    documents = _Documents.judged(judgements, ranks.pool.astype(np.int64))
    if weights.get(0):
        if depth > ranks.top.shape[1]:
            raise DataError(f"PEER@{depth} with a weight of grade 0 needs the top {depth} of each query")
        documents = documents.with_others(judgements, ranks.top[:, :depth])
    samples = documents.by_grade()
    retrieved = samples.rank <= depth
    members = np.bincount(samples.sample)
    missing = np.bincount(samples.sample, weights=~retrieved)
    shared = (2 * members + missing + 1) / 2
    position = np.where(retrieved, samples.rank, shared[samples.sample])
    tests = kruskal_wallis(samples.sample, samples.language, position)
    weight = samples.weights(weights)
    _require_several(tests.largest[weight > 0], "PEER")
    p = np.where((missing == members) | (tests.groups < 2), 1.0, tests.p)
    weighted = np.where(weight > 0, weight * p, 0.0)
    return np.bincount(samples.query, weighted, len(judgements.questions)).astype(np.float64)


def rank_equality(judgements: TextlessCollection, rank: Ints, weights: Weights | None = None) -> Array:
    """Return the mean p of Kruskal-Wallis tests over the exact ranks of G_q by language, a mean over grades.

    It differs from PEER in three points: all ranks count, without a cut-off; ranks are those among the documents of a
    grade, not positions in the pool; and a grade with a single language, or with a document in each language, is left
    out. `rank` (pairs,) are the ranks in the pool, and `weights` the weights of the grades, equal by default. Raises
    `DataError` if no query has a grade with documents in several languages and several in any of them: the
    statistic is then the number of documents minus 1 for every ranking.
    """
    samples = _Documents.judged(judgements, rank).by_grade()
    tests = kruskal_wallis(samples.sample, samples.language)
    _require_several(tests.largest, "rank_equality")
    usable = (tests.largest > 1) & (tests.groups > 1)
    weight = usable * (1.0 if weights is None else samples.weights(weights))
    weighted = np.where(usable, weight * tests.p, 0.0)
    total, whole = (np.bincount(samples.query, values, len(judgements.questions)) for values in (weighted, weight))
    return ratio(total, whole)


def _require_several(largest: Ints, measure: str) -> None:
    if largest.max(initial=0) < 2:
        raise DataError(
            f"{measure} needs several relevant documents in a language: with a single document each, its statistic is "
            "the number of documents minus 1 for every ranking"
        )


@dataclass(frozen=True, eq=False)
class KruskalWallis:
    """The tests of many samples: `statistic`, `p`, the number of `groups`, and the size of the `largest` group.

    `statistic` and `p` are NaN if all values of a sample are equal.
    """

    statistic: Array
    p: Array
    groups: Ints
    largest: Ints


def kruskal_wallis(sample: Ints, group: Ints, values: Array | None = None) -> KruskalWallis:
    """Test samples by Kruskal-Wallis, from the variance of `values` between the groups and over the whole sample.

    `sample` (members,) numbers the samples from 0, ascending; `group` (members,) is the group of each member. `values`
    are the ranks of the members, by default their order in the sample. p is the upper tail of chi-squared with
    groups - 1 degrees of freedom.
    """
    from scipy.stats import chi2

    starts = np.flatnonzero(np.r_[True, np.diff(sample) > 0])
    ranks = (np.arange(len(sample)) - starts[sample] + 1 if values is None else values).astype(np.float64)
    _, cell = np.unique(sample * (group.max(initial=0) + 1) + group, return_inverse=True)
    size, total = np.bincount(cell), np.bincount(cell, weights=ranks)
    owner = np.zeros(len(size), np.int64)
    owner[cell] = sample
    members, groups = np.bincount(sample), np.bincount(owner)
    largest = np.zeros(len(members), np.int64)
    np.maximum.at(largest, owner, size)
    mean = np.bincount(sample, weights=ranks) / members
    between = np.bincount(owner, weights=size * (total / size - mean[owner]) ** 2)
    variation = np.bincount(sample, weights=(ranks - mean[sample]) ** 2)
    statistic = ratio((members - 1) * between, variation)
    return KruskalWallis(statistic, chi2.sf(statistic, np.maximum(groups - 1, 1)), groups, largest)
