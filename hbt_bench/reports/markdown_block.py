"""A block inside a Markdown file that is rewritten while the rest stays as it is, byte for byte."""

from __future__ import annotations

from pathlib import Path

from hbt_bench.errors import OutputError
from hbt_bench.files import write_bytes


def marks(name: str) -> tuple[str, str]:
    """What stands before and after a block."""
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def replaced(text: str, name: str, block: str) -> str | None:
    """`text` with another block, None if it has none; lines end as those of `text` do.

    Raises `ValueError` when the marks are not one before the other.
    """
    start, end = marks(name)
    if start not in text and end not in text:
        return None
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise ValueError(f"it must have one {start}, and one {end} after it")
    newline = "\r\n" if "\r\n" in text else "\n"
    before, after = text[: text.index(start) + len(start)], text[text.index(end) :]
    return before + newline + newline.join(["", *block.split("\n"), "", ""]) + after


def update_block(path: Path, name: str, block: str) -> None:
    """Rewrite the block of a file; raises `OutputError` when it has none."""
    start, end = marks(name)
    try:
        text = path.read_bytes().decode("utf-8")
        found = replaced(text, name, block)
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise OutputError(f"cannot update {path}: {error}") from error
    if found is None:
        raise OutputError(f"{path} has no block to update: put {start} and {end} where it should be")
    if found != text:
        write_bytes(path, found.encode("utf-8"))
