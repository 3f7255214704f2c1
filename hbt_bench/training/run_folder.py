"""The folder of a run: one run at a time has it, and what keeps a run from writing it is told in words."""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from hbt_bench.distributed import is_first
from hbt_bench.errors import HbtBenchError, ModelError
from hbt_bench.files import output_error

log = logging.getLogger(__name__)

_LOCK = ".training.lock"
_MODULE = re.compile(r"^\d+_\w+$")
_MODEL_FILE = re.compile(
    r"^((modules|config\w*|sentence_bert_config|special_tokens_map|tokenizer\w*)\.json|vocab\..*|.*\.(model|safetensors))$"
)
_UNWRITABLE = (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT)


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep `folder` to this run while the block lasts; where another run has it, say so and wait for its end.

    Of processes started together the first does so for all. A run that dies loses its claim.
    """
    from filelock import FileLock, Timeout

    if not is_first():
        yield
        return
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info(f"another run trains into {folder}: waiting for its end")
        lock.acquire()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / _LOCK).unlink(missing_ok=True)  # who waits for it makes a new one
        lock.release()


def remove_model(folder: Path) -> None:
    """Take away the files of an older model, of which a new one may have fewer."""
    for path in folder.iterdir():
        if path.is_dir() and _MODULE.match(path.name):
            shutil.rmtree(path)
        elif path.is_file() and _MODEL_FILE.match(path.name):
            path.unlink()


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Put a full disk and a full memory in words, which the libraries tell by errors of many kinds."""
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
