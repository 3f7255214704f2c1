"""Hubness of the pool: a few documents that are in the top k of many queries, as a cause of language bias."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.ranking.ranks import Ranks

#: The share of documents that the sentence names.
_SHARE = 0.01


@dataclass(frozen=True)
class Hubness:
    """The k-occurrence of documents: the number of queries with the document in their top k.

    Attributes:
        skewness: The skewness over all documents (Radovanović et al. 2010, JMLR 11). A pool without hubs has `chance`.
        chance: The skewness in random rankings, that of a binomial distribution.
        languages: The skewness over the documents of each language. It is missing if all have the same k-occurrence.
        hubs: The share of all top k that the 1 % of the documents with the highest k-occurrence fill.
        never: The share of documents that are in no top k.
    """

    skewness: float
    chance: float
    languages: dict[str, float]
    hubs: float
    never: float

    @property
    def sentence(self) -> str:
        """The hubs in words."""
        return (
            f"Hubs: the number of top 10s that a document is in has the skewness {self.skewness:.2f} "
            f"({self.chance:.2f} by chance); 1 % of the documents fill {self.hubs:.0%} of the top 10s, and "
            f"{self.never:.0%} are in none."
        )


def hubness(judgements: TextlessCollection, ranks: Ranks, depth: int) -> Hubness:
    """Count the top `depth` of all queries that each document is in.

    For example, ``hubness(collection, ranks, 10).skewness`` is 0 if every document is in as many top 10 as any other.
    """
    top = ranks.top[:, :depth]
    documents = len(judgements.document_languages)
    occurrence = np.bincount(top.ravel(), minlength=documents)
    share = top.shape[1] / documents
    chance = (1 - 2 * share) / np.sqrt(len(top) * share * (1 - share)) if share < 1 else 0.0
    by_language = {code: _skewness(occurrence[block]) for code, block in judgements.document_blocks.items()}
    largest = np.sort(occurrence)[-max(1, round(_SHARE * documents)) :]
    return Hubness(
        _skewness(occurrence),
        float(chance),
        {code: value for code, value in by_language.items() if np.isfinite(value)},
        float(largest.sum() / occurrence.sum()),
        float((occurrence == 0).mean()),
    )


def _skewness(values: NDArray[np.int64]) -> float:
    from scipy.stats import skew

    if len(values) == 0:
        return float("nan")
    return float(skew(values)) if np.ptp(values) else 0.0
