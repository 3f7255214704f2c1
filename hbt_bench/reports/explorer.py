"""The questions of a collection on pages of a site: each rank of each version of a question, for all models.

The list of questions is in the page. The ranks are in parts, and the page loads a part when it shows one of its
questions. A part is a script, because a page that was opened from a disk may load scripts of its site, but no data.
List and parts are JSON, deflated, in base64.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection, TextlessCollection
from hbt_bench.errors import OutputError
from hbt_bench.identity.task_name import MODES, Mode
from hbt_bench.measures.ranking import Array, Ranking, ratio
from hbt_bench.measures.registry import MEASURES, Measure
from hbt_bench.ranking.ranks import BELOW_CUT, UNRETRIEVED, Ranks
from hbt_bench.ranking.subsets import judged_subsets
from hbt_bench.reports.model_details import shortened
from hbt_bench.results.ranks_file import Ids, StoredRanks
from hbt_bench.results.store import Result

#: Ranks in a part, which is then a file of about 150 kB.
PART_RANKS = 100_000
#: The modes in the order in which they are chosen for the values of queries.
_MODES: tuple[Mode, ...] = ("multi", *(mode for mode in MODES if mode != "multi"))

Models = Iterable[tuple[str, Mapping[Mode, Result]]]
#: The value of a query: its limits if the cut of a run leaves it open, None if it has no value.
Value = float | tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class _ShownModel:
    """The ranks of a model, (pairs,), in the pool and in the language of the document, and its values by measure.

    A rank of -n is below the n documents that a run has, and 0 is unknown. The values are those of each query, and the
    means of each question.
    """

    label: str
    pool: NDArray[np.int32]
    block: NDArray[np.int32]
    values: list[list[Value]]
    means: list[list[Value]]


@dataclass(frozen=True, eq=False)
class Explorer:
    """The questions of a collection: their versions, (rows of queries), and the ranks of the `models`.

    For example, ``Explorer.from_results([("bm25", {"multi": result})], collection).parts()[0]`` is a packed part.
    """

    judgements: TextlessCollection
    mode: Mode
    measures: list[Measure]
    questions: list[NDArray[np.intp]]
    ids: Ids | None
    texts: list[str] | None
    models: list[_ShownModel]

    @classmethod
    def from_results(cls, models: Models, collection: Collection | None) -> Explorer:
        """Read the ranks of models; `models` are their labels and results, and `collection` has the texts.

        The values are AP and rank distance in the multilingual mode, else in the first mode of any model. Raises
        `OutputError` if ranks do not belong to their result or to the other ranks.
        """
        read = [(label, stored) for label, results in models if (stored := _read(results))]
        mode = next(mode for mode in _MODES if any(mode in stored for _, stored in read))
        files = [each for _, stored in read for each in stored.values()]
        judgements = files[0].judgements
        for label, stored in read:
            if any(not _same_pairs(each.judgements, judgements) for each in stored.values()):
                raise OutputError(f"the ranks of {label} have other judgements than those of {read[0][0]}")
        ids = next((each.ids for each in files if each.ids), None)
        if collection is not None:
            ids = Ids.from_collection(collection, files[0].ranks.top[:0])
        order = np.argsort(judgements.questions, kind="stable")
        questions = np.split(order, np.flatnonzero(np.diff(judgements.questions[order])) + 1)
        measures = [MEASURES[name] for name in ("AP", "rank_distance") if MEASURES[name].applies_to(judgements, mode)]
        return cls(
            judgements,
            mode,
            measures,
            questions,
            ids,
            [shortened(query.text) for query in collection.queries] if collection else None,
            [_model(label, stored, mode, measures, questions) for label, stored in read],
        )

    def index(self) -> str:
        """Return the list of questions, packed: their versions and means, and the first question of each part."""
        measures = [
            {"title": each.title_in(self.mode), "decimals": each.decimals, "lower": each.lower_is_better}
            for each in self.measures
        ]
        return packed(
            {
                "languages": self.judgements.languages,
                "pool": len(self.judgements.document_languages),
                "by_pool": self.mode == "multi",
                "graded": bool((self.judgements.qrels.grades != 1).any()),
                "cut": any((ranks < 0).any() for model in self.models for ranks in (model.pool, model.block)),
                "unretrieved": UNRETRIEVED,
                "measures": measures,
                "models": [model.label for model in self.models],
                "means": [model.means for model in self.models],
                "questions": [[self._version(row) for row in rows.tolist()] for rows in self.questions],
                "parts": self._starts,
            }
        )

    def _version(self, row: int) -> list[Any]:
        """Return the language of a query as a number, its id, and its text."""
        return [
            int(self.judgements.query_languages[row]),
            self.ids.queries[row] if self.ids else f"row {row}",
            self.texts[row] if self.texts else None,
        ]

    @property
    def _starts(self) -> list[int]:
        """The first question of each part."""
        offsets = self.judgements.qrels.offsets
        counts = [int((offsets[rows + 1] - offsets[rows]).sum()) for rows in self.questions]
        before = np.cumsum([0, *counts[:-1]]) * 2 * len(self.models) // PART_RANKS
        starts: list[int] = np.unique(before, return_index=True)[1].tolist()
        return starts

    def parts(self) -> list[str]:
        """Return the ranks of the questions, packed, in parts; see `_ranks`."""
        ends = pairwise([*self._starts, len(self.questions)])
        return [packed([self._ranks(rows) for rows in self.questions[start:end]]) for start, end in ends]

    def _ranks(self, rows: NDArray[np.intp]) -> dict[str, Any]:
        """Return a question: its relevant documents; of each version, their positions and grades; the ranks of each.

        A document is its language and id. A model has the ranks of each version in the pool and in the language, and
        its values by measure.
        """
        qrels, ids = self.judgements.qrels, self.ids.documents if self.ids else {}
        pairs = [slice(int(qrels.offsets[row]), int(qrels.offsets[row + 1])) for row in rows]
        columns = np.unique(np.concatenate([qrels.documents[each] for each in pairs]))
        return {
            "documents": [[int(self.judgements.document_languages[each]), ids.get(each)] for each in columns.tolist()],
            "versions": [
                [np.searchsorted(columns, qrels.documents[each]).tolist(), qrels.grades[each].tolist()]
                for each in pairs
            ],
            "models": [
                [
                    [model.pool[each].tolist(), model.block[each].tolist(), [values[row] for values in model.values]]
                    for row, each in zip(rows.tolist(), pairs, strict=True)
                ]
                for model in self.models
            ],
        }


def packed(value: Any) -> str:
    """Return a value as JSON, deflated, in base64; equal values give equal text."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _read(results: Mapping[Mode, Result]) -> dict[Mode, StoredRanks]:
    """Return the ranks of each mode; ranks that are not cut have those of all modes."""
    stored: dict[Mode, StoredRanks] = {}
    for mode in _MODES:
        if mode in results and results[mode].ranks:
            stored[mode] = results[mode].stored_ranks()
            if stored[mode].ranks.cut is None:
                break
    return stored


def _same_pairs(one: TextlessCollection, other: TextlessCollection) -> bool:
    pairs = (one.qrels.offsets, other.qrels.offsets), (one.qrels.documents, other.qrels.documents)
    return one.languages == other.languages and all(np.array_equal(*arrays) for arrays in pairs)


def _model(
    label: str,
    stored: Mapping[Mode, StoredRanks],
    mode: Mode,
    measures: Sequence[Measure],
    questions: Sequence[NDArray[np.intp]],
) -> _ShownModel:
    first = next(iter(stored.values()))
    shown = {name: np.zeros(len(first.ranks.pool), np.int32) for name in ("pool", "block")}
    for each, ranked in stored.items():
        _fill(shown, first.judgements, ranked.ranks, each)
    ranks = stored[mode].ranks if mode in stored else first.ranks if first.ranks.cut is None else None
    ends = [_limits(first.judgements, ranks, mode, measure) for measure in measures]
    means = [_means(each, questions) for each in ends]
    values, averages = ([_values(*pair) for pair in zip(each, measures, strict=True)] for each in (ends, means))
    return _ShownModel(label, shown["pool"], shown["block"], values, averages)


def _fill(shown: Mapping[str, NDArray[np.int32]], judgements: TextlessCollection, ranks: Ranks, mode: Mode) -> None:
    """Set the ranks that those of a mode state: all if they are whole, else those of the mode's pairs."""
    if ranks.cut is None:
        shown["pool"][:], shown["block"][:] = ranks.pool, ranks.block
        return
    name, values = ("pool", ranks.pool) if mode == "multi" else ("block", ranks.block)
    for judged in judged_subsets(judgements, mode):
        documents = judged.subset.documents
        column = -1 if documents is None else judgements.languages.index(documents)
        lengths, known = ranks.cut.lengths[judged.rows, column][judged.owner], values[judged.pairs]
        shown[name][judged.pairs] = np.where(known == BELOW_CUT, -lengths, known)


def _limits(judgements: TextlessCollection, ranks: Ranks | None, mode: Mode, measure: Measure) -> Array:
    """Return the lowest and highest value of each query that a cut leaves open, (2, queries), NaN for none.

    A query of the cross-lingual mode has the mean over the languages of the documents.
    """
    queries = len(judgements.questions)
    if ranks is None or measure.limits is None:
        return np.full((2, queries), np.nan)
    sums, counts = np.zeros((2, queries)), np.zeros(queries)
    for judged in judged_subsets(judgements, mode):
        sums[:, judged.rows] += measure.limits(Ranking.from_ranks(judgements, ranks, judged))
        counts[judged.rows] += 1
    return ratio(sums, np.broadcast_to(counts, sums.shape))


def _means(ends: Array, questions: Sequence[NDArray[np.intp]]) -> Array:
    """Return the means of each question over its versions that have a value, (2, questions)."""
    columns = np.repeat(np.arange(len(questions)), [len(rows) for rows in questions])
    by_question = ends[:, np.concatenate(questions)]
    has_value = np.isfinite(by_question[0])
    sums = [np.bincount(columns[has_value], line[has_value], len(questions)) for line in by_question]
    return ratio(np.array(sums), np.array(2 * [np.bincount(columns[has_value], minlength=len(questions))]))


def _values(ends: Array, measure: Measure) -> list[Value]:
    """Return values, (2, values), with the decimals of their measure."""
    digits = measure.decimals
    return [
        None if low != low else round(low, digits) if low == high else (round(low, digits), round(high, digits))
        for low, high in ends.T.tolist()
    ]
