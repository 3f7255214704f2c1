"""Sweeps over alpha: models that were trained alike but for the share of monolingual batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hbt_bench.reports.columns import key_title
from hbt_bench.reports.rows import Key, LeaderboardRow

#: What is drawn against alpha.
SCORES: tuple[Key, ...] = (("mono", "AP"), ("cross", "AP"), ("multi", "AP"), ("multi", "rank_distance"))
#: The strategies that are hybrid batches with an alpha at its end: no batch is monolingual, or every one.
_ENDS = {"cross-lingual": 0.0, "monolingual": 1.0}
_HYBRID = "hybrid"
#: What the models of a curve share beside their strategy, as a result tells it.
_SETTING = ("init", "steps", "pairs_seen", "data")


class _Curve(NamedTuple):
    strategy: str
    init: Any
    steps: Any
    pairs: Any
    data: Any

    @property
    def name(self) -> str:
        """``hybrid, xlm-roberta-base, 600 steps of 128``: what it is of, as far as it is known."""
        parts = [self.strategy, *([str(self.init)] if self.init else [])]
        if isinstance(self.steps, int) and self.steps > 0:
            batch = f" of {self.pairs / self.steps:,.0f}" if isinstance(self.pairs, int) else ""
            parts.append(f"{self.steps:,} steps{batch}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Point:
    """One model: `line` is what it has in common with the others of its curve, `row` its place on the board."""

    line: str
    alpha: float
    seed: int | None
    strategy: str
    row: int

    def values(self, standing: LeaderboardRow) -> list[dict[str, Any]]:
        """Its scores, one a panel; those that are there."""
        about = {"line": self.line, "alpha": self.alpha, "seed": self.seed, "strategy": self.strategy, "row": self.row}
        found = ((key, standing.value(key)) for key in SCORES if key[0] not in standing.missing)
        return [about | {"measure": key_title(key), "value": value} for key, value in found if value is not None]


def sweep(rows: Sequence[LeaderboardRow]) -> list[Point]:
    """The models of all curves of a board.

    A curve is of one strategy, start, training data, number of steps and of pairs; the pure strategies with the same
    are the ends of that of hybrid batches. A recipe names an alpha even where its strategy does not use it, so what
    has one alpha alone is no sweep.
    """
    curves: dict[_Curve, list[tuple[float, int]]] = {}
    ends: dict[_Curve, list[tuple[float, int]]] = {}
    for place, row in enumerate(rows):
        told = row.training
        alpha, strategy = told.get("alpha"), str(told.get("strategy", ""))
        curve = _Curve(_HYBRID if strategy in _ENDS else strategy, *(told.get(key) for key in _SETTING))
        if strategy in _ENDS:
            ends.setdefault(curve, []).append((_ENDS[strategy], place))
        elif isinstance(alpha, int | float) and not isinstance(alpha, bool):
            curves.setdefault(curve, []).append((float(alpha), place))
    whole = {curve: points + ends.get(curve, []) for curve, points in curves.items()}
    drawn = {curve: points for curve, points in whole.items() if len({alpha for alpha, _ in points}) > 1}
    names = Counter(curve.name for curve in drawn)
    return [
        Point(
            curve.name + (f", data {curve.data or 'unknown'}" if names[curve.name] > 1 else ""),
            alpha,
            rows[place].training.get("seed"),
            str(rows[place].training["strategy"]),
            place,
        )
        for curve, points in drawn.items()
        for alpha, place in points
    ]
