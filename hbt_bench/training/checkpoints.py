"""The checkpoints of a run: each is marked with the hashes of its files when all are there, and trusted by them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from hbt_bench.errors import ModelError
from hbt_bench.files import write_text

#: In a checkpoint written to its end: the hash of the rest, then what the run depends on and the hash of every file.
COMPLETE = "hbt_bench_complete.txt"


def mark(folder: Path, identity: str) -> None:
    """Mark the checkpoint `folder` of the run `identity` as complete, as it is now; raises `OutputError`."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != COMPLETE)
    files = {path.relative_to(folder).as_posix(): _digest(path) for path in paths}
    body = json.dumps({"run": identity, "files": files}, indent=1) + "\n"
    write_text(folder / COMPLETE, hashlib.sha256(body.encode()).hexdigest() + "\n" + body)


def last_complete(folder: Path, identity: str) -> tuple[Path | None, list[Path]]:
    """The newest checkpoint of this run to continue from, and those that are unfinished, damaged or of no use.

    Every file is read and compared with its hash. A checkpoint whose best weights so far are in a damaged one is of
    no use, as those are the weights that the run would end with. Raises `ModelError` when a checkpoint is of another
    run.
    """
    paths = {path.name: path for path in folder.glob("checkpoint-*") if path.name.rpartition("-")[2].isdecimal()}
    whole: list[str] = []
    for name in sorted(paths, key=lambda name: int(name.rpartition("-")[2])):
        marker = _marker(paths[name])
        if marker is not None and marker["run"] != identity:
            raise ModelError(
                f"{paths[name]} is of another run (another recipe, data or version): train with --no-resume, or choose "
                "another --output"
            )
        if marker is not None and _matches(paths[name], marker["files"]) and _best(paths[name]) in (None, name, *whole):
            whole.append(name)
    return paths[whole[-1]] if whole else None, [path for name, path in paths.items() if name not in whole]


def _marker(folder: Path) -> dict[str, Any] | None:
    """What `mark` wrote, None where it did not or where it is damaged."""
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
        return all(_digest(folder / name) == digest for name, digest in files.items())
    except OSError:  # one is missing, or the disk cannot read it
        return False


def _best(folder: Path) -> str | None:
    """The checkpoint with the best weights when this one was written, None when nothing was compared."""
    best = json.loads((folder / "trainer_state.json").read_bytes())["best_model_checkpoint"]
    return best and Path(best).name


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
