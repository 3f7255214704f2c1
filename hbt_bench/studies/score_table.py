"""The scores of a study by system, task, measure and language, each split into values per cluster of questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from hbt_bench.errors import DataError
from hbt_bench.stats.seeds import SeedQuestionMean
from hbt_bench.studies.jobs import Evaluate, Train
from hbt_bench.studies.study_plan import StudyPlan
from hbt_bench.studies.values import MEAN, ModelScore, ScoreKey, TaskValues

#: The scores of each system, in the order of its seeds.
SystemScores = dict[str, list[ModelScore]]


class ScoreTable:
    """All scores of a finished plan, read from its evaluations.

    An untouched init has no seeds: its scores are repeated for every seed. So a comparison with it has the variance of
    the other side's seeds, and a comparison of two untouched systems that of the questions alone.

    `systems` has the trainings of each system, by its name in the report; `values` the evaluations of each system, by
    group and name of the task; `scores` has the scores of each task; `means` has the mean of AP over the modes of a
    task, by group and task; `chance` has AP by chance, by task; `clusters` has the clusters of the tests in words, by
    collection.
    """

    def __init__(self, plan: StudyPlan) -> None:
        self.study = plan.design.study
        self.systems: dict[str, list[Train]] = {}
        self.scores: dict[ScoreKey, SystemScores] = {}
        self.means: dict[tuple[str, str], SystemScores] = {}
        self.chance: dict[str, float] = {}
        self.clusters: dict[str, str] = {}
        jobs: dict[tuple[str, str, str, int], list[Evaluate]] = {}
        for train in plan.trainings:
            self.systems.setdefault(self._label(train), []).append(train)
        for job in plan.evaluations:
            jobs.setdefault((self._label(job.train), job.group, job.name, job.train.recipe.seed), []).append(job)
        for (system, group, _, _), models in jobs.items():
            values = [job.values for job in models]
            each = models[0].train.system.each
            merged = _by_language(values, each) if each else values[0]
            if merged is not None:
                trained = models[0].train.system.trained
                self._add(system, group, merged, 1 if trained else len(self.study.seeds))

    def _add(self, system: str, group: str, values: TaskValues, copies: int) -> None:
        if values.clusters:
            self.clusters.setdefault(values.collection, values.clusters)
        for key, score in values.scores.items():
            task = values.tasks[key.task]
            if key.task == MEAN:
                self.means.setdefault((group, task), {}).setdefault(system, []).extend([score] * copies)
                if key.measure == "AP":
                    continue
            self.chance.setdefault(task, values.chance.get(key.task, 0.0))
            score_key = key._replace(task=task, group=group)
            self.scores.setdefault(score_key, {}).setdefault(system, []).extend([score] * copies)

    def average(self, key: ScoreKey, system: str) -> SeedQuestionMean:
        """Return a system's score as an average over seeds and questions."""
        return _average(self.scores[key][system])

    def above_chance(self, key: ScoreKey, system: str) -> SeedQuestionMean:
        """Return AP corrected for chance: 0 for a random ranking, 1 for a perfect ranking."""
        chance = self.chance[key.task]
        return _average([_rescaled(score, chance) for score in self.scores[key][system]])

    def task_mean(self, task: tuple[str, str], system: str) -> SeedQuestionMean | None:
        """Return a system's mean over the modes of a task, given by group and name, None if it was not evaluated."""
        scores = self.means[task].get(system)
        return _average(scores) if scores else None

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


def _rescaled(score: ModelScore, chance: float) -> ModelScore:
    assert score.by_cluster is not None
    above = (score.by_cluster - chance) / (1 - chance)
    return replace(score, value=(score.value - chance) / (1 - chance), by_cluster=above)


def _by_language(values: Sequence[TaskValues], languages: Sequence[str]) -> TaskValues | None:
    """Return AP of models with a language each, as one system: the model of a query's language answers it.

    None if the task has queries in other languages, or no languages of queries.
    """
    scores: dict[ScoreKey, ModelScore] = {}
    by_language = dict(zip(languages, values, strict=True))
    for mode in values[0].tasks:
        keys = [key for key in values[0].scores if (key.task, key.measure) == (mode, "AP") and key.language]
        asked = [key.language for key in keys]
        if mode == MEAN:
            continue
        if not asked or not set(asked) <= set(languages):
            return None
        parts = [by_language[key.language].scores[key] for key in keys]
        scores |= dict(zip(keys, parts, strict=True))
        scores[ScoreKey(mode, "AP")] = _mean(parts)
    scores[ScoreKey(MEAN, "AP")] = _mean([score for key, score in scores.items() if not key.language])
    return replace(values[0], scores=scores)


def _mean(parts: Sequence[ModelScore]) -> ModelScore:
    """Return the mean of scores on the same questions."""
    if len({score.asked for score in parts}) != 1:
        raise DataError("the models of single languages answered different questions: they cannot be joined")
    clusters = np.mean([score.by_cluster for score in parts if score.by_cluster is not None], axis=0)
    return replace(parts[0], value=float(np.mean([score.value for score in parts])), by_cluster=clusters)
