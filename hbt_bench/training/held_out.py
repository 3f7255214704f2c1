"""The held-out data of a training run: items with a text in common stay together, and batches of them are fixed."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import DataError
from hbt_bench.training import counter_rng
from hbt_bench.training.overlap import normalised
from hbt_bench.training.parallel import ParallelText
from hbt_bench.training.plan import BatchPlan
from hbt_bench.training.plan_report import check_negatives
from hbt_bench.training.strategies import WeightedSource
from hbt_bench.training.texts import Numbers

log = logging.getLogger(__name__)

#: Items held out of a source at most; more would hardly make the development loss more stable.
_MAX_HELD_OUT = 2000
#: Development batches at most.
_MAX_DEV_BATCHES = 20
#: The first key of the draw that holds items out; the draws of a plan use smaller keys.
_HOLD_OUT = 101


def hold_out(sources: Sequence[ParallelText], share: float) -> list[tuple[ParallelText, ParallelText]]:
    """Split each source into items to train on and about a `share` of held-out items.

    Items with the same query or passage are on the same side, in any language and in any of the sources, and so are
    items that others connect. Case, punctuation and spacing do not count. A group of connected items larger than the
    share of its source is trained on, and its size is logged. The split depends on the sources alone, not on strategy
    or seed. Raises `DataError` if a side of a source has nothing to train on.
    """
    groups = _groups(sources)
    starts = np.cumsum([0, *map(len, sources)])
    shares = [min(share, _MAX_HELD_OUT / len(source)) for source in sources]
    number = int(groups.max(initial=-1)) + 1
    threshold, too_large = np.zeros(number), np.zeros(number, dtype=np.bool_)
    for source, start, source_share in zip(sources, starts, shares, strict=False):
        sizes = np.bincount(groups[start : start + len(source)], minlength=number)
        threshold[sizes > 0] = np.maximum(threshold[sizes > 0], source_share)
        too_large |= sizes > max(1.0, source_share * len(source))
    _, first = np.unique(groups, return_index=True)
    owner = np.searchsorted(starts, first, side="right") - 1
    # a group is drawn by its first item, so data without common texts are split item by item
    drawn = (counter_rng.uniform(_HOLD_OUT, first - starts[owner]) < threshold) & ~too_large
    splits = []
    for source, start in zip(sources, starts, strict=False):
        numbers = groups[start : start + len(source)]
        _report(source, int(drawn[numbers].sum()), int(too_large[numbers].sum()))
        splits.append(source.split(drawn[numbers]))
    return splits


def _groups(sources: Sequence[ParallelText]) -> NDArray[np.int64]:
    """Return the group of each item, (items of all sources,); items with a common text are in the same group."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    numbers = Numbers()
    rows, columns, count = [], [], 0
    for source in sources:
        items, texts = source.positives()
        used, inverse = np.unique(texts, return_inverse=True)
        hashes = (hash(normalised(source.texts[text])) for text in used.tolist())
        number, _ = numbers.of(np.fromiter(hashes, np.int64, len(used)))
        rows.append(items + count)
        columns.append(number[inverse])
        count += len(source)
    size = count + len(numbers)
    edges = np.concatenate(rows), np.concatenate(columns) + count
    graph = coo_array((np.ones(len(edges[0]), dtype=np.bool_), edges), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1][:count], dtype=np.int64)


def _report(source: ParallelText, held_out: int, connected: int) -> None:
    """Log the items that common texts keep from being held out; raise `DataError` if none is held out."""
    reason = f"{connected:,} of its {len(source):,} items share queries or passages in groups too large to hold out"
    if not held_out:
        cause = f": {reason}" if connected else ""
        raise DataError(
            f"too few items are held out for a development loss: none of the {len(source):,} items of {source.name}"
            f"{cause}. Raise `dev_share`, or name a collection in `dev`."
        )
    if connected:
        log.warning(f"{source.name}: {reason}. They are trained on; {held_out:,} other items are held out")


def development_plan(sources: Sequence[WeightedSource], batch_size: int, pivot: str) -> BatchPlan:
    """Return a fixed set of batches of held-out items or of `dev_data`, small enough for the smallest source.

    A type of batch that a source cannot fill is left out and logged. Raises `DataError` if a source fills no batch.
    """
    main = [weighted for weighted in sources if weighted.phase == "main"]
    rows = min(batch_size, *(len(weighted.source) // 2 for weighted in sources))
    rows = min(max(weighted.room(batch_type, rows) for _, batch_type in weighted.mix.types) for weighted in main)
    counts = ", ".join(f"{len(weighted.source)} of {weighted.source.name}" for weighted in sources)
    if rows < 2:
        raise DataError(
            f"too few items are held out for a development loss: {counts}. A batch needs two items without a common "
            "text from each source. Raise `dev_share`, or add to `dev_data`."
        )
    if rows < batch_size / 2:
        log.warning(
            f"the development loss has batches of {rows}, not {batch_size}, because few items are held out: {counts}. "
            "Raise `dev_share` for larger batches, or add to `dev_data`"
        )
    filled = [weighted.filling(rows) for weighted in main]
    for weighted, fitting in zip(main, filled, strict=True):
        for batch_type in weighted.types_missing_in(fitting):
            log.warning(
                f"the held-out items of {weighted.source.name} have {weighted.room(batch_type, rows)} different items "
                f"for a {batch_type.name} batch, fewer than {rows}, so the development loss has no such batch. Raise "
                "`dev_share` to have it, or add to `dev_data`"
            )
    steps = max(1, min(_MAX_DEV_BATCHES, sum(len(weighted.source) for weighted in sources) // rows))
    plan = BatchPlan(tuple(filled), rows, steps, 0, pivot=pivot)
    try:
        check_negatives(plan)
    except DataError as error:
        raise DataError(f"held-out data: {error} Or raise `dev_share`, or add to `dev_data`.") from error
    return plan
