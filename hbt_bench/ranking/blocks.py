"""Scores in blocks: a tile's rows of queries against a chunk of the documents."""

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
from hbt_bench.ranking.kernels import HostKernel, Kernel

#: Scores of a block where a scorer gives whole rows.
_BLOCK_SCORES = 1 << 21


class Scorer(Protocol):
    """Scores a block of queries against all documents that it was made for."""

    def scores(self, rows: slice) -> NDArray[np.float32]:
        """The scores of the queries `rows`, shape (rows, documents), float32, higher is better."""


class Blocks(Protocol):
    """Scores by rows and chunks of columns; a pair has the same score in whatever block it is computed."""

    @property
    def kernel(self) -> Kernel:
        """What works on the blocks."""

    @property
    def height(self) -> int:
        """Rows of a block; groups of queries are cut at its multiples."""

    def chunks(self, part: int = 0, parts: int = 1) -> list[slice]:
        """The columns of one of `parts` processes, in order."""

    def threads(self) -> Any:
        """A context for the time of a pass, giving the number of threads that blocks are made in, 0 for this one."""

    def start_thread(self) -> None:
        """Called first in every thread."""

    def columns(self, chunk: slice) -> Any:
        """What `block` needs of a chunk's documents."""

    def block(self, rows: slice, chunk: slice, columns: Any) -> Any:
        """The scores of at most a tile's rows, as the kernel takes them."""

    def pairs(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float32]:
        """The scores of single pairs of one block's rows; one that is not what its block has costs a second pass."""


@runtime_checkable
class BlockScorer(Protocol):
    """A scorer that need not score whole rows."""

    def blocks(self) -> Blocks:
        """Its scores in blocks."""


@dataclass(frozen=True, eq=False)
class WholeRows:
    """A scorer of whole rows, whose first column is the collection's column ``span.start``, as one chunk of blocks."""

    scorer: Scorer
    span: slice
    queries: int
    kernel: Kernel = field(default_factory=HostKernel)
    _lock: Any = field(default_factory=threading.Lock)

    @property
    def height(self) -> int:
        """As many rows as make a block of some MiB."""
        width: int = self.span.stop - self.span.start
        return max(1, min(self.queries, _BLOCK_SCORES // max(1, width)))

    def chunks(self, part: int = 0, parts: int = 1) -> list[slice]:
        """All columns, for one process."""
        assert (part, parts) == (0, 1)
        return [self.span]

    @contextmanager
    def threads(self) -> Iterator[int]:
        """One thread a processor."""
        yield os.cpu_count() or 1

    def start_thread(self) -> None:
        """Nothing."""

    def columns(self, chunk: slice) -> None:
        """Nothing: the scorer has its documents."""

    def block(self, rows: slice, chunk: slice, columns: None) -> NDArray[np.float32]:
        """The scorer's rows; it is asked by one thread at a time. Raises `ModelError` for a wrong shape."""
        with self._lock:
            scores = self.scorer.scores(rows)
        shape = (rows.stop - rows.start, chunk.stop - chunk.start)
        if scores.shape != shape:
            raise ModelError(f"the model scored a block of shape {scores.shape} where {shape} was expected")
        return np.ascontiguousarray(scores, dtype=np.float32)

    def pairs(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float32]:
        """Never asked: with one chunk, scores are read from the blocks."""
        raise AssertionError("one chunk is all of it")
