"""The strategies: which languages the rows of a batch may have, and with what probability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import DataError, UsageError
from hbt_bench.training.parallel import ParallelText

Strategy = Literal["monolingual", "cross-lingual", "hybrid", "mixed", "pair-per-row", "language-specific", "multi-task"]
Weights = Literal["uniform", "size"] | Mapping[str, float]
Phase = Literal["main", "instruction"]


class BatchType(NamedTuple):
    """How one batch draws its language pairs (query language, passage language).

    `mono` is the share of pairs of one language. With `per_row` every row draws a pair, else the batch draws one.
    """

    name: str
    mono: float
    per_row: bool


@dataclass(frozen=True)
class BatchMix:
    """A strategy for one source: kinds of batch with their probabilities."""

    kinds: tuple[tuple[float, BatchType], ...]

    @classmethod
    def of(cls, strategy: Strategy, alpha: float, pairs: Literal["mixed", "one"], source: ParallelText) -> BatchMix:
        """The kinds of batch that a strategy means for a source.

        A source without pairs of two languages (or without those of one) has the kinds that it can have under the
        hybrid strategy; under a strategy that asks for the others alone it raises `UsageError`.
        """
        mono, cross = BatchType("mono", 1.0, per_row=False), BatchType("cross", 0.0, per_row=pairs == "mixed")
        mixed = BatchType("mixed", 1.0, per_row=True)
        same = bool(np.trace(source.counts))
        different = bool(source.counts.sum() > np.trace(source.counts))
        if strategy == "hybrid":
            kinds = [(alpha, mono)] * same + [(1 - alpha, cross)] * different
            total = sum(share for share, _ in kinds)
            kinds = [(share / total if total else 1.0, kind) for share, kind in kinds]
        elif strategy == "multi-task":
            kinds = [(1.0, mixed if same else cross)]
        elif strategy == "pair-per-row":
            kinds = [(1.0, BatchType("rows", alpha if same and different else float(same), per_row=True))]
        else:
            kind = {"cross-lingual": cross, "mixed": mixed}.get(strategy, mono)
            if not (same if kind.mono else different):
                lacks = "pairs of one language" if kind.mono else "pairs of two languages"
                raise UsageError(
                    f"{source.name} has no {lacks} for {strategy} batches: leave it out, or give it a strategy of its "
                    "own in the recipe"
                )
            if strategy == "language-specific" and np.count_nonzero(np.diag(source.counts)) > 1:
                raise UsageError(
                    f"{source.name} has several languages, and language-specific batches have one: name it in "
                    "`languages`, or give the source the strategy monolingual"
                )
            kinds = [(1.0, kind)]
        return cls(tuple((share, kind) for share, kind in kinds if share > 0))


@dataclass(frozen=True, eq=False)
class WeightedSource:
    """A source, the weight with which it is picked, and its mixture; `phase` tells the instruction stage apart."""

    source: ParallelText
    weight: float
    mixture: BatchMix
    language_weights: Weights = "uniform"
    phase: Phase = "main"

    def pair_shares(self, kind: BatchType, batch_size: int) -> NDArray[np.float64]:
        """The probability of each language pair in a batch of `kind`, shape (languages, languages).

        A pair needs an item, and `batch_size` of them where a whole batch is of one pair. Weights: every pair alike,
        by its number of items, or the product of the weights given for its two languages.
        """
        counts = self.source.counts
        usable = counts >= (1 if kind.per_row else batch_size)
        if self.language_weights == "size":
            weights = counts.astype(np.float64)
        elif self.language_weights == "uniform":
            weights = np.ones(counts.shape)
        else:
            assert not isinstance(self.language_weights, str)
            each = np.array([self.language_weights.get(code, 1.0) for code in self.source.languages])
            weights = np.outer(each, each)
            np.fill_diagonal(weights, each)
        weights = np.where(usable, weights, 0.0)
        diagonal = np.diag(np.diag(weights))
        parts = ((kind.mono, diagonal), (1 - kind.mono, weights - diagonal))
        shares = np.zeros(counts.shape)
        for share, part in parts:
            if share > 0:
                if not part.any():
                    raise DataError(
                        f"{self.source.name} has no language pair with {batch_size} items for a {kind.name} batch: "
                        "lower the batch size or add data"
                    )
                shares += share * part / part.sum()
        return shares

    def left_out(self, batch_size: int) -> list[tuple[str, int]]:
        """The language pairs that have items, but too few for a batch, with their number."""
        found = []
        for _, kind in self.mixture.kinds:
            if not kind.per_row:
                counts, codes = self.source.counts, self.source.languages
                for query, passage in np.argwhere((counts > 0) & (counts < batch_size)):
                    if (query == passage) == (kind.mono == 1.0):
                        found.append((f"{codes[query]}-{codes[passage]}", int(counts[query, passage])))
        return found
