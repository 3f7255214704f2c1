"""Dense encoders: each text of a collection is encoded once per role, and a block of scores comes from the vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hbt_bench.corpus.collection import Collection, Document, Query
from hbt_bench.errors import ModelError
from hbt_bench.ranking.store import EmbeddingStore

if TYPE_CHECKING:
    import torch

    from hbt_bench.ranking.products import Products, VectorRows

Role = Literal["query", "document"]
Vectors = NDArray[np.float32]

#: Texts that are encoded, checked and stored together: what a killed run loses at most.
_CHUNK = 1024


class Encoder(Protocol):
    """Turns texts into vectors; the language is told because some models need it."""

    def encode(self, texts: Sequence[str], role: Role, language: str) -> Vectors:
        """Vectors of `texts`, shape (texts, dimensions), float32."""

    def similarity(self, queries: Vectors, documents: Vectors) -> NDArray[np.float32]:
        """Scores, shape (queries, documents), higher is better."""


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
    ) -> DenseScorer:
        """Encode a collection: equal texts of one language once per role, known ones taken from `store`.

        `progress` is told how many texts each step covered. Raises `ModelError` for vectors that are not finite
        or not one per text.
        """
        queries = _encode(collection.queries, collection.query_blocks, "query", encoder, store, progress)
        documents = _encode(collection.documents, collection.document_blocks, "document", encoder, store, progress)
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


def distinct_texts(collection: Collection) -> int:
    """How many texts an evaluation encodes: the distinct ones of each language and role."""
    return sum(
        len({(text.language, text.text) for text in texts}) for texts in (collection.queries, collection.documents)
    )


def _encode(
    texts: tuple[Query, ...] | tuple[Document, ...],
    blocks: dict[str, slice],
    role: Role,
    encoder: Encoder,
    store: EmbeddingStore | None,
    progress: Callable[[int], object],
) -> Vectors:
    vectors = []
    for language, block in blocks.items():
        wanted = [text.text for text in texts[block]]
        if not wanted:
            continue
        # longest first, so that a chunk, and a batch in it, holds texts of like length and little padding
        distinct = sorted(set(wanted), key=lambda text: (-len(text), text))
        chunks = [distinct[start : start + _CHUNK] for start in range(0, len(distinct), _CHUNK)]
        encoded = np.concatenate([_chunk(chunk, role, language, encoder, store, progress) for chunk in chunks])
        place = {text: row for row, text in enumerate(distinct)}
        vectors.append(encoded[[place[text] for text in wanted]])
    dimensions = {part.shape[1] for part in vectors}
    if len(dimensions) > 1:
        raise ModelError(f"the model gives vectors of different sizes ({', '.join(map(str, sorted(dimensions)))})")
    return np.concatenate(vectors)


def _chunk(
    texts: Sequence[str],
    role: Role,
    language: str,
    encoder: Encoder,
    store: EmbeddingStore | None,
    progress: Callable[[int], object],
) -> Vectors:
    known = store.get(texts, role, language) if store else None
    if known is None:
        known = _checked(encoder.encode(texts, role, language), texts)
        if store:
            store.put(texts, role, language, known)
    progress(len(texts))
    return known


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
