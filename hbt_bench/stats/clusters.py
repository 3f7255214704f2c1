"""Values of a measure clustered by question, with bootstrap intervals.

A question in 11 languages is 1 cluster, not 11 samples: its versions are hard or easy together. The bootstrap therefore
resamples whole questions, with the queries of all their subsets. The statistic is the macro average of the scores: the
mean over the queries of each subset, then over the subsets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import DataError

Array = NDArray[np.float64]

#: Resamples of an interval.
RESAMPLES = 2_000
#: Coverage of an interval.
CONFIDENCE = 0.95
#: Bytes of the random weights or signs in memory at a time.
_CHUNK_BYTES = 1 << 24


@dataclass(frozen=True, eq=False)
class Clusters:
    """A measure of a system; a row is a question, with its queries in all subsets.

    `values` (questions, subsets) is the measure of the question's query in a subset: the mean if it has several queries
    there, NaN if it has none. `counts` (questions, subsets) is the number of those queries.

    Raises `DataError` for a subset without queries, which has no mean.

    Example:
        Two questions in two languages; the second question has no query in the second language.

        >>> Clusters.from_matrix(np.array([[1.0, 0.5], [0.0, np.nan]])).average
        0.5
    """

    values: Array
    counts: NDArray[np.int64]

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
        return cls(np.divide(totals, counts, out=np.full(shape, np.nan), where=counts > 0), counts)

    @classmethod
    def from_matrix(cls, values: Array) -> Clusters:
        """Take a matrix (questions, subsets) with at most a single query per cell, NaN for none."""
        return cls(values, np.isfinite(values).astype(np.int64))

    def take(self, columns: Sequence[int]) -> Clusters:
        """Return some of the subsets, with the questions that occur in them."""
        rows = self.counts[:, columns].any(axis=1)
        return Clusters(self.values[rows][:, columns], self.counts[rows][:, columns])

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
        """Return the 95 % bootstrap interval of the macro average."""
        return percentiles(bootstrap([self], resamples, seed)[0])

    @cached_property
    def by_question(self) -> Array:
        """The mean of each question over its subsets, (questions,)."""
        present = self.counts > 0
        means: Array = np.where(present, self.values, 0.0).sum(axis=1) / present.sum(axis=1)
        return means


def bootstrap(systems: Sequence[Clusters], resamples: int = RESAMPLES, seed: int = 0) -> Array:
    """Return the means of each subset when questions are drawn with replacement, (systems, resamples, subsets).

    All systems see the same draws, so differences between them are paired. The mean is NaN if no drawn question is in
    the subset. Raises `DataError` if the systems did not answer the same queries.
    """
    counts = systems[0].counts
    if any(not np.array_equal(counts, system.counts) for system in systems):
        raise DataError("the systems did not answer the same queries, so they cannot be resampled together")
    questions, subsets = counts.shape
    generator = np.random.default_rng(seed)
    draws = np.empty((len(systems), resamples, subsets))
    for rows in chunks(resamples, questions):
        # the number of times that each question is drawn, which takes less memory than the drawn numbers
        weights = generator.multinomial(questions, np.full(questions, 1 / questions), size=rows.stop - rows.start)
        weights = weights.astype(np.float64)
        queries = weights @ counts.astype(np.float64)
        for index, system in enumerate(systems):
            means = np.full(queries.shape, np.nan)
            draws[index, rows] = np.divide(weights @ system.totals, queries, out=means, where=queries > 0)
    return draws


def percentiles(draws: Array) -> tuple[float, float]:
    """Return the 95 % percentile interval of a macro average from its `draws`, (resamples, subsets).

    A resample averages the subsets that it has; a resample without any subset is left out.
    """
    present = np.isfinite(draws)
    sums, numbers = np.where(present, draws, 0.0).sum(axis=1), present.sum(axis=1)
    averages = sums[numbers > 0] / numbers[numbers > 0]
    low, high = np.quantile(averages, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def chunks(total: int, width: int) -> Iterator[slice]:
    """Yield slices of `total` rows of `width` float64 that fit in memory."""
    height = max(1, _CHUNK_BYTES // (8 * max(1, width)))
    for start in range(0, total, height):
        yield slice(start, min(start + height, total))
