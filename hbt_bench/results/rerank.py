"""Re-rank the first documents of a run with a cross-encoder; the new run is scored as any other."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hbt_bench.errors import DataError, ModelError, UsageError
from hbt_bench.identity.task_name import parse_names
from hbt_bench.results.runs import run_tables
from hbt_bench.settings import check_whole
from hbt_bench.tasks.registry import select_tasks

if TYPE_CHECKING:
    import pandas as pd

    from hbt_bench.results.runs import Run


def rerank(
    model: Any,
    run: Run,
    task: str,
    depth: int = 100,
    *,
    languages: Iterable[str] | None = None,
    data_dir: str | Path | None = None,
    batch_size: int = 32,
) -> dict[str, dict[str, dict[str, float]]]:
    """Return a run of the best `depth` documents of each ranking of `run`, with the scores of a cross-encoder.

    For example, the 100 best documents of BM25, re-ranked::

        model = CrossEncoder("cross-encoder/mmarco-mMiniLMv2-L12-H384-v1")
        run = hbt_bench.rerank(model, "bm25.trec", "xquad-r-multi")
        hbt_bench.score(run, "xquad-r-multi", name="me/bm25+mmarco")

    The result has the scores by subset or mode, query and document. Documents below `depth` are left out, so measures
    that need the whole ranking are left open, as for every run that is cut.

    Args:
        model: A cross-encoder of sentence-transformers, or an object with its `predict`.
        run: A first run with scores, as `hbt_bench.score` takes it.
        task: The task, such as ``xquad-r-multi``.
        depth: The documents of each query to re-rank; ties go to the greater id.
        languages: The languages to which the collection is restricted, None for all.
        data_dir: The folder of the data files.
        batch_size: Pairs of texts per batch.

    Raises `UsageError` for a model without `predict`, `ModelError` if it does not give a finite score for each pair,
    and `DataError` for ids that the task does not have, and for a document that is twice in a ranking.
    """
    if not callable(getattr(model, "predict", None)):
        raise UsageError(f"{type(model).__name__} has no `predict`: give a CrossEncoder of sentence-transformers")
    check_whole("depth", depth)
    check_whole("batch_size", batch_size)
    selections, codes = select_tasks(task), None if languages is None else parse_names(languages)
    tables, _ = run_tables(run, selections, codes)
    spec = selections[0].spec
    assert spec is not None, "`run_tables` refuses tasks of MTEB"
    collection = spec.load(codes, Path(data_dir) if data_dir else None)
    asked = {query.id: query.text for query in collection.queries}
    texts = {document.id: document.text for document in collection.documents}
    reranked = {}
    for name, table in tables.items():
        _check_candidates(name, table)
        unknown = [*({*table["query"]} - asked.keys()), *({*table["document"]} - texts.keys())]
        if unknown:
            raise DataError(f"the run has the id '{min(unknown)}', which is not of {collection.name}")
        first = {
            query: heapq.nlargest(depth, zip(rows["score"].astype("float32"), rows["document"], strict=True))
            for query, rows in table.groupby("query", sort=False)
        }
        pairs = [(query, document) for query, rows in first.items() for _, document in rows]
        words = [(asked[query], texts[document]) for query, document in pairs]
        _scores(model, words[:2], batch_size)  # so that a model of another form is refused before all is computed
        by_query: dict[str, dict[str, float]] = {}
        for (query, document), score in zip(pairs, _scores(model, words, batch_size), strict=True):
            by_query.setdefault(query, {})[document] = score
        reranked[name] = by_query
    return reranked


def _check_candidates(name: str, table: pd.DataFrame) -> None:
    """Raise `DataError` if the best documents of a query are unknown: without scores, or with a document twice."""
    if "score" not in table:
        raise DataError(f"the run ({name}) has no scores: add the column score")
    if (repeated := table.duplicated(["query", "document"])).any():
        query, document = table.loc[repeated, ["query", "document"]].iloc[0]
        raise DataError(f"the run ({name}) has the document '{document}' twice for the query '{query}': keep one")


def _scores(model: Any, pairs: Sequence[tuple[str, str]], batch_size: int) -> list[float]:
    """Return the score of each pair of texts. Raises `ModelError` if the model does not give one number for each."""
    scores = np.asarray(model.predict(pairs, batch_size=batch_size, show_progress_bar=False), np.float64)
    if scores.shape not in ((len(pairs),), (len(pairs), 1)):
        raise ModelError(
            f"{type(model).__name__}.predict gave an array of shape {scores.shape} for {len(pairs):,} pairs of texts: "
            "give a model with one score for each pair, such as a CrossEncoder with num_labels=1"
        )
    scores = scores.ravel()
    if not np.isfinite(scores).all():
        query, document = pairs[int(np.argmin(np.isfinite(scores)))]
        raise ModelError(
            f"{type(model).__name__}.predict gave NaN or infinity for the query {query[:80]!r} and the document "
            f"{document[:80]!r}: check its weights and precision"
        )
    return [float(score) for score in scores]
