"""The rows of a leaderboard: built from results, with reported scores, and ranked by a test."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Any

import numpy as np

from hbt_bench.errors import OutputError, did_you_mean
from hbt_bench.identity.task_name import MODES, Mode, TaskName
from hbt_bench.languages import parse_code
from hbt_bench.measures.ranking import Array
from hbt_bench.ranking.subsets import Subset
from hbt_bench.results.hierarchy import Hierarchy
from hbt_bench.results.scores import Interval
from hbt_bench.results.store import Result, model_label
from hbt_bench.results.task_choice import choosing_names, no_results_of
from hbt_bench.stats.paired import SIGNIFICANCE, sign_flip_p

log = logging.getLogger(__name__)

#: A mode and a measure, as in ``("multi", "AP")``.
Key = tuple[Mode, str]


@dataclass(frozen=True)
class ResultFilter:
    """The results to show; an empty field does not restrict them.

    For example, ``ResultFilter(tasks=("xquad-r",), models=("local/*",))``.

    Attributes:
        tasks: Collections, or single modes such as ``xquad-r-multi``.
        models: Patterns of model names.
        languages: Keep the subsets of queries and documents in these languages, and those whose pool has all languages.
    """

    tasks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()

    def has_task(self, collection: str, mode: str) -> bool:
        """Check a task. A collection includes its restrictions to some languages, but not its query shifts."""
        return not self.tasks or not _task_names(collection, mode).isdisjoint(self.tasks)

    def has_model(self, model: str, label: str) -> bool:
        """Check a model by its name with or without the organisation, or by its label; case is ignored."""
        names = [name.lower() for name in (model, model.rpartition("/")[2], label)]
        return not self.models or any(fnmatchcase(name, model.lower()) for model in self.models for name in names)

    def subsets(self, names: Iterable[str]) -> list[str]:
        """Return the names of the subsets in the chosen languages."""
        codes = {*self._codes(), None}
        subsets = {name: Subset.parse(name) for name in names}
        return [
            name
            for name, subset in subsets.items()
            if not self.languages or (subset and {subset.queries, subset.documents} <= codes)
        ]

    def _codes(self) -> dict[str, str]:
        """Return the spelling of each language by its code."""
        return {parse_code(language) or language: language for language in self.languages}

    def unmatched(self, rows: Iterable[LeaderboardRow], tasks: Iterable[tuple[str, str]]) -> list[str]:
        """Return a note for each name that selects none of `rows`. `tasks` are as in `explain_empty`."""
        rows = list(rows)
        pairs = {(row.collection, mode) for row in rows for mode, _ in row.values}
        shown = {name for pair in pairs for name in _task_names(*pair)}
        known = shown.union(*(_task_names(*task) for task in tasks))
        subsets = {name for row in rows if self.languages for _, names in row.sources.values() for name in names}
        codes = {code for subset in map(Subset.parse, subsets) if subset for code in (subset.queries, subset.documents)}
        notes = [f"no result of {name} is shown{did_you_mean(name, known)}" for name in self.tasks if name not in shown]
        notes += [
            f"no model that is shown matches {pattern}"
            for pattern in self.models
            if not any(ResultFilter(models=(pattern,)).has_model(row.model, row.label) for row in rows)
        ]
        left = [language for code, language in self._codes().items() if code not in codes]
        return [*notes, *(f"no result in the language {language} is shown" for language in left)]

    def explain_empty(self, tasks: Iterable[tuple[str, str]]) -> str:
        """Return why no result is left. `tasks` are the collections and modes of all results."""
        names = {name for task in tasks for name in _task_names(*task)}
        for name in self.tasks:
            if name not in names:
                return no_results_of(name, names)
        if self.models:
            return (
                f"no model's name matches {' or '.join(self.models)}. Give a pattern such as 'local/*' or '*minilm*'."
            )
        return f"no result has subsets of the languages {' '.join(self.languages)} alone"


def _task_names(collection: str, mode: str) -> set[str]:
    """Return the names that choose a mode of a collection; see `choosing_names`."""
    return choosing_names(replace(TaskName.parse(collection), mode=next(name for name in MODES if name == mode)))


@dataclass
class LeaderboardRow:
    """A model on a collection.

    Attributes:
        collection, data: The collection, and the fingerprint of its data, "" for reported scores.
        model, revision, prompt: The model; `prompt` is "none" unless the prompts were given by hand.
        source: "measured", or the paper that reports the scores.
        values, intervals: The mean over the subsets of a mode, and its 95 % interval, by mode and measure.
        decimals: The decimals of reported scores, as in their paper.
        limits: The lowest and highest mean that the cut of a run leaves open, by mode and measure.
        depths: The depth of the rankings of a run, by mode.
        missing: The modes that lack subsets, with the number of subsets that exist and that should exist.
        languages: The AP by query language in `languages_mode`: the multilingual mode, else the monolingual mode.
        sources: The result of each mode, and the subsets taken from it.
        signatures: The signature of each mode.
        parameters, speed, training: Facts about the model, as in `Result`.
        folder: The folder of the first result.
        rank, ranked_by: The rank, and the score that it is based on.
        whole_revision: Whether the name has all of the revision, as another row has the same short revision.
    """

    collection: str
    data: str
    model: str
    revision: str
    source: str
    prompt: str = "none"
    values: dict[Key, float] = field(default_factory=dict)
    intervals: dict[Key, Interval] = field(default_factory=dict)
    limits: dict[Key, Interval] = field(default_factory=dict)
    depths: dict[Mode, int] = field(default_factory=dict)
    missing: dict[Mode, tuple[int, int]] = field(default_factory=dict)
    languages: dict[str, float] = field(default_factory=dict)
    languages_mode: Mode | None = None
    decimals: dict[Key, int] = field(default_factory=dict)
    sources: dict[Mode, tuple[Result, Sequence[str]]] = field(default_factory=dict)
    signatures: dict[Mode, str] = field(default_factory=dict)
    parameters: int | None = None
    speed: float | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    folder: str = ""
    rank: int | None = None
    ranked_by: Key | None = None
    whole_revision: bool = False

    @property
    def measured(self) -> bool:
        """True if the scores were measured, False if a paper reports them."""
        return bool(self.data)

    @property
    def label(self) -> str:
        """The name in tables: model, revision, prompts given by hand, † for reported scores, ‡ for a run."""
        prompt = "" if self.prompt == "none" else f" prompt:{self.prompt}"
        mark = " ‡" if self.depths else "" if self.measured else " †"
        name = f"{self.model}@{self.revision}" if self.whole_revision else model_label(self.model, self.revision)
        return name + prompt + mark

    @property
    def worst(self) -> tuple[str, float] | None:
        """The query language with the lowest AP, and its AP."""
        if not self.languages:
            return None
        code = min(self.languages, key=lambda language: (self.languages[language], language))
        return code, self.languages[code]

    def value(self, key: Key) -> float | None:
        """Return a score, or None if it is missing or NaN."""
        value = self.values.get(key)
        return value if value is not None and math.isfinite(value) else None

    def contributions(self, key: Key, hierarchy: Hierarchy | None = None, cluster: str | None = None) -> Array | None:
        """Return the contribution of each cluster to a score, (clusters,), or None if the score cannot be tested.

        `hierarchy` has the clusters of the data, and `cluster` is their level; see `Result.cluster_contributions`.
        Raises `OutputError` if they must be computed from ranks that cannot be read.
        """
        mode, measure = key
        if mode not in self.sources or mode in self.missing or self.value(key) is None:
            return None
        result, names = self.sources[mode]
        return result.cluster_contributions(measure, names, hierarchy, cluster)

    def add(self, result: Result, mode: Mode, names: Sequence[str]) -> None:
        """Add the means of a mode over the subsets in `names`."""
        self.sources[mode] = result, names
        self.values |= {(mode, measure): value for measure, value in result.subsets.means(names).items()}
        self.signatures[mode] = result.signature
        if result.depth is not None:
            self.depths[mode] = result.depth
            if len(names) == len(result.subsets):
                self.limits |= {(mode, measure): ends for measure, ends in result.limits.items()}
        self.parameters = result.parameters or self.parameters
        self.speed = result.speed or self.speed
        self.training = result.training or self.training
        if not result.complete:
            self.missing[mode] = (len(result.subsets), result.expected_subsets)
        if mode == "multi" or (mode == "mono" and not self.languages):
            scores = result.subsets.by_subset("AP", names)
            self.languages_mode = mode
            subsets = {name: Subset.parse(name) for name in scores}
            self.languages = {subset.queries: scores[name] for name, subset in subsets.items() if subset}


@dataclass
class RowBuilder:
    """Builds rows from results, with intervals if `intervals` is true, at the level `cluster` if it is set.

    `tasks` are the collections and modes of all results, filtered out or not. `notes` are for the reader.
    """

    result_filter: ResultFilter
    intervals: bool
    cluster: str | None = None
    rows: dict[tuple[str, ...], LeaderboardRow] = field(default_factory=dict)
    tasks: set[tuple[str, str]] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Add a result, unless the filter excludes it."""
        collection, mode = result.collection, result.mode
        if mode is None:
            return
        self.tasks.add((collection, mode))
        names = self.result_filter.subsets(result.subsets)
        is_included = self.result_filter.has_task(collection, mode) and self.result_filter.has_model(
            result.model, result.label
        )
        if not names or not is_included:
            return
        row = self._row(result, mode)
        row.add(result, mode, names)
        if self.intervals:
            try:
                cluster = self._cluster(result)
                has_stored = len(names) == len(result.subsets) and cluster in (None, result.interval_level)
                means = (result.intervals if has_stored else {}) or result.computed_intervals(names, cluster).means
            except OutputError as error:
                self.notes.append(f"no intervals of {row.label} on {result.task}: {error}")
            else:
                row.intervals |= {(mode, measure): interval for measure, interval in means.items()}

    def _cluster(self, result: Result) -> str | None:
        """Return the level that was asked for, None if a result does not have it; notes that."""
        if self.cluster is None or result.has_level(self.cluster):
            return self.cluster
        self.notes.append(f"{result.collection} has no clusters by '{self.cluster}': its usual level is used")
        return None

    def _row(self, result: Result, mode: Mode) -> LeaderboardRow:
        """Return the row of a model. Its modes may have several folders; a second run of a mode is another row."""
        about = (result.collection, result.fields["data"], result.model, result.revision)
        folder = str(result.path.parent)
        key: tuple[str, ...] = (*about, result.prompt_by_hand)
        if key in self.rows and mode in self.rows[key].signatures:
            key += (folder,)
        if key not in self.rows:
            self.rows[key] = LeaderboardRow(*about, "measured", result.prompt_by_hand, folder=folder)
        return self.rows[key]


def reported_rows(result_filter: ResultFilter) -> list[LeaderboardRow]:
    """Return the scores that papers report, from the package's ``reported.csv``.

    They are means over all languages. If languages are chosen, they are left out, with a warning.
    """
    rows: dict[tuple[str, str], LeaderboardRow] = {}
    text = files("hbt_bench.reports").joinpath("reported.csv").read_text(encoding="utf-8")
    for line in csv.DictReader(text.splitlines()):
        collection, model, measure = line["collection"], line["model"], line["measure"]
        mode = next(mode for mode in MODES if mode == line["mode"])
        source = f"reported: {line['source'].split(',')[0]}"
        new = LeaderboardRow(collection, "", model, "", source)
        if result_filter.has_task(collection, mode) and result_filter.has_model(model, new.label):
            row = rows.setdefault((collection, model), new)
            row.values[mode, measure] = float(line["value"])
            row.decimals[mode, measure] = len(line["value"].partition(".")[2])
    if rows and result_filter.languages:
        log.warning("reported scores are left out: they are means over all languages, so leave --languages out")
        return []
    return list(rows.values())


def tell_apart(rows: Sequence[LeaderboardRow]) -> None:
    """Give rows with the same label but different revisions their whole revision, as after a change of texts."""
    revisions: dict[str, set[str]] = {}
    for row in rows:
        revisions.setdefault(row.label, set()).add(row.revision)
    for row in [row for row in rows if len(revisions[row.label]) > 1]:
        row.whole_revision = True


def assign_ranks(rows: Sequence[tuple[LeaderboardRow, Array]], key: Key) -> None:
    """Rank rows by a score. `rows` have the contributions of their clusters, and are sorted from best to worst.

    The best model opens a group. Each next model is compared with the best of the current group by the randomization
    test over clusters of questions. It opens a new group if p is below 0.05 divided by the number of comparisons
    (Bonferroni: each model but the first is compared once), else it joins the group. The rank of a group is 1 plus the
    number of models before it. So a shared rank means that no difference from the best of the group was shown, not
    that there is none.
    """
    level = SIGNIFICANCE / max(1, len(rows) - 1)
    best, rank = None, 1
    for position, (row, contributions) in enumerate(rows, 1):
        if best is None or differ(best, contributions, level):
            best, rank = contributions, position
        row.rank, row.ranked_by = rank, key


def differ(first: Array, second: Array, level: float) -> bool:
    """Test whether two scores differ, from the contributions of the same clusters; `level` is the bound on p.

    For example, ``differ(np.full(10, 0.1), np.full(10, 0.05), level=0.05)`` is True.
    """
    if len(first) != len(second):  # other questions, so the test does not apply
        return False
    differences = first - second
    largest = float(np.abs(differences).max(initial=0.0))
    differences[np.abs(differences) <= 1e-6 * largest] = 0.0
    energy = float((differences**2).sum())
    # Hoeffding's inequality bounds p, which saves the test if the scores are far from each other
    if energy and 2 * math.exp(-(float(differences.sum()) ** 2) / (2 * energy)) < level:
        return True
    return sign_flip_p(differences) < level
