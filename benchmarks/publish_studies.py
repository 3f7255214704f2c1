"""Copy the results of the five studies at the scale small to `results/studies/`.

    hbt-bench study run --all --scale small --init e5-small-4bit --data-dir DATA --output runs
    PYTHONPATH=. python benchmarks/publish_studies.py --runs runs

Each study has a report (.md), perhaps pictures, and all scores behind them (.json). `published.json` has the answers of
all studies, from whose variances `hbt-bench study plan` computes the differences that a study can show.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict
from pathlib import Path

from hbt_bench.studies.study import study_names
from hbt_bench.studies.study_result import StudyResult


def publish(runs: Path, name: str, folder: Path) -> None:
    """Copy the report of a study, its pictures and its scores; pictures get the name of the study."""
    report = runs / f"{name}-small"
    text = (report / "report.md").read_text("utf-8")
    for picture in report.glob("*.svg"):
        (folder / f"{name}-{picture.name}").write_bytes(picture.read_bytes())
        text = text.replace(f"]({picture.name})", f"]({name}-{picture.name})")
    address = re.search("from comparison ([0-9a-f]{16})", text)
    assert address, f"{report} names no comparison"
    scores = (runs / "comparisons" / f"{address[1]}.json").read_text("utf-8")
    for file, content in ((f"{name}.md", text), (f"{name}.json", scores)):
        (folder / file).write_text(content, "utf-8")


def main() -> None:
    """Publish the studies that were run, and the answers of all published studies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--folder", type=Path, default=Path("results/studies"))
    options = parser.parse_args()
    for name in study_names():
        if (options.runs / f"{name}-small").is_dir():
            publish(options.runs, name, options.folder)
    results = {name: StudyResult.read((options.folder / f"{name}.json").read_bytes()) for name in study_names()}
    answers = {name: [asdict(figure) for figure in result.select(kind="answer")] for name, result in results.items()}
    (options.folder / "published.json").write_text(json.dumps(answers, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
