"""Where a plan stands: what was drawn before a step, so that each language pair's order goes on from there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hbt_bench.training.parallel import ParallelText
from hbt_bench.training.strategies import BatchType

#: Memory for the lists of items that a language pair has, in bytes; fully parallel sources need none.
_ITEM_LISTS = 64 << 20


class Draw(NamedTuple):
    """What a step draws before any item: which supply, which kind, and the language pair of each row."""

    supply: int
    kind: BatchType
    pairs: NDArray[np.int64]


class Cursor:
    """How many rows of each language pair were drawn before a step; `draw` is what the step itself draws."""

    def __init__(self, sources: Sequence[ParallelText], steps: int, drawn: Callable[[int], Draw]) -> None:
        self._sources, self._steps, self._draw_at = sources, steps, drawn
        self._start()

    def _start(self) -> None:
        self._before = [np.zeros(source.counts.size, dtype=np.int64) for source in self._sources]
        self.step = 0
        self.draw = self._draw_at(0)

    def move(self, step: int) -> None:
        """Go to a step: on from here, or from the start when it lies behind."""
        if not 0 <= step < self._steps:
            raise IndexError(f"the plan has {self._steps} steps, so none at {step}")
        if step < self.step:
            self._start()
        while self.step < step:
            np.add.at(self._before[self.draw.supply], self._flat(), 1)
            self.step += 1
            self.draw = self._draw_at(self.step)

    def places(self) -> NDArray[np.int64]:
        """The place of each row in its pair's order: after the earlier steps, and the earlier rows of this one."""
        flat = self._flat()
        order = np.argsort(flat, kind="stable")
        starts = np.searchsorted(flat[order], flat[order])
        within = np.empty(len(flat), dtype=np.int64)
        within[order] = np.arange(len(flat)) - starts
        return self._before[self.draw.supply][flat] + within

    def _flat(self) -> NDArray[np.int64]:
        return self.draw.pairs[:, 0] * len(self._sources[self.draw.supply].languages) + self.draw.pairs[:, 1]


class Items:
    """The items of language pairs, kept while there is room."""

    def __init__(self, sources: Sequence[ParallelText]) -> None:
        largest = max(len(source) for source in sources)
        self.of = lru_cache(maxsize=max(1, _ITEM_LISTS // (4 * largest)))(
            lambda supply, query, passage: sources[supply].items(query, passage)
        )


def pick(cumulative: NDArray[np.float64], wish: NDArray[np.float64]) -> NDArray[np.int64]:
    """The index whose share of the whole a number in [0, 1) falls into."""
    found: NDArray[np.int64] = np.searchsorted(cumulative, wish * cumulative[-1], side="right").astype(np.int64)
    return found
