"""What the engine asks of a block of scores, on the host with NumPy or on a device with torch.

A block is (rows, columns), float32. All answers are small NumPy arrays: a block never leaves the device it is on.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Counts = NDArray[np.int64]


class Kernel(Protocol):
    """The operations on blocks; a block may be cut with slices, rows of it taken with an array of rows."""

    def has_nan(self, block: Any) -> bool:
        """Whether any score is NaN."""

    def at(self, block: Any, rows: Counts, columns: Counts) -> Floats:
        """Single scores."""

    def hide(self, block: Any, rows: Counts, columns: Counts) -> Any:
        """The block with single scores put below all others."""

    def compare(self, block: Any, scores: Floats) -> tuple[Counts, Counts]:
        """How many scores of each row are greater than that row's of `scores`, and how many are equal."""

    def equal(self, block: Any, row: int, score: np.float32) -> Counts:
        """The columns of one row that have this score, ascending."""

    def floor(self, block: Any, depth: int) -> Floats:
        """For every row a score that at least `depth` of its scores reach, hardly more of them."""

    def reaching(self, block: Any, limits: Floats) -> tuple[Counts, Counts, Floats]:
        """Rows, columns and scores of all that is at least as great as the row's limit, by row and column."""

    def largest(self, block: Any, depth: int) -> Floats:
        """The `depth` greatest scores of every row, in any order."""


class HostKernel:
    """NumPy, whose loops use vector instructions and let other threads run."""

    #: Groups whose greatest scores bound the best `depth`: the more, the closer.
    _GROUPS = 8

    def has_nan(self, block: Floats) -> bool:
        """Whether any score is NaN."""
        return bool(np.isnan(block.max(initial=-np.inf)))  # NaN is passed on, and no mask is made

    def at(self, block: Floats, rows: Counts, columns: Counts) -> Floats:
        """Single scores."""
        found: Floats = block[rows, columns]
        return found

    def hide(self, block: Floats, rows: Counts, columns: Counts) -> Floats:
        """The block with single scores put below all others."""
        block = block.copy()  # it may be a view of the scorer's own
        block[rows, columns] = -np.inf
        return block

    def compare(self, block: Floats, scores: Floats) -> tuple[Counts, Counts]:
        """Count the greater and the equal scores of each row."""
        scores = scores[:, None]
        return _count_true(block > scores), _count_true(block == scores)

    def equal(self, block: Floats, row: int, score: np.float32) -> Counts:
        """The columns of one row that have a score."""
        return np.flatnonzero(block[row] == score)

    def floor(self, block: Floats, depth: int) -> Floats:
        """A score that at least `depth` of each row reach."""
        groups, width = self._GROUPS * depth, block.shape[1]
        if width >= 4 * groups:  # the best of each of many groups: partitioning these is little work
            even = width - width % groups
            best = block[:, :even].reshape(len(block), -1, groups).max(axis=1)
            if even < width:
                best = np.concatenate([best, block[:, even:]], axis=1)
            block = best
        place = block.shape[1] - depth
        floor: Floats = np.partition(block, place, axis=1)[:, place]
        return floor

    def reaching(self, block: Floats, limits: Floats) -> tuple[Counts, Counts, Floats]:
        """What reaches the limit of its row."""
        rows, columns = np.divmod(np.flatnonzero(block >= limits[:, None]), block.shape[1])
        return rows, columns, block[rows, columns]

    def largest(self, block: Floats, depth: int) -> Floats:
        """The greatest scores of each row."""
        width = block.shape[1]
        return np.partition(block, width - depth, axis=1)[:, width - depth :] if depth < width else block


class DeviceKernel:
    """torch, on the device where the block is."""

    def has_nan(self, block: Any) -> bool:
        """Whether any score is NaN."""
        return bool(block.isnan().any())

    def at(self, block: Any, rows: Counts, columns: Counts) -> Floats:
        """Single scores."""
        return _numpy(block[_index(block, rows), _index(block, columns)])

    def hide(self, block: Any, rows: Counts, columns: Counts) -> Any:
        """The block with single scores put below all others."""
        block[_index(block, rows), _index(block, columns)] = -np.inf  # made for the engine: nobody else has it
        return block

    def compare(self, block: Any, scores: Floats) -> tuple[Counts, Counts]:
        """Count the greater and the equal scores of each row."""
        import torch

        limits = torch.from_numpy(scores).to(block.device)[:, None]
        return _numpy((block > limits).sum(1)), _numpy((block == limits).sum(1))

    def equal(self, block: Any, row: int, score: np.float32) -> Counts:
        """The columns of one row that have a score."""
        return _numpy((block[row] == float(score)).nonzero()[:, 0])

    def floor(self, block: Any, depth: int) -> Floats:
        """A score that at least `depth` of each row reach."""
        return _numpy(block.topk(depth, dim=1).values[:, -1])

    def reaching(self, block: Any, limits: Floats) -> tuple[Counts, Counts, Floats]:
        """What reaches the limit of its row."""
        import torch

        places = (block >= torch.from_numpy(limits).to(block.device)[:, None]).nonzero()
        return _numpy(places[:, 0]), _numpy(places[:, 1]), _numpy(block[places[:, 0], places[:, 1]])

    def largest(self, block: Any, depth: int) -> Floats:
        """The greatest scores of each row."""
        return _numpy(block.topk(min(depth, block.shape[1]), dim=1, sorted=False).values)


def _count_true(mask: NDArray[np.bool_]) -> Counts:
    """Count along the last axis; ten times faster than ``count_nonzero(axis=1)``, which widens every bool first."""
    counts: Counts = np.bitwise_count(np.packbits(mask, axis=1)).sum(axis=1, dtype=np.int64)
    return counts


def _numpy(tensor: Any) -> NDArray[Any]:
    array: NDArray[Any] = tensor.cpu().numpy()
    return array


def _index(block: Any, places: Counts) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(places)).to(block.device)
