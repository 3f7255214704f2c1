"""The clusters of a collection's questions in a result, so that tests need no data."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hbt_bench.stats.clusters import Level

Numbers = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """The clusters of the questions of a collection, and the questions that a measure has values for.

    `questions` is their number, and `levels` are the clusters by level, from fine to coarse, each (questions,). `asked`
    has the numbers of the questions with a contribution, for measures that some questions lack.
    """

    questions: int
    levels: Mapping[str, Numbers] = field(default_factory=dict)
    asked: Mapping[str, Numbers] = field(default_factory=dict)

    def level(self, name: str | None = None) -> Level:
        """Return the level of intervals and tests; see `Level.choose`."""
        return Level.choose(self.levels, self.questions, name)

    def same_levels(self, other: Hierarchy) -> bool:
        """Return whether the clusters are the same at each level."""
        return list(self.levels) == list(other.levels) and all(
            np.array_equal(labels, other.levels[name]) for name, labels in self.levels.items()
        )

    def as_json(self) -> dict[str, Any]:
        """Return the numbers as text: differences of neighbours as little-endian int32, in zlib and base64."""
        parts = {"levels": self.levels, "asked": self.asked}
        encoded = {part: {key: _encode(value) for key, value in numbers.items()} for part, numbers in parts.items()}
        return {"questions": self.questions, **encoded}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Hierarchy:
        """Read the output of `as_json`. Raises `ValueError` for other content, and for clusters that are not nested."""
        questions = content["questions"]
        levels, asked = (
            {key: _decode(text, questions) for key, text in content[part].items()} for part in ("levels", "asked")
        )
        finer = np.arange(questions, dtype=np.int32)
        for name, labels in levels.items():
            pairs = len(np.unique(finer.astype(np.int64) * questions + labels)) if len(labels) == questions else -1
            if pairs != int(finer.max(initial=-1)) + 1:
                raise ValueError(f"the clusters by {name[:40]!r} do not fit the questions")
            finer = labels
        return cls(questions, levels, asked)


def _encode(numbers: Numbers) -> str:
    steps = np.diff(numbers.astype(np.int64), prepend=0).astype("<i4")
    return base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode()


def _decode(text: str, questions: int) -> Numbers:
    """Return at most `questions` numbers below `questions`. Raises `ValueError` for other content."""
    try:
        data = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), 4 * questions + 1)
    except zlib.error as error:
        raise ValueError("the clusters are not compressed numbers") from error
    if len(data) > 4 * questions or len(data) % 4:
        raise ValueError("the clusters do not fit the questions")
    numbers = np.cumsum(np.frombuffer(data, dtype="<i4"), dtype=np.int64)
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < questions:
        raise ValueError("the clusters do not fit the questions")
    return numbers.astype(np.int32)
