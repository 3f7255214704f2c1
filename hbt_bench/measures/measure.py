"""A measure with every fact about it, and the registry that finds measures by name.

Import both from `hbt_bench.measures.registry`, which fills the registry.

The functions are called late, as in ``lambda ranking: ranking.rank_distance()``: task files are checked against the
names of the measures, and to list the tasks must not take the time that numpy needs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

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

    The part of a ranking that decides, because a run is cut:
        depth: The rank below which no document counts, None if any rank may count.
        needs_top: True if the function needs all documents up to `depth`, not only the relevant documents.
        limits: Computes the lowest and highest value that a cut leaves open, None if no limits are known.

    The numbers:
        lower_is_better: True if a lower value is better.
        for_user: Whether a reader of the query's language alone gains from a higher value ("higher") or a lower value
            ("lower"), "" if the measure does not concern such a reader.
        fair_by_chance: True if a random ranking has the best value, since it prefers no language. Other scores that are
            not better than a random ranking are not bold.
        bounds: The lowest and highest possible value; a file with a value outside them is damaged.
        decimals: Decimals in tables.

    The names:
        title: The name in running text, if it is not `name` with its mode.
        heading: A shorter title for columns.
        aliases: Other names: of the leaderboard's column, and in options.
        old_names: Keys of the measure in the results of older versions.

    Where it appears:
        scored: In every result, for each subset, with a 95 % interval.
        contributions: Results store the contribution of each question, so that tests need no ranks.
        summary: In the second line of a result file, which leaderboards read.
        bias: In the bias report, and in every multilingual result if `stored`.
        stored: False if the measure is computed from the ranks when it is shown, so that results do not grow.
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
    depth: int | None = None
    needs_top: bool = False
    limits: Callable[[Ranking], tuple[Array, Array]] | None = None
    lower_is_better: bool = False
    for_user: Literal["higher", "lower", ""] = ""
    fair_by_chance: bool = False
    bounds: Bounds = FINITE
    decimals: int = 4
    title: str = ""
    heading: str = ""
    aliases: tuple[str, ...] = ()
    old_names: tuple[str, ...] = ()
    scored: bool = False
    contributions: bool = False
    summary: bool = False
    bias: bool = False
    stored: bool = True
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

    @property
    def shown_name(self) -> str:
        """The name in the bias report: that of the paper, if it is short, else `name`."""
        return self.aliases[0] if self.title in self.aliases else self.name

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
        self.check_cut(bias.ranking, bias.ranks.top.shape[1])
        if self.from_pool is not None:
            return self.from_pool(bias)
        if self.from_ranking is not None:
            return self.from_ranking(bias.ranking)
        raise DataError(f"{self.name} has no value for a query")

    def check_cut(self, ranking: Ranking, top: int | None = None) -> None:
        """Raise `DataError` if the cut of a run leaves the value of a query open.

        `top` is the number of best documents that are known of each query, None if the measure needs none of them.
        """
        if ranking.cut is None:
            return
        shallow = self.depth is None or self.depth > ranking.cut.depth
        if shallow and ranking.open.any() and not self._is_decided(ranking):
            raise DataError(
                f"{self.name} depends on ranks below {ranking.cut.depth}, where the run was cut: "
                f"{ranking.open.sum():,} of {len(ranking.ranks):,} relevant documents are not in the run. Use a "
                f"measure with a cut-off, such as {'AP' if self.depth is None else 'R'}@{ranking.cut.depth}."
            )
        needs = (self.depth or ranking.cut.candidates) if self.needs_top else 0
        if top is not None and top < min(needs, ranking.cut.candidates):
            raise DataError(
                f"{self.name} needs the {needs} best documents of each query, but a ranking of the run has {top} only"
            )

    def _is_decided(self, ranking: Ranking) -> bool:
        """Return whether the limits that a cut leaves open are equal, as those of RR if all first hits are found."""
        if self.limits is None or self.from_ranking is None:
            return False
        low, high = self.limits(ranking)
        decided = (low == high) & (low == self.from_ranking(ranking))
        return bool((decided | (low != low)).all())  # NaN is the value of a query to which the measure does not apply


_DEPTH = r"[1-9]\d{0,8}"
#: MTEB's keys with values from 0 to 1, which excludes nAUC.
_UNIT_KEY = re.compile(r"(map|ndcg|recall|precision|mrr|hit_rate)_at_\d+|accuracy")


#: The measures that look at the top k only, by the name before ``@k``.
CUT_MEASURES: dict[str, Callable[[Ranking, int], Array]] = {
    "AP": lambda ranking, depth: ranking.average_precision(depth, capped=True),  # XTREME-R's divisor
    "nDCG": lambda ranking, depth: ranking.ndcg(depth),
    "nDCGexp": lambda ranking, depth: ranking.ndcg(depth, exponential=True),
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

    def __init__(self) -> None:
        self._measures: dict[str, Measure] = {}

    def __iter__(self) -> Iterator[Measure]:
        """Iterate over the registered measures."""
        return iter(self._measures.values())

    def __getitem__(self, name: str) -> Measure:
        """Return a registered measure by its exact name."""
        return self._measures[name]

    def register(self, *measures: Measure) -> None:
        """Add measures, after all others; raise `UsageError` if a name is taken."""
        for measure in measures:
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


#: Every measure, in the order of the columns of results; `hbt_bench.measures.registry` fills it.
MEASURES = MeasureRegistry()
