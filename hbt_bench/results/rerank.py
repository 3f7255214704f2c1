"""Re-rank the first documents of a run with a cross-encoder; the new run is scored as any other."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbt_bench.errors import DataError, UsageError
from hbt_bench.results.runs import run_tables
from hbt_bench.tasks.registry import select_tasks

if TYPE_CHECKING:
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

    Raises `UsageError` for a model without `predict`, and `DataError` for ids that the task does not have.
    """
    if not callable(getattr(model, "predict", None)):
        raise UsageError(f"{type(model).__name__} has no `predict`: give a CrossEncoder of sentence-transformers")
    if depth < 1:
        raise UsageError(f"depth is {depth}, but must be a whole number from 1")
    selections, codes = select_tasks(task), None if languages is None else tuple(languages)
    tables, _ = run_tables(run, selections, codes)
    spec = selections[0].spec
    assert spec is not None, "`run_tables` refuses tasks of MTEB"
    collection = spec.load(codes, Path(data_dir) if data_dir else None)
    asked = {query.id: query.text for query in collection.queries}
    texts = {document.id: document.text for document in collection.documents}
    reranked = {}
    for name, table in tables.items():
        if "score" not in table:
            raise DataError(f"the run ({name}) has no scores: add the column score")
        unknown = [*({*table["query"]} - asked.keys()), *({*table["document"]} - texts.keys())]
        if unknown:
            raise DataError(f"the run has the id '{min(unknown)}', which is not of {collection.name}")
        first = {
            query: heapq.nlargest(depth, zip(rows["score"].astype("float32"), rows["document"], strict=True))
            for query, rows in table.groupby("query", sort=False)
        }
        pairs = [(query, document) for query, rows in first.items() for _, document in rows]
        words = [(asked[query], texts[document]) for query, document in pairs]
        scores = model.predict(words, batch_size=batch_size, show_progress_bar=False)
        by_query: dict[str, dict[str, float]] = {}
        for (query, document), score in zip(pairs, scores, strict=True):
            by_query.setdefault(query, {})[document] = float(score)
        reranked[name] = by_query
    return reranked
