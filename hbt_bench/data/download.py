"""Pinned files: found in the user's data folder, or downloaded into the cache, and always verified.

pooch was considered: it neither resumes a download, nor limits its size, nor refuses redirects to plain http.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hbt_bench.errors import DataError, UsageError
from hbt_bench.files import output_error
from hbt_bench.log import counter

if TYPE_CHECKING:  # requests and filelock are slow to import, and most calls find their files in place
    from requests import Response

_ALLOWED = ("https://",)  # tests add their own server
_TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two reads
_RETRIES = 3
_BACKOFF = 0.5  # seconds before the first retry, doubled before each further retry

_verified: set[tuple[str, int, int, str]] = set()  # path, mtime, size and hash of files verified before


@dataclass(frozen=True)
class RemoteFile:
    """Pinned content at `url`, and its path in a data folder; raises `DataError` for a path that leaves the folder."""

    path: str  # relative, as in "lareqa/xquad-r/ar.json"
    url: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        if re.search(r'[\\:*?"<>|\x00-\x1f]', self.path) or not {"", ".", ".."}.isdisjoint(self.path.split("/")):
            raise DataError(f"{self.path!r} is not a path in a data folder; write it like 'folder/file.json'")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise DataError(f"{self.path} has sha256 {self.sha256!r}; write it as 64 digits, 0-9 and a-f")


class _FailedError(Exception):
    """A download failed for good; the message is the cause."""


class _BrokenError(_FailedError):
    """A download failed, but may work on the next try."""


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


def locate(file: RemoteFile, data_dir: Path | None = None, *, owner: str) -> Path:
    """Return the path of `file`, verified, without using the network.

    The file must be in `data_dir` if given, else in HBT_BENCH_DATA if set, else in the cache. `owner` is the name for
    ``hbt-bench data fetch``. Raises `DataError` for a missing or damaged file.
    """
    path, in_cache = _path_of(file, data_dir)
    if problem := _problem(file, path):
        command = f"{'delete it and ' if os.path.lexists(path) else ''}run `hbt-bench data fetch {owner}`, or "
        raise DataError(f"{problem}; {command if in_cache else ''}{by_hand(file.path, file.url, path)}")
    return path


def fetch(file: RemoteFile, *, owner: str, data_dir: Path | None = None, offline: bool = False) -> Path:
    """Return the path of `file`, verified, after downloading it into the cache if it is missing or damaged there.

    If `offline`, or if the user has a data folder (`data_dir` or HBT_BENCH_DATA), nothing is downloaded, as in
    `locate`. An interrupted download is resumed, and processes that need the same file take turns. Raises `DataError`
    if the file is not available, and `OutputError` if the cache cannot be written.
    """
    path, in_cache = _path_of(file, data_dir)
    if offline or not in_cache or not _problem(file, path):
        return locate(file, data_dir, owner=owner)
    from filelock import FileLock

    partial = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if _problem(file, path):  # another process may have downloaded it meanwhile
                _download(file, partial)
                partial.replace(path)
    except OSError as error:
        raise output_error(path, error, "set HBT_BENCH_CACHE to another folder") from error
    except _FailedError as error:
        raise DataError(
            f"cannot download {file.url} for {owner}: {error}; {by_hand(file.path, file.url, path)}"
        ) from error
    return locate(file, owner=owner)


def _path_of(file: RemoteFile, data_dir: Path | None) -> tuple[Path, bool]:
    """Return the path of `file`, and whether it is in the cache."""
    folder = data_folder(data_dir)
    return (folder or cache_dir() / "data") / file.path, folder is None


def by_hand(name: str, url: str, path: Path) -> str:
    """Return the end of a message: how to get a file without this program's download."""
    return f"save {url} as {path} yourself, or set HBT_BENCH_DATA (--data-dir) to a folder with {name}"


def problem_of(path: Path, sha256: str, size: int | None) -> str:
    """Return why the file at `path` does not have this hash and size, or an empty text if it has."""
    return _problem(RemoteFile("file", "", sha256, path.stat().st_size if size is None else size), path)


def _problem(file: RemoteFile, path: Path, name: str = "") -> str:
    """Return why the file at `path` is not `file`, or an empty text if it is; messages call it `name`."""
    try:
        status = path.stat()
        if status.st_size != file.size:
            return f"size mismatch: {path} has {status.st_size} bytes, expected {file.size}"
        key = (str(path.absolute()), status.st_mtime_ns, status.st_size, file.sha256)
        if key not in _verified:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if digest != file.sha256:
                return f"checksum mismatch: {name or path} has sha256 {digest[:12]}…, expected {file.sha256[:12]}…"
            _verified.add(key)
    except (FileNotFoundError, NotADirectoryError):
        return f"{path} is missing"
    except OSError as error:
        return f"cannot read {path}: {error.strerror or error}"
    return ""


def _download(file: RemoteFile, partial: Path) -> None:
    """Download the verified file to `partial`; raises `_FailedError`, or `OSError` if it cannot be written."""
    for attempt in range(_RETRIES + 1):
        resumed = partial.exists()
        try:
            _transfer(file, partial)
            if not (problem := _problem(file, partial, "the download")):
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
