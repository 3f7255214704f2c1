"""Query shift: queries as users type them, computed from the annotators' queries and a seed.

A shift follows a task's name, for example ``+typos``, ``+typos@0.2`` with a strength and ``+typos@0.2:7`` with a seed.
A shifted task has other texts and therefore another data hash, so that its results never replace the unshifted ones.
"""

from __future__ import annotations

import math
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hbt_bench.data.collection import Collection, Query
from hbt_bench.errors import UsageError, did_you_mean
from hbt_bench.text import UNSPACED

#: Kinds with their default strength: the share of words or characters that change.
STRENGTHS = {
    "typos": 0.1,
    "keywords": 0.5,
    "truncated": 0.5,
    "code-switch": 0.5,
    "no-diacritics": 1.0,
    "transliterated": 1.0,
}

#: Scripts without spaces between words: pieces of two characters serve as words.
_PAIRED = rf"[{UNSPACED}\p{{Tibetan}}]"


@dataclass(frozen=True)
class Shift:
    """A kind of change with its strength, above 0 and up to 1, and its seed.

    For example, ``Shift.parse("typos@0.2:7").apply(collection)`` is the collection with changed queries.
    """

    kind: str
    strength: float
    seed: int = 0

    @classmethod
    def parse(cls, text: str) -> Shift:
        """Parse ``typos``, ``typos@0.2`` or ``typos@0.2:7``; raises `UsageError` for anything else."""
        match = re.fullmatch(r"([a-z-]+)(?:@(\d(?:\.\d{1,4})?))?(?::(\d{1,9}))?", text)
        kind = match[1] if match else re.split("[@:]", text)[0]
        if kind not in STRENGTHS:
            near = did_you_mean(kind, STRENGTHS) or f" (known are {', '.join(STRENGTHS)})"
            raise UsageError(f"unknown query shift '{kind}'{near}")
        strength = float(match[2]) if match and match[2] else STRENGTHS[kind]
        if match is None or not 0 < strength <= 1:
            raise UsageError(f"invalid query shift '{text}': write {kind}@0.2 or {kind}@0.2:7, with a strength up to 1")
        return cls(kind, strength, int(match[3] or 0))

    def __str__(self) -> str:
        """Return the shortest text from which `parse` makes this shift."""
        default = STRENGTHS[self.kind]
        strength = "" if self.strength == default else f"@{self.strength:g}"
        return f"{self.kind}{strength}{f':{self.seed}' if self.seed else ''}"

    @property
    def word(self) -> str:
        """The shift in names of MTEB tasks and of files, for example ``typos_at0.2``."""
        return str(self).replace("@", "_at").replace(":", "_seed").replace("-", "_")

    def apply(self, collection: Collection) -> Collection:
        """Return the collection with changed queries; its documents and judgements stay the same.

        Raises `UsageError` if no query would change.
        """
        change = _KINDS[self.kind](collection.queries)
        texts = {}
        for query in collection.queries:
            text = change(query, self.strength, random.Random(f"{self.seed}|{self}|{query.id}|{query.text}"))
            texts[query.id] = text if text.strip() else query.text
        if all(texts[query.id] == query.text for query in collection.queries):
            raise UsageError(f"+{self} changes no query of {collection.name}{_WHY.get(self.kind, '')}")
        return collection.with_queries(texts)


_WHY = {
    "code-switch": ": it takes words from the same question in another language, so name at least two parallel ones",
    "no-diacritics": ": its languages have no letters with removable marks",
    "transliterated": ": its languages are written in plain Latin letters",
}

#: A position in a query: the index of a piece, or the indexes of a cluster and of a character in it.
_Position = TypeVar("_Position", int, tuple[int, int])
#: Changes a query; the random numbers depend only on the shift and the query.
Change = Callable[[Query, float, random.Random], str]


def words(text: str) -> list[str]:
    """Split a text into words, other characters, and pairs of characters of scripts without spaces.

    The pieces joined are the text. For example, ``words("Who's there?")`` is ``["Who's", " ", "there", "?"]``.
    """
    import regex

    cluster = rf"(?:(?={_PAIRED})\X)"
    word = rf"(?:(?!{_PAIRED})[\p{{L}}\p{{M}}\p{{N}}'’])+"
    return list(regex.findall(rf"{cluster}{{1,2}}|{word}|.", text, regex.DOTALL | regex.VERSION1))


def _is_word(piece: str) -> bool:
    return any(character.isalnum() for character in piece)


def _pieces(text: str) -> tuple[list[str], list[int]]:
    """Return the pieces of a text, and the indices of those that are words."""
    pieces = words(text)
    return pieces, [index for index, piece in enumerate(pieces) if _is_word(piece)]


def _join(pieces: Sequence[str]) -> str:
    """Join pieces, with a space between words of scripts with spaces."""
    import regex

    text = ""
    for piece in pieces:
        unspaced = regex.match(_PAIRED, piece, regex.VERSION1) and (
            not text or regex.search(rf"{_PAIRED}\p{{M}}*$", text, regex.VERSION1)
        )
        text += piece if not text or unspaced else f" {piece}"
    return text


def _typos(query: Query, strength: float, chance: random.Random) -> str:
    """Drop or double a share of the letters, swap them with the next, or replace them by other letters of the query."""
    import regex

    clusters = regex.findall(r"\X", query.text)
    positions = [index for index, cluster in enumerate(clusters) if cluster[0].isalpha()]
    letters = [clusters[index] for index in positions]
    for index in sorted(_sample(positions, strength, chance), reverse=True):
        kind = chance.randrange(4)
        if kind == 0 and len(positions) > 1:
            clusters[index] = ""
        elif kind == 1:
            clusters[index] *= 2
        elif kind == 2 and index + 1 < len(clusters):
            clusters[index], clusters[index + 1] = clusters[index + 1], clusters[index]
        else:
            clusters[index] = chance.choice([cluster for cluster in letters if cluster != clusters[index]] or [""])
    return "".join(clusters)


def _keywords(queries: Sequence[Query]) -> Change:
    """Keep the rarest words of the query, by their frequency in the queries of its language, in their order."""
    frequency: dict[str, Counter[str]] = {}
    for query in queries:
        counts = frequency.setdefault(query.language, Counter())
        counts.update({word.casefold() for word in words(query.text) if _is_word(word)})

    def change(query: Query, strength: float, chance: random.Random) -> str:
        tokens = [word for word in words(query.text) if _is_word(word)]
        keep = max(1, math.ceil(strength * len(tokens)))
        counts = frequency[query.language]
        rarest = sorted(
            range(len(tokens)), key=lambda index: (counts[tokens[index].casefold()], -len(tokens[index]), index)
        )
        return _join([tokens[index] for index in sorted(rarest[:keep])])

    return change


def _truncated(query: Query, strength: float, chance: random.Random) -> str:
    """Cut the end, as in a query that is still being typed."""
    pieces, positions = _pieces(query.text)
    keep = max(1, len(positions) - round(strength * len(positions)))
    return "".join(pieces[: positions[keep - 1] + 1]) if positions else query.text


def _code_switch(queries: Sequence[Query]) -> Change:
    """Replace a share of the words by the words at the same relative position in another language's version."""
    versions: dict[str, dict[str, Query]] = {}
    for query in queries:
        versions.setdefault(query.question, {})[query.language] = query

    def change(query: Query, strength: float, chance: random.Random) -> str:
        others = sorted(code for code in versions[query.question] if code != query.language)
        if not others:
            return query.text
        other = [word for word in words(versions[query.question][chance.choice(others)].text) if _is_word(word)]
        pieces, positions = _pieces(query.text)
        if not other or not positions:
            return query.text
        for index in _sample(positions, strength, chance):
            share = positions.index(index) / len(positions)
            word = other[min(int(share * len(other)), len(other) - 1)]
            before = " " if index and not pieces[index - 1].isspace() and _is_word(pieces[index - 1]) else ""
            after = index + 1 < len(pieces) and _is_word(pieces[index + 1])
            pieces[index] = f"{before}{word}{' ' if after else ''}"
        return re.sub(" {2,}", " ", "".join(pieces))

    return change


def _no_diacritics(query: Query, strength: float, chance: random.Random) -> str:
    """Remove marks that typists leave out: accents, and Arabic and Hebrew vowel signs, but never an Indic vowel.

    Letters that lose nothing keep their Unicode normal form.
    """
    import regex

    clusters = regex.findall(r"\X", query.text)
    decomposed = [unicodedata.normalize("NFD", cluster) for cluster in clusters]
    positions = [
        (row, index) for row, text in enumerate(decomposed) for index in range(len(text)) if _is_removable(text, index)
    ]
    removed: dict[int, set[int]] = {}
    for row, index in _sample(positions, strength, chance):
        removed.setdefault(row, set()).add(index)
    for row, marks in removed.items():
        rest = "".join(character for index, character in enumerate(decomposed[row]) if index not in marks)
        clusters[row] = unicodedata.normalize("NFC", rest)
    text = "".join(clusters)
    return text.translate(_STROKES) if strength == 1 else text


#: Letters with a mark that is not a separate character.
_STROKES = str.maketrans("đĐøØłŁħĦɓƁɗƊƙƘı", "dDoOlLhHbBdDkKi")
#: Marks that turn a letter into another letter: madda and hamza (آ أ إ ؤ ئ), and the marks of kana.
_LETTERS = frozenset("\u0653\u0654\u0655\u3099\u309a")
_STRESS = frozenset("\u0300\u0301")


def _is_removable(text: str, index: int) -> bool:
    """Return whether the character is a mark without which the letter stays readable."""
    mark, base = text[index], text[0]
    if unicodedata.category(mark) != "Mn" or unicodedata.combining(mark) in (0, 7, 8, 9) or mark in _LETTERS:
        return False
    if "\u0400" <= base <= "\u052f":  # й, ў, ї, ѓ and ќ are separate letters; typists leave out ё and stress marks
        return (mark == "\u0308" and base in "еЕ") or (mark in _STRESS and base in "аеиоуыэюяіАЕИОУЫЭЮЯІ")
    return not 0x0E00 <= ord(mark) < 0x1100


def _transliterated(query: Query, strength: float, chance: random.Random) -> str:
    """Write a share of the words in Latin letters, as people do without the keyboard of their language."""
    from anyascii import anyascii

    pieces, positions = _pieces(query.text)
    for index in _sample(positions, strength, chance):
        pieces[index] = anyascii(pieces[index])
    return "".join(pieces)


def _sample(positions: Sequence[_Position], strength: float, chance: random.Random) -> list[_Position]:
    """Sample a share of the positions, at least 1, in their order."""
    count = min(len(positions), max(1, round(strength * len(positions))))
    return sorted(chance.sample(list(positions), count)) if positions else []


_KINDS: Mapping[str, Callable[[Sequence[Query]], Change]] = {
    "typos": lambda queries: _typos,
    "keywords": _keywords,
    "truncated": lambda queries: _truncated,
    "code-switch": _code_switch,
    "no-diacritics": lambda queries: _no_diacritics,
    "transliterated": lambda queries: _transliterated,
}
