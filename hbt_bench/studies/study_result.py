"""The result of a study: scores, differences and costs, with intervals over seeds and questions, and its answer."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from hbt_bench.errors import DataError, OutputError
from hbt_bench.files import write_text
from hbt_bench.identity.task_name import TaskName
from hbt_bench.measures.registry import MEASURES
from hbt_bench.stats.paired import SIGNIFICANCE, agreeing, holm, holm_levels
from hbt_bench.stats.seeds import SeedQuestionMean, SquaredErrors
from hbt_bench.studies.keys import Contrast
from hbt_bench.studies.score_table import ScoreTable
from hbt_bench.studies.study_plan import StudyPlan
from hbt_bench.studies.values import MAIN_SCORE, ScoreKey

#: The measures of drops and of answers by drops.
LOST, KEPT = "AP lost", "AP kept"


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval. The fields are the keys of the file.

    `kind` is "score", "drop" (a loss between two groups of tasks, or between unshifted and shifted queries), "answer"
    or "contrast". With a `baseline` the number is a difference, and `p_raw` and `p` are its p-values, `p` after Holm's
    correction, and `errors` its squared errors. `p_same` is the p-value of the two one-sided tests that the difference
    is not within the margin of the study, after Holm's correction. `language` is a query language, or empty for the
    mean over all. `spread` is the standard deviation over seeds.
    """

    kind: str
    group: str
    task: str
    measure: str
    system: str
    value: float
    low: float
    high: float
    spread: float
    baseline: str = ""
    language: str = ""
    p_raw: float | None = None
    p: float | None = None
    p_same: float | None = None
    errors: SquaredErrors | None = None

    @classmethod
    def from_average(cls, average: SeedQuestionMean, margin: float | None = None, **names: str) -> Self:
        """Make an estimate of an average or, if `names` have a baseline, of a difference."""
        p = same = errors = None
        if names.get("baseline"):
            p, errors = average.p_value, average.squared_errors
            same = None if margin is None else average.p_equivalent(margin)
        low, high = average.interval
        numbers = {"value": average.value, "low": low, "high": high, "spread": average.spread, "p_raw": p, "p": p}
        fields: dict[str, Any] = {**names, **numbers, "p_same": same, "errors": errors}
        return cls(**fields)

    def at_level(self, p: float, level: float) -> Self:
        """Return the difference with its corrected p-value, and the interval of a level; 0.05 is 95 %."""
        low, high = self.low, self.high
        if self.errors is not None:
            margin = self.errors.margin(level)
            low, high = self.value - margin, self.value + margin
        low, high = agreeing((low, high), self.value, p < SIGNIFICANCE)
        return replace(self, p=p, low=low, high=high)

    @property
    def significant(self) -> bool:
        """Whether the difference is significant after the correction."""
        return self.p is not None and self.p < SIGNIFICANCE

    @property
    def same(self) -> bool:
        """Whether the difference is within the margin of the study, but not significant."""
        return not self.significant and self.p_same is not None and self.p_same < SIGNIFICANCE


@dataclass(frozen=True)
class Cost:
    """The training cost of a system: the steps, pairs and mean seconds of a model, and the number of models.

    `within` is the mean share of training pairs with both texts in the same language. It equals alpha only if every
    source has monolingual and cross-lingual batches.
    """

    system: str
    steps: int
    pairs: int
    seconds: float
    models: int
    init: str
    alpha: float | None = None
    within: float = math.nan


@dataclass(frozen=True)
class StudyResult:
    """All estimates and costs of a study.

    `clusters` has the clusters of the tests in words, by collection, and `chance` the AP of a random ranking, by task.
    The p-values of the answer are corrected among themselves, those of the contrasts, and all others.
    """

    figures: tuple[Estimate, ...]
    costs: tuple[Cost, ...]
    machine: str
    versions: Mapping[str, str]
    clusters: Mapping[str, str] = field(default_factory=dict)
    chance: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_plan(cls, plan: StudyPlan) -> StudyResult:
        """Compute the result of a plan from its evaluations, which must all be done."""
        table = ScoreTable(plan)
        figures = corrected([*_scores(table), *_drops(table), *_differences(table)])
        facts = {job.train.address: job.values.facts for job in plan.evaluations}
        about = next(model for model in facts.values() if "machine" in model)
        figures += corrected(_answers(table))
        study = plan.design.study
        figures += corrected(
            figure for contrast in study.contrasts for figure in contrasts(table, contrast, study.answer.margin)
        )
        costs, chance = tuple(_costs(table, facts)), {task: value for task, value in table.chance.items() if value}
        return cls(figures, costs, about["machine"], about["versions"], table.clusters, chance)

    @classmethod
    def read(cls, text: str | bytes) -> StudyResult:
        """Parse the output of `as_json`; raises `OutputError` if it is damaged, `DataError` for another file."""
        try:
            return TypeAdapter(StudyResult).validate_json(text)
        except ValidationError as error:
            if any(mistake["type"] == "missing" and mistake["loc"] == ("figures",) for mistake in error.errors()):
                raise DataError("it has no figures: name a file of comparisons/") from error
            raise OutputError("the result of the study is damaged: delete it and run the study again") from error

    def as_json(self) -> str:
        """Return the result as JSON, which `read` restores without loss."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    def select(self, **values: str) -> tuple[Estimate, ...]:
        """Return the estimates that have these values.

        For example, ``result.select(kind="answer")`` or ``result.select(kind="score", measure="AP", language="de")``.
        """
        return tuple(
            figure for figure in self.figures if all(getattr(figure, key) == value for key, value in values.items())
        )


def run_study(plan: StudyPlan) -> Path:
    """Run the jobs that are not done, write the comparison, and return its path.

    Raises the errors of `hbt_bench.errors`; finished jobs stay done.
    """
    plan.run()
    return compare(plan)


def compare(plan: StudyPlan) -> Path:
    """Write the comparison of a plan whose jobs are all done, if it does not exist, and return its path."""
    if not plan.comparison.is_file():
        write_text(plan.comparison, StudyResult.from_plan(plan).as_json())
    return plan.comparison


def _scores(table: ScoreTable) -> Iterator[Estimate]:
    """Iterate over the scores of all systems."""
    for key, systems in table.scores.items():
        low, high = MEASURES.describe(key.measure).bounds
        for system in systems:
            score = Estimate.from_average(table.average(key, system), kind="score", system=system, **key._asdict())
            # an interval from few seeds can exceed the bounds of the measure
            yield replace(score, low=max(score.low, low), high=min(score.high, high))


def _differences(table: ScoreTable) -> Iterator[Estimate]:
    """Iterate over the differences between the strategy of the answer and the others, in the mean over languages."""
    for key, systems in table.scores.items():
        for system, other in table.compared_pairs() if not key.language else ():
            if system in systems and other in systems:
                difference = table.average(key, system) - table.average(key, other)
                yield Estimate.from_average(difference, kind="score", system=system, baseline=other, **key._asdict())


def _drops(table: ScoreTable) -> Iterator[Estimate]:
    """Iterate over the loss of each system out of the domain and with shifted queries, then over their differences."""
    for key, losses in _losses(table).items():
        names = {"kind": "drop", **key._asdict()}
        for system, loss in losses.items():
            yield Estimate.from_average(loss, None, system=system, **names)
        for system, other in table.compared_pairs():
            if system in losses and other in losses:
                difference = losses[system] - losses[other]
                yield Estimate.from_average(difference, None, system=system, baseline=other, **names)


def _losses(table: ScoreTable) -> dict[ScoreKey, dict[str, SeedQuestionMean]]:
    """Return the loss of each system by group, task, measure and query language.

    Out of the domain, it is the AP above chance on a task minus that on its comparable task, in total and for each
    query language. With a query shift, it is the AP of the same questions without and with the shift.
    """
    losses: dict[ScoreKey, dict[str, SeedQuestionMean]] = {}
    for key, other in _comparable(table):
        for system in table.scores[key]:
            loss = table.above_chance(other, system).unpaired_difference(table.above_chance(key, system))
            losses.setdefault(key._replace(measure=LOST), {})[system] = loss
    for key, systems in table.scores.items():
        if key.group == "shifted" and key.measure in ("AP", MAIN_SCORE) and not key.language:
            task = str(TaskName.parse(key.task).unshifted)
            unshifted = next(other for other in table.scores if other[:3] == (task, key.measure, ""))
            for system in systems:
                loss = table.average(unshifted, system) - table.average(key, system)
                losses.setdefault(key, {})[system] = loss
    return losses


def _comparable(table: ScoreTable) -> Iterator[tuple[ScoreKey, ScoreKey]]:
    """Iterate over the scores out of the domain with those of the comparable task, in the same mode and language."""
    pairs = {outside: inside for inside, outside in table.study.comparable}
    for key in table.scores:
        if (key.group, key.measure) == ("out-of-domain", "AP"):
            for other in table.scores:
                same = (other.group, other.measure, other.language) == ("in-domain", "AP", key.language)
                mode = TaskName.parse(key.task).mode
                if same and TaskName.parse(other.task).mode == mode and _named(key.task, other.task, pairs):
                    yield key, other


def _named(outside: str, inside: str, pairs: Mapping[str, str]) -> bool:
    """Return whether tasks are a comparable pair, named with or without their mode."""
    return pairs.get(outside) == inside or pairs.get(_whole(outside)) == _whole(inside)


def _answers(table: ScoreTable) -> Iterator[Estimate]:
    """Iterate over the differences that answer the question, task by task: unlike scales are not averaged."""
    answer, losses = table.study.answer, _losses(table)
    same_name = Counter((group, _whole(task)) for group, task in table.means)
    for system, other in table.compared_pairs():
        names = {"kind": "answer", "system": system, "baseline": other}
        if table.systems[other][0].system.strategy not in answer.over:
            continue
        if answer.drop:  # a smaller loss is better
            for key, by_system in losses.items():
                if key.group == answer.tasks and not key.language:
                    gain = by_system[other] - by_system[system]
                    yield Estimate.from_average(gain, answer.margin, **key._replace(measure=KEPT)._asdict(), **names)
            continue
        for group, task in table.means:
            mean, other_mean = table.task_mean((group, task), system), table.task_mean((group, task), other)
            if group == answer.tasks and mean and other_mean:
                measure = "AP" if mean.questions else MAIN_SCORE
                name = task if same_name[group, _whole(task)] > 1 else _whole(task)  # tasks that differ in mode only
                named = {"group": group, "task": name, "measure": measure, **names}
                yield Estimate.from_average(mean - other_mean, answer.margin, **named)


def _whole(task: str) -> str:
    """Return the name of a collection without its mode, with languages and shifts."""
    name = TaskName.parse(task)
    return task.replace(f"-{name.mode}", "", 1) if name.mode else task


def contrasts(table: ScoreTable, contrast: Contrast, margin: float | None = None) -> Iterator[Estimate]:
    """Iterate over the differences of a contrast for each init, task by task.

    The p-values are not corrected.
    """
    for init in table.study.inits:
        of, minus = table.labels(contrast.of, init), table.labels(contrast.minus, init)
        names = {"kind": "contrast", "system": " and ".join(of), "baseline": " and ".join(minus)}
        for key, systems in table.scores.items():
            if not key.language and systems.keys() >= {*of, *minus}:
                left, right = (_joint([table.average(key, system) for system in side]) for side in (of, minus))
                scale = margin if MEASURES.describe(key.measure).bounds[1] <= 1 else None  # a margin of AP
                yield Estimate.from_average(left - right, scale, **key._asdict(), **names)


def _joint(means: Sequence[SeedQuestionMean]) -> SeedQuestionMean:
    """Average strategies, which have the same seeds and questions."""
    return SeedQuestionMean.average(means, [0] * len(means))


def _costs(table: ScoreTable, facts: Mapping[str, Mapping[str, Any]]) -> Iterator[Cost]:
    """Iterate over the training costs of the systems; `facts` are those of each model, by address."""
    for label, trainings in table.systems.items():
        models = [facts[train.address] for train in trainings]
        system = trainings[0].system
        if not system.trained:
            yield Cost(label, 0, 0, 0.0, 1, system.init)
            continue
        yield Cost(
            label,
            models[0]["steps"],
            models[0]["pairs_seen"],
            round(sum(model["seconds"] for model in models) / len(models), 1),
            len(models),
            system.init,
            system.alpha,
            round(sum(model["within"] for model in models) / len(models), 4),
        )


def corrected(estimates: Iterable[Estimate]) -> tuple[Estimate, ...]:
    """Apply Holm's correction over all differences among `estimates`, and over all tests of equivalence.

    The interval of a difference has the level at which Holm's procedure tests it, so it excludes 0 if and only if the
    corrected p-value is significant.
    """
    every = tuple(estimates)
    raw = [estimate.p_raw for estimate in every if estimate.p_raw is not None]
    steps = zip(holm(raw), holm_levels(raw), strict=True)
    every = tuple(estimate if estimate.p_raw is None else estimate.at_level(*next(steps)) for estimate in every)
    same = iter(holm([estimate.p_same for estimate in every if estimate.p_same is not None]))
    return tuple(estimate if estimate.p_same is None else replace(estimate, p_same=next(same)) for estimate in every)
