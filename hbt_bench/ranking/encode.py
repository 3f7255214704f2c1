"""Encode texts in chunks; each chunk is encoded once, for all runs and processes that share a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hbt_bench.distributed import Processes
from hbt_bench.errors import ModelError
from hbt_bench.ranking.store import EmbeddingStore

Role = Literal["query", "document"]
Vectors = NDArray[np.float32]

#: Texts that are encoded, checked and stored together; a killed run loses at most these.
CHUNK = 1024


class Encoder(Protocol):
    """Turns texts into vectors."""

    def encode(self, texts: Sequence[str], role: Role, language: str) -> Vectors:
        """Return vectors, shape (texts, dimensions), float32; some models use role and language."""

    def similarity(self, queries: Vectors, documents: Vectors) -> NDArray[np.float32]:
        """Return scores, shape (queries, documents); higher is better."""


@dataclass(frozen=True)
class Chunk:
    """Texts of a language in a role, longest first.

    A text is always encoded with the same other texts, since the padding of a batch may change a vector's last bits.
    """

    role: Role
    language: str
    texts: tuple[str, ...]

    @property
    def characters(self) -> int:
        """The number of characters, an estimate of the cost to encode."""
        return sum(map(len, self.texts))


@dataclass(frozen=True, eq=False)
class Encoding:
    """The encoding of chunks by `processes`; chunks in `store` are not encoded again.

    `progress` receives the number of texts of each chunk that is done.
    """

    encoder: Encoder
    store: EmbeddingStore | None
    processes: Processes
    progress: Callable[[int], object]

    def run(self, chunks: Sequence[Chunk]) -> list[Vectors]:
        """Return the vectors of every chunk, in every process.

        Raises `ModelError` if vectors are not finite, or an array's shape is not (texts, dimensions).
        """
        costly_first = sorted(range(len(chunks)), key=lambda number: -chunks[number].characters)
        rank, count = self.processes.rank, self.processes.count
        mine = sorted(costly_first[rank::count])
        vectors = self._encode({number: chunks[number] for number in mine})
        if count > 1:
            owners = {number: owner for owner in range(count) for number in costly_first[owner::count]}
            self._exchange(chunks, vectors, owners)
        return [vectors[number] for number in range(len(chunks))]

    def _encode(self, chunks: dict[int, Chunk]) -> dict[int, Vectors]:
        """Read chunks from the store or encode them; a chunk that another run encodes is read last."""
        vectors: dict[int, Vectors] = {}
        wait = False
        while len(vectors) < len(chunks):
            before = len(vectors)
            for number, chunk in chunks.items():
                if number not in vectors and (encoded := self._encode_chunk(chunk, wait)) is not None:
                    vectors[number] = encoded
                    self.progress(len(chunk.texts))
                    wait = False
            wait = len(vectors) == before
        return vectors

    def _encode_chunk(self, chunk: Chunk, wait: bool) -> Vectors | None:
        """Return the vectors of a chunk, or None if another run encodes it and `wait` is false."""
        key = (chunk.texts, chunk.role, chunk.language)
        if self.store is None:
            return _checked(self.encoder.encode(*key), chunk.texts)
        stored = self.store.get(*key)
        if stored is not None:
            return stored
        with self.store.claim(*key, wait=wait) as claimed:
            if not claimed:
                return None
            stored = self.store.get(*key)  # another run may have stored it before the claim
            if stored is not None:
                return stored
            encoded = _checked(self.encoder.encode(*key), chunk.texts)
            return self._stored(chunk, encoded)

    def _exchange(self, chunks: Sequence[Chunk], vectors: dict[int, Vectors], owners: dict[int, int]) -> None:
        """Get the chunks of other processes: from the store if they share it, else from their owners."""
        self.processes.gather(None)  # wait until every process has encoded its chunks
        if self.store is not None:
            for number in owners.keys() - vectors.keys():
                chunk = chunks[number]
                if (stored := self.store.get(chunk.texts, chunk.role, chunk.language)) is not None:
                    vectors[number] = stored
        missing = set().union(*self.processes.gather(owners.keys() - vectors.keys()))
        for number in sorted(missing):
            mine = owners[number] == self.processes.rank
            sent = self.processes.share(np.asarray(vectors[number]) if mine else None, owners[number])
            if number not in vectors:
                vectors[number] = self._stored(chunks[number], sent)
        for number, owner in owners.items():
            if owner != self.processes.rank:
                self.progress(len(chunks[number].texts))

    def _stored(self, chunk: Chunk, vectors: Vectors) -> Vectors:
        """Store vectors if there is a store, and return them mapped from its file if possible."""
        if self.store is None:
            return vectors
        key = (chunk.texts, chunk.role, chunk.language)
        self.store.put(*key, vectors)
        mapped = self.store.get(*key)
        return vectors if mapped is None else mapped


def _checked(vectors: Vectors, texts: Sequence[str]) -> Vectors:
    if vectors.ndim != 2 or len(vectors) != len(texts) or vectors.shape[1] == 0:
        raise ModelError(
            f"the model returned an array of shape {vectors.shape} for {len(texts)} texts, not (texts, dimensions)"
        )
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        text = texts[int(np.argmin(finite))]
        raise ModelError(
            f"the model returned NaN or infinity for {np.count_nonzero(~finite)} of {len(texts)} texts, such as "
            f"'{text[:60]}': its weights are damaged or overflow in this precision"
        )
    return np.ascontiguousarray(vectors, dtype=np.float32)
