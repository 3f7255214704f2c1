"""Averages over seeds and questions: literals by hand, and the rate of false findings under the null."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hbt_bench.errors import DataError
from hbt_bench.stats.seeds import SeedQuestionMean, SquaredErrors

#: The t that 2.5 % exceed, from a printed table: 1, 2, 9 degrees of freedom.
T = {1: 12.7062, 2: 4.3027, 9: 2.2622}


def test_interval_and_p_by_hand():
    """Seeds have the means 2 and 4, questions 1.5 and 4.5: variances of the mean 2/2 and 4.5/2.

    The deviations from both are +-0.5: a variance of 2 x 0.5 over questions, 1/4 of the mean, which both contain.
    """
    crossed = SeedQuestionMean.from_matrix(np.array([[1.0, 3.0], [2.0, 6.0]]))
    assert crossed.value == 3.0
    assert crossed.spread == pytest.approx(math.sqrt(2))
    errors = crossed.squared_errors
    assert (errors.by_seed, errors.by_question, errors.rest) == pytest.approx((1, 2.25, 0.25))
    assert (errors.seeds_alone, errors.questions_alone) == pytest.approx((0.75, 2))
    assert crossed.error == pytest.approx(math.sqrt(3))
    width = T[1] * math.sqrt(2.25 + 1.05 * 0.75)
    assert crossed.interval == pytest.approx((3 - width, 3 + width), rel=1e-5)
    # with one degree of freedom, t is Cauchy's distribution
    assert crossed.p_value == pytest.approx(1 - 2 / math.pi * math.atan(3 / math.sqrt(3.0375)))


def test_margin_by_hand():
    """Three seeds (t with 2 degrees of freedom) and ten questions (t with 9)."""
    equal_seeds = SquaredErrors(0.02, 3, 0.2, 10, 0.02).margin(0.05)
    assert equal_seeds == pytest.approx(T[9] * math.sqrt(0.2), rel=1e-4)
    mixed = SquaredErrors(0.05, 3, 0.2, 10, 0.02).margin(0.05)
    assert mixed == pytest.approx(math.sqrt(T[9] ** 2 * 0.2 + 1.05 * T[9] * T[2] * 0.03), rel=1e-4)
    varied_seeds = SquaredErrors(1.0, 3, 0.2, 10, 0.02).margin(0.05)
    k = T[2] * math.sqrt(1 / (T[2] ** 2 + 2))
    assert varied_seeds == pytest.approx(math.sqrt(T[2] ** 2 * 1.0 + T[9] * k * 0.18), rel=1e-4)


def test_margin_is_never_below_that_of_questions_alone():
    for by_seed in (0.0, 0.01, 0.1, 1.0):
        assert SquaredErrors(by_seed, 4, 0.1, 10, 0.05).margin(0.05) >= T[9] * math.sqrt(0.1) * (1 - 1e-4)


def test_unknown_rest_is_on_the_safe_side():
    known, unknown = (SquaredErrors(0.3, 3, 0.2, 100, rest).margin(0.05) for rest in (0.1, 0.0))
    assert known < unknown


def test_weights_by_hand():
    """A cluster of three questions and one of one: the value is their mean over the four questions."""
    crossed = SeedQuestionMean.from_matrix(np.array([[1.0, 3.0], [2.0, 6.0]]), np.array([3, 1]))
    assert crossed.seeds == pytest.approx([1.5, 3.0])
    # deviations -.5, 1.5 and -1, 3, times 2 x 3/4 and 2 x 1/4: +-.75 and +-1.5, means +-1.125
    assert crossed.squared_errors.by_question == pytest.approx(2 * 1.125**2 / 2)
    assert crossed.squared_errors.rest == pytest.approx(2 * (0.75**2 / 2) / 2 / 2)


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
    # seeds differ by 0.5 and 0.5, questions by 0 and 1, and nothing is left
    errors = paired.squared_errors
    assert (errors.by_seed, errors.by_question, errors.rest) == pytest.approx((0, 0.25, 0))
    # second samples of questions: (4.5 + 2.0) / 2, with a rest of 0.25 each (+-0.5 of +-1.5, +-0.5 of +-1)
    errors = unpaired.squared_errors
    assert (errors.by_seed, errors.by_question, errors.rest) == pytest.approx((0, 4.5 / 2 + 2.0 / 2, 0.5))
    assert [group.tolist() for group in paired.questions] == [[[-0.5, 0.5], [-0.5, 0.5]]]
    assert [group.tolist() for group in unpaired.questions] == [
        [[-1.0, 1.0], [-2.0, 2.0]],
        [[0.5, -0.5], [1.5, -1.5]],
    ]


def test_average_over_tasks_by_hand():
    first, second = (
        SeedQuestionMean.from_matrix(np.array([[1.0, 3.0], [2.0, 6.0]])),
        SeedQuestionMean.from_matrix(np.array([[0.0, 2.0], [2.0, 4.0]])),
    )
    mean = SeedQuestionMean.average([first, second])
    assert mean.value == (3 + 2) / 2
    # seeds: (2 + 1) / 2 and (4 + 3) / 2, variance 2; questions: quarters of the variances 4.5 and 2
    errors = mean.squared_errors
    assert (errors.by_seed, errors.by_question, errors.rest) == pytest.approx((1, (4.5 / 4 + 2 / 4) / 2, 0.25 / 4))


def test_average_over_tasks_with_the_same_questions():
    """Two shifts of the same questions are no second samples: a copy of a task adds no certainty."""
    first, second = (
        SeedQuestionMean.from_matrix(np.array([[1.0, 3.0], [2.0, 6.0]])),
        SeedQuestionMean.from_matrix(np.array([[0.0, 2.0], [2.0, 4.0]])),
    )
    same = SeedQuestionMean.average([first, second], ["xquad", "xquad"])
    # questions: (1.5 + 1) / 2 and (4.5 + 3) / 2, variance 3.125, a single sample of second
    assert same.value == 2.5
    assert (same.squared_errors.by_seed, same.squared_errors.by_question) == pytest.approx((2 / 2, 3.125 / 2))
    assert SeedQuestionMean.average([first, first], ["xquad", "xquad"]).interval == pytest.approx(first.interval)
    different = SeedQuestionMean.average([first, second], ["xquad", "scifact"])
    assert different.error == SeedQuestionMean.average([first, second]).error


def test_p_value_without_variance():
    assert SeedQuestionMean.from_matrix(np.zeros((3, 5))).p_value == 1.0
    assert SeedQuestionMean.from_matrix(np.ones((3, 5))).p_value == 0.0
    # so little variance that p would be below the smallest p
    assert SeedQuestionMean.from_matrix(1 + 1e-9 * np.add.outer(np.arange(40), np.arange(400))).p_value == 1e-20


def test_single_seed_and_other_questions_raise():
    with pytest.raises(DataError, match="add seeds"):
        SeedQuestionMean.from_matrix(np.ones((1, 3)))
    with pytest.raises(DataError, match="add seeds"):
        SeedQuestionMean.from_matrix(np.ones((3, 1)))
    with pytest.raises(DataError, match="different seeds or answered different questions"):
        SeedQuestionMean.from_matrix(np.zeros((2, 3))) - SeedQuestionMean.from_matrix(np.zeros((2, 4)))


values = st.floats(-1, 1).map(lambda value: round(value, 3))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(values, min_size=4, max_size=4), min_size=2, max_size=4))
def test_p_value_and_interval_agree(rows):
    crossed = SeedQuestionMean.from_matrix(np.array(rows))
    low, high = crossed.interval
    if min(abs(low), abs(high)) > 1e-6:
        assert (crossed.p_value < 0.05) == (low > 0 or high < 0)


def rejections(seed_variance, effect, seeds=3, rest=0.5, questions=60, studies=1500):
    """How often 0 is outside of the interval; variances of the mean by seed relative to that by question."""
    generator = np.random.default_rng(7)
    by_seed, by_question = math.sqrt(seed_variance * seeds / questions), math.sqrt(max(0.0, 1 - rest**2 / seeds))
    rejected = 0
    for _ in range(studies):
        drawn = generator.normal(0, by_seed, (seeds, 1)) + generator.normal(0, by_question, (1, questions))
        values = effect + drawn + generator.normal(0, rest, (seeds, questions))
        low, high = SeedQuestionMean.from_matrix(values).interval
        rejected += low > 0 or high < 0
    return rejected / studies


@pytest.mark.parametrize("seed_variance", [0, 0.3, 1, 4, 30])
def test_true_null_is_rejected_at_most_5_percent(seed_variance):
    """1,500 draws have a standard error of 0.0056; a test by question alone rejects 1/6 at equal variances."""
    assert rejections(seed_variance, 0.0, rest=0.9) <= 0.05 + 2 * 0.0056


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_rate_of_false_findings_by_integration(seeds):
    """Integrate over the estimated variance by seed, whose distribution is chi-squared; other variances are known."""
    from scipy.special import erfc
    from scipy.stats import chi2

    nodes, weights = np.polynomial.legendre.leggauss(100)
    steps = (nodes + 1) / 2
    drawn = chi2.ppf(steps**4, seeds - 1) / (seeds - 1)
    rates = {}
    for rest in (0.0, 0.3, 1.0):
        for alone in (0.0, 0.03, 0.3, 1.0, 3.0, 10.0, 30.0, 1e4):
            by_seed = (rest + alone) * drawn
            margins = np.array([SquaredErrors(float(x), seeds, 1.0, 10**9, rest).margin(0.05) for x in by_seed])
            tails = erfc(margins / math.sqrt(2 * (1 + alone)))
            rates[rest, alone] = float((weights / 2 * 4 * steps**3 * tails).sum())
    assert max(rates.values()) <= 0.05 + 1e-5
    # the rate is reached if the seeds are equal and nothing is specific to them, and if they vary a lot
    assert rates[0.0, 0.0] == pytest.approx(0.05, abs=1e-4)
    assert rates[1.0, 1e4] == pytest.approx(0.05, abs=1e-4)


def test_rest_is_counted_once():
    """If the seeds are equal, half of the variance is rest; counted twice, a true null would be rejected in 0.5 %."""
    assert 0.025 < rejections(0, 0.0, seeds=5, rest=math.sqrt(2.5)) <= 0.05 + 2 * 0.0056


def test_effect_is_detected():
    assert rejections(0.1, 0.7, studies=300) > 0.9


def test_equivalence_by_hand():
    """The two one-sided tests at 5 % are whether the 90 % interval is inside the margin."""
    crossed = SeedQuestionMean.from_matrix(np.random.default_rng(3).normal(0.002, 0.05, (4, 200)))
    width = crossed.squared_errors.margin(0.10)
    edge = abs(crossed.value) + width
    assert crossed.p_equivalent(edge) == pytest.approx(0.05)
    assert crossed.p_equivalent(edge * 1.01) < 0.05 < crossed.p_equivalent(edge * 0.99)
    assert crossed.p_equivalent(abs(crossed.value) / 2) > 0.5
    assert SeedQuestionMean.from_matrix(np.full((2, 3), 0.5)).p_equivalent(0.6) == 0.0
