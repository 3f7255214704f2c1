"""Explain the differences from MTEB's scores: list all relevant documents with another rank in MTEB, with their scores.

MTEB returns 1,000 documents per query. If a document ties with the last of them, `torch.topk` decides whether it is
returned; our rank depends on its id. `explained` is true if our measures equal MTEB's numbers after the differing ranks
are replaced by MTEB's ranks. Then the differences have no other cause.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import report
from mteb.abstasks.retrieval import AbsTaskRetrieval
from numpy.typing import NDArray
from precomputed import KINDS, PrecomputedEncoder, encoder_for

from hbt_bench.data.collection import Collection
from hbt_bench.identity.task_name import MODES
from hbt_bench.measures.ranking import Ranking
from hbt_bench.measures.scores import mteb_scores
from hbt_bench.mteb.tasks import MtebEncoder, ParallelRetrieval, SharedPass, quiet_libraries
from hbt_bench.ranking.dense import DenseScorer
from hbt_bench.ranking.ranks import CONFIDENCE_DEPTH, Confidences, Ranks, rank
from hbt_bench.ranking.subsets import SubsetQrels
from hbt_bench.tasks.registry import select_tasks

_ENCODE = {"batch_size": 32, "show_progress_bar": False}
#: The tolerance of equal values, because MTEB rounds to five digits.
_TOLERANCE = 1e-5
_Run = Mapping[str, Mapping[str, float]]


class Stock(AbsTaskRetrieval):
    """A retrieval task of MTEB on our data that keeps the last run."""

    def __init__(self, task: ParallelRetrieval) -> None:
        self.metadata = task.metadata.model_copy(update={"main_score": "ndcg_at_10"})
        super().__init__()
        self.dataset = task.dataset
        self.data_loaded = True
        self.run: _Run = {}

    def task_specific_scores(self, scores: Any, qrels: Any, results: _Run, **kwargs: Any) -> dict[str, float]:
        """Keep the run and add no scores; MTEB documents this method for access to the run."""
        self.run = results
        return {}


class Ours:
    """Our pass over a collection, and the two score matrices of a query."""

    def __init__(self, collection: Collection, encoder: PrecomputedEncoder, metadata: Any) -> None:
        self.collection = collection
        self.encoder = MtebEncoder(encoder, metadata, _ENCODE)
        self.scorer = DenseScorer.from_collection(collection, self.encoder)
        pass_result: tuple[Ranks, Confidences | None] = rank(collection, self.scorer)
        self.ranks, self.confidences = pass_result
        self.place = {document.id: column for column, document in enumerate(collection.documents)}

    def scores(self, row: int, columns: slice) -> NDArray[np.float32]:
        """Return the scores of a query that the pass used."""
        return self.scorer.scores(slice(row, row + 1))[0, columns]

    def subset_scores(self, judged: SubsetQrels, columns: slice) -> NDArray[np.float32]:
        """Return the score matrix of a subset, computed in the same shape as in MTEB."""
        return self.encoder.similarity(self.scorer.queries[judged.rows], self.scorer.documents[columns])


def explain(
    ours: Ours, judged: SubsetQrels, run: _Run, theirs: Mapping[str, float]
) -> tuple[list[dict[str, Any]], bool]:
    """Return the pairs of a subset with different ranks in the top 1,000, and whether they explain all differences."""
    collection, qrels = ours.collection, ours.collection.qrels
    pool = judged.subset.documents is None
    columns = slice(0, len(collection.documents)) if pool else collection.document_blocks[str(judged.subset.documents)]
    replaced = (ours.ranks.pool if pool else ours.ranks.block).copy()
    matrix = ours.subset_scores(judged, columns)
    pairs = []
    for pair, position in zip(judged.pairs.tolist(), judged.owner.tolist(), strict=True):
        row = int(judged.rows[position])
        query, document = collection.queries[row], collection.documents[qrels.documents[pair]]
        returned = run[query.id]
        position = _places(returned).get(document.id, CONFIDENCE_DEPTH + 1)
        if position == min(int(replaced[pair]), CONFIDENCE_DEPTH + 1):
            continue
        scores = matrix[position]
        score = float(scores[ours.place[document.id] - columns.start])
        block_scores = ours.scores(row, columns)
        block_score = float(block_scores[ours.place[document.id] - columns.start])
        limit = min(returned.values())
        pairs.append(
            {
                "subset": judged.subset.name,
                "query": query.id,
                "document": document.id,
                "our_rank": int(replaced[pair]),
                "mteb_rank": position if position <= CONFIDENCE_DEPTH else None,
                "score_in_mteb": score,
                "score_in_ours": block_score,
                "last_returned_score": limit,
                "better_in_mteb": int(np.count_nonzero(scores > score)),
                "tied_in_mteb": int(np.count_nonzero(scores == score)),
                "better_in_ours": int(np.count_nonzero(block_scores > block_score)),
                "tied_in_ours": int(np.count_nonzero(block_scores == block_score)),
                "cause": _cause(score, limit, block_score),
            }
        )
        replaced[pair] = position
    changed = Ranks(replaced, replaced, ours.ranks.top)
    again = mteb_scores(Ranking.from_ranks(collection, changed, judged), judged, ours.confidences, collection)
    shared = again.keys() & theirs.keys()
    close = (np.isclose(again[key], theirs[key], rtol=0, atol=_TOLERANCE, equal_nan=True) for key in shared)
    return pairs, all(close)


def _places(returned: Mapping[str, float]) -> dict[str, int]:
    ordered = sorted(((score, document) for document, score in returned.items()), reverse=True)
    return {document: position for position, (_, document) in enumerate(ordered, 1)}


def _cause(score: float, limit: float, block_score: float) -> str:
    if score == limit:
        return "tie at the cut of 1,000"
    return "other bits of the score" if score != block_score else "near tie with other bits"


def main() -> None:
    """Compare, then print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", default="xquad-r")
    parser.add_argument("--subsets", help="only these, with commas")
    parser.add_argument("--vectors", choices=KINDS, default="minilm")
    parser.add_argument("--data-dir", type=Path, help="folder of the data files [env: HBT_BENCH_DATA]")
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    options = parser.parse_args()
    quiet_libraries()
    about = report.environment()
    spec = select_tasks(options.collection)[0].spec
    assert spec is not None
    collection = spec.load(None, options.data_dir)
    encoder = encoder_for(collection, options.vectors)
    shared = SharedPass(spec, collection)
    chosen = options.subsets.split(",") if options.subsets else None
    ours = Ours(collection, encoder, ParallelRetrieval(shared, "multi").metadata)
    pairs: list[dict[str, Any]] = []
    explained: dict[str, bool] = {}
    for mode in MODES:
        task = ParallelRetrieval(shared, mode)
        task.load_data()
        stock = Stock(task)
        for name in stock.hf_subsets:
            if chosen is None or name in chosen:
                theirs = stock.evaluate(encoder, "test", [name], encode_kwargs=dict(_ENCODE))[name]
                more, explained[name] = explain(ours, shared.judged(mode)[name], stock.run, theirs)
                pairs += more
    header = ["subset", "query", "document", "our rank", "MTEB's rank", "score", "last returned", "better", "tied"]
    rows = [
        [
            *(pair[key] for key in ("subset", "query", "document", "our_rank")),
            pair["mteb_rank"] or "not returned",
            *(f"{pair[key]:.8f}" for key in ("score_in_mteb", "last_returned_score")),
            *(f"{pair[f'{key}_in_mteb']} / {pair[f'{key}_in_ours']}" for key in ("better", "tied")),
            pair["cause"],
        ]
        for pair in pairs
    ]
    unexplained = [name for name, fine in explained.items() if not fine]
    text = [
        f"{options.collection}, vectors: {options.vectors}. Of {len(explained)} subsets, {len(pairs)} relevant "
        "documents have another rank in MTEB, counted down to its cut of 1,000. With these ranks exchanged, all keys "
        f"agree to {_TOLERANCE:g} in all subsets but: {', '.join(unexplained) or 'none'}.",
        report.table([*header, "cause"], rows),
        "Better and tied: documents with a higher and with the same score, in MTEB's matrix / in ours.",
    ]
    report.publish("Differences from MTEB", text, {"pairs": pairs, "explained": explained}, about, options.output)


if __name__ == "__main__":
    main()
