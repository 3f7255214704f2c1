"""How sure a result is: 95 % intervals clustered by question, and what each question adds to an average.

Both are computed from the ranks when a task is evaluated and kept in its result, so that a leaderboard of a thousand
models reads them and draws nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.errors import DataError, UsageError
from hbt_bench.measures.bias import DEPTH, Bias
from hbt_bench.measures.bias import MEASURES as BIAS_MEASURES
from hbt_bench.measures.ranking import Array, Ranking
from hbt_bench.measures.registry import Measure
from hbt_bench.ranking.ranks import Ranks
from hbt_bench.ranking.subsets import Mode, SubsetQrels, judged_subsets
from hbt_bench.stats.paired import Clusters, bootstrap, percentiles

Interval = tuple[float, float]

#: The bias figure of the leaderboard: the share of the top 10 in the query's language beyond its share of the pool.
EXCESS = f"same_language_excess@{DEPTH}"
#: Measures that have intervals in every mode.
_RANKING: dict[str, Callable[[Ranking], Array]] = {
    "AP": Ranking.average_precision,
    "RR": Ranking.reciprocal_rank,
    "nDCG@10": lambda ranking: ranking.ndcg(10),
    "R@1": lambda ranking: ranking.recall(1),
    "R@10": lambda ranking: ranking.recall(10),
    "R@100": lambda ranking: ranking.recall(100),
}
#: Measures whose averages are kept question by question, so that models can be told apart.
_SHARED = ("AP", "rank_distance")


@dataclass(frozen=True, eq=False)
class Intervals:
    """Of one task: `means` are intervals of the macro averages by measure, `subsets` those of each subset.

    `shares` are, for some measures, what each question adds to the macro average, (questions,); they sum up to it.
    """

    means: Mapping[str, Interval] = field(default_factory=dict)
    subsets: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    shares: Mapping[str, Array] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        judgements: TextlessCollection,
        ranks: Ranks,
        mode: Mode,
        names: Collection[str] | None = None,
    ) -> Intervals:
        """Resample the questions of a task, or of those of its subsets that are in `names`."""
        judged = [one for one in judged_subsets(judgements, mode) if names is None or one.subset.name in names]
        found: dict[str, tuple[Clusters, list[str]]] = {}
        for measure, values in _values(judgements, ranks, judged, mode).items():
            # a question with one answer has no rank distance, and a language may have such questions alone
            usable = [at for at, part in enumerate(values) if np.isfinite(part).any()]
            if usable:
                rows = [judgements.questions[one.rows] for one in judged]
                number = np.repeat(np.arange(len(values)), [len(part) for part in values])
                clusters = Clusters.of(np.concatenate(values), np.concatenate(rows), number)
                found[measure] = clusters, [judged[at].subset.name for at in usable]
        means, subsets = {}, {}
        for measure, draws in _draws({measure: clusters for measure, (clusters, _) in found.items()}).items():
            means[measure] = percentiles(draws)
            columns = zip(found[measure][1], draws.T, strict=True)
            subsets[measure] = {name: percentiles(column[:, None]) for name, column in columns}
        shares = {measure: found[measure][0].shares for measure in found if measure in _SHARED}
        return cls(means, subsets, shares)

    def as_json(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the leaderboard reads (means and shares, as base64 of little-endian float32), and the subsets."""
        means = {measure: _rounded(interval) for measure, interval in self.means.items()}
        shares = {
            measure: base64.b64encode(values.astype("<f4").tobytes()).decode()
            for measure, values in self.shares.items()
        }
        subsets = {
            measure: {name: _rounded(interval) for name, interval in intervals.items()}
            for measure, intervals in self.subsets.items()
        }
        return {"intervals": means, "shares": shares}, subsets


def question_shares(
    judgements: TextlessCollection, ranks: Ranks, mode: Mode, measure: str, names: Collection[str] | None = None
) -> Array | None:
    """What each question adds to the macro average of any measure that has one value a query, (questions,).

    Of the subsets in `names`, or of all; they sum up to the average. None for another measure, and where no query has a
    value.
    """
    judged = [one for one in judged_subsets(judgements, mode) if names is None or one.subset.name in names]
    try:
        if mode == "multi" and measure in BIAS_MEASURES:
            bias = BIAS_MEASURES[measure](Bias(judgements, ranks))
            values = [bias[one.rows] for one in judged]
        else:
            by_query = Measure.parse(measure).values
            values = [by_query(Ranking.of(judgements, ranks, one)) for one in judged]
        number = np.repeat(np.arange(len(values)), [len(part) for part in values])
        questions = np.concatenate([judgements.questions[one.rows] for one in judged])
        return Clusters.of(np.concatenate(values), questions, number).shares
    except (UsageError, DataError, ValueError):  # no such measure, or none of this collection
        return None


def decode_shares(text: str) -> Array:
    """One measure's shares as `Intervals.as_json` writes them."""
    return np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4").astype(np.float64)


def _rounded(interval: Interval) -> list[float]:
    return [round(bound, 6) for bound in interval]


def _values(
    judgements: TextlessCollection, ranks: Ranks, judged: list[SubsetQrels], mode: Mode
) -> dict[str, list[Array]]:
    """The value of each query of each subset, by measure."""
    rankings = [Ranking.of(judgements, ranks, one) for one in judged]
    functions = dict(_RANKING) | ({"rank_distance": Ranking.span} if mode == "multi" else {})
    found = {name: [function(ranking) for ranking in rankings] for name, function in functions.items()}
    if mode == "multi":
        excess = Bias(judgements, ranks).same_language_excess()
        found[EXCESS] = [excess[one.rows] for one in judged]
    return found


def _draws(clusters: Mapping[str, Clusters]) -> dict[str, Array]:
    """Bootstrap draws (resamples, subsets) of each measure; measures of the same queries share one set of draws."""
    draws: dict[str, Array] = {}
    for measure, one in clusters.items():
        if measure not in draws:
            alike = [name for name, other in clusters.items() if np.array_equal(one.counts, other.counts)]
            draws |= dict(zip(alike, bootstrap([clusters[name] for name in alike]), strict=True))
    return draws
