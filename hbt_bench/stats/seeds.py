"""Statistics of training strategies: models of several seeds that all answered the same questions.

A difference between strategies must hold for other questions and for other seeds, so both are samples. The two are
crossed: every model answers every question. The variance of a mean is the variance of the means by seed plus that of
the means by question. The remaining variance counts in both, which errs on the safe side (Clark 1973's min F', J.
Verbal Learning and Verbal Behavior 12, 335-359). Few seeds give a poor estimate of their variance, and an
approximation by degrees of freedom rejects too often then. The critical value is therefore the mean of the two t
quantiles, weighted by the variances, which never rejects too often (Cochran & Cox 1957, Experimental Designs, 4.14).
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


@dataclass(frozen=True, eq=False)
class SeedQuestionMean:
    """An average over seeds and questions, or a difference of such averages.

    `seeds` (seeds,) is the average of each seed's model. `questions` has a group for each sample of questions, with the
    mean over the seeds for each question, (questions,). Without groups, the test is over the seeds alone. Raises
    `DataError` for fewer than two seeds or questions, which have no variance.

    Example:
        Two seeds (rows) that answered two questions (columns).

        >>> SeedQuestionMean.from_matrix(np.array([[1.0, 3.0], [2.0, 6.0]])).value
        3.0
    """

    seeds: Array
    questions: tuple[Array, ...] = ()

    def __post_init__(self) -> None:
        """Check that there are variances."""
        if len(self.seeds) < 2 or any(len(group) < 2 for group in self.questions):
            raise DataError("a test over seeds and questions needs at least two of both: add seeds")

    @classmethod
    def from_matrix(cls, values: Array) -> SeedQuestionMean:
        """Average a matrix (seeds, questions)."""
        return cls(values.mean(axis=1), (values.mean(axis=0),))

    @classmethod
    def average(cls, means: Sequence[SeedQuestionMean], samples: Sequence[Hashable] | None = None) -> SeedQuestionMean:
        """Average means over different questions, or over the same questions if they have the same entry of `samples`.

        A question that is asked several times, for example with several query shifts, is still a single question: its
        values are averaged.
        """
        groups: dict[Hashable, Array] = {}
        for mean, sample in zip(means, samples or range(len(means)), strict=True):
            for number, group in enumerate(mean.questions):
                groups[sample, number] = groups.get((sample, number), np.zeros(len(group))) + group / len(means)
        return cls(np.mean([mean.seeds for mean in means], axis=0), tuple(groups.values()))

    def __sub__(self, other: SeedQuestionMean) -> SeedQuestionMean:
        """Return the difference on the same seeds and questions."""
        if [len(self.seeds), *map(len, self.questions)] != [len(other.seeds), *map(len, other.questions)]:
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
    def _variances(self) -> tuple[tuple[float, int], ...]:
        """The variances of the mean by seed and by question, each with its degrees of freedom."""
        by_seed = (float(self.seeds.var(ddof=1)) / len(self.seeds), len(self.seeds) - 1)
        if not self.questions:
            return (by_seed,)
        by_question = sum(float(group.var(ddof=1)) / len(group) for group in self.questions)
        return by_seed, (by_question, min(len(group) for group in self.questions) - 1)

    @property
    def error(self) -> float:
        """The standard error of the average."""
        return math.sqrt(sum(variance for variance, _ in self._variances))

    def _critical(self, p: float) -> float:
        """Return the t that is exceeded, on both sides together, with the probability `p` under the null."""
        from scipy.stats import t

        total = sum(variance for variance, _ in self._variances)
        return sum(variance * float(t.isf(p / 2, freedom)) for variance, freedom in self._variances) / total

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the average."""
        width = self.error * self._critical(1 - CONFIDENCE) if self.error else 0.0
        return self.value - width, self.value + width

    @property
    def p_value(self) -> float:
        """Two-sided p of the average being 0; it is below 0.05 if and only if the interval excludes 0.

        The smallest p is 1e-20, or 0 if there is no variance at all.
        """
        from scipy.optimize import brentq

        size = max((float(np.abs(group).max()) for group in (self.seeds, *self.questions)), default=0.0)
        if abs(self.value) <= _ROUNDING * size or not size:
            return 1.0
        if self.error <= _ROUNDING * size:
            return 0.0
        observed = abs(self.value) / self.error
        if self._critical(_SMALLEST) <= observed:
            return _SMALLEST
        # solve for log p, so that small p are as exact as large p
        logarithm = brentq(lambda log: self._critical(math.exp(log)) - observed, math.log(_SMALLEST), 0.0, xtol=1e-10)
        return math.exp(logarithm)
