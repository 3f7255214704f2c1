"""Blocks of scores, queries by documents, and the operations that count in them, on the host or on a device.

A scorer gives blocks of (rows, columns), float32. A kernel answers questions about a block with small NumPy arrays,
so a block never leaves its device.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import ModelError

Floats = NDArray[np.float32]
Counts = NDArray[np.int64]

#: Scores in a block of a scorer of whole rows.
_BLOCK_SCORES = 1 << 21


class Scorer(Protocol):
    """Scores queries against all documents that it was made for."""

    def scores(self, rows: slice) -> Floats:
        """Return the scores of the queries `rows`, shape (rows, documents), float32; higher is better."""


class Blocks(Protocol):
    """Scores by rows and chunks of columns; a pair has the same score in every block."""

    @property
    def kernel(self) -> Kernel:
        """The operations on these blocks."""

    @property
    def height(self) -> int:
        """Rows of a block; groups of queries are cut at its multiples."""

    def chunks(self, rank: int = 0, processes: int = 1) -> list[slice]:
        """Return the columns of the process `rank` of `processes`, in order."""

    def threads(self) -> Any:
        """Return a context for a pass; it yields the number of threads that make blocks, or 0 for the caller's."""

    def start_thread(self) -> None:
        """Prepare a new thread; called first in each of them."""

    def columns(self, chunk: slice) -> Any:
        """Return a chunk's documents in the form that `block` takes."""

    def block(self, rows: slice, chunk: slice, columns: Any) -> Any:
        """Return the scores of at most `height` rows, in the form that the kernel takes."""

    def pairs(self, rows: Counts, columns: Counts) -> Floats:
        """Return the scores of single pairs of a block's rows; a score unlike the block's costs a second pass."""


@runtime_checkable
class BlockScorer(Protocol):
    """A scorer that can score parts of rows."""

    def blocks(self) -> Blocks:
        """Return the scores in blocks."""


@dataclass(frozen=True, eq=False)
class WholeRows:
    """Blocks of a scorer of whole rows, in a single chunk; its first column is the collection's ``span.start``."""

    scorer: Scorer
    span: slice
    queries: int
    kernel: Kernel = field(default_factory=lambda: HostKernel())
    _lock: Any = field(default_factory=threading.Lock)

    @property
    def height(self) -> int:
        """The number of rows that makes a block of a few MiB."""
        width: int = self.span.stop - self.span.start
        return max(1, min(self.queries, _BLOCK_SCORES // max(1, width)))

    def chunks(self, rank: int = 0, processes: int = 1) -> list[slice]:
        """Return all columns, for a single process."""
        assert (rank, processes) == (0, 1)
        return [self.span]

    @contextmanager
    def threads(self) -> Iterator[int]:
        """Yield the number of processors."""
        yield os.cpu_count() or 1

    def start_thread(self) -> None:
        """Do nothing: threads take turns to call the scorer."""

    def columns(self, chunk: slice) -> None:
        """Return nothing: the scorer has its documents."""

    def block(self, rows: slice, chunk: slice, columns: None) -> Floats:
        """Return the scorer's rows; raises `ModelError` if their shape is wrong."""
        with self._lock:
            scores = self.scorer.scores(rows)
        shape = (rows.stop - rows.start, chunk.stop - chunk.start)
        if scores.shape != shape:
            raise ModelError(f"the model returned scores of shape {scores.shape}, not {shape} (queries, documents)")
        return np.ascontiguousarray(scores, dtype=np.float32)

    def pairs(self, rows: Counts, columns: Counts) -> Floats:
        """Raise: with a single chunk, the scores of pairs are read from the blocks."""
        raise AssertionError("with a single chunk, scores of pairs are read from the blocks")


class HostKernel:
    """Operations on blocks in NumPy, which uses vector instructions and releases the lock of Python's threads."""

    #: Groups of columns that `floor` takes the maximum of, as a multiple of the depth; more are more exact.
    _GROUPS = 8

    def has_nan(self, block: Floats) -> bool:
        """Return whether any score is NaN."""
        return bool(np.isnan(block.max(initial=-np.inf)))  # max passes NaN on, and needs no mask

    def at(self, block: Floats, rows: Counts, columns: Counts) -> Floats:
        """Return single scores."""
        scores: Floats = block[rows, columns]
        return scores

    def hide(self, block: Floats, rows: Counts, columns: Counts) -> Floats:
        """Return the block with single scores replaced by -inf."""
        block = block.copy()  # it may be a view of the scorer's matrix
        block[rows, columns] = -np.inf
        return block

    def compare(self, block: Floats, scores: Floats) -> tuple[Counts, Counts]:
        """Return how many scores of each row are greater than the row's of `scores`, and how many are equal."""
        scores = scores[:, None]
        return _count_true(block > scores), _count_true(block == scores)

    def equal(self, block: Floats, row: int, score: np.float32) -> Counts:
        """Return the columns of a row that have this score, ascending."""
        return np.flatnonzero(block[row] == score)

    def floor(self, block: Floats, depth: int) -> Floats:
        """Return a score for each row that at least `depth` of its scores reach, and few more."""
        groups, width = self._GROUPS * depth, block.shape[1]
        if width >= 4 * groups:  # partition the maxima of groups of columns, which are few
            even = width - width % groups
            best = block[:, :even].reshape(len(block), -1, groups).max(axis=1)
            if even < width:
                best = np.concatenate([best, block[:, even:]], axis=1)
            block = best
        index = block.shape[1] - depth
        floor: Floats = np.partition(block, index, axis=1)[:, index]
        return floor

    def reaching(self, block: Floats, limits: Floats) -> tuple[Counts, Counts, Floats]:
        """Return rows, columns and values of the scores that reach the row's limit, by row and column."""
        rows, columns = np.divmod(np.flatnonzero(block >= limits[:, None]), block.shape[1])
        return rows, columns, block[rows, columns]

    def largest(self, block: Floats, depth: int) -> Floats:
        """Return the `depth` greatest scores of each row, in any order."""
        width = block.shape[1]
        return np.partition(block, width - depth, axis=1)[:, width - depth :] if depth < width else block


class DeviceKernel:
    """The operations of `HostKernel` in torch, on the device of the block."""

    def has_nan(self, block: Any) -> bool:
        """Return whether any score is NaN."""
        return bool(block.isnan().any())

    def at(self, block: Any, rows: Counts, columns: Counts) -> Floats:
        """Return single scores."""
        return _to_numpy(block[_to_device(block, rows), _to_device(block, columns)])

    def hide(self, block: Any, rows: Counts, columns: Counts) -> Any:
        """Replace single scores by -inf, in place: the block was computed for the engine."""
        block[_to_device(block, rows), _to_device(block, columns)] = -np.inf
        return block

    def compare(self, block: Any, scores: Floats) -> tuple[Counts, Counts]:
        """Count the greater and the equal scores of each row."""
        import torch

        limits = torch.from_numpy(scores).to(block.device)[:, None]
        return _to_numpy((block > limits).sum(1)), _to_numpy((block == limits).sum(1))

    def equal(self, block: Any, row: int, score: np.float32) -> Counts:
        """Return the columns of a row that have this score."""
        return _to_numpy((block[row] == float(score)).nonzero()[:, 0])

    def floor(self, block: Any, depth: int) -> Floats:
        """Return a score that at least `depth` scores of each row reach."""
        return _to_numpy(block.topk(depth, dim=1).values[:, -1])

    def reaching(self, block: Any, limits: Floats) -> tuple[Counts, Counts, Floats]:
        """Return the scores that reach the limit of their row."""
        import torch

        indices = (block >= torch.from_numpy(limits).to(block.device)[:, None]).nonzero()
        return _to_numpy(indices[:, 0]), _to_numpy(indices[:, 1]), _to_numpy(block[indices[:, 0], indices[:, 1]])

    def largest(self, block: Any, depth: int) -> Floats:
        """Return the greatest scores of each row."""
        return _to_numpy(block.topk(min(depth, block.shape[1]), dim=1, sorted=False).values)


#: Operations on blocks, which can be indexed with slices and with an array of rows.
Kernel = HostKernel | DeviceKernel


def _count_true(mask: NDArray[np.bool_]) -> Counts:
    """Count along the last axis; ten times faster than ``count_nonzero(axis=1)``, which widens every bool first."""
    counts: Counts = np.bitwise_count(np.packbits(mask, axis=1)).sum(axis=1, dtype=np.int64)
    return counts


def _to_numpy(tensor: Any) -> NDArray[Any]:
    array: NDArray[Any] = tensor.cpu().numpy()
    return array


def _to_device(block: Any, indices: Counts) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(indices)).to(block.device)
