"""The engine: exact ranks of the relevant documents, for all modes in a single pass over the scores.

A rank is 1 + the number of better documents: those with a higher float32 score, or the same score and a greater
document id (trec_eval's rule). Counting needs no sort and no cut-off, so ranks are exact at any depth. Documents come
in chunks, so memory is bounded for any pool; other processes may take some of the chunks, since counts add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection
from hbt_bench.distributed import ALONE, Processes
from hbt_bench.errors import ModelError
from hbt_bench.identity.task_name import Mode
from hbt_bench.ranking.blocks import Blocks, BlockScorer, Scorer, WholeRows
from hbt_bench.ranking.rank_counter import RankCounter, RankState, Segment

#: Documents in the stored top of each query's ranking.
TOP_K = 20
#: nAUC's confidences use the best 1,000 scores, where MTEB cuts a ranking.
CONFIDENCE_DEPTH = 1000
#: The rank of a relevant document that is not a candidate, since it is the query's own text. trec_eval and MTEB count
#: such a document as not retrieved: its reciprocal is 0 to nine digits, and it is below every cut-off.
UNRETRIEVED = int(np.iinfo(np.int32).max)
#: The rank of a relevant document that a cut run does not have: it is below the cut, at an unknown rank.
BELOW_CUT = UNRETRIEVED - 1
#: Bytes of best scores in memory while documents come in chunks.
_STATE_BYTES = 1 << 28

#: Receives the number of queries done since the last call.
Progress = Callable[[int], object]


@runtime_checkable
class ScoringModel(Protocol):
    """A model that scores candidate sets itself instead of returning vectors."""

    def scorers(self, collection: Collection) -> tuple[Scorer | BlockScorer, Mapping[str, Scorer] | None]:
        """Return a scorer of the pool, and of each language's documents if their scores are not those of the pool."""


@runtime_checkable
class RankedModel(Protocol):
    """A model with existing rankings, such as those of a run."""

    def ranks_in(self, collection: Collection, mode: Mode) -> Ranks:
        """Return the ranks in a mode, with the cut of the run."""


def run_depth(model: Any, collection: Collection, mode: Mode) -> int | None:
    """Return the depth of the rankings of a run, None for a model that ranks all documents."""
    cut = model.ranks_in(collection, mode).cut if isinstance(model, RankedModel) else None
    return cut.depth if cut else None


@dataclass(frozen=True, eq=False)
class Cut:
    """The ends of the rankings of a run, which has the best documents only.

    `depth` is the number of documents up to which every ranking is complete. `lengths` (queries, languages + 1) are the
    documents that the run has of each query among those of a language and, last, of the pool; 0 for no ranking.
    """

    depth: int
    lengths: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Ranks:
    """Exact ranks of the judged pairs, and the top of every query's ranking.

    `pool` and `block` (pairs,) are the ranks, from 1, of each pair of the collection's qrels among all documents and
    among the documents of its language, or `UNRETRIEVED`. `top` (queries, min(TOP_K, candidates)) has the columns of
    the best documents in the pool, best first. In the ranks of a run, `cut` has the ends of its rankings, the rank of a
    document that a ranking does not have is `BELOW_CUT`, and `top` is as wide as the shortest ranking.

    For example, ``ranks.pool[offsets[q]:offsets[q + 1]]``, with the offsets of the qrels, are the ranks of query q.
    """

    pool: NDArray[np.int32]
    block: NDArray[np.int32]
    top: NDArray[np.int32]
    cut: Cut | None = None

    def __repr__(self) -> str:
        return f"Ranks({len(self.pool):,} ranks of {len(self.top):,} queries)"


@dataclass(frozen=True, eq=False)
class Confidences:
    """The model's confidence per query and candidate set, for nAUC (arXiv 2402.12997).

    Each array is (queries, languages + 1), float64, over the best 1,000 scores; the last column is the pool.
    `highest` is the best score, `spread` the standard deviation, `margin` the best minus the second best.
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
    progress: Progress = lambda rows: None,
) -> tuple[Ranks, Confidences | None]:
    """Rank the relevant documents of every query in the pool and in each language's block.

    `pool` scores all documents in the collection's order. `blocks` are scorers of single languages, for models with
    scores that depend on the candidate set (BM25); without them, a block is read from the pool's scores. `processes`
    share the documents if the scorer gives blocks, and each returns the same ranks. `progress` receives the number
    of queries done since its last call. Raises `ModelError` for a NaN score or a matrix of the wrong shape.

    Example:
        ranks, _ = rank(collection, DenseScorer.from_collection(collection, encoder))
        ranks.pool.mean()  # the mean rank of the relevant documents in the pool
    """
    engine = _Engine.empty(collection, confidences)
    pool_segment = (len(collection.languages), slice(0, len(collection.documents)))
    languages = list(enumerate(collection.languages))
    if blocks is None:
        segments = [(index, collection.document_blocks[code]) for index, code in languages]
        engine.run(pool, [*segments, pool_segment], processes, progress)
        return engine.ranks, engine.confidences
    for index, code in languages:
        block = collection.document_blocks[code]
        if block.start < block.stop:
            engine.run(blocks[code], [(index, block)], ALONE, lambda rows: None)
    engine.run(pool, [pool_segment], ALONE, progress)
    return engine.ranks, engine.confidences


@dataclass(frozen=True, eq=False)
class _Engine:
    """The arrays of ranks and confidences, which are filled for a group of queries at a time."""

    collection: Collection
    id_order: NDArray[np.int32]
    ranks: Ranks
    confidences: Confidences | None

    @classmethod
    def empty(cls, collection: Collection, confidences: bool) -> _Engine:
        documents, queries = len(collection.documents), len(collection.queries)
        id_order = np.empty(documents, dtype=np.int32)
        id_order[sorted(range(documents), key=lambda column: collection.documents[column].id)] = np.arange(documents)
        pairs = len(collection.qrels.documents)
        candidates = documents if collection.copies is None else max(0, documents - collection.copies.shape[1])
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
        self, scorer: Scorer | BlockScorer, segments: Sequence[Segment], processes: Processes, progress: Progress
    ) -> None:
        """Rank within each segment of columns."""
        pool = len(self.collection.languages)
        depths: dict[int, int] = {}
        if self.confidences is not None:
            widths = {index: columns.stop - columns.start for index, columns in segments}
            depths = {index: min(CONFIDENCE_DEPTH, width) for index, width in widths.items() if width}
        depth = self.ranks.top.shape[1] if pool in dict(segments) else 0
        if isinstance(scorer, BlockScorer):
            blocks: Blocks = scorer.blocks()
        else:
            span = slice(min(columns.start for _, columns in segments), max(columns.stop for _, columns in segments))
            blocks, processes = WholeRows(scorer, span, len(self.collection.queries)), ALONE
        counter = RankCounter(self.collection, blocks.kernel, self.id_order)
        with _Stream(counter, blocks, segments, processes) as stream:
            size = stream.group_size(_STATE_BYTES // (4 * (2 * depth + sum(depths.values()) + 1)))

            def rank_group(start: int) -> None:
                rows = slice(start, min(start + size, len(self.collection.queries)))
                state = stream.count(RankState.empty(self.collection, rows, depth, depths), progress)
                self._store(state, segments)

            stream.over_groups(rank_group, range(0, len(self.collection.queries), size))

    def _store(self, state: RankState, segments: Sequence[Segment]) -> None:
        qrels = self.collection.qrels
        pool = len(self.collection.languages)
        for index, columns in segments:
            if index == pool:
                self.ranks.pool[state.pairs] = state.pool + 1
                self.ranks.top[state.rows] = state.top_columns
            else:
                documents = qrels.documents[state.pairs]
                pairs = np.flatnonzero((documents >= columns.start) & (documents < columns.stop))
                self.ranks.block[state.pairs.start + pairs] = state.block[pairs] + 1
            for ranks in (self.ranks.pool, self.ranks.block):
                ranks[state.pairs][self.collection.own_pairs[state.pairs]] = UNRETRIEVED
            if self.confidences is not None and index in state.best:
                candidates = np.full(state.rows.stop - state.rows.start, columns.stop - columns.start)
                if self.collection.copies is not None:  # a query's copies are not candidates
                    copies = self.collection.copies[state.rows]
                    candidates -= ((copies >= columns.start) & (copies < columns.stop)).sum(axis=1)
                _store_confidences(self.confidences, state.rows, index, state.best[index], candidates)


def _store_confidences(
    confidences: Confidences, rows: slice, index: int, best: NDArray[np.float32], candidates: NDArray[np.int64]
) -> None:
    """Compute the statistics of a segment's greatest scores; `candidates` (rows,) are the documents that compete.

    Scores are sorted first, as the order of a sum decides its last bits. Infinite scores have no spread.
    """
    best = -np.sort(-best, axis=1)
    counts = np.minimum(candidates, best.shape[1])
    for count in np.unique(counts[counts > 0]):
        lines = np.flatnonzero(counts == count)
        scores = np.ascontiguousarray(best[lines][:, :count])
        highest = scores[:, 0].astype(np.float64)
        confidences.highest[rows.start + lines, index] = highest
        with np.errstate(invalid="ignore"):
            confidences.spread[rows.start + lines, index] = scores.std(axis=1, dtype=np.float64)
            if count > 1:
                confidences.margin[rows.start + lines, index] = highest - scores[:, 1]


class _Stream:
    """Passes this process's chunks of documents through states, and merges them with those of other processes.

    If all documents are in a single chunk, the scores of judged pairs are read from the block. Otherwise they are
    computed first, since documents of earlier chunks are compared with them. If a product rounded a pair's score
    differently from its block, a second pass compares with the block's scores.
    """

    def __init__(self, counter: RankCounter, blocks: Blocks, segments: Sequence[Segment], processes: Processes) -> None:
        self.counter = counter
        self.blocks = blocks
        self.segments = segments
        self.processes = processes
        self.chunks = blocks.chunks(processes.rank, processes.count)
        self._single_chunk = processes.count == 1 and len(self.chunks) == 1
        self._columns: Any = None
        self._threads: ThreadPoolExecutor | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        count = self._stack.enter_context(self.blocks.threads())
        if count:
            self._threads = ThreadPoolExecutor(count, initializer=self.blocks.start_thread)
            self._stack.callback(self._threads.shutdown, cancel_futures=True)
        if self._single_chunk:
            self._columns = self.blocks.columns(self.chunks[0])
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def group_size(self, most: int) -> int:
        """Return the number of queries to rank together if the state of `most` queries fits into memory."""
        height = self.blocks.height
        return height if self._single_chunk else max(height, most // height * height)

    def over_groups(self, work: Callable[[int], None], groups: Iterable[int]) -> None:
        """Do the work of every group: in parallel if each group is a block, else in order."""
        if self._single_chunk:
            self._each(work, groups)
        else:
            for group in groups:
                work(group)

    def count(self, state: RankState, progress: Progress) -> RankState:
        """Fill an empty state; raises `ModelError` for a NaN score."""
        if self._single_chunk:
            self._count_block(state, self.chunks[0], self._columns)
            progress(state.rows.stop - state.rows.start)
            return state
        self._score_pairs(state)
        self._pass(state, progress)
        for _ in range(2):
            state.merge(self.processes, self.counter.id_order)
            if np.array_equal(state.seen, state.scores):
                return state
            state = state.restarted(self.counter.collection)
            self._pass(state, lambda rows: None)
        raise AssertionError("a pair's score changed each time that it was computed")

    def _score_pairs(self, state: RankState) -> None:
        """Compute the scores of the judged pairs."""
        qrels = self.counter.collection.qrels
        columns = qrels.documents[state.pairs].astype(np.int64)
        rows = qrels.queries[state.pairs]
        mine = np.zeros(len(rows), bool)
        for chunk in self.chunks:
            mine |= (columns >= chunk.start) & (columns < chunk.stop)
        pairs = np.flatnonzero(mine)
        cuts = np.flatnonzero(np.diff(rows[pairs] // self.blocks.height)) + 1

        def score(tile: Any) -> None:
            state.scores[tile] = self.blocks.pairs(rows[tile], columns[tile])

        self._each(score, np.split(pairs, cuts) if len(pairs) else [])
        state.scores[:] = np.fmax.reduce(self.processes.gather(state.scores.copy()))
        state.scores[self.counter.collection.own_pairs[state.pairs]] = -np.inf  # as in the block, which hides them

    def _pass(self, state: RankState, progress: Progress) -> None:
        height, rows = self.blocks.height, state.rows
        reported = 0
        for number, chunk in enumerate(self.chunks, 1):
            columns = self.blocks.columns(chunk)
            tiles = [slice(start, min(start + height, rows.stop)) for start in range(rows.start, rows.stop, height)]

            def count(tile: slice, chunk: slice = chunk, columns: Any = columns) -> None:
                self._count_block(state.select(self.counter.collection, tile), chunk, columns)

            self._each(count, tiles)
            done = (rows.stop - rows.start) * number // len(self.chunks)
            progress(done - reported)
            reported = done
        progress(rows.stop - rows.start - reported)  # all queries, if this process has no documents

    def _count_block(self, state: RankState, chunk: slice, columns: Any) -> None:
        block = self.blocks.block(state.rows, chunk, columns)
        if self.counter.kernel.has_nan(block):
            raise ModelError("the model's scores contain NaN: its weights are damaged or overflow in this precision")
        self.counter.count(state, block, chunk, self.segments)

    def _each(self, work: Callable[[Any], None], items: Iterable[Any]) -> None:
        if self._threads is None:
            for item in items:
                work(item)
        else:
            list(self._threads.map(work, items))  # list() raises an exception of a thread here
