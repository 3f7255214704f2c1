"""Paired tests by question: literals worked out by hand, full enumeration, and the rejection rate under the null."""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from hbt_bench.errors import DataError
from hbt_bench.stats.clusters import Clusters, bootstrap, percentiles
from hbt_bench.stats.paired import Paired, _tilt, agreeing, holm, holm_levels, sign_flip_p

NAN = float("nan")


def matrix(*rows):
    return Clusters.from_matrix(np.array(rows, dtype=float))


def column(*values):
    return matrix(*([value] for value in values))


def test_different_queries_raise():
    with pytest.raises(DataError, match="did not answer the same queries"):
        Paired(matrix([1, 2], [3, 4]), matrix([1, 2], [3, NAN]))
    with pytest.raises(DataError, match="did not answer the same queries"):
        bootstrap([matrix([1, 2], [3, 4]), matrix([1, 2], [3, NAN])])


# Randomization test


def test_p_value_of_three_questions_by_hand():
    # of +-3 +-2 +-1, the sums 6, 4, -4 and -6 are as far from 0 as 3 + 2 - 1
    paired = Paired(column(3, 2, 0), column(0, 0, 1))
    assert paired.difference == pytest.approx(4 / 3)
    assert paired.p_value() == 4 / 8


def test_swap_takes_all_subsets_of_a_question():
    # the questions add (1/2 + 0.5/1)/2 = 0.5 and (1/2)/2 = 0.25; swapped query by query there would be 8 ways, not 4
    paired = Paired(matrix([1, 0.5], [1, NAN]), matrix([0, 0], [0, NAN]))
    assert paired.difference == 0.75
    assert paired.p_value() == 2 / 4


def test_equal_questions_do_not_change_p():
    system, baseline = column(3, 2, 0, *[0.5] * 50), column(0, 0, 1, *[0.5] * 50)
    assert Paired(system, baseline).p_value() == 4 / 8


def test_p_value_is_exact_or_above_zero():
    ones, zeros = column(*[1] * 13), column(*[0] * 13)
    assert Paired(ones, zeros).p_value() == 2 / 2**13
    assert Paired(ones, zeros).p_value(samples=2**13 - 1) == pytest.approx(2 / 2**13, abs=1e-3)  # drawn
    ones, zeros = column(*[1] * 60), column(*[0] * 60)
    assert Paired(ones, zeros).p_value() == 1 / 10_001  # (0 + 1) / (10,000 + 1)
    assert Paired(ones, zeros).p_value(samples=99) == 1 / 100


def enumerated_p(system, baseline):
    """Return the share of swaps with a difference of macro averages of at least the observed difference."""

    def difference(system_values, baseline_values):
        return abs(np.nanmean(system_values, axis=0).mean() - np.nanmean(baseline_values, axis=0).mean())

    observed, extreme = difference(system, baseline), 0
    for swaps in itertools.product([False, True], repeat=len(system)):
        swap = np.array(swaps)[:, None]
        swapped = difference(np.where(swap, baseline, system), np.where(swap, system, baseline))
        extreme += swapped >= observed - 1e-9
    return extreme / 2 ** len(system)


@pytest.mark.parametrize("seed", range(5))
def test_p_value_equals_full_enumeration(seed):
    generator = np.random.default_rng(seed)
    system, baseline = generator.random((2, 8, 4))
    absent = generator.random((8, 4)) < 0.3
    absent[0] = False
    system[absent] = baseline[absent] = NAN
    paired = Paired(Clusters.from_matrix(system), Clusters.from_matrix(baseline))
    assert paired.p_value() == enumerated_p(system, baseline)
    assert paired.p_value(samples=255) == pytest.approx(paired.p_value(), abs=0.12)  # drawn, no longer enumerated


def test_same_seed_gives_same_p():
    generator = np.random.default_rng(5)
    paired = Paired(*(Clusters.from_matrix(generator.random((300, 3))) for _ in range(2)))
    assert paired.p_value(seed=1) == paired.p_value(seed=1)
    assert paired.p_value(seed=1) != paired.p_value(seed=2)
    assert paired.p_value(seed=1) == pytest.approx(paired.p_value(seed=2), abs=0.03)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.permutations(range(7)), st.permutations(range(3)))
def test_order_of_questions_and_subsets_changes_nothing(seed, questions, subsets):
    values = np.random.default_rng(seed).integers(0, 4, (2, 7, 3)) / 4
    values[:, np.random.default_rng(seed).random((7, 3)) < 0.2] = NAN
    if np.isnan(values).all(axis=(0, 2)).any() or np.isnan(values).all(axis=(0, 1)).any():
        return
    plain = Paired(*(Clusters.from_matrix(matrix) for matrix in values))
    mixed = Paired(*(Clusters.from_matrix(matrix[questions][:, subsets]) for matrix in values))
    assert mixed.p_value() == plain.p_value()
    assert mixed.outcomes() == plain.outcomes()
    assert mixed.difference == pytest.approx(plain.difference, abs=1e-12)
    turned = Paired(plain.baseline, plain.system)
    assert turned.p_value() == plain.p_value()
    assert turned.outcomes() == plain.outcomes(lower_is_better=True)


def test_system_does_not_differ_from_itself():
    values = np.random.default_rng(6).random((400, 3))
    paired = Paired(Clusters.from_matrix(values), Clusters.from_matrix(values.copy()))
    assert (paired.difference, paired.p_value(), paired.outcomes(), paired.effect_size) == (0, 1, (0, 400, 0), 0)
    draws = bootstrap([paired.system, paired.baseline])
    assert percentiles(draws[0] - draws[1]) == (0, 0)


def correlated(generator, correlation, questions, languages):
    """Return scores with variance 1: an effect of the question, shared by its languages, plus noise."""
    shared = generator.standard_normal((questions, 1)) * correlation**0.5
    return shared + generator.standard_normal((questions, languages)) * (1 - correlation) ** 0.5


@pytest.mark.parametrize(("correlation", "plain"), [(0.0, (0.03, 0.07)), (0.25, (0.25, 0.35)), (0.5, (0.35, 0.5))])
def test_true_null_is_rejected_at_the_level(correlation, plain):
    """Two systems of equal quality, 50 questions in 11 languages, 1,000 times; a plain t-test takes 550 samples."""
    generator = np.random.default_rng(2010)
    clustered_rejections = plain_rejections = 0
    for seed in range(1000):
        system, baseline = (correlated(generator, correlation, 50, 11) for _ in range(2))
        paired = Paired(Clusters.from_matrix(system), Clusters.from_matrix(baseline))
        clustered_rejections += paired.p_value(samples=499, seed=seed) <= 0.05
        plain_rejections += ttest_rel(system.ravel(), baseline.ravel()).pvalue <= 0.05
    assert 0.035 <= clustered_rejections / 1000 <= 0.065
    assert plain[0] < plain_rejections / 1000 < plain[1]


def test_swaps_do_not_depend_on_chunk_size(monkeypatch):
    differences = np.random.default_rng(12).standard_normal(10)
    pair = Paired(column(*differences), column(*np.zeros(10)))
    exact, signs = pair.p_value(), sign_flip_p(differences)
    assert exact == signs
    assert exact * 1024 == int(exact * 1024)
    monkeypatch.setattr("hbt_bench.stats.clusters._CHUNK_BYTES", 8 * 10 * 7)
    assert (pair.p_value(), sign_flip_p(differences)) == (exact, signs)


# Holm


def test_holm_by_hand():
    # in order .005 x 4, .01 x 3, .03 x 2, and .04 x 1, which may not be below .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.5, 0.9]) == (1, 1)
    assert holm([0.02, 0.02, 0.02]) == pytest.approx((0.06, 0.06, 0.06))
    assert holm([0.03]) == (0.03,)
    assert holm([]) == ()


@given(st.lists(st.floats(0.0001, 1), min_size=1, max_size=12))
def test_holm_keeps_order_of_p_values(p_values):
    adjusted = holm(p_values)
    assert all(raw <= corrected <= 1 for raw, corrected in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


# Outcomes and effect size


def test_outcomes_and_effect_size_by_hand():
    paired = Paired(column(1, 0.5, 0.5, 0), column(0, 0.5, 0, 0.5))
    assert paired.outcomes() == (2, 1, 1)
    assert paired.outcomes(lower_is_better=True) == (1, 1, 2)
    assert paired.effect_size == pytest.approx(0.25 / (1.25 / 3) ** 0.5)


def test_outcomes_count_questions_over_their_subsets():
    # the first question wins 0.2 and loses 0.1; the second is in a single subset; the third ties but for rounding
    paired = Paired(
        matrix([0.7, 0.5, NAN], [NAN, 0.1, NAN], [0.1, 0.2, 0.3]),
        matrix([0.5, 0.6, NAN], [NAN, 0.2, NAN], [0.3, 0.2, 0.1]),
    )
    assert paired.system.by_question[2] != paired.baseline.by_question[2]
    assert paired.outcomes() == (1, 1, 1)


def test_undefined_effect_size_is_none():
    assert Paired(column(0.5, 0.7), column(0.4, 0.6)).effect_size is None  # the same difference everywhere
    assert Paired(column(0.5), column(0.4)).effect_size is None
    assert Paired(column(0.5), column(0.5)).effect_size == 0


# Cost


def test_cross_lingual_xquad_r_needs_little_memory():
    generator = np.random.default_rng(12)
    paired = Paired(*(Clusters.from_matrix(generator.random((1190, 110))) for _ in range(2)))
    tracemalloc.start()
    draws = bootstrap([paired.system, paired.baseline])
    assert percentiles(draws[1] - draws[0])[0] < 0 < percentiles(draws[1] - draws[0])[1]
    assert 0 < paired.p_value() <= 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


# The same test without drawing


def test_sign_flips_of_few_questions_are_exact():
    # of the 8 ways to change signs, 2 give a sum as far from 0 as 6, and 6 as far as 2 or 0
    assert sign_flip_p(np.array([1.0, 2.0, 3.0])) == 2 / 8
    # 1 + 2 - 3 = 0: every way is as extreme
    assert sign_flip_p(np.array([1.0, 2.0, -3.0])) == 1
    # 3 + 2 - 1 = 4 is reached or passed on both sides in 4 of 8 ways
    assert sign_flip_p(np.array([-1.0, 2.0, 3.0])) == 4 / 8
    assert sign_flip_p(np.zeros(50)) == 1
    assert sign_flip_p(np.r_[np.zeros(50), 1.0, 2.0, 3.0]) == 2 / 8
    sixteen = np.array([3, -1, 4, 1, -5, 9, 2, 6, -5, 3, 5, 8, 9, -7, 9, 3])  # the most that are counted
    assert sign_flip_p(sixteen / 9) == exact_p(sixteen)


def test_as_many_ways_as_samples_is_exact():
    assert Paired(column(1.0, 2.0, 3.0), column(0.0, 0.0, 0.0)).p_value(8) == 2 / 8


def test_all_questions_won_gives_smallest_p():
    assert sign_flip_p(np.linspace(1, 2, 40)) == 2.0**-39


@pytest.mark.parametrize("questions", [15, 60, 400])
@pytest.mark.parametrize("shift", [0.0, 0.1, 0.25, 0.5])
def test_saddlepoint_agrees_with_random_draws(questions, shift):
    generator = np.random.default_rng(questions)
    differences = (generator.standard_t(3, questions) * (generator.random(questions) < 0.7) + shift) / questions
    drawn = Paired(Clusters.from_matrix(differences[:, None]), Clusters.from_matrix(np.zeros((questions, 1)))).p_value(
        40_000
    )
    p = sign_flip_p(differences)
    error = 4 * np.sqrt(drawn * (1 - drawn) / 40_000) + 1e-4
    assert p == pytest.approx(drawn, abs=error + 0.03 * drawn)
    assert sign_flip_p(-differences) == pytest.approx(p, rel=1e-9)
    assert sign_flip_p(1e-6 * differences) == pytest.approx(p, rel=1e-6)


def test_saddlepoint_is_right_in_the_tail():
    """Twenty equal differences, 19 of the same sign: exactly 2 (1 + 20) of 2^20 ways; then uneven differences."""
    differences = np.ones(20)
    differences[0] = -1
    assert 1 <= sign_flip_p(differences) / (42 / 2**20) < 1.35  # sums are 2 apart, and the error is to a larger p
    uneven = np.random.default_rng(1).random(20) + 0.5
    ways = uneven @ (1 - 2 * (np.arange(1 << 20) >> np.arange(20)[:, None] & 1))
    signs = np.ones(20)
    signs[3] = -1
    exact = np.mean(np.abs(ways) >= abs(uneven @ signs) - 1e-12)
    assert exact < 1e-4
    assert sign_flip_p(uneven * signs) == pytest.approx(exact, rel=0.15)


def exact_p(differences):
    """Return the exact p for integers, from the distribution of the sum of the swapped sizes."""
    sizes = np.abs(differences)
    chances = np.zeros(sizes.sum() + 1)
    chances[0] = 1
    for size in sizes:
        unswapped, swapped = chances / 2, chances[: len(chances) - size] / 2
        chances = unswapped
        chances[size:] += swapped
    sums = sizes.sum() - 2 * np.arange(len(chances))
    return chances[np.abs(sums) >= abs(differences.sum())].sum()


@pytest.mark.parametrize("questions", [40, 100, 400])
@pytest.mark.parametrize("won", [0.5, 0.6, 0.75, 0.9])
def test_saddlepoint_agrees_with_exact_distribution(questions, won):
    """Down to p of 1e-53."""
    generator = np.random.default_rng(questions)
    signs = np.where(generator.random(questions) < won, 1, -1)
    uneven = generator.integers(100, 3000, questions) * signs
    exact = exact_p(uneven)  # few ways are as extreme, so the steps of p show
    assert sign_flip_p(uneven / 3000) == pytest.approx(exact, rel=0.003 + (exact * 2.0**questions) ** -0.5)
    even = generator.integers(1, 3, questions) * signs  # sums are steps apart, and the error is to a larger p
    assert -1e-6 < sign_flip_p(even / 7) / exact_p(even) - 1 < (0.04 if exact_p(even) > 1e-4 else 0.25)


@pytest.mark.parametrize("total", range(8))
def test_saddlepoint_of_small_sums(total):
    """A sum of 0 or, in steps of 2, of 2 is reached by every way or nearly so."""
    differences = np.array([1, -1] * 9 + [2, -2] * 9 + [1, 1, 2, 3 - total])
    p, exact = sign_flip_p(differences / 2), exact_p(differences)
    assert p <= 1
    assert p == pytest.approx(exact, rel=0.005)


@pytest.mark.parametrize("observed", [1e-9, 0.1, 0.9, 0.999999])
@pytest.mark.parametrize("sizes", [np.ones(20), np.r_[1.0, np.full(30, 1e-7)], np.geomspace(1e-9, 1, 50)])
def test_tilt_converges_for_any_sizes(sizes, observed):
    target = observed * sizes.sum()
    tilt = _tilt(sizes, target)
    assert (sizes * np.tanh(tilt * sizes)).sum() == pytest.approx(target, rel=1e-9)


@pytest.mark.parametrize("expected", [2e-4, 8e-4])
def test_p_near_zero_agrees_with_central_limit(expected):
    differences = np.random.default_rng(5).standard_normal(60)
    differences -= differences.mean()
    differences += expected * math.sqrt((differences**2).sum()) / 60
    deviations = differences.sum() / math.sqrt((differences**2).sum())
    assert deviations == pytest.approx(expected, rel=1e-4)
    assert sign_flip_p(differences) == pytest.approx(math.erfc(deviations / math.sqrt(2)), abs=1e-9)


def test_levels_of_holm_by_hand():
    assert holm_levels([0.03, 0.001, 0.2, 0.001]) == pytest.approx((0.025, 0.0125, 0.025, 0.0125))
    assert holm_levels([0.4, 0.3]) == (0.025, 0.025)
    assert holm_levels([0.01, 0.01, 0.04]) == pytest.approx((0.05 / 3, 0.05 / 3, 0.05))


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=12))
def test_levels_give_the_verdicts_of_holm(p_values):
    verdicts = [p < level for p, level in zip(p_values, holm_levels(p_values), strict=True)]
    assert verdicts == [p < 0.05 for p in holm(p_values)]


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1), st.booleans())
def test_interval_and_test_agree(first, second, difference, is_significant):
    assume(difference or not is_significant)
    low, high = agreeing((min(first, second), max(first, second)), difference, is_significant)
    assert low <= high
    assert (low <= 0 <= high) is not is_significant
    assert not is_significant or (low > 0) == (difference > 0)
