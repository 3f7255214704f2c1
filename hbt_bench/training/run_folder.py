"""The output folder of a training run: the model, the checkpoints and the lock.

A checkpoint has a marker with the hashes of its files, written when the checkpoint is complete. Files that the program
did not write are not replaced without ``--overwrite``, and then only the files of a model.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import logging
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbt_bench.distributed import is_first
from hbt_bench.errors import HbtBenchError, ModelError, OutputError, UsageError
from hbt_bench.files import check_writable, file_hash, output_error, release_and_remove, write_text
from hbt_bench.identity.checkpoint import RECIPE_FILE
from hbt_bench.identity.model_files import model_files, replaceable_files
from hbt_bench.training import card
from hbt_bench.training.continuation import finished_steps
from hbt_bench.training.recipe import Recipe

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

#: The marker of a checkpoint: the hash of its other lines, then the identity of the run and the hash of every file.
COMPLETE = "hbt_bench_complete.txt"
_LOCK = ".training.lock"
#: In the folder of an unfinished run: the names of its model's files, when they are moved into the folder.
_UNFINISHED = ".training.unfinished"
_CARD = "README.md"
#: Names that a run writes before its model is complete.
_PROGRAM_NAMES = re.compile(r"checkpoints|runs|\.training\.(lock|unfinished)|\.saving-\w+|\..*\.tmp")
#: Names that others write into the folder of a run: logs, and files of file systems and git.
_HARMLESS_NAMES = re.compile(r".*\.(log|out|err)|\.DS_Store|\.gitignore|\.gitkeep|lost\+found")
_NAMES_SHOWN = 3
_UNWRITABLE = (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT)


@dataclass(frozen=True)
class RunFolder:
    """The output folder of a training run. A folder with a recipe file has a complete model."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints, removed when the model is complete."""
        return self.path / "checkpoints"

    def check(self, overwrite: bool) -> None:
        """Make the folder, and check that a run may write into it.

        Raises `OutputError` if that is impossible, or if there are files that the program did not write. With
        `overwrite`, the run may replace a model, but not checkpoints of another program.
        """
        try:
            entries = list(self.path.iterdir()) if self.path.is_dir() else []
            foreign_checkpoints = (
                not self._is_unfinished() and self.checkpoints.is_dir() and any(self.checkpoints.iterdir())
            )
        except OSError as error:
            raise output_error(self.path, error) from error
        if foreign_checkpoints:
            raise OutputError(
                f"{self.checkpoints} has files that hbt-bench did not write: move the folder away, or choose another "
                "--output"
            )
        names = set() if overwrite or (self.path / RECIPE_FILE).is_file() else self._foreign_names(entries)
        if names:
            shown = ", ".join(sorted(names)[:_NAMES_SHOWN])
            more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
            raise OutputError(
                f"{self.path} has files that hbt-bench did not write ({shown}{more}): choose another --output. With "
                "--overwrite, the files of a model in this folder are replaced, and other files are kept."
            )
        check_writable(self.path)

    def _is_unfinished(self) -> bool:
        """Return whether the folder is that of an unfinished run."""
        return (self.path / _UNFINISHED).is_file() or any(self.checkpoints.glob(f"checkpoint-*/{COMPLETE}"))

    def _foreign_names(self, entries: Iterable[Path]) -> set[str]:
        """Return the names of entries that keep a run from this folder. An unfinished run has the files of a model."""
        if not self._is_unfinished():
            names = {path.name for path in entries}
            return {
                name for name in names if not _PROGRAM_NAMES.fullmatch(name) and not _HARMLESS_NAMES.fullmatch(name)
            }
        marker = self.path / _UNFINISHED
        written = set(marker.read_text(encoding="utf-8").splitlines()) if marker.is_file() else set()
        return {path.relative_to(self.path).parts[0] for path in replaceable_files(self.path)} - written

    def has_model(self, inputs: card.Inputs) -> bool:
        """Return whether the folder has the complete model of a run.

        Raises `UsageError` if it has the model of another run, and `OutputError` if the recipe file is damaged.
        """
        facts = self.check_recipe(inputs.recipe)
        if facts is None:
            return False
        if changed := inputs.changed_since(facts):
            raise UsageError(
                f"{self.path} has a model of the same recipe, but of another {' and another '.join(changed)}: choose "
                "another --output, or --overwrite"
            )
        return True

    def check_recipe(self, recipe: Recipe) -> dict[str, Any] | None:
        """Return the facts about the complete model in the folder, None without a model.

        Raises `UsageError` if it is the model of another recipe, and `OutputError` if the recipe file is damaged.
        """
        path = self.path / RECIPE_FILE
        if not path.is_file():
            return None
        try:
            facts: dict[str, Any] = json.loads(path.read_bytes())
            different = card.differences(recipe, facts)
            continued = finished_steps(recipe, facts, different)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise OutputError(f"{path} is damaged: train again with --overwrite") from error
        if continued and not last_complete(self.checkpoints)[0]:
            raise UsageError(
                f"{self.path} has no checkpoint to continue from: train with `keep_checkpoint` or another --output"
            )
        if continued:
            return None
        if different:
            raise UsageError(
                f"{self.path} has a model of another recipe (it differs in {', '.join(different)}): choose "
                "another --output, or --overwrite"
            )
        return facts

    def finished_steps(self, recipe: Recipe) -> int | None:
        """Return the steps of a finished run in the folder that a recipe with more steps continues."""
        facts = json.loads(path.read_bytes()) if (path := self.path / RECIPE_FILE).is_file() else None
        return finished_steps(recipe, facts, card.differences(recipe, facts)) if facts else None

    def last_checkpoint(self, *identities: str) -> Path | None:
        """Return the checkpoint from which a run continues, None to start anew; remove unusable ones.

        Mark the folder as that of an unfinished run. Raises `ModelError` if a checkpoint belongs to another run.
        """
        if not (self.path / _UNFINISHED).is_file():
            write_text(self.path / _UNFINISHED, "")
        newest, unusable = last_complete(self.checkpoints, *identities)
        for path in unusable:
            log.warning(f"{path.name} is unfinished or damaged: training does not continue from it")
            shutil.rmtree(path)
        if newest is not None:
            log.info(f"continuing from {newest.name}")
        return newest

    def remove_checkpoints(self) -> None:
        """Remove all checkpoints and the tables of evaluations, and their folder if nothing else is in it."""
        for path in (*self.checkpoints.glob("checkpoint-*"), self.checkpoints / "eval"):
            shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.checkpoints.rmdir()

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
            release_and_remove(lock)

    def save(
        self,
        model: SentenceTransformer,
        facts: dict[str, Any],
        code: Mapping[str, Path] | None = None,
        *,
        keep_checkpoints: bool = False,
    ) -> None:
        """Save a model with its card, its recipe file and its code, and remove the checkpoints. Raises `OutputError`.

        1. Write the model and `code` into a temporary folder, and its names into the marker of an unfinished run.
        2. Rename a card that somebody wrote or changed.
        3. Remove the recipe file of an older model, so that a kill from here on leaves no complete model.
        4. Replace the files of the older model. Files that belong to no model stay.
        5. Write the card, then the recipe file.
        """
        try:
            with tempfile.TemporaryDirectory(prefix=".saving-", dir=self.path) as folder:
                model.save(folder, create_model_card=False)
                for name, path in (code or {}).items():
                    Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, Path(folder, name))
                write_text(self.path / _UNFINISHED, "".join(f"{path.name}\n" for path in Path(folder).iterdir()))
                self._keep_card()
                (self.path / RECIPE_FILE).unlink(missing_ok=True)
                self._replace_model(Path(folder))
        except OSError as error:
            raise output_error(self.path, error) from error
        text = card.readme(self.path.name, facts)
        write_text(self.path / _CARD, text)
        facts = {**facts, "card": hashlib.sha256(text.encode()).hexdigest()}
        write_text(self.path / RECIPE_FILE, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
        if not keep_checkpoints:
            self.remove_checkpoints()
        (self.path / _UNFINISHED).unlink(missing_ok=True)

    def _replace_model(self, source: Path) -> None:
        """Move a model from the folder `source`. Nothing of an older model stays that could be taken for its part."""
        for path in replaceable_files(self.path):
            self._remove(path)
        paths = sorted(source.rglob("*"), key=lambda path: path.name == "modules.json")
        for path in paths:
            target = self.path / path.relative_to(source)
            if target.is_symlink():
                target.unlink()
            if path.is_dir():
                target.mkdir(exist_ok=True)
            else:
                path.replace(target)
        moved = {self.path / path.relative_to(source) for path in paths}
        for path in set(model_files(self.path)) - moved:
            self._remove(path)

    def _remove(self, path: Path) -> None:
        """Remove a file and the folders that it leaves empty. If the path has a link, remove the link alone."""
        parents = [parent for parent in path.parents if self.path in parent.parents]
        links = [folder for folder in (*reversed(parents), path) if folder.is_symlink()]
        (links[0] if links else path).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the folder has other files
            for parent in parents:
                parent.rmdir()

    def _written_card(self) -> str | None:
        """Return the hash of the card that the program wrote, None if it is unknown."""
        try:
            digest = json.loads((self.path / RECIPE_FILE).read_bytes())["card"]
        except (OSError, ValueError, LookupError, TypeError):  # no model, a damaged file or one of an older version
            return None
        return str(digest)

    def _keep_card(self) -> None:
        """Rename a card that is not the program's own, or that differs from the card that it wrote."""
        path = self.path / _CARD
        content = path.read_bytes() if path.is_file() else b""
        changed = self._written_card() not in (None, hashlib.sha256(content).hexdigest())
        if content and (changed or not card.is_own(content.decode(errors="replace"))):
            names = (f"README.old{number or ''}.md" for number in itertools.count())
            target = next(target for name in names if not (target := self.path / name).exists())
            path.rename(target)
            log.info(f"the README.md that was in {self.path} is kept as {target.name}")


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
    files = {path.relative_to(folder).as_posix(): file_hash(path) for path in paths}
    body = json.dumps({"run": identity, "files": files}, indent=1) + "\n"
    write_text(folder / COMPLETE, hashlib.sha256(body.encode()).hexdigest() + "\n" + body)


def last_complete(folder: Path, *identities: str) -> tuple[Path | None, list[Path]]:
    """Return the newest checkpoint from which a run can continue, and the unusable checkpoints.

    A checkpoint is unusable without a marker, if a file does not match its hash, or if the checkpoint with the best
    weights so far is unusable, with which the run would end. Raises `ModelError` for a run that is not in `identities`.
    """
    steps = {path.name.rpartition("-")[2]: path for path in folder.glob("checkpoint-*")}
    paths = [steps[step] for step in sorted(filter(str.isdecimal, steps), key=int)]
    usable: list[Path] = []
    for path in paths:
        marker = _read_marker(path)
        if marker is None:
            continue
        if identities and marker["run"] not in identities:
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
        if any(file_hash(folder / name) != digest for name, digest in files.items()):
            return False
    except OSError:  # a file is missing or unreadable
        return False
    best = json.loads((folder / "trainer_state.json").read_bytes())["best_model_checkpoint"]
    return best is None or Path(best).name in {path.name for path in usable}
