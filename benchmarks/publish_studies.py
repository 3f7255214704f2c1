"""Copies what the five studies found at the scale small to `results/studies/`, and writes the table of their answers.

Everything comes from the comparisons that `hbt-bench study run` left; nothing is computed here.

    python benchmarks/publish_studies.py --runs runs --data-dir ../data
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hbt_bench.data.data_files import search_folders
from hbt_bench.studies.answer import answer, probability
from hbt_bench.studies.jobs import StudyPaths, StudyPlan
from hbt_bench.studies.report import Report, command
from hbt_bench.studies.study import find_study, study_names
from hbt_bench.studies.study_result import StudyResult

_MARKS = ("<!-- answers -->", "<!-- /answers -->")


def publish(plan: StudyPlan, folder: Path) -> list[str]:
    """Copy a study's report, curve and findings; returns its row of the table."""
    name = plan.design.study.name
    made = Report.from_plan(plan)
    drawn = [picture for section in made.sections for picture in section.pictures]
    text = made.markdown()
    for picture in drawn:
        (folder / f"{name}-{picture.name}").write_text(picture.svg, "utf-8")
        text = text.replace(f"]({picture.name})", f"]({name}-{picture.name})")
    (folder / f"{name}.md").write_text(text, "utf-8")
    (folder / f"{name}.html").write_text(made.html(), "utf-8")
    findings = StudyResult.read(plan.comparison.read_text("utf-8"))
    (folder / f"{name}.json").write_text(findings.as_json(), "utf-8")
    found = findings.select(kind="answer")
    figures = [f"against {one.baseline}: {one.value:+.4f} [{one.low:+.4f}, {one.high:+.4f}]" for one in found]
    sentence = answer(plan.design.answer, found).split(" By mean ")[0]
    probabilities = [probability(one.p) for one in found]
    return [
        f"[{name}]({name}.md)",
        plan.design.study.question.strip(),
        sentence,
        "<br>".join(figures),
        "<br>".join(probabilities),
        f"`{command(plan)} --data-dir DATA`",
    ]


def main() -> None:
    """Publish all five."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("results/studies"))
    options = parser.parse_args()
    rows = [["study", "question", "answer", "difference of the mean, with 95 % interval", "corrected p", "command"]]
    rows.append(["---"] * len(rows[0]))
    for name in study_names():
        design = find_study(name).at("small")
        paths = StudyPaths(options.runs, search_folders(options.data_dir, None), options.data_dir, design.drop_overlap)
        rows.append(publish(StudyPlan(design, paths), options.folder))
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    path = options.folder / "README.md"
    before, mark, rest = path.read_text("utf-8").partition(_MARKS[0])
    if not mark or _MARKS[1] not in rest:
        sys.exit(f"{path} has no {' and '.join(_MARKS)}")
    path.write_text(before + f"{_MARKS[0]}\n{table}\n{_MARKS[1]}" + rest.partition(_MARKS[1])[2], "utf-8")


if __name__ == "__main__":
    main()
