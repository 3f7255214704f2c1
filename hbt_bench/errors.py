"""The errors of hbt-bench and their exit codes.

    Exception
    └── HbtBenchError            1   the base class, never raised itself
        ├── UsageError           2   a mistyped task, language, option or path
        ├── DataError            3   data that is missing, damaged or inconsistent
        ├── ModelError           4   no model, or a model that returns unusable vectors
        ├── OutputError          5   a result that cannot be written or read
        └── ProcessError         6   a process of a distributed run that ended early

An interrupt (Ctrl-C) exits with 130. Each message gives the cause, with the value, and the fix. A traceback on the
terminal is a defect of hbt-bench.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HbtBenchError(Exception):
    """The base class of all errors that the user can fix.

    For example, ``except HbtBenchError as error: sys.exit(error.exit_code)``.
    """

    exit_code = 1


class UsageError(HbtBenchError):
    """The request is wrong: an unknown task, language, option or path."""

    exit_code = 2


class DataError(HbtBenchError):
    """Data is missing, damaged, or contradicts its definition."""

    exit_code = 3


class ModelError(HbtBenchError):
    """The model does not exist, or its vectors cannot be ranked."""

    exit_code = 4


class OutputError(HbtBenchError):
    """A result cannot be written or read."""

    exit_code = 5


class ProcessError(HbtBenchError):
    """Another process of a distributed run ended early."""

    exit_code = 6


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """Return a hint about the names most similar to `word`, or an empty string if there are none.

    >>> did_you_mean("xqad-r", ["xquad-r", "mlqa-r"])
    "; did you mean 'xquad-r'?"
    """
    lowered = {name.lower(): name for name in names}
    matches = [lowered[match] for match in difflib.get_close_matches(word.lower(), lowered, n=3, cutoff=0.6)]
    return "; did you mean " + " or ".join(f"'{match}'" for match in matches) + "?" if matches else ""
