"""Interrupt commands with Ctrl-C at random moments, and check how they end. Half of the interrupts are sent twice.

``PYTHONPATH=. python benchmarks/interrupt.py --moments 50 --output results/benchmarks/interrupt``

Each command is a separate process, as a user starts it. Every other moment is in the first second, in which modules
are imported. The exit code must be 130 (or the signal itself, which a shell reports as 130), or 0 if the command was
done. There must be no traceback and no damaged file. The last run is not interrupted, and must give the same outcome
as an undisturbed run.
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
#: Seconds after an interrupt within which a program must end.
_PATIENCE = 60


def jobs(inputs: Path) -> dict[str, kill.Job]:
    """Return the commands of `kill`, and a command that writes no files."""
    board = ["leaderboard", str(_ROOT / "tests/fixtures/format-2")]
    return kill.jobs(inputs) | {"leaderboard": kill.Job(lambda to: board, lambda to: None)}


def started(command: list[str], cache: Path) -> subprocess.Popen[str]:
    """Start a command of this program as a user does."""
    words = [sys.executable, "-m", "hbt_bench", *command]
    pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, cwd=_ROOT, env=os.environ | {"HBT_BENCH_CACHE": str(cache)}, **pipes)


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Return how a process ended, in words, and its stderr."""
    try:
        stderr = process.communicate(timeout=_PATIENCE)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        return "never", process.communicate()[1]
    if "Traceback" in stderr or "Exception ignored" in stderr:
        # an interrupt during the start of Python itself cannot be handled
        early = "hbt_bench/__main__.py" not in stderr and process.returncode not in (0, 130)
        return ("before __main__" if early else "traceback"), stderr
    words = {130: "130", -signal.SIGINT: "signal", 0: "to its end"}
    return words.get(process.returncode, f"code {process.returncode}"), stderr


def disturb(job: kill.Job, moments: int, chance: random.Random, folder: Path) -> dict[str, Any]:
    """Interrupt a job at `moments` random moments; return counts and failures."""
    began = time.monotonic()
    how, stderr = ended(started(job.command(folder / "whole"), folder / "cache"))
    assert how == "to its end", stderr
    seconds, expected = time.monotonic() - began, job.outcome(folder / "whole")
    rounds = 0
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for number in range(moments):
        output, cache = folder / f"round-{rounds}", folder / f"cache-{rounds}"
        process = started(job.command(output), cache)
        moment = chance.uniform(0, 1 if number % 2 else seconds)
        time.sleep(moment)
        done = process.poll() is not None
        rounds += done  # a finished job starts again in a new folder
        process.send_signal(signal.SIGINT)
        if number % 4 > 1:
            time.sleep(chance.uniform(0, 0.2))
            process.send_signal(signal.SIGINT)
        how, stderr = ended(process)
        how = "done before" if done and how == "to its end" else how
        counts[how] += 1
        # "to its end" means that the interrupt was ignored
        if how not in ("130", "signal", "done before", "before __main__"):
            wrong.append(f"at {moment:.3f} s: {how}: {stderr[-4000:]}")
        wrong += kill.torn(output) if output.exists() else []
    how, stderr = ended(started(job.command(output), cache))
    if how != "to its end" or job.outcome(output) != expected:
        wrong.append(f"the last run ended with {how}, or its outcome differs: {stderr[-4000:]}")
    return {"seconds": round(seconds, 2), "interrupts": moments, "ends": dict(counts), "failures": wrong}


def main() -> int:
    """Interrupt each job and print the counts; return 1 if there is a failure."""
    import report

    options = kill.parsed(__doc__)
    # a process in the background ignores SIGINT, and its children inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    counts = kill.disturbed(jobs, disturb, options)
    ends = ("130", "signal", "done before", "before __main__")
    header = ("command", "interrupts", *ends, "failures", "undisturbed, s")
    rows = [
        (
            kind,
            count["interrupts"],
            *(count["ends"].get(end, 0) for end in ends),
            len(count["failures"]),
            count["seconds"],
        )
        for kind, count in counts.items()
    ]
    table = report.table(header, rows)
    report.publish("Ctrl-C at random moments", [table], {"commands": counts}, report.environment(), options.output)
    return int(any(count["failures"] for count in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
