"""Check an installation: versions, devices, cache, data and disk. Each message of a failed check names the fix."""

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
from hbt_bench.data.data_files import cache_dir, data_folder, problem_of
from hbt_bench.errors import HbtBenchError
from hbt_bench.files import check_writable
from hbt_bench.text import one_line

if TYPE_CHECKING:  # the checks import other packages late, because any of them may be broken
    from packaging.requirements import Requirement

    from hbt_bench.tasks.task import TaskSpec

_PACKAGE = "hbt-bench"
#: Packages with a different module name.
_MODULES = {"pyyaml": "yaml", "scikit-learn": "sklearn"}
#: Extras for work on hbt-bench itself.
_NOT_FOR_USERS = ("dev", "docs", "benchmarks")
#: Packages that take seconds to import, so only their presence is checked.
_SLOW = ("mteb", "sentence-transformers", "transformers")
#: Bytes that a run with 100,000 documents of 1,024 dimensions may need.
_ROOM = 2 << 30
#: Number of files in the cache that are hashed, newest first; the cache may have many thousands.
_HASHED = 2000

#: The status of a check, and its message.
Outcome = tuple[Status, str]


def check_all(data_dir: Path | None = None) -> Iterator[Check]:
    """Yield each check when it is done. Checks never raise, load a model or use the network.

    Example: ``all(check.status != "failed" for check in check_all())``
    """
    yield Check("python", *_tried(_python))
    yield from _all("packages", _packages)
    yield Check("device", *_tried(_device))
    yield Check("cache", *_tried(_cache))
    yield Check("vectors", *_tried(_vectors))
    yield from _all("data", partial(_data, data_dir))
    yield Check("disk", *_tried(_disk))
    yield Check("network", *_tried(_network))


def _tried(check: Callable[[], Outcome]) -> Outcome:
    try:
        return check()
    except Exception as error:  # a broken package may raise anything
        return "failed", _problem(error)


def _all(name: str, checks: Callable[[], Iterator[tuple[str, Outcome]]]) -> Iterator[Check]:
    """Yield several checks of a kind, or a failed check called `name` if they cannot be made."""
    try:
        for label, outcome in checks():
            yield Check(label, *outcome)
    except Exception as error:
        yield Check(name, "failed", _problem(error))


def _problem(error: Exception, package: str = _PACKAGE) -> str:
    """Return the cause and the fix: reinstall the package that the error names, or else `package`."""
    if isinstance(error, HbtBenchError):
        return str(error)
    cause = one_line(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}")
    if isinstance(error, OSError):
        return f"{cause}: fix or delete this path"
    if isinstance(error, ImportError) and error.name and not error.name.startswith("hbt_bench"):
        module = error.name.partition(".")[0]
        package = next((name for name, alias in _MODULES.items() if alias == module), module)
    return f"{package} is missing or broken ({cause}): `pip install --force-reinstall {package}`"


def _python() -> Outcome:
    from packaging.specifiers import SpecifierSet

    required, installed = metadata(_PACKAGE)["Requires-Python"], platform.python_version()
    if SpecifierSet(required).contains(installed, prereleases=True):
        return "passed", f"{installed}, supported is {required}"
    return "failed", f"{installed}, supported is {required}: create an environment with a supported Python"


def _packages() -> Iterator[tuple[str, Outcome]]:
    """Yield a check for each required package and each optional package; skip the tools of development."""
    from packaging.requirements import Requirement

    names: set[str] = set()
    for requirement in map(Requirement, requires(_PACKAGE) or ()):
        marker = requirement.marker
        always = marker is None or marker.evaluate({"extra": ""})
        extra = "" if always else next((name for name in _extras() if marker and marker.evaluate({"extra": name})), "")
        if extra in _NOT_FOR_USERS or not (always or extra) or requirement.name in names:
            continue
        names.add(requirement.name)  # several extras may need a package
        yield requirement.name, _tried(partial(_package, requirement, extra))


def _package(requirement: Requirement, extra: str) -> Outcome:
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        name = f"{_PACKAGE}[{extra}]" if extra else f"{requirement.name}{requirement.specifier}"
        status: Status = "skipped" if extra else "failed"
        return status, f"not installed: `pip install '{name}'`{' if you need it' if extra else ''}"
    supported = f"{installed}, supported is {requirement.specifier or 'any'}"
    if not requirement.specifier.contains(installed, prereleases=True):
        return "failed", f"{supported}: `pip install '{requirement.name}{requirement.specifier}'`"
    if not extra and (problem := _import_problem(requirement.name)):
        return "failed", problem
    return "passed", supported


def _import_problem(package: str) -> str:
    """Return the reason why an installed package cannot be imported, or an empty text."""
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
    """Return the names of the extras; ``plot`` is a former name of ``report``."""
    return [name for name in metadata(_PACKAGE).get_all("Provides-Extra") or [] if name != "plot"]


def _device() -> Outcome:
    try:
        import torch
    except Exception as error:  # a missing library or another CUDA version may raise anything
        return "failed", f"torch cannot be loaded ({type(error).__name__}: {str(error)[:100]}): reinstall torch"
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        return "passed", ", ".join(f"{card.name} {card.total_memory / 2**30:.0f} GiB" for card in cards)
    if torch.backends.mps.is_available():
        return "passed", "Apple's GPU (mps)"
    threads = torch.get_num_threads()
    return "passed", f"no GPU: models run on the CPU with {threads} thread{'s' * (threads > 1)}"


def _cache() -> Outcome:
    folder = cache_dir()
    check_writable(folder, "set HBT_BENCH_CACHE to another folder")
    files = _below(folder)
    sizes = [status.st_size for status in files.values()]
    leftovers = [path for path in files if path.name.startswith(".") and path.suffix == ".tmp"]
    text = f"{folder} is writable; {len(sizes):,} files, {sum(sizes) / 1e9:.2f} GB"
    if leftovers:
        return (
            "warning",
            f"{text}; {len(leftovers)} of killed runs: delete {leftovers[0]} and the others",
        )
    return "passed", text


def _vectors() -> Outcome:
    """Hash the stored vectors. A damaged file is only a warning, because a run encodes its texts again."""
    from hbt_bench.ranking.store import is_whole

    files = _below(cache_dir() / "embeddings")
    stored = [path for path in sorted(files, key=lambda path: -files[path].st_mtime) if path.suffix == ".safetensors"]
    hashed = stored[:_HASHED]
    # opening a pipe would block; another run may delete its vectors meanwhile
    damaged = [path for path in hashed if not (path.is_file() and is_whole(path)) and os.path.lexists(path)]
    if damaged:
        return "warning", f"{len(damaged)} of {len(hashed):,} files are damaged, for example {damaged[0]}: delete them"
    return "passed", f"{len(hashed):,} of {len(stored):,} stored files hashed, all intact"


def _below(folder: Path) -> dict[Path, os.stat_result]:
    """Return the status of every file below a folder; skip files that are deleted meanwhile."""
    status = {}
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            with suppress(FileNotFoundError):
                status[path] = path.lstat()
    return status


def _data(data_dir: Path | None) -> Iterator[tuple[str, Outcome]]:
    """Yield a check of the pinned files of each task, in the data folder or else in the cache."""
    root = data_folder(data_dir)
    if root is not None and not root.is_dir():
        yield "data", ("failed", f"{root} is not a folder: set --data-dir or HBT_BENCH_DATA to your data folder")
        return
    folder = root or cache_dir() / "data"
    from hbt_bench.tasks.registry import TaskRegistry

    fix = "download them" if root else "`hbt-bench data fetch {}`"
    for name, spec in TaskRegistry().specs.items():
        if spec.source.remote_files():
            yield name, _tried(partial(_files, spec, folder, fix.format(name)))


def _files(spec: TaskSpec, folder: Path, fix: str) -> Outcome:
    files = list(spec.source.remote_files().values())
    present = [file for file in files if os.path.lexists(folder / file.path)]
    problems = [problem for file in present if (problem := problem_of(folder / file.path, file.sha256, file.size))]
    if problems:
        return "failed", f"{problems[0]}: delete it and {fix}"
    if not present:
        return "skipped", f"no data in {folder}: {fix}"
    if len(present) < len(files):
        return "warning", f"{len(present)} of {len(files)} files in {folder}: {fix}"
    return "passed", f"{len(files)} files in {folder}, SHA-256 as pinned"


def _disk() -> Outcome:
    folders = {"the cache": cache_dir(), "this folder": Path()}
    free = {name: shutil.disk_usage(_existing(path)).free for name, path in folders.items()}
    text = ", ".join(f"{amount / 1e9:.1f} GB free for {name}" for name, amount in free.items())
    if min(free.values()) < _ROOM:
        return "warning", f"{text}: free some space, or set HBT_BENCH_CACHE and --output to another disk"
    return "passed", text


def _existing(path: Path) -> Path:
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())


def _network() -> Outcome:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return "passed", "HF_HUB_OFFLINE is set: models and data sets of the hub are read from the cache only"
    return "skipped", "not tried; required once for models of the hub and for `hbt-bench data fetch`"
