"""The head of a result: one line at the start of its file, which is all that a leaderboard of many models reads."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hbt_bench.results.intervals import EXCESS
from hbt_bench.results.schema import as_numbers, as_text, check_scores, opened

#: The format that is written.
FORMAT = 2
#: The measures whose values, subset by subset, are in the head of a result.
HEAD_MEASURES = ("AP", "R@1", "R@10", "rank_distance", EXCESS)
HEAD = b'  "hbt_bench": '
#: What two runs with the same scores have each its own of, and the checksums themselves.
_OF_A_RUN = {"check", "speed", "device", "date", "evaluation_phases", "evaluation_time", "kg_co2_emissions"}
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
        """Check and keep them.

        Raises `ValueError` where a measure has not one value a subset, or one that cannot be, or a subset is there
        twice, and `TypeError` for a score that is no number or a name that is no text.
        """
        names = [as_text(name) for name in values["subsets"]]
        columns = {as_text(key): as_numbers(column) for key, column in values.items() if key != "subsets"}
        if len(set(names)) != len(names):
            raise ValueError("a subset is there twice")
        if any(len(column) != len(names) for column in columns.values()):
            raise ValueError("its scores are not those of its subsets")
        for measure, column in columns.items():
            check_scores(measure, column)
        return cls(names, columns)

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


def head_values(subsets: Mapping[str, Mapping[str, float]]) -> dict[str, list[Any]]:
    """The scores that stand in the head of a result, measure by measure, with the names of the subsets."""
    values: dict[str, list[Any]] = {"subsets": list(subsets)}
    for measure in HEAD_MEASURES:
        if any(measure in scores for scores in subsets.values()):
            found = (scores.get(measure, math.nan) for scores in subsets.values())
            values[measure] = [value if math.isfinite(value) else None for value in found]
    return values


def read_head(path: Path) -> dict[str, Any] | None:
    """What stands under ``hbt_bench`` in a file of format 2, without reading the rest; None for another format."""
    with opened(path) as file:
        if file.readline(3) != b"{\n":
            return None
        line = file.readline()
        if not line.startswith(HEAD + _MARK):
            return None
        file.seek(-2, 2)
        if file.read() != b"}\n":
            raise ValueError("it has no end")
    about: dict[str, Any] = json.loads(line[len(HEAD) :].rstrip(b",\n"))
    verify(about)
    return about


def sealed(about: Mapping[str, Any], rest: Mapping[str, Any]) -> dict[str, Any]:
    """The head of a result with checksums of itself and of the rest of the file, which tell a changed digit."""
    return {**about, "check": [_checksum(about), _checksum(rest)]}


def verify(about: Mapping[str, Any], rest: Mapping[str, Any] | None = None) -> None:
    """Raise `ValueError` where a head, or what is below it, is not what was written; older results do not tell."""
    if "check" in about:
        own, below = about["check"]
        if own != _checksum(about):
            raise ValueError("its head is not what was written")
        if rest is not None and below != _checksum(rest):
            raise ValueError("it is not what was written")


def _checksum(content: Mapping[str, Any]) -> str:
    """The same however the JSON is laid out, and for equal results of two runs."""
    lasting = {key: value for key, value in content.items() if key not in _OF_A_RUN}
    return f"{zlib.crc32(json.dumps(lasting, sort_keys=True).encode()):08x}"
