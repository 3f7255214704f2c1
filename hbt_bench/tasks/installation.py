"""Checks of an installation: versions, devices, cache, data and disk, each told with its result and what to do."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from itertools import islice
from pathlib import Path

from hbt_bench.corpus.atomic import check_writable
from hbt_bench.corpus.download import cache_dir, data_folder, problem_of
from hbt_bench.errors import HbtBenchError
from hbt_bench.ranking import store
from hbt_bench.tasks.registry import definitions
from hbt_bench.tasks.validation import Check, Status

_PACKAGE = "hbt-bench"
#: Free bytes below which a run of 100,000 documents with 1,024 dimensions may not fit.
_ROOM = 2 << 30
#: Files of the cache that are hashed, newest first; there may be many thousands.
_LOOKED_AT = 2000

#: The result of a check, and its sentence.
Found = tuple[Status, str]


def check_all(data_dir: Path | None = None) -> Iterator[Check]:
    """Yield each check when it is done; none loads a model or uses the network."""
    yield _checked("python", _python)
    for name, found in _packages():
        yield Check(name, *found)
    yield _checked("device", _device)
    yield _checked("cache", _cache)
    yield _checked("vectors", _vectors)
    for name, found in _data(data_dir):
        yield Check(name, *found)
    yield _checked("disk", _disk)
    yield _checked("network", _network)


def _checked(name: str, check: Callable[[], Found]) -> Check:
    try:
        return Check(name, *check())
    except HbtBenchError as error:
        return Check(name, "failed", str(error))


def _python() -> Found:
    from packaging.specifiers import SpecifierSet

    wanted, here = metadata(_PACKAGE)["Requires-Python"], platform.python_version()
    if SpecifierSet(wanted).contains(here, prereleases=True):
        return "passed", f"{here}, supported is {wanted}"
    return "failed", f"{here}, supported is {wanted}: make an environment of such a Python"


def _packages() -> Iterator[tuple[str, Found]]:
    """Every package that is needed, and those that more can be done with; tools of development are left out."""
    from packaging.requirements import Requirement

    wanted = [Requirement(line) for line in requires(_PACKAGE) or ()]
    for one in wanted:
        extra = next((name for name in _extras() if one.marker and not one.marker.evaluate({"extra": ""})
                      and one.marker.evaluate({"extra": name})), "")  # fmt: skip
        if extra == "dev" or (one.marker and not extra and not one.marker.evaluate({"extra": ""})):
            continue
        name = f"{_PACKAGE}[{extra}]" if extra else f"{one.name}{one.specifier}"
        try:
            here = version(one.name)
        except PackageNotFoundError:
            status: Status = "skipped" if extra else "failed"
            yield one.name, (status, f"not installed: `pip install '{name}'`{' if you need it' if extra else ''}")
            continue
        if one.specifier.contains(here, prereleases=True):
            yield one.name, ("passed", f"{here}, supported is {one.specifier or 'any'}")
        else:
            yield (
                one.name,
                ("failed", f"{here}, supported is {one.specifier}: `pip install '{one.name}{one.specifier}'`"),
            )


def _extras() -> list[str]:
    return metadata(_PACKAGE).get_all("Provides-Extra") or []


def _device() -> Found:
    try:
        import torch
    except Exception as error:  # a library that is missing or of another CUDA raises what it likes
        return "failed", f"torch cannot be loaded ({type(error).__name__}: {str(error)[:100]}): install it again"
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        return "passed", ", ".join(f"{one.name} {one.total_memory / 2**30:.0f} GiB" for one in names)
    if torch.backends.mps.is_available():
        return "passed", "Apple's GPU (mps)"
    threads = torch.get_num_threads()
    return "passed", f"no GPU: models run on the CPU with {threads} thread{'s' * (threads > 1)}"


def _cache() -> Found:
    folder = cache_dir()
    check_writable(folder, "set HBT_BENCH_CACHE to another folder")
    sizes = [path.lstat().st_size for path in folder.rglob("*") if path.is_file()]
    left = [path for path in folder.rglob(".*.tmp") if path.is_file()]
    text = f"{folder} can be written; {len(sizes):,} files, {sum(sizes) / 1e9:.2f} GB"
    if left:
        return "warning", f"{text}; {len(left)} are left over from killed runs: delete {left[0]} and those like it"
    return "passed", text


def _vectors() -> Found:
    """Hash what is stored; a damaged file is encoded again when it is asked for, so it is no failure."""
    folder = cache_dir() / "embeddings"
    found = sorted(folder.rglob("*.safetensors"), key=lambda path: path.stat().st_mtime, reverse=True)
    looked_at = list(islice(found, _LOOKED_AT))
    damaged = [path for path in looked_at if not store.is_whole(path)]
    if damaged:
        return "warning", f"{len(damaged)} of {len(looked_at):,} files are damaged, as {damaged[0]}: delete them"
    return "passed", f"{len(looked_at):,} of {len(found):,} stored files looked at, all whole"


def _data(data_dir: Path | None) -> Iterator[tuple[str, Found]]:
    """The pinned files of each task: in the folder of the user, or in the cache."""
    root = data_dir or data_folder()
    if root is not None and not root.is_dir():
        yield "data", ("failed", f"{root} is no folder: let HBT_BENCH_DATA (--data-dir) name the folder of the data")
        return
    place = root or cache_dir() / "data"
    for name, spec in definitions().items():
        files = list(spec.source.remote_files().values())
        here = [file for file in files if os.path.lexists(place / file.path)]
        problems = [problem for file in here if (problem := problem_of(place / file.path, file.sha256, file.size))]
        way = "fetch them by hand" if root else f"`hbt-bench data fetch {name}`"
        if problems:
            yield name, ("failed", f"{problems[0]}: delete it and {way}")
        elif files and not here:
            yield name, ("skipped", f"no data in {place}: {way}")
        elif len(here) < len(files):
            yield name, ("warning", f"{len(here)} of {len(files)} files in {place}: {way}")
        elif files:
            yield name, ("passed", f"{len(files)} files in {place}, SHA-256 as pinned")


def _disk() -> Found:
    places = {"the cache": cache_dir(), "this folder": Path()}
    free = {name: shutil.disk_usage(_existing(path)).free for name, path in places.items()}
    text = ", ".join(f"{amount / 1e9:.1f} GB free for {name}" for name, amount in free.items())
    if min(free.values()) < _ROOM:
        return "warning", f"{text}: free some space, or set HBT_BENCH_CACHE and --output to another disk"
    return "passed", text


def _existing(path: Path) -> Path:
    return next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())


def _network() -> Found:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return "passed", "HF_HUB_OFFLINE is set: models and data sets of the hub come from their cache only"
    return "passed", "not tried; models of the hub and `hbt-bench data fetch` need it once"
