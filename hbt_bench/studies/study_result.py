"""The result of a study: scores, differences and costs, with intervals over seeds and questions."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from hbt_bench.errors import OutputError
from hbt_bench.files import write_text
from hbt_bench.identity.task_name import TaskName
from hbt_bench.measures.registry import MEASURES
from hbt_bench.stats.paired import holm
from hbt_bench.stats.seeds import SeedQuestionMean
from hbt_bench.studies.jobs import StudyPlan
from hbt_bench.studies.score_table import MAIN_SCORE, ScoreKey, ScoreTable


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval. The fields are the keys of the file.

    `kind` is "score", "drop" (a loss between two groups of tasks, or between unshifted and shifted queries), or
    "answer". With a `baseline` the number is a difference, and `p_raw` and `p` are its p-values, `p` after Holm's
    correction. `language` is a query language, or empty for the mean over all. `spread` is the standard deviation over
    seeds.
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

    @classmethod
    def from_average(cls, average: SeedQuestionMean, **names: str) -> Self:
        """Make an estimate of an average or, if `names` have a baseline, of a difference."""
        p = average.p_value if names.get("baseline") else None
        low, high = average.interval
        return cls(value=average.value, low=low, high=high, spread=average.spread, p_raw=p, p=p, **names)


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

    The p-values of the answer are corrected among themselves, and all others among themselves.
    """

    figures: tuple[Estimate, ...]
    costs: tuple[Cost, ...]
    machine: str
    versions: Mapping[str, str]

    @classmethod
    def from_plan(cls, plan: StudyPlan) -> StudyResult:
        """Compute the result of a plan from its evaluations, which must all be done."""
        table = ScoreTable(plan)
        figures = _corrected([*_scores(table), *_drops(table), *_differences(table)])
        facts = plan.trainings[0].facts
        return cls((*figures, *_corrected(_answer(table))), tuple(_costs(table)), facts["machine"], facts["versions"])

    @classmethod
    def read(cls, text: str | bytes) -> StudyResult:
        """Parse the output of `as_json`; raises `OutputError` if it is damaged."""
        try:
            content = json.loads(text)
            figures = tuple(Estimate(**figure) for figure in content["figures"])
            costs = tuple(Cost(**cost) for cost in content["costs"])
            return cls(figures, costs, content["machine"], content["versions"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = " ".join(str(error).split())[:200]
            raise OutputError(
                f"the result of the study is damaged ({reason}): delete it and run the study again"
            ) from error

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
    if not plan.comparison.is_file():
        write_text(plan.comparison, StudyResult.from_plan(plan).as_json())
    return plan.comparison


def _scores(table: ScoreTable) -> Iterator[Estimate]:
    """Iterate over the scores of all systems."""
    for key in table.scores:
        low, high = MEASURES.describe(key.measure).bounds
        for system in table.systems:
            score = Estimate.from_average(table.average(key, system), kind="score", system=system, **key._asdict())
            # an interval from few seeds can exceed the bounds of the measure
            yield replace(score, low=max(score.low, low), high=min(score.high, high))


def _differences(table: ScoreTable) -> Iterator[Estimate]:
    """Iterate over the differences between the strategy of the answer and the others, in the mean over languages."""
    for key in table.scores:
        if not key.language:
            for system, other in table.compared_pairs():
                difference = table.average(key, system) - table.average(key, other)
                yield Estimate.from_average(difference, kind="score", system=system, baseline=other, **key._asdict())


def _drops(table: ScoreTable) -> Iterator[Estimate]:
    """Iterate over the loss of each system out of the domain and with shifted queries, then over their differences."""
    for (group, task), losses in _losses(table).items():
        names = {"kind": "drop", "group": group, "task": task, "measure": "AP"}
        for system, loss in losses.items():
            yield Estimate.from_average(loss, system=system, **names)
        for system, other in table.compared_pairs():
            yield Estimate.from_average(losses[system] - losses[other], system=system, baseline=other, **names)


def _losses(table: ScoreTable) -> dict[tuple[str, str], dict[str, SeedQuestionMean]]:
    """Return the loss of each system, by group and task."""
    losses: dict[tuple[str, str], dict[str, SeedQuestionMean]] = {}
    for system in table.systems:
        # only ranked tasks: an accuracy cannot be subtracted from an AP
        in_domain = table.group_mean("in-domain", system, ranked=True)
        out_of_domain = table.group_mean("out-of-domain", system, ranked=True)
        if in_domain and out_of_domain:
            loss = in_domain.unpaired_difference(out_of_domain)
            losses.setdefault(("out-of-domain", "mean AP in the domain minus out of it"), {})[system] = loss
        for key in table.scores:
            if key.group == "shifted" and key.measure in ("AP", MAIN_SCORE) and not key.language:
                loss = table.average(_unshifted(table, key), system) - table.average(key, system)
                losses.setdefault((key.group, key.task), {})[system] = loss
    return losses


def _unshifted(table: ScoreTable, shifted: ScoreKey) -> ScoreKey:
    task = TaskName.parse(shifted.task).unshifted
    return next(key for key in table.scores if key[1:] == (str(task), shifted.measure, ""))


def _answer(table: ScoreTable) -> Iterator[Estimate]:
    """Iterate over the differences that answer the question."""
    answer = table.design.answer
    strategies = {table.labels[id(train)]: train.system.strategy for train in table.trainings}
    names = {"kind": "answer", "group": answer.tasks, "task": "", "measure": table.group_measure(answer.tasks)}
    for system, other in table.compared_pairs():
        mean, other_mean = table.group_mean(answer.tasks, system), table.group_mean(answer.tasks, other)
        if strategies[other] in answer.over and mean and other_mean:
            yield Estimate.from_average(mean - other_mean, system=system, baseline=other, **names)


def _costs(table: ScoreTable) -> Iterator[Cost]:
    """Iterate over the training costs of the systems."""
    for label in table.systems:
        trainings = [train for train in table.trainings if table.labels[id(train)] == label]
        facts = [train.facts for train in trainings]
        yield Cost(
            label,
            facts[0]["steps"],
            facts[0]["pairs_seen"],
            round(sum(model["seconds"] for model in facts) / len(facts), 1),
            len(facts),
            trainings[0].system.init,
            trainings[0].system.alpha,
            round(sum(map(_monolingual_share, facts)) / len(facts), 4),
        )


def _monolingual_share(facts: Mapping[str, Any]) -> float:
    """Return the share of a model's training pairs with query and passage in the same language."""
    return float(sum(share for _, _, query, passage, share in facts["shares"] if query == passage))


def _corrected(estimates: Iterable[Estimate]) -> tuple[Estimate, ...]:
    """Apply Holm's correction over all differences among `estimates`."""
    every = tuple(estimates)
    adjusted = iter(holm([estimate.p_raw for estimate in every if estimate.p_raw is not None]))
    return tuple(estimate if estimate.p_raw is None else replace(estimate, p=next(adjusted)) for estimate in every)
