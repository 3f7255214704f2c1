"""The leaderboard: one row a model on each collection, from the results in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from hbt_bench.errors import OutputError, UsageError
from hbt_bench.identity.task_name import MODES, Mode, TaskName
from hbt_bench.log import counter
from hbt_bench.measures.ranking import Array
from hbt_bench.reports import columns
from hbt_bench.reports.columns import Column
from hbt_bench.reports.row_builder import Choice, RowBuilder, reported_standings
from hbt_bench.reports.rows import Key, LeaderboardRow, assign_ranks
from hbt_bench.reports.table import Table
from hbt_bench.results.store import Result

#: By what models are sorted and ranked when nothing is asked for: the AP of the first of these modes that there is. A
#: measure without a mode is that of the first of them too.
MAIN_MODES: tuple[Mode, ...] = ("multi", "cross", "mono")
#: The collections that come first; the others follow by name.
MAIN_COLLECTIONS = ("xquad-r", "mlqa-r")


@dataclass(frozen=True)
class Board:
    """One collection, on one state of its data: the standings in order; empty `data` where all is reported.

    The ranks are by the score `ranked_by`, None where no model can be tested, and the order is that of `sorted_by`,
    None where it is not by a score. Reported figures stand on every board of their collection.
    """

    collection: str
    data: str
    rows: tuple[LeaderboardRow, ...]
    ranked_by: Key | None = None
    sorted_by: Key | None = None

    @property
    def known(self) -> set[Key]:
        """Every mode and measure that a model has; of reported ones alone where nothing was measured."""
        measured = {key for row in self.rows if row.measured for key in row.values}
        return measured or {key for row in self.rows for key in row.values}


@dataclass(frozen=True)
class Leaderboard:
    """Boards, those of the main collections first; `notes` are what a reader must know."""

    boards: tuple[Board, ...]
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

        `sort` is a column. A measure without a mode, such as ``R@1``, is that of the multilingual mode, or where a
        board has none, of the cross-lingual and then the monolingual. Ranks are by the measure that is sorted by, if it
        has a value a question; else, and on a board that does not have it, by AP. Intervals and what ranks need come
        with a result; where they do not, or are asked for of some languages, they are made from its ranks of documents,
        unless `intervals` is False: then there are no ranks.

        Raises `UsageError` for an unknown column, and for a choice that leaves nothing though there are results.
        """
        choice = choice or Choice()
        gathered = RowBuilder(choice, intervals)
        for result in results:
            gathered.add(result)
        rows = [*gathered.rows.values()]
        if reported and not choice.languages:
            rows += [row for row in reported_standings(choice) if choice.takes_model(row.model, row.label)]
        if not rows and gathered.seen:
            raise UsageError(choice.nothing_left(gathered.seen))
        if sort is not None and rows:
            columns.parse([sort], list({key for row in rows for key in row.values}))  # else it is no column
        notes = [*gathered.notes]
        boards = [
            _board(*one, rows, columns.full_name(sort) if sort else None, intervals, notes)
            for one in _collections(rows)
        ]
        return cls(tuple(boards), choice, tuple(dict.fromkeys(notes)))

    @cached_property
    def rows(self) -> tuple[LeaderboardRow, ...]:
        """The standings of all boards, each once."""
        return tuple({id(row): row for board in self.boards for row in board.rows}.values())

    @cached_property
    def known(self) -> list[Key]:
        """Every mode and measure that there is."""
        found = dict.fromkeys(key for row in self.rows for key in row.values)
        first = {key: place for row in self.rows[:1] for place, key in enumerate(row.values)}
        return sorted(found, key=lambda key: (MODES.index(key[0]), first.get(key, len(first)), key[1]))

    def columns(self, names: Sequence[str] = ()) -> list[Column]:
        """Columns by name; by default those of `columns.default` that are not empty."""
        if names:
            return columns.parse(names, self.known)
        there = {":".join(key) for key in self.known} | set(columns.PLAIN)
        wanted = [name for name in columns.default() if columns.full_name(name) in there]
        marked = any(not row.measured for row in self.rows)  # else there is nothing to tell apart
        return [
            column
            for column in columns.parse(wanted, self.known)
            if (marked if column.name == "source" else any(column.text(row) != "-" for row in self.rows))
        ]

    def tables(self, chosen: Sequence[Column] | None = None) -> list[Table]:
        """One table a board."""
        chosen = self.columns() if chosen is None else chosen
        return [self.table(board, chosen) for board in self.boards]

    def table(self, board: Board, chosen: Sequence[Column]) -> Table:
        """The table of one board; its title says by what the ranks are."""
        names = [column.name for column in chosen]
        about = [f"data {board.data}" if board.data else "reported"]
        if self.choice.languages:
            about.append(f"languages {' '.join(self.choice.languages)}")
        if board.ranked_by and "rank" in names:
            about.append(f"ranks by {columns.key_title(board.ranked_by)}")
        cells = [[column.text(row) for column in chosen] for row in board.rows]
        left = next((at for at, column in enumerate(chosen) if column.key), len(chosen))
        return Table(
            [column.header for column in chosen],
            cells,
            f"{board.collection} ({'; '.join(about)})",
            names=left,
            bold=_bold(board.rows, cells, chosen),
            heading=names.index("model") if "model" in names else 0,
            records=lambda: [_record(row, chosen) for row in board.rows],
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
                "p < 0.05, Bonferroni)"
            )
        if any(row.intervals for row in self.rows):
            lines.append("± is the wider half of the 95 % interval over questions")
        return lines


#: Incomplete results that are told one by one.
_EXAMPLES = 5


def _collections(rows: Iterable[LeaderboardRow]) -> list[tuple[str, str]]:
    """Collections with the data they were measured on; empty data where all is reported."""
    found = {(row.collection, row.data) for row in rows if row.measured}
    measured = {collection for collection, _ in found}
    found |= {(row.collection, "") for row in rows if row.collection not in measured}

    def place(one: tuple[str, str]) -> tuple[int, tuple[str, str]]:
        base = TaskName.parse(one[0]).base
        return MAIN_COLLECTIONS.index(base) if base in MAIN_COLLECTIONS else len(MAIN_COLLECTIONS), one

    return sorted(found, key=place)


def _board(
    collection: str,
    data: str,
    rows: Iterable[LeaderboardRow],
    sort: str | None,
    intervals: bool,
    notes: list[str],
) -> Board:
    """Rank and sort the standings of one collection; `notes` are added to."""
    board = Board(
        collection, data, tuple(row for row in rows if row.collection == collection and row.data in ("", data))
    )
    main = next(((mode, "AP") for mode in MAIN_MODES if (mode, "AP") in board.known), None)
    wanted = main if sort is None or sort in columns.PLAIN else _key(sort, board.known) or main
    ranked_by = None
    for key in dict.fromkeys(one for one in (wanted, main) if one and intervals):
        shares = _shares(sorted(board.rows, key=partial(_order, key=key)), key, notes)
        if shares:
            ranked_by = key
            assign_ranks(shares, key)
            break
    plain = columns.PLAIN.get(sort or "")
    ordered = sorted(board.rows, key=lambda row: (plain.order(row) if plain else (), _order(row, wanted)))
    return Board(collection, data, tuple(ordered), ranked_by, None if plain else wanted)


def _key(name: str, known: Iterable[Key]) -> Key | None:
    """The mode and measure that a name means on a board, None if it has no such."""
    keys = {key for key in known if name in (key[1], ":".join(key))}
    return min(keys, key=lambda key: MAIN_MODES.index(key[0]), default=None)


def _order(row: LeaderboardRow, key: Key | None) -> tuple[Any, ...]:
    """Best first by a score; of what is equal, the AP decides, then the name."""
    first = columns.score(*key).order(row) if key else ()
    return (first, *(-(row.value((mode, "AP")) or 0.0) for mode in MAIN_MODES), row.label)


def _shares(
    rows: Sequence[LeaderboardRow], key: Key, notes: list[str]
) -> list[tuple[LeaderboardRow, Array]]:
    """What each question adds to a score, of all models that can be tested."""
    found = []
    count = counter("ranking models", len(rows))
    for row in rows:
        try:
            shares = row.shares(key)
        except OutputError as error:
            notes.append(f"no rank of {row.label} on {row.collection}: {error}")
            continue
        finally:
            count(1)
        if shares is not None:
            found.append((row, shares))
    return found


def _record(row: LeaderboardRow, chosen: Sequence[Column]) -> dict[str, Any]:
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
    rows: Sequence[LeaderboardRow], cells: Sequence[Sequence[str]], chosen: Sequence[Column]
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
