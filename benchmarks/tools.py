"""Compute AP, nDCG@10 and RR over a multilingual pool from the same vectors, with hbt-bench and other tools.

pytrec_eval and ranx receive complete rankings, which AP needs. The search keeps the best 1,000 documents of each query,
as bm25s does, so it has no AP beyond them. The tools take turns. Tools that are not installed are skipped and named.
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
    """Compute exact ranks, and the measures from them."""
    ranks, _ = rank(collection, scorer, confidences=False)
    rankings = [Ranking.from_ranks(collection, ranks, judged) for judged in judged_subsets(collection, "multi")]
    values = {
        "AP": [ranking.average_precision() for ranking in rankings],
        "nDCG@10": [ranking.ndcg(10) for ranking in rankings],
        "RR": [ranking.reciprocal_rank() for ranking in rankings],
    }
    return {name: float(np.concatenate(parts).mean()) for name, parts in values.items()}


def matrices(scorer: DenseScorer) -> Iterator[tuple[range, Any]]:
    """Yield cosine scores of blocks of queries, computed by a product."""
    queries, documents = (
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (scorer.queries, scorer.documents)
    )
    for start in range(0, len(queries), _BLOCK):
        rows = range(start, min(start + _BLOCK, len(queries)))
        yield rows, queries[rows.start : rows.stop] @ documents.T


def runs(collection: Collection, scorer: DenseScorer) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield qrels and complete rankings as dictionaries."""
    ids = [document.id for document in collection.documents]
    for rows, scores in matrices(scorer):
        names = [collection.queries[row].id for row in rows]
        yield (
            {name: collection.relevant(row) for name, row in zip(names, rows, strict=True)},
            {name: dict(zip(ids, line, strict=True)) for name, line in zip(names, scores.tolist(), strict=True)},
        )


def trec(collection: Collection, scorer: DenseScorer) -> Scores:
    """Evaluate complete rankings with pytrec_eval."""
    import pytrec_eval

    names = {"map": "AP", "ndcg_cut_10": "nDCG@10", "recip_rank": "RR"}
    values = []
    for qrels, run in runs(collection, scorer):
        values += pytrec_eval.RelevanceEvaluator(qrels, {"map", "ndcg_cut.10", "recip_rank"}).evaluate(run).values()
    return {ours: float(np.mean([scores[theirs] for scores in values])) for theirs, ours in names.items()}


def ranx(collection: Collection, scorer: DenseScorer) -> Scores:
    """Evaluate complete rankings with ranx."""
    import ranx as library

    names = {"map": "AP", "ndcg@10": "nDCG@10", "mrr": "RR"}
    blocks, weights = [], []
    for qrels, run in runs(collection, scorer):
        blocks.append(library.evaluate(library.Qrels(qrels), library.Run(run), list(names)))
        weights.append(len(qrels))
    return {
        ours: float(np.average([block[theirs] for block in blocks], weights=weights)) for theirs, ours in names.items()
    }


def search(collection: Collection, scorer: DenseScorer) -> Scores:
    """Find the best 1,000 documents of each query by partition and sort, without measures."""
    depth = min(1000, len(collection.documents))
    for _, scores in matrices(scorer):
        best = np.argpartition(scores, -depth, axis=1)[:, -depth:]
        np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1), axis=1)
    return {}


def product(collection: Collection, scorer: DenseScorer) -> Scores:
    """Compute the bare product."""
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
    """Measure, then print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", default="xquad-r")
    parser.add_argument("--languages", default="de,en,es")
    parser.add_argument("--vectors", choices=KINDS, default="random")
    parser.add_argument("--data-dir", type=Path, help="folder of the data files [env: HBT_BENCH_DATA]")
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
