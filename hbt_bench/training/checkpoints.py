"""Checkpoints of a run. Each has a marker with the hashes of its files, written when the checkpoint is complete."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from hbt_bench.errors import ModelError
from hbt_bench.files import write_text

#: The marker: the hash of its other lines, then the identity of the run and the hash of every file.
COMPLETE = "hbt_bench_complete.txt"


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
    paths = {path.name: path for path in folder.glob("checkpoint-*") if path.name.rpartition("-")[2].isdecimal()}
    usable: list[str] = []
    for name in sorted(paths, key=lambda name: int(name.rpartition("-")[2])):
        marker = _read_marker(paths[name])
        if marker is None:
            continue
        if marker["run"] != identity:
            raise ModelError(
                f"{paths[name]} is of another run, with another recipe, data or version: train with --no-resume, or "
                "choose another --output"
            )
        if _matches(paths[name], marker["files"]) and _best_checkpoint(paths[name]) in (None, name, *usable):
            usable.append(name)
    return paths[usable[-1]] if usable else None, [path for name, path in paths.items() if name not in usable]


def _read_marker(folder: Path) -> dict[str, Any] | None:
    """Return the content of the marker, None if it is missing or damaged."""
    try:
        digest, _, body = (folder / COMPLETE).read_bytes().partition(b"\n")
    except OSError:
        return None
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return None
    marker: dict[str, Any] = json.loads(body)
    return marker


def _matches(folder: Path, files: dict[str, str]) -> bool:
    try:
        return all(_file_hash(folder / name) == digest for name, digest in files.items())
    except OSError:  # a file is missing or unreadable
        return False


def _best_checkpoint(folder: Path) -> str | None:
    """Return the name of the best checkpoint at the time of this checkpoint, None without development data."""
    best = json.loads((folder / "trainer_state.json").read_bytes())["best_model_checkpoint"]
    return best and Path(best).name


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
