"""Statistics of training strategies: models of several seeds that all answered the same questions.

A difference between strategies must hold for other questions and for other seeds, so both are samples. The two are
crossed: every model answers every question. The variance of a mean is that of the means by seed plus that of the means
by question; what is left over counts in both, which errs on the safe side (Clark 1973's min F', J. Verbal Learning and
Verbal Behavior 12, 335-359). Of few seeds the variance is hardly known, and an approximation by degrees of freedom
rejects too often then; so the critical value is the mean of the two t quantiles, weighted by the variances, which never
rejects too often (Cochran & Cox 1957, Experimental Designs, 4.14).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hbt_bench.errors import DataError
from hbt_bench.stats.paired import CONFIDENCE, Array

#: Differences of this part of the values are rounding.
_ROUNDING = 1e-12
#: Below this a p-value is not told, and t quantiles are no longer exact.
_SMALLEST = 1e-20


@dataclass(frozen=True, eq=False)
class SeedQuestionMean:
    """An average over seeds and questions, or a difference of such averages.

    `seeds` (seeds,) is the average that each seed's model has. `questions` are groups, each of other questions, with
    the mean over the seeds for each question, (questions,); where no questions are known there is no group, and seeds
    alone are tested. Raises `DataError` for fewer than two seeds or questions, which have no variance.
    """

    seeds: Array
    questions: tuple[Array, ...] = ()

    def __post_init__(self) -> None:
        """Check that there are variances."""
        if len(self.seeds) < 2 or any(len(group) < 2 for group in self.questions):
            raise DataError("a test over seeds and questions needs two of both at least: add seeds")

    @classmethod
    def of(cls, values: Array) -> SeedQuestionMean:
        """Gather `values` (seeds, questions), whose mean is the average."""
        return cls(values.mean(axis=1), (values.mean(axis=0),))

    @classmethod
    def mean(cls, parts: Sequence[SeedQuestionMean], samples: Sequence[Hashable] | None = None) -> SeedQuestionMean:
        """The mean of averages over different questions, or over the same ones where parts have the same of `samples`.

        A question that is asked several times, as with several shifts, is one question: its values are averaged.
        """
        groups: dict[Hashable, Array] = {}
        for part, sample in zip(parts, samples or range(len(parts)), strict=True):
            for number, group in enumerate(part.questions):
                groups[sample, number] = groups.get((sample, number), np.zeros(len(group))) + group / len(parts)
        return cls(np.mean([part.seeds for part in parts], axis=0), tuple(groups.values()))

    def __sub__(self, other: SeedQuestionMean) -> SeedQuestionMean:
        """The difference on the same seeds and questions."""
        if [len(self.seeds), *map(len, self.questions)] != [len(other.seeds), *map(len, other.questions)]:
            raise DataError("the models are of different seeds or answered different questions")
        pairs = zip(self.questions, other.questions, strict=True)
        return SeedQuestionMean(self.seeds - other.seeds, tuple(one - two for one, two in pairs))

    def apart(self, other: SeedQuestionMean) -> SeedQuestionMean:
        """The difference on the same seeds and different questions."""
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
        """The t that is exceeded, on both sides together, with the probability `p` under the null."""
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
        """Two-sided p of the average being 0; it is below 0.05 if and only if 0 is outside of the interval.

        Not told below 1e-20; 0 where there is no variance at all.
        """
        from scipy.optimize import brentq

        size = max((float(np.abs(group).max()) for group in (self.seeds, *self.questions)), default=0.0)
        if abs(self.value) <= _ROUNDING * size or not size:
            return 1.0
        if self.error <= _ROUNDING * size:
            return 0.0
        wanted = abs(self.value) / self.error
        if self._critical(_SMALLEST) <= wanted:
            return _SMALLEST
        # in logarithms, so that small p are as exact as large ones
        logarithm = brentq(lambda log: self._critical(math.exp(log)) - wanted, math.log(_SMALLEST), 0.0, xtol=1e-10)
        return math.exp(logarithm)
