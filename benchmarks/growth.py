"""How the cost of exact ranks grows with documents, queries and languages, with the fitted exponent.

Vectors are random, of 384 dimensions; a query has one relevant document, or in the growth with languages one in each.
The exponent is the slope of log seconds over log size, fitted to the three decades at the end; a constant cost, which
shows at the small end, is what keeps it below 1. ``--quick`` stops a decade earlier.
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
from hbt_bench.ranking.dense import DenseScorer
from hbt_bench.ranking.encode import Vectors
from hbt_bench.ranking.ranks import rank

_DIMENSIONS = 384
_BOUNDS = (0.9, 1.1)


class Cosine:
    """An encoder whose vectors are there."""

    def similarity(self, queries: Vectors, documents: Vectors) -> Vectors:
        """Cosine."""
        lengths = np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(documents, axis=1))
        return np.asarray(queries @ documents.T / lengths, np.float32)


def collection_of(queries: int, documents: int, languages: int = 1) -> Collection:
    """Made-up records; with several languages a query has a relevant document in each."""
    codes = list(islice(cycle(sorted(LANGUAGES)), languages))
    docs = [Document(f"d{n}", codes[n % languages], f"document {n}") for n in range(documents)]
    asks = [Query(f"q{n}", codes[n % languages], f"query {n}", f"question {n // languages}") for n in range(queries)]
    sets = documents // languages
    relevant = {
        query.id: {f"d{(n // languages) % sets * languages + place}": 1 for place in range(languages)}
        for n, query in enumerate(asks)
    }
    return Collection.from_records("made", asks, docs, relevant)


def seconds(queries: int, documents: int, languages: int, repeats: int) -> float:
    """The least time of a pass, and of small passes the least of many."""
    collection = collection_of(queries, documents, languages)
    generator = np.random.default_rng(0)
    vectors = [generator.standard_normal((count, _DIMENSIONS), dtype=np.float32) for count in (queries, documents)]
    scorer = DenseScorer(Cosine(), *vectors)  # type: ignore[arg-type]
    found: list[float] = []
    begun = time.perf_counter()
    while len(found) < repeats or (time.perf_counter() - begun < 2 and len(found) < 20):
        start = time.perf_counter()
        rank(collection, scorer, confidences=False)
        found.append(time.perf_counter() - start)
    print(f"{queries:,} x {documents:,}, {languages} languages: {min(found):.3f} s", file=sys.stderr)
    return min(found)


def exponent(sizes: list[int], times: list[float], decades: float = 3.0) -> float:
    """The slope of log time over log size in the last decades."""
    kept = [place for place, size in enumerate(sizes) if size >= sizes[-1] / 10**decades]
    return float(np.polyfit(np.log([sizes[k] for k in kept]), np.log([times[k] for k in kept]), 1)[0])


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller sizes")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    options = parser.parse_args()
    about = report.environment()
    last = 1 if options.quick else 0
    # three points a decade; a thousand queries, or ten thousand documents
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
    sizes, times = (part[:-2] for part in curves["queries"])
    rows.append([f"queries, up to {sizes[-1]:,}", f"{exponent(sizes, times):.3f}", "", ""])
    sizes, times = curves["languages"]
    pairs = [
        20 * count * 100 * count * (count + 4) for count in sizes
    ]  # scores, each compared once a relevant document
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
