"""Folders of task files: shipped, of plug-ins and of users. A broken file does not affect the others."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from hbt_bench.errors import DataError, HbtBenchError
from hbt_bench.identity.task_name import MODES, Mode
from hbt_bench.tasks.task import TaskSpec
from hbt_bench.yaml_file import StrictModel, YamlFile

log = logging.getLogger(__name__)

#: The entry-point group of packages with task files.
GROUP = "hbt_bench.tasks"

#: Keys of training recipes and of studies. Files with such a key are not task files.
_OTHER_FILES = {"init", "strategy", "steps", "scales"}


class Suite(StrictModel):
    """A named list of tasks, written as ``suite:NAME`` on the command line."""

    name: str
    description: str
    tasks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Folder:
    """The definitions and suites of a folder or of a single file, and the errors of those that are broken."""

    path: Path
    documents: Mapping[str, YamlFile] = field(default_factory=dict)
    specs: Mapping[str, TaskSpec] = field(default_factory=dict)
    suites: Mapping[str, Suite] = field(default_factory=dict)
    problems: Mapping[str, DataError] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, shipped: Folder | None = None) -> Folder:
        """Read all task files of a folder, or a single file. Recipes and studies in the folder are skipped.

        Definitions may extend those of the folder and of `shipped`. The folder is read again only if a file has
        changed.
        """
        return _read(path, _state(path), shipped)


def _state(path: Path) -> tuple[tuple[object, ...], ...]:
    """Return the names, inodes, sizes and times of change of the files in a folder."""
    states: list[tuple[object, ...]] = []
    for file in (*files(path), *_suite_files(path)):
        try:
            stat = file.stat()
            states.append((file, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
        except OSError:  # such as a link to a file that is gone; reading reports it
            states.append((file,))
    return tuple(states)


@lru_cache(maxsize=32)
def _read(path: Path, state: object, shipped: Folder | None) -> Folder:
    documents: dict[str, YamlFile] = {}
    problems: dict[str, DataError] = {}
    for file in files(path):
        try:
            if file.stem in documents:
                raise DataError(f"{file} has the name of {documents[file.stem].path}: remove one of the two")
            document = YamlFile.read(file)
            if file == path or not _OTHER_FILES & document.content.keys():
                documents[file.stem] = _with_file_name(document)
        except DataError as error:
            problems[file.stem] = error
    parents = {**(shipped.documents if shipped else {}), **documents}
    specs: dict[str, TaskSpec] = {}
    for name, document in documents.items():
        try:
            spec = _spec(document, parents)
            if twin := twin_of(spec, specs.values()):
                raise document.error(["mteb_name"], taken(spec, documents[twin.name].path))
            specs[name] = spec
        except DataError as error:
            problems[name] = error
    suites: dict[str, Suite] = {}
    for file in _suite_files(path):
        try:
            suites[file.stem] = _suite(YamlFile.read(file))
        except DataError as error:
            problems[f"suite:{file.stem}"] = error
    return Folder(path, documents, specs, suites, problems)


def files(path: Path) -> list[Path]:
    """Return the task files of a folder, sorted by name, or `path` itself if it is a file."""
    return [path] if path.is_file() else _yaml_files(path)


def _suite_files(path: Path) -> list[Path]:
    return _yaml_files(path / "suites") if path.is_dir() else []


def _yaml_files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")], key=lambda file: (file.stem, file.suffix))


def twin_of(spec: TaskSpec, others: Iterable[TaskSpec]) -> TaskSpec | None:
    """Return another task with the same MTEB name in any case, because both would write the same result files."""
    name = spec.mteb_name.casefold()
    return next((other for other in others if other.mteb_name.casefold() == name), None)


def taken(spec: TaskSpec, other: object) -> str:
    """Return the message for a task with the MTEB name of `other`, a file or a task."""
    return (
        f"the MTEB name '{spec.mteb_name}' is that of {other}, and results would overwrite each other: give this task "
        "another `mteb_name`"
    )


@dataclass(frozen=True, eq=False)
class Catalogue:
    """All folders of definitions in the order of their precedence: a name belongs to the first folder that has it."""

    folders: tuple[Folder, ...]

    @classmethod
    def read(cls, shipped: Folder, paths: Iterable[Path], quiet: Container[Path] = ()) -> Catalogue:
        """Read the folders of plug-ins and those in `paths`.

        Broken files and taken names are logged, except those of the paths in `quiet`.
        """
        folders = [shipped]
        for path in (*_plugins(), *paths):
            folder = Folder.read(path, shipped)
            refused = {name: problem for name in folder.specs if (problem := _refused(folder, name, folders))}
            problems = {**folder.problems, **refused}
            for problem in problems.values() if path not in quiet else ():
                log.warning(problem)
            specs = {name: spec for name, spec in folder.specs.items() if name not in refused}
            folders.append(Folder(path, folder.documents, specs, folder.suites, problems))
        return cls(tuple(folders))

    @cached_property
    def specs(self) -> dict[str, TaskSpec]:
        """The definitions by collection."""
        return {name: spec for folder in self.folders for name, spec in folder.specs.items()}

    @cached_property
    def tasks(self) -> dict[str, tuple[TaskSpec, tuple[Mode, ...]]]:
        """The definition and modes of every task name. The name of a collection stands for all its modes."""
        tasks: dict[str, tuple[TaskSpec, tuple[Mode, ...]]] = {}
        for spec in self.specs.values():
            tasks |= tasks_of(spec)
        return tasks

    @cached_property
    def suites(self) -> dict[str, Suite]:
        """The suites by name."""
        return {name: suite for folder in self.folders for name, suite in folder.suites.items()}

    def raise_problem(self, task: str) -> None:
        """Raise the error of a broken file, by the name of its collection or of a mode."""
        for folder in self.folders:
            for name, problem in folder.problems.items():
                if task in (name, *(f"{name}-{mode}" for mode in MODES)):
                    raise problem


def tasks_of(spec: TaskSpec) -> dict[str, tuple[TaskSpec, tuple[Mode, ...]]]:
    """Return the task names of a definition with their modes."""
    return {spec.name: (spec, spec.modes)} | {spec.task_name(mode): (spec, (mode,)) for mode in spec.modes}


def _refused(folder: Folder, name: str, others: Iterable[Folder]) -> DataError | None:
    """Return the error if any of the `others` has the same file name or MTEB name."""
    document = folder.documents[name]
    for other in others:
        if name in other.specs:
            path = other.documents[name].path
            if document.path.samefile(path):
                return None
            return DataError(f"{document.path}: the name '{name}' is taken by {path}: rename the file and its `name`")
    for other in others:
        if twin := twin_of(folder.specs[name], other.specs.values()):
            return document.error(["mteb_name"], taken(folder.specs[name], other.documents[twin.name].path))
    return None


def _plugins() -> list[Path]:
    """Return the folders of installed plug-ins. An entry point names a package, a module or a function."""
    from importlib.metadata import entry_points

    paths = []
    for entry in entry_points(group=GROUP):
        try:
            target = entry.load()
            path = _plugin_folder(target() if callable(target) else target)
            if not files(path):
                raise DataError(f"{path} has no task files (*.yaml or *.yml)")
            paths.append(path)
        except Exception as error:  # a plug-in may raise anything
            reason = " ".join((str(error) or type(error).__name__).split())
            log.warning(f"the plug-in '{entry.name}' ({entry.value}) is left out: {reason[:300]}")
    return paths


def _plugin_folder(target: Any) -> Path:
    if isinstance(target, ModuleType):
        target = next(iter(target.__path__)) if hasattr(target, "__path__") else Path(str(target.__file__)).parent
    return Path(target)


def _with_file_name(document: YamlFile) -> YamlFile:
    """Return the document, or raise `DataError` if its `name` is not that of the file."""
    name = document.content.get("name")
    if name != document.path.stem:
        problem = "the key 'name' is missing" if name is None else f"the name is '{name}'"
        raise document.error(["name"], f"{problem}: it must be '{document.path.stem}', like the file's")
    return document


def _spec(document: YamlFile, parents: Mapping[str, YamlFile]) -> TaskSpec:
    try:
        spec = TaskSpec.model_validate(_extended(document, parents))
    except ValidationError as error:
        raise document.invalid(error, TaskSpec) from error
    except HbtBenchError:
        raise
    except (ValueError, TypeError) as error:
        raise document.error([], f"not a task definition: {error}") from error
    return spec.in_folder(document.path.parent)


def _suite(document: YamlFile) -> Suite:
    try:
        return Suite.model_validate(_with_file_name(document).content)
    except ValidationError as error:
        raise document.invalid(error, Suite) from error


def _extended(document: YamlFile, parents: Mapping[str, YamlFile]) -> dict[str, Any]:
    """Return the content of a definition, merged with that of the definition that it extends.

    Mappings such as `source` are merged key by key. `mteb_name` and `data` are not inherited.
    """
    content = dict(document.content)
    if "extends" not in content:
        return content
    parent = content.pop("extends")
    if not isinstance(parent, str) or parent not in parents or "extends" in parents[parent].content:
        raise document.error(["extends"], f"'{parent}' is not a complete definition, so it cannot be extended")
    inherited = {key: value for key, value in parents[parent].content.items() if key not in ("mteb_name", "data")}
    merged = {**inherited, **content}
    for key, value in content.items():
        if isinstance(value, dict) and isinstance(inherited.get(key), dict):
            merged[key] = {**inherited[key], **value}
    return merged
