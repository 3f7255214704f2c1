"""Copy the results of the five studies at the scale small to `results/studies/`, and write the table of answers.

All numbers come from the comparisons that `hbt-bench study run` wrote. With `--restate`, they come from the published
results, whose tests are computed again: from the stored spread over seeds, and from the variance over questions that
the stored intervals contain.

    python benchmarks/publish_studies.py --runs runs --data-dir ../data
    python benchmarks/publish_studies.py --restate
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path

from scipy.special import stdtrit

from hbt_bench.data.data_files import search_folders
from hbt_bench.measures.registry import MEASURES
from hbt_bench.stats.seeds import UNKNOWN_QUESTIONS, SquaredErrors
from hbt_bench.studies.jobs import StudyPaths, StudyPlan
from hbt_bench.studies.report import Report, check_finished, command
from hbt_bench.studies.sentences import answer, probability
from hbt_bench.studies.study import find_study, study_names
from hbt_bench.studies.study_result import Estimate, StudyResult, corrected

#: The quantile of a 95 % interval, and the largest ratio of the variances by article and by question: see
#: `benchmarks/strategies.py`.
NORMAL, ARTICLES = 1.96, 3.4
_MARKS = ("<!-- answers -->", "<!-- /answers -->")


def publish(plan: StudyPlan, findings: StudyResult, address: str, folder: Path) -> list[str]:
    """Write a study's report, curve and result; return its row of the table."""
    name = plan.design.study.name
    report = Report.from_result(plan, findings, address)
    pictures = [picture for section in report.sections for picture in section.pictures]
    text = report.markdown()
    for picture in pictures:
        (folder / f"{name}-{picture.name}").write_text(picture.svg, "utf-8")
        text = text.replace(f"]({picture.name})", f"]({name}-{picture.name})")
    (folder / f"{name}.md").write_text(text, "utf-8")
    (folder / f"{name}.html").write_text(report.html(), "utf-8")
    (folder / f"{name}.json").write_text(findings.as_json(), "utf-8")
    comparisons = findings.select(kind="answer")
    differences = [
        f"against {comparison.baseline}: {comparison.value:+.4f} [{comparison.low:+.4f}, {comparison.high:+.4f}]"
        for comparison in comparisons
    ]
    sentence = answer(plan.design.study.answer, comparisons).split(" By mean ")[0]
    probabilities = [f"{probability(comparison.p_raw)}, {probability(comparison.p)}" for comparison in comparisons]
    return [
        f"[{name}]({name}.md)",
        plan.design.study.question.strip(),
        sentence,
        "<br>".join(differences),
        "<br>".join(probabilities),
        f"`{command(plan)} --data-dir DATA`",
    ]


def stored(folder: Path, name: str) -> tuple[StudyResult, str]:
    """Return a published result with its tests computed again, and the address of its comparison."""
    result = StudyResult.read((folder / f"{name}.json").read_bytes())
    address = re.search("from comparison ([0-9a-f]{16})", (folder / f"{name}.md").read_text("utf-8"))
    assert address
    if any(figure.errors for figure in result.figures):  # restated before
        return result, address[1]
    seeds = {cost.system: cost.models for cost in result.costs}
    figures = [restated(figure, seeds[figure.system]) for figure in result.figures]
    answers = corrected(figure for figure in figures if figure.kind == "answer")
    others = corrected(figure for figure in figures if figure.kind != "answer")
    return replace(result, figures=(*others, *answers)), address[1]


def restated(figure: Estimate, seeds: int) -> Estimate:
    """Return an estimate with the interval and the p-value of the test over seeds and questions.

    Its interval was that of Cochran and Cox. With the squared errors s by seed and v in total, the margin m is
    (t s + q (v - s)) / sqrt(v), so sqrt(v) is the larger root of q x^2 - m x + s (t - q). The larger root, the factor
    `ARTICLES` and the unknown rest are all on the safe side.
    """
    by_seed, freedom = figure.spread**2 / seeds, seeds - 1
    t, q = -float(stdtrit(freedom, 0.025)), NORMAL
    margin = max(figure.value - figure.low, figure.high - figure.value)
    without_questions = math.isclose(margin, t * math.sqrt(by_seed), rel_tol=1e-9)
    root = math.sqrt(max(0.0, margin**2 - 4 * q * by_seed * (t - q)))
    by_question = max(0.0, ((margin + root) / (2 * q)) ** 2 - by_seed)
    errors = SquaredErrors(by_seed, seeds)
    if not without_questions:
        errors = SquaredErrors(by_seed, seeds, ARTICLES * by_question, UNKNOWN_QUESTIONS)
    low, high = figure.value - errors.margin(0.05), figure.value + errors.margin(0.05)
    if figure.p_raw is not None:
        p = errors.p_value(figure.value)
        return replace(figure, low=low, high=high, p_raw=p, p=p, errors=errors)
    bounds = MEASURES.describe(figure.measure).bounds if figure.kind == "score" else (-math.inf, math.inf)
    return replace(figure, low=max(low, bounds[0]), high=min(high, bounds[1]))


def main() -> None:
    """Publish all studies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--restate", action="store_true", help="test the published results again")
    parser.add_argument("--folder", type=Path, default=Path("results/studies"))
    options = parser.parse_args()
    rows = [["study", "question", "answer", "difference of the mean, with 95 % interval", "p, corrected p", "command"]]
    rows.append(["---"] * len(rows[0]))
    answers = {}
    for name in study_names():
        design = find_study(name).at("small")
        folders, drop_overlap = search_folders(options.data_dir, None), design.study.drop_overlap
        paths = StudyPaths(options.runs, folders, options.data_dir, drop_overlap)
        plan = StudyPlan(design, paths)
        if options.restate:
            result, address = stored(options.folder, name)
        else:
            check_finished(plan)
            result, address = StudyResult.read(plan.comparison.read_text("utf-8")), plan.address
        rows.append(publish(plan, result, address, options.folder))
        answers[name] = [asdict(figure) for figure in result.select(kind="answer")]
    (options.folder / "published.json").write_text(json.dumps(answers, indent=1) + "\n", "utf-8")
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    path = options.folder / "README.md"
    before, mark, rest = path.read_text("utf-8").partition(_MARKS[0])
    if not mark or _MARKS[1] not in rest:
        sys.exit(f"{path} has no {' and '.join(_MARKS)}")
    path.write_text(before + f"{_MARKS[0]}\n{table}\n{_MARKS[1]}" + rest.partition(_MARKS[1])[2], "utf-8")


if __name__ == "__main__":
    main()
