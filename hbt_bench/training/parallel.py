"""Parallel training text: items whose queries and passages exist in several languages.

Every distinct text is stored once and has an index, so equal texts have equal indices. This is how the sampler finds
passages that must not be in the same batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import DataError
from hbt_bench.training.items import Item, negative_is_passage, texts_of
from hbt_bench.training.ragged import Ragged
from hbt_bench.training.table import MORE, NEGATIVE, PASSAGE, QUERY, TableWriter, TextTable
from hbt_bench.training.texts import Numbers, Texts

#: The index of a text that an item does not have in a language.
MISSING = -1
#: The hard negatives of a row at most, unless the recipe sets another maximum.
USUAL_DEPTH = 7
#: The roles of the lists of `texts_of`, in the order of the fingerprint.
_ROLES = (QUERY, PASSAGE, NEGATIVE, MORE)


@dataclass(frozen=True, eq=False)
class ParallelText:
    """A source of training items; its arrays hold indices into `texts`, or `MISSING`.

    `queries` and `passages` have the shape (languages, items). The ragged `negatives` and `more_passages` have a row
    for each cell of these arrays, so the row of an item in a language is ``language * len(source) + item``. A row of a
    batch has one of the passages, and `depth` hard negatives. In a `bitext` source, query and passage are the same
    sentence, so only pairs of two languages are trained on. `unpaired` states why no item has two languages, if there
    are several.
    """

    name: str
    languages: tuple[str, ...]
    ids: Texts
    texts: Texts
    queries: NDArray[np.int32]
    passages: NDArray[np.int32]
    negatives: Ragged
    more_passages: Ragged
    bitext: bool = False
    max_negatives: int | None = None
    unpaired: str = ""

    @classmethod
    def from_items(
        cls,
        name: str,
        items: Iterable[Item],
        *,
        bitext: bool = False,
        max_negatives: int | None = None,
        unpaired: str = "",
    ) -> ParallelText:
        """Build a source from items; runs of white space become single spaces.

        Raises `DataError` for an empty text, a repeated id, a hard negative equal to a passage of its item, or if there
        is nothing to train on.
        """
        writer = TableWriter()
        for item in items:
            writer.owner(item.id)
            for code in sorted({*item.queries, *item.passages}):
                for role, texts in zip(_ROLES, texts_of(name, item, code), strict=True):
                    for text in texts:
                        writer.add(code, role, text)
        table = writer.done()
        _, first, times = np.unique(table.names.hashes, return_index=True, return_counts=True)
        for number in sorted(first[times > 1].tolist()):
            raise DataError(f"{name} has two items with the id '{table.names[number]}'. Give each item its own id.")
        return cls.from_table(name, table, bitext=bitext, max_negatives=max_negatives, unpaired=unpaired)

    @classmethod
    def from_table(
        cls, name: str, table: TextTable, *, bitext: bool = False, max_negatives: int | None = None, unpaired: str = ""
    ) -> ParallelText:
        """Build a source from the texts of items with different names; its texts have single spaces.

        An item without a passage in a language has no hard negatives in it. Raises `DataError` as `from_items` does.
        """
        languages = (table := table.in_order()).languages
        cells = table.language.astype(np.int64) * len(table.names) + table.owner
        columns = {role: np.full(len(languages) * len(table.names), MISSING, dtype=np.int32) for role in (0, 1)}
        for role, column in columns.items():
            column[cells[table.role == role]] = table.text[table.role == role]
        used = (table.role <= PASSAGE) | (columns[PASSAGE][cells] != MISSING)
        if not used.all():
            table, cells = table.select(used), cells[used]
        _check_negatives(name, table, cells, columns[PASSAGE])
        order, ranks = table.by_appearance()
        shape = len(languages), len(table.names)
        queries, passages = (ranks[columns[role]].reshape(shape) for role in (QUERY, PASSAGE))
        negatives, more = (
            Ragged.from_pairs(cells[table.role == role], ranks[table.text[table.role == role]], queries.size)
            for role in (NEGATIVE, MORE)
        )
        arrays = (table.texts.take(order), queries, passages, negatives, more)
        source = cls(name, languages, table.names, *arrays, bitext, max_negatives, unpaired)
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
        passages = (self.passages[:, items] != MISSING).astype(np.float64)
        counts: NDArray[np.int64] = (queries @ passages.T).round().astype(np.int64)
        if self.bitext:
            np.fill_diagonal(counts, 0)
        return counts

    def has_pairs(self, item: int) -> NDArray[np.bool_]:
        """Return whether an item has each language pair, shape (languages, languages)."""
        pairs: NDArray[np.bool_] = np.outer(self.queries[:, item] != MISSING, self.passages[:, item] != MISSING)
        if self.bitext:
            np.fill_diagonal(pairs, False)
        return pairs

    def pairs_of_items(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the number of language pairs of each item: of a single language, and of two; both (items,)."""
        queries, passages = self.queries != MISSING, self.passages != MISSING
        same = (queries & passages).sum(axis=0)
        two = queries.sum(axis=0) * passages.sum(axis=0) - same
        return (np.zeros_like(same) if self.bitext else same), two

    @cached_property
    def depth(self) -> int:
        """The number of hard negatives of each row of a batch.

        It is the most common length of the items' lists (their median, without empty lists), but `USUAL_DEPTH` at most;
        with `max_negatives`, the greatest length, but `max_negatives` at most.
        """
        lengths = self.negatives.lengths()
        lengths = np.sort(lengths[lengths > 0])
        if not len(lengths):
            return 0
        if self.max_negatives is not None:
            return min(self.max_negatives, int(lengths[-1]))
        return min(USUAL_DEPTH, int(lengths[len(lengths) // 2]))

    @cached_property
    def only_negatives(self) -> NDArray[np.int32]:
        """The hard negative of each item that has only one in a language, shape (languages, items).

        A passage that answers the item's query is left out: the item itself, or an item with the same query, has it.
        """
        only = np.full(self.passages.size, MISSING, dtype=np.int32)
        cells = np.flatnonzero(self.negatives.lengths() == 1)
        negatives = self.negatives.values[self.negatives.offsets[cells]]
        items, texts = cells % len(self), self.folded[negatives]
        owners, answers = self._distinct(*self.positives())
        asked = np.isin(answers, texts)
        owners, answers = owners[asked], answers[asked]
        answered = _isin(items, texts, owners, answers)
        (groups, rows), (of_groups, index) = self.same_query[0].of(items), self.same_query[0].of(owners)
        answered[rows[_isin(groups, texts[rows], of_groups, answers[index])]] = True
        only[cells[~answered]] = negatives[~answered]
        return only.reshape(self.passages.shape)

    def items(self, query: int, passage: int) -> NDArray[np.int32] | None:
        """Return the items of a language pair, ascending, or None for all items, which needs no list."""
        both = (self.queries[query] != MISSING) & (self.passages[passage] != MISSING)
        return None if both.all() else np.flatnonzero(both).astype(np.int32)

    @cached_property
    def folded(self) -> NDArray[np.int32]:
        """A number for each text, equal for texts that differ only in case or in compatible characters (NFKC)."""
        return Numbers.of_all(self.texts.hashes)[0]

    @cached_property
    def same_query(self) -> tuple[Ragged, Ragged]:
        """Groups of items with the same query in any language: the groups of each item, and the items of each group.

        The passages of a group answer the queries of all its items. Most items are in no group.
        """
        items, texts = self._distinct(*_present(self.queries))
        repeated = np.bincount(texts, minlength=len(self.texts))[texts] > 1
        items, (queries, groups) = items[repeated], np.unique(texts[repeated], return_inverse=True)
        return Ragged.from_pairs(items, groups, len(self)), Ragged.from_pairs(groups, items, len(queries))

    @cached_property
    def shared(self) -> Ragged:
        """The texts of each item, in any language, that another item has as query, passage or hard negative.

        Texts are numbers of `folded`. Most items have no shared text.
        """
        items, texts = self._distinct(*self.positives())
        used = np.bincount(texts, minlength=len(self.texts))
        used[np.unique(self.folded[self.negatives.values])] += 1
        shared = used[texts] > 1
        return Ragged.from_pairs(items[shared], texts[shared], len(self))

    def positives(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return an item and the index of its text, for each query and passage in each language."""
        items, texts = _present(np.concatenate([self.queries, self.passages]))
        more = np.repeat(np.arange(self.passages.size) % len(self), self.more_passages.lengths())
        return np.concatenate([items, more]), np.concatenate([texts, self.more_passages.values])

    def _distinct(self, items: NDArray[np.int64], texts: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return each item with each of its different texts, as numbers of `folded`, ordered by item."""
        return np.divmod(np.unique(items * len(self.texts) + self.folded[texts]), len(self.texts))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all content of the source, as 16 hexadecimal digits."""
        digest = hashlib.sha256(b"hbt-bench parallel text 1")
        for encoded in chain(map(str.encode, (self.name, *self.languages)), self.ids.encoded(), self.texts.encoded()):
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        for column in (self.queries, self.passages):
            digest.update(str(column.shape).encode() + column.astype("<i4").tobytes())
        lengths = self.negatives.lengths()
        if lengths.max(initial=0) == 0 or (lengths.reshape(self.passages.shape) == (self.passages != MISSING)).all():
            # the form for sources with a hard negative for each passage, or none, which older runs have
            only = np.full((*self.passages.shape, min(self.depth, 1)), MISSING, dtype="<i4")
            only[lengths.reshape(self.passages.shape) == 1, :] = self.negatives.values[:, None]
            digest.update(str(only.shape).encode() + only.tobytes())
            if np.count_nonzero(self.only_negatives != MISSING) < len(self.negatives.values):
                digest.update(b"some are answers")
        else:
            digest.update(f"{self.depth} hard negatives".encode())
            _update(digest, self.negatives)
        if len(self.more_passages.values):
            digest.update(b"more passages")
            _update(digest, self.more_passages)
        return digest.hexdigest()[:16]

    def restricted(self, languages: Sequence[str]) -> ParallelText:
        """Return the source with some of its languages; raises `DataError` if nothing is left to train on."""
        chosen = [code for code in self.languages if code in set(languages)]
        rows = [self.languages.index(code) for code in chosen]
        cells = self._cells()[rows]
        return replace(self, languages=tuple(chosen), **self._columns(cells))._complete()

    def without(self, unwanted: Callable[[str, str], bool]) -> ParallelText:
        """Remove texts for which ``unwanted(language, text)`` is true; raises `DataError` if nothing is left.

        A passage is also removed if all its hard negatives are unwanted.
        """

        def stays(row: int, numbers: NDArray[np.int32]) -> NDArray[np.bool_]:
            code, present = self.languages[row], np.unique(numbers[numbers != MISSING])
            return ~np.isin(numbers, [number for number in present if unwanted(code, self.texts[number])])

        def cleared(column: NDArray[np.int32]) -> NDArray[np.int32]:
            return np.stack([np.where(stays(row, numbers), numbers, MISSING) for row, numbers in enumerate(column)])

        def reduced(lists: Ragged) -> Ragged:
            ends = lists.offsets[:: len(self)]
            parts = [lists.values[start:end] for start, end in pairwise(ends)]
            return lists.keep(np.concatenate([stays(row, numbers) for row, numbers in enumerate(parts)]))

        negatives, more_passages = reduced(self.negatives), reduced(self.more_passages)
        passages = cleared(self.passages).ravel()
        first = np.flatnonzero((passages == MISSING) & (more_passages.lengths() > 0))
        passages[first] = more_passages.values[more_passages.offsets[first]]  # another passage takes its place
        more_passages = more_passages.keep(~np.isin(np.arange(len(more_passages.values)), more_passages.offsets[first]))
        lost = (self.negatives.lengths() > 0) & (negatives.lengths() == 0)
        passages[lost] = MISSING
        more_passages = more_passages.keep(~np.repeat(lost, more_passages.lengths()))
        return replace(
            self,
            queries=cleared(self.queries),
            passages=passages.reshape(self.passages.shape),
            negatives=negatives,
            more_passages=more_passages,
        )._complete()

    def split(self, held_out: NDArray[np.bool_]) -> tuple[ParallelText, ParallelText]:
        """Return the items not in `held_out` (items,), and the items in it; raises `DataError` if either is empty."""
        return self._select(~held_out), self._select(held_out)

    def _complete(self) -> ParallelText:
        """Select the items that still have a query and a passage."""
        return self._select((self.queries != MISSING).any(axis=0) & (self.passages != MISSING).any(axis=0))

    def _select(self, items: NDArray[np.bool_]) -> ParallelText:
        selected = replace(self, ids=self.ids.take(np.flatnonzero(items)), **self._columns(self._cells()[:, items]))
        if not selected.counts.any():
            raise DataError(f"nothing is left to train on of {self.name} ({' '.join(self.languages)})")
        return selected

    def _cells(self) -> NDArray[np.int64]:
        """Return the index of each cell of `queries` and `passages`, which is its row in the ragged columns."""
        return np.arange(self.passages.size).reshape(self.passages.shape)

    def _columns(self, cells: NDArray[np.int64]) -> dict[str, Any]:
        """Return the columns with some of their cells, shape (languages, items)."""
        arrays = {name: getattr(self, name).ravel()[cells] for name in ("queries", "passages")}
        return arrays | {name: getattr(self, name).take(cells.ravel()) for name in ("negatives", "more_passages")}

    def used(self) -> NDArray[np.bool_]:
        """Return which texts are those of an item, (texts,); a part of a source has all texts of the whole."""
        used = np.zeros(len(self.texts), dtype=np.bool_)
        used[np.concatenate([self.positives()[1], self.negatives.values])] = True
        return used

    def occurrences(self) -> Iterator[tuple[str, str]]:
        """Yield (language, text) for every query, passage and hard negative, once per language and text."""
        cells = self._cells()
        for row, code in enumerate(self.languages):
            lists = [lists.of(cells[row])[0] for lists in (self.negatives, self.more_passages)]
            numbers = np.concatenate([self.queries[row], self.passages[row], *lists])
            yield from ((code, self.texts[number]) for number in np.unique(numbers[numbers != MISSING]))


def _check_negatives(name: str, table: TextTable, cells: NDArray[np.int64], passages: NDArray[np.int32]) -> None:
    """Raise `DataError` for a hard negative that is a passage of its item."""
    negatives, more = table.role == NEGATIVE, table.role == MORE
    wrong = passages[cells[negatives]] == table.text[negatives]
    if more.any():
        wrong |= _isin(cells[negatives], table.text[negatives], cells[more], table.text[more])
    if wrong.any():
        raise DataError(negative_is_passage(name, table.names[int(table.owner[negatives][wrong][0])]))


def _isin(
    rows: NDArray[Any], texts: NDArray[Any], other_rows: NDArray[Any], other_texts: NDArray[Any]
) -> NDArray[np.bool_]:
    """Return which pairs of row and text are among other pairs."""
    width = max(texts.max(initial=0), other_texts.max(initial=0)) + 1
    return np.isin(rows.astype(np.int64) * width + texts, other_rows.astype(np.int64) * width + other_texts)


def _present(columns: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return item and text of each cell that is not missing."""
    present = columns != MISSING
    return np.broadcast_to(np.arange(columns.shape[1]), columns.shape)[present], columns[present]


def _update(digest: hashlib._Hash, lists: Ragged) -> None:
    digest.update(lists.offsets.astype("<i8").tobytes() + lists.values.astype("<i4").tobytes())
