"""Compare the engine of ranks to a naive full sort and to trec_eval on random small collections.

``PYTHONPATH=. python benchmarks/fuzz_ranks.py --count 100000 --output results/benchmarks/fuzz_ranks``

A case depends on its number alone. For example, ``--first 17 --count 1`` repeats case 17.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import pytrec_eval
import torch
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.errors import DataError, ModelError
from hbt_bench.identity.task_name import MODES
from hbt_bench.measures.ranking import Ranking
from hbt_bench.ranking import blocks as blocking
from hbt_bench.ranking import ranks as engine
from hbt_bench.ranking.blocks import DeviceKernel, HostKernel, Kernel
from hbt_bench.ranking.ranks import TOP_K, Ranks, rank
from hbt_bench.ranking.subsets import SubsetQrels, judged_subsets

LANGUAGES = ("ar", "de", "en", "zh")
#: Parts of ids: with common prefixes, right to left, with combining characters, and outside the basic plane.
_SIGNS = ("d", "D", "1", "10", "-", " ", "é", "e\u0301", "ß", "字", "ﷺ", "א", "𝔡", "😀", "\uffff", "\u200d")
_TINY = float(np.finfo(np.float32).smallest_subnormal)
_EDGES = (0.0, -0.0, _TINY, -_TINY, 3 * _TINY, 1e-38, 1.0, 1.0000001, -1.0, 3.4e38, -3.4e38, math.inf, -math.inf)
#: The faults of a case, and the error that each must raise.
_WRONG = {"NaN": ModelError, "shape": ModelError, "document id": DataError, "query id": DataError, "own": DataError}
#: The compared measures, by their names in trec_eval.
TREC_EVAL = {"map", "recip_rank", "ndcg_cut.10", "recall.10", "P.5", "success.1", "map_cut.10"}


@dataclass(frozen=True)
class Matrix:
    """A scorer that reads a matrix."""

    matrix: NDArray[Any]

    def scores(self, rows: slice) -> NDArray[Any]:
        """Return the rows without a change of precision."""
        return self.matrix[rows]


@dataclass(frozen=True)
class Chunked:
    """A matrix that is read in blocks of `height` rows and `width` columns.

    `off` is added to the scores of single pairs, like a product that rounds differently. `asked` records the chunks.
    """

    matrix: NDArray[np.float32]
    width: int
    height: int = 3
    kernel: Kernel = field(default_factory=HostKernel)
    off: float = 0.0
    asked: list[slice] = field(default_factory=list)

    def blocks(self) -> Chunked:
        """Return this object, which needs no preparation."""
        return self

    def chunks(self, rank: int = 0, processes: int = 1) -> list[slice]:
        """Return the chunks of a process."""
        starts = range(0, self.matrix.shape[1], self.width)
        mine = starts[len(starts) * rank // processes : len(starts) * (rank + 1) // processes]
        return [slice(start, min(start + self.width, self.matrix.shape[1])) for start in mine]

    def threads(self) -> Any:
        """Return two kernels on the host."""
        return nullcontext(2 if isinstance(self.kernel, HostKernel) else 0)

    def start_thread(self) -> None:
        """Do nothing."""

    def columns(self, chunk: slice) -> NDArray[np.float32]:
        """Return the scores of a chunk."""
        self.asked.append(chunk)
        return self.matrix[:, chunk]

    def block(self, rows: slice, chunk: slice, columns: NDArray[np.float32]) -> Any:
        """Return some rows of a chunk."""
        return columns[rows] if isinstance(self.kernel, HostKernel) else torch.from_numpy(columns[rows].copy())

    def pairs(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the scores of single pairs."""
        return self.matrix[rows, columns] + np.float32(self.off)


@dataclass(frozen=True)
class Case:
    """Records of a collection, the scores of its pool, and for some models scores of single languages."""

    documents: list[Document]
    queries: list[Query]
    relevant: dict[str, dict[str, int]]
    own_copies: bool
    scores: NDArray[Any]  # columns as in the collection
    blocks: NDArray[Any] | None

    @classmethod
    def draw(cls, number: int) -> Case:
        """Return the case with a number."""
        chance = np.random.default_rng([number, 20])
        languages = LANGUAGES[: chance.integers(1, 5)]
        count = 1 if chance.random() < 0.05 else int(chance.integers(2, 26))
        own_copies = bool(chance.random() < 0.2)
        names = _names(chance, count)
        documents = [Document(name, str(chance.choice(languages)), f"text of {name}.") for name in names]
        queries, relevant = [], {}
        for position in range(int(chance.integers(1, 7))):
            copied = own_copies and 1 < count > position and chance.random() < 0.8
            name = names[position] if copied else f"q{position}"
            others = [other for other in names if other != name]
            chosen = chance.choice(len(others), size=chance.integers(1, min(7, len(others) + 1)), replace=False)
            language = documents[position].language if copied else str(chance.choice(languages))
            queries.append(Query(name, language, f"ask {position}?", f"{position // 2}"))
            relevant[name] = {others[other]: int(chance.integers(1, 4)) for other in chosen}
        shape = (len(queries), count)
        blocks = _scores(chance, shape) if chance.random() < 0.2 else None
        return cls(documents, queries, relevant, own_copies, _scores(chance, shape), blocks)

    def collection(self) -> Collection:
        """Return the collection as a reader builds it."""
        return Collection.from_records(
            "fuzz", self.queries, self.documents, self.relevant, own_copies=self.own_copies, parallel=True
        )


def _names(chance: np.random.Generator, count: int) -> list[str]:
    if chance.random() < 0.5:
        return [f"d{number}" for number in chance.permutation(count)]
    names: dict[str, None] = {}
    while len(names) < count:
        names["".join(chance.choice(_SIGNS, size=chance.integers(1, 4))) + "d"] = None
    return list(names)


def _scores(chance: np.random.Generator, shape: tuple[int, int]) -> NDArray[Any]:
    kind = chance.choice(["normal", "tied", "equal", "edges", "half", "near"])
    if kind == "normal":
        return chance.standard_normal(shape).astype(np.float32)
    if kind == "tied":
        return chance.integers(-2, 3, shape).astype(np.float32)
    if kind == "equal":
        return np.full(shape, chance.choice(_EDGES), np.float32)
    if kind == "edges":
        return chance.choice(_EDGES, shape).astype(np.float32)
    if kind == "half":
        return chance.standard_normal(shape).astype(np.float16)
    return np.float32(0.5) + chance.integers(0, 4, shape).astype(np.float32) * np.spacing(np.float32(0.5))


def check(number: int, seen: Counter[str]) -> None:
    """Raise `AssertionError` unless the ranks equal those of a naive sort and the measures those of trec_eval."""
    case, chance = Case.draw(number), np.random.default_rng([number, 21])
    if chance.random() < 0.05:
        wrong = str(chance.choice(list(_WRONG)))
        seen[f"refused: {wrong}"] += 1
        _check_refused(case, wrong)
        return
    collection = case.collection()
    blocks = None
    if case.blocks is not None:
        blocks = {code: Matrix(case.blocks[:, columns]) for code, columns in collection.document_blocks.items()}
    scorer: Matrix | Chunked = Matrix(case.scores)
    if blocks is None and chance.random() < 0.5:
        kernel = HostKernel() if chance.random() < 0.5 else DeviceKernel()
        off = float(chance.choice([0.0, 0.5]))
        scorer = Chunked(case.scores.astype(np.float32), int(chance.integers(1, 30)), 3, kernel, off)
        seen[f"in chunks, by {'NumPy' if isinstance(kernel, HostKernel) else 'torch'}"] += 1
    with (
        mock.patch.object(blocking, "_BLOCK_SCORES", int(chance.choice([1, 30, blocking._BLOCK_SCORES]))),
        mock.patch.object(engine, "_STATE_BYTES", int(chance.choice([1, 200, engine._STATE_BYTES]))),
    ):
        ranks, _ = rank(collection, scorer, blocks, confidences=bool(chance.random() < 0.5))
    _check_sorted(case, collection, ranks, seen)
    _check_measures(case, collection, ranks, seen)


def _check_refused(case: Case, wrong: str) -> None:
    documents, queries, scores = list(case.documents), list(case.queries), case.scores.copy()
    relevant, own_copies = dict(case.relevant), case.own_copies
    if wrong == "document id":
        documents.append(documents[0]._replace(text="another text"))
    elif wrong == "query id":
        queries.append(queries[0]._replace(text="another question"))
    elif wrong == "own":
        own_copies = True
        relevant[queries[0].id] = {queries[0].id: 1}
        documents.append(Document(queries[0].id, "en", "itself"))
    elif wrong == "NaN":
        scores[-1, 0] = np.nan
    else:
        scores = scores[:, 1:]
    try:
        collection = Collection.from_records("fuzz", queries, documents, relevant, own_copies=own_copies)
        rank(collection, Matrix(scores), confidences=False)
    except _WRONG[wrong]:
        pass
    else:
        raise AssertionError(f"{wrong} was not refused")


def _order(case: Case, collection: Collection, scores: NDArray[Any], row: int, columns: Sequence[int]) -> list[int]:
    """Return columns from best to worst, sorted by score and document id, without the query's own text."""
    ids = [document.id for document in collection.documents]
    candidates = [column for column in columns if not (case.own_copies and ids[column] == collection.queries[row].id)]
    return sorted(candidates, key=lambda column: (float(scores[row, column]), ids[column]), reverse=True)


def _check_sorted(case: Case, collection: Collection, ranks: Ranks, seen: Counter[str]) -> None:
    assert ranks.top.shape[1] == min(TOP_K, len(collection.documents) - case.own_copies)
    for row in range(len(collection.queries)):
        pool = _order(case, collection, case.scores, row, range(len(collection.documents)))
        assert ranks.top[row].tolist() == pool[: ranks.top.shape[1]], (row, ranks.top[row], pool)
        seen["queries"] += 1
        for pair in range(collection.qrels.offsets[row], collection.qrels.offsets[row + 1]):
            document = int(collection.qrels.documents[pair])
            columns = collection.document_blocks[collection.documents[document].language]
            scores = case.scores if case.blocks is None else case.blocks
            block = _order(case, collection, scores, row, range(columns.start, columns.stop))
            assert ranks.pool[pair] == pool.index(document) + 1, (row, document)
            assert ranks.block[pair] == block.index(document) + 1, (row, document)
            seen["pairs"] += 1


def _check_measures(case: Case, collection: Collection, ranks: Ranks, seen: Counter[str]) -> None:
    ids = [document.id for document in collection.documents]
    qrels: dict[str, dict[str, int]] = {}
    run: dict[str, dict[str, float]] = {}
    subsets: list[tuple[str, SubsetQrels]] = []
    for mode in MODES:
        for judged in judged_subsets(collection, mode):
            columns: Sequence[int] = range(len(ids))
            scores = case.scores
            if judged.subset.documents is not None:
                block = collection.document_blocks[judged.subset.documents]
                columns = range(block.start, block.stop)
                scores = case.scores if case.blocks is None else case.blocks
            candidates = {ids[column] for column in columns}
            subsets.append((judged.subset.name, judged))
            for row in judged.rows:
                name = f"{judged.subset.name}/{row}"
                qrels[name] = {key: grade for key, grade in collection.relevant(row).items() if key in candidates}
                order = _order(case, collection, scores, row, columns)
                run[name] = {ids[column]: float(scores[row, column]) for column in order}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, TREC_EVAL).evaluate(run)
    for subset, judged in subsets:
        ours = by_trec_eval_names(Ranking.from_ranks(collection, ranks, judged))
        for position, row in enumerate(judged.rows):
            expected = theirs[f"{subset}/{row}"]
            for measure, values in ours.items():
                assert abs(values[position] - expected[measure]) < 1e-9, (subset, row, measure)
                seen["values against trec_eval"] += 1


def by_trec_eval_names(ranking: Ranking) -> dict[str, np.ndarray]:
    """Return the values of each measure in `TREC_EVAL` by query, an array of (queries,), by the name of the result."""
    return {
        "map": ranking.average_precision(),
        "recip_rank": ranking.reciprocal_rank(),
        "ndcg_cut_10": ranking.ndcg(10),
        "recall_10": ranking.recall(10),
        "P_5": ranking.precision(5),
        "success_1": ranking.success(1),
        "map_cut_10": ranking.average_precision(10),
    }


def main() -> int:
    """Run the cases and print the counts; return 1 if a case failed."""
    import report

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--output", default="")
    options = parser.parse_args()
    seen: Counter[str] = Counter()
    failures: dict[int, str] = {}
    started = time.process_time()
    for number in range(options.first, options.first + options.count):
        try:
            check(number, seen)
        except Exception as error:  # any exception is a failure
            failures[number] = f"{type(error).__name__}: {error}"[:300]
            print(f"case {number}: {failures[number]}")
    seconds = round(time.process_time() - started, 1)
    rows = [("cases", options.count), ("failures", len(failures)), *sorted(seen.items()), ("CPU seconds", seconds)]
    data = {"first": options.first, "counts": dict(rows), "failures": failures}
    title = "The engine against a full sort and trec_eval"
    report.publish(title, [report.table(("what", "count"), rows)], data, report.environment(), options.output)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
