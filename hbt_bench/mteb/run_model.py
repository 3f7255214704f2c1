"""A run as a model: rankings that another system made, in the place of a model that ranks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection
from hbt_bench.data.run_files import table_hash
from hbt_bench.errors import DataError
from hbt_bench.identity.task_name import MODES, Mode
from hbt_bench.mteb.trec_check import check_with_trec_eval
from hbt_bench.ranking.ranks import Ranks
from hbt_bench.ranking.run_ranks import Ints, RunRanks, ids_by_pattern
from hbt_bench.ranking.subsets import Subset
from hbt_bench.settings import check_choice, check_whole

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

#: The beginning of the revision of a run, before the hash of its rankings.
RUN_REVISION = "run-"
#: Ids that a message names.
_SHOWN = 3


@dataclass(frozen=True)
class RunRules:
    """The rules by which a run is read.

    Attributes:
        depth: The documents that are kept of each ranking, None for all.
        order: "score" to rank by score, as trec_eval does, "rank" to rank by the rank column, None to rank by score and
            refuse a run whose ranks contradict its scores.
        query_ids, document_ids: The ids in the run; see `ids_by_pattern`.
        missing: "refuse" a run that lacks a query, or count such a query as "empty", with no document retrieved.
        verify: Compute the measures with trec_eval, too, and refuse a run if they differ.
    """

    depth: int | None = None
    order: Literal["score", "rank"] | None = None
    query_ids: str = "{id}"
    document_ids: str = "{id}"
    missing: Literal["refuse", "empty"] = "refuse"
    verify: bool = False

    def __post_init__(self) -> None:
        """Raise `UsageError` for a rule that does not exist, which would count as another."""
        check_choice("order", self.order, (None, "score", "rank"))
        check_choice("missing", self.missing, ("refuse", "empty"))
        check_whole("depth", self.depth, none="all documents")


@dataclass(frozen=True, eq=False)
class RunModel:
    """A run, by subset or mode, with the name of the system that made it.

    Its revision is a hash of the rankings. For example, ``RunModel({"multi": table}, "me/colbert")``, with a table of
    `hbt_bench.data.run_files`.
    """

    tables: Mapping[str, pd.DataFrame]
    name: str
    rules: RunRules = RunRules()
    _ranks: dict[tuple[str, Mode], Ranks] = field(default_factory=dict)

    @cached_property
    def mteb_model_meta(self) -> Any:
        """MTEB's description, with the name and the revision."""
        from mteb.models import ModelMeta

        settings = (self.rules.depth, self.rules.order == "rank", self.rules.missing)
        revision = RUN_REVISION + table_hash(self.tables, settings)
        return ModelMeta.create_empty({"name": self.name, "revision": revision})

    def ranks_in(self, collection: Collection, mode: Mode) -> Ranks:
        """Return the ranks of a mode.

        Raises `DataError` for unknown ids, for ranks that contradict scores, for a document that is twice in a ranking
        or is no candidate, and for queries without a ranking.
        """
        key = collection.fingerprint, mode
        if key not in self._ranks:
            self._ranks[key] = self._read(collection, mode)
        return self._ranks[key]

    def _read(self, collection: Collection, mode: Mode) -> Ranks:
        run = RunRanks(collection, mode, self.rules.depth)
        entries = []
        for name, table in self.tables.items():
            subset = None if name in MODES else Subset.parse(name)
            if name == mode or (subset and subset.mode == mode):
                entries.append(self._entries(collection, table, name))
                run.add(*entries[-1], subset)
        self._check_missing(run)
        if mode == "multi" and len(collection.languages) > 1:
            _warn_of_one_language(collection, entries)
        ranks = run.ranks()
        longest = int(ranks.cut.lengths.max()) if ranks.cut else 0
        if self.rules.depth is not None and longest < min(self.rules.depth, len(collection.documents)):
            log.warning(
                f"the longest ranking of mode {mode} has {longest:,} documents, and the depth is {self.rules.depth:,}: "
                "documents that are not in a ranking count as not retrieved up to this depth"
            )
        if self.rules.verify:
            check_with_trec_eval(collection, ranks, mode, entries)
        return ranks

    def _entries(
        self, collection: Collection, table: pd.DataFrame, name: str
    ) -> tuple[Ints, Ints, NDArray[np.float64]]:
        """Return the rows of queries, the columns of documents, and their scores."""
        scores = _scores(table, self.rules.order, name)
        found = []
        for kind, texts, pattern in (
            ("query", collection.queries, self.rules.query_ids),
            ("document", collection.documents, self.rules.document_ids),
        ):
            option = "--query-ids" if kind == "query" else "--document-ids"
            ids = ids_by_pattern(pattern, tuple((text.id, text.language) for text in texts), option)
            found.append(_positions(table[kind], ids, kind, option, collection.name))
        return found[0], found[1], scores

    def _check_missing(self, run: RunRanks) -> None:
        missing = run.missing()
        if not missing:
            return
        shown = ", ".join(f"'{query}' ({subset})" for query, subset in missing[:_SHOWN])
        text = f"the run has no ranking for {len(missing):,} queries, such as {shown}"
        if self.rules.missing == "refuse":
            raise DataError(f"{text}. If nothing was retrieved for them, add --missing empty.")
        log.warning(f"{text}: they count as queries for which nothing was retrieved")


def _warn_of_one_language(collection: Collection, entries: Sequence[tuple[Ints, Ints, NDArray[np.float64]]]) -> None:
    """Log a warning if no ranking of the pool has a document in another language than its query."""
    same = all(
        (collection.query_languages[rows] == collection.document_languages[columns]).all()
        for rows, columns, _ in entries
    )
    if same:
        log.warning(
            f"the run has only documents in the language of each query, but it is scored on the documents of all "
            f"languages of {collection.name}: if the system searched a language at a time, choose the task of mode mono"
        )


def _positions(names: pd.Series, ids: list[str], kind: str, option: str, collection: str) -> Ints:
    """Return the position of each name in `ids`; raises `DataError` for an unknown name."""
    import pandas as pd

    codes, distinct = pd.factorize(names)
    position_of = {name: position for position, name in enumerate(ids)}
    positions = np.array([position_of.get(str(name), -1) for name in distinct], np.int64)
    unknown = np.flatnonzero(positions < 0)
    if len(unknown):
        shown = ", ".join(f"'{distinct[index]}'" for index in unknown[:_SHOWN])
        raise DataError(
            f"{len(unknown):,} of {len(distinct):,} {kind} ids in the run are not of {collection}, such as {shown}; "
            f"an id of {collection} is '{ids[0]}'. State how ids are formed with {option}, as in 'prefix-{{id}}'."
        )
    entries: Ints = positions[codes]
    return entries


def _scores(table: pd.DataFrame, order: str | None, name: str) -> NDArray[np.float64]:
    """Return the scores by which to rank: those of the run, or its ranks with the other sign.

    Raises `DataError` if a rank is there twice or contradicts a score, unless `order` decides.
    """
    if order == "rank" or "score" not in table:
        if "rank" not in table or order == "score":
            raise DataError(f"the run ({name}) has no column {'rank' if order == 'rank' else 'score'} to rank by")
        return -np.asarray(table["rank"], np.float64)
    scores = np.asarray(table["score"], np.float64)
    if order is None and "rank" in table:
        _check_ranks(table, scores.astype(np.float32), np.asarray(table["rank"], np.float64))
    return scores


def _check_ranks(table: pd.DataFrame, scores: NDArray[np.float32], ranks: NDArray[np.float64]) -> None:
    """Raise `DataError` if a document has a better rank than another of a higher score; equal ranks state nothing."""
    import pandas as pd

    queries = pd.factorize(table["query"])[0]
    order = np.lexsort((-scores, ranks, queries))
    lower = (np.diff(queries[order]) == 0) & (np.diff(ranks[order]) > 0) & (np.diff(scores[order]) > 0)
    if lower.any():
        first, second = (table.iloc[order[int(np.argmax(lower)) + step]] for step in (0, 1))
        raise DataError(
            f"the ranks contradict the scores: for the query '{first['query']}', '{first.document}' has rank "
            f"{first['rank']:g} and score {first.score:g}, but '{second.document}' rank {second['rank']:g} and score "
            f"{second.score:g}. Choose --order score, as trec_eval does, or --order rank."
        )
