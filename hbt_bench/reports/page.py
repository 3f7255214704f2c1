"""The results page: everything that it shows of a folder of results as JSON values, and the page as HTML."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hbt_bench.data.collection import Collection
from hbt_bench.errors import DataError, HbtBenchError, OutputError, UsageError, did_you_mean
from hbt_bench.identity.task_name import Mode, TaskName
from hbt_bench.languages import find
from hbt_bench.languages.groups import group_of
from hbt_bench.log import counter, progress
from hbt_bench.reports.columns import Column, charted_scores, key_title
from hbt_bench.reports.compare import compare
from hbt_bench.reports.explorer import Explorer
from hbt_bench.reports.leaderboard import Board, Leaderboard
from hbt_bench.reports.leaderboard_rows import LeaderboardRow, ResultFilter
from hbt_bench.reports.model_details import model_details
from hbt_bench.reports.render import chart_library, html, inline_json, inline_script, page_script
from hbt_bench.results.store import Result
from hbt_bench.tasks.registry import TaskRegistry
from hbt_bench.tasks.task import TaskSpec

log = logging.getLogger(__name__)

#: Models per collection with matrices and questions, best first. They take up most of the page's bytes.
DETAILED = 60
#: Models per collection in the comparison, best first.
COMPARED = 10
#: The alpha of the pure strategies.
_ENDS = {"cross-lingual": 0.0, "monolingual": 1.0}


@dataclass(frozen=True)
class ReportRequest:
    """The results page to make: which rows, the model that the others are compared with, and the level of the clusters.

    With `explorer`, the content has every question of the collections, for the pages of a site.

    For example, `ReportRequest(baseline="bm25").content(read_all(Path("results")))`.
    """

    result_filter: ResultFilter = field(default_factory=ResultFilter)
    reported: bool = False
    baseline: str | None = None
    data_dir: Path | None = None
    registry: TaskRegistry = field(default_factory=TaskRegistry, compare=False)
    cluster: str | None = None
    explorer: bool = False

    def content(self, results: Iterable[Result]) -> dict[str, Any]:
        """Return everything that the page shows, as JSON values.

        Raises `OutputError` if there is nothing to show, and `UsageError` if no model has the name of the baseline, or
        several models of a collection have it.
        """
        leaderboard = Leaderboard.from_results(results, self.reported, self.result_filter, cluster=self.cluster)
        if not leaderboard.rows:
            raise OutputError("there are no results of multilingual collections: run `hbt-bench run` first")
        for note in leaderboard.notes:
            log.warning(note)
        self._check_baseline(leaderboard)
        boards = [self._board(leaderboard, board) for board in leaderboard.boards if board.data]
        codes = {code for board in boards for code in board["languages"]}
        return {
            "boards": boards,
            "legend": leaderboard.legend,
            "names": {code: language.name for code in sorted(codes) if (language := find(code))},
            "families": {code: group_of(code, "family") for code in sorted(codes)},
        }

    def _check_baseline(self, leaderboard: Leaderboard) -> None:
        name = self.baseline
        if name is None:
            return
        labels = [{row.label for row in board.rows if _has_name(row, name)} for board in leaderboard.boards]
        if not any(labels):
            names = [row.label for row in leaderboard.rows if row.measured]
            hint = did_you_mean(name, names) or f". Give --baseline one of {', '.join(names[:5])}"
            raise UsageError(f"no model has the name of the baseline '{name}'{hint}")
        if several := next((sorted(found) for found in labels if len(found) > 1), None):
            raise UsageError(
                f"{len(several)} models have the name of the baseline '{name}': choose {' or '.join(several)}"
            )

    def _board(self, leaderboard: Leaderboard, board: Board) -> dict[str, Any]:
        """Return a collection: its leaderboard, the details of its models, and the comparison."""
        name, rows = board.collection, board.rows
        columns = leaderboard.columns()
        spec = self._spec(name)
        collection = self._collection(spec, board.data)
        details = self._details(name, rows, collection)
        random = board.random_row({column.key for column in columns if column.key}.union(charted_scores()))
        return {
            "collection": name,
            "data": board.data,
            "clusters": board.clusters,
            "random": [column.text(random) for column in columns] if random else None,
            "chance": _charted(random) if random else {},
            "languages": next((list(model["languages"]) for model in details if model), []),
            "columns": [
                dict(zip(("mode", "measure"), column.key or (None, None), strict=True))
                | {"name": column.name, "header": column.header, "lower": column.lower_is_better}
                for column in columns
            ],
            "rows": [_row(row, columns, model) for row, model in zip(rows, details, strict=True)],
            "bold": sorted(map(list, leaderboard.table(board, columns).bold)),
            "ranked_by": key_title(board.ranked_by) if board.ranked_by else None,
            "sorted_by": ":".join(board.sorted_by) if board.sorted_by else None,
            "sweep": [
                point | {"measure": title, "value": value}
                for point in sweep(rows)
                for key, title in charted_scores().items()
                if key[0] not in rows[point["row"]].missing and (value := rows[point["row"]].value(key)) is not None
            ],
            "csv": leaderboard.table(board, columns).csv(),
            "comparison": self._comparison(board, spec) if spec else None,
            "texts": collection is not None,
            "explorer": self._explorer(name, rows, details, collection) if self.explorer else None,
        }

    @staticmethod
    def _explorer(
        name: str, rows: Sequence[LeaderboardRow], details: Sequence[Any], collection: Collection | None
    ) -> dict[str, Any] | None:
        """Return the questions of a collection, packed, or None if no model has ranks."""
        models = [(row.label, row.sources) for row, has_ranks in zip(rows, details, strict=True) if has_ranks]
        results = [(label, {mode: result for mode, (result, _) in sources.items()}) for label, sources in models]
        try:
            explorer = Explorer.from_results(results, collection) if results else None
        except OutputError as error:
            log.warning(f"the questions of {name} have no pages: {error}")
            return None
        return {"index": explorer.index(), "parts": explorer.parts()} if explorer else None

    def _details(
        self, name: str, rows: Sequence[LeaderboardRow], collection: Collection | None
    ) -> list[dict[str, Any] | None]:
        """Return the details of the best models, and None for all other rows."""
        measured = [row for row in rows if row.measured]
        if len(measured) > DETAILED:
            log.warning(f"matrices and questions on {name} cover the best {DETAILED} of {len(measured)} models only")
        best = {id(row) for row in measured[:DETAILED]}
        count = counter(f"reading {name}", len(rows))
        details: list[dict[str, Any] | None] = []
        for row in rows:
            details.append(None)
            if id(row) in best:
                try:
                    details[-1] = model_details({mode: result for mode, (result, _) in row.sources.items()}, collection)
                except OutputError as error:
                    log.warning(f"matrices and questions of {row.label} are left out: {error}")
            count(1)
        return details

    def _spec(self, name: str) -> TaskSpec | None:
        """Return the definition of a collection, or None with a warning if it is unknown."""
        try:
            return self.registry.select([name])[0].spec
        except UsageError as error:
            # nobody typed the name of a result, so a suggestion of a similar name would not help
            is_known = TaskName.parse(name).mode_name in self.registry.tasks
            reason = error if is_known else self.registry.unknown(name)
            log.warning(f"the questions and the comparison on {name} are left out: {reason}")
            return None

    def _collection(self, spec: TaskSpec | None, data: str) -> Collection | None:
        """Return the texts of a collection, or None with a warning if they are missing or have changed."""
        if spec is None:
            return None
        try:
            collection = spec.load(None, self.data_dir)
        except (DataError, UsageError) as error:
            log.warning(f"the questions of {spec.name} are left out: {error}")
            return None
        if collection.fingerprint != data:
            log.warning(
                f"the questions of {spec.name} are left out: the results are of data {data}, but the data here are "
                f"{collection.fingerprint}"
            )
            return None
        return collection

    def _comparison(self, board: Board, spec: TaskSpec) -> dict[str, Any] | None:
        """Compare the best models that have all modes with the baseline, or else with the best of them.

        In the returned mapping, `rows` are the indices of the compared models.
        """
        if self.result_filter.languages:
            return None
        rows = board.rows
        modes = {mode for mode in spec.modes if len(spec.languages) > 1 or mode == "mono"}
        complete = [row for row in rows if _is_complete(row, modes)]
        named = [row for row in complete if self.baseline and _has_name(row, self.baseline)]
        if self.baseline and (not named or len(complete) < 2):
            reason = "lacks a mode or its ranks" if not named else "is the only model with all modes and ranks"
            log.warning(f"no comparison with {self.baseline} on {spec.name}, where it {reason}")
        if len(complete) < 2:
            return None
        base = (named or complete)[0]
        compared = [base, *(row for row in complete if row is not base)][:COMPARED]
        stage = f"comparing on {spec.name}"
        progress(stage, 0, 1)
        try:
            comparison = compare(
                [row.folder for row in compared], spec.name, cluster=board.cluster, registry=self.registry
            )
        except HbtBenchError as error:
            log.warning(f"no comparison on {spec.name}: {error}")
            return None
        finally:
            progress(stage, 1, 1)
        notes = list(comparison.notes)
        if len(complete) > COMPARED:
            notes.append(f"Only the best {COMPARED} of {len(complete)} models are compared.")
        indices = {id(row): index for index, row in enumerate(rows)}
        return {
            "table": comparison.table().as_values(),
            "conclusions": list(comparison.conclusions),
            "notes": notes,
            "rows": [indices[id(row)] for row in compared],
        }


def _is_complete(row: LeaderboardRow, modes: set[Mode]) -> bool:
    """Check whether a measured model has all modes, with ranks, in the same folder."""
    results = [result for result, _ in row.sources.values()]
    in_folder = all(r.ranks and r.ranks.is_file() and str(r.path.parent) == row.folder for r in results)
    return row.measured and not row.missing and modes <= set(row.signatures) and in_folder


def _has_name(row: LeaderboardRow, name: str) -> bool:
    return row.measured and name in (row.label, row.model, row.model.rpartition("/")[2])


def _row(row: LeaderboardRow, columns: Sequence[Column], details: dict[str, Any] | None) -> dict[str, Any]:
    """Return a model. A cell is its text, a note to it, its value to sort by, and the mode with its signature."""
    cells = []
    for column in columns:
        text, _, note = column.text(row).partition("\n")
        cells.append([text, note, column.value(row), _signature_mode(row, column)])
    return {
        "label": row.label,
        "measured": row.measured,
        "rank": row.rank,
        "incomplete": sorted(row.missing),
        "cells": cells,
        "values": _charted(row),
        "signatures": dict(row.signatures),
        "details": details,
    }


def _charted(row: LeaderboardRow) -> dict[str, float | None]:
    """Return the scores of a row that charts show, by mode and measure."""
    return {":".join(key): row.value(key) for key in charted_scores()}


def _signature_mode(row: LeaderboardRow, column: Column) -> str | None:
    """Return the mode of the signature of a cell; facts about the model itself are in all signatures."""
    if column.key:
        mode: str | None = column.key[0]
    elif column.name == "rank":
        mode = row.ranked_by[0] if row.ranked_by else None
    elif column.name == "worst":
        mode = row.languages_mode
    else:
        mode = next(iter(row.signatures), None) if column.name in ("parameters", "speed") else None
    return mode if mode in row.signatures else None


def sweep(rows: Sequence[LeaderboardRow]) -> list[dict[str, Any]]:
    """Return the points of scores against alpha: `line`, `alpha`, `seed`, `strategy` and `row`, an index of `rows`.

    The models of a line have the same strategy, init, training data, steps and pairs. The pure strategies with the same
    training are hybrid batches with the lowest and the highest alpha, so they are the ends of its line. A recipe has an
    alpha even if its strategy ignores it, so a line needs two alphas.
    """
    lines: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for index, row in sorted(enumerate(rows), key=lambda pair: pair[1].training.get("strategy") in _ENDS):
        strategy = row.training.get("strategy", "")
        alpha = _ENDS.get(strategy, row.training.get("alpha"))
        if isinstance(alpha, int | float):
            facts = [row.training.get(key) for key in ("init", "steps", "pairs_seen", "data")]
            line = lines.setdefault(("hybrid" if strategy in _ENDS else strategy, *facts), [])
            line.append({"alpha": float(alpha), "seed": row.training.get("seed"), "strategy": strategy, "row": index})
    drawn = {
        setting: points
        for setting, points in lines.items()
        if points[0]["strategy"] not in _ENDS and len({point["alpha"] for point in points}) > 1
    }
    names = {setting: _line_name(*setting[:-1]) for setting in drawn}
    counts = Counter(names.values())
    return [
        {"line": names[setting] + (f", data {setting[-1] or 'unknown'}" if counts[names[setting]] > 1 else "")} | point
        for setting, points in drawn.items()
        for point in points
    ]


def _line_name(strategy: str, init: str | None, steps: int | None, pairs: int | None) -> str:
    """Return strategy, init and budget, if known. For example, ``hybrid, xlm-roberta-base, 600 steps of 128``."""
    batch = f" of {pairs / steps:,.0f}" if steps and pairs is not None else ""
    return ", ".join([strategy, *([init] if init else []), *([f"{steps:,} steps{batch}"] if steps else [])])


def results_page(
    content: Mapping[str, Any], title: str, assets: Sequence[str] = (), nav: Mapping[str, Any] | None = None
) -> str:
    """Return the page that shows `content`, which comes from `ReportRequest.content`.

    The leaderboards are HTML, so they are readable without scripts. The page's Content-Security-Policy forbids it to
    load anything, and allows its own two scripts only, which the policy names by their hashes. A page of a site has
    its scripts in files of the site, the relative `assets`, and links to the other pages, `nav`.
    """
    from hbt_bench.reports.charts import PAGE_CHARTS, REPORTED

    data = {
        "boards": [_script_values(board) for board in content["boards"]],
        "names": content["names"],
        "families": content["families"],
        "charts": {name: chart.as_values() for name, chart in PAGE_CHARTS.items()},
        "reported_shape": REPORTED,
    }
    inline = [] if assets else [chart_library(), page_script("report.js")]
    scripts = {"scripts": [inline_script(text) for text in inline], "assets": assets}
    return html("report.html", title=title, data=inline_json(data), charts=PAGE_CHARTS, nav=nav, **scripts, **content)


def _script_values(board: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a collection that the page's script needs, with the values of its charts."""
    from hbt_bench.reports.charts import PAGE_CHARTS

    def subset(values: Mapping[str, Any], *keys: str) -> dict[str, Any]:
        return {key: values[key] for key in keys}

    rows = []
    for row in board["rows"]:
        details = row["details"] and subset(row["details"], "languages", "ap", "ranks", "shares", "pool", "worst")
        rows.append(subset(row, "label", "measured", "incomplete", "cells", "signatures") | {"details": details})
    charts = {name: list(chart.values(board)) for name, chart in PAGE_CHARTS.items()}
    return subset(board, "collection", "columns", "sorted_by", "texts") | {"rows": rows, "charts": charts}
