"""Compare two results of the same study: every mean and every difference, against the spread over seeds.

``python benchmarks/study_rerun.py results/studies/hybrid-vs-multitask.json runs/comparisons/ADDRESS.json --output
results/studies/rerun`` compares a published study with a rerun. The rerun may have fewer seeds. A model whose training
has other random numbers, as on another kind of device, is another draw: its mean should be within about two standard
errors of the published mean. An untouched model should have the same numbers.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import report

from hbt_bench.studies.study_result import Estimate, StudyResult


class Key(NamedTuple):
    """The identity of an estimate in both results."""

    kind: str
    task: str
    measure: str
    system: str
    baseline: str


def estimates(result: StudyResult) -> dict[Key, Estimate]:
    """Return the estimates over all query languages."""
    return {
        Key(figure.kind, figure.task, figure.measure, figure.system, figure.baseline): figure
        for figure in result.figures
        if not figure.language and figure.kind in ("score", "answer", "contrast")
    }


def standard_error(figure: Estimate, published: int, rerun: int) -> float:
    """Return the standard error over seeds of the difference of two means, from the spread of the published study."""
    return figure.spread * math.sqrt(1 / published + 1 / rerun)


def signed(value: float, measure: str) -> str:
    """Return a difference with the digits of its measure."""
    return f"{value:+.1f}" if measure == "rank_distance" else f"{value:+.4f}"


def score_rows(old: StudyResult, new: StudyResult) -> list[dict[str, Any]]:
    """Return each mean of both results, their difference, and this in standard errors; none without training."""
    models = [{cost.system: cost.models for cost in result.costs} for result in (old, new)]
    rows = []
    for key, before in estimates(old).items():
        after = estimates(new).get(key)
        if key.kind != "score" or key.baseline or after is None:
            continue
        error = standard_error(before, models[0][key.system], models[1][key.system])
        difference = after.value - before.value
        ratio = difference / error if before.spread else None
        rows.append({**key._asdict(), "before": before.value, "after": after.value, "errors": ratio})
    return rows


def difference_rows(old: StudyResult, new: StudyResult) -> list[dict[str, Any]]:
    """Return each difference of the answer and of the contrasts, with its interval in the published study."""
    return [
        {
            **key._asdict(),
            "before": before.value,
            "interval": (before.low, before.high),
            "p_before": before.p,
            "after": after.value,
            "p_after": after.p,
        }
        for key, before in estimates(old).items()
        if key.baseline and key.kind != "score" and (after := estimates(new).get(key))
    ]


def score_cells(row: dict[str, Any]) -> list[str]:
    """Return the cells of a mean."""
    change = signed(row["after"] - row["before"], row["measure"])
    numbers = [f"{row['before']:.4f}", f"{row['after']:.4f}", change, f"{row['errors']:+.1f}"]
    return [row["task"], row["measure"].replace("_", " "), row["system"], *numbers]


def difference_cells(row: dict[str, Any]) -> list[str]:
    """Return the cells of a difference."""
    before, low, high, after = (
        signed(value, row["measure"]) for value in (row["before"], *row["interval"], row["after"])
    )
    names = [row["kind"], row["task"], row["measure"].replace("_", " "), row["system"], row["baseline"]]
    return [*names, before, f"[{low}, {high}]", f"{row['p_before']:.4f}", after, f"{row['p_after']:.4f}"]


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Compare, then print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("published", type=Path)
    parser.add_argument("rerun", type=Path)
    parser.add_argument("--output", default="", help="path of the report without ending")
    options = parser.parse_args(arguments)
    about = report.environment()
    old, new = (StudyResult.read(path.read_bytes()) for path in (options.published, options.rerun))
    scores, differences = score_rows(old, new), difference_rows(old, new)
    untouched = [row for row in scores if row["errors"] is None]
    trained = [row for row in scores if row["errors"] is not None]
    largest = {
        measure: max(
            (abs(row["after"] - row["before"]) for row in untouched if row["measure"] == measure), default=None
        )
        for measure in dict.fromkeys(row["measure"] for row in untouched)
    }
    parts = [
        "Means over seeds of the published study and of the rerun. The last column is the difference in standard "
        "errors, from the spread over seeds in the published study.",
        report.table(
            ["task", "measure", "system", "published", "rerun", "difference", "standard errors"],
            map(score_cells, trained),
        ),
        "Models without training, the largest differences: "
        + "; ".join(f"{measure.replace('_', ' ')} {value:.6f}" for measure, value in largest.items())
        + ".",
        "Differences between systems, with the corrected p, and the interval in the published study:",
        report.table(
            ["kind", "task", "measure", "of", "minus", "published", "interval", "p", "rerun", "p in the rerun"],
            map(difference_cells, differences),
        ),
    ]
    machines = {"published": old.machine, "rerun": new.machine}
    models = {cost.system: cost.models for cost in new.costs}
    data = {**about, "machines": machines, "models": models, "scores": scores, "differences": differences}
    report.publish(f"A rerun of {options.published.stem}", parts, data, about, options.output)
    return data


if __name__ == "__main__":
    main()
