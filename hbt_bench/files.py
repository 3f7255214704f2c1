"""Files that appear whole or not at all.

A process killed while it writes leaves ``.NAME.xxxxxxxx.tmp`` beside its target. That is never a result: readers
go by the exact name or a pattern like ``*.json``, not by "every file in the folder".
"""

import contextlib
import errno
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from hbt_bench.errors import OutputError

_CAUSES = {errno.ENOSPC: "no space left on the disk; free some space or "}
_CAUSES |= dict.fromkeys((errno.EACCES, errno.EPERM), "permission denied; make the folder writable or ")
_CAUSES |= dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a file is where a folder should be; move it away or ")


def output_error(path: Path, error: OSError, otherwise: str = "choose another --output") -> OutputError:
    """Put `error`, met while writing `path`, in words; `otherwise` is the way out when the cause cannot be mended."""
    cause = _CAUSES.get(error.errno or 0, f"{error.strerror or error}; ")
    return OutputError(f"cannot write {path}: {cause}{otherwise}")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file that takes the name `path` when the block ends well, and vanishes when it does not.

    Parent folders are made; a symbolic link is written through. The block should do nothing but write, as every
    `OSError` in it is taken for a failure to write. Raises `OutputError`; the old file is then as it was.
    """
    target = Path(os.path.realpath(path))
    temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"  # tempfile's would be private (0600)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():  # os.replace would turn /dev/null into a file
            raise OSError(errno.EISDIR, "not a file")
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` as `replacing` does; raises `OutputError`."""
    with replacing(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, with line ends as they are; raises `OutputError`."""
    write_bytes(path, text.encode())


def check_writable(folder: Path, otherwise: str = "choose another --output") -> None:
    """Make `folder` if need be and prove that it takes a file, so that a run fails early; raises `OutputError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".hbt-bench.", suffix=".tmp", dir=folder) as probe:
            probe.write(bytes(4096))  # a full disk still makes an empty file
            probe.flush()
    except OSError as error:
        raise output_error(folder, error, otherwise) from error
