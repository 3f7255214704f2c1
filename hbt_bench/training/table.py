"""The texts of records or of items, as columns of numbers: a row for each text in its owner, language and role."""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import DataError
from hbt_bench.training.texts import Numbers, Texts, TextWriter

#: The roles of a text in its owner and language. An owner has a query, a passage, and any number of the others.
QUERY, PASSAGE, NEGATIVE, MORE = range(4)
#: Texts that are numbered at once.
_CHUNK = 1 << 15


@dataclass(frozen=True, eq=False)
class TextTable:
    """Which texts the owners (records, or the items that they are joined to) have.

    Row `i` of the columns is the text ``texts[text[i]]`` of ``owner[i]`` in ``languages[language[i]]``. `names` are the
    ids of the owners, or else their positions, and `has_key` states which have an id; both (owners,).
    """

    names: Texts
    has_key: NDArray[np.bool_]
    texts: Texts
    languages: tuple[str, ...]
    owner: NDArray[np.int32]
    language: NDArray[np.int16]
    role: NDArray[np.int8]
    text: NDArray[np.int32]

    @property
    def states_language(self) -> NDArray[np.bool_]:
        """Whether each row is a query or a passage, by which an owner has a language."""
        stated: NDArray[np.bool_] = self.role <= PASSAGE
        return stated

    def position(self, owner: int) -> str:
        """Return where an owner is in the data, for messages."""
        return self.names.note(owner) or self.names[owner]

    def spoken(self, owner: int) -> list[str]:
        """Return the languages of an owner's queries and passages, sorted."""
        rows = np.flatnonzero(self.owner == owner)
        return sorted({self.languages[code] for code in self.language[rows[self.states_language[rows]]]})

    def first_holders(self, values: NDArray[Any], cells: NDArray[np.int64], count: int) -> NDArray[Any]:
        """Return for each row the value of the first row in the same cell, of `count` cells."""
        first = np.zeros(count, dtype=values.dtype)
        first[cells[::-1]] = values[::-1]  # of equal cells, numpy keeps the last value
        return first[cells]

    def cells(self, rows: NDArray[np.bool_] | slice = slice(None)) -> NDArray[np.int64]:
        """Return a number for the owner and the language of some rows."""
        return self.owner[rows].astype(np.int64) * len(self.languages) + self.language[rows]

    def select(self, rows: NDArray[Any]) -> TextTable:
        """Return a table with some of the rows, in this order."""
        columns = {name: getattr(self, name)[rows] for name in ("owner", "language", "role", "text")}
        return replace(self, **columns)

    def in_order(self) -> TextTable:
        """Return the table in the languages of queries and passages, sorted, ordered by owner, language and role.

        The rows of an owner, a language and a role keep their order.
        """
        spoken = np.unique(self.language[self.states_language]).tolist()
        languages = tuple(sorted(self.languages[code] for code in spoken))
        places = {code: number for number, code in enumerate(languages)}
        numbers = np.array([places.get(code, -1) for code in self.languages] or [-1], dtype=np.int16)
        table = replace(self, languages=languages, language=numbers[self.language])
        if (table.language < 0).any():
            table = table.select(table.language >= 0)
        keys = table.cells() * (MORE + 1) + table.role
        return table.select(np.argsort(keys, kind="stable")) if (keys[1:] < keys[:-1]).any() else table

    def by_appearance(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the texts of the rows in the order of their first appearance, and the place of each text, or -1."""
        first = np.full(len(self.texts), len(self.text), dtype=np.int64)
        first[self.text[::-1]] = np.arange(len(self.text) - 1, -1, -1)  # of equal numbers, numpy keeps the last value
        order = np.argsort(first, kind="stable")[: np.count_nonzero(first < len(self.text))]
        ranks = np.full(len(self.texts) + 1, -1, dtype=np.int32)  # the last entry is for a missing text
        ranks[order] = np.arange(len(order), dtype=np.int32)
        return order, ranks


class TableWriter:
    """Writes a `TextTable`; equal texts get the same number, so that each is stored once.

    Example:
        writer = TableWriter()
        writer.owner("7", "faq.jsonl:1")
        writer.add("en", QUERY, "Who?")
        writer.done().texts[0]  # "Who?"
    """

    def __init__(self) -> None:
        self._names, self._has_key = TextWriter(), array("b")
        self._texts, self._numbers = TextWriter(), Numbers()
        self._languages: dict[str, int] = {}
        self._owner, self._language, self._role = array("i"), array("h"), array("b")
        self._text = array("i")
        self._pending: list[str] = []

    def __len__(self) -> int:
        return len(self._has_key)

    def owner(self, key: str | None, position: str = "") -> None:
        """Start the next owner, with its id or without."""
        name = position if key is None else key
        self._names.add(name, hash(name), position if key is not None else "")
        self._has_key.append(key is not None)

    def add(self, language: str, role: int, text: str, *, before: bool = False) -> None:
        """Add a text of the last owner, or of the owner `before` it."""
        self._owner.append(len(self) - 1 - before)
        self._language.append(self._languages.setdefault(language, len(self._languages)))
        self._role.append(role)
        self._pending.append(text)
        if len(self._pending) == _CHUNK:
            self._number()

    def _number(self) -> None:
        """Number the texts that were added, and write the new texts."""
        numbers, new = self._numbers.of(np.fromiter(map(hash, self._pending), np.int64, len(self._pending)))
        for position in new.tolist():
            self._texts.add(self._pending[position], hash(folded(self._pending[position])))
        self._text.frombytes(numbers.tobytes())
        self._pending = []

    def done(self) -> TextTable:
        """Return the table; nothing can be added after it."""
        self._number()
        self._numbers = Numbers()
        return TextTable(
            self._names.done(),
            np.asarray(self._has_key).view(np.bool_),
            self._texts.done(),
            tuple(self._languages),
            *map(np.asarray, (self._owner, self._language, self._role, self._text)),
        )


def with_codes(table: TextTable, codes: Mapping[str, str]) -> TextTable:
    """Return the texts of records with our codes; the languages without a code are left out.

    Raises `DataError` if a record has a language in two spellings.
    """
    languages = tuple(dict.fromkeys(codes.values()))
    if table.languages == languages == tuple(codes):
        return table
    numbers = np.array([languages.index(codes[label]) if label in codes else -1 for label in table.languages] or [-1])
    read = numbers[table.language] >= 0
    table = table if read.all() else table.select(read)
    renamed = replace(table, languages=languages, language=numbers[table.language].astype(np.int16))
    if len(languages) < len(codes):
        stated = table.states_language
        labels, cells = table.language[stated], renamed.cells(stated)
        other = renamed.first_holders(labels, cells, len(table.names) * len(languages)) != labels
        if other.any():
            owner = int(table.owner[stated][other].min())
            spellings = ", ".join(label for label in table.spoken(owner) if label in codes)
            raise DataError(f"{table.position(owner)} has a language in two spellings ({spellings}): remove one")
    return renamed


def folded(text: str) -> str:
    """Return a text without the differences that do not count in a batch: case, and compatible characters (NFKC)."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def single_spaced(text: str) -> str:
    """Return a text with single spaces in place of runs of white space, and none at the ends."""
    if text.isprintable() and "  " not in text and text[:1] != " " != text[-1:]:
        return text  # the same, faster: other white space is not printable
    return " ".join(text.split())
