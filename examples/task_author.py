"""Use your own data: turn a file into a task, and rank a collection in memory with your own scorer.

python examples/task_author.py [FOLDER]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

import hbt_bench
from hbt_bench.identity.task_name import MODES
from hbt_bench.ranking.subsets import judged_subsets
from hbt_bench.tasks.draft import TaskDraft

PLANETS = [
    (
        "Which planet has rings?",
        "Saturn has rings of ice.",
        "Welcher Planet hat Ringe?",
        "Der Saturn hat Ringe aus Eis.",
    ),
    ("Which planet is red?", "Mars is red with rust.", "Welcher Planet ist rot?", "Der Mars ist rot vom Rost."),
    (
        "Which planet is largest?",
        "Jupiter is the largest.",
        "Welcher Planet ist der größte?",
        "Jupiter ist der größte.",
    ),
]


def from_a_file(folder: Path) -> None:
    """Write a data file, draft its task file as `hbt-bench tasks new` does, and evaluate BM25 on it."""
    rows = [
        {"id": str(number), "texts": {"en": {"question": q, "answer": a}, "de": {"question": frage, "answer": antwort}}}
        for number, (q, a, frage, antwort) in enumerate(PLANETS)
    ]
    data = folder / "planets.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    task = TaskDraft.from_data("planets", data, folder).write(overwrite=True)
    request = hbt_bench.ModelRequest("bm25")
    for result in hbt_bench.Evaluation(request, hbt_bench.select_tasks(str(task)), folder / "results").run():
        print(f"{result.task:16} AP {result.scores['AP']:.4f}")


class Overlap:
    """A scorer: the share of a document's words that occur in the query."""

    def __init__(self, collection: hbt_bench.Collection) -> None:
        self.queries = [set(query.text.lower().split()) for query in collection.queries]
        self.documents = [set(document.text.lower().split()) for document in collection.documents]

    def scores(self, rows: slice) -> np.ndarray:
        """Return the scores of a block of queries, an array of (queries, documents)."""
        block = [[len(q & d) / len(d) for d in self.documents] for q in self.queries[rows]]
        return np.array(block, np.float32)


def from_memory() -> None:
    """Rank a collection once, and compute the measures of all modes from the ranks."""
    queries, documents, relevant = [], [], {}
    for number, (question, answer, frage, antwort) in enumerate(PLANETS):
        for language, query, document in (("en", question, answer), ("de", frage, antwort)):
            queries.append(hbt_bench.Query(f"{language}-{number}?", language, query, str(number)))
            documents.append(hbt_bench.Document(f"{language}-{number}", language, document))
            relevant[f"{language}-{number}?"] = {f"en-{number}": 1, f"de-{number}": 1}
    collection = hbt_bench.Collection.from_records("planets", queries, documents, relevant)
    ranks, _ = hbt_bench.rank(collection, Overlap(collection), confidences=False)
    for mode in MODES:
        for judged in judged_subsets(collection, mode):
            ranking = hbt_bench.Ranking.from_ranks(collection, ranks, judged)
            distance = f"  rank distance {ranking.rank_distance().mean():.1f}" if mode == "multi" else ""
            print(f"{mode:6} {judged.subset.name:9} AP {ranking.average_precision().mean():.4f}{distance}")


def main(folder: str = "example-task") -> None:
    """Run both examples in `folder`."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    from_a_file(Path(folder))
    from_memory()


if __name__ == "__main__":
    main(*sys.argv[1:])
