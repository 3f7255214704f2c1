"""Sweeps over alpha: models with the same training except for the share of monolingual batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hbt_bench.measures.registry import MEASURES
from hbt_bench.reports.columns import key_title
from hbt_bench.reports.rows import Key, LeaderboardRow

#: The scores that are drawn against alpha.
SCORES: tuple[Key, ...] = tuple(
    (mode, measure.name) for measure in MEASURES if measure.headline for mode in measure.modes
)
#: The pure strategies are hybrid batches with the lowest and the highest alpha.
_ENDS = {"cross-lingual": 0.0, "monolingual": 1.0}
_HYBRID = "hybrid"
#: Training facts, besides the strategy, that all models of a curve share.
_SETTING = ("init", "steps", "pairs_seen", "data")


class _Curve(NamedTuple):
    strategy: str
    init: Any
    steps: Any
    pairs: Any
    data: Any

    @property
    def name(self) -> str:
        """Return strategy, init and budget, if known. For example, ``hybrid, xlm-roberta-base, 600 steps of 128``."""
        facts = [self.strategy, *([str(self.init)] if self.init else [])]
        if isinstance(self.steps, int) and self.steps > 0:
            batch = f" of {self.pairs / self.steps:,.0f}" if isinstance(self.pairs, int) else ""
            facts.append(f"{self.steps:,} steps{batch}")
        return ", ".join(facts)


@dataclass(frozen=True)
class Point:
    """One model of a sweep: `line` is the name of its curve, `row` its index on the leaderboard."""

    line: str
    alpha: float
    seed: int | None
    strategy: str
    row: int

    def values(self, model: LeaderboardRow) -> list[dict[str, Any]]:
        """Return the scores of a model, a record per measure, without those it lacks."""
        point = {"line": self.line, "alpha": self.alpha, "seed": self.seed, "strategy": self.strategy, "row": self.row}
        scores = ((key, model.value(key)) for key in SCORES if key[0] not in model.missing)
        return [point | {"measure": key_title(key), "value": value} for key, value in scores if value is not None]


def sweep(rows: Sequence[LeaderboardRow]) -> list[Point]:
    """Return the models of all curves of a leaderboard.

    The models of a curve have the same strategy, init, training data, steps and pairs. Pure strategies with the same
    training are the ends of the curve of hybrid batches. A recipe has an alpha even if its strategy ignores it, so a
    curve needs two alphas.
    """
    curves: dict[_Curve, list[tuple[float, int]]] = {}
    ends: dict[_Curve, list[tuple[float, int]]] = {}
    for index, row in enumerate(rows):
        training = row.training
        alpha, strategy = training.get("alpha"), str(training.get("strategy", ""))
        curve = _Curve(_HYBRID if strategy in _ENDS else strategy, *(training.get(key) for key in _SETTING))
        if strategy in _ENDS:
            ends.setdefault(curve, []).append((_ENDS[strategy], index))
        elif isinstance(alpha, int | float) and not isinstance(alpha, bool):
            curves.setdefault(curve, []).append((float(alpha), index))
    with_ends = {curve: points + ends.get(curve, []) for curve, points in curves.items()}
    drawn = {curve: points for curve, points in with_ends.items() if len({alpha for alpha, _ in points}) > 1}
    names = Counter(curve.name for curve in drawn)
    return [
        Point(
            curve.name + (f", data {curve.data or 'unknown'}" if names[curve.name] > 1 else ""),
            alpha,
            rows[index].training.get("seed"),
            str(rows[index].training["strategy"]),
            index,
        )
        for curve, points in drawn.items()
        for alpha, index in points
    ]
