"""The values that a study needs of an evaluation, by cluster of questions, in a small file that outlasts the model."""

from __future__ import annotations

import io
import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.errors import DataError, OutputError
from hbt_bench.files import write_bytes
from hbt_bench.identity.task_name import MODES, Mode, TaskName
from hbt_bench.measures.chance import chance
from hbt_bench.measures.ranking import Array
from hbt_bench.measures.registry import EXCESS, MEASURES, Measure
from hbt_bench.measures.scores import ModeRanks
from hbt_bench.ranking.ranks import Ranks
from hbt_bench.ranking.subsets import subsets
from hbt_bench.results.ranks_file import StoredRanks
from hbt_bench.results.result import Result
from hbt_bench.stats.clusters import Level

#: The score of MTEB's own tasks, which store no ranks.
MAIN_SCORE = "main_score"
#: The measures of a study, in the order of the report.
STUDIED = ("AP", "rank_distance", EXCESS)
#: The mode that stands for the mean of AP over all modes of a task.
MEAN = "mean"


def question_values(
    judgements: TextlessCollection,
    ranks: Ranks,
    modes: Sequence[Mode],
    measure: Measure,
    language: str = "",
) -> Array:
    """Return values per question, (questions,), with the macro average as their mean; NaN for a question not asked.

    The macro average is the mean over the queries of each subset, then over the subsets, then over `modes`. With
    `language`, only subsets with queries in that language count. Raises `DataError` if the measure does not apply to
    the collection.
    """
    total = np.zeros(int(judgements.questions.max()) + 1)
    asked = np.zeros(len(total), dtype=bool)
    for mode in modes:
        names = [subset.name for subset in subsets(judgements.languages, mode) if language in ("", subset.queries)]
        mode_ranks = ModeRanks(judgements, ranks, mode, names)
        parts = []
        for judged, values in zip(mode_ranks.subsets, mode_ranks.values(measure), strict=True):
            finite = np.isfinite(values)
            if finite.any():
                parts.append((judgements.questions[judged.rows[finite]], values[finite] / finite.sum()))
        if not parts:
            return np.full(len(total), np.nan)
        for questions, contributions in parts:
            np.add.at(total, questions, contributions / len(parts) / len(modes))
            asked[questions] = True
    return np.where(asked, total * asked.sum(), np.nan)


class ScoreKey(NamedTuple):
    """The identity of a score; an empty `language` stands for the mean over all query languages.

    `task` is a task of a `group` of the study, or its mode in the values of a single task.
    """

    task: str
    measure: str
    language: str = ""
    group: str = ""


@dataclass(frozen=True)
class ModelScore:
    """The score of a model; if ranks are stored, with the means of the clusters of questions and their sizes.

    Scores with equal `asked` have the same questions.
    """

    value: float
    by_cluster: Array | None = None
    sizes: Array | None = None
    asked: Hashable = None

    @classmethod
    def from_questions(cls, values: Array, collection: str, level: Level) -> ModelScore:
        """Make a score from the output of `question_values`."""
        asked = np.isfinite(values)
        numbers = np.flatnonzero(asked)
        sizes = level.add_up(np.ones(len(numbers)), numbers)
        means = level.add_up(values[asked], numbers) / sizes
        return cls(float(np.nanmean(values)), means, sizes, (collection, asked.tobytes()))


@dataclass(frozen=True)
class TaskValues:
    """The scores of a model on a task, by mode, measure and query language.

    Attributes:
        tasks: The name of the task in each mode; `MEAN` has that of the first.
        collection: The name of the collection, whose questions are shared by its modes and query shifts.
        clusters: The clusters of the questions in words, empty for MTEB's own tasks.
        scores: The scores, with AP also for each query language.
        chance: AP by chance, by mode.
        facts: The facts about the training, and the seconds of the evaluation.
    """

    tasks: Mapping[str, str]
    collection: str
    clusters: str
    scores: Mapping[ScoreKey, ModelScore]
    chance: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_results(cls, results: Sequence[Result], collection: str, facts: Mapping[str, Any]) -> TaskValues:
        """Compute the values from the results of a model on a task; raises `DataError` if ranks do not fit a score."""
        tasks = {str(TaskName.parse(result.task).mode or MEAN): result.task for result in results}
        stored = next((result.stored_ranks(DataError) for result in results if result.ranks), None)
        if stored is None:
            scores = {ScoreKey(mode, MAIN_SCORE): ModelScore(results[0].scores[MAIN_SCORE]) for mode in tasks}
            return cls(tasks, collection, "", scores, {}, facts)
        judgements = stored.judgements
        level = Level.choose(judgements.levels, int(judgements.questions.max()) + 1)
        modes = [mode for mode in MODES if mode in tasks]
        scores = {key: ModelScore.from_questions(values, collection, level) for key, values in _values(stored, modes)}
        for result in results:
            for measure in STUDIED:
                key = ScoreKey(str(TaskName.parse(result.task).mode), measure)
                if key in scores:
                    result.check_score(measure, scores[key].value, error=DataError)
        tasks[MEAN] = results[0].task
        expected: dict[str, float] = {mode: chance(MEASURES["AP"], judgements, mode) or 0.0 for mode in modes}
        return cls(tasks, collection, str(level), scores, expected, facts)

    def write(self, path: Path) -> None:
        """Write all values into one file, atomically, with float32 means."""
        arrays: dict[str, Any] = {}
        samples: dict[Hashable, int] = {}
        entries: list[list[Any]] = []
        for key, score in self.scores.items():
            number = None
            if score.by_cluster is not None and score.sizes is not None:
                number = samples.setdefault(score.asked, len(samples))
                arrays[f"sizes {number}"] = score.sizes.astype("<u2")
                arrays[f"means {len(entries)}"] = score.by_cluster.astype("<f4")
            entries.append([*key[:3], score.value, number])
        questions = [sample[1].hex() if isinstance(sample, tuple) else "" for sample in samples]
        about = {
            "tasks": self.tasks, "collection": self.collection, "clusters": self.clusters, "chance": self.chance,
            "facts": self.facts, "entries": entries, "asked": questions,
        }  # fmt: skip
        text = json.dumps(about, ensure_ascii=False).encode()
        buffer = io.BytesIO()
        np.savez_compressed(buffer, about=np.frombuffer(text, np.uint8), **arrays)
        write_bytes(path, buffer.getvalue())

    @classmethod
    def read(cls, path: Path) -> TaskValues:
        """Read the output of `write`; raises `OutputError` if it is damaged."""
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(file["about"].tobytes())
                scores = {}
                for entry, (mode, measure, language, value, number) in enumerate(about["entries"]):
                    score = ModelScore(value)
                    if number is not None:
                        means, sizes = file[f"means {entry}"].astype(float), file[f"sizes {number}"].astype(float)
                        asked = about["collection"], bytes.fromhex(about["asked"][number])
                        score = ModelScore(float(means @ sizes / sizes.sum()), means, sizes, asked)
                    scores[ScoreKey(mode, measure, language)] = score
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise OutputError(f"cannot read {path}: delete it and run the study again") from error
        return cls(about["tasks"], about["collection"], about["clusters"], scores, about["chance"], about["facts"])


def _values(stored: StoredRanks, modes: Sequence[Mode]) -> Iterator[tuple[ScoreKey, Array]]:
    """Iterate over the values per question: AP over all modes, then the measures of each mode."""
    judgements, ranks = stored.judgements, stored.ranks
    yield ScoreKey(MEAN, "AP"), question_values(judgements, ranks, modes, MEASURES["AP"])
    for mode in modes:
        for name in STUDIED:
            measure = MEASURES[name]
            if not measure.applies_to(judgements, mode):
                continue
            for language in ("", *(judgements.languages if name == "AP" else ())):
                values = question_values(judgements, ranks, [mode], measure, language)
                if np.isfinite(values).any():
                    yield ScoreKey(mode, name, language), values
