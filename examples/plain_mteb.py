"""Our tasks in plain MTEB: any model that `mteb.evaluate` takes, MTEB's own result objects.

python examples/plain_mteb.py [MODEL]     # a folder or a hub name
"""

from __future__ import annotations

import sys

import mteb
from sentence_transformers import SentenceTransformer

import hbt_bench


def main(model: str = "sentence-transformers/LaBSE") -> None:
    """Evaluate in three modes from one pass, and print what MTEB and what hbt-bench say."""
    tasks = hbt_bench.get_tasks("cldr-facts", languages=["de", "en", "sw"])
    # no cache: MTEB knows a local checkpoint by no name and would take another one's scores (`hbt-bench run` does not)
    results = mteb.evaluate(SentenceTransformer(model, device="cpu"), tasks, cache=None)
    for result in results.task_results:
        scores = result.scores["test"]
        mean = {key: sum(entry[key] for entry in scores) / len(scores) for key in ("AP", "ndcg_at_10")}
        print(f"{result.task_name:50} AP {mean['AP']:.4f}  nDCG@10 {mean['ndcg_at_10']:.4f}  ({len(scores)} subsets)")

    # the same scores hold the language bias, by query language
    multilingual = results.task_results[-1].scores["test"]
    for entry in multilingual:
        print(f"{entry['hf_subset']:10} rank distance {entry['rank_distance']:7.1f}  TLR@10 {entry['TLR@10']:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
