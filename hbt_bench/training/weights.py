"""Which weights of a model are trained: all of them, those of low-rank adapters, or all but frozen modules."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hbt_bench.errors import ModelError, UsageError, did_you_mean

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

    from hbt_bench.training.recipe import Lora, Recipe

log = logging.getLogger(__name__)

#: The entry of `freeze` for the tables of tokens, in any architecture.
_EMBEDDINGS = "embeddings"
#: A head that transformers may add to an encoder, and whose output is not used.
_UNUSED = "pooler.dense"


def require_lora(recipe: Recipe) -> None:
    """Raise `ModelError` if a recipe has adapters, and the package for adapters is not installed."""
    if recipe.lora and importlib.util.find_spec("peft") is None:
        raise ModelError("`lora` needs the package peft. Run pip install 'hbt-bench[lora]'.")


def restrict(recipe: Recipe, model: SentenceTransformer) -> None:
    """Add the adapters of a recipe to a model, or freeze its modules, and log the number of trained weights.

    Raises `UsageError` for names that the model does not have.
    """
    if recipe.lora:
        _add_adapters(recipe.init, recipe.lora, model)
    for name in recipe.freeze:
        _freeze(recipe.init, name, model)
    if numbers := trained_parameters(model):
        log.info(f"training {numbers['trained_parameters']:,} of {numbers['parameters']:,} weights")


def trained_parameters(model: torch.nn.Module) -> dict[str, int]:
    """Return the number of trained weights and of all weights by name, empty if all are trained."""
    sizes = [(weights.numel(), weights.requires_grad) for weights in model.parameters()]
    trained = sum(size for size, is_trained in sizes if is_trained)
    total = sum(size for size, _ in sizes)
    return {"trained_parameters": trained, "parameters": total} if trained < total else {}


def merge(model: SentenceTransformer) -> None:
    """Add the adapters of `restrict` to the weights of the layers that they adapt, so that a plain model is left."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, BaseTunerLayer):
                layer.merge()
                setattr(parent, name, layer.get_base_layer())
    for module in adapted(model):
        del module.peft_config
        module._hf_peft_config_loaded = False


def _add_adapters(init: str, lora: Lora, model: SentenceTransformer) -> None:
    from peft import LoraConfig
    from sentence_transformers.sentence_transformer.modules import Transformer

    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    scale: dict[str, Any] = {"lora_alpha": lora.alpha or 2 * lora.r, "lora_dropout": lora.dropout}
    for module in [module for module in model.modules() if isinstance(module, Transformer)]:
        unused = [_UNUSED] if any(name.endswith(_UNUSED) for name, _ in module.named_modules()) else None
        settings = LoraConfig(r=lora.r, target_modules=targets, exclude_modules=unused, **scale)
        try:
            module.model.add_adapter(settings)
        except ValueError as error:  # no layer has such a name
            names, layers = ", ".join(targets), ", ".join(sorted(_layers(module)))
            raise UsageError(f"`targets: {names}` are not layers of the init {init}: choose among {layers}") from error


def _layers(module: torch.nn.Module) -> set[str]:
    """Return the last parts of the names of linear layers."""
    import torch

    return {name.rpartition(".")[2] for name, layer in module.named_modules() if isinstance(layer, torch.nn.Linear)}


def adapted(model: torch.nn.Module) -> list[Any]:
    """Return the transformers of a model that have adapters."""
    return [module for module in model.modules() if getattr(module, "peft_config", None)]


def _freeze(init: str, name: str, model: SentenceTransformer) -> None:
    """Freeze the modules of a name, which is a part of the path to them: ``layer.0`` is not in ``layer.01``."""
    frozen = [weights for path, weights in model.named_parameters() if f".{name}." in f".{path}."]
    if name == _EMBEDDINGS:
        frozen += _tables(model)
    if not frozen:
        modules = sorted({end for path, _ in model.named_modules() for end in _ends(path.split("."))})
        raise UsageError(f"`freeze: {name}` is not a module of the init {init}{did_you_mean(name, modules)}")
    for weights in frozen:
        weights.requires_grad_(False)


def _ends(parts: Sequence[str]) -> list[str]:
    return [".".join(parts[start:]) for start in range(len(parts))]


def _tables(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Return the weights of the tables of tokens, which have other names in some architectures, such as T5's."""
    from transformers import PreTrainedModel

    modules = [module for module in model.modules() if isinstance(module, PreTrainedModel)]
    return [weights for module in modules for weights in module.get_input_embeddings().parameters()]
