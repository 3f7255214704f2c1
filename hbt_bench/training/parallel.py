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

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import DataError

#: The index of a text that an item does not have in a language.
MISSING = -1


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
        queries = (self.queries != MISSING).astype(np.float64)  # float: numpy multiplies integer matrices slowly
        counts: NDArray[np.int64] = (queries @ self._usable.T.astype(np.float64)).round().astype(np.int64)
        if self.bitext:
            np.fill_diagonal(counts, 0)
        return counts

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
    def companions(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The other items with the same query as an item, in any language: their passages answer it too.

        Compressed rows like those of `shared`; most items have no companion.
        """
        import pandas as pd

        present = self.queries != MISSING
        items = np.broadcast_to(np.arange(len(self)), self.queries.shape)[present]
        asked = pd.DataFrame({"query": self.folded[self.queries[present]], "item": items}).drop_duplicates()
        asked = asked[asked.duplicated("query", keep=False)]
        pairs = asked.merge(asked, on="query")[["item_x", "item_y"]].to_numpy()
        pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
        return np.searchsorted(pairs[:, 0], np.arange(len(self) + 1)), pairs[:, 1].astype(np.int32)

    @cached_property
    def shared(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The texts of each item, in any language, that another item has as query, passage or hard negative.

        Texts are numbers of `folded`. Compressed rows: item `i` has ``texts[offsets[i]:offsets[i + 1]]``; most items
        have no shared text.
        """
        columns = np.concatenate([self.queries, self.passages])
        items = np.broadcast_to(np.arange(len(self)), columns.shape)
        present = columns != MISSING
        pairs = np.unique(np.stack([self.folded[columns[present]], items[present]], axis=1), axis=0)
        used = np.bincount(pairs[:, 0], minlength=len(self.texts))
        used[np.unique(self.folded[self.negatives[self.negatives != MISSING]])] += 1
        pairs = pairs[used[pairs[:, 0]] > 1]
        pairs = pairs[np.argsort(pairs[:, 1], kind="stable")]
        offsets = np.searchsorted(pairs[:, 1], np.arange(len(self) + 1))
        return offsets, pairs[:, 0].astype(np.int32)

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
