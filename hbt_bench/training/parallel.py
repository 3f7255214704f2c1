"""Parallel training text: items whose queries and passages exist in several languages.

Every distinct text is stored once and named by a number, so that equal texts are equal numbers: that is how a batch
knows which passages must not meet as negatives.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import DataError

#: Stands where an item has no text in a language.
MISSING = -1


@dataclass(frozen=True)
class Item:
    """One training item as it is read: a query, its passage and hard negatives, each by language."""

    id: str
    queries: Mapping[str, str]
    passages: Mapping[str, str]
    negatives: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ParallelText:
    """One source of training items; all its arrays name texts by their place in `texts`, `MISSING` where none is.

    Shapes: `queries` and `passages` (languages, items), `negatives` (languages, items, negatives of an item). In a
    `bitext` source query and passage are the same sentence, so only pairs of two languages make sense.
    """

    name: str
    languages: tuple[str, ...]
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    queries: NDArray[np.int32]
    passages: NDArray[np.int32]
    negatives: NDArray[np.int32]
    bitext: bool = False

    @classmethod
    def from_items(cls, name: str, items: Iterable[Item], *, bitext: bool = False) -> ParallelText:
        """Store `items`, with the white space of their texts made single spaces.

        An item whose number of hard negatives falls short of the source's largest repeats its last one. Raises
        `DataError` for an empty text, a repeated id, or when there is nothing to train on.
        """
        found = list(items)
        repeated = next((one for one, times in Counter(item.id for item in found).items() if times > 1), None)
        if repeated is not None:
            raise DataError(f"{name} has two items with the id '{repeated}'")
        languages = tuple(sorted({code for item in found for code in (*item.queries, *item.passages)}))
        depth = max((len(texts) for item in found for texts in item.negatives.values()), default=0)
        numbers: dict[str, int] = {}
        queries = np.full((len(languages), len(found)), MISSING, dtype=np.int32)
        passages = queries.copy()
        negatives = np.full((len(languages), len(found), depth), MISSING, dtype=np.int32)
        for column, item in enumerate(found):
            for row, code in enumerate(languages):
                texts = _texts(name, item, code)
                if not texts:
                    continue
                wanted = [numbers.setdefault(text, len(numbers)) if text else MISSING for text in texts]
                queries[row, column], passages[row, column] = wanted[:2]
                if wanted[2:]:
                    negatives[row, column] = wanted[2:] + wanted[-1:] * (depth - len(wanted[2:]))
        ids = tuple(item.id for item in found)
        source = cls(name, languages, ids, tuple(numbers), queries, passages, negatives, bitext)
        if not source.counts.any():
            raise DataError(f"{name} has no item with a query and a passage to train on")
        return source

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How many items have a query in one language and a passage in another, shape (languages, languages)."""
        queries = (self.queries != MISSING).astype(np.float64)  # float: numpy multiplies integer matrices slowly
        counts: NDArray[np.int64] = (queries @ self._usable.T.astype(np.float64)).round().astype(np.int64)
        if self.bitext:
            np.fill_diagonal(counts, 0)
        return counts

    @cached_property
    def _usable(self) -> NDArray[np.bool_]:
        """Where a passage can be trained on: with hard negatives in its language, if the source has any."""
        usable: NDArray[np.bool_] = self.passages != MISSING
        return usable & (self.negatives[..., 0] != MISSING) if self.negatives.shape[2] else usable

    def items(self, query: int, passage: int) -> NDArray[np.int32] | None:
        """The items of a language pair, ascending; None when it has them all, which needs no list."""
        both = (self.queries[query] != MISSING) & self._usable[passage]
        return None if both.all() else np.flatnonzero(both).astype(np.int32)

    @cached_property
    def alike(self) -> NDArray[np.int32]:
        """A number for each text that texts have in common which differ in case or in compatible characters only."""
        numbers: dict[str, int] = {}
        folded = (unicodedata.normalize("NFKC", text).casefold() for text in self.texts)
        return np.array([numbers.setdefault(text, len(numbers)) for text in folded], dtype=np.int32)

    @cached_property
    def companions(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The other items with the same query as an item, in any language: their passages answer it as well.

        Compressed rows, as those of `shared`; most items have none.
        """
        present = self.queries != MISSING
        items = np.broadcast_to(np.arange(len(self)), self.queries.shape)[present]
        pairs = np.unique(np.stack([self.alike[self.queries[present]], items], axis=1), axis=0)
        ends = np.flatnonzero(np.diff(pairs[:, 0], append=-1)) + 1
        found = [
            (one, other)
            for group in np.split(pairs[:, 1], ends[:-1])
            if len(group) > 1
            for one in group.tolist()
            for other in group.tolist()
            if one != other
        ]
        both = np.array(sorted(set(found)), dtype=np.int64).reshape(-1, 2)
        return np.searchsorted(both[:, 0], np.arange(len(self) + 1)), both[:, 1].astype(np.int32)

    @cached_property
    def shared(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The texts of each item, in any language, that another item has as query, passage or hard negative.

        They are numbers of `alike`. Compressed rows: item `i` owns ``texts[offsets[i]:offsets[i + 1]]``. Most items
        own none.
        """
        columns = np.concatenate([self.queries, self.passages])
        items = np.broadcast_to(np.arange(len(self)), columns.shape)
        present = columns != MISSING
        pairs = np.unique(np.stack([self.alike[columns[present]], items[present]], axis=1), axis=0)
        used = np.bincount(pairs[:, 0], minlength=len(self.texts))
        used[np.unique(self.alike[self.negatives[self.negatives != MISSING]])] += 1
        pairs = pairs[used[pairs[:, 0]] > 1]
        pairs = pairs[np.argsort(pairs[:, 1], kind="stable")]
        offsets = np.searchsorted(pairs[:, 1], np.arange(len(self) + 1))
        return offsets, pairs[:, 0].astype(np.int32)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over everything in the source, as 16 hexadecimal digits."""
        digest = hashlib.sha256(b"hbt-bench parallel text 1")
        for text in (self.name, *self.languages, *self.ids, *self.texts):
            encoded = text.encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        for array in (self.queries, self.passages, self.negatives):
            digest.update(str(array.shape).encode() + array.astype("<i4").tobytes())
        return digest.hexdigest()[:16]

    def restricted(self, languages: Sequence[str]) -> ParallelText:
        """The same items in some languages only; raises `DataError` when nothing is left of the source."""
        chosen = [code for code in self.languages if code in set(languages)]
        rows = [self.languages.index(code) for code in chosen]
        left = replace(
            self,
            languages=tuple(chosen),
            queries=self.queries[rows],
            passages=self.passages[rows],
            negatives=self.negatives[rows],
        )
        return left._kept((left.queries != MISSING).any(axis=0) & (left.passages != MISSING).any(axis=0))

    def without(self, unwanted: Callable[[str, str], bool]) -> ParallelText:
        """Take out the queries, passages, and passages with a hard negative, of which `unwanted(language, text)`."""

        def cleared(column: NDArray[np.int32]) -> NDArray[np.int32]:
            kept = column.copy()
            for row, code in enumerate(self.languages):
                present = np.unique(column[row][column[row] != MISSING])
                bad = [number for number in present if unwanted(code, self.texts[number])]
                kept[row, np.isin(column[row], bad)] = MISSING
            return kept

        passages = cleared(self.passages)
        for depth in range(self.negatives.shape[2]):
            column = self.negatives[..., depth]
            passages[(column != MISSING) & (cleared(column) == MISSING)] = MISSING
        left = replace(self, queries=cleared(self.queries), passages=passages)
        return left._kept((left.queries != MISSING).any(axis=0) & (left.passages != MISSING).any(axis=0))

    def halved(self, held_out: NDArray[np.bool_]) -> tuple[ParallelText, ParallelText]:
        """Split the items in two: those not in `held_out`, and those in it; shape (items,)."""
        return self._kept(~held_out), self._kept(held_out)

    def _kept(self, items: NDArray[np.bool_]) -> ParallelText:
        left = replace(
            self,
            ids=tuple(one for one, keep in zip(self.ids, items, strict=True) if keep),
            queries=self.queries[:, items],
            passages=self.passages[:, items],
            negatives=self.negatives[:, items],
        )
        if not left.counts.any():
            raise DataError(f"nothing is left to train on of {self.name} ({' '.join(self.languages)})")
        return left

    def occurrences(self) -> Iterator[tuple[str, str]]:
        """Every text once for each language that has it, as query, passage or hard negative: (language, text)."""
        for row, code in enumerate(self.languages):
            for number in np.unique(
                np.concatenate([self.queries[row], self.passages[row], self.negatives[row].ravel()])
            ).tolist():
                if number != MISSING:
                    yield code, self.texts[number]


def _texts(name: str, item: Item, language: str) -> list[str]:
    """Query, passage and hard negatives of an item in a language, the first two empty where it has none."""
    if language not in item.queries and language not in item.passages:
        return []
    negatives = list(item.negatives.get(language, ())) if language in item.passages else []
    given = [item.queries.get(language), item.passages.get(language), *negatives]
    clean = ["" if text is None else " ".join(text.split()) for text in given]
    if any(text is not None and not short for text, short in zip(given, clean, strict=True)):
        raise DataError(f"{name} has an empty text in item '{item.id}': leave the item out")
    if clean[1] in clean[2:]:
        raise DataError(f"{name} has a hard negative in item '{item.id}' that is its passage: take it out")
    return clean
