"""Read a source with the shape of mMARCO's triplets, and draw batches; measure start-up, memory and batches a second.

``python benchmarks/large_source.py --rows 200000,1000000,5000000 --output results/benchmarks/large_source``

The texts are random words. As in the first rows of mMARCO's file, rows are drawn from 400,000 questions, each with one
passage, and 8.8 million other passages as hard negatives. Each size is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import report

from hbt_bench.training.data import TrainingData
from hbt_bench.training.recipe import Recipe

#: Questions and passages of mMARCO, its triplets, and characters of a question and of a passage.
QUESTIONS, PASSAGES, TRIPLETS, LENGTHS = 400_000, 8_800_000, 39_780_811, (35, 350)
_CHUNK, _BATCHES, _BATCH = 50_000, 500, 100
_WORDS = " ".join(f"w{number:x}" for number in np.random.default_rng(1).integers(50_000, size=1_000_000))


def text(kind: int, number: int) -> str:
    """Return the words of a question (0), a passage (1) or another passage (2), which begin with its number."""
    length = LENGTHS[min(kind, 1)]
    start = number * 97 % (len(_WORDS) - length)
    return f"{'qpn'[kind]}{number:x} {_WORDS[start : start + length].strip()}"


def write(path: Path, rows: int) -> None:
    """Write triplets as Parquet."""
    generator, names = np.random.default_rng(0), ("query", "positive", "negative")
    with parquet.ParquetWriter(path, pa.schema([(name, pa.string()) for name in names])) as writer:
        for start in range(0, rows, _CHUNK):
            count = min(_CHUNK, rows - start)
            questions = generator.integers(QUESTIONS, size=count).tolist()
            others = generator.integers(PASSAGES, size=count).tolist()
            columns = ([text(0, q) for q in questions], [text(1, q) for q in questions], [text(2, n) for n in others])
            writer.write_batch(pa.record_batch(dict(zip(names, columns, strict=True))))


def measure(path: Path) -> dict[str, float]:
    """Return the seconds before the first batch, the memory, and the batches a second."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    keys = {"path": path.name, "language": "en", "query": "query", "passage": "positive", "negative": "negative"}
    recipe = Recipe(data=[keys], strategy="monolingual", batch_size=_BATCH, steps=100_000, guard=())
    plan = TrainingData.from_recipe(recipe, [path.parent]).plan
    _ = plan.fingerprint
    plan.batch_at(0)
    ready = time.perf_counter()
    for step in range(1, _BATCHES):
        plan.batch_at(step)
    drawn = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"start": ready - start, "bytes": (peak - before) * 1024, "rate": (_BATCHES - 1) / (drawn - ready)}


def main() -> None:
    """Measure each size, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="200000,1000000,5000000", help="numbers of rows")
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    about, lines, results = report.environment(), [], {}
    with tempfile.TemporaryDirectory() as folder:
        for rows in map(int, options.rows.split(",")):
            path = Path(folder, "triplets.parquet")
            write(path, rows)
            command = [sys.executable, __file__, "--measure", str(path)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            results[rows] = values = json.loads(output.splitlines()[-1])
            gib = values["bytes"] / 2**30
            lines.append([f"{rows:,}", values["start"], gib, round(values["bytes"] / rows), values["rate"]])
    needed = values["bytes"] / rows * TRIPLETS / 2**30
    parts = [
        f"Triplets in a language as Parquet; batches of {_BATCH} rows without false negatives.",
        report.table(["rows", "s to the first batch", "GiB at most", "bytes a row", "batches a second"], lines),
        f"At the bytes a row of the last line, the {TRIPLETS:,} triplets of a language need {needed:.0f} GiB.",
    ]
    data = {"rows": results, "triplets_gib": needed}
    report.publish("A source with the shape of mMARCO", parts, data, about, options.output)


if __name__ == "__main__":
    main()
