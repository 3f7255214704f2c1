"""Run the same evaluation in 1, 2 and 4 processes of torchrun; the numbers must be equal to the last digit.

``python benchmarks/processes.py`` uses a model of random static embeddings and the embedded facts in all languages;
``--model`` and ``--tasks`` change that. On a single machine the processes share the cores, so the seconds show the cost
of distribution and not its gain. Each process computes with one thread.
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

#: The fields that differ between equal runs: date, speed and device.
_TIMES = {"evaluation_time", "date", "evaluation_phases", "speed", "device"}


def numbers(folder: Path) -> dict[str, str]:
    """Return a hash of each file of a results folder, without times."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".json":
                content = json.dumps(_timeless(json.loads(content))).encode()
            hashes[path.relative_to(folder).as_posix()] = hashlib.sha256(content).hexdigest()[:16]
    return hashes


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in _TIMES}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def made_model(folder: Path) -> Path:
    """Return a folder with a model of random static embeddings of characters."""
    from tests.factories import torch_random_model

    return Path(torch_random_model(folder / "random", seed=0))


def main() -> int:
    """Run, compare and write the report; return 1 if the numbers differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of a model, by default a random model")
    parser.add_argument("--tasks", default="cldr-facts")
    parser.add_argument("--counts", default="1,2,4")
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    options = parser.parse_args()
    about = report.environment()
    rows: list[list[object]] = []
    hashes: dict[int, dict[str, str]] = {}
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
            hashes[count] = numbers(output)
            same = hashes[count] == next(iter(hashes.values()))
            digest = hashlib.sha256(json.dumps(hashes[count]).encode()).hexdigest()[:16]
            rows.append([str(count), seconds, len(hashes[count]), digest, "met" if same else "MISSED"])
    equal = all(row[-1] == "met" for row in rows)
    text = [
        f"{options.tasks}, {'a model of random static embeddings' if options.model is None else options.model}.",
        report.table(["processes", "s, start included", "files", "hash of all without times", "equal"], rows),
    ]
    report.publish("One run by several processes", text, {"hashes": hashes}, about, options.output)
    return int(not equal)


if __name__ == "__main__":
    sys.exit(main())
