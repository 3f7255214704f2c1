"""The words of many texts as numbers in an array, to compare the texts and to find phrases in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hbt_bench.ranking.tokens import words

Numbers = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class WordTable:
    """The words of texts in compressed rows: text `t` has the words ``numbers[offsets[t]:offsets[t + 1]]``.

    Shapes: `numbers` (words,) the number of each word in `vocabulary`, in the order of the texts; `offsets`
    (texts + 1,). Words are those of `hbt_bench.ranking.tokens.words`, so case, punctuation and spacing do not count. A
    text without letters and digits is a single word, so that its punctuation counts.

    For example:

    >>> table = WordTable.from_texts(["One, two.", "Two three!"])
    >>> table.numbers.tolist(), table.find([1])
    ([0, 1, 1, 2], [0, 1])
    """

    numbers: Numbers
    offsets: NDArray[np.int64]
    vocabulary: dict[str, int]

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> WordTable:
        """Number the words in the order in which they appear first."""
        vocabulary: dict[str, int] = {}
        rows = [
            np.array([vocabulary.setdefault(word, len(vocabulary)) for word in text_words(text)], np.int32)
            for text in texts
        ]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        return cls(np.concatenate([np.empty(0, np.int32), *rows]), offsets, vocabulary)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def row(self, text: int) -> Numbers:
        """Return the numbers of the words of the text at index `text`."""
        return self.numbers[self.offsets[text] : self.offsets[text + 1]]

    @cached_property
    def texts(self) -> Numbers:
        """The text of each word, (words,)."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.offsets))

    def phrase(self, text: str) -> list[int] | None:
        """Return the numbers of the words of any text, or None if it has a word that no text of the table has."""
        phrase = [self.vocabulary.get(word, -1) for word in text_words(text)]
        return None if -1 in phrase else phrase

    def document_counts(self, block: slice) -> NDArray[np.int64]:
        """Return the number of texts in a block of texts that have each word, (vocabulary,)."""
        words = slice(self.offsets[block.start], self.offsets[block.stop])
        pairs = np.unique(self.texts[words].astype(np.int64) * len(self.vocabulary) + self.numbers[words])
        return np.bincount(pairs % len(self.vocabulary), minlength=len(self.vocabulary))

    def words_of(self, text: int) -> list[str]:
        """Return the words of the text at index `text`."""
        return [self._spellings[number] for number in self.row(text).tolist()]

    @cached_property
    def _spellings(self) -> list[str]:
        return list(self.vocabulary)

    def find(self, phrase: Sequence[int]) -> list[int]:
        """Return the texts that contain the words of a phrase in direct succession, ascending."""
        order, starts = self._places
        rarest = min(range(len(phrase)), key=lambda position: starts[phrase[position] + 1] - starts[phrase[position]])
        first = order[starts[phrase[rarest]] : starts[phrase[rarest] + 1]] - rarest
        first = first[(first >= 0) & (first + len(phrase) <= len(self.numbers))]
        for position, number in enumerate(phrase):
            first = first[self.numbers[first + position] == number]
        inside = self.texts[first] == self.texts[first + len(phrase) - 1]
        return [int(text) for text in np.unique(self.texts[first[inside]])]

    @cached_property
    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The indexes of words, sorted by number, and the start of each number among them."""
        starts = np.zeros(len(self.vocabulary) + 1, np.int64)
        np.cumsum(np.bincount(self.numbers, minlength=len(self.vocabulary)), out=starts[1:])
        return np.argsort(self.numbers, kind="stable"), starts


def text_words(text: str) -> list[str]:
    """Return the words of a text, or the text itself if it has no letters and digits."""
    return words(text) or [text.strip()]
