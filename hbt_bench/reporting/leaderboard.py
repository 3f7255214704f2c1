"""The leaderboard: one row a model and collection, from the results in a folder."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.resources import files

from hbt_bench.ranking.subsets import MODES
from hbt_bench.reporting.results import Result, model_label
from hbt_bench.reporting.table import Table, number

#: The columns of scores: mode and measure.
COLUMNS = (("mono", "AP"), ("cross", "AP"), ("multi", "AP"), ("multi", "rank_distance"))


@dataclass(frozen=True)
class Row:
    """One model on one collection. `scores` maps (mode, measure) to a mean over the subsets of the mode.

    `source` is "measured", or where a figure was reported that nobody measured here. `incomplete` are the modes
    that lack subsets.
    """

    collection: str
    data: str
    model: str
    revision: str
    source: str
    prompt: str = "none"
    scores: dict[tuple[str, str], float] = field(default_factory=dict)
    incomplete: set[str] = field(default_factory=set)

    @property
    def order(self) -> tuple[float, ...]:
        """Best first: by AP in the pool of all languages, then across, then within languages."""
        return tuple(-self.scores.get((mode, "AP"), -1.0) for mode in reversed(MODES))

    def cells(self) -> list[str]:
        """The scores as text; an asterisk marks a mean over fewer subsets than the task has."""
        return [
            number(self.scores.get(column), column[1]) + ("*" if column[0] in self.incomplete else "")
            for column in COLUMNS
        ]


@dataclass(frozen=True)
class Leaderboard:
    """Rows of all collections, the collections by name and the models from best to worst."""

    rows: tuple[Row, ...]

    @classmethod
    def of(cls, results: Iterable[Result], reported: bool = False) -> Leaderboard:
        """Gather the modes of each model; with `reported`, add the figures of the papers, marked as such."""
        rows: dict[tuple[str, ...], Row] = {}
        for result in results:
            name, mode, part = _split(result.task)
            if mode is None:
                continue
            parts = dict(field.split(":", 1) for field in result.signature.split("|"))
            key = (name + part, parts["data"], result.model, result.revision, str(result.path.parent))
            row = rows.setdefault(key, Row(*key[:4], "measured", parts.get("prompt", "none")))
            for column in COLUMNS:
                if column[0] == mode and column[1] in result.scores:
                    row.scores[column] = result.scores[column[1]]
            if not result.complete:
                row.incomplete.add(mode)
        everything = [*rows.values(), *(_reported() if reported else ())]
        return cls(tuple(sorted(everything, key=lambda row: (row.collection, row.data, row.order, row.model))))

    def tables(self) -> list[Table]:
        """One table a collection, narrow enough for a terminal."""
        found = []
        collections = dict.fromkeys((row.collection, row.data) for row in self.rows if row.data)
        measured = {collection for collection, _ in collections}
        collections |= dict.fromkeys((row.collection, "") for row in self.rows if row.collection not in measured)
        marked = any(not row.data for row in self.rows)  # without reported figures there is nothing to tell apart
        header = ("model", "mono", "cross", "multi", "rank dist.", *(("source",) if marked else ()))
        for name, data in collections:
            rows = [row for row in self.rows if row.collection == name and row.data in ("", data)]
            cells = [
                [_name(row), *row.cells(), *(("measured" if row.data else "reported",) if marked else ())]
                for row in rows
            ]
            found.append(Table(header, cells, f"{name} (AP{f'; data {data}' if data else ''})"))
        return found

    def table(self) -> Table:
        """One table of all collections."""
        header = ("model", "collection", "mono AP", "cross AP", "multi AP", "rank distance", "source")
        return Table(header, [[_name(row), row.collection, *row.cells(), row.source] for row in self.rows])

    def json(self) -> str:
        """A list of objects with numbers; null for what was not measured."""
        return json.dumps(
            [
                {
                    "collection": row.collection,
                    "data": row.data or None,
                    "model": row.model,
                    "revision": row.revision or None,
                    "prompt": row.prompt if row.data else None,
                    "source": row.source,
                    "incomplete": sorted(row.incomplete),
                    **{f"{mode} {measure}": row.scores.get((mode, measure)) for mode, measure in COLUMNS},
                }
                for row in self.rows
            ],
            ensure_ascii=False,
            indent=2,
        )

    @property
    def incomplete(self) -> bool:
        """Whether a row lacks subsets, and the asterisk wants explaining."""
        return any(row.incomplete for row in self.rows)


def _name(row: Row) -> str:
    given = "" if row.prompt in ("none", "model") else f" prompt:{row.prompt}"
    return model_label(row.model, row.revision) + given


def _split(task: str) -> tuple[str, str | None, str]:
    """``xquad-r-multi[de,en]`` as collection, mode and part; the mode is None for a task that has none."""
    name, bracket, part = task.partition("[")
    collection, _, mode = name.rpartition("-")
    return (collection, mode, bracket + part) if mode in MODES else (name, None, "")


def _reported() -> list[Row]:
    rows: dict[tuple[str, str], Row] = {}
    text = files("hbt_bench.reporting").joinpath("reported.csv").read_text(encoding="utf-8")
    for line in csv.DictReader(text.splitlines()):
        source = f"reported: {line['source'].split(',')[0]}"
        row = rows.setdefault(
            (line["collection"], line["model"]), Row(line["collection"], "", line["model"], "", source)
        )
        row.scores[line["mode"], line["measure"]] = float(line["value"])
    return list(rows.values())
