"""A flag of the command line for every field of a recipe."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Any

import click
import yaml

from hbt_bench.errors import UsageError
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.strategies import STRATEGIES

_LISTS = ("languages", "matryoshka", "guard")
_MAPPINGS = ("data", "instruction")


def recipe(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags to a command, which gets those that were given as keyword arguments, for `values`."""
    for name, info in reversed(Recipe.model_fields.items()):
        flag = "--" + name.replace("_", "-")
        default = "" if info.default in (None, ()) or name == "data" else f"  [default: {_shown(info.default)}]"
        text = f"{info.description}{default}"
        if info.annotation is bool:
            option = click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=text)
        elif name in _MAPPINGS:
            option = click.option(flag, name, multiple=name == "data", metavar="YAML", help=text)
        elif name == "strategy":
            option = click.option(flag, name, type=click.Choice(list(STRATEGIES)), help=text)
        elif typing.get_origin(info.annotation) is typing.Literal:
            option = click.option(flag, name, type=click.Choice(list(typing.get_args(info.annotation))), help=text)
        else:
            option = click.option(flag, name, metavar="VALUE", help=text)
        command = option(command)
    return command


def values(given: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that were given, each as the value that YAML would have; raises `UsageError`."""
    return {name: _value(name, value) for name, value in given.items() if value not in (None, ())}


def _value(name: str, text: Any) -> Any:
    if name == "data":
        return [_inline(name, entry) if entry.startswith("{") else entry for entry in text]
    if name == "instruction":
        return _inline(name, text)
    if name in _LISTS:
        return [part.strip() for part in text.split(",") if part.strip()]
    if name == "language_weights" and "=" in text:
        parts = [part.strip().split("=", 1) for part in text.split(",") if part.strip()]
        if any(len(part) < 2 for part in parts):
            raise UsageError(f"--language-weights: '{text}' has a language without a weight: write CODE=WEIGHT,...")
        return dict(parts)
    return text


def _inline(name: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # a date that is none, or nesting without end
        raise UsageError(f"--{name}: '{text}' is no YAML: write it like {{path: FILE, query: FIELD, ...}}") from None


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else repr(value) if value == "" else str(value)
