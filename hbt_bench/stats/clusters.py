"""Values of a measure clustered by question, paragraph or article, with bootstrap intervals.

A question in 11 languages is 1 cluster, not 11 samples: its versions are hard or easy together. So are the questions
about a paragraph, and the paragraphs of an article. `Level.choose` takes the level of the clusters from those of the
data, and the bootstrap resamples whole clusters, with the queries of all their subsets. The statistic is the macro
average of the scores: the mean over the queries of each subset, then over the subsets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.levels import QUESTION
from hbt_bench.errors import DataError, UsageError, did_you_mean

Array = NDArray[np.float64]

#: Resamples of an interval.
RESAMPLES = 2_000
#: Coverage of an interval.
CONFIDENCE = 0.95
#: The smallest effective number of clusters. With fewer, intervals are too narrow and tests reject too often.
MIN_CLUSTERS = 30
#: Bytes of the random weights or signs in memory at a time.
_CHUNK_BYTES = 1 << 24


@dataclass(frozen=True, eq=False)
class Level:
    """The unit of intervals and tests: `labels` (questions,) is the number of each question's cluster.

    Questions have the numbers of their collection, as in `TextlessCollection.questions`.

    Example:
        Three questions about two articles; the contributions of the questions to a score add up by article.

        >>> Level("article", np.array([0, 0, 1])).add_up(np.array([0.1, 0.2, 0.4])).round(1).tolist()
        [0.3, 0.4]
    """

    name: str
    labels: NDArray[np.int32]

    @classmethod
    def choose(cls, levels: Mapping[str, NDArray[np.int32]], questions: int, name: str | None = None) -> Level:
        """Return the level called `name`, by default the coarsest level with at least `MIN_CLUSTERS` clusters.

        `levels` are those of a collection, from fine to coarse, and `questions` is the number of its questions. If the
        clusters differ in size, their effective number counts. If no level has enough, the level is the question.
        Raises `UsageError` for an unknown name.
        """
        named = {QUESTION: np.arange(questions, dtype=np.int32), **levels}
        if name is not None and name not in named:
            hint = did_you_mean(name, named) or f". Choose one of {', '.join(named)}."
            raise UsageError(f"the data have no clusters by '{name}'{hint}")
        choices = [cls(key, labels) for key, labels in named.items() if name in (None, key)]
        return next((level for level in reversed(choices) if level.effective >= MIN_CLUSTERS), choices[0])

    @property
    def number(self) -> int:
        """The number of clusters."""
        return int(self.labels.max(initial=-1)) + 1

    @property
    def effective(self) -> float:
        """The number of equal clusters with the same variance of a sum over them (Kish 1965, Survey Sampling, 11.7)."""
        sizes = np.bincount(self.labels)
        return float(sizes.sum() ** 2 / max(1, (sizes**2).sum()))

    def __str__(self) -> str:
        """Return the clusters in words: ``48 clusters by article``, or ``1,190 questions``."""
        return f"{self.number:,} {'questions' if self.name == QUESTION else f'clusters by {self.name}'}"

    def signature(self, resamples: int = RESAMPLES, seed: int = 0) -> str:
        """Return everything that an interval depends on, besides its score.

        >>> Level("question", np.arange(1190)).signature()
        'level:question|clusters:1190|resamples:2000|seed:0'
        """
        return f"level:{self.name}|clusters:{self.number}|resamples:{resamples}|seed:{seed}"

    def add_up(self, contributions: NDArray[Any], questions: NDArray[np.integer] | None = None) -> Array:
        """Add up contributions (..., questions) by cluster, (..., clusters); clusters without a question are left out.

        `questions` are the numbers of the questions, None for all of the collection. Raises `DataError` if there are
        more or fewer. For a test over seeds, ``SeedQuestionMean`` takes the sums as it takes contributions.
        """
        labels = self.labels if questions is None else self.labels[questions]
        if len(labels) != contributions.shape[-1]:
            raise DataError(f"{contributions.shape[-1]} questions do not have the clusters of {len(labels)} questions")
        numbers, rows = np.unique(labels, return_inverse=True)
        sums = np.zeros((*contributions.shape[:-1], len(numbers)))
        np.add.at(sums.T, rows, contributions.T)
        return sums


@dataclass(frozen=True, eq=False)
class Clusters:
    """A measure of a system; a row is a question, with its queries in all subsets, or a coarser cluster.

    `values` (questions, subsets) is the measure of the question's query in a subset: the mean if it has several queries
    there, NaN if it has none. `counts` (questions, subsets) is the number of those queries. `questions` (questions,)
    are the numbers of the questions.

    Raises `DataError` for a subset without queries, which has no mean.

    Example:
        Two questions in two languages; the second question has no query in the second language.

        >>> Clusters.from_matrix(np.array([[1.0, 0.5], [0.0, np.nan]])).average
        0.5
    """

    values: Array
    counts: NDArray[np.int64]
    questions: NDArray[np.integer]

    def __post_init__(self) -> None:
        """Check that every subset has a mean."""
        if not self.counts.size or not self.counts.any(axis=0).all():
            raise DataError("a subset without queries has no mean: leave it out")

    @classmethod
    def from_values(cls, values: Array, questions: NDArray[np.integer], subsets: NDArray[np.integer]) -> Clusters:
        """Gather queries: the value of each query, the number of its question and of its subset, all (queries,).

        Queries with the value NaN are left out. Rows are the remaining questions and columns the remaining subsets,
        both by ascending number.
        """
        finite = np.isfinite(values)
        rows, row = np.unique(questions[finite], return_inverse=True)
        columns, column = np.unique(subsets[finite], return_inverse=True)
        cells, shape = row * len(columns) + column, (len(rows), len(columns))
        counts = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
        totals = np.bincount(cells, weights=values[finite], minlength=shape[0] * shape[1]).reshape(shape)
        return cls(_means(totals, counts), counts, rows)

    @classmethod
    def from_matrix(cls, values: Array) -> Clusters:
        """Take a matrix (questions, subsets) with at most a single query per cell, NaN for none."""
        return cls(values, np.isfinite(values).astype(np.int64), np.arange(len(values)))

    def take(self, columns: Sequence[int]) -> Clusters:
        """Return some of the subsets, with the questions that occur in them."""
        rows = self.counts[:, columns].any(axis=1)
        return Clusters(self.values[rows][:, columns], self.counts[rows][:, columns], self.questions[rows])

    def at(self, level: Level) -> Clusters:
        """Return the measure with a row for each cluster of a level, by ascending number. The average is the same."""
        totals, counts = (level.add_up(values.T, self.questions).T for values in (self.totals, self.counts))
        integers = counts.astype(np.int64)
        return Clusters(_means(totals, integers), integers, np.unique(level.labels[self.questions]))

    @cached_property
    def totals(self) -> Array:
        """The sum over the queries of each question in each subset, (questions, subsets); 0 for no queries."""
        return np.where(self.counts > 0, self.values, 0.0) * self.counts

    @cached_property
    def contributions(self) -> Array:
        """The contribution of each question to the macro average, (questions,); the average is their sum."""
        contributions: Array = (self.totals / self.counts.sum(axis=0)).mean(axis=1)
        return contributions

    @property
    def average(self) -> float:
        """The macro average: over the queries of each subset, then over the subsets."""
        return float((self.totals.sum(axis=0) / self.counts.sum(axis=0)).mean())

    def interval(self, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
        """Return the 95 % bootstrap interval of the macro average; the rows are resampled."""
        return percentiles(bootstrap([self], resamples, seed)[0])

    @cached_property
    def by_question(self) -> Array:
        """The mean of each question over its subsets, (questions,)."""
        present = self.counts > 0
        means: Array = np.where(present, self.values, 0.0).sum(axis=1) / present.sum(axis=1)
        return means


def _means(totals: NDArray[Any], counts: NDArray[np.int64]) -> Array:
    """Return the mean of each cell, NaN for a cell without queries."""
    means: Array = np.divide(totals, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    return means


def bootstrap(systems: Sequence[Clusters], resamples: int = RESAMPLES, seed: int = 0) -> Array:
    """Return the means of each subset when clusters are drawn with replacement, (systems, resamples, subsets).

    All systems see the same draws, so differences between them are paired. The mean is NaN if no drawn cluster is in
    the subset. Raises `DataError` if the systems did not answer the same queries.
    """
    counts = systems[0].counts
    if any(not np.array_equal(counts, system.counts) for system in systems):
        raise DataError("the systems did not answer the same queries, so they cannot be resampled together")
    clusters, subsets = counts.shape
    generator = np.random.default_rng(seed)
    draws = np.empty((len(systems), resamples, subsets))
    for rows in chunks(resamples, clusters):
        # the number of times that each cluster is drawn, which takes less memory than the drawn numbers
        weights = generator.multinomial(clusters, np.full(clusters, 1 / clusters), size=rows.stop - rows.start)
        weights = weights.astype(np.float64)
        queries = weights @ counts.astype(np.float64)
        for index, system in enumerate(systems):
            means = np.full(queries.shape, np.nan)
            draws[index, rows] = np.divide(weights @ system.totals, queries, out=means, where=queries > 0)
    return draws


def percentiles(draws: Array) -> tuple[float, float]:
    """Return the 95 % percentile interval of a macro average from its `draws`, (resamples, subsets)."""
    return quantiles(averages(draws))


def averages(draws: Array) -> Array:
    """Return the macro average of each resample from its `draws`, (resamples, subsets).

    A resample averages the subsets that it has; a resample without any subset is left out.
    """
    present = np.isfinite(draws)
    sums, numbers = np.where(present, draws, 0.0).sum(axis=1), present.sum(axis=1)
    means: Array = sums[numbers > 0] / numbers[numbers > 0]
    return means


def quantiles(resampled: Array, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the percentile interval from the averages of the resamples, (resamples,)."""
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def chunks(total: int, width: int) -> Iterator[slice]:
    """Yield slices of `total` rows of `width` float64 that fit in memory."""
    height = max(1, _CHUNK_BYTES // (8 * max(1, width)))
    for start in range(0, total, height):
        yield slice(start, min(start + height, total))
