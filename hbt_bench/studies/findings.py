"""What a study found: scores, differences and costs with intervals over seeds and questions, from results on disk."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hbt_bench.corpus.collection import Judgements
from hbt_bench.errors import DataError, OutputError
from hbt_bench.ranking.crossed import Crossed
from hbt_bench.ranking.measures import Array, Ranking
from hbt_bench.ranking.ranks import Ranks
from hbt_bench.ranking.significance import holm
from hbt_bench.ranking.subsets import MODES, Mode, judged_subsets
from hbt_bench.reporting.result import Result
from hbt_bench.reporting.stored_ranks import StoredRanks

if TYPE_CHECKING:
    from hbt_bench.studies.plan import Evaluate, Plan, Train

Values = Callable[[Ranking], Array]
MEASURES: dict[str, Values] = {"AP": Ranking.average_precision, "rank_distance": Ranking.span}
#: What a score can be; an interval of few seeds would go on beyond it.
_RANGE = {"AP": (0.0, 1.0), "rank_distance": (0.0, math.inf)}
#: Of a task of MTEB's own, which keeps no ranks.
MAIN = "main_score"


@dataclass(frozen=True)
class Figure:
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
    def of(cls, crossed: Crossed, **names: str) -> Self:
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
class Findings:
    """All figures of a study, the differences corrected: those of the answer among themselves, and the others."""

    figures: tuple[Figure, ...]
    costs: tuple[Cost, ...]
    machine: str
    versions: Mapping[str, str]

    @classmethod
    def of(cls, plan: Plan) -> Findings:
        """Read the results of a plan whose evaluations are all done."""
        table = _Table(plan)
        figures = _corrected([*table.scores(), *table.drops(), *table.differences()])
        first = plan.trainings[0].about
        return cls((*figures, *_corrected(table.answer())), tuple(table.costs()), first["machine"], first["versions"])

    def as_json(self) -> str:
        """As text that `read` reads back without loss."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, text: str | bytes) -> Findings:
        """Read what `as_json` wrote; raises `OutputError` for anything else."""
        try:
            content = json.loads(text)
            figures = tuple(Figure(**one) for one in content["figures"])
            return cls(figures, tuple(Cost(**one) for one in content["costs"]), content["machine"], content["versions"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = " ".join(str(error).split())[:200]
            raise OutputError(f"the findings are damaged ({reason}): delete them and run the study again") from error

    def select(self, **wanted: str) -> tuple[Figure, ...]:
        """The figures that have these values."""
        return tuple(one for one in self.figures if all(getattr(one, key) == value for key, value in wanted.items()))


def by_question(
    judgements: Judgements, ranks: Ranks, modes: Sequence[Mode], values: Values, language: str = ""
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
class _Cell:
    """One model's part of a figure: a number, its parts by question where there are ranks, and which questions."""

    value: float
    questions: Array | None
    asked: Hashable = None


class _Table:
    """All values of a plan by system, task, measure and language."""

    def __init__(self, plan: Plan) -> None:
        self.design = plan.design
        self.trainings = plan.trainings
        self.labels = {id(train): label(plan, train) for train in plan.trainings}
        self.systems = list(dict.fromkeys(self.labels.values()))
        #: (group, task, measure, language) -> system -> cells, one a seed
        self.cells: dict[tuple[str, str, str, str], dict[str, list[_Cell]]] = {}
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
        systems = self.cells.setdefault((job.group, task, measure, language), {})
        cell = _Cell(value, None)
        if found is not None:
            asked = np.isfinite(found)
            spec = job.selection.spec
            cell = _Cell(value, found[asked], (spec.base if spec else job.name, asked.tobytes()))
        systems.setdefault(self.labels[id(job.train)], []).append(cell)

    def crossed(self, key: tuple[str, str, str, str], system: str) -> Crossed:
        """The average of a system over its seeds and the questions."""
        cells = self.cells[key][system]
        parts = [cell.questions for cell in cells if cell.questions is not None]
        return Crossed(np.array([cell.value for cell in cells]), (np.mean(parts, axis=0),) if parts else ())

    def group(self, group: str, system: str, *, ranked: bool = False) -> Crossed | None:
        """The mean over the tasks of a group, all modes alike: AP, and the main score of MTEB's own unless `ranked`.

        None for a group without such tasks. Several shifts of one collection ask the same questions, so they are no
        more questions than one.
        """
        keys = [key for key in self._means(group) if not ranked or self.cells[key][system][0].asked]
        samples = [self.cells[key][system][0].asked or key for key in keys]
        return Crossed.mean([self.crossed(key, system) for key in keys], samples) if keys else None

    def measure(self, group: str) -> str:
        """What the mean of a group is of."""
        ranked = {bool(self.cells[key][self.systems[0]][0].asked) for key in self._means(group)}
        return f"AP and {MAIN}" if len(ranked) > 1 else "AP" if True in ranked else MAIN

    def _means(self, group: str) -> list[tuple[str, str, str, str]]:
        return [key for key in self.cells if key[0] == group and key[2] == "mean"]

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

    def scores(self) -> Iterable[Figure]:
        """Every score of every system."""
        for key in self.cells:
            if key[2] != "mean":
                for system in self.systems:
                    found = Figure.of(self.crossed(key, system), kind="score", system=system, **_names(key))
                    least, most = _RANGE.get(key[2], (-math.inf, math.inf))
                    yield replace(found, low=max(found.low, least), high=min(found.high, most))

    def differences(self) -> Iterable[Figure]:
        """Every score of the strategy of the answer against the others, over all languages."""
        for key in self.cells:
            if key[2] != "mean" and not key[3]:
                for system, other in self.pairs():
                    difference = self.crossed(key, system) - self.crossed(key, other)
                    yield Figure.of(difference, kind="score", system=system, baseline=other, **_names(key))

    def drops(self) -> Iterable[Figure]:
        """What each system loses out of domain and with shifted queries, and how that differs."""
        losses: dict[tuple[str, str], dict[str, Crossed]] = {}
        for system in self.systems:
            # an accuracy is not to be taken from an AP
            inside, outside = (self.group(name, system, ranked=True) for name in ("in-domain", "out-of-domain"))
            if inside and outside:
                losses.setdefault(("out-of-domain", "mean AP in the domain minus out of it"), {})[system] = (
                    inside.apart(outside)
                )
            for group, task, measure, language in self.cells:
                if group == "shifted" and measure in ("AP", MAIN) and not language:
                    clean = next(key for key in self.cells if key[1:] == (task.partition("+")[0], measure, ""))
                    loss = self.crossed(clean, system) - self.crossed((group, task, measure, language), system)
                    losses.setdefault((group, task), {})[system] = loss
        for (group, task), found in losses.items():
            names = {"kind": "drop", "group": group, "task": task, "measure": "AP"}
            for system, loss in found.items():
                yield Figure.of(loss, system=system, **names)
            for system, other in self.pairs():
                yield Figure.of(found[system] - found[other], system=system, baseline=other, **names)

    def answer(self) -> Iterable[Figure]:
        """The differences that answer the question."""
        answer = self.design.answer
        for system, other in self.pairs():
            strategy = next(one.system.strategy for one in self.trainings if self.labels[id(one)] == other)
            one, two = self.group(answer.tasks, system), self.group(answer.tasks, other)
            if strategy in answer.over and one and two:
                names = {"kind": "answer", "group": answer.tasks, "task": "", "measure": self.measure(answer.tasks)}
                yield Figure.of(one - two, system=system, baseline=other, **names)

    def costs(self) -> Iterable[Cost]:
        """What each system took to train."""
        for name in self.systems:
            trains = [one for one in self.trainings if self.labels[id(one)] == name]
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


def label(plan: Plan, train: Train) -> str:
    """The name of a system in the report: the strategy, with the init where there are several."""
    several = len(plan.design.inits) > 1
    return f"{train.system.strategy} ({train.system.init})" if several else train.system.strategy


def _mode(result: Result) -> Mode | None:
    """The mode of a result, shifted or not; None for a task of MTEB's own."""
    word = result.task.partition("[")[0].partition("+")[0].rpartition("-")[2]
    return next((mode for mode in MODES if mode == word), None)


def _names(key: tuple[str, str, str, str]) -> dict[str, str]:
    return dict(zip(("group", "task", "measure", "language"), key, strict=True))


def _check(result: Result, measure: str, value: float) -> None:
    written = result.scores.get(measure)
    if written is not None and abs(written - value) > 1e-4 * max(1.0, abs(value)):
        raise DataError(
            f"{result.path} says {measure} {written:.6g} where its ranks give {value:.6g}: delete both and run again"
        )


def _corrected(figures: Iterable[Figure]) -> tuple[Figure, ...]:
    """Holm's correction over all differences among `figures`."""
    found = list(figures)
    adjusted = iter(holm([one.p_raw for one in found if one.p_raw is not None]))
    return tuple(one if one.p_raw is None else replace(one, p=next(adjusted)) for one in found)
