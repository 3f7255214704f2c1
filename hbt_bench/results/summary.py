"""The summary of a result: a line at the start of its file, all that a leaderboard of many models reads."""

from __future__ import annotations

import json
import stat
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pydantic_core import from_json

from hbt_bench.results.schema import FORMAT

#: Size limit of a result file. All pairs of 200 languages need a quarter of it.
MAX_BYTES = 128 << 20
#: The beginning of the line, before the summary itself.
PREFIX = b'  "hbt_bench": '
#: The beginning of a summary: its first key is the format.
_FORMAT_KEY = f'{{"format": {FORMAT},'.encode()
#: Keys that differ between runs with equal scores, and the checksums themselves.
_UNSEALED = {"check", "speed", "device", "date", "evaluation_phases", "evaluation_time", "kg_co2_emissions"}


def open_regular(path: Path, limit: int = MAX_BYTES) -> BinaryIO:
    """Open a file for reading.

    Raises `ValueError` for a pipe or a device, which may never end, and for a file of more than `limit` bytes.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    if status.st_size > limit:
        raise ValueError(f"it is larger than {limit >> 20} MiB")
    return path.open("rb")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises `ValueError` as `open_regular` does, and for other content."""
    with open_regular(path) as file:
        return from_json(file.read(MAX_BYTES))


def read_summary(path: Path) -> Any:
    """Return the summary of a result without reading the rest of the file, None for a file of another format.

    Raises `ValueError` for a file that was cut, and for a summary that does not have its checksum.
    """
    with open_regular(path) as file:
        if file.readline(3) != b"{\n":
            return None
        line = file.readline()
        if not line.startswith(PREFIX + _FORMAT_KEY):
            return None
        file.seek(-2, 2)
        if file.read() != b"}\n":
            raise ValueError("its end is missing")
    summary = from_json(line[len(PREFIX) :].rstrip(b",\n"))
    verify(summary)
    return summary


def seal(summary: Mapping[str, Any], rest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary with checksums of itself and of the rest of the file, which show a changed digit."""
    return {**summary, "check": [_checksum(summary), _checksum(rest)]}


def verify(summary: Any, rest: Mapping[str, Any] | None = None) -> None:
    """Raise `ValueError` if a summary, or the `rest` of its file, differs from its checksum. Old files have none."""
    if not isinstance(summary, dict):
        raise ValueError("its summary is not a JSON object")  # noqa: TRY004 -- damage, not a defect
    if "check" not in summary:
        return
    expected = [_checksum(summary)] + ([] if rest is None else [_checksum(rest)])
    stored = summary["check"]
    if not isinstance(stored, list) or stored[: len(expected)] != expected:
        raise ValueError("its checksum is wrong")


def _checksum(content: Mapping[str, Any]) -> str:
    """Return a checksum that does not depend on the layout of the JSON, equal for runs with equal scores."""
    sealed = {key: value for key, value in content.items() if key not in _UNSEALED}
    return f"{zlib.crc32(json.dumps(sealed, sort_keys=True).encode()):08x}"
