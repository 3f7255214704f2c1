"""The ranks of a model on a collection, in a file in the folder of its results."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection, TextlessCollection
from hbt_bench.data.judgements import Qrels
from hbt_bench.data.lines import FREE_BYTES, MAX_RATIO
from hbt_bench.errors import OutputError
from hbt_bench.files import write_bytes
from hbt_bench.ranking.ranks import BELOW_CUT, Cut, Ranks

_RANKS = ("pool", "block", "top")
_QRELS = ("offsets", "documents", "grades")
_COLLECTION = ("query_languages", "questions", "document_languages")
#: The names of all arrays that a file may have.
ARRAYS = frozenset({"data", "languages", "parallel", "depth", "lengths", "ids", *_RANKS, *_QRELS, *_COLLECTION})


@dataclass(frozen=True)
class Ids:
    """The ids of all queries, (queries,), and of the documents that the ranks name, by column."""

    queries: list[str]
    documents: dict[int, str]

    @classmethod
    def from_collection(cls, collection: Collection, top: NDArray[np.int32]) -> Ids:
        """Return the ids that belong to ranks: those of relevant documents and of the best documents."""
        columns = np.union1d(collection.qrels.documents, top)
        documents = {column: collection.documents[column].id for column in columns.tolist()}
        return cls([query.id for query in collection.queries], documents)


@dataclass(frozen=True, eq=False)
class StoredRanks:
    """Ranks with the qrels of their collection. `data` is the fingerprint of the collection.

    `ids` are None in the files of older versions.
    """

    data: str
    judgements: TextlessCollection
    ranks: Ranks
    ids: Ids | None = None

    def __repr__(self) -> str:
        return f"StoredRanks(data={self.data!r}, {self.judgements!r})"

    def write(self, path: Path) -> None:
        """Write all arrays into one file, atomically. Equal ranks give equal bytes."""
        collection, buffer = self.judgements, io.BytesIO()
        extra: dict[str, Any] = {} if collection.parallel else {"parallel": np.array(False)}
        if (cut := self.ranks.cut) is not None:
            extra |= {"depth": np.array(cut.depth), "lengths": cut.lengths}
        ids = Ids.from_collection(collection, self.ranks.top) if isinstance(collection, Collection) else self.ids
        if ids is not None:
            text = json.dumps([ids.queries, list(ids.documents.items())], ensure_ascii=False)
            extra["ids"] = np.frombuffer(text.encode(), np.uint8)
        np.savez_compressed(
            buffer,
            data=np.array(self.data),
            languages=np.array(collection.languages),
            **{name: getattr(self.ranks, name) for name in _RANKS},
            **extra,
            **{name: getattr(collection.qrels, name) for name in _QRELS},
            **{name: getattr(collection, name) for name in _COLLECTION},
        )
        write_bytes(path, buffer.getvalue())

    @classmethod
    def read(cls, path: Path) -> StoredRanks:
        """Read a file. Raises `OutputError` if it is missing or damaged, or its arrays contradict each other."""
        try:
            with path.open("rb") as file, _load(file) as arrays:
                languages = tuple(str(code) for code in arrays["languages"])
                qrels = Qrels(*(arrays[name] for name in _QRELS))
                collection = TextlessCollection(languages, qrels, *(arrays[name] for name in _COLLECTION))
                if "parallel" in arrays:
                    collection = replace(collection, parallel=bool(arrays["parallel"]))
                cut = Cut(int(arrays["depth"]), arrays["lengths"]) if "depth" in arrays else None
                ranks = Ranks(arrays["pool"], arrays["block"], arrays["top"], cut)
                if wrong := next((name for name, passed in _checks(collection, ranks) if not passed), None):
                    raise ValueError(f"its {wrong} contradict the rest")
                return cls(str(arrays["data"]), collection, ranks, _read_ids(arrays, collection))
        except FileNotFoundError as error:
            raise OutputError(
                f"the ranks {path} are missing. Copy them into the folder of the results, or run again."
            ) from error
        except Exception as error:  # numpy and zipfile raise many types for a damaged file
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise OutputError(f"cannot read the ranks in {path} ({reason}). Delete it and run again.") from error


def _load(file: BinaryIO) -> Any:
    """Open an archive of arrays. Raises `ValueError` if it would unpack to far more than its size."""
    with zipfile.ZipFile(file) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > max(FREE_BYTES, MAX_RATIO * file.seek(0, io.SEEK_END)):
        raise ValueError(f"it would grow to {size >> 20} MiB, more than {MAX_RATIO} times its size")
    file.seek(0)
    return np.load(file, allow_pickle=False)


def _read_ids(arrays: Any, collection: TextlessCollection) -> Ids | None:
    """Return the ids in a file, None for a file of an older version."""
    if "ids" not in arrays:
        return None
    queries, documents = json.loads(arrays["ids"].tobytes())
    if len(queries) != len(collection.questions):
        raise ValueError("its ids contradict the rest")
    return Ids([str(name) for name in queries], {int(column): str(name) for column, name in documents})


def _checks(collection: TextlessCollection, ranks: Ranks) -> Iterator[tuple[str, bool | np.bool_]]:
    """Yield whether arrays fit the others. Arrays that do not would give wrong numbers or none.

    In a ranking, two documents do not share a rank, no rank exceeds the number of candidates unless the query cannot
    find the document, and the top has the documents of the highest ranks. A rank in a block may exceed the rank in the
    pool, because BM25 scores each language with statistics of that language.
    """
    qrels, top, languages = collection.qrels, ranks.top, len(collection.languages)
    queries, documents, pairs = len(collection.questions), len(collection.document_languages), len(qrels.documents)
    vectors = (qrels.offsets, qrels.documents, qrels.grades, ranks.pool, ranks.block, collection.questions)
    blocks = (collection.query_languages, collection.document_languages)
    integers = all(vector.ndim == 1 and vector.dtype.kind == "i" for vector in (*vectors, *blocks))
    if not integers or top.ndim != 2 or top.dtype.kind != "i":
        raise ValueError("its arrays are not of whole numbers")
    steps = np.diff(qrels.offsets)
    yield "offsets", len(steps) == queries and qrels.offsets[0] == 0 and steps.sum() == pairs and (steps > 0).all()
    yield "judgements", len(qrels.grades) == pairs and (qrels.grades > 0).all()
    yield "judgements", _within(qrels.documents, 0, documents)
    yield "languages", len(blocks[0]) == queries and all(_within(block, 0, languages) for block in blocks)
    yield "languages", all((np.diff(block) >= 0).all() for block in blocks)
    yield "questions", _within(collection.questions, 0, queries)
    yield "best documents", len(top) == queries and _within(top, 0, documents)
    yield "best documents", (np.diff(np.sort(top, axis=1)) > 0).all()
    rows = np.repeat(np.arange(queries), steps)
    language = collection.document_languages[qrels.documents]
    yield "ranks", len(ranks.pool) == len(ranks.block) == pairs
    if ranks.cut is None:
        yield "ranks", np.array_equal(ranks.pool >= BELOW_CUT, ranks.block >= BELOW_CUT)
        yield "ranks", bool((ranks.pool != BELOW_CUT).all())
        sizes = np.bincount(collection.document_languages, minlength=languages)
        most: tuple[NDArray[Any], NDArray[Any]] = np.full(pairs, documents), sizes[language]
    else:
        lengths = ranks.cut.lengths
        yield "lengths", lengths.shape == (queries, languages + 1) and lengths.dtype.kind == "i"
        yield "lengths", _within(lengths, 0, documents + 1) and lengths.max(initial=1) <= ranks.cut.depth
        most = lengths[rows, -1], lengths[rows, language]
    everywhere = np.zeros_like(language)
    for limits, segment, values in zip(most, (everywhere, language), (ranks.pool, ranks.block), strict=True):
        above_cut = values < BELOW_CUT
        yield "ranks", _within(values[above_cut], 1, limits[above_cut] + 1)
        yield "ranks", _distinct(rows[above_cut], segment[above_cut], values[above_cut])
    high = ranks.pool <= top.shape[1]
    yield "best documents", (top[rows[high], ranks.pool[high] - 1] == qrels.documents[high]).all()


def _distinct(*keys: NDArray[Any]) -> bool:
    """Return whether no two positions have equal values in all `keys`."""
    order = np.lexsort(keys)
    return not np.logical_and.reduce([np.diff(key[order]) == 0 for key in keys]).any()


def _within(values: NDArray[Any], low: int, end: int | NDArray[Any]) -> bool:
    return bool(((values >= low) & (values < end)).all())
