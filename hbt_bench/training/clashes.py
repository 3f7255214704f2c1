"""False negatives: which items must not stand in one batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hbt_bench.training.parallel import MISSING, ParallelText


class Clashes:
    """Which items may stand beside those taken already.

    With one language pair for the batch, `pair`, items clash by their two texts and those of their hard negatives;
    with several (None), by every text that they share with another item in any language, as translations could meet.
    The passages of other items with the same query are an item's own here. Case does not count.
    """

    def __init__(self, source: ParallelText, pair: tuple[int, int] | None) -> None:
        self._source, self._pair = source, pair
        self._items: set[int] = set()
        self._positives: set[int] = set()
        self._negatives: set[int] = set()

    def take_all(self, items: NDArray[np.int32], passages: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Take the first rows of a batch that clash with none before them; tell which were left, shape (rows,)."""
        texts, owners = self._texts(items)
        left = _repeats(items, np.arange(len(items)), len(items)) | _repeats(texts, owners, len(items))
        negatives = self._hard_negatives(items, passages)
        if negatives.size:
            left |= np.isin(negatives, texts).any(axis=1)
        kept = ~left
        self._items.update(items[kept].tolist())
        self._positives.update(texts[kept[owners]].tolist())
        self._negatives.update(negatives[kept].ravel().tolist())
        self._negatives.discard(MISSING)
        return left

    def take(self, item: int, passage: int) -> bool:
        """Take an item, with its passage in a language, if it clashes with none of those taken."""
        one = np.array([item])
        positives = set(self._texts(one)[0].tolist())
        negatives = set(self._hard_negatives(one, np.array([passage])).ravel().tolist()) - {MISSING}
        if item in self._items or positives & (self._positives | self._negatives) or negatives & self._positives:
            return False
        self._items.add(item)
        self._positives |= positives
        self._negatives |= negatives
        return True

    def _texts(self, items: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The texts by which items clash, ordered by row, and the row that owns each."""
        source, rows = self._source, np.arange(len(items))
        others, owners = _entries(*source.companions, items)
        if self._pair is not None:
            query, passage = self._pair
            numbers = np.concatenate(
                [source.queries[query, items], source.passages[passage, items], source.passages[passage, others]]
            )
            owners = np.concatenate([rows, rows, owners])
            present = numbers != MISSING
            texts, owners = source.alike[numbers[present]], owners[present]
        else:
            texts, first = _entries(*source.shared, items)
            more, second = _entries(*source.shared, others)
            texts, owners = np.concatenate([texts, more]), np.concatenate([first, owners[second]])
        order = np.argsort(owners, kind="stable")
        return texts[order], owners[order]

    def _hard_negatives(self, items: NDArray[np.int32], passages: NDArray[np.int64]) -> NDArray[np.int32]:
        """The hard negatives of each row, shape (rows, any)."""
        if self._pair is not None:
            numbers = self._source.negatives[passages, items]
        else:  # in any language: a negative may be the translation of a positive
            numbers = self._source.negatives[:, items].swapaxes(0, 1).reshape(len(items), -1)
        return np.where(numbers == MISSING, MISSING, self._source.alike[numbers])


def _entries(
    offsets: NDArray[np.int64], values: NDArray[np.int32], rows: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """What some rows of compressed rows own, in their order, and which of the rows owns each."""
    lengths = offsets[rows + 1] - offsets[rows]
    starts = np.repeat(offsets[rows] - np.cumsum(lengths) + lengths, lengths)
    return values[starts + np.arange(lengths.sum())], np.repeat(np.arange(len(rows)), lengths)


def _repeats(values: NDArray[np.int32], rows: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Which of `count` rows have a value that an earlier row has; values are ordered by row."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    found = np.zeros(count, dtype=np.bool_)
    found[rows[rows[first[inverse]] < rows]] = True
    return found
