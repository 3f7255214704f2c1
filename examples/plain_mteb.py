"""Run the tasks with plain MTEB: `mteb.evaluate` accepts them, and returns its own result objects.

python examples/plain_mteb.py [MODEL]     # a folder or a hub name
"""

from __future__ import annotations

import sys

import mteb
from sentence_transformers import SentenceTransformer

import hbt_bench


def main(model: str = "sentence-transformers/LaBSE") -> None:
    """Evaluate the model in three modes, and print the measures of MTEB and of hbt-bench."""
    tasks = hbt_bench.get_tasks("cldr-facts", languages=["de", "en", "sw"])
    # No cache: MTEB's cache does not distinguish local checkpoints, so it could return the scores of another model.
    # `hbt-bench run` hashes the weights and does not have this problem.
    results = mteb.evaluate(SentenceTransformer(model, device="cpu"), tasks, cache=None)
    for result in results.task_results:
        scores = result.scores["test"]
        mean = {key: sum(entry[key] for entry in scores) / len(scores) for key in ("AP", "ndcg_at_10")}
        print(f"{result.task_name:50} AP {mean['AP']:.4f}  nDCG@10 {mean['ndcg_at_10']:.4f}  ({len(scores)} subsets)")

    # The multilingual task also reports the language bias for each query language.
    multilingual = results.task_results[-1].scores["test"]
    for entry in multilingual:
        print(f"{entry['hf_subset']:10} rank distance {entry['rank_distance']:7.1f}  TLR@10 {entry['TLR@10']:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
