"""The conventions of tables in text files: CSV, TSV, and their relatives with other delimiters.

Two conventions exist for quotation marks. In the files of spreadsheets and of pandas, a cell in quotation marks may
hold delimiters and line ends, and a doubled mark stands for a mark. In logs and in MS MARCO's files, a line is a row
and a mark is a letter. The ending of a file does not decide between them, so `TableFormat` states the convention, and
`detect` infers it if the file leaves no doubt.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator

from hbt_bench.data.lines import MAX_LINE, read_lines, suffix
from hbt_bench.errors import DataError
from hbt_bench.yaml_file import StrictModel

Quoting = Literal["none", "csv"]
#: The endings of tables, each with its usual delimiter.
DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": "\t"}
#: Delimiters that a file may have in place of the usual one.
_OTHERS = (",", ";", "\t", "|")
#: Values other than texts, which programs that quote all texts leave without marks.
_UNQUOTED = re.compile(r"[-+.,:/%\deE ]+|NA|NaN|NULL|null|TRUE|True|true|FALSE|False|false")
#: The lines in which another delimiter must give rows of equal length.
_SAMPLE = 100


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

    `in_doubt` lists the keys that the file leaves open, and for which an assumption was made.
    """

    delimiter: str
    quoting: Quoting
    in_doubt: tuple[str, ...] = ()

    @property
    def assumptions(self) -> list[str]:
        """A sentence on each assumption, with the key that decides otherwise."""
        sentences = []
        if "delimiter" in self.in_doubt:
            sentences.append(
                f"the cells are separated by {separator_name(self.delimiter)}; set `delimiter` if they are not"
            )
        if "quoting" in self.in_doubt:
            sentences.append(
                "a quotation mark is a letter, and each line a row; set `quoting: csv` if cells are quoted"
                if self.quoting == "none"
                else "cells in quotation marks are quoted as in CSV; set `quoting: none` if a mark is an "
                "ordinary letter"
            )
        return sentences


def detect(path: Path, table: TableFormat = INFERRED) -> Dialect:
    """Return delimiter and quoting of a file: those of `table`, or those that the file leaves no doubt of.

    Raises `DataError` with the line if rows have different numbers of cells both with and without quoting.
    """
    usual = DELIMITERS[suffix(path)]
    delimiter = table.delimiter or _infer_delimiter(path, usual, len(table.header))
    is_stated = table.delimiter is not None or stated_delimiter(path) is not None
    in_doubt = ["delimiter"] if delimiter != usual and not is_stated else []
    quoting = table.quoting or "csv"
    if table.quoting is None and delimiter == "\t":
        quoting, matters = _infer_quoting(path, delimiter, len(table.header))
        in_doubt += ["quoting"] if matters else []
    return Dialect(delimiter, quoting, tuple(in_doubt))


def stated_keys(path: Path, table: TableFormat = INFERRED) -> dict[str, Any]:
    """Return the keys of `TableFormat` that a task file should state for a file: those given, and those assumed."""
    dialect = detect(path, table)
    keys: dict[str, Any] = {}
    if dialect.delimiter != DELIMITERS[suffix(path)]:
        keys["delimiter"] = "tab" if dialect.delimiter == "\t" else dialect.delimiter
    if table.quoting or "quoting" in dialect.in_doubt:
        keys["quoting"] = dialect.quoting
    return {**keys, "header": list(table.header)} if table.header else keys


def separator_name(delimiter: str) -> str:
    """Return the name of a delimiter in messages."""
    return {"\t": "tabs"}.get(delimiter, f"'{delimiter}'")


def full_lines(lines: Sequence[str], delimiter: str, columns: int) -> int:
    """Return the number of lines of a quoted row that have all cells of a row, so that they may be rows themselves."""
    return sum(line.count(delimiter) + 1 == columns for line in lines) if columns > 1 else 0


# Inference


def _infer_delimiter(path: Path, usual: str, columns: int) -> str:
    """Return the usual delimiter if it gives rows of equal length, else the only one that does.

    Raises `DataError` if both do, because the names or texts of a file have commas or semicolons too.
    """
    stated = stated_delimiter(path)
    lines = [line for _, line in islice(table_lines(path), _SAMPLE) if line]
    if stated or not lines or columns == 1:
        return stated or usual
    others = [other for other in _OTHERS if other != usual and _is_even(lines, other, columns)]
    if len(others) != 1 or (usual in lines[0] and _has_quoted(lines[0], usual, others[0])):
        return usual
    if usual in lines[0] and _is_even(lines, usual, columns):
        raise DataError(
            f"{path}:1: both {separator_name(usual)} and {separator_name(others[0])} give rows of equal length: set "
            "`delimiter` to the character between cells"
        )
    return others[0]


def _has_quoted(line: str, usual: str, other: str) -> bool:
    """Return whether a line has `other` only within quotation marks of cells that `usual` separates."""
    return all(other not in cell for cell in re.sub('"[^"]*"', "", line).split(usual))


def stated_delimiter(path: Path) -> str | None:
    r"""Return the delimiter that the first line states, as Excel writes it, or None; for example, ";" for ``sep=;``."""
    first = next(iter(read_lines(path)), (1, ""))[1]
    match = re.fullmatch(r'"?sep=([^"\w\s]|\t)"?', first, re.IGNORECASE)
    return match[1] if match else None


def table_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line of a table, without a first line that states the delimiter."""
    lines = read_lines(path)
    yield from islice(lines, 1 if stated_delimiter(path) else 0, None)


def _is_even(lines: Sequence[str], delimiter: str, columns: int) -> bool:
    """Return whether the lines are rows of equal length, of several cells or of the given number of `columns`."""
    csv.field_size_limit(MAX_LINE)
    try:
        rows = [len(cells) for cells in csv.reader((f"{line}\n" for line in lines), delimiter=delimiter)]
    except csv.Error:
        return False
    # the last row may end after the lines, because a cell may hold a line end
    widths = set(rows[:-1] if len(lines) == _SAMPLE else rows)
    return len(widths) == 1 and widths.pop() in ([columns] if columns else range(2, MAX_LINE))


def _infer_quoting(path: Path, delimiter: str, columns: int) -> tuple[Quoting, bool]:
    """Return the quoting of a file with tabs, and whether it matters.

    It matters only if a cell begins with a mark. If all lines have the same number of cells, a mark is a letter,
    unless the cells are quoted as a program does it, without exception. If they have not, cells are quoted if this
    explains each line, else `DataError` is raised.
    """
    has_marks, uneven = False, None
    for number, line in table_lines(path):
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
            "it: write each row on a line, or set `quoting: none` if a mark is an ordinary letter, `quoting: csv` if "
            "cells are quoted"
        )
    return "none", True


def _is_quoted(path: Path, delimiter: str, columns: int, *, spanning: bool) -> bool:
    """Return whether programs that quote cells wrote the file: no mark is in a cell without quotation marks.

    If rows are not `spanning` lines or cells with delimiters, the marks must be needed as well: all cells but numbers
    are quoted, those of the header too, or only the cells that need it, at least one for a mark.
    """
    cell = rf'(?:"[^"]*+(?:""[^"]*+)*+"|[^"{delimiter}]*+)'
    row = re.compile(rf"{cell}(?:{delimiter}{cell}){{{columns - 1}}}")
    evidence = _QuotingEvidence(delimiter)
    lines: list[str] = []
    marks = 0
    for _, line in table_lines(path):
        if not line and not lines:
            continue
        lines.append(line)
        if len(lines) > 1 and not spanning:
            return False
        marks += line.count('"')
        if marks % 2:  # a cell goes on in the next line
            continue
        text = "\n".join(lines)
        most_are_full = 2 * full_lines(lines, delimiter, columns) > len(lines) > 1
        if most_are_full or not row.fullmatch(text):
            return False
        evidence.add(text)
        lines.clear()
    return not lines and (spanning or evidence.is_conclusive)


@dataclass
class _QuotingEvidence:
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
            elif cell and not _UNQUOTED.fullmatch(cell):
                self.all_quoted = False

    @property
    def is_conclusive(self) -> bool:
        """Whether all cells but numbers are quoted, or exactly those that need it."""
        return self.all_quoted or (self.all_needed and self.has_doubled)
