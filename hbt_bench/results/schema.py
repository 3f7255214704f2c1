"""What the parts of a result can be: a file may be from anywhere, and what cannot be is damage, not a score."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from hbt_bench.measures.registry import bounds
from hbt_bench.results.intervals import Interval, decode_shares
from hbt_bench.text import encodable

#: Bytes of the largest file that is read; that of all pairs of 200 languages has a quarter of them.
MAX_BYTES = 128 << 20
#: What counts and speeds stay below: the whole numbers that every reader of JSON has exactly.
_MOST = 1 << 53
#: What rounding can make of a number as it is stored: six decimals of scores and bounds, float32 of shares.
_SLACK = 1e-5


def opened(path: Path, most: int = MAX_BYTES) -> BinaryIO:
    """Open a file for reading; raises `ValueError` for a pipe or device, which may have no end, and for a giant."""
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise ValueError("it is no file")
    if about.st_size > most:
        raise ValueError(f"it is larger than {most >> 20} MiB, which no result is")
    return path.open("rb")


def loaded(path: Path) -> Any:
    """The content of a JSON file; raises `ValueError` as `opened` does and for what is no JSON."""
    with opened(path) as file:
        return json.loads(file.read(MAX_BYTES))


def as_text(value: Any) -> str:
    """A text that can be written; raises `TypeError` for anything else, `ValueError` for half of a character."""
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:40]!r} is no text")
    if not encodable(value):
        raise ValueError(f"{value[:40]!a} has half of a character")
    return value


def as_number(value: Any) -> float:
    """A number as JSON has it; raises `TypeError` for anything else, `ValueError` for one without end."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{str(value)[:40]!r} is no number")
    if not math.isfinite(value):
        raise ValueError(f"{value} is no number")
    return float(value)


def as_numbers(values: Any) -> list[float | None]:
    """Numbers, of which some may be null."""
    if set(map(type, values)) <= {float, type(None)} and all(map(math.isfinite, filter(None, values))):
        return list(values)  # a thousand models have many
    return [None if value is None else as_number(value) for value in values]


def as_count(value: Any, least: int = 0) -> int:
    """A whole number from `least` up; raises `TypeError` for anything else, `ValueError` for one out of all bounds."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{str(value)[:40]!r} is no whole number")
    if not least <= value < _MOST:
        raise ValueError(f"a count is {'below' if value < least else 'beyond'} what it can be")
    return value


def as_speed(value: Any) -> float:
    """Texts a second; raises `TypeError` for no number, `ValueError` for one that cannot be."""
    speed = as_number(value)
    if not 0 <= speed < _MOST:
        raise ValueError("its speed cannot be")
    return speed


def as_recipe(value: Any) -> dict[str, str | int | float | None]:
    """What a recipe says of a training, in single values; raises `TypeError` and `ValueError` for other things."""
    told = {}
    for key, one in dict(value).items():
        if isinstance(one, str):
            as_text(one)
        elif one is not None and not isinstance(one, bool) and not abs(as_number(one)) < 2.0**64:  # seeds are long
            raise ValueError(f"the {key} of its training is beyond what it can be")
        told[as_text(key)] = one
    return told


def as_interval(value: Any) -> Interval:
    """Two bounds, the lower first; raises `TypeError` or `ValueError` for anything else."""
    low, high = map(as_number, value)
    if low > high:
        raise ValueError("an interval ends before it begins")
    return low, high


def beside(path: Path, name: Any) -> Path:
    """The file `name` in the folder of `path`: a result from elsewhere must not make any other file be read."""
    if not isinstance(name, str) or name != os.path.basename(name) or name in ("", ".", ".."):  # noqa: PTH119
        raise ValueError(f"{str(name)[:40]!r} is no file beside it")
    return path.parent / as_text(name)


def check_scores(measure: str, values: Iterable[float | None]) -> None:
    """Raise `ValueError` for a score that the measure cannot have; NaN and None are no score."""
    least, most = bounds(measure)
    least, most = least - _SLACK, most + _SLACK
    for value in values:
        if value is not None and not least <= value <= most and not math.isnan(value):
            raise ValueError(f"{measure} cannot be {value:.6g}")


def check_interval(measure: str, interval: Interval, value: float | None) -> None:
    """Raise `ValueError` for an interval that is not around its value, or leaves what the measure can be."""
    check_scores(measure, interval)
    slack = _SLACK * max(1.0, abs(value or 0.0))
    if value is not None and not interval[0] - slack <= value <= interval[1] + slack:
        raise ValueError(f"its interval of {measure} is not around its value")


def check_shares(measure: str, text: Any, mean: float | None) -> None:
    """Raise `ValueError` where what each question adds to a mean does not add up to it."""
    try:
        total = float(decode_shares(text).sum())
    except (ValueError, TypeError) as error:
        raise ValueError(f"its shares of {measure} are none") from error
    if mean is None or not agree(total, mean):
        raise ValueError(f"its shares of {measure} do not add up to it")


def agree(found: float, stored: float) -> bool:
    """Whether a number is the stored one but for rounding; NaN is none."""
    return abs(found - stored) <= _SLACK * max(1.0, abs(stored))
