"""The engine: exact ranks of the relevant documents, for all modes in one pass over the scores.

A rank is 1 + the number of documents that are better: a higher float32 score, or the same score and a greater
document id (trec_eval's rule). Counting needs no sort and no cut-off, so ranks are exact at any depth. Documents are
taken in chunks, so memory is bounded whatever the pool; a chunk may be another process's, since counts add up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection
from hbt_bench.distributed import ALONE, Processes
from hbt_bench.ranking.blocks import Blocks, BlockScorer, Scorer, WholeRows
from hbt_bench.ranking.rank_counter import RankCounter, RankState, Segment
from hbt_bench.ranking.stream import Stream

#: How many top documents of the pool are kept per query.
TOP_K = 20
#: nAUC's confidences look at the best 1,000 scores, which is where MTEB cuts a ranking.
CONFIDENCE_DEPTH = 1000
#: Bytes of the scores that are kept of queries while documents are taken in chunks.
_STATE_BYTES = 1 << 28


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
    pool: Scorer | BlockScorer,
    blocks: Mapping[str, Scorer] | None = None,
    *,
    confidences: bool = True,
    processes: Processes = ALONE,
    progress: Callable[[int], object] = lambda rows: None,
) -> tuple[Ranks, Confidences | None]:
    """Rank the relevant documents of every query in the pool and in each language's block.

    `pool` scores all documents in the collection's order. `blocks` are scorers of single languages, for models
    whose scores depend on the candidate set (BM25); without them a block is read out of the pool's scores.
    `processes` share the documents where the scorer gives blocks, and all of them return the same.
    `progress` is told the number of queries done.

    Raises `ModelError` for a score that is NaN or a matrix of the wrong shape.
    """
    work = _Pass.over(collection, confidences)
    everything = slice(0, len(collection.documents))
    languages = list(enumerate(collection.languages))
    if blocks is None:
        columns = [(place, collection.document_blocks[code]) for place, code in languages]
        work.run(pool, [*columns, (len(languages), everything)], processes, progress)
        return work.ranks, work.confidences
    for place, code in languages:
        block = collection.document_blocks[code]
        if block.start < block.stop:
            work.run(blocks[code], [(place, block)], ALONE, lambda rows: None)
    work.run(pool, [(len(languages), everything)], ALONE, progress)
    return work.ranks, work.confidences


@dataclass(frozen=True, eq=False)
class _Pass:
    """The arrays that are filled, a group of queries at a time."""

    collection: Collection
    id_order: NDArray[np.int32]
    ranks: Ranks
    confidences: Confidences | None

    @classmethod
    def over(cls, collection: Collection, confidences: bool) -> _Pass:
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

    def run(
        self,
        scorer: Scorer | BlockScorer,
        segments: Sequence[Segment],
        processes: Processes,
        progress: Callable[[int], object],
    ) -> None:
        """Rank within each segment of columns."""
        pool = len(self.collection.languages)
        depths: dict[int, int] = {}
        if self.confidences is not None:
            widths = {place: columns.stop - columns.start for place, columns in segments}
            depths = {place: min(CONFIDENCE_DEPTH, width) for place, width in widths.items() if width}
        depth = self.ranks.top.shape[1] if pool in dict(segments) else 0
        if isinstance(scorer, BlockScorer):
            blocks: Blocks = scorer.blocks()
        else:
            span = slice(min(columns.start for _, columns in segments), max(columns.stop for _, columns in segments))
            blocks, processes = WholeRows(scorer, span, len(self.collection.queries)), ALONE
        with Stream(RankCounter(self.collection, blocks.kernel, self.id_order), blocks, segments, processes) as stream:
            size = stream.group_size(_STATE_BYTES // (4 * (2 * depth + sum(depths.values()) + 1)))

            def group(start: int) -> None:
                rows = slice(start, min(start + size, len(self.collection.queries)))
                tally = stream.count(RankState.empty(self.collection, rows, depth, depths), progress)
                self._finish(tally, segments)

            stream.over_groups(group, range(0, len(self.collection.queries), size))

    def _finish(self, tally: RankState, segments: Sequence[Segment]) -> None:
        qrels = self.collection.qrels
        pool = len(self.collection.languages)
        for place, columns in segments:
            if place == pool:
                self.ranks.pool[tally.pairs] = tally.pool + 1
                self.ranks.top[tally.rows] = tally.top_columns
            else:
                documents = qrels.documents[tally.pairs]
                inside = np.flatnonzero((documents >= columns.start) & (documents < columns.stop))
                self.ranks.block[tally.pairs.start + inside] = tally.block[inside] + 1
            if self.confidences is not None and place in tally.best:
                candidates = np.full(tally.rows.stop - tally.rows.start, columns.stop - columns.start)
                if self.collection.copies is not None:  # a query's own text is no candidate
                    own = self.collection.copies[tally.rows]
                    candidates -= (own >= columns.start) & (own < columns.stop)
                _confide(self.confidences, tally.rows, place, tally.best[place], candidates)


def _confide(
    confidences: Confidences, rows: slice, place: int, best: NDArray[np.float32], candidates: NDArray[np.int64]
) -> None:
    """Statistics of the greatest scores of a segment; sorted first, as the order of a sum decides its last bits.

    `candidates` (rows,) is the number of documents in the segment that compete. Infinite scores have no spread.
    """
    best = -np.sort(-best, axis=1)
    counts = np.minimum(candidates, best.shape[1])
    for count in np.unique(counts[counts > 0]):
        at = np.flatnonzero(counts == count)
        scores = np.ascontiguousarray(best[at][:, :count])
        highest = scores[:, 0].astype(np.float64)
        confidences.highest[rows.start + at, place] = highest
        with np.errstate(invalid="ignore"):
            confidences.spread[rows.start + at, place] = scores.std(axis=1, dtype=np.float64)
            if count > 1:
                confidences.margin[rows.start + at, place] = highest - scores[:, 1]
