"""A closer look at one model on one collection: matrices of languages, rank distances, the worst questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hbt_bench.data.collection import Collection
from hbt_bench.measures.bias import Bias
from hbt_bench.reports.bias import WorstQuery, worst_questions
from hbt_bench.results.store import Result

#: Bars of a distribution of rank distance; all models on a collection have the same.
BINS = 40
#: What is shown of a text.
_TEXT = 400

Matrix = list[list[float | None]]


@dataclass(frozen=True)
class ModelDetails:
    """Matrices are (query languages, document languages), None where there is nothing.

    `ap` has the monolingual mode on its diagonal and the cross-lingual around it. `ranks` are mean ranks of the answers
    in the pool, `shares` percents of the top 10 by language of the document. `distances` are the shares of queries in
    each of `BINS` bars from 0 to the size of the pool, `mean` and `random` the mean rank distance and that of a random
    ranking.
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
    def of(cls, results: Mapping[str, Result], collection: Collection | None) -> ModelDetails | None:
        """From the results of the modes of one model; None where there are no ranks. `collection` has the texts.

        Raises `OutputError` for ranks that are not those of the result.
        """
        found = [result.stored_ranks() for result in results.values() if result.ranks]  # each mode checks its own
        if not found:
            return None
        stored = found[0]
        bias = Bias(stored.judgements, stored.ranks)
        languages = stored.judgements.languages
        pool = len(stored.judgements.document_languages)
        multi = "multi" in results
        parallel = multi and stored.judgements.parallel  # else answers are no translations, and have no distance
        queries = len(stored.judgements.query_languages)
        distance = bias.rank_distance() if parallel else np.full(queries, np.nan)
        relative = bias.relative_rank_distance() if parallel else np.full(queries, np.nan)
        there = np.isfinite(distance)
        counts = np.histogram(distance[there], bins=BINS, range=(0, pool))[0]
        mean = float(distance[there].mean()) if there.any() else None
        expected = (
            float((distance[there & (relative > 0)] / relative[there & (relative > 0)]).mean())
            if (there & (relative > 0)).any()
            else None
        )
        return cls(
            languages,
            _scores(results, languages),
            _rounded(bias.mean_ranks(), 0) if multi else [],
            _rounded(100 * bias.by_language(bias.top_shares()), 0) if multi else [],
            [round(share, 4) for share in (counts / max(1, counts.sum())).tolist()] if parallel else [],
            pool,
            mean,
            expected,
            worst_questions(bias, collection) if collection and parallel else (),
        )

    def as_json(self) -> dict[str, Any]:
        """Everything as values that JSON has, long texts cut."""
        content = asdict(self)
        for query in content["worst"]:
            query["text"], query["first_text"] = _cut(query["text"]), _cut(query["first_text"])
        return content


def _scores(results: Mapping[str, Result], languages: Sequence[str]) -> Matrix:
    """AP of queries in one language against the documents of another."""
    scores = {
        name: found for mode in ("mono", "cross") if mode in results for name, found in results[mode].subsets.items()
    }
    return [
        [scores.get(query if query == document else f"{query}-{document}", {}).get("AP") for document in languages]
        for query in languages
    ]


def _rounded(matrix: np.ndarray, digits: int) -> Matrix:
    return [[None if np.isnan(value) else round(value, digits) for value in row] for row in matrix.tolist()]


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else text[:_TEXT].rstrip() + " …"
