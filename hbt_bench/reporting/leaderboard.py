"""The leaderboard: one row a model on each collection, from the results in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hbt_bench.errors import UsageError
from hbt_bench.ranking.subsets import MODES
from hbt_bench.reporting import columns
from hbt_bench.reporting.columns import Column
from hbt_bench.reporting.gather import Choice, Gathered, reported_standings
from hbt_bench.reporting.results import Result
from hbt_bench.reporting.standing import Key, Standing, assign_ranks
from hbt_bench.reporting.table import Table

#: The order of models when nothing is asked for: the first of these that there is. Of what is equal, the AP decides.
SORT = ("multi:AP", "cross:AP", "mono:AP", "model")


@dataclass(frozen=True)
class Leaderboard:
    """Standings on all collections, the collections by name and the models from best to worst.

    `notes` are what a reader must know.
    """

    rows: tuple[Standing, ...]
    choice: Choice = field(default_factory=Choice)
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        results: Iterable[Result],
        reported: bool = False,
        choice: Choice | None = None,
        sort: str | None = None,
        intervals: bool = True,
    ) -> Leaderboard:
        """Gather the modes of each model; with `reported`, add the figures of the papers, marked as such.

        Intervals and ranks come with a result; where they do not, or are asked for of some languages, they are made
        from its ranks, unless `intervals` is False. Raises `UsageError` for an unknown column, and for a choice that
        leaves nothing though there are results.
        """
        choice = choice or Choice()
        gathered = Gathered(choice, columns.full_name(sort or SORT[0]).rpartition(":")[2], intervals)
        for result in results:
            gathered.add(result)
        rows = [*gathered.rows.values()]
        if reported and not choice.languages:
            rows += [row for row in reported_standings(choice) if choice.takes_model(row.model, row.label)]
        if not rows and gathered.seen:
            raise UsageError(choice.nothing_left(gathered.seen))
        board = cls(tuple(rows), choice, tuple(dict.fromkeys(gathered.notes)))
        if not rows:
            return board
        known = {":".join(key) for key in board.known}
        by = sort or next(name for name in SORT if name in known or name in columns.PLAIN)
        column = columns.parse([by], board.known)[0]
        rows.sort(key=lambda row: (row.collection, row.data, column.order(row), _order(row), row.label))
        if column.key:
            for collection, data in board.collections:
                assign_ranks([row for row in rows if (row.collection, row.data) == (collection, data)], column.key)
        return cls(tuple(rows), choice, board.notes)

    @cached_property
    def known(self) -> list[Key]:
        """Every mode and measure that there is."""
        found = {key for row in self.rows for key in row.values}
        first = {key: place for row in self.rows[:1] for place, key in enumerate(row.values)}
        return sorted(found, key=lambda key: (MODES.index(key[0]), first.get(key, len(first)), key[1]))

    def columns(self, names: Sequence[str] = ()) -> list[Column]:
        """Columns by name; by default those of `columns.DEFAULT` that are not empty."""
        if names:
            return columns.parse(names, self.known)
        there = {":".join(key) for key in self.known} | set(columns.PLAIN)
        wanted = [name for name in columns.DEFAULT.split(",") if columns.full_name(name) in there]
        marked = any(not row.measured for row in self.rows)  # else there is nothing to tell apart
        return [
            column
            for column in columns.parse(wanted, self.known)
            if (marked if column.name == "source" else any(column.text(row) != "-" for row in self.rows))
        ]

    def tables(self, chosen: Sequence[Column] | None = None) -> list[Table]:
        """One table a collection; reported figures stand in each table of theirs."""
        chosen = self.columns() if chosen is None else chosen
        return [self.table(name, data, chosen) for name, data in self.collections]

    @property
    def collections(self) -> list[tuple[str, str]]:
        """Collections with the data they were measured on; empty data where all is reported."""
        found = dict.fromkeys((row.collection, row.data) for row in self.rows if row.measured)
        measured = {collection for collection, _ in found}
        found |= dict.fromkeys((row.collection, "") for row in self.rows if row.collection not in measured)
        return sorted(found)

    def table(self, name: str, data: str, chosen: Sequence[Column]) -> Table:
        """The table of one collection, with the figures that are reported on it."""
        rows = [row for row in self.rows if row.collection == name and row.data in ("", data)]
        cells = [[column.text(row) for column in chosen] for row in rows]
        part = f"; languages {' '.join(self.choice.languages)}" if self.choice.languages else ""
        title = f"{name} ({f'data {data}' if data else 'reported'}{part})"
        names = [column.name for column in chosen]
        left = next((at for at, column in enumerate(chosen) if column.key), len(chosen))
        return Table(
            [column.header for column in chosen],
            cells,
            title,
            names=left,
            bold=_bold(rows, cells, chosen),
            heading=names.index("model") if "model" in names else 0,
            records=[_record(row, chosen) for row in rows],
        )

    @property
    def legend(self) -> list[str]:
        """What the marks in the tables mean."""
        lines = []
        for row in self.rows:
            for mode, (found, expected) in row.missing.items():
                lines.append(f"{row.label} has {found} of {expected} subsets of {row.collection}-{mode}")
        if len(lines) > _EXAMPLES:
            lines[_EXAMPLES:] = [f"{len(lines) - _EXAMPLES} more such results"]
        if lines:
            lines = ["* mean over fewer languages than the task has, without a rank: " + "; ".join(lines)]
        if any(not row.measured for row in self.rows):
            sources = dict.fromkeys(row.source.removeprefix("reported: ") for row in self.rows if not row.measured)
            lines.append(f"† figures of {' and '.join(sources)}, not measured here and without a rank")
        if any(row.rank for row in self.rows):
            lines.append(
                "A model that cannot be told apart from the best of a rank shares it (randomization test by question, "
                "p < 0.05, Bonferroni); ± is the wider half of the 95 % interval"
            )
        return lines


#: Incomplete results that are told one by one.
_EXAMPLES = 5


def _record(row: Standing, chosen: Sequence[Column]) -> dict[str, Any]:
    """A row in full: what it is of, then the columns as values."""
    about: dict[str, Any] = {
        "collection": row.collection,
        "data": row.data or None,
        "model": row.model,
        "revision": row.revision or None,
        "prompt": row.prompt if row.measured else None,
        "source": row.source,
        "incomplete": sorted(row.missing),
    }
    for column in chosen:
        about |= {key: value for key, value in column.record(row).items() if key not in about}
    return about


def _bold(
    rows: Sequence[Standing], cells: Sequence[Sequence[str]], chosen: Sequence[Column]
) -> frozenset[tuple[int, int]]:
    """The best of each column of scores and all that print the same; only measured and complete ones compete."""
    found = set()
    for place, column in enumerate(chosen):
        if column.key is None:
            continue
        mode = column.key[0]
        there = [
            at
            for at, row in enumerate(rows)
            if row.measured and mode not in row.missing and row.value(column.key) is not None
        ]
        if there:
            best = cells[min(there, key=lambda at: column.order(rows[at]))][place].partition("\n")[0]
            found |= {(at, place) for at in there if cells[at][place].partition("\n")[0] == best}
    return frozenset(found)


def _order(row: Standing) -> tuple[float, ...]:
    """Best first by AP: in the pool of all languages, then across, then within languages."""
    return tuple(-(row.value((mode, "AP")) or 0.0) for mode in reversed(MODES))
