"""Statistics of many small samples at once, without a loop over the samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


def ratio(numerator: Array | Ints, denominator: Array | Ints) -> Array:
    """Elementwise quotient, NaN where the denominator is not above 0."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=np.greater(denominator, 0))


def runs(*sorted_keys: NDArray[np.integer]) -> Ints:
    """Number the runs of equal keys, from 0; the keys must be sorted."""
    changed = np.zeros(len(sorted_keys[0]), bool)
    for key in sorted_keys:
        changed[1:] |= np.diff(key) != 0
    return np.cumsum(changed)


@dataclass(frozen=True, eq=False)
class KruskalWallis:
    """One test a sample: the `statistic`, its `p`, the number of `groups` and the size of the `largest` group."""

    statistic: Array
    p: Array
    groups: Ints
    largest: Ints


def kruskal_wallis(sample: Ints, group: Ints) -> KruskalWallis:
    """Kruskal-Wallis for samples whose members come in ascending order of distinct values.

    `sample` (members,) numbers the samples from 0, ascending; `group` (members,) says in which group a member is.
    p is the upper tail of chi-squared with groups - 1 degrees of freedom.
    """
    from scipy.stats import chi2

    starts = np.flatnonzero(np.r_[True, np.diff(sample) > 0])
    place = np.arange(len(sample)) - starts[sample] + 1
    _, cell = np.unique(sample * (group.max(initial=0) + 1) + group, return_inverse=True)
    size, total = np.bincount(cell), np.bincount(cell, weights=place)
    owner = np.zeros(len(size), np.int64)
    owner[cell] = sample
    members, groups = np.bincount(sample), np.bincount(owner)
    largest = np.zeros(len(members), np.int64)
    np.maximum.at(largest, owner, size)
    spread = np.bincount(owner, weights=total**2 / size)
    statistic = 12 / (members * (members + 1)) * spread - 3 * (members + 1)
    return KruskalWallis(statistic, chi2.sf(statistic, np.maximum(groups - 1, 1)), groups, largest)


def top_k_spearman(one: NDArray[np.int32], two: NDArray[np.int32]) -> Array:
    """Spearman correlation of two top-k lists over their union, row by row, for lists (rows, k).

    What is in one list alone shares, in the other, the mean of the places below it. 1 where both lists are the same
    single document.
    """
    depth = one.shape[1]
    places = np.arange(1, depth + 1)
    same = one[:, :, None] == two[:, None, :]
    shared_one, shared_two = same.any(axis=2), same.any(axis=1)
    union = 2 * depth - shared_one.sum(axis=1)
    outside = (depth + 1 + union) / 2
    both = np.einsum("nij,i,j->n", same, places, places)
    alone = (~shared_one @ places) + (~shared_two @ places)
    mean = (union + 1) / 2
    squares = np.sum(places**2) + (union - depth) * outside**2
    variance = squares - union * mean**2
    covariance = both + outside * alone - union * mean**2
    return np.where(variance > 0, ratio(covariance, variance), 1.0)


def jensen_shannon(one: Array, two: Array) -> Array:
    """Jensen-Shannon divergence in bits of two distributions, row by row, for shares (rows, n) that sum to 1."""
    middle = (one + two) / 2
    return (_divergence(one, middle) + _divergence(two, middle)) / 2


def _divergence(shares: Array, reference: Array) -> Array:
    quotient = np.divide(shares, reference, out=np.ones_like(shares), where=shares > 0)  # 0 log 0 is 0
    divergence: Array = np.sum(shares * np.log2(quotient), axis=1)
    return divergence
