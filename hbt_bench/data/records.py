"""Records of JSON lines, of tables in text files and of hub data sets, and the paths to their fields.

Tasks and recipes share this reader. A path joins steps with dots: a name is the key of a mapping, a number is a
position in a list, ``*`` is every member of a list, and ``{language}`` is replaced by a language's code. For example,
``questions.*.{language}.text``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from hbt_bench.data.delimited import read_table
from hbt_bench.data.dialect import DELIMITERS, INFERRED, TableFormat
from hbt_bench.data.lines import read_lines, suffix
from hbt_bench.errors import DataError
from hbt_bench.text import encodable

#: Endings of the files that can be read, each also with ``.gz``.
SUFFIXES = (".jsonl", *DELIMITERS)
#: How to convert other files to JSON lines, by ending. Nested JSON, such as SQuAD's, has no rows.
_CONVERSIONS = {
    ".json": "; `jq -c '.[]' data.json > data.jsonl` writes the objects of a list, each on a line",
    ".parquet": "; `pandas.read_parquet(...).to_json('data.jsonl', orient='records', lines=True)` converts it",
}
#: Rows of a hub data set that are read at once.
_HUB_ROWS = 1000
#: Stands for a language's code in a path.
PLACEHOLDER = "{language}"
#: Blanks, direction marks, zero-width characters and the byte order mark.
_INVISIBLE = r"[\s\u061c\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]+"
_EDGES = re.compile(rf"^{_INVISIBLE}|{_INVISIBLE}$")


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
        elif rest and (name := ".".join([step, *rest]).replace(PLACEHOLDER, language)) in value:
            yield value[name]  # a table made of nested records has names such as "question.en"
    elif isinstance(value, list) and step == "*":
        for member in value:
            yield from list(_walk(member, rest, language)) or [None]
    elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        yield from _walk(value[int(step)], rest, language)


def is_missing(value: object) -> bool:
    """Return whether a value stands for no value: null, an empty cell, or the NaN of numeric columns."""
    return value is None or value == "" or value != value  # only NaN differs from itself


def identifier(value: object) -> str | None:
    """Return an id as text, or None if `value` cannot be an id, such as null, an empty text or a list.

    A number without a fraction is the same id in every spelling, because a column of numbers with a missing value
    becomes a column of floats. For example, 1, 1.0 and "1.0" are "1".
    """
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    spelling = re.fullmatch(r"(-?[0-9]+)\.0", str(value))
    return spelling[1] if spelling else str(value)


def label_text(value: object) -> str:
    r"""Return the label of a language without blanks and direction marks around it.

    Sheets with Arabic or Hebrew text have such marks, which nobody sees. For example, "\u200fhe " is "he".
    """
    return _EDGES.sub("", str(value))


def same_value(value: object, expected: str | int | float | bool) -> bool:
    """Return whether a value in a record is the value `expected` in a YAML file.

    A cell of a table is a text, so the text "1" is the same as the number 1, and "True" the same as true.
    """
    if isinstance(value, str) == isinstance(expected, str):
        return value == expected
    text, other = (value, expected) if isinstance(value, str) else (expected, value)
    if isinstance(other, bool) or not isinstance(other, int | float):
        return isinstance(other, bool) and str(text).strip().lower() == str(other).lower()
    try:
        return float(str(text)) == other
    except ValueError:
        return False


def checked_text(text: str, row: Row, field: str) -> str:
    """Return `text`; raises `DataError` if it contains an unpaired surrogate, as JSON allows."""
    if not encodable(text):
        raise DataError(f"{row.where}: '{field}' contains an unpaired surrogate, which UTF-8 cannot encode")
    return text


# Files


def read_rows(path: Path, table: TableFormat = INFERRED) -> Iterator[Row]:
    """Yield the rows of a file; the name's ending decides the format.

    `table` describes a table in a text file; see `hbt_bench.data.delimited`. Raises `DataError` with the line for bytes
    that are not UTF-8, a line that is not a JSON object, a row with another number of cells than the header, and an
    archive that is damaged or expands beyond the limits.
    """
    ending = suffix(path)
    if ending not in SUFFIXES:
        advice = _CONVERSIONS.get(ending, "")
        raise DataError(f"{path} has an unknown file type: use {', '.join(SUFFIXES)}, with or without .gz{advice}")
    if ending == ".jsonl":
        yield from read_json_rows(path)
        return
    for number, cells in read_table(path, table):
        yield Row(cells, f"{path}:{number}")


def without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of JSON; raises `ValueError` for a key that is there twice, of which a dict keeps the last."""
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"'{next(key for key in keys if keys.count(key) > 1)}' is twice in an object")
    return content


def read_json_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file of JSON lines, whatever its name; raises `DataError` with the line."""
    decoder = json.JSONDecoder(object_pairs_hook=without_repetition)
    for number, text in read_lines(path):
        if not text.strip():
            continue
        where = f"{path}:{number}"
        try:
            fields = decoder.decode(text)
        except json.JSONDecodeError as error:
            advice = "; each line must be an object" if number == 1 and text.strip() in "{[" else ""
            raise DataError(f"{where}: not JSON: {error.msg} at column {error.colno}{advice}") from error
        except (ValueError, RecursionError) as error:  # a repeated key; a number of thousands of digits; deep nesting
            raise DataError(f"{where}: not JSON: {error}") from error
        if not isinstance(fields, dict):
            names = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
            kind = names.get(type(fields), "a number")
            raise DataError(f"{where}: a line must be an object in braces, not {kind}")
        yield Row(fields, where)


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
        batches = rows.iter(_HUB_ROWS)  # three times as fast as single rows
        records = (dict(zip(batch, row, strict=True)) for batch in batches for row in zip(*batch.values(), strict=True))
        for number, record in enumerate(records):
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
