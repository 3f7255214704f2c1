"""The registry of measures: every fact about a measure is written here, and nowhere else.

To add a measure, write its function in `Ranking` or `Bias` and register a `Measure` below. Results, intervals,
leaderboards, comparisons, bias tables, studies and reports read their lists from `MEASURES`. Document the measure in
``docs/reference/measures.md``.

A function is called late, as in ``lambda ranking: ranking.rank_distance()``: task files are checked against the names
of the measures, and to list the tasks must not take the time that numpy needs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.errors import DataError, UsageError, did_you_mean
from hbt_bench.identity.task_name import MODES, Mode

if TYPE_CHECKING:
    from hbt_bench.measures.bias import Bias
    from hbt_bench.measures.ranking import Array, Ranking

Bounds = tuple[float, float]

UNIT: Bounds = (0.0, 1.0)
#: Ranks are below 2^31.
RANKS: Bounds = (0.0, 2.0**31)
FINITE: Bounds = (-sys.float_info.max, sys.float_info.max)

#: The bias measure on leaderboards.
EXCESS = "same_language_excess@10"

_DEPTH = r"[1-9]\d{0,8}"
#: MTEB's keys with values from 0 to 1, which excludes nAUC.
_UNIT_KEY = re.compile(r"(map|ndcg|recall|precision|mrr|hit_rate)_at_\d+|accuracy")


@dataclass(frozen=True)
class Measure:
    """A measure: its name, its function, and where it appears.

    For example, ``Measure.parse("nDCG@10").from_ranking(ranking)`` is an array with a value for each query.

    The function:
        from_ranking: Computes the measure of each query of a subset, in any mode.
        from_pool: Computes it for all queries of a collection from the pool of all languages, if it needs more than
            the ranks of the relevant documents. A score of a whole language, such as ``mean_rank_de``, has
            neither function.
        modes: The modes in which the measure is defined.
        needs_translations: True if the measure applies only to collections whose answers are translations.

    The numbers:
        lower_is_better: True if a lower value is better.
        bounds: The lowest and highest possible value; a file with a value outside them is damaged.
        decimals: Decimals in tables.

    The names:
        title: The name in running text, if it is not `name` with its mode.
        heading: A shorter title for columns.
        aliases: Short names of the leaderboard's column.

    Where it appears:
        scored: In every result, for each subset, with a 95 % interval.
        contributions: Results store the contribution of each question, so that tests need no ranks.
        summary: In the second line of a result file, which leaderboards read.
        bias: In the bias report, and in every multilingual result.
        headline: Compared, studied, drawn against alpha and watched in training by default.
        table_place: Position in the tables of `run`, `show` and model cards, None to leave it out.
        columns: The modes with a column in the default leaderboard.
        lead: True if those columns come before the worst language, and so fit narrow terminals.
    """

    name: str
    from_ranking: Callable[[Ranking], Array] | None = None
    from_pool: Callable[[Bias], Array] | None = None
    modes: tuple[Mode, ...] = MODES
    needs_translations: bool = False
    lower_is_better: bool = False
    bounds: Bounds = FINITE
    decimals: int = 4
    title: str = ""
    heading: str = ""
    aliases: tuple[str, ...] = ()
    scored: bool = False
    contributions: bool = False
    summary: bool = False
    bias: bool = False
    headline: bool = False
    table_place: int | None = None
    columns: tuple[Mode, ...] = ()
    lead: bool = False

    @classmethod
    def parse(cls, name: str) -> Measure:
        """Return the measure called `name`, such as ``AP`` or ``nDCG@10``; raise `UsageError` for an unknown name."""
        return MEASURES.parse(name)

    @property
    def has_query_values(self) -> bool:
        """Whether the measure has a value for each query."""
        return self.from_ranking is not None or self.from_pool is not None

    @property
    def arrow(self) -> str:
        """An arrow in the direction of better values."""
        return "↓" if self.lower_is_better else "↑"

    def title_in(self, mode: Mode) -> str:
        """Return the name in a mode, such as ``multi AP``; a measure with a `title` has a single mode."""
        return self.title or f"{mode} {self.name}"

    def heading_in(self, mode: Mode) -> str:
        """Return the heading of a column, such as ``multi AP ↑``."""
        return f"{self.heading or self.title_in(mode)} {self.arrow}"

    def applies_to(self, judgements: TextlessCollection, mode: Mode) -> bool:
        """Return whether the measure is defined for a collection in a mode."""
        return mode in self.modes and (judgements.parallel or not self.needs_translations)

    def pool_values(self, bias: Bias) -> Array:
        """Return the value of every query of a collection in the pool, (queries,), NaN for none.

        Raises `DataError` if the measure does not apply to the collection.
        """
        if self.needs_translations:
            from hbt_bench.measures.bias import require_translations

            require_translations(bias.judgements, self.title or self.name)
        if self.from_pool is not None:
            return self.from_pool(bias)
        if self.from_ranking is not None:
            return self.from_ranking(bias.ranking)
        raise DataError(f"{self.name} has no value for a query")


#: The measures that look at the top k only, by the name before ``@k``.
CUT_MEASURES: dict[str, Callable[[Ranking, int], Array]] = {
    "AP": lambda ranking, depth: ranking.average_precision(depth, capped=True),  # XTREME-R's divisor
    "nDCG": lambda ranking, depth: ranking.ndcg(depth),
    "R": lambda ranking, depth: ranking.recall(depth),
    "P": lambda ranking, depth: ranking.precision(depth),
    "RR": lambda ranking, depth: ranking.reciprocal_rank(depth),
    "Success": lambda ranking, depth: ranking.success(depth),
}


def cut_measure(name: str, depth: int, **facts: Any) -> Measure:
    """Return a measure with a cut-off: ``cut_measure("nDCG", 10)`` is nDCG@10."""
    function = CUT_MEASURES[name]
    return Measure(f"{name}@{depth}", lambda ranking: function(ranking, depth), bounds=UNIT, **facts)


class MeasureRegistry:
    """All measures by name, in the order of the columns of results."""

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
        cut = [f"{base}@{depth if re.fullmatch(_DEPTH, depth) else 10}" for base in CUT_MEASURES]
        names = list(dict.fromkeys([*(measure.name for measure in self if measure.has_query_values), *cut]))
        near = did_you_mean(name, names) or f" (choose from {', '.join(names)})"
        raise UsageError(f"unknown measure '{name}'{near}")

    def describe(self, name: str) -> Measure:
        """Return the facts about any score: of ours, under MTEB's keys, or unknown (then any finite number)."""
        if measure := self._find(name):
            return measure
        for prefix, lower_is_better in (("mean_rank_", True), ("top10_share_", False)):  # by document language
            if name.startswith(prefix):
                return Measure(name, modes=("multi",), lower_is_better=lower_is_better)
        return Measure(name, bounds=UNIT if _UNIT_KEY.fullmatch(name) else FINITE)

    def _find(self, name: str) -> Measure | None:
        if name in self._measures:
            return self._measures[name]
        match = re.fullmatch(rf"(\w+?)@({_DEPTH})", name)
        return cut_measure(match[1], int(match[2])) if match and match[1] in CUT_MEASURES else None

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


#: Measures of the multilingual mode in the bias report.
_bias_measure = partial(Measure, modes=("multi",), bias=True)

#: Every measure, in the order of the columns of results.
MEASURES = MeasureRegistry(
    [
        Measure(
            "AP",
            lambda ranking: ranking.average_precision(),
            bounds=UNIT,
            scored=True,
            contributions=True,
            summary=True,
            headline=True,
            table_place=1,
            columns=MODES,
            lead=True,
        ),
        Measure("RR", lambda ranking: ranking.reciprocal_rank(), bounds=UNIT, scored=True),
        cut_measure("nDCG", 10, scored=True, table_place=4),
        cut_measure("R", 1, scored=True, summary=True, table_place=2, columns=("mono", "cross")),
        cut_measure("R", 10, scored=True, summary=True, table_place=3, columns=("multi",)),
        cut_measure("R", 100, scored=True),
        _bias_measure(
            "rank_distance",
            lambda ranking: ranking.rank_distance(),
            needs_translations=True,
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
        _bias_measure("Complete@20", from_pool=lambda bias: bias.complete(20)),
        _bias_measure("Complete@100", from_pool=lambda bias: bias.complete(100)),
        _bias_measure("TLR@10", from_pool=lambda bias: bias.target_language_recall(10)),
        _bias_measure("same_language_first", from_pool=lambda bias: bias.same_language_first(), lower_is_better=True),
        _bias_measure(
            EXCESS,
            from_pool=lambda bias: bias.same_language_excess(10),
            lower_is_better=True,
            bounds=(-1.0, 1.0),
            title="own-language bias",
            heading="own-lang. bias",
            aliases=("bias",),
            scored=True,
            summary=True,
            columns=("multi",),
            lead=True,
        ),
        _bias_measure("PEER", from_pool=lambda bias: bias.peer()),
        _bias_measure("MRC@20", from_pool=lambda bias: bias.rank_consistency()),
        _bias_measure("AWRF@20", from_pool=lambda bias: bias.exposure_fairness()),
        _bias_measure(
            "remove_same_language",
            from_pool=lambda bias: bias.removal()[0],
            needs_translations=True,
            lower_is_better=True,
        ),
        _bias_measure("remove_other_language", from_pool=lambda bias: bias.removal()[1], needs_translations=True),
        Measure("AP_below_best", modes=("multi",), lower_is_better=True),
    ]
)
