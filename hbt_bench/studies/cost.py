"""Estimate the time of a job, from rates measured on a processor core or calculated for a GPU. Estimates are rough."""

from __future__ import annotations

import math

from hbt_bench.tasks.registry import Selection
from hbt_bench.training.recipe import Recipe

#: Seconds per training pair of a static:64 init with 4,000 subwords on a core, and its weights. The time grows with
#: the square root of the weights.
_PAIR_SECONDS, _PAIR_WEIGHTS = 1.3e-4, 4000 * 64
#: Seconds per text to encode and rank it with a static init, and seconds to start an evaluation.
_TEXT_SECONDS, _EVALUATION_SECONDS = 3e-4, 0.3
#: Seconds to start a training, and for each source of text to read it, compare it with the guarded collections and
#: learn its subwords.
_START_SECONDS, _SOURCE_SECONDS = 1.0, 1.0
#: Floating-point operations per second of a core in the matrix products of a small transformer.
_CORE_OPERATIONS = 2e10
#: Training pairs per second, and encoded texts per second, of a base-sized transformer on an A100 in bf16: 6 operations
#: per weight and token for training, 2 for encoding, 86 million weights without the embeddings, 2 x 128 tokens, 40 % of
#: 312 TFLOPS.
_GPU_PAIRS, _GPU_TEXTS = 900.0, 5000.0
#: Tokens of an average text.
_TOKENS = 60


def training_seconds(recipe: Recipe) -> float:
    """Return the estimated seconds of a training, on a core for static: and tiny: inits, on an A100 for others."""
    pairs = recipe.steps * recipe.batch_size
    text_sources = sum(spec.kind != "cldr-facts" for spec in recipe.data)
    start = _START_SECONDS + _SOURCE_SECONDS * text_sources
    kind, _, size = recipe.init.partition(":")
    if kind == "static":
        return start + pairs * _PAIR_SECONDS * math.sqrt(recipe.vocabulary * int(size) / _PAIR_WEIGHTS)
    if kind == "tiny":
        return start + pairs * 3 * _tiny_seconds(size)  # a backward pass costs twice a forward pass
    return start + pairs / _GPU_PAIRS


def evaluation_seconds(recipe: Recipe, selection: Selection) -> float | None:
    """Return the estimated seconds of an evaluation, None if the definition of the task has no counts of texts."""
    if selection.spec is None or selection.spec.expect is None:
        return None
    spec, expect = selection.spec, selection.spec.expect
    codes = set(spec.select(None))
    texts = sum(count for code, count in (*expect.queries.items(), *expect.documents.items()) if code in codes)
    kind, _, size = recipe.init.partition(":")
    if kind == "static":
        return _EVALUATION_SECONDS + texts * _TEXT_SECONDS
    if kind == "tiny":
        return _EVALUATION_SECONDS + texts * _tiny_seconds(size)
    return 10.0 + texts / _GPU_TEXTS


def _tiny_seconds(size: str) -> float:
    """Return the seconds of a forward pass over two texts.

    A layer has 12 d^2 weights, with 2 operations per weight and token.
    """
    layers, width = (int(number) for number in size.split("x"))
    return 2 * 2 * 12 * layers * width**2 * _TOKENS / _CORE_OPERATIONS
