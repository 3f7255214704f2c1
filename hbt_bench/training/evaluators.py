"""Evaluation on development data during training, with the engine of the final evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator

from hbt_bench.data.collection import Collection
from hbt_bench.identity.task_name import MODES
from hbt_bench.measures.ranking import Ranking
from hbt_bench.measures.registry import MEASURES
from hbt_bench.measures.scores import retrieval_scores
from hbt_bench.ranking.dense import DenseScorer, Role, Vectors
from hbt_bench.ranking.ranks import rank
from hbt_bench.ranking.subsets import judged_subsets

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from hbt_bench.training.trainer import Rows


@dataclass(frozen=True)
class _Encoder:
    """The `Encoder` of a model in training."""

    model: SentenceTransformer
    batch_size: int

    def encode(self, texts: Sequence[str], role: Role, language: str) -> Vectors:
        with torch.inference_mode():
            vectors = self.model.encode(
                list(texts),
                prompt_name=role,
                batch_size=self.batch_size,
                show_progress_bar=False,
                normalize_embeddings=True,
            )
        return np.asarray(vectors, dtype=np.float32)

    def similarity(self, queries: Vectors, documents: Vectors) -> NDArray[np.float32]:
        cosines: NDArray[np.float32] = queries @ documents.T
        return cosines


class CollectionEvaluator(SentenceEvaluator):  # type: ignore[misc]
    """The headline measures on a collection, which the trainer computes between steps."""

    def __init__(self, collection: Collection, batch_size: int) -> None:
        super().__init__()
        self.collection = collection
        self.batch_size = batch_size

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Return the scores under ``AP`` (multilingual), ``AP_mono``, ``AP_cross`` and ``rank_distance``."""
        scorer = DenseScorer.from_collection(self.collection, _Encoder(model, self.batch_size))
        ranks, _ = rank(self.collection, scorer, confidences=False)
        values: dict[str, float] = {}
        for mode in MODES:
            scores = [
                retrieval_scores(Ranking.from_ranks(self.collection, ranks, judged), mode)
                for judged in judged_subsets(self.collection, mode)
            ]
            for measure in MEASURES.headline():
                if scores and all(measure in subset for subset in scores):
                    key = measure if mode == "multi" else f"{measure}_{mode}"
                    values[key] = float(np.mean([subset[measure] for subset in scores]))
        return values


class LossEvaluator(SentenceEvaluator):  # type: ignore[misc]
    """The mean loss of a fixed set of held-out batches."""

    def __init__(self, rows: Rows, collator: Any, loss: torch.nn.Module) -> None:
        super().__init__()
        self.rows = rows
        self.collator = collator
        self.loss = loss

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Return the mean loss under ``loss``."""
        training, size = model.training, self.rows.plan.batch_size
        model.eval()
        losses = []
        with torch.no_grad():
            for step in range(len(self.rows.plan)):
                batch = self.collator([self.rows[row] for row in range(step * size, (step + 1) * size)])
                columns = self.rows.columns
                features = [
                    {
                        key.removeprefix(f"{name}_"): value.to(model.device) if hasattr(value, "to") else value
                        for key, value in batch.items()
                        if key.startswith(f"{name}_")
                    }
                    for name in columns
                    if any(key.startswith(f"{name}_") for key in batch)  # some sources have no hard negatives
                ]
                value = self.loss(features, None)
                losses.append(float(sum(value.values()) if isinstance(value, dict) else value))
        model.train(training)
        return {"loss": float(np.mean(losses))}
