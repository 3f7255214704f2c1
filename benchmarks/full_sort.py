"""Compare the engine's rank distance of every query to a full sort of all documents.

``python benchmarks/full_sort.py --data-dir DATA`` uses all-MiniLM-L6-v2 and all 13,090 queries of XQuAD-R.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from precomputed import KINDS, encoder_for

from hbt_bench.measures.bias import Bias
from hbt_bench.measures.registry import MEASURES
from hbt_bench.mteb.shared_pass import MtebEncoder
from hbt_bench.ranking.dense import DenseScorer
from hbt_bench.ranking.ranks import rank
from hbt_bench.tasks.registry import TaskRegistry


def main() -> int:
    """Print the number of queries that differ and the cost of the bias measures; return 1 if a query differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collection", default="xquad-r")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--vectors", choices=KINDS, default="minilm")
    options = parser.parse_args()
    collection = TaskRegistry().specs[options.collection].load(data_dir=options.data_dir)
    encoder = encoder_for(collection, options.vectors)
    scorer = DenseScorer.from_collection(collection, MtebEncoder(encoder, None, {"batch_size": 512}))  # type: ignore[arg-type]
    ranks, _ = rank(collection, scorer, confidences=False)
    bias = Bias(collection, ranks)

    started = time.perf_counter()
    for measure in MEASURES:
        if measure.bias and measure.name != "PEER":  # PEER needs several relevant documents in a language
            measure.pool_values(Bias(collection, ranks))
    cost = time.perf_counter() - started

    ids = np.array([document.id for document in collection.documents])
    by_id = np.argsort(np.argsort(ids))
    distances, wrong, block = bias.rank_distance(), 0, 1290
    for start in range(0, len(collection.queries), block):
        rows = slice(start, min(start + block, len(collection.queries)))
        for row, scores in zip(range(rows.start, rows.stop), scorer.scores(rows), strict=True):
            order = np.lexsort((-by_id, -scores.astype(np.float64)))
            position = np.empty(len(order), np.int64)
            position[order] = np.arange(len(order))
            pairs = slice(collection.qrels.offsets[row], collection.qrels.offsets[row + 1])
            wrong += int(np.ptp(position[collection.qrels.documents[pairs]]) != distances[row])
    print(f"{options.collection}, {options.vectors} vectors: rank distance differs from a full sort for {wrong} of")
    print(
        f"{len(collection.queries):,} queries over {len(collection.documents):,} documents; all bias measures from the"
    )
    print(f"ranks, each by itself: {cost:.2f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
