"""Statistics of systems that answered the same queries, clustered by question.

A question in 11 languages is one cluster, not 11 samples: its versions are hard or easy together. So whole questions
are resampled and whole questions are swapped between systems, with the queries of all their subsets. The statistic is
the macro average that scores are: the mean over the queries of each subset, then over the subsets.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import DataError

Array = NDArray[np.float64]

#: Resamples of an interval, and random swaps of a test.
RESAMPLES = 2_000
RANDOMIZATIONS = 10_000
#: How much of the distribution an interval holds.
CONFIDENCE = 0.95
#: Bytes of the random weights or signs that are in memory at a time.
_CHUNK_BYTES = 1 << 24
#: Differences of this part of the values are rounding, since a sum depends on the order of what it adds.
_ROUNDING = 1e-12
#: Ways to change signs that are counted one by one, rather than approximated.
_COUNTED = 1 << 16


@dataclass(frozen=True, eq=False)
class Clusters:
    """One measure of one system; a row is a question, with its queries in all subsets.

    `values` (questions, subsets) is the measure of the question's query in a subset, the mean if it has several there,
    NaN if it has none. `counts` (questions, subsets) is the number of those queries.

    Raises `DataError` for a subset without queries, which has no mean.
    """

    values: Array
    counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Check that there is a mean of every subset."""
        if not self.counts.size or not self.counts.any(axis=0).all():
            raise DataError("there is a subset without queries, so there is no mean over the subsets: leave it out")

    @classmethod
    def of(cls, values: Array, questions: NDArray[np.integer], subsets: NDArray[np.integer]) -> Clusters:
        """Gather queries: the value of each, the number of its question, and of the subset it is in, all (queries,).

        Queries whose value is NaN are left out. Rows are the questions that remain and columns the subsets that
        remain, both by ascending number.
        """
        there = np.isfinite(values)
        rows, row = np.unique(questions[there], return_inverse=True)
        columns, column = np.unique(subsets[there], return_inverse=True)
        cells, shape = row * len(columns) + column, (len(rows), len(columns))
        counts = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
        totals = np.bincount(cells, weights=values[there], minlength=shape[0] * shape[1]).reshape(shape)
        return cls(np.divide(totals, counts, out=np.full(shape, np.nan), where=counts > 0), counts)

    @classmethod
    def of_matrix(cls, values: Array) -> Clusters:
        """At most one query a question and subset, NaN for none."""
        return cls(values, np.isfinite(values).astype(np.int64))

    def take(self, columns: Sequence[int]) -> Clusters:
        """Only some subsets, and the questions that occur in them."""
        rows = self.counts[:, columns].any(axis=1)
        return Clusters(self.values[rows][:, columns], self.counts[rows][:, columns])

    @cached_property
    def totals(self) -> Array:
        """The sum over the queries of each question in each subset, (questions, subsets); 0 where there are none."""
        return np.where(self.counts > 0, self.values, 0.0) * self.counts

    @cached_property
    def shares(self) -> Array:
        """What each question adds to the macro average, (questions,): they sum up to it."""
        shares: Array = (self.totals / self.counts.sum(axis=0)).mean(axis=1)
        return shares

    @property
    def average(self) -> float:
        """The macro average: over the queries of each subset, then over the subsets."""
        return float((self.totals.sum(axis=0) / self.counts.sum(axis=0)).mean())

    def interval(self, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
        """The 95 % bootstrap interval of the macro average."""
        return percentiles(bootstrap([self], resamples, seed)[0])

    @cached_property
    def by_question(self) -> Array:
        """The mean of each question over the subsets that have it, (questions,)."""
        present = self.counts > 0
        means: Array = np.where(present, self.values, 0.0).sum(axis=1) / present.sum(axis=1)
        return means


@dataclass(frozen=True, eq=False)
class Paired:
    """Two systems that answered the same queries; differences are `system` minus `baseline`.

    Raises `DataError` when the queries are not the same.
    """

    system: Clusters
    baseline: Clusters

    def __post_init__(self) -> None:
        """Check that a row is the same question on both sides."""
        if not np.array_equal(self.system.counts, self.baseline.counts):
            raise DataError("the systems did not answer the same queries, so they cannot be compared query by query")

    @property
    def difference(self) -> float:
        """The difference of the macro averages."""
        return self.system.average - self.baseline.average

    @cached_property
    def _rounding(self) -> float:
        """The largest difference between questions that is but rounding."""
        return _ROUNDING * float(max(np.abs(side.by_question).max() for side in (self.system, self.baseline)))

    @cached_property
    def _by_question(self) -> Array:
        """The difference on each question, (questions,)."""
        differences = self.system.by_question - self.baseline.by_question
        return np.where(np.abs(differences) <= self._rounding, 0.0, differences)

    def outcomes(self, lower_is_better: bool = False) -> tuple[int, int, int]:
        """The number of questions that the system wins, ties and loses, by their means over the subsets."""
        better = -self._by_question if lower_is_better else self._by_question
        wins, losses = int((better > 0).sum()), int((better < 0).sum())
        return wins, len(better) - wins - losses, losses

    @property
    def effect_size(self) -> float | None:
        """Cohen's d_z over questions: mean of the differences over their standard deviation (n - 1).

        0 if no question differs; None if it is not defined, with one question or the same difference on every one.
        """
        differences = self._by_question
        if not differences.any():
            return 0.0
        deviation = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
        mean = float(differences.mean())
        return mean / deviation if deviation > self._rounding else None

    def p_value(self, samples: int = RANDOMIZATIONS, seed: int = 0) -> float:
        """Two-sided randomization test of no difference between the macro averages.

        If the systems are exchangeable, the values of all queries of a question may be swapped between them, question
        by question. Each of `samples` draws swaps a random half. Where there are no more than `samples` ways to swap,
        all are counted, and the p-value is exact.
        """
        shares = self.system.shares - self.baseline.shares
        slack = _ROUNDING * float((np.abs(self.system.shares) + np.abs(self.baseline.shares)).sum())
        # swapping a question that does not differ changes nothing, so such questions are not counted as ways to swap
        shares = shares[np.abs(shares) > slack / len(shares)]
        observed = float(shares.sum())
        ways = 1 << len(shares)
        exact = ways <= samples
        swaps = _all_swaps(len(shares)) if exact else _random_swaps(len(shares), samples, seed)
        extreme = 0
        for swapped in swaps:
            differences = observed - 2 * (swapped @ shares)
            extreme += int((np.abs(differences) >= abs(observed) - slack).sum())
        if exact:
            return extreme / ways  # the observed difference is one of the ways, so this is not 0 either
        # One is added to both because the observed difference is itself one of the possible swaps: a p-value of
        # extreme / samples can be 0, and rejects a true null too often (Phipson & Smyth 2010, arXiv 1603.05766).
        return (extreme + 1) / (samples + 1)


def bootstrap(systems: Sequence[Clusters], resamples: int = RESAMPLES, seed: int = 0) -> Array:
    """Means of each subset when whole questions are drawn with replacement: (systems, resamples, subsets).

    All systems see the same draws, so differences between them are paired. A subset that none of the drawn questions
    has is NaN. Raises `DataError` when the systems did not answer the same queries.
    """
    counts = systems[0].counts
    if any(not np.array_equal(counts, system.counts) for system in systems):
        raise DataError("the systems did not answer the same queries, so they cannot be resampled together")
    questions, subsets = counts.shape
    generator = np.random.default_rng(seed)
    draws = np.empty((len(systems), resamples, subsets))
    for rows in _chunks(resamples, questions):
        # how often each question is drawn: the same as drawing their numbers, without holding those
        weights = generator.multinomial(questions, np.full(questions, 1 / questions), size=rows.stop - rows.start)
        weights = weights.astype(np.float64)
        queries = weights @ counts.astype(np.float64)
        for place, system in enumerate(systems):
            means = np.full(queries.shape, np.nan)
            draws[place, rows] = np.divide(weights @ system.totals, queries, out=means, where=queries > 0)
    return draws


def percentiles(draws: Array) -> tuple[float, float]:
    """The 95 % percentile interval of a macro average from its `draws`, (resamples, subsets).

    Subsets that a resample lacks are left out of its average, as are resamples that lack all.
    """
    present = np.isfinite(draws)
    sums, numbers = np.where(present, draws, 0.0).sum(axis=1), present.sum(axis=1)
    averages = sums[numbers > 0] / numbers[numbers > 0]
    low, high = np.quantile(averages, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def sign_flip_p(differences: Array) -> float:
    """Two-sided p of the randomization test by question, to any depth and without drawing.

    `differences` (questions,) is what each question adds to the difference of two averages (`Clusters.shares` of one
    minus the other's). Few questions are counted exactly as in `Paired.p_value`; else it is the Lugannani-Rice
    saddlepoint approximation of the same distribution, in which each question keeps or changes its sign (Robinson
    1982, JRSS B 44, 91-101). Random draws cannot give the small p that a correction for hundreds of tests needs.
    """
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    ways = 1 << len(differences)
    scaled = np.abs(differences) / np.abs(differences).max()
    observed, most = abs(float((scaled * np.sign(differences)).sum())), float(scaled.sum())
    slack = _ROUNDING * most
    if ways <= _COUNTED:
        found = (np.abs(most - 2 * (swapped @ scaled)) >= observed - slack for swapped in _all_swaps(len(scaled)))
        return sum(int(extreme.sum()) for extreme in found) / ways
    if observed >= most - slack:  # all differences have the same sign: of all ways, this and its opposite
        return 2.0 ** (1 - len(scaled))
    steps = scaled / scaled.min()
    if np.abs(steps - np.rint(steps)).max() < 1e-4:  # the sums are steps apart: half of one for continuity
        observed = max(0.0, observed - float(scaled.min()))
    deviation = math.sqrt(float((scaled**2).sum()))
    if observed / deviation < 1e-3:  # where the approximation is 0/0, and p is near 1
        return math.erfc(observed / deviation / math.sqrt(2))
    tilt = _tilt(scaled, observed)
    # log cosh without overflow
    generating = float((tilt * scaled + np.log1p(np.exp(-2 * tilt * scaled)) - math.log(2)).sum())
    curvature = float((scaled**2 * (1 - np.tanh(tilt * scaled) ** 2)).sum())
    w = math.sqrt(2 * max(tilt * observed - generating, 0.0))
    u = tilt * math.sqrt(curvature)
    density = math.exp(-w * w / 2) / math.sqrt(2 * math.pi)
    return min(1.0, max(0.0, math.erfc(w / math.sqrt(2)) + 2 * density * (1 / u - 1 / w)))


def _tilt(scaled: Array, observed: float) -> float:
    """The t at which the tilted mean, sum of d tanh(t d), is `observed`: Newton's steps inside a bracket."""
    low, high = 0.0, 1.0
    while float((scaled * np.tanh(high * scaled)).sum()) < observed:
        low, high = high, 2 * high
    tilt = min(max(observed / float((scaled**2).sum()), low), high)
    for _ in range(60):
        tangent = np.tanh(tilt * scaled)
        missing = observed - float((scaled * tangent).sum())
        if abs(missing) <= _ROUNDING * observed:
            break
        low, high = (tilt, high) if missing > 0 else (low, tilt)
        slope = float((scaled**2 * (1 - tangent**2)).sum())
        step = tilt + missing / slope if slope > 0 else math.inf
        tilt = step if low < step < high else (low + high) / 2
    return tilt


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down correction for as many tests as there are p-values, in their order.

    The k-th smallest of n is multiplied by n - k + 1, is no smaller than the one before it, and at most 1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return tuple(adjusted.tolist())


def _chunks(total: int, width: int) -> Iterator[slice]:
    height = max(1, _CHUNK_BYTES // (8 * max(1, width)))
    for start in range(0, total, height):
        yield slice(start, min(start + height, total))


def _all_swaps(questions: int) -> Iterator[Array]:
    """Every way to swap, as rows of 0 and 1, in blocks (ways, questions)."""
    for rows in _chunks(1 << questions, questions):
        bits = np.arange(rows.start, rows.stop)[:, None] >> np.arange(questions)
        yield (bits & 1).astype(np.float64)


def _random_swaps(questions: int, samples: int, seed: int) -> Iterator[Array]:
    """Random swaps, as rows of 0 and 1, in blocks (swaps, questions)."""
    generator = np.random.default_rng(seed)
    for rows in _chunks(samples, questions):
        yield generator.integers(0, 2, (rows.stop - rows.start, questions), dtype=np.bool_).astype(np.float64)
