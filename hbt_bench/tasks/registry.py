"""Finds tasks by name: shipped ones, those of plug-ins, of folders and files that were named, and those of MTEB."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hbt_bench.data.download import expanded
from hbt_bench.data.query_shift import Shift
from hbt_bench.errors import DataError, UsageError, did_you_mean
from hbt_bench.identity.task_name import parse_names
from hbt_bench.log import tell
from hbt_bench.ranking.subsets import MODES, Mode
from hbt_bench.tasks import folders
from hbt_bench.tasks.folders import Folder
from hbt_bench.tasks.task import TaskSpec

_PACKAGE = Path(__file__).resolve().parent.parent
#: In a wheel the definitions lie inside the package, in a checkout beside it.
_FOLDERS = (_PACKAGE / "definitions", _PACKAGE.parent / "tasks")
#: Folders and files that were named in this process.
_named: dict[Path, None] = {}


@dataclass(frozen=True)
class Selection:
    """What a list of task names asks for: one collection with some modes, or one task of MTEB's own."""

    spec: TaskSpec | None
    modes: tuple[Mode, ...] = ()
    stock: str = ""


def add(path: Path) -> None:
    """Make the tasks of a folder, or of one file, known by name; raises `UsageError` where there is none."""
    if not path.exists():
        raise UsageError(f"there is no task file or folder {path}")
    if path.is_dir() and not folders.files(path):
        raise UsageError(f"the folder {path} has no task files (*.yaml or *.yml)")
    if path not in _named:
        _named[path] = None
        forget(named=False)


def forget(*, named: bool = True) -> None:
    """Read all definitions anew at the next use, and without the folders and files that were added."""
    if named:
        _named.clear()
    definitions.cache_clear()
    _catalogue.cache_clear()


@cache
def _catalogue() -> tuple[Folder, ...]:
    """All sources of definitions, in the order in which they are named; a name belongs to the first that has it."""
    for path in _listed():
        if not path.exists() or not folders.files(path):
            tell(f"HBT_BENCH_TASKS names {path}, where there is no task file (*.yaml or *.yml)")
    return folders.together(shipped(), [*_listed(), *_named], {path for path in _named if path.is_file()})


def _listed() -> list[Path]:
    """The folders in HBT_BENCH_TASKS."""
    named = os.environ.get("HBT_BENCH_TASKS", "").split(os.pathsep)
    return [expanded(part, "HBT_BENCH_TASKS") for part in named if part]


def shipped_folder() -> Path:
    """Where the definitions that come with the package lie; raises `DataError` when they are missing."""
    path = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    if path is None:
        raise DataError("the task definitions are missing from this installation: install hbt-bench again")
    return path


def shipped() -> Folder:
    """The definitions that come with the package; raises `DataError` when one is broken or all are missing."""
    folder = Folder.read(shipped_folder())
    for problem in folder.problems.values():
        raise problem
    return folder


@cache
def definitions() -> dict[str, TaskSpec]:
    """All definitions by name: shipped, of plug-ins, and of the folders in HBT_BENCH_TASKS and those added.

    A broken file of a folder or plug-in is told on stderr, and the rest work. Raises `DataError` for a broken shipped
    one.
    """
    return {name: spec for folder in _catalogue() for name, spec in folder.specs.items()}


def select_tasks(names: str | Iterable[str]) -> list[Selection]:
    """Resolve names without importing MTEB; the modes of one collection are gathered, so that they share a pass.

    A name is that of a collection, of one of its modes, of an MTEB task, ``suite:NAME``, or the path of a task file.
    After it may stand languages, ``[de,en]`` or ``[de>en]``, and query shifts, ``+typos@0.2``. Raises `UsageError` with
    a suggestion for a name that neither this package nor the installed MTEB knows.
    """
    specs: dict[str, TaskSpec] = {}
    modes: dict[str, list[Mode]] = {}  # keeps the order in which collections were asked for
    for name in _without_suites(parse_names(names)):
        found = _find(name)
        if found is None:
            modes.setdefault(name, [])
            continue
        spec, wanted = found
        specs[spec.name] = spec
        gathered = modes.setdefault(spec.name, [])
        gathered.extend(mode for mode in wanted if mode not in gathered)
    if not modes:
        raise UsageError("no task given: name one, as in --tasks xquad-r-multi")
    return [
        Selection(specs[name], tuple(mode for mode in specs[name].modes if mode in wanted))
        if name in specs
        else Selection(None, stock=name)
        for name, wanted in modes.items()
    ]


def task_names() -> dict[str, tuple[TaskSpec, Sequence[Mode]]]:
    """Every name of this package's tasks: a collection stands for all its modes."""
    names: dict[str, tuple[TaskSpec, Sequence[Mode]]] = {}
    for name, spec in definitions().items():
        names[name] = (spec, spec.modes)
        names |= {f"{name}-{mode}": (spec, (mode,)) for mode in spec.modes}
    return names


@dataclass(frozen=True)
class Found:
    """Where a task's name leads: its definition, and the folder that ``--task-dir`` must name, None for a known one."""

    spec: TaskSpec
    modes: Sequence[Mode]
    folder: Path | None = None


def find_anywhere(name: str) -> Found | None:
    """A task by a name without languages and shifts, also one that `select_tasks` does not know by its name alone.

    Such lie in a folder that was added, or in one below that of the shipped definitions, as the out-of-distribution
    tasks do. None where there is none.
    """
    known = task_names().get(name)
    if known is not None:
        added = {*_named, *_listed()}
        folder = next(one.path for one in _catalogue() if known[0].name in one.specs)
        if folder not in added:
            return Found(*known)
        return Found(*known, folder.parent if folder.is_file() else folder)
    whole = shipped()
    for path in sorted(one for one in whole.path.iterdir() if one.is_dir() and one.name != "suites"):
        for spec in Folder.read(path, whole.documents).specs.values():
            modes = {f"{spec.name}-{mode}": (mode,) for mode in spec.modes} | {spec.name: spec.modes}
            if name in modes:
                return Found(spec, modes[name], path)
    return None


def unknown(name: str, known: Iterable[str] = ()) -> UsageError:
    """The error for a name that leads nowhere: the folder that has such a task, or a near one of the `known` names."""
    base = base_name(name)
    elsewhere = find_anywhere(base)
    folder = Path() if _is_here(base) else elsewhere.folder if elsewhere else None
    if folder is not None:
        way = f"add --task-dir {folder}, or name the folder in HBT_BENCH_TASKS"
        return UsageError(f"the file of the task '{name}' is in a folder that is not looked in: {way}")
    listed = "; `hbt-bench tasks` lists all, and --task-dir or HBT_BENCH_TASKS names a folder with your own"
    return UsageError(f"unknown task '{name}'{did_you_mean(base, known) or listed}")


def _is_here(base: str) -> bool:
    """Whether the current folder has the file of a task, or of the collection whose mode it is."""
    names = {base, *(base.removesuffix(f"-{mode}") for mode in MODES)}
    return any(os.path.isfile(one + ending) for one in names for ending in (".yaml", ".yml"))  # noqa: PTH113 -- any text


def base_name(name: str) -> str:
    """A task's name without languages and shifts."""
    return re.split(r"[\[+]", name)[0]


def suites() -> dict[str, folders.Suite]:
    """Every suite by its name."""
    return {name: suite for folder in _catalogue() for name, suite in folder.suites.items()}


def _without_suites(names: Iterable[str]) -> list[str]:
    """Suites replaced by their tasks."""
    plain: list[str] = []
    for name in names:
        if not name.startswith("suite:"):
            plain.append(name)
            continue
        known = suites()
        suite = name.removeprefix("suite:")
        if suite not in known:
            near = did_you_mean(suite, known) or f" (there are {', '.join(known)})"
            raise UsageError(f"unknown suite '{suite}'{near}")
        plain.extend(known[suite].tasks)
    return plain


def _find(name: str) -> tuple[TaskSpec, Sequence[Mode]] | None:
    """The spec and modes that a name stands for, None for a task of MTEB's."""
    match = re.fullmatch(r"(?P<base>[^\[\]+]+)(?:\[(?P<part>[^\[\]]*)\])?(?P<shifts>(?:\+[^+]*)*)", name)
    base = match["base"] if match and not os.path.isfile(name) else name  # noqa: PTH113 -- any text may be asked for
    if base.endswith((".yaml", ".yml")) or os.sep in base:
        spec, modes = _file(Path(base))
    elif base in (known := task_names()):
        spec, modes = known[base]
    else:
        _raise_problem(base)
        if name in mteb_task_names():
            return None
        raise unknown(name, [*known, *mteb_task_names()])
    if match and base != name:
        if match["part"] is not None:
            queries, arrow, documents = match["part"].partition(">")
            pair = (parse_names(queries), parse_names(documents))
            spec = spec.narrowed(None, *pair) if arrow else spec.narrowed(pair[0])
        if match["shifts"]:
            spec = spec.shifted(Shift.parse(part) for part in match["shifts"][1:].split("+"))
    return spec, modes


def _file(path: Path) -> tuple[TaskSpec, Sequence[Mode]]:
    """The task in one file."""
    if not path.is_file():
        near = did_you_mean(str(path), [str(one) for one in folders.files(path.parent) if one.is_file()])
        raise UsageError(f"there is no task file {path}{near}")
    add(path)
    name = path.stem
    _raise_problem(name)
    spec = definitions().get(name)
    if spec is None:
        raise UsageError(f"{path} is no task file")
    return spec, spec.modes


def _raise_problem(name: str) -> None:
    """Raise what is wrong with the definition of a task, if its file is broken."""
    for folder in _catalogue():
        for broken, problem in folder.problems.items():
            if name in (broken, *(f"{broken}-{mode}" for mode in ("mono", "cross", "multi"))):
                raise problem


@cache
def mteb_task_names() -> frozenset[str]:
    """The names of MTEB's tasks, read from its source files: importing MTEB would take seconds."""
    package = importlib.util.find_spec("mteb")
    if package is None or not package.submodule_search_locations:
        raise UsageError("mteb is not installed: run `pip install mteb`")
    found: set[str] = set()
    # a deeper `name=` is a keyword of some call in a task's code, such as a configuration of its data set
    pattern = re.compile(r'(?:^ {4,8}name=|metadata\.name = )"([\w.()+-]+)"', re.MULTILINE)
    for path in Path(package.submodule_search_locations[0], "tasks").rglob("*.py"):
        found.update(pattern.findall(path.read_text(encoding="utf-8")))
    return frozenset(found)
