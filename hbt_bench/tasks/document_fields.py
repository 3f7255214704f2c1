"""Find the fields of a row that hold several documents of its query, and the ids, titles and grades of documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hbt_bench.data.records import PLACEHOLDER, Row, identifier, is_missing, values
from hbt_bench.data.row_fields import USUAL_FIELDS, usual_fields

#: Usual names of a list of documents, apart from the plurals of the names of a single document.
_LISTS = (
    "pos",
    "positives",
    "positive_passages",
    "positive_ctxs",
    "answers",
    "passages",
    "documents",
    "contexts",
    "responses",
)
#: Usual names of the text in a document of a list.
_TEXTS = ("text", "passage", "document", "answer", "contents", "content", "body")
#: The highest grade of a field that is taken for grades.
_MAX_GRADE = 10


def document_paths(sample: Sequence[Row], used: set[str]) -> list[str]:
    """Return the paths to the documents of a row that has several, or an empty list.

    `used` are fields of other columns. For example, the paths are ["answer_1", "answer_2"] for these columns,
    ["answers.*"] for a list of texts, and ["pos.*.text"] for a list of objects.
    """
    names = USUAL_FIELDS["document"]
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


def sibling_paths(sample: Sequence[Row], document: str) -> dict[str, str]:
    """Return the paths to the fields beside the texts of documents, by their names in lower case.

    For example, they are "pos.*.docid" for "pos.*.text", "pos.docid.*" for "pos.text.*", and "docid" for "text".
    """
    steps = document.split(".")
    position = len(steps) - 1 - (steps[-1] == "*")
    parent = ".".join(steps[:position])
    if PLACEHOLDER in document or (position == 0 and len(steps) > 1):  # a list of texts
        return {}
    found = [member for row in sample for member in (values(row.fields, parent) if parent else [row.fields])]
    names = dict.fromkeys(str(name) for member in found if isinstance(member, Mapping) for name in member)
    return {name.lower(): ".".join([*steps[:position], name, *steps[position + 1 :]]) for name in names}


def find_ids(
    siblings: Mapping[str, str], rows: Iterable[Row], document: str, language_of: Callable[[Row], str]
) -> str | None:
    """Return the path to the ids of documents, or None if an id is missing or has two texts in a language.

    `language_of` returns the label of the documents of a row.
    """
    path = next((siblings[name] for name in usual_fields(siblings, "document_id")), None)
    texts: dict[tuple[str, str], int] = {}
    for row in rows if path else ():
        label = language_of(row)
        bodies, ids = list(values(row.fields, document)), list(values(row.fields, str(path)))
        if len(bodies) != len(ids):
            return None
        for body, key in zip(bodies, map(identifier, ids), strict=True):
            if key is None or texts.setdefault((label, key), hash(body)) != hash(body):
                return None
    return path


def find_grades(siblings: Mapping[str, str], rows: Iterable[Row]) -> str | None:
    """Return the path to grades: whole numbers up to 10, or truth values, both above 0 and not above 0."""
    path = next((siblings[name] for name in usual_fields(siblings, "grade")), None)
    positive: set[bool] = set()
    for row in rows if path else ():
        for value in values(row.fields, str(path)):
            spelling = re.fullmatch(
                r"[+-]?[0-9]{1,2}", str(int(value)) if isinstance(value, bool) else identifier(value) or ""
            )
            if spelling is None or int(spelling[0]) > _MAX_GRADE:
                return None
            positive.add(int(spelling[0]) > 0)
    return path if len(positive) == 2 else None
