"""Task names as written on the command line and in results: ``xquad-r-multi[de,en>en]+typos``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

Mode = Literal["mono", "cross", "multi"]
#: The modes of a collection, in the order of every table.
MODES: tuple[Mode, ...] = ("mono", "cross", "multi")

_NAME = re.compile(
    r"(?P<base>[^\[\]+]+)(?:\[(?P<queries>[^\[\]>]*)(?:>(?P<documents>[^\[\]]*))?\])?(?P<shifts>(?:\+[^+]*)*)",
    re.DOTALL,
)
#: A comma between names. A comma in brackets belongs to the name.
_COMMA = re.compile(r",(?![^\[\],]*(?:,[^\[\],]*)*\])")


@dataclass(frozen=True)
class TaskName:
    """A task name and its parts: ``base-mode[languages]+shift``.

    `base` is the collection, or the whole name of an MTEB task. `mode` is None if the name stands for all modes.
    `queries` and `documents` are the languages in brackets: None if there are no brackets, and different only if they
    have a ``>``. `shifts` are the query shifts, as text. For example:

    >>> TaskName.parse("xquad-r-multi[de,en]+typos")
    TaskName(base='xquad-r', mode='multi', queries=('de', 'en'), documents=('de', 'en'), shifts=('typos',))
    """

    base: str
    mode: Mode | None = None
    queries: tuple[str, ...] | None = None
    documents: tuple[str, ...] | None = None
    shifts: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> TaskName:
        """Read a task name. Text of any other form, such as a path with a bracket, becomes the base.

        ``str()`` restores the text, but for blanks and empty names between the brackets.
        """
        match = _NAME.fullmatch(text)
        if match is None:
            return cls(text)
        base, mode = _split_mode(match["base"])
        queries = None if match["queries"] is None else parse_names(match["queries"])
        documents = queries if match["documents"] is None else parse_names(match["documents"])
        return cls(base, mode, queries, documents, tuple(match["shifts"].split("+")[1:]))

    def __str__(self) -> str:
        return self.mode_name + self.languages + "".join(f"+{shift}" for shift in self.shifts)

    @property
    def mode_name(self) -> str:
        """The name without languages and shifts: ``xquad-r-multi``."""
        return self.base if self.mode is None else f"{self.base}-{self.mode}"

    @property
    def languages(self) -> str:
        """The languages in their brackets: ``[de,en]`` or ``[de>en]``, empty for all languages."""
        if self.queries is None or self.documents is None:
            return ""
        if self.queries == self.documents:
            return f"[{','.join(self.queries)}]"
        return f"[{','.join(self.queries)}>{','.join(self.documents)}]"

    @property
    def collection(self) -> str:
        """The name without its mode: ``xquad-r[de,en]+typos``."""
        return str(replace(self, mode=None))

    @property
    def unshifted(self) -> TaskName:
        """The same task with unchanged queries."""
        return replace(self, shifts=())

    @property
    def unrestricted(self) -> TaskName:
        """The same task in all languages."""
        return replace(self, queries=None, documents=None)

    def counted(self, unit: str = "") -> str:
        """Return the name with its languages counted, for tables: ``xquad-r-multi[2]`` or ``xquad-r-multi[2>1]``."""
        if self.queries is None or self.documents is None:
            return str(self)
        counts = [self.queries] if self.queries == self.documents else [self.queries, self.documents]
        return str(self).replace(self.languages, f"[{'>'.join(str(len(codes)) for codes in counts)}{unit}]", 1)


def _split_mode(name: str) -> tuple[str, Mode | None]:
    for mode in MODES:
        base = name.removesuffix(f"-{mode}")
        if base and base != name:
            return base, mode
    return name, None


def parse_names(names: str | Iterable[str]) -> tuple[str, ...]:
    """Split names at commas, but not in brackets. Blanks around a name and empty names are dropped.

    >>> parse_names("xquad-r[de,en], mlqa-r")
    ('xquad-r[de,en]', 'mlqa-r')
    """
    texts = [names] if isinstance(names, str) else names
    stripped = (name.strip() for text in texts for name in _COMMA.split(text))
    return tuple(name for name in stripped if name)
