"""Check the codes of languages in task files, recipes and options, which may have any spelling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from hbt_bench.languages.table import parse_code, unknown_code

Value = TypeVar("Value")


def check_language(code: str) -> str:
    """Return the code for a tag in any spelling, for example "zh-Hant" for ``zho_Hant``.

    Raises `ValueError` with a suggestion if it names no language, for example for ``german``.
    """
    parsed = parse_code(code)
    if parsed is None:
        raise ValueError(unknown_code(code))
    return parsed


def check_distinct(spellings: Iterable[object]) -> None:
    """Raise `ValueError` if two codes name the same language; codes that name no language are not compared."""
    seen: dict[str, object] = {}
    for spelling in spellings:
        code = parse_code(spelling) if isinstance(spelling, str) else None
        if code in seen:
            raise ValueError(f"'{seen[code]}' and '{spelling}' are the same language, {code}: name it once")
        if code is not None:
            seen[code] = spelling


def by_code(values: Mapping[str, Value]) -> dict[str, Value]:
    """Return values by our codes for keys in any spelling; raises `ValueError` for two codes of the same language."""
    check_distinct(values)
    return {check_language(str(spelling)): value for spelling, value in values.items()}


def labels_by_code(labels: Mapping[str, Value]) -> dict[str, Value]:
    """Return the codes of the data by ours; raises `ValueError` if two languages have the same code on either side."""
    codes = by_code(labels)
    if len(set(map(str, codes.values()))) < len(codes):
        raise ValueError("two languages have the same code in the data")
    return codes
