"""Texts become vectors, chunk by chunk; a chunk is encoded once, whatever runs and processes want it."""

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

#: Texts that are encoded, checked and stored together: what a killed run loses at most.
CHUNK = 1024


class Encoder(Protocol):
    """Turns texts into vectors; the language is told because some models need it."""

    def encode(self, texts: Sequence[str], role: Role, language: str) -> Vectors:
        """Vectors of `texts`, shape (texts, dimensions), float32."""

    def similarity(self, queries: Vectors, documents: Vectors) -> NDArray[np.float32]:
        """Scores, shape (queries, documents), higher is better."""


@dataclass(frozen=True)
class Chunk:
    """Texts of one language and role, longest first.

    A text is always encoded among the same others: what a batch is padded to may change the last bits of a vector.
    """

    role: Role
    language: str
    texts: tuple[str, ...]

    @property
    def characters(self) -> int:
        """What it costs to encode, roughly."""
        return sum(map(len, self.texts))


@dataclass(frozen=True, eq=False)
class Encoding:
    """The encoding of chunks by `processes`, with what is in `store` not encoded again."""

    encoder: Encoder
    store: EmbeddingStore | None
    processes: Processes
    progress: Callable[[int], object]

    def run(self, chunks: Sequence[Chunk]) -> list[Vectors]:
        """The vectors of every chunk, in every process; raises `ModelError` for vectors that cannot be ranked."""
        costly_first = sorted(range(len(chunks)), key=lambda number: -chunks[number].characters)
        rank, count = self.processes.rank, self.processes.count
        mine = sorted(costly_first[rank::count])
        found = self._encode({number: chunks[number] for number in mine})
        if count > 1:
            owners = {number: owner for owner in range(count) for number in costly_first[owner::count]}
            self._exchange(chunks, found, owners)
        return [found[number] for number in range(len(chunks))]

    def _encode(self, chunks: dict[int, Chunk]) -> dict[int, Vectors]:
        """Take chunks from the store, or encode them; one that another run is at is left for later."""
        found: dict[int, Vectors] = {}
        wait = False
        while len(found) < len(chunks):
            before = len(found)
            for number, chunk in chunks.items():
                if number not in found and (vectors := self._one(chunk, wait)) is not None:
                    found[number] = vectors
                    self.progress(len(chunk.texts))
                    wait = False
            wait = len(found) == before
        return found

    def _one(self, chunk: Chunk, wait: bool) -> Vectors | None:
        key = (chunk.texts, chunk.role, chunk.language)
        if self.store is None:
            return _checked(self.encoder.encode(*key), chunk.texts)
        known = self.store.get(*key)
        if known is not None:
            return known
        with self.store.claim(*key, wait=wait) as claimed:
            if not claimed:
                return None
            known = self.store.get(*key)  # it may have come while the claim was waited for
            if known is None:
                encoded = _checked(self.encoder.encode(*key), chunk.texts)
                self.store.put(*key, encoded)
                known = self.store.get(*key)
            return encoded if known is None else known

    def _exchange(self, chunks: Sequence[Chunk], found: dict[int, Vectors], owners: dict[int, int]) -> None:
        """Get the chunks of other processes: from the store where they share one, else from the processes."""
        self.processes.gather(None)  # all are encoded
        if self.store is not None:
            for number in owners.keys() - found.keys():
                chunk = chunks[number]
                if (vectors := self.store.get(chunk.texts, chunk.role, chunk.language)) is not None:
                    found[number] = vectors
        missing = set().union(*self.processes.gather(owners.keys() - found.keys()))
        for number in sorted(missing):
            own = owners[number] == self.processes.rank
            sent = self.processes.share(np.asarray(found[number]) if own else None, owners[number])
            if number not in found:
                found[number] = self._kept(chunks[number], sent)
        for number, owner in owners.items():
            if owner != self.processes.rank:
                self.progress(len(chunks[number].texts))

    def _kept(self, chunk: Chunk, vectors: Vectors) -> Vectors:
        """Vectors that were sent, mapped from this machine's store if it has one."""
        if self.store is None:
            return vectors
        key = (chunk.texts, chunk.role, chunk.language)
        self.store.put(*key, vectors)
        mapped = self.store.get(*key)
        return vectors if mapped is None else mapped


def _checked(vectors: Vectors, texts: Sequence[str]) -> Vectors:
    if vectors.ndim != 2 or len(vectors) != len(texts) or vectors.shape[1] == 0:
        raise ModelError(
            f"the model returned an array of shape {vectors.shape} for {len(texts)} texts: it must be one vector a text"
        )
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        text = texts[int(np.argmin(finite))]
        raise ModelError(
            f"the model returned NaN or infinity for {np.count_nonzero(~finite)} of {len(texts)} texts, such as "
            f"'{text[:60]}': its weights are damaged or overflow in this precision"
        )
    return np.ascontiguousarray(vectors, dtype=np.float32)
