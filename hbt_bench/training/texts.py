"""Many texts by number: their bytes are in memory or, if they are many, in a file; arrays hold where each text is."""

from __future__ import annotations

import io
import mmap
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, overload

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.data_files import cache_dir
from hbt_bench.files import output_error

#: Bytes of texts in memory; more are in a file in the cache folder, and the system reads the pages that are needed.
_IN_MEMORY = 64 << 20
#: Hashes that are numbered at once.
_CHUNK = 1 << 20


class Texts(Sequence[str]):
    """Texts in order: text `i` has the bytes ``data[starts[i] : starts[i] + sizes[i]]``, and a hash.

    20 bytes of memory for each text, if `data` is a mapped file. The file has no name, so it is gone when nobody reads
    it. For example, ``TextWriter.write(["Who?", "Ann."])[1]`` is ``"Ann."``.
    """

    def __init__(
        self,
        data: bytes | mmap.mmap,
        starts: NDArray[np.int64],
        sizes: NDArray[np.int32],
        hashes: NDArray[np.int64],
    ) -> None:
        self._data, self._starts, self._sizes, self.hashes = data, starts, sizes, hashes

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, number: int) -> str: ...
    @overload
    def __getitem__(self, number: slice) -> tuple[str, ...]: ...
    def __getitem__(self, number: int | slice) -> str | tuple[str, ...]:
        if isinstance(number, slice):
            return tuple(self.take(np.arange(len(self))[number]))
        start = int(self._starts[number])
        return self._data[start : start + int(self._sizes[number])].decode()

    def __iter__(self) -> Iterator[str]:
        return (text.decode() for text in self.encoded())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(str.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self):,} texts>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the bytes of the texts too, for processes that do not share the file."""
        return Texts, (bytes(self._data), self._starts, self._sizes, self.hashes)

    def encoded(self) -> Iterator[bytes]:
        """Yield the bytes of each text in UTF-8."""
        for first in range(0, len(self), 1 << 16):  # lists of all numbers would take more memory than the arrays
            chunk = slice(first, first + (1 << 16))
            for start, size in zip(self._starts[chunk].tolist(), self._sizes[chunk].tolist(), strict=True):
                yield self._data[start : start + size]

    def note(self, number: int) -> str:
        """Return the note on a text, which `TextWriter.add` wrote; empty for texts in another order than written."""
        start = int(self._starts[number] + self._sizes[number])
        end = int(self._starts[number + 1]) if number + 1 < len(self) else len(self._data)
        return self._data[start:end].decode() if start < end else ""

    def take(self, numbers: NDArray[Any]) -> Texts:
        """Return some of the texts, in this order, without a copy of their bytes."""
        return Texts(self._data, self._starts[numbers], self._sizes[numbers], self.hashes[numbers])


class TextWriter:
    """Writes texts one after another; `done` returns them. Raises `OutputError` if the cache folder is not writable."""

    def __init__(self) -> None:
        self._file: IO[bytes] = io.BytesIO()
        self._size = 0
        self._starts, self._sizes, self._hashes = array("q"), array("i"), array("q")

    @classmethod
    def write(cls, texts: Iterable[str]) -> Texts:
        """Return some texts with the hashes of Python."""
        writer = cls()
        for text in texts:
            writer.add(text, hash(text))
        return writer.done()

    def add(self, text: str, hash_: int, note: str = "") -> None:
        """Add a text with its hash, and a note on it, such as its position for messages."""
        data = text.encode()
        self._starts.append(self._size)
        self._sizes.append(len(data))
        self._hashes.append(hash_)
        if note:
            data += note.encode()
        if self._size <= _IN_MEMORY < self._size + len(data):
            self._move()
        self._file.write(data)
        self._size += len(data)

    def _move(self) -> None:
        """Move the texts from memory into a file."""
        folder = cache_dir()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = tempfile.TemporaryFile(dir=folder, buffering=1 << 20)  # noqa: SIM115 -- `Texts` maps it
            file.write(self._file.getbuffer())  # type: ignore[attr-defined]
        except OSError as error:
            raise output_error(folder, error, "set HBT_BENCH_CACHE to another folder") from error
        self._file = file

    def done(self) -> Texts:
        """Return the texts; nothing can be added after it."""
        if isinstance(self._file, io.BytesIO):
            data: bytes | mmap.mmap = self._file.getvalue()
        else:
            self._file.flush()
            data = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
            self._file.close()
        return Texts(data, np.asarray(self._starts), np.asarray(self._sizes), np.asarray(self._hashes))


class Numbers:
    """Numbers of 64-bit hashes, in the order of their first appearance; 12 bytes of memory for each.

    Of 100 million different texts, two have the same hash with a probability of 0.0003.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[NDArray[np.int64], NDArray[np.int32]]] = []  # hashes, ascending, and their numbers
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @classmethod
    def of_all(cls, hashes: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return what `of` does for hashes of which none has a number, in less memory."""
        numbers = cls()
        starts = range(0, max(1, len(hashes)), _CHUNK)
        parts = [numbers.of(hashes[start : start + _CHUNK]) for start in starts]
        first = [start + new for start, (_, new) in zip(starts, parts, strict=True)]
        return np.concatenate([numbered for numbered, _ in parts]), np.concatenate(first)

    def of(self, hashes: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the number of each hash, and the positions of the new hashes, in the order of their numbers."""
        numbers = np.full(len(hashes), -1, dtype=np.int32)
        for run, run_numbers in self._runs:
            places = np.minimum(np.searchsorted(run, hashes), len(run) - 1)
            is_known = run[places] == hashes
            numbers[is_known] = run_numbers[places[is_known]]
        missing = np.flatnonzero(numbers < 0)
        if not len(missing):
            return numbers, missing
        new, first, inverse = np.unique(hashes[missing], return_index=True, return_inverse=True)
        order = np.argsort(first)
        ranks = np.empty(len(new), dtype=np.int32)
        ranks[order] = np.arange(self._count, self._count + len(new))
        numbers[missing] = ranks[inverse]
        self._count += len(new)
        self._add(new, ranks)
        return numbers, missing[first[order]]

    def _add(self, hashes: NDArray[np.int64], numbers: NDArray[np.int32]) -> None:
        """Add a run. Runs of similar length become a single run, so there are few, and each hash is moved seldom."""
        while self._runs and len(self._runs[-1][0]) < 2 * len(hashes):
            others, their = self._runs.pop()
            hashes, numbers = np.concatenate([others, hashes]), np.concatenate([their, numbers])
            order = np.argsort(hashes, kind="stable")
            hashes, numbers = hashes[order], numbers[order]
        self._runs.append((hashes, numbers))
