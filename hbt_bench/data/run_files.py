"""Read the rankings of any system: TREC runs, JSON of ranx, pytrec_eval and MTEB, parquet, dicts and data frames.

A run becomes a table for each subset, a data frame with the columns `query`, `document`, `score` (float64) and perhaps
`rank`. Its key is the name of the subset or of the mode, "" if the run does not state any.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hbt_bench.data.lines import suffix
from hbt_bench.data.records import without_repetition
from hbt_bench.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    Tables = dict[str, pd.DataFrame]

#: MTEB's key of the model, in the predictions of `mteb.evaluate(..., prediction_folder=...)`.
MTEB_META = "mteb_model_meta"
#: The columns of data frames and parquet files, as ir_measures, PyTerrier, ranx, BEIR and this program name them.
_NAMES = {
    "query": ("query", "query_id", "query-id", "qid", "q_id"),
    "document": ("document", "document_id", "doc_id", "docid", "docno", "corpus-id", "corpus_id", "pid"),
    "score": ("score",),
    "rank": ("rank",),
    "subset": ("subset",),
}
_TREC = ["query", "Q0", "document", "rank", "score", "tag"]


def read_run(path: Path) -> tuple[Tables, tuple[str, str] | None]:
    """Return the tables in a file, and the name and revision of the model if the file has them.

    The ending names the format: ``.json`` and ``.parquet``; another file is a TREC run. ``.gz`` may follow. Raises
    `UsageError` for a file that does not exist, and `DataError` for a damaged file.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}: name a run, as in run.trec, run.json.gz or run.parquet")
    import pandas as pd

    try:
        if suffix(path) == ".json":
            with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
                return tables_from_mapping(json.load(file, object_pairs_hook=without_repetition), str(path))
        if suffix(path) == ".parquet":
            return tables_from_frame(pd.read_parquet(path), str(path)), None
        return {"": _read_trec(path)}, None
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:  # of pandas and pyarrow, too
        raise DataError(f"cannot read the run {path} ({' '.join(str(error).split())[:200]})") from error


def tables_from_mapping(run: Any, source: str = "the run") -> tuple[Tables, tuple[str, str] | None]:
    """Return the tables of ``{query: {document: score}}``, of ``{subset: run}``, or of MTEB's predictions.

    Raises `DataError` for other content.
    """
    if not isinstance(run, Mapping) or not run:
        raise DataError(f"{source} is not a mapping of query ids to documents with their scores, or it is empty")
    if isinstance(meta := run.get(MTEB_META), Mapping):
        subsets = {name: splits for name, splits in run.items() if name != MTEB_META}
        tables = {name: _from_splits(splits, f"{source}, {name}") for name, splits in subsets.items()}
        return tables, (str(meta.get("model_name")), str(meta.get("revision")))
    first = next(iter(run.values()))
    nested = next(iter(first.values()), None) if isinstance(first, Mapping) else None
    if isinstance(nested, Mapping):
        return {str(name): _from_queries(queries, f"{source}, {name}") for name, queries in run.items()}, None
    return {"": _from_queries(run, source)}, None


def tables_from_frame(frame: pd.DataFrame, source: str = "the run") -> Tables:
    """Return the tables of a data frame; a column `subset` separates them. Raises `DataError` for missing columns."""
    columns = {}
    for name, names in _NAMES.items():
        present = [column for column in frame.columns if str(column).lower() in names]
        if len(present) > 1:
            raise DataError(f"{source} has several columns for the {name}: {', '.join(present)}. Keep one of them.")
        if present:
            columns[name] = present[0]
    missing = [name for name in ("query", "document") if name not in columns]
    missing += [] if {"score", "rank"} & columns.keys() else ["score"]
    if missing:
        needed = " and ".join(f"{name} ({', '.join(_NAMES[name])})" for name in missing)
        raise DataError(f"{source} lacks a column for {needed}: it has {', '.join(map(str, frame.columns))[:200]}")
    table = frame[list(columns.values())].set_axis(list(columns), axis=1)
    if "subset" not in columns:
        return {"": _checked(table, source)}
    if table["subset"].isna().any():
        raise DataError(f"{source} has rows without a subset: fill the column subset, or leave it out")
    groups = table.groupby("subset", sort=False)
    return {str(name): _checked(group.drop(columns="subset"), f"{source}, {name}") for name, group in groups}


def _read_trec(path: Path) -> pd.DataFrame:
    """Read lines of query, Q0, document, rank, score and tag, separated by blanks or tabs."""
    import pandas as pd

    options: dict[str, Any] = {"quoting": 3, "na_filter": False, "dtype": str, "skip_blank_lines": False}
    frame = pd.read_csv(path, sep=r"\s+", header=None, compression="infer", encoding="utf-8-sig", **options)
    short = frame.isna().any(axis=1) | (frame == "").any(axis=1)
    if frame.shape[1] != len(_TREC) or short.any():
        line = int(np.argmax(short)) + 1 if short.any() else 1
        raise DataError(
            f"{path}:{line}: a line of a TREC run has six columns, query Q0 document rank score tag, separated by "
            "blanks. For another format, end the name in .json or .parquet."
        )
    frame.columns = pd.Index(_TREC)
    return _checked(frame[["query", "document", "score", "rank"]], str(path), lines=True)


def _from_splits(splits: Any, source: str) -> pd.DataFrame:
    if not isinstance(splits, Mapping) or len(splits) != 1 or not isinstance(next(iter(splits.values())), Mapping):
        raise DataError(f"{source} has no split or several: MTEB's predictions for a task of hbt-bench have one")
    return _from_queries(next(iter(splits.values())), source)


def _from_queries(run: Any, source: str) -> pd.DataFrame:
    import pandas as pd

    if not isinstance(run, Mapping):
        raise DataError(f"{source} is not a mapping of query ids to documents with their scores")
    wrong = next((query for query, scores in run.items() if not isinstance(scores, Mapping)), None)
    if wrong is not None:
        raise DataError(f"{source}: the documents of the query '{wrong}' are not a mapping of ids to scores")
    counts = [len(scores) for scores in run.values()]
    frame = pd.DataFrame(
        {
            "query": np.repeat(np.array([str(query) for query in run], object), counts),
            "document": [str(document) for scores in run.values() for document in scores],
            "score": [score for scores in run.values() for score in scores.values()],
        }
    )
    return _checked(frame, source)


def _checked(frame: pd.DataFrame, source: str, lines: bool = False) -> pd.DataFrame:
    """Return a table with texts as ids and numbers as scores; raises `DataError` for a score that is no number."""
    import pandas as pd

    table = frame.reset_index(drop=True)
    for name in ("query", "document"):
        if not isinstance(table[name].dtype, pd.StringDtype):
            table[name] = table[name].astype(str)
    for name in {"score", "rank"} & set(table.columns):
        numbers = pd.to_numeric(table[name], errors="coerce").astype(np.float64)
        bad = np.flatnonzero(~np.isfinite(numbers.to_numpy()))
        if len(bad):
            row = table.iloc[bad[0]]
            place = f"{source}:{bad[0] + 1}" if lines else source
            raise DataError(
                f"{place}: the {name} of document '{row.document}' for query '{row.query}' is {row[name]!r}, not a "
                "finite number. A document that was not retrieved has no row."
            )
        table[name] = numbers
    return table


def table_hash(tables: Mapping[str, pd.DataFrame], settings: Iterable[object]) -> str:
    """Return 12 hexadecimal digits that identify rankings, whatever the order of rows and the format of the files."""
    import hashlib

    import pandas as pd

    digest = hashlib.sha256(repr(tuple(settings)).encode())
    for name in sorted(tables):
        table = tables[name]
        columns = [column for column in ("query", "document", "score", "rank") if column in table]
        rows = pd.util.hash_pandas_object(table[columns], index=False).to_numpy()
        # sums do not depend on the order of rows
        sums = int(rows.sum(dtype=np.uint64)), int((rows * rows).sum(dtype=np.uint64)), len(rows)
        digest.update(repr((name, sums)).encode())
    return digest.hexdigest()[:12]
