"""Detect collapsed vectors: a model that gives most texts of a language the same vector."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import ModelError

log = logging.getLogger(__name__)

#: Greatest share of a language's texts with the same vector, and of a sample's tokens that are unknown.
MOST = 0.5
#: Greatest relative difference between two vectors that count as the same.
SAME = 1e-5
#: Above this share of unknown tokens, a language is outside of the model's vocabulary.
_UNKNOWN = 0.25
#: Texts with which each is compared, and texts of a language below which nothing is decided.
_COMPARED, _FEWEST = 16, 10


def same_share(vectors: Sequence[NDArray[np.float32]] | NDArray[np.float32]) -> float:
    """Return the share of vectors that are the same as the most frequent vector, but for rounding.

    >>> same_share([np.array([1.0, 0.0]), np.array([1.0, 0.0]), np.array([0.0, 1.0])])
    0.6666666666666666
    """
    count = len(vectors)
    references = [vectors[row] for row in np.linspace(0, count - 1, min(count, _COMPARED)).astype(int)]
    by_shape: dict[tuple[int, ...], list[NDArray[np.float32]]] = {}
    for vector in vectors:
        by_shape.setdefault(vector.shape, []).append(vector.ravel())
    stacked = {shape: np.stack(rows) for shape, rows in by_shape.items()}
    same = (
        np.linalg.norm(stacked[first.shape] - first.ravel(), axis=1) <= SAME * np.linalg.norm(first)
        for first in references
    )
    return max((np.count_nonzero(rows) for rows in same), default=0) / max(count, 1)


def is_same(first: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Return whether two vectors, or matrices, are the same but for rounding."""
    return first.shape == other.shape and bool(np.linalg.norm(first - other) <= SAME * np.linalg.norm(first))


def check_collapse(
    role: str,
    samples: Mapping[str, tuple[Sequence[str], NDArray[np.float32]]],
    unknown_share: Callable[[Sequence[str]], float],
    prompt_fills: Callable[[str], bool] = lambda role: False,
) -> None:
    """Compare the vectors of different texts in a role, "query" or "document".

    `samples` are texts of each language with their vectors. `unknown_share` returns the share of unknown tokens in
    texts: a language outside of the model's vocabulary is reported. `prompt_fills` returns whether the prompt of a role
    leaves no room for a text, which is reported. Raises `ModelError` if most texts have the same vector in all other
    languages.
    """
    shares = {language: same_share(vectors) for language, (texts, vectors) in samples.items() if len(texts) >= _FEWEST}
    same = [language for language, share in shares.items() if share > MOST]
    unknown = [language for language in same if unknown_share(samples[language][0]) > _UNKNOWN]
    if unknown:
        log.warning(
            f"most texts in {', '.join(unknown)} have the same vector as a {role}, because the model's tokenizer does "
            "not know them: their scores mean little"
        )
    if same and prompt_fills(role):
        log.warning(
            f"the prompt of a {role} is longer than the text that the model reads, so each {role} has the same vector: "
            "shorten the prompt, because the scores mean nothing"
        )
    elif len(same) == len(shares) and len(unknown) < len(same):
        worst = max(set(same) - set(unknown), key=lambda language: (shares[language], language))
        raise ModelError(
            f"the model gives {shares[worst]:.0%} of different texts in '{worst}' the same vector as a {role}: its "
            "weights or its tokenizer are damaged, or it reads too few tokens (see its prompt and max_seq_length)"
        )
