"""Tasks by name: shipped tasks, those of plug-ins and of the user's folders and files, and MTEB's own."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hbt_bench.data.data_files import expanded
from hbt_bench.data.query_shift import Shift
from hbt_bench.errors import DataError, UsageError, did_you_mean
from hbt_bench.identity.task_name import MODES, Mode, TaskName, parse_names
from hbt_bench.tasks import folders
from hbt_bench.tasks.folders import Catalogue, Folder, Suite
from hbt_bench.tasks.task import TaskSpec

log = logging.getLogger(__name__)

_PACKAGE = Path(__file__).resolve().parent.parent
#: The folder of the shipped definitions, in a wheel and in a checkout.
_FOLDERS = (_PACKAGE / "definitions", _PACKAGE.parent / "tasks")


@dataclass(frozen=True)
class Selection:
    """A collection and the modes to evaluate. For an MTEB task, `spec` is None and `stock` is its name."""

    spec: TaskSpec | None
    modes: tuple[Mode, ...] = ()
    stock: str = ""

    def __repr__(self) -> str:
        return f"Selection({self.spec.name}: {', '.join(self.modes)})" if self.spec else f"Selection({self.stock})"


@dataclass(frozen=True)
class TaskLocation:
    """The definition and modes of a task name, and the folder that ``--task-dir`` must name, None if not needed."""

    spec: TaskSpec
    modes: tuple[Mode, ...]
    folder: Path | None = None


class TaskRegistry:
    """The tasks that can be selected by name.

    Definitions come from the shipped folder, plug-ins, the folders in HBT_BENCH_TASKS, and `paths`, in this order; a
    name belongs to the first that has it. They are read at the first use. A broken file is logged, and raises
    `DataError` only if its task is selected. A broken shipped file always raises `DataError`. For example:

    >>> registry = TaskRegistry([Path("my-tasks")])
    >>> [selection.modes for selection in registry.select("my-task-multi,xquad-r")]
    [('multi',), ('mono', 'cross', 'multi')]
    """

    def __init__(self, paths: Iterable[Path] = (), shipped: Path | None = None) -> None:
        """Create a registry with folders and task files. Raises `UsageError` if a path has no task file."""
        self._shipped = shipped
        self._paths: dict[Path, None] = {}  # an ordered set
        self._catalogue: Catalogue | None = None
        for path in paths:
            self.add(path)

    def add(self, path: Path) -> None:
        """Add the tasks of a folder or of a single file. Raises `UsageError` if there is no task file."""
        if not path.exists():
            raise UsageError(f"there is no task file or folder {path}")
        if path.is_dir() and not folders.files(path):
            raise UsageError(f"the folder {path} has no task files (*.yaml or *.yml)")
        if path not in self._paths:
            self._paths[path] = None
            self._catalogue = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The folders and files that were added."""
        return tuple(self._paths)

    @property
    def shipped(self) -> Folder:
        """The shipped definitions. Raises `DataError` if a file is broken or the folder is missing."""
        folder = Folder.read(self._shipped or shipped_folder())
        for problem in folder.problems.values():
            raise problem
        return folder

    @property
    def specs(self) -> Mapping[str, TaskSpec]:
        """The definitions by collection."""
        return self._read().specs

    @property
    def tasks(self) -> Mapping[str, tuple[TaskSpec, tuple[Mode, ...]]]:
        """The definition and modes of every task name, without MTEB's own tasks."""
        return self._read().tasks

    @property
    def suites(self) -> Mapping[str, Suite]:
        """The suites by name."""
        return self._read().suites

    def select(self, names: str | Iterable[str]) -> list[Selection]:
        """Resolve task names; see `select_tasks`."""
        specs: dict[str, TaskSpec] = {}
        modes: dict[str, list[Mode]] = {}  # keeps the order of the collections
        for name in self._without_suites(parse_names(names)):
            task = self._find(name)
            if task is None:
                modes.setdefault(name, [])
                continue
            spec, task_modes = task
            specs[spec.name] = spec
            modes.setdefault(spec.name, []).extend(task_modes)
        if not modes:
            raise UsageError("no task given: name one, as in --tasks xquad-r-multi")
        return [
            Selection(specs[name], tuple(mode for mode in specs[name].modes if mode in chosen))
            if name in specs
            else Selection(None, stock=name)
            for name, chosen in modes.items()
        ]

    def locate(self, name: str) -> TaskLocation | None:
        """Find a task by a name without languages and shifts, also in the subfolders of the shipped definitions.

        These, such as ``ood``, must be added before their tasks can be selected. Returns None for an unknown name.
        """
        if name in self.tasks:
            spec, modes = self.tasks[name]
            path = next(folder.path for folder in self._read().folders if spec.name in folder.specs)
            if path not in {*self._paths, *_listed()}:
                return TaskLocation(spec, modes)
            return TaskLocation(spec, modes, path.parent if path.is_file() else path)
        shipped = self.shipped
        for path in sorted(path for path in shipped.path.iterdir() if path.is_dir() and path.name != "suites"):
            for spec in Folder.read(path, shipped).specs.values():
                if name in (tasks := folders.tasks_of(spec)):
                    return TaskLocation(*tasks[name], path)
        return None

    def unknown(self, name: str, names: Iterable[str] = ()) -> UsageError:
        """Return the error for an unknown task: it names the folder with the task's file, or a similar name."""
        task = TaskName.parse(name).mode_name
        location = self.locate(task)
        folder = Path() if _is_here(task) else location.folder if location else None
        if folder is not None:
            advice = f"add --task-dir {folder}, or name the folder in HBT_BENCH_TASKS"
            return UsageError(f"the file of the task '{name}' is in a folder that is not searched: {advice}")
        advice = "; `hbt-bench tasks` lists all, and --task-dir or HBT_BENCH_TASKS names a folder with your own"
        return UsageError(f"unknown task '{name}'{did_you_mean(task, names) or advice}")

    def _read(self) -> Catalogue:
        if self._catalogue is None:
            shipped, listed = self.shipped, _listed()
            for path in listed:
                if not path.exists() or not folders.files(path):
                    log.warning(f"HBT_BENCH_TASKS names {path}, which has no task files (*.yaml or *.yml)")
            # the error of a broken file that was named is raised, so it need not be logged
            named_files = {path for path in self._paths if path.is_file()}
            self._catalogue = Catalogue.read(shipped, [*listed, *self._paths], quiet=named_files)
        return self._catalogue

    def _without_suites(self, names: Iterable[str]) -> list[str]:
        """Return the names with each suite replaced by its tasks."""
        tasks: list[str] = []
        for name in names:
            if not name.startswith("suite:"):
                tasks.append(name)
                continue
            suite = name.removeprefix("suite:")
            if suite not in self.suites:
                near = did_you_mean(suite, self.suites) or f" (there are {', '.join(self.suites)})"
                raise UsageError(f"unknown suite '{suite}'{near}")
            tasks.extend(self.suites[suite].tasks)
        return tasks

    def _find(self, name: str) -> tuple[TaskSpec, tuple[Mode, ...]] | None:
        """Return the definition and modes of a task name, None for an MTEB task."""
        # a file may have a bracket or a plus in its name
        task = TaskName(name) if os.path.isfile(name) else TaskName.parse(name)  # noqa: PTH113 -- Path raises for some
        base = task.mode_name
        if base.endswith((".yaml", ".yml")) or os.sep in base:
            spec, modes = self._file(Path(base))
        elif base in self.tasks:
            spec, modes = self.tasks[base]
        else:
            self._read().raise_problem(base)
            if name in mteb_task_names():
                return None
            raise self.unknown(name, [*self.tasks, *mteb_task_names()])
        if task.queries is not None and task.queries == task.documents:
            spec = spec.narrowed(task.queries)
        elif task.queries is not None:
            spec = spec.narrowed(None, task.queries, task.documents)
        if task.shifts:
            spec = spec.shifted(Shift.parse(shift) for shift in task.shifts)
        return spec, modes

    def _file(self, path: Path) -> tuple[TaskSpec, tuple[Mode, ...]]:
        """Add a task file and return its task."""
        if not path.is_file():
            near = did_you_mean(str(path), [str(file) for file in folders.files(path.parent) if file.is_file()])
            raise UsageError(f"there is no task file {path}{near}")
        self.add(path)
        self._read().raise_problem(path.stem)
        spec = self.specs.get(path.stem)
        if spec is None:
            raise UsageError(f"{path} is not a task file")
        return spec, spec.modes


def select_tasks(names: str | Iterable[str]) -> list[Selection]:
    """Resolve task names, without importing MTEB. The modes of a collection become one selection, to share a pass.

    A name is that of a collection, a mode or an MTEB task, ``suite:NAME``, or the path of a task file.
    Languages, ``[de,en]`` or ``[de>en]``, and query shifts, ``+typos@0.2``, may follow it. Raises `UsageError` for an
    unknown name, with a suggestion. For example:

    >>> select_tasks("xquad-r-multi[de,en]+typos")[0].spec.languages
    ('de', 'en')
    """
    return TaskRegistry().select(names)


def shipped_folder() -> Path:
    """Return the folder of the shipped definitions. Raises `DataError` if it is missing."""
    path = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    if path is None:
        raise DataError("the task definitions are missing from this installation: install hbt-bench again")
    return path


def _listed() -> list[Path]:
    """Return the folders in HBT_BENCH_TASKS."""
    texts = os.environ.get("HBT_BENCH_TASKS", "").split(os.pathsep)
    return [expanded(text, "HBT_BENCH_TASKS") for text in texts if text]


def _is_here(task: str) -> bool:
    """Return whether the current folder has the file of a task."""
    names = {task, *(task.removesuffix(f"-{mode}") for mode in MODES)}
    files = (name + ending for name in names for ending in (".yaml", ".yml"))
    return any(os.path.isfile(file) for file in files)  # noqa: PTH113 -- Path raises for some


@cache
def mteb_task_names() -> frozenset[str]:
    """Return the names of MTEB's tasks, read from its source files because importing MTEB takes seconds.

    Raises `UsageError` if MTEB is not installed.
    """
    package = importlib.util.find_spec("mteb")
    if package is None or not package.submodule_search_locations:
        raise UsageError("mteb is not installed: run `pip install mteb`")
    names: set[str] = set()
    # a deeper `name=` is a keyword of some call in a task's code, such as a configuration of its data set
    pattern = re.compile(r'(?:^ {4,8}name=|metadata\.name = )"([\w.()+-]+)"', re.MULTILINE)
    for path in Path(package.submodule_search_locations[0], "tasks").rglob("*.py"):
        names.update(pattern.findall(path.read_text(encoding="utf-8")))
    return frozenset(names)
