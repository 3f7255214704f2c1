"""A block in a Markdown file, between two comments, that is rewritten while the rest stays byte for byte."""

from __future__ import annotations

from pathlib import Path

from hbt_bench.errors import OutputError
from hbt_bench.files import write_bytes


def marks(name: str) -> tuple[str, str]:
    """Return the comments before and after a block. For example, ``<!-- x -->`` and ``<!-- /x -->``."""
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def replace_block(text: str, name: str, block: str) -> str | None:
    """Return `text` with a new block, or None if it has no block. Line ends stay those of `text`.

    Raises `ValueError` if a mark is missing, doubled or misplaced.
    """
    start, end = marks(name)
    if start not in text and end not in text:
        return None
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise ValueError(f"it needs {start} once, and {end} once after it")
    newline = "\r\n" if "\r\n" in text else "\n"
    before, after = text[: text.index(start) + len(start)], text[text.index(end) :]
    return before + newline + newline.join(["", *block.split("\n"), "", ""]) + after


def update_block(path: Path, name: str, block: str) -> None:
    """Rewrite the block of a file. Raises `OutputError` if it has none."""
    start, end = marks(name)
    try:
        text = path.read_bytes().decode("utf-8")
        updated = replace_block(text, name, block)
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise OutputError(f"cannot update {path}: {error}") from error
    if updated is None:
        raise OutputError(f"{path} has no block to update. Put {start} and {end} where the table should be.")
    if updated != text:
        write_bytes(path, updated.encode("utf-8"))
