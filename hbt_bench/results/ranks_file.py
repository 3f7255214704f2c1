"""The ranks of a model on a collection, in a file in the folder of its results."""

from __future__ import annotations

import io
import sys
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Qrels, TextlessCollection
from hbt_bench.data.records import FREE_BYTES, MAX_RATIO
from hbt_bench.errors import OutputError
from hbt_bench.files import write_bytes
from hbt_bench.ranking.ranks import Ranks
from hbt_bench.results.summary import open_regular

_RANKS = ("pool", "block", "top")
_QRELS = ("offsets", "documents", "grades")
_COLLECTION = ("query_languages", "questions", "document_languages")


@dataclass(frozen=True, eq=False)
class StoredRanks:
    """Ranks with the qrels of their collection. `data` is the fingerprint of the collection."""

    data: str
    judgements: TextlessCollection
    ranks: Ranks

    def write(self, path: Path) -> None:
        """Write all arrays into one file, atomically. Equal ranks give equal bytes."""
        collection, buffer = self.judgements, io.BytesIO()
        flags: dict[str, Any] = {} if collection.parallel else {"parallel": np.array(False)}
        np.savez_compressed(
            buffer,
            data=np.array(self.data),
            languages=np.array(collection.languages),
            **{name: getattr(self.ranks, name) for name in _RANKS},
            **flags,
            **{name: getattr(collection.qrels, name) for name in _QRELS},
            **{name: getattr(collection, name) for name in _COLLECTION},
        )
        write_bytes(path, buffer.getvalue())

    @classmethod
    def read(cls, path: Path) -> StoredRanks:
        """Read a file. Raises `OutputError` if it is missing or damaged, or its arrays contradict each other."""
        try:
            with open_regular(path, sys.maxsize) as file, _load(file) as arrays:
                languages = tuple(str(code) for code in arrays["languages"])
                qrels = Qrels(*(arrays[name] for name in _QRELS))
                collection = TextlessCollection(languages, qrels, *(arrays[name] for name in _COLLECTION))
                if "parallel" in arrays:
                    collection = replace(collection, parallel=bool(arrays["parallel"]))
                ranks = Ranks(*(arrays[name] for name in _RANKS))
                _check(collection, ranks)
                return cls(str(arrays["data"]), collection, ranks)
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


def _check(collection: TextlessCollection, ranks: Ranks) -> None:
    """Raise `ValueError` for arrays that contradict each other, which would give wrong numbers or none."""
    qrels, languages = collection.qrels, len(collection.languages)
    queries, documents, pairs = len(collection.questions), len(collection.document_languages), len(qrels.documents)
    top = ranks.top
    vectors: tuple[NDArray[Any], ...] = (qrels.offsets, qrels.documents, qrels.grades, ranks.pool, ranks.block)
    vectors += (collection.query_languages, collection.document_languages, collection.questions)
    integers = all(vector.ndim == 1 and vector.dtype.kind == "i" for vector in vectors)
    if not integers or top.ndim != 2 or top.dtype.kind != "i":
        raise ValueError("its arrays are not of whole numbers")
    offsets, steps = qrels.offsets, np.diff(qrels.offsets)
    blocks = [collection.query_languages, collection.document_languages]
    checks = {
        "offsets": len(offsets) == queries + 1 and offsets[0] == 0 and offsets[-1] == pairs and (steps > 0).all(),
        "judgements": len(qrels.grades) == pairs
        and _within(qrels.grades, 1)
        and _within(qrels.documents, 0, documents),
        "languages": len(blocks[0]) == queries
        and all(_within(block, 0, languages) and bool((np.diff(block) >= 0).all()) for block in blocks),
        "questions": _within(collection.questions, 0, queries),
        "ranks": len(ranks.pool) == len(ranks.block) == pairs and _within(ranks.pool, 1, documents + 1),
        "best documents": len(top) == queries and _within(top, 0, documents),
    }
    wrong = [name for name, passed in checks.items() if not passed] or _impossible(collection, ranks)
    if wrong:
        raise ValueError(f"its {', '.join(wrong)} contradict the rest")


def _impossible(collection: TextlessCollection, ranks: Ranks) -> list[str]:
    """Return the names of arrays that no ranking gives.

    Two documents share a rank, a rank exceeds the number of candidates, or another document is at the top. A rank in a
    block may exceed the rank in the pool, because BM25 scores each language with statistics of that language.
    """
    documents, depth = collection.qrels.documents, ranks.top.shape[1]
    rows = np.repeat(np.arange(len(ranks.top)), np.diff(collection.qrels.offsets))
    languages = collection.document_languages[documents]
    sizes = np.bincount(collection.document_languages)[languages]
    high = ranks.pool <= depth
    checks = {
        "ranks": (ranks.block >= 1).all()
        and (ranks.block <= sizes).all()
        and _distinct(rows, ranks.pool)
        and _distinct(rows, languages, ranks.block),
        "best documents": bool((np.diff(np.sort(ranks.top, axis=1)) > 0).all())
        and (ranks.top[rows[high], ranks.pool[high] - 1] == documents[high]).all(),
    }
    return [name for name, passed in checks.items() if not passed]


def _distinct(*keys: NDArray[Any]) -> bool:
    """Return whether no two positions have equal values in all `keys`."""
    order = np.lexsort(keys)
    same = [np.diff(key[order]) == 0 for key in keys]
    return not np.logical_and.reduce(same).any()


def _within(values: NDArray[Any], low: int, end: int | None = None) -> bool:
    return bool((values >= low).all()) and (end is None or bool((values < end).all()))
