"""Make foreign text safe to show: on a terminal, and in Markdown, LaTeX and CSV."""

from __future__ import annotations

import re
from typing import Any

#: Control codes except line end and tab, and characters that change the direction of the text after them.
HIDDEN = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
#: Letters and digits of scripts without spaces between words, a set for the `regex` package in version 1. Script
#: extensions (scx) add the letters that Chinese and Japanese share, such as the long-vowel mark of kana. Tibetan is not
#: among the scripts, because it separates syllables.
UNSPACED = (
    r"[[\p{L}\p{N}]&&[\p{scx=Hani}\p{scx=Hira}\p{scx=Kana}"
    r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}\p{Ahom}"
    r"\p{Balinese}\p{Javanese}\p{Yi}\p{Vai}\p{Nushu}\p{Tangut}]]"
)
_HIDDEN = re.compile(HIDDEN)
_SURROGATE = re.compile("[\ud800-\udfff]")


def visible(text: object) -> str:
    r"""Replace each control code by a question mark.

    >>> visible("a\x1b[2Jb")
    'a?[2Jb'
    """
    return _HIDDEN.sub("?", f"{text}")


def one_line(text: object) -> str:
    """Return `text` on one line, with a question mark for each control code."""
    return visible(" ".join(f"{text}".splitlines()).replace("\t", " "))


def encodable(text: str) -> bool:
    """Return whether UTF-8 can encode `text`; JSON may contain an unpaired surrogate, which UTF-8 cannot encode."""
    return _SURROGATE.search(text) is None


#: Characters that GitHub reads as markup, a formula, an entity or a mention. An underscore or an at sign inside a word
#: is harmless. If text matches %s, it stays unchanged.
_MARKUP = r"(?P<unchanged>%s)|[\\|<*`~$\[\]]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)|(?<!\w)@(?=\w)"
#: In a cell, an interval stays; in prose, code and a remark in brackets that cannot be a link.
_CELL = re.compile(_MARKUP % r"\[[^\[\]^A-Za-z|`*<~$_]+\](?![(\[:])")
_PROSE = re.compile(_MARKUP % r"`[^`<]+`|\[[^\[\]^|`*<~$_&@\\]+\](?![(\[:])")

#: Characters that LaTeX reads as a command, or that its old fonts print as another character.
_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    | {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$", "†": r"$\dagger$"}
)

#: First characters of a formula in a spreadsheet (OWASP's list, and the same characters in full width).
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def as_markdown(text: str) -> str:
    r"""Return a table cell on one line, and escape everything that GitHub reads as markup.

    >>> as_markdown("a|b_")
    'a\\|b\\_'
    """
    return _CELL.sub(_escaped, _line(text))


def as_prose(text: str) -> str:
    """Return a heading or paragraph, escaped except for code in backquotes and remarks in brackets."""
    return _PROSE.sub(_escaped, _line(text))


def as_code(text: str) -> str:
    """Return the content of a code span or of a fence, which cannot end it or open an HTML comment."""
    return one_line(text).replace("`", "'").replace("<", "‹")


def fenced(text: str, language: str = "") -> str:
    """Return a code block with a fence that is longer than any fence in `text`."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{visible(text).rstrip()}\n{fence}"


def as_latex(text: str) -> str:
    """Return a table cell with LaTeX's characters escaped, and a minus sign for the hyphen of a negative number."""
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", _line(text).translate(_LATEX))


def as_csv(value: Any) -> str:
    """Return a cell, quoted if a spreadsheet would run it as a formula; numbers and a single hyphen stay unchanged."""
    if value is None:
        return ""
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    formula = text.lstrip(" ").startswith(_FORMULA) and text != "-" and not _NUMBER.fullmatch(text)
    return f"'{visible(text)}" if formula else visible(text)


def _line(text: str) -> str:
    return visible(" ".join(text.split()))


def _escaped(match: re.Match[str]) -> str:
    """Escape a character; a backslash does not stop a mention on GitHub, or an HTML tag in Python-Markdown."""
    if match["unchanged"]:
        return match[0]
    return {"@": "\\@<!-- -->", "<": "&lt;"}.get(match[0], f"\\{match[0]}")
