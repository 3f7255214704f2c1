"""The evaluator of a training: the headline measures on a collection, between steps."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator

from hbt_bench.data.collection import Collection
from hbt_bench.data.data_files import search_folders
from hbt_bench.errors import UsageError
from hbt_bench.identity.task_name import MODES, Mode
from hbt_bench.measures.ranking import Ranking
from hbt_bench.measures.registry import MEASURES
from hbt_bench.measures.scores import retrieval_scores
from hbt_bench.ranking.correction import Role, Vectors
from hbt_bench.ranking.dense import DenseScorer
from hbt_bench.ranking.ranks import rank
from hbt_bench.ranking.subsets import judged_subsets
from hbt_bench.settings import check_whole
from hbt_bench.training.data import dev_collection, has_measure
from hbt_bench.training.recipe import Recipe, first_mistake


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
                task=role,
                batch_size=self.batch_size,
                show_progress_bar=False,
                normalize_embeddings=True,
            )
        return np.asarray(vectors, dtype=np.float32)

    def similarity(self, queries: Vectors, documents: Vectors) -> NDArray[np.float32]:
        cosines: NDArray[np.float32] = queries @ documents.T
        return cosines


def _keys() -> dict[str, tuple[Mode, str]]:
    """Return mode and measure of each score that the evaluator gives."""
    return {
        measure if mode == "multi" else f"{measure}_{mode}": (mode, measure)
        for mode in MODES
        for measure in MEASURES.headline()
    }


def _load(name: str, languages: Sequence[str] | None, data_dir: str | Path | None) -> Collection:
    """Return the collection of a task in some languages; raises `UsageError` if it lacks one of them."""
    try:
        recipe = Recipe(dev=name, languages=None if languages is None else tuple(languages))
    except ValidationError as error:
        raise UsageError(first_mistake(error)[1]) from None
    loaded = dev_collection(recipe, search_folders(Path(data_dir) if data_dir else None, None))
    assert loaded is not None
    if lacking := [code for code in recipe.languages or () if code not in loaded.languages]:
        raise UsageError(f"{name} has no {' '.join(lacking)}: leave {' '.join(lacking)} out of languages")
    return loaded


class CollectionEvaluator(SentenceEvaluator):  # type: ignore[misc]
    """The headline measures on a collection, from one pass that encodes each text once.

    The scores are ``AP`` (in the pool of all languages), ``AP_mono``, ``AP_cross`` and ``rank_distance``, each behind
    `name` if there is one. `primary` chooses checkpoints: with ``load_best_model_at_end``, set
    ``metric_for_best_model=f"eval_{evaluator.primary_metric}"`` and
    ``greater_is_better=evaluator.greater_is_better``. The collection is restricted to `languages`. A task's name stands
    for its collection, from `data_dir` or a download; ``cldr-facts`` is its development split. The prompts are those of
    the model. Each evaluation adds a line to a CSV file in the trainer's folder.

    Raises `UsageError` for an unknown task, score or language, for a score that has no value on the collection, and
    `DataError` if data are missing.

    Example:
        evaluator = CollectionEvaluator("cldr-facts", primary="AP", languages=["de", "en", "sw"])
        evaluator(model)  # {"cldr-facts_AP": 0.41, "cldr-facts_AP_cross": ...}
    """

    def __init__(
        self,
        collection: Collection | str,
        batch_size: int = 32,
        *,
        primary: str = "AP",
        name: str | None = None,
        languages: Sequence[str] | None = None,
        data_dir: str | Path | None = None,
        write_csv: bool = True,
    ) -> None:
        super().__init__()
        if primary not in _keys():
            raise UsageError(f"there is no score '{primary}': choose one of {', '.join(_keys())}")
        check_whole("batch_size", batch_size)
        if isinstance(collection, str):
            name = collection if name is None else name
            collection = _load(collection, languages, data_dir)
        elif data_dir is not None:
            raise UsageError("data_dir is for the name of a collection, and this collection is loaded: leave it out")
        elif languages is not None:
            collection = collection.restrict(languages)
        mode, measure = _keys()[primary]
        if not has_measure(collection, measure, mode):
            raise UsageError(
                f"the collection has no value of {primary} in {' '.join(collection.languages)}: choose another "
                "primary, or more languages"
            )
        self.collection, self.batch_size, self.write_csv = collection, batch_size, write_csv
        self.name = name or ""
        self.primary_metric = f"{name}_{primary}" if name else primary
        self.greater_is_better = not MEASURES[_keys()[primary][1]].lower_is_better

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Return the scores, and write them to the model's card and to the CSV file in `output_path`."""
        scorer = DenseScorer.from_collection(self.collection, _Encoder(model, self.batch_size))
        ranks, _ = rank(self.collection, scorer, confidences=False)
        subsets = {
            mode: [
                retrieval_scores(Ranking.from_ranks(self.collection, ranks, judged), mode)
                for judged in judged_subsets(self.collection, mode)
            ]
            for mode in MODES
        }
        values = {
            key: float(np.mean([scores[measure] for scores in subsets[mode]]))
            for key, (mode, measure) in _keys().items()
            if subsets[mode] and all(measure in scores for scores in subsets[mode])
        }
        values = dict(self.prefix_name_to_metrics(values, self.name))
        self.store_metrics_in_model_card_data(model, values, epoch, steps)
        if output_path is not None and self.write_csv:
            self._add_line(Path(output_path), {"epoch": epoch, "steps": steps, **values})
        return values

    def _add_line(self, folder: Path, values: dict[str, float]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = (self.name or "results").replace("/", "_")
        path = folder / f"collection_evaluation_{name}.csv"
        with path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(values))
            if not stream.tell():
                writer.writeheader()
            writer.writerow(values)
