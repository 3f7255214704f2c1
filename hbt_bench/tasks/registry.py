"""Finds tasks by name: the definitions that the package ships, and any task that MTEB knows."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hbt_bench.errors import DataError, UsageError, did_you_mean
from hbt_bench.ranking.subsets import Mode
from hbt_bench.tasks.spec import TaskSpec

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

_PACKAGE = Path(__file__).resolve().parent.parent
#: In a wheel the definitions lie inside the package, in a checkout beside it.
_FOLDERS = (_PACKAGE / "definitions", _PACKAGE.parent / "tasks")


@dataclass(frozen=True)
class Selection:
    """What a list of task names asks for: one collection with some modes, or one task of MTEB's own."""

    spec: TaskSpec | None
    modes: tuple[Mode, ...] = ()
    stock: str = ""


@cache
def definitions() -> dict[str, TaskSpec]:
    """All shipped definitions by name.

    Raises `DataError` for a file that does not fit the schema.
    """
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    if folder is None:
        raise DataError("the task definitions are missing from this installation: install hbt-bench again")
    raw = {path.stem: _load(path) for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)}
    return {name: _spec(folder / f"{name}.yaml", _extended(name, raw)) for name in raw}


def parse_names(names: str | Iterable[str]) -> tuple[str, ...]:
    """Split ``"a,b"`` and ``["a,b", "c"]`` into single names."""
    parts = [names] if isinstance(names, str) else list(names)
    return tuple(name.strip() for part in parts for name in part.split(",") if name.strip())


def select_tasks(names: str | Iterable[str]) -> list[Selection]:
    """Resolve names without importing MTEB; the modes of one collection are gathered, so that they share a pass.

    Raises `UsageError` with a suggestion for a name that neither this package nor the installed MTEB knows.
    """
    known = task_names()
    modes: dict[str, list[Mode]] = {}  # keeps the order in which collections were asked for
    for name in parse_names(names):
        if name in known:
            spec, wanted = known[name]
            gathered = modes.setdefault(spec.name, [])
            gathered.extend(mode for mode in wanted if mode not in gathered)
        elif name in mteb_task_names():
            modes.setdefault(name, [])
        else:
            raise UsageError(f"unknown task '{name}'{did_you_mean(name, [*known, *mteb_task_names()]) or _ALL}")
    if not modes:
        raise UsageError("no task given: name one, as in --tasks xquad-r-multi")
    specs = definitions()
    return [
        Selection(specs[name], tuple(mode for mode in specs[name].modes if mode in wanted))
        if name in specs
        else Selection(None, stock=name)
        for name, wanted in modes.items()
    ]


_ALL = "; `hbt-bench tasks` lists all"


def task_names() -> dict[str, tuple[TaskSpec, Sequence[Mode]]]:
    """Every name of this package's tasks: a collection stands for all its modes."""
    names: dict[str, tuple[TaskSpec, Sequence[Mode]]] = {}
    for name, spec in definitions().items():
        names[name] = (spec, spec.modes)
        names |= {spec.task_name(mode): (spec, (mode,)) for mode in spec.modes}
    return names


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


def _load(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path} is no readable YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or content.get("name") != path.stem:
        raise DataError(f"{path} must be a mapping whose name is '{path.stem}', like the file's")
    return content


def _extended(name: str, raw: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Fill a definition that `extends` another; mappings are merged one level deep."""
    own = dict(raw[name])
    parent = own.pop("extends", None)
    if parent is None:
        return own
    if not isinstance(parent, str) or parent not in raw or "extends" in raw[parent]:
        raise DataError(f"the task '{name}' extends '{parent}', which is no complete definition")
    merged = {**raw[parent], **own}
    for key, value in own.items():
        if isinstance(value, dict) and isinstance(raw[parent].get(key), dict):
            merged[key] = {**raw[parent][key], **value}
    return merged


def _spec(path: Path, content: dict[str, Any]) -> TaskSpec:
    try:
        return TaskSpec.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path} does not fit the task schema: {where}: {first['msg']}") from error
