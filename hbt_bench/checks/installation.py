"""Checks of an installation: versions, devices, cache, data and disk, each told with its result and what to do."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hbt_bench.checks.check import Check, Status
from hbt_bench.data.download import cache_dir, data_folder, problem_of
from hbt_bench.errors import HbtBenchError
from hbt_bench.files import check_writable
from hbt_bench.text import one_line

if TYPE_CHECKING:  # other packages, and what of ours needs them, are met inside the checks: any may be broken
    from packaging.requirements import Requirement

    from hbt_bench.tasks.task import TaskSpec

_PACKAGE = "hbt-bench"
#: Packages whose module has another name.
_MODULES = {"pyyaml": "yaml", "scikit-learn": "sklearn"}
#: Packages that take seconds to import and are only looked for.
_SLOW = ("mteb", "sentence-transformers", "transformers")
#: Free bytes below which a run of 100,000 documents with 1,024 dimensions may not fit.
_ROOM = 2 << 30
#: Files of the cache that are hashed, newest first; there may be many thousands.
_LOOKED_AT = 2000

#: The result of a check, and its sentence.
Found = tuple[Status, str]


def check_all(data_dir: Path | None = None) -> Iterator[Check]:
    """Yield each check when it is done; none loads a model or uses the network, and none raises."""
    yield Check("python", *_tried(_python))
    yield from _all("packages", _packages)
    yield Check("device", *_tried(_device))
    yield Check("cache", *_tried(_cache))
    yield Check("vectors", *_tried(_vectors))
    yield from _all("data", partial(_data, data_dir))
    yield Check("disk", *_tried(_disk))
    yield Check("network", *_tried(_network))


def _tried(check: Callable[[], Found]) -> Found:
    try:
        return check()
    except Exception as error:  # a broken package raises what it likes
        return "failed", _problem(error)


def _all(name: str, checks: Callable[[], Iterator[tuple[str, Found]]]) -> Iterator[Check]:
    """Several checks of one kind; what keeps them from being made is told under `name`."""
    try:
        for one, found in checks():
            yield Check(one, *found)
    except Exception as error:
        yield Check(name, "failed", _problem(error))


def _problem(error: Exception, package: str = _PACKAGE) -> str:
    """What is wrong and what to do about it; `package` is installed again where the error names no other."""
    if isinstance(error, HbtBenchError):
        return str(error)
    cause = one_line(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}")
    if isinstance(error, OSError):
        return f"{cause}: mend or delete what it names"
    if isinstance(error, ImportError) and error.name and not error.name.startswith("hbt_bench"):
        module = error.name.partition(".")[0]
        package = next((name for name, one in _MODULES.items() if one == module), module)
    return f"{package} is missing or broken ({cause}): `pip install --force-reinstall {package}`"


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
        yield one.name, _tried(partial(_package, one, extra))


def _package(one: Requirement, extra: str) -> Found:
    try:
        here = version(one.name)
    except PackageNotFoundError:
        name = f"{_PACKAGE}[{extra}]" if extra else f"{one.name}{one.specifier}"
        status: Status = "skipped" if extra else "failed"
        return status, f"not installed: `pip install '{name}'`{' if you need it' if extra else ''}"
    if not one.specifier.contains(here, prereleases=True):
        return "failed", f"{here}, supported is {one.specifier}: `pip install '{one.name}{one.specifier}'`"
    if not extra and (problem := _not_loaded(one.name)):
        return "failed", problem
    return "passed", f"{here}, supported is {one.specifier or 'any'}"


def _not_loaded(package: str) -> str:
    """What keeps a package from being imported, or nothing; its metadata may be there without it."""
    module = _MODULES.get(package, package.replace("-", "_"))
    try:
        if package not in _SLOW:
            import_module(module)
        elif find_spec(module) is None:
            raise ModuleNotFoundError(f"No module named '{module}'", name=module)
    except Exception as error:
        return _problem(error, package)
    return ""


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
    files = _below(folder)
    sizes = [status.st_size for status in files.values()]
    left = [path for path in files if path.name.startswith(".") and path.suffix == ".tmp"]
    text = f"{folder} can be written; {len(sizes):,} files, {sum(sizes) / 1e9:.2f} GB"
    if left:
        return "warning", f"{text}; {len(left)} are left over from killed runs: delete {left[0]} and those like it"
    return "passed", text


def _vectors() -> Found:
    """Hash what is stored; a damaged file is encoded again when it is asked for, so it is no failure."""
    from hbt_bench.ranking.store import is_whole

    files = _below(cache_dir() / "embeddings")
    found = [path for path in sorted(files, key=lambda path: -files[path].st_mtime) if path.suffix == ".safetensors"]
    looked_at = found[:_LOOKED_AT]
    # who opens a pipe waits for ever; another run may remove its vectors meanwhile
    damaged = [path for path in looked_at if not (path.is_file() and is_whole(path)) and os.path.lexists(path)]
    if damaged:
        return "warning", f"{len(damaged)} of {len(looked_at):,} files are damaged, as {damaged[0]}: delete them"
    return "passed", f"{len(looked_at):,} of {len(found):,} stored files looked at, all whole"


def _below(folder: Path) -> dict[Path, os.stat_result]:
    """All that is no folder below a folder; what vanishes meanwhile is left out."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                found[Path(place, name)] = Path(place, name).lstat()
    return found


def _data(data_dir: Path | None) -> Iterator[tuple[str, Found]]:
    """The pinned files of each task: in the folder of the user, or in the cache."""
    root = data_folder(data_dir)
    if root is not None and not root.is_dir():
        yield "data", ("failed", f"{root} is not a folder: set HBT_BENCH_DATA (--data-dir) to the folder of the data")
        return
    place = root or cache_dir() / "data"
    from hbt_bench.tasks.registry import TaskRegistry

    way = "fetch them by hand" if root else "`hbt-bench data fetch {}`"
    for name, spec in TaskRegistry().specs.items():
        if spec.source.remote_files():
            yield name, _tried(partial(_files, spec, place, way.format(name)))


def _files(spec: TaskSpec, place: Path, way: str) -> Found:
    files = list(spec.source.remote_files().values())
    here = [file for file in files if os.path.lexists(place / file.path)]
    problems = [problem for file in here if (problem := problem_of(place / file.path, file.sha256, file.size))]
    if problems:
        return "failed", f"{problems[0]}: delete it and {way}"
    if not here:
        return "skipped", f"no data in {place}: {way}"
    if len(here) < len(files):
        return "warning", f"{len(here)} of {len(files)} files in {place}: {way}"
    return "passed", f"{len(files)} files in {place}, SHA-256 as pinned"


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
