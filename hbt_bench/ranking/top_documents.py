"""The best documents of each query with their scores: a run of a model that ranks all documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection
from hbt_bench.identity.task_name import Mode
from hbt_bench.ranking.blocks import BlockScorer, Floats, Scorer
from hbt_bench.ranking.subsets import Subset, judged_subsets

Ints = NDArray[np.int64]
#: Scores in memory at a time.
_SCORES = 1 << 24


def top_documents(
    collection: Collection,
    pool: Scorer | BlockScorer,
    blocks: Mapping[str, Scorer] | None,
    mode: Mode,
    depth: int,
) -> Iterator[tuple[Subset, Ints, Ints, Floats]]:
    """Yield rows of queries, columns of documents and scores, best first, of the subsets of a mode, in parts.

    `pool` and `blocks` are those of `rank`, so that the order of documents is that of the ranks. A query's own text is
    left out.
    """
    order = np.empty(len(collection.documents), np.int64)
    order[sorted(range(len(order)), key=lambda column: collection.documents[column].id)] = np.arange(len(order))
    pool_span = slice(0, len(collection.documents))
    for judged in judged_subsets(collection, mode):
        subset = judged.subset
        span = pool_span if subset.documents is None else collection.document_blocks[subset.documents]
        own = None if subset.documents is None or blocks is None else blocks[subset.documents]
        width = (span if own else pool_span).stop - (span if own else pool_span).start
        queries = collection.query_blocks[subset.queries]
        step = max(1, _SCORES // max(1, width))
        for start in range(queries.start, queries.stop, step):
            rows = slice(start, min(start + step, queries.stop))
            scores = (own or pool).scores(rows)  # type: ignore[union-attr]
            scores = scores if own else scores[:, span]
            chosen = np.intersect1d(np.arange(rows.start, rows.stop), judged.rows)
            yield subset, *_best(collection, chosen, scores[chosen - rows.start], span, order, depth)


def _best(
    collection: Collection, rows: Ints, scores: Floats, span: slice, order: Ints, depth: int
) -> tuple[Ints, Ints, Floats]:
    """Return the best documents of each row: by float32 score, then by document id, both descending."""
    rankings: list[tuple[Ints, Ints, Floats]] = []
    for row, line in zip(rows.tolist(), scores, strict=True):
        columns = np.arange(span.start, span.stop)
        if collection.copies is not None:
            columns = np.setdiff1d(columns, collection.copies[row])
        values = line[columns - span.start]
        if depth < len(values):  # all ties at the limit compete
            limit = np.partition(values, len(values) - depth)[len(values) - depth]
            columns, values = columns[values >= limit], values[values >= limit]
        best = np.lexsort((-order[columns], -values))[:depth]
        rankings.append((np.full(len(best), row), columns[best], values[best]))
    best_rows, best_columns, best_scores = (np.concatenate(parts) for parts in zip(*rankings, strict=True))
    return best_rows, best_columns, best_scores
