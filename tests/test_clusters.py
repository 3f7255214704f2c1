"""Clusters of questions and bootstrap intervals, with literals worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hbt_bench.errors import DataError
from hbt_bench.stats.clusters import Clusters, bootstrap, percentiles

NAN = float("nan")


def matrix(*rows):
    return Clusters.from_matrix(np.array(rows, dtype=float))


def column(*values):
    return matrix(*([value] for value in values))


# Clusters


def test_from_values_groups_by_question_and_subset():
    values = np.array([0.5, 1.0, 0.25, 0.75, NAN, 0.1])
    clusters = Clusters.from_values(values, np.array([7, 3, 7, 7, 9, 3]), np.array([0, 0, 2, 2, 2, 2]))
    assert clusters.counts.tolist() == [[1, 1], [1, 2]]  # question 9 has no value, and subset 1 no query
    assert clusters.values.tolist() == [[1.0, 0.1], [0.5, 0.5]]


def test_average_is_over_queries_then_over_subsets():
    clusters = matrix([1, 0.5], [0, NAN], [0.5, NAN])
    assert clusters.average == pytest.approx((0.5 + 0.5) / 2)
    assert clusters.contributions.tolist() == pytest.approx([1 / 6 + 0.25, 0, 0.5 / 6])
    assert clusters.by_question.tolist() == [0.75, 0, 0.5]


def test_two_queries_of_a_question_count_twice():
    clusters = Clusters.from_values(np.array([0.0, 1.0, 0.8]), np.array([1, 1, 2]), np.zeros(3, np.int64))
    assert clusters.average == pytest.approx(0.6)  # as the score is, and not (0.5 + 0.8) / 2
    assert clusters.by_question.tolist() == [0.5, 0.8]


def test_take_drops_questions_without_subset():
    taken = matrix([1, 2, NAN], [NAN, NAN, 3], [4, NAN, 5]).take([0, 1])
    assert taken.counts.tolist() == [[1, 1], [1, 0]]
    assert taken.average == pytest.approx((2.5 + 2) / 2)


@pytest.mark.parametrize("values", [np.empty((0, 1)), np.empty((2, 0)), np.array([[1.0, NAN], [1.0, NAN]])])
def test_subset_without_queries_raises(values):
    with pytest.raises(DataError, match="a subset without queries"):
        Clusters.from_matrix(values)


def test_question_missing_from_last_subset():
    clusters = Clusters.from_values(np.array([1.0, 2.0, 3.0, np.nan]), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
    np.testing.assert_array_equal(clusters.values, [[1, 2], [3, np.nan]])
    assert clusters.counts.tolist() == [[1, 1], [1, 0]]
    values, questions = np.arange(8.0), np.array([0, 0, 1, 1, 2, 2, 3, 4])
    clusters = Clusters.from_values(values, questions, np.array([0, 1, 0, 1, 0, 1, 0, 0]))
    np.testing.assert_array_equal(clusters.values, [[0, 1], [2, 3], [4, 5], [6, np.nan], [7, np.nan]])


# Intervals


def test_two_questions_resample_like_two_coins():
    draws = bootstrap([column(0, 1)], resamples=20_000)[0, :, 0]
    values, counts = np.unique(draws, return_counts=True)
    assert values.tolist() == [0, 0.5, 1]
    assert (counts / 20_000).tolist() == pytest.approx([0.25, 0.5, 0.25], abs=0.015)
    assert column(0, 1).interval() == (0, 1)


def test_interval_agrees_with_central_limit_theorem():
    values = np.random.default_rng(8).exponential(size=2000)
    low, high = column(*values).interval(resamples=10_000)
    reach = 1.959964 * values.std() / 2000**0.5
    assert (values.mean() - low, high - values.mean()) == pytest.approx((reach, reach), rel=0.06)


def test_versions_of_a_question_add_no_evidence():
    values = np.random.default_rng(9).random((200, 1))
    once, often = (Clusters.from_matrix(np.repeat(values, languages, axis=1)) for languages in (1, 11))
    assert often.interval() == pytest.approx(once.interval())


def test_systems_see_the_same_draws():
    values = np.random.default_rng(10).random((100, 2))
    draws = bootstrap([Clusters.from_matrix(values), Clusters.from_matrix(values + 0.25)])
    assert percentiles(draws[1] - draws[0]) == pytest.approx((0.25, 0.25))
    assert np.array_equal(draws, bootstrap([Clusters.from_matrix(values), Clusters.from_matrix(values + 0.25)]))
    assert not np.array_equal(
        draws, bootstrap([Clusters.from_matrix(values), Clusters.from_matrix(values + 0.25)], seed=1)
    )


def test_draws_do_not_depend_on_chunk_size(monkeypatch):
    clusters = Clusters.from_matrix(np.random.default_rng(11).random((50, 3)))
    draws = bootstrap([clusters], resamples=100)
    monkeypatch.setattr("hbt_bench.stats.clusters._CHUNK_BYTES", 8 * 50 * 7)
    assert bootstrap([clusters], resamples=100) == pytest.approx(draws)


def test_resample_may_lack_a_subset():
    clusters = matrix([1, 0], [0, NAN], [1, NAN], [0, NAN])
    draws = bootstrap([clusters])[0]
    assert 0.2 < np.isnan(draws[:, 1]).mean() < 0.45  # (3/4)^4 = .316
    low, high = percentiles(draws)
    assert 0 <= low < high <= 1


def test_resample_may_lack_every_subset():
    draws = np.array([[0.25, NAN], [NAN, NAN], [NAN, 0.5], [1.0, 0.0]])
    assert percentiles(draws) == pytest.approx(tuple(np.quantile([0.25, 0.5, 0.5], [0.025, 0.975])))
