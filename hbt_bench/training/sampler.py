"""The draw of a batch's language pairs, and the position of each row in the order of its pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hbt_bench.training.parallel import ParallelText
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
