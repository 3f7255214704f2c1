"""Text of others made safe to show: on a terminal, and in Markdown, LaTeX, HTML and CSV."""

from __future__ import annotations

import re
from html import escape
from typing import Any

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


#: What GitHub takes for markup, a formula, an entity or a name. An underscore inside a word means nothing to it, nor
#: an at sign behind one. What stands for %s is let through whole.
_MARKUP = r"(?P<whole>%s)|[\\|<*`~$\[\]]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)|(?<!\w)@(?=\w)"
#: In a cell, an interval; in prose, code, and a remark in brackets that cannot be a link.
_CELL = re.compile(_MARKUP % r"\[[^\[\]^A-Za-z|`*<~$_]+\](?![(\[:])")
_PROSE = re.compile(_MARKUP % r"`[^`<]+`|\[[^\[\]^|`*<~$_&@\\]+\](?![(\[:])")

#: What LaTeX takes for a command, or prints as something else in its old fonts.
_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    | {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$", "†": r"$\dagger$"}
)

#: How a spreadsheet tells a formula, or text that hides one (OWASP's list, with the signs of full width).
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def as_markdown(text: str) -> str:
    """A cell on one line, with everything escaped that GitHub would take for something else."""
    return _CELL.sub(_escaped, _line(text))


def as_prose(text: str) -> str:
    """A heading or a paragraph, escaped as a cell is but for code between backquotes and remarks in brackets."""
    return _PROSE.sub(_escaped, _line(text))


def as_code(text: str) -> str:
    """What stands between backquotes or in a fence on one line: nothing in it ends that, or is a mark of a block."""
    return one_line(text).replace("`", "'").replace("<", "‹")


def fenced(text: str, language: str = "") -> str:
    """A block of code, whose fence is longer than any in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{visible(text).rstrip()}\n{fence}"


def as_latex(text: str) -> str:
    """A cell with everything escaped, and a minus sign before a number that is negative."""
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", _line(text).translate(_LATEX))


def as_html(text: str) -> str:
    """Text for an element or an attribute."""
    return escape(visible(text))


def as_csv(value: Any) -> str:
    """A cell that no spreadsheet runs as a formula; numbers and the dash for none stay what they are."""
    if value is None:
        return ""
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    formula = text.lstrip(" ").startswith(_FORMULA) and text != "-" and not _NUMBER.fullmatch(text)
    return f"'{visible(text)}" if formula else visible(text)


def _line(text: str) -> str:
    return visible(" ".join(text.split()))


def _escaped(found: re.Match[str]) -> str:
    """A backslash alone does not keep a name from being called, nor, where the site is made, a tag from being one."""
    if found["whole"]:
        return found[0]
    return {"@": "\\@<!-- -->", "<": "&lt;"}.get(found[0], f"\\{found[0]}")
