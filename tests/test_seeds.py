"""Averages over seeds and questions: literals by hand, and the rate of false findings under the null."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hbt_bench.errors import DataError
from hbt_bench.stats.seeds import SeedQuestionMean

#: The t that 2.5 % exceed, from a printed table: 1, 2, 9 degrees of freedom.
T = {1: 12.7062, 2: 4.3027, 9: 2.2622}


def test_interval_and_p_by_hand():
    """Seeds have the means 2 and 4, questions 1.5 and 4.5: variances of the mean 2/2 and 4.5/2."""
    crossed = SeedQuestionMean.from_matrix(np.array([[1.0, 3.0], [2.0, 6.0]]))
    assert crossed.value == 3.0
    assert crossed.spread == pytest.approx(math.sqrt(2))
    assert crossed.error == pytest.approx(math.sqrt(3.25))
    assert crossed.interval == pytest.approx((3 - T[1] * math.sqrt(3.25), 3 + T[1] * math.sqrt(3.25)), rel=1e-5)
    # with one degree of freedom, t is Cauchy's distribution
    assert crossed.p_value == pytest.approx(1 - 2 / math.pi * math.atan(3 / math.sqrt(3.25)))


def test_critical_value_is_weighted_by_variances():
    seeds = np.array([0.0, 1.0, 2.0])  # variance 1, of the mean 1/3, 2 degrees of freedom
    questions = np.array([1.0, 4.0, -2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])  # 18 / 9 = 2, of the mean 1/5, 9
    crossed = SeedQuestionMean(seeds, (questions,))
    critical = (T[2] / 3 + T[9] / 5) / (1 / 3 + 1 / 5)
    assert crossed.interval[1] - 1 == pytest.approx(critical * math.sqrt(1 / 3 + 1 / 5), rel=1e-4)


def test_seeds_alone_give_paired_t_test():
    """Without questions it is the paired t-test: t = 2 / (1 / sqrt 3)."""
    from scipy.stats import ttest_1samp

    assert SeedQuestionMean(np.array([1.0, 2.0, 3.0])).p_value == pytest.approx(ttest_1samp([1, 2, 3], 0).pvalue)


def test_paired_and_unpaired_differences_by_hand():
    first, second = (
        SeedQuestionMean.from_matrix(np.array([[1.0, 3.0], [2.0, 6.0]])),
        SeedQuestionMean.from_matrix(np.array([[1.0, 2.0], [2.0, 5.0]])),
    )
    paired, unpaired = first - second, first.unpaired_difference(second)
    assert paired.value == unpaired.value == 0.5
    # seeds differ by 0.5 and 0.5, questions by 0 and 1: 0/2 + 0.5/2
    assert paired.error == pytest.approx(math.sqrt(0.25))
    # second samples of questions: (4.5 + 4.5 with means 1.5 and 3.5: 2) / 2
    assert unpaired.error == pytest.approx(math.sqrt(4.5 / 2 + 2.0 / 2))
    assert [group.tolist() for group in paired.questions] == [[0.0, 1.0]]
    assert [group.tolist() for group in unpaired.questions] == [[1.5, 4.5], [-1.5, -3.5]]


def test_average_over_tasks_by_hand():
    first, second = (
        SeedQuestionMean.from_matrix(np.array([[1.0, 3.0], [2.0, 6.0]])),
        SeedQuestionMean.from_matrix(np.array([[0.0, 2.0], [2.0, 4.0]])),
    )
    mean = SeedQuestionMean.average([first, second])
    assert mean.value == (3 + 2) / 2
    # seeds: (2 + 1) / 2 and (4 + 3) / 2, variance 2; questions: halves of 1.5, 4.5 and of 1, 3
    assert mean.error == pytest.approx(math.sqrt(2 / 2 + (4.5 / 4 + 2 / 4) / 2))
    assert [group.tolist() for group in mean.questions] == [[0.75, 2.25], [0.5, 1.5]]


def test_average_over_tasks_with_the_same_questions():
    """Two shifts of the same questions are no second samples: a copy of a task adds no certainty."""
    first, second = (
        SeedQuestionMean.from_matrix(np.array([[1.0, 3.0], [2.0, 6.0]])),
        SeedQuestionMean.from_matrix(np.array([[0.0, 2.0], [2.0, 4.0]])),
    )
    same = SeedQuestionMean.average([first, second], ["xquad", "xquad"])
    # questions: (1.5 + 1) / 2 and (4.5 + 3) / 2, variance 3.125, a single sample of second
    assert same.value == 2.5
    assert same.error == pytest.approx(math.sqrt(2 / 2 + 3.125 / 2))
    assert SeedQuestionMean.average([first, first], ["xquad", "xquad"]).interval == pytest.approx(first.interval)
    different = SeedQuestionMean.average([first, second], ["xquad", "scifact"])
    assert different.error == SeedQuestionMean.average([first, second]).error


def test_p_value_without_variance():
    assert SeedQuestionMean(np.zeros(3), (np.zeros(5),)).p_value == 1.0
    assert SeedQuestionMean(np.ones(3), (np.ones(5),)).p_value == 0.0
    # so little variance that p would be below the smallest p
    assert SeedQuestionMean(1 + 1e-9 * np.arange(40), (1 + 1e-9 * np.arange(400),)).p_value == 1e-20


def test_single_seed_and_other_questions_raise():
    with pytest.raises(DataError, match="add seeds"):
        SeedQuestionMean(np.array([1.0]), (np.ones(3),))
    with pytest.raises(DataError, match="different seeds or answered different questions"):
        SeedQuestionMean(np.zeros(2), (np.zeros(3),)) - SeedQuestionMean(np.zeros(2), (np.zeros(4),))


values = st.floats(-1, 1).map(lambda value: round(value, 3))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(values, min_size=4, max_size=4), min_size=2, max_size=4))
def test_p_value_and_interval_agree(rows):
    crossed = SeedQuestionMean.from_matrix(np.array(rows))
    low, high = crossed.interval
    if min(abs(low), abs(high)) > 1e-6:
        assert (crossed.p_value < 0.05) == (low > 0 or high < 0)


def rejections(seed_variance, effect, seeds=3, questions=60, studies=1500):
    """How often 0 is outside of the interval; variances of the mean by seed relative to that by question."""
    generator = np.random.default_rng(7)
    by_seed = math.sqrt(seed_variance * seeds / questions)
    rejected = 0
    for _ in range(studies):
        drawn = generator.normal(0, by_seed, (seeds, 1)) + generator.normal(0, 1, (1, questions))
        low, high = SeedQuestionMean.from_matrix(effect + drawn + generator.normal(0, 0.5, (seeds, questions))).interval
        rejected += low > 0 or high < 0
    return rejected / studies


@pytest.mark.parametrize("seed_variance", [0, 0.3, 1, 4, 30])
def test_true_null_is_rejected_at_most_5_percent(seed_variance):
    """1,500 draws have a standard error of 0.0056; a test by question alone rejects 1/6 at equal variances."""
    assert rejections(seed_variance, 0.0) <= 0.05 + 2 * 0.0056


def test_effect_is_detected():
    assert rejections(0.1, 0.7, studies=300) > 0.9
