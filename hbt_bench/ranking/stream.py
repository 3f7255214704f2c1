"""Documents stream past the queries, chunk by chunk, on one process or many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Self

import numpy as np

from hbt_bench.distributed import Processes
from hbt_bench.errors import ModelError
from hbt_bench.ranking.blocks import Blocks
from hbt_bench.ranking.rank_counter import RankCounter, RankState, Segment

#: Called with a number of queries done.
Progress = Callable[[int], object]


class Stream:
    """Takes tallies past this process's chunks, and adds them up with those of the others.

    With all documents in one chunk, the scores that others are counted against are read from the block itself. Else
    they are computed beforehand, since a document may be better than one of a later chunk; should a product have
    rounded them otherwise than the block that they belong to, the pass is made again with what was seen.
    """

    def __init__(self, counter: RankCounter, blocks: Blocks, segments: Sequence[Segment], processes: Processes) -> None:
        self.counter = counter
        self.blocks = blocks
        self.segments = segments
        self.processes = processes
        self.chunks = blocks.chunks(processes.rank, processes.count)
        self._whole = processes.count == 1 and len(self.chunks) == 1
        self._columns: Any = None
        self._threads: ThreadPoolExecutor | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        count = self._stack.enter_context(self.blocks.threads())
        if count:
            self._threads = ThreadPoolExecutor(count, initializer=self.blocks.start_thread)
            self._stack.callback(self._threads.shutdown, cancel_futures=True)
        if self._whole:
            self._columns = self.blocks.columns(self.chunks[0])
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def group_size(self, most: int) -> int:
        """How many queries to take together, if the state of `most` fits into memory."""
        height = self.blocks.height
        return height if self._whole else max(height, most // height * height)

    def over_groups(self, work: Callable[[int], None], groups: Iterable[int]) -> None:
        """Do the work of every group: side by side where each is a block, else one after the other."""
        if self._whole:
            self._each(work, groups)
        else:
            for group in groups:
                work(group)

    def count(self, tally: RankState, progress: Progress) -> RankState:
        """Fill an empty tally; raises `ModelError` for a score that is NaN."""
        if self._whole:
            self._block(tally, self.chunks[0], self._columns)
            progress(tally.rows.stop - tally.rows.start)
            return tally
        self._know(tally)
        self._past(tally, progress)
        for _ in range(2):
            tally.merge(self.processes, self.counter.id_order)
            if np.array_equal(tally.seen, tally.scores):
                return tally
            tally = tally.again()
            self._past(tally, lambda rows: None)
        raise AssertionError("a pair had another score each time that it was computed")

    def _know(self, tally: RankState) -> None:
        """Compute the scores of the judged pairs."""
        qrels = self.counter.collection.qrels
        columns = qrels.documents[tally.pairs].astype(np.int64)
        rows = qrels.queries[tally.pairs]
        own = np.zeros(len(rows), bool)
        for chunk in self.chunks:
            own |= (columns >= chunk.start) & (columns < chunk.stop)
        pairs = np.flatnonzero(own)
        cuts = np.flatnonzero(np.diff(rows[pairs] // self.blocks.height)) + 1

        def compute(part: Any) -> None:
            tally.scores[part] = self.blocks.pairs(rows[part], columns[part])

        self._each(compute, np.split(pairs, cuts) if len(pairs) else [])
        tally.scores[:] = np.fmax.reduce(self.processes.gather(tally.scores.copy()))

    def _past(self, tally: RankState, progress: Progress) -> None:
        height, rows = self.blocks.height, tally.rows
        told = 0
        for number, chunk in enumerate(self.chunks, 1):
            columns = self.blocks.columns(chunk)
            parts = [slice(start, min(start + height, rows.stop)) for start in range(rows.start, rows.stop, height)]

            def take(part: slice, chunk: slice = chunk, columns: Any = columns) -> None:
                self._block(tally.part(self.counter.collection, part), chunk, columns)

            self._each(take, parts)
            done = (rows.stop - rows.start) * number // len(self.chunks)
            progress(done - told)
            told = done
        progress(rows.stop - rows.start - told)  # all of them for a process without documents

    def _block(self, tally: RankState, chunk: slice, columns: Any) -> None:
        block = self.blocks.block(tally.rows, chunk, columns)
        if self.counter.kernel.has_nan(block):
            raise ModelError("the model's scores contain NaN: its weights are damaged or overflow in this precision")
        self.counter.take(tally, block, chunk, self.segments)

    def _each(self, work: Callable[[Any], None], items: Iterable[Any]) -> None:
        if self._threads is None:
            for item in items:
                work(item)
        else:
            list(self._threads.map(work, items))  # list() so that an exception of a thread is raised here
