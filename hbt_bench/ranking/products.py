"""Scores of dense vectors, computed in tiles of a fixed shape.

A matrix product may round a score differently if its matrices have another shape. So the score matrix is cut into
tiles on a fixed grid, and every product has the shape of a tile and runs in a single thread. A pair of vectors then has
the same score to the last bit, for any number of documents at a time and any number of processes, and equal texts
tie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hbt_bench.ranking.blocks import DeviceKernel, Floats, HostKernel, Kernel

#: Rows and columns of a tile; on the host, a tile and its vectors fit a core's cache.
_HOST_TILE = (128, 2048)
_DEVICE_TILE = (2048, 16384)
#: Columns of a chunk; on the host, a block (the scores of a tile's rows) is a few MiB.
_HOST_CHUNK = 32768
_DEVICE_CHUNK = 65536
#: The least width of a tile: products of smaller matrices run by other code, which rounds differently.
_LEAST_WIDTH = 64


class VectorRows(Protocol):
    """Vectors (count, dimensions): an array, or an object that reads them from files when indexed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Count and dimensions."""

    def __getitem__(self, rows: Any) -> Floats:
        """Return some of the vectors, by a slice or an array of indices."""


@dataclass(frozen=True, eq=False)
class Products:
    """Blocks of scores of `queries` against `documents` on `device`.

    A `kind` of ``cosine`` or ``dot`` is a product of matrices. If `kind` is None, `similarity` computes the scores of
    arrays on the host, shape (queries, documents).
    """

    queries: VectorRows
    documents: VectorRows
    kind: str | None
    similarity: Callable[[Floats, Floats], Floats]
    device: torch.device

    @property
    def kernel(self) -> Kernel:
        """The operations on these blocks."""
        return HostKernel() if self.device.type == "cpu" else DeviceKernel()

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of a tile; they depend on the numbers of queries and documents and on the device."""
        height, widest = _HOST_TILE if self.device.type == "cpu" else _DEVICE_TILE
        height = min(height, -(-self.queries.shape[0] // 16) * 16)
        count = self.documents.shape[0]
        tiles = -(-count // widest)
        return height, max(_LEAST_WIDTH, -(-count // tiles // _LEAST_WIDTH) * _LEAST_WIDTH)

    @property
    def height(self) -> int:
        """Rows of a tile."""
        return self.tile[0]

    @contextmanager
    def threads(self) -> Iterator[int]:
        """Yield the number of torch's threads, each of which then computes tiles alone; 0 on a device."""
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
        """Limit torch to a single thread in a new thread, which starts with the default number."""
        if self.device.type == "cpu":
            torch.set_num_threads(1)

    def chunks(self, rank: int = 0, processes: int = 1) -> list[slice]:
        """Return the columns of the process `rank` of `processes`, in chunks of whole tiles but the last."""
        count, width = self.documents.shape[0], self.tile[1]
        tiles = -(-count // width)
        first, last = tiles * rank // processes, tiles * (rank + 1) // processes
        most = max(1, (_HOST_CHUNK if self.device.type == "cpu" else _DEVICE_CHUNK) // width)
        pieces = max(1, -(-(last - first) // most))
        edges = [first + (last - first) * piece // pieces for piece in range(pieces + 1)]
        return [slice(start * width, min(stop * width, count)) for start, stop in pairwise(edges) if start < stop]

    def prepared(self, vectors: Floats, multiple: int) -> torch.Tensor:
        """Return vectors on the device, of unit length for cosine; the last repeats up to a `multiple` of rows."""
        tensor = torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32)).to(self.device)
        if self.kind == "cosine":
            tensor = torch.nn.functional.normalize(tensor, dim=1)
        missing = -len(tensor) % multiple
        return torch.cat([tensor, tensor[-1:].expand(missing, -1)]) if missing else tensor

    def columns(self, chunk: slice) -> torch.Tensor:
        """Return the prepared documents of a chunk."""
        return self.prepared(self.documents[chunk], self.tile[1])

    def block(self, rows: slice, chunk: slice, columns: torch.Tensor) -> Any:
        """Return the scores of at most a tile's height of queries; a NumPy array on the host, else a tensor."""
        scores = self._scores(rows, columns)[: rows.stop - rows.start, : chunk.stop - chunk.start]
        return scores.numpy() if self.device.type == "cpu" else scores

    def pairs(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Floats:
        """Return scores of single pairs with queries of a tile.

        A score may differ from `block`'s in its last bit if a product rounds by the position in a tile.
        """
        first = int(rows[0]) // self.height * self.height
        distinct, position = np.unique(columns, return_inverse=True)
        documents = self.prepared(self.documents[distinct], self.tile[1])
        scores = self._scores(slice(first, min(first + self.height, self.queries.shape[0])), documents)
        indices = (torch.from_numpy(index).to(self.device) for index in (rows - first, position))
        pairs: Floats = scores[tuple(indices)].cpu().numpy()
        return pairs

    def _scores(self, rows: slice, columns: torch.Tensor) -> torch.Tensor:
        """Return a tile's height of scores, computed tile by tile."""
        height, width = self.tile
        queries = self.prepared(self.queries[rows], height)
        scores = torch.empty(height, len(columns), device=self.device)
        for start in range(0, len(columns), width):
            documents, out = columns[start : start + width], scores[:, start : start + width]
            if self.kind is None:
                out.copy_(torch.from_numpy(self.similarity(queries.numpy(), documents.numpy())))
            else:
                torch.mm(queries, documents.T, out=out)
        return scores
