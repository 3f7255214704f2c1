"""Counter-based random numbers: functions of a seed, a purpose and counters, independent of earlier draws.

The generator is SplitMix64 (Steele, Lea and Flood, 2014), used as a hash. Its numbers are the same on every machine
and in every release, which NumPy's generators do not promise; so plans of batches are the same too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MASK = 2**64 - 1
_GOLDEN_INT = 0x9E3779B97F4A7C15
_GOLDEN = np.uint64(_GOLDEN_INT)
_MIX_INTS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_MIX = (np.uint64(_MIX_INTS[0]), np.uint64(_MIX_INTS[1]))
#: Bits of a Feistel network at least; with fewer it reaches only some of the permutations.
_NARROWEST = np.uint64(8)
_ROUNDS = 6


def bits(*keys: int | NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return 64 random bits for each combination of keys, which broadcast; the result has at least one dimension.

    For example, ``bits(1, 2, np.arange(3))[0]`` is ``0x2421ef177f7a2c42``.
    """
    first, number = 0, 0
    while number < len(keys) and isinstance(key := keys[number], int):  # the same, faster
        first = _mixed_int(first ^ ((key * _GOLDEN_INT + _GOLDEN_INT) & _MASK))
        number += 1
    state = np.array([first], dtype=np.uint64)
    for key in keys[number:]:
        state = _mixed(state ^ (np.atleast_1d(np.asarray(key, dtype=np.int64)).astype(np.uint64) * _GOLDEN + _GOLDEN))
    return state


def uniform(*keys: int | NDArray[np.int64]) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each combination of keys."""
    return (bits(*keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permuted(positions: NDArray[np.int64], sizes: NDArray[np.int64], keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the values at some positions of random permutations of ``range(size)``, which are not stored.

    All arrays have the same shape, and positions are below sizes. A key selects the permutation: a Feistel network
    over the next power of two, walked until it lands in the range (Black and Rogaway, 2002).
    """
    width = np.maximum(np.ceil(np.log2(np.maximum(sizes, 2))).astype(np.uint64), _NARROWEST)
    low = width // np.uint64(2)
    unit = np.uint64(1)
    masks = ((unit << low) - unit, (unit << (width - low)) - unit)
    rounds = [_mixed(keys ^ np.uint64(number)) for number in range(_ROUNDS)]
    value = positions.astype(np.uint64)
    walking = np.arange(len(value))
    while len(walking):
        right, left = value[walking] & masks[0][walking], value[walking] >> low[walking]
        for number, key in enumerate(rounds):
            # left and right differ in width by at most one bit; a function of each half changes the other half
            if number % 2:
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


def _mixed_int(state: int) -> int:
    """Return `_mixed` of a number."""
    state = ((state ^ (state >> 30)) * _MIX_INTS[0]) & _MASK
    state = ((state ^ (state >> 27)) * _MIX_INTS[1]) & _MASK
    return state ^ (state >> 31)
