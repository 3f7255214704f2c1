"""Which records of different languages are versions of the same item.

Only the user or the data state that two texts are translations, never their position. The data state it by a record
that has both, or by an id that both share. But ids may be the numbers of rows in each language, which agree for texts
that have nothing in common. So ids that could be counters need a sign in the texts: translations share numbers and
names, and long texts have long translations.
"""

from __future__ import annotations

import logging
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, zip_longest
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import DataError
from hbt_bench.training import counter_rng
from hbt_bench.training.items import Item

log = logging.getLogger(__name__)

#: Texts with the same id that are compared at least, because fewer show nothing, and at most.
_FEWEST, _MOST = 6, 200
#: Random pairings that the pairing by id is compared with.
_PAIRINGS = 199
#: The share of random pairings that may look at least as related, for few and for many texts.
_LEVELS = ((12, 0.01), (0, 0.05))
#: Ids agree by chance if there are at most this many times as many equal ids as in two random samples: of codes, and of
#: numbers, because numbers that count something often have gaps.
_CHANCE, _SPARSE = 2.0, 2000.0
#: A counter has so many times as many numbers as different steps between them: tens have the step 10 alone.
_STEPS = 4
#: The last digits of a number that are compared.
_DIGITS = 18
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
    unrelated = "" if parallel is not None else _unrelated(name, pieces)
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


def _unrelated(name: str, pieces: Sequence[Piece]) -> str:
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
        if not common or not ids_agree_by_chance(first, second):
            continue
        if len(common) < _FEWEST:
            log.info(
                f"{name}: the {len(common)} ids that '{pivot}' and '{language}' share are too few to compare their "
                "texts, and are taken for translations; `parallel: false` states that they are not"
            )
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
    """Return whether two lists of ids may have their ids in common because both count something.

    Counters are row numbers, with texts around them as in ``q1`` or ``train-00017-of-00080``, multiples and other small
    numbers, several numbers as in ``doc17_p0``, and short codes such as ``00a1``. Hashes and long numbers are none. For
    example, 1 to 50 and 1 to 90 agree by chance; fifty equal numbers of ten digits do not.
    """
    sides = set(first), set(second)
    shapes = [_shapes(ids) for ids in sides]
    if any(2 * len(by_shape) > len(ids) for by_shape, ids in zip(shapes, sides, strict=True)):
        return len(sides[0] & sides[1]) * _codes(sides[0] | sides[1]) <= _CHANCE * len(sides[0]) * len(sides[1])
    common = chance = 0.0
    for shape in shapes[0].keys() & shapes[1].keys():
        these, those = shapes[0][shape], shapes[1][shape]
        columns = zip(*(these | those), strict=True)
        common += len(these & those)
        chance += len(these) * len(those) / math.prod(map(_values, columns))
    return common <= _SPARSE * chance


def _shapes(ids: Iterable[str]) -> Mapping[tuple[str, ...], set[tuple[int, ...]]]:
    """Return the numbers in ids by the texts around them."""
    shapes: dict[tuple[str, ...], set[tuple[int, ...]]] = defaultdict(set)
    for name in ids:
        texts = re.split(r"[0-9]+", name)
        shapes[tuple(texts)].add(tuple(int(number[-_DIGITS:]) for number in re.findall(r"[0-9]+", name)))
    return shapes


def _values(numbers: Iterable[int]) -> int:
    """Return how many numbers a counter could have had: those in steps of a few sizes, else all in between."""
    different = sorted(set(numbers))
    span = different[-1] - different[0] + 1
    steps = {later - earlier for earlier, later in pairwise(different)}
    is_counted = different[0] <= span and len(steps) <= len(different) / _STEPS
    return len(different) if is_counted else span


def _codes(ids: Collection[str]) -> int:
    """Return the number of codes with the letters and digits that ids have at each position, from the end."""
    return math.prod(len(set(letters)) for letters in zip_longest(*(name[::-1] for name in ids)))


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
