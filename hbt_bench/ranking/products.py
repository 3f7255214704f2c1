"""Scores of dense vectors, computed in tiles of one shape.

A matrix product may round a score differently where its matrices have another shape. Here the matrix of all scores
is cut into tiles on a fixed grid, and every product has the shape of a tile, by one thread: so a pair of vectors has
one score, to the last bit, however many documents are taken at once and however many processes share them. That is
also what lets equal texts tie.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hbt_bench.ranking.kernels import DeviceKernel, Floats, HostKernel, Kernel

#: Rows and columns of a tile: on the processor it and what it is made of fit a core's cache.
_HOST_TILE = (128, 2048)
_DEVICE_TILE = (2048, 16384)
#: Columns that are taken at once; their scores for one tile's rows are a few MiB on the host.
_HOST_CHUNK = 32768
_DEVICE_CHUNK = 65536
#: Tiles are at least this wide, since products of very small matrices take other paths.
_LEAST = 64


class VectorRows(Protocol):
    """Vectors by number, (count, dimensions): an array, or one that is put together from files when it is asked."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Count and dimensions."""

    def __getitem__(self, rows: Any) -> Floats:
        """Some of the vectors, by a slice or an array of numbers."""


class Similarity(Protocol):
    """How an encoder compares vectors."""

    @property
    def kind(self) -> str | None:
        """``cosine`` and ``dot`` are products of matrices; None is any other, which a call computes."""

    def __call__(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        """Scores, shape (queries, documents), float32."""


@dataclass(frozen=True, eq=False)
class Products:
    """Blocks of scores of `queries` against `documents` on `device`."""

    queries: VectorRows
    documents: VectorRows
    similarity: Similarity
    device: torch.device

    @property
    def kernel(self) -> Kernel:
        """What works on the blocks."""
        return HostKernel() if self.device.type == "cpu" else DeviceKernel()

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of a tile: the same for equal numbers of queries and documents."""
        height, widest = _HOST_TILE if self.device.type == "cpu" else _DEVICE_TILE
        height = min(height, -(-self.queries.shape[0] // 16) * 16)
        count = self.documents.shape[0]
        parts = -(-count // widest)
        return height, max(_LEAST, -(-count // parts // _LEAST) * _LEAST)

    @property
    def height(self) -> int:
        """Rows of a tile."""
        return self.tile[0]

    @contextmanager
    def threads(self) -> Iterator[int]:
        """As many threads as torch would take, each of which computes tiles by itself; none on a device."""
        count = torch.get_num_threads()
        if self.device.type != "cpu":
            yield 0
            return
        torch.set_num_threads(1)
        try:
            yield count
        finally:
            torch.set_num_threads(count)

    def start_thread(self) -> None:
        """A new thread has torch's threads of its own."""
        if self.device.type == "cpu":
            torch.set_num_threads(1)

    def chunks(self, part: int = 0, parts: int = 1) -> list[slice]:
        """The columns of one of `parts` processes, cut into what is taken at once; whole tiles, but for the last."""
        count, width = self.documents.shape[0], self.tile[1]
        tiles = -(-count // width)
        first, last = tiles * part // parts, tiles * (part + 1) // parts
        most = max(1, (_HOST_CHUNK if self.device.type == "cpu" else _DEVICE_CHUNK) // width)
        pieces = max(1, -(-(last - first) // most))
        edges = [first + (last - first) * piece // pieces for piece in range(pieces + 1)]
        return [slice(start * width, min(stop * width, count)) for start, stop in pairwise(edges) if start < stop]

    def prepared(self, vectors: Floats, multiple: int) -> torch.Tensor:
        """Vectors as a product takes them: on the device, of unit length for cosine, the last one repeated to fill."""
        tensor = torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32)).to(self.device)
        if self.similarity.kind == "cosine":
            tensor = torch.nn.functional.normalize(tensor, dim=1)
        missing = -len(tensor) % multiple
        return torch.cat([tensor, tensor[-1:].expand(missing, -1)]) if missing else tensor

    def columns(self, chunk: slice) -> torch.Tensor:
        """The prepared documents of a chunk."""
        return self.prepared(self.documents[chunk], self.tile[1])

    def block(self, rows: slice, chunk: slice, columns: torch.Tensor) -> Any:
        """Scores of at most a tile's height of queries against prepared documents, a NumPy array on the host."""
        scores = self._scores(rows, columns)[: rows.stop - rows.start, : chunk.stop - chunk.start]
        return scores.numpy() if self.device.type == "cpu" else scores

    def pairs(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Floats:
        """Scores of single pairs whose queries are of one tile.

        Where a product rounds by the place in a tile, a score may differ from that of `block` in its last bit.
        """
        first = int(rows[0]) // self.height * self.height
        distinct, place = np.unique(columns, return_inverse=True)
        documents = self.prepared(self.documents[distinct], self.tile[1])
        scores = self._scores(slice(first, min(first + self.height, self.queries.shape[0])), documents)
        index = (torch.from_numpy(part).to(self.device) for part in (rows - first, place))
        found: Floats = scores[tuple(index)].cpu().numpy()
        return found

    def _scores(self, rows: slice, columns: torch.Tensor) -> torch.Tensor:
        """A tile's height of scores, tile by tile."""
        height, width = self.tile
        queries = self.prepared(self.queries[rows], height)
        scores = torch.empty(height, len(columns), device=self.device)
        for start in range(0, len(columns), width):
            documents, out = columns[start : start + width], scores[:, start : start + width]
            if self.similarity.kind is None:
                out.copy_(self.similarity(queries, documents))
            else:
                torch.mm(queries, documents.T, out=out)
        return scores
