"""Check the counter-based random numbers: fixed values, even spread, and permutations."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hbt_bench.training import counter_rng


def test_bits_are_the_same_on_every_machine():
    # values of the first release, so that plans stay the same
    assert [hex(value) for value in counter_rng.bits(1, 2, np.arange(3)).tolist()] == [
        "0x2421ef177f7a2c42",
        "0xe221bcc47dcc6c04",
        "0x59bc35ed112eb02a",
    ]


def test_keys_broadcast_and_their_order_matters():
    grid = counter_rng.bits(np.arange(3)[:, None], np.arange(4))
    assert grid.shape == (3, 4)
    assert grid[1, 2] == counter_rng.bits(1, 2)[0]
    assert counter_rng.bits(1, 2)[0] != counter_rng.bits(2, 1)[0]


def test_uniform_is_spread_evenly():
    numbers = counter_rng.uniform(5, np.arange(100_000))
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = np.bincount((numbers * 20).astype(int), minlength=20)
    assert ((counts - 5000) ** 2 / 5000).sum() < 43.8  # chi-square, 19 degrees of freedom, 0.1 %


@given(st.integers(1, 2000), st.integers(0, 2**40))
def test_permutation_has_each_value_once(size, key):
    positions = np.arange(size)
    values = counter_rng.permuted(positions, np.full(size, size), np.repeat(counter_rng.bits(key), size))
    assert sorted(values.tolist()) == positions.tolist()


def test_permutations_of_four_are_equally_frequent():
    keys = counter_rng.bits(1, np.arange(24_000)).repeat(4)
    positions = np.tile(np.arange(4), 24_000)
    values = counter_rng.permuted(positions, np.full(96_000, 4), keys).reshape(-1, 4)
    _, counts = np.unique(values, axis=0, return_counts=True)
    assert len(counts) == 24
    assert ((counts - 1000) ** 2 / 1000).sum() < 49.7  # 23 degrees of freedom, 0.1 %
