"""A model in a local folder: its kind, prompts and revision, read without loading it."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from hbt_bench.errors import ModelError
from hbt_bench.identity.model_files import model_files, read_json
from hbt_bench.identity.signature import Prompts
from hbt_bench.text import encodable

#: The class of sentence-transformers that loads a model; "transformers" and "model2vec" have no modules.json.
Kind = Literal[
    "SentenceTransformer", "SparseEncoder", "MultiVectorEncoder", "CrossEncoder", "transformers", "model2vec"
]

#: A folder with any of these files holds a model.
_MARKS = ("modules.json", "config.json", "adapter_config.json")

#: File in a checkpoint trained by ``hbt-bench train``: strategy, alpha, seed, init, name.
RECIPE_FILE = "hbt_bench_recipe.json"


@dataclass(frozen=True)
class Checkpoint:
    """A folder with a sentence-transformers or transformers model.

    >>> Checkpoint.from_folder(Path("ckpt")).revision
    '9285d5c87e2fe26e'
    """

    path: Path

    @classmethod
    def from_folder(cls, path: Path) -> Checkpoint:
        """Return the checkpoint in a folder.

        Raises `ModelError` if the folder has no model, or if the model's configuration is damaged.
        """
        if not cls.exists(path):
            raise ModelError(
                f"{path} holds no model: a sentence-transformers folder has a modules.json, a transformers folder "
                "a config.json"
            )
        checkpoint = cls(path.resolve())
        checkpoint.kind  # noqa: B018 -- a damaged configuration must raise before the weights are loaded
        return checkpoint

    @property
    def name(self) -> str:
        """The folder's name in MTEB's ``organisation/model`` form: ``local/ckpt``."""
        # not the name in the model card, which may be that of the base model
        return "local/" + (re.sub(r"[^\w.-]+", "-", self.path.name) or "model")

    @staticmethod
    def exists(path: Path) -> bool:
        """Return whether a folder holds a model, perhaps a damaged one."""
        return any((path / name).is_file() for name in _MARKS)

    @cached_property
    def kind(self) -> Kind:
        """The class that loads the model."""
        settings, config = self._json("config_sentence_transformers.json"), self._json("config.json")
        if (self.path / "modules.json").is_file():
            return self._saved_kind(settings)
        architectures = config.get("architectures")
        names = [str(name) for name in architectures] if isinstance(architectures, list) else []
        if any(name == "HF_ColBERT" or name.endswith("ForRetrieval") for name in names):
            return "MultiVectorEncoder"
        if any(name.endswith("ForSequenceClassification") for name in names):
            return "CrossEncoder"
        return "model2vec" if config.get("model_type") == "model2vec" else "transformers"

    def _saved_kind(self, settings: dict[str, Any]) -> Kind:
        """Return the class that saved a model with modules.json. PyLate has a name of its own, or none, like others."""
        modules = read_json(self.path / "modules.json")
        types = str([module.get("type") for module in modules if isinstance(module, dict)] if modules else [])
        declared = str(settings.get("model_type") or "SentenceTransformer")
        if not settings.get("model_type"):
            if "pylate." in types or str(settings.get("similarity_fn_name")).lower().endswith("maxsim"):
                return "MultiVectorEncoder"
            if ".sparse_encoder." in types:
                return "SparseEncoder"
        kinds: dict[str, Kind] = {
            "SentenceTransformer": "SentenceTransformer",
            "SparseEncoder": "SparseEncoder",
            "MultiVectorEncoder": "MultiVectorEncoder",
            "ColBERT": "MultiVectorEncoder",
            "CrossEncoder": "CrossEncoder",
        }
        if declared not in kinds:
            shown = " ".join(declared.split())[:80]
            raise ModelError(f"{self.path} is a sentence-transformers model of an unknown type, '{shown}'")
        return kinds[declared]

    @cached_property
    def prompts(self) -> Prompts:
        """The retrieval prompts of the model's configuration."""
        prompts = self._json("config_sentence_transformers.json").get("prompts")
        if not isinstance(prompts, dict | None):
            raise ModelError(f"{self.path} is damaged (its prompts are not a mapping): save the model again")
        return Prompts.from_config(prompts)

    @property
    def recipe(self) -> dict[str, str | int | float]:
        """The texts and numbers in ``hbt_bench_recipe.json``, empty for a model that was trained elsewhere.

        ``data`` lists each source of the training texts as ``NAME HASH``.
        """
        recipe = self._json(RECIPE_FILE)
        if isinstance(sources := recipe.get("data"), dict):
            recipe["data"] = ", ".join(f"{name} {digest}" for name, digest in sorted(sources.items()))
        return {key: value for key, value in recipe.items() if _storable(key) and _storable(value)}

    @property
    def dense(self) -> bool:
        """Whether the model encodes a text as a single vector."""
        return self.kind in ("SentenceTransformer", "transformers", "model2vec")

    @cached_property
    def revision(self) -> str:
        """The first 16 hexadecimal digits of a SHA-256 over the names and contents of the model's files.

        An adapter includes the files of the local model that it adapts. Raises `ModelError` if a file cannot be read.
        """
        digest = hashlib.sha256(b"hbt-bench checkpoint 1")
        bases = []
        try:
            for path in model_files(self.path):
                name = Path(os.path.relpath(path, self.path)).as_posix().encode()
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256")
                digest.update(len(name).to_bytes(4, "little") + name + content.digest())
                if path.name == "adapter_config.json":
                    bases.append(_json(path).get("base_model_name_or_path"))
        except OSError as error:
            raise ModelError(f"cannot read {error.filename or self.path}: {error.strerror}") from error
        for base in bases:
            if isinstance(base, str) and Path(base).is_dir() and Path(base).resolve() != self.path:
                digest.update(Checkpoint.from_folder(Path(base)).revision.encode())
        return digest.hexdigest()[:16]

    def _json(self, name: str) -> dict[str, Any]:
        return _json(self.path / name)


def _json(path: Path) -> dict[str, Any]:
    content = read_json(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise ModelError(f"{path} is damaged (not a mapping): save the model again")
    return content


def _storable(value: Any) -> bool:
    """Return whether a result file can store a value: a number below 2**64, or a text without unpaired surrogates."""
    if isinstance(value, str):
        return encodable(value)
    return isinstance(value, int | float) and abs(value) < 2.0**64
