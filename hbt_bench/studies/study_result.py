"""What a study found: scores, differences and costs with intervals over seeds and questions."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from hbt_bench.errors import OutputError
from hbt_bench.stats.paired import holm
from hbt_bench.stats.seeds import SeedQuestionMean
from hbt_bench.studies.score_table import MAIN, ScoreTable

if TYPE_CHECKING:
    from hbt_bench.studies.jobs import StudyPlan

#: What a score can be; an interval of few seeds would go on beyond it.
_RANGE = {"AP": (0.0, 1.0), "rank_distance": (0.0, math.inf)}


@dataclass(frozen=True)
class Estimate:
    """One number with its 95 % interval; `language` is a query language, or empty for the mean over all.

    `p_raw` and `p` are there for differences only, `spread` is the standard deviation over seeds. `kind` is "score",
    "drop" (a loss between two groups of tasks, or between clean and shifted queries), or "answer".
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
    def of(cls, crossed: SeedQuestionMean, **names: str) -> Self:
        """A score, or a difference where `names` have a baseline."""
        p = crossed.p_value if names.get("baseline") else None
        return cls(value=crossed.value, low=crossed.interval[0], high=crossed.interval[1], spread=crossed.spread,
                   p_raw=p, p=p, **names)  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """What the models of a system took: steps and pairs of each, seconds on average, the number of models.

    `within` is the share of pairs of one language that they saw on average. It is alpha only where every source has
    both kinds of batches.
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
    """All figures of a study, the differences corrected: those of the answer among themselves, and the others."""

    figures: tuple[Estimate, ...]
    costs: tuple[Cost, ...]
    machine: str
    versions: Mapping[str, str]

    @classmethod
    def of(cls, plan: StudyPlan) -> StudyResult:
        """Read the results of a plan whose evaluations are all done."""
        cells = ScoreTable(plan)
        figures = _corrected([*_scores(cells), *_drops(cells), *_differences(cells)])
        first = plan.trainings[0].about
        return cls((*figures, *_corrected(_answer(cells))), tuple(_costs(cells)), first["machine"], first["versions"])

    def as_json(self) -> str:
        """As text that `read` reads back without loss."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, text: str | bytes) -> StudyResult:
        """Read what `as_json` wrote; raises `OutputError` for anything else."""
        try:
            content = json.loads(text)
            figures = tuple(Estimate(**one) for one in content["figures"])
            return cls(figures, tuple(Cost(**one) for one in content["costs"]), content["machine"], content["versions"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = " ".join(str(error).split())[:200]
            raise OutputError(f"the findings are damaged ({reason}): delete them and run the study again") from error

    def select(self, **wanted: str) -> tuple[Estimate, ...]:
        """The figures that have these values."""
        return tuple(one for one in self.figures if all(getattr(one, key) == value for key, value in wanted.items()))


def _scores(cells: ScoreTable) -> Iterable[Estimate]:
    """Every score of every system."""
    for key in cells.found:
        if key[2] != "mean":
            for system in cells.systems:
                found = Estimate.of(cells.crossed(key, system), kind="score", system=system, **_names(key))
                least, most = _RANGE.get(key[2], (-math.inf, math.inf))
                yield replace(found, low=max(found.low, least), high=min(found.high, most))


def _differences(cells: ScoreTable) -> Iterable[Estimate]:
    """Every score of the strategy of the answer against the others, over all languages."""
    for key in cells.found:
        if key[2] != "mean" and not key[3]:
            for system, other in cells.pairs():
                difference = cells.crossed(key, system) - cells.crossed(key, other)
                yield Estimate.of(difference, kind="score", system=system, baseline=other, **_names(key))


def _drops(cells: ScoreTable) -> Iterable[Estimate]:
    """What each system loses out of domain and with shifted queries, and how that differs."""
    losses: dict[tuple[str, str], dict[str, SeedQuestionMean]] = {}
    for system in cells.systems:
        # an accuracy is not to be taken from an AP
        inside, outside = (cells.group(name, system, ranked=True) for name in ("in-domain", "out-of-domain"))
        if inside and outside:
            losses.setdefault(("out-of-domain", "mean AP in the domain minus out of it"), {})[system] = inside.apart(
                outside
            )
        for group, task, measure, language in cells.found:
            if group == "shifted" and measure in ("AP", MAIN) and not language:
                clean = next(key for key in cells.found if key[1:] == (task.partition("+")[0], measure, ""))
                loss = cells.crossed(clean, system) - cells.crossed((group, task, measure, language), system)
                losses.setdefault((group, task), {})[system] = loss
    for (group, task), found in losses.items():
        names = {"kind": "drop", "group": group, "task": task, "measure": "AP"}
        for system, loss in found.items():
            yield Estimate.of(loss, system=system, **names)
        for system, other in cells.pairs():
            yield Estimate.of(found[system] - found[other], system=system, baseline=other, **names)


def _answer(cells: ScoreTable) -> Iterable[Estimate]:
    """The differences that answer the question."""
    answer = cells.design.answer
    for system, other in cells.pairs():
        strategy = next(one.system.strategy for one in cells.trainings if cells.labels[id(one)] == other)
        one, two = cells.group(answer.tasks, system), cells.group(answer.tasks, other)
        if strategy in answer.over and one and two:
            names = {"kind": "answer", "group": answer.tasks, "task": "", "measure": cells.measure(answer.tasks)}
            yield Estimate.of(one - two, system=system, baseline=other, **names)


def _costs(cells: ScoreTable) -> Iterable[Cost]:
    """What each system took to train."""
    for name in cells.systems:
        trains = [one for one in cells.trainings if cells.labels[id(one)] == name]
        about = [train.about for train in trains]
        seconds = sum(one["seconds"] for one in about) / len(about)
        alpha = trains[0].system.alpha
        yield Cost(
            name,
            about[0]["steps"],
            about[0]["pairs_seen"],
            round(seconds, 1),
            len(about),
            trains[0].system.init,
            alpha,
            round(sum(_within(one) for one in about) / len(about), 4),
        )


def _within(about: Mapping[str, Any]) -> float:
    """The share of a model's pairs whose query and passage are of one language."""
    return float(sum(share for _, _, query, passage, share in about["shares"] if query == passage))


def _names(key: tuple[str, str, str, str]) -> dict[str, str]:
    return dict(zip(("group", "task", "measure", "language"), key, strict=True))


def _corrected(figures: Iterable[Estimate]) -> tuple[Estimate, ...]:
    """Holm's correction over all differences among `figures`."""
    found = list(figures)
    adjusted = iter(holm([one.p_raw for one in found if one.p_raw is not None]))
    return tuple(one if one.p_raw is None else replace(one, p=next(adjusted)) for one in found)
