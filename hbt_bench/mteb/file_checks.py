"""Checks of a model's files before it is loaded, so that a broken copy is named as such."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from hbt_bench.errors import ModelError
from hbt_bench.identity.model_files import model_files, read_json

#: The first bytes of the file that git writes in the place of a large file.
_POINTER = b"version https://git-lfs.github.com/spec/"
#: Files that may be empty.
_MAY_BE_EMPTY = frozenset({"merges.txt", "__init__.py"})


def check_files(folder: Path) -> None:
    """Check the files of the model in a folder, for example ``check_files(Path("ckpt"))``.

    Raises `ModelError` if a file is empty, missing or a pointer of git-lfs, or if the model is an adapter and the
    package for adapters is not installed.
    """
    for path in model_files(folder):
        _check_file(path)
        if path.name.endswith(".index.json"):
            _check_shards(path)
    if (folder / "adapter_config.json").is_file():
        _check_adapter(folder)


def _check_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(len(_POINTER))
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    if not start and path.name not in _MAY_BE_EMPTY:
        raise ModelError(f"{path} is empty. Copy or download the model again.")
    if start == _POINTER:
        raise ModelError(f"{path} is a pointer of git-lfs, not the file. Run git lfs pull in the model's folder.")


def _check_shards(index: Path) -> None:
    names = sorted({str(name) for name in read_json(index)["weight_map"].values()})
    if missing := [name for name in names if not (index.parent / name).is_file()]:
        raise ModelError(
            f"{index.parent} lacks {len(missing)} of the {len(names)} files with its weights, such as {missing[0]}. "
            "Copy or download the model again."
        )


def _check_adapter(folder: Path) -> None:
    if importlib.util.find_spec("peft") is None:
        raise ModelError(f"{folder} is an adapter, which needs the package peft: pip install peft")
    base = (read_json(folder / "adapter_config.json") or {}).get("base_model_name_or_path")
    if isinstance(base, str) and Path(base).is_dir() and Path(base).resolve() != folder.resolve():
        check_files(Path(base))
