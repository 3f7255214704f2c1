"""Rank a large pool from vectors on disk; compare the time to the bare product, and measure memory beyond the vectors.

``python benchmarks/large.py`` uses 1,000,000 documents and 10,000 queries with 384 dimensions. It first writes 1.5 GB
to ``--folder``. Ranks and product read the mapped file in chunks. The product of each third of the queries is timed
before, between and after the ranks, so that both run under the same load.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import report
import torch
from growth import Cosine, collection_of
from numpy.lib.format import open_memmap

from hbt_bench.ranking.correction import Vectors
from hbt_bench.ranking.dense import DenseScorer
from hbt_bench.ranking.ranks import rank

_DIMENSIONS = 384
_CHUNK = 32_768


class Memory:
    """The peak of this process's memory without mapped files, in bytes, sampled during the `with` block."""

    def __enter__(self) -> Memory:
        self.before = self.peak = self._now()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.peak = max(self.peak, self._now())

    @staticmethod
    def _now() -> int:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def vectors(path: Path, count: int) -> Vectors:
    """Return random vectors in a mapped file."""
    file = open_memmap(path, "w+", np.float32, (count, _DIMENSIONS))
    generator = np.random.default_rng(count)
    for start in range(0, count, _CHUNK):
        chunk = file[start : start + _CHUNK]
        chunk[:] = generator.standard_normal(chunk.shape, dtype=np.float32)
    file.flush()
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def product(queries: Vectors, documents: Vectors, library: str) -> float:
    """Return the seconds of the bare product, in blocks of 64 MiB."""
    start = time.perf_counter()
    for first in range(0, len(documents), _CHUNK):
        chunk = np.ascontiguousarray(documents[first : first + _CHUNK])
        for row in range(0, len(queries), 512):
            if library == "numpy":
                queries[row : row + 512] @ chunk.T
            else:
                torch.from_numpy(queries[row : row + 512]) @ torch.from_numpy(chunk).T
    return time.perf_counter() - start


def main() -> None:
    """Measure, then print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--confidences", action="store_true", help="also compute the confidences that nAUC needs")
    parser.add_argument(
        "--folder", type=Path, help="parent folder of the vectors; by default the system's temporary folder"
    )
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    options = parser.parse_args()
    about = report.environment()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        documents = vectors(Path(folder, "documents.npy"), options.documents)
        queries = np.array(vectors(Path(folder, "queries.npy"), options.queries))
        collection = collection_of(options.queries, options.documents)
        scorer = DenseScorer(Cosine(), queries, documents)  # type: ignore[arg-type]
        bare: dict[str, float] = {"torch": 0.0, "numpy": 0.0}
        third = -(-options.queries // 3)
        blocks = [queries[start : start + third] for start in range(0, options.queries, third)]
        seconds = 0.0
        for number, block in enumerate(blocks):
            for library in bare:
                bare[library] += product(block, documents, library)
            if number == len(blocks) // 2:
                with Memory() as memory:
                    start = time.perf_counter()
                    rank(collection, scorer, confidences=options.confidences)
                    seconds = time.perf_counter() - start
    beyond = (memory.peak - memory.before) / 2**30
    rows: list[list[object]] = [
        ["seconds of the ranks", seconds, "", ""],
        *(
            [
                f"times the bare product, {library}, {bare[library]:.1f} s",
                seconds / bare[library],
                "<= 3",
                report.verdict(seconds / bare[library], 3, at_least=False),
            ]
            for library in bare
        ),
        ["GiB beyond vectors and records", beyond, "<= 2", report.verdict(beyond, 2, at_least=False)],
        ["GiB with the records of the collection", memory.peak / 2**30, "", ""],
    ]
    text = [
        f"{options.queries:,} queries over {options.documents:,} documents, {_DIMENSIONS} dimensions, the documents' "
        f"vectors mapped from disk, {'with' if options.confidences else 'without'} the confidences for nAUC.",
        report.table(["", "figure", "required", ""], rows),
    ]
    data = {"seconds": seconds, "bare": bare, "beyond_gib": beyond, "peak_gib": memory.peak / 2**30}
    report.publish("A large pool", text, data, about, options.output)


if __name__ == "__main__":
    main()
