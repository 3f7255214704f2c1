"""Random numbers that are functions of their place: of a seed, a purpose and counters, not of what was drawn before.

The generator is SplitMix64 (Steele, Lea and Flood, 2014), used as a hash. Unlike the streams of a library's
generator its numbers are the same on every machine and in every release, so that a plan of batches is, too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
#: On fewer bits a Feistel network reaches only some of the permutations.
_NARROWEST = np.uint64(8)
_ROUNDS = 6


def bits(*keys: int | NDArray[np.int64]) -> NDArray[np.uint64]:
    """64 random bits for each combination of keys, which broadcast against one another; at least one dimension."""
    state = np.zeros(1, dtype=np.uint64)
    for key in keys:
        state = _mixed(state ^ (np.atleast_1d(np.asarray(key, dtype=np.int64)).astype(np.uint64) * _GOLDEN + _GOLDEN))
    return state


def uniform(*keys: int | NDArray[np.int64]) -> NDArray[np.float64]:
    """Numbers in [0, 1), one for each combination of keys."""
    return (bits(*keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permuted(places: NDArray[np.int64], sizes: NDArray[np.int64], keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where a random permutation of ``range(size)`` takes each place, without the permutation being stored.

    All arrays have one shape; places are below their sizes. Each key names one permutation: a Feistel network over
    the next power of two, walked until it lands in the range (Black and Rogaway, 2002).
    """
    width = np.maximum(np.ceil(np.log2(np.maximum(sizes, 2))).astype(np.uint64), _NARROWEST)
    low = width // np.uint64(2)
    one = np.uint64(1)
    masks = ((one << low) - one, (one << (width - low)) - one)
    rounds = [_mixed(keys ^ np.uint64(turn)) for turn in range(_ROUNDS)]
    value = places.astype(np.uint64)
    walking = np.arange(len(value))
    while len(walking):
        right, left = value[walking] & masks[0][walking], value[walking] >> low[walking]
        for turn, key in enumerate(rounds):
            # left and right differ in width by one bit at most; each is changed by a function of the other
            if turn % 2:
                right ^= _mixed(left ^ key[walking]) & masks[0][walking]
            else:
                left ^= _mixed(right ^ key[walking]) & masks[1][walking]
        value[walking] = (left << low[walking]) | right
        walking = walking[value[walking] >= sizes[walking].astype(np.uint64)]
    return value.astype(np.int64)


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * _MIX[0]
    state = (state ^ (state >> np.uint64(27))) * _MIX[1]
    return state ^ (state >> np.uint64(31))
