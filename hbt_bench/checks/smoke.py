"""Run a task through MTEB with a tiny encoder, before a user spends time on a real model."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection
from hbt_bench.errors import DataError
from hbt_bench.tasks.task import TaskSpec

#: Dimensions of the vectors; number of queries and documents per language.
_DIMENSIONS, _QUERIES, _DOCUMENTS = 64, 20, 200


class TinyEncoder:
    """Encode texts as hashed character triples, so that texts with common words are similar."""

    def __init__(self) -> None:
        from mteb.models import ModelMeta

        self.mteb_model_meta = ModelMeta.create_empty({"name": "hbt-bench/tiny", "revision": "1"})

    def encode(self, inputs: Any, **kwargs: Any) -> NDArray[np.float32]:
        """Return a vector for each text, (texts, 64)."""
        return np.stack([_vector(text) for batch in inputs for text in batch["text"]])

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosine of each vector of the first argument with each of the second."""
        from mteb.similarity_functions import cos_sim

        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosine of each pair, which MTEB's protocol requires."""
        from mteb.similarity_functions import pairwise_cos_sim

        return pairwise_cos_sim(embeddings1, embeddings2)


def _vector(text: str) -> NDArray[np.float32]:
    vector = np.full(_DIMENSIONS, 1e-3, dtype=np.float32)
    for start in range(max(1, len(text) - 2)):
        triple = text[start : start + 3].casefold().encode()
        vector[int.from_bytes(hashlib.blake2b(triple, digest_size=2).digest(), "little") % _DIMENSIONS] += 1
    return vector


def run(spec: TaskSpec, collection: Collection) -> str:
    """Evaluate the tiny encoder on a sample in each mode and return a summary, or raise `DataError` if MTEB fails."""
    import mteb

    from hbt_bench.mteb.tasks import ParallelRetrieval, SharedPass, quiet_libraries

    quiet_libraries()
    sample = _sample(collection)
    scores = []
    for mode in spec.modes:
        try:
            task = ParallelRetrieval(SharedPass(spec, sample), mode)
            if not task.metadata.eval_langs:
                continue
            results = mteb.evaluate(TinyEncoder(), task, cache=None, co2_tracker=False, show_progress_bar=False)
            entries = [entry for entries in results.task_results[0].scores.values() for entry in entries]
        except Exception as error:  # pydantic, MTEB and datasets raise many kinds
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"the {mode} mode fails in MTEB: {type(error).__name__}: {reason}") from error
        value = float(np.mean([entry["main_score"] for entry in entries]))
        if not 0 <= value <= 1:
            raise DataError(f"the {mode} mode gives {spec.main_score} {value}")
        scores.append(f"{mode} {value:.3f}")
    if not scores:
        raise DataError("no mode has a query with a relevant document")
    return (
        f"{spec.main_score} of a tiny encoder, {len(sample.queries)} queries and {len(sample.documents)} documents: "
        + ", ".join(scores)
    )


def _sample(collection: Collection) -> Collection:
    """Return some queries of each language with their relevant documents, and some other documents."""
    rows = [row for block in collection.query_blocks.values() for row in range(*block.indices(block.start + _QUERIES))]
    relevant = {collection.queries[row].id: collection.relevant(row) for row in rows}
    own_documents = {collection.queries[row].id: collection.own_documents(row) for row in rows}
    needed = {document for judged in relevant.values() for document in judged}
    documents = [
        collection.documents[column]
        for block in collection.document_blocks.values()
        for column in range(block.start, block.stop)
        if column - block.start < _DOCUMENTS or collection.documents[column].id in needed
    ]
    return Collection.from_records(
        collection.name,
        [collection.queries[row] for row in rows],
        documents,
        relevant,
        parallel=collection.parallel,
        own_documents=own_documents if collection.copies is not None else None,
    )
