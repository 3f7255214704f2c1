"""Rough estimates of the time that the jobs of a study take."""

from __future__ import annotations

import math

from hbt_bench.identity.task_name import TaskName
from hbt_bench.tasks.registry import Selection
from hbt_bench.tasks.sources import MtebSource
from hbt_bench.training.recipe import Recipe

# Rates that were measured on a processor core, or calculated for a GPU.
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
    """Return the time of a training, on a core for static: and tiny: inits, on an A100 for others."""
    kind, _, size = recipe.init.partition(":")
    pairs = recipe.steps * recipe.batch_size
    start = _START_SECONDS + _SOURCE_SECONDS * sum(spec.kind != "cldr-facts" for spec in recipe.data)
    if kind == "static":
        return start + pairs * _PAIR_SECONDS * math.sqrt(recipe.vocabulary * int(size) / _PAIR_WEIGHTS)
    if kind == "tiny":
        return start + pairs * 3 * _tiny_seconds(size)  # a backward pass costs twice a forward pass
    return start + pairs / _GPU_PAIRS


def evaluation_seconds(init: str, texts: int | None) -> float | None:
    """Return the time of an evaluation with a number of texts, None if it is unknown."""
    kind, _, size = init.partition(":")
    if texts is None:
        return None
    if kind == "static":
        return _EVALUATION_SECONDS + texts * _TEXT_SECONDS
    if kind == "tiny":
        return _EVALUATION_SECONDS + texts * _tiny_seconds(size)
    return 10.0 + texts / _GPU_TEXTS


def text_count(selection: Selection, name: str) -> int | None:
    """Return the number of queries and documents, by the task's definition or MTEB's statistics; None if unknown.

    `name` is the task's name in the study.
    """
    spec = selection.spec
    if spec is None or spec.expect is None:
        from hbt_bench.mteb import metadata  # late: it imports MTEB

        stock = spec.source.task if spec and isinstance(spec.source, MtebSource) else selection.stock
        return metadata.text_count(stock) if stock else None
    asked = searched = set(spec.select(None))
    if (task := TaskName.parse(name)).queries is not None:
        asked, searched = set(task.queries), set(task.documents or ())
    queries = sum(count for code, count in spec.expect.queries.items() if code in asked)
    return queries + sum(count for code, count in spec.expect.documents.items() if code in searched)


def _tiny_seconds(size: str) -> float:
    """Return the seconds of a forward pass over two texts.

    A layer has 12 d^2 weights, with 2 operations per weight and token.
    """
    layers, width = (int(number) for number in size.split("x"))
    return 2 * 2 * 12 * layers * width**2 * _TOKENS / _CORE_OPERATIONS
