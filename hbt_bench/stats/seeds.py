"""Statistics of training strategies: models of several seeds that all answered the same questions.

A difference between strategies must hold for other questions and for other seeds, so both are samples. The two are
crossed: every model answers every question. A value is the sum of a seed's effect (variance a for the mean over all
seeds and questions), a question's effect (b), and the rest, which is specific to the seed and the question (r). The
mean has the variance a + b + r. The means by seed estimate a + r, the means by question b + r, and the deviations from
both estimate r, so r is counted once.

Only a few seeds estimate a + r. `SquaredErrors.margin` has the critical value, and explains why it never rejects a true
null too often.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hbt_bench.errors import DataError
from hbt_bench.stats.clusters import CONFIDENCE, Array

#: Relative size of rounding errors.
_ROUNDING = 1e-12
#: The smallest p-value: t quantiles are not exact below it.
_SMALLEST = 1e-20
#: The smallest ratio at which the test keeps 5 % with any number of seeds, by `benchmarks/crossed_test.py`.
_STEEPNESS = 1.05


@dataclass(frozen=True)
class SquaredErrors:
    """Squared standard errors of a mean over crossed seeds and questions.

    `by_seed` comes from the means of the `seeds`, and `by_question` from the means of the `questions` (or of the
    clusters of questions). Both contain `rest`, which is specific to a seed and a question; a rest of 0 is on the safe
    side. Without questions, the seeds are the only sample.

    Example:
        Three seeds with equal means still need the difference that 1,001 questions need.

        >>> round(SquaredErrors(by_seed=0.0, seeds=3, by_question=1.0, questions=1001).margin(0.05), 2)
        1.96
    """

    by_seed: float
    seeds: int
    by_question: float = 0.0
    questions: int = 0
    rest: float = 0.0

    def __post_init__(self) -> None:
        """Check that there are variances."""
        if self.seeds < 2 or self.questions == 1:
            raise DataError("a test over seeds and questions needs at least two of both: add seeds")

    @property
    def _rest(self) -> float:
        return min(self.rest, self.by_question)

    @property
    def seeds_alone(self) -> float:
        """The part of the seeds, without the rest; estimates below 0 are 0."""
        return max(0.0, self.by_seed - self._rest)

    @property
    def questions_alone(self) -> float:
        """The part of the questions, without the rest."""
        return self.by_question - self._rest

    @property
    def total(self) -> float:
        """The squared standard error of the mean."""
        return self.by_question + self.seeds_alone

    def margin(self, p: float) -> float:
        """Return the size of a mean that is exceeded, on both sides together, with the probability `p` under the null.

        With t the quantile for seeds and q that for questions, the squared margin is the larger of

        - q² by_question + 1.05 q t seeds_alone, which is exact if all seeds are equal, and
        - t² by_seed + q k questions_alone, where k² = t² (f - 1) / (t² + f) for f degrees of freedom of the seeds. The
          constant k² makes the margin exact up to the first order of 1 / by_seed if the seeds vary a lot.

        In between, the rate of rejections was integrated numerically: it is at most `p` for any share of the seeds and
        of the rest. Banerjee (1960, Sankhya 22, 351-358) proved this for t² by_seed + q² questions_alone, which is
        larger. A smaller margin that adds degrees of freedom (Satterthwaite) rejects a true null too often.
        """
        from scipy.special import stdtrit

        freedom = self.seeds - 1
        t = -float(stdtrit(freedom, p / 2))
        if not self.questions:
            return t * math.sqrt(self.by_seed)
        q = -float(stdtrit(self.questions - 1, p / 2))
        k = t * math.sqrt((freedom - 1) / (t * t + freedom))
        equal_seeds = q * q * self.by_question + _STEEPNESS * q * t * self.seeds_alone
        return math.sqrt(max(equal_seeds, t * t * self.by_seed + q * k * self.questions_alone))

    def p_value(self, value: float) -> float:
        """Return the two-sided p of a mean: its size is the margin for this p. The smallest p is 1e-20."""
        from scipy.optimize import brentq

        observed = abs(value)
        if self.margin(_SMALLEST) <= observed:
            return _SMALLEST
        # solve for log p, so that small p are as exact as large p
        logarithm = brentq(lambda log: self.margin(math.exp(log)) - observed, math.log(_SMALLEST), 0.0, xtol=1e-10)
        return math.exp(logarithm)


@dataclass(frozen=True, eq=False)
class SeedQuestionMean:
    """An average over seeds and questions, or a difference of such averages.

    `seeds` (seeds,) is the average of each seed's model. `questions` has a matrix for each sample of questions, (seeds,
    questions): the deviation of a question from the seed's average, times its weight and the number of questions.
    Without questions, the test is over the seeds alone. Raises `DataError` for fewer than two seeds or questions, which
    have no variance.

    Example:
        Two seeds (rows) that answered two questions (columns).

        >>> SeedQuestionMean.from_matrix(np.array([[1.0, 3.0], [2.0, 6.0]])).value
        3.0
    """

    seeds: Array
    questions: tuple[Array, ...] = ()

    def __post_init__(self) -> None:
        """Check that there are variances."""
        _ = self.squared_errors

    @classmethod
    def from_matrix(cls, values: Array, weights: Array | None = None) -> SeedQuestionMean:
        """Average a matrix (seeds, questions) with `weights` (questions,), which are equal by default.

        A column may be a cluster of questions with their mean as value, and their number as weight.
        """
        shares = np.ones(values.shape[1]) if weights is None else weights
        shares = shares / shares.sum()
        seeds = values @ shares
        return cls(seeds, ((values - seeds[:, None]) * (shares * len(shares)),))

    @classmethod
    def average(cls, means: Sequence[SeedQuestionMean], samples: Sequence[Hashable] | None = None) -> SeedQuestionMean:
        """Average means over different questions, or over the same questions if they have the same entry of `samples`.

        A question that is asked several times, for example with several query shifts, is still a single question: its
        values are averaged.
        """
        groups: dict[Hashable, Array] = {}
        for mean, sample in zip(means, samples or range(len(means)), strict=True):
            for number, group in enumerate(mean.questions):
                groups[sample, number] = groups.get((sample, number), np.zeros(group.shape)) + group / len(means)
        return cls(np.mean([mean.seeds for mean in means], axis=0), tuple(groups.values()))

    def __sub__(self, other: SeedQuestionMean) -> SeedQuestionMean:
        """Return the difference on the same seeds and questions."""
        shapes = [[side.seeds.shape, *(group.shape for group in side.questions)] for side in (self, other)]
        if shapes[0] != shapes[1]:
            raise DataError("the models have different seeds or answered different questions")
        groups = zip(self.questions, other.questions, strict=True)
        return SeedQuestionMean(self.seeds - other.seeds, tuple(group - baseline for group, baseline in groups))

    def unpaired_difference(self, other: SeedQuestionMean) -> SeedQuestionMean:
        """Return the difference on the same seeds and different questions."""
        return SeedQuestionMean(self.seeds - other.seeds, (*self.questions, *(-group for group in other.questions)))

    @property
    def value(self) -> float:
        """The average."""
        return float(self.seeds.mean())

    @property
    def spread(self) -> float:
        """The standard deviation over seeds (n - 1)."""
        return float(self.seeds.std(ddof=1))

    @cached_property
    def squared_errors(self) -> SquaredErrors:
        """The squared standard errors of the average; those of several samples of questions add up."""
        seeds = len(self.seeds)
        by_seed = float(self.seeds.var(ddof=1)) / seeds if seeds > 1 else 0.0
        by_question = rest = 0.0
        counts = [group.shape[1] for group in self.questions]
        for group, count in zip(self.questions, counts, strict=True):
            if count > 1 and seeds > 1:
                pairs = count * (count - 1)
                by_question += float((group.mean(axis=0) ** 2).sum()) / pairs
                rest += float(group.var(axis=0, ddof=1).sum()) / seeds / pairs
        return SquaredErrors(by_seed, seeds, by_question, min(counts, default=0), rest)

    @property
    def error(self) -> float:
        """The standard error of the average."""
        return math.sqrt(self.squared_errors.total)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the average."""
        width = self.squared_errors.margin(1 - CONFIDENCE)
        return self.value - width, self.value + width

    @cached_property
    def _size(self) -> float:
        """The largest value, by which rounding errors are judged."""
        return max(float(np.abs(group).max()) for group in (self.seeds, *self.questions))

    @property
    def p_value(self) -> float:
        """Two-sided p of the average being 0; it is below 0.05 if and only if the interval excludes 0.

        The smallest p is 1e-20, or 0 if there is no variance at all.
        """
        if abs(self.value) <= _ROUNDING * self._size:
            return 1.0
        return 0.0 if self.error <= _ROUNDING * self._size else self.squared_errors.p_value(self.value)

    def p_equivalent(self, margin: float) -> float:
        """Return the p of two one-sided tests that the average is not between -`margin` and `margin`.

        Below 0.05, the average is the same as 0 within the margin (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15,
        657-680).
        """
        room = margin - abs(self.value)
        if self.error <= _ROUNDING * self._size:
            return float(room <= 0)
        p = self.squared_errors.p_value(room) / 2
        return p if room > 0 else 1 - p
