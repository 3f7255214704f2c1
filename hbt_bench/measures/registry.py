"""The registry of measures: every fact about a measure is written here, and nowhere else.

To add a measure, write its function in `Ranking` or `Bias` and register a `Measure` below. Results, intervals,
leaderboards, comparisons, bias tables, studies and reports read their lists from `MEASURES`. Document the measure in
``docs/reference/measures.md``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from hbt_bench.errors import UsageError, did_you_mean
from hbt_bench.identity.task_name import MODES
from hbt_bench.measures.measure import FINITE, RANKS, UNIT, Measure

if TYPE_CHECKING:
    from hbt_bench.measures.bias import Bias
    from hbt_bench.measures.ranking import Array, Ranking

__all__ = ["CUT_MEASURES", "EXCESS", "MEASURES", "Measure", "MeasureRegistry", "cut_measure"]

#: The bias measure on leaderboards.
EXCESS = "same_language_excess@10"

_DEPTH = r"[1-9]\d{0,8}"
#: MTEB's keys with values from 0 to 1, which excludes nAUC.
_UNIT_KEY = re.compile(r"(map|ndcg|recall|precision|mrr|hit_rate)_at_\d+|accuracy")


#: The measures that look at the top k only, by the name before ``@k``.
CUT_MEASURES: dict[str, Callable[[Ranking, int], Array]] = {
    "AP": lambda ranking, depth: ranking.average_precision(depth, capped=True),  # XTREME-R's divisor
    "nDCG": lambda ranking, depth: ranking.ndcg(depth),
    "R": lambda ranking, depth: ranking.recall(depth),
    "P": lambda ranking, depth: ranking.precision(depth),
    "RR": lambda ranking, depth: ranking.reciprocal_rank(depth),
    "Success": lambda ranking, depth: ranking.success(depth),
}

#: The measures of the pool with a cut-off.
POOL_CUT_MEASURES: dict[str, Callable[[Bias, int], Array]] = {
    "Lang-nDCG": lambda bias, depth: bias.lang_ndcg(depth),
    "PEER": lambda bias, depth: bias.peer(depth),
}


def cut_measure(name: str, depth: int, **facts: Any) -> Measure:
    """Return a measure with a cut-off: ``cut_measure("nDCG", 10)`` is nDCG@10."""
    facts |= {"bounds": UNIT, "depth": depth}
    if name in POOL_CUT_MEASURES:
        in_pool = POOL_CUT_MEASURES[name]
        return Measure(f"{name}@{depth}", from_pool=lambda bias: in_pool(bias, depth), modes=("multi",), **facts)
    function = CUT_MEASURES[name]
    return Measure(f"{name}@{depth}", lambda ranking: function(ranking, depth), **facts)


class MeasureRegistry:
    """All measures by name, in the order of columns."""

    def __init__(self, measures: Iterable[Measure]) -> None:
        self._measures = {measure.name: measure for measure in measures}

    def __iter__(self) -> Iterator[Measure]:
        """Iterate over the registered measures."""
        return iter(self._measures.values())

    def __getitem__(self, name: str) -> Measure:
        """Return a registered measure by its exact name."""
        return self._measures[name]

    def register(self, measure: Measure) -> None:
        """Add a measure, after all others; raise `UsageError` if the name is taken."""
        if measure.name in self._measures:
            raise UsageError(f"the measure '{measure.name}' exists already")
        self._measures[measure.name] = measure

    def unregister(self, name: str) -> None:
        """Remove a measure."""
        del self._measures[name]

    def parse(self, name: str) -> Measure:
        """Return a measure that has a value for each query, with any cut-off.

        Raises `UsageError` with a suggestion for an unknown name.
        """
        measure = self._find(name)
        if measure is not None and measure.has_query_values:
            return measure
        depth = name.rpartition("@")[2]
        cut = [f"{base}@{depth if re.fullmatch(_DEPTH, depth) else 10}" for base in (*CUT_MEASURES, *POOL_CUT_MEASURES)]
        names = list(dict.fromkeys([*(measure.name for measure in self if measure.has_query_values), *cut]))
        near = did_you_mean(name, names) or f" (choose from {', '.join(names)})"
        raise UsageError(f"unknown measure '{name}'{near}")

    def describe(self, name: str) -> Measure:
        """Return the facts about any score: of ours, under MTEB's keys, or unknown (then any finite number)."""
        old = next((measure for measure in self if name in measure.old_names), None)
        if measure := old or self._find(name):
            return measure
        for prefix, lower_is_better in (("mean_rank_", True), ("top10_share_", False)):  # by document language
            if name.startswith(prefix):
                return Measure(name, modes=("multi",), lower_is_better=lower_is_better)
        return Measure(name, bounds=UNIT if _UNIT_KEY.fullmatch(name) else FINITE)

    def _find(self, name: str) -> Measure | None:
        if name in self._measures:
            return self._measures[name]
        match = re.fullmatch(rf"([\w-]+?)@({_DEPTH})", name)
        if match and match[1] in {*CUT_MEASURES, *POOL_CUT_MEASURES}:
            return cut_measure(match[1], int(match[2]))
        return next((measure for measure in self if name in measure.aliases), None)

    def in_summary(self) -> list[str]:
        """Return the names of the measures in the summary of a result."""
        return [measure.name for measure in self if measure.summary]

    def headline(self) -> list[str]:
        """Return the names of the measures that are compared by default."""
        return [measure.name for measure in self if measure.headline]

    def in_tables(self) -> list[str]:
        """Return the names of the measures that commands print, in the order of their columns."""
        places = {measure.name: measure.table_place for measure in self if measure.table_place is not None}
        return sorted(places, key=lambda name: places[name])


def _first_document(kind: str, bias: Bias) -> Array:
    return bias.first_document(kind)


#: Measures of the multilingual mode in the bias report.
_bias_measure = partial(Measure, modes=("multi",), bias=True)

#: Every measure, in the order of the columns of results.
MEASURES = MeasureRegistry(
    [
        Measure(
            "AP",
            lambda ranking: ranking.average_precision(),
            limits=lambda ranking: ranking.limits(lambda completed: completed.average_precision()),
            bounds=UNIT,
            scored=True,
            contributions=True,
            summary=True,
            headline=True,
            table_place=1,
            columns=MODES,
            lead=True,
        ),
        Measure(
            "RR",
            lambda ranking: ranking.reciprocal_rank(),
            limits=lambda ranking: ranking.limits(lambda completed: completed.reciprocal_rank()),
            bounds=UNIT,
            scored=True,
        ),
        cut_measure("nDCG", 10, scored=True, table_place=4),
        cut_measure("R", 1, scored=True, summary=True, table_place=2, columns=("mono", "cross")),
        cut_measure("R", 10, scored=True, summary=True, table_place=3, columns=("multi",)),
        cut_measure("R", 100, scored=True),
        _bias_measure(
            "rank_distance",
            lambda ranking: ranking.rank_distance(),
            needs_translations=True,
            limits=lambda ranking: ranking.rank_distance_limits(),
            lower_is_better=True,
            bounds=RANKS,
            decimals=1,
            title="rank distance",
            heading="rank dist.",
            aliases=("rank_distance", "rd"),
            scored=True,
            contributions=True,
            summary=True,
            headline=True,
            table_place=6,
            columns=("multi",),
            lead=True,
        ),
        _bias_measure(
            "rank_distance_relative",
            from_pool=lambda bias: bias.relative_rank_distance(),
            needs_translations=True,
            lower_is_better=True,
            decimals=1,
        ),
        _bias_measure("Max@R", from_pool=lambda bias: bias.max_rank(), lower_is_better=True),
        _bias_measure("Complete@20", from_pool=lambda bias: bias.complete(20), depth=20),
        _bias_measure("Complete@100", from_pool=lambda bias: bias.complete(100), depth=100),
        _bias_measure("TLR@10", from_pool=lambda bias: bias.target_language_recall(10), depth=10),
        _bias_measure(
            "same_language_first",
            from_pool=lambda bias: bias.same_language_first(),
            lower_is_better=True,
            for_user="higher",
            fair_by_chance=True,
            title="LPR",
            aliases=("LPR",),
        ),
        _bias_measure(
            EXCESS,
            from_pool=lambda bias: bias.same_language_excess(10),
            depth=10,
            needs_top=True,
            lower_is_better=True,
            for_user="higher",
            fair_by_chance=True,
            bounds=(-1.0, 1.0),
            title="own-language bias",
            heading="own-lang. bias",
            aliases=("bias",),
            scored=True,
            summary=True,
            columns=("multi",),
            lead=True,
        ),
        *(
            _bias_measure(
                kind,
                from_pool=partial(_first_document, kind),
                depth=1,
                needs_top=True,
                lower_is_better=kind.startswith("first_wrong"),
                for_user="higher" if kind == "first_right_own" else "lower",
                fair_by_chance=kind == "first_wrong_own",
                stored=False,
            )
            for kind in ("first_right_own", "first_right_other", "first_wrong_own", "first_wrong_other")
        ),
        cut_measure("Lang-nDCG", 10, bias=True, for_user="higher", stored=False),
        _bias_measure(
            "MLRS-Q", from_pool=lambda bias: bias.rank_shift(), lower_is_better=True, fair_by_chance=True, stored=False
        ),
        cut_measure("PEER", 20, bias=True, fair_by_chance=True, stored=False),
        _bias_measure(
            "rank_equality", from_pool=lambda bias: bias.rank_equality(), fair_by_chance=True, old_names=("PEER",)
        ),
        _bias_measure("MRC@20", from_pool=lambda bias: bias.rank_consistency(), depth=20, needs_top=True),
        _bias_measure(
            "AWRF@20", from_pool=lambda bias: bias.exposure_fairness(), depth=20, needs_top=True, fair_by_chance=True
        ),
        _bias_measure(
            "remove_same_language",
            from_pool=lambda bias: bias.removal()[0],
            needs_translations=True,
            fair_by_chance=True,
            lower_is_better=True,
        ),
        _bias_measure("remove_other_language", from_pool=lambda bias: bias.removal()[1], needs_translations=True),
        Measure("AP_below_best", modes=("multi",), lower_is_better=True),
    ]
)
