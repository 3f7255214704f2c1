"""Vectors that were computed elsewhere: a folder with ids, vectors and their similarity in the place of a model.

::

    DIR/vectors.json            {"similarity": "cosine", "name": "openai/text-embedding-3-large"}
    DIR/queries.npy             (texts, dimensions), or .safetensors; DIR/queries.txt has an id on each line
    DIR/documents.parquet       or a table with the columns id and vector

Ids give the order, so no order is assumed. A folder may have the vectors of more texts than a task has.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.errors import ModelError, UsageError, did_you_mean
from hbt_bench.ranking.collapse import check_collapse

if TYPE_CHECKING:
    from hbt_bench.ranking.blocks import BlockScorer, Scorer

#: The beginning of ``--model`` for a folder of vectors.
PREFIX = "vectors:"
#: The beginning of the revision, before the hash of the files.
VECTORS_REVISION = "vectors-"
SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
_SETTINGS = "vectors.json"
_KEYS = ("similarity", "name")
_ENDINGS = (".npy", ".safetensors", ".parquet")
#: Number of texts of a language that are compared, to find vectors that do not distinguish texts.
_COMPARED = 256
#: Ids that a message names.
_SHOWN = 3


@dataclass(frozen=True)
class _Similarity:
    """The similarity of vectors, as `DenseScorer` takes an encoder."""

    name: str

    def encode(self, texts: Sequence[str], role: str, language: str) -> NDArray[np.float32]:
        """Raise `AssertionError`, because the vectors exist already."""
        raise AssertionError("vectors of a folder are not encoded")

    def similarity(self, queries: NDArray[np.float32], documents: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the scores as sentence-transformers computes them."""
        import torch
        from sentence_transformers.similarity_functions import SimilarityFunction

        function = SimilarityFunction.to_similarity_fn(self.name)
        scores: NDArray[np.float32] = function(torch.from_numpy(queries), torch.from_numpy(documents)).numpy()
        return scores


@dataclass(eq=False)
class VectorModel:
    """The vectors in a folder as a model. For example, ``VectorModel.from_name("vectors:embeddings/")``."""

    folder: Path
    similarity: str
    name: str
    #: A pass with these vectors has no speed of encoding.
    encodes = False

    @classmethod
    def from_name(cls, name: str) -> VectorModel:
        """Return the vectors of ``vectors:DIR``. Raises `UsageError` for a folder without vectors or similarity."""
        folder = Path(name.removeprefix(PREFIX)).expanduser()
        path = folder / _SETTINGS
        example = '{"similarity": "cosine", "name": "me/model"}'
        if not path.is_file():
            raise UsageError(f"there is no {path}, which states the similarity of the vectors: write {example} into it")
        try:
            settings = json.loads(path.read_bytes())
            similarity, model = settings["similarity"], settings.get("name", f"local/{folder.resolve().name}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{path} does not state the similarity of the vectors: write {example} into it") from error
        if unknown := settings.keys() - _KEYS:
            key = min(unknown)
            raise UsageError(f"{path} has the unknown key '{key}'{did_you_mean(key, _KEYS) or f': write {example}'}")
        if similarity not in SIMILARITIES:
            raise UsageError(f"{path}: the similarity {similarity!r} is none of {', '.join(SIMILARITIES)}")
        if not isinstance(model, str) or not model:
            raise UsageError(f"{path}: the name {model!r} is not a text such as 'me/model'")
        vectors = cls(folder, similarity, model)
        _ = vectors._files  # raises an error if vectors are missing
        return vectors

    @cached_property
    def _files(self) -> dict[str, Path]:
        """The file with the vectors of each role."""
        files = {}
        for role in ("queries", "documents"):
            present = [path for ending in _ENDINGS if (path := self.folder / f"{role}{ending}").is_file()]
            if len(present) != 1:
                problem, advice = ("several files", "keep one") if present else ("no file", "write it")
                raise UsageError(f"{self.folder} has {problem} {role} with the ending {', '.join(_ENDINGS)}: {advice}")
            files[role] = present[0]
        return files

    @cached_property
    def mteb_model_meta(self) -> Any:
        """MTEB's description, with a hash of the files as revision."""
        from mteb.models import ModelMeta

        digest = hashlib.sha256(b"hbt-bench vectors 1" + self.similarity.encode())
        for role, path in self._files.items():
            for component in (path, *([_ids_path(path)] if path.suffix != ".parquet" else [])):
                with component.open("rb") as file:
                    digest.update(role.encode() + hashlib.file_digest(file, "sha256").digest())
        return ModelMeta.create_empty({"name": self.name, "revision": VECTORS_REVISION + digest.hexdigest()[:12]})

    def scorers(self, collection: Collection) -> tuple[Scorer | BlockScorer, Mapping[str, Scorer] | None]:
        """Return the scorer of the pool, which also scores each language.

        Raises `ModelError` for missing, repeated or unusable vectors.
        """
        from hbt_bench.ranking.dense import DenseScorer

        queries = self._rows("queries", collection.queries, "query")
        documents = self._rows("documents", collection.documents, "document")
        if queries.shape[1] != documents.shape[1]:
            raise ModelError(
                f"the vectors of queries have {queries.shape[1]} dimensions, and those of documents "
                f"{documents.shape[1]}: compute both with the same model and settings"
            )
        return DenseScorer(_Similarity(self.similarity), queries, documents), None

    def index(self, corpus: Any, **options: Any) -> None:
        """Raise `ModelError`: MTEB calls this for its own tasks, and their texts have no vectors here."""
        raise ModelError(f"{self.folder} has vectors for tasks of hbt-bench only: leave MTEB's own tasks out")

    def search(self, queries: Any, **options: Any) -> dict[str, dict[str, float]]:
        """Raise `ModelError`, as `index` does."""
        raise ModelError(f"{self.folder} has vectors for tasks of hbt-bench only: leave MTEB's own tasks out")

    def _rows(
        self, name: str, texts: Sequence[Query | Document], role: Literal["query", "document"]
    ) -> NDArray[np.float32]:
        """Return the vector of each text, in the order of the collection."""
        path = self._files[name]
        ids, vectors = _read(path)
        if vectors.ndim != 2 or len(vectors) != len(ids) or vectors.dtype.kind not in "fiu":
            raise ModelError(
                f"{path} has an array of {vectors.dtype} and shape {vectors.shape} for {len(ids):,} ids: write a row "
                "of numbers for each id"
            )
        row_of = {name: row for row, name in enumerate(ids)}
        if len(row_of) < len(ids):
            twice = next(name for row, name in enumerate(ids) if row_of[name] != row)
            raise ModelError(f"{path} has the id '{twice}' twice: keep one vector of each text")
        missing = [text.id for text in texts if text.id not in row_of]
        if missing:
            shown = ", ".join(f"'{name}'" for name in missing[:_SHOWN])
            raise ModelError(
                f"{path} lacks the vectors of {len(missing):,} of {len(texts):,} {name}, such as {shown}. "
                "`hbt-bench texts` writes the texts with their ids."
            )
        chosen = np.ascontiguousarray(vectors[[row_of[text.id] for text in texts]], dtype=np.float32)
        bad = np.flatnonzero(~np.isfinite(chosen).all(axis=1))
        if len(bad):
            example = texts[bad[0]].id
            raise ModelError(
                f"{path}: {len(bad):,} vectors have NaN or infinity, such as that of '{example}': compute them again"
            )
        if self.similarity == "cosine" and not (lengths := np.linalg.norm(chosen, axis=1)).all():
            raise ModelError(f"{path}: the vector of '{texts[int(np.argmin(lengths))].id}' is 0, which has no cosine")
        check_collapse(role, _samples(texts, chosen), lambda texts: 0.0)
        return chosen


def _ids_path(path: Path) -> Path:
    ids = path.with_suffix(".txt")
    if not ids.is_file():
        raise UsageError(f"there is no {ids} with the ids of {path.name}: write an id on each line, in its order")
    return ids


def _read(path: Path) -> tuple[list[str], NDArray[Any]]:
    """Return ids and vectors in a file. Raises `ModelError` if it is damaged."""
    try:
        if path.suffix == ".parquet":
            return _read_parquet(path)
        ids = _ids_path(path).read_text(encoding="utf-8").splitlines()
        if path.suffix == ".npy":
            return ids, np.load(path, mmap_mode="r", allow_pickle=False)
        from safetensors.numpy import load_file

        tensors = load_file(path)
        if len(tensors) != 1:
            raise ValueError(f"it has {len(tensors)} tensors, not one")
        return ids, next(iter(tensors.values()))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"cannot read the vectors in {path} ({' '.join(str(error).split())[:200]})") from error
    except Exception as error:  # safetensors has its own error
        raise ModelError(f"cannot read the vectors in {path} ({type(error).__name__}: {error})"[:300]) from error


def _read_parquet(path: Path) -> tuple[list[str], NDArray[Any]]:
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    table = pq.read_table(path)
    column = next((name for name in ("vector", "embedding", "embeddings") if name in table.column_names), None)
    if column is None or "id" not in table.column_names:
        raise ValueError(f"it needs the columns id and vector, but has {', '.join(table.column_names)}")
    lists = table[column].combine_chunks()
    sizes = {len(vector) for vector in lists}
    if len(sizes) > 1:
        raise ValueError(f"its vectors have {', '.join(map(str, sorted(sizes)))} dimensions")
    values = lists.flatten().to_numpy(zero_copy_only=False)
    return [str(name) for name in table["id"].to_pylist()], values.reshape(len(lists), -1)


def _samples(
    texts: Sequence[Query | Document], vectors: NDArray[np.float32]
) -> dict[str, tuple[Sequence[str], NDArray[np.float32]]]:
    """Return some distinct texts of each language with their vectors."""
    rows: dict[str, dict[str, int]] = {}
    for row, text in enumerate(texts):
        rows.setdefault(text.language, {}).setdefault(text.text, row)
    samples: dict[str, tuple[Sequence[str], NDArray[np.float32]]] = {}
    for language, by_text in rows.items():
        step = -(-len(by_text) // _COMPARED)
        chosen = list(by_text.items())[::step]
        samples[language] = [text for text, _ in chosen], vectors[[row for _, row in chosen]]
    return samples
