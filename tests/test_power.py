"""The differences that a study can show: shares by hand, and power by simulation."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from hbt_bench.stats.power import (
    paired_p_equivalent,
    paired_smallest_difference,
    planned,
    power,
    seeds_needed,
    smallest_difference,
)
from hbt_bench.stats.seeds import SeedQuestionMean, SquaredErrors

#: Parts of the mean: seeds 0.25, questions 0.5, rest 0.25.
ERRORS = SquaredErrors(0.5, 3, 0.75, 1000, 0.25)


def test_parts_shrink_with_seeds_and_questions():
    six = planned(ERRORS, 6)
    assert (six.seeds_alone, six.questions_alone, six.rest) == pytest.approx((0.125, 0.5, 0.125))
    many = planned(ERRORS, 3, 4000)
    assert (many.seeds_alone, many.questions_alone, many.rest) == pytest.approx((0.25, 0.125, 0.0625))
    assert many.questions == 4000
    assert planned(SquaredErrors(0.5, 3), 6) == SquaredErrors(0.25, 6)


def test_power_agrees_with_simulation():
    """Five seeds and 400 questions: the seeds vary by 0.02, the questions by 0.2, the rest by 0.3."""
    generator, found, errors = np.random.default_rng(2), 0, []
    truth = SquaredErrors(0.02**2 / 5 + 0.3**2 / 2000, 5, 0.2**2 / 400 + 0.3**2 / 2000, 400, 0.3**2 / 2000)
    for _ in range(1500):
        values = generator.normal(0.04, 0.02, (5, 1)) + generator.normal(0, 0.2, 400)
        mean = SeedQuestionMean.from_matrix(values + generator.normal(0, 0.3, (5, 400)))
        found += mean.squared_errors.margin(0.05) < abs(mean.value)
        errors.append(mean.squared_errors.total)
    assert np.mean(errors) == pytest.approx(truth.total, rel=0.03)
    assert found / 1500 == pytest.approx(power(truth, 0.04), abs=0.025)


def test_smallest_difference_has_the_power():
    difference = smallest_difference(ERRORS)
    assert power(ERRORS, difference) == pytest.approx(0.8)
    # with many seeds, only the questions are left, and quantiles are those of the normal distribution
    rest = smallest_difference(planned(ERRORS, 100_000))
    assert rest == pytest.approx((norm.isf(0.025) + norm.isf(0.2)) * math.sqrt(0.5), rel=2e-3)
    assert smallest_difference(SquaredErrors(0.0, 3, 0.0, 10)) == 0.0


def test_seeds_needed():
    seeds = seeds_needed(ERRORS, 3.0)
    assert power(planned(ERRORS, seeds), 3.0) >= 0.8 > power(planned(ERRORS, seeds - 1), 3.0)
    assert seeds_needed(ERRORS, 1.5) is None  # the questions alone need 1.98


def test_paired_tests_by_hand():
    assert paired_smallest_difference(0.01, 10**6) == pytest.approx(0.01 * (1.95996 + 0.84162), rel=1e-4)
    # (0.01 - 0.002) / 0.004 = 2 standard errors
    assert paired_p_equivalent(-0.002, 0.004, 10**6, 0.01) == pytest.approx(norm.sf(2), rel=1e-3)
    assert paired_p_equivalent(0.02, 0.004, 10**6, 0.01) > 0.99
    assert paired_p_equivalent(0.0, 0.0, 10, 0.01) == 0.0
