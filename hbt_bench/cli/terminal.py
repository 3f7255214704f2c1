"""What a terminal is sent: no control codes but our own colours, whatever names and texts hold.

An escape sequence in the name of a model or in the text of a question could retitle the window, move the cursor over
what was said, or fill the clipboard.
"""

from __future__ import annotations

import re
from typing import Any

#: Control codes but line ends and tabs; ESC is one, but for a sequence of colours.
_CONTROL = re.compile(r"(?!\x1b\[[0-9;]*m)[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def one_line(text: object) -> str:
    """A message on one line, without any control code."""
    return _LINE.sub("?", " ".join(f"{text}".splitlines()))


class Terminal:
    """A stream that writes to a terminal what is harmless, and is the terminal in all else."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write `text`, a question mark for each control code."""
        self._stream.write(_CONTROL.sub("?", text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of `lines` as `write` does."""
        for line in lines:
            self.write(line)
