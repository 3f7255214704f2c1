"""Models that do not tell texts apart: which shares of equal vectors are refused, and which are reported."""

from __future__ import annotations

import numpy as np
import pytest

from hbt_bench.errors import ModelError
from hbt_bench.ranking.collapse import check_collapse, same_share


def vectors(count, same):
    """Return `count` vectors, of which the first `same` are equal."""
    rows = np.random.default_rng(0).standard_normal((count, 4)).astype(np.float32)
    rows[:same] = rows[0]
    return rows


def check(unknown=0.0, **same):
    """Check 20 texts of each language, of which some have the same vector."""
    samples = {code: ([f"{code} {row}" for row in range(20)], vectors(20, count)) for code, count in same.items()}
    shares = unknown if isinstance(unknown, dict) else dict.fromkeys(same, unknown)
    check_collapse("query", samples, lambda texts: shares.get(texts[0][:2], 0.0))


@pytest.mark.parametrize("same", [0, 1, 7, 20])
def test_share_of_equal_vectors(same):
    assert same_share(vectors(20, same)) == max(same, 1) / 20


def test_rounding_and_shapes():
    first = np.array([3.0, 4.0], np.float32)
    assert same_share([first, first * (1 + 1e-6)]) == 1
    assert same_share([first, first * (1 + 1e-3)]) == 0.5
    assert same_share([first, np.zeros((2, 2), np.float32)]) == 0.5
    assert same_share([np.zeros(2, np.float32)] * 3) == 1
    assert same_share([]) == 0


def test_most_texts_in_all_languages_are_refused(messages):
    with pytest.raises(ModelError, match="gives 60% of different texts in 'en' the same vector as a query"):
        check(en=12, de=11)
    check(en=10, de=20)  # half of the English texts are told apart
    assert messages == []


def test_unknown_languages_are_reported(messages):
    check(unknown=0.6, th=20)
    check(unknown={"th": 0.6}, en=4, th=20)
    assert [message.split(" have")[0] for message in messages] == ["most texts in th", "most texts in th"]
    with pytest.raises(ModelError, match="gives 100% of different texts in 'en'"):
        check(unknown={"th": 0.6}, en=20, th=20)


def test_few_texts_decide_nothing():
    check_collapse("query", {"en": (["a", "b", "c"], vectors(3, 3))}, lambda texts: 0.0)


def test_prompt_without_room_for_a_text_is_reported(messages):
    check_collapse("query", {"en": ([*"abcdefghijkl"], vectors(12, 12))}, lambda texts: 0.0, lambda role: True)
    assert [message.partition(", so")[0] for message in messages] == [
        "the prompt of a query is longer than the text that the model reads"
    ]
