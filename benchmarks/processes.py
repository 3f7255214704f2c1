"""The same evaluation by 1, 2 and 4 processes of torchrun: the numbers must be equal to the last digit.

``python benchmarks/processes.py`` takes a model of random static embeddings and the embedded facts in all languages;
``--model`` and ``--tasks`` take others. On one machine the processes share its cores, so seconds show the cost of
sharing and not its gain. Each process computes with one thread.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import report

#: What differs between two runs of the same: when, how fast, on what.
_TIMES = {"evaluation_time", "date", "evaluation_phases", "speed", "device"}


def numbers(folder: Path) -> dict[str, str]:
    """A hash of every file of a results folder, without times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".json":
                content = json.dumps(_timeless(json.loads(content))).encode()
            found[path.relative_to(folder).as_posix()] = hashlib.sha256(content).hexdigest()[:16]
    return found


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(part) for key, part in value.items() if key not in _TIMES}
    return [_timeless(part) for part in value] if isinstance(value, list) else value


def made_model(folder: Path) -> Path:
    """Static embeddings of characters, random."""
    from tests.factories import torch_random_model

    return Path(torch_random_model(folder / "random", seed=0))


def main() -> int:
    """Run, compare, write; the exit code says whether all are equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a folder; made if not given")
    parser.add_argument("--tasks", default="cldr-facts")
    parser.add_argument("--counts", default="1,2,4")
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    options = parser.parse_args()
    about = report.environment()
    rows: list[list[object]] = []
    found: dict[int, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or str(made_model(Path(folder)))
        for count in map(int, options.counts.split(",")):
            output = Path(folder, f"by-{count}")
            command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}"]
            command += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "-m", "hbt_bench", "run"]
            command += ["--model", model, "--tasks", options.tasks, "--output", str(output)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "HBT_BENCH_CACHE": str(Path(folder, f"cache-{count}"))}
            start = time.perf_counter()
            subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
            seconds = time.perf_counter() - start
            found[count] = numbers(output)
            same = found[count] == next(iter(found.values()))
            digest = hashlib.sha256(json.dumps(found[count]).encode()).hexdigest()[:16]
            rows.append([str(count), seconds, len(found[count]), digest, "met" if same else "MISSED"])
    equal = all(row[-1] == "met" for row in rows)
    text = [
        f"{options.tasks}, {'a model of random static embeddings' if options.model is None else options.model}.",
        report.table(["processes", "s, start included", "files", "hash of all without times", "equal"], rows),
    ]
    report.publish("One run by several processes", text, {"hashes": found}, about, options.output)
    return int(not equal)


if __name__ == "__main__":
    sys.exit(main())
