"""Encode texts in batches with a number of tokens, sorted by tokens.

sentence-transformers sorts the texts of a call by characters and cuts batches of N texts. Texts with equal numbers of
characters differ in tokens: with batches of 32, a quarter of the tokens that it computes for XQuAD-R are padding. Here
a batch has texts with similar numbers of tokens: few long texts, or many short texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hbt_bench.errors import UsageError


def cut(lengths: Sequence[int], budget: int) -> list[NDArray[np.intp]]:
    """Return the rows of each batch, longest texts first: at most `budget` tokens with padding, or a single text.

    >>> [rows.tolist() for rows in cut([3, 9, 4, 4], budget=12)]
    [[1], [2, 3, 0]]
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        batches.append(order[start : start + size])
        start += size
    return batches


@dataclass(frozen=True, eq=False)
class TokenBatches:
    """`SentenceTransformer.encode` with batches of tokens; it takes the place of `encode` in a model.

    Attributes:
        model: The model.
        encode: The model's own `encode`.
        budget: The most tokens of a batch, padding included.
    """

    model: Any
    encode: Callable[..., Any]
    budget: int

    def __call__(self, inputs: Any, *positional: Any, **options: Any) -> Any:
        """Return the vectors of texts as the model's own `encode` does.

        Calls for anything but vectors of float32 of a list of texts go to the model's own `encode`.
        """
        several = not isinstance(inputs, str) and len(inputs) and all(isinstance(text, str) for text in inputs)
        if not several or positional or not _returns_rows(options):
            return self.encode(inputs, *positional, **options)
        texts = list(inputs)
        batches = cut(self._lengths(texts, options), self.budget)
        vectors = [
            self.encode([texts[row] for row in rows], **options | {"batch_size": len(rows), "show_progress_bar": False})
            for rows in batches
        ]
        back = np.argsort(np.concatenate(batches))
        if isinstance(vectors[0], torch.Tensor):
            return torch.cat(vectors)[torch.from_numpy(back).to(vectors[0].device)]
        return np.concatenate(vectors)[back]

    def _lengths(self, texts: list[str], options: dict[str, Any]) -> list[int]:
        """Return the tokens that the model reads of each text, with its prompt."""
        prompt = options.get("prompt")
        if prompt is None:
            prompt = self.model.prompts.get(options.get("prompt_name") or self.model.default_prompt_name) or ""
        tokens = self.model.tokenizer([prompt + text for text in texts], truncation=True, padding=False)["input_ids"]
        return list(map(len, tokens))


def _returns_rows(options: dict[str, Any]) -> bool:
    """Return whether `encode` returns an array or a tensor, with a row for each text, in this process."""
    usual = {"precision": "float32", "output_value": "sentence_embedding", "pool": None}
    if any(options.get(name, value) != value for name, value in usual.items()):
        return False
    rows = options.get("convert_to_numpy", True) or options.get("convert_to_tensor", False)
    return bool(rows) and not isinstance(options.get("device"), list)


def batch_by_tokens(model: Any, name: str, budget: int) -> None:
    """Let a SentenceTransformer encode in batches of `budget` tokens.

    Raises `UsageError` for another model, and for a model without a tokenizer of transformers.
    """
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedTokenizerBase

    if type(model) is not SentenceTransformer or not isinstance(model.tokenizer, PreTrainedTokenizerBase):
        raise UsageError(
            f"--batch-tokens is for transformers with one vector per text, and {name} is not. Leave it out."
        )
    model.encode = TokenBatches(model, model.encode, budget)
