"""The result of inferring a source, and the parts of a task file that every kind of source has."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hbt_bench.errors import UsageError


@dataclass(frozen=True)
class InferredSource:
    """The `source` of a task file that fits the data, and `notes` for the author on choices and unused data."""

    source: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def abbreviated(codes: Mapping[str, str]) -> list[str] | dict[str, str]:
    """Return a list of codes if the data use the same codes, else the mapping."""
    return sorted(codes) if all(code == label for code, label in codes.items()) else dict(codes)


def pin(path: Path) -> dict[str, Any]:
    """Return SHA-256 and size of a file; raises `UsageError` if it cannot be read."""
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    return {"sha256": digest, "size": path.stat().st_size}
