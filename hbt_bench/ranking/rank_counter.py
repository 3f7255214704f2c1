"""What is kept of some queries' scores while the documents stream by: counts, and the best so far.

A tally does not depend on how the documents were cut into chunks, nor on which process looked at which: counts add
up, and the best of all are the best of the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection
from hbt_bench.distributed import Processes
from hbt_bench.ranking.kernels import Floats, Kernel

#: A candidate set: its number (a language's, or the number of languages for the pool) and its columns.
Segment = tuple[int, slice]


@dataclass(frozen=True, eq=False)
class RankState:
    """The state of the queries `rows`, whose judged pairs are `pairs`.

    `scores` (pairs,) are the scores that documents are counted against, NaN where not known, and `seen` those that
    were met. `pool` and `block` (pairs,) count the better documents. `top_scores` and `top_columns` (rows, depth)
    are the best of the pool, in order; `best` has for each segment its greatest scores (rows, depth), in any order.
    What is not filled is -inf, or column -1.
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
        """A tally before any document; `depth` of the top, and of each segment's greatest scores."""
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
            {place: np.full((height, size), -np.inf, np.float32) for place, size in depths.items()},
        )

    def part(self, collection: Collection, rows: slice) -> RankState:
        """The tally of some of the rows, which shares memory with this one."""
        offsets = collection.qrels.offsets
        pairs = slice(int(offsets[rows.start]), int(offsets[rows.stop]))
        inside = slice(pairs.start - self.pairs.start, pairs.stop - self.pairs.start)
        lines = slice(rows.start - self.rows.start, rows.stop - self.rows.start)
        return RankState(
            rows,
            pairs,
            self.scores[inside],
            self.seen[inside],
            self.pool[inside],
            self.block[inside],
            self.top_scores[lines],
            self.top_columns[lines],
            {place: scores[lines] for place, scores in self.best.items()},
        )

    def again(self) -> RankState:
        """An empty tally of the same rows that counts against the scores that this one has seen."""
        return replace(
            self,
            scores=self.seen.copy(),
            seen=np.full_like(self.seen, np.nan),
            pool=np.zeros_like(self.pool),
            block=np.zeros_like(self.block),
            top_scores=np.full_like(self.top_scores, -np.inf),
            top_columns=np.full_like(self.top_columns, -1),
            best={place: np.full_like(scores, -np.inf) for place, scores in self.best.items()},
        )

    def merge(self, processes: Processes, id_order: NDArray[np.int32]) -> None:
        """Add up with the tallies that other processes have of the same rows."""
        for counts in (self.pool, self.block):
            counts[:] = processes.sum(counts)
        # most processes have nothing of a language: an empty array is sent for it
        best = {place: scores if (scores > -np.inf).any() else scores[:, :0] for place, scores in self.best.items()}
        everyone = processes.gather((self.seen, self.top_scores.copy(), self.top_columns.copy(), best))
        self.seen[:] = np.fmax.reduce([seen for seen, *_ in everyone])
        self.top_columns[:] = -1
        for _, scores, columns, _ in everyone:
            rows, places = np.nonzero(columns >= 0)
            self._merge_top(rows, columns[rows, places], scores[rows, places], id_order)
        for place, own in self.best.items():
            together = np.concatenate([theirs[place] for *_, theirs in everyone], axis=1)
            if together.size:
                own[:] = _greatest(together, own.shape[1])

    def _merge_top(
        self, rows: NDArray[np.int64], columns: NDArray[Any], scores: Floats, id_order: NDArray[np.int32]
    ) -> None:
        """Let new candidates compete with the top so far: by score, then by document id."""
        depth = self.top_scores.shape[1]
        old_rows, old_places = np.nonzero(self.top_columns >= 0)
        rows = np.concatenate([old_rows, rows])
        columns = np.concatenate([self.top_columns[old_rows, old_places], columns.astype(np.int32)])
        scores = np.concatenate([self.top_scores[old_rows, old_places], scores])
        order = np.lexsort((-id_order[columns], -scores, rows))
        rows, columns, scores = rows[order], columns[order], scores[order]
        places = np.arange(len(rows)) - np.searchsorted(rows, rows)
        kept = places < depth
        self.top_scores[rows[kept], places[kept]] = scores[kept]
        self.top_columns[rows[kept], places[kept]] = columns[kept]


@dataclass(frozen=True, eq=False)
class RankCounter:
    """Takes blocks of scores into tallies; `id_order` (documents,) is each column's place in the order of ids."""

    collection: Collection
    kernel: Kernel
    id_order: NDArray[np.int32]

    def take(self, tally: RankState, block: Any, chunk: slice, segments: Sequence[Segment]) -> None:
        """Count a block whose columns are the collection's `chunk`; scores that are not known are read from it."""
        copies = self.collection.copies
        if copies is not None:
            own = copies[tally.rows]
            rows = np.flatnonzero((own >= chunk.start) & (own < chunk.stop))
            block = self.kernel.hide(block, rows, own[rows].astype(np.int64) - chunk.start)
        self._see(tally, block, chunk)
        for place, columns in segments:
            start, stop = max(columns.start, chunk.start), min(columns.stop, chunk.stop)
            if start >= stop:
                continue
            segment = block[:, start - chunk.start : stop - chunk.start]
            pool = place == len(self.collection.languages)
            self._count(tally, segment, slice(start, stop), columns, tally.pool if pool else tally.block)
            if pool and tally.top_scores.shape[1]:
                self._top(tally, segment, start)
            if place in tally.best:
                self._best(tally.best[place], segment)

    def _see(self, tally: RankState, block: Any, chunk: slice) -> None:
        qrels = self.collection.qrels
        documents = qrels.documents[tally.pairs]
        inside = np.flatnonzero((documents >= chunk.start) & (documents < chunk.stop))
        rows = qrels.queries[tally.pairs][inside] - tally.rows.start
        found = self.kernel.at(block, rows, documents[inside].astype(np.int64) - chunk.start)
        tally.seen[inside] = found
        unknown = np.isnan(tally.scores[inside])
        tally.scores[inside[unknown]] = found[unknown]

    def _count(self, tally: RankState, segment: Any, columns: slice, whole: slice, into: NDArray[np.int64]) -> None:
        """Count the better documents in `columns`, a part of the candidates `whole`, for pairs of the latter."""
        qrels = self.collection.qrels
        documents = qrels.documents[tally.pairs]
        pairs = np.flatnonzero((documents >= whole.start) & (documents < whole.stop))
        row = qrels.queries[tally.pairs][pairs] - tally.rows.start
        here = (documents[pairs] >= columns.start) & (documents[pairs] < columns.stop)
        # the n-th pairs of all queries are compared in one call; a call per pair would cost more than it compares
        nth = np.arange(len(row)) - np.searchsorted(row, row)
        for n in range(nth.max(initial=-1) + 1):
            now = nth == n
            at, pair = row[now], pairs[now]
            scores = segment if len(at) == len(segment) else segment[at]
            better, equal = self.kernel.compare(scores, tally.scores[pair])
            for place in np.flatnonzero(equal > here[now]):  # others than the document itself
                tied = self.kernel.equal(scores, int(place), tally.scores[pair[place]]) + columns.start
                ids = self.id_order[tied[self._competing(tied, tally.rows.start + at[place])]]
                better[place] += np.count_nonzero(ids > self.id_order[documents[pair[place]]])
            into[pair] += better

    def _top(self, tally: RankState, segment: Any, start: int) -> None:
        depth = tally.top_scores.shape[1]
        limits = tally.top_scores[:, -1].copy()
        if (tally.top_columns[:, -1] < 0).any():
            limits = np.maximum(limits, self.kernel.floor(segment, min(depth, segment.shape[1])))
            if segment.shape[1] < depth:
                limits[:] = -np.inf
        # all ties at the limit compete, so that the id decides between them
        rows, columns, scores = self.kernel.reaching(segment, limits)
        columns = columns + start
        kept = np.flatnonzero(self._competing(columns, tally.rows.start + rows))
        rows, columns, scores = rows[kept], columns[kept], scores[kept]
        if len(rows):
            kept = self._contenders(rows, scores, columns, depth)
            tally._merge_top(rows[kept], columns[kept], scores[kept], self.id_order)

    def _competing(self, columns: NDArray[Any], queries: NDArray[Any]) -> NDArray[np.bool_]:
        """Which columns are not the query's own text: a hidden score ties with one that is -inf by itself."""
        copies = self.collection.copies
        return np.ones(len(columns), bool) if copies is None else np.not_equal(columns, copies[queries])

    def _contenders(
        self, rows: NDArray[np.int64], scores: Floats, columns: NDArray[np.int64], depth: int
    ) -> NDArray[np.int64]:
        """Which candidates are worth sorting: where a row has many of one score, those with the greatest ids."""
        starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
        ends = np.r_[starts[1:], len(rows)]
        crowded = ends - starts > 16 * depth
        if not crowded.any():
            return np.arange(len(rows))
        kept = [np.flatnonzero(~np.repeat(crowded, ends - starts))]
        for begin, end in zip(starts[crowded], ends[crowded], strict=True):
            ranking = scores[begin:end]
            limit = np.partition(ranking, len(ranking) - depth)[len(ranking) - depth]
            ties = np.flatnonzero(ranking == limit)
            if len(ties) > depth:
                ids = self.id_order[columns[begin + ties]]
                ties = ties[np.argpartition(ids, len(ids) - depth)[len(ids) - depth :]]
            kept.append(begin + np.concatenate([np.flatnonzero(ranking > limit), ties]))
        return np.sort(np.concatenate(kept))

    def _best(self, best: Floats, segment: Any) -> None:
        depth = best.shape[1]
        if np.isneginf(best).all():
            new = self.kernel.largest(segment, depth)
            if new.shape[1] == depth:
                best[:] = new
                return
        else:
            limits = best.min(axis=1)
            rows, _, scores = self.kernel.reaching(segment, np.nextafter(limits, np.float32(np.inf)))
            if not len(rows):
                return
            places = np.arange(len(rows)) - np.searchsorted(rows, rows)
            new = np.full((len(best), places.max() + 1), -np.inf, np.float32)
            new[rows, places] = scores
        best[:] = _greatest(np.concatenate([best, new], axis=1), depth)


def _greatest(scores: Floats, depth: int) -> Floats:
    kept = scores.shape[1] - depth
    return np.partition(scores, kept, axis=1)[:, kept:]
