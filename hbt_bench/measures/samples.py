"""Statistics of many small samples at once, without a loop over the samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


def ratio(numerator: Array | Ints, denominator: Array | Ints) -> Array:
    """Return the elementwise quotient, NaN if the denominator is not above 0."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=np.greater(denominator, 0))


def runs(*sorted_keys: NDArray[np.integer]) -> Ints:
    """Number the runs of equal keys, from 0; the keys must be sorted.

    For example, ``runs(np.array([3, 3, 7]))`` is ``[0, 0, 1]``.
    """
    changed = np.zeros(len(sorted_keys[0]), bool)
    for key in sorted_keys:
        changed[1:] |= np.diff(key) != 0
    return np.cumsum(changed)


@dataclass(frozen=True, eq=False)
class KruskalWallis:
    """The tests of many samples: `statistic`, `p`, the number of `groups`, and the size of the `largest` group."""

    statistic: Array
    p: Array
    groups: Ints
    largest: Ints


def kruskal_wallis(sample: Ints, group: Ints) -> KruskalWallis:
    """Test samples by Kruskal-Wallis; the members of a sample come in ascending order of distinct values.

    `sample` (members,) numbers the samples from 0, ascending; `group` (members,) is the group of each member. p is the
    upper tail of chi-squared with groups - 1 degrees of freedom.
    """
    from scipy.stats import chi2

    starts = np.flatnonzero(np.r_[True, np.diff(sample) > 0])
    rank = np.arange(len(sample)) - starts[sample] + 1
    _, cell = np.unique(sample * (group.max(initial=0) + 1) + group, return_inverse=True)
    size, total = np.bincount(cell), np.bincount(cell, weights=rank)
    owner = np.zeros(len(size), np.int64)
    owner[cell] = sample
    members, groups = np.bincount(sample), np.bincount(owner)
    largest = np.zeros(len(members), np.int64)
    np.maximum.at(largest, owner, size)
    spread = np.bincount(owner, weights=total**2 / size)
    statistic = 12 / (members * (members + 1)) * spread - 3 * (members + 1)
    return KruskalWallis(statistic, chi2.sf(statistic, np.maximum(groups - 1, 1)), groups, largest)


def top_k_spearman(tops: NDArray[np.int32], other_tops: NDArray[np.int32]) -> Array:
    """Return the Spearman correlation of two top-k lists over their union, row by row, for lists (rows, k).

    Items that only the other list has share the mean of the ranks below k. The correlation is 1 if both lists are the
    same single document.
    """
    depth = tops.shape[1]
    ranks = np.arange(1, depth + 1)
    same = tops[:, :, None] == other_tops[:, None, :]
    shared, other_shared = same.any(axis=2), same.any(axis=1)
    union = 2 * depth - shared.sum(axis=1)
    below = (depth + 1 + union) / 2
    both = np.einsum("nij,i,j->n", same, ranks, ranks)
    unshared = (~shared @ ranks) + (~other_shared @ ranks)
    mean = (union + 1) / 2
    squares = np.sum(ranks**2) + (union - depth) * below**2
    variance = squares - union * mean**2
    covariance = both + below * unshared - union * mean**2
    return np.where(variance > 0, ratio(covariance, variance), 1.0)


def jensen_shannon(shares: Array, other_shares: Array) -> Array:
    """Return the Jensen-Shannon divergence in bits of two distributions, row by row, for (rows, n) that sum to 1.

    For example, the divergence of ``[[1.0, 0.0]]`` and ``[[0.0, 1.0]]`` is 1.
    """
    middle = (shares + other_shares) / 2
    return (_divergence(shares, middle) + _divergence(other_shares, middle)) / 2


def _divergence(shares: Array, reference: Array) -> Array:
    quotient = np.divide(shares, reference, out=np.ones_like(shares), where=shares > 0)  # 0 log 0 is 0
    divergence: Array = np.sum(shares * np.log2(quotient), axis=1)
    return divergence
