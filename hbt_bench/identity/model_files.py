"""The files of a model in a folder: those that transformers and sentence-transformers read.

They are a list of names, so that logs, scores, notes and checkpoints in the same folder are not part of the model:

1. ``modules.json`` and the settings of the whole model.
2. In each folder that ``modules.json`` names: settings, tokenizer, weights, and the modules of a router.
3. Code that a setting names, and the files that this code or a setting names.

Of several formats of weights, the one that is loaded counts: safetensors before PyTorch's.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from pathlib import Path, PurePath
from typing import Any

from hbt_bench.errors import ModelError

_SETTINGS = re.compile(
    r"config(\.[\d.]+)?\.json|(sentence_[\w-]+|adapter|audio_tokenizer|cnn|data|generation|hf_quant|lstm"
    r"|phrasetokenizer|preprocessor|processor|quantization|quantize|router|tokenizer|video_preprocessor"
    r"|whitespacetokenizer|wordembedding)_config\.json"
)  # no library reads data_config.json, but the revisions of published results count it
_TOKENIZER = re.compile(
    r"tokenizer(\.[\d.]+)?\.json|(special_tokens_map|added_tokens|normalizer|unigram|tekken|byte_maps|emoji|word_shape"
    r"|word_pronunciation|idf)\.json|([\w-]+_)?vocab([_-]\w+)?\.(json|txt)|(merges|dict)\.txt|bpe\.codes"
    r"|(tokenizer|spiece|sentencepiece(\.bpe)?|spm(_char)?|bpe|tiktoken)\.model|(source|target)\.spm|\w+\.tiktoken"
    r"|prophetnet\.tokenizer|chat_template\.(jinja|json)"
)
#: Formats of weights, in the order in which the libraries look for them.
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
_ANY_WEIGHTS = re.compile(
    r"(adapter_model|pytorch_model|model)([.-][\w.-]+)?\.(safetensors|bin|index\.json|index\.[\w-]+\.json)"
)
_VARIANT = re.compile(r"(?:pytorch_)?model\.(?:safetensors\.index\.|bin\.index\.)?([\w-]+)\.(?:safetensors|bin|json)")
_TEMPLATES = "additional_chat_templates"
#: The first bytes of the file that git writes in the place of a large file.
_POINTER = b"version https://git-lfs.github.com/spec/"
_WHOLE_MODEL = ("modules.json", "config_sentence_transformers.json", "config.json", "artifact.metadata")
#: Start of the classes of modules whose files are known. Others are code, and have all files in their folder.
KNOWN_MODULES = "sentence_transformers."
#: ``from .layers import Attention``
_RELATIVE_IMPORT = re.compile(r"^\s*(?:from|import)\s+\.(\w[\w.]*)?(?:\s+import\s+([\w, ]+))?", re.MULTILINE)
#: ``modeling.Encoder``. Code of another repository, ``org/name--modeling.Encoder``, is not in the folder.
_CLASS = re.compile(r"(\w[\w.]*)\.\w+")
_QUOTED = re.compile(r"[\"']([^\"'\n/]+\.\w+)[\"']")


def model_files(folder: Path) -> list[Path]:
    """Return the files of the model in a folder, sorted.

    For example, a folder with ``config.json``, ``model.safetensors`` and ``eval_results.json`` has the first two.
    Raises `ModelError` if ``modules.json``, a setting or an index of weights is damaged.
    """
    return sorted(_Model(folder).files, key=attrgetter("parts"))  # Windows compares paths without their case


def model_modules(folder: Path) -> list[tuple[Path, str]]:
    """Return the folder and the class of each module of the model in a folder, with the modules of a router.

    A model of transformers has a single module. Raises `ModelError` if ``modules.json`` is damaged.
    """
    return _Model(folder).modules


def may_have_code(folder: Path) -> bool:
    """Return whether the model in a folder needs code of its own, or adapts a model that may need it.

    Raises `ModelError` if ``modules.json`` is damaged.
    """
    modules = model_modules(folder)
    folders = {folder, *(module for module, _ in modules)}
    if any((module / "adapter_config.json").is_file() for module in folders):
        return True
    settings = [read_json(path) for module in folders for path in module.glob("*config.json")]
    return any(not kind.startswith(KNOWN_MODULES) for _, kind in modules) or any(
        isinstance(content, dict) and content.get("auto_map") for content in settings
    )


def replaceable_files(folder: Path) -> list[Path]:
    """Return the files that a new model in this folder replaces: the old model's files, and weights of any format.

    Code is left out, because it may be the user's own.
    """
    try:
        folders = {module for module, _ in _Model(folder).modules}
    except ModelError:  # damaged, so that the files of its modules are unknown
        folders = set()
    paths = {folder / name for name in _WHOLE_MODEL}
    for module in folders | {folder}:
        paths |= {path for path in _visible(module) if _is_model_name(path.name)}
        paths |= set((module / _TEMPLATES).glob("*.jinja"))
    return sorted(path for path in paths if path.is_file() or path.is_symlink())


def _is_model_name(name: str) -> bool:
    return any(names.fullmatch(name) for names in (_SETTINGS, _TOKENIZER, _ANY_WEIGHTS))


def has_tokenizer(folder: Path) -> bool:
    """Return whether a folder has a file of a tokenizer, or settings from which transformers builds a tokenizer."""
    return any(_TOKENIZER.fullmatch(path.name) or path.name == "tokenizer_config.json" for path in _visible(folder))


def check_content(path: Path) -> None:
    """Raise `ModelError` if a model's file cannot be read, is empty, or is a pointer that git-lfs left in its place."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_POINTER))
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    if not start:
        raise ModelError(f"{path} is empty. Copy or download the model again.")
    if start == _POINTER:
        raise ModelError(f"{path} is a pointer of git-lfs, not the file. Run git lfs pull in the model's folder.")


def read_json(path: Path) -> Any:
    """Return the JSON in a model's file, None if there is no file; raises `ModelError` if it is damaged."""
    if not path.is_file():
        return None
    check_content(path)
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged ({error}): save the model again") from error


@dataclass
class _Model:
    """The model in a folder, as its files name each other."""

    root: Path
    #: Names of modules and classes of code, and the folder that names them.
    classes: list[tuple[Path, str]] = field(default_factory=list)

    @cached_property
    def modules(self) -> list[tuple[Path, str]]:
        """The folder and class of each module; those of a router are modules, too."""
        path = self.root / "modules.json"
        if not path.is_file():
            return [(self.root, KNOWN_MODULES)]  # a model of transformers has a single module
        entries = read_json(path)
        try:
            modules = [(_inside(path, entry["path"]), str(entry["type"])) for entry in entries]
        except (TypeError, KeyError) as error:
            raise ModelError(f"{path} is damaged (not a list of modules): save the model again") from error
        for module, _ in modules:  # grows while it is read
            for name in ("router_config.json", "config.json"):
                content = read_json(module / name)
                types = content.get("types") if isinstance(content, dict) else None
                routed = types.items() if isinstance(types, dict) else ()
                parts = [(_inside(module / name, folder), str(kind)) for folder, kind in routed]
                modules += [part for part in parts if part not in modules]
        return modules

    @property
    def files(self) -> set[Path]:
        """All files of the model."""
        files = {self.root / name for name in _WHOLE_MODEL}
        self.classes = [(self.root, kind) for _, kind in self.modules if not kind.startswith(KNOWN_MODULES)]
        for module, kind in self.modules:
            if module != self.root and not kind.startswith(KNOWN_MODULES):
                files |= set(_everything(module))
            else:
                files |= self._module_files(module)
        files = {path for path in files if path.is_file()}
        return files | self._code()

    def _module_files(self, module: Path) -> set[Path]:
        names = {path.name for path in _visible(module)}
        chosen = {name for name in names if _SETTINGS.fullmatch(name) or _TOKENIZER.fullmatch(name)}
        values = {value for name in chosen if _SETTINGS.fullmatch(name) for value in self._values(module / name)}
        chosen |= values & names
        chosen |= {name for name in names if (match := _VARIANT.fullmatch(name)) and match[1] in values}
        for formats in (_WEIGHTS, _ADAPTERS):
            chosen |= set([name for name in formats if name in names][:1])
        for index in [name for name in chosen if ".index." in name]:
            content = read_json(module / index)
            shards = content.get("weight_map") if isinstance(content, dict) else None
            if not isinstance(shards, dict):
                raise ModelError(f"{module / index} is damaged (no weight_map): save the model again")
            chosen |= {str(name) for name in shards.values()}
        templates = {path for path in _visible(module / _TEMPLATES) if path.suffix == ".jinja"}
        return {module / name for name in chosen} | templates

    def _values(self, path: Path) -> Iterator[str]:
        """Yield the texts in a setting, and note the classes of code that it names."""
        content = read_json(path)
        classes = content.get("auto_map") if isinstance(content, dict) else None
        self.classes += [(path.parent, name) for name in _texts(classes)]
        yield from _texts(content)

    def _code(self) -> set[Path]:
        """Return the code of the named classes, the code that it imports, and files whose names it quotes."""
        waiting = [
            folder / f"{match[1].replace('.', '/')}.py"
            for named_in, name in self.classes
            for folder in {named_in, self.root}
            if (match := _CLASS.fullmatch(name))
        ]
        code: set[Path] = set()
        quoted: set[Path] = set()
        while waiting:
            path = waiting.pop()
            if path in code or not path.is_file():
                continue
            code.add(path)
            text = path.read_text(encoding="utf-8", errors="replace")
            for module, names in _RELATIVE_IMPORT.findall(text):
                stems = [module] if module else re.split(r"[, ]+", names)
                waiting += [path.parent / f"{stem.replace('.', '/')}.py" for stem in stems]
            quoted |= {path.parent / name for name in _QUOTED.findall(text)}
        return code | {path for path in quoted if path.is_file()}


def _inside(source: Path, name: object) -> Path:
    """Return the path of a folder that a file names; raises `ModelError` if it is outside of the file's folder."""
    relative = PurePath(str(name))
    if not isinstance(name, str) or relative.is_absolute() or ".." in relative.parts:
        raise ModelError(
            f"{source} names the folder '{name}', which is not in the model's folder: save the model again"
        )
    return source.parent / relative


def _visible(folder: Path) -> list[Path]:
    """Return the entries of a folder that are not hidden, none if there is no folder."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []


def _everything(folder: Path) -> Iterator[Path]:
    """Yield all visible files below a folder. Linked folders are followed, each real folder once."""
    seen = set()
    for path, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(path)
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith((".", "__pycache__"))]
        if real not in seen:
            yield from (Path(path, name) for name in names if not name.startswith("."))
        seen.add(real)


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts in a JSON value but its keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
