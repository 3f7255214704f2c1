"""The output folder of a training run: the model, the checkpoints and the lock.

A checkpoint has a marker with the hashes of its files, written when the checkpoint is complete.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbt_bench.distributed import is_first
from hbt_bench.errors import HbtBenchError, ModelError, OutputError, UsageError
from hbt_bench.files import output_error, write_text
from hbt_bench.identity.checkpoint import RECIPE_FILE
from hbt_bench.training import card
from hbt_bench.training.recipe import NEUTRAL_FIELDS, Recipe

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

#: The marker of a checkpoint: the hash of its other lines, then the identity of the run and the hash of every file.
COMPLETE = "hbt_bench_complete.txt"
_LOCK = ".training.lock"
_MODULE = re.compile(r"^\d+_\w+$")
_MODEL_FILE = re.compile(
    r"^((modules|config\w*|sentence_bert_config|special_tokens_map|tokenizer\w*)\.json|vocab\..*|.*\.(model|safetensors))$"
)
_UNWRITABLE = (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT)


@dataclass(frozen=True)
class RunFolder:
    """The output folder of a training run. A folder with a recipe file has a complete model."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints, removed when the model is complete."""
        return self.path / "checkpoints"

    def has_model(self, recipe: Recipe) -> bool:
        """Return whether the folder has the complete model of a recipe.

        Raises `UsageError` if it has the model of another recipe, and `OutputError` if the recipe file is damaged.
        """
        path = self.path / RECIPE_FILE
        if not path.is_file():
            return False
        try:
            saved = json.loads(path.read_bytes())["recipe"]
            different = {key for key, value in recipe.resolved().items() if saved.get(key) != value} - NEUTRAL_FIELDS
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise OutputError(f"{path} is damaged: train again with --overwrite") from error
        if different:
            raise UsageError(
                f"{self.path} has a model of another recipe (it differs in {', '.join(sorted(different))}): choose "
                "another --output, or --overwrite"
            )
        return True

    def last_checkpoint(self, identity: str) -> Path | None:
        """Return the checkpoint from which the run `identity` continues, None to start anew; remove unusable ones.

        Raises `ModelError` if a checkpoint belongs to another run.
        """
        newest, unusable = last_complete(self.checkpoints, identity)
        for path in unusable:
            log.warning(f"{path.name} is unfinished or damaged: training does not continue from it")
            shutil.rmtree(path)
        if newest is not None:
            log.info(f"continuing from {newest.name}")
        return newest

    def remove_checkpoints(self) -> None:
        """Remove all checkpoints."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder while the block lasts; if another run has the lock, wait for its end.

        The first process takes the lock for all processes of a run. If a run dies, its lock is free.
        """
        from filelock import FileLock, Timeout

        if not is_first():
            yield
            return
        lock = FileLock(self.path / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info(f"another run trains into {self.path}: waiting for its end")
            lock.acquire()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                (self.path / _LOCK).unlink(missing_ok=True)  # a waiting run makes a new file
            lock.release()

    def save(self, model: SentenceTransformer, facts: dict[str, Any]) -> None:
        """Save a model with its card and recipe file, and remove the checkpoints.

        1. Write the model into a temporary folder.
        2. Remove the recipe file of an older model, so that a kill from here on leaves no complete model.
        3. Move the new files into the folder.
        4. Write the card, then the recipe file.
        """
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=self.path) as folder:
            model.save(folder, create_model_card=False)
            if (self.path / RECIPE_FILE).is_file():
                (self.path / RECIPE_FILE).unlink()
                for path in self.path.iterdir():  # the older model can have files that the new model lacks
                    if path.is_dir() and _MODULE.match(path.name):
                        shutil.rmtree(path)
                    elif path.is_file() and _MODEL_FILE.match(path.name):
                        path.unlink()
            for path in sorted(Path(folder).iterdir(), key=lambda path: path.name == "modules.json"):
                target = self.path / path.name
                if target.is_dir():
                    shutil.rmtree(target)
                path.replace(target)
        write_text(self.path / "README.md", card.readme(self.path.name, facts))
        write_text(self.path / RECIPE_FILE, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
        self.remove_checkpoints()


@contextlib.contextmanager
def clear_errors(folder: Path) -> Iterator[None]:
    """Raise `OutputError` for a full or read-only disk and `ModelError` for a full memory.

    The libraries report both with errors of many types, which this matches by number and text.
    """
    try:
        yield
    except HbtBenchError:
        raise
    except Exception as error:
        text = str(error)
        if isinstance(error, OSError) and error.errno in _UNWRITABLE:
            raise output_error(folder, error) from error
        if any(words in text for words in ("No space left", "os error 28", "iostream error", "unexpected pos")):
            raise output_error(folder, OSError(errno.ENOSPC, "no space left")) from error
        if "out of memory" in text or "can't allocate memory" in text:
            raise ModelError(
                "there is not enough memory for this batch: lower --batch-size, or use --cached or --accumulation"
            ) from error
        raise


def mark(folder: Path, identity: str) -> None:
    """Mark a checkpoint of the run `identity` as complete; raises `OutputError` if the marker cannot be written."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != COMPLETE)
    files = {path.relative_to(folder).as_posix(): _file_hash(path) for path in paths}
    body = json.dumps({"run": identity, "files": files}, indent=1) + "\n"
    write_text(folder / COMPLETE, hashlib.sha256(body.encode()).hexdigest() + "\n" + body)


def last_complete(folder: Path, identity: str) -> tuple[Path | None, list[Path]]:
    """Return the newest checkpoint from which a run can continue, and the unusable checkpoints.

    A checkpoint is unusable if it has no marker, if a file does not match its hash, or if the checkpoint with the best
    weights so far is unusable, because the run would end with those weights. Raises `ModelError` if a checkpoint
    belongs to another run.
    """
    steps = {path.name.rpartition("-")[2]: path for path in folder.glob("checkpoint-*")}
    paths = [steps[step] for step in sorted(filter(str.isdecimal, steps), key=int)]
    usable: list[Path] = []
    for path in paths:
        marker = _read_marker(path)
        if marker is None:
            continue
        if marker["run"] != identity:
            raise ModelError(
                f"{path} is of another run, with another recipe, data or version: train with --no-resume, or "
                "choose another --output"
            )
        if _is_usable(path, marker["files"], [path, *usable]):
            usable.append(path)
    return usable[-1] if usable else None, [path for path in paths if path not in usable]


def _read_marker(folder: Path) -> dict[str, Any] | None:
    """Return the content of the marker, None if it is missing or damaged."""
    try:
        digest, _, body = (folder / COMPLETE).read_bytes().partition(b"\n")
    except OSError:
        return None
    content: dict[str, Any] | None = json.loads(body) if hashlib.sha256(body).hexdigest().encode() == digest else None
    return content


def _is_usable(folder: Path, files: dict[str, str], usable: Sequence[Path]) -> bool:
    """Return whether all files match their hashes, and the best checkpoint of that time is among `usable`."""
    try:
        if any(_file_hash(folder / name) != digest for name, digest in files.items()):
            return False
    except OSError:  # a file is missing or unreadable
        return False
    best = json.loads((folder / "trainer_state.json").read_bytes())["best_model_checkpoint"]
    return best is None or Path(best).name in {path.name for path in usable}


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
