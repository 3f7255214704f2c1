"""Our ranks against the field's other ways from the same vectors to AP, nDCG@10 and RR over one multilingual pool.

pytrec_eval and ranx are given whole rankings, as AP needs them; the search keeps the best 1,000 of every query, as
bm25s does, and so has no AP beyond them. All start from the same vectors, and take turns. What is not installed is
left out and named.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import report
from precomputed import KINDS, encoder_for

from hbt_bench.data.collection import Collection
from hbt_bench.measures.ranking import Ranking
from hbt_bench.mteb.shared_pass import MtebEncoder
from hbt_bench.ranking.dense import DenseScorer
from hbt_bench.ranking.ranks import rank
from hbt_bench.ranking.subsets import judged_subsets
from hbt_bench.tasks.registry import select_tasks

_BLOCK = 512
Scores = dict[str, float]


def ours(collection: Collection, scorer: DenseScorer) -> Scores:
    """Exact ranks, and the measures from them."""
    ranks, _ = rank(collection, scorer, confidences=False)
    rankings = [Ranking.from_ranks(collection, ranks, judged) for judged in judged_subsets(collection, "multi")]
    values = {
        "AP": [one.average_precision() for one in rankings],
        "nDCG@10": [one.ndcg(10) for one in rankings],
        "RR": [one.reciprocal_rank() for one in rankings],
    }
    return {name: float(np.concatenate(parts).mean()) for name, parts in values.items()}


def matrices(scorer: DenseScorer) -> Iterator[tuple[range, Any]]:
    """Cosine scores of some queries at a time, by one product."""
    queries, documents = (
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (scorer.queries, scorer.documents)
    )
    for start in range(0, len(queries), _BLOCK):
        rows = range(start, min(start + _BLOCK, len(queries)))
        yield rows, queries[rows.start : rows.stop] @ documents.T


def runs(collection: Collection, scorer: DenseScorer) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """TextlessCollection and whole rankings as dictionaries."""
    ids = [document.id for document in collection.documents]
    for rows, scores in matrices(scorer):
        names = [collection.queries[row].id for row in rows]
        yield (
            {name: collection.relevant(row) for name, row in zip(names, rows, strict=True)},
            {name: dict(zip(ids, line, strict=True)) for name, line in zip(names, scores.tolist(), strict=True)},
        )


def trec(collection: Collection, scorer: DenseScorer) -> Scores:
    """pytrec_eval over whole rankings."""
    import pytrec_eval

    names = {"map": "AP", "ndcg_cut_10": "nDCG@10", "recip_rank": "RR"}
    found = []
    for qrels, run in runs(collection, scorer):
        found += pytrec_eval.RelevanceEvaluator(qrels, {"map", "ndcg_cut.10", "recip_rank"}).evaluate(run).values()
    return {ours: float(np.mean([one[theirs] for one in found])) for theirs, ours in names.items()}


def ranx(collection: Collection, scorer: DenseScorer) -> Scores:
    """Whole rankings through ranx."""
    import ranx as library

    names = {"map": "AP", "ndcg@10": "nDCG@10", "mrr": "RR"}
    found, weights = [], []
    for qrels, run in runs(collection, scorer):
        found.append(library.evaluate(library.Qrels(qrels), library.Run(run), list(names)))
        weights.append(len(qrels))
    return {ours: float(np.average([one[theirs] for one in found], weights=weights)) for theirs, ours in names.items()}


def search(collection: Collection, scorer: DenseScorer) -> Scores:
    """The best 1,000 of every query by partition and sort, and no measure."""
    depth = min(1000, len(collection.documents))
    for _, scores in matrices(scorer):
        best = np.argpartition(scores, -depth, axis=1)[:, -depth:]
        np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1), axis=1)
    return {}


def product(collection: Collection, scorer: DenseScorer) -> Scores:
    """The bare product."""
    for _ in matrices(scorer):
        pass
    return {}


PARTS: dict[str, tuple[Callable[[Collection, DenseScorer], Scores], str | None]] = {
    "hbt-bench": (ours, None),
    "pytrec_eval": (trec, "pytrec_eval"),
    "ranx": (ranx, "ranx"),
    "search for 1,000": (search, None),
    "product alone": (product, None),
}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", default="xquad-r")
    parser.add_argument("--languages", default="de,en,es")
    parser.add_argument("--vectors", choices=KINDS, default="random")
    parser.add_argument("--data-dir", type=Path, help="the data files [env: HBT_BENCH_DATA]")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    options = parser.parse_args()
    about = report.environment()
    spec = select_tasks(options.collection)[0].spec
    assert spec is not None
    collection = spec.load(options.languages.split(","), options.data_dir)
    encoder: Any = MtebEncoder(encoder_for(collection, options.vectors), None, {"batch_size": 512})  # type: ignore[arg-type]
    scorer = DenseScorer.from_collection(collection, encoder)
    absent = [name for name, (_, module) in PARTS.items() if module and not find_spec(module)]
    seconds: dict[str, list[float]] = {name: [] for name in PARTS if name not in absent}
    scores: dict[str, Scores] = {}
    for repeat in range(options.repeats):
        for name in seconds:
            if repeat and name in ("pytrec_eval", "ranx") and min(seconds[name]) > 60:  # slow parts run once
                continue
            start = time.perf_counter()
            scores[name] = PARTS[name][0](collection, scorer)
            seconds[name].append(time.perf_counter() - start)
            print(f"{name}: {seconds[name][-1]:.2f} s", file=sys.stderr)
    base = statistics.median(seconds["hbt-bench"])
    rows = [
        [
            name,
            len(runs),
            min(runs),
            statistics.median(runs),
            statistics.median(runs) / base,
            *(f"{scores[name][measure]:.6f}" if scores[name] else "" for measure in ("AP", "nDCG@10", "RR")),
        ]
        for name, runs in seconds.items()
    ]
    text = [
        f"{len(collection.queries):,} queries over {len(collection.documents):,} documents ({options.collection} in "
        f"{options.languages}), {options.vectors} vectors.",
        report.table(["way", "runs", "s, min", "s, median", "times ours", "AP", "nDCG@10", "RR"], rows),
    ]
    if absent:
        text.append(f"Not installed, so not measured: {', '.join(absent)}.")
    report.publish("From vectors to measures", text, {"seconds": seconds, "scores": scores}, about, options.output)


if __name__ == "__main__":
    main()
