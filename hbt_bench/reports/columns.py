"""The columns of a leaderboard: what can be shown, sorted by and asked for by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from hbt_bench.errors import UsageError, did_you_mean
from hbt_bench.identity.task_name import Mode
from hbt_bench.measures.registry import MEASURES
from hbt_bench.reports.rows import Key, LeaderboardRow
from hbt_bench.reports.table import number


def default() -> list[str]:
    """Return the names of the default columns, the most important first: a narrow terminal shows as many as fit."""
    lead, others = (
        [f"{mode}:{measure.name}" for measure in MEASURES if measure.lead == first for mode in measure.columns]
        for first in (True, False)
    )
    return ["rank", "model", *lead, "worst", *others, "parameters", "speed", "source"]


def _aliases() -> dict[str, str]:
    """Return the full names of columns by their short names."""
    return {alias: f"{measure.modes[0]}:{measure.name}" for measure in MEASURES for alias in measure.aliases}


@dataclass(frozen=True)
class Column:
    """One column: `key` is the mode and measure of a column of scores, None for another.

    Of a standing, `text` is the cell, `order` what to sort by, best first, `value` the one value of the cell, and
    `record` all of its values by name.
    """

    name: str
    header: str
    text: Callable[[LeaderboardRow], str]
    order: Callable[[LeaderboardRow], Any]
    record: Callable[[LeaderboardRow], dict[str, Any]]
    value: Callable[[LeaderboardRow], float | str | None]
    key: Key | None = None

    @property
    def lower_is_better(self) -> bool:
        """Which way is better, for a column of scores."""
        return self.key is not None and MEASURES.describe(self.key[1]).lower_is_better


@cache
def score(mode: Mode, measure: str) -> Column:
    """The column of a mode and measure."""
    key = (mode, measure)
    about = MEASURES.describe(measure)

    def text(standing: LeaderboardRow) -> str:
        value = standing.value(key)
        mark = "*" if mode in standing.missing and value is not None else ""
        interval = standing.intervals.get(key)
        note = ""
        if value is not None and interval is not None:
            note = f"\n±{number(max(interval[1] - value, value - interval[0]), measure)}"
        return number(value, measure, standing.decimals.get(key)) + mark + note

    def order(standing: LeaderboardRow) -> Any:
        value = standing.value(key)
        # a mean over fewer languages is none of the others' equals
        return (value is None, mode in standing.missing, (value or 0.0) * (1 if about.lower_is_better else -1))

    def record(standing: LeaderboardRow) -> dict[str, Any]:
        low, high = standing.intervals.get(key, (None, None))
        name = f"{mode} {measure}"
        return {name: standing.value(key), f"{name} low": low, f"{name} high": high}

    title = about.heading_in(mode)
    return Column(f"{mode}:{measure}", title, text, order, record, lambda standing: standing.value(key), key)


def _plain(name: str, header: str, value: Callable[[LeaderboardRow], Any], text: Callable[[Any], str]) -> Column:
    def shown(standing: LeaderboardRow) -> str:
        found = value(standing)
        return "-" if found is None or found == "" else text(found)

    def order(standing: LeaderboardRow) -> Any:
        found = value(standing)
        return (found is None, found if found is not None else "")

    return Column(name, header, shown, order, lambda standing: {header: value(standing)}, value)


def _amount(value: float) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.0f}"


def _worst(standing: LeaderboardRow) -> dict[str, Any]:
    code, value = standing.worst or (None, None)
    return {"worst language": code, "worst AP": value, "worst mode": standing.languages_mode}


def _worst_text(standing: LeaderboardRow) -> str:
    if not standing.worst:
        return "-"
    code, value = standing.worst
    return f"{code} {number(value, 'AP')}\n{standing.languages_mode} AP"


def _rank(standing: LeaderboardRow) -> dict[str, Any]:
    return {"rank": standing.rank, "rank by": key_title(standing.ranked_by) if standing.ranked_by else None}


def key_title(key: Key) -> str:
    """A mode and a measure as headings have them: ``multi AP``, ``rank distance`` of which there is one mode only."""
    return MEASURES.describe(key[1]).title_in(key[0])


def _plain_columns() -> dict[str, Column]:
    columns = [
        _plain("model", "model", lambda one: one.label, str),
        _plain("collection", "collection", lambda one: one.collection, str),
        _plain("revision", "revision", lambda one: one.revision, str),
        _plain("prompt", "prompt", lambda one: one.prompt if one.measured else None, str),
        _plain("data", "data", lambda one: one.data, str),
        _plain("parameters", "parameters", lambda one: one.parameters, _amount),
        _plain("speed", "texts/s", lambda one: one.speed, lambda value: f"{value:,.0f}"),
        _plain("source", "source", lambda one: one.source, lambda value: value.partition(":")[0]),
    ]
    columns += [
        Column(
            "rank",
            "rank",
            lambda one: str(one.rank or "-"),
            lambda one: one.rank or math.inf,
            _rank,
            lambda one: one.rank,
        ),
        Column(
            "worst",
            "worst language",
            _worst_text,
            lambda one: (one.worst is None, -one.worst[1] if one.worst else 0.0),
            _worst,
            lambda one: one.worst[1] if one.worst else None,
        ),
    ]
    return {column.name: column for column in columns}


#: Columns that are no scores.
PLAIN = _plain_columns()


def full_name(name: str) -> str:
    """The name of a column, for a short one."""
    return _aliases().get(name, name)


def parse(names: Iterable[str], known: Sequence[Key]) -> list[Column]:
    """Columns by name: ``model``, ``multi:AP``, ``AP`` (in every mode that has it), ``bias``, or ``all``.

    `known` are the scores that there are. Raises `UsageError` for a name that is none of them.
    """
    found: dict[str, Column] = {}
    for name in names:
        full = full_name(name)
        if full in PLAIN:
            found[full] = PLAIN[full]
            continue
        keys = [key for key in known if full in ("all", key[1], ":".join(key))]
        if not keys:
            near = did_you_mean(
                name, [*PLAIN, *_aliases(), *{key[1] for key in known}, *(":".join(key) for key in known)]
            )
            raise UsageError(
                f"unknown column '{name}'{near or '; name a measure as in multi:AP or R@1, or ' + ', '.join(PLAIN)}"
            )
        found |= {":".join(key): score(*key) for key in keys}
    return list(found.values())


def measures(names: Iterable[str]) -> frozenset[str] | None:
    """The measures that columns need, None when that is not known before all results are read."""
    wanted = {full_name(name).rpartition(":")[2] for name in names if name not in PLAIN}
    return None if "all" in wanted else frozenset(wanted)
