"""Parallel training text: items whose queries and passages exist in several languages.

Every distinct text is stored once and has an index, so equal texts have equal indices. This is how the sampler finds
passages that must not be in the same batch.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import DataError

#: The index of a text that an item does not have in a language.
MISSING = -1


class Ragged(NamedTuple):
    """Rows of different lengths: row `i` has ``values[offsets[i]:offsets[i + 1]]``."""

    offsets: NDArray[np.int64]
    values: NDArray[np.int32]

    @classmethod
    def from_pairs(cls, rows: NDArray[np.int64], values: NDArray[np.int64], count: int) -> Ragged:
        """Build `count` rows from the row of each value."""
        order = np.argsort(rows, kind="stable")
        return cls(np.searchsorted(rows[order], np.arange(count + 1)), values[order].astype(np.int32))

    def of(self, rows: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the values of some rows, in order, and for each value the index of its row in `rows`.

        For example, ``Ragged(offsets=[0, 2, 3], values=[7, 8, 9]).of([1, 0])`` is ``[9, 7, 8], [0, 1, 1]``, as arrays.
        """
        if len(rows) == 1:  # the same, faster
            values = self.values[self.offsets[rows[0]] : self.offsets[rows[0] + 1]]
            return values, np.zeros(len(values), dtype=np.int64)
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        starts = np.repeat(self.offsets[rows] - np.cumsum(lengths) + lengths, lengths)
        return self.values[starts + np.arange(lengths.sum())], np.repeat(np.arange(len(rows)), lengths)


@dataclass(frozen=True)
class Item:
    """A training item: a query, its passage and its hard negatives, each by language code."""

    id: str
    queries: dict[str, str]
    passages: dict[str, str]
    negatives: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ParallelText:
    """A source of training items; its arrays hold indices into `texts`, or `MISSING`.

    Shapes: `queries` and `passages` (languages, items), `negatives` (languages, items, negatives of an item). In a
    `bitext` source, query and passage are the same sentence, so only pairs of two languages are trained on.
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
        """Build a source from items; runs of white space become single spaces.

        An item with fewer hard negatives than another item repeats its last. Raises `DataError` for an empty text, a
        repeated id, a hard negative equal to its passage, or if there is nothing to train on.
        """
        rows = list(items)
        repeated = next((key for key, times in Counter(item.id for item in rows).items() if times > 1), None)
        if repeated is not None:
            raise DataError(f"{name} has two items with the id '{repeated}'. Give each item its own id.")
        languages = tuple(sorted({code for item in rows for code in (*item.queries, *item.passages)}))
        depth = max((len(texts) for item in rows for texts in item.negatives.values()), default=0)
        numbers: dict[str, int] = {}
        queries = np.full((len(languages), len(rows)), MISSING, dtype=np.int32)
        passages = queries.copy()
        negatives = np.full((len(languages), len(rows), depth), MISSING, dtype=np.int32)
        for column, item in enumerate(rows):
            for row, code in enumerate(languages):
                texts = _texts(name, item, code)
                if not texts:
                    continue
                indices = [numbers.setdefault(text, len(numbers)) if text else MISSING for text in texts]
                queries[row, column], passages[row, column] = indices[:2]
                if indices[2:]:
                    negatives[row, column] = indices[2:] + indices[-1:] * (depth - len(indices[2:]))
        ids = tuple(item.id for item in rows)
        source = cls(name, languages, ids, tuple(numbers), queries, passages, negatives, bitext)
        if not source.counts.any():
            raise DataError(f"{name} has no item with a query and a passage to train on")
        return source

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """The number of items by language of query (rows) and of passage (columns), shape (languages, languages)."""
        return self.counts_of(np.ones(len(self), dtype=np.bool_))

    def counts_of(self, items: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return `counts` of some items, which are true in `items` (items,)."""
        queries = (self.queries[:, items] != MISSING).astype(np.float64)  # numpy multiplies integer matrices slowly
        passages = self._usable[:, items].astype(np.float64)
        counts: NDArray[np.int64] = (queries @ passages.T).round().astype(np.int64)
        if self.bitext:
            np.fill_diagonal(counts, 0)
        return counts

    def has_pairs(self, item: int) -> NDArray[np.bool_]:
        """Return whether an item has each language pair, shape (languages, languages)."""
        pairs: NDArray[np.bool_] = np.outer(self.queries[:, item] != MISSING, self._usable[:, item])
        if self.bitext:
            np.fill_diagonal(pairs, False)
        return pairs

    def pairs_of_items(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the number of language pairs of each item: of a single language, and of two; both (items,)."""
        queries, passages = self.queries != MISSING, self._usable
        same = (queries & passages).sum(axis=0)
        two = queries.sum(axis=0) * passages.sum(axis=0) - same
        return (np.zeros_like(same) if self.bitext else same), two

    @cached_property
    def _usable(self) -> NDArray[np.bool_]:
        """Whether a passage can be trained on: with hard negatives in its language, if the source has any."""
        usable: NDArray[np.bool_] = self.passages != MISSING
        return usable & (self.negatives[..., 0] != MISSING) if self.negatives.shape[2] else usable

    def items(self, query: int, passage: int) -> NDArray[np.int32] | None:
        """Return the items of a language pair, ascending, or None for all items, which needs no list."""
        both = (self.queries[query] != MISSING) & self._usable[passage]
        return None if both.all() else np.flatnonzero(both).astype(np.int32)

    @cached_property
    def folded(self) -> NDArray[np.int32]:
        """A number for each text, equal for texts that differ only in case or in compatible characters (NFKC)."""
        numbers: dict[str, int] = {}
        folded = (unicodedata.normalize("NFKC", text).casefold() for text in self.texts)
        return np.array([numbers.setdefault(text, len(numbers)) for text in folded], dtype=np.int32)

    @cached_property
    def same_query(self) -> tuple[Ragged, Ragged]:
        """Groups of items with the same query in any language: the groups of each item, and the items of each group.

        The passages of a group answer the queries of all its items. Most items are in no group.
        """
        items, texts = self._positives(self.queries)
        repeated = np.bincount(texts, minlength=len(self.texts))[texts] > 1
        items, (queries, groups) = items[repeated], np.unique(texts[repeated], return_inverse=True)
        return Ragged.from_pairs(items, groups, len(self)), Ragged.from_pairs(groups, items, len(queries))

    @cached_property
    def shared(self) -> Ragged:
        """The texts of each item, in any language, that another item has as query, passage or hard negative.

        Texts are numbers of `folded`. Most items have no shared text.
        """
        items, texts = self._positives(np.concatenate([self.queries, self.passages]))
        used = np.bincount(texts, minlength=len(self.texts))
        used[np.unique(self.folded[self.negatives[self.negatives != MISSING]])] += 1
        shared = used[texts] > 1
        return Ragged.from_pairs(items[shared], texts[shared], len(self))

    def positives(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return an item and the index of its text, for each query and passage in each language."""
        columns = np.concatenate([self.queries, self.passages])
        present = columns != MISSING
        return np.broadcast_to(np.arange(len(self)), columns.shape)[present], columns[present]

    def _positives(self, columns: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return each item with each of its different texts in some columns (languages, items), ordered by item."""
        present = columns != MISSING
        items = np.broadcast_to(np.arange(len(self)), columns.shape)[present]
        return np.divmod(np.unique(items * len(self.texts) + self.folded[columns[present]]), len(self.texts))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all content of the source, as 16 hexadecimal digits."""
        digest = hashlib.sha256(b"hbt-bench parallel text 1")
        for text in (self.name, *self.languages, *self.ids, *self.texts):
            encoded = text.encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        for array in (self.queries, self.passages, self.negatives):
            digest.update(str(array.shape).encode() + array.astype("<i4").tobytes())
        return digest.hexdigest()[:16]

    def restricted(self, languages: Sequence[str]) -> ParallelText:
        """Return the source with some of its languages; raises `DataError` if nothing is left to train on."""
        chosen = [code for code in self.languages if code in set(languages)]
        rows = [self.languages.index(code) for code in chosen]
        texts = {name: getattr(self, name)[rows] for name in ("queries", "passages", "negatives")}
        return replace(self, languages=tuple(chosen), **texts)._complete()

    def without(self, unwanted: Callable[[str, str], bool]) -> ParallelText:
        """Remove texts for which ``unwanted(language, text)`` is true; raises `DataError` if nothing is left.

        A passage is also removed if one of its hard negatives is unwanted.
        """

        def cleared(column: NDArray[np.int32]) -> NDArray[np.int32]:
            result = column.copy()
            for row, code in enumerate(self.languages):
                present = np.unique(column[row][column[row] != MISSING])
                removed = [number for number in present if unwanted(code, self.texts[number])]
                result[row, np.isin(column[row], removed)] = MISSING
            return result

        passages = cleared(self.passages)
        for depth in range(self.negatives.shape[2]):
            column = self.negatives[..., depth]
            passages[(column != MISSING) & (cleared(column) == MISSING)] = MISSING
        return replace(self, queries=cleared(self.queries), passages=passages)._complete()

    def split(self, held_out: NDArray[np.bool_]) -> tuple[ParallelText, ParallelText]:
        """Return the items not in `held_out` (items,), and the items in it; raises `DataError` if either is empty."""
        return self._select(~held_out), self._select(held_out)

    def _complete(self) -> ParallelText:
        """Select the items that still have a query and a passage."""
        return self._select((self.queries != MISSING).any(axis=0) & (self.passages != MISSING).any(axis=0))

    def _select(self, items: NDArray[np.bool_]) -> ParallelText:
        texts = {name: getattr(self, name)[:, items] for name in ("queries", "passages", "negatives")}
        selected = replace(self, ids=tuple(compress(self.ids, items)), **texts)
        if not selected.counts.any():
            raise DataError(f"nothing is left to train on of {self.name} ({' '.join(self.languages)})")
        return selected

    def occurrences(self) -> Iterator[tuple[str, str]]:
        """Yield (language, text) for every query, passage and hard negative, once per language and text."""
        for row, code in enumerate(self.languages):
            numbers = np.concatenate([self.queries[row], self.passages[row], self.negatives[row].ravel()])
            yield from ((code, self.texts[number]) for number in np.unique(numbers[numbers != MISSING]))


def _texts(name: str, item: Item, language: str) -> list[str]:
    """Return query, passage and hard negatives of an item in a language; a missing query or passage is empty."""
    if language not in item.queries and language not in item.passages:
        return []
    negatives = list(item.negatives.get(language, ())) if language in item.passages else []
    raw = [item.queries.get(language), item.passages.get(language), *negatives]
    texts = ["" if text is None else " ".join(text.split()) for text in raw]
    if any(text is not None and not short for text, short in zip(raw, texts, strict=True)):
        raise DataError(f"{name} has an empty text in item '{item.id}'. Remove the item.")
    if texts[1] in texts[2:]:
        raise DataError(f"{name} has a hard negative in item '{item.id}' that equals its passage. Remove it.")
    return texts
