"""What a terminal is sent: no control codes but our own colours, whatever names and texts hold.

An escape sequence in the name of a model or in the text of a question could retitle the window, move the cursor over
what was said, or fill the clipboard.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hbt_bench.text import HIDDEN

#: What is hidden, but for a sequence of colours.
_CODES = re.compile(rf"(?!\x1b\[[0-9;]*m){HIDDEN}")
#: The same, but for what bars of progress move by: to the start of the line, and a line up.
_BUT_MOVES = re.compile(rf"(?!\x1b\[[0-9;]*m|\r|\x1b\[A){HIDDEN}")


class Terminal:
    """A stream that writes to a terminal what is harmless, and is the terminal in all else.

    With `moves`, bars of progress may move the cursor, as on stderr, where each message of ours is one line.
    """

    def __init__(self, stream: Any, *, moves: bool = False) -> None:
        self._stream = stream
        self._codes = _BUT_MOVES if moves else _CODES

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # click would write there, past this, what the terminal cannot encode
            raise AttributeError(name)
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write `text`, a question mark for each control code."""
        self._stream.write(self._codes.sub("?", text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of `lines` as `write` does."""
        for line in lines:
            self.write(line)


@contextmanager
def guarded() -> Iterator[None]:
    """Let stdout and stderr take any text: a terminal gets what is harmless, and an encoding what it can show."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr, moves=True)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _guarded(stream: Any, *, moves: bool = False) -> Any:
    if stream is None:  # it was closed, as by `>&-`; the first file that is opened would take its number
        return Path(os.devnull).open("w", encoding="utf-8")
    if hasattr(stream, "reconfigure") and stream.errors in ("strict", "surrogateescape"):  # which may raise
        stream.reconfigure(errors="replace")
    return Terminal(stream, moves=moves) if stream.isatty() else stream
