"""Compare models that were trained again with the means of a published study, against their spread over seeds.

``python benchmarks/study_rerun.py results/studies/hybrid-vs-multitask.json runs --output results/studies/rerun``
compares each evaluation of the folder ``runs`` of ``hbt-bench study run`` with the mean of its system. A part of the
models is enough. A training with other random numbers, as on another kind of device, is another draw: 19 of 20 scores
should be in the prediction interval of the published seeds, from Student's t. A model without training should have the
same scores.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import report
from scipy.special import stdtrit

from hbt_bench.studies.study_result import StudyResult
from hbt_bench.studies.values import MEAN, TaskValues


class Score(NamedTuple):
    """A score of a model that was trained again, and the mean of its system in the published study."""

    system: str
    seed: str
    task: str
    measure: str
    published: float
    spread: float
    rerun: float
    models: int

    @property
    def deviations(self) -> float | None:
        """The difference in standard deviations of a model's score minus the mean; None without training."""
        return (self.rerun - self.published) / (self.spread * math.sqrt(1 + 1 / self.models)) if self.spread else None

    @property
    def in_interval(self) -> bool:
        """Whether the score of a trained model is in the 95 % prediction interval of the published seeds."""
        return self.deviations is not None and abs(self.deviations) <= float(stdtrit(self.models - 1, 0.975))

    def cells(self) -> list[str]:
        """Return the cells of the table."""
        digits = 1 if self.measure == "rank_distance" else 4
        published, rerun = f"{self.published:.{digits}f} ± {self.spread:.{digits}f}", f"{self.rerun:.{digits}f}"
        count = "-" if self.deviations is None else f"{self.deviations:+.1f}"
        return [self.system, self.seed or "-", self.task, self.measure.replace("_", " "), published, rerun, count]


def scores(study: StudyResult, folder: Path) -> Iterator[Score]:
    """Yield the scores over all query languages of the evaluations in a folder, in the order of the study."""
    published = {
        (figure.system, figure.task, figure.measure): figure
        for figure in study.select(kind="score")
        if not figure.language and not figure.baseline
    }
    models = {cost.system: cost.models for cost in study.costs}
    found = []
    for values in map(TaskValues.read, sorted(folder.glob("evaluations/*.npz"))):
        label, seed = re.fullmatch(r"(.+?)(?:, seed (\d+))?", values.facts["model"]).groups("")  # type: ignore[union-attr]
        system = label.rpartition(", ")[0]
        for key, score in values.scores.items():
            name = (system, values.tasks[key.task], key.measure)
            if key.task != MEAN and not key.language and name in published:
                before = published[name]
                found.append(
                    (name, Score(system, seed, *name[1:], before.value, before.spread, score.value, models[system]))
                )
    order = list(published)
    yield from (score for _, score in sorted(found, key=lambda entry: (order.index(entry[0]), entry[1].seed)))


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Compare, then print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("published", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--output", default="", help="path of the report without ending")
    options = parser.parse_args(arguments)
    about = report.environment()
    study = StudyResult.read(options.published.read_bytes())
    found = list(scores(study, options.runs))
    trained = [score for score in found if score.deviations is not None]
    inside = sum(score.in_interval for score in trained)
    models = {(score.system, score.seed) for score in trained}
    parts = [
        f"{len(models)} of {sum(cost.models for cost in study.costs if cost.steps)} trained models were trained and "
        f"evaluated again, on another kind of device. {inside} of their {len(trained)} scores are in the 95 % "
        "prediction interval of the published seeds. A published mean is followed by the standard deviation over its "
        "seeds; the last column is the difference in standard deviations of a score minus the mean.",
        report.table(
            ["system", "seed", "task", "measure", "published", "rerun", "standard deviations"],
            (score.cells() for score in found),
        ),
        f"Published on: {study.machine}.",
    ]
    data = {
        "machine": study.machine,
        "scores": [{**score._asdict(), "deviations": score.deviations} for score in found],
    }
    report.publish(f"A rerun of {options.published.stem}", parts, data, about, options.output)
    return data


if __name__ == "__main__":
    main()
