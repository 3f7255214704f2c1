"""Ctrl-C at random moments of a command, half of them pressed twice, and what the command makes of it.

``PYTHONPATH=. python benchmarks/interrupt.py --moments 50 --output results/benchmarks/interrupt``
Each command is a process of its own, as a user starts it; every other moment is in its first second, where modules are
loaded. Its exit code must be 130 (or the end by the signal itself, which a shell counts so), or 0 where it was done
already, no traceback may be seen and no file torn; in the end it is run to its end, as if nobody had disturbed it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import kill

_ROOT = Path(__file__).resolve().parents[1]
#: Seconds until a program that was interrupted must have ended.
_PATIENCE = 60


def jobs(inputs: Path) -> dict[str, kill.Job]:
    """The commands that `kill` has, and one that writes nothing."""
    board = ["leaderboard", str(_ROOT / "tests/fixtures/format-2")]
    return kill.jobs(inputs) | {"leaderboard": kill.Job(lambda to: board, lambda to: None)}


def started(command: list[str], cache: Path) -> subprocess.Popen[str]:
    """A command of ours as a user starts it."""
    words = [sys.executable, "-m", "hbt_bench", *command]
    pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, cwd=_ROOT, env=os.environ | {"HBT_BENCH_CACHE": str(cache)}, **pipes)


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """How a process ended, in words, and what it said."""
    try:
        said = process.communicate(timeout=_PATIENCE)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        return "never", process.communicate()[1]
    if "Traceback" in said or "Exception ignored" in said:
        early = "hbt_bench/__main__.py" not in said and process.returncode not in (0, 130)  # Python itself was starting
        return ("before __main__" if early else "traceback"), said
    words = {130: "130", -signal.SIGINT: "signal", 0: "to its end"}
    return words.get(process.returncode, f"code {process.returncode}"), said


def disturb(job: kill.Job, moments: int, chance: random.Random, folder: Path) -> dict[str, Any]:
    """Interrupt a job at `moments` random moments; returns counts, and what went wrong."""
    began = time.monotonic()
    how, said = ended(started(job.command(folder / "whole"), folder / "cache"))
    assert how == "to its end", said
    seconds, expected = time.monotonic() - began, job.outcome(folder / "whole")
    rounds = 0
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for number in range(moments):
        place, cache = folder / f"round-{rounds}", folder / f"cache-{rounds}"
        process = started(job.command(place), cache)
        moment = chance.uniform(0, 1 if number % 2 else seconds)
        time.sleep(moment)
        done = process.poll() is not None
        rounds += done  # the next has all to do again
        process.send_signal(signal.SIGINT)
        if number % 4 > 1:
            time.sleep(chance.uniform(0, 0.2))
            process.send_signal(signal.SIGINT)
        how, said = ended(process)
        how = "done before" if done and how == "to its end" else how
        counts[how] += 1
        if how not in ("130", "signal", "done before", "before __main__"):  # "to its end": it took no notice
            wrong.append(f"at {moment:.3f} s: {how}: {said[-4000:]}")
        wrong += kill.torn(place) if place.exists() else []
    how, said = ended(started(job.command(place), cache))
    if how != "to its end" or job.outcome(place) != expected:
        wrong.append(f"the last run ended with {how}, or with another outcome: {said[-4000:]}")
    return {"seconds": round(seconds, 2), "interrupts": moments, "ends": dict(counts), "failures": wrong}


def main() -> int:
    """Interrupt each job and print the counts; the exit code says whether all ended as they should."""
    import report

    options = kill.parsed(__doc__)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who was started in the background hands on to ignore it
    found = kill.disturbed(jobs, disturb, options)
    ends = ("130", "signal", "done before", "before __main__")
    header = ("command", "interrupts", *ends, "failures", "undisturbed, s")
    rows = [
        (kind, one["interrupts"], *(one["ends"].get(end, 0) for end in ends), len(one["failures"]), one["seconds"])
        for kind, one in found.items()
    ]
    table = report.table(header, rows)
    report.publish("Ctrl-C at random moments", [table], {"commands": found}, report.environment(), options.output)
    return int(any(one["failures"] for one in found.values()))


if __name__ == "__main__":
    sys.exit(main())
