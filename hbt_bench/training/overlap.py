"""The leakage guard: find training texts that evaluation collections have too."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain

from hbt_bench.data.collection import Collection
from hbt_bench.languages import general, get_language
from hbt_bench.training.parallel import ParallelText

#: Length of a run that counts as copied: in words, or in characters for scripts without spaces between words.
WORDS = 10
CHARACTERS = 24
#: Texts whose reasons are kept.
_KEPT = 1_000_000
_WITHOUT_SPACES = frozenset({"Thai", "Hans", "Hant", "Jpan", "Laoo", "Khmr", "Mymr"})


class Overlap:
    """The texts of some collections, by language, to compare training texts with.

    Two texts of a language overlap if they are equal or share a run of `WORDS` words (`CHARACTERS` characters in
    scripts without spaces). Case, punctuation and spacing do not count. Regions do not count either: "pt" and "pt-BR"
    are a language. `languages` limits the comparison.
    """

    def __init__(self, collections: Iterable[Collection], languages: Iterable[str] | None = None) -> None:
        self._texts: set[tuple[str, int]] = set()
        self._runs: set[tuple[str, int]] = set()
        self._reasons: dict[int, str | None] = {}
        compared = None if languages is None else set(map(general, languages))
        for collection in collections:
            queries = ((query.language, query.text) for query in collection.queries)
            documents = ((document.language, document.text) for document in collection.documents)
            for code, text in chain(queries, documents):
                language = general(code)
                if compared is not None and language not in compared:
                    continue
                words = _words(text)
                self._texts.add((language, hash(" ".join(words) or text)))
                self._runs.update((language, hash(run)) for run in _runs(language, words))

    def reason(self, language: str, text: str) -> str | None:
        """Return ``same text`` or ``shared run`` if a text overlaps with the collections, else None; cached."""
        language = general(language)
        key = hash((language, text))
        if key not in self._reasons:
            if len(self._reasons) >= _KEPT:
                self._reasons.clear()
            words = _words(text)
            same = (language, hash(" ".join(words) or text)) in self._texts
            shared = same or any((language, hash(run)) in self._runs for run in _runs(language, words))
            self._reasons[key] = "same text" if same else "shared run" if shared else None
        return self._reasons[key]

    def count(self, source: ParallelText) -> Counter[tuple[str, str]]:
        """Count the texts of a source that overlap, by language and reason."""
        reasons = ((language, self.reason(language, text)) for language, text in source.occurrences())
        return Counter((language, reason) for language, reason in reasons if reason)

    def remove_from(self, source: ParallelText) -> ParallelText:
        """Return a source without the texts that overlap; raises `DataError` if nothing is left."""
        return source.without(lambda language, text: self.reason(language, text) is not None)


class _Spaced(dict[int, str]):
    """A table for `str.translate` that replaces punctuation and symbols by spaces."""

    def __missing__(self, character: int) -> str:
        letter = chr(character)
        self[character] = " " if unicodedata.category(letter)[0] in "PSZ" else letter
        return self[character]


_TABLE = _Spaced()


def normalised(text: str) -> str:
    """Return a text as the guard compares it, without case, punctuation and spacing; a text of symbols is unchanged.

    For example, ``normalised(" Who  is Ann?!")`` is ``who is ann``.
    """
    return " ".join(_words(text)) or text


def _words(text: str) -> list[str]:
    # not those of BM25: they take four times as long, and a change of its tokens would change the texts of a recipe
    return unicodedata.normalize("NFKC", text).casefold().translate(_TABLE).split()


def _runs(language: str, words: list[str]) -> Iterator[str]:
    if get_language(language).script in _WITHOUT_SPACES:
        text = "".join(words)
        return (text[start : start + CHARACTERS] for start in range(len(text) - CHARACTERS + 1))
    return (" ".join(words[start : start + WORDS]) for start in range(len(words) - WORDS + 1))
