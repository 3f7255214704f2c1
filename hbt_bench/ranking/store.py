"""Vectors on disk, so that a killed evaluation continues where it was and tasks share what is encoded.

A file holds one chunk of texts and is named by the hash of the model's identity, the role, the language and the
texts, so it is right for every task that asks for those and for no other.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hbt_bench.corpus.atomic import write_bytes
from hbt_bench.errors import OutputError


@dataclass(frozen=True)
class EmbeddingStore:
    """A folder of vectors of one model; `identity` is all that its vectors depend on besides role and text."""

    folder: Path
    identity: str

    def get(self, texts: Sequence[str], role: str, language: str) -> NDArray[np.float32] | None:
        """The vectors of `texts`, or None when they are not stored or their file is damaged."""
        try:
            content = self._path(texts, role, language).read_bytes()
        except OSError:  # not there, or not readable: `put` tells why if it is not writable either
            return None
        if not _is_whole(content):
            return None
        vectors = np.frombuffer(content[32:], dtype="<f4")
        return vectors.reshape(len(texts), -1).astype(np.float32) if len(vectors) % len(texts) == 0 else None

    def put(self, texts: Sequence[str], role: str, language: str, vectors: NDArray[np.float32]) -> None:
        """Store vectors atomically; raises `OutputError` when they cannot be written."""
        body = vectors.astype("<f4").tobytes()
        try:
            write_bytes(self._path(texts, role, language), hashlib.sha256(body).digest() + body)
        except OutputError as error:
            cause = str(error).partition("; ")[0]
            raise OutputError(f"{cause}; free some space, or set HBT_BENCH_CACHE to another folder") from error

    def clear(self) -> None:
        """Remove this model's vectors."""
        shutil.rmtree(self._root, ignore_errors=True)

    @property
    def _root(self) -> Path:
        return self.folder / hashlib.sha256(self.identity.encode()).hexdigest()[:32]

    def _path(self, texts: Sequence[str], role: str, language: str) -> Path:
        digest = hashlib.sha256()
        for field in (role, language, *texts):
            encoded = field.encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        return self._root / f"{digest.hexdigest()[:40]}.f32"


def is_whole(path: Path) -> bool:
    """Whether a stored file is what was written, by its checksum."""
    try:
        return _is_whole(path.read_bytes())
    except OSError:
        return False


def _is_whole(content: bytes) -> bool:
    return hashlib.sha256(content[32:]).digest() == content[:32]
