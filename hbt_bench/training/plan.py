"""The plan: what every batch of a run holds, as a pure function of sources, strategies and a seed.

It knows nothing of models, processes or workers, so that training, resuming, previews, counts and tests all see the
same batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import DataError, UsageError
from hbt_bench.training import counter_rng
from hbt_bench.training.clashes import Clashes
from hbt_bench.training.cursor import Cursor, Draw, Items, pick
from hbt_bench.training.parallel import MISSING, ParallelText
from hbt_bench.training.strategies import BatchType, Phase, WeightedSource

When = Literal["before", "after", "mixed"]

#: How many items are tried at random in place of one that clashes, before all are tried in order.
_RANDOM_TRIES = 32
#: How many other language pairs a row may try when its own has no item left that clashes with none.
_OTHER_PAIRS = 100

# what a number is drawn for: the first key of every draw
_PHASE, _SOURCE, _KIND, _PAIR, _ORDER, _SUBSTITUTE, _OTHER_PAIR, _PARALLEL = range(8)


class Batch(NamedTuple):
    """The rows of one training step.

    Shapes, with B rows: `items` (B,) places in `source`; `queries`, `passages` (B,) and `negatives` (B, negatives)
    numbers of texts; `pairs` (B, 2) the languages of query and passage; `parallel` (B,) the same query in another
    language, or itself where there is none.
    """

    step: int
    source: ParallelText
    kind: str
    items: NDArray[np.int32]
    pairs: NDArray[np.int64]
    queries: NDArray[np.int32]
    passages: NDArray[np.int32]
    negatives: NDArray[np.int32]
    parallel: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """All batches of a run. `batch_size` is that of a step over all processes.

    `instruction_share` of the steps go to the sources of the instruction phase, `when`: at the start, at the end, or
    drawn step by step. `pivot` is the language of `Batch.parallel` where the item has it.
    """

    supplies: tuple[WeightedSource, ...]
    batch_size: int
    steps: int
    seed: int
    instruction_share: float = 0.0
    when: When = "after"
    pivot: str = "en"

    def __post_init__(self) -> None:
        _ = self._supply_shares  # raises where nothing could be drawn
        for index, supply in enumerate(self.supplies):
            if len(supply.source) < self.batch_size:
                raise DataError(
                    f"{supply.source.name} has {len(supply.source)} items, fewer than a batch of {self.batch_size}: "
                    "lower the batch size or add data"
                )
            for _, kind in supply.mixture.kinds:
                self._cumulative(index, kind)  # raises what a batch would

    def __len__(self) -> int:
        return self.steps

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without what is remembered, for the workers of a loader."""
        return type(self), tuple(getattr(self, one.name) for one in fields(self))

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """All batches in order."""
        return (self.batch_at(step) for step in range(start, self.steps))

    def batch_at(self, step: int) -> Batch:
        """The batch of one step, counted from 0; steps in order are fastest.

        Within a language pair, items come in a random order and none again before all had their turn. An item that
        would be a false negative of an earlier row gives way to another one of its pair: one that has the same id,
        or shares a text with it (in the languages of the batch where that is of one pair, else in any language).
        """
        cursor: Cursor = self._cursor
        cursor.move(step)
        draw = cursor.draw
        source = self.supplies[draw.supply].source
        items = self._ordered(draw.supply, draw.pairs, cursor.places())
        items, pairs = self._without_clashes(draw, step, items)
        query, passage = pairs.T
        return Batch(
            step,
            source,
            draw.kind.name,
            items,
            pairs,
            source.queries[query, items],
            source.passages[passage, items],
            source.negatives[passage, items],
            self._parallel_queries(source, step, items, query),
        )

    def kind_at(self, step: int) -> str:
        """The kind of one step's batch, without its items."""
        return self._supply_and_kind(step)[1].name

    def shares(self) -> dict[tuple[str, str, str, str], float]:
        """The planned share of rows by source, kind, query language and passage language."""
        found: dict[tuple[str, str, str, str], float] = {}
        for supply, share in zip(self.supplies, self._supply_shares, strict=True):
            codes = supply.source.languages
            for kind_share, kind in supply.mixture.kinds:
                pairs = supply.pair_shares(kind, self.batch_size)
                for query, passage in np.argwhere(pairs):
                    key = (supply.source.name, kind.name, codes[query], codes[passage])
                    found[key] = found.get(key, 0.0) + share * kind_share * float(pairs[query, passage])
        return found

    def drawn(self, steps: int) -> dict[tuple[str, str, str, str], float]:
        """The share of rows that the first steps drew, by the same keys as `shares`."""
        counts: dict[tuple[int, str], NDArray[np.int64]] = {}
        for step in range(steps):
            draw = self._drawn(step)
            codes = len(self.supplies[draw.supply].source.languages)
            found = counts.setdefault((draw.supply, draw.kind.name), np.zeros((codes, codes), dtype=np.int64))
            np.add.at(found, (draw.pairs[:, 0], draw.pairs[:, 1]), 1)
        shares = {}
        for (index, kind), found in counts.items():
            source = self.supplies[index].source
            for query, passage in np.argwhere(found):
                key = (source.name, kind, source.languages[query], source.languages[passage])
                shares[key] = float(found[query, passage]) / (steps * self.batch_size)
        return shares

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the sources, the settings and the first batches: a resumed run must find the same plan."""
        digest = hashlib.sha256(b"hbt-bench plan 1")
        for supply in self.supplies:
            drawn_by = (supply.weight, supply.mixture, supply.language_weights, supply.phase)
            digest.update(f"{supply.source.fingerprint} {drawn_by}".encode())
        settings = (self.batch_size, self.steps, self.seed, self.instruction_share, self.when, self.pivot)
        digest.update(repr(settings).encode())
        for step in range(min(self.steps, 3)):
            batch = BatchPlan.batch_at(self, step)
            for array in (batch.items, batch.pairs, batch.parallel):
                digest.update(array.astype("<i8").tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def _cursor(self) -> Cursor:
        return Cursor([supply.source for supply in self.supplies], self.steps, self._drawn)

    @cached_property
    def _supply_shares(self) -> NDArray[np.float64]:
        shares = np.array([supply.weight for supply in self.supplies], dtype=np.float64)
        for phase, share in (("main", 1 - self.instruction_share), ("instruction", self.instruction_share)):
            members = np.array([supply.phase == phase for supply in self.supplies])
            if share > 0 and not shares[members].sum() > 0:
                raise UsageError(f"no source of the {phase} phase has a weight above 0")
            shares[members] *= share / shares[members].sum() if share > 0 else 0.0
        return shares

    def _drawn(self, step: int) -> Draw:
        index, kind = self._supply_and_kind(step)
        rows = np.arange(self.batch_size if kind.per_row else 1)
        pairs = self._pairs(index, kind, counter_rng.uniform(self.seed, _PAIR, step, rows))
        return Draw(index, kind, np.broadcast_to(pairs, (self.batch_size, 2)))

    def _supply_and_kind(self, step: int) -> tuple[int, BatchType]:
        phase = self._phase_at(step)
        weights = np.array(
            [supply.weight if supply.phase == phase else 0.0 for supply in self.supplies], dtype=np.float64
        )
        index = int(pick(np.cumsum(weights), counter_rng.uniform(self.seed, _SOURCE, step))[0])
        kinds = self.supplies[index].mixture.kinds
        shares = np.cumsum([share for share, _ in kinds])
        return index, kinds[pick(shares, counter_rng.uniform(self.seed, _KIND, step))[0]][1]

    def _pairs(self, supply: int, kind: BatchType, wishes: NDArray[np.float64]) -> NDArray[np.int64]:
        """The language pairs that numbers in [0, 1) fall into, shape (wishes, 2)."""
        flat = pick(self._cumulative(supply, kind), wishes)
        return np.stack(np.divmod(flat, len(self.supplies[supply].source.languages)), axis=1)

    def _phase_at(self, step: int) -> Phase:
        if not self.instruction_share:
            return "main"
        if self.when == "mixed":
            instruct = bool(counter_rng.uniform(self.seed, _PHASE, step)[0] < self.instruction_share)
        else:
            stage = round(self.steps * self.instruction_share)
            instruct = step < stage if self.when == "before" else step >= self.steps - stage
        return "instruction" if instruct else "main"

    def _cumulative(self, supply: int, kind: BatchType) -> NDArray[np.float64]:
        known: dict[tuple[int, BatchType], NDArray[np.float64]] = self._cumulatives
        if (supply, kind) not in known:
            known[supply, kind] = np.cumsum(self.supplies[supply].pair_shares(kind, self.batch_size))
        return known[supply, kind]

    @cached_property
    def _cumulatives(self) -> dict[tuple[int, BatchType], NDArray[np.float64]]:
        return {}

    @cached_property
    def _items(self) -> Items:
        return Items([supply.source for supply in self.supplies])

    def _ordered(self, supply: int, pairs: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int32]:
        """The items at these places of the endless random orders of language pairs."""
        source = self.supplies[supply].source
        sizes = source.counts[pairs[:, 0], pairs[:, 1]]
        epochs, within = np.divmod(places, sizes)
        flat = pairs[:, 0] * len(source.languages) + pairs[:, 1]
        order = counter_rng.permuted(within, sizes, counter_rng.bits(self.seed, _ORDER, supply, flat, epochs))
        items = order.astype(np.int32)
        if (source.counts[source.counts > 0] < len(source)).any():
            for pair in np.unique(flat).tolist():
                listed = self._items.of(supply, *divmod(pair, len(source.languages)))
                if listed is not None:
                    items[flat == pair] = listed[order[flat == pair]]
        return items

    def _without_clashes(
        self, draw: Draw, step: int, items: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Exchange the items that clash with an earlier row of their batch."""
        source = self.supplies[draw.supply].source
        # where rows draw pairs, a row may be exchanged for one of another pair
        clashes = Clashes(source, None if draw.kind.per_row else (int(draw.pairs[0, 0]), int(draw.pairs[0, 1])))
        left = clashes.take_all(items, draw.pairs[:, 1])
        if not left.any():
            return items, draw.pairs
        items, pairs = items.copy(), draw.pairs.copy()
        for row in np.flatnonzero(left).tolist():
            for other, pair in self._substitutes(draw, step, row):
                if clashes.take(other, int(pair[1])):
                    items[row], pairs[row] = other, pair
                    break
            else:
                codes = "-".join(source.languages[code] for code in draw.pairs[row])
                raise DataError(
                    f"{source.name} has too few different items in {codes} for a batch of {self.batch_size} without "
                    "false negatives: lower the batch size or add data"
                )
        return items, pairs

    def _substitutes(self, draw: Draw, step: int, row: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Random items of a row's language pair, then all of them; where rows draw pairs, then of other pairs."""
        own = draw.pairs[row]
        some = self._listed(draw.supply, own)
        for wish in counter_rng.uniform(self.seed, _SUBSTITUTE, step, row, np.arange(_RANDOM_TRIES)):
            yield int(some[int(wish * len(some))]), own
        pairs = own[None]
        if draw.kind.per_row:
            wishes = counter_rng.uniform(self.seed, _OTHER_PAIR, step, row, np.arange(_OTHER_PAIRS))
            pairs = np.concatenate([pairs, self._pairs(draw.supply, draw.kind, wishes)])
        for pair in pairs:
            for item in self._listed(draw.supply, pair).tolist():
                yield item, pair

    def _listed(self, supply: int, pair: NDArray[np.int64]) -> NDArray[np.int32]:
        found = self._items.of(supply, int(pair[0]), int(pair[1]))
        return np.arange(len(self.supplies[supply].source), dtype=np.int32) if found is None else found

    def _parallel_queries(
        self, source: ParallelText, step: int, items: NDArray[np.int32], languages: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """The pivot's version of each query, for a query in the pivot a random other one, else the query itself."""
        own = source.queries[languages, items]
        present = source.queries[:, items] != MISSING
        present[languages, np.arange(len(items))] = False
        wish = counter_rng.uniform(self.seed, _PARALLEL, step, np.arange(len(items)))
        nth = (wish * present.sum(axis=0)).astype(np.int64)  # the nth of the languages that are there
        other = np.argmax(np.cumsum(present, axis=0) > nth, axis=0)
        if self.pivot in source.languages:
            pivot = source.languages.index(self.pivot)
            other = np.where(present[pivot], pivot, other)
        return np.where(present.any(axis=0), source.queries[other, items], own)
