"""A model in a local folder: its kind, prompts and revision, read without loading it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from hbt_bench.errors import ModelError
from hbt_bench.identity.signature import Prompts
from hbt_bench.text import encodable

Kind = Literal["SentenceTransformer", "SparseEncoder", "MultiVectorEncoder", "CrossEncoder", "transformers"]

#: File in a checkpoint trained by ``hbt-bench train``: strategy, alpha, seed, init, name.
RECIPE_FILE = "hbt_bench_recipe.json"
#: Files of a training run that do not change the model's vectors.
_NOT_THE_MODEL = re.compile(
    r"^(readme\.md|\..*|.*\.(md|log|csv|png|ckpt-state|lock|tmp)|training_args\.bin|optimizer\.(pt|bin)|scheduler\.pt"
    r"|scaler\.pt|rng_state.*\.pth|trainer_state\.json|hbt_bench_recipe\.json|events\.out\..*|model_index\.json)$",
    re.IGNORECASE,
)
_NOT_MODEL_FOLDERS = re.compile(r"^(\..*|checkpoint-\d+|checkpoints|eval|logs|runs|onnx|openvino)$", re.IGNORECASE)


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
        if not any((path / name).is_file() for name in ("modules.json", "config.json", "adapter_config.json")):
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

    @cached_property
    def kind(self) -> Kind:
        """The class that loads the model."""
        declared = str(self._json("config_sentence_transformers.json").get("model_type", "SentenceTransformer"))
        if (self.path / "modules.json").is_file():
            kinds: tuple[Kind, ...] = ("SentenceTransformer", "SparseEncoder", "MultiVectorEncoder", "CrossEncoder")
            if declared not in kinds:
                shown = " ".join(declared.split())[:80]
                raise ModelError(f"{self.path} is a sentence-transformers model of an unknown type, '{shown}'")
            return kinds[kinds.index(declared)]
        architectures = self._json("config.json").get("architectures") or []
        if isinstance(architectures, list) and any(
            str(name).endswith("ForSequenceClassification") for name in architectures
        ):
            return "CrossEncoder"
        return "transformers"

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
        return self.kind in ("SentenceTransformer", "transformers")

    @cached_property
    def revision(self) -> str:
        """The first 16 hexadecimal digits of a SHA-256 over the names and contents of the model's files.

        An adapter includes the files of the local model that it adapts. Raises `ModelError` if a file cannot be read.
        """
        digest = hashlib.sha256(b"hbt-bench checkpoint 1")
        try:
            for path in self._files():
                name = path.relative_to(self.path).as_posix().encode()
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256")
                digest.update(len(name).to_bytes(4, "little") + name + content.digest())
        except OSError as error:
            raise ModelError(f"cannot read {error.filename or self.path}: {error.strerror}") from error
        base = self._json("adapter_config.json").get("base_model_name_or_path")
        if isinstance(base, str) and Path(base).is_dir() and Path(base).resolve() != self.path:
            digest.update(Checkpoint.from_folder(Path(base)).revision.encode())
        return digest.hexdigest()[:16]

    def _files(self) -> Iterator[Path]:
        """Yield the model's files in a fixed order. Linked folders are followed, each real folder once."""
        paths, seen = [], set()
        for folder, folders, names in os.walk(self.path, followlinks=True):
            real = os.path.realpath(folder)
            folders[:] = [] if real in seen else [name for name in folders if not _NOT_MODEL_FOLDERS.match(name)]
            if real not in seen:
                paths += [Path(folder, name) for name in names if not _NOT_THE_MODEL.match(name)]
            seen.add(real)
        yield from sorted(path for path in paths if path.is_file())

    def _json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        if not path.is_file():
            return {}
        try:
            content = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{path} is damaged ({error}): save the model again") from error
        if not isinstance(content, dict):
            raise ModelError(f"{path} is damaged (not a mapping): save the model again")
        return content


def _storable(value: Any) -> bool:
    """Return whether a result file can store a value: a number below 2**64, or a text without unpaired surrogates."""
    if isinstance(value, str):
        return encodable(value)
    return isinstance(value, int | float) and abs(value) < 2.0**64
