"""The strategies: which language pairs the rows of a batch may have, and with what probability.

To add a strategy, write a function from a `SourcePairs` to types of batch and enter it in `STRATEGIES`. Recipes,
`--strategy`, the plan and the preview follow. Then describe it in ``docs/training.md`` and test its batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from hbt_bench.errors import DataError, UsageError
from hbt_bench.training.clashes import DistinctItems
from hbt_bench.training.parallel import ParallelText

Weights = Literal["uniform", "size"] | Mapping[str, float]
Phase = Literal["main", "instruction"]
#: Whether each row of a cross-lingual batch draws a language pair (mixed), or the batch draws a single pair.
Pairs = Literal["mixed", "one"]


class BatchType(NamedTuple):
    """How a batch draws its language pairs (query language, passage language).

    `mono` is the share of monolingual pairs. If `per_row`, every row draws a pair, else the batch draws a single pair.
    """

    name: str
    mono: float
    per_row: bool


#: Types of batch with their probabilities.
BatchTypes = list[tuple[float, BatchType]]

_MONO = BatchType("mono", 1.0, per_row=False)
_MIXED = BatchType("mixed", 1.0, per_row=True)


@dataclass(frozen=True)
class SourcePairs:
    """The facts that a strategy decides by: the recipe's `alpha` and `pairs`, and the source's language pairs."""

    source: ParallelText
    alpha: float
    pairs: Pairs

    @property
    def mono(self) -> bool:
        """Whether the source has monolingual pairs."""
        return bool(np.trace(self.source.counts))

    @property
    def cross(self) -> bool:
        """Whether the source has cross-lingual pairs."""
        return bool(self.source.counts.sum() > np.trace(self.source.counts))

    @property
    def cross_type(self) -> BatchType:
        """The cross-lingual type of batch that the recipe asks for."""
        return BatchType("cross", 0.0, per_row=self.pairs == "mixed")

    def only(self, batch_type: BatchType, strategy: str) -> BatchTypes:
        """Return this type for all batches; raises `UsageError` if the source lacks its pairs."""
        if self.source.unpaired and not batch_type.mono:
            raise DataError(f"{self.source.name} has no pairs of two languages: {self.source.unpaired}")
        if not (self.mono if batch_type.mono else self.cross):
            missing = "pairs of one language" if batch_type.mono else "pairs of two languages"
            raise UsageError(
                f"{self.source.name} has no {missing} for {strategy} batches. Remove the source, or set its `strategy` "
                "in the recipe."
            )
        return [(1.0, batch_type)]


def _hybrid(pairs: SourcePairs) -> BatchTypes:
    """Monolingual batches with probability alpha, else cross-lingual (arXiv 2408.10536)."""
    types = [(pairs.alpha, _MONO)] * pairs.mono + [(1 - pairs.alpha, pairs.cross_type)] * pairs.cross
    total = sum(share for share, _ in types)
    return [(share / total if total else 1.0, batch_type) for share, batch_type in types]


def _multi_task(pairs: SourcePairs) -> BatchTypes:
    return [(1.0, _MIXED if pairs.mono else pairs.cross_type)]


def _pair_per_row(pairs: SourcePairs) -> BatchTypes:
    mono = pairs.alpha if pairs.mono and pairs.cross else float(pairs.mono)
    return [(1.0, BatchType("rows", mono, per_row=True))]


def _language_specific(pairs: SourcePairs) -> BatchTypes:
    types = pairs.only(_MONO, "language-specific")
    if np.count_nonzero(np.diag(pairs.source.counts)) > 1:
        raise UsageError(
            f"{pairs.source.name} has several languages, which language-specific batches do not mix. Name a language "
            "in `languages`, or set the source's `strategy` to monolingual."
        )
    return types


@dataclass(frozen=True)
class Strategy:
    """A way to draw languages. `uses_alpha` and `one_language` state which recipe fields it depends on."""

    batch_types: Callable[[SourcePairs], BatchTypes]
    uses_alpha: bool = False
    one_language: bool = False


#: Every strategy by its name in recipes.
STRATEGIES: dict[str, Strategy] = {
    "monolingual": Strategy(lambda pairs: pairs.only(_MONO, "monolingual")),
    "cross-lingual": Strategy(lambda pairs: pairs.only(pairs.cross_type, "cross-lingual")),
    "hybrid": Strategy(_hybrid, uses_alpha=True),
    "mixed": Strategy(lambda pairs: pairs.only(_MIXED, "mixed")),
    "pair-per-row": Strategy(_pair_per_row, uses_alpha=True),
    "language-specific": Strategy(_language_specific, one_language=True),
    "multi-task": Strategy(_multi_task),
}


def _check_name(name: str) -> str:
    if name not in STRATEGIES:
        *names, last = (f"'{entry}'" for entry in STRATEGIES)
        expected = f"{', '.join(names)} or {last}"
        raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})
    return name


#: A field of a recipe that names a strategy.
StrategyName = Annotated[str, AfterValidator(_check_name)]


@dataclass(frozen=True)
class BatchMix:
    """A strategy applied to a source: types of batch with their probabilities."""

    types: tuple[tuple[float, BatchType], ...]

    @classmethod
    def from_strategy(cls, strategy: str, alpha: float, pairs: Pairs, source: ParallelText) -> BatchMix:
        """Apply a strategy to a source; raises `UsageError` if the source lacks the language pairs.

        Under the hybrid strategy, a source without pairs of a type has batches of the other type only.
        For example, ``BatchMix.from_strategy("hybrid", 0.3, "mixed", source)`` has 30 % monolingual batches.
        """
        types = STRATEGIES[strategy].batch_types(SourcePairs(source, alpha, pairs))
        return cls(tuple((share, batch_type) for share, batch_type in types if share > 0))

    def __str__(self) -> str:
        """The text that plans are fingerprinted with; it must not change, or no stopped run could resume."""
        types = (
            f"({share!r}, Kind(name={name!r}, mono={mono!r}, per_row={per_row!r}))"
            for share, (name, mono, per_row) in self.types
        )
        return f"Mixture(kinds=({', '.join(types)}{',' if len(self.types) == 1 else ''}))"


@dataclass(frozen=True, eq=False)
class WeightedSource:
    """A source with its mix of batches, and the weight with which the sources of a `phase` are drawn."""

    source: ParallelText
    weight: float
    mix: BatchMix
    language_weights: Weights = "uniform"
    phase: Phase = "main"

    @cached_property
    def distinct(self) -> DistinctItems:
        """The items that a batch can have together."""
        return DistinctItems(self.source)

    def room(self, batch_type: BatchType, rows: int) -> int:
        """Return the number of rows that a batch of a type can have, at most `rows`."""
        if batch_type.per_row:
            return min(rows, len(self.distinct.of_rows(batch_type.mono, rows)))
        return min(rows, int(self._counts(batch_type, rows).max(initial=0)))

    def check(self, batch_type: BatchType, rows: int) -> None:
        """Raise `DataError` if a batch of a type cannot have as many rows."""
        room = self.room(batch_type, rows)
        if room == rows:
            return
        of_type = np.eye(len(self.source.languages), dtype=np.bool_) == (batch_type.mono == 1.0)
        largest = int(self.source.counts[of_type].max(initial=0))
        shortage = f"has {room} different items for a {batch_type.name} batch, fewer than {rows}"
        reason = "Items with the same text are not in the same batch"
        if not batch_type.per_row and largest < rows:
            shortage = f"has no language pair with {rows} items for a {batch_type.name} batch"
            reason = f"The largest has {largest}"
        smaller = f"Lower `batch_size` to {room}, add" if room > 1 else "Add"
        raise DataError(f"{self.source.name} {shortage}. {reason}. {smaller} data or set another `strategy`.")

    def filling(self, rows: int) -> WeightedSource:
        """Return the source without the types of batch that cannot have as many rows, unless no type can."""
        types = [(share, batch_type) for share, batch_type in self.mix.types if self.room(batch_type, rows) == rows]
        if len(types) in (0, len(self.mix.types)):
            return self
        total = sum(share for share, _ in types)
        return replace(self, mix=BatchMix(tuple((share / total, batch_type) for share, batch_type in types)))

    def types_missing_in(self, other: WeightedSource) -> list[BatchType]:
        """Return the types of batch that are missing in another source."""
        types = {batch_type for _, batch_type in other.mix.types}
        return [batch_type for _, batch_type in self.mix.types if batch_type not in types]

    def _counts(self, batch_type: BatchType, rows: int) -> NDArray[np.int64]:
        """Return the number of items of each language pair for a batch that draws a single pair."""
        return self.distinct.counts(rows, mono=bool(batch_type.mono))

    def language_shares(self, batch_type: BatchType, batch_size: int) -> NDArray[np.float64]:
        """Return the probability of each language pair in a batch, shape (languages, languages).

        A pair is drawn only if it has an item, and `batch_size` items without a clash if a whole batch has the same
        pair. All pairs weigh the same, or by their number of items, or by the product of the weights set for their two
        languages. Raises `DataError` if no pair has enough items.
        """
        counts = self.source.counts
        drawn = counts > 0 if batch_type.per_row else self._counts(batch_type, batch_size) >= batch_size
        weights = np.where(drawn, self._pair_weights(), 0.0)
        diagonal = np.diag(np.diag(weights))
        shares = np.zeros(counts.shape)
        for share, pairs in ((batch_type.mono, diagonal), (1 - batch_type.mono, weights - diagonal)):
            if share > 0:
                if not pairs.any():
                    raise DataError(
                        f"{self.source.name} has no language pair with {batch_size} items for a {batch_type.name} "
                        "batch. Lower `batch_size` or add data."
                    )
                shares += share * pairs / pairs.sum()
        return shares

    def _pair_weights(self) -> NDArray[np.float64]:
        if isinstance(self.language_weights, str):
            counts = self.source.counts.astype(np.float64)
            return counts if self.language_weights == "size" else np.ones_like(counts)
        language = np.array([self.language_weights.get(code, 1.0) for code in self.source.languages])
        weights = np.outer(language, language)
        np.fill_diagonal(weights, language)
        return weights

    def unused_pairs(self, batch_size: int) -> list[tuple[str, int]]:
        """Return the language pairs with too few items for a batch, each with the number that a batch can have."""
        codes = self.source.languages
        return [
            (f"{codes[query]}-{codes[passage]}", int(counts[query, passage]))
            for _, batch_type in self.mix.types
            if not batch_type.per_row
            for counts in [self._counts(batch_type, batch_size)]
            for query, passage in np.argwhere((self.source.counts > 0) & (counts < batch_size))
            if (query == passage) == (batch_type.mono == 1.0)
        ]
