"""A study killed (SIGKILL) at random moments and run again: nothing is done twice, and the report is the same.

A job counts as done when the run that started it went on to the next one or came to its end. The reports are compared
byte by byte, but for the seconds that training took, which no two runs share.

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

#: How a run says which job it starts.
_START = re.compile(r"\[\d+/\d+\] (train|evaluate) (.+)")
#: Training's seconds, in the last column of the table of costs.
_SECONDS = re.compile(r"(<td>|\| )[\d,]+\.\d(</td></tr>| \|)$", re.MULTILINE)
#: A kill comes up to this many seconds after the job of its moment has started.
_LATEST = 1.5


def run(study: str, output: Path, kill_in: int | None, rng: random.Random) -> tuple[list[str], bool]:
    """Run a study; in its job number `kill_in`, counted from 1, kill it. Returns the jobs started, and if it ended."""
    command = [sys.executable, "-m", "hbt_bench", "study", "run", study, "--scale", "smoke", "--output", str(output)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    started: list[str] = []
    assert process.stderr is not None
    tail: list[str] = []
    for line in process.stderr:
        tail = [*tail[-20:], line]
        found = _START.search(line)
        if not found:
            continue
        started.append(" ".join(found.groups()).strip())
        if len(started) == kill_in:
            time.sleep(rng.uniform(0, _LATEST))
            process.send_signal(signal.SIGKILL)
            # what it had said until then is still in the pipe
    code = process.wait()
    if code not in (0, -signal.SIGKILL):
        sys.exit("".join(tail))
    return started, code == 0


def pages(folder: Path) -> dict[str, str]:
    """The report's files without training's seconds."""
    return {path.name: _SECONDS.sub("", path.read_text("utf-8")) for path in sorted(folder.iterdir())}


def measure(study: str, kills: int, seed: int) -> dict[str, Any]:
    """Run once undisturbed and once with kills; compare."""
    rng = random.Random(seed)
    folder = Path(tempfile.mkdtemp())
    try:
        whole, _ = run(study, folder / "whole", None, rng)
        done: Counter[str] = Counter()
        in_flight, starts, killed = [], 0, 0
        for moment in sorted(rng.sample(range(1, len(whole) + 1), kills)):
            # the jobs before it are done already, or most of them
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
            "jobs": len(whole),
            "kills": killed,
            "kills_in": in_flight,
            "jobs_started": starts,
            "jobs_done_twice": sum(count - 1 for count in done.values()),
            "jobs_missing": len(set(whole) - set(done) - set(in_flight)),
            "same_report": pages(folder / "whole" / name) == pages(folder / "torn" / name),
            "files_compared": sorted(pages(folder / "torn" / name)),
        }
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Measure, write and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="hybrid-vs-multitask")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="", help="where the Markdown and the JSON go, without an ending")
    options = parser.parse_args()
    about = report.environment()
    publish(measure(options.study, options.kills, options.seed), options.kills, about, options.output)


def publish(found: dict[str, Any], kills: int, about: dict[str, Any], output: str) -> None:
    """Write what was found beside what is asked."""
    asked = {"kills": kills, "jobs_done_twice": 0, "jobs_missing": 0, "same_report": True}
    rows = [
        (key.replace("_", " "), str(found[key]), str(value), _met(found[key] == value)) for key, value in asked.items()
    ]
    counts = [("jobs", found["jobs"], "-", "-"), ("jobs started", found["jobs_started"], "-", "-")]
    caught = "In flight when it came: " + "; ".join(map(str, found["kills_in"])) + "."
    parts = [report.table(("", "found", "asked", ""), [*counts, *rows]), caught]
    report.publish(f"{found['study']}, killed {kills} times", parts, found, about, output)
    if any(found[key] != value for key, value in asked.items()):
        sys.exit("a job was done twice or left out, or the report is another")


def _met(as_asked: bool) -> str:
    return "met" if as_asked else "MISSED"


if __name__ == "__main__":
    main()
