"""Find the fields of a row: those with its language, with a text in each language, and with several documents."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from hbt_bench.data.records import PLACEHOLDER, Row, identifier, is_missing, values
from hbt_bench.data.row_fields import USUAL_FIELDS, usual_fields
from hbt_bench.languages import read_label

#: The deepest level of nested fields, and the most words of a label within a name, as in ``question_zh_Hans_CN``.
_MAX_DEPTH, _MAX_WORDS = 3, 3
#: Codes that are usual names of other fields: Indonesian, and Norwegian or a number.
_OTHER_FIELDS = {"id", "no"}
_SEPARATORS = re.compile(r"[^\W_]+")
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


# Languages


def paths_by_language(sample: Iterable[Row]) -> list[str]:
    """Return the paths to texts with ``{language}`` for the code, in the order of the fields.

    A code is a key, as in ``{"texts": {"en": ..., "de": ...}}``, or a part of a name that occurs with several codes, as
    in ``question_en`` and ``question_de``. For example, the paths are "texts.{language}" and "question_{language}".
    """
    rows = list(sample)
    exact = dict.fromkeys(path for row in rows for path in _exact_paths(row.fields))
    labels: dict[str, set[str]] = {}
    fields: dict[str, set[str]] = {}
    for row in rows:
        for path, label in _named_paths(row.fields):
            labels.setdefault(path, set()).add(label)
            fields.setdefault(path, set()).add(path.replace(PLACEHOLDER, label))
    named: list[str] = []
    for path, spellings in labels.items():
        # "text_{language}_Latn" has a part of the fields of "text_{language}", which has longer labels and comes first
        if len(set(map(read_label, spellings))) > 1 and not any(fields[path] <= fields[other] for other in named):
            named.append(path)
    return [*exact, *(path for path in named if path not in exact)]


def name_of(path: str) -> str:
    """Return the name of the field at a path with ``{language}``, without the language.

    For example, the name of "question_{language}", "question.{language}" and "{language}.question" is "question".
    """
    names = [re.sub(r"[^\w]*_*\{language\}_*[^\w]*", "", step).strip("_- ") for step in path.split(".")]
    return next((name for name in reversed(names) if name), "")


def count_labels(rows: Iterable[Row], path: str) -> Counter[str]:
    """Return the labels that stand at ``{language}`` in a path, with the number of rows that have a text there.

    If the label is a name of its own in a mapping, all names are labels; the names of a row are labels only if they
    are codes, because a row has other fields as well.
    """
    steps = path.split(".")
    position = next(index for index, step in enumerate(steps) if PLACEHOLDER in step)
    parent, step = ".".join(steps[:position]), steps[position]
    flat = _pattern(path)  # the whole path may be a name, as in a table made of nested records
    pattern = _pattern(step)
    counts: Counter[str] = Counter()
    for row in rows:
        mappings = values(row.fields, parent) if parent else [row.fields]
        labels = {
            match[1]
            for mapping in mappings
            if isinstance(mapping, Mapping)
            for name, value in mapping.items()
            if (match := pattern.fullmatch(str(name))) and _is_labelled(match[1], value)
            if parent or step != PLACEHOLDER or read_label(match[1])
        }
        if parent:
            names = ((flat.fullmatch(str(name)), value) for name, value in row.fields.items())
            labels |= {match[1] for match, value in names if match and _is_labelled(match[1], value)}
        counts.update(labels)
    return counts


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile("(.+)".join(map(re.escape, path.split(PLACEHOLDER, 1))), re.DOTALL)


def _is_labelled(label: str, value: Any) -> bool:
    """Return whether a field with a label has content in a language; a field "id" without a space is an id."""
    if isinstance(value, str):
        return bool(value.strip()) and (label.lower() not in _OTHER_FIELDS or " " in value.strip())
    return isinstance(value, Mapping | list) and bool(value)


def _exact_paths(fields: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the paths of mappings whose keys are codes."""
    if not isinstance(fields, Mapping) or len(path) > _MAX_DEPTH:
        return
    codes = [key for key, value in fields.items() if read_label(key) and _is_labelled(key, value)]
    if codes and (len(codes) == len(fields) or (not path and len(codes) > 1)):
        for code in codes:
            value = fields[code]
            if isinstance(value, str):
                yield ".".join([*path, PLACEHOLDER])
            elif isinstance(value, Mapping):
                yield from (".".join([*path, PLACEHOLDER, key]) for key in value if isinstance(value[key], str))
        return
    for key, value in fields.items():
        yield from _exact_paths(value, (*path, str(key)))


def _named_paths(fields: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield the paths of fields with a label in their name, each with the label."""
    if not isinstance(fields, Mapping) or len(path) > _MAX_DEPTH:
        return
    for key, value in fields.items():
        name = str(key)
        if isinstance(value, Mapping):
            yield from _named_paths(value, (*path, name))
        for start, end in () if read_label(name) else label_spans(name):  # "pt-BR" is not "pt" with a label "BR"
            label = name[start:end]
            if read_label(label) and _is_labelled(label, value) and isinstance(value, str):
                yield ".".join([*path, f"{name[:start]}{PLACEHOLDER}{name[end:]}"]), label


def label_spans(name: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of the parts of a name that may be a label: some of its words, but not all."""
    words: Sequence[re.Match[str]] = list(_SEPARATORS.finditer(name))
    for count in range(min(_MAX_WORDS, len(words) - 1), 0, -1):
        for first in range(len(words) - count + 1):
            yield words[first].start(), words[first + count - 1].end()


# Documents of a row


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
    members = [member for row in sample for member in (values(row.fields, parent) if parent else [row.fields])]
    names = dict.fromkeys(str(name) for member in members if isinstance(member, Mapping) for name in member)
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
