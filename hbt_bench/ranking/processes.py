"""The processes of one run, as torchrun and accelerate start them; one process where neither did."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Processes(Protocol):
    """Who shares the work."""

    @property
    def rank(self) -> int:
        """The number of this process."""

    @property
    def count(self) -> int:
        """How many there are."""

    def sum(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sum of an array over all processes; all of them must call it."""

    def gather(self, value: Any) -> Sequence[Any]:
        """What each process has in the place of `value`, in their order; all of them must call it."""


@dataclass(frozen=True)
class _Alone:
    rank: int = 0
    count: int = 1

    def sum(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        return counts

    def gather(self, value: Any) -> Sequence[Any]:
        return [value]


ALONE: Processes = _Alone()


def launched() -> int:
    """How many processes torchrun or accelerate started together."""
    return int(os.environ.get("WORLD_SIZE", "1"))
