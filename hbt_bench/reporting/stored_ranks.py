"""The ranks of a model on a collection, in one file beside its results."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hbt_bench.corpus.atomic import write_bytes
from hbt_bench.corpus.collection import Judgements, Qrels
from hbt_bench.errors import OutputError
from hbt_bench.ranking.ranks import Ranks

_RANKS = ("pool", "block", "top")
_QRELS = ("offsets", "documents", "grades")
_JUDGEMENTS = ("query_languages", "questions", "document_languages")


@dataclass(frozen=True, eq=False)
class StoredRanks:
    """Ranks with the judgements they are read with; `data` is the fingerprint of the collection."""

    data: str
    judgements: Judgements
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
        """Read a file back; raises `OutputError` when it is missing or damaged."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                languages = tuple(str(code) for code in arrays["languages"])
                qrels = Qrels(*(arrays[name] for name in _QRELS))
                judgements = Judgements(languages, qrels, *(arrays[name] for name in _JUDGEMENTS))
                if "parallel" in arrays:
                    judgements = replace(judgements, parallel=bool(arrays["parallel"]))
                return cls(str(arrays["data"]), judgements, Ranks(*(arrays[name] for name in _RANKS)))
        except Exception as error:  # numpy and zipfile raise many kinds for a damaged file
            raise OutputError(f"cannot read the ranks in {path} ({error}): delete it and run again") from error
