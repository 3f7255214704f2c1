"""Lists of names as they are written on the command line; what needs no definitions, whose reading takes time."""

from __future__ import annotations

import re
from collections.abc import Iterable


def parse_names(names: str | Iterable[str]) -> tuple[str, ...]:
    """Split ``"a,b"`` and ``["a,b", "c"]`` into single names; a comma in brackets belongs to the name."""
    parts = [names] if isinstance(names, str) else list(names)
    split = (name.strip() for part in parts for name in re.split(r",(?![^\[\],]*(?:,[^\[\],]*)*\])", part))
    return tuple(name for name in split if name)
