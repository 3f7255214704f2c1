"""The uncertainty of a result: 95 % intervals clustered by question, and the contribution of each question.

Both are computed from the ranks during evaluation and stored in the result, so that a leaderboard of a thousand models
reads them without resampling.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.errors import UsageError
from hbt_bench.identity.task_name import Mode
from hbt_bench.measures.ranking import Array
from hbt_bench.measures.registry import MEASURES, Measure
from hbt_bench.measures.scores import ModeRanks
from hbt_bench.ranking.ranks import Ranks
from hbt_bench.ranking.subsets import Subset
from hbt_bench.stats.clusters import Clusters, bootstrap, percentiles

Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Intervals:
    """Intervals of a task: `means` of the macro averages by measure, `subsets` of each subset.

    `contributions` has, for some measures, the contribution of each question to the macro average, (questions,). The
    average is their sum.
    """

    means: Mapping[str, Interval] = field(default_factory=dict)
    subsets: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    contributions: Mapping[str, Array] = field(default_factory=dict)

    @classmethod
    def from_ranks(
        cls,
        judgements: TextlessCollection,
        ranks: Ranks,
        mode: Mode,
        names: Collection[str] | None = None,
    ) -> Intervals:
        """Resample the questions of a task, in all subsets or in those called `names`.

        For example, ``Intervals.from_ranks(collection, ranks, "multi").means["AP"]`` is the interval of the mean AP.
        """
        mode_ranks = ModeRanks(judgements, ranks, mode, names)
        columns: dict[str, list[Subset]] = {}
        clusters: dict[str, Clusters] = {}
        for measure in MEASURES:
            if measure.scored and (values := mode_ranks.clusters(measure)):
                clusters[measure.name], columns[measure.name] = values
        means, subsets = {}, {}
        for name, draws in _draws(clusters).items():
            means[name] = percentiles(draws)
            subset_draws = zip(columns[name], draws.T, strict=True)
            subsets[name] = {subset.name: percentiles(column[:, None]) for subset, column in subset_draws}
        stored = {name: values.contributions for name, values in clusters.items() if MEASURES[name].contributions}
        return cls(means, subsets, stored)

    def as_json(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the part that leaderboards read, and the intervals of the subsets.

        The first part has the means, and the contributions as base64 of little-endian float32.
        """
        means = {measure: _rounded(interval) for measure, interval in self.means.items()}
        contributions = {
            measure: base64.b64encode(values.astype("<f4").tobytes()).decode()
            for measure, values in self.contributions.items()
        }
        subsets = {
            measure: {name: _rounded(interval) for name, interval in intervals.items()}
            for measure, intervals in self.subsets.items()
        }
        return {"intervals": means, "shares": contributions}, subsets


def question_contributions(
    judgements: TextlessCollection, ranks: Ranks, mode: Mode, measure: str, names: Collection[str] | None = None
) -> Array | None:
    """Return the contribution of each question to the macro average of any measure, (questions,).

    The average is over all subsets or those called `names`. Return None for a score that has no value per query, and
    if no query has a value.
    """
    try:
        parsed = Measure.parse(measure)
    except UsageError:
        return None
    values = ModeRanks(judgements, ranks, mode, names).clusters(parsed)
    return values[0].contributions if values else None


def decode_contributions(text: str) -> Array:
    """Return the contributions to a measure from the text that `Intervals.as_json` writes."""
    return np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4").astype(np.float64)


def _rounded(interval: Interval) -> list[float]:
    return [round(bound, 6) for bound in interval]


def _draws(clusters: Mapping[str, Clusters]) -> dict[str, Array]:
    """Return the bootstrap draws (resamples, subsets) of each measure.

    Measures of the same queries share their draws.
    """
    draws: dict[str, Array] = {}
    for name, system in clusters.items():
        if name not in draws:
            group = [other for other, values in clusters.items() if np.array_equal(system.counts, values.counts)]
            draws |= dict(zip(group, bootstrap([clusters[other] for other in group]), strict=True))
    return draws
