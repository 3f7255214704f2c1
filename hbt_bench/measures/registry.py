"""A measure by its name: what gives each query of a subset its value."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from hbt_bench.errors import UsageError, did_you_mean
from hbt_bench.measures.ranking import Array, Ranking

#: What gives each query of a subset its value: the place to add a measure.
MEASURES: dict[str, Callable[[Ranking], Array]] = {
    "AP": Ranking.average_precision,
    "RR": Ranking.reciprocal_rank,
    "rank_distance": Ranking.span,
}
#: The measures with a cut-off, as in ``nDCG@10``.
CUT_MEASURES: dict[str, Callable[[Ranking, int], Array]] = {
    "AP": lambda ranking, depth: ranking.average_precision(depth, capped=True),  # XTREME-R's divisor
    "nDCG": Ranking.ndcg,
    "R": Ranking.recall,
    "P": Ranking.precision,
    "RR": Ranking.reciprocal_rank,
    "Success": Ranking.success,
}
#: What scores can be, of ours and under MTEB's names; ranks are below 2^31.
_BOUNDS = (
    (
        re.compile(r"(AP|nDCG|R|P|RR|Success)(@\d+)?|(map|ndcg|recall|precision|mrr|hit_rate)_at_\d+|accuracy"),
        (0.0, 1.0),
    ),
    (re.compile(r"same_language_excess@\d+"), (-1.0, 1.0)),
    (re.compile(r"rank_distance"), (0.0, 2.0**31)),
)


@dataclass(frozen=True)
class Measure:
    """A measure by its name, such as ``AP`` or ``nDCG@10``."""

    name: str
    values: Callable[[Ranking], Array]

    @classmethod
    def parse(cls, name: str) -> Measure:
        """Look a name up; raise `UsageError` with a suggestion for one that is not known."""
        match = re.fullmatch(r"(\w+?)(?:@([1-9]\d{0,8}))?", name)
        base, cut = match.groups() if match else (name, None)
        if cut is None and base in MEASURES:
            return cls(name, MEASURES[base])
        if cut is not None and base in CUT_MEASURES:
            values, depth = CUT_MEASURES[base], int(cut)
            return cls(name, lambda ranking: values(ranking, depth))
        known = [*MEASURES, *(f"{base}@{cut or 10}" for base in CUT_MEASURES)]
        near = did_you_mean(name, known) or f" (there are {', '.join(known)})"
        raise UsageError(f"unknown measure '{name}'{near}")


@cache
def bounds(name: str) -> tuple[float, float]:
    """The least and the highest value that a score of this name can have; of an unknown one, that is finite."""
    known = (limits for pattern, limits in _BOUNDS if pattern.fullmatch(name))
    return next(known, (-sys.float_info.max, sys.float_info.max))
