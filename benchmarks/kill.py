"""Kill commands with SIGKILL at random moments and run them again; they must end as if undisturbed.

``PYTHONPATH=. python benchmarks/kill.py --moments 50 --output results/benchmarks/kill``

The commands are run, train, study and report. After each kill, every visible file must be complete. In the end,
scores, ranks, weights, figures and page must equal those of an undisturbed run, except for times.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

_ROOT = Path(__file__).resolve().parents[1]
_LANGUAGES = ["de", "en", "sw"]
_RECIPE: dict[str, Any] = {
    "init": "static:16",
    "languages": _LANGUAGES,
    "vocabulary": 500,
    "batch_size": 16,
    "steps": 400,
    "save_every": 10,
    "learning_rate": 0.001,
    "guard": [],
}
_SCALE = {
    "inits": ["static:16"],
    "seeds": [0, 1],
    "recipe": {key: _RECIPE[key] for key in ("languages", "vocabulary", "batch_size", "guard")} | {"steps": 20},
    "tasks": {"in-domain": ["cldr-facts[de,en>de,el,en]"], "out-of-domain": ["cldr-facts-multi[el>de,el,en]"]},
}
_STUDY = {
    "name": "tiny",
    "title": "A tiny study",
    "question": "Is hybrid better?",
    "answer": {"claim": "hybrid is better", "strategy": "hybrid", "over": ["monolingual"]},
    "strategies": {"monolingual": {"strategy": "monolingual"}, "hybrid": {"strategy": "hybrid"}},
}
#: Modules that are imported before the first fork, so that a kill interrupts the work and not the imports.
_MODULES = (
    "mteb", "sentence_transformers", "datasets", "pandas", "hbt_bench.cli.run", "hbt_bench.cli.train",
    "hbt_bench.cli.study", "hbt_bench.cli.report", "hbt_bench.results.evaluate", "hbt_bench.training.run",
    "hbt_bench.training.trainer", "hbt_bench.studies.study_plan", "hbt_bench.studies.report", "hbt_bench.reports.page",
)  # fmt: skip
_TIMES = {"date", "evaluation_phases", "evaluation_time", "kg_co2_emissions", "speed", "device", "seconds"}


@dataclass(frozen=True)
class Job:
    """A command that writes into a folder, and the part of its output that must not depend on kills."""

    command: Callable[[Path], list[str]]
    outcome: Callable[[Path], object]


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _untimed(item) for key, item in value.items() if key not in _TIMES}
    return [_untimed(item) for item in value] if isinstance(value, list) else value


def _results(folder: Path) -> dict[str, object]:
    contents: dict[str, object] = {}
    for path in sorted(folder.rglob("[!.]*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".json":
            contents[name] = _untimed(json.loads(path.read_text(), parse_constant=str))
        elif path.suffix == ".npz":
            contents[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return contents


def _weights(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.safetensors"))
        if "checkpoints" not in path.parts
    }


def _figures(folder: Path) -> object:
    [path] = folder.glob("comparisons/*.json")
    return json.loads(path.read_text(), parse_constant=str)["figures"], _weights(folder)


def jobs(inputs: Path) -> dict[str, Job]:
    """Return the four commands, on embedded data; their input files are written into `inputs`."""
    (inputs / "recipe.yaml").write_text(yaml.safe_dump(_RECIPE))
    study = _STUDY | {"scales": {scale: json.loads(json.dumps(_SCALE)) for scale in ("smoke", "small", "paper")}}
    (inputs / "tiny.yaml").write_text(yaml.dump(json.loads(json.dumps(study)), sort_keys=False))
    tasks = ["--tasks", "cldr-facts", "--languages", ",".join(_LANGUAGES)]
    model, fixtures = inputs / "model", _ROOT / "tests/fixtures/format-2"
    return {
        "run": Job(lambda to: ["run", "--model", str(model), *tasks, "--output", str(to)], _results),
        "train": Job(lambda to: ["train", str(inputs / "recipe.yaml"), "--output", str(to / "m")], _weights),
        "study": Job(lambda to: ["study", "run", str(inputs / "tiny.yaml"), "--output", str(to)], _figures),
        "report": Job(
            lambda to: ["report", str(fixtures), "--output", str(to / "page.html")],
            lambda to: (to / "page.html").read_bytes(),
        ),
    }


def start(command: list[str], cache: Path) -> int:
    """Run a command of this program in a silent child process and return its process id."""
    child = os.fork()
    if child:
        return child
    try:
        os.environ["HBT_BENCH_CACHE"] = str(cache)
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        from hbt_bench.cli.main import run

        os._exit(run(command))
    finally:
        os._exit(99)


def torn(folder: Path) -> list[str]:
    """Return the visible files that are incomplete."""
    incomplete = []
    for path in sorted(folder.rglob("[!.]*")):
        if "checkpoints" in path.parts or not path.is_file():
            continue  # a checkpoint is complete once its marker exists, which is written last
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".npz":
                with np.load(path) as arrays:
                    [arrays[name] for name in arrays]
            elif path.suffix == ".html" and not path.read_text().rstrip().endswith("</html>"):
                incomplete.append(f"{path} has no end")
        except Exception as error:  # a damaged file can raise any error
            incomplete.append(f"{path}: {error}")
    return incomplete


def disturb(job: Job, moments: int, chance: random.Random, folder: Path) -> dict[str, Any]:
    """Kill a job at `moments` random moments; return counts and failures."""
    began = time.monotonic()
    assert os.waitpid(start(job.command(folder / "whole"), folder / "cache"), 0)[1] == 0, "the undisturbed run failed"
    seconds, expected = time.monotonic() - began, job.outcome(folder / "whole")
    kills = finished = rounds = 0
    wrong: list[str] = []
    while kills < moments or rounds > finished:
        if rounds == finished:
            rounds += 1
        output, cache = folder / f"round-{rounds}", folder / f"cache-{rounds}"
        child = start(job.command(output), cache)
        if kills < moments:
            deadline = time.monotonic() + chance.uniform(0, seconds)
            while time.monotonic() < deadline and not (done := os.waitpid(child, os.WNOHANG))[0]:
                time.sleep(0.001)
            else:
                done = os.waitpid(child, os.WNOHANG) if time.monotonic() >= deadline else done
            if not done[0]:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                kills += 1
                wrong += torn(output) if output.exists() else []
                continue
            status = done[1]
        else:
            status = os.waitpid(child, 0)[1]
        if status:
            wrong.append(f"round {rounds} ended with {status}")
        elif job.outcome(output) != expected:
            wrong.append(f"round {rounds} has a different outcome")
        wrong += torn(output)
        finished += 1
    return {"seconds": round(seconds, 2), "kills": kills, "completed": finished, "failures": wrong}


def parsed(about: str | None) -> argparse.Namespace:
    """Parse the command line of a script that disturbs commands."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--moments", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append")
    parser.add_argument("--output", default="")
    return parser.parse_args()


def disturbed(
    jobs: Callable[[Path], dict[str, Job]],
    disturb: Callable[[Job, int, random.Random, Path], dict[str, Any]],
    options: argparse.Namespace,
) -> dict[str, dict[str, Any]]:
    """Return the report of `disturb` for each selected job; each job has its own folder."""
    from tests.factories import torch_random_model

    counts = {}
    with tempfile.TemporaryDirectory() as name:
        inputs = Path(name, "inputs")
        inputs.mkdir()
        torch_random_model(inputs / "model", 0)
        for kind, job in jobs(inputs).items():
            if not options.only or kind in options.only:
                folder = Path(name, kind)
                folder.mkdir()
                counts[kind] = disturb(job, options.moments, random.Random(f"{options.seed}/{kind}"), folder)
                print(kind, counts[kind], flush=True)
    return counts


def main() -> int:
    """Kill each job and print the counts; return 1 if there is a failure."""
    import report
    import torch

    options = parsed(__doc__)
    torch.set_num_threads(1)  # threads do not survive a fork
    for module in _MODULES:
        importlib.import_module(module)
    counts = disturbed(jobs, disturb, options)
    rows = [
        (kind, count["kills"], count["completed"], len(count["failures"]), f"{count['seconds']:.1f}")
        for kind, count in counts.items()
    ]
    table = report.table(("command", "kills", "runs to the end", "failures", "undisturbed, s"), rows)
    report.publish("Killed at random moments", [table], {"commands": counts}, report.environment(), options.output)
    return int(any(count["failures"] for count in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
