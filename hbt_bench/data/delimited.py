"""Tables in text files: CSV, TSV, and their relatives with other delimiters.

Two conventions exist. In the files of spreadsheets and of pandas, a cell in quotation marks may hold delimiters and
line ends, and a doubled mark stands for a mark. In logs and in MS MARCO's files, a line is a row and a mark is a
letter. The ending of a file does not decide between them, so `TableFormat` states the convention, and `detect` infers
it if the file leaves no doubt.
"""

from __future__ import annotations

import csv
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator

from hbt_bench.data.lines import MAX_LINE, read_lines, suffix
from hbt_bench.errors import DataError
from hbt_bench.yaml_file import StrictModel

log = logging.getLogger(__name__)

Quoting = Literal["none", "csv"]
#: The endings of tables, each with its usual delimiter.
DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": "\t"}
#: Delimiters that a file may have in place of the usual one.
_OTHERS = (",", ";", "\t", "|")
#: The lines in which another delimiter must give rows of equal length.
_SAMPLE = 100
#: The mark of databases for a missing value.
_NULL = r"\N"


def _delimiter(value: object) -> object:
    text = "\t" if value in ("tab", r"\t") else value
    if not isinstance(text, str) or len(text) != 1 or text in '"\r\n':
        raise ValueError("a delimiter is a single character, or the word tab")
    return text


def _header(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("two columns have the same name")
    return names


class TableFormat(StrictModel):
    """The keys that describe a table in a text file. A missing key is inferred.

    `quoting` is "csv" if a cell in quotation marks may hold delimiters and line ends, and "none" if a mark is a letter
    and each line a row. `delimiter` is the character between cells, or "tab". `header` names the columns of a file
    without a header line. For example, ``TableFormat(quoting="none", header=("id", "query"))``.
    """

    quoting: Quoting | None = None
    delimiter: Annotated[str, BeforeValidator(_delimiter)] | None = None
    header: Annotated[tuple[str, ...], AfterValidator(_header)] = ()


#: All keys are inferred.
INFERRED = TableFormat()


@dataclass(frozen=True)
class Dialect:
    """How the cells of a file are separated and quoted.

    `assumptions` are sentences on choices that the file leaves open, each with the key that decides otherwise.
    """

    delimiter: str
    quoting: Quoting
    assumptions: tuple[str, ...] = ()


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


def detect(path: Path, table: TableFormat = INFERRED) -> Dialect:
    """Return delimiter and quoting of a file: those of `table`, or those that the file leaves no doubt of.

    Raises `DataError` with the line if rows have different numbers of cells both with and without quoting.
    """
    assumptions = []
    usual = DELIMITERS[suffix(path)]
    delimiter = table.delimiter or _infer_delimiter(path, usual, len(table.header))
    if delimiter != usual and table.delimiter is None:
        assumptions.append(f"the cells are separated by {_name(delimiter)}; set `delimiter` if they are not")
    if table.quoting is not None:
        return Dialect(delimiter, table.quoting, tuple(assumptions))
    if delimiter != "\t":
        return Dialect(delimiter, "csv", tuple(assumptions))
    quoting, in_doubt = _infer_quoting(path, delimiter, len(table.header))
    if in_doubt:
        assumptions.append(
            "a quotation mark is a letter, and each line a row; set `quoting: csv` if cells are quoted"
            if quoting == "none"
            else "cells in quotation marks are quoted as in CSV; set `quoting: none` if a mark is a letter"
        )
    return Dialect(delimiter, quoting, tuple(assumptions))


@cache
def _log_once(sentence: str) -> None:
    log.info(sentence)


def _name(delimiter: str) -> str:
    return {"\t": "tabs"}.get(delimiter, f"'{delimiter}'")


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
        advice = f"write each row on a line, and no {_name(dialect.delimiter)} in a text"
    return (
        f"{path}:{number}: {cells} cells, but the header has {columns}: {advice}, or set `delimiter` or `quoting` if "
        f"the file has other conventions than {_name(dialect.delimiter)} and `quoting: {dialect.quoting}`"
    )


# Rows


def _lines_as_rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in read_lines(path):
        if line:
            yield number, line.split(delimiter)


def _quoted_rows(path: Path, dialect: Dialect, table: TableFormat) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(MAX_LINE)
    lines: list[str] = []  # of the current row

    def feed() -> Iterator[str]:
        for _, line in read_lines(path):
            lines.append(line)
            yield f"{line}\n"

    reader = csv.reader(feed(), delimiter=dialect.delimiter, strict=True)
    first = 1
    try:
        for cells in reader:
            if cells:
                if table.quoting is None and _is_suspicious(lines, dialect.delimiter, len(cells)):
                    _log_once(
                        f"{path}: the lines {first} to {reader.line_num} are one row, because a quotation mark opens a "
                        "cell; set `quoting: none` if a mark is a letter"
                    )
                yield first, cells
            first = reader.line_num + 1
            lines.clear()
    except csv.Error as error:
        opening = _opening_line(lines, dialect.delimiter)
        if opening is None:
            raise DataError(f"{path}:{reader.line_num}: not CSV: {error}") from error
        raise DataError(
            f"{path}:{first + opening}: not CSV: a quotation mark opens a cell that does not end ({error}): double the "
            "marks in a text, or set `quoting: none` if a mark is a letter"
        ) from error


def _opening_line(lines: Sequence[str], delimiter: str) -> int | None:
    """Return the index of the line in which the last quoted cell begins, None if there is no quoted cell."""
    opening = re.compile(rf'(?:^|{re.escape(delimiter)})"')
    closing = re.compile(r'[^"]*+(?:""[^"]*+)*+"')
    inside, last = False, None
    for index, line in enumerate(lines):
        position = 0
        while match := (closing.match if inside else opening.search)(line, position):
            position, inside = match.end(), not inside
            if inside:
                last = index
            elif position < len(line) and line[position] != delimiter:
                return last  # text after the end of the cell
    return last


def _is_suspicious(lines: Sequence[str], delimiter: str, columns: int) -> bool:
    """Return whether most lines of a quoted row have as many cells as a row, so that they may be rows."""
    full = sum(line.count(delimiter) + 1 == columns for line in lines)
    return len(lines) > 1 and columns > 1 and 2 * full > len(lines)


# Inference


def _infer_delimiter(path: Path, usual: str, columns: int) -> str:
    """Return the usual delimiter if the first line has it, else the only one that gives rows of equal length."""
    lines = [line for _, line in islice(read_lines(path), _SAMPLE) if line]
    if not lines or usual in lines[0] or columns == 1:
        return usual
    others = [other for other in _OTHERS if other != usual and _is_even(lines, other, columns)]
    return others[0] if len(others) == 1 else usual


def _is_even(lines: Sequence[str], delimiter: str, columns: int) -> bool:
    """Return whether the lines are rows of equal length, of several cells or of the given number of `columns`."""
    # the last row may end after the lines, and a cell may hold a line end
    rows = [len(cells) for cells in csv.reader((f"{line}\n" for line in lines), delimiter=delimiter)]
    widths = set(rows[:-1] if len(lines) == _SAMPLE else rows)
    return len(widths) == 1 and widths.pop() in ([columns] if columns else range(2, MAX_LINE))


def _infer_quoting(path: Path, delimiter: str, columns: int) -> tuple[Quoting, bool]:
    """Return the quoting of a file with tabs, and whether it matters.

    It matters only if a cell begins with a mark. If all lines have the same number of cells, a mark is a letter,
    unless the cells are quoted as a program does it, without exception. If they have not, cells are quoted if this
    explains each line, else `DataError` is raised.
    """
    has_marks, uneven = False, None
    for number, line in read_lines(path):
        cells = line.count(delimiter) + 1
        columns = columns or cells
        has_marks = has_marks or line.startswith('"') or f'{delimiter}"' in line
        if uneven is None and line and cells != columns:
            uneven = number, cells
    if not has_marks:
        return "none", False
    if _is_quoted(path, delimiter, columns, spanning=uneven is not None):
        return "csv", True
    if uneven is not None:
        raise DataError(
            f"{path}:{uneven[0]}: {uneven[1]} cells, but the header has {columns}, and quotation marks do not explain "
            "it: write each row on a line, or state the convention, `quoting: none` if a mark is a letter and "
            "`quoting: csv` if cells are quoted"
        )
    return "none", True


def _is_quoted(path: Path, delimiter: str, columns: int, *, spanning: bool) -> bool:
    """Return whether programs that quote cells wrote the file: no mark is in a cell without quotation marks.

    If rows are not `spanning` lines or cells with delimiters, the marks must be needed as well: all cells but numbers
    are quoted, those of the header too, or only the cells that need it, at least one for a mark.
    """
    cell = rf'(?:"[^"]*+(?:""[^"]*+)*+"|[^"{delimiter}]*+)'
    row = re.compile(rf"{cell}(?:{delimiter}{cell}){{{columns - 1}}}")
    evidence = _Evidence(delimiter)
    lines: list[str] = []
    marks = 0
    for _, line in read_lines(path):
        if not line and not lines:
            continue
        lines.append(line)
        marks += line.count('"')
        if marks % 2:  # a cell goes on in the next line
            continue
        text = "\n".join(lines)
        if not row.fullmatch(text) or (_is_suspicious(lines, delimiter, columns) if spanning else len(lines) > 1):
            return False
        evidence.add(text)
        lines.clear()
    return not lines and (spanning or evidence.is_conclusive)


@dataclass
class _Evidence:
    """The signs that a program quoted the cells of a file whose rows are lines."""

    delimiter: str
    all_quoted: bool = True
    all_needed: bool = True
    has_doubled: bool = False

    def add(self, row: str) -> None:
        for cell in row.split(self.delimiter):
            if cell.startswith('"'):
                content = cell[1:-1]
                self.has_doubled = self.has_doubled or '""' in content
                # spreadsheets also quote a cell with a comma
                self.all_needed = self.all_needed and ('""' in content or "," in content)
            elif cell and not re.fullmatch(r"[-+.\deE]+|NA|NaN", cell):
                self.all_quoted = False

    @property
    def is_conclusive(self) -> bool:
        """Whether all cells but numbers are quoted, or exactly those that need it."""
        return self.all_quoted or (self.all_needed and self.has_doubled)
