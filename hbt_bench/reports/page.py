"""The report: what a page on a folder of results shows, as one document of values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hbt_bench.data.collection import Collection
from hbt_bench.errors import DataError, HbtBenchError, OutputError, UsageError, did_you_mean
from hbt_bench.languages import LANGUAGES
from hbt_bench.reports.charts import REPORTED
from hbt_bench.reports.columns import Column, key_title
from hbt_bench.reports.compare import compare
from hbt_bench.reports.leaderboard import Board, Leaderboard
from hbt_bench.reports.model_details import BINS, ModelDetails
from hbt_bench.reports.row_builder import Choice
from hbt_bench.reports.rows import LeaderboardRow
from hbt_bench.reports.sweep import SCORES, sweep
from hbt_bench.results.store import Result
from hbt_bench.tasks.registry import base_name, select_tasks, task_names, unknown
from hbt_bench.tasks.task import TaskSpec

#: Models whose matrices and questions are in the page, the best of each collection: all there is of a page's size.
CLOSEUPS = 60
#: Models that are compared, the best of each collection.
COMPARED = 10


@dataclass(frozen=True)
class ReportRequest:
    """What the page is to show; `say` gets notices, `progress` the stage, the items done and how many there are."""

    choice: Choice = field(default_factory=Choice)
    reported: bool = False
    baseline: str | None = None
    data_dir: Path | None = None
    say: Callable[[str], object] = field(default=lambda message: None, compare=False)
    progress: Callable[[str, int, int], object] = field(default=lambda stage, count, total: None, compare=False)

    def content(self, results: Iterable[Result]) -> dict[str, Any]:
        """Everything that the page shows, as values that JSON has.

        Raises `OutputError` where there is nothing to show, `UsageError` for a baseline that is not there.
        """
        board = Leaderboard.of(results, self.reported, self.choice)
        if not board.rows:
            raise OutputError("there are no results of multilingual collections: run `hbt-bench run` first")
        for note in board.notes:
            self.say(note)
        self._check_baseline(board)
        boards = [self._board(board, one) for one in board.boards if one.data]
        used = {code for one in boards for code in one["languages"]}
        return {
            "boards": boards,
            "legend": board.legend,
            "names": {code: LANGUAGES[code].name for code in sorted(used) if code in LANGUAGES},
            "bins": BINS,
            "reported_shape": REPORTED,
        }

    def _check_baseline(self, board: Leaderboard) -> None:
        if self.baseline is not None:
            names = [row.label for row in board.rows if row.measured]
            if not any(_is_called(row, self.baseline) for row in board.rows):
                near = did_you_mean(self.baseline, names) or f" (there are {', '.join(names[:5])})"
                raise UsageError(f"the baseline '{self.baseline}' is none of the models{near}")

    def _board(self, leaderboard: Leaderboard, board: Board) -> dict[str, Any]:
        """One collection: its leaderboard, the closer looks and the comparison."""
        name, data, rows = board.collection, board.data, board.rows
        chosen = leaderboard.columns()
        spec = self._spec(name)
        collection = self._collection(spec, data)
        closeups: list[dict[str, Any] | None] = []
        measured = [row for row in rows if row.measured]
        close = {id(row) for row in measured[:CLOSEUPS]}
        for row in rows:
            closeups.append(self._closeup(row, collection) if id(row) in close else None)
            self.progress(f"reading {name}", 1, len(rows))
        if len(measured) > CLOSEUPS:
            self.say(f"matrices and questions on {name} are of the best {CLOSEUPS} of {len(measured)} models")
        languages = next((list(one["languages"]) for one in closeups if one), [])
        return {
            "collection": name,
            "data": data,
            "languages": languages,
            "columns": [_column(column) for column in chosen],
            "rows": [_row(row, chosen, closeup) for row, closeup in zip(rows, closeups, strict=True)],
            "bold": sorted(leaderboard.table(board, chosen).bold),
            "ranked_by": key_title(board.ranked_by) if board.ranked_by else None,
            "sorted_by": ":".join(board.sorted_by) if board.sorted_by else None,
            "sweep": [value for point in sweep(rows) for value in point.values(rows[point.row])],
            "comparison": self._comparison(rows, spec) if spec else None,
            "texts": collection is not None,
        }

    def _closeup(self, row: LeaderboardRow, collection: Collection | None) -> dict[str, Any] | None:
        try:
            closeup = ModelDetails.of({mode: found for mode, (found, _) in row.sources.items()}, collection)
        except OutputError as error:
            self.say(f"no closer look at {row.label}: {error}")
            return None
        return closeup.as_json() if closeup else None

    def _spec(self, name: str) -> TaskSpec | None:
        """The definition of a collection, None with a notice where it is not known."""
        try:
            return select_tasks([name])[0].spec
        except UsageError as error:
            # a result's name was not mistyped, so a name that is like it is no advice
            reason = error if base_name(name) in task_names() else unknown(name)
            self.say(f"the questions and the comparison on {name} are left out: {reason}")
            return None

    def _collection(self, spec: TaskSpec | None, data: str) -> Collection | None:
        """The texts of a collection, None with a notice where they are not here."""
        if spec is None:
            return None
        try:
            collection = spec.load(None, self.data_dir)
        except (DataError, UsageError) as error:
            self.say(f"the questions of {spec.name} are left out: {error}")
            return None
        if collection.fingerprint != data:
            self.say(f"the questions of {spec.name} are left out: the data here are not those of the results")
            return None
        return collection

    def _comparison(self, rows: Sequence[LeaderboardRow], spec: TaskSpec) -> dict[str, Any] | None:
        """The best models against the baseline, or the best of them; only those that have all modes.

        `places` are their rows on the board.
        """
        if self.choice.languages:
            return None
        wanted = {mode for mode in spec.modes if len(spec.languages) > 1 or mode == "mono"}
        whole = [
            row
            for row in rows
            if row.measured
            and not row.missing
            and wanted <= set(row.signatures)
            and all(found.ranks and str(found.path.parent) == row.folder for found, _ in row.sources.values())
        ]
        base = next(
            (row for row in whole if self.baseline and _is_called(row, self.baseline)), whole[0] if whole else None
        )
        if base is None or len(whole) < 2:
            return None
        compared = [base, *(row for row in whole if row is not base)][:COMPARED]
        self.progress(f"comparing on {spec.name}", 0, 1)
        try:
            found = compare([row.folder for row in compared], spec.name)
        except HbtBenchError as error:
            self.say(f"no comparison on {spec.name}: {error}")
            return None
        finally:
            self.progress(f"comparing on {spec.name}", 1, 1)
        table = found.table()
        left = f" Only the best {COMPARED} of {len(whole)} models are compared." if len(whole) > COMPARED else ""
        return {
            "html": table.html(),
            "conclusions": found.conclusions,
            "notes": list(found.notes),
            "left": left.strip(),
            "places": [at for one in compared for at, row in enumerate(rows) if row is one],
        }


def _is_called(row: LeaderboardRow, name: str) -> bool:
    return row.measured and name in (row.label, row.model, row.model.rpartition("/")[2])


def _column(column: Column) -> dict[str, Any]:
    mode, measure = column.key or (None, None)
    return {
        "name": column.name,
        "header": column.header,
        "mode": mode,
        "measure": measure,
        "lower": column.lower_is_better,
    }


def _row(row: LeaderboardRow, chosen: Sequence[Column], closeup: dict[str, Any] | None) -> dict[str, Any]:
    cells = []
    for column in chosen:
        text, _, note = column.text(row).partition("\n")
        cells.append([text, note, column.value(row), _signed(row, column)])
    return {
        "label": row.label,
        "measured": row.measured,
        "source": row.source,
        "rank": row.rank,
        "incomplete": sorted(row.missing),
        "cells": cells,
        "values": {f"{mode}:{measure}": row.value((mode, measure)) for mode, measure in SCORES},
        "languages": {code: round(value, 4) for code, value in row.languages.items()},
        "signatures": dict(row.signatures),
        "closeup": closeup,
    }


def _signed(row: LeaderboardRow, column: Column) -> str | None:
    """The mode whose signature a cell has: that of its score; what is the model's own stands in each."""
    if column.key:
        mode: str | None = column.key[0]
    elif column.name == "rank":
        mode = row.ranked_by[0] if row.ranked_by else None
    elif column.name == "worst":
        mode = row.languages_mode
    else:
        mode = next(iter(row.signatures), None) if column.name in ("parameters", "speed") else None
    return mode if mode in row.signatures else None
