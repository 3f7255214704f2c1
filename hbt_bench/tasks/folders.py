"""Folders of task files, and the plug-in packages that bring some: read once, a broken file apart from the rest."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from hbt_bench.errors import DataError, HbtBenchError
from hbt_bench.tasks.document import Document
from hbt_bench.tasks.schema import Strict
from hbt_bench.tasks.sources import keys
from hbt_bench.tasks.spec import Expect, Metadata, TaskSpec

#: The entry-point group of packages with task files.
GROUP = "hbt_bench.tasks"


class Suite(Strict):
    """A named list of tasks, as they are written after ``--tasks``."""

    name: str
    description: str
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Folder:
    """The definitions and suites of one folder or file, and what is wrong with those that are broken."""

    path: Path
    documents: Mapping[str, Document] = field(default_factory=dict)
    specs: Mapping[str, TaskSpec] = field(default_factory=dict)
    suites: Mapping[str, Suite] = field(default_factory=dict)
    problems: Mapping[str, DataError] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, parents: Mapping[str, Document] | None = None) -> Folder:
        """Read all task files of a folder, or one file; `parents` are definitions that they may extend too."""
        documents: dict[str, Document] = {}
        problems: dict[str, DataError] = {}
        for file in files(path):
            try:
                documents[file.stem] = _named(Document.read(file))
            except DataError as error:
                problems[file.stem] = error
        specs = {}
        for name, document in documents.items():
            try:
                specs[name] = _spec(document, {**(parents or {}), **documents})
            except DataError as error:
                problems[name] = error
        found = {}
        for file in sorted(path.glob("suites/*.yaml")) if path.is_dir() else ():
            try:
                found[file.stem] = _suite(Document.read(file))
            except DataError as error:
                problems[f"suite:{file.stem}"] = error
        return cls(path, documents, specs, found, problems)


def files(path: Path) -> list[Path]:
    """The task files of a folder by name, or the one file that is named."""
    return [path] if path.is_file() else sorted(path.glob("*.yaml"), key=lambda file: file.stem)


def together(shipped: Folder, named: Iterable[Path]) -> tuple[Folder, ...]:
    """The shipped folder, those of plug-ins, and the named ones; problems and taken names are told on stderr."""
    folders = [shipped]
    for path in (*_plugins(), *named):
        folder = Folder.read(path, shipped.documents)
        taken = {}
        for name in folder.specs:
            other = next((known for known in folders if name in known.specs), None)
            if other is not None and not folder.documents[name].path.samefile(other.documents[name].path):
                taken[name] = DataError(
                    f"{folder.documents[name].path}: the name '{name}' is taken by {other.documents[name].path}: "
                    "rename the file and its `name`"
                )
        problems = {**folder.problems, **taken}
        for problem in problems.values():
            _warn(str(problem))
        specs = {name: spec for name, spec in folder.specs.items() if name not in taken}
        folders.append(Folder(path, folder.documents, specs, folder.suites, problems))
    return tuple(folders)


def _plugins() -> list[Path]:
    """The folders of installed plug-ins: an entry point names a package with task files, or a path."""
    from importlib.metadata import entry_points

    found = []
    for entry in entry_points(group=GROUP):
        try:
            target = entry.load()
            folder = _folder(target() if callable(target) else target)
            if not files(folder):
                raise DataError(f"{folder} has no task files (*.yaml)")
            found.append(folder)
        except Exception as error:  # a plug-in may raise anything
            reason = str(error) or type(error).__name__
            _warn(f"the plug-in '{entry.name}' ({entry.value}) is left out: {' '.join(reason.split())[:300]}")
    return found


def _folder(target: Any) -> Path:
    if isinstance(target, ModuleType):
        target = next(iter(target.__path__)) if hasattr(target, "__path__") else Path(str(target.__file__)).parent
    return Path(target)


def _warn(message: str) -> None:
    sys.stderr.write(f"hbt-bench: {message}\n")


def _named(document: Document) -> Document:
    name = document.content.get("name")
    if name != document.path.stem:
        missing = "the key 'name' is missing" if name is None else f"the name is '{name}'"
        raise document.error(["name"], f"{missing}: it must be '{document.path.stem}', like the file's")
    return document


def _spec(document: Document, known: Mapping[str, Document]) -> TaskSpec:
    try:
        spec = TaskSpec.model_validate(_extended(document, known))
    except ValidationError as error:
        raise document.invalid(error, _keys()) from error
    except HbtBenchError:
        raise
    except (ValueError, TypeError) as error:
        raise document.error([], f"no task definition: {error}") from error
    return spec.in_folder(document.path.parent)


def _suite(document: Document) -> Suite:
    try:
        return Suite.model_validate(_named(document).content)
    except ValidationError as error:
        raise document.invalid(error, Suite.model_fields) from error


@cache
def _keys() -> frozenset[str]:
    fields = {info.alias or name for kind in (TaskSpec, Metadata, Expect) for name, info in kind.model_fields.items()}
    return frozenset({*fields, *keys(), "extends"})


def _extended(document: Document, known: Mapping[str, Document]) -> dict[str, Any]:
    """The content of a definition that `extends` another; mappings are merged one level deep."""
    own = dict(document.content)
    if "extends" not in own:
        return own
    parent = own.pop("extends")
    if not isinstance(parent, str) or parent not in known or "extends" in known[parent].content:
        raise document.error(["extends"], f"'{parent}' is no complete definition that could be extended")
    base = known[parent].content
    merged = {**base, **own}
    for key, value in own.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merged[key] = {**base[key], **value}
    return merged
