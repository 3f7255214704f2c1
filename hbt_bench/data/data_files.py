"""Data files: found in the user's data folder, next to a task file or recipe, or downloaded into the cache.

Pinned files are always verified. pooch was considered: it neither resumes a download, nor limits its size, nor refuses
redirects to plain http.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hbt_bench.errors import DataError, UsageError
from hbt_bench.files import output_error
from hbt_bench.log import counter
from hbt_bench.text import one_line

if TYPE_CHECKING:  # requests and filelock are slow to import, and most calls find their files in place
    from requests import Response

log = logging.getLogger(__name__)

_ALLOWED = ("https://",)  # tests add their own server
_TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two reads
_RETRIES = 3
_BACKOFF = 0.5  # seconds before the first retry, doubled before each further retry

_verified: set[tuple[str, int, int, str]] = set()  # path, mtime, size and hash of files verified before


# Folders


def expanded(path: str, variable: str) -> Path:
    """Return a path from an environment variable with ``~`` expanded; raises `UsageError` for an unknown user."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{variable} is {path}, but there is no such user: write the path in full") from error


def data_folder(data_dir: Path | None = None) -> Path | None:
    """Return the user's data folder: `data_dir`, else HBT_BENCH_DATA, else None."""
    variable = os.environ.get("HBT_BENCH_DATA")
    return data_dir or (expanded(variable, "HBT_BENCH_DATA") if variable else None)


def cache_dir() -> Path:
    """Return the folder for files that can be downloaded or computed again: HBT_BENCH_CACHE or the system's cache."""
    if chosen := os.environ.get("HBT_BENCH_CACHE"):
        return expanded(chosen, "HBT_BENCH_CACHE")
    from platformdirs import user_cache_path

    return user_cache_path("hbt-bench", appauthor=False)


def search_folders(data_dir: Path | None, recipe_folder: Path | None) -> tuple[Path, ...]:
    """Return the folders in which recipes look for files: the data folder, the recipe's folder, the current folder.

    Raises `UsageError` if the data folder, `data_dir` or HBT_BENCH_DATA, does not exist.
    """
    folder = data_folder(data_dir)
    if folder is not None and not folder.is_dir():
        raise UsageError(f"the data folder {folder} does not exist: set --data-dir or HBT_BENCH_DATA to a folder")
    return tuple(dict.fromkeys(root for root in (folder, recipe_folder, Path()) if root is not None))


def first_path(folders: Iterable[Path], path: str, exists: Callable[[Path], bool]) -> Path | None:
    """Return the path in the first folder in which it `exists`, for example as a file with ``Path.is_file``."""
    return next((folder / path for folder in folders if exists(folder / path)), None)


# Files of a task


@dataclass(frozen=True)
class Pin:
    """SHA-256 of a file, and its size in bytes if it can be downloaded."""

    sha256: str
    size: int | None = None


@dataclass(frozen=True)
class DataFiles:
    """The files of the task `owner`, in the user's data folder or in the task file's `folder`.

    The data folder is `data_dir` or HBT_BENCH_DATA. Without a data folder, a file with an address and a hash is
    downloaded into the cache if `folder` lacks it.
    """

    owner: str
    folder: Path | None = None
    data_dir: Path | None = None

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders in the order in which they are searched."""
        return tuple(root for root in (data_folder(self.data_dir), self.folder) if root is not None)

    def find(self, path: str, pin: Pin | None = None, url: str | None = None) -> Path:
        """Return the local file at the relative `path`, verified against `pin`.

        A file with the same path in a later folder causes a warning. Raises `DataError` if the path leaves its folder,
        by dots or by a symbolic link, and if the file is missing or does not match the pin.
        """
        check_relative(path)
        present = [(root / path, root) for root in self.roots if os.path.lexists(root / path)]
        for candidate, root in present[:1]:
            _check_inside(candidate, root)
            self._warn_of_hidden(candidate, [other for other, _ in present[1:]])
            if problem := problem_of(candidate, pin.sha256, pin.size) if pin else "":
                remedy = f"; {_by_hand(path, url, candidate)}" if url else ""
                raise DataError(f"{problem}{remedy or f': the task {self.owner!r} is defined for another file'}")
            return candidate
        if url is not None and pin is not None and pin.size is not None:
            return fetch(RemoteFile(path, url, pin.sha256, pin.size), data_folder(self.data_dir), owner=self.owner)
        searched = " or ".join(str(root / path) for root in self.roots) or path
        action = "put it there, or name the folder that has it" if self.roots else "name the folder that has it"
        raise DataError(f"{searched} is missing: {action} with --data-dir or HBT_BENCH_DATA")

    def first(self, names: tuple[str, ...]) -> str:
        """Return the first of `names` that a folder has, or the first name, for which `find` raises the error."""
        present = (name for root in self.roots for name in names if os.path.lexists(root / name))
        return next(present, names[0])

    def _warn_of_hidden(self, chosen: Path, others: Iterable[Path]) -> None:
        for other in others:
            if other.is_file() and chosen.is_file() and not other.samefile(chosen):
                log.warning(
                    f"{chosen} is read, and {other} with the same name is ignored: the data folder takes precedence"
                )


def _check_inside(path: Path, root: Path) -> None:
    """Raise `DataError` if a symbolic link leads out of `root`, to a missing file, or back to itself."""
    try:
        inside = path.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:  # a link to itself, for which Python versions raise different errors
        raise DataError(f"{path} is a link to a missing file or back to itself: replace it by the file") from error
    if not inside:
        raise DataError(f"{path} leads out of {root}: a task may only read files in its folder")


def check_relative(path: str) -> None:
    """Raise `DataError` unless `path` is a plain relative path with forward slashes that stays in its folder."""
    plain = one_line(path) == path and not path.startswith("~") and not set('\\:*?"<>|') & set(path)
    if not plain or {"", ".", ".."} & set(path.split("/")):
        raise DataError(f"'{path[:80]}' is not a path in a folder: write it like folder/file.jsonl")


def problem_of(path: Path, sha256: str, size: int | None = None, name: str = "") -> str:
    """Return why the file at `path` does not have this hash and size, or an empty text if it has.

    Messages call the file `name`, if given.
    """
    try:
        status = path.stat()
        if size is not None and status.st_size != size:
            return f"size mismatch: {path} has {status.st_size} bytes, expected {size}"
        key = (str(path.absolute()), status.st_mtime_ns, status.st_size, sha256)
        if key not in _verified:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if digest != sha256:
                return f"checksum mismatch: {name or path} has sha256 {digest[:12]}…, expected {sha256[:12]}…"
            _verified.add(key)
    except (FileNotFoundError, NotADirectoryError):
        return f"{path} is missing"
    except OSError as error:
        return f"cannot read {path}: {error.strerror or error}"
    return ""


def _by_hand(name: str, url: str, path: Path) -> str:
    """Return the end of a message: how to get a file without this program's download."""
    return f"save {url} as {path} yourself, or set HBT_BENCH_DATA (--data-dir) to a folder with {name}"


# Downloads


@dataclass(frozen=True)
class RemoteFile:
    """Pinned content at `url`, and its path in a data folder; raises `DataError` for a path that leaves the folder."""

    path: str  # relative, as in "lareqa/xquad-r/ar.json"
    url: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        check_relative(self.path)

    def problem(self, path: Path, name: str = "") -> str:
        """Return why the file at `path` is not this file, or an empty text if it is; messages call it `name`."""
        return problem_of(path, self.sha256, self.size, name)


class _FailedError(Exception):
    """A download failed for good; the message is the cause."""


class _BrokenError(_FailedError):
    """A download failed, but may work on the next try."""


def locate(file: RemoteFile, data_dir: Path | None = None, *, owner: str) -> Path:
    """Return the path of `file`, verified, without using the network.

    The file must be in `data_dir` if given, else in HBT_BENCH_DATA if set, else in the cache. `owner` is the name for
    ``hbt-bench data fetch``. Raises `DataError` for a missing or damaged file.
    """
    folder = data_folder(data_dir)
    path = (folder or cache_dir() / "data") / file.path
    if problem := file.problem(path):
        command = f"{'delete it and ' if os.path.lexists(path) else ''}run `hbt-bench data fetch {owner}`, or "
        raise DataError(f"{problem}; {'' if folder else command}{_by_hand(file.path, file.url, path)}")
    return path


def fetch(file: RemoteFile, data_dir: Path | None = None, *, owner: str) -> Path:
    """Return the path of `file`, verified, after downloading it into the cache if it is missing or damaged there.

    If the user has a data folder (`data_dir` or HBT_BENCH_DATA), nothing is downloaded, as in `locate`. An interrupted
    download is resumed, and processes that need the same file take turns. Raises `DataError` if the file is not
    available, and `OutputError` if the cache cannot be written.
    """
    if data_folder(data_dir):
        return locate(file, data_dir, owner=owner)
    path = cache_dir() / "data" / file.path
    if not file.problem(path):
        return path
    from filelock import FileLock

    partial = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if file.problem(path):  # another process may have downloaded it meanwhile
                _download(file, partial)
                partial.replace(path)
    except OSError as error:
        raise output_error(path, error, "set HBT_BENCH_CACHE to another folder") from error
    except _FailedError as error:
        remedy = _by_hand(file.path, file.url, path)
        raise DataError(f"cannot download {file.url} for {owner}: {error}; {remedy}") from error
    return path


def _download(file: RemoteFile, partial: Path) -> None:
    """Download the verified file to `partial`; raises `_FailedError`, or `OSError` if it cannot be written."""
    for attempt in range(_RETRIES + 1):
        resumed = partial.exists()
        try:
            _transfer(file, partial)
            if not (problem := file.problem(partial, "the download")):
                return
            partial.unlink()
            # A resumed download may mix two versions and deserves a second try; a complete download does not.
            raise (_BrokenError if resumed else _FailedError)(problem)
        except _BrokenError:
            if attempt == _RETRIES:
                raise
        time.sleep(_BACKOFF * 2**attempt)


def _transfer(file: RemoteFile, partial: Path) -> None:
    """Complete `partial` with a request; raises as `_download` does, and keeps the received bytes."""
    import requests

    start = partial.stat().st_size if partial.exists() else 0
    if 0 < start == file.size:
        return
    # With compression, the positions of a range would not be positions in the file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with requests.Session() as session:
            session.adapters.clear()  # so that redirects to other schemes fail too
            for prefix in _ALLOWED:
                session.mount(prefix, requests.adapters.HTTPAdapter())
            with session.get(file.url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
                _receive(response, file, partial, start)
    except requests.ConnectTimeout as error:  # most likely a firewall, so that more tries would only take longer
        raise _FailedError("the server does not answer") from error
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        stalled = isinstance(error, requests.Timeout) or "timed out" in str(error)
        cause = "the server does not answer" if stalled else f"the connection failed ({type(error).__name__})"
        raise _BrokenError(cause) from error
    except requests.RequestException as error:
        raise _FailedError(f"{error} (https addresses only)") from error


def _receive(response: Response, file: RemoteFile, partial: Path, start: int) -> None:
    """Append the body to `partial`, or start over if the server does not resume at `start`."""
    status, content_range = response.status_code, response.headers.get("Content-Range", "")
    if status == 416 or (status == 206 and not content_range.startswith(f"bytes {start}-")):
        partial.unlink(missing_ok=True)
        raise _BrokenError("the server cannot resume a download")
    if status not in (200, 206):
        raise (_BrokenError if status == 429 or status >= 500 else _FailedError)(f"HTTP {status} {response.reason}")
    size = start if status == 206 else 0
    count = counter(f"downloading {file.path} (bytes)", file.size, size)
    with partial.open("ab" if size else "wb") as stream:
        for chunk in response.iter_content(1 << 16):
            size += len(chunk)
            if size > file.size:
                break
            stream.write(chunk)
            count(len(chunk))
        stream.flush()
        os.fsync(stream.fileno())
    if size > file.size:
        partial.unlink()
        raise _FailedError(f"the server sends more than the expected {file.size} bytes")
    if size < file.size:
        raise _BrokenError(f"the transfer ended after {size} of {file.size} bytes")
