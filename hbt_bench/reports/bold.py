"""The bold cells of a leaderboard: the best scores, unless they are not better than chance."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hbt_bench.measures.registry import MEASURES
from hbt_bench.reports.columns import Column
from hbt_bench.reports.leaderboard_rows import Key, LeaderboardRow


def bold_cells(
    rows: Sequence[LeaderboardRow],
    cells: Sequence[Sequence[str]],
    chosen: Sequence[Column],
    random: LeaderboardRow | None,
) -> frozenset[tuple[int, int]]:
    """Return the cells with the best text of each score, if the row is measured, complete and better than chance."""
    bold = set()
    for index, column in enumerate(chosen):
        key = column.key
        if key is None:
            continue
        texts = {
            position: cells[position][index].partition("\n")[0]
            for position, row in enumerate(rows)
            if row.measured and key[0] not in row.missing and row.value(key) is not None
        }
        first = min(texts, key=lambda position: column.order(rows[position]), default=None)
        if first is not None and _beats_chance(rows[first], key, random):
            best = texts[first]
            bold |= {(position, index) for position, text in texts.items() if text == best}
    return frozenset(bold)


def _beats_chance(row: LeaderboardRow, key: Key, random: LeaderboardRow | None) -> bool:
    """Return whether a score is better than that of a random ranking, with its whole interval if it has one."""
    measure, chance_score = MEASURES.describe(key[1]), random.value(key) if random else None
    value = row.value(key)
    if value is None or measure.fair_by_chance:
        return True
    if chance_score is None:  # without a bound, the best of some values may still be that of a random ranking
        return math.isfinite(measure.bounds[1])
    low, high = row.intervals.get(key, (value, value))
    return high < chance_score if measure.lower_is_better else low > chance_score
