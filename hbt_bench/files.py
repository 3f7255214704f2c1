"""Write files atomically: a reader sees the whole new file or the old one. Also names and hashes of files.

1. Write a temporary file ``.NAME.xxxxxxxx.tmp`` in the folder of the target.
2. Flush it to the disk.
3. Rename it to the target, which is atomic within a file system.

If the process is killed in between, the temporary file stays. No reader takes it for a result: readers open exact
names or patterns such as ``*.json``.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hbt_bench.errors import OutputError

if TYPE_CHECKING:
    from filelock import BaseFileLock

_CAUSES = {errno.ENOSPC: "no space left on the disk; free some space or "}
_CAUSES |= dict.fromkeys((errno.EACCES, errno.EPERM), "permission denied; make the folder writable or ")
_CAUSES |= dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a file is where a folder should be; move it away or ")
_ADVICE = "choose another --output"
#: Bytes of a name of a file or folder, so that the name of its temporary file is shorter than 255.
_LONGEST_NAME = 200
_WINDOWS = os.name == "nt"
#: Signs and whole names that only Windows refuses in the name of a file; a colon would write a hidden stream.
_REFUSED_SIGNS = set('<>:"|?*')
_REFUSED_NAME = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(?=\.|$)", re.IGNORECASE)
#: Seconds between the tries to replace a file that another process has open, which Windows refuses.
_PAUSES = (0.01, 0.05, 0.1, 0.3, 0.5)


def file_name(text: str) -> str:
    """Return a text as the name of a file or folder; a usual name stays the same.

    Control characters and a final dot or blank are replaced, and a long name ends with a hash of the text. On Windows,
    names and signs that it refuses are replaced, too.

    >>> file_name("org__model v1.")
    'org__model v1_'
    """
    refused = {"/", "\\"} | (_REFUSED_SIGNS if _WINDOWS else set())
    name = "".join(letter if letter.isprintable() and letter not in refused else "_" for letter in text)
    name = re.sub(r"[. ]$", "_", name)
    name = _REFUSED_NAME.sub(r"\1_", name, count=1) if _WINDOWS and _REFUSED_NAME.match(name) else name
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    start = name.encode()[: _LONGEST_NAME - 9].decode(errors="ignore")
    return f"{start}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def optional_path(path: str | Path | None) -> Path | None:
    """Return a path that may be missing."""
    return None if path is None else Path(path)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's content; raises `OSError` if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def output_error(path: Path, error: OSError, advice: str = _ADVICE) -> OutputError:
    """Return the error for `path`, which could not be written; `advice` ends the message."""
    cause = _CAUSES.get(error.errno or 0, f"{error.strerror or error}; ")
    return OutputError(f"cannot write {path}: {cause}{advice}")


@contextlib.contextmanager
def replacing(path: Path, advice: str = _ADVICE) -> Iterator[BinaryIO]:
    """Yield a new file that replaces `path` if the block ends without an error, and is deleted otherwise.

    Make missing parent folders. Write through a symbolic link. Raises `OutputError` for every `OSError` in the block,
    so the block should only write.

    For example, ``with replacing(path) as file: file.write(data)``.
    """
    target = Path(os.path.realpath(path))
    temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"  # files of tempfile are private (0600)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():  # os.replace would turn /dev/null into a file
            raise OSError(errno.EISDIR, "not a file")
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _move(temporary, target)
    except OSError as error:
        raise output_error(path, error, advice) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _move(source: Path, target: Path) -> None:
    """Rename `source` to `target`. On Windows, wait a second for a reader or a virus scanner to close the target."""
    for pause in _PAUSES if _WINDOWS else ():
        try:
            source.replace(target)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    source.replace(target)


def release_and_remove(lock: BaseFileLock) -> None:
    """Release a lock and remove its file.

    On POSIX, the file is removed first: a process that waits for it then sees that it is gone, and makes a new file.
    Windows refuses to remove an open file, so there it is removed last, unless another process has it open by then.
    """
    path = Path(lock.lock_file)
    try:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    finally:
        lock.release()
    if _WINDOWS:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically; raises `OutputError`."""
    with replacing(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, in UTF-8 and with unchanged line ends; raises `OutputError`."""
    write_bytes(path, text.encode())


def check_writable(folder: Path, advice: str = "choose another --output") -> None:
    """Make `folder` and write a test file into it, so that a run fails early; raises `OutputError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".hbt-bench.", suffix=".tmp", dir=folder) as probe:
            probe.write(bytes(4096))  # a full disk still accepts an empty file
            probe.flush()
    except OSError as error:
        raise output_error(folder, error, advice) from error
