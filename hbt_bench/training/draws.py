"""The draws of a step: its language pairs, the position of each row in the order of its pair, and the texts of rows.

A row draws texts from an item with several: one of its passages, and some hard negatives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import DataError
from hbt_bench.training import counter_rng
from hbt_bench.training.clashes import Clashes
from hbt_bench.training.parallel import MISSING, ParallelText
from hbt_bench.training.strategies import BatchType

#: Random texts that are tried for a row without enough hard negatives, before all texts are tried in order.
_TRIES = 16
#: Steps of a plan whose counts are kept.
_KEPT = 256

# the purpose of a random number; `hbt_bench.training.plan` has the others
_PASSAGE, _NEGATIVE, _BORROWED, _BORROWED_TEXT = range(8, 12)


class Draw(NamedTuple):
    """The draw of a step before its items: index of the source, type of batch, and language pairs (rows, 2)."""

    source: int
    type: BatchType
    pairs: NDArray[np.int64]


class Cursor:
    """The number of rows of each language pair drawn before `step`; `draw` is the draw of `step` itself.

    Some numbers are kept, so that steps in any order cost little.
    """

    def __init__(self, sources: Sequence[ParallelText], steps: int, drawn: Callable[[int], Draw]) -> None:
        self._sources, self._steps, self._draw_at = sources, steps, drawn
        self._stride = -(-steps // _KEPT)
        self._kept = [[np.zeros(source.counts.size, dtype=np.int64) for source in sources]]  # each `_stride` steps
        self._restore(0)

    def _restore(self, number: int) -> None:
        self._before = [counts.copy() for counts in self._kept[number]]
        self.step = number * self._stride
        self.draw = self._draw_at(self.step)

    def move(self, step: int) -> None:
        """Go to a step, forward from the current step or from a kept step; raises `IndexError` after the last."""
        if not 0 <= step < self._steps:
            raise IndexError(f"step {step} is not in the plan of {self._steps} steps")
        nearest = min(step // self._stride, len(self._kept) - 1)
        if step < self.step or self.step < nearest * self._stride:
            self._restore(nearest)
        while self.step < step:
            np.add.at(self._before[self.draw.source], self._flat(), 1)
            self.step += 1
            self.draw = self._draw_at(self.step)
            if self.step == len(self._kept) * self._stride:
                self._kept.append([counts.copy() for counts in self._before])

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


@dataclass(frozen=True, eq=False)
class TextDraw:
    """The draw of the rows of a batch: `items` of a source with the `languages` of their passages, both (rows,).

    It depends on seed and step alone. For example, ``TextDraw(source, 0, 17, items, languages).passages()``.
    """

    source: ParallelText
    seed: int
    step: int
    items: NDArray[np.int32]
    languages: NDArray[np.int64]

    def passages(self) -> NDArray[np.int32]:
        """Return a passage of each item; each of its passages has the same probability."""
        source, more = self.source, self.source.more_passages
        passages = source.passages[self.languages, self.items]
        if not len(more.values):
            return passages
        starts, ends = more.offsets[self.cells], more.offsets[self.cells + 1]
        numbers = counter_rng.uniform(self.seed, _PASSAGE, self.step, np.arange(len(self.items)))
        chosen = (numbers * (1 + ends - starts)).astype(np.int64)
        others = chosen > 0  # 0 is the first passage
        passages[others] = more.values[(starts + chosen - 1)[others]]
        return passages

    def negatives(self, clashes: Clashes) -> NDArray[np.int32]:
        """Return the hard negatives of each row, shape (rows, `source.depth`).

        They are a sample of the item's own, in the order of the data. If there are too few, the rest are hard negatives
        of other items in the language, or else passages of other items. None is a passage of a row, or its translation.
        Raises `DataError` if the source has too few texts.
        """
        source = self.source
        if source.depth == 0:
            return np.empty((len(self.items), 0), dtype=np.int32)
        only = source.only_negatives[self.languages, self.items]
        if source.depth == 1 and (only != MISSING).all():  # an item was refused if this is a passage of the batch
            return only[:, None]
        return _Negatives(self, np.unique(clashes.texts(self.items)[0]), clashes.across_languages).drawn()

    @cached_property
    def cells(self) -> NDArray[np.int64]:
        """The row of each item, in the language of its passage, in the ragged columns of the source."""
        return self.languages * len(self.source) + self.items


class _Negatives:
    """The hard negatives of a batch; `answers` are the texts that answer a query of the batch, as folded numbers.

    If `translations`, a negative whose translation is an answer is not drawn either: the text of the same item at the
    same position in another language.
    """

    def __init__(self, draw: TextDraw, answers: NDArray[np.int32], translations: bool) -> None:
        self._draw, self._source = draw, draw.source
        self._answers, self._translations = answers, translations
        self._drawn = np.full((len(draw.items), self._source.depth), MISSING, dtype=np.int32)

    def drawn(self) -> NDArray[np.int32]:
        """Draw the negatives of all rows."""
        self._sample()
        used = set(self._source.folded[self._drawn[self._drawn != MISSING]].tolist())
        for row, column in np.argwhere(self._drawn == MISSING).tolist():
            text = self._borrow(row, column, used)
            used.add(int(self._source.folded[text]))
            self._drawn[row, column] = text
        return self._drawn

    def _sample(self) -> None:
        """Draw from the items' own negatives."""
        draw, depth = self._draw, self._source.depth
        texts, rows = self._source.negatives.of(draw.cells)
        positions = _positions(rows)
        allowed = ~self._is_answer(draw.items[rows], draw.languages[rows], positions)
        texts, rows, positions = texts[allowed], rows[allowed], positions[allowed]
        numbers = counter_rng.uniform(draw.seed, _NEGATIVE, draw.step, rows, positions)
        order = np.lexsort((numbers, rows))
        chosen = np.sort(order[_positions(rows[order]) < depth])
        texts, rows = texts[chosen], rows[chosen]
        self._drawn[rows, _positions(rows)] = texts

    def _borrow(self, row: int, column: int, used: set[int]) -> int:
        """Return a text of another item for a row: a hard negative, or a passage.

        It is not `used` if possible, and at least not used by the row.
        """
        source, language = self._source, int(self._draw.languages[row])
        in_row = set(source.folded[self._drawn[row, :column]].tolist())
        repeated, is_in_row = MISSING, True
        for texts in self._offers(row, column, language):
            for text in texts.tolist():
                number = int(source.folded[text])
                if number not in used:
                    return int(text)
                if is_in_row or number not in in_row:
                    repeated, is_in_row = text, number in in_row
        if repeated == MISSING:
            raise DataError(
                f"{source.name} has too few hard negatives in {source.languages[language]} for a batch of "
                f"{len(self._draw.items)} without false negatives. Lower `batch_size` or add data."
            )
        return int(repeated)

    def _offers(self, row: int, column: int, language: int) -> Iterator[NDArray[np.int32]]:
        """Yield some random texts of a language, first hard negatives, then passages, and then all of them."""
        draw, source = self._draw, self._source
        lengths = np.diff(source.negatives.offsets[language * len(source) : (language + 1) * len(source) + 1])
        owners, others = np.flatnonzero(lengths), np.flatnonzero(source.passages[language] != MISSING)
        keys = draw.seed, _BORROWED, draw.step, row, column, np.arange(_TRIES)
        numbers = counter_rng.uniform(*keys)
        if len(owners):
            items = owners[(numbers * len(owners)).astype(np.int64)]
            within = counter_rng.uniform(draw.seed, _BORROWED_TEXT, *keys[2:])
            yield self._negatives_of(items, (within * lengths[items]).astype(np.int64), language)
        yield self._passages_of(others[(numbers * len(others)).astype(np.int64)], language)
        items = np.repeat(owners, lengths[owners])
        yield self._negatives_of(items, _positions(items), language)
        yield self._passages_of(others, language)

    def _negatives_of(self, items: NDArray[np.int64], positions: NDArray[np.int64], language: int) -> NDArray[np.int32]:
        """Return the hard negatives at some positions of some items, without those that are answers."""
        source = self._source
        allowed = ~self._is_answer(items, np.full(len(items), language), positions)
        starts = source.negatives.offsets[language * len(source) + items]
        texts: NDArray[np.int32] = source.negatives.values[(starts + positions)[allowed]]
        return texts

    def _passages_of(self, items: NDArray[np.int64], language: int) -> NDArray[np.int32]:
        """Return the passages of some items, without items of the batch and items with a text that is an answer."""
        source = self._source
        items = items[~np.isin(items, self._draw.items)]
        texts = np.concatenate([source.queries[:, items], source.passages[:, items]])
        if not self._translations:
            texts = source.passages[[language]][:, items]
        shared = (np.isin(source.folded[texts], self._answers) & (texts != MISSING)).any(axis=0)
        passages: NDArray[np.int32] = source.passages[language, items[~shared]]
        return passages

    def _is_answer(
        self, items: NDArray[np.integer], languages: NDArray[np.int64], positions: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return which hard negatives, by item, language and position in its list, are answers or translations."""
        source, lists = self._source, self._source.negatives
        answers = np.zeros(len(items), dtype=np.bool_)
        for offset in range(len(source.languages) if self._translations else 1):
            cells = (languages + offset) % len(source.languages) * len(source) + items
            places = lists.offsets[cells] + positions
            present = places < lists.offsets[cells + 1]
            answers[present] |= np.isin(source.folded[lists.values[places[present]]], self._answers)
        return answers


def _positions(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the position of each entry among those of the same row; equal rows are adjacent."""
    return np.arange(len(rows)) - np.searchsorted(rows, rows)
