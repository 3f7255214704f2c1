"""The rows of tables in text files; see `hbt_bench.data.dialect` for their conventions."""

from __future__ import annotations

import csv
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from hbt_bench.data.dialect import (
    INFERRED,
    Dialect,
    TableFormat,
    detect,
    full_lines,
    separator_name,
    stated_delimiter,
    table_lines,
)
from hbt_bench.data.lines import MAX_LINE
from hbt_bench.errors import DataError

log = logging.getLogger(__name__)

#: The mark of databases for a missing value.
_NULL = r"\N"


def read_table(path: Path, table: TableFormat = INFERRED) -> Iterator[tuple[int, dict[str, str | None]]]:
    r"""Yield the number of the first line of each row, and its cells by column; None for the ``\N`` of databases.

    Empty lines are skipped. Raises `DataError` with the line for a row with another number of cells than the header, a
    repeated column and a quoted cell without an end, and if the convention of quoting is in doubt. For example,
    ``[cells["query"] for _, cells in read_table(Path("queries.tsv"))]``.
    """
    dialect = detect(path, table)
    for sentence in dialect.assumptions:
        _log_once(f"{path}: {sentence}")
    rows = _lines_as_rows(path, dialect.delimiter) if dialect.quoting == "none" else _quoted_rows(path, dialect, table)
    names: Sequence[str] = table.header
    for number, cells in rows:
        if not names:
            names = _checked_names(path, number, cells)
            continue
        if len(cells) != len(names):
            raise DataError(_uneven(path, number, len(cells), len(names), dialect))
        if _NULL in cells:
            _log_once(f"{path}: cells with {_NULL} are missing values")
        yield number, {name: None if cell == _NULL else cell for name, cell in zip(names, cells, strict=True)}
    if not names:
        raise DataError(f"{path} is empty: its first line must name the columns")


@cache
def _log_once(sentence: str) -> None:
    log.info(sentence)


def _checked_names(path: Path, number: int, names: Sequence[str]) -> Sequence[str]:
    """Return the names of columns; raises `DataError` if a name is repeated, except for columns without a name."""
    repeated = [name for name, times in Counter(names).items() if times > 1 and name]
    if repeated:
        raise DataError(
            f"{path}:{number}: the column '{repeated[0]}' is repeated; if this line is a row, name the columns with "
            "`header`"
        )
    return names


def _uneven(path: Path, number: int, cells: int, columns: int, dialect: Dialect) -> str:
    advice = "quote the text"
    if dialect.quoting == "none":
        advice = f"write each row on a line, and no {separator_name(dialect.delimiter)} in a text"
    return (
        f"{path}:{number}: {cells} cells, but the header has {columns}: {advice}, or set `delimiter` or `quoting` if "
        f"the file has other conventions than {separator_name(dialect.delimiter)} and `quoting: {dialect.quoting}`"
    )


# Rows


def _lines_as_rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in table_lines(path):
        if line:
            yield number, line.split(delimiter)


def _quoted_rows(path: Path, dialect: Dialect, table: TableFormat) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(MAX_LINE)
    lines: list[str] = []  # of the current row

    def feed() -> Iterator[str]:
        for _, line in table_lines(path):
            lines.append(line)
            yield f"{line}\n"

    reader = csv.reader(feed(), delimiter=dialect.delimiter, strict=True)
    offset = 1 if stated_delimiter(path) else 0  # the reader counts the lines that it is given
    first, several, joined = 1 + offset, 0, []
    try:
        for cells in reader:
            if cells:
                yield first, cells
            if len(lines) > 1:
                several += 1
                if full_lines(lines, dialect.delimiter, len(cells)) == len(lines):
                    joined.append(f"{first} to {offset + reader.line_num}")
            first = offset + reader.line_num + 1
            lines.clear()
    except csv.Error as error:
        opening = _opening_line(lines, dialect.delimiter)
        if opening is None:
            raise DataError(f"{path}:{offset + reader.line_num}: not CSV: {error}") from error
        raise DataError(
            f"{path}:{first + opening}: not CSV: a quotation mark opens a cell that does not end ({error}): double the "
            "marks in a text, or set `quoting: none` if a mark is an ordinary letter"
        ) from error
    if table.quoting is None and 2 * len(joined) > several:
        raise DataError(
            f"{path}: the lines {joined[0]} would be one row, because a quotation mark opens a cell, but each has the "
            "cells of a row: set `quoting: none` if a mark is an ordinary letter, `quoting: csv` if cells are quoted"
        )


def _opening_line(lines: Sequence[str], delimiter: str) -> int | None:
    """Return the index of the line in which the last quoted cell begins, None if there is no quoted cell."""
    opening = re.compile(rf'(?:^|{re.escape(delimiter)})"')
    closing = re.compile(r'[^"]*+(?:""[^"]*+)*+"')
    is_open, last = False, None
    for index, line in enumerate(lines):
        position = 0
        while match := (closing.match if is_open else opening.search)(line, position):
            position, is_open = match.end(), not is_open
            if is_open:
                last = index
            elif position < len(line) and line[position] != delimiter:
                return last  # text after the end of the cell
    return last
