"""Which records of different languages are versions of the same item.

Only the user or the data state that two texts are translations, never their position. The data state it by a record
that has both, or by an id that both share. But ids may be the numbers of rows in each language, which agree for texts
that have nothing in common. So ids that agree no more often than row numbers do need a sign in the texts: translations
share numbers and names, and long texts have long translations.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import DataError
from hbt_bench.training import counter_rng
from hbt_bench.training.items import Item

#: Texts with the same id that are compared at least, because fewer show nothing, and at most.
_FEWEST, _MOST = 6, 200
#: Random pairings that the pairing by id is compared with.
_PAIRINGS = 199
#: The share of random pairings that may look at least as related, for few and for many texts.
_LEVELS = ((12, 0.01), (0, 0.05))
#: Ids agree by chance if there are at most this many times as many equal ids as in two random samples of numbers.
_CHANCE = 2.0
#: The first key of the draw of random pairings; see `hbt_bench.training.plan` for the keys of the other draws.
_PAIRING = 102
_WORD = re.compile(r"\d+|[^\W\d_]+")


class Piece(NamedTuple):
    """The texts of an item that a single record has. `key` is the id of the record, or None."""

    key: str | None
    position: str
    item: Item

    @property
    def languages(self) -> set[str]:
        """The languages of the record's queries and passages."""
        return {*self.item.queries, *self.item.passages}


def pair(name: str, pieces: Sequence[Piece], parallel: bool | None, advice: str) -> tuple[list[Item], str]:
    """Join the pieces with the same id into items; return also why no item has two languages, "" if there are some.

    `parallel` states whether equal ids are translations; None looks at ids and texts. `advice` is for data without ids.
    Raises `DataError` with the position for an id that is repeated in a language, and for ``parallel: true`` without
    ids. For example, ``pair("faq", pieces, None, "set `id`")[0]``.
    """
    if parallel and all(piece.key is None for piece in pieces):
        raise DataError(f"{name} has no ids, by which `parallel: true` pairs records: set `id` to their field")
    unrelated = "" if parallel is not None else _unrelated(pieces)
    if parallel is False or unrelated:
        pieces = [_apart(piece) for piece in pieces]
    items = _join(pieces)
    several = len({language for piece in pieces for language in piece.languages}) > 1
    if parallel is False or not several or any(len({*item.queries, *item.passages}) > 1 for item in items):
        return items, ""
    if unrelated:
        return items, unrelated
    if all(piece.key is None for piece in pieces):
        return items, f"no record has an id: {advice}"
    return items, f"no id is in two languages: {advice}"


def _join(pieces: Iterable[Piece]) -> list[Item]:
    items: dict[str, Item] = {}
    for piece in pieces:
        item = items.setdefault(piece.item.id, piece.item)
        if item is piece.item:
            continue
        for language in sorted(piece.languages & {*item.queries, *item.passages}):
            raise DataError(
                f"{piece.position} repeats the id '{item.id}' in '{language}': set `id` to a field that is unique per "
                "record"
            )
        for texts, more in zip(_texts(item), _texts(piece.item), strict=True):
            texts.update(more)
    return list(items.values())


def _texts(item: Item) -> Iterator[dict[str, object]]:
    yield from (item.queries, item.passages, item.more_passages, item.negatives)  # type: ignore[misc]


def _apart(piece: Piece) -> Piece:
    """Give the item of a record an id that no record of another language has."""
    codes = "-".join(sorted(piece.languages))
    return piece if piece.key is None else piece._replace(item=replace(piece.item, id=f"{codes}/{piece.key}"))


def _unrelated(pieces: Sequence[Piece]) -> str:
    """Return why equal ids are no translations, or "" if they are, as far as ids and texts show."""
    by_language: dict[str, dict[str, Piece]] = defaultdict(dict)
    for piece in pieces:
        for language in piece.languages if piece.key is not None else ():
            by_language[language].setdefault(str(piece.key), piece)
    if len(by_language) < 2:
        return ""
    pivot = max(sorted(by_language), key=lambda language: len(by_language[language]))
    for language in sorted(by_language.keys() - {pivot}):
        first, second = by_language[pivot], by_language[language]
        common = [key for key in first if key in second and first[key] is not second[key]]
        if len(common) < _FEWEST or not ids_agree_by_chance(first, second):
            continue
        chosen = [common[number * len(common) // _MOST] for number in range(_MOST)] if len(common) > _MOST else common
        if not related(
            [_in_language(first[key].item, pivot) for key in chosen],
            [_in_language(second[key].item, language) for key in chosen],
        ):
            return (
                f"their ids could be row numbers, and the texts with the same id in '{pivot}' and '{language}' look "
                "unrelated: set `parallel: true` if equal ids are translations, else `parallel: false`"
            )
    return ""


def _in_language(item: Item, language: str) -> tuple[str, str]:
    return item.queries.get(language, ""), item.passages.get(language, "")


def ids_agree_by_chance(first: Iterable[str], second: Iterable[str]) -> bool:
    """Return whether two lists of ids have no more ids in common than two lists of row numbers would have.

    Ids are compared as numbers if they differ only in their last number, such as ``q1`` and ``q2``. For example, 1 to
    50 and 1 to 90 agree by chance; fifty equal numbers of ten digits do not, and hashes never do.
    """
    numbers = [_numbers(ids) for ids in (first, second)]
    if not all(numbers):
        return False
    common = chance = 0.0
    for prefix in numbers[0].keys() & numbers[1].keys():
        these, those = numbers[0][prefix], numbers[1][prefix]
        span = max(*these, *those) - min(*these, *those) + 1
        common += len(these & those)
        chance += len(these) * len(those) / span
    return common <= _CHANCE * chance


def _numbers(ids: Iterable[str]) -> Mapping[tuple[str, str], set[int]]:
    """Return the last numbers of ids by the rest of the id; empty if the rest identifies the record, as in a hash."""
    numbers: dict[tuple[str, str], set[int]] = defaultdict(set)
    count = 0
    for name in ids:
        count += 1
        match = re.fullmatch(r"(.*?)(\d{1,18})(\D*)", name, re.DOTALL)
        if match is None:
            return {}
        numbers[match[1], match[3]].add(int(match[2]))
    return numbers if len(numbers) <= count / 2 else {}


def related(first: Sequence[tuple[str, str]], second: Sequence[tuple[str, str]]) -> bool:
    """Return whether texts at the same position in two languages look like translations of each other.

    The sign is that they share more words and numbers, and their lengths agree better, than in nearly all random
    pairings. The words of two scripts differ, but numbers and foreign names remain. An entry is a query and a passage.
    """
    count = len(first)
    signs = [_shared_words(first, second)]
    for column in range(2):
        lengths = [np.log1p([len(texts[column]) for texts in side]) for side in (first, second)]
        signs.append(np.outer(*(length - length.mean() for length in lengths)))
    likeness = np.zeros((count, count))
    for sign in signs:
        centred = sign - sign.mean(axis=0) - sign.mean(axis=1)[:, None] + sign.mean()
        if (spread := centred.std()) > 1e-9:
            likeness += centred / spread
    rows = np.arange(count)
    pairings = np.argsort(counter_rng.uniform(_PAIRING, np.arange(_PAIRINGS)[:, None], rows), axis=1, kind="stable")
    as_related = np.count_nonzero(likeness[rows, pairings].sum(axis=1) >= np.trace(likeness) - 1e-9)
    level = next(level for fewest, level in _LEVELS if count >= fewest)
    return bool((1 + as_related) / (1 + _PAIRINGS) <= level)


def _shared_words(first: Sequence[tuple[str, str]], second: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
    """Return the number of words that each text shares with each text of the other side; rare words count more."""
    sides = [[_words(texts) for texts in side] for side in (first, second)]
    times = Counter(word for side in sides for words in side for word in words)
    common = sorted(set().union(*sides[0]) & set().union(*sides[1]))
    column = {word: number for number, word in enumerate(common)}
    counts = [np.zeros((len(side), len(common))) for side in sides]
    for matrix, side in zip(counts, sides, strict=True):
        for row, words in enumerate(side):
            matrix[row, [column[word] for word in words if word in column]] = 1
    weights = np.log([2 * len(first) / times[word] for word in common])
    shared: NDArray[np.float64] = (counts[0] * weights) @ counts[1].T
    return shared


def _words(texts: Iterable[str]) -> set[str]:
    return set(_WORD.findall(unicodedata.normalize("NFKC", " ".join(texts)).casefold()))
