"""Ranks from a run: rankings that another system made, which may be cut.

The rules are those of trec_eval: the float32 score decides, then the greater document id. A ranking has a document of
the pool at most once; a query's own text is not a candidate and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection
from hbt_bench.errors import DataError, UsageError
from hbt_bench.identity.task_name import Mode
from hbt_bench.ranking.ranks import BELOW_CUT, TOP_K, UNRETRIEVED, Cut, Ranks
from hbt_bench.ranking.subsets import Subset, judged_subsets

Ints = NDArray[np.int64]


@dataclass(eq=False)
class RunRanks:
    """Collects the rankings of a mode, and gives their ranks.

    For example, with the rows of queries, columns of documents and scores of the multilingual mode::

        run = RunRanks(collection, "multi")
        run.add(rows, columns, scores)
        ranks = run.ranks()

    Attributes:
        depth: The documents that are kept of each ranking, None for all.
    """

    collection: Collection
    mode: Mode
    depth: int | None = None
    _lengths: NDArray[np.int32] = field(init=False)
    _values: NDArray[np.int32] = field(init=False)
    _top: NDArray[np.int32] = field(init=False)
    _removed: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Start without any ranking."""
        collection = self.collection
        self._lengths = np.zeros((len(collection.queries), len(collection.languages) + 1), np.int32)
        self._values = np.full(len(collection.qrels.documents), BELOW_CUT, np.int32)
        self._values[collection.own_pairs] = UNRETRIEVED
        self._top = np.full((len(collection.queries), TOP_K), -1, np.int32)

    @cached_property
    def _id_order(self) -> NDArray[np.int32]:
        documents = self.collection.documents
        order = np.empty(len(documents), np.int32)
        order[sorted(range(len(documents)), key=lambda column: documents[column].id)] = np.arange(len(documents))
        return order

    def add(self, rows: Ints, columns: Ints, scores: NDArray[np.float64], subset: Subset | None = None) -> None:
        """Add the documents `columns` of the queries `rows` with their scores, all (entries,), of any or of one subset.

        Raises `DataError` for a document that is there twice, and for documents that are not in the subset or mode.
        """
        with np.errstate(over="ignore"):  # checked next
            rounded = scores.astype(np.float32)
        self._check_entries(rows, columns, rounded, subset)
        rows, columns, rounded = self._without_own(rows, columns, rounded)
        languages = self.collection.document_languages[columns].astype(np.int64)
        segments = np.full(len(rows), len(self.collection.languages)) if self.mode == "multi" else languages
        order = np.lexsort((-self._id_order[columns], -rounded, segments, rows))
        rows, columns, segments = rows[order], columns[order], segments[order]
        ranking = rows * (len(self.collection.languages) + 1) + segments
        starts = np.flatnonzero(np.r_[True, np.diff(ranking) > 0][: len(ranking)])
        if self._lengths[rows[starts], segments[starts]].any():
            first = starts[np.argmax(self._lengths[rows[starts], segments[starts]] > 0)]
            raise DataError(f"the query '{self._query(rows[first])}' has two rankings of the same documents: keep one")
        rank = np.arange(len(ranking)) - np.repeat(starts, np.diff(np.r_[starts, len(ranking)])) + 1
        within = rank <= (self.depth or len(self.collection.documents))
        rows, columns, segments, rank = rows[within], columns[within], segments[within], rank[within]
        np.add.at(self._lengths, (rows, segments), 1)
        self._store(rows, columns, rank)

    def _check_entries(self, rows: Ints, columns: Ints, scores: NDArray[np.float32], subset: Subset | None) -> None:
        collection = self.collection
        if not np.isfinite(scores).all():
            raise DataError("a score is too great for single precision, in which trec_eval ranks. Use --order rank.")
        entries = np.sort(rows * len(collection.documents) + columns)
        if len(twice := entries[1:][np.diff(entries) == 0]):
            row, column = divmod(int(twice[0]), len(collection.documents))
            raise DataError(
                f"the query '{self._query(row)}' has the document '{collection.documents[column].id}' twice: keep one"
            )
        asked, returned = collection.query_languages[rows], collection.document_languages[columns]
        if subset is not None:
            queries = collection.languages.index(subset.queries)
            wrong = (asked != queries) | (
                subset.documents is not None and returned != collection.languages.index(subset.documents or "")
            )
        else:
            wrong = {"mono": asked != returned, "cross": asked == returned, "multi": asked < 0}[self.mode]
        if wrong.any():
            entry = int(np.argmax(wrong))
            document, language = collection.documents[columns[entry]], collection.languages[asked[entry]]
            raise DataError(
                f"the query '{self._query(rows[entry])}' ({language}) has the document '{document.id}' "
                f"({document.language}), which is no candidate in {subset.name if subset else self.mode}"
            )

    def _without_own(
        self, rows: Ints, columns: Ints, scores: NDArray[np.float32]
    ) -> tuple[Ints, Ints, NDArray[np.float32]]:
        """Leave out the own documents of queries, which are no candidates."""
        copies = self.collection.copies
        if copies is None:
            return rows, columns, scores
        copy = (copies[rows] == columns[:, None]).any(axis=1)
        if copy.any():
            self._removed = max(self._removed, int(np.bincount(rows[copy]).max()))
        return rows[~copy], columns[~copy], scores[~copy]

    def _store(self, rows: Ints, columns: Ints, rank: Ints) -> None:
        """Store the ranks of the judged pairs, and the best documents of the pool."""
        qrels, documents = self.collection.qrels, len(self.collection.documents)
        judged = qrels.queries * documents + qrels.documents  # ascending
        entries = rows * documents + columns
        pairs = np.minimum(np.searchsorted(judged, entries), len(judged) - 1)
        hits = judged[pairs] == entries
        self._values[pairs[hits]] = rank[hits]
        if self.mode == "multi":
            best = rank <= TOP_K
            self._top[rows[best], rank[best] - 1] = columns[best]

    def missing(self) -> list[tuple[str, str]]:
        """Return the id and the subset of each judged query that has no ranking."""
        queries = []
        for judged in judged_subsets(self.collection, self.mode):
            documents = judged.subset.documents
            column = -1 if documents is None else self.collection.languages.index(documents)
            absent = judged.rows[self._lengths[judged.rows, column] == 0]
            queries += [(self._query(row), judged.subset.name) for row in absent.tolist()]
        return queries

    def ranks(self) -> Ranks:
        """Return the ranks. Raises `DataError` without any ranking."""
        longest = int(self._lengths.max())
        if not longest:
            raise DataError(f"the run has no ranking of the mode {self.mode}")
        # a ranking that was cut before its query's own document was left out is known to fewer documents
        depth = max(1, (self.depth or longest) - self._removed)
        nothing = np.where(self._values == UNRETRIEVED, UNRETRIEVED, BELOW_CUT).astype(np.int32)
        pool = self.mode == "multi"
        width = min(TOP_K, int(self._lengths[:, -1].min()))
        lengths = np.minimum(self._lengths, depth)
        values = np.where((self._values > depth) & (self._values < BELOW_CUT), BELOW_CUT, self._values)
        top = np.ascontiguousarray(self._top[:, : min(width, depth)])
        return Ranks(values if pool else nothing, nothing if pool else values, top, Cut(depth, lengths))

    def _query(self, row: int | np.integer) -> str:
        return self.collection.queries[int(row)].id


def ids_by_pattern(pattern: str, rows: tuple[tuple[str, str], ...], option: str) -> list[str]:
    """Return the ids that a run has, for our ids and languages; ``{id}``, ``{language}`` and ``{row}`` are replaced.

    >>> ids_by_pattern("xquad/{language}/{row}", (("en-1", "en"), ("en-2", "en")), "--query-ids")
    ['xquad/en/0', 'xquad/en/1']

    Raises `UsageError` for another field, and if two texts have the same id.
    """
    try:
        ids = [pattern.format(id=name, language=language, row=row) for row, (name, language) in enumerate(rows)]
    except (LookupError, ValueError, AttributeError) as error:
        raise UsageError(f"{option} '{pattern}': a pattern has the fields {{id}}, {{language}} and {{row}}") from error
    if len(set(ids)) < len(ids):
        raise UsageError(f"{option} '{pattern}' gives two texts the same id: add {{id}} or {{row}}")
    return ids
