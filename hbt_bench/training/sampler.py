"""The parts of a batch's draw: the position in each language pair's order, and items that must not meet in a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hbt_bench.training.parallel import MISSING, ParallelText
from hbt_bench.training.strategies import BatchType


class Draw(NamedTuple):
    """The draw of a step before its items: index of the source, type of batch, and language pairs (rows, 2)."""

    source: int
    type: BatchType
    pairs: NDArray[np.int64]


class Cursor:
    """The number of rows of each language pair drawn before `step`; `draw` is the draw of `step` itself."""

    def __init__(self, sources: Sequence[ParallelText], steps: int, drawn: Callable[[int], Draw]) -> None:
        self._sources, self._steps, self._draw_at = sources, steps, drawn
        self._start()

    def _start(self) -> None:
        self._before = [np.zeros(source.counts.size, dtype=np.int64) for source in self._sources]
        self.step = 0
        self.draw = self._draw_at(0)

    def move(self, step: int) -> None:
        """Go to a step, forward from the current step or else from the start; raises `IndexError` after the last."""
        if not 0 <= step < self._steps:
            raise IndexError(f"step {step} is not in the plan of {self._steps} steps")
        if step < self.step:
            self._start()
        while self.step < step:
            np.add.at(self._before[self.draw.source], self._flat(), 1)
            self.step += 1
            self.draw = self._draw_at(self.step)

    def positions(self) -> NDArray[np.int64]:
        """Return each row's position in the order of its pair: after all earlier steps and rows."""
        flat = self._flat()
        order = np.argsort(flat, kind="stable")
        starts = np.searchsorted(flat[order], flat[order])
        within = np.empty(len(flat), dtype=np.int64)
        within[order] = np.arange(len(flat)) - starts
        return self._before[self.draw.source][flat] + within

    def _flat(self) -> NDArray[np.int64]:
        return self.draw.pairs[:, 0] * len(self._sources[self.draw.source].languages) + self.draw.pairs[:, 1]


def pick(cumulative: NDArray[np.float64], numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each number in [0, 1) the index of the cumulative share that it falls into.

    For example, ``pick([0.2, 1.0], [0.1, 0.3])`` is ``[0, 1]``.
    """
    indices = np.searchsorted(cumulative, numbers * cumulative[-1], side="right")
    return np.asarray(indices, dtype=np.int64)


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
