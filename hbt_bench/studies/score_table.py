"""The scores of a study by system, task, measure and language, each split into values per question."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.errors import DataError
from hbt_bench.identity.task_name import MODES, Mode, TaskName
from hbt_bench.measures.ranking import Array
from hbt_bench.measures.registry import MEASURES, Measure
from hbt_bench.measures.scores import ModeRanks
from hbt_bench.ranking.ranks import Ranks
from hbt_bench.ranking.subsets import subsets
from hbt_bench.results.ranks_file import StoredRanks
from hbt_bench.results.result import Result
from hbt_bench.stats.clusters import Level
from hbt_bench.stats.seeds import SeedQuestionMean
from hbt_bench.studies.jobs import Evaluate, StudyPlan, Train

#: The score of MTEB's own tasks, which store no ranks.
MAIN_SCORE = "main_score"


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
    """The identity of a score; an empty `language` stands for the mean over all query languages."""

    group: str
    task: str
    measure: str
    language: str = ""


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


#: The scores of each system, in the order of its seeds.
SystemScores = dict[str, list[ModelScore]]


class ScoreTable:
    """All scores of a finished plan, read from its results.

    `systems` has the trainings of each system, by its name in the report; `scores` has the scores of each task; `means`
    has the mean over its modes, by group and task; `clusters` has the clusters of the tests in words, by collection.
    """

    def __init__(self, plan: StudyPlan) -> None:
        self.study = plan.design.study
        self.systems: dict[str, list[Train]] = {}
        self.scores: dict[ScoreKey, SystemScores] = {}
        self.means: dict[tuple[str, str], SystemScores] = {}
        self.clusters: dict[str, str] = {}
        for train in plan.trainings:
            self.systems.setdefault(self._label(train), []).append(train)
        for job in plan.evaluations:
            system = self._label(job.train)
            results = job.results
            stored = next((StoredRanks.read(result.ranks) for result in results if result.ranks), None)
            if stored:
                self.clusters.setdefault(_collection(job), str(_level(stored)))
            mean = _mean_score(job, results, stored)
            self.means.setdefault((job.group, results[0].task), {}).setdefault(system, []).append(mean)
            for key, score in _task_scores(job, results, stored):
                self.scores.setdefault(key, {}).setdefault(system, []).append(score)

    def average(self, key: ScoreKey, system: str) -> SeedQuestionMean:
        """Return a system's score as an average over seeds and questions."""
        return _average(self.scores[key][system])

    def group_mean(self, group: str, system: str, *, ranked: bool = False) -> SeedQuestionMean | None:
        """Return the mean over the tasks of a group, None if it has none. Modes have equal weights.

        The scores are AP, and the main score for MTEB's own tasks, which `ranked` leaves out. Shifts of a collection
        ask the same questions, so they count as a single sample of questions.
        """
        scores = {key: systems[system] for key, systems in self.means.items() if key[0] == group}
        if ranked:
            scores = {key: models for key, models in scores.items() if models[0].asked}
        samples = [models[0].asked or key for key, models in scores.items()]
        return SeedQuestionMean.average(list(map(_average, scores.values())), samples) if scores else None

    def group_measure(self, group: str) -> str:
        """Return the name of the scores that `group_mean` averages."""
        first = next(iter(self.systems))
        ranked = {bool(systems[first][0].asked) for key, systems in self.means.items() if key[0] == group}
        return f"AP and {MAIN_SCORE}" if len(ranked) > 1 else "AP" if True in ranked else MAIN_SCORE

    def labels(self, strategies: Sequence[str], init: str) -> list[str]:
        """Return the names in the report of the strategies with an init."""
        systems = {label: trainings[0].system for label, trainings in self.systems.items()}
        return [label for label, system in systems.items() if system.strategy in strategies and system.init == init]

    def compared_pairs(self) -> Iterator[tuple[str, str]]:
        """Iterate over the pairs to compare: the strategy of the answer with each other system of the same init."""
        systems = {label: trainings[0].system for label, trainings in self.systems.items()}
        for base, system in systems.items():
            if system.strategy == self.study.answer.strategy:
                yield from ((base, label) for label in systems if label != base and systems[label].init == system.init)

    def _label(self, train: Train) -> str:
        """Return the name of a system: its strategy, with the init if the study has several."""
        several = len(self.study.inits) > 1
        return f"{train.system.strategy} ({train.system.init})" if several else train.system.strategy


def _average(scores: Sequence[ModelScore]) -> SeedQuestionMean:
    values = [score.by_cluster for score in scores if score.by_cluster is not None]
    if values:
        return SeedQuestionMean.from_matrix(np.stack(values), scores[0].sizes)
    return SeedQuestionMean(np.array([score.value for score in scores]))


def _mean_score(job: Evaluate, results: Sequence[Result], stored: StoredRanks | None) -> ModelScore:
    """Return the mean of AP over the modes of a task, or the main score of a task of MTEB's own."""
    if stored is None:
        return ModelScore(results[0].scores[MAIN_SCORE])
    evaluated = {TaskName.parse(result.task).mode for result in results}
    modes = [mode for mode in MODES if mode in evaluated]
    values = question_values(stored.judgements, stored.ranks, modes, MEASURES["AP"])
    return ModelScore.from_questions(values, _collection(job), _level(stored))


def _task_scores(
    job: Evaluate, results: Sequence[Result], stored: StoredRanks | None
) -> Iterator[tuple[ScoreKey, ModelScore]]:
    """Iterate over the scores of a job's results: the headline measures, and multilingual AP by language."""
    for result in results:
        mode = TaskName.parse(result.task).mode
        if stored is None or mode is None:
            yield ScoreKey(job.group, result.task, MAIN_SCORE), ModelScore(result.scores[MAIN_SCORE])
            continue
        for measure in MEASURES:
            if not measure.headline or not measure.applies_to(stored.judgements, mode):
                continue
            by_language = stored.judgements.languages if measure.name == "AP" and mode == "multi" else ()
            for language in ("", *by_language):
                values = question_values(stored.judgements, stored.ranks, [mode], measure, language)
                if np.isfinite(values).any():
                    score = ModelScore.from_questions(values, _collection(job), _level(stored))
                    if not language:
                        result.check_score(measure.name, score.value, error=DataError)
                    yield ScoreKey(job.group, result.task, measure.name, language), score


def _level(stored: StoredRanks) -> Level:
    """Return the clusters of questions that are the unit of the tests."""
    return Level.choose(stored.judgements.levels, int(stored.judgements.questions.max()) + 1)


def _collection(job: Evaluate) -> str:
    return job.selection.spec.base if job.selection.spec else job.name
