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
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import compress, pairwise, zip_longest

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import DataError
from hbt_bench.training import counter_rng
from hbt_bench.training.table import PASSAGE, QUERY, TextTable
from hbt_bench.training.texts import Numbers, TextWriter

log = logging.getLogger(__name__)

#: Texts with the same id that are compared at least, because fewer show nothing, and at most.
_FEWEST, _MOST = 6, 200
#: Ids of a language at most that are read to see whether they could be counters; of more, only texts are compared.
_MOST_IDS = 1_000_000
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


def pair(name: str, records: TextTable, parallel: bool | None, advice: str) -> tuple[TextTable, str]:
    """Join the records with the same id into items; return also why no item has two languages, "" if there are some.

    `parallel` states whether equal ids are translations; None looks at ids and texts. `advice` is for data without ids.
    Raises `DataError` with the position for an id that is repeated in a language, and for ``parallel: true`` without
    ids. For example, ``pair("faq", records, None, "set `id`")[0]``.
    """
    keyed = records.has_key.any()
    if parallel and not keyed:
        raise DataError(f"{name} has no ids, by which `parallel: true` pairs records: set `id` to their field")
    unrelated = "" if parallel is not None else _unrelated(name, records)
    items = _join(_apart(records) if parallel is False or unrelated else records)
    several = len(np.unique(items.language[items.states_language])) > 1
    if parallel is False or not several or _any_in_two(items):
        return items, ""
    if unrelated:
        return items, unrelated
    if not keyed:
        return items, f"no record has an id: {advice}"
    return items, f"no id is in two languages: {advice}"


def _join(records: TextTable) -> TextTable:
    """Return the table of items: the records with the same name are an item, in the order of their first records."""
    item, first = Numbers.of_all(records.names.hashes)
    if len(first) == len(records.names):
        return records
    items = replace(records, names=records.names.take(first), owner=item[records.owner])
    stated = records.states_language
    cells, owners = items.cells(stated), records.owner[stated]
    repeated = items.first_holders(owners, cells, len(first) * len(records.languages)) != owners
    if repeated.any():
        record = int(owners[repeated].min())
        languages = records.language[stated][repeated & (owners == record)]
        raise DataError(
            f"{records.position(record)} repeats the id '{records.names[record]}' in "
            f"'{min(records.languages[code] for code in languages.tolist())}': set `id` to a field that is unique per "
            "record"
        )
    return items


def _any_in_two(items: TextTable) -> bool:
    """Return whether an item has a query or a passage in two languages."""
    stated = items.states_language
    owners, languages = items.owner[stated], items.language[stated]
    return bool((items.first_holders(languages, owners.astype(np.int64), len(items.names)) != languages).any())


def _apart(records: TextTable) -> TextTable:
    """Give each record with an id a name that no record of another language has."""
    spoken = np.zeros((len(records.names), len(records.languages)), dtype=np.bool_)
    stated = records.states_language
    spoken[records.owner[stated], records.language[stated]] = True
    sets, numbers = np.unique(np.packbits(spoken, axis=1), axis=0, return_inverse=True)
    masks = np.unpackbits(sets, axis=1, count=len(records.languages)).astype(np.bool_)
    codes = ["-".join(sorted(compress(records.languages, mask.tolist()))) for mask in masks]
    names = (
        f"{codes[number]}/{name}" if has_key else name
        for name, number, has_key in zip(records.names, numbers.ravel().tolist(), records.has_key.tolist(), strict=True)
    )
    return replace(records, names=TextWriter.write(names))


def _unrelated(name: str, records: TextTable) -> str:
    """Return why equal ids are no translations, or "" if they are, as far as ids and texts show."""
    by_language = {code: _keyed(records, number) for number, code in enumerate(records.languages)}
    by_language = {code: owners for code, owners in by_language.items() if len(owners)}
    if len(by_language) < 2:
        return ""
    hashes = records.names.hashes
    pivot = max(sorted(by_language), key=lambda language: len(by_language[language]))
    for language in sorted(by_language.keys() - {pivot}):
        sides = by_language[pivot], by_language[language]
        _, *places = np.intersect1d(hashes[sides[0]], hashes[sides[1]], assume_unique=True, return_indices=True)
        order = np.argsort(places[0])
        first, second = (side[positions[order]] for side, positions in zip(sides, places, strict=True))
        first, second = first[first != second], second[first != second]
        if not len(first) or (max(map(len, sides)) <= _MOST_IDS and not _by_chance(records, *sides)):
            continue
        if len(first) < _FEWEST:
            log.info(
                f"{name}: the {len(first)} ids that '{pivot}' and '{language}' share are too few to compare their "
                "texts, and are taken for translations; `parallel: false` states that they are not"
            )
            continue
        chosen = np.arange(min(_MOST, len(first))) * len(first) // min(_MOST, len(first))
        if not related(_texts_of(records, first[chosen], pivot), _texts_of(records, second[chosen], language)):
            return (
                f"their ids could be row numbers, and the texts with the same id in '{pivot}' and '{language}' look "
                "unrelated: set `parallel: true` if equal ids are translations, else `parallel: false`"
            )
    return ""


def _keyed(records: TextTable, language: int) -> NDArray[np.int32]:
    """Return the records with an id in a language, ascending; of records with the same id, the first."""
    owners = np.unique(records.owner[records.states_language & (records.language == language)])
    owners = owners[records.has_key[owners]]
    keyed: NDArray[np.int32] = owners[np.sort(np.unique(records.names.hashes[owners], return_index=True)[1])]
    return keyed


def _by_chance(records: TextTable, first: NDArray[np.int32], second: NDArray[np.int32]) -> bool:
    return ids_agree_by_chance(*([records.names[owner] for owner in side.tolist()] for side in (first, second)))


def _texts_of(records: TextTable, owners: NDArray[np.int32], language: str) -> list[tuple[str, str]]:
    """Return query and passage of some records in a language, "" for those that a record lacks."""
    rows = (records.language == records.languages.index(language)) & np.isin(records.owner, owners)
    texts: dict[tuple[int, int], str] = {}
    for row in np.flatnonzero(rows & records.states_language).tolist():
        texts[int(records.owner[row]), int(records.role[row])] = records.texts[int(records.text[row])]
    return [(texts.get((owner, QUERY), ""), texts.get((owner, PASSAGE), "")) for owner in owners.tolist()]


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
