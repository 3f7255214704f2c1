"""The value of every measure for a random ranking on a collection.

`EXPECTED` has the expectations that are known; the other measures are simulated with a fixed seed, so that a new
measure has its value by chance without another line. A score at this value is no evidence that a model found anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.data.judgements import Qrels
from hbt_bench.errors import DataError
from hbt_bench.identity.task_name import Mode
from hbt_bench.measures.preference import own_language_pairs
from hbt_bench.measures.ranking import Array, ratio
from hbt_bench.measures.registry import MEASURES, Measure
from hbt_bench.measures.scores import ModeRanks
from hbt_bench.measures.tied import expected_average_precision
from hbt_bench.ranking.ranks import TOP_K, Ranks
from hbt_bench.ranking.subsets import SubsetQrels, judged_subsets

#: The name of a random ranking in tables.
RANDOM_RANKING = "random ranking"
#: The smallest number of simulated rankings, and the largest number of documents in them.
_RANKINGS, _DOCUMENTS = 1_000, 1 << 24
#: Documents of the rankings in memory at a time.
_CHUNK = 1 << 22


def chance(
    measure: Measure, judgements: TextlessCollection, mode: Mode, names: Collection[str] | None = None
) -> float | None:
    """Return the mean of a measure for a random ranking, over the queries of each subset, then over the subsets.

    `names` are the names of the subsets, None for all. None if the measure does not apply to the mode or to the
    collection. For example, rank distance in the pool of XQuAD-R is 10,846 by chance.
    """
    if not measure.applies_to(judgements, mode) or not measure.has_query_values:
        return None
    name, _, depth = measure.name.partition("@")
    expected = EXPECTED.get(measure.name) or EXPECTED.get(f"{name}@k")
    if expected is not None:
        chosen = [judged for judged in judged_subsets(judgements, mode) if names is None or judged.subset.name in names]
        subsets = [_Queries.of_subset(judgements, judged) for judged in chosen]
        cutoff = int(depth) if depth.isdigit() else 0
        return _macro_average([[expected(queries, cutoff) for queries in subsets]])
    try:
        draws = [ModeRanks(sample, ranks, mode, names).values(measure) for sample, ranks in _simulated(judgements)]
    except DataError:
        return None
    return _macro_average(draws)


def scored_chance(judgements: TextlessCollection, mode: Mode) -> dict[str, float]:
    """Return the mean for a random ranking of each measure with an interval, rounded to six decimals, for a result."""
    values = {measure.name: chance(measure, judgements, mode) for measure in MEASURES if measure.scored}
    return {name: round(value, 6) for name, value in values.items() if value is not None}


def _macro_average(draws: list[list[Array]]) -> float | None:
    """Return the mean over the values of each subset, then over the subsets and draws; None without a value."""
    means = [np.nanmean(values) for draw in draws for values in draw if np.isfinite(values).any()]
    return float(np.mean(means)) if means else None


@dataclass(frozen=True, eq=False)
class _Queries:
    """The queries of a subset, (queries,): their numbers of relevant documents, in all and in their own language.

    `grades` are the grades of the relevant documents and `owner` (pairs,) their queries. `documents` is the number of
    candidates, and `own_share` (queries,) the share of the query's language in them.
    """

    documents: int
    relevant: NDArray[np.int64]
    own: NDArray[np.int64]
    own_share: Array
    grades: NDArray[np.int16]
    owner: NDArray[np.int64]

    @classmethod
    def of_subset(cls, judgements: TextlessCollection, judged: SubsetQrels) -> _Queries:
        """Count the documents of a subset."""
        languages = judgements.query_languages[judged.rows]
        sizes = np.bincount(judgements.document_languages, minlength=len(judgements.languages))
        if (candidates := judged.subset.documents) is not None:
            sizes = sizes * (np.array(judgements.languages) == candidates)
        own = own_language_pairs(judgements)[judged.pairs]
        return cls(
            int(sizes.sum()),
            np.bincount(judged.owner),
            np.bincount(judged.owner, own).astype(np.int64),
            sizes[languages] / sizes.sum(),
            judgements.qrels.grades[judged.pairs],
            judged.owner,
        )

    def average_precision(self) -> Array:
        """Return the expected AP."""
        return self._by_number(lambda number: expected_average_precision([(number, self.documents)], number))

    def reciprocal_rank(self) -> Array:
        """Return the expected reciprocal of the lowest rank."""
        ranks = np.arange(1, self.documents + 1)

        def expectation(number: int) -> float:
            later = np.clip(1 - number / (self.documents - ranks + 1), 0, 1)  # the document at a rank is not relevant
            return float(((1 - later) * np.r_[1.0, np.cumprod(later)[:-1]] / ranks).sum())

        return self._by_number(expectation)

    def _by_number(self, expectation: Callable[[int], float]) -> Array:
        numbers, index = np.unique(self.relevant, return_inverse=True)
        return np.array([expectation(number) for number in numbers.tolist()])[index]

    def ndcg(self, depth: int) -> Array:
        """Return the expected nDCG@depth: each rank has the mean grade of the candidates."""
        discounts = 1 / np.log2(np.arange(2, depth + 2))
        order = np.lexsort((-self.grades, self.owner))
        position = np.arange(len(order)) - (np.cumsum(self.relevant) - self.relevant)[self.owner]
        counted = position < depth
        ideal = np.bincount(self.owner[counted], self.grades[order][counted] * discounts[position[counted]])
        mean_grade = np.bincount(self.owner, self.grades) / self.documents
        return np.asarray(mean_grade * discounts[: self.documents].sum() / ideal)

    def none_of(self, depth: int) -> Array:
        """Return the probability that no relevant document is in the top `depth`."""
        ranks = np.arange(min(depth, self.documents))
        steps = np.clip(1 - self.relevant[:, None] / (self.documents - ranks), 0, 1)
        return np.asarray(steps.prod(axis=1))

    def all_in(self, depth: int) -> Array:
        """Return the probability that all relevant documents are in the top `depth`."""
        places = np.arange(int(self.relevant.max()))
        steps = np.clip((min(depth, self.documents) - places) / np.maximum(self.documents - places, 1), 0, 1)
        return np.asarray(np.r_[1.0, np.cumprod(steps)][self.relevant])

    def recall(self, depth: int) -> float:
        """Return the probability that a document is in the top `depth`."""
        return min(depth / self.documents, 1.0)

    def rank_distance(self) -> Array:
        """Return (N + 1)(n - 1)/(n + 1), NaN for a single relevant document."""
        spread = (self.documents + 1) * (self.relevant - 1) / (self.relevant + 1)
        return np.where(self.relevant > 1, spread, np.nan)


#: The expectations of measures by name, with ``@k`` for a cut-off, from the queries of a subset and the depth.
EXPECTED: dict[str, Callable[[_Queries, int], Array]] = {
    "AP": lambda queries, depth: queries.average_precision(),
    "RR": lambda queries, depth: queries.reciprocal_rank(),
    "nDCG@k": lambda queries, depth: queries.ndcg(depth),
    "R@k": lambda queries, depth: np.full(len(queries.relevant), queries.recall(depth)),
    "P@k": lambda queries, depth: queries.relevant * queries.recall(depth) / depth,
    "Success@k": lambda queries, depth: 1 - queries.none_of(depth),
    "rank_distance": lambda queries, depth: queries.rank_distance(),
    "rank_distance_relative": lambda queries, depth: queries.rank_distance() / queries.rank_distance(),
    "Max@R": lambda queries, depth: queries.relevant * (queries.documents + 1) / (queries.relevant + 1),
    "Complete@k": lambda queries, depth: queries.all_in(depth),
    "TLR@k": lambda queries, depth: np.where(queries.relevant > queries.own, queries.recall(depth), np.nan),
    "same_language_first": lambda queries, depth: np.where(
        queries.own > 0, ratio(queries.own, queries.relevant), np.nan
    ),
    "same_language_excess@k": lambda queries, depth: np.where(
        (queries.own_share > 0) & (queries.own_share < 1), 0.0, np.nan
    ),
    "first_right_own": lambda queries, depth: queries.own / queries.documents,
    "first_right_other": lambda queries, depth: (queries.relevant - queries.own) / queries.documents,
    "first_wrong_own": lambda queries, depth: queries.own_share - queries.own / queries.documents,
    "first_wrong_other": lambda queries, depth: (
        1 - queries.own_share - (queries.relevant - queries.own) / queries.documents
    ),
}


@lru_cache(maxsize=4)
def _simulated(judgements: TextlessCollection) -> tuple[tuple[TextlessCollection, Ranks], ...]:
    """Return random ranks: several draws for a small collection, some of the questions of a large collection."""
    generator = np.random.default_rng(0)
    questions = np.unique(judgements.questions)
    width = len(judgements.questions) / len(questions) * len(judgements.document_languages)
    number = int(np.clip(_DOCUMENTS / width, 1, len(questions)))
    draws = -(-_RANKINGS // len(judgements.questions)) if number == len(questions) else 1
    sample = _some_questions(judgements, generator.choice(questions, number, replace=False))
    return tuple((sample, _random_ranks(sample, generator)) for _ in range(draws))


def _some_questions(judgements: TextlessCollection, chosen: NDArray[np.int32]) -> TextlessCollection:
    """Return the judgements of some questions, without their levels."""
    qrels = judgements.qrels
    rows = np.isin(judgements.questions, chosen)
    pairs = rows[qrels.queries]
    offsets = np.r_[0, np.cumsum(np.diff(qrels.offsets)[rows])]
    return TextlessCollection(
        judgements.languages,
        Qrels(offsets, qrels.documents[pairs], qrels.grades[pairs]),
        judgements.query_languages[rows],
        judgements.questions[rows],
        judgements.document_languages,
        parallel=judgements.parallel,
    )


def _random_ranks(judgements: TextlessCollection, generator: np.random.Generator) -> Ranks:
    """Rank the documents of each query in random order."""
    qrels, languages = judgements.qrels, judgements.document_languages
    documents, queries = len(languages), len(judgements.questions)
    pool, block = (np.zeros(len(qrels.documents), np.int32) for _ in range(2))
    top = np.zeros((queries, min(TOP_K, documents)), np.int32)
    height = max(1, _CHUNK // documents)
    for start in range(0, queries, height):
        rows = slice(start, min(start + height, queries))
        orders = np.tile(np.arange(documents, dtype=np.int32), (rows.stop - rows.start, 1))
        orders = generator.permuted(orders, axis=1)
        top[rows] = orders[:, : top.shape[1]]
        ranks = np.empty_like(orders)
        np.put_along_axis(ranks, orders, np.arange(1, documents + 1, dtype=np.int32)[None], axis=1)
        pairs = slice(qrels.offsets[rows.start], qrels.offsets[rows.stop])
        row, column = qrels.queries[pairs] - rows.start, qrels.documents[pairs]
        pool[pairs] = ranks[row, column]
        for code, columns in judgements.document_blocks.items():
            in_block = languages[column] == judgements.languages.index(code)
            better = ranks[row[in_block], columns] < pool[pairs][in_block][:, None]
            block[pairs.start + np.flatnonzero(in_block)] = 1 + better.sum(axis=1)
    return Ranks(pool, block, top)
