"""The questions with the answers that are farthest from each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hbt_bench.data.collection import Collection
from hbt_bench.measures.bias import Bias

#: Worst questions in a report.
_MAX_QUESTIONS = 10


@dataclass(frozen=True)
class WorstQuery:
    """A query with distant answers: the rank of the best answer in each language, and the text that ranks first."""

    query: str
    language: str
    text: str
    rank_distance: int
    ranks: dict[str, int]
    first_language: str
    first_text: str


def worst_questions(bias: Bias, collection: Collection) -> tuple[WorstQuery, ...]:
    """Return the questions with the largest rank distance, each in the language with its largest distance."""
    distances = bias.rank_distance()
    worst: dict[int, WorstQuery] = {}
    for row in np.argsort(-distances, kind="stable"):
        question = int(collection.questions[row])
        if question in worst or not np.isfinite(distances[row]):
            continue
        pairs = slice(collection.qrels.offsets[row], collection.qrels.offsets[row + 1])
        ranks: dict[str, int] = {}
        for column, rank in zip(collection.qrels.documents[pairs], bias.ranks.pool[pairs], strict=True):
            language = collection.documents[column].language
            ranks[language] = min(int(rank), ranks.get(language, int(rank)))
        first = collection.documents[bias.ranks.top[row, 0]]
        query = collection.queries[row]
        worst[question] = WorstQuery(
            query.id, query.language, query.text, int(distances[row]), ranks, first.language, first.text
        )
        if len(worst) == _MAX_QUESTIONS:
            break
    return tuple(worst.values())
