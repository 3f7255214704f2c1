"""What is said on stderr, and what a name or a text of others may show of itself."""

from __future__ import annotations

import re
import sys

#: Control codes but line end and tab, and signs that turn the direction of the text behind them.
HIDDEN = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
_HIDDEN = re.compile(HIDDEN)
_HALF = re.compile("[\ud800-\udfff]")


def visible(text: object) -> str:
    """A text with a question mark for each sign that is not seen and changes how others are seen."""
    return _HIDDEN.sub("?", f"{text}")


def one_line(text: object) -> str:
    """A visible text on one line."""
    return visible(" ".join(f"{text}".splitlines()).replace("\t", " "))


def encodable(text: str) -> bool:
    """Whether a text can be written as UTF-8: JSON may hold half of a character, a lone surrogate."""
    return _HALF.search(text) is None


def tell(message: object) -> None:
    """Say something on stderr, in one line."""
    sys.stderr.write(f"hbt-bench: {one_line(message)}\n")
