"""The errors a user can meet, and the exit code of each.

    HbtBenchError            1   anything below, never raised itself
    ├── UsageError           2   a mistyped task, language, option or path
    ├── DataError            3   data that is missing, damaged or inconsistent
    ├── ModelError           4   no model there, or one that returns no usable vectors
    ├── OutputError          5   a result that cannot be written or read
    └── ProcessError         6   another process of a run that several share has ended

An interrupt (Ctrl-C) exits with 130. Every message is one sentence with the cause and the fix; a traceback
on the terminal is a defect of the program.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HbtBenchError(Exception):
    """Base of all errors that hbt-bench raises for a reason the user can act on."""

    exit_code = 1


class UsageError(HbtBenchError):
    """The request itself is wrong: an unknown task, language, option or path."""

    exit_code = 2


class DataError(HbtBenchError):
    """Data is missing, damaged, or contradicts its definition."""

    exit_code = 3


class ModelError(HbtBenchError):
    """There is no model at the given place, or its vectors cannot be ranked."""

    exit_code = 4


class OutputError(HbtBenchError):
    """A result cannot be written or read."""

    exit_code = 5


class ProcessError(HbtBenchError):
    """Another process of a run that several share has ended."""

    exit_code = 6


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'a' or 'b'?"`` for near misses of `word`, else an empty string."""
    lowered = {name.lower(): name for name in known}
    near = [lowered[match] for match in difflib.get_close_matches(word.lower(), lowered, n=3, cutoff=0.6)]
    return "; did you mean " + " or ".join(f"'{name}'" for name in near) + "?" if near else ""
