"""Make a flag of the command line for each field of a recipe."""

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
    """Add the flags to a command; it receives them as keyword arguments, which `values` reads."""
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


def values(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the flags that the user set, as YAML has them; raises `UsageError`."""
    return {name: _value(name, value) for name, value in flags.items() if value not in (None, ())}


def _value(name: str, text: Any) -> Any:
    if name == "data":
        return [_inline(name, entry) if entry.startswith("{") else entry for entry in text]
    if name == "instruction":
        return _inline(name, text)
    if name in _LISTS:
        return [item.strip() for item in text.split(",") if item.strip()]
    if name == "language_weights" and "=" in text:
        pairs = [pair.strip().split("=", 1) for pair in text.split(",") if pair.strip()]
        if any(len(pair) < 2 for pair in pairs):
            raise UsageError(f"--language-weights: '{text}' has a language without a weight: write CODE=WEIGHT,...")
        return dict(pairs)
    return text


def _inline(name: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # an impossible date, or endless nesting
        raise UsageError(f"--{name}: '{text}' is not valid YAML: write {{path: FILE, query: FIELD, ...}}") from None


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else repr(value) if value == "" else str(value)
