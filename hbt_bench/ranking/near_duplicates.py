"""Find equal and nearly equal texts exactly: no sampling, no hashing, the same pairs on every machine.

Two texts are near-duplicates if the Jaccard similarity of their shingles reaches a threshold. A shingle is a pair of
neighbouring words; the start and the end of a text count as words, and a repeated shingle counts as often as it occurs.

Comparing all pairs would take hours for 100,000 texts, so only pairs that can reach the threshold t are compared
(Bayardo, Ma and Srikant, WWW 2007). A pair that reaches t shares at least t * n of the n shingles of either text. So
if the shingles of all texts are sorted by the same order, the first n - ceil(t * n) + 1 shingles of both texts overlap.
With the rarest shingle first, few pairs do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import UsageError
from hbt_bench.ranking.word_table import WordTable

#: The default threshold: in a sentence of 12 words, another word leaves 11 of 15 shingles, a similarity of 0.73.
THRESHOLD = 0.7
#: The most pairs that are kept, which need about 100 MB.
MOST_PAIRS = 5_000_000
#: Common shingles that are counted in a step, which bounds the memory.
_STEP = 4_000_000


@dataclass(frozen=True, eq=False)
class NearDuplicates:
    """Groups of texts with the same words, and pairs of groups with nearly the same words.

    `group` (texts,) is the number of each text's group, in the order of their first texts. `pairs` (pairs, 2) has
    groups, the smaller number first, in ascending order, and `similarity` (pairs,) their Jaccard similarity.

    For example:

    >>> table = WordTable.from_texts(["One two three.", "one two three", "one two four"])
    >>> doubles = NearDuplicates.from_words(table, threshold=0.3)  # 2 of 6 shingles are common
    >>> doubles.group.tolist(), doubles.pairs.tolist(), doubles.similarity.round(2).tolist()
    ([0, 0, 1], [[0, 1]], [0.33])
    """

    group: NDArray[np.int32]
    pairs: NDArray[np.int32]
    similarity: NDArray[np.float64]

    @classmethod
    def from_words(cls, table: WordTable, threshold: float = THRESHOLD) -> NearDuplicates:
        """Compare the texts of a table. Raises `UsageError` if more than `MOST_PAIRS` pairs reach the threshold."""
        numbers: dict[bytes, int] = {}
        group = np.array([numbers.setdefault(table.row(text).tobytes(), len(numbers)) for text in range(len(table))])
        _, first = np.unique(group, return_index=True)
        shingles = _Shingles.from_words([table.row(text) for text in first], len(table.vocabulary))
        pairs, similarity = shingles.similar(threshold)
        return cls(group.astype(np.int32), pairs, similarity)

    @cached_property
    def members(self) -> list[list[int]]:
        """The texts of each group."""
        members: list[list[int]] = [[] for _ in range(int(self.group.max(initial=-1)) + 1)]
        for text, group in enumerate(self.group.tolist()):
            members[group].append(text)
        return members

    @cached_property
    def near(self) -> dict[int, list[tuple[int, float]]]:
        """The near groups of each group that has any, with their similarities, the most similar first."""
        near: dict[int, list[tuple[int, float]]] = {}
        for (first, second), similarity in zip(self.pairs.tolist(), self.similarity.tolist(), strict=True):
            near.setdefault(first, []).append((second, similarity))
            near.setdefault(second, []).append((first, similarity))
        return {group: sorted(others, key=lambda other: (-other[1], other[0])) for group, others in near.items()}

    def has_double(self) -> NDArray[np.bool_]:
        """Return whether each text has the words, or nearly the words, of another text, (texts,)."""
        doubled = np.bincount(self.group) > 1
        doubled[self.pairs.ravel()] = True
        marks: NDArray[np.bool_] = doubled[self.group]
        return marks


@dataclass(frozen=True, eq=False)
class _Shingles:
    """The shingles of texts, those of a text in succession.

    `sizes` (texts,) is the number of shingles of each text. `texts`, `ranks` and `common` (shingles,) are the text of
    each shingle, its place in the order of all shingles, and whether another text has it too.
    """

    sizes: NDArray[np.int64]
    texts: NDArray[np.int64]
    ranks: NDArray[np.int64]
    common: NDArray[np.bool_]

    @classmethod
    def from_words(cls, rows: list[NDArray[np.int32]], vocabulary: int) -> _Shingles:
        """Sort the shingles of each text by the number of texts that have them, the rarest first."""
        edge = np.zeros(1, np.int64)
        padded = np.concatenate([edge, *(padding for row in rows for padding in (row.astype(np.int64) + 1, edge))])
        sizes = np.array([len(row) + 1 for row in rows], np.int64)
        texts = np.repeat(np.arange(len(rows)), sizes)
        _, shingles = np.unique(padded[:-1] * (vocabulary + 1) + padded[1:], return_inverse=True)
        numbered = shingles * (int(sizes.max(initial=0)) + 1) + _occurrence(texts, shingles)
        _, features, counts = np.unique(numbered, return_inverse=True, return_counts=True)
        ranks = np.empty(len(counts), np.int64)
        ranks[np.argsort(counts, kind="stable")] = np.arange(len(counts))
        order = np.lexsort((ranks[features], texts))
        return cls(sizes, texts[order], ranks[features][order], counts[features][order] > 1)

    def similar(self, threshold: float) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return the pairs of texts that reach the threshold, ascending, and their similarities."""
        pairs, similarity = [np.empty((0, 2), np.int32)], [np.empty(0)]
        total = 0
        for first, second in self._possible(threshold):
            values = self._similarity(first, second)
            reached = values >= threshold - 1e-12
            pairs.append(np.stack([first[reached], second[reached]], axis=1).astype(np.int32))
            similarity.append(values[reached])
            total += int(reached.sum())
            if total > MOST_PAIRS:
                raise UsageError(
                    f"more than {MOST_PAIRS:,} pairs of texts reach the similarity {threshold}: choose a higher "
                    "--threshold"
                )
        similar = np.concatenate(pairs)
        order = np.lexsort((similar[:, 1], similar[:, 0]))
        return similar[order], np.concatenate(similarity)[order]

    def _possible(self, threshold: float) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield the pairs that may reach the threshold, in steps."""
        needed = np.ceil(threshold * self.sizes - 1e-9).astype(np.int64)
        position = np.arange(len(self.texts)) - np.repeat(np.cumsum(self.sizes) - self.sizes, self.sizes)
        prefix = self._matrix(self.common & (position < (self.sizes - needed + 1)[self.texts]))
        pairs = max(1, _STEP * len(self.sizes) // max(1, len(self.texts)))  # so many have _STEP shingles
        for first, second in _sharing(prefix):
            possible = np.minimum(self.sizes[first], self.sizes[second]) >= np.maximum(needed[first], needed[second])
            first, second = first[possible], second[possible]
            for start in range(0, len(first), pairs):
                yield first[start : start + pairs], second[start : start + pairs]

    def _similarity(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
        shared = np.asarray(self._shared_by_texts[first].multiply(self._shared_by_texts[second]).sum(axis=1)).ravel()
        similarity: NDArray[np.float64] = shared / (self.sizes[first] + self.sizes[second] - shared)
        return similarity

    @cached_property
    def _shared_by_texts(self) -> Any:
        return self._matrix(self.common)

    def _matrix(self, kept: NDArray[np.bool_]) -> Any:
        from scipy.sparse import csr_array

        shape = (len(self.sizes), int(self.ranks.max(initial=0)) + 1)
        return csr_array((np.ones(int(kept.sum()), np.int32), (self.texts[kept], self.ranks[kept])), shape)


def _occurrence(texts: NDArray[np.int64], shingles: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 0 for the first occurrence of a shingle in its text, 1 for the second, and so on."""
    order = np.lexsort((shingles, texts))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(texts[order]) != 0) | (np.diff(shingles[order]) != 0)
    starts = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
    occurrence = np.empty(len(order), np.int64)
    occurrence[order] = np.arange(len(order)) - starts
    return occurrence


def _sharing(prefix: Any) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the pairs of rows that share a column, in steps of rows."""
    turned = prefix.T.tocsr()
    work = np.concatenate([[0], np.cumsum(prefix @ np.diff(turned.indptr))])
    start, rows = 0, prefix.shape[0]
    while start < rows:
        end = max(start + 1, int(np.searchsorted(work, work[start] + _STEP, side="right")) - 1)
        shared = (prefix[start:end] @ turned).tocoo()
        first, second = shared.coords[0].astype(np.int64) + start, shared.coords[1].astype(np.int64)
        later = second > first
        yield first[later], second[later]
        start = end
