"""Kill a study with SIGKILL at random moments and run it again: jobs are done once, and the report does not change.

A job is done if its run went on to the next job or ended. The reports are compared byte by byte, except for the seconds
of training.

    PYTHONPATH=. python benchmarks/kill_study.py --output results/studies/killed
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import report

#: The line with which a run announces a job.
_START = re.compile(r"\[\d+/\d+\] (train|evaluate) (.+)")
#: The seconds of training, in the last column of the table of costs.
_SECONDS = re.compile(r"(<td>|\| )[\d,]+\.\d(</td></tr>| \|)$", re.MULTILINE)
#: The longest time between the start of a job and its kill, in seconds.
_LATEST = 1.5


def run(study: str, output: Path, kill_in: int | None, rng: random.Random) -> tuple[list[str], bool]:
    """Run a study and kill it in job number `kill_in`, counted from 1; return the started jobs and whether it ended."""
    command = [sys.executable, "-m", "hbt_bench", "study", "run", study, "--scale", "smoke", "--output", str(output)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    started: list[str] = []
    assert process.stderr is not None
    tail: list[str] = []
    for line in process.stderr:
        tail = [*tail[-20:], line]
        match = _START.search(line)
        if not match:
            continue
        started.append(" ".join(match.groups()).strip())
        if len(started) == kill_in:
            time.sleep(rng.uniform(0, _LATEST))
            process.send_signal(signal.SIGKILL)
            # continue: earlier output is still in the pipe
    code = process.wait()
    if code not in (0, -signal.SIGKILL):
        sys.exit("".join(tail))
    return started, code == 0


def pages(folder: Path) -> dict[str, str]:
    """Return the report's files without the seconds of training."""
    return {path.name: _SECONDS.sub("", path.read_text("utf-8")) for path in sorted(folder.iterdir())}


def measure(study: str, kills: int, seed: int) -> dict[str, Any]:
    """Run the study undisturbed and with kills, and compare."""
    rng = random.Random(seed)
    folder = Path(tempfile.mkdtemp())
    try:
        undisturbed, _ = run(study, folder / "whole", None, rng)
        done: Counter[str] = Counter()
        in_flight, starts, killed = [], 0, 0
        for moment in sorted(rng.sample(range(1, len(undisturbed) + 1), kills)):
            # most of the earlier jobs are done and are not started again
            started, ended = run(study, folder / "torn", max(1, moment - len(done)), rng)
            starts += len(started)
            killed += not ended
            done.update(started if ended else started[:-1])
            in_flight += [] if ended else started[-1:]
        started, _ = run(study, folder / "torn", None, rng)
        starts += len(started)
        done.update(started)
        name = f"{study}-smoke"
        return {
            "study": study,
            "jobs": len(undisturbed),
            "kills": killed,
            "kills_in": in_flight,
            "jobs_started": starts,
            "jobs_done_twice": sum(count - 1 for count in done.values()),
            "jobs_missing": len(set(undisturbed) - set(done) - set(in_flight)),
            "same_report": pages(folder / "whole" / name) == pages(folder / "torn" / name),
            "files_compared": sorted(pages(folder / "torn" / name)),
        }
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Measure and write the report; exit with an error if a check fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="hybrid-vs-multitask")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="", help="path of the report without ending; .md and .json are written")
    options = parser.parse_args()
    about = report.environment()
    publish(measure(options.study, options.kills, options.seed), options.kills, about, options.output)


def publish(measured: dict[str, Any], kills: int, about: dict[str, Any], output: str) -> None:
    """Write the measured values next to the required values."""
    required = {"kills": kills, "jobs_done_twice": 0, "jobs_missing": 0, "same_report": True}
    rows = [
        (key.replace("_", " "), str(measured[key]), str(value), _met(measured[key] == value))
        for key, value in required.items()
    ]
    counts = [("jobs", measured["jobs"], "-", "-"), ("jobs started", measured["jobs_started"], "-", "-")]
    caught = "Jobs that were running when killed: " + "; ".join(map(str, measured["kills_in"])) + "."
    parts = [report.table(("", "found", "asked", ""), [*counts, *rows]), caught]
    report.publish(f"{measured['study']}, killed {kills} times", parts, measured, about, output)
    if any(measured[key] != value for key, value in required.items()):
        sys.exit("a job was done twice or skipped, or the report differs")


def _met(as_asked: bool) -> str:
    return "met" if as_asked else "MISSED"


if __name__ == "__main__":
    main()
