"""Infer the `source` of a task file from a data file or a folder in BEIR's layout."""

from __future__ import annotations

from pathlib import Path

from hbt_bench.data.dialect import INFERRED, TableFormat
from hbt_bench.tasks.infer_beir import infer_beir
from hbt_bench.tasks.infer_rows import infer_rows
from hbt_bench.tasks.inferred import InferredSource


def infer_source(
    data: Path,
    relative: str,
    columns: str,
    language: str | None,
    table: TableFormat = INFERRED,
    split: str | None = None,
) -> InferredSource:
    """Infer the source from a data file or a folder in BEIR's layout.

    `relative` is the path of the data in the task file, `columns` the columns that the user names, `table` the
    conventions of a table, and `split` the judgements of a folder to read. Raises `UsageError` with the option to set
    if a column or the language cannot be inferred, and `DataError` if the data are damaged. For example,
    ``infer_source(Path("data.jsonl"), "data.jsonl", "query=title", "en")``.
    """
    if data.is_dir():
        return infer_beir(data, relative, language, split)
    return infer_rows(data, relative, columns, language, table)
