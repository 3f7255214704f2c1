"""Paired tests of systems that answered the same queries, clustered by question.

The randomization test swaps whole questions between two systems, with the queries of all their subsets, and Holm's
correction allows for many tests. `Clusters` explains why a question is the unit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hbt_bench.errors import DataError
from hbt_bench.stats.clusters import Array, Clusters, chunks

#: A difference is significant if its p-value, corrected for the number of tests, is below this.
SIGNIFICANCE = 0.05
#: Random swaps of a test.
RANDOMIZATIONS = 10_000
#: Relative size of rounding errors: a sum depends on the order of its terms.
_ROUNDING = 1e-12
#: The largest number of sign patterns that are enumerated rather than approximated.
_ENUMERATED = 1 << 16


@dataclass(frozen=True, eq=False)
class Paired:
    """Two systems that answered the same queries; differences are `system` minus `baseline`.

    Raises `DataError` if the queries are not the same.

    Example:
        >>> ours = Clusters.from_matrix(np.array([[3.0], [2.0], [0.0]]))
        >>> theirs = Clusters.from_matrix(np.array([[0.0], [0.0], [1.0]]))
        >>> Paired(ours, theirs).p_value()
        0.5
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
        """The largest difference between questions that may be a rounding error."""
        return _ROUNDING * float(max(np.abs(side.by_question).max() for side in (self.system, self.baseline)))

    @cached_property
    def _by_question(self) -> Array:
        """The difference on each question, (questions,)."""
        differences = self.system.by_question - self.baseline.by_question
        return np.where(np.abs(differences) <= self._rounding, 0.0, differences)

    def outcomes(self, lower_is_better: bool = False) -> tuple[int, int, int]:
        """Return the number of questions that the system wins, ties and loses, by their means over the subsets."""
        better = -self._by_question if lower_is_better else self._by_question
        wins, losses = int((better > 0).sum()), int((better < 0).sum())
        return wins, len(better) - wins - losses, losses

    @property
    def effect_size(self) -> float | None:
        """Cohen's d_z over questions: mean of the differences over their standard deviation (n - 1).

        0 if no question differs. None if it is not defined: one question, or the same difference on all.
        """
        differences = self._by_question
        if not differences.any():
            return 0.0
        deviation = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
        mean = float(differences.mean())
        return mean / deviation if deviation > self._rounding else None

    def p_value(self, samples: int = RANDOMIZATIONS, seed: int = 0) -> float:
        """Return the two-sided p of the randomization test of no difference between the macro averages.

        If the systems are exchangeable, the values of all queries of a question may be swapped between them. Each of
        `samples` draws swaps a random half of the questions. If there are at most `samples` ways to swap, the test
        counts all of them, and p is exact.
        """
        contributions = self.system.contributions - self.baseline.contributions
        size = np.abs(self.system.contributions) + np.abs(self.baseline.contributions)
        slack = _ROUNDING * float(size.sum())
        # a swap of a question that does not differ changes nothing, so it is not a way to swap
        contributions = contributions[np.abs(contributions) > slack / len(contributions)]
        observed = float(contributions.sum())
        ways = 1 << len(contributions)
        exact = ways <= samples
        swaps = _all_swaps(len(contributions)) if exact else _random_swaps(len(contributions), samples, seed)
        extreme = 0
        for swapped in swaps:
            differences = observed - 2 * (swapped @ contributions)
            extreme += int((np.abs(differences) >= abs(observed) - slack).sum())
        if exact:
            return extreme / ways  # the observed difference is among the ways, so p is above 0
        # Add 1 to both because the observed difference is itself a possible swap: a p-value of extreme / samples can
        # be 0, and rejects a true null too often (Phipson & Smyth 2010, arXiv 1603.05766).
        return (extreme + 1) / (samples + 1)


def sign_flip_p(differences: Array) -> float:
    """Return the two-sided p of the randomization test by question, however small, without random draws.

    `differences` (questions,) is the difference between the `Clusters.contributions` of two systems. The test counts
    few questions exactly, as `Paired.p_value` does. For more it uses the Lugannani-Rice saddlepoint approximation of
    the same distribution, in which each question keeps or changes its sign (Robinson 1982, JRSS B 44, 91-101). Random
    draws cannot give the small p that a correction for hundreds of tests needs.

    >>> sign_flip_p(np.array([1.0, 2.0, 3.0]))
    0.25
    """
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    ways = 1 << len(differences)
    scaled = np.abs(differences) / np.abs(differences).max()
    observed, most = abs(float((scaled * np.sign(differences)).sum())), float(scaled.sum())
    slack = _ROUNDING * most
    if ways <= _ENUMERATED:
        extremes = (np.abs(most - 2 * (swapped @ scaled)) >= observed - slack for swapped in _all_swaps(len(scaled)))
        return sum(int(extreme.sum()) for extreme in extremes) / ways
    if observed >= most - slack:  # all differences have the same sign: only this way and its opposite are as extreme
        return 2.0 ** (1 - len(scaled))
    steps = scaled / scaled.min()
    if np.abs(steps - np.rint(steps)).max() < 1e-4:  # the sums lie on a grid: subtract half a step for continuity
        observed = max(0.0, observed - float(scaled.min()))
    deviation = math.sqrt(float((scaled**2).sum()))
    if observed / deviation < 1e-3:  # the approximation is 0/0 here, and p is near 1
        return math.erfc(observed / deviation / math.sqrt(2))
    return _saddlepoint(scaled, observed)


def _saddlepoint(scaled: Array, observed: float) -> float:
    """Return the Lugannani-Rice approximation of P(|sum of +-scaled| >= observed)."""
    tilt = _tilt(scaled, observed)
    # log cosh without overflow
    generating = float((tilt * scaled + np.log1p(np.exp(-2 * tilt * scaled)) - math.log(2)).sum())
    curvature = float((scaled**2 * (1 - np.tanh(tilt * scaled) ** 2)).sum())
    w = math.sqrt(2 * max(tilt * observed - generating, 0.0))
    u = tilt * math.sqrt(curvature)
    density = math.exp(-w * w / 2) / math.sqrt(2 * math.pi)
    return min(1.0, max(0.0, math.erfc(w / math.sqrt(2)) + 2 * density * (1 / u - 1 / w)))


def _tilt(scaled: Array, observed: float) -> float:
    """Return the t at which the tilted mean, sum of d tanh(t d), is `observed`, by Newton's steps in a bracket."""
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
    """Return Holm's step-down correction of the p-values of several tests, in their order.

    The k-th smallest of n is multiplied by n - k + 1. It is at least its predecessor, and at most 1.

    >>> holm([0.01, 0.5])
    (0.02, 0.5)
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return tuple(adjusted.tolist())


def holm_levels(p_values: Sequence[float], level: float = SIGNIFICANCE) -> tuple[float, ...]:
    """Return the level at which Holm's procedure tests each of several p-values, in their order.

    The k-th smallest of n is tested at ``level / (n - k + 1)``; equal p-values have the level of the first. The
    procedure stops at the first that is not significant, so all larger p-values have its level.

    >>> holm_levels([0.01, 0.5])
    (0.025, 0.05)
    """
    p, significant = np.asarray(p_values, dtype=np.float64), sum(adjusted < level for adjusted in holm(p_values))
    steps = np.minimum(np.searchsorted(np.sort(p), p), significant)
    return tuple((level / (len(p) - steps)).tolist())


def agreeing(interval: tuple[float, float], difference: float, is_significant: bool) -> tuple[float, float]:
    """Return an interval of a difference that contains 0 if and only if the test of the difference is not significant.

    Interval and test are approximations with different errors, so at the limit they may disagree. The test is more
    accurate at 0, hence the end that is on the wrong side moves to 0, or to the number next to 0.

    >>> agreeing((-0.01, 0.2), 0.1, is_significant=False), agreeing((0.01, 0.2), 0.1, is_significant=False)
    ((-0.01, 0.2), (0.0, 0.2))
    """
    low, high = interval
    if not is_significant:
        return min(low, 0.0), max(high, 0.0)
    smallest = float(np.finfo(np.float64).tiny)
    return (max(low, smallest), max(high, smallest)) if difference > 0 else (min(low, -smallest), min(high, -smallest))


def _all_swaps(questions: int) -> Iterator[Array]:
    """Yield every way to swap, as rows of 0 and 1, in blocks (ways, questions)."""
    for rows in chunks(1 << questions, questions):
        bits = np.arange(rows.start, rows.stop)[:, None] >> np.arange(questions)
        yield (bits & 1).astype(np.float64)


def _random_swaps(questions: int, samples: int, seed: int) -> Iterator[Array]:
    """Yield random swaps, as rows of 0 and 1, in blocks (swaps, questions)."""
    generator = np.random.default_rng(seed)
    for rows in chunks(samples, questions):
        yield generator.integers(0, 2, (rows.stop - rows.start, questions), dtype=np.bool_).astype(np.float64)
