"""The plan of a run: every batch as a pure function of sources, strategies, seed and step.

A plan depends on no model, process or worker, so training, resuming and previews see the same batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import DataError, UsageError
from hbt_bench.training import counter_rng
from hbt_bench.training.clashes import Clashes
from hbt_bench.training.draws import Cursor, Draw, TextDraw, pick
from hbt_bench.training.parallel import MISSING, ParallelText
from hbt_bench.training.strategies import BatchType, Phase, WeightedSource

When = Literal["before", "after", "mixed"]
#: Shares of rows by source, type of batch, query language and passage language.
BatchShares = dict[tuple[str, str, str, str], float]

#: Bytes of memory for lists of the items of language pairs; fully parallel sources need no list.
_ITEM_LISTS = 64 << 20
#: Random substitutes that are tried for an item that clashes, before all items are tried in order.
_RANDOM_TRIES = 32
#: Other language pairs that a row may try if every item of its pair clashes.
_OTHER_PAIRS = 100
#: Items to choose from for each row of a batch that random substitutes do not fill.
_CHOICE = 16

# the purpose of a random number, the first key of every draw; `draws` has more
_PHASE, _SOURCE, _TYPE, _PAIR, _ORDER, _SUBSTITUTE, _OTHER_PAIR, _PARALLEL = range(8)
_DISTINCT, _DISTINCT_PAIR = 12, 13  # 8 to 11 are those of `draws`


class Batch(NamedTuple):
    """The rows of a training step.

    With B rows: `items` (B,) are indices of items in `source`; `queries`, `passages` (B,) and `negatives`
    (B, `source.depth`) are indices of texts; `pairs` (B, 2) are the languages of query and passage; `parallel` (B,) is
    the same query in another language, or the query itself if no other language has it.
    """

    step: int
    source: ParallelText
    type: str
    items: NDArray[np.int32]
    pairs: NDArray[np.int64]
    queries: NDArray[np.int32]
    passages: NDArray[np.int32]
    negatives: NDArray[np.int32]
    parallel: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """All batches of a run; `batch_size` counts the rows of a step over all processes.

    `instruction_share` of the steps draw from the sources of the instruction phase. `when` puts these steps at the
    start, at the end, or mixes them in. `pivot` is the language of `Batch.parallel` if the item has it. Raises
    `DataError` or `UsageError` if a batch could not be drawn.

    Example:
        source = ParallelText.from_items("faq", items)
        mix = BatchMix.from_strategy("hybrid", 0.5, "mixed", source)
        plan = BatchPlan((WeightedSource(source, 1.0, mix),), batch_size=32, steps=1000, seed=0)
        plan.batch_at(17).type  # "mono" or "cross"
    """

    sources: tuple[WeightedSource, ...]
    batch_size: int
    steps: int
    seed: int
    instruction_share: float = 0.0
    when: When = "after"
    pivot: str = "en"

    def __post_init__(self) -> None:
        _ = self.source_shares  # raises UsageError if nothing can be drawn
        for weighted in self.sources:
            if len(weighted.source) < self.batch_size:
                raise DataError(
                    f"{weighted.source.name} has {len(weighted.source)} items, fewer than a batch of "
                    f"{self.batch_size}. Lower `batch_size` or add data."
                )
            for _, batch_type in weighted.mix.types:
                weighted.check(batch_type, self.batch_size)
        _ = self._cumulative_shares  # raises DataError as a batch would

    def __len__(self) -> int:
        return self.steps

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the fields without the caches, for the workers of a loader."""
        return type(self), tuple(getattr(self, field.name) for field in fields(self))

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Yield the batches in order, from step `start`."""
        return (self.batch_at(step) for step in range(start, self.steps))

    def batch_at(self, step: int) -> Batch:
        """Return the batch of a step, from 0; raises `IndexError` after the last. Steps in order are fastest.

        Within a language pair, items come in a random order, and none comes again before all had their turn. An item
        that would be a false negative of an earlier row is replaced by another item of its pair. Two items clash if
        they have the same id or share a text, in any language unless all rows have the same language pair.

        For example, ``plan.batch_at(17).items`` is the same array in every process and after every restart.
        """
        cursor: Cursor = self._cursor
        cursor.move(step)
        draw = cursor.draw
        source = self.sources[draw.source].source
        items = self._ordered(draw.source, draw.pairs, cursor.positions())
        items, pairs = self._without_clashes(draw, step, items)
        query, passage = pairs.T
        texts = TextDraw(source, self.seed, step, items, passage)
        return Batch(
            step,
            source,
            draw.type.name,
            items,
            pairs,
            source.queries[query, items],
            texts.passages(),
            texts.negatives(self._clashes(draw)),
            self._parallel_queries(source, step, items, query),
        )

    def type_at(self, step: int) -> str:
        """Return the name of the type of a step's batch, without drawing its items."""
        return self._source_and_type(step)[1].name

    def batch_shares(self) -> BatchShares:
        """Return the planned share of rows by source, type of batch, query language and passage language."""
        shares: BatchShares = {}
        for weighted, source_share in zip(self.sources, self.source_shares, strict=True):
            for type_share, batch_type in weighted.mix.types:
                pairs = weighted.language_shares(batch_type, self.batch_size)
                for key, share in _by_language(weighted.source, batch_type.name, pairs):
                    shares[key] = shares.get(key, 0.0) + source_share * type_share * share
        return shares

    def drawn_shares(self, steps: int) -> BatchShares:
        """Return the share of rows that the first `steps` drew, by the same keys as `batch_shares`."""
        counts: dict[tuple[int, str], NDArray[np.int64]] = {}
        for step in range(steps):
            draw = self._drawn(step)
            codes = len(self.sources[draw.source].source.languages)
            pairs = counts.setdefault((draw.source, draw.type.name), np.zeros((codes, codes), dtype=np.int64))
            np.add.at(pairs, (draw.pairs[:, 0], draw.pairs[:, 1]), 1)
        return {
            key: count / (steps * self.batch_size)
            for (index, batch_type), pairs in counts.items()
            for key, count in _by_language(self.sources[index].source, batch_type, pairs)
        }

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the sources, the settings and the first batches: a resumed run must have the same plan."""
        digest = hashlib.sha256(b"hbt-bench plan 1")
        for weighted in self.sources:
            drawn_by = f"({weighted.weight!r}, {weighted.mix}, {weighted.language_weights!r}, {weighted.phase!r})"
            digest.update(f"{weighted.source.fingerprint} {drawn_by}".encode())
        settings = (self.batch_size, self.steps, self.seed, self.instruction_share, self.when, self.pivot)
        digest.update(repr(settings).encode())
        for step in range(min(self.steps, 3)):
            batch = BatchPlan.batch_at(self, step)
            for array in (batch.items, batch.pairs, batch.parallel):
                digest.update(array.astype("<i8").tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def _cursor(self) -> Cursor:
        return Cursor([weighted.source for weighted in self.sources], self.steps, self._drawn)

    @cached_property
    def source_shares(self) -> NDArray[np.float64]:
        """The planned share of the batches of each source, (sources,)."""
        shares = np.array([weighted.weight for weighted in self.sources], dtype=np.float64)
        for phase, share in (("main", 1 - self.instruction_share), ("instruction", self.instruction_share)):
            members = np.array([weighted.phase == phase for weighted in self.sources])
            if share > 0 and not shares[members].sum() > 0:
                raise UsageError(f"no source of the {phase} phase has a weight above 0. Add a source or a weight.")
            shares[members] *= share / shares[members].sum() if share > 0 else 0.0
        return shares

    def _drawn(self, step: int) -> Draw:
        index, batch_type = self._source_and_type(step)
        rows = np.arange(self.batch_size if batch_type.per_row else 1)
        pairs = self._pairs(index, batch_type, counter_rng.uniform(self.seed, _PAIR, step, rows))
        return Draw(index, batch_type, np.broadcast_to(pairs, (self.batch_size, 2)))

    def _source_and_type(self, step: int) -> tuple[int, BatchType]:
        phase = self._phase_at(step)
        weights = np.array(
            [weighted.weight if weighted.phase == phase else 0.0 for weighted in self.sources], dtype=np.float64
        )
        index = int(pick(np.cumsum(weights), counter_rng.uniform(self.seed, _SOURCE, step))[0])
        types = self.sources[index].mix.types
        shares = np.cumsum([share for share, _ in types])
        return index, types[pick(shares, counter_rng.uniform(self.seed, _TYPE, step))[0]][1]

    def _pairs(self, source: int, batch_type: BatchType, numbers: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the language pairs that random numbers in [0, 1) select, shape (numbers, 2)."""
        flat = pick(self._cumulative_shares[source, batch_type], numbers)
        return np.stack(np.divmod(flat, len(self.sources[source].source.languages)), axis=1)

    def _phase_at(self, step: int) -> Phase:
        if not self.instruction_share:
            return "main"
        if self.when == "mixed":
            instruct = bool(counter_rng.uniform(self.seed, _PHASE, step)[0] < self.instruction_share)
        else:
            stage = round(self.steps * self.instruction_share)
            instruct = step < stage if self.when == "before" else step >= self.steps - stage
        return "instruction" if instruct else "main"

    @cached_property
    def _cumulative_shares(self) -> dict[tuple[int, BatchType], NDArray[np.float64]]:
        return {
            (index, batch_type): np.cumsum(weighted.language_shares(batch_type, self.batch_size))
            for index, weighted in enumerate(self.sources)
            for _, batch_type in weighted.mix.types
        }

    @cached_property
    def _pair_items(self) -> Callable[[int, int, int], NDArray[np.int32] | None]:
        """The items of a source's language pair, or None for all, cached up to a limit of memory."""
        largest = max(len(weighted.source) for weighted in self.sources)
        return lru_cache(max(1, _ITEM_LISTS // (4 * largest)))(
            lambda source, query, passage: self.sources[source].source.items(query, passage)
        )

    def _ordered(self, index: int, pairs: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the items at some positions of the endless random orders of language pairs."""
        source = self.sources[index].source
        sizes = source.counts[pairs[:, 0], pairs[:, 1]]
        epochs, within = np.divmod(positions, sizes)
        flat = pairs[:, 0] * len(source.languages) + pairs[:, 1]
        order = counter_rng.permuted(within, sizes, counter_rng.bits(self.seed, _ORDER, index, flat, epochs))
        items = order.astype(np.int32)
        if (source.counts[source.counts > 0] < len(source)).any():
            for pair in np.unique(flat).tolist():
                listed = self._pair_items(index, *divmod(pair, len(source.languages)))
                if listed is not None:
                    items[flat == pair] = listed[order[flat == pair]]
        return items

    def _without_clashes(
        self, draw: Draw, step: int, items: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Replace the items that clash with an earlier row of their batch."""
        clashes = self._clashes(draw)
        refused = clashes.take_all(items, draw.pairs[:, 1])
        if not refused.any():
            return items, draw.pairs
        items, pairs = items.copy(), draw.pairs.copy()
        for row in np.flatnonzero(refused).tolist():
            for candidates, pair in self._substitutes(draw, step, row):
                item = clashes.take_first(candidates, int(pair[1]))
                if item is not None:
                    items[row], pairs[row] = item, pair
                    break
            else:  # the items drawn so far clash with all others
                return self._distinct(draw, step)
        return items, pairs

    def _clashes(self, draw: Draw) -> Clashes:
        # if rows draw pairs, a substitute may be of another pair, so texts of all languages are compared
        pair = None if draw.type.per_row else (int(draw.pairs[0, 0]), int(draw.pairs[0, 1]))
        return Clashes(self.sources[draw.source].source, pair)

    def _distinct(self, draw: Draw, step: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Draw all rows of a batch from items that do not clash; `__post_init__` checks that they are enough."""
        weighted = self.sources[draw.source]
        if not draw.type.per_row:
            query, passage = draw.pairs[0].tolist()
            items = weighted.distinct.of_pair(query, passage, _CHOICE * self.batch_size)
        else:
            items = weighted.distinct.of_rows(draw.type.mono, _CHOICE * self.batch_size)
        order = np.argsort(counter_rng.uniform(self.seed, _DISTINCT, step, np.arange(len(items))))
        items = items[order[: self.batch_size]]
        if not draw.type.per_row:
            return items, draw.pairs
        shares = np.diff(self._cumulative_shares[draw.source, draw.type], prepend=0.0)
        numbers = counter_rng.uniform(self.seed, _DISTINCT_PAIR, step, np.arange(len(items)))
        pairs = [
            int(pick(np.cumsum(shares * weighted.source.has_pairs(item).ravel()), number))
            for item, number in zip(items.tolist(), numbers, strict=True)
        ]
        return items, np.stack(np.divmod(pairs, len(weighted.source.languages)), axis=1)

    def _substitutes(self, draw: Draw, step: int, row: int) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64]]]:
        """Yield random items of a row's language pair, then all of them, then items of other pairs if rows draw."""
        pair = draw.pairs[row]
        items = self._listed(draw.source, pair)
        numbers = counter_rng.uniform(self.seed, _SUBSTITUTE, step, row, np.arange(_RANDOM_TRIES))
        yield items[(numbers * len(items)).astype(np.int64)], pair
        pairs = pair[None]
        if draw.type.per_row:
            numbers = counter_rng.uniform(self.seed, _OTHER_PAIR, step, row, np.arange(_OTHER_PAIRS))
            pairs = np.concatenate([pairs, self._pairs(draw.source, draw.type, numbers)])
        for pair in pairs:
            yield self._listed(draw.source, pair), pair

    def _listed(self, source: int, pair: NDArray[np.int64]) -> NDArray[np.int32]:
        items = self._pair_items(source, int(pair[0]), int(pair[1]))
        return np.arange(len(self.sources[source].source), dtype=np.int32) if items is None else items

    def _parallel_queries(
        self, source: ParallelText, step: int, items: NDArray[np.int32], languages: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Return each query in the pivot language; for a query in the pivot, in a random other language."""
        queries = source.queries[languages, items]
        present = source.queries[:, items] != MISSING
        present[languages, np.arange(len(items))] = False
        numbers = counter_rng.uniform(self.seed, _PARALLEL, step, np.arange(len(items)))
        nth = (numbers * present.sum(axis=0)).astype(np.int64)  # the nth of the languages that have the query
        other = np.argmax(np.cumsum(present, axis=0) > nth, axis=0)
        if self.pivot in source.languages:
            pivot = source.languages.index(self.pivot)
            other = np.where(present[pivot], pivot, other)
        return np.where(present.any(axis=0), source.queries[other, items], queries)


def _by_language(
    source: ParallelText, batch_type: str, pairs: NDArray[Any]
) -> Iterator[tuple[tuple[str, str, str, str], float]]:
    """Yield the entries above 0 of a matrix (query languages, passage languages), by the keys of `BatchShares`."""
    for query, passage in np.argwhere(pairs):
        yield (
            (source.name, batch_type, source.languages[query], source.languages[passage]),
            float(pairs[query, passage]),
        )
