"""Count better documents and keep the best scores of queries, block by block.

The state does not depend on how documents are cut into chunks, nor on which process counts which chunk: counts add
up, and the best of all documents are the best of each chunk's best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection
from hbt_bench.distributed import Processes
from hbt_bench.ranking.blocks import Floats, Kernel

#: A candidate set: its index (of a language; the number of languages stands for the pool) and its columns.
Segment = tuple[int, slice]


@dataclass(frozen=True, eq=False)
class RankState:
    """The state of the queries `rows` with the judged pairs `pairs`.

    `scores` (pairs,) are the scores that documents are compared with, NaN if unknown, and `seen` (pairs,) the scores
    met in blocks. `pool` and `block` (pairs,) count the better documents. `top_scores` and `top_columns`
    (rows, depth) are the best of the pool, in order. `best` has the greatest scores (rows, depth) of each segment,
    in any order. Empty entries are -inf, or column -1.
    """

    rows: slice
    pairs: slice
    scores: Floats
    seen: Floats
    pool: NDArray[np.int64]
    block: NDArray[np.int64]
    top_scores: Floats
    top_columns: NDArray[np.int32]
    best: dict[int, Floats]

    @classmethod
    def empty(cls, collection: Collection, rows: slice, depth: int, depths: dict[int, int]) -> RankState:
        """Return the state before any document; `depth` is that of the top, `depths` those of the best scores."""
        pairs = slice(int(collection.qrels.offsets[rows.start]), int(collection.qrels.offsets[rows.stop]))
        count, height = pairs.stop - pairs.start, rows.stop - rows.start
        return cls(
            rows,
            pairs,
            np.full(count, np.nan, np.float32),
            np.full(count, np.nan, np.float32),
            np.zeros(count, np.int64),
            np.zeros(count, np.int64),
            np.full((height, depth), -np.inf, np.float32),
            np.full((height, depth), -1, np.int32),
            {index: np.full((height, size), -np.inf, np.float32) for index, size in depths.items()},
        )

    def select(self, collection: Collection, rows: slice) -> RankState:
        """Return the state of some of the rows, which shares memory with this state."""
        offsets = collection.qrels.offsets
        pairs = slice(int(offsets[rows.start]), int(offsets[rows.stop]))
        local_pairs = slice(pairs.start - self.pairs.start, pairs.stop - self.pairs.start)
        local_rows = slice(rows.start - self.rows.start, rows.stop - self.rows.start)
        return RankState(
            rows,
            pairs,
            self.scores[local_pairs],
            self.seen[local_pairs],
            self.pool[local_pairs],
            self.block[local_pairs],
            self.top_scores[local_rows],
            self.top_columns[local_rows],
            {index: scores[local_rows] for index, scores in self.best.items()},
        )

    def restarted(self, collection: Collection) -> RankState:
        """Return an empty state of the same rows that compares with the scores seen by this state."""
        depths = {index: scores.shape[1] for index, scores in self.best.items()}
        empty = RankState.empty(collection, self.rows, self.top_scores.shape[1], depths)
        return replace(empty, scores=self.seen)

    def merge(self, processes: Processes, id_order: NDArray[np.int32]) -> None:
        """Combine with the states that other processes have of the same rows."""
        for counts in (self.pool, self.block):
            counts[:] = processes.sum(counts)
        # most processes have no document of a language: send an empty array for it
        best = {index: scores if (scores > -np.inf).any() else scores[:, :0] for index, scores in self.best.items()}
        everyone = processes.gather((self.seen, self.top_scores.copy(), self.top_columns.copy(), best))
        self.seen[:] = np.fmax.reduce([seen for seen, *_ in everyone])
        self.top_columns[:] = -1
        for _, scores, columns, _ in everyone:
            rows, depths = np.nonzero(columns >= 0)
            self.merge_top(rows, columns[rows, depths], scores[rows, depths], id_order)
        for index, scores in self.best.items():
            candidates = np.concatenate([others[index] for *_, others in everyone], axis=1)
            if candidates.size:
                scores[:] = _greatest(candidates, scores.shape[1])

    def merge_top(
        self, rows: NDArray[np.int64], columns: NDArray[Any], scores: Floats, id_order: NDArray[np.int32]
    ) -> None:
        """Let new candidates compete with the top: by score, then by document id, both descending."""
        depth = self.top_scores.shape[1]
        old_rows, old_depths = np.nonzero(self.top_columns >= 0)
        rows = np.concatenate([old_rows, rows])
        columns = np.concatenate([self.top_columns[old_rows, old_depths], columns.astype(np.int32)])
        scores = np.concatenate([self.top_scores[old_rows, old_depths], scores])
        order = np.lexsort((-id_order[columns], -scores, rows))
        rows, columns, scores = rows[order], columns[order], scores[order]
        depths = np.arange(len(rows)) - np.searchsorted(rows, rows)
        best = depths < depth
        self.top_scores[rows[best], depths[best]] = scores[best]
        self.top_columns[rows[best], depths[best]] = columns[best]


@dataclass(frozen=True, eq=False)
class RankCounter:
    """Counts blocks of scores into states; `id_order` (documents,) is each column's position in the order of ids."""

    collection: Collection
    kernel: Kernel
    id_order: NDArray[np.int32]

    def count(self, state: RankState, block: Any, chunk: slice, segments: Sequence[Segment]) -> None:
        """Count a block with the collection's columns `chunk`; unknown scores of pairs are read from the block."""
        copies = self.collection.copies
        if copies is not None:
            hidden = copies[state.rows]
            in_chunk = (hidden >= chunk.start) & (hidden < chunk.stop)
            rows = np.nonzero(in_chunk)[0]
            block = self.kernel.hide(block, rows, hidden[in_chunk].astype(np.int64) - chunk.start)
        self._read_pairs(state, block, chunk)
        for index, columns in segments:
            start, stop = max(columns.start, chunk.start), min(columns.stop, chunk.stop)
            if start >= stop:
                continue
            scores = block[:, start - chunk.start : stop - chunk.start]
            pool = index == len(self.collection.languages)
            self._count_better(state, scores, slice(start, stop), columns, state.pool if pool else state.block)
            if pool and state.top_scores.shape[1]:
                self._update_top(state, scores, start)
            if index in state.best:
                self._update_best(state.best[index], scores)

    def _read_pairs(self, state: RankState, block: Any, chunk: slice) -> None:
        qrels = self.collection.qrels
        documents = qrels.documents[state.pairs]
        pairs = np.flatnonzero((documents >= chunk.start) & (documents < chunk.stop))
        rows = qrels.queries[state.pairs][pairs] - state.rows.start
        scores = self.kernel.at(block, rows, documents[pairs].astype(np.int64) - chunk.start)
        state.seen[pairs] = scores
        unknown = np.isnan(state.scores[pairs])
        state.scores[pairs[unknown]] = scores[unknown]

    def _count_better(
        self, state: RankState, block: Any, columns: slice, candidates: slice, counts: NDArray[np.int64]
    ) -> None:
        """Add the better documents of `columns`, a part of `candidates`, for each pair with a document in the latter.

        Ties go to the greater document id, as in trec_eval.
        """
        qrels = self.collection.qrels
        documents = qrels.documents[state.pairs]
        pairs = np.flatnonzero((documents >= candidates.start) & (documents < candidates.stop))
        rows = qrels.queries[state.pairs][pairs] - state.rows.start
        in_columns = (documents[pairs] >= columns.start) & (documents[pairs] < columns.stop)
        # compare the n-th pairs of all queries at once: a call per pair would cost more than the comparison
        nth = np.arange(len(rows)) - np.searchsorted(rows, rows)
        for n in range(nth.max(initial=-1) + 1):
            chosen = nth == n
            row, pair = rows[chosen], pairs[chosen]
            scores = block if len(row) == len(block) else block[row]
            better, equal = self.kernel.compare(scores, state.scores[pair])
            for line in np.flatnonzero(equal > in_columns[chosen]):  # a document other than the pair's has its score
                tied = self.kernel.equal(scores, int(line), state.scores[pair[line]]) + columns.start
                ids = self.id_order[tied[self._competing(tied, state.rows.start + row[line])]]
                better[line] += np.count_nonzero(ids > self.id_order[documents[pair[line]]])
            counts[pair] += better

    def _update_top(self, state: RankState, block: Any, start: int) -> None:
        depth = state.top_scores.shape[1]
        limits = state.top_scores[:, -1].copy()
        if (state.top_columns[:, -1] < 0).any():
            limits = np.maximum(limits, self.kernel.floor(block, min(depth, block.shape[1])))
            if block.shape[1] < depth:
                limits[:] = -np.inf
        # all ties at the limit compete, so that the id decides between them
        rows, columns, scores = self.kernel.reaching(block, limits)
        columns = columns + start
        chosen = np.flatnonzero(self._competing(columns, state.rows.start + rows))
        rows, columns, scores = rows[chosen], columns[chosen], scores[chosen]
        if len(rows):
            chosen = self._contenders(rows, scores, columns, depth)
            state.merge_top(rows[chosen], columns[chosen], scores[chosen], self.id_order)

    def _competing(self, columns: NDArray[Any], queries: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which columns are not a copy of the query: its hidden score ties with a score of -inf."""
        copies = self.collection.copies
        if copies is None:
            return np.ones(len(columns), bool)
        competing: NDArray[np.bool_] = (columns[:, None] != copies[queries]).all(axis=1)
        return competing

    def _contenders(
        self, rows: NDArray[np.int64], scores: Floats, columns: NDArray[np.int64], depth: int
    ) -> NDArray[np.int64]:
        """Return the candidates to sort: if a row has many of equal score, those with the greatest ids."""
        starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
        ends = np.r_[starts[1:], len(rows)]
        crowded = ends - starts > 16 * depth
        if not crowded.any():
            return np.arange(len(rows))
        chosen = [np.flatnonzero(~np.repeat(crowded, ends - starts))]
        for begin, end in zip(starts[crowded], ends[crowded], strict=True):
            ranking = scores[begin:end]
            limit = np.partition(ranking, len(ranking) - depth)[len(ranking) - depth]
            ties = np.flatnonzero(ranking == limit)
            if len(ties) > depth:
                ids = self.id_order[columns[begin + ties]]
                ties = ties[np.argpartition(ids, len(ids) - depth)[len(ids) - depth :]]
            chosen.append(begin + np.concatenate([np.flatnonzero(ranking > limit), ties]))
        return np.sort(np.concatenate(chosen))

    def _update_best(self, best: Floats, block: Any) -> None:
        depth = best.shape[1]
        if np.isneginf(best).all():
            new = self.kernel.largest(block, depth)
            if new.shape[1] == depth:
                best[:] = new
                return
        else:
            limits = best.min(axis=1)
            rows, _, scores = self.kernel.reaching(block, np.nextafter(limits, np.float32(np.inf)))
            if not len(rows):
                return
            depths = np.arange(len(rows)) - np.searchsorted(rows, rows)
            new = np.full((len(best), depths.max() + 1), -np.inf, np.float32)
            new[rows, depths] = scores
        best[:] = _greatest(np.concatenate([best, new], axis=1), depth)


def _greatest(scores: Floats, depth: int) -> Floats:
    dropped = scores.shape[1] - depth
    return np.partition(scores, dropped, axis=1)[:, dropped:]
