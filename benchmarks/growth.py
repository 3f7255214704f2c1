"""Measure how the cost of exact ranks grows with documents, queries and languages, and fit the exponent.

The vectors are random, with 384 dimensions. A query has a relevant document, or a relevant document per language in
the growth with languages. The exponent is the slope of log seconds over log size in the last three decades. A
constant cost, which is visible at small sizes, keeps it below 1. ``--quick`` stops a decade earlier.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import cycle, islice

import numpy as np
import report

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.languages import LANGUAGES
from hbt_bench.ranking.correction import Vectors
from hbt_bench.ranking.dense import DenseScorer
from hbt_bench.ranking.ranks import rank

_DIMENSIONS = 384
_BOUNDS = (0.9, 1.1)


class Cosine:
    """An encoder with precomputed vectors."""

    def similarity(self, queries: Vectors, documents: Vectors) -> Vectors:
        """Return the cosine similarity."""
        lengths = np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(documents, axis=1))
        return np.asarray(queries @ documents.T / lengths, np.float32)


def collection_of(queries: int, documents: int, languages: int = 1) -> Collection:
    """Return artificial records; each query has a relevant document in each language."""
    codes = list(islice(cycle(sorted(LANGUAGES)), languages))
    docs = [Document(f"d{n}", codes[n % languages], f"document {n}") for n in range(documents)]
    asks = [Query(f"q{n}", codes[n % languages], f"query {n}", f"question {n // languages}") for n in range(queries)]
    sets = documents // languages
    relevant = {
        query.id: {f"d{(n // languages) % sets * languages + index}": 1 for index in range(languages)}
        for n, query in enumerate(asks)
    }
    return Collection.from_records("made", asks, docs, relevant)


def seconds(queries: int, documents: int, languages: int, repeats: int) -> float:
    """Return the shortest time of a pass; small passes are repeated more often."""
    collection = collection_of(queries, documents, languages)
    generator = np.random.default_rng(0)
    vectors = [generator.standard_normal((count, _DIMENSIONS), dtype=np.float32) for count in (queries, documents)]
    scorer = DenseScorer(Cosine(), *vectors)  # type: ignore[arg-type]
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < repeats or (time.perf_counter() - begun < 2 and len(times) < 20):
        start = time.perf_counter()
        rank(collection, scorer, confidences=False)
        times.append(time.perf_counter() - start)
    print(f"{queries:,} x {documents:,}, {languages} languages: {min(times):.3f} s", file=sys.stderr)
    return min(times)


def exponent(sizes: list[int], times: list[float], decades: float = 3.0) -> float:
    """Return the slope of log time over log size in the last decades."""
    last = [index for index, size in enumerate(sizes) if size >= sizes[-1] / 10**decades]
    return float(np.polyfit(np.log([sizes[index] for index in last]), np.log([times[index] for index in last]), 1)[0])


def main() -> None:
    """Measure, then print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller sizes")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    options = parser.parse_args()
    about = report.environment()
    last = 1 if options.quick else 0
    # three sizes per decade, with a thousand queries or ten thousand documents
    documents = [1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000][: -2 * last or None]
    queries = [10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000][: -2 * last or None]
    languages = [2, 5, 10, 20, 50, 100][: -last or None]
    curves = {
        "documents": (documents, [seconds(1000, count, 1, options.repeats) for count in documents]),
        "queries": (queries, [seconds(count, 10_000, 1, options.repeats) for count in queries]),
        "languages": (languages, [seconds(20 * count, 100 * count, count, options.repeats) for count in languages]),
    }
    rows: list[list[object]] = []
    for name in ("documents", "queries"):
        slope = exponent(*curves[name])
        met = _BOUNDS[0] <= slope <= _BOUNDS[1]
        rows.append([name, f"{slope:.3f}", "0.9 to 1.1", "met" if met else "MISSED"])
    sizes, times = (curve[:-2] for curve in curves["queries"])
    rows.append([f"queries, up to {sizes[-1]:,}", f"{exponent(sizes, times):.3f}", "", ""])
    sizes, times = curves["languages"]
    # each score is compared once per relevant document
    pairs = [20 * count * 100 * count * (count + 4) for count in sizes]
    rows.append(["languages, against scores compared", f"{exponent(pairs, times):.3f}", "", ""])
    text = [
        "1,000 queries over a growing pool; growing queries over 10,000 documents; 20 queries and 100 documents a "
        "language, each query with a relevant document in every language. Preparing the documents costs the same for "
        "any number of queries, which shows where these are few.",
        *(
            report.table([name, "seconds"], [[size, second] for size, second in zip(*curve, strict=True)])
            for name, curve in curves.items()
        ),
        report.table(["exponent over the last three decades", "fitted", "required", ""], rows),
    ]
    data = {name: {"sizes": sizes, "seconds": times} for name, (sizes, times) in curves.items()}
    report.publish("Growth of the cost of ranks", text, {"curves": data}, about, options.output)


if __name__ == "__main__":
    main()
