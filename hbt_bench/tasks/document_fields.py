"""Find the fields of a row that hold several documents of its query: numbered columns, or a list."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hbt_bench.data.records import Row, is_missing

#: Usual names of a list of documents, apart from the plurals of the names of a single document.
_LISTS = ("pos", "positives", "positive_passages", "answers", "passages", "documents", "contexts", "responses")
#: Usual names of the text in a document of a list.
_TEXTS = ("text", "passage", "document", "answer", "contents", "content", "body")


def document_paths(sample: Sequence[Row], names: Sequence[str], used: set[str]) -> list[str]:
    """Return the paths to the documents of a row that has several, or an empty list.

    `names` are usual names of a field with a document, and `used` are fields of other columns. For example, the paths
    are ["answer_1", "answer_2"] for these columns, ["answers.*"] for a list of texts, and ["pos.*.text"] for a list of
    objects.
    """
    fields = [name for name in dict.fromkeys(str(name) for row in sample for name in row.fields) if name not in used]
    for usual in names:
        numbered = [name for name in fields if re.fullmatch(rf"{usual}[ _-]?\d+", name, re.IGNORECASE)]
        if len(numbered) > 1 and all(_is_text(row.fields.get(name)) for row in sample for name in numbered):
            return numbered
    for name in (name for usual in (*_LISTS, *names) for name in fields if name.lower() == usual):
        if path := _listed(name, [row.fields.get(name) for row in sample]):
            return [path]
    return []


def _is_text(value: object) -> bool:
    return is_missing(value) or isinstance(value, str)


def _listed(name: str, values: Sequence[Any]) -> str | None:
    """Return the path to the texts of a field with lists, or None if its values have another form."""
    if all(isinstance(value, Mapping) for value in values):  # SQuAD: a list for each field of the answers
        lists = [value.get("text") for value in values if isinstance(value, Mapping)]
        return f"{name}.text.*" if _listed(name, lists) == f"{name}.*" else None
    members = [member for value in values if isinstance(value, list) for member in value]
    if not members or not all(value is None or isinstance(value, list) for value in values):
        return None
    if all(isinstance(member, str) for member in members):
        return f"{name}.*"
    keys = [key for key in _TEXTS if all(isinstance(m, Mapping) and isinstance(m.get(key), str) for m in members)]
    return f"{name}.*.{keys[0]}" if keys else None
