"""Check the values of settings before a model is loaded, so that a wrong value is one sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral

from hbt_bench.errors import UsageError


def check_choice(name: str, value: object, choices: Iterable[str | None]) -> None:
    """Raise `UsageError` if a value is not one of `choices`.

    >>> check_choice("view", "fair", ("fair", "user"))
    """
    names = tuple(choices)
    if value not in names:
        raise UsageError(f"{name} is {value!r}, but must be one of {', '.join(map(repr, names))}")


def check_whole(name: str, value: object, least: int = 1, *, none: str = "") -> None:
    """Raise `UsageError` if a value is not a whole number from `least`; None is allowed if `none` states its meaning.

    >>> check_whole("depth", None, none="all documents")
    """
    if value is None and none:
        return
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < least:
        alternative = f", or None for {none}" if none else ""
        raise UsageError(f"{name} is {value!r}, but must be a whole number from {least}{alternative}")


def check_positive(name: str, value: object) -> None:
    """Raise `UsageError` if a value is not a number above 0.

    >>> check_positive("timeout", 2.5)
    """
    try:
        valid = 0 < float(value) < math.inf  # type: ignore[arg-type]
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise UsageError(f"{name} is {value!r}, but must be a number above 0")
