"""Give a loaded model the settings of its variant: precision, backend, dimensions and tokens, and batches of tokens."""

from __future__ import annotations

import math
from typing import Any

from hbt_bench.errors import UsageError
from hbt_bench.identity.checkpoint import Checkpoint
from hbt_bench.identity.variant import Variant
from hbt_bench.settings import check_choice, check_whole

_NOT_DENSE = "{options} is for models of sentence-transformers with one vector per text, and {name} is not such a model"
#: The names of torch for precisions.
_TYPES = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}


def check_values(variant: Variant, batch_tokens: int | None) -> None:
    """Raise `UsageError` for settings with a value that no model has."""
    check_choice("backend", variant.backend or "torch", ("torch", "onnx", "openvino"))
    check_choice("dtype", variant.dtype, (None, *_TYPES))
    check_choice("precision", variant.precision, (None, "int8", "binary"))
    check_whole("truncate_dim", variant.truncate_dim, none="all dimensions")
    check_whole("max_seq_length", variant.max_seq_length, none="the model's own")
    check_whole("batch_tokens", batch_tokens, none="batches of texts")


def check(variant: Variant, device: str | None) -> None:
    """Raise `UsageError` if no model has the settings, here and on this device."""
    if variant.backend:
        from hbt_bench.mteb import backends  # late, because it imports torch

        backends.check(variant.backend, variant.dtype, device)


def check_checkpoint(variant: Variant, checkpoint: Checkpoint, name: str) -> None:
    """Raise `UsageError` if the class of a model in a folder does not have the settings."""
    if variant.backend:
        from hbt_bench.mteb import backends

        backends.check_checkpoint(variant.backend, checkpoint, name)
    if not checkpoint.dense and (options := _of_vectors(variant)):
        raise UsageError(_NOT_DENSE.format(options=options, name=name))


def check_known(variant: Variant, meta: Any, name: str) -> None:
    """Raise `UsageError` if the class of a model, which MTEB describes in `meta`, does not have the settings."""
    options = _of_vectors(variant)
    if options and not ("Sentence Transformers" in meta.framework and meta.model_type == ["dense"]):
        raise UsageError(_NOT_DENSE.format(options=options, name=name))


def _of_vectors(variant: Variant) -> str:
    """Return the options of a variant that only models with one vector per text have."""
    return " or ".join(option for option in variant.options[::2] if option != "--dtype")


def apply(model: Any, name: str, variant: Variant, batch_tokens: int | None = None) -> None:
    """Change a model in MTEB's wrapper to a variant. Its `mteb_model_meta` has the name and revision.

    Raises `UsageError` if the model does not have a setting, and `ModelError` if it cannot be exported.
    """
    import torch
    from sentence_transformers import SentenceTransformer

    inner: Any = getattr(model, "model", None)
    if not isinstance(inner, SentenceTransformer) and (options := _of_vectors(variant)):
        raise UsageError(_NOT_DENSE.format(options=options, name=name))
    if variant.max_seq_length:
        _shorten(inner, name, variant.max_seq_length)
    if variant.truncate_dim:
        _truncate(inner, name, variant.truncate_dim)
    if variant.backend:
        from hbt_bench.mteb import backends

        meta = model.mteb_model_meta
        if meta.n_parameters is None:  # an exported model has no weights that could be counted
            count = sum(parameter.numel() for parameter in inner.parameters())
            model.mteb_model_meta = meta.model_copy(update={"n_parameters": count})
        identity = f"{meta.name}@{Variant.split(meta.revision)[0]}"
        backends.export(inner, identity, name, variant.backend, variant.dtype)
    elif variant.dtype:
        if not isinstance(inner, torch.nn.Module):
            raise UsageError(f"--dtype is for torch models, and {name} is not a torch model. Leave it out.")
        inner.to(getattr(torch, _TYPES[variant.dtype]))
    if variant.precision:
        quantize(model, variant.precision)
    if batch_tokens:
        from hbt_bench.mteb.token_batches import batch_by_tokens

        batch_by_tokens(inner, name, batch_tokens)


def quantize(model: Any, precision: str) -> None:
    """Make the vectors of a model, in MTEB's protocol, have few distinct numbers.

    ``int8`` rounds a vector to 255 steps between minus and plus its greatest absolute number, and ``binary`` keeps the
    signs. So the vector of a text does not depend on other texts, as it would with a scale from a sample.
    """
    import torch
    from mteb.similarity_functions import dot_score

    encode = model.encode

    def rounded(*arguments: Any, **options: Any) -> Any:
        vectors = encode(*arguments, **options)
        values = torch.as_tensor(vectors).float()
        if precision == "binary":
            values = (values > 0).float() * 2 - 1
        else:
            step = values.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / 127
            values = (values / step).round() * step
        return values if isinstance(vectors, torch.Tensor) else values.numpy()

    model.encode = rounded
    if precision == "binary":  # whole numbers, so that equal distances are equal scores; all lengths are the same
        model.similarity = dot_score


def _truncate(model: Any, name: str, dimensions: int) -> None:
    width = model.get_embedding_dimension()
    if width is not None and dimensions > width:
        raise UsageError(f"--truncate-dim {dimensions} is more than the {width} dimensions of {name}")
    model.truncate_dim = dimensions


def _shorten(model: Any, name: str, tokens: int) -> None:
    """Set the number of tokens that a model reads. Raises `UsageError` if it has no such number, or fewer positions."""
    import torch

    if model.max_seq_length in (None, math.inf):
        raise UsageError(f"--max-seq-length is for models that have such a limit, and {name} has none. Leave it out.")
    tables = [getattr(module, "position_embeddings", None) for module in model.modules()]
    for table in tables:
        if isinstance(table, torch.nn.Embedding):
            # positions of RoBERTa and its relatives begin after the padding
            positions = table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
            if tokens > positions:
                raise UsageError(f"--max-seq-length {tokens} is more than the {positions} positions of {name}")
    model.max_seq_length = tokens
    for module in model.modules():  # the library reads these before the greatest length
        for name in ("query_length", "document_length"):
            if getattr(module, name, None) is not None:
                setattr(module, name, tokens)
