"""Messages to the user, on stderr."""

from __future__ import annotations

import sys

from hbt_bench.text import one_line


def tell(message: object) -> None:
    """Write a message to stderr, on one line."""
    sys.stderr.write(f"hbt-bench: {one_line(message)}\n")
