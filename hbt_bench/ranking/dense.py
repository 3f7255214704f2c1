"""Score with dense encoders: compare the vectors of a collection in blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection
from hbt_bench.distributed import ALONE, Processes
from hbt_bench.errors import ModelError
from hbt_bench.ranking.collapse import check_collapse
from hbt_bench.ranking.correction import FittedCorrection, Role, Vectors
from hbt_bench.ranking.encode import Encoded, Encoder, Encoding
from hbt_bench.ranking.store import EmbeddingStore

if TYPE_CHECKING:
    from hbt_bench.ranking.products import Products, VectorRows

#: Number of texts of a language that are compared, to find a model that does not distinguish texts.
_COMPARED = 256


@dataclass(frozen=True, eq=False)
class DenseScorer:
    """Scores by the encoder's similarity of vectors, on the encoder's device."""

    encoder: Encoder
    queries: VectorRows
    documents: VectorRows

    def blocks(self) -> Products:
        """Return the scores in blocks."""
        import torch

        from hbt_bench.ranking.products import Products

        device = torch.device(getattr(self.encoder, "device", "cpu") if self.kind else "cpu")
        return Products(self.queries, self.documents, self.kind, self.encoder.similarity, device)

    def scores(self, rows: slice) -> NDArray[np.float32]:
        """Return the scores of the queries `rows` against all documents, equal to those of the blocks."""
        import torch

        blocks = self.blocks()
        starts = range(rows.start - rows.start % blocks.height, rows.stop, blocks.height)
        tiles = [slice(max(start, rows.start), min(start + blocks.height, rows.stop)) for start in starts]
        chunks = [(chunk, blocks.columns(chunk)) for chunk in blocks.chunks()]
        lines = [[torch.as_tensor(blocks.block(tile, *chunk)).cpu() for chunk in chunks] for tile in tiles]
        scores: NDArray[np.float32] = torch.cat([torch.cat(line, dim=1) for line in lines]).numpy()
        return scores

    @cached_property
    def kind(self) -> Literal["cosine", "dot"] | None:
        """The encoder's similarity if it is a product of matrices, detected on a few random vectors, else None."""
        generator = np.random.default_rng(0)
        queries, documents = (
            generator.standard_normal((count, self.queries.shape[1])).astype(np.float32) * 2 for count in (3, 4)
        )
        scores, dot = self.encoder.similarity(queries, documents), queries @ documents.T
        lengths = np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(documents, axis=1))
        if np.allclose(scores, dot / lengths, rtol=0, atol=1e-6):
            return "cosine"
        return "dot" if np.allclose(scores / lengths, dot / lengths, rtol=0, atol=1e-6) else None

    @classmethod
    def from_collection(
        cls,
        collection: Collection,
        encoder: Encoder,
        store: EmbeddingStore | None = None,
        progress: Callable[[int], object] = lambda texts: None,
        processes: Processes = ALONE,
        correct: Callable[[Encoded, Encoding], FittedCorrection] | None = None,
    ) -> DenseScorer:
        """Encode a collection as `Encoded` does. `processes` share the texts, and each gets all vectors.

        `progress` receives the number of texts of each chunk that is done. `correct` fits a correction of the vectors.
        Raises `ModelError` for unusable vectors, or the same vector for most texts.
        """
        encoding = Encoding(encoder, store, processes, progress)
        encoded = Encoded.from_collection(collection, encoding)
        unknown_share = getattr(encoder, "unknown_share", lambda texts: 0.0)
        prompt_fills = getattr(encoder, "prompt_fills", lambda role: False)
        for role in encoded.layouts:
            check_collapse(role, _samples(encoded, role), unknown_share, prompt_fills)
        fitted = correct(encoded, encoding) if correct else None
        queries, documents = (encoded.rows(role, fitted) for role in encoded.layouts)
        if queries.shape[1] != documents.shape[1]:
            raise ModelError(
                f"the model returned query vectors of {queries.shape[1]} dimensions and document vectors of "
                f"{documents.shape[1]}: they cannot be compared"
            )
        return cls(encoder, queries, documents)


def _samples(encoded: Encoded, role: Role) -> dict[str, tuple[list[str], Vectors]]:
    """Return some texts of each language, of all lengths, with their vectors."""
    samples = {}
    for language, spoken in encoded.by_language(role).items():
        step = -(-sum(len(chunk.texts) for chunk in spoken) // _COMPARED)
        rows = [(chunk, row) for chunk in spoken for row in range(0, len(chunk.texts), step)]
        texts = [chunk.texts[row] for chunk, row in rows]
        samples[language] = texts, np.stack([encoded.vectors[chunk][row] for chunk, row in rows])
    return samples
