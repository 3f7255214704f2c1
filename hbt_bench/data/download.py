"""Pinned files: found in the user's folder or in the cache, fetched when that is allowed, verified always."""

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
_BACKOFF = 0.5  # seconds before the first retry, doubled before each further one

_verified: set[tuple[str, int, int, str]] = set()  # path, mtime, size and hash of what this process has hashed


@dataclass(frozen=True)
class RemoteFile:
    """Pinned content at `url`, and its place below a data folder; raises `DataError` for a path that leaves it."""

    path: str  # relative, as in "lareqa/xquad-r/ar.json"
    url: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        if re.search(r'[\\:*?"<>|\x00-\x1f]', self.path) or not {"", ".", ".."}.isdisjoint(self.path.split("/")):
            raise DataError(f"{self.path!r} is no path below a data folder; write it like 'folder/file.json'")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise DataError(f"{self.path} has sha256 {self.sha256!r}; write it as 64 digits, 0-9 and a-f")


class _FailedError(Exception):
    """A download that cannot work; the message is the cause."""


class _BrokenError(_FailedError):
    """A download that may work on the next try."""


def expanded(path: str, variable: str) -> Path:
    """A path from the environment, ``~`` being the home; raises `UsageError` for that of a user who does not exist."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{variable} names {path}, and there is no such user: write the path in full") from error


def data_folder(data_dir: Path | None = None) -> Path | None:
    """Return the user's data folder: `data_dir`, else HBT_BENCH_DATA, else None."""
    variable = os.environ.get("HBT_BENCH_DATA")
    return data_dir or (expanded(variable, "HBT_BENCH_DATA") if variable else None)


def cache_dir() -> Path:
    """Return the folder for all that can be fetched or computed again: HBT_BENCH_CACHE or the system's choice."""
    if chosen := os.environ.get("HBT_BENCH_CACHE"):
        return expanded(chosen, "HBT_BENCH_CACHE")
    from platformdirs import user_cache_path

    return user_cache_path("hbt-bench", appauthor=False)


def locate(file: RemoteFile, data_dir: Path | None = None, *, owner: str) -> Path:
    """Return where `file` lies, verified, without any use of the network.

    Looks in `data_dir`, else HBT_BENCH_DATA, else the cache: in the first of them that is given, and only there.
    `owner` is the name that ``hbt-bench data fetch`` takes. Raises `DataError` for a missing or damaged file.
    """
    path, in_cache = _place(file, data_dir)
    if problem := _problem(file, path):
        ask = f"{'delete it and ' if os.path.lexists(path) else ''}run `hbt-bench data fetch {owner}`, or "
        raise DataError(f"{problem}; {ask if in_cache else ''}{by_hand(file.path, file.url, path)}")
    return path


def fetch(
    file: RemoteFile, *, owner: str, data_dir: Path | None = None, offline: bool = False
) -> Path:
    """Return where `file` lies, verified, after downloading it into the cache if it is missing or damaged there.

    Downloads nothing when `offline`, nor into a folder of the user (`data_dir` or HBT_BENCH_DATA); it is then
    `locate`. An interrupted download is resumed, and processes that want the same file take turns.
    Raises `DataError` when the file is not to be had, `OutputError` when the cache cannot be written.
    """
    path, in_cache = _place(file, data_dir)
    if offline or not in_cache or not _problem(file, path):
        return locate(file, data_dir, owner=owner)
    from filelock import FileLock

    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if _problem(file, path):  # another process may have fetched it meanwhile
                _download(file, part)
                part.replace(path)
    except OSError as error:
        raise output_error(path, error, "set HBT_BENCH_CACHE to another folder") from error
    except _FailedError as error:
        raise DataError(
            f"cannot download {file.url} for {owner}: {error}; {by_hand(file.path, file.url, path)}"
        ) from error
    return locate(file, owner=owner)


def _place(file: RemoteFile, data_dir: Path | None) -> tuple[Path, bool]:
    """Return the path of `file`, and whether that is in the cache."""
    folder = data_folder(data_dir)
    return (folder or cache_dir() / "data") / file.path, folder is None


def by_hand(name: str, url: str, path: Path) -> str:
    """What to do without a download: half a sentence."""
    return f"save {url} as {path} yourself, or let HBT_BENCH_DATA (--data-dir) name a folder with {name}"


def problem_of(path: Path, sha256: str, size: int | None) -> str:
    """Say what keeps the file at `path` from having this hash and, if given, this size; or nothing."""
    return _problem(RemoteFile("file", "", sha256, path.stat().st_size if size is None else size), path)


def _problem(file: RemoteFile, path: Path, name: str = "") -> str:
    """Say what keeps the file at `path` from being `file`, or nothing."""
    try:
        status = path.stat()
        if status.st_size != file.size:
            return f"size mismatch: {path} has {status.st_size} bytes, expected {file.size}"
        key = (str(path.absolute()), status.st_mtime_ns, status.st_size, file.sha256)
        if key not in _verified:
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
            if found != file.sha256:
                return f"checksum mismatch: {name or path} has sha256 {found[:12]}…, expected {file.sha256[:12]}…"
            _verified.add(key)
    except (FileNotFoundError, NotADirectoryError):
        return f"{path} is missing"
    except OSError as error:
        return f"cannot read {path}: {error.strerror or error}"
    return ""


def _download(file: RemoteFile, part: Path) -> None:
    """Make `part` the verified file; raises `_FailedError`, or `OSError` when `part` cannot be written."""
    for attempt in range(_RETRIES + 1):
        resumed = part.exists()
        try:
            _transfer(file, part)
            if not (problem := _problem(file, part, "what the server sends")):
                return
            part.unlink()
            # Bytes from before may be of another version, which deserves a second try; a whole download does not.
            raise (_BrokenError if resumed else _FailedError)(problem)
        except _BrokenError:
            if attempt == _RETRIES:
                raise
        time.sleep(_BACKOFF * 2**attempt)


def _transfer(file: RemoteFile, part: Path) -> None:
    """Bring `part` to its full size with one request; raises as `_download` does and keeps what has arrived."""
    import requests

    start = part.stat().st_size if part.exists() else 0
    if 0 < start == file.size:
        return
    # Compressed on the way, the positions in a range would not be those in the file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with requests.Session() as session:
            session.adapters.clear()  # the one gate for the address itself and for all that it redirects to
            for prefix in _ALLOWED:
                session.mount(prefix, requests.adapters.HTTPAdapter())
            with session.get(file.url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
                _receive(response, file, part, start)
    except requests.ConnectTimeout as error:  # most likely a firewall: more tries would only take longer
        raise _FailedError("the server does not answer") from error
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        stalled = isinstance(error, requests.Timeout) or "timed out" in str(error)
        cause = "the server does not answer" if stalled else f"no connection, or it broke ({type(error).__name__})"
        raise _BrokenError(cause) from error
    except requests.RequestException as error:
        raise _FailedError(f"{error} (https addresses only)") from error


def _receive(response: Response, file: RemoteFile, part: Path, start: int) -> None:
    """Append the body to `part`, or start it over when the server does not resume at `start`."""
    status, content_range = response.status_code, response.headers.get("Content-Range", "")
    if status == 416 or (status == 206 and not content_range.startswith(f"bytes {start}-")):
        part.unlink(missing_ok=True)
        raise _BrokenError("the server cannot resume a download")
    if status not in (200, 206):
        raise (_BrokenError if status == 429 or status >= 500 else _FailedError)(f"HTTP {status} {response.reason}")
    size = start if status == 206 else 0
    count = counter(f"downloading {file.path} (bytes)", file.size, size)
    with part.open("ab" if size else "wb") as stream:
        for chunk in response.iter_content(1 << 16):
            size += len(chunk)
            if size > file.size:
                break
            stream.write(chunk)
            count(len(chunk))
        stream.flush()
        os.fsync(stream.fileno())
    if size > file.size:
        part.unlink()
        raise _FailedError(f"the server sends more than the expected {file.size} bytes")
    if size < file.size:
        raise _BrokenError(f"the transfer ended after {size} of {file.size} bytes")
