"""The best AP that a system can expect if unjudged candidates look relevant to it.

Such a system gives a relevant document and its lookalikes the same score, so they are a tie in random order. A relevant
document without lookalikes is a group by itself. The best system puts these groups first, those with the greatest share
of relevant documents at the top (`hbt_bench.measures.tied`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hbt_bench.checks.lookalikes import Lookalikes
from hbt_bench.checks.unjudged import Unjudged
from hbt_bench.identity.task_name import Mode
from hbt_bench.measures.tied import Group, best_average_precision
from hbt_bench.ranking.subsets import SubsetQrels, judged_subsets

#: The documents that look relevant to a system: those with the same words, near-duplicates too, or
#: all strong candidates. Only the first is a fact, since a system reads nothing but words; the others are questions:
#: the AP that is left if every near-duplicate, or every candidate, is as good as the relevant document.
Level = Literal["same", "near", "all"]
LEVELS: tuple[Level, ...] = ("same", "near", "all")


@dataclass(frozen=True)
class Bound:
    """The best expected AP of a mode, the mean over its subsets as in a result.

    `lowered` is the number of queries with a lower AP than 1 in a subset, and `subsets` has the AP of the subsets
    below 1.
    """

    AP: float
    lowered: int
    subsets: dict[str, float]


@dataclass(frozen=True, eq=False)
class Ceiling:
    """The bounds of a collection with candidates for judgement.

    For example, ``Ceiling(Lookalikes(collection), ()).bound("mono", "same").AP`` is 1 if no unjudged document has the
    words of a relevant document.
    """

    lookalikes: Lookalikes
    candidates: Iterable[Unjudged]

    def bound(self, mode: Mode, level: Level) -> Bound | None:
        """Return the bound of a mode for a level, or None if no query has a relevant document in the mode."""
        values, rows, below = [], set[int](), {}
        for judged in judged_subsets(self.lookalikes.collection, mode):
            lowered = self._lowered(judged, level)
            values.append(1 - sum(1 - average for average in lowered.values()) / len(judged.rows))
            if lowered:
                below[judged.subset.name] = values[-1]
                rows.update(lowered)
        return Bound(float(np.mean(values)), len(rows), below) if values else None

    def _lowered(self, judged: SubsetQrels, level: Level) -> dict[int, float]:
        """Return the best expected AP of each query for which it is below 1."""
        collection = self.lookalikes.collection
        everything = slice(0, len(collection.documents))
        block = everything if judged.subset.documents is None else collection.document_blocks[judged.subset.documents]
        doubtful = np.bincount(judged.owner, weights=self._doubtful[judged.pairs], minlength=len(judged.rows)) > 0
        if level == "all":
            doubtful |= np.isin(collection.questions[judged.rows], list(self._others))
        lowered: dict[int, float] = {}
        for index in np.flatnonzero(doubtful):
            row = int(judged.rows[index])
            first, last = np.searchsorted(judged.owner, (index, index + 1))
            relevant = collection.qrels.documents[judged.pairs[first:last]].tolist()
            copies = () if collection.copies is None else collection.copies[row].tolist()
            pool = _Pool(self, int(collection.questions[row]), tuple(relevant), tuple(copies), block.start, block.stop)
            average = self._average(pool, level)
            if average < 1:
                lowered[row] = average
        return lowered

    def _average(self, pool: _Pool, level: Level) -> float:
        """Return the best expected AP in a pool, which versions of a question in several languages may share."""
        if (pool, level) not in self._averages:
            groups = tuple(sorted(pool.groups(level)))
            self._averages[pool, level] = best_average_precision(groups, len(pool.relevant))
        return self._averages[pool, level]

    @cached_property
    def _averages(self) -> dict[tuple[_Pool, Level], float]:
        return {}

    @cached_property
    def _doubtful(self) -> NDArray[np.bool_]:
        """Whether each judged pair has a document with lookalikes, or the query's own text, which it cannot find."""
        collection = self.lookalikes.collection
        marks: NDArray[np.bool_] = self.lookalikes.documents.has_double()[collection.qrels.documents]
        return marks | collection.own_pairs

    @cached_property
    def _others(self) -> dict[int, list[int]]:
        """The strong candidates of each question, without lookalikes."""
        collection = self.lookalikes.collection
        questions = dict(zip((query.id for query in collection.queries), collection.questions.tolist(), strict=True))
        columns = {document.id: column for column, document in enumerate(collection.documents)}
        others: dict[int, list[int]] = {}
        for candidate in self.candidates:
            if candidate.is_strong and candidate.kind not in ("same text", "near-duplicate"):
                others.setdefault(questions[candidate.query], []).append(columns[candidate.document])
        return others


@dataclass(frozen=True)
class _Pool:
    """The candidates of a question: the columns from `start` to `stop` without `copies`, the query's own text.

    `relevant` has the columns from `start` to `stop` that are judged relevant.
    """

    ceiling: Ceiling = field(compare=False)
    question: int
    relevant: tuple[int, ...]
    copies: tuple[int, ...]
    start: int
    stop: int

    def groups(self, level: Level) -> list[Group]:
        """Return the ties of relevant documents and their lookalikes, as counts of relevant and of all documents.

        Documents with the same words are always in the same tie, so a tie consists of groups of such documents.
        """
        ties = [{group} for group in self._hits if self._unjudged(group)]
        if level != "same":
            ties += [{group, other} for group in self._hits for other in self._near(group)]
        if level == "all":
            ties += self._answering()
        ties = _merged(ties)
        tied = set().union(*ties)
        alone = [(1, 1)] * sum(count for group, count in self._hits.items() if group not in tied)
        return alone + [
            (sum(self._hits[group] for group in tie), sum(self._hits[group] + self._unjudged(group) for group in tie))
            for tie in ties
        ]

    @cached_property
    def _hits(self) -> Counter[int]:
        """The relevant documents of each group of documents with the same words, without the query's own."""
        return Counter(self._group(column) for column in self.relevant if column not in self.copies)

    def _group(self, column: int) -> int:
        return int(self.ceiling.lookalikes.documents.group[column])

    def _unjudged(self, group: int) -> int:
        """Return the number of candidates in a group that are not judged relevant."""
        members = self.ceiling.lookalikes.documents.members[group]
        return sum(self._in_block(column) and column not in self.copies for column in members) - self._hits[group]

    def _in_block(self, column: int) -> bool:
        return self.start <= column < self.stop

    def _near(self, group: int) -> list[int]:
        near = self.ceiling.lookalikes.documents.near.get(group, ())
        return [other for other, _ in near if self._unjudged(other)]

    def _answering(self) -> list[set[int]]:
        """Return a tie of each other candidate and the relevant documents in its language, or all if there are none."""
        collection = self.ceiling.lookalikes.collection
        ties = []
        for column in self.ceiling._others.get(self.question, ()):
            if not self._in_block(column) or column in self.copies or column in self.relevant:
                continue
            language = collection.document_languages[column]
            relevant = [item for item in self.relevant if item not in self.copies]
            same = [item for item in relevant if collection.document_languages[item] == language]
            ties.append({self._group(column), *map(self._group, same or relevant)})
        return ties


def _merged(ties: Iterable[set[int]]) -> list[set[int]]:
    """Join the sets that overlap."""
    tie_of: dict[int, set[int]] = {}
    for tie in ties:
        joined = tie.union(*(tie_of[group] for group in tie if group in tie_of))
        tie_of.update(dict.fromkeys(joined, joined))
    return list({id(tie): tie for tie in tie_of.values()}.values())
