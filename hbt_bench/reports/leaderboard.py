"""The leaderboard: a table for each collection, with a row for each model, from the results in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.errors import OutputError, UsageError
from hbt_bench.identity.task_name import MODES, Mode, TaskName
from hbt_bench.log import counter
from hbt_bench.measures.chance import RANDOM_RANKING, chance
from hbt_bench.measures.ranking import Array
from hbt_bench.measures.registry import MEASURES
from hbt_bench.reports import columns
from hbt_bench.reports.bold import bold_cells
from hbt_bench.reports.columns import Column
from hbt_bench.reports.leaderboard_rows import (
    Key,
    LeaderboardRow,
    ResultFilter,
    RowBuilder,
    assign_ranks,
    reported_rows,
    tell_apart,
)
from hbt_bench.reports.table import Table, render
from hbt_bench.results.hierarchy import Hierarchy
from hbt_bench.results.store import Result

#: Models are sorted and ranked by the AP of the first of these modes that a collection has. A measure without a mode
#: is read from the first of them, too.
MAIN_MODES: tuple[Mode, ...] = ("multi", "cross", "mono")
#: The collections that come first; the others are sorted by name.
MAIN_COLLECTIONS = ("xquad-r", "mlqa-r")
#: Incomplete results that the legend lists.
_MAX_INCOMPLETE = 5


@dataclass(frozen=True)
class Board:
    """The models on a collection, sorted. Results on other data are another board.

    Attributes:
        collection, data: The collection, and the fingerprint of its data, "" if all scores are reported.
        rows: The models; reported scores are on every board of their collection.
        ranked_by: The score that ranks are based on, None if there are no ranks.
        sorted_by: The score that rows are sorted by, None if they are sorted by another column.
        clusters: The clusters of the ranks and intervals in words, "" if no result has clusters.
        cluster: The level that was asked for, None if the data do not have it.
    """

    collection: str
    data: str
    rows: tuple[LeaderboardRow, ...]
    ranked_by: Key | None = None
    sorted_by: Key | None = None
    clusters: str = ""
    cluster: str | None = None

    def __repr__(self) -> str:
        return f"Board({self.collection}: {len(self.rows)} models)"

    def chance(self) -> dict[Mode, float]:
        """Return the AP of a random ranking in each mode, empty if it is unknown; see `random_score`."""
        scores = {mode: self.random_score((mode, "AP")) for mode in MODES}
        return {mode: score for mode, score in scores.items() if score is not None}

    def random_score(self, key: Key) -> float | None:
        """Return a score of a random ranking: from a result, or computed from the judgements of the first ranks.

        None for an unknown measure, for a mode without results, and if no result has it and no model has ranks. If
        languages were chosen, the score is over their subsets, which needs ranks.
        """
        mode, measure = key
        sources = [row.sources[mode] for row in self.rows if mode in row.sources]
        for result, names in sources:
            if measure in result.chance and len(names) == result.expected_subsets:
                return result.chance[measure]
        if not sources or (judgements := self._judgements) is None:
            return None
        return chance(MEASURES.describe(measure), judgements, mode, max((names for _, names in sources), key=len))

    @cached_property
    def _judgements(self) -> TextlessCollection | None:
        """The judgements of the board's data, from the first ranks that can be read."""
        for row in self.rows:
            for result, _ in row.sources.values():
                try:
                    return result.stored_ranks().judgements
                except OutputError:
                    continue
        return None

    def random_row(self, keys: Iterable[Key]) -> LeaderboardRow | None:
        """Return a row with the scores of a random ranking, None if there are none."""
        scores = {key: score for key in keys if (score := self.random_score(key)) is not None}
        if not scores:
            return None
        return LeaderboardRow(self.collection, self.data, RANDOM_RANKING, "", "chance", values=scores)


@dataclass(frozen=True)
class Leaderboard:
    """The boards of all collections, the main collections first, and `notes` for the reader.

    For example, ``Leaderboard.from_results(read_all(Path("results"))).tables()[0].markdown()``.
    """

    boards: tuple[Board, ...]
    result_filter: ResultFilter = field(default_factory=ResultFilter)
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Leaderboard({', '.join(f'{board.collection}: {len(board.rows)} models' for board in self.boards)})"

    def _repr_html_(self) -> str:
        """Return the tables and their legend for a notebook."""
        return render(self.tables(), "html", self.legend)

    @classmethod
    def from_results(
        cls,
        results: Iterable[Result],
        reported: bool = False,
        result_filter: ResultFilter | None = None,
        sort: str | None = None,
        intervals: bool = True,
        cluster: str | None = None,
    ) -> Leaderboard:
        """Collect the modes of each model in a row, then sort and rank the rows.

        Ranks are based on the score that rows are sorted by. If that score has no value for each question, or a board
        lacks it, they are based on AP.

        Args:
            results: The results of all models.
            reported: Add the scores that papers report, marked with a dagger.
            result_filter: The results to show.
            sort: The column to sort by. A measure without a mode, such as ``R@1``, is read from the multilingual mode,
                or from the cross-lingual or monolingual mode on a board without it.
            intervals: Add intervals and ranks. If the results lack them, they are computed from the ranks of
                documents.
            cluster: The level of the clusters; see `Level.choose`. A collection without it has its own level.

        Raises `UsageError` for an unknown column, or if the filter excludes all results.
        """
        result_filter = result_filter or ResultFilter()
        builder = RowBuilder(result_filter, intervals, cluster)
        for result in results:
            builder.add(result)
        rows = [*builder.rows.values(), *(reported_rows(result_filter) if reported else [])]
        tell_apart(rows)
        if not rows and builder.tasks:
            raise UsageError(result_filter.explain_empty(builder.tasks))
        if sort is not None and rows:
            columns.select([sort], list({key for row in rows for key in row.values}))  # raises if it is unknown
            sort = columns.full_name(sort)
        notes = [*result_filter.unmatched(rows, builder.tasks), *builder.notes]
        boards = tuple(_board(*board, rows, sort, builder, notes) for board in _collections(rows))
        return cls(boards, result_filter, tuple(dict.fromkeys(notes)))

    @cached_property
    def rows(self) -> tuple[LeaderboardRow, ...]:
        """The rows of all boards, each once."""
        return tuple({id(row): row for board in self.boards for row in board.rows}.values())

    @cached_property
    def keys(self) -> list[Key]:
        """The mode and measure of every score, by mode and in the order of the first row."""
        first = {key: position for row in self.rows[:1] for position, key in enumerate(row.values)}
        return sorted(
            {key for row in self.rows for key in row.values},
            key=lambda key: (MODES.index(key[0]), first.get(key, len(first)), key[1]),
        )

    def columns(self, names: Sequence[str] = ()) -> list[Column]:
        """Return columns by name, or the default columns that are not empty."""
        if names:
            return columns.select(names, self.keys)
        available = {":".join(key) for key in self.keys} | set(columns.FACTS)
        defaults = [name for name in columns.default_names() if columns.full_name(name) in available]
        has_reported = any(not row.measured for row in self.rows)
        return [
            column
            for column in columns.select(defaults, self.keys)
            if (has_reported if column.name == "source" else any(column.text(row) != "-" for row in self.rows))
        ]

    def tables(self, chosen: Sequence[Column] | None = None) -> list[Table]:
        """Return a table for each board."""
        chosen = self.columns() if chosen is None else chosen
        return [self.table(board, chosen) for board in self.boards]

    def table(self, board: Board, chosen: Sequence[Column]) -> Table:
        """Return the table of a board. Its title names the score that the ranks are based on."""
        chosen = self._with_scores(board, chosen)
        names = [column.name for column in chosen]
        facts = [f"data {board.data}" if board.data else "reported"]
        if self.result_filter.languages:
            facts.append(f"languages {' '.join(self.result_filter.languages)}")
        if board.ranked_by and "rank" in names:
            facts.append(f"ranks by {columns.key_title(board.ranked_by)}")
        if board.clusters:
            facts.append(board.clusters)
        random = board.random_row([column.key for column in chosen if column.key])
        rows = [*board.rows, *([random] if random else [])]
        cells = [[column.text(row) for column in chosen] for row in rows]
        return Table(
            [column.header for column in chosen],
            cells,
            f"{board.collection} ({'; '.join(facts)})",
            names=next((index for index, column in enumerate(chosen) if column.key), len(chosen)),
            bold=bold_cells(board.rows, cells, chosen, random),
            heading=names.index("model") if "model" in names else 0,
            records=lambda: [_record(row, chosen) for row in board.rows],
        )

    def _with_scores(self, board: Board, chosen: Sequence[Column]) -> Sequence[Column]:
        """Return the columns; a board of reported scores without any of them has its own scores."""
        keys = dict.fromkeys(key for row in board.rows for key in row.values)
        if board.data or any(column.key in keys for column in chosen):
            return chosen
        facts = [c for c in chosen if not c.key and (c.name == "rank" or any(c.text(row) != "-" for row in board.rows))]
        lead = [column for column in facts if column.name != "source"]
        return [*lead, *(columns.score(*key) for key in keys), *facts[len(lead) :]]

    @property
    def legend(self) -> list[str]:
        """The meaning of the marks in the tables."""
        lines = []
        incomplete = [
            f"{row.label} has {count} of {expected} subsets of {row.collection}-{mode}"
            for row in self.rows
            for mode, (count, expected) in row.missing.items()
        ]
        if len(incomplete) > _MAX_INCOMPLETE:
            incomplete[_MAX_INCOMPLETE:] = [f"{len(incomplete) - _MAX_INCOMPLETE} more such results"]
        if incomplete:
            lines.append("* mean over fewer languages than the task has, without a rank: " + "; ".join(incomplete))
        if any(not row.measured for row in self.rows):
            sources = dict.fromkeys(row.source.removeprefix("reported: ") for row in self.rows if not row.measured)
            lines.append(f"† scores reported by {' and '.join(sources)}, not measured here, without a rank")
        clusters = ", or by the clusters in the title" if any(board.clusters for board in self.boards) else ""
        if any(row.depths for row in self.rows):
            lines.append(
                "‡ a run of another system; two numbers are the lowest and highest mean that the cut of the run leaves "
                "open, so there is no rank"
            )
        if any(row.rank for row in self.rows):
            lines.append(
                "Models share a rank if the test finds no significant difference from the best of that rank "
                f"(randomization test by question{clusters}, p < 0.05, Bonferroni)"
            )
        if any(row.intervals for row in self.rows):
            lines.append(f"± is the wider half of the 95 % interval over questions{clusters}")
        return lines


def _collections(rows: Iterable[LeaderboardRow]) -> list[tuple[str, str]]:
    """Return each collection with the data of its results, or with "" if all its scores are reported."""
    boards = {(row.collection, row.data) for row in rows if row.measured}
    measured = {collection for collection, _ in boards}
    boards |= {(row.collection, "") for row in rows if row.collection not in measured}

    def order(board: tuple[str, str]) -> tuple[int, tuple[str, str]]:
        base = TaskName.parse(board[0]).base
        return MAIN_COLLECTIONS.index(base) if base in MAIN_COLLECTIONS else len(MAIN_COLLECTIONS), board

    return sorted(boards, key=order)


def _board(
    collection: str, data: str, rows: Sequence[LeaderboardRow], sort: str | None, builder: RowBuilder, notes: list[str]
) -> Board:
    """Rank and sort those of `rows` that belong to a collection. Adds to `notes`."""
    rows = [row for row in rows if row.collection == collection and row.data in ("", data)]
    # reported scores alone do not decide which mode is the main mode
    keys = {key for row in rows if row.measured for key in row.values} or {key for row in rows for key in row.values}
    main = next(((mode, "AP") for mode in MAIN_MODES if (mode, "AP") in keys), None)
    fact = columns.FACTS.get(sort or "")
    matches = [key for key in keys if sort in (key[1], ":".join(key))]
    sort_key = min(matches, key=lambda key: MAIN_MODES.index(key[0]), default=main)
    results = [result for row in rows for result, _ in row.sources.values()]
    cluster = next(
        (builder.cluster for result in results if builder.cluster and result.has_level(builder.cluster)), None
    )
    hierarchy = next((result.hierarchy for result in results if result.hierarchy), None)
    ranked_by = None
    for key in dict.fromkeys(key for key in (sort_key, main) if key and builder.intervals):
        contributions = _contributions(sorted(rows, key=partial(_order, key=key)), key, hierarchy, cluster, notes)
        if contributions:
            ranked_by = key
            assign_ranks(contributions, key)
            break
    ordered = sorted(rows, key=lambda row: (fact.order(row) if fact else (), _order(row, sort_key)))
    clusters = str(hierarchy.level(cluster)) if hierarchy and builder.intervals else ""
    older = sum(result.hierarchy is None for result in results)
    if clusters and older:
        number = f"{older:,} results of {collection} are" if older > 1 else f"{results[0].task} has a result"
        notes.append(
            f"{number} of an older version, with intervals by question: `hbt-bench run` with the same model adds the "
            "clusters of the data"
        )
    return Board(collection, data, tuple(ordered), ranked_by, None if fact else sort_key, clusters, cluster)


def _order(row: LeaderboardRow, key: Key | None) -> tuple[Any, ...]:
    """Return a sort key: the best score first, ties by AP, then by name."""
    first = columns.score(*key).order(row) if key else ()
    return (first, *(-(row.value((mode, "AP")) or 0.0) for mode in MAIN_MODES), row.label)


def _contributions(
    rows: Sequence[LeaderboardRow], key: Key, hierarchy: Hierarchy | None, cluster: str | None, notes: list[str]
) -> list[tuple[LeaderboardRow, Array]]:
    """Return the rows that can be ranked by a score, with the contribution of each cluster. Adds to `notes`.

    All rows have the same data, so those of older versions take the clusters of the others.
    """
    rankable = []
    count = counter("ranking models", len(rows))
    for row in rows:
        try:
            contributions = row.contributions(key, hierarchy, cluster)
        except OutputError as error:
            notes.append(f"no rank of {row.label} on {row.collection}: {error}")
            continue
        finally:
            count(1)
        if contributions is not None:
            rankable.append((row, contributions))
    return rankable


def _record(row: LeaderboardRow, chosen: Sequence[Column]) -> dict[str, Any]:
    """Return the identity of a row, then the values of its columns."""
    identity: dict[str, Any] = {
        "collection": row.collection,
        "data": row.data or None,
        "model": row.model,
        "revision": row.revision or None,
        "prompt": row.prompt if row.measured else None,
        "source": row.source,
        "incomplete": sorted(row.missing),
    }
    values = {key: value for column in chosen for key, value in column.record(row).items()}
    return identity | {key: value for key, value in values.items() if key not in identity}
