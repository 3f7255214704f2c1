"""Rows of JSON lines, CSV and TSV files, plain or gzipped, one at a time; a hostile file meets a limit."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from hbt_bench.errors import DataError
from hbt_bench.text import encodable

#: Characters of one line, and of one field of a CSV file.
MAX_LINE = 16 << 20
#: What a compressed file may grow to: texts shrink to a tenth, so a hundredfold is no text.
MAX_RATIO = 100
#: What any compressed file may grow to, whatever its ratio.
FREE_BYTES = 64 << 20
#: Endings of the files that can be read, each also with ``.gz``.
SUFFIXES = (".jsonl", ".csv", ".tsv")


class Row(NamedTuple):
    """One row and where it stands, for messages."""

    fields: Mapping[str, Any]
    where: str  # "data.jsonl:3"
    language: str | None = None  # the code that the data use, where the file tells it


def whole(text: str, row: Row, field: str) -> str:
    """A text of a row that can be written; raises `DataError` for one with half of a character."""
    if not encodable(text):
        raise DataError(f"{row.where}: '{field}' has half of a character (a lone surrogate)")
    return text


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file, its kind told by its name.

    Raises `DataError` with the line for what cannot be read: bytes that are not UTF-8, a line that is no JSON object,
    a CSV row of another width, an archive that is damaged or grows beyond all measure.
    """
    kind = Path(path.name.removesuffix(".gz")).suffix
    if kind not in SUFFIXES:
        raise DataError(f"{path} is of no known kind: name it {', '.join(SUFFIXES)} or one of these with .gz")
    return _json_rows(path) if kind == ".jsonl" else _csv_rows(path, "\t" if kind == ".tsv" else ",")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line of a text file, without the line end; raises `DataError` as `read_rows` does."""
    with _opened(path) as stream:
        for number in _count():
            raw = _line(stream, path, number)
            if not raw:
                return
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}:{number}: byte {error.start + 1} of the line is not UTF-8: save the file as UTF-8"
                ) from error
            if number == 1:
                text = text.removeprefix("\ufeff")
            yield number, text.rstrip("\r\n")


def _count() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number


def _json_rows(path: Path) -> Iterator[Row]:
    for number, text in read_lines(path):
        if not text.strip():
            continue
        where = f"{path}:{number}"
        try:
            fields = json.loads(text, parse_constant=_no_constant)
        except json.JSONDecodeError as error:
            raise DataError(f"{where}: no JSON: {error.msg} at column {error.colno}") from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: no JSON: {error}") from error
        if not isinstance(fields, dict):
            raise DataError(f"{where}: a line must be an object in braces, this is {_kind(fields)}")
        yield Row(fields, where)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _kind(value: object) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _csv_rows(path: Path, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(MAX_LINE)
    reader = csv.reader((f"{text}\n" for _, text in read_lines(path)), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            if not cells:
                continue
            where = f"{path}:{reader.line_num}"
            if header is None:
                header = cells
                if len(set(header)) < len(header):
                    twice = Counter(header).most_common(1)[0][0]
                    raise DataError(f"{where}: the column '{twice}' is there twice")
                continue
            if len(cells) != len(header):
                raise DataError(f"{where}: {len(cells)} cells where the header has {len(header)}: quote the text")
            yield Row(dict(zip(header, cells, strict=True)), where)
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: no CSV: {error}") from error
    if header is None:
        raise DataError(f"{path} is empty: its first line must name the columns")


def _opened(path: Path) -> BinaryIO:
    try:
        raw = path.open("rb")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if not path.name.endswith(".gz"):
        return raw
    limit = max(FREE_BYTES, MAX_RATIO * path.stat().st_size)
    return io.BufferedReader(_Bounded(path, raw, limit), 1 << 16)


class _Bounded(io.RawIOBase):
    """A gzip stream that stops with `DataError` once it has given `limit` bytes."""

    def __init__(self, path: Path, raw: BinaryIO, limit: int) -> None:
        self._path, self._raw, self._limit = path, raw, limit
        self._stream = gzip.GzipFile(fileobj=raw)
        self._given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._stream.read(len(buffer))
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{self._path} is a damaged archive ({error}): fetch or make it again") from error
        self._given += len(data)
        if self._given > self._limit:
            raise DataError(
                f"{self._path} grows to more than {self._limit >> 20} MiB, {MAX_RATIO} times its size: this is no "
                "archive of texts"
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _line(stream: BinaryIO, path: Path, number: int) -> bytes:
    try:
        raw = stream.readline(MAX_LINE + 1)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if len(raw) > MAX_LINE:
        raise DataError(f"{path}:{number}: the line is longer than {MAX_LINE >> 20} MiB")
    return raw
