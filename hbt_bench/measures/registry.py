"""The registry of measures: every fact about a measure is written here, and nowhere else.

To add a measure, write its function in `Ranking` or `Bias` and register a `Measure` below. Results, intervals,
leaderboards, comparisons, bias tables, studies and reports read their lists from `MEASURES`. Document the measure in
``docs/reference/measures.md``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.errors import DataError, UsageError, did_you_mean
from hbt_bench.identity.task_name import MODES, Mode
from hbt_bench.measures.bias import DEPTH, Bias, require_translations
from hbt_bench.measures.mteb_keys import lies_between_0_and_1
from hbt_bench.measures.ranking import Array, Ranking

Bounds = tuple[float, float]

UNIT: Bounds = (0.0, 1.0)
#: Ranks are below 2^31.
RANKS: Bounds = (0.0, 2.0**31)
FINITE: Bounds = (-sys.float_info.max, sys.float_info.max)

#: The bias measure on leaderboards.
EXCESS = f"same_language_excess@{DEPTH}"


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
            require_translations(bias.judgements, self.title or self.name)
        if self.from_pool is not None:
            return self.from_pool(bias)
        if self.from_ranking is not None:
            return self.from_ranking(bias.ranking)
        raise DataError(f"{self.name} has no value for a query")


@dataclass(frozen=True)
class CutMeasure:
    """A measure that looks at the top k only, such as nDCG@k."""

    name: str
    function: Callable[[Ranking, int], Array]

    def at(self, depth: int) -> Measure:
        """Return the measure with a cut-off: ``at(10)`` of nDCG is nDCG@10."""
        return Measure(f"{self.name}@{depth}", lambda ranking: self.function(ranking, depth), bounds=UNIT)


class MeasureRegistry:
    """All measures by name, in the order of the columns of results."""

    def __init__(self, measures: Iterable[Measure], cut_measures: Iterable[CutMeasure]) -> None:
        self._measures = {measure.name: measure for measure in measures}
        self._cut_measures = {measure.name: measure for measure in cut_measures}
        self._described: dict[str, Measure] = {}

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
        self._described.clear()

    def unregister(self, name: str) -> None:
        """Remove a measure."""
        del self._measures[name]
        self._described.clear()

    def parse(self, name: str) -> Measure:
        """Return a measure that has a value for each query, with any cut-off.

        Raises `UsageError` with a suggestion for an unknown name.
        """
        measure = self._find(name)
        if measure is not None and measure.has_query_values:
            return measure
        depth = name.rpartition("@")[2]
        cut = [f"{base}@{depth if re.fullmatch(_DEPTH, depth) else 10}" for base in self._cut_measures]
        names = list(dict.fromkeys([*(measure.name for measure in self if measure.has_query_values), *cut]))
        near = did_you_mean(name, names) or f" (choose from {', '.join(names)})"
        raise UsageError(f"unknown measure '{name}'{near}")

    def describe(self, name: str) -> Measure:
        """Return the facts about any score: of ours, under MTEB's keys, or unknown (then any finite number)."""
        if name not in self._described:  # thousands of cells ask for the same names
            self._described[name] = self._find(name) or _unregistered(name)
        return self._described[name]

    def _find(self, name: str) -> Measure | None:
        if name in self._measures:
            return self._measures[name]
        match = re.fullmatch(rf"(\w+?)@({_DEPTH})", name)
        if match and match[1] in self._cut_measures:
            return self._cut_measures[match[1]].at(int(match[2]))
        return None

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


def _unregistered(name: str) -> Measure:
    for prefix, measure in _PER_LANGUAGE.items():
        if name.startswith(prefix):
            return replace(measure, name=name)
    return Measure(name, bounds=UNIT if lies_between_0_and_1(name) else FINITE)


_DEPTH = r"[1-9]\d{0,8}"

_NDCG = CutMeasure("nDCG", Ranking.ndcg)
_RECALL = CutMeasure("R", Ranking.recall)
_CUT_MEASURES = (
    CutMeasure("AP", lambda ranking, depth: ranking.average_precision(depth, capped=True)),  # XTREME-R's divisor
    _NDCG,
    _RECALL,
    CutMeasure("P", Ranking.precision),
    CutMeasure("RR", Ranking.reciprocal_rank),
    CutMeasure("Success", Ranking.success),
)

_MULTI: tuple[Mode, ...] = ("multi",)

#: Scores of a query language for each document language, by the beginning of their names.
_PER_LANGUAGE = {
    "mean_rank_": Measure("mean_rank", modes=_MULTI, lower_is_better=True),
    "top10_share_": Measure("top10_share", modes=_MULTI),
}

#: Every measure, in the order of the columns of results.
MEASURES = MeasureRegistry(
    [
        Measure(
            "AP",
            Ranking.average_precision,
            bounds=UNIT,
            scored=True,
            contributions=True,
            summary=True,
            headline=True,
            table_place=1,
            columns=MODES,
            lead=True,
        ),
        Measure("RR", Ranking.reciprocal_rank, bounds=UNIT, scored=True),
        replace(_NDCG.at(10), scored=True, table_place=4),
        replace(_RECALL.at(1), scored=True, summary=True, table_place=2, columns=("mono", "cross")),
        replace(_RECALL.at(10), scored=True, summary=True, table_place=3, columns=_MULTI),
        replace(_RECALL.at(100), scored=True),
        Measure(
            "rank_distance",
            Ranking.rank_distance,
            modes=_MULTI,
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
            bias=True,
            headline=True,
            table_place=6,
            columns=_MULTI,
            lead=True,
        ),
        Measure(
            "rank_distance_relative",
            from_pool=Bias.relative_rank_distance,
            modes=_MULTI,
            needs_translations=True,
            lower_is_better=True,
            decimals=1,
            bias=True,
        ),
        Measure("Max@R", from_pool=Bias.max_rank, modes=_MULTI, lower_is_better=True, bias=True),
        Measure("Complete@20", from_pool=lambda bias: bias.complete(20), modes=_MULTI, bias=True),
        Measure("Complete@100", from_pool=lambda bias: bias.complete(100), modes=_MULTI, bias=True),
        Measure(f"TLR@{DEPTH}", from_pool=Bias.target_language_recall, modes=_MULTI, bias=True),
        Measure(
            "same_language_first", from_pool=Bias.same_language_first, modes=_MULTI, lower_is_better=True, bias=True
        ),
        Measure(
            EXCESS,
            from_pool=Bias.same_language_excess,
            modes=_MULTI,
            lower_is_better=True,
            bounds=(-1.0, 1.0),
            title="own-language bias",
            heading="own-lang. bias",
            aliases=("bias",),
            scored=True,
            summary=True,
            bias=True,
            columns=_MULTI,
            lead=True,
        ),
        Measure("PEER", from_pool=Bias.peer, modes=_MULTI, bias=True),
        Measure("MRC@20", from_pool=Bias.rank_consistency, modes=_MULTI, bias=True),
        Measure("AWRF@20", from_pool=Bias.exposure_fairness, modes=_MULTI, bias=True),
        Measure(
            "remove_same_language",
            from_pool=Bias.same_language_removal,
            modes=_MULTI,
            needs_translations=True,
            lower_is_better=True,
            bias=True,
        ),
        Measure(
            "remove_other_language",
            from_pool=Bias.other_language_removal,
            modes=_MULTI,
            needs_translations=True,
            bias=True,
        ),
        Measure("AP_below_best", modes=_MULTI, lower_is_better=True),
    ],
    _CUT_MEASURES,
)
