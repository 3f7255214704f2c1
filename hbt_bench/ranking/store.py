"""Store vectors on disk, so that a killed evaluation continues and tasks share encoded texts.

A file holds a chunk of texts in the safetensors format and is memory-mapped on read. Its name is the hash of model,
role, language and texts, so it is right for every task that has this chunk. Runs at the same time share the store: a
run holds a chunk's lock while it encodes the chunk.
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

from hbt_bench.files import output_error, release_and_remove, replacing

_ADVICE = "set HBT_BENCH_CACHE to another folder"


@dataclass(frozen=True)
class EmbeddingStore:
    """A folder of vectors; `identity` names model, revision and prompts, on which vectors depend besides the text."""

    folder: Path
    identity: str

    def get(self, texts: Sequence[str], role: str, language: str) -> NDArray[np.float32] | None:
        """Return the vectors of `texts`, memory-mapped, or None if they are not stored or their file is damaged.

        The mapping is copy-on-write: changes are not written to the file.
        """
        vectors = _read(self._path(texts, role, language))  # if the folder is not usable, `put` raises the reason
        return vectors if vectors is not None and len(vectors) == len(texts) else None

    def put(self, texts: Sequence[str], role: str, language: str, vectors: NDArray[np.float32]) -> None:
        """Store vectors atomically; raises `OutputError` if they cannot be written."""
        vectors = np.ascontiguousarray(vectors, dtype="<f4")
        with replacing(self._path(texts, role, language), _ADVICE) as file:
            file.write(_header(vectors))
            file.write(vectors.data)

    @contextlib.contextmanager
    def claim(self, texts: Sequence[str], role: str, language: str, *, wait: bool) -> Iterator[bool]:
        """Yield whether this run may encode these texts; no other run may while the context is open.

        With `wait`, wait until another run is done, which may have stored them. A run that dies loses its claims.
        Raises `OutputError` if the store cannot be written.
        """
        lock = self._lock(self._path(texts, role, language).with_suffix(".lock"))
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            release_and_remove(lock)  # a waiting run then finds the stored vectors

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep other runs from removing the vectors while the context is open."""
        mark = self._lock(self._users / f"{secrets.token_hex(8)}.lock")
        with self._guard():
            mark.acquire()
        try:
            yield
        finally:
            release_and_remove(mark)

    def clear(self) -> None:
        """Remove this model's vectors, unless another run uses them; the last run removes them."""
        if not self._root.is_dir():
            return
        with self._guard():
            for path in self._users.glob("*.lock"):
                lock = FileLock(path)
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    return
                lock.release()  # the mark of a killed run
            shutil.rmtree(self._root, ignore_errors=True)

    def _guard(self) -> FileLock:
        return self._lock(self.folder / f"{self._root.name}.lock")

    def _lock(self, path: Path) -> FileLock:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(path.parent, error, _ADVICE) from error
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
    """Return whether a stored file is complete and undamaged, by its hash."""
    return _read(path) is not None


def _read(path: Path) -> NDArray[np.float32] | None:
    """Return the mapped vectors of a file, or None if it is missing, not readable or damaged."""
    try:
        with path.open("rb") as file:
            header = file.read(8)
            header += file.read(min(int.from_bytes(header, "little"), 4096))
        count, dimensions = json.loads(header[8:])["vectors"]["shape"]
        if path.stat().st_size != len(header) + 4 * count * dimensions:
            return None
        vectors = np.memmap(path, "<f4", mode="c", offset=len(header), shape=(count, dimensions))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None
    return vectors if header == _header(vectors) else None


def _header(vectors: NDArray[np.float32]) -> bytes:
    """Return the header of a safetensors file of `vectors`, with their hash, which reveals damage."""
    entry = {"dtype": "F32", "shape": list(vectors.shape), "data_offsets": [0, vectors.nbytes]}
    about = {"__metadata__": {"sha256": hashlib.sha256(vectors.data).hexdigest()}, "vectors": entry}
    text = json.dumps(about, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
