"""The items that can be in a batch together: whether a source can fill a batch is known before the first step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hbt_bench.training.clashes import Clashes
from hbt_bench.training.parallel import MISSING, ParallelText


class DistinctItems:
    """Items of a source of which no two clash.

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
        """Return items of which no two clash, among those that are true in `chosen` (items,)."""
        candidates = self._order[chosen[self._order]]
        number = int(np.count_nonzero(chosen & self._alone))
        items, others = candidates[:number], candidates[number:]
        if number >= least:
            return items
        clashes, passage = Clashes(self._source, pair), pair[1] if pair else 0
        clashes.take_all(items, np.full(number, passage))
        return np.concatenate([items, clashes.take_many(others, passage, least - number)])
