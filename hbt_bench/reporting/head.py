"""The head of a result: one line at the start of its file, which is all that a leaderboard of many models reads."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hbt_bench.reporting.intervals import EXCESS

#: The format that is written.
FORMAT = 2
#: The measures whose values, subset by subset, are in the head of a result.
HEAD_MEASURES = ("AP", "R@1", "R@10", "rank_distance", EXCESS)
HEAD = b'  "hbt_bench": '
#: How the head itself begins.
_MARK = f'{{"format": {FORMAT},'.encode()


@dataclass(frozen=True, eq=False)
class HeadScores(Mapping[str, Mapping[str, float]]):
    """The scores of subsets as the head of a result has them, measure by measure, (subsets,) each; None for no score.

    A leaderboard of thousands of results needs their means alone, so a subset's own mapping is made when asked for.
    """

    names: Sequence[str]
    columns: Mapping[str, Sequence[float | None]]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> HeadScores:
        """Raises `ValueError` where a measure has not one value a subset, `TypeError` for one that is no number."""
        columns = {key: as_numbers(column) for key, column in values.items() if key != "subsets"}
        if not all(isinstance(name, str) for name in values["subsets"]):
            raise TypeError("the name of a subset is no text")
        if any(len(column) != len(values["subsets"]) for column in columns.values()):
            raise ValueError("its scores are not those of its subsets")
        return cls(values["subsets"], columns)

    def __getitem__(self, name: str) -> dict[str, float]:
        """The scores of one subset."""
        try:
            place = self.names.index(name)
        except ValueError:
            raise KeyError(name) from None
        found = ((key, column[place]) for key, column in self.columns.items())
        return {key: value for key, value in found if value is not None}

    def __iter__(self) -> Iterator[str]:
        """The names of the subsets."""
        return iter(self.names)

    def __len__(self) -> int:
        """The number of subsets."""
        return len(self.names)

    @property
    def means(self) -> dict[str, float]:
        """Each measure that no subset lacks, averaged."""
        full = ((key, column) for key, column in self.columns.items() if column and None not in column)
        return {key: math.fsum(column) / len(column) for key, column in full}  # type: ignore[arg-type]


def as_number(value: Any) -> float:
    """A number as JSON has it; raises `TypeError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{str(value)[:40]!r} is no number")
    return float(value)


def as_numbers(values: Any) -> list[float | None]:
    """Numbers, of which some may be null."""
    if set(map(type, values)) <= {float, type(None)}:  # a thousand models have many
        return list(values)
    return [None if value is None else as_number(value) for value in values]


def read_head(path: Path) -> dict[str, Any] | None:
    """What stands under ``hbt_bench`` in a file of format 2, without reading the rest; None for another format."""
    with path.open("rb") as file:
        if file.readline() != b"{\n":
            return None
        line = file.readline()
        if not line.startswith(HEAD + _MARK):
            return None
        file.seek(-2, 2)
        if file.read() != b"}\n":
            raise ValueError("it has no end")
    about: dict[str, Any] = json.loads(line[len(HEAD) :].rstrip(b",\n"))
    return about
