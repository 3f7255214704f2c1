"""The scores of a result: a number for each subset and measure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

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
