"""Arrays whose rows have different lengths."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Ragged(NamedTuple):
    """Rows of different lengths: row `i` has ``values[offsets[i]:offsets[i + 1]]``."""

    offsets: NDArray[np.int64]
    values: NDArray[np.int32]

    @classmethod
    def empty(cls, count: int) -> Ragged:
        """Return `count` empty rows, which take no memory."""
        return cls(np.broadcast_to(np.int64(0), count + 1), np.empty(0, dtype=np.int32))

    @classmethod
    def from_pairs(cls, rows: NDArray[np.int64], values: NDArray[Any], count: int) -> Ragged:
        """Build `count` rows from the row of each value."""
        if not len(rows):
            return cls.empty(count)
        order = np.argsort(rows, kind="stable")
        return cls(np.searchsorted(rows[order], np.arange(count + 1)), values[order].astype(np.int32))

    def of(self, rows: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the values of some rows, in order, and for each value the index of its row in `rows`.

        For example, ``Ragged(offsets=[0, 2, 3], values=[7, 8, 9]).of([1, 0])`` is ``[9, 7, 8], [0, 1, 1]``, as arrays.
        """
        if not len(self.values):
            return self.values, np.zeros(0, dtype=np.int64)
        if len(rows) == 1:  # the same, faster
            values = self.values[self.offsets[rows[0]] : self.offsets[rows[0] + 1]]
            return values, np.zeros(len(values), dtype=np.int64)
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        starts = np.repeat(self.offsets[rows] - np.cumsum(lengths) + lengths, lengths)
        return self.values[starts + np.arange(lengths.sum())], np.repeat(np.arange(len(rows)), lengths)

    def lengths(self) -> NDArray[np.int64]:
        """Return the number of values of each row."""
        return np.diff(self.offsets)

    def take(self, rows: NDArray[np.int64]) -> Ragged:
        """Return some of the rows."""
        if not len(self.values):
            return Ragged.empty(len(rows))
        return Ragged(np.concatenate([[0], np.cumsum(self.lengths()[rows])]), self.of(rows)[0])

    def keep(self, chosen: NDArray[np.bool_]) -> Ragged:
        """Return the rows with the values that are true in `chosen` (values,)."""
        return Ragged(np.concatenate([[0], np.cumsum(chosen)])[self.offsets], self.values[chosen])
