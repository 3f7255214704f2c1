"""Vectors on disk, so that a killed evaluation continues where it was and tasks share what is encoded.

A file holds one chunk of texts in the safetensors format and is read through memory mapping. It is named by the hash
of the model's identity, the role, the language and the texts, so it is right for every task that asks for those and
for no other. Runs at the same time share the store: who encodes a chunk holds its lock meanwhile.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from hbt_bench.errors import OutputError
from hbt_bench.files import output_error, replacing

_OTHERWISE = "free some space, or set HBT_BENCH_CACHE to another folder"


@dataclass(frozen=True)
class EmbeddingStore:
    """A folder of vectors of one model; `identity` is all that its vectors depend on besides role and text."""

    folder: Path
    identity: str

    def get(self, texts: Sequence[str], role: str, language: str) -> NDArray[np.float32] | None:
        """The vectors of `texts`, mapped into memory, or None when they are not stored or their file is damaged.

        What a caller changes in them is not written to the file.
        """
        vectors = _read(self._path(texts, role, language))  # `put` tells why, if it is not writable either
        return vectors if vectors is not None and len(vectors) == len(texts) else None

    def put(self, texts: Sequence[str], role: str, language: str, vectors: NDArray[np.float32]) -> None:
        """Store vectors atomically; raises `OutputError` when they cannot be written."""
        vectors = np.ascontiguousarray(vectors, dtype="<f4")
        with _in_words(), replacing(self._path(texts, role, language)) as file:
            file.write(_head(vectors))
            file.write(vectors.data)

    @contextlib.contextmanager
    def claim(self, texts: Sequence[str], role: str, language: str, *, wait: bool) -> Iterator[bool]:
        """Whether these texts are this run's to encode, while the block lasts: no other run is at it.

        With `wait`, wait for the other run, which may have stored them by then. A run that dies loses its claims.
        Raises `OutputError` when the store cannot be written.
        """
        lock = self._lock(self._path(texts, role, language).with_suffix(".lock"))
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            yield False
            return
        try:
            yield True
            Path(lock.lock_file).unlink(missing_ok=True)  # who waits for it finds the file that is now there
        finally:
            lock.release()

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the vectors from being removed by another run while the block lasts."""
        mark = self._lock(self._users / f"{secrets.token_hex(8)}.lock")
        with self._guard():
            mark.acquire()
        try:
            yield
        finally:
            mark.release()
            Path(mark.lock_file).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove this model's vectors, unless another run uses them: the last one removes them."""
        if not self._root.is_dir():
            return
        with self._guard():
            for path in self._users.glob("*.lock"):
                lock = FileLock(path)
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    return
                lock.release()  # of a run that was killed
            shutil.rmtree(self._root, ignore_errors=True)

    def _guard(self) -> FileLock:
        return self._lock(self.folder / f"{self._root.name}.lock")

    def _lock(self, path: Path) -> FileLock:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(path.parent, error, _OTHERWISE) from error
        return FileLock(path)

    @property
    def _users(self) -> Path:
        return self._root / "users"

    @property
    def _root(self) -> Path:
        return self.folder / hashlib.sha256(self.identity.encode()).hexdigest()[:32]

    def _path(self, texts: Sequence[str], role: str, language: str) -> Path:
        digest = hashlib.sha256()
        for field in (role, language, *texts):
            encoded = field.encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        return self._root / f"{digest.hexdigest()[:40]}.safetensors"


def is_whole(path: Path) -> bool:
    """Whether a stored file is what was written, by its hash."""
    return _read(path) is not None


def _read(path: Path) -> NDArray[np.float32] | None:
    """The mapped vectors of a file, None for one that is not there, not readable or damaged."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return None
        with path.open("rb") as file:
            head = file.read(8)
            head += file.read(min(int.from_bytes(head, "little"), 4096))
        count, dimensions = json.loads(head[8:])["vectors"]["shape"]
        if path.stat().st_size != len(head) + 4 * count * dimensions:
            return None
        vectors = np.memmap(path, "<f4", mode="c", offset=len(head), shape=(count, dimensions))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None
    return vectors if head == _head(vectors) else None


def _head(vectors: NDArray[np.float32]) -> bytes:
    """What a safetensors file of `vectors` begins with; it has their hash, so any damage shows."""
    entry = {"dtype": "F32", "shape": list(vectors.shape), "data_offsets": [0, vectors.nbytes]}
    about = {"__metadata__": {"sha256": hashlib.sha256(vectors.data).hexdigest()}, "vectors": entry}
    text = json.dumps(about, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except OutputError as error:
        cause = str(error).partition("; ")[0]
        raise OutputError(f"{cause}; {_OTHERWISE}") from error
