"""A model in a local folder: what kind it is and which bytes it is, known without loading it."""

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

#: In a checkpoint that was trained here: strategy, alpha, seed, init, name.
RECIPE = "hbt_bench_recipe.json"
#: Files of a training run that do not change what the model computes.
_NOT_THE_MODEL = re.compile(
    r"^(readme\.md|\..*|.*\.(md|log|csv|png|ckpt-state|lock|tmp)|training_args\.bin|optimizer\.(pt|bin)|scheduler\.pt"
    r"|scaler\.pt|rng_state.*\.pth|trainer_state\.json|hbt_bench_recipe\.json|events\.out\..*|model_index\.json)$",
    re.IGNORECASE,
)
_NOT_MODEL_FOLDERS = re.compile(r"^(\..*|checkpoint-\d+|checkpoints|eval|logs|runs|onnx|openvino)$", re.IGNORECASE)


@dataclass(frozen=True)
class Checkpoint:
    """A folder that holds a model."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> Checkpoint:
        """Look at a folder.

        Raises `ModelError` when it holds neither a sentence-transformers nor a transformers model.
        """
        if not any((path / name).is_file() for name in ("modules.json", "config.json", "adapter_config.json")):
            raise ModelError(
                f"{path} holds no model: a sentence-transformers folder has a modules.json, a transformers folder "
                "a config.json"
            )
        checkpoint = cls(path.resolve())
        checkpoint.kind  # noqa: B018 -- reads the configuration, so that a damaged one is told before anything loads
        return checkpoint

    @property
    def name(self) -> str:
        """MTEB's ``organisation/model`` form, from the folder's own name: a model card may name the base model."""
        return "local/" + (re.sub(r"[^\w.-]+", "-", self.path.name) or "model")

    @cached_property
    def kind(self) -> Kind:
        """The class that loads it."""
        declared = str(self._json("config_sentence_transformers.json").get("model_type", "SentenceTransformer"))
        if (self.path / "modules.json").is_file():
            known: dict[str, Kind] = {
                kind: kind for kind in ("SentenceTransformer", "SparseEncoder", "MultiVectorEncoder", "CrossEncoder")
            }
            if declared not in known:
                shown = " ".join(declared.split())[:80]
                raise ModelError(f"{self.path} is a sentence-transformers model of an unknown type, '{shown}'")
            return known[declared]
        architectures = self._json("config.json").get("architectures") or []
        if isinstance(architectures, list) and any(
            str(name).endswith("ForSequenceClassification") for name in architectures
        ):
            return "CrossEncoder"
        return "transformers"

    @cached_property
    def prompts(self) -> Prompts:
        """The prompts of its own configuration."""
        prompts = self._json("config_sentence_transformers.json").get("prompts")
        if not isinstance(prompts, dict | None):
            raise ModelError(f"{self.path} is damaged (its prompts are not a mapping): save the model again")
        return Prompts.of(prompts)

    @property
    def recipe(self) -> dict[str, str | int | float]:
        """How it was trained, where it says so: the single values of its ``hbt_bench_recipe.json``.

        Beside them ``data``: each source of its training texts with its hash, ``NAME HASH``.
        """
        about = self._json(RECIPE)
        if isinstance(sources := about.get("data"), dict):
            about["data"] = ", ".join(f"{name} {digest}" for name, digest in sorted(sources.items()))
        return {key: value for key, value in about.items() if _keeps(key) and _keeps(value)}

    @property
    def dense(self) -> bool:
        """Whether it gives one vector a text."""
        return self.kind in ("SentenceTransformer", "transformers")

    @cached_property
    def revision(self) -> str:
        """SHA-256 over all files that the model is made of, names and contents, as 16 hexadecimal digits.

        An adapter is its own files and those of the local model that it adapts. Raises `ModelError` for a file that
        cannot be read.
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
            digest.update(Checkpoint.at(Path(base)).revision.encode())
        return digest.hexdigest()[:16]

    def _files(self) -> Iterator[Path]:
        """The model's files in a fixed order, through linked folders too, each real folder once."""
        found, seen = [], set()
        for folder, folders, names in os.walk(self.path, followlinks=True):
            real = os.path.realpath(folder)
            folders[:] = [] if real in seen else [name for name in folders if not _NOT_MODEL_FOLDERS.match(name)]
            if real not in seen:
                found += [Path(folder, name) for name in names if not _NOT_THE_MODEL.match(name)]
            seen.add(real)
        yield from sorted(path for path in found if path.is_file())

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


def _keeps(value: Any) -> bool:
    """Whether a result can keep it: a number that is none without end, or a text without half a character."""
    if isinstance(value, str):
        return encodable(value)
    return isinstance(value, int | float) and abs(value) < 2.0**64
