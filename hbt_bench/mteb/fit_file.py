"""Files of held-out texts that a correction is fitted on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hbt_bench.data import records
from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.errors import DataError
from hbt_bench.languages.labels import match_labels


def read_fit_file(path: Path) -> Collection:
    """Return the rows of a file as queries and documents with the same texts.

    For example, ``read_fit_file(Path("held-out.jsonl"))``, with the fields ``text``, ``language`` and perhaps ``id`` in
    each row. Raises `DataError` for a row without a text or a language.
    """
    rows = list(_rows(path))
    codes = {label: code for code, label in match_labels({label for _, label, _ in rows}, rare=True).items()}
    unknown = {label for _, label, _ in rows} - codes.keys()
    if unknown:
        raise DataError(f"{path}: '{min(unknown)}' in the field language is not a language: write a code such as de")
    queries = [Query(f"q{number}", codes[label], text, key) for number, (key, label, text) in enumerate(rows)]
    documents = [Document(f"d{number}", codes[label], text) for number, (_, label, text) in enumerate(rows)]
    return Collection.from_records(path.stem, queries, documents, {q.id: {f"d{q.id[1:]}": 1} for q in queries})


def _rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield id, language and text of the rows; a row without an id is not a translation of another row."""
    for number, (cells, where) in enumerate(_cells(path)):
        text, language, key = (cells.get(field) for field in ("text", "language", "id"))
        if not isinstance(text, str) or not text.strip() or not isinstance(language, str):
            raise DataError(f"{where} needs a text in each of the fields text and language")
        yield f"row {number}" if records.is_missing(key) else f"id {key}", language, text


def _cells(path: Path) -> Iterator[tuple[Mapping[str, Any], str]]:
    if path.suffix == ".parquet":
        import pandas as pd

        try:
            table = pd.read_parquet(path).to_dict("records")
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is not a readable parquet file: {error}") from error
        yield from (({str(key): cell for key, cell in row.items()}, f"{path}:{n}") for n, row in enumerate(table, 1))
        return
    for row in records.read_rows(path):
        yield row.fields, row.where
