"""Measure the response time of the command line: of help, of the list of tasks, and of every kind of wrong input."""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report

#: The exit code of a usage error, which all wrong input here must give.
_USAGE = 2


@dataclass(frozen=True)
class Case:
    """A command with its target in seconds, which is `relative` to ``python -c pass`` if set."""

    label: str
    command: Sequence[str]
    target: float | None = None
    relative: bool = False
    exit_code: int = 0


def cases() -> list[Case]:
    """Return all commands; wrong input must fail before a model or a large library is loaded."""
    program = str(Path(sys.executable).with_name("hbt-bench"))
    run = [program, "run", "--model", "bm25"]
    wrong = {
        "a mistyped command": [program, "rum"],
        "a mistyped option": [*run, "--task", "xquad-r"],
        "a mistyped task": [*run, "--tasks", "xqad-r"],
        "a mistyped language": [*run, "--tasks", "xquad-r", "--languages", "en,dee"],
        "a mistyped model folder": [program, "run", "--model", "./chekpoint", "--tasks", "xquad-r"],
        "a mistyped data folder": [*run, "--tasks", "xquad-r", "--data-dir", "./daat"],
        "a mistyped value": [*run, "--tasks", "xquad-r", "--format", "jsno"],
    }
    return [
        Case("python -c pass", [sys.executable, "-c", "pass"]),
        Case("hbt-bench --help", [program, "--help"], 0.3, relative=True),
        Case("hbt-bench run --help", [program, "run", "--help"]),
        Case("hbt-bench tasks", [program, "tasks"], 0.6),
        Case("hbt-bench tasks, 500 more task files", [program, "tasks", "--task-dir", "many"], 1.0),
        *(Case(label, command, 1.0, exit_code=_USAGE) for label, command in wrong.items()),
    ]


def many(folder: Path) -> None:
    """Write 500 task files of usual size."""
    text = (Path(__file__).resolve().parent.parent / "tasks" / "mlqa-r.yaml").read_text(encoding="utf-8")
    folder.mkdir()
    for number in range(500):
        content = text.replace("name: mlqa-r\n", f"name: task{number}\n").replace("MLQAR", f"Task{number}")
        (folder / f"task{number}.yaml").write_text(content, encoding="utf-8")


def measure(all_cases: Sequence[Case], repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Return the seconds of each run: wall-clock and CPU time.

    The commands take turns, after a first run of each that is not counted. The first run compiles the modules, as an
    installer does, regardless of bytecode settings in the environment.
    """
    seconds: dict[str, list[tuple[float, float]]] = {case.label: [] for case in all_cases}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as bytecode:
        many(Path(folder, "many"))
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": bytecode}
        for repeat in range(repeats + 1):
            for case in all_cases:
                start, processor = time.perf_counter(), _children()
                done = subprocess.run(case.command, cwd=folder, env=environment, capture_output=True, text=True)
                if repeat:
                    seconds[case.label].append((time.perf_counter() - start, _children() - processor))
                if done.returncode != case.exit_code:
                    raise SystemExit(f"{case.label} exits with {done.returncode}: {done.stderr.strip()}")
    return seconds


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure, then print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    options = parser.parse_args()
    about = report.environment()
    all_cases = cases()
    seconds = measure(all_cases, options.repeats)
    base = statistics.median(wall for wall, _ in seconds[all_cases[0].label])
    rows: list[list[object]] = []
    data: dict[str, Any] = {}
    for case in all_cases:
        runs = [wall for wall, _ in seconds[case.label]]
        processor = [used for _, used in seconds[case.label]]
        median = statistics.median(runs)
        data[case.label] = {"seconds": runs, "cpu_seconds": processor, "median": median, "above_python": median - base}
        required, result = "", ""
        if case.target is not None:
            required = f"<= {'+' if case.relative else ''}{case.target:g}"
            result = report.verdict(median - (base if case.relative else 0), case.target, at_least=False)
        rows.append([case.label, median, f"+{median - base:.3f}", max(runs), statistics.median(processor)])
        rows[-1] += [required, result]
    header = ["command", "s, median", "above python", "s, slowest", "CPU s, median", "required", ""]
    text = [f"Medians of {options.repeats} runs; the commands take turns.", report.table(header, rows)]
    report.publish("Start-up", text, {"commands": data}, about, options.output)


if __name__ == "__main__":
    main()
