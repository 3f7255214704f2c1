"""Lookup of data files: in the user's data folder, next to the task file or recipe, and in the cache."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from hbt_bench.data import download
from hbt_bench.data.download import RemoteFile
from hbt_bench.errors import DataError, UsageError
from hbt_bench.text import one_line

log = logging.getLogger(__name__)


def search_folders(data_dir: Path | None, recipe_folder: Path | None) -> tuple[Path, ...]:
    """Return the folders in which recipes look for files: the data folder, the recipe's folder, the current folder.

    Raises `UsageError` if the data folder, `data_dir` or HBT_BENCH_DATA, does not exist.
    """
    data_folder = download.data_folder(data_dir)
    if data_folder is not None and not data_folder.is_dir():
        raise UsageError(f"the data folder {data_folder} does not exist: set --data-dir or HBT_BENCH_DATA to a folder")
    return tuple(dict.fromkeys(folder for folder in (data_folder, recipe_folder, Path()) if folder is not None))


def first_path(folders: Iterable[Path], path: str, exists: Callable[[Path], bool]) -> Path | None:
    """Return the path in the first folder in which it `exists`, for example as a file with ``Path.is_file``."""
    return next((folder / path for folder in folders if exists(folder / path)), None)


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
        return tuple(root for root in (self.data_folder, self.folder) if root is not None)

    @property
    def data_folder(self) -> Path | None:
        """The user's data folder, or None. If there is a data folder, nothing is downloaded."""
        return download.data_folder(self.data_dir)

    def find(self, path: str, pin: Pin | None = None, url: str | None = None) -> Path:
        """Return the local file at the relative `path`, verified against `pin`.

        A file with the same path in a later folder causes a warning. Raises `DataError` if the path leaves its folder,
        by dots or by a symbolic link, and if the file is missing or does not match the pin.
        """
        check_relative(path)
        for root in self.roots:
            candidate = root / path
            if not os.path.lexists(candidate):
                continue
            check_inside(candidate, root)
            self._warn_of_hidden(candidate, path)
            if not candidate.is_file():
                raise DataError(f"{candidate} is not a file")
            self._check_pin(candidate, path, pin, url)
            return candidate
        if url is not None and pin is not None and pin.size is not None:
            remote = RemoteFile(path, url, pin.sha256, pin.size)
            return download.fetch(remote, owner=self.owner, data_dir=self.data_folder)
        searched = " or ".join(str(root / path) for root in self.roots) or path
        action = "put it there, or name the folder that has it" if self.roots else "name the folder that has it"
        raise DataError(f"{searched} is missing: {action} with --data-dir or HBT_BENCH_DATA")

    def _check_pin(self, candidate: Path, path: str, pin: Pin | None, url: str | None) -> None:
        problem = download.problem_of(candidate, pin.sha256, pin.size) if pin else ""
        if problem and url is not None:
            raise DataError(f"{problem}; {download.by_hand(path, url, candidate)}")
        if problem:
            raise DataError(f"{problem}: the task '{self.owner}' is defined for another file")

    def first(self, names: tuple[str, ...]) -> str:
        """Return the first of `names` that a folder has, or the first name, for which `find` raises the error.

        Other names that the folder has cause a warning.
        """
        for root in self.roots:
            present = [name for name in names if os.path.lexists(root / name)]
            for name in present[1:]:
                log.warning(f"{root / present[0]} is read, and {root / name} is ignored")
            if present:
                return present[0]
        return names[0]

    def _warn_of_hidden(self, chosen: Path, path: str) -> None:
        for root in self.roots:
            other = root / path
            if other != chosen and other.is_file() and chosen.is_file() and not other.samefile(chosen):
                log.warning(
                    f"{chosen} is read, and {other} with the same name is ignored: the data folder takes precedence"
                )


@dataclass(frozen=True)
class Pin:
    """SHA-256 of a file, and its size in bytes if it can be downloaded."""

    sha256: str
    size: int | None = None


def check_inside(path: Path, root: Path) -> None:
    """Raise `DataError` if a symbolic link leads out of `root`, to a missing file, or back to itself."""
    try:
        is_inside = path.resolve().is_relative_to(root.resolve())
        path.stat() if path.is_symlink() else None
    except FileNotFoundError:
        raise DataError(f"{path} is a link to a missing file") from None
    except (OSError, RuntimeError):  # a link to itself, for which Python versions raise different errors
        raise DataError(f"{path} is a link that leads back to itself: replace it by the file") from None
    if not is_inside:
        raise DataError(f"{path} leads out of {root}: a task may only read files in its folder")


def check_relative(path: str) -> None:
    """Raise `DataError` unless `path` is a plain relative path with forward slashes that stays in its folder."""
    steps = path.split("/")
    if not path or path.startswith("/") or not {"", ".", ".."}.isdisjoint(steps) or _has_odd_characters(path):
        raise DataError(f"'{path[:80]}' is not a path in a folder: write it like folder/file.jsonl")


def _has_odd_characters(path: str) -> bool:
    return any(character in '\\:*?"<>|' for character in path) or one_line(path) != path or path.startswith("~")
