"""Details of a model on a collection: matrices of languages, rank distances, the worst questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hbt_bench.data.collection import Collection
from hbt_bench.identity.task_name import Mode
from hbt_bench.measures.bias import Bias
from hbt_bench.reports.bias import WorstQuery, worst_questions
from hbt_bench.results.store import Result

#: Bins of a distribution of rank distance, equal for all models on a collection.
BINS = 40
#: Characters of a text that are shown.
_MAX_TEXT = 400

Matrix = list[list[float | None]]


@dataclass(frozen=True)
class ModelDetails:
    """Details of a model. Matrices are (query languages, document languages); a missing value is None.

    `ap` has the monolingual mode on its diagonal and the cross-lingual mode elsewhere. `ranks` are mean ranks of the
    answers in the pool, `shares` percentages of the top 10 by document language. `distances` are the shares of queries
    in each of `BINS` bins from 0 to the size of the pool; `mean` is the mean rank distance, and `random` that of a
    random ranking.
    """

    languages: tuple[str, ...]
    ap: Matrix
    ranks: Matrix
    shares: Matrix
    distances: list[float]
    pool: int
    mean: float | None
    random: float | None
    worst: tuple[WorstQuery, ...]

    @classmethod
    def from_results(cls, results: Mapping[Mode, Result], collection: Collection | None) -> ModelDetails | None:
        """Return the details from the results of a model by mode, or None if there are no ranks.

        `collection` has the texts. Raises `OutputError` if the ranks do not belong to the results.
        """
        ranked = [result.stored_ranks() for result in results.values() if result.ranks]  # every mode checks its ranks
        if not ranked:
            return None
        stored = ranked[0]
        bias = Bias(stored.judgements, stored.ranks)
        languages = stored.judgements.languages
        pool = len(stored.judgements.document_languages)
        multi = "multi" in results
        # answers that are not translations of each other have no distance
        parallel = multi and stored.judgements.parallel
        distances, mean, random = _distances(bias, pool) if parallel else ([], None, None)
        return cls(
            languages,
            _scores(results, languages),
            _rounded(bias.mean_ranks(), 0) if multi else [],
            _rounded(100 * bias.by_language(bias.top_shares()), 0) if multi else [],
            distances,
            pool,
            mean,
            random,
            worst_questions(bias, collection) if collection and parallel else (),
        )

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values, with long texts cut."""
        content = asdict(self)
        for query in content["worst"]:
            query["text"], query["first_text"] = _cut(query["text"]), _cut(query["first_text"])
        return content


def _distances(bias: Bias, pool: int) -> tuple[list[float], float | None, float | None]:
    """Return the distribution of rank distance, its mean, and the mean of a random ranking."""
    distance, relative = bias.rank_distance(), bias.relative_rank_distance()
    finite = np.isfinite(distance)
    counts = np.histogram(distance[finite], bins=BINS, range=(0, pool))[0]
    shares = [round(share, 4) for share in (counts / max(1, counts.sum())).tolist()]
    positive = finite & (relative > 0)
    mean = float(distance[finite].mean()) if finite.any() else None
    random = float((distance[positive] / relative[positive]).mean()) if positive.any() else None
    return shares, mean, random


def _scores(results: Mapping[Mode, Result], languages: Sequence[str]) -> Matrix:
    """Return the AP for each pair of query language and document language."""
    modes: tuple[Mode, ...] = ("mono", "cross")
    subsets = [results[mode].subsets for mode in modes if mode in results]
    scores = {name: values for named in subsets for name, values in named.items()}
    return [
        [scores.get(query if query == document else f"{query}-{document}", {}).get("AP") for document in languages]
        for query in languages
    ]


def _rounded(matrix: np.ndarray, digits: int) -> Matrix:
    return [[None if np.isnan(value) else round(value, digits) for value in row] for row in matrix.tolist()]


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT].rstrip() + " …"
