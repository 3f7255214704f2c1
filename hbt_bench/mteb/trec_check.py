"""Compute the measures of a run with trec_eval, too, and compare them query by query."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection
from hbt_bench.errors import DataError, UsageError
from hbt_bench.identity.task_name import Mode
from hbt_bench.measures.ranking import Array, Ranking
from hbt_bench.measures.registry import MEASURES
from hbt_bench.measures.scores import CUTOFFS
from hbt_bench.ranking.ranks import Ranks
from hbt_bench.ranking.subsets import SubsetQrels, judged_subsets

#: Greatest difference that rounding makes.
_TOLERANCE = 1e-6
Entries = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def check_with_trec_eval(collection: Collection, ranks: Ranks, mode: Mode, entries: Iterable[Entries]) -> None:
    """Compare every measure that trec_eval has, for each query of each subset.

    `entries` are the rows, columns and scores from which the ranks were computed. Measures of whole rankings are
    compared at the depth of the run, where trec_eval takes the other relevant documents as not retrieved. Raises
    `DataError` for a difference, and `UsageError` if pytrec_eval is not installed.
    """
    try:
        import pytrec_eval
    except ImportError as error:
        raise UsageError("--verify needs pytrec_eval: pip install pytrec-eval-terrier") from error
    rows, columns, scores = (np.concatenate(arrays) for arrays in zip(*entries, strict=True))
    languages = collection.document_languages[columns]
    for judged in judged_subsets(collection, mode):
        candidates = np.isin(rows, judged.rows)
        if judged.subset.documents is not None:
            candidates &= languages == collection.languages.index(judged.subset.documents)
        run = _run(collection, ranks, rows[candidates], columns[candidates], scores[candidates])
        ranking = Ranking.from_ranks(collection, ranks, judged)
        ours = {name: function(ranking) for name, function in _measures(ranking).items()}
        theirs = pytrec_eval.RelevanceEvaluator(judged.by_id(collection), set(ours)).evaluate(run)
        _compare(collection, judged, ours, theirs)


def _run(
    collection: Collection, ranks: Ranks, rows: NDArray[np.int64], columns: NDArray[np.int64], scores: Array
) -> dict[str, dict[str, float]]:
    """Return the run as trec_eval takes it, cut to the depth, without the own documents of queries."""
    depth = ranks.cut.depth if ranks.cut else len(collection.documents)
    run: dict[str, dict[str, float]] = {}
    for row, column, score in zip(rows.tolist(), columns.tolist(), scores.astype(np.float32).tolist(), strict=True):
        run.setdefault(collection.queries[row].id, {})[collection.documents[column].id] = score
    for row in np.unique(rows).tolist():
        query = collection.queries[row].id
        own_texts = set(collection.own_documents(row))
        candidates = {name: score for name, score in run[query].items() if name not in own_texts}
        best = sorted(((score, name) for name, score in candidates.items()), reverse=True)[:depth]
        run[query] = {name: score for score, name in best}
    return run


def _measures(ranking: Ranking) -> dict[str, Callable[[Ranking], Array]]:
    """Return our functions by trec_eval's names."""
    depth = ranking.cut.depth if ranking.cut else max(CUTOFFS)
    measures: dict[str, Callable[[Ranking], Array]] = {
        "map": lambda ranks: ranks.average_precision(depth),
        "recip_rank": lambda ranks: ranks.reciprocal_rank(depth),
    }
    functions: dict[str, Callable[[Ranking, int], Array]] = {
        "map_cut": Ranking.average_precision,
        "ndcg_cut": Ranking.ndcg,
        "recall": Ranking.recall,
        "P": Ranking.precision,
        "success": Ranking.success,
    }
    for name, function in functions.items():
        for cutoff in CUTOFFS:
            if cutoff <= depth:
                measures[f"{name}_{cutoff}"] = partial(_at, function, cutoff)
    for measure in MEASURES:
        if measure.name in ("Rprec", "bpref") and measure.from_ranking and not ranking.open.any():
            measures[measure.name] = measure.from_ranking
    return measures


def _at(function: Callable[[Ranking, int], Array], cutoff: int, ranking: Ranking) -> Array:
    return function(ranking, cutoff)


def _compare(
    collection: Collection, judged: SubsetQrels, ours: Mapping[str, Array], theirs: Mapping[str, Mapping[str, float]]
) -> None:
    for position, row in enumerate(judged.rows.tolist()):
        query = collection.queries[row].id
        values = theirs.get(query, {})  # trec_eval leaves out a query without documents, and its measures are 0
        for name, array in ours.items():
            value = values.get(name, 0.0)
            if not abs(value - array[position]) <= _TOLERANCE:
                raise DataError(
                    f"trec_eval gives {name} {value:.6f} for the query '{query}' in {judged.subset.name}, but "
                    f"hbt-bench {array[position]:.6f}: no result was written. Please report it with the run."
                )
