"""False negatives: items that must not be in the same batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hbt_bench.training.parallel import MISSING, ParallelText


class Clashes:
    """The items taken into a batch; an item is refused if it clashes with an item taken before.

    If all rows have the same language `pair`, items clash by their query, passage and hard negatives in it. Otherwise
    (None) they clash by every text in any language, since translations could meet. The passages of other items with
    the same query count as the item's own. Case does not count.
    """

    def __init__(self, source: ParallelText, pair: tuple[int, int] | None) -> None:
        self._source, self._pair = source, pair
        self._items: set[int] = set()
        self._positives: set[int] = set()
        self._negatives: set[int] = set()

    def take_all(self, items: NDArray[np.int32], passages: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Take the rows of a batch that clash with no earlier row; return which were refused, shape (rows,)."""
        texts, owners = self._texts(items)
        refused = _repeats(items, np.arange(len(items)), len(items)) | _repeats(texts, owners, len(items))
        negatives = self._hard_negatives(items, passages)
        if negatives.size:
            refused |= np.isin(negatives, texts).any(axis=1)
        taken = ~refused
        self._items.update(items[taken].tolist())
        self._positives.update(texts[taken[owners]].tolist())
        self._negatives.update(negatives[taken].ravel().tolist())
        self._negatives.discard(MISSING)
        return refused

    def take(self, item: int, passage: int) -> bool:
        """Take an item with its passage in a language, unless it clashes; return whether it was taken."""
        row = np.array([item])
        positives = set(self._texts(row)[0].tolist())
        negatives = set(self._hard_negatives(row, np.array([passage])).ravel().tolist()) - {MISSING}
        if item in self._items or positives & (self._positives | self._negatives) or negatives & self._positives:
            return False
        self._items.add(item)
        self._positives |= positives
        self._negatives |= negatives
        return True

    def _texts(self, items: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the texts by which items clash, ordered by row, and the row of each text."""
        source, rows = self._source, np.arange(len(items))
        others, owners = _entries(*source.companions, items)
        if self._pair is not None:
            query, passage = self._pair
            numbers = np.concatenate(
                [source.queries[query, items], source.passages[passage, items], source.passages[passage, others]]
            )
            owners = np.concatenate([rows, rows, owners])
            present = numbers != MISSING
            texts, owners = source.folded[numbers[present]], owners[present]
        else:
            texts, first = _entries(*source.shared, items)
            more, second = _entries(*source.shared, others)
            texts, owners = np.concatenate([texts, more]), np.concatenate([first, owners[second]])
        order = np.argsort(owners, kind="stable")
        return texts[order], owners[order]

    def _hard_negatives(self, items: NDArray[np.int32], passages: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the hard negatives of each row, shape (rows, any)."""
        if self._pair is not None:
            numbers = self._source.negatives[passages, items]
        else:  # all languages: a negative may be the translation of a positive
            numbers = self._source.negatives[:, items].swapaxes(0, 1).reshape(len(items), -1)
        return np.where(numbers == MISSING, MISSING, self._source.folded[numbers])


def _entries(
    offsets: NDArray[np.int64], values: NDArray[np.int32], rows: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the values of some compressed rows, in order, and for each value the index of its row."""
    lengths = offsets[rows + 1] - offsets[rows]
    starts = np.repeat(offsets[rows] - np.cumsum(lengths) + lengths, lengths)
    return values[starts + np.arange(lengths.sum())], np.repeat(np.arange(len(rows)), lengths)


def _repeats(values: NDArray[np.int32], rows: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Return which of `count` rows have a value of an earlier row; values are ordered by row."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    repeated = np.zeros(count, dtype=np.bool_)
    repeated[rows[rows[first[inverse]] < rows]] = True
    return repeated
