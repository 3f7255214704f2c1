"""Checks of a model's files before it is loaded, so that a broken copy is named as such."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from hbt_bench.errors import ModelError
from hbt_bench.identity.model_files import check_content, has_tokenizer, model_files, model_modules, read_json

#: Files that may be empty: the merges of a tokenizer without merges, and code.
_MAY_BE_EMPTY = (".py", "merges.txt")
#: Ends of the names of modules that need a tokenizer and weights. A model of transformers is such a module.
_TOKENIZED = ("Transformer", "StaticEmbedding", "sentence_transformers.")
#: Other modules that need weights.
_WEIGHTED = ("Dense", "LayerNorm", "LSTM", "CNN", "WeightedLayerPooling", "WordEmbeddings", "SparseAutoEncoder")


def check_files(folder: Path) -> None:
    """Check the files of the model in a folder, for example ``check_files(Path("ckpt"))``.

    Raises `ModelError` if a file is empty, missing or a pointer of git-lfs, if there are no weights or no tokenizer, or
    if the model is an adapter and the package for adapters is not installed.
    """
    check_contents(folder)
    files = model_files(folder)
    for path in files:
        if path.name.endswith(".index.json"):
            _check_shards(path)
    if (folder / "adapter_config.json").is_file():
        _check_adapter(folder)
        return
    with_weights = {path.parent for path in files if path.name.endswith((".safetensors", ".bin", ".index.json"))}
    for module, kind in model_modules(folder):
        if kind.endswith(_TOKENIZED + _WEIGHTED) and module not in with_weights:
            raise ModelError(f"{module} has no weights: model.safetensors or pytorch_model.bin is missing")
        if kind.endswith(_TOKENIZED) and not has_tokenizer(module) and not _tokenizer_elsewhere(module):
            raise ModelError(f"{module} has no tokenizer. Save the tokenizer of the model in this folder.")


def check_contents(folder: Path) -> None:
    """Raise `ModelError` if a file of the model in a folder is empty or a pointer of git-lfs."""
    for path in model_files(folder):
        if not path.name.endswith(_MAY_BE_EMPTY) or path.stat().st_size:
            check_content(path)


def _tokenizer_elsewhere(module: Path) -> bool:
    settings = read_json(module / "sentence_bert_config.json")
    return isinstance(settings, dict) and bool(settings.get("tokenizer_name_or_path"))


def _check_shards(index: Path) -> None:
    names = sorted({str(name) for name in read_json(index)["weight_map"].values()})
    if missing := [name for name in names if not (index.parent / name).is_file()]:
        raise ModelError(
            f"{index.parent} lacks {len(missing)} of the {len(names)} files with its weights, such as {missing[0]}. "
            "Copy or download the model again."
        )


def require_peft(name: str) -> None:
    """Raise `ModelError` for an adapter if the package for adapters is not installed."""
    if importlib.util.find_spec("peft") is None:
        raise ModelError(f"{name} is an adapter, which needs the package peft. Run pip install peft.")


def _check_adapter(folder: Path) -> None:
    require_peft(str(folder))
    base = (read_json(folder / "adapter_config.json") or {}).get("base_model_name_or_path")
    if isinstance(base, str) and Path(base).is_dir() and Path(base).resolve() != folder.resolve():
        check_files(Path(base))
    elif isinstance(base, str) and Path(base).is_absolute():
        raise ModelError(
            f"{folder} adapts the model in {base}, which does not exist: set base_model_name_or_path in its "
            "adapter_config.json"
        )
