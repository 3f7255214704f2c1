"""Compare a study that was run again, or some of its models, with the published study.

``python benchmarks/study_rerun.py results/studies/hybrid-vs-multitask.json runs --output results/studies/rerun``
compares each evaluation of the folder ``runs`` of ``hbt-bench study run`` with the mean of its system and, if the study
is finished, its differences between systems with the published differences. A training with other random numbers, as on
another kind of device, is another draw of a seed. So by Student's t, 19 of 20 scores should be in the 95 % prediction
interval of the published seeds, and 19 of 20 differences in that of the published difference. A model without training
should have the same scores.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import report
from scipy.special import stdtrit

from hbt_bench.stats.seeds import SquaredErrors
from hbt_bench.studies.sentences import probability
from hbt_bench.studies.study_result import Estimate, StudyResult
from hbt_bench.studies.values import MEAN, TaskValues


class Score(NamedTuple):
    """A published score of a system, and the scores of its models that were run again, by seed."""

    published: Estimate
    rerun: dict[str, float]

    @property
    def trained(self) -> bool:
        """Whether the system is trained, so its score varies over seeds."""
        return self.published.spread > 0

    def deviations(self, seeds: int) -> list[float]:
        """Return each model's difference from the mean, in standard deviations of a score minus a mean of `seeds`."""
        error = self.published.spread * math.sqrt(1 + 1 / seeds)
        return [(score - self.published.value) / error for score in self.rerun.values()]

    def inside(self, seeds: int) -> int:
        """Count the models in the 95 % prediction interval of the published seeds."""
        limit = float(stdtrit(seeds - 1, 0.975))
        return sum(abs(deviation) <= limit for deviation in self.deviations(seeds))

    def cells(self, seeds: int) -> list[str]:
        """Return the cells of the table."""
        number = _number(self.published.measure)
        scores = list(self.rerun.values())
        before, again = number.format(self.published.value), number.format(mean(scores))
        if self.trained:
            before += f" ± {number.format(self.published.spread)}"
            again += f" ± {number.format(stdev(scores))}" if scores[1:] else ""
        inside = f"{self.inside(seeds)} of {len(scores)}" if self.trained else "-"
        return [self.published.system, self.published.task, _words(self.published.measure), before, again, inside]


class Difference(NamedTuple):
    """A published difference between systems, and that of the study that was run again."""

    published: Estimate
    rerun: Estimate

    @property
    def deviations(self) -> float:
        """The distance in standard errors. Both runs have the same questions, so only the seeds vary."""
        error = math.sqrt(sum(errors.by_seed for errors in self._errors))
        return (self.rerun.value - self.published.value) / error

    @property
    def inside(self) -> bool:
        """Whether the difference is in the 95 % prediction interval of the published one."""
        freedom = sum(errors.seeds - 1 for errors in self._errors)
        return abs(self.deviations) <= float(stdtrit(freedom, 0.975))

    @property
    def same_conclusion(self) -> bool:
        """Whether both are significant with the same sign, or neither is."""
        return _conclusion(self.published) == _conclusion(self.rerun)

    @property
    def _errors(self) -> list[SquaredErrors]:
        return [figure.errors for figure in self if figure.errors is not None]

    def cells(self) -> list[str]:
        """Return the cells of the table."""
        before = self.published
        number = _number(before.measure).replace(":", ":+")
        texts = [
            f"{number.format(value.value)} [{number.format(value.low)}, {number.format(value.high)}], "
            f"p {probability(value.p)}"
            for value in self
        ]
        names = [f"{before.system} minus {before.baseline}", before.task, _words(before.measure)]
        return [*names, *texts, f"{self.deviations:+.1f}", "yes" if self.same_conclusion else "no"]


def scores(study: StudyResult, folder: Path) -> list[Score]:
    """Return the scores over all query languages that the folder has, in the order of the study."""
    published = {
        (figure.system, figure.task, figure.measure): figure
        for figure in study.select(kind="score")
        if not figure.language and not figure.baseline
    }
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for values in map(TaskValues.read, sorted(folder.glob("evaluations/*.npz"))):
        label, seed = re.fullmatch(r"(.+?)(?:, seed (\d+))?", values.facts["model"]).groups("")  # type: ignore[union-attr]
        system = label.rpartition(", ")[0]
        for key, score in values.scores.items():
            name = (system, values.tasks[key.task], key.measure)
            if key.task != MEAN and not key.language and name in published:
                found.setdefault(name, {})[seed] = score.value
    return [Score(figure, dict(sorted(found[name].items()))) for name, figure in published.items() if name in found]


def differences(study: StudyResult, again: StudyResult) -> Iterator[Difference]:
    """Yield the differences of the answer and of the planned contrasts."""
    for kind in ("answer", "contrast"):
        for before in study.select(kind=kind):
            names = {key: getattr(before, key) for key in ("system", "baseline", "task", "measure")}
            (after,) = again.select(kind=kind, **names)
            yield Difference(before, after)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Compare, then print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("published", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--output", default="", help="path of the report without ending")
    options = parser.parse_args(arguments)
    about = report.environment()
    study = StudyResult.read(options.published.read_bytes())
    found = scores(study, options.runs)
    comparisons = list(options.runs.glob("comparisons/*.json"))
    if len(comparisons) > 1:
        parser.error(f"{options.runs} has several studies: give each its own --output")
    compared = list(differences(study, StudyResult.read(comparisons[0].read_bytes()))) if comparisons else []
    parts = _score_parts(study, found)
    if compared:
        parts += _difference_parts(compared)
    data = {
        "machine": study.machine,
        "scores": [
            {"system": before.system, "task": before.task, "measure": before.measure, "published": before.value}
            | {"spread": before.spread, "rerun": again}
            for before, again in found
        ],
        "differences": [
            {"system": before.system, "baseline": before.baseline, "task": before.task, "measure": before.measure}
            | {"published": before.value, "p": before.p, "rerun": again.value, "p_rerun": again.p}
            for before, again in compared
        ],
    }
    parts.append(f"Published on: {study.machine}.")
    report.publish(f"A rerun of {options.published.stem}", parts, data, about, options.output)
    return data


def _score_parts(study: StudyResult, found: Sequence[Score]) -> list[str]:
    """Return the text and the table of the scores."""
    seeds = {cost.system: cost.models for cost in study.costs}
    trained = [score for score in found if score.trained]
    models = {(score.published.system, seed) for score in trained for seed in score.rerun}
    count = sum(len(score.rerun) for score in trained)
    inside = sum(score.inside(seeds[score.published.system]) for score in trained)
    text = (
        f"{len(models)} of {sum(cost.models for cost in study.costs if cost.steps)} trained models were trained and "
        f"evaluated again. {inside} of their {count} scores are in the 95 % prediction "
        "interval of the published seeds, which the last column counts. A mean is followed by the standard deviation "
        "over seeds."
    )
    header = ["system", "task", "measure", "published", "rerun", "in the interval"]
    return [text, report.table(header, (score.cells(seeds[score.published.system]) for score in found))]


def _difference_parts(compared: Sequence[Difference]) -> list[str]:
    """Return the text and the table of the differences."""
    inside = sum(difference.inside for difference in compared)
    agreeing = sum(difference.same_conclusion for difference in compared)
    text = (
        f"Of the {len(compared)} differences of the answer and of the planned contrasts, {agreeing} lead to the same "
        "conclusion: significant with the same sign, or not significant. Each has its interval and its p after the "
        f"correction. {inside} of {len(compared)} are in the 95 % prediction interval of the published difference, if "
        "only the seeds vary; the distance is in standard errors."
    )
    header = ["difference", "task", "measure", "published", "rerun", "distance", "same conclusion"]
    return ["## Differences", text, report.table(header, (difference.cells() for difference in compared))]


def _conclusion(figure: Estimate) -> int:
    """Return the sign of a significant difference, or 0."""
    return int(math.copysign(figure.significant, figure.value))


def _number(measure: str) -> str:
    """Return the format of a measure's numbers."""
    return "{:.1f}" if measure == "rank_distance" else "{:.4f}"


def _words(name: str) -> str:
    """Return the name of a measure in words."""
    return name.replace("_", " ")


if __name__ == "__main__":
    main()
