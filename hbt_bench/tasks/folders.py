"""Folders of task files, and the plug-in packages that bring some: read once, a broken file apart from the rest."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from hbt_bench.errors import DataError, HbtBenchError
from hbt_bench.log import tell
from hbt_bench.tasks.schema import Strict
from hbt_bench.tasks.task import TaskSpec
from hbt_bench.yaml_file import YamlFile

#: The entry-point group of packages with task files.
GROUP = "hbt_bench.tasks"

#: Keys of training recipes and of studies, which no task file has.
_ELSEWHERE = {"init", "strategy", "steps", "scales"}


class Suite(Strict):
    """A named list of tasks, as they are written after ``--tasks``."""

    name: str
    description: str
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Folder:
    """The definitions and suites of one folder or file, and what is wrong with those that are broken."""

    path: Path
    documents: Mapping[str, YamlFile] = field(default_factory=dict)
    specs: Mapping[str, TaskSpec] = field(default_factory=dict)
    suites: Mapping[str, Suite] = field(default_factory=dict)
    problems: Mapping[str, DataError] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, parents: Mapping[str, YamlFile] | None = None) -> Folder:
        """Read all task files of a folder, or one file; `parents` are definitions that they may extend too.

        Recipes and studies, which may lie in the folder too, are passed over.
        """
        documents: dict[str, YamlFile] = {}
        problems: dict[str, DataError] = {}
        for file in files(path):
            try:
                if file.stem in documents:
                    raise DataError(f"{file} has the name of {documents[file.stem].path}: remove one of the two")
                document = YamlFile.read(file)
                if file == path or not _ELSEWHERE & document.content.keys():
                    documents[file.stem] = _named(document)
            except DataError as error:
                problems[file.stem] = error
        specs: dict[str, TaskSpec] = {}
        for name, document in documents.items():
            try:
                spec = _spec(document, {**(parents or {}), **documents})
                if twin := twin_of(spec, specs.values()):
                    raise document.error(["mteb_name"], taken(spec, documents[twin.name].path))
                specs[name] = spec
            except DataError as error:
                problems[name] = error
        found = {}
        for file in _yaml(path / "suites") if path.is_dir() else ():
            try:
                found[file.stem] = _suite(YamlFile.read(file))
            except DataError as error:
                problems[f"suite:{file.stem}"] = error
        return cls(path, documents, specs, found, problems)


def files(path: Path) -> list[Path]:
    """The task files of a folder by name, or the one file that is named."""
    return [path] if path.is_file() else _yaml(path)


def _yaml(path: Path) -> list[Path]:
    found = [*path.glob("*.yaml"), *path.glob("*.yml")]
    return sorted(found, key=lambda file: (file.stem, file.suffix))


def twin_of(spec: TaskSpec, others: Iterable[TaskSpec]) -> TaskSpec | None:
    """Another task with the same name in MTEB, whose results would be in the same files; capitals do not count."""
    name = spec.mteb_name.casefold()
    return next((other for other in others if other.mteb_name.casefold() == name), None)


def taken(spec: TaskSpec, other: object) -> str:
    """What is said of a task with the MTEB name of an `other` one, which is named or whose file is given."""
    return (
        f"the MTEB name '{spec.mteb_name}' is that of {other}, and results would overwrite each other: give this task "
        "another `mteb_name`"
    )


def together(shipped: Folder, named: Iterable[Path], asked: Container[Path] = ()) -> tuple[Folder, ...]:
    """The shipped folder, those of plug-ins, and the named ones; problems and taken names are told on stderr.

    What is wrong with a file that was `asked` for is an error, which needs not be told twice.
    """
    folders = [shipped]
    for path in (*_plugins(), *named):
        folder = Folder.read(path, shipped.documents)
        refused = {name: problem for name in folder.specs if (problem := _refused(folder, name, folders))}
        problems = {**folder.problems, **refused}
        for problem in problems.values() if path not in asked else ():
            tell(problem)
        specs = {name: spec for name, spec in folder.specs.items() if name not in refused}
        folders.append(Folder(path, folder.documents, specs, folder.suites, problems))
    return tuple(folders)


def _refused(folder: Folder, name: str, before: Iterable[Folder]) -> DataError | None:
    """What is wrong with a name that a folder before has too, or with an MTEB name."""
    document = folder.documents[name]
    for other in before:
        if name in other.specs:
            if document.path.samefile(other.documents[name].path):
                return None
            path = other.documents[name].path
            return DataError(f"{document.path}: the name '{name}' is taken by {path}: rename the file and its `name`")
    for other in before:
        if twin := twin_of(folder.specs[name], other.specs.values()):
            return document.error(["mteb_name"], taken(folder.specs[name], other.documents[twin.name].path))
    return None


def _plugins() -> list[Path]:
    """The folders of installed plug-ins: an entry point names a package with task files, or a path."""
    from importlib.metadata import entry_points

    found = []
    for entry in entry_points(group=GROUP):
        try:
            target = entry.load()
            folder = _folder(target() if callable(target) else target)
            if not files(folder):
                raise DataError(f"{folder} has no task files (*.yaml or *.yml)")
            found.append(folder)
        except Exception as error:  # a plug-in may raise anything
            reason = str(error) or type(error).__name__
            tell(f"the plug-in '{entry.name}' ({entry.value}) is left out: {' '.join(reason.split())[:300]}")
    return found


def _folder(target: Any) -> Path:
    if isinstance(target, ModuleType):
        target = next(iter(target.__path__)) if hasattr(target, "__path__") else Path(str(target.__file__)).parent
    return Path(target)


def _named(document: YamlFile) -> YamlFile:
    name = document.content.get("name")
    if name != document.path.stem:
        missing = "the key 'name' is missing" if name is None else f"the name is '{name}'"
        raise document.error(["name"], f"{missing}: it must be '{document.path.stem}', like the file's")
    return document


def _spec(document: YamlFile, known: Mapping[str, YamlFile]) -> TaskSpec:
    try:
        spec = TaskSpec.model_validate(_extended(document, known))
    except ValidationError as error:
        raise document.invalid(error, TaskSpec) from error
    except HbtBenchError:
        raise
    except (ValueError, TypeError) as error:
        raise document.error([], f"no task definition: {error}") from error
    return spec.in_folder(document.path.parent)


def _suite(document: YamlFile) -> Suite:
    try:
        return Suite.model_validate(_named(document).content)
    except ValidationError as error:
        raise document.invalid(error, Suite) from error


def _extended(document: YamlFile, known: Mapping[str, YamlFile]) -> dict[str, Any]:
    """The content of a definition that `extends` another; mappings are merged one level deep, names are its own."""
    own = dict(document.content)
    if "extends" not in own:
        return own
    parent = own.pop("extends")
    if not isinstance(parent, str) or parent not in known or "extends" in known[parent].content:
        raise document.error(["extends"], f"'{parent}' is no complete definition that could be extended")
    base = {key: value for key, value in known[parent].content.items() if key != "mteb_name"}
    merged = {**base, **own}
    for key, value in own.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merged[key] = {**base[key], **value}
    return merged
