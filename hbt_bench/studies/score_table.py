"""The values of a study: every model's part of every figure, taken apart by question, from results on disk."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.errors import DataError
from hbt_bench.measures.ranking import Array, Ranking
from hbt_bench.ranking.ranks import Ranks
from hbt_bench.ranking.subsets import MODES, Mode, judged_subsets
from hbt_bench.results.ranks_file import StoredRanks
from hbt_bench.results.result import Result
from hbt_bench.stats.seeds import SeedQuestionMean

if TYPE_CHECKING:
    from hbt_bench.studies.jobs import Evaluate, StudyPlan, Train

Values = Callable[[Ranking], Array]
MEASURES: dict[str, Values] = {"AP": Ranking.average_precision, "rank_distance": Ranking.span}
#: Of a task of MTEB's own, which keeps no ranks.
MAIN = "main_score"


def by_question(
    judgements: TextlessCollection, ranks: Ranks, modes: Sequence[Mode], values: Values, language: str = ""
) -> Array:
    """A macro average taken apart by question, (questions,): their mean is the score; NaN for a question not asked.

    The score is the mean over the queries of each subset, over the subsets, and over `modes`; with `language`, over
    the subsets with queries in it.
    """
    total = np.zeros(int(judgements.questions.max()) + 1)
    asked = np.zeros(len(total), dtype=bool)
    for mode in modes:
        parts = []
        for judged in judged_subsets(judgements, mode):
            if language in ("", judged.subset.queries):
                found = values(Ranking.of(judgements, ranks, judged))
                there = np.isfinite(found)
                if there.any():
                    parts.append((judgements.questions[judged.rows[there]], found[there] / there.sum()))
        if not parts:
            return np.full(len(total), np.nan)
        for questions, shares in parts:
            np.add.at(total, questions, shares / len(parts) / len(modes))
            asked[questions] = True
    return np.where(asked, total * asked.sum(), np.nan)


@dataclass(frozen=True)
class ModelScore:
    """One model's part of a figure: a number, its parts by question where there are ranks, and which questions."""

    value: float
    questions: Array | None
    asked: Hashable = None


class ScoreTable:
    """All values of a plan by system, task, measure and language."""

    def __init__(self, plan: StudyPlan) -> None:
        self.design = plan.design
        self.trainings = plan.trainings
        self.labels = {id(train): _label(plan, train) for train in plan.trainings}
        self.systems = list(dict.fromkeys(self.labels.values()))
        #: (group, task, measure, language) -> system -> cells, one a seed
        self.found: dict[tuple[str, str, str, str], dict[str, list[ModelScore]]] = {}
        for job in plan.evaluations:
            self._read(job)

    def _read(self, job: Evaluate) -> None:
        results = job.results
        named = {_mode(result): result for result in results}
        stored = next((StoredRanks.read(result.ranks) for result in results if result.ranks), None)
        for mode, result in named.items():
            if stored is None or mode is None:
                self._add(job, result.task, MAIN, result.scores[MAIN], None)
                continue
            for measure, values in MEASURES.items():
                if measure == "rank_distance" and (mode != "multi" or not stored.judgements.parallel):
                    continue
                found = by_question(stored.judgements, stored.ranks, [mode], values)
                if np.isfinite(found).any():
                    _check(result, measure, float(np.nanmean(found)))
                    self._add(job, result.task, measure, float(np.nanmean(found)), found)
                for language in stored.judgements.languages if measure == "AP" and mode == "multi" else ():
                    found = by_question(stored.judgements, stored.ranks, [mode], values, language)
                    if np.isfinite(found).any():
                        self._add(job, result.task, measure, float(np.nanmean(found)), found, language)
        if stored is not None:
            modes = [mode for mode in MODES if mode in named]
            found = by_question(stored.judgements, stored.ranks, modes, Ranking.average_precision)
            self._add(job, "", "mean", float(np.nanmean(found)), found, results[0].task)
        else:
            self._add(job, "", "mean", results[0].scores[MAIN], None, results[0].task)

    def _add(
        self, job: Evaluate, task: str, measure: str, value: float, found: Array | None, language: str = ""
    ) -> None:
        systems = self.found.setdefault((job.group, task, measure, language), {})
        cell = ModelScore(value, None)
        if found is not None:
            asked = np.isfinite(found)
            spec = job.selection.spec
            cell = ModelScore(value, found[asked], (spec.base if spec else job.name, asked.tobytes()))
        systems.setdefault(self.labels[id(job.train)], []).append(cell)

    def crossed(self, key: tuple[str, str, str, str], system: str) -> SeedQuestionMean:
        """The average of a system over its seeds and the questions."""
        cells = self.found[key][system]
        parts = [cell.questions for cell in cells if cell.questions is not None]
        return SeedQuestionMean(np.array([cell.value for cell in cells]), (np.mean(parts, axis=0),) if parts else ())

    def group(self, group: str, system: str, *, ranked: bool = False) -> SeedQuestionMean | None:
        """The mean over the tasks of a group, all modes alike: AP, and the main score of MTEB's own unless `ranked`.

        None for a group without such tasks. Several shifts of one collection ask the same questions, so they are no
        more questions than one.
        """
        keys = [key for key in self._means(group) if not ranked or self.found[key][system][0].asked]
        samples = [self.found[key][system][0].asked or key for key in keys]
        return SeedQuestionMean.mean([self.crossed(key, system) for key in keys], samples) if keys else None

    def measure(self, group: str) -> str:
        """What the mean of a group is of."""
        ranked = {bool(self.found[key][self.systems[0]][0].asked) for key in self._means(group)}
        return f"AP and {MAIN}" if len(ranked) > 1 else "AP" if True in ranked else MAIN

    def _means(self, group: str) -> list[tuple[str, str, str, str]]:
        return [key for key in self.found if key[0] == group and key[2] == "mean"]

    def pairs(self) -> Iterable[tuple[str, str]]:
        """The systems that are compared: the strategy of the answer with each other one of the same init."""
        chosen = self.design.answer.strategy
        for init in self.design.inits:
            same = [self.labels[id(one)] for one in self.trainings if one.system.init == init]
            base = next(
                self.labels[id(one)]
                for one in self.trainings
                if one.system.init == init and one.system.strategy == chosen
            )
            yield from ((base, other) for other in dict.fromkeys(same) if other != base)


def _label(plan: StudyPlan, train: Train) -> str:
    """The name of a system in the report: the strategy, with the init where there are several."""
    several = len(plan.design.inits) > 1
    return f"{train.system.strategy} ({train.system.init})" if several else train.system.strategy


def _mode(result: Result) -> Mode | None:
    """The mode of a result, shifted or not; None for a task of MTEB's own."""
    word = result.task.partition("[")[0].partition("+")[0].rpartition("-")[2]
    return next((mode for mode in MODES if mode == word), None)


def _check(result: Result, measure: str, value: float) -> None:
    written = result.scores.get(measure)
    if written is not None and abs(written - value) > 1e-4 * max(1.0, abs(value)):
        raise DataError(
            f"{result.path} says {measure} {written:.6g} where its ranks give {value:.6g}: delete both and run again"
        )
