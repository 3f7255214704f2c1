"""The result of a check, for example ``✓ python 3.11.7``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "warning", "failed", "skipped"]
_MARKS: dict[Status, str] = {"passed": "✓", "warning": "?", "failed": "✗", "skipped": "-"}


@dataclass(frozen=True)
class Check:
    """A check by its name, with its status and a message."""

    name: str
    status: Status
    message: str

    @property
    def mark(self) -> str:
        """Return a character for the status: ``✓``, ``?``, ``✗`` or ``-``."""
        return _MARKS[self.status]
