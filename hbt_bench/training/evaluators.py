"""Development data: how good the model is while it is trained, by the engine that will judge it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator

from hbt_bench.data.collection import Collection
from hbt_bench.measures.ranking import Ranking, own_scores
from hbt_bench.ranking.dense import DenseScorer
from hbt_bench.ranking.encode import Role, Vectors
from hbt_bench.ranking.ranks import rank
from hbt_bench.ranking.subsets import MODES, judged_subsets

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from hbt_bench.training.trainer import Rows


@dataclass(frozen=True)
class _Encoder:
    """A model in training as an `Encoder`."""

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
        found: NDArray[np.float32] = queries @ documents.T
        return found


class CollectionEvaluator(SentenceEvaluator):  # type: ignore[misc]
    """AP of the three modes and rank distance on a collection; what the trainer looks at between steps."""

    def __init__(self, collection: Collection, batch_size: int) -> None:
        super().__init__()
        self.collection = collection
        self.batch_size = batch_size

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Evaluate; keys ``AP`` (multilingual), ``AP_mono``, ``AP_cross``, ``rank_distance``."""
        scorer = DenseScorer.of(self.collection, _Encoder(model, self.batch_size))
        ranks, _ = rank(self.collection, scorer, confidences=False)
        found: dict[str, float] = {}
        for mode in MODES:
            scores = [
                own_scores(Ranking.of(self.collection, ranks, judged), mode == "multi")
                for judged in judged_subsets(self.collection, mode)
            ]
            if scores:
                found["AP" if mode == "multi" else f"AP_{mode}"] = float(np.mean([one["AP"] for one in scores]))
                if mode == "multi" and all("rank_distance" in one for one in scores):
                    found["rank_distance"] = float(np.mean([one["rank_distance"] for one in scores]))
        return found


class LossEvaluator(SentenceEvaluator):  # type: ignore[misc]
    """The mean loss of held-out batches, always the same ones."""

    def __init__(self, rows: Rows, collator: Any, loss: torch.nn.Module) -> None:
        super().__init__()
        self.rows = rows
        self.collator = collator
        self.loss = loss

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Evaluate; the only key is ``loss``."""
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
                    if any(key.startswith(f"{name}_") for key in batch)  # a source may have no hard negatives
                ]
                value = self.loss(features, None)
                losses.append(float(sum(value.values()) if isinstance(value, dict) else value))
        model.train(training)
        return {"loss": float(np.mean(losses))}
