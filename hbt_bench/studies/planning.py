"""The differences that a study can show, and the seeds that it needs, from the variances of an earlier study."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from hbt_bench.errors import DataError
from hbt_bench.reports.table import Table
from hbt_bench.stats.paired import SIGNIFICANCE
from hbt_bench.stats.power import MOST_SEEDS, planned, seeds_needed, smallest_difference
from hbt_bench.stats.seeds import SquaredErrors
from hbt_bench.studies.study import Design
from hbt_bench.studies.study_result import Estimate, StudyResult

log = logging.getLogger(__name__)

_PACKAGE = Path(__file__).resolve().parent
#: The answers of the published studies: inside the package in a wheel, next to it in a checkout.
_PUBLISHED = (_PACKAGE / "published.json", _PACKAGE.parent.parent / "results" / "studies" / "published.json")
#: Numbers of seeds in the table, besides the planned number.
_SEEDS = (10, MOST_SEEDS)


def earlier_estimates(design: Design, path: Path | None = None) -> tuple[Estimate, ...]:
    """Return earlier differences with their squared errors: those of the file of a result, or the published answers.

    Raises `DataError` if the file has none.
    """
    if path is None:
        estimates = published().get(design.study.name) or tuple(
            estimate for estimates in published().values() for estimate in estimates
        )
        log.info(f"{design.study.name}: the variances are those of the published results; --from names another file")
        return estimates
    try:
        result = StudyResult.read(path.read_bytes())
    except DataError as error:
        raise DataError(f"{path} is no result of a study: {error}") from error
    chosen = result.select(kind="answer") + result.select(kind="contrast", task="")
    estimates = tuple(estimate for estimate in chosen if estimate.errors)
    if not estimates:
        raise DataError(f"{path} has no variances: it was written by an older version. Run its study again.")
    return estimates


@cache
def published() -> dict[str, tuple[Estimate, ...]]:
    """Return the answers of the published studies, by study."""
    path = next(path for path in _PUBLISHED if path.is_file())
    return TypeAdapter(dict[str, tuple[Estimate, ...]]).validate_python(json.loads(path.read_bytes()))


def first_level(design: Design) -> float:
    """Return the level of the first step of Holm's correction over all comparisons of the answer.

    The study tests the least p-value at this level: .05 divided by the number of baselines times tasks.
    """
    answer = design.study.answer
    return SIGNIFICANCE / (len(answer.over) * max(1, len(design.selections(answer.tasks))))


def errors_for(design: Design, estimates: Sequence[Estimate], baseline: str) -> tuple[SquaredErrors, ...]:
    """Return the squared errors of a comparison of the answer, for each task.

    They are those of the same comparison if the earlier results have it, else those of all.
    """
    answer = design.study.answer
    names = (answer.strategy, baseline, answer.tasks)
    same = [estimate for estimate in estimates if (estimate.system, estimate.baseline, estimate.group) == names]
    if not same:
        log.info(f"{design.study.name}: no earlier result compares with {baseline}; the largest variances are used")
    return tuple(estimate.errors for estimate in same or estimates if estimate.errors)


def plan_table(
    designs: Sequence[Design],
    difference: float,
    *,
    earlier: Path | None = None,
    seeds: int | None = None,
    questions: int | None = None,
) -> Table:
    """Return a table of the comparisons of the answers: parts of the variance, and the differences that they can show.

    The tests are those of the first step of Holm's correction, the strictest. Out of several tasks, each number is that
    of the task that needs the most; the parts are those of the task that needs the most with the planned seeds.
    `difference` is the smallest difference that matters. `seeds` and `questions` replace the numbers of the study and
    of the earlier results.
    """
    rows = []
    for design in designs:
        estimates, count = earlier_estimates(design, earlier), seeds or len(design.study.seeds)
        level = first_level(design)
        for baseline in design.study.answer.over:
            tasks = [planned(errors, count, questions) for errors in errors_for(design, estimates, baseline)]
            differences = [smallest_difference(errors, level) for errors in tasks]
            more = [max(smallest_difference(planned(errors, number), level) for errors in tasks) for number in _SEEDS]
            needed = [seeds_needed(errors, difference, level) for errors in tasks]
            largest = tasks[differences.index(max(differences))]
            parts = (largest.seeds_alone, largest.questions_alone, largest.by_question - largest.questions_alone)
            shares = [f"{variance / largest.total:.0%}" for variance in parts]
            rows.append(
                [
                    design.study.name,
                    baseline,
                    "/".join(shares if largest.rest else (*shares[:2], "?")),
                    f"{max(differences):.4f} ({count})",
                    *(f"{value:.4f}" for value in more),
                    f"over {MOST_SEEDS:,}" if None in needed else str(max(number or 0 for number in needed)),
                ]
            )
    header = ["study", "against", "seeds/questions/rest", "planned", *(f"{number:,}" for number in _SEEDS)]
    title = "The smallest difference shown with a power of 80 % after Holm's correction, by number of seeds"
    return Table([*header, f"for {difference:g}"], rows, title, names=2)
