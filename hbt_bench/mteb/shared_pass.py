"""A pass over a collection with an MTEB model, shared by the tasks of all modes.

`mteb.evaluate` runs a task subset by subset. Here the first subset makes the pass for all subsets of all modes. The
others read its ranks, so that every text is encoded once.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from datasets import Dataset
from datasets.table import InMemoryTable
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models import EncoderProtocol, SentenceTransformerEncoderWrapper
from mteb.types import PromptType
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Router
from torch.utils.data import DataLoader

from hbt_bench.data.collection import Collection
from hbt_bench.distributed import ALONE, Processes
from hbt_bench.errors import ModelError
from hbt_bench.identity.task_name import Mode
from hbt_bench.log import counter
from hbt_bench.measures.bias import Bias
from hbt_bench.measures.scores import bias_scores
from hbt_bench.mteb.corrected_model import CorrectedModel, uncorrected
from hbt_bench.mteb.probe import depends_on_call, prompt_fills, unknown_share
from hbt_bench.ranking.blocks import BlockScorer, Scorer
from hbt_bench.ranking.correction import Role, Vectors
from hbt_bench.ranking.dense import DenseScorer
from hbt_bench.ranking.encode import distinct_texts
from hbt_bench.ranking.ranks import Confidences, Ranks, ScoringModel, rank
from hbt_bench.ranking.store import EmbeddingStore
from hbt_bench.ranking.subsets import SubsetQrels, judged_subsets
from hbt_bench.tasks.task import TaskSpec

log = logging.getLogger(__name__)

#: The only split that our tasks have.
SPLIT = "test"


def dataset(columns: Mapping[str, Sequence[str]]) -> Dataset:
    """Return columns as MTEB's layout of texts, seven times faster than ``Dataset.from_dict``, which hashes them."""
    return Dataset(InMemoryTable.from_pydict(columns), fingerprint=uuid4().hex)


@dataclass(frozen=True, eq=False)
class MtebEncoder:
    """An MTEB encoder as an `Encoder`. `counts` has the number of texts of each call."""

    model: EncoderProtocol
    metadata: TaskMetadata
    encode_kwargs: Mapping[str, Any]
    counts: list[int] = field(default_factory=list)

    def encode(self, texts: Sequence[str], role: Role, language: str) -> Vectors:
        """Encode texts with the model's prompt for the role. MTEB passes the language as the subset."""
        self.counts.append(len(texts))
        options = {**self.encode_kwargs, "show_progress_bar": False}
        if isinstance(self.model, SentenceTransformerEncoderWrapper) and self.device.type != "cpu":
            options["convert_to_tensor"] = True  # else the GPU waits while each batch is copied
        if role == "query":
            columns, kind = {"text": list(texts), "query": list(texts)}, PromptType.query
        else:
            columns, kind = {"text": list(texts), "body": list(texts)}, PromptType.document
        inputs: Any = DataLoader(
            dataset({"id": [str(row) for row in range(len(texts))], **columns}),
            batch_size=int(self.encode_kwargs.get("batch_size", 32)),
        )
        with torch.inference_mode():
            vectors = self.model.encode(
                inputs,
                task_metadata=self.metadata,
                hf_split=SPLIT,
                hf_subset=language,
                prompt_type=kind,
                **options,
            )
        if isinstance(vectors, torch.Tensor):
            if vectors.is_sparse:
                vectors = vectors.to_dense()
            vectors = vectors.detach().float().cpu().numpy()
        return np.asarray(vectors, dtype=np.float32)

    @property
    def symmetric(self) -> bool:
        """Whether a text has the same vector as a query and as a document."""
        return _symmetric(self.model)

    @property
    def device(self) -> torch.device:
        """The device of the model, and of the pass over the scores."""
        return torch.device(getattr(getattr(self.model, "model", None), "device", "cpu"))

    def unknown_share(self, texts: Sequence[str]) -> float:
        """Return the share of tokens of `texts` that the model's tokenizer does not know."""
        return unknown_share(self.model, texts)

    def prompt_fills(self, role: Role) -> bool:
        """Return whether the prompt of a role leaves no room for a text."""
        return prompt_fills(self.model, role)

    def similarity(self, queries: Vectors, documents: Vectors) -> NDArray[np.float32]:
        """Return the similarity that the model defines: cosine, dot product, or another in its configuration."""
        scores = self.model.similarity(torch.from_numpy(queries), torch.from_numpy(documents))
        return torch.as_tensor(scores).detach().float().cpu().numpy()


def _symmetric(model: Any) -> bool:
    """Return whether both roles have equal vectors: modules of sentence-transformers, no router and no prompts."""
    if not isinstance(model, SentenceTransformerEncoderWrapper) or type(model.model) is not SentenceTransformer:
        return False
    standard = all(type(module).__module__.startswith("sentence_transformers.") for module in model.model)
    routed = any(isinstance(module, Router) for module in model.model.modules())
    prompts = {**(model.model_prompts or {}), **model.model.prompts}
    return standard and not routed and not any(prompts.values())


class SharedPass:
    """A collection and the ranks of the last model, shared by the tasks of all modes.

    Attributes:
        store: Keeps vectors on disk, if it is set.
        processes: The processes that share the work with a model of vectors. All of them must evaluate it.
        prompt_label: The label of the prompts in signatures.
        keeps_scorers: Keep the scorers of the last pass in `scorers`, with the vectors of the collection.
        speed: Distinct texts that the last pass encoded and ranked per second, None if any vector was on disk.
    """

    def __init__(self, spec: TaskSpec, collection: Collection) -> None:
        self.spec = spec
        self.collection = collection
        self.store: EmbeddingStore | None = None
        self.processes: Processes = ALONE
        self.prompt_label = "model"
        self.speed: float | None = None
        self.keeps_scorers = False
        self.scorers: tuple[Scorer | BlockScorer, Mapping[str, Scorer] | None] | None = None
        self._judged: dict[Mode, dict[str, SubsetQrels]] = {}
        self._ranked: tuple[weakref.ref[Any], str, Ranks, Confidences | None] | None = None
        self._bias: dict[str, dict[str, float]] | None = None
        self._stateful: tuple[weakref.ref[Any], str, bool] | None = None

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the collection, perhaps fewer than in the task file."""
        return self.collection.languages

    def judged(self, mode: Mode) -> dict[str, SubsetQrels]:
        """Return the subsets of a mode that have relevant documents, by name. They are computed once."""
        if mode not in self._judged:
            self._judged[mode] = {judged.subset.name: judged for judged in judged_subsets(self.collection, mode)}
        return self._judged[mode]

    def texts(self, model: Any) -> int:
        """Return the number of texts that a pass with `model` encodes."""
        return distinct_texts(self.collection, _symmetric(uncorrected(model)))

    @property
    def ranks(self) -> Ranks | None:
        """The ranks of the last model, None before the first evaluation."""
        return self._ranked[2] if self._ranked else None

    def evaluate(
        self, model: Any, metadata: TaskMetadata, encode_kwargs: Mapping[str, Any]
    ) -> tuple[Ranks, Confidences | None]:
        """Return the ranks of `model`, from the last pass if it had the same model and settings."""
        settings = _settings(encode_kwargs)
        if self._ranked and self._ranked[0]() is model and self._ranked[1] == settings:
            return self._ranked[2], self._ranked[3]
        collection, texts = self.collection, self.texts(model)
        encoded_texts: Sequence[int] = [texts]
        queries = counter("ranking queries", len(collection.queries))
        started = perf_counter()
        if isinstance(model, ScoringModel):
            pool, blocks = model.scorers(collection)
            ranked = rank(collection, pool, blocks, progress=queries)
        else:
            encoder = MtebEncoder(uncorrected(model), metadata, encode_kwargs)
            correct = model.fit if isinstance(model, CorrectedModel) else None
            encoded = counter("encoding texts", texts)
            scorer = DenseScorer.from_collection(collection, encoder, self.store, encoded, self.processes, correct)
            pool, blocks = scorer, None
            ranked = rank(collection, scorer, processes=self.processes, progress=queries)
            encoded_texts = self.processes.gather(sum(encoder.counts))
        self.scorers = (pool, blocks) if self.keeps_scorers else None
        timed = sum(encoded_texts) == texts and getattr(model, "encodes", True)  # not vectors that existed before
        self.speed = texts / (perf_counter() - started) if timed else None
        self._ranked = (weakref.ref(model), settings, *ranked)
        self._bias = None
        return ranked

    def is_stateful(self, model: Any, metadata: TaskMetadata, encode_kwargs: Mapping[str, Any]) -> bool:
        """Return whether a text's vector depends on the other texts of a call, as with the scale of int8 vectors.

        Such a model cannot share a pass: MTEB's calls, subset by subset, define its scores.
        """
        settings = _settings(encode_kwargs)
        if self._stateful is None or self._stateful[0]() is not model or self._stateful[1] != settings:
            language = self.languages[0]

            encoder = uncorrected(model)

            def encode(texts: Sequence[str]) -> Vectors:
                return MtebEncoder(_untouched(encoder), metadata, encode_kwargs).encode(texts, "document", language)

            self._stateful = weakref.ref(model), settings, depends_on_call(encoder, encode)
            if self._stateful[2] and isinstance(model, CorrectedModel):
                raise ModelError(
                    "the vector of a text depends on the other texts of a call, as with int8: it cannot be corrected"
                )
            if self._stateful[2]:
                log.warning(
                    "the vector of a text depends on the other texts of a call, as with int8: MTEB evaluates the "
                    "model, one subset after the other"
                )
        return self._stateful[2]

    def bias(self, ranks: Ranks) -> dict[str, dict[str, float]]:
        """Return the bias measures of the last ranks by query language. They are computed once."""
        if self._bias is None:
            self._bias = bias_scores(Bias(self.collection, ranks))
        return self._bias


def _settings(encode_kwargs: Mapping[str, Any]) -> str:
    return repr(sorted((key, value) for key, value in encode_kwargs.items() if key != "show_progress_bar"))


def _untouched(model: Any) -> Any:
    """Return a copy of a model without its weights, so that a trial call leaves no state, such as a scale."""
    clone = copy(model)
    for name, value in getattr(model, "__dict__", {}).items():
        if isinstance(value, dict | list | set):
            setattr(clone, name, copy(value))
    return clone
