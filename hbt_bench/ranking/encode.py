"""Encode the texts of a collection once per role, in chunks that all runs and processes with a store share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.distributed import Processes
from hbt_bench.errors import ModelError
from hbt_bench.ranking.correction import FittedCorrection, Role, Sample, Vectors
from hbt_bench.ranking.store import EmbeddingStore

if TYPE_CHECKING:
    from hbt_bench.ranking.products import VectorRows

#: Texts that are encoded, checked and stored together; a killed run loses at most these.
CHUNK = 1024
#: Vectors up to this many bytes are gathered in memory, in the collection's order.
_IN_MEMORY = 1 << 30


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
    def key(self) -> tuple[tuple[str, ...], Role, str]:
        """The arguments of `Encoder.encode` and of the store."""
        return self.texts, self.role, self.language


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
        # the number of characters estimates the cost
        costly_first = sorted(range(len(chunks)), key=lambda number: -sum(map(len, chunks[number].texts)))
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
        if self.store is None:
            return _checked(self.encoder.encode(*chunk.key), chunk.texts)
        if (stored := self.store.get(*chunk.key)) is not None:
            return stored
        with self.store.claim(*chunk.key, wait=wait) as claimed:
            if not claimed:
                return None
            if (stored := self.store.get(*chunk.key)) is not None:  # another run stored it before the claim
                return stored
            return self._stored(chunk, _checked(self.encoder.encode(*chunk.key), chunk.texts))

    def _exchange(self, chunks: Sequence[Chunk], vectors: dict[int, Vectors], owners: dict[int, int]) -> None:
        """Get the chunks of other processes: from the store if they share it, else from their owners."""
        self.processes.gather(None)  # wait until every process has encoded its chunks
        if self.store is not None:
            for number in owners.keys() - vectors.keys():
                if (stored := self.store.get(*chunks[number].key)) is not None:
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
        self.store.put(*chunk.key, vectors)
        mapped = self.store.get(*chunk.key)
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


@dataclass(frozen=True, eq=False)
class Encoded:
    """The vectors of a collection: those of the chunks, and for each role the chunk and row of each text."""

    collection: Collection
    vectors: Mapping[Chunk, Vectors]
    layouts: Mapping[Role, _Layout]

    @classmethod
    def from_collection(cls, collection: Collection, encoding: Encoding) -> Encoded:
        """Encode a collection: equal texts of a language once per role, and texts in the store not at all.

        If the encoder has `symmetric` set, a language with the same texts in both roles, as in bitext, is encoded
        once. Raises `ModelError` for infinite vectors, a wrong number of them, or different dimensions.
        """
        layouts = _layouts(collection, getattr(encoding.encoder, "symmetric", False))
        chunks = _distinct_chunks(layouts)
        vectors = dict(zip(chunks, encoding.run(chunks), strict=True))
        for layout in layouts:
            if len(dimensions := {vectors[chunk].shape[1] for chunk in layout[0]}) > 1:
                sizes = ", ".join(map(str, sorted(dimensions)))
                raise ModelError(f"the model returned vectors of different sizes ({sizes}): they cannot be compared")
        return cls(collection, vectors, {"query": layouts[0], "document": layouts[1]})

    def rows(self, role: Role, correction: FittedCorrection | None = None) -> VectorRows:
        """Return the vectors of all texts in a role, in memory if they are few, else read when indexed.

        A chunk is corrected as a whole, so that equal texts keep equal vectors.
        """
        chunks, chunk_of, row_of = self.layouts[role]
        vectors = self._corrected(role, correction) if correction else [self.vectors[chunk] for chunk in chunks]
        gathered = GatheredVectors(vectors, chunk_of, row_of)
        return gathered[:] if 4 * len(row_of) * vectors[0].shape[1] <= _IN_MEMORY else gathered

    def _corrected(self, role: Role, correction: FittedCorrection) -> list[Vectors]:
        """Return the corrected chunks, in a temporary file if they do not fit in memory."""
        chunks = self.layouts[role][0]
        ends = np.cumsum([len(chunk.texts) for chunk in chunks])
        shape = int(ends[-1]), self.vectors[chunks[0]].shape[1]
        is_small = 4 * shape[0] * shape[1] <= _IN_MEMORY
        if is_small:
            joined = np.empty(shape, np.float32)
        else:
            with TemporaryFile() as file:  # the mapping keeps it until the vectors are dropped
                joined = np.memmap(file, np.float32, "w+", shape=shape)
        corrected: list[Vectors] = np.split(joined, ends[:-1])
        for chunk, rows in zip(chunks, corrected, strict=True):
            rows[:] = correction(self.vectors[chunk], role, chunk.language)
        return corrected

    def by_language(self, role: Role) -> dict[str, list[Chunk]]:
        """Return the chunks of each language."""
        chunks: dict[str, list[Chunk]] = {}
        for chunk in self.layouts[role][0]:
            chunks.setdefault(chunk.language, []).append(chunk)
        return chunks

    @property
    def sample(self) -> Sample:
        """The vectors as a sample to fit a correction on."""
        return Sample(
            {
                role: {
                    language: [self.vectors[chunk] for chunk in chunks]
                    for language, chunks in self.by_language(role).items()
                }
                for role in self.layouts
            },
            self._translations,
        )

    def _translations(self) -> dict[str, tuple[NDArray[np.int32], Vectors]]:
        """Return the numbers and vectors of the queries that are in several languages, one query for each number."""
        numbers, queries = self.collection.questions, self.rows("query")
        blocks = {code: np.arange(block.start, block.stop) for code, block in self.collection.query_blocks.items()}
        first = {code: rows[np.unique(numbers[rows], return_index=True)[1]] for code, rows in blocks.items()}
        versions = np.bincount(np.concatenate([numbers[rows] for rows in first.values()]))
        shared = {code: rows[versions[numbers[rows]] > 1] for code, rows in first.items()}
        return {code: (numbers[rows], queries[rows]) for code, rows in shared.items() if len(rows)}


def distinct_texts(collection: Collection, symmetric: bool = False) -> int:
    """Return the number of texts to encode: the distinct texts of each language and role.

    With a `symmetric` encoder, a language with the same texts in both roles counts once.
    """
    return sum(len(chunk.texts) for chunk in _distinct_chunks(_layouts(collection, symmetric)))


#: Chunks, and for each text the index of its chunk and its row there.
_Layout = tuple[list[Chunk], NDArray[np.int32], NDArray[np.int32]]


def _layouts(collection: Collection, symmetric: bool) -> tuple[_Layout, _Layout]:
    """Return queries and documents in chunks; with a symmetric encoder, they share chunks of equal texts."""
    chunks, chunk_of, row_of = _layout(collection.queries, collection.query_blocks, "query")
    documents = _layout(collection.documents, collection.document_blocks, "document")
    if symmetric:
        shared = set(documents[0])
        as_documents = [replace(chunk, role="document") for chunk in chunks]
        chunks = [other if other in shared else chunk for chunk, other in zip(chunks, as_documents, strict=True)]
    return (chunks, chunk_of, row_of), documents


def _distinct_chunks(layouts: tuple[_Layout, _Layout]) -> list[Chunk]:
    return list(dict.fromkeys(chunk for chunks, *_ in layouts for chunk in chunks))


def _layout(texts: tuple[Query, ...] | tuple[Document, ...], blocks: dict[str, slice], role: Role) -> _Layout:
    chunks: list[Chunk] = []
    chunk_of, row_of = np.empty(len(texts), np.int32), np.empty(len(texts), np.int32)
    for language, block in blocks.items():
        # longest first, so that a chunk, and a batch in it, holds texts of similar length and little padding
        distinct = sorted({text.text for text in texts[block]}, key=lambda text: (-len(text), text))
        index = {text: number for number, text in enumerate(distinct)}
        numbers = np.array([index[text.text] for text in texts[block]], np.int64)
        chunk_of[block], row_of[block] = numbers // CHUNK + len(chunks), numbers % CHUNK
        starts = range(0, len(distinct), CHUNK)
        chunks += [Chunk(role, language, tuple(distinct[start : start + CHUNK])) for start in starts]
    return chunks, chunk_of, row_of


@dataclass(frozen=True, eq=False)
class GatheredVectors:
    """Rows of several arrays, which may be mapped files: row n is row ``row_of[n]`` of ``chunks[chunk_of[n]]``."""

    chunks: list[Vectors]
    chunk_of: NDArray[np.int32]
    row_of: NDArray[np.int32]

    @property
    def shape(self) -> tuple[int, int]:
        """Count and dimensions."""
        return len(self.row_of), self.chunks[0].shape[1]

    def __getitem__(self, rows: Any) -> Vectors:
        """Read some of the vectors, by a slice or an array of indices."""
        chunk, row = self.chunk_of[rows], self.row_of[rows]
        vectors = np.empty((len(row), self.shape[1]), np.float32)
        order = np.argsort(chunk, kind="stable")
        for index in np.split(order, np.flatnonzero(np.diff(chunk[order])) + 1) if len(order) else []:
            vectors[index] = self.chunks[chunk[index[0]]][row[index]]
        return vectors
