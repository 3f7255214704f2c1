"""Measure the size of the report of 50 models, the time to write it, and the time until a browser has drawn it.

    PYTHONPATH=. python benchmarks/page.py --output results/benchmarks/page.json

The published results are copied under other names, with their ranks, so that the report has all matrices and questions.
The data of XQuAD-R and MLQA-R must be in the cache or in HBT_BENCH_DATA.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import report

from tests.browser import chromium, open_report

ROOT = Path(__file__).resolve().parent.parent


def plant(output: Path, models: int) -> None:
    """Copy the published results until `models` models exist."""
    sources = [path.parent for path in sorted((ROOT / "results").glob("*/*/model_meta.json"))]
    for number in range(models):
        source = sources[number % len(sources)]
        name = source.parent.name.replace("__", "/", 1)
        folder = output / f"org__copy-{number:02}" / source.name
        shutil.copytree(source, folder)
        for path in folder.glob("*Retrieval*.json"):
            text = path.read_text().replace(name, f"org/copy-{number:02}")
            path.write_text(re.sub(r', "check": \[[^]]*\]', "", text, count=1))  # the checksum of the old name


def main() -> None:
    """Write and open the page, then print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    options = parser.parse_args()
    about = report.environment()
    with tempfile.TemporaryDirectory() as temporary:
        plant(Path(temporary, "results"), options.models)
        page = Path(temporary, "report.html")
        command = [sys.executable, "-m", "hbt_bench", "report", str(Path(temporary, "results")), "--output", str(page)]
        command += ["--tasks", "xquad-r,mlqa-r"]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        drawing_times = []
        for _ in range(5):
            with chromium() as driver:
                open_report(driver, page)
                script = "return performance.getEntriesByName('report-ready')[0].startTime"
                drawing_times.append(driver.execute_script(script) / 1000)
        size = page.stat().st_size
    rows = [
        ["the file, MB", size / 1e6, "< 5", report.verdict(size, 4_999_999, at_least=False)],
        [
            "drawn in Chromium after, s (median of 5)",
            statistics.median(drawing_times),
            "<= 1",
            report.verdict(max(drawing_times), 1, False),
        ],
        [
            "drawn in Chromium after, s (slowest)",
            max(drawing_times),
            "<= 1",
            report.verdict(max(drawing_times), 1, False),
        ],
        ["written in, s", seconds, "", ""],
    ]
    text = [
        f"{options.models} models on XQuAD-R and MLQA-R, each with its matrices and worst questions.",
        report.table(["", "figure", "required", ""], rows),
    ]
    data = {"bytes": size, "write_s": seconds, "drawn_s": drawing_times}
    report.publish("Report of many models", text, data, about, options.output)


if __name__ == "__main__":
    main()
