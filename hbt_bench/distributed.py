"""Rank and world size: the processes that torchrun or `accelerate launch` started together.

This module alone reads RANK, LOCAL_RANK and WORLD_SIZE. If there is no launcher, the only process is the first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hbt_bench.errors import ProcessError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: A process may wait this long for another that encodes. If a process dies, its connections close and the others
#: notice at once.
_TIMEOUT = timedelta(days=2)


def world_size() -> int:
    """Return the number of processes of this run."""
    return _variable("WORLD_SIZE") or 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return _variable("RANK") if world_size() > 1 else 0


def is_first() -> bool:
    """Return whether this process writes results and messages for all."""
    return rank() == 0


def local_device() -> str | None:
    """Return the GPU of this process, such as ``cuda:1``, or None to leave the choice to torch."""
    if world_size() == 1:
        return None
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{_variable('LOCAL_RANK') % gpus}" if gpus else None


@dataclass(frozen=True)
class Processes:
    """The processes that share a computation; the base class is a process alone.

    All processes must make the same calls in the same order. `rank` is the number of this process, from 0, and `count`
    the number of processes.
    """

    rank: int = 0
    count: int = 1

    def sum(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sum of an array over all processes."""
        return counts

    def gather(self, value: Any) -> Sequence[Any]:
        """Return the `value` of each process, ordered by rank."""
        return [value]

    def share(self, value: Any, source: int = 0) -> Any:
        """Return the `value` of the process with rank `source`."""
        return value


ALONE = Processes()


class _Group(Processes):
    """Processes joined by gloo, which needs no GPU: the values they exchange are small."""

    def sum(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        import torch
        import torch.distributed as dist

        total = torch.from_numpy(counts.copy())
        with _lost():
            dist.all_reduce(total)
        array: NDArray[np.int64] = total.numpy()
        return array

    def gather(self, value: Any) -> Sequence[Any]:
        import torch.distributed as dist

        values = [None] * self.count
        with _lost():
            dist.all_gather_object(values, value)
        return values

    def share(self, value: Any, source: int = 0) -> Any:
        import torch.distributed as dist

        values = [value]
        with _lost():
            dist.broadcast_object_list(values, src=source)
        return values[0]


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes of this run while the block lasts.

    Raises `ProcessError` if a process ends before the others, and `UsageError` if WORLD_SIZE is set without the
    launcher's other variables. For example, ``with joined() as processes: counts = processes.sum(counts)``.
    """
    if world_size() == 1:
        yield ALONE
        return
    import torch.distributed as dist

    try:
        with _lost():
            dist.init_process_group("gloo", timeout=_TIMEOUT)
    except ValueError as error:  # torch's error for a variable that is missing
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{reason}: start with torchrun or accelerate, or unset WORLD_SIZE") from error
    try:
        group = _Group(dist.get_rank(), dist.get_world_size())
        yield group
        group.gather(None)  # a process that leaves early would break the calls of the others
    finally:
        dist.destroy_process_group()


def _variable(name: str) -> int:
    text = os.environ.get(name, "").strip()
    if text and not re.fullmatch("[0-9]{1,9}", text):
        raise UsageError(f"{name} is '{text[:40]}', not a number: start with torchrun or accelerate, or unset it")
    return int(text or 0)


@contextmanager
def _lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo raises nothing more specific
        raise ProcessError(
            "another process of this run ended: results on disk are complete; run the same command again to continue"
        ) from error
