"""Read YAML files that people write, and report every mistake with its line and column."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, ValidationError, model_serializer

from hbt_bench.errors import DataError, did_you_mean
from hbt_bench.text import one_line

try:
    from yaml import CSafeLoader as _Base
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader as _Base  # type: ignore[assignment]

#: Limits of a file: bytes, and levels of lists and mappings.
MAX_BYTES = 256 << 10
MAX_DEPTH = 50

#: Signs of anchors, aliases, tags, complex keys and nested lists, which need a closer look.
_SUSPICIOUS = re.compile(r"[&*!]|(?:^|\s)\?(?:\s|$)|-\s+-\s", re.MULTILINE)

_NULL, _BOOL, _INT = "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:int"
_PLAIN = {_NULL, "tag:yaml.org,2002:float"}


class _Loader(_Base):
    """A safe loader: ``no`` is the text "no" (a language), a date is a text, and a repeated key is an error."""

    yaml_implicit_resolvers = {  # noqa: RUF012 -- PyYAML's form
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _PLAIN]
        for first, resolvers in _Base.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping; raise an error for a repeated key, where YAML would silently keep the last value."""
        seen: set[Any] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' is repeated", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(_BOOL, re.compile("^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver(_INT, re.compile("^(?:0|-?[1-9][0-9]{0,17})$"), list("-0123456789"))


def parse(text: str) -> Any:
    """Return the content of a YAML text, with the types of YAML files; raises the errors of PyYAML.

    >>> parse("{languages: [en, no]}")
    {'languages': ['en', 'no']}
    """
    return yaml.load(text, Loader=_Loader)


class StrictModel(BaseModel):
    """The base of the models of YAML files: instances are immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class GrowingModel(StrictModel):
    """A model with keys that are younger than its first files: a file without them has the same digest as before."""

    younger_keys: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_younger_keys(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        defaults = {key: type(self).model_fields[key].default for key in self.younger_keys}
        unset = {key for key, default in defaults.items() if getattr(self, key) == default}
        return {key: value for key, value in content.items() if key not in unset}


@dataclass(frozen=True)
class YamlFile:
    """A file with a mapping: its content, and its text, which gives the position if there is a mistake."""

    path: Path
    text: str
    content: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> YamlFile:
        """Read a file; raises `DataError` with line and column if it is not a plain YAML mapping.

        For example, ``YamlFile.read(Path("task.yaml")).content["name"]``.
        """
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DataError(f"{path} is not a file")  # reading a pipe or a device might not end
        try:
            with path.open("rb") as stream:
                raw = stream.read(MAX_BYTES + 1)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from error
        if len(raw) > MAX_BYTES:
            raise DataError(f"{path} is larger than {MAX_BYTES >> 10} KiB. Keep data in a file of its own.")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}:{raw[: error.start].count(10) + 1}: not UTF-8") from error
        try:
            if _SUSPICIOUS.search(text) or text.count("[") + text.count("{") > MAX_DEPTH:
                _scan(path, text)
            content = parse(text)
        except yaml.YAMLError as error:
            raise DataError(_syntax_message(path, error)) from error
        except (ValueError, RecursionError) as error:  # a number or a code point that Python cannot hold
            raise DataError(f"{path}: invalid YAML: {error}") from error
        if not isinstance(content, dict):
            problem = "the file is empty" if content is None else "the file must be a mapping"
            raise DataError(f"{path}:1:1: {problem}. Write lines such as `key: value`.")
        return cls(path, text, content)

    def error(self, keys: Iterable[object], message: str) -> DataError:
        """Return a `DataError` with the position of the key or item at `keys`; see `position`."""
        line, column = self.position(keys)
        return DataError(f"{self.path}:{line}:{column}: {one_line(message)}")

    def position(self, keys: Iterable[object]) -> tuple[int, int]:
        """Return line and column, from 1, of a key or item; if it is missing, of the last of `keys` in the file.

        For example, the keys ``["source", "files", 0]`` lead to the first item of ``files`` in ``source``.
        """
        node: Any = yaml.compose(self.text, Loader=_Loader)
        mark = node.start_mark
        for key in keys:
            if isinstance(node, yaml.MappingNode):
                pair = next((pair for pair in node.value if pair[0].value == str(key)), None)
                if pair is not None:
                    mark, node = pair[0].start_mark, pair[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
                node = node.value[key]
                mark = node.start_mark
        return mark.line + 1, mark.column + 1

    def invalid(self, error: ValidationError, model: type[BaseModel]) -> DataError:
        """Return a `DataError` for the first mistake of a validation; an unknown key comes before a missing key."""
        errors = error.errors()
        first = next((details for details in errors if details["type"] == "extra_forbidden"), errors[0])
        keys, kind = first["loc"], first["type"]
        name = keys[-1] if keys else ""
        parent = self._dotted(keys[:-1]) or "the file"
        if kind == "extra_forbidden":
            return self.error(
                keys, f"unknown key '{name}' in {parent}{did_you_mean(str(name), _siblings(model, keys))}"
            )
        if kind == "missing":
            return self.error(keys, f"the key '{name}' is missing in {parent}")
        if kind == "union_tag_invalid":
            kinds = [tag.strip("' ") for tag in str(first["ctx"]["expected_tags"]).split(",")]
            tag = str(first["ctx"]["tag"])
            message = f"unknown kind '{tag}'{did_you_mean(tag, kinds)} (there are {', '.join(kinds)})"
            return self.error([*keys, "kind"], message)
        if kind == "union_tag_not_found":
            return self.error(keys, "the key 'kind' is missing in source")
        key = self._dotted(keys)
        message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        return self.error(keys, f"{key}: {message}" if key else message)

    def _dotted(self, keys: Iterable[Any]) -> str:
        """Return the keys that the file has, joined by dots; for example, ``source.files.0``."""
        node: Any = self.content
        names = []
        for key in keys:
            exists = key in node if isinstance(node, dict) else isinstance(node, list) and isinstance(key, int)
            if exists:
                node = node[key]
                names.append(str(key))
        return ".".join(names)


def _siblings(model: type[BaseModel], keys: Iterable[object]) -> set[str]:
    """Return the keys that `model` allows next to the key at `keys`."""
    models = [model]
    for key in keys:
        inner = [
            field_model
            for each in models
            for name, field in _fields(each)
            if name == key
            for field_model in _models(field.annotation)
        ]
        of_kind = [
            each
            for each in models
            if "kind" in each.model_fields and key in get_args(each.model_fields["kind"].annotation)
        ]
        models = inner or of_kind or models
    return {name for each in models for name, _ in _fields(each)}


def _fields(model: type[BaseModel]) -> list[tuple[str, Any]]:
    return [(field.alias or name, field) for name, field in model.model_fields.items()]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _scan(path: Path, text: str) -> None:
    """Raise `DataError` for anchors, aliases, tags and deep nesting, before any value is built."""
    depth = 0
    event: Any
    for event in yaml.parse(text, Loader=_Base):
        position = f"{path}:{event.start_mark.line + 1}:{event.start_mark.column + 1}"
        if getattr(event, "anchor", None) is not None:
            raise DataError(f"{position}: anchors and aliases (& and *) are not allowed: write the value out")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise DataError(f"{position}: {_tag_message(tag.removeprefix('tag:yaml.org,2002:'))}")
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise DataError(f"{position}: lists and mappings nest more than {MAX_DEPTH} deep")
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1


def _tag_message(tag: str) -> str:
    return f"the tag '{tag}' is not allowed: write texts, numbers, lists and mappings only"


def _syntax_message(path: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    position = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
    problem = str(getattr(error, "problem", None) or " ".join(str(error).split()))
    tag = re.search(r"constructor for the tag '(?:tag:yaml.org,2002:)?([^']*)'", problem)
    if tag:
        return f"{position}: {_tag_message(tag[1])}"
    return f"{position}: invalid YAML: {problem}"
