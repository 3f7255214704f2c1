"""Copy the results of the five studies at the scale small to `results/studies/`, and write the table of answers.

All numbers come from the comparisons that `hbt-bench study run` wrote; nothing is computed here.

    python benchmarks/publish_studies.py --runs runs --data-dir ../data
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hbt_bench.data.data_files import search_folders
from hbt_bench.studies.jobs import StudyPaths, StudyPlan
from hbt_bench.studies.report import Report, command
from hbt_bench.studies.study import find_study, study_names
from hbt_bench.studies.study_result import StudyResult, answer, probability

_MARKS = ("<!-- answers -->", "<!-- /answers -->")


def publish(plan: StudyPlan, folder: Path) -> list[str]:
    """Copy a study's report, curve and result; return its row of the table."""
    name = plan.design.study.name
    report = Report.from_plan(plan)
    pictures = [picture for section in report.sections for picture in section.pictures]
    text = report.markdown()
    for picture in pictures:
        (folder / f"{name}-{picture.name}").write_text(picture.svg, "utf-8")
        text = text.replace(f"]({picture.name})", f"]({name}-{picture.name})")
    (folder / f"{name}.md").write_text(text, "utf-8")
    (folder / f"{name}.html").write_text(report.html(), "utf-8")
    findings = StudyResult.read(plan.comparison.read_text("utf-8"))
    (folder / f"{name}.json").write_text(findings.as_json(), "utf-8")
    comparisons = findings.select(kind="answer")
    differences = [
        f"against {comparison.baseline}: {comparison.value:+.4f} [{comparison.low:+.4f}, {comparison.high:+.4f}]"
        for comparison in comparisons
    ]
    sentence = answer(plan.design.study.answer, comparisons).split(" By mean ")[0]
    probabilities = [probability(comparison.p) for comparison in comparisons]
    return [
        f"[{name}]({name}.md)",
        plan.design.study.question.strip(),
        sentence,
        "<br>".join(differences),
        "<br>".join(probabilities),
        f"`{command(plan)} --data-dir DATA`",
    ]


def main() -> None:
    """Publish all studies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("results/studies"))
    options = parser.parse_args()
    rows = [["study", "question", "answer", "difference of the mean, with 95 % interval", "corrected p", "command"]]
    rows.append(["---"] * len(rows[0]))
    for name in study_names():
        design = find_study(name).at("small")
        folders, drop_overlap = search_folders(options.data_dir, None), design.study.drop_overlap
        paths = StudyPaths(options.runs, folders, options.data_dir, drop_overlap)
        rows.append(publish(StudyPlan(design, paths), options.folder))
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    path = options.folder / "README.md"
    before, mark, rest = path.read_text("utf-8").partition(_MARKS[0])
    if not mark or _MARKS[1] not in rest:
        sys.exit(f"{path} has no {' and '.join(_MARKS)}")
    path.write_text(before + f"{_MARKS[0]}\n{table}\n{_MARKS[1]}" + rest.partition(_MARKS[1])[2], "utf-8")


if __name__ == "__main__":
    main()
