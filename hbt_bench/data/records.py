"""Records of JSON lines, CSV and TSV files and of hub data sets, and the paths to their fields.

Tasks and recipes share this reader. A path joins steps with dots: a name is the key of a mapping, a number is a
position in a list, ``*`` is every member of a list, and ``{language}`` is replaced by a language's code. For example,
``questions.*.{language}.text``.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import itertools
import json
import os
import socket
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from hbt_bench.errors import DataError
from hbt_bench.text import encodable

#: Characters of a line, and of a field of a CSV file.
MAX_LINE = 16 << 20
#: The size limit of a compressed file, as a multiple of its compressed size. Texts shrink to about a tenth.
MAX_RATIO = 100
#: Bytes that any compressed file may expand to, whatever its ratio.
FREE_BYTES = 64 << 20
#: Endings of the files that can be read, each also with ``.gz``.
SUFFIXES = (".jsonl", ".csv", ".tsv")
#: Stands for a language's code in a path.
PLACEHOLDER = "{language}"


class Row(NamedTuple):
    """A record, its position for messages, and the language that its file or split is in, if known."""

    fields: Mapping[str, Any]
    where: str  # "data.jsonl:3"
    language: str | None = None  # the code that the data use


# Paths to fields


def values(record: object, path: str, language: str = "") -> Iterator[Any]:
    """Yield all values at `path`; a missing key or position yields nothing.

    A member of a ``*`` list that lacks the rest of the path yields None, so that positions in the list are kept. For
    example, ``values({"a": [{"en": "x"}, {}]}, "a.*.{language}", "en")`` yields "x" and None.
    """
    return _walk(record, path.split("."), language)


def first_value(record: object, path: str, language: str = "") -> Any:
    """Return the first value at `path` that is not None, or None."""
    return next((value for value in values(record, path, language) if value is not None), None)


def _walk(value: Any, steps: Sequence[str], language: str) -> Iterator[Any]:
    if not steps:
        yield value
        return
    step, rest = steps[0].replace(PLACEHOLDER, language), steps[1:]
    if isinstance(value, Mapping):
        if step in value:
            yield from _walk(value[step], rest, language)
    elif isinstance(value, list) and step == "*":
        for member in value:
            yield from list(_walk(member, rest, language)) or [None]
    elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        yield from _walk(value[int(step)], rest, language)


def checked_text(text: str, row: Row, field: str) -> str:
    """Return `text`; raises `DataError` if it contains an unpaired surrogate, as JSON allows."""
    if not encodable(text):
        raise DataError(f"{row.where}: '{field}' contains an unpaired surrogate, which UTF-8 cannot encode")
    return text


# Files


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file; the name's ending decides the format.

    Raises `DataError` with the line for bytes that are not UTF-8, a line that is not a JSON object, a CSV row with
    another number of cells than the header, and an archive that is damaged or expands beyond the limits.
    """
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix not in SUFFIXES:
        raise DataError(f"{path} has an unknown file type: use {', '.join(SUFFIXES)}, with or without .gz")
    return _json_rows(path) if suffix == ".jsonl" else _csv_rows(path, "\t" if suffix == ".tsv" else ",")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line of a text file, without line ends; raises `DataError` as `read_rows` does."""
    size = 0
    try:
        limit = max(FREE_BYTES, MAX_RATIO * path.stat().st_size)
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as stream:
            for number in itertools.count(1):
                raw = stream.readline(MAX_LINE + 1)
                size += len(raw)
                if not raw:
                    return
                if len(raw) > MAX_LINE:
                    raise DataError(f"{path}:{number}: the line is longer than {MAX_LINE >> 20} MiB")
                if size > limit:
                    raise DataError(
                        f"{path} expands to more than {limit >> 20} MiB, {MAX_RATIO} times its size: it is not an "
                        "archive of texts"
                    )
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}:{number}: byte {error.start + 1} of the line is not UTF-8: save the file as UTF-8"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        raise DataError(f"{path} is a damaged archive ({error}): fetch or make it again") from error


def _json_rows(path: Path) -> Iterator[Row]:
    for number, text in read_lines(path):
        if not text.strip():
            continue
        where = f"{path}:{number}"
        try:
            fields = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"{where}: not JSON: {error.msg} at column {error.colno}") from error
        except (ValueError, RecursionError) as error:  # a number of thousands of digits; deep nesting
            raise DataError(f"{where}: not JSON: {error}") from error
        if not isinstance(fields, dict):
            names = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
            kind = names.get(type(fields), "a number")
            raise DataError(f"{where}: a line must be an object in braces, not {kind}")
        yield Row(fields, where)


def _csv_rows(path: Path, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(MAX_LINE)
    reader = csv.reader((f"{text}\n" for _, text in read_lines(path)), delimiter=delimiter, strict=True)
    try:
        rows = (cells for cells in reader if cells)
        header = next(rows, None)
        if header is None:
            raise DataError(f"{path} is empty: its first line must name the columns")
        column, times = Counter(header).most_common(1)[0]
        if times > 1:
            raise DataError(f"{path}:{reader.line_num}: the column '{column}' is repeated")
        for cells in rows:
            where = f"{path}:{reader.line_num}"
            if len(cells) != len(header):
                raise DataError(f"{where}: {len(cells)} cells, but the header has {len(header)}: quote the text")
            yield Row(dict(zip(header, cells, strict=True)), where)
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not CSV: {error}") from error


# Data sets of the hub


def read_hub(
    source: str | Path,
    revision: str | None,
    config: str | None,
    split: str,
    *,
    folder: str | None = None,
    fields: set[str] | None = None,
    language: str | None = None,
) -> Iterator[Row]:
    """Yield the rows of a split of a hub data set, loaded with the `datasets` library at a pinned `revision`.

    A `source` that is a `Path` is a local folder in the same layout. `folder` is the data set's folder to read, and
    `fields` are the top-level fields to read, by default all. Code of the data set never runs. Raises `DataError` if
    the data set cannot be loaded or lacks one of the `fields`.
    """
    where = f"{source}{f'/{config}' if config else ''}[{split}]"
    local = isinstance(source, Path)
    if not local:
        check_remote(str(source))
        spare_retries()
    # the library's cache identifies a local folder by its last name only, so a folder gets a temporary cache
    with data_errors(source), tempfile.TemporaryDirectory() if local else contextlib.nullcontext() as cache:
        import datasets

        rows: Any = datasets.load_dataset(
            str(source), config, data_dir=folder, split=split, revision=revision, streaming=local, cache_dir=cache
        )
        if fields is not None:
            if missing := sorted(fields - set(rows.column_names)):
                raise DataError(f"{where} has no column '{missing[0]}' (it has {', '.join(rows.column_names)})")
            rows = rows.select_columns(sorted(fields))
        for number, record in enumerate(rows):
            yield Row(record, f"{where}:{number}", language)


def spare_retries() -> None:
    """Set the hub's client offline if its host has no address, or it would retry for minutes.

    Call it before anything imports the client, which reads the setting at import.
    """
    host = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co").hostname
    if any(name.lower() == "https_proxy" for name in os.environ):
        return
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        os.environ["HF_HUB_OFFLINE"] = "1"


def check_remote(path: str) -> None:
    """Raise `DataError` if the current folder has a file or folder with the data set's name.

    The `datasets` library would read it in place of the hub's data set, whatever the commit. Absolute paths, which
    users' MTEB tasks may have, are not names on the hub and pass.
    """
    if not Path(path).is_absolute() and os.path.lexists(path):
        raise DataError(
            f"{path} is a data set of the hub, but the current folder has a file or folder with that name, which would "
            "be read instead: run in another folder"
        )


@contextlib.contextmanager
def data_errors(source: str | Path) -> Iterator[None]:
    """Turn any error of the hub's client or of a file format into a `DataError` with a single sentence."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # the client, the file formats and MTEB's loaders raise many types
        reason = (str(error).strip().splitlines() or [""])[0][:200].rstrip(".")
        origin, network = "", ""
        if isinstance(source, str):
            origin = " from the hub"
            network = ", and connect to the network once: later runs read the copy in the cache of `datasets`"
        raise DataError(
            f"cannot load the data set {source}{origin} ({type(error).__name__}: {reason}); check its name, "
            f"configuration and split{network}"
        ) from error
