"""Sweeps over alpha: models that were trained alike but for the share of monolingual batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hbt_bench.reporting.columns import key_title
from hbt_bench.reporting.standing import Key, Standing

#: What is drawn against alpha.
SCORES: tuple[Key, ...] = (("mono", "AP"), ("cross", "AP"), ("multi", "AP"), ("multi", "rank_distance"))
#: The strategies that are hybrid batches with an alpha at its end: no batch is monolingual, or every one.
_ENDS = {"cross-lingual": 0.0, "monolingual": 1.0}
_HYBRID = "hybrid"


@dataclass(frozen=True)
class Point:
    """One model: `line` is what it has in common with the others of its curve, `row` its place on the board."""

    line: str
    alpha: float
    seed: int | None
    strategy: str
    row: int

    def values(self, standing: Standing) -> list[dict[str, Any]]:
        """Its scores, one a panel; those that are there."""
        about = {"line": self.line, "alpha": self.alpha, "seed": self.seed, "strategy": self.strategy, "row": self.row}
        found = ((key, standing.value(key)) for key in SCORES if key[0] not in standing.missing)
        return [about | {"measure": key_title(key), "value": value} for key, value in found if value is not None]


def sweep(rows: Sequence[Standing]) -> list[Point]:
    """The models of all curves of a board.

    A curve is of one strategy, start, number of steps and of pairs; the pure strategies with the same start, steps and
    pairs are the ends of that of hybrid batches. A recipe names an alpha even where its strategy does not use it, so
    what has one alpha alone is no sweep.
    """
    groups: dict[tuple[Any, ...], list[Point]] = {}
    ends: dict[tuple[Any, ...], list[Point]] = {}
    for place, row in enumerate(rows):
        told = row.training
        alpha, strategy = told.get("alpha"), str(told.get("strategy", ""))
        setting = (told.get("init"), told.get("steps"), told.get("pairs_seen"))
        if strategy in _ENDS:
            end = Point(_line(_HYBRID, *setting), _ENDS[strategy], told.get("seed"), strategy, place)
            ends.setdefault(setting, []).append(end)
        elif isinstance(alpha, int | float) and not isinstance(alpha, bool):
            point = Point(_line(strategy, *setting), float(alpha), told.get("seed"), strategy, place)
            groups.setdefault((strategy, *setting), []).append(point)
    for key, points in groups.items():
        if key[0] == _HYBRID:
            points += ends.get(key[1:], [])
    return [point for points in groups.values() if len({one.alpha for one in points}) > 1 for point in points]


def _line(strategy: str, init: Any, steps: Any, pairs: Any) -> str:
    """``hybrid, xlm-roberta-base, 600 steps of 128``: what a curve is of, as far as it is known."""
    parts = [strategy, *([str(init)] if init else [])]
    if isinstance(steps, int) and steps > 0:
        parts.append(f"{steps:,} steps" + (f" of {pairs / steps:,.0f}" if isinstance(pairs, int) else ""))
    return ", ".join(parts)
