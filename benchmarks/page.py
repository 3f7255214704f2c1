"""How large the report of 50 models is, how long it takes to write, and how soon a browser has drawn it.

    python -m benchmarks.page --output results/benchmarks/page.json

The published results are copied under other names, with their ranks, so that every matrix and question is there. The
data of XQuAD-R and MLQA-R must be in the cache or below HBT_BENCH_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.browser import chromium, open_report

ROOT = Path(__file__).resolve().parent.parent


def plant(output: Path, models: int) -> None:
    """Copy the published results until there are `models` models."""
    sources = [path.parent for path in sorted((ROOT / "results").glob("*/*/model_meta.json"))]
    for number in range(models):
        source = sources[number % len(sources)]
        name = source.parent.name.replace("__", "/", 1)
        folder = output / f"org__copy-{number:02}" / source.name
        shutil.copytree(source, folder)
        for path in folder.glob("*Retrieval.json"):
            path.write_text(path.read_text().replace(name, f"org/copy-{number:02}"))


def main() -> None:
    """Plant, write, open, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        plant(Path(temporary, "results"), arguments.models)
        page = Path(temporary, "report.html")
        command = [sys.executable, "-m", "hbt_bench", "report", str(Path(temporary, "results")), "--output", str(page)]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        drawn = []
        for _ in range(5):
            with chromium() as driver:
                open_report(driver, page)
                script = "return performance.getEntriesByName('report-ready')[0].startTime"
                drawn.append(driver.execute_script(script) / 1000)
        found = {
            "command": "python -m benchmarks.page",
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            "models": arguments.models,
            "collections": 2,
            "bytes": page.stat().st_size,
            "write_s": round(seconds, 1),
            "drawn_s": {"median": round(statistics.median(drawn), 2), "max": round(max(drawn), 2)},
        }
    text = json.dumps(found, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.output:
        arguments.output.write_text(text)


if __name__ == "__main__":
    main()
