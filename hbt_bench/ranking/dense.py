"""Dense encoders: each text of a collection is encoded once per role, and a block of scores comes from the vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.distributed import ALONE, Processes
from hbt_bench.errors import ModelError
from hbt_bench.ranking.encode import CHUNK, Chunk, Encoder, Encoding, Role, Vectors
from hbt_bench.ranking.store import EmbeddingStore

if TYPE_CHECKING:
    import torch

    from hbt_bench.ranking.products import Products, VectorRows

#: Bytes of vectors up to which they are put in order in memory.
_IN_MEMORY = 1 << 30


@dataclass(frozen=True, eq=False)
class DenseScorer:
    """Scores by the encoder's own similarity of vectors, on the encoder's device if it has one."""

    encoder: Encoder
    queries: VectorRows
    documents: VectorRows

    def blocks(self) -> Products:
        """The scores in blocks."""
        import torch

        from hbt_bench.ranking.products import Products

        similarity = _Similarity(self.encoder, self.kind)
        device = torch.device(getattr(self.encoder, "device", "cpu") if similarity.kind else "cpu")
        return Products(self.queries, self.documents, similarity, device)

    def scores(self, rows: slice) -> NDArray[np.float32]:
        """The scores of the queries `rows` against all documents, the same that blocks have."""
        import torch

        blocks = self.blocks()
        starts = range(rows.start - rows.start % blocks.height, rows.stop, blocks.height)
        parts = [slice(max(start, rows.start), min(start + blocks.height, rows.stop)) for start in starts]
        columns = [(chunk, blocks.columns(chunk)) for chunk in blocks.chunks()]
        lines = [[torch.as_tensor(blocks.block(part, *one)).cpu() for one in columns] for part in parts]
        found: NDArray[np.float32] = torch.cat([torch.cat(line, dim=1) for line in lines]).numpy()
        return found

    @cached_property
    def kind(self) -> Literal["cosine", "dot"] | None:
        """What the encoder's similarity is, where it is a product of matrices: found out with a few vectors."""
        generator = np.random.default_rng(0)
        queries, documents = (
            generator.standard_normal((count, self.queries.shape[1])).astype(np.float32) * 2 for count in (3, 4)
        )
        found, dot = self.encoder.similarity(queries, documents), queries @ documents.T
        lengths = np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(documents, axis=1))
        if np.allclose(found, dot / lengths, rtol=0, atol=1e-6):
            return "cosine"
        return "dot" if np.allclose(found / lengths, dot / lengths, rtol=0, atol=1e-6) else None

    @classmethod
    def of(
        cls,
        collection: Collection,
        encoder: Encoder,
        store: EmbeddingStore | None = None,
        progress: Callable[[int], object] = lambda texts: None,
        processes: Processes = ALONE,
    ) -> DenseScorer:
        """Encode a collection: equal texts of one language once per role, known ones taken from `store`.

        Where the encoder says that it is `symmetric`, the same vectors do for both roles if a language has the same
        texts in both, as in bitext. `processes` share the texts, and all of them have all vectors in the end.
        `progress` is told how many texts each step covered. Raises `ModelError` for vectors that are not finite or
        not one per text.
        """
        laid_out = _laid_out(collection, getattr(encoder, "symmetric", False))
        chunks = _chunks(laid_out)
        vectors = dict(zip(chunks, Encoding(encoder, store, processes, progress).run(chunks), strict=True))
        queries, documents = (_rows([vectors[chunk] for chunk in part], *places) for part, *places in laid_out)
        if queries.shape[1] != documents.shape[1]:
            raise ModelError(
                f"the model gives queries {queries.shape[1]} dimensions and documents {documents.shape[1]}: "
                "they cannot be compared"
            )
        return cls(encoder, queries, documents)


@dataclass(frozen=True, eq=False)
class _Similarity:
    encoder: Encoder
    kind: str | None

    def __call__(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.from_numpy(self.encoder.similarity(queries.numpy(), documents.numpy()))


def distinct_texts(collection: Collection, symmetric: bool = False) -> int:
    """How many texts an evaluation encodes: the distinct ones of each language and role.

    With an encoder that is `symmetric`, of a language that has the same texts in both roles those of one.
    """
    return sum(len(chunk.texts) for chunk in _chunks(_laid_out(collection, symmetric)))


#: Chunks, and for each text its chunk and its row there.
_LaidOut = tuple[list[Chunk], NDArray[np.int32], NDArray[np.int32]]


def _laid_out(collection: Collection, symmetric: bool) -> tuple[_LaidOut, _LaidOut]:
    """The queries and the documents in chunks; with a symmetric encoder, one of queries may be one of documents."""
    asked, part, row = _lay_out(collection.queries, collection.query_blocks, "query")
    documents = _lay_out(collection.documents, collection.document_blocks, "document")
    if symmetric:
        both = set(documents[0])
        alike = [replace(chunk, role="document") for chunk in asked]
        asked = [other if other in both else chunk for chunk, other in zip(asked, alike, strict=True)]
    return (asked, part, row), documents


def _chunks(laid_out: tuple[_LaidOut, _LaidOut]) -> list[Chunk]:
    return list(dict.fromkeys(chunk for part, *_ in laid_out for chunk in part))


def _lay_out(texts: tuple[Query, ...] | tuple[Document, ...], blocks: dict[str, slice], role: Role) -> _LaidOut:
    """The chunks of the distinct texts, and for each text its chunk and its row there."""
    chunks: list[Chunk] = []
    part, row = np.empty(len(texts), np.int32), np.empty(len(texts), np.int32)
    for language, block in blocks.items():
        # longest first, so that a chunk, and a batch in it, holds texts of like length and little padding
        distinct = sorted({text.text for text in texts[block]}, key=lambda text: (-len(text), text))
        place = {text: number for number, text in enumerate(distinct)}
        found = np.array([place[text.text] for text in texts[block]], np.int64)
        part[block], row[block] = found // CHUNK + len(chunks), found % CHUNK
        starts = range(0, len(distinct), CHUNK)
        chunks += [Chunk(role, language, tuple(distinct[start : start + CHUNK])) for start in starts]
    return chunks, part, row


def _rows(vectors: list[Vectors], part: NDArray[np.int32], row: NDArray[np.int32]) -> VectorRows:
    """The vectors of all texts; put together in memory if they are not many, else when they are asked for."""
    dimensions = {one.shape[1] for one in vectors}
    if len(dimensions) > 1:
        raise ModelError(f"the model gives vectors of different sizes ({', '.join(map(str, sorted(dimensions)))})")
    gathered = GatheredVectors(vectors, part, row)
    return gathered[:] if 4 * len(row) * dimensions.pop() <= _IN_MEMORY else gathered


@dataclass(frozen=True, eq=False)
class GatheredVectors:
    """Rows of several arrays, which may be mapped files: row n is row ``row[n]`` of the array ``part[n]``."""

    parts: list[Vectors]
    part: NDArray[np.int32]
    row: NDArray[np.int32]

    @property
    def shape(self) -> tuple[int, int]:
        """Count and dimensions."""
        return len(self.row), self.parts[0].shape[1]

    def __getitem__(self, rows: Any) -> Vectors:
        """Read some of the vectors, by a slice or an array of numbers."""
        part, row = self.part[rows], self.row[rows]
        found = np.empty((len(row), self.shape[1]), np.float32)
        order = np.argsort(part, kind="stable")
        for at in np.split(order, np.flatnonzero(np.diff(part[order])) + 1) if len(order) else []:
            found[at] = self.parts[part[at[0]]][row[at]]
        return found
