"""Query shift: what users type instead of what annotators wrote, as a pure function of a query and a seed.

Written after a task's name: ``+typos``, ``+typos@0.2`` with a strength, ``+typos@0.2:7`` with a seed. A shifted task
has other texts, hence another data hash, and never takes the place of the clean one.
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

#: Kinds with the strength that is meant when none is given: the share of words or characters that are touched.
STRENGTHS = {
    "typos": 0.1,
    "keywords": 0.5,
    "truncated": 0.5,
    "code-switch": 0.5,
    "no-diacritics": 1.0,
    "transliterated": 1.0,
}

#: Scripts that write no spaces between words: pieces of two characters stand for words.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"


@dataclass(frozen=True)
class Shift:
    """One kind of change with its strength, from above 0 to 1, and its seed."""

    kind: str
    strength: float
    seed: int = 0

    @classmethod
    def parse(cls, text: str) -> Shift:
        """Read ``typos``, ``typos@0.2`` or ``typos@0.2:7``; raises `UsageError`."""
        match = re.fullmatch(r"([a-z-]+)(?:@(\d(?:\.\d{1,4})?))?(?::(\d{1,9}))?", text)
        kind = match[1] if match else re.split("[@:]", text)[0]
        if kind not in STRENGTHS:
            near = did_you_mean(kind, STRENGTHS) or f" (there are {', '.join(STRENGTHS)})"
            raise UsageError(f"unknown query shift '{kind}'{near}")
        strength = float(match[2]) if match and match[2] else STRENGTHS[kind]
        if match is None or not 0 < strength <= 1:
            raise UsageError(f"the query shift '{text}' is written like {kind}@0.2 or {kind}@0.2:7: a share up to 1")
        return cls(kind, strength, int(match[3] or 0))

    def __str__(self) -> str:
        """As short as it can be read back."""
        default = STRENGTHS[self.kind]
        strength = "" if self.strength == default else f"@{self.strength:g}"
        return f"{self.kind}{strength}{f':{self.seed}' if self.seed else ''}"

    @property
    def word(self) -> str:
        """For names of MTEB tasks and files."""
        return str(self).replace("@", "_at").replace(":", "_seed").replace("-", "_")

    def apply(self, collection: Collection) -> Collection:
        """The collection with changed queries; its documents and judgements stay.

        Raises `UsageError` where no query of any language would change.
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
    "no-diacritics": ": none of its languages has letters with marks that can be left out",
    "transliterated": ": its languages are written in plain Latin letters",
}

#: A position in a query: of a piece, or of a cluster and a character in it.
_Place = TypeVar("_Place", int, tuple[int, int])
#: Changes one query; the random numbers depend on nothing but the shift and the query.
Change = Callable[[Query, float, random.Random], str]


def words(text: str) -> list[str]:
    """The pieces of a text, whose concatenation it is: words, others, and pairs where no spaces are written."""
    import regex

    cluster = rf"(?:(?=[{_UNSPACED}])\X)"
    return list(
        regex.findall(rf"{cluster}{{1,2}}|(?:(?![{_UNSPACED}])[\p{{L}}\p{{M}}\p{{N}}'’])+|.", text, regex.DOTALL)
    )


def _is_word(piece: str) -> bool:
    return any(character.isalnum() for character in piece)


def _join(pieces: Sequence[str]) -> str:
    """Pieces with a space between those that are words of a script with spaces."""
    import regex

    text = ""
    for piece in pieces:
        glued = regex.match(f"[{_UNSPACED}]", piece) and (not text or regex.search(f"[{_UNSPACED}]$", text))
        text += piece if not text or glued else f" {piece}"
    return text


def _typos(queries: Sequence[Query]) -> Change:
    """A share of the letters is left out, doubled, swapped with the next, or replaced by another one of the query."""

    def change(query: Query, strength: float, chance: random.Random) -> str:
        import regex

        clusters = regex.findall(r"\X", query.text)
        places = [place for place, cluster in enumerate(clusters) if cluster[0].isalpha()]
        letters = [clusters[place] for place in places]
        for place in sorted(_sample(places, strength, chance), reverse=True):
            kind = chance.randrange(4)
            if kind == 0 and len(places) > 1:
                clusters[place] = ""
            elif kind == 1:
                clusters[place] *= 2
            elif kind == 2 and place + 1 < len(clusters):
                clusters[place], clusters[place + 1] = clusters[place + 1], clusters[place]
            else:
                clusters[place] = chance.choice([cluster for cluster in letters if cluster != clusters[place]] or [""])
        return "".join(clusters)

    return change


def _keywords(queries: Sequence[Query]) -> Change:
    """The rarest words of the query, by their frequency in the queries of its language, in their order."""
    frequency: dict[str, Counter[str]] = {}
    for query in queries:
        counts = frequency.setdefault(query.language, Counter())
        counts.update({word.casefold() for word in words(query.text) if _is_word(word)})

    def change(query: Query, strength: float, chance: random.Random) -> str:
        found = [word for word in words(query.text) if _is_word(word)]
        keep = max(1, math.ceil(strength * len(found)))
        counts = frequency[query.language]
        rarest = sorted(
            range(len(found)), key=lambda place: (counts[found[place].casefold()], -len(found[place]), place)
        )
        return _join([found[place] for place in sorted(rarest[:keep])])

    return change


def _truncated(queries: Sequence[Query]) -> Change:
    """The end is missing, as in a query that is still being typed."""

    def change(query: Query, strength: float, chance: random.Random) -> str:
        pieces = words(query.text)
        places = [place for place, piece in enumerate(pieces) if _is_word(piece)]
        keep = max(1, len(places) - round(strength * len(places)))
        return "".join(pieces[: places[keep - 1] + 1]) if places else query.text

    return change


def _code_switch(queries: Sequence[Query]) -> Change:
    """A share of the words is replaced by those that stand at the same place in the question in another language."""
    versions: dict[str, dict[str, Query]] = {}
    for query in queries:
        versions.setdefault(query.question, {})[query.language] = query

    def change(query: Query, strength: float, chance: random.Random) -> str:
        others = sorted(code for code in versions[query.question] if code != query.language)
        if not others:
            return query.text
        other = [word for word in words(versions[query.question][chance.choice(others)].text) if _is_word(word)]
        pieces = words(query.text)
        places = [place for place, piece in enumerate(pieces) if _is_word(piece)]
        if not other or not places:
            return query.text
        for place in _sample(places, strength, chance):
            share = places.index(place) / len(places)
            word = other[min(int(share * len(other)), len(other) - 1)]
            before = " " if place and not pieces[place - 1].isspace() and _is_word(pieces[place - 1]) else ""
            after = place + 1 < len(pieces) and _is_word(pieces[place + 1])
            pieces[place] = f"{before}{word}{' ' if after else ''}"
        return re.sub(" {2,}", " ", "".join(pieces))

    return change


def _no_diacritics(queries: Sequence[Query]) -> Change:
    """Marks that typists leave out are gone: accents and the Arabic and Hebrew vowel signs, never an Indic vowel.

    Letters that lose nothing stay as they are written, in whatever normal form.
    """

    def change(query: Query, strength: float, chance: random.Random) -> str:
        import regex

        clusters = regex.findall(r"\X", query.text)
        apart = [unicodedata.normalize("NFD", cluster) for cluster in clusters]
        places = [(row, place) for row, text in enumerate(apart) for place in range(len(text)) if _can_go(text, place)]
        gone: dict[int, set[int]] = {}
        for row, place in _sample(places, strength, chance):
            gone.setdefault(row, set()).add(place)
        for row, marks in gone.items():
            kept = "".join(character for place, character in enumerate(apart[row]) if place not in marks)
            clusters[row] = unicodedata.normalize("NFC", kept)
        text = "".join(clusters)
        return text.translate(_STROKES) if strength == 1 else text

    return change


#: Letters whose mark is no separate character.
_STROKES = str.maketrans("đĐøØłŁħĦɓƁɗƊƙƘı", "dDoOlLhHbBdDkKi")


#: Marks that make a letter of another one: madda and hamza (آ أ إ ؤ ئ), and those over and under kana.
_LETTERS = frozenset("\u0653\u0654\u0655\u3099\u309a")
_STRESS = frozenset("\u0300\u0301")


def _can_go(text: str, place: int) -> bool:
    """Whether the character is a mark over a letter of an alphabet, where it stays readable without."""
    mark, base = text[place], text[0]
    if unicodedata.category(mark) != "Mn" or unicodedata.combining(mark) in (0, 7, 8, 9) or mark in _LETTERS:
        return False
    if "\u0400" <= base <= "\u052f":  # й, ў, ї, ѓ and ќ are letters of their own; ё and stress marks are left out
        return (mark == "\u0308" and base in "еЕ") or (mark in _STRESS and base in "аеиоуыэюяіАЕИОУЫЭЮЯІ")
    return not 0x0E00 <= ord(mark) < 0x1100


def _transliterated(queries: Sequence[Query]) -> Change:
    """A share of the words is written in Latin letters, as people do without the keyboard of their language."""
    from anyascii import anyascii

    def change(query: Query, strength: float, chance: random.Random) -> str:
        pieces = words(query.text)
        places = [place for place, piece in enumerate(pieces) if _is_word(piece)]
        for place in _sample(places, strength, chance):
            pieces[place] = anyascii(pieces[place])
        return "".join(pieces)

    return change


def _sample(places: Sequence[_Place], strength: float, chance: random.Random) -> list[_Place]:
    """A share of the places, at least one, in their order."""
    count = min(len(places), max(1, round(strength * len(places))))
    return sorted(chance.sample(list(places), count)) if places else []


_KINDS: Mapping[str, Callable[[Sequence[Query]], Change]] = {
    "typos": _typos,
    "keywords": _keywords,
    "truncated": _truncated,
    "code-switch": _code_switch,
    "no-diacritics": _no_diacritics,
    "transliterated": _transliterated,
}
