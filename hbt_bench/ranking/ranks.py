"""The engine: exact ranks of the relevant documents, for all modes in one blocked pass over the scores.

A rank is 1 + the number of documents that are better: a higher float32 score, or the same score and a greater
document id (trec_eval's rule). Counting needs no sort and no cut-off, so ranks are exact at any depth, and memory
is bounded by one block of scores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hbt_bench.corpus.collection import Collection
from hbt_bench.errors import ModelError

#: The name of the tie rule, part of every signature.
TIE_RULE = "docid-desc"
#: How many top documents of the pool are kept per query.
TOP_K = 20
#: nAUC's confidences look at the best 1,000 scores, which is where MTEB cuts a ranking.
CONFIDENCE_DEPTH = 1000
#: Bytes of one block of scores.
_BLOCK_BYTES = 1 << 26
#: Scores that one thread works on at a time: few enough to stay in its cache.
_SLICE_SCORES = 1 << 20


class Scorer(Protocol):
    """Scores a block of queries against all documents that it was made for."""

    def scores(self, rows: slice) -> NDArray[np.float32]:
        """The scores of the queries `rows`, shape (rows, documents), float32, higher is better."""


@runtime_checkable
class ScoringModel(Protocol):
    """A model that scores candidate sets itself instead of giving vectors."""

    def scorers(self, collection: Collection) -> tuple[Scorer, Mapping[str, Scorer]]:
        """A scorer of the pool, and one of each language's documents."""


@dataclass(frozen=True, eq=False)
class Ranks:
    """What is left of the scores: exact ranks of the judged pairs, and the top of every query's ranking.

    `pool` and `block` (pairs,) are the ranks, from 1, of each pair of the collection's qrels among all documents
    and among the documents of its own language. `top` (queries, min(TOP_K, documents)) are the columns of the best
    documents in the pool, best first.
    """

    pool: NDArray[np.int32]
    block: NDArray[np.int32]
    top: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Confidences:
    """Per query and candidate set, what nAUC takes as a model's confidence (arXiv 2402.12997).

    Each (queries, languages + 1), float64, over the best 1,000 scores; the last column is the pool. `highest` is
    the best score, `spread` the standard deviation, `margin` the best minus the second best.
    """

    highest: NDArray[np.float64]
    spread: NDArray[np.float64]
    margin: NDArray[np.float64]


def rank(
    collection: Collection,
    pool: Scorer,
    blocks: Mapping[str, Scorer] | None = None,
    *,
    confidences: bool = True,
    progress: Callable[[int], object] = lambda rows: None,
) -> tuple[Ranks, Confidences | None]:
    """Rank the relevant documents of every query in the pool and in each language's block.

    `pool` scores all documents in the collection's order. `blocks` are scorers of single languages, for models
    whose scores depend on the candidate set (BM25); without them a block is read out of the pool's scores.
    `progress` is told the number of queries done.

    Raises `ModelError` for a score that is NaN or a matrix of the wrong shape.
    """
    work = _Work.for_collection(collection, confidences)
    everything = slice(0, len(collection.documents))
    languages = list(enumerate(collection.languages))
    if blocks is None:
        columns = [(place, collection.document_blocks[code]) for place, code in languages]
        work.run(pool, [*columns, (len(languages), everything)], 0, progress)
        return work.result()
    for place, code in languages:
        block = collection.document_blocks[code]
        if block.start < block.stop:
            work.run(blocks[code], [(place, block)], block.start, lambda rows: None)
    work.run(pool, [(len(languages), everything)], 0, progress)
    return work.result()


@dataclass(frozen=True, eq=False)
class _Work:
    """The arrays that one pass fills; every slice of queries is written by one thread."""

    collection: Collection
    id_order: NDArray[np.int32]
    ranks: Ranks
    confidences: Confidences | None

    @classmethod
    def for_collection(cls, collection: Collection, confidences: bool) -> _Work:
        documents, queries = len(collection.documents), len(collection.queries)
        id_order = np.empty(documents, dtype=np.int32)
        id_order[sorted(range(documents), key=lambda column: collection.documents[column].id)] = np.arange(documents)
        pairs = len(collection.qrels.documents)
        candidates = documents if collection.copies is None else documents - 1
        ranks = Ranks(
            np.zeros(pairs, np.int32),
            np.zeros(pairs, np.int32),
            np.zeros((queries, min(TOP_K, candidates)), np.int32),
        )
        shape = (queries, len(collection.languages) + 1)
        return cls(
            collection, id_order, ranks, Confidences(*(np.zeros(shape) for _ in range(3))) if confidences else None
        )

    def result(self) -> tuple[Ranks, Confidences | None]:
        return self.ranks, self.confidences

    def run(
        self, scorer: Scorer, segments: list[tuple[int, slice]], first: int, progress: Callable[[int], object]
    ) -> None:
        """Rank within each segment of columns; the scorer's first column is the collection's column `first`."""
        queries = len(self.collection.queries)
        width = max(columns.stop for _, columns in segments) - first
        height = max(1, min(queries, _BLOCK_BYTES // (4 * max(width, 1))))
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for start in range(0, queries, height):
                rows = slice(start, min(start + height, queries))
                scores = _checked(scorer.scores(rows), (rows.stop - rows.start, width))
                if self.collection.copies is not None:
                    scores = _without_copies(scores, self.collection.copies[rows] - first)
                step = max(1, _SLICE_SCORES // width)
                slices = [slice(at, min(at + step, rows.stop)) for at in range(rows.start, rows.stop, step)]
                # list() so that an exception of a thread is raised here
                list(threads.map(lambda part, s=scores, r=rows: self._slice(s, r.start, part, segments, first), slices))
                progress(rows.stop - rows.start)

    def _slice(
        self, scores: NDArray[np.float32], start: int, rows: slice, segments: list[tuple[int, slice]], first: int
    ) -> None:
        part = scores[rows.start - start : rows.stop - start]
        pool = len(self.collection.languages)
        for place, columns in segments:
            segment = part[:, columns.start - first : columns.stop - first]
            if segment.shape[1] == 0:
                continue
            self._count(segment, rows, columns, self.ranks.pool if place == pool else self.ranks.block)
            if place == pool:
                self._top(segment, rows)
            if self.confidences is not None:
                self._confidences(segment, rows, place, self.confidences)

    def _count(self, segment: NDArray[np.float32], rows: slice, columns: slice, ranks: NDArray[np.int32]) -> None:
        qrels = self.collection.qrels
        pairs = np.arange(qrels.offsets[rows.start], qrels.offsets[rows.stop])
        inside = (qrels.documents[pairs] >= columns.start) & (qrels.documents[pairs] < columns.stop)
        pairs = pairs[inside]
        row = qrels.queries[pairs] - rows.start
        # the n-th pairs of all queries are compared in one call; a call per pair would cost more than it compares
        nth = np.arange(len(row)) - np.searchsorted(row, row)
        for n in range(nth.max(initial=-1) + 1):
            at, pair = row[nth == n], pairs[nth == n]
            scores = segment if len(at) == len(segment) else segment[at]
            document = qrels.documents[pair] - columns.start
            score = scores[np.arange(len(at)), document][:, None]
            better = _count_true(scores > score)
            tied = scores == score
            for place in np.flatnonzero(_count_true(tied) > 1):
                ids = self.id_order[columns][tied[place]]
                better[place] += np.count_nonzero(ids > self.id_order[columns][document[place]])
            ranks[pair] = better + 1

    def _top(self, scores: NDArray[np.float32], rows: slice) -> None:
        depth = self.ranks.top.shape[1]
        limits = -np.partition(-scores, depth - 1, axis=1)[:, depth - 1]  # negated, as NaN sorts to the end
        for row, ranking, limit in zip(range(rows.start, rows.stop), scores, limits, strict=True):
            # all ties at the limit compete, so that the id decides between them and not the partition
            best = np.flatnonzero(ranking >= limit)
            self.ranks.top[row] = best[np.lexsort((-self.id_order[best], -ranking[best]))][:depth]

    @staticmethod
    def _confidences(scores: NDArray[np.float32], rows: slice, place: int, confidences: Confidences) -> None:
        if np.isnan(scores).any():  # a query's own text: rows are done one by one
            for row, ranking in enumerate(scores):
                kept = ranking[~np.isnan(ranking)][None, :]
                if kept.size:
                    _Work._confidences(kept, slice(rows.start + row, rows.start + row + 1), place, confidences)
            return
        if scores.shape[1] > CONFIDENCE_DEPTH:
            scores = np.partition(scores, scores.shape[1] - CONFIDENCE_DEPTH, axis=1)[:, -CONFIDENCE_DEPTH:]
        highest = scores.max(axis=1).astype(np.float64)
        confidences.highest[rows, place] = highest
        with np.errstate(invalid="ignore"):  # infinite scores have no spread, and nAUC is then none
            confidences.spread[rows, place] = scores.std(axis=1, dtype=np.float64)
            if scores.shape[1] > 1:
                second = np.partition(scores, scores.shape[1] - 2, axis=1)[:, -2]
                confidences.margin[rows, place] = highest - second


def _count_true(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count along the last axis; ten times faster than ``count_nonzero(axis=1)``, which widens every bool first."""
    counts: NDArray[np.int64] = np.bitwise_count(np.packbits(mask, axis=1)).sum(axis=1, dtype=np.int64)
    return counts


def _without_copies(scores: NDArray[np.float32], columns: NDArray[np.int32]) -> NDArray[np.float32]:
    """Make each query's own text NaN, which neither beats nor ties with anything: it is no candidate."""
    rows = np.flatnonzero((columns >= 0) & (columns < scores.shape[1]))
    scores = scores.copy()
    scores[rows, columns[rows]] = np.nan
    return scores


def _checked(scores: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    if scores.shape != shape:
        raise ModelError(f"the model scored a block of shape {scores.shape} where {shape} was expected")
    if np.isnan(scores).any():
        raise ModelError("the model's scores contain NaN: its weights are damaged or overflow in this precision")
    return np.ascontiguousarray(scores, dtype=np.float32)
