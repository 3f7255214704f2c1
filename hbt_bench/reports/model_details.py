"""The part of the results page on each model: matrices, distribution of rank distance, worst questions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hbt_bench.data.collection import Collection
from hbt_bench.identity.task_name import Mode
from hbt_bench.measures.bias import Bias
from hbt_bench.ranking.subsets import pair_name
from hbt_bench.reports.bias import as_lists
from hbt_bench.reports.worst_questions import worst_questions
from hbt_bench.results.store import Result

#: Bins of a distribution of rank distance, equal for all models on a collection.
BINS = 40
#: Characters of a text on the results page.
_MAX_TEXT = 400


def model_details(results: Mapping[Mode, Result], collection: Collection | None) -> dict[str, Any] | None:
    """Return the details of a model on the results page, as JSON values, or None if it has no ranks.

    Matrices are (query languages, document languages); a missing value is None. `ap` has the monolingual mode on its
    diagonal and the cross-lingual mode elsewhere. `ranks` are mean ranks of the answers in the pool, `shares`
    percentages of the top 10 by document language. `distances` are the shares of queries in each of `BINS` bins of rank
    distance from 0 to the size of the pool; `mean` is the mean rank distance, and `random` that of a random ranking.

    `results` are those of the model by mode, and `collection` has the texts of the worst questions. Raises
    `OutputError` if the ranks do not belong to the results.
    """
    # every mode checks its ranks; those of the pool are in the file of the multilingual mode
    ranked = {mode: result.stored_ranks() for mode, result in results.items() if result.ranks}
    if not ranked:
        return None
    stored = ranked.get("multi") or next(iter(ranked.values()))
    judgements = stored.judgements
    bias, languages = Bias(judgements, stored.ranks), judgements.languages
    scores = {name: values for mode in results if mode != "multi" for name, values in results[mode].subsets.items()}
    details: dict[str, Any] = {
        "languages": languages,
        "ap": [[scores.get(pair_name(query, document), {}).get("AP") for document in languages] for query in languages],
        "ranks": [],
        "shares": [],
        "pool": len(judgements.document_languages),
        "distances": [],
        "mean": None,
        "random": None,
        "worst": [],
    }
    if "multi" in results:
        details["ranks"] = as_lists(np.round(bias.mean_ranks()))
        details["shares"] = as_lists(np.round(100 * bias.by_language(bias.top_shares())))
        if judgements.parallel and not bias.ranking.open.any():  # other answers have no distance
            details |= _distances(bias, details["pool"])
            worst = worst_questions(bias, collection) if collection else ()
            details["worst"] = [
                vars(query) | {"text": shortened(query.text), "first_text": shortened(query.first_text)}
                for query in worst
            ]
    return details


def _distances(bias: Bias, pool: int) -> dict[str, Any]:
    """Return the distribution of rank distance, its mean, and the mean of a random ranking."""
    distance, relative = bias.rank_distance(), bias.relative_rank_distance()
    finite = np.isfinite(distance)
    counts = np.histogram(distance[finite], bins=BINS, range=(0, pool))[0]
    positive = finite & (relative > 0)
    return {
        "distances": [round(share, 4) for share in (counts / max(1, counts.sum())).tolist()],
        "mean": float(distance[finite].mean()) if finite.any() else None,
        "random": float((distance[positive] / relative[positive]).mean()) if positive.any() else None,
    }


def shortened(text: str) -> str:
    """Return a text for the page, cut if it is long."""
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT].rstrip() + " …"
