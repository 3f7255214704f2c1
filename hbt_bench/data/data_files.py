"""Where the files of a task lie: in the data folder, beside the task file, or in the cache; never outside of these."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hbt_bench.data import download
from hbt_bench.data.download import RemoteFile
from hbt_bench.errors import DataError
from hbt_bench.log import tell
from hbt_bench.text import one_line


@dataclass(frozen=True)
class DataFiles:
    """The folders in which the files of the task `owner` are looked for.

    `data_dir` (or HBT_BENCH_DATA) is the user's choice, `folder` that of the task file. What neither has is fetched
    into the cache when it has an address and a hash, and the user did not name a data folder.
    """

    owner: str
    folder: Path | None = None
    data_dir: Path | None = None

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders, in the order in which they are searched."""
        return tuple(root for root in (self.data, self.folder) if root is not None)

    @property
    def data(self) -> Path | None:
        """The data folder, if the user named one: then nothing is fetched."""
        return self.data_dir or download.data_folder()

    def find(self, path: str, pin: Pin | None = None, url: str | None = None) -> Path:
        """The local file at the relative `path`, verified against `pin` if there is one.

        Another file of this path in a later folder is told on stderr. Raises `DataError` for a path that leaves its
        folder, by dots or by a symbolic link, and for a file that is missing or not the pinned one.
        """
        check_relative(path)
        for root in self.roots:
            found = root / path
            if not os.path.lexists(found):
                continue
            check_inside(found, root)
            self._tell_hidden(found, path)
            if not found.is_file():
                raise DataError(f"{found} is no file")
            if pin is not None:
                problem = download.problem_of(found, pin.sha256, pin.size)
                if problem and url is not None:
                    raise DataError(f"{problem}; {download.by_hand(path, url, found)}")
                if problem:
                    raise DataError(f"{problem}: it is not the file that the task '{self.owner}' is made for")
            return found
        if url is not None and pin is not None and pin.size is not None:
            return download.fetch(RemoteFile(path, url, pin.sha256, pin.size), owner=self.owner, data_dir=self.data)
        searched = " or ".join(str(root / path) for root in self.roots) or path
        way = "put it there, or name the folder that has it" if self.roots else "name the folder that has it"
        raise DataError(f"{searched} is missing: {way} with --data-dir or HBT_BENCH_DATA")

    def first(self, names: tuple[str, ...]) -> str:
        """The first of `names` that a folder has, else the first of all, for which `find` will have the message.

        Others that the folder has are told on stderr.
        """
        for root in self.roots:
            there = [name for name in names if os.path.lexists(root / name)]
            for name in there[1:]:
                tell(f"{root / there[0]} is read; {root / name}, which is there too, is not")
            if there:
                return there[0]
        return names[0]

    def _tell_hidden(self, found: Path, path: str) -> None:
        for root in self.roots:
            other = root / path
            if other != found and other.is_file() and found.is_file() and not other.samefile(found):
                tell(f"{found} is read; {other}, which has the same name, is not: the data folder goes first")


@dataclass(frozen=True)
class Pin:
    """SHA-256 of a file, and its size in bytes where it can be downloaded."""

    sha256: str
    size: int | None = None


def check_inside(found: Path, root: Path) -> None:
    """Raise `DataError` for a file that a symbolic link takes out of `root`, or round in a circle."""
    try:
        inside = found.resolve().is_relative_to(root.resolve())
        found.stat() if found.is_symlink() else None
    except FileNotFoundError:
        raise DataError(f"{found} is a link to a file that is not there") from None
    except (OSError, RuntimeError):  # a link to itself, which Python tells in two ways
        raise DataError(f"{found} is a link that leads back to itself: replace it by the file") from None
    if not inside:
        raise DataError(f"{found} leads out of {root}: a task reads files of its own folder only")


def check_relative(path: str) -> None:
    """Raise `DataError` unless `path` is a plain relative path with forward slashes that stays in its folder."""
    parts = path.split("/")
    if not path or path.startswith("/") or not {"", ".", ".."}.isdisjoint(parts) or _odd(path):
        raise DataError(f"'{path[:80]}' is no path inside a folder: write it like folder/file.jsonl")


def _odd(path: str) -> bool:
    return any(character in '\\:*?"<>|' for character in path) or one_line(path) != path or path.startswith("~")
