"""Where a model stands: its scores on one collection, and the rank that it shares with those it ties with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hbt_bench.identity.task_name import Mode
from hbt_bench.measures.ranking import Array
from hbt_bench.results.intervals import Interval
from hbt_bench.results.store import Result, model_label
from hbt_bench.stats.paired import sign_flip_p

#: Models whose corrected p is below this do not share a rank.
LEVEL = 0.05
#: A mode and a measure.
Key = tuple[Mode, str]


@dataclass
class LeaderboardRow:
    """One model on one collection: `values` are means over the subsets of a mode, with their `intervals`.

    `source` is "measured", or where a figure was reported that nobody measured here. `missing` are the modes that lack
    subsets, with how many there are and should be. `languages` are the values by query language of the mode
    `languages_mode`: the multilingual, or the monolingual where there is no other. `decimals` are those that a paper
    gives of a figure. `sources` are the results by mode, with the subsets taken from them. `folder` is that of
    the first of them. `rank` is by `ranked_by`.
    """

    collection: str
    data: str
    model: str
    revision: str
    source: str
    prompt: str = "none"
    values: dict[Key, float] = field(default_factory=dict)
    intervals: dict[Key, Interval] = field(default_factory=dict)
    missing: dict[Mode, tuple[int, int]] = field(default_factory=dict)
    languages: dict[str, float] = field(default_factory=dict)
    languages_mode: Mode | None = None
    decimals: dict[Key, int] = field(default_factory=dict)
    sources: dict[Mode, tuple[Result, Sequence[str]]] = field(default_factory=dict)
    signatures: dict[Mode, str] = field(default_factory=dict)
    parameters: int | None = None
    speed: float | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    folder: str = ""
    rank: int | None = None
    ranked_by: Key | None = None

    @property
    def measured(self) -> bool:
        """Whether it was measured here, not reported."""
        return bool(self.data)

    @property
    def label(self) -> str:
        """The name in tables: model, revision, prompts where they were given by hand, a dagger if it is reported."""
        given = "" if self.prompt == "none" else f" prompt:{self.prompt}"
        return model_label(self.model, self.revision) + given + ("" if self.measured else " †")

    @property
    def worst(self) -> tuple[str, float] | None:
        """The query language with the lowest AP."""
        if not self.languages:
            return None
        code = min(self.languages, key=lambda language: (self.languages[language], language))
        return code, self.languages[code]

    def value(self, key: Key) -> float | None:
        """A mean that is there and is a number."""
        value = self.values.get(key)
        return value if value is not None and math.isfinite(value) else None

    def shares(self, key: Key) -> Array | None:
        """What each question adds to a value, (questions,); None where there is no test of it.

        Raises `OutputError` when it must be made from ranks that cannot be read.
        """
        mode, measure = key
        if mode not in self.sources or mode in self.missing or self.value(key) is None:
            return None
        result, names = self.sources[mode]
        return result.contributions(measure, names)

    def add(self, result: Result, mode: Mode, names: Sequence[str]) -> None:
        """Take in the means of one mode over the subsets in `names`."""
        self.sources[mode] = result, names
        self.values |= {(mode, measure): value for measure, value in result.subsets.means(names).items()}
        self.signatures[mode] = result.signature
        self.parameters = result.parameters or self.parameters
        self.speed = result.speed or self.speed
        self.training = result.training or self.training
        if not result.complete:
            self.missing[mode] = (len(result.subsets), result.expected_subsets)
        if mode == "multi" or (mode == "mono" and not self.languages):
            self.languages_mode = mode
            self.languages = {name.split("-")[0]: value for name, value in result.subsets.by_subset("AP", names).items()}


def assign_ranks(standings: Sequence[tuple[LeaderboardRow, Array]], key: Key) -> None:
    """Give each standing its rank from its shares, in the order in which they come: from best to worst by `key`.

    The best model opens a group. Every next one is compared with the best of the current group, by the randomization
    test clustered by question, and joins it unless p is below 0.05 over the number of comparisons (Bonferroni: each
    model but the first is compared once). Then it opens the next group. All of a group have the rank 1 + the number of
    models before the group. So a shared rank says that no difference from the best of the group was shown, not that
    there is none.
    """
    level = LEVEL / max(1, len(standings) - 1)
    best, rank = None, 1
    for place, (one, shares) in enumerate(standings, 1):
        if best is None or differ(best, shares, level):
            best, rank = shares, place
        one.rank, one.ranked_by = rank, key


def differ(one: Array, other: Array, level: float) -> bool:
    """Whether the sums of two systems' shares of the same questions differ at `level`."""
    if len(one) != len(other):  # not the same questions, so nothing can be shown
        return False
    differences = one - other
    largest = float(np.abs(differences).max(initial=0.0))
    differences[np.abs(differences) <= 1e-6 * largest] = 0.0
    energy = float((differences**2).sum())
    # Hoeffding's bound on p spares the work where models are far apart
    if energy and 2 * math.exp(-(float(differences.sum()) ** 2) / (2 * energy)) < level:
        return True
    return sign_flip_p(differences) < level
