"""The ranks of a model on a collection, in one file beside its results."""

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
from hbt_bench.data.rows import FREE_BYTES, MAX_RATIO
from hbt_bench.errors import OutputError
from hbt_bench.files import write_bytes
from hbt_bench.ranking.ranks import Ranks
from hbt_bench.results.schema import opened

_RANKS = ("pool", "block", "top")
_QRELS = ("offsets", "documents", "grades")
_JUDGEMENTS = ("query_languages", "questions", "document_languages")


@dataclass(frozen=True, eq=False)
class StoredRanks:
    """Ranks with the judgements they are read with; `data` is the fingerprint of the collection."""

    data: str
    judgements: TextlessCollection
    ranks: Ranks

    def write(self, path: Path) -> None:
        """Write everything into one file, atomically; equal ranks give equal bytes."""
        judgements, buffer = self.judgements, io.BytesIO()
        flags: dict[str, Any] = {} if judgements.parallel else {"parallel": np.array(False)}
        np.savez_compressed(
            buffer,
            data=np.array(self.data),
            languages=np.array(judgements.languages),
            **{name: getattr(self.ranks, name) for name in _RANKS},
            **flags,
            **{name: getattr(judgements.qrels, name) for name in _QRELS},
            **{name: getattr(judgements, name) for name in _JUDGEMENTS},
        )
        write_bytes(path, buffer.getvalue())

    @classmethod
    def read(cls, path: Path) -> StoredRanks:
        """Read a file back; raises `OutputError` when it is missing, damaged, or its parts do not fit together."""
        try:
            with opened(path, sys.maxsize) as file, _archive(file) as arrays:
                languages = tuple(str(code) for code in arrays["languages"])
                qrels = Qrels(*(arrays[name] for name in _QRELS))
                judgements = TextlessCollection(languages, qrels, *(arrays[name] for name in _JUDGEMENTS))
                if "parallel" in arrays:
                    judgements = replace(judgements, parallel=bool(arrays["parallel"]))
                ranks = Ranks(*(arrays[name] for name in _RANKS))
                _check(judgements, ranks)
                return cls(str(arrays["data"]), judgements, ranks)
        except FileNotFoundError as error:
            raise OutputError(f"the ranks {path} are not there: copy them beside the results, or run again") from error
        except Exception as error:  # numpy and zipfile raise many kinds for a damaged file
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise OutputError(f"cannot read the ranks in {path} ({reason}): delete it and run again") from error


def _archive(file: BinaryIO) -> Any:
    """The arrays of an archive; raises `ValueError` for one that would fill the memory."""
    with zipfile.ZipFile(file) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > max(FREE_BYTES, MAX_RATIO * file.seek(0, io.SEEK_END)):
        raise ValueError(f"it would grow to {size >> 20} MiB, more than {MAX_RATIO} times its size")
    file.seek(0)
    return np.load(file, allow_pickle=False)


def _check(judgements: TextlessCollection, ranks: Ranks) -> None:
    """Raise `ValueError` for arrays that do not fit together, from which numbers would be wrong or not be had."""
    qrels, languages = judgements.qrels, len(judgements.languages)
    queries, documents, pairs = len(judgements.questions), len(judgements.document_languages), len(qrels.documents)
    top = ranks.top
    vectors: tuple[NDArray[Any], ...] = (qrels.offsets, qrels.documents, qrels.grades, ranks.pool, ranks.block)
    vectors += (judgements.query_languages, judgements.document_languages, judgements.questions)
    if not all(one.ndim == 1 and one.dtype.kind == "i" for one in vectors) or top.ndim != 2 or top.dtype.kind != "i":
        raise ValueError("its arrays are not of whole numbers")
    offsets, steps = qrels.offsets, np.diff(qrels.offsets)
    blocks = [judgements.query_languages, judgements.document_languages]
    fits = {
        "offsets": len(offsets) == queries + 1 and offsets[0] == 0 and offsets[-1] == pairs and (steps > 0).all(),
        "judgements": len(qrels.grades) == pairs
        and _within(qrels.grades, 1)
        and _within(qrels.documents, 0, documents),
        "languages": len(blocks[0]) == queries
        and all(_within(one, 0, languages) and bool((np.diff(one) >= 0).all()) for one in blocks),
        "questions": _within(judgements.questions, 0, queries),
        "ranks": len(ranks.pool) == len(ranks.block) == pairs and _within(ranks.pool, 1, documents + 1),
        "best documents": len(top) == queries and _within(top, 0, documents),
    }
    wrong = [name for name, fit in fits.items() if not fit] or _inconsistent(judgements, ranks)
    if wrong:
        raise ValueError(f"its {', '.join(wrong)} do not fit the rest")


def _inconsistent(judgements: TextlessCollection, ranks: Ranks) -> list[str]:
    """What no ranking gives: two documents at one rank, a rank beyond the candidates, another document at the top.

    A rank in a block may be beyond that in the pool, as BM25 scores a language by its own statistics.
    """
    documents, depth = judgements.qrels.documents, ranks.top.shape[1]
    rows = np.repeat(np.arange(len(ranks.top)), np.diff(judgements.qrels.offsets))
    languages = judgements.document_languages[documents]
    sizes = np.bincount(judgements.document_languages)[languages]
    high = ranks.pool <= depth
    consistent = {
        "ranks": (ranks.block >= 1).all()
        and (ranks.block <= sizes).all()
        and _distinct(rows, ranks.pool)
        and _distinct(rows, languages, ranks.block),
        "best documents": bool((np.diff(np.sort(ranks.top, axis=1)) > 0).all())
        and (ranks.top[rows[high], ranks.pool[high] - 1] == documents[high]).all(),
    }
    return [name for name, fit in consistent.items() if not fit]


def _distinct(*keys: NDArray[Any]) -> bool:
    """Whether no two places have the same of all `keys`."""
    order = np.lexsort(keys)
    same = [np.diff(key[order]) == 0 for key in keys]
    return not np.logical_and.reduce(same).any()


def _within(values: NDArray[Any], low: int, end: int | None = None) -> bool:
    return bool((values >= low).all()) and (end is None or bool((values < end).all()))
