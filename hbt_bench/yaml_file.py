"""YAML files that people write: read safely, and with the line and column of every mistake."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from hbt_bench.errors import DataError, did_you_mean

try:
    from yaml import CSafeLoader as _Base
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader as _Base  # type: ignore[assignment]

#: Bytes of a file, and how deep its lists and mappings may nest.
MAX_BYTES = 256 << 10
MAX_DEPTH = 50

#: What only a look at the parts of the text can judge: anchors, aliases, tags, keys of their own line, nested lists.
_SUSPICIOUS = re.compile(r"[&*!]|(?:^|\s)\?(?:\s|$)|-\s+-\s", re.MULTILINE)

_NULL, _BOOL, _INT = "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:int"
_PLAIN = {_NULL, "tag:yaml.org,2002:float"}


class _Loader(_Base):
    """Safe, with words for what they look like: ``no`` is a language and a date is a text; keys are there once."""

    yaml_implicit_resolvers = {  # noqa: RUF012 -- PyYAML's own form
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _PLAIN]
        for first, resolvers in _Base.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a key that is there twice, of which YAML would silently take the last."""
        seen: set[Any] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' is there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(_BOOL, re.compile("^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver(_INT, re.compile("^(?:0|-?[1-9][0-9]{0,17})$"), list("-0123456789"))


class StrictModel(BaseModel):
    """The base of the models of YAML files: instances are immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class YamlFile:
    """The content of a file that is a mapping, and the text, from which positions are found again."""

    path: Path
    text: str
    content: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> YamlFile:
        """Read a file; raises `DataError` with line and column for what is no plain YAML mapping."""
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DataError(f"{path} is no file")  # but a pipe or a device, which may have no end
        try:
            with path.open("rb") as stream:
                raw = stream.read(MAX_BYTES + 1)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from error
        if len(raw) > MAX_BYTES:
            raise DataError(f"{path} is larger than {MAX_BYTES >> 10} KiB: a task file holds no data")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}:{raw[: error.start].count(10) + 1}: not UTF-8") from error
        try:
            if _SUSPICIOUS.search(text) or text.count("[") + text.count("{") > MAX_DEPTH:
                _scan(path, text)
            content = yaml.load(text, Loader=_Loader)
        except yaml.YAMLError as error:
            raise DataError(_sentence(path, error)) from error
        except (ValueError, RecursionError) as error:  # a number or a code point that Python cannot hold
            raise DataError(f"{path}: no YAML: {error}") from error
        if not isinstance(content, dict):
            raise DataError(f"{path}:1:1: a task file must be a mapping, with `name:` and `source:`")
        return cls(path, text, content)

    def error(self, place: Iterable[object], message: str) -> DataError:
        """A `DataError` at the key or item that `place` leads to."""
        line, column = self.position(place)
        return DataError(f"{self.path}:{line}:{column}: {message}")

    def position(self, place: Iterable[object]) -> tuple[int, int]:
        """Line and column, from 1, of the deepest key or item on the way to `place` that the file has."""
        node: Any = yaml.compose(self.text, Loader=_Loader)
        mark = node.start_mark
        for part in place:
            if isinstance(node, yaml.MappingNode):
                pair = next((pair for pair in node.value if pair[0].value == str(part)), None)
                if pair is not None:
                    mark, node = pair[0].start_mark, pair[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                mark = node.start_mark
        return mark.line + 1, mark.column + 1

    def invalid(self, error: ValidationError, model: type[BaseModel]) -> DataError:
        """One mistake of a validation in one sentence, a mistyped key before the one that it makes missing."""
        errors = error.errors()
        first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
        place, kind = first["loc"], first["type"]
        name = place[-1] if place else ""
        inside = self._said(place[:-1]) or "the file"
        if kind == "extra_forbidden":
            return self.error(place, f"unknown key '{name}' in {inside}{did_you_mean(str(name), _known(model, place))}")
        if kind == "missing":
            return self.error(place, f"the key '{name}' is missing in {inside}")
        if kind == "union_tag_invalid":
            tags = [tag.strip("' ") for tag in str(first["ctx"]["expected_tags"]).split(",")]
            tag = str(first["ctx"]["tag"])
            return self.error(
                [*place, "kind"], f"unknown kind '{tag}'{did_you_mean(tag, tags)} (there are {', '.join(tags)})"
            )
        if kind == "union_tag_not_found":
            return self.error(place, "the key 'kind' is missing in source")
        where = self._said(place)
        message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        return self.error(place, f"{where}: {message}" if where else message)

    def _said(self, place: Iterable[Any]) -> str:
        """A place in words, without the parts that the file does not have."""
        node: Any = self.content
        parts = []
        for part in place:
            known = part in node if isinstance(node, dict) else isinstance(node, list) and isinstance(part, int)
            if known:
                node = node[part]
                parts.append(str(part))
        return ".".join(parts)


def _known(model: type[BaseModel], place: Iterable[object]) -> set[str]:
    """The keys that `model` has beside the one at `place`."""
    models = [model]
    for part in place:
        inner = [
            one for each in models for key, info in _fields(each) if key == part for one in _models(info.annotation)
        ]
        chosen = [
            one
            for one in models
            if "kind" in one.model_fields and part in get_args(one.model_fields["kind"].annotation)
        ]
        models = inner or chosen or models
    return {key for one in models for key, _ in _fields(one)}


def _fields(model: type[BaseModel]) -> list[tuple[str, Any]]:
    return [(info.alias or name, info) for name, info in model.model_fields.items()]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [one for part in get_args(annotation) for one in _models(part)]


def _scan(path: Path, text: str) -> None:
    """Refuse anchors, aliases, tags and deep nesting before anything is built of them."""
    depth = 0
    event: Any
    for event in yaml.parse(text, Loader=_Base):
        place = f"{path}:{event.start_mark.line + 1}:{event.start_mark.column + 1}"
        if getattr(event, "anchor", None) is not None:
            raise DataError(f"{place}: anchors and aliases (& and *) are not allowed: write the value out")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise DataError(f"{place}: {_tag_refused(tag.removeprefix('tag:yaml.org,2002:'))}")
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise DataError(f"{place}: lists and mappings nest more than {MAX_DEPTH} deep")
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1


def _tag_refused(tag: str) -> str:
    return f"the tag '{tag}' is not allowed: a task file holds texts, numbers, lists and mappings"


def _sentence(path: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
    problem = str(getattr(error, "problem", None) or " ".join(str(error).split()))
    tag = re.search(r"constructor for the tag '(?:tag:yaml.org,2002:)?([^']*)'", problem)
    if tag:
        return f"{place}: {_tag_refused(tag[1])}"
    return f"{place}: no YAML: {problem}"
