"""Runs in the folder of results: the best documents of each query, which ``run --keep-run`` keeps for `export`."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hbt_bench.errors import OutputError
from hbt_bench.files import write_bytes
from hbt_bench.ranking.top_documents import top_documents

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def kept_run_path(folder: Path, mteb_name: str) -> Path:
    """Return the file of a kept run. It has the columns subset, query, document, rank and score."""
    return folder / f"{mteb_name}.run.parquet"


def keep_run(folder: Path, task: Any, depth: int) -> None:
    """Write the best `depth` documents of each query of a task of ours; its shared pass has the scorers.

    Logs a warning if MTEB ranked, or if the rankings are a run already.
    """
    import pandas as pd

    shared = task.shared
    if shared.scorers is None:
        log.warning(f"no run of {task.name} was kept: only models that hbt-bench ranks with have scores to keep")
        return
    collection = shared.collection
    queries = np.array([query.id for query in collection.queries], object)
    documents = np.array([document.id for document in collection.documents], object)
    parts = []
    pool, blocks = shared.scorers
    for subset, rows, columns, scores in top_documents(collection, pool, blocks, task.mode, depth):
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows) + 1
        columns_by_name = {"query": queries[rows], "document": documents[columns], "rank": rank, "score": scores}
        parts.append(pd.DataFrame({"subset": subset.name, **columns_by_name}))
    buffer = io.BytesIO()
    pd.concat(parts, ignore_index=True).to_parquet(buffer, index=False)
    write_bytes(kept_run_path(folder, task.metadata.name), buffer.getvalue())


def read_kept_run(path: Path) -> pd.DataFrame | None:
    """Return a kept run, None if there is no file. Raises `OutputError` if it is damaged."""
    import pandas as pd

    if not path.is_file():
        return None
    try:
        return pd.read_parquet(path, columns=["subset", "query", "document", "rank", "score"])
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot read the run {path} ({error}). Run again with --keep-run.") from error
