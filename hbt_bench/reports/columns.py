"""The columns of a leaderboard: their names, cells and order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from hbt_bench.errors import UsageError, did_you_mean
from hbt_bench.identity.task_name import Mode
from hbt_bench.measures.registry import MEASURES
from hbt_bench.reports.leaderboard_rows import Key, LeaderboardRow
from hbt_bench.reports.table import number


@dataclass(frozen=True)
class Column:
    """A column of a leaderboard, with functions of a row.

    For example, ``score("multi", "AP").text(row)`` is ``0.5927`` with the interval in a second line.

    Attributes:
        name, header: The name in options, and the heading.
        text: Returns the cell.
        record: Returns all values of the cell by name, for CSV and JSON.
        value: Returns the main value of the cell.
        key: The mode and measure of a score, else None.
        descending: Whether the row with the greatest value comes first.
    """

    name: str
    header: str
    text: Callable[[LeaderboardRow], str]
    record: Callable[[LeaderboardRow], dict[str, Any]]
    value: Callable[[LeaderboardRow], Any]
    key: Key | None = None
    descending: bool = False

    @property
    def lower_is_better(self) -> bool:
        """True for a score if a lower value is better."""
        return self.key is not None and not self.descending

    def order(self, row: LeaderboardRow) -> tuple[Any, ...]:
        """Return the sort key of a row: rows without a value come last, after those with incomplete results."""
        value = self.value(row)
        if value is None and self.key in row.limits:
            value = row.limits[self.key][self.lower_is_better]  # the worst of the values that a cut leaves open
        # the mean of an incomplete result is over fewer languages
        incomplete = self.key is not None and self.key[0] in row.missing
        return (value is None, incomplete, 0 if value is None else -value if self.descending else value)


@cache
def score(mode: Mode, measure: str) -> Column:
    """Return the column of a mode and measure."""
    key, about = (mode, measure), MEASURES.describe(measure)

    def text(row: LeaderboardRow) -> str:
        value = row.value(key)
        if value is None:
            return "-" if key not in row.limits else "\n".join(f"{number(end, measure)}‡" for end in row.limits[key])
        mark = "*" if mode in row.missing else ""
        interval = row.intervals.get(key)
        width = f"\n±{number(max(interval[1] - value, value - interval[0]), measure)}" if interval else ""
        return number(value, measure, row.decimals.get(key)) + mark + width

    def record(row: LeaderboardRow) -> dict[str, Any]:
        low, high = row.intervals.get(key, (None, None))
        name = f"{mode} {measure}"
        return {name: row.value(key), f"{name} low": low, f"{name} high": high}

    name, heading = f"{mode}:{measure}", about.heading_in(mode)
    return Column(name, heading, text, record, lambda row: row.value(key), key, not about.lower_is_better)


def key_title(key: Key) -> str:
    """Return a mode and measure as in titles: ``multi AP``, or ``rank distance``, which has a single mode."""
    return MEASURES.describe(key[1]).title_in(key[0])


def charted_scores() -> dict[Key, str]:
    """Return the scores of charts with their titles, such as ``("multi", "AP"): "multi AP"``."""
    return {
        (mode, measure.name): measure.title_in(mode)
        for measure in MEASURES
        if measure.headline
        for mode in measure.modes
    }


def _column(
    name: str, value: Callable[[LeaderboardRow], Any], text: Callable[[Any], str] = str, header: str = ""
) -> Column:
    """Return a column of a single fact."""
    header = header or name

    def cell(row: LeaderboardRow) -> str:
        fact = value(row)
        return "-" if fact in (None, "") else text(fact)

    return Column(name, header, cell, lambda row: {header: value(row)}, value)


def _rank_record(row: LeaderboardRow) -> dict[str, Any]:
    return {"rank": row.rank, "rank by": key_title(row.ranked_by) if row.ranked_by else None}


def _worst_text(row: LeaderboardRow) -> str:
    return f"{row.worst[0]} {number(row.worst[1], 'AP')}\n{row.languages_mode} AP" if row.worst else "-"


def _worst_record(row: LeaderboardRow) -> dict[str, Any]:
    code, value = row.worst or (None, None)
    return {"worst language": code, "worst AP": value, "worst mode": row.languages_mode}


def _parameters(count: float) -> str:
    """Return a count with three digits. For example, ``22.7M``."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"


#: The columns that are not scores, by name.
FACTS = {
    column.name: column
    for column in (
        _column("model", lambda row: row.label),
        _column("collection", lambda row: row.collection),
        _column("revision", lambda row: row.revision),
        _column("prompt", lambda row: row.prompt if row.measured else None),
        _column("data", lambda row: row.data),
        _column("parameters", lambda row: row.parameters, _parameters),
        _column("speed", lambda row: row.speed, lambda value: f"{value:,.0f}", header="texts/s"),
        _column("source", lambda row: row.source, lambda value: value.partition(":")[0]),
        Column("rank", "rank", lambda row: str(row.rank or "-"), _rank_record, lambda row: row.rank),
        Column(
            "worst", "worst language", _worst_text, _worst_record, lambda row: row.worst and row.worst[1], None, True
        ),
    )
}


def default_names() -> list[str]:
    """Return the names of the default columns, the most important first: a narrow terminal shows as many as fit."""
    lead, others = (
        [f"{mode}:{measure.name}" for measure in MEASURES if measure.lead == is_lead for mode in measure.columns]
        for is_lead in (True, False)
    )
    return ["rank", "model", *lead, "worst", *others, "parameters", "speed", "source"]


def full_name(name: str) -> str:
    """Return the name of a column without abbreviation. For example, ``bias`` is a measure in the mode ``multi``."""
    return _aliases().get(name, name)


def _aliases() -> dict[str, str]:
    return {alias: f"{measure.modes[0]}:{measure.name}" for measure in MEASURES for alias in measure.aliases}


def select(names: Iterable[str], keys: Sequence[Key]) -> list[Column]:
    """Return columns by name, out of `FACTS` and of the scores in `keys`.

    A measure selects the column of every mode that has it, and "all" every score. For example,
    ``select(["model", "AP", "multi:nDCG@10"], leaderboard.keys)``. Raises `UsageError` for an unknown name.
    """
    columns: dict[str, Column] = {}
    for name in names:
        full = full_name(name)
        if full in FACTS:
            columns[full] = FACTS[full]
            continue
        matches = [key for key in keys if full in ("all", key[1], ":".join(key))]
        if not matches:
            all_names = [*FACTS, *_aliases(), *{measure for _, measure in keys}, *(":".join(key) for key in keys)]
            hint = did_you_mean(name, all_names) or f"; name a measure as in multi:AP or R@1, or {', '.join(FACTS)}"
            raise UsageError(f"unknown column '{name}'{hint}")
        columns |= {":".join(key): score(*key) for key in matches}
    return list(columns.values())


def required_measures(names: Iterable[str]) -> frozenset[str] | None:
    """Return the measures that columns need, or None for "all", which depends on the results."""
    measures = {full_name(name).rpartition(":")[2] for name in names if name not in FACTS}
    return None if "all" in measures else frozenset(measures)
