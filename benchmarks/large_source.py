"""Read a source with the shape of mMARCO's triplets, and draw batches; measure start-up, memory and batches a second.

``python benchmarks/large_source.py --rows 500000,5000000 --output results/benchmarks/large_source``

The rows are split among 14 languages, whose rows are translations in the same order, as in mMARCO. The texts are random
words. As in the first rows of mMARCO's file, rows are drawn from 400,000 questions, each with one passage, and 8.8
million other passages as hard negatives. Each size is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import report

from hbt_bench.data.data_files import cache_dir
from hbt_bench.training.data import TrainingData
from hbt_bench.training.recipe import Recipe

#: Questions and passages of mMARCO, its triplets, and characters of a question and of a passage.
QUESTIONS, PASSAGES, TRIPLETS, LENGTHS = 400_000, 8_800_000, 39_780_811, (35, 350)
LANGUAGES = ("ar", "de", "en", "es", "fr", "hi", "id", "it", "ja", "nl", "pt", "ru", "vi", "zh")
_CHUNK, _BATCHES, _BATCH = 50_000, 300, 100
_WORDS = " ".join(f"w{number:x}" for number in np.random.default_rng(1).integers(50_000, size=1_000_000))


def text(code: str, kind: int, number: int) -> str:
    """Return the words of a question (0), a passage (1) or another passage (2), which begin with both keys."""
    length = LENGTHS[min(kind, 1)]
    start = number * 97 % (len(_WORDS) - length)
    return f"{code} {'qpn'[kind]}{number:x} {_WORDS[start : start + length].strip()}"


def write(path: Path, rows: int, code: str) -> None:
    """Write triplets in a language as Parquet; row `i` of all languages has the same questions and passages."""
    path.parent.mkdir(parents=True)
    generator, names = np.random.default_rng(0), ("query", "positive", "negative")
    with parquet.ParquetWriter(path, pa.schema([(name, pa.string()) for name in names])) as writer:
        for start in range(0, rows, _CHUNK):
            count = min(_CHUNK, rows - start)
            questions = generator.integers(QUESTIONS, size=count).tolist()
            others = generator.integers(PASSAGES, size=count).tolist()
            columns = [
                [text(code, *key) for key in keys]
                for keys in (
                    [(0, question) for question in questions],
                    [(1, question) for question in questions],
                    [(2, other) for other in others],
                )
            ]
            writer.write_batch(pa.record_batch(dict(zip(names, columns, strict=True))))


class Peak:
    """The greatest memory of the process so far: its own pages, without those of mapped files, in bytes."""

    def __init__(self) -> None:
        self.bytes = self.now()

    @staticmethod
    def now(kind: str = "RssAnon") -> int:
        """Return the memory of a kind (RssAnon, or RssFile for pages of files, which the system may drop)."""
        found = re.search(rf"{kind}:\s+(\d+)", Path("/proc/self/status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Look at the memory every 20 ms while the block lasts."""
        end = threading.Event()

        def watch() -> None:
            while not end.wait(0.02):
                self.bytes = max(self.bytes, self.now())

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()


def measure(folder: Path) -> dict[str, float]:
    """Return the seconds before the first batch, the memory, and the batches a second."""
    import datasets  # noqa: F401 -- its memory is not that of the rows

    before, peak = Peak.now(), Peak()
    start, started = time.perf_counter(), time.process_time()
    keys = {"kind": "hub", "dataset": folder.name, "align": "row", "folders": {code: code for code in LANGUAGES}}
    fields = {"query": "query", "passage": "positive", "negative": "negative"}
    recipe = Recipe(data=[keys | fields], batch_size=_BATCH, steps=100_000, guard=())
    with peak.watched():
        plan = TrainingData.from_recipe(recipe, [folder.parent]).plan
        plan.batch_at(0)
        ready, processed = time.perf_counter(), time.process_time()
        for step in range(1, _BATCHES):
            plan.batch_at(step)
        drawn = time.perf_counter()
    return {
        "start": ready - start,
        "processor": processed - started,
        "bytes": peak.bytes - before,
        "files": Peak.now("RssFile"),
        "rate": (_BATCHES - 1) / (drawn - ready),
    }


def main() -> None:
    """Measure each size, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="500000,5000000", help="numbers of rows, over all languages")
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    cache_dir().mkdir(parents=True, exist_ok=True)
    about, lines, results = report.environment(), [], {}
    for rows in map(int, options.rows.split(",")):
        with tempfile.TemporaryDirectory(dir=cache_dir()) as folder:
            for code in LANGUAGES:
                write(Path(folder, "mmarco", code, "train.parquet"), rows // len(LANGUAGES), code)
            command = [sys.executable, __file__, "--measure", str(Path(folder, "mmarco"))]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        results[rows] = values = json.loads(output.splitlines()[-1])
        mib = values["bytes"] / 2**20
        lines.append([f"{rows:,}", values["start"], values["processor"], round(mib), values["rate"]])
    heads = ["rows", "s to the first batch", "s of the processor", "MiB of memory", "batches a second"]
    parts = [
        f"Triplets in {len(LANGUAGES)} parallel languages as Parquet; hybrid batches of {_BATCH} rows, alpha 0.5, "
        "without false negatives.",
        report.table(heads, lines),
        "The memory is the greatest of the process's own pages, without pages of the mapped file of texts, which "
        "the system may drop.",
    ]
    data: dict[str, object] = {"rows": results}
    if len(results) > 1:
        (fewer, first), *_, (more, last) = results.items()
        each = (last["bytes"] - first["bytes"]) / (more - fewer)
        needed = each * TRIPLETS * len(LANGUAGES) / 2**30
        data |= {"bytes_a_row": each, "triplets_gib": needed}
        parts.append(
            f"Each row takes {each:.0f} bytes more. So the {TRIPLETS:,} triplets of a language need at most "
            f"{needed / len(LANGUAGES):.1f} GiB, and those of all {len(LANGUAGES)} languages {needed:.0f} GiB."
            " Nearly all texts of these sizes are new. In the whole data set each text is in several rows, so a row "
            "takes less."
        )
    report.publish("A source with the shape of mMARCO", parts, data, about, options.output)


if __name__ == "__main__":
    main()
