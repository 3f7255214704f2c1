"""The expected AP of rankings with ties in random order, and the best AP that ties leave.

A tie is a group of documents with the same score. Let a group of m documents, r of them relevant, stand
below N documents with A relevant among them. The document at place j of the group is relevant with probability r / m,
and then (j - 1)(r - 1) / (m - 1) relevant documents are expected above it in the group. So the group adds

    sum over j = 1..m of (r / m) * (A + 1 + (j - 1)(r - 1) / (m - 1)) / (N + j)

to the sum of precisions, which AP divides by the number of relevant documents (McSherry and Najork, ECIR 2008).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

#: A group of a ranking: its relevant documents, and all its documents.
Group = tuple[int, int]


def expected_average_precision(groups: Iterable[Group], relevant: int) -> float:
    """Return the expected AP if each group, best first, is in random order; `relevant` is the divisor.

    For example, a relevant document that is tied with another document has rank 1 or 2:

    >>> expected_average_precision([(1, 2)], relevant=1)
    0.75
    """
    total = 0.0
    above, relevant_above = 0, 0
    for hits, size in groups:
        slope = (hits - 1) / (size - 1) if size > 1 else 0.0
        reciprocals = float((1 / np.arange(above + 1, above + size + 1)).sum())
        # (A + 1 + (j - 1) slope) / (N + j) is slope + (A + 1 - slope (N + 1)) / (N + j)
        total += hits / size * (slope * size + (relevant_above + 1 - slope * (above + 1)) * reciprocals)
        above, relevant_above = above + size, relevant_above + hits
    return total / relevant


@lru_cache(maxsize=4096)
def best_average_precision(groups: tuple[Group, ...], relevant: int) -> float:
    """Return the best expected AP over all orders of the groups.

    Groups with the greatest share of relevant documents come first, and among equal shares the largest group: in any
    other order, a swap of neighbours raises the expected AP. Relevant documents in no group, such as a query's own
    text, are never found. For example, the first of two relevant documents is tied with another document, so the second
    should come first:

    >>> best_average_precision(((1, 2), (1, 1)), relevant=2)  # (1 + (2/2 + 2/3) / 2) / 2
    0.9166666666666666
    """
    return expected_average_precision(sorted(groups, key=lambda group: (-group[0] / group[1], -group[1])), relevant)
