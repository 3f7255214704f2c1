"""One check of an installation or of a task file, with its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "warning", "failed", "skipped"]
_MARKS: dict[Status, str] = {"passed": "✓", "warning": "?", "failed": "✗", "skipped": "-"}


@dataclass(frozen=True)
class Check:
    """What was checked, with the result."""

    name: str
    status: Status
    message: str

    @property
    def mark(self) -> str:
        """One character for the status."""
        return _MARKS[self.status]
