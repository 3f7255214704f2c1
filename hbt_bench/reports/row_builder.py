"""Results become standings: the modes of a model on a collection in one row, as far as they are chosen."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from importlib.resources import files

from hbt_bench.errors import OutputError, did_you_mean
from hbt_bench.identity.task_name import MODES, Mode, TaskName
from hbt_bench.reports.rows import LeaderboardRow
from hbt_bench.results.intervals import Interval
from hbt_bench.results.store import Result


@dataclass(frozen=True)
class Choice:
    """What of the results is shown; nothing given is everything.

    `tasks` are collections or single modes of them, `models` patterns such as ``local/*``. `languages` leave the
    subsets whose queries and documents are in them, or whose pool is that of all languages.
    """

    tasks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()

    def takes_task(self, collection: str, mode: str) -> bool:
        """Whether a mode of a collection is wanted; a collection stands for its restricted parts, not for shifts."""
        return not self.tasks or not _names(collection, mode).isdisjoint(self.tasks)

    def takes_model(self, model: str, label: str) -> bool:
        """Whether a pattern fits the name with or without organisation, or with the revision; case does not matter."""
        names = [name.lower() for name in (model, model.rpartition("/")[2], label)]
        return not self.models or any(fnmatchcase(name, model.lower()) for model in self.models for name in names)

    def nothing_left(self, seen: Iterable[tuple[str, str]]) -> str:
        """Why the choice leaves nothing of the collections and modes in `seen`, and what there is."""
        names = sorted({name for one in seen for name in _names(*one)})
        for task in self.tasks:
            if task not in names and not any(self.takes_task(*one) for one in seen):
                near = did_you_mean(task, names) or f" (there are {', '.join(names)})"
                return f"there are no results of {task}{near}"
        if self.models:
            return f"no model's name fits {' or '.join(self.models)}: a pattern is such as 'local/*' or '*minilm*'"
        return f"no result has subsets of the languages {' '.join(self.languages)} alone"

    def subsets(self, names: Iterable[str]) -> list[str]:
        """The subsets that are left."""
        wanted = {*self.languages, "multi"}
        return [name for name in names if not self.languages or wanted.issuperset(name.split("-"))]


def _names(collection: str, mode: str) -> set[str]:
    """The names of one mode of ``xquad-r[de,en]+typos``: with and without the mode and the languages."""
    name = TaskName.parse(collection)
    modes = [replace(name, base=base) for base in (name.base, f"{name.base}-{mode}")]
    return {str(shown) for task in modes for shown in (task, task.unrestricted)}


@dataclass
class RowBuilder:
    """Standings while results come in, with `intervals` if they are wanted.

    `seen` are all collections and modes, chosen or not, and `notes` what a reader must know.
    """

    choice: Choice
    intervals: bool
    rows: dict[tuple[str, ...], LeaderboardRow] = field(default_factory=dict)
    seen: set[tuple[str, str]] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Take one mode of one model in, if it is chosen."""
        collection, mode = result.collection, result.mode
        if mode is None:
            return
        self.seen |= {(collection, mode)}
        if not (self.choice.takes_task(collection, mode) and self.choice.takes_model(result.model, result.label)):
            return
        names = self.choice.subsets(result.subsets)
        if not names:
            return
        row = self._row(result, collection, mode)
        row.add(result, mode, names)
        if self.intervals:
            try:
                means = _intervals(result, names)
            except OutputError as error:
                self.notes.append(f"no intervals of {row.label} on {result.task}: {error}")
            else:
                row.intervals |= {(mode, measure): interval for measure, interval in means.items()}

    def _row(self, result: Result, collection: str, mode: Mode) -> LeaderboardRow:
        """The standing of a model, whose modes may lie in several folders; of another run of a mode, one of its own."""
        key: tuple[str, ...] = (
            collection,
            result.fields["data"],
            result.model,
            result.revision,
            result.prompt_by_hand,
        )
        if key in self.rows and mode in self.rows[key].signatures:
            key += (str(result.path.parent),)
        if key not in self.rows:
            about = (collection, result.fields["data"], result.model, result.revision, "measured")
            self.rows[key] = LeaderboardRow(*about, result.prompt_by_hand, folder=str(result.path.parent))
        return self.rows[key]


def _intervals(result: Result, names: Sequence[str]) -> Mapping[str, Interval]:
    """As stored, or from the ranks for some of the subsets alone."""
    if len(names) == len(result.subsets) and result.intervals:
        return result.intervals
    return result.computed_intervals(names).means


def reported_standings(choice: Choice) -> list[LeaderboardRow]:
    """The figures of papers, in the package's ``reported.csv``, as far as they are chosen."""
    rows: dict[tuple[str, str], LeaderboardRow] = {}
    text = files("hbt_bench.reports").joinpath("reported.csv").read_text(encoding="utf-8")
    for line in csv.DictReader(text.splitlines()):
        mode = next(mode for mode in MODES if mode == line["mode"])
        if not choice.takes_task(line["collection"], mode):
            continue
        source = f"reported: {line['source'].split(',')[0]}"
        row = rows.setdefault(
            (line["collection"], line["model"]), LeaderboardRow(line["collection"], "", line["model"], "", source)
        )
        row.values[mode, line["measure"]] = float(line["value"])
        row.decimals[mode, line["measure"]] = len(line["value"].partition(".")[2])
    return list(rows.values())
