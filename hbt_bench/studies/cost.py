"""What a job is likely to cost, for plans: rates as measured on one core, or reckoned for a GPU. Rough by nature."""

from __future__ import annotations

import math

from hbt_bench.tasks.registry import Selection
from hbt_bench.training.recipe import Recipe

#: Seconds of a pair in training a static:64 init of 4,000 subwords on one core; it grows with the root of the weights.
_PAIR, _WEIGHTS = 1.3e-4, 4000 * 64
#: Seconds of a text in evaluation with a static init and the ranks that it takes part in, and of a start.
_TEXT, _EVALUATION = 3e-4, 0.3
#: Seconds to read the data, make a tokenizer and compare texts with the guarded collections, for each source of text.
_START, _SOURCE = 1.0, 1.0
#: Operations a second of one core in matrix products, as a small transformer reaches them.
_CORE = 2e10
#: Pairs, and texts, a second of a base-sized transformer on an A100 in bf16: 6 operations a weight and token for
#: training, 2 for encoding, 86 million weights without the embeddings, 2 x 128 tokens, 40 % of 312 TFLOPS.
_GPU = (900.0, 5000.0)
#: Tokens of a text, on average.
_TOKENS = 60


def training(recipe: Recipe) -> float | None:
    """Seconds to train, on one core for an init made here and on one A100 for others."""
    pairs = recipe.steps * recipe.batch_size
    files = sum(spec.kind != "cldr-facts" for spec in recipe.data)
    seconds = _START + _SOURCE * files
    kind, _, size = recipe.init.partition(":")
    if kind == "static":
        return seconds + pairs * _PAIR * math.sqrt(recipe.vocabulary * int(size) / _WEIGHTS)
    if kind == "tiny":
        return seconds + pairs * 3 * _tiny(size)
    return seconds + pairs / _GPU[0]


def evaluation(recipe: Recipe, selection: Selection) -> float | None:
    """Seconds to evaluate; None for a task whose size its definition does not say."""
    if selection.spec is None or selection.spec.expect is None:
        return None
    spec, expect = selection.spec, selection.spec.expect
    codes = set(spec.select(None))
    texts = sum(count for code, count in (*expect.queries.items(), *expect.documents.items()) if code in codes)
    kind, _, size = recipe.init.partition(":")
    if kind == "static":
        return _EVALUATION + texts * _TEXT
    if kind == "tiny":
        return _EVALUATION + texts * _tiny(size)
    return 10.0 + texts / _GPU[1]


def _tiny(size: str) -> float:
    """Seconds for a forward pass over two texts: 12 d^2 weights a layer, 2 operations each and token."""
    layers, width = (int(number) for number in size.split("x"))
    return 2 * 2 * 12 * layers * width**2 * _TOKENS / _CORE
