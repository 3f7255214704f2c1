"""MTEB retrieval tasks made from task files. Only this module subclasses MTEB."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.models import (
    CrossEncoderProtocol,
    EncoderProtocol,
    SearchEncoderWrapper,
    SearchProtocol,
    SparseEncoderWrapper,
)

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.errors import UsageError
from hbt_bench.identity.signature import Signature
from hbt_bench.identity.task_name import Mode, parse_names
from hbt_bench.measures.bias import Bias
from hbt_bench.measures.ranking import Ranking
from hbt_bench.measures.scores import bias_scores, retrieval_scores, subset_scores
from hbt_bench.mteb.metadata import task_metadata
from hbt_bench.mteb.shared_pass import SPLIT, MtebEncoder, SharedPass, dataset
from hbt_bench.ranking.ranks import UNRETRIEVED, Confidences, RankedModel, Ranks, ScoringModel, run_depth
from hbt_bench.ranking.run_ranks import RunRanks
from hbt_bench.ranking.subsets import Subset
from hbt_bench.tasks.registry import select_tasks
from hbt_bench.tasks.subset_check import check_subsets

__all__ = ["SPLIT", "MtebEncoder", "ParallelRetrieval", "SharedPass", "get_tasks", "is_ours", "quiet_libraries"]


#: What `convert_to_reranking` would need, and the way that exists.
NO_RERANKING = (
    "{name} ranks whole collections and has no candidates to re-rank. Rank the candidates of a first run with "
    "`hbt_bench.rerank`, and score the new run with `hbt_bench.score`."
)


class ParallelRetrieval(AbsTaskRetrieval):  # type: ignore[misc]  # mteb is not followed by mypy
    """A mode of a collection as an MTEB task."""

    def __init__(self, shared: SharedPass, mode: Mode, **kwargs: Any) -> None:
        self.shared = shared
        self.mode = mode
        #: The ranks of the last evaluation, and the name of their file.
        self.ranks: Ranks | None = None
        self.ranks_name = ""
        self._run: RunRanks | None = None
        self._last: tuple[Any, dict[str, Any], Mapping[str, Any]] | None = None
        chosen = [judged.subset for judged in shared.judged(mode).values()]
        self.metadata = task_metadata(shared.spec, mode, shared.languages, chosen, shared.collection.fingerprint)
        self.dataset: dict[str, dict[str, Any]] = {}
        # MTEB's name for a query that is also a document
        self.ignore_identical_ids = shared.collection.copies is not None
        super().__init__(**kwargs)

    @property
    def name(self) -> str:
        """The task name, such as ``xquad-r-multi``."""
        return self.shared.spec.task_name(self.mode, self.shared.languages)

    def unload_data(self) -> None:
        """Drop MTEB's layout of the data. Keep the collection and the ranks, which other modes may need."""
        self.dataset, self._last = {}, None
        self.data_loaded = False

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Lay the collection out as MTEB does. All subsets share the queries and documents of a language."""
        if self.data_loaded:
            return
        collection = self.shared.collection
        queries = {code: _dataset(collection.queries[block]) for code, block in collection.query_blocks.items()}
        corpora = {code: _dataset(collection.documents[block]) for code, block in collection.document_blocks.items()}
        pool = concatenate_datasets(list(corpora.values())) if self.mode == "multi" else None
        self.dataset = {}
        for judged in self.shared.judged(self.mode).values():
            subset = judged.subset
            first = collection.query_blocks[subset.queries].start
            corpus = pool if subset.documents is None else corpora[subset.documents]
            self.dataset[subset.name] = {
                SPLIT: {
                    "queries": queries[subset.queries].select(judged.rows - first),
                    "corpus": corpus,
                    "relevant_docs": judged.by_id(collection),
                    "top_ranked": None,
                }
            }
        self.data_loaded = True

    def evaluate(
        self,
        model: Any,
        split: str = SPLIT,
        subsets_to_run: list[str] | None = None,
        *,
        encode_kwargs: Any,
        prediction_folder: Path | None = None,
        **kwargs: Any,
    ) -> Mapping[str, Any]:
        """Return the scores of the subsets, from the shared ranks.

        MTEB evaluates subset by subset if the model gives no vectors (cross-encoders, search models), if a vector
        depends on the other texts of a call, or if the run has a prediction folder.
        """
        collection = self.shared.collection
        self.ranks_name = f"{self.metadata.name}.ranks.npz"
        if isinstance(model, RankedModel):
            self.ranks = model.ranks_in(collection, self.mode)
            return self._scores(model, self.ranks, None, subsets_to_run)
        if prediction_folder is not None or not self.shares_pass(model, encode_kwargs):
            quiet = {**encode_kwargs, "show_progress_bar": False}  # a bar for each subset would be hundreds
            options = {**kwargs, "encode_kwargs": quiet, "prediction_folder": prediction_folder}
            scores = self._searched(model, split, options)
            return {name: scores[name] for name in scores if subsets_to_run is None or name in subsets_to_run}
        self.ranks, confidences = self.shared.evaluate(model, self.metadata, encode_kwargs)
        self.ranks_name = self.shared.spec.ranks_name(self.shared.languages)
        return self._scores(model, self.ranks, confidences, subsets_to_run)

    def _searched(self, model: Any, split: str, options: dict[str, Any]) -> Mapping[str, Any]:
        """Return the scores of all subsets, which MTEB ranks, and keep the ranks.

        MTEB asks for a subset at a time, but ranks and bias need all. So the scores of the last model are kept.
        """
        if self._last is None or self._last[0] is not model or self._last[1] != options:
            self._run = RunRanks(self.shared.collection, self.mode)
            self._top_k = len(self.shared.collection.documents)  # AP needs the whole ranking
            by_mteb = super().evaluate(_without_own(model, self.shared.collection), split, None, **options)
            bias, identity = self._ranks_of_run(), self._identity(model)
            self._last = model, options, {name: by_mteb[name] | bias.get(name, {}) | identity for name in by_mteb}
        return self._last[2]

    def convert_to_reranking(self, *arguments: Any, **options: Any) -> Any:
        """Raise `UsageError`: these tasks rank whole collections; a re-ranking is scored as a run."""
        raise UsageError(NO_RERANKING.format(name=self.name))

    @property
    def kept_ranks(self) -> tuple[str, Ranks] | None:
        """The name of the file of ranks, and the ranks; a task without subsets has those of the shared pass."""
        if self.ranks is not None:
            return self.ranks_name, self.ranks
        if self.hf_subsets or self.shared.ranks is None:
            return None
        return self.shared.spec.ranks_name(self.shared.languages), self.shared.ranks

    def _ranks_of_run(self) -> dict[str, dict[str, float]]:
        """Keep the ranks that MTEB's rankings gave, if it ranked all subsets. Return the bias measures by subset."""
        run, self._run, self.ranks = self._run, None, None
        if run is None or run.missing():
            return {}
        self.ranks = run.ranks()
        if self.mode != "multi":
            return {}
        by_language = bias_scores(Bias(self.shared.collection, self.ranks))
        return {Subset(language, None).name: scores for language, scores in by_language.items()}

    def _scores(
        self, model: Any, ranks: Ranks, confidences: Confidences | None, subsets_to_run: list[str] | None
    ) -> dict[str, Any]:
        """Return the scores of the subsets from the ranks."""
        collection, identity = self.shared.collection, self._identity(model)
        bias = self.shared.bias(ranks) if self.mode == "multi" else {}
        scores = {}
        for name, judged in self.shared.judged(self.mode).items():
            if subsets_to_run is None or name in subsets_to_run:
                entry: dict[str, Any] = {**subset_scores(collection, ranks, judged, bias, confidences)}
                scores[name] = entry | {
                    "queries": len(judged.rows),
                    "main_score": entry.get(self.metadata.main_score, math.nan),  # open if a run was cut
                    **identity,
                }
        return scores

    def _identity(self, model: Any) -> dict[str, Any]:
        """Return the signature and the number of subsets, by which a result of plain `mteb.evaluate` is read."""
        return {"signature": str(self.signature_of(model)), "subsets": len(self.shared.judged(self.mode))}

    def shares_pass(self, model: Any, encode_kwargs: Mapping[str, Any]) -> bool:
        """Return whether our pass over the scores ranks with this model. MTEB ranks with the others."""
        if isinstance(model, ScoringModel | RankedModel):
            return True
        return is_ours(model) and not self.shared.is_stateful(model, self.metadata, encode_kwargs)

    def signature_of(self, model: Any) -> Signature:
        """Return the signature of a model's scores on this task."""
        meta, collection = getattr(model, "mteb_model_meta", None), self.shared.collection
        name = f"{getattr(meta, 'name', None)}@{getattr(meta, 'revision', None)}"
        depth = run_depth(model, collection, self.mode)
        return self.shared.spec.signature(self.mode, collection, name, self.shared.prompt_label, depth)

    def task_specific_scores(
        self,
        scores: dict[str, dict[str, float]],
        qrels: Mapping[str, Mapping[str, int]],
        results: dict[str, dict[str, float]],
        hf_split: str,
        hf_subset: str,
    ) -> dict[str, float]:
        """Return our measures if MTEB ranked the documents. Documents that MTEB did not return rank last."""
        if self._run is not None:
            self._collect(self._run, hf_subset, results)
        ranking = _ranking_of_run(qrels, results, self._top_k, _own_documents(self.shared.collection))
        return retrieval_scores(replace(ranking, parallel=self.shared.collection.parallel), self.mode)

    def _collect(self, run: RunRanks, subset: str, rankings: Mapping[str, Mapping[str, float]]) -> None:
        """Add MTEB's rankings of a subset to a run."""
        collection = self.shared.collection
        row_of = {query.id: row for row, query in enumerate(collection.queries)}
        column_of = {document.id: column for column, document in enumerate(collection.documents)}
        rows = [row_of[query] for query, scores in rankings.items() for _ in scores]
        columns = [column_of[document] for scores in rankings.values() for document in scores]
        scores = [score for scores in rankings.values() for score in scores.values()]
        run.add(np.array(rows, np.int64), np.array(columns, np.int64), np.array(scores, np.float64))


def get_tasks(
    names: str | Iterable[str], languages: Iterable[str] | None = None, data_dir: str | Path | None = None
) -> list[Any]:
    """Return MTEB task objects by name, ready for `mteb.evaluate`.

    For example, ``mteb.evaluate(model, get_tasks("xquad-r"), cache=None)`` evaluates the three modes, which share one
    pass over the collection. ``get_tasks("xquad-r-multi")`` is a single mode, and ``get_tasks("SciFact")`` MTEB's task.
    `languages` restricts the collections, and with them the multilingual pool. `data_dir` is a folder with the data
    files.

    Raises `UsageError` for an unknown task or language, and for languages in which no mode of a task has a subset.
    """
    tasks: list[Any] = []
    codes = None if languages is None else parse_names(languages)
    for selection in select_tasks(names):
        if selection.spec is None:
            import mteb

            tasks.append(mteb.get_task(selection.stock))
        else:
            shared = SharedPass(selection.spec, selection.spec.load(codes, Path(data_dir) if data_dir else None))
            check_subsets(selection, {selection.spec.name: shared.collection})
            tasks.extend(ParallelRetrieval(shared, mode) for mode in selection.modes)
    return tasks


def is_ours(model: Any) -> bool:
    """Return whether our pass over the scores ranks with this model, instead of MTEB."""
    if isinstance(model, ScoringModel):
        return True
    others = (SearchProtocol, CrossEncoderProtocol, SparseEncoderWrapper)
    return isinstance(model, EncoderProtocol) and not isinstance(model, others)


def _dataset(rows: Sequence[Query] | Sequence[Document]) -> Dataset:
    return dataset({"id": [row.id for row in rows], "text": [row.text for row in rows]})


@dataclass(frozen=True)
class _WithoutOwn:
    """A search model whose answers lack each query's own documents. MTEB leaves out equal ids only."""

    model: Any
    own_documents: Mapping[str, Sequence[str]]

    @property
    def mteb_model_meta(self) -> Any:
        """MTEB's description of the model."""
        return self.model.mteb_model_meta

    def index(self, corpus: Any, **options: Any) -> None:
        """Index the corpus."""
        self.model.index(corpus, **options)

    def search(self, queries: Any, **options: Any) -> dict[str, dict[str, float]]:
        """Return the scores of documents by query."""
        return {
            query: {key: score for key, score in scores.items() if key not in self.own_documents.get(query, ())}
            for query, scores in self.model.search(queries, **options).items()
        }


def _without_own(model: Any, collection: Collection) -> Any:
    """Return a search model that leaves out each query's own documents, or the model if there are none."""
    own_documents = _own_documents(collection)
    if not own_documents or isinstance(model, CrossEncoderProtocol):
        return model
    return _WithoutOwn(model if isinstance(model, SearchProtocol) else SearchEncoderWrapper(model), own_documents)


def _own_documents(collection: Collection) -> dict[str, list[str]]:
    """Return the ids of each query's own documents, for queries that have any."""
    by_query = {query.id: collection.own_documents(row) for row, query in enumerate(collection.queries)}
    return {query: documents for query, documents in by_query.items() if documents}


def _ranking_of_run(
    qrels: Mapping[str, Mapping[str, int]],
    run: Mapping[str, Mapping[str, float]],
    depth: int,
    own_documents: Mapping[str, Sequence[str]],
) -> Ranking:
    """Return the ranks of the relevant documents in MTEB's run, `depth` for a document that is not in it."""
    pairs: list[tuple[int, int, int]] = []
    for position, (query, judged) in enumerate(qrels.items()):
        ranking = sorted(((score, document) for document, score in run.get(query, {}).items()), reverse=True)
        rank_of = {document: rank for rank, (_, document) in enumerate(ranking, 1)}
        rank_of |= dict.fromkeys(own_documents.get(query, ()), UNRETRIEVED)
        pairs += sorted((rank_of.get(document, depth), grade, position) for document, grade in judged.items())
    ranks, grades, owner = np.array(pairs).T
    return Ranking(ranks, grades, owner, len(qrels))


def quiet_libraries() -> None:
    """Hide the notices of the libraries that load and run models. Their errors are still shown."""
    import datasets
    import transformers

    warnings.filterwarnings("ignore", module=r"mteb|transformers|sentence_transformers|huggingface_hub|torch")
    for library in ("huggingface_hub", "mteb", "sentence_transformers"):
        logging.getLogger(library).setLevel(logging.ERROR)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
