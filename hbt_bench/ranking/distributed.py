"""The processes of one run, as torchrun and accelerate start them; one process where neither did."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import ProcessError, UsageError

#: How long one waits for another, which may be encoding; one that dies is noticed at once, as its connections close.
_PATIENCE = timedelta(days=2)


class Processes(Protocol):
    """Who shares the work. All of them must make the same calls in the same order."""

    @property
    def rank(self) -> int:
        """The number of this process."""

    @property
    def count(self) -> int:
        """How many there are."""

    def sum(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sum of an array over all processes."""

    def gather(self, value: Any) -> Sequence[Any]:
        """What each process has in the place of `value`, in their order."""

    def share(self, value: Any, source: int = 0) -> Any:
        """What the process `source` has in the place of `value`."""


@dataclass(frozen=True)
class _Alone:
    rank: int = 0
    count: int = 1

    def sum(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        return counts

    def gather(self, value: Any) -> Sequence[Any]:
        return [value]

    def share(self, value: Any, source: int = 0) -> Any:
        return value


ALONE: Processes = _Alone()


@dataclass(frozen=True)
class _Group:
    """Processes joined by gloo, which needs no device: what they exchange is small."""

    rank: int
    count: int

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

        found = [None] * self.count
        with _lost():
            dist.all_gather_object(found, value)
        return found

    def share(self, value: Any, source: int = 0) -> Any:
        import torch.distributed as dist

        found = [value]
        with _lost():
            dist.broadcast_object_list(found, src=source)
        return found[0]


def launched() -> int:
    """How many processes torchrun or accelerate started together; raises `UsageError` where that cannot be read."""
    for name in ("RANK", "LOCAL_RANK"):  # needed later, and nonsense is told before anything is loaded
        _told(name, 0)
    return max(1, _told("WORLD_SIZE", 1))


def _told(name: str, default: int) -> int:
    """What a launcher says in the environment; nothing is the default."""
    text = os.environ.get(name, "").strip()
    if text and not re.fullmatch("[0-9]{1,9}", text):
        raise UsageError(
            f"{name} is '{text[:40]}' and must be a number: start with torchrun or accelerate, or unset it"
        )
    return int(text or default)


def local_device() -> str | None:
    """The GPU of this process where several share a machine, None to leave the choice to torch."""
    if launched() == 1:
        return None
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{_told('LOCAL_RANK', 0) % count}" if count else None


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes that were started together, joined while the block lasts.

    Raises `ProcessError` when one of them ends before, `UsageError` where the environment does not say who they are.
    """
    if launched() == 1:
        yield ALONE
        return
    import torch.distributed as dist

    try:
        with _lost():
            dist.init_process_group("gloo", timeout=_PATIENCE)
    except ValueError as error:  # a variable of the launcher's is missing, or is nonsense
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{reason}: start with torchrun or accelerate, or unset WORLD_SIZE") from error
    try:
        group = _Group(dist.get_rank(), dist.get_world_size())
        yield group
        group.gather(None)  # nobody leaves while another may still need it
    finally:
        dist.destroy_process_group()


def speaks() -> bool:
    """Whether this process may tell of an error: of those started together, the first that fails."""
    try:
        if launched() == 1:
            return True
    except UsageError:  # nobody knows how many there are
        return True
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    key = f"hbt-bench/failed/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    try:
        port = int(os.environ["MASTER_PORT"])
        store = TCPStore(os.environ["MASTER_ADDR"], port, is_master=False, timeout=timedelta(seconds=5))
        return bool(store.add(key, 1) == 1)
    except (KeyError, ValueError, RuntimeError):  # the process that kept the store is gone: better said twice
        return True


@contextmanager
def _lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo has no error of its own
        raise ProcessError(
            "another process of this run ended, killed or with its machine: nothing is half-written, run the same "
            "command again to continue"
        ) from error
