"""Open a model with the class that saved it, in a folder or by its name on the hub, and word the errors of loading.

A folder and a name differ only in the place of the files, so that the same model gets the same scores.
"""

from __future__ import annotations

import json
import logging
import os
import re
from difflib import SequenceMatcher
from itertools import islice
from pathlib import Path
from typing import Any

from hbt_bench.data import records
from hbt_bench.errors import ModelError, UsageError, did_you_mean
from hbt_bench.identity.checkpoint import Checkpoint, Kind
from hbt_bench.identity.model_files import may_have_code
from hbt_bench.mteb.file_checks import check_contents
from hbt_bench.mteb.loading import load_checked

log = logging.getLogger(__name__)

#: Least similarity of two folder names for a typing error.
_SIMILARITY = 0.7
#: MTEB's wrapper of each sentence-transformers class.
_WRAPPERS = {
    "SentenceTransformer": "SentenceTransformerEncoderWrapper",
    "SparseEncoder": "SparseEncoderWrapper",
    "MultiVectorEncoder": "MultiVectorWrapper",
    "CrossEncoder": "CrossEncoderWrapper",
}
#: Parts of the messages of MTEB and transformers about packages that are not installed.
_COMMAND = re.compile(r"`pip install ([^`]+)`")
_MISSING = re.compile(r"(?:dependencies|environment): (.+?)\.? (?:You can install|Run) ")
_EXTRA = re.compile(r"; extra == \S+?(?=,|$| \()")


def hub_checkpoint(name: str, revision: str | None = None) -> Checkpoint:
    """Return the folder of a hub model in the client's cache, with its JSON files, which name classes and settings.

    Raises `ModelError` if neither the hub nor the cache has such a model.
    """
    records.spare_retries()  # before the client is imported
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, revision=revision, cache_dir=_cache(), allow_patterns=["*.json"]))
    except Exception as error:  # the hub's client raises errors of many types
        raise load_error(name, error, exists=False) from error
    Checkpoint.from_folder(folder)  # raises an error if the files are not a model
    return Checkpoint(folder)  # the folder's name is the commit, even if it is a link


def check_code(checkpoint: Checkpoint, name: str) -> None:
    """Raise `UsageError` if a model has no code that ``--trust-remote-code`` lets run, which would change its name."""
    if not may_have_code(checkpoint.path):
        raise UsageError(f"--trust-remote-code has no effect on {name}, which has no code: leave it out")


def open_model(
    checkpoint: Checkpoint, name: str | None = None, device: str | None = None, trust_remote_code: bool = False
) -> Any:
    """Return the model in a folder as an object of sentence-transformers, checked by `load_checked`.

    With `name`, the model is loaded by its name on the hub, at the commit that `checkpoint` has. For example,
    ``open_model(hub_checkpoint("org/model"), "org/model")``.
    """
    source: dict[str, Any] = {"local_files_only": True} if name is None else {"revision": checkpoint.path.name}
    options = {**source, "device": device, "trust_remote_code": trust_remote_code}
    location = str(checkpoint.path) if name is None else name

    def load() -> Any:
        import sentence_transformers

        try:
            if checkpoint.kind == "model2vec":
                return _model2vec(checkpoint, location, source, device)
            return getattr(sentence_transformers, _class_name(checkpoint.kind))(location, **options)
        except Exception:
            check_contents(checkpoint.path)  # a file that was not downloaded in full is the better reason
            raise

    model = load_checked(name or str(checkpoint.path), load, None if name else checkpoint.path)
    if checkpoint.kind == "transformers":
        pooling = getattr(model[-1], "pooling_mode", None)
        log.warning(f"{location} is a plain transformers model. Its vectors are made by {pooling} pooling.")
    return model


def wrapped(model: Any, kind: Kind) -> Any:
    """Return a model of sentence-transformers in MTEB's wrapper."""
    import mteb.models

    return getattr(mteb.models, _WRAPPERS[_class_name(kind)])(model)


def load_error(name: str, error: Exception, exists: bool) -> ModelError:
    """Return the error for a model that a library could not load.

    It names the command that installs a missing package. `exists` is whether there is such a model.
    """
    text = " ".join(str(error).split())
    if isinstance(error, ImportError) and (command := _COMMAND.search(text)):
        missing = _MISSING.search(text)
        packages = _EXTRA.sub("", missing[1]) if missing else "packages that are not installed"
        return ModelError(f"cannot load {name}: it needs {packages}. Run pip install '{command[1]}'.")
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        return ModelError(f"cannot load {name}: it needs the package {package}. Run pip install {package}.")
    if isinstance(error, KeyError):
        text = f"its files lack {text}"
    note = "" if exists else f" (neither a folder nor loadable{_known_names(name)})"
    return ModelError(f"cannot load {name}{note}: {type(error).__name__}: {text}"[:400])


def _known_names(name: str) -> str:
    """Return a hint about MTEB's models with a similar name."""
    import mteb

    return did_you_mean(name, [str(meta.name) for meta in mteb.get_model_metas()]).rstrip("?")


def _cache() -> str | None:
    """Return the folder that sentence-transformers uses as cache in place of the client's, None without one."""
    return os.environ.get("SENTENCE_TRANSFORMERS_HOME")


def _class_name(kind: Kind) -> str:
    return "SentenceTransformer" if kind in ("transformers", "model2vec") else kind


def _model2vec(checkpoint: Checkpoint, location: str, source: dict[str, Any], device: str | None) -> Any:
    """Return a model of model2vec that lacks the files of sentence-transformers."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding

    embedding = StaticEmbedding.load(location, cache_folder=_cache(), **source)
    normalize = json.loads((checkpoint.path / "config.json").read_bytes()).get("normalize")
    return SentenceTransformer(modules=[embedding, *([Normalize()] if normalize else [])], device=device)


def similar_folders(name: str, whole: bool) -> list[str]:
    """Return the folders with a model that `name` may be a typing error of; if `whole`, their parents are alike, too.

    Results, caches and data have no model. The last part decides: results/training is not meant by tests/tiny.
    """
    typed = Path(name)
    parents = {typed.parent, *(path for path in Path().glob("*") if path.is_dir())}
    folders = [path for parent in sorted(parents) for path in islice(parent.glob("*"), 500) if path.is_dir()]

    def similar(part: str, other: str) -> bool:
        return SequenceMatcher(None, part.lower(), other.lower()).ratio() >= _SIMILARITY

    return [
        str(folder)
        for folder in folders
        if similar(folder.name, typed.name)
        and (not whole or folder.parent == typed.parent or similar(str(folder.parent), str(typed.parent)))
        and Checkpoint.exists(folder)
    ]
