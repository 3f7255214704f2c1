"""The numbers of a result: scores by subset, 95 % intervals over clusters of questions, contributions of the questions.

All are computed from the ranks during evaluation and stored in the result, so that a leaderboard of a thousand models
reads them without resampling.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from hbt_bench.results.hierarchy import Hierarchy
from hbt_bench.stats.clusters import Clusters, bootstrap, percentiles

Interval = tuple[float, float]

#: Largest rounding error of stored numbers: six decimals of scores and bounds, float32 of contributions.
TOLERANCE = 1e-5


def agree(value: float, stored: float) -> bool:
    """Return whether two numbers are equal up to rounding. NaN agrees with nothing."""
    return abs(value - stored) <= TOLERANCE * max(1.0, abs(stored))


@dataclass(frozen=True, eq=False)
class Scores(Mapping[str, Mapping[str, float]]):
    """The scores of every subset, by name. `columns` has them by measure, (subsets,), None if a subset lacks it.

    Columns, because a leaderboard of thousands of results needs only the means. The scores of a single subset are
    collected when asked for. For example, ``scores["de-en"]["AP"]``.
    """

    names: Sequence[str]
    columns: Mapping[str, Sequence[float | None]]

    @classmethod
    def from_subsets(cls, subsets: Mapping[str, Mapping[str, float]]) -> Scores:
        """Return the scores of a mapping of subsets to measures to numbers."""
        measures = dict.fromkeys(measure for scores in subsets.values() for measure in scores)
        columns = {measure: [scores.get(measure) for scores in subsets.values()] for measure in measures}
        return cls(list(subsets), columns)

    def __getitem__(self, name: str) -> dict[str, float]:
        """Return the scores of a subset by measure."""
        try:
            index = self.names.index(name)
        except ValueError:
            raise KeyError(name) from None
        row = {measure: column[index] for measure, column in self.columns.items()}
        return {measure: value for measure, value in row.items() if value is not None}

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def means(self, names: Collection[str] | None = None) -> dict[str, float]:
        """Return each measure averaged over all subsets, or those in `names`, that no such subset lacks."""
        means = {}
        for measure in self.columns:
            column = self._column(measure, names)
            values = [value for value in column if value is not None]
            if values and len(values) == len(column):
                means[measure] = math.fsum(values) / len(values)
        return means

    def mean(self, measure: str, names: Collection[str] | None = None) -> float | None:
        """Return a measure averaged over the subsets that have a value, None if there is no such subset."""
        values = [value for value in self._column(measure, names) if value is not None and value == value]  # not NaN
        return math.fsum(values) / len(values) if values else None

    def by_subset(self, measure: str, names: Collection[str] | None = None) -> dict[str, float]:
        """Return a measure of the subsets that have it, or of those in `names`."""
        chosen = self.names if names is None else set(names)
        column = zip(self.names, self.columns.get(measure, ()), strict=False)
        return {name: value for name, value in column if value is not None and name in chosen}

    def _column(self, measure: str, names: Collection[str] | None) -> Sequence[float | None]:
        column = self.columns.get(measure, ())
        if names is None or len(names) == len(self.names):
            return column
        chosen = set(names)
        return [value for name, value in zip(self.names, column, strict=False) if name in chosen]


@dataclass(frozen=True, eq=False)
class Intervals:
    """Intervals of a task: `means` of the macro averages by measure, `subsets` of each subset.

    `contributions` has, for some measures, the contribution of each question to the macro average, (questions,). The
    average is their sum. `limits` are the lowest and highest averages that the cut of a run leaves open, by measure.
    `hierarchy` has the clusters of the questions, and `signature` everything that the intervals
    depend on, besides the ranks: see `Level.signature`.
    """

    means: Mapping[str, Interval] = field(default_factory=dict)
    subsets: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    contributions: Mapping[str, Array] = field(default_factory=dict)
    hierarchy: Hierarchy | None = None
    signature: str | None = None
    limits: Mapping[str, Interval] = field(default_factory=dict)

    @classmethod
    def from_ranks(
        cls,
        judgements: TextlessCollection,
        ranks: Ranks,
        mode: Mode,
        names: Collection[str] | None = None,
        cluster: str | None = None,
    ) -> Intervals:
        """Resample the clusters of a task, in all subsets or in those called `names`.

        `cluster` is the level of the clusters; see `Level.choose`. Raises `UsageError` for an unknown level.

        For example, ``Intervals.from_ranks(collection, ranks, "multi").means["AP"]`` is the interval of the mean AP.
        """
        mode_ranks = ModeRanks(judgements, ranks, mode, names)
        columns: dict[str, list[Subset]] = {}
        clusters: dict[str, Clusters] = {}
        for measure in MEASURES:
            if measure.scored and (values := mode_ranks.clusters(measure)):
                clusters[measure.name], columns[measure.name] = values
        hierarchy = hierarchy_of(judgements)
        level = hierarchy.level(cluster)
        sums = {name: system.at(level) for name, system in clusters.items()}
        draws: dict[str, Array] = {}
        for name, system in sums.items():
            if name not in draws:  # measures of the same queries share their draws
                group = [other for other in sums if np.array_equal(system.counts, sums[other].counts)]
                draws |= zip(group, bootstrap([sums[other] for other in group]), strict=True)
        means = {name: percentiles(values) for name, values in draws.items()}
        subsets = {
            name: {
                subset.name: percentiles(column[:, None])
                for subset, column in zip(columns[name], values.T, strict=True)
            }
            for name, values in draws.items()
        }
        stored = {name: values for name, values in clusters.items() if MEASURES[name].contributions}
        contributions = {name: values.contributions for name, values in stored.items()}
        asked = {name: values.questions for name, values in stored.items()}
        lacking = {name: rows.astype(np.int32) for name, rows in asked.items() if len(rows) < hierarchy.questions}
        limits = {measure.name: ends for measure in MEASURES if measure.scored and (ends := mode_ranks.limits(measure))}
        limits = {name: ends for name, ends in limits.items() if name not in means}
        return cls(means, subsets, contributions, replace(hierarchy, asked=lacking), level.signature(), limits)

    def as_json(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the part that leaderboards read, and the intervals of the subsets.

        The first part has the means, the contributions as base64 of little-endian float32, and the clusters.
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
        summary: dict[str, Any] = {"intervals": means, "shares": contributions}
        if self.limits:
            summary["limits"] = {measure: _rounded(ends) for measure, ends in self.limits.items()}
        if self.hierarchy is not None:
            summary |= {"interval_signature": self.signature, "hierarchy": self.hierarchy.as_json()}
        return summary, subsets


def hierarchy_of(judgements: TextlessCollection) -> Hierarchy:
    """Return the clusters of a collection's questions."""
    return Hierarchy(int(judgements.questions.max(initial=-1)) + 1, judgements.levels)


def question_clusters(
    judgements: TextlessCollection, ranks: Ranks, mode: Mode, measure: str, names: Collection[str] | None = None
) -> Clusters | None:
    """Return the values of any measure by question, in all subsets or those called `names`.

    Return None for a score that has no value per query, and if no query has a value.
    """
    try:
        parsed = Measure.parse(measure)
    except UsageError:
        return None
    values = ModeRanks(judgements, ranks, mode, names).clusters(parsed)
    return values[0] if values else None


def question_contributions(
    judgements: TextlessCollection, ranks: Ranks, mode: Mode, measure: str, names: Collection[str] | None = None
) -> Array | None:
    """Return the contribution of each question to the macro average of any measure, (questions,), or None.

    See `question_clusters`.
    """
    clusters = question_clusters(judgements, ranks, mode, measure, names)
    return None if clusters is None else clusters.contributions


def decode_contributions(text: str) -> Array:
    """Return the contributions to a measure from the text that `Intervals.as_json` writes."""
    return np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4").astype(np.float64)


def _rounded(interval: Interval) -> list[float]:
    return [round(bound, 6) for bound in interval]
