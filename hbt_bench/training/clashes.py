"""The items that must not meet in a batch, and those that can be in a batch together.

So whether a source can fill a batch is known before the first step.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hbt_bench.training.parallel import MISSING, ParallelText

#: Items that are compared with a batch at once, to take a single item or many.
_CHUNK, _FEW = 1024, 256


class Clashes:
    """The items taken into a batch; an item is refused if it clashes with an item taken before.

    If all rows have the same language `pair`, items clash by their query and passages in it, and by their hard negative
    if they have only one. Of several, `hbt_bench.training.draws` draws those that no row has as a passage.
    Otherwise (None) items clash by every text in any language, since translations could meet. The passages of other
    items with the same query count as the item's own. Case does not count.
    """

    def __init__(self, source: ParallelText, pair: tuple[int, int] | None) -> None:
        self._source, self._pair = source, pair
        self._pending: list[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]] = []

    @property
    def across_languages(self) -> bool:
        """Whether texts clash with the translations of others."""
        return self._pair is None

    def take_all(self, items: NDArray[np.int32], passages: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Take the rows of a batch that clash with no earlier row; return which were refused, shape (rows,)."""
        texts, owners = self.texts(items)
        refused = _repeats(items, np.arange(len(items)), len(items)) | _repeats(texts, owners, len(items))
        negatives = self._hard_negatives(items, passages)
        if negatives.size:
            refused |= np.isin(negatives, texts).any(axis=1)
        taken = ~refused
        self._pending.append((items[taken], texts[taken[owners]], negatives[taken]))
        return refused

    def take_first(self, items: NDArray[np.int32], passage: int) -> int | None:
        """Take the first of some items, with its passage in a language, that does not clash; return it, or None."""
        for start in range(0, len(items), _CHUNK):
            free = self._free(items[start : start + _CHUNK], passage)
            if len(free):
                self._take(free[0], passage)
                return int(free[0])
        return None

    def take_many(self, items: NDArray[np.int32], passage: int, least: int) -> NDArray[np.int32]:
        """Take items that do not clash, early items first, until `least` or more are taken; return them.

        If fewer are returned, every other item clashes with an item taken. A greater `least` adds items at the end.
        """
        taken = items[:0]
        for start in range(0, len(items), _FEW):
            if len(taken) >= least:
                break
            free = self._free(items[start : start + _FEW], passage)
            while len(free):
                refused = self.take_all(free, np.full(len(free), passage))
                if refused.all():  # a hard negative of the item is a passage of another item here
                    self._take(free[0], passage)
                    refused[0] = False
                taken = np.concatenate([taken, free[~refused]])
                free = self._free(free[refused], passage)
        return taken

    def _free(self, items: NDArray[np.int32], passage: int) -> NDArray[np.int32]:
        """Return the items that clash with no item taken."""
        while self._pending:  # most batches have no clash, and need no record
            self._add(*self._pending.pop())
        items = items[~self._barred[items]]
        return items[~self._clash(items, np.full(len(items), passage))]

    def _take(self, item: np.int32, passage: int) -> None:
        row = np.array([item])
        self._add(row, self.texts(row)[0], self._hard_negatives(row, np.array([passage])))

    @cached_property
    def _barred(self) -> NDArray[np.bool_]:
        """Whether each item is taken, or has the query of a taken item."""
        return np.zeros(len(self._source), dtype=np.bool_)

    @cached_property
    def _positives(self) -> NDArray[np.bool_]:
        """Whether each text is a positive of a taken item; the last entry is for a missing text."""
        return np.zeros(len(self._source.texts) + 1, dtype=np.bool_)

    @cached_property
    def _negatives(self) -> NDArray[np.bool_]:
        """Whether each text is a hard negative of a taken item."""
        return np.zeros(len(self._source.texts) + 1, dtype=np.bool_)

    def _add(self, items: NDArray[np.int32], positives: NDArray[np.int32], negatives: NDArray[np.int32]) -> None:
        self._barred[items] = True
        groups, members = self._source.same_query
        queries, _ = groups.of(items)
        if len(queries):
            self._barred[members.of(queries)[0]] = True
        self._positives[positives] = True
        self._negatives[negatives[negatives != MISSING]] = True

    def _clash(self, items: NDArray[np.int32], passages: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which items, none of them barred, clash with the items taken, shape (items,)."""
        texts, owners = self._own_texts(items)
        clash = np.asarray(self._positives[self._hard_negatives(items, passages)].any(axis=1))
        clash[owners[self._positives[texts] | self._negatives[texts]]] = True
        rows = np.flatnonzero(~clash)
        groups, owners = self._source.same_query[0].of(items[rows])
        if len(groups):
            groups, inverse = np.unique(groups, return_inverse=True)
            texts, index = self._group_texts(groups)
            clashing = np.zeros(len(groups), dtype=np.bool_)
            clashing[index[self._positives[texts] | self._negatives[texts]]] = True
            clash[rows[owners[clashing[inverse]]]] = True
        return clash

    def texts(self, items: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the texts by which items clash, ordered by row, and the row of each text.

        A group of items with the same query is listed for its first row only: its other rows clash with that row.
        """
        texts, owners = self._own_texts(items)
        groups, rows = self._source.same_query[0].of(items)
        if len(groups):
            groups, first = np.unique(groups, return_index=True)
            answers, index = self._group_texts(groups)
            texts, owners = np.concatenate([texts, answers]), np.concatenate([owners, rows[first][index]])
        order = np.argsort(owners, kind="stable")
        return texts[order], owners[order]

    def _own_texts(self, items: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the texts of items, without those of other items, and the row of each text."""
        source = self._source
        if self._pair is None:
            return source.shared.of(items)
        query, passage = self._pair
        numbers = np.stack([source.queries[query, items], source.passages[passage, items]])
        present = numbers != MISSING
        more, owners = source.more_passages.of(passage * len(source) + items)
        owners = np.concatenate([np.broadcast_to(np.arange(len(items)), numbers.shape)[present], owners])
        return source.folded[np.concatenate([numbers[present], more])], owners

    def _group_texts(self, groups: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the passages that answer the queries of some groups, and the index of the group of each text."""
        source = self._source
        items, owners = source.same_query[1].of(groups)
        if self._pair is None:
            texts, rows = source.shared.of(items)
            return texts, owners[rows]
        passages = source.passages[self._pair[1], items]
        present = passages != MISSING
        more, rows = source.more_passages.of(self._pair[1] * len(source) + items)
        return source.folded[np.concatenate([passages[present], more])], np.concatenate([owners[present], owners[rows]])

    def _hard_negatives(self, items: NDArray[np.int32], passages: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the hard negative of each row that has only one, shape (rows, any)."""
        source = self._source
        if not source.depth:
            return np.empty((len(items), 0), dtype=np.int32)
        if self._pair is not None:
            numbers = source.only_negatives[passages, items][:, None]
        else:  # all languages: a negative may be the translation of a positive
            numbers = source.only_negatives[:, items].T
        return np.where(numbers == MISSING, MISSING, source.folded[numbers])


class DistinctItems:
    """Items of a source that do not clash with each other.

    The search is greedy: it begins with the items that share no text, and then prefers those that share theirs with the
    fewest others. A batch of as many items can always be drawn.
    """

    def __init__(self, source: ParallelText) -> None:
        self._source = source
        self._shared = source.shared
        #: Whether each item shares no text with another item; no two of these items clash.
        self._alone: NDArray[np.bool_] = np.diff(self._shared.offsets) == 0
        holders = np.bincount(self._shared.values, minlength=len(source.texts))
        sharing = np.bincount(
            np.repeat(np.arange(len(source)), np.diff(self._shared.offsets)),
            weights=holders[self._shared.values],
            minlength=len(source),
        )
        #: All items, those without a shared text first.
        self._order = np.argsort(sharing, kind="stable").astype(np.int32)
        self._counts: dict[tuple[int, bool], NDArray[np.int64]] = {}
        self._rows: dict[tuple[int, float], NDArray[np.int32]] = {}

    def most_frequent(self) -> tuple[int, str]:
        """Return the number of items that have the most frequent text, in any language, and the text."""
        if not len(self._shared.values):
            return 1, ""
        holders = np.bincount(self._shared.values)
        return int(holders.max()), self._source.texts[int(np.argmax(self._source.folded == holders.argmax()))]

    def has_spare_negatives(self, rows: int) -> bool:
        """Return whether every batch of some `rows` surely leaves a text for a row without a hard negative.

        In each language, it is a hard negative of an item whose negatives answer no query, or the passage of an item
        that shares no text.
        """
        source = self._source
        positive = np.zeros(len(source.texts), dtype=np.bool_)
        positive[source.folded[source.positives()[1]]] = True
        lengths = source.negatives.lengths()
        items = np.repeat(np.arange(len(lengths)) % len(source), lengths)
        answers = np.zeros(len(source), dtype=np.bool_)
        answers[items[positive[source.folded[source.negatives.values]]]] = True
        passages = source.passages != MISSING
        negatives = (lengths.reshape(passages.shape) > 0) & ~answers
        spare = negatives.any(axis=1) | ((passages & self._alone).sum(axis=1) > rows) | ~passages.any(axis=1)
        return bool(spare.all())

    def counts(self, least: int, *, mono: bool) -> NDArray[np.int64]:
        """Return the number of items that a batch of a language pair can have, shape (languages, languages).

        Only pairs of a single language (`mono`), or else of two, have a number. From `least` on, it is a lower bound.
        """
        if (least, mono) not in self._counts:
            chosen = np.eye(len(self._source.languages), dtype=np.bool_) == mono
            counts = np.where(chosen, self._source.counts_of(self._alone), 0)
            unsure = chosen & (counts < least) & (counts < self._source.counts)
            for query, passage in np.argwhere(unsure).tolist():
                counts[query, passage] = len(self.of_pair(query, passage, least))
            self._counts[least, mono] = counts
        return self._counts[least, mono]

    def of_pair(self, query: int, passage: int, least: int) -> NDArray[np.int32]:
        """Return items that a batch of a language pair can have together: `least` or more, if there are as many."""
        chosen = (self._source.queries[query] != MISSING) & (self._source.passages[passage] != MISSING)
        return self._independent((query, passage), chosen, least)

    def of_rows(self, mono: float, least: int) -> NDArray[np.int32]:
        """Return items that a batch of several language pairs can have together: `least` or more, if there are as many.

        `mono` is the share of rows with a single language, so the items have pairs of one language, of two, or of both.
        """
        if (least, mono) not in self._rows:
            same, two = self._source.pairs_of_items()
            has_pair = ((same > 0) & (mono > 0)) | ((two > 0) & (mono < 1))
            self._rows[least, mono] = self._independent(None, has_pair, least)
        return self._rows[least, mono]

    def _independent(self, pair: tuple[int, int] | None, chosen: NDArray[np.bool_], least: int) -> NDArray[np.int32]:
        """Return items that do not clash with each other, among those that are true in `chosen` (items,)."""
        candidates = self._order[chosen[self._order]]
        number = int(np.count_nonzero(chosen & self._alone))
        items, others = candidates[:number], candidates[number:]
        if number >= least:
            return items
        clashes, passage = Clashes(self._source, pair), pair[1] if pair else 0
        clashes.take_all(items, np.full(number, passage))
        return np.concatenate([items, clashes.take_many(others, passage, least - number)])


def _repeats(values: NDArray[np.int32], rows: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Return which of `count` rows have a value of an earlier row; values are ordered by row."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    repeated = np.zeros(count, dtype=np.bool_)
    repeated[rows[rows[first[inverse]] < rows]] = True
    return repeated
