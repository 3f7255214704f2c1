"""The texts of a record: the query, the passages that answer it, and the hard negatives; and the grades of passages.

Paths to fields are those of `hbt_bench.data.records`. A value is a text, a list of texts, or a mapping with ``text``
and perhaps ``title``, as in the files of DPR and of SQuAD. Some data sets judge passages, and only those of a grade
above 0 answer the query. The grade is a field of the record, or of each passage: as a list next to the texts (MS
MARCO's ``is_selected``), or in the mapping of each passage.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hbt_bench.data.beir import parse_grade
from hbt_bench.data.cells import WrittenStructures
from hbt_bench.data.records import PLACEHOLDER, Row, checked_text, first_value, is_missing, values
from hbt_bench.data.row_fields import usual_fields
from hbt_bench.errors import DataError, did_you_mean
from hbt_bench.text import encodable

log = logging.getLogger(__name__)

#: A path, or several paths with texts to join by a space.
Fields = str | tuple[str, ...]
#: A path, or several entries. An entry is a path, or a list of paths with texts to join by a space.
Entries = str | tuple[str | tuple[str, ...], ...]
#: Records that are searched for grades that the recipe does not name.
_SEARCHED = 10_000
#: Field names in a message at most.
_NAMES_SHOWN = 8


def paths_of(fields: Entries | None) -> list[str]:
    """Return all paths of a key of the recipe; for example, ``[["a", "b"], "c"]`` has the paths a, b and c."""
    if fields is None:
        return []
    if isinstance(fields, str):
        return [fields]
    return [path for entry in fields for path in paths_of(entry)]


def entries_of(passage: Entries) -> Iterable[Fields]:
    """Return the entries of `passage`: a list of paths is an entry, whose texts are joined."""
    if isinstance(passage, str) or all(isinstance(path, str) for path in passage):
        return [passage]  # type: ignore[list-item]
    return passage


def alternatives(negative: Entries) -> Iterable[Fields]:
    """Return the entries of `negative`: each member of a list is an entry."""
    return [negative] if isinstance(negative, str) else negative


def shown(fields: Entries) -> str:
    """Return the paths of a key as they are named in a message."""
    return fields if isinstance(fields, str) else ", ".join(paths_of(fields))


@dataclass
class FieldReader:
    """Reads the texts of the records of a source, and remembers which fields it has not seen yet.

    `keys` maps the keys of the recipe to their paths. For example::

        reader = FieldReader("faq", {"query": ["question"], "passage": ["answer"]})
        reader.joined({"question": "Who?", "answer": "Ann."}, "question", "en", "faq.jsonl:1")  # "Who?"
    """

    name: str
    keys: Mapping[str, list[str]]
    #: Paths whose value joins a title and a text.
    titled: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._unseen = {path: key for key, paths in self.keys.items() for path in paths}
        #: Paths that are the name of a field in every language, which is looked up at once.
        self._plain = {path for path in self._unseen if "." not in path and path != "*" and PLACEHOLDER not in path}
        self._written = WrittenStructures(self.name)
        self._empty: set[str] = set()  # paths that lead to a field without a value
        self._by_language = [path for path in self._unseen if PLACEHOLDER in path]
        self._without: dict[str, set[str]] = {}  # language -> paths without a text in it so far
        self._example: tuple[object, str] | None = None

    def watch(self, record: object, language: str = "") -> None:
        """Note which fields a record has; every record is watched before it is read."""
        self._example = self._example or (record, language)
        without = self._without.setdefault(language, set(self._by_language)) if self._by_language else set()
        without -= {path for path in without if not all(map(is_missing, values(record, path, language)))}
        if not self._unseen:
            return
        for path in list(self._unseen):
            entries = list(values(record, path, language))
            if any(value is not None for value in entries):
                del self._unseen[path]
            elif entries:
                self._empty.add(path)

    def check(self) -> None:
        """Raise `DataError` if no record has a field of the recipe, or if a field has lists written as text."""
        for path, key in self._unseen.items():
            if path not in self._empty:
                raise DataError(f"{self.name} has no field '{path}' for `{key}`{self.hint(path)}")
        self._written.check()

    def missing(self, key: str, language: str) -> list[str]:
        """Return the fields for a key of the recipe in a language if no record has a text in them."""
        paths = self.keys.get(key, [])
        without = self._without.get(language, set())
        return [path.replace(PLACEHOLDER, language) for path in paths] if paths and without.issuperset(paths) else []

    @property
    def names(self) -> list[str]:
        """The names of the fields of the first record."""
        record, _ = self._example or ({}, "")
        return [str(name) for name in record] if isinstance(record, Mapping) else []

    def hint(self, path: str) -> str:
        """Return the fields with names like the first step of `path` that the first record lacks, or all fields."""
        value, language = self._example or ({}, "")
        for step in path.replace(PLACEHOLDER, language).split("."):
            if isinstance(value, Mapping):
                if step not in value:
                    names = [str(name) for name in value]
                    return did_you_mean(step, names) or f" (it has {', '.join(names[:_NAMES_SHOWN]) or 'no fields'})"
                value = value[step]
            elif isinstance(value, list) and value and (step == "*" or step.isdecimal()):
                value = value[0]
            else:
                return ""
        return ""

    def joined(self, record: object, fields: Fields, language: str, position: str) -> str:
        """Return the text at a path, or the texts at several paths joined by a space; missing texts are left out.

        Of a path with ``*``, the first text is taken. Raises `DataError` for a value that is not a text.
        """
        if isinstance(fields, str):
            return self._single(record, fields, language, position)
        return _join([self._single(record, path, language, position) for path in fields])

    def several(
        self, record: object, entries: Iterable[Fields], language: str, position: str, *, complete: bool = True
    ) -> list[str]:
        """Return the different texts of some entries, in order.

        A path may lead to a list of texts. In an entry of several paths, lists are joined member by member, and a
        single text with every member; if `complete`, a member needs the last of these texts, for which the texts before
        it are headings. Raises `DataError` for a value without text, and for lists of different length.
        """
        texts: dict[str, None] = {}
        for entry in entries:
            if isinstance(entry, str):
                members = self._texts(record, entry, language, position)
                texts |= dict.fromkeys([members.strip()] if isinstance(members, str) else map(str.strip, members))
            else:
                texts |= dict.fromkeys(self._rows(record, entry, language, position, complete=complete))
        texts.pop("", None)
        return list(texts)

    def members(self, record: object, path: str, language: str, position: str) -> list[str]:
        """Return the texts at a path in the order of the data, with repeated and empty texts."""
        texts = self._texts(record, path, language, position)
        return [texts.strip()] if isinstance(texts, str) else [text.strip() for text in texts]

    def _rows(
        self, record: object, paths: tuple[str, ...], language: str, position: str, *, complete: bool
    ) -> Iterator[str]:
        """Yield the texts of an entry of several paths."""
        columns = [self._texts(record, path, language, position) for path in paths]
        lengths = {len(column) for column in columns if isinstance(column, list)}
        if len(lengths) > 1:
            names = " and ".join(path.replace(PLACEHOLDER, language) for path in paths)
            raise DataError(f"{position} has lists of different length in {names}, which are joined")
        for number in range(max(lengths, default=1)):
            row = [column if isinstance(column, str) else column[number] for column in columns]
            if row[-1].strip() or not complete:
                yield _join(row)

    def _single(self, record: object, path: str, language: str, position: str) -> str:
        texts = self._texts(record, path, language, position)
        if isinstance(texts, str):
            return texts.strip()
        present = [text.strip() for text in texts if text.strip()]
        if len(present) > 1 and "*" not in path.split("."):
            where = path.replace(PLACEHOLDER, language)
            raise DataError(f"{position} has {len(present)} texts in {where}: name a member, such as {where}.0")
        return present[0] if present else ""

    def _texts(self, record: object, path: str, language: str, position: str) -> str | list[str]:
        """Return the text at a path, or the list of texts; a missing text is empty."""
        if path in self._plain and type(record) is dict and type(value := record.get(path)) is str:
            text = self._text(value, path, position)
            if text and not text.isspace():
                self._written.add(path, text)
            return text
        where = path.replace(PLACEHOLDER, language)
        if "*" in path.split("."):
            return [self._text(value, where, position) for value in values(record, path, language)]
        value = first_value(record, path, language)
        if isinstance(value, Mapping) and isinstance(value.get("text"), list):
            value = _members(value)
        if isinstance(value, list):
            return [self._text(member, where, position, listed=True) for member in value]
        text = self._text(value, where, position)
        if text.strip():
            self._written.add(path, text)
        return text

    def _text(self, value: Any, where: str, position: str, *, listed: bool = False) -> str:
        if isinstance(value, str):
            return value if encodable(value) else checked_text(value, Row({}, position), where)
        if is_missing(value):
            return ""
        if isinstance(value, Mapping) and isinstance(value.get("text"), str):
            title = value.get("title")
            if isinstance(title, str) and title.strip():
                self.titled.add(f"{where}.*" if listed else where)
                return self._text(_join([title, value["text"]]), where, position)
            return self._text(value["text"], where, position)
        if isinstance(value, Mapping):
            names = ", ".join(str(name) for name in list(value)[:_NAMES_SHOWN])
            member = f"{where}.*" if listed else where
            raise DataError(
                f"{position} has a mapping in {where} ({names}): name the field of the text, {member}.FIELD"
            )
        if listed:
            raise DataError(f"{position} has something other than texts in {where}")
        raise DataError(f"{position} has no text but {type(value).__name__} in {where}")


def _members(columns: Mapping[str, Any]) -> list[Any]:
    """Return the members of a list that is stored as a mapping of columns, as in the answers of SQuAD."""
    texts, titles = columns["text"], columns.get("title")
    if not isinstance(titles, list) or len(titles) != len(texts):
        return list(texts)
    return [{"title": title, "text": text} for title, text in zip(titles, texts, strict=True)]


def _join(texts: list[str]) -> str:
    return " ".join(text.strip() for text in texts if text.strip())


# Grades


def grades_at(record: object, path: str, language: str, position: str) -> list[int]:
    """Return the grades at a path: that of a record, or those of its passages; empty if there are none.

    Raises `DataError` with the position for a value that is not a grade. For example, with the path
    ``passages.is_selected``, the record ``{"passages": {"is_selected": [0, 1]}}`` has the grades 0 and 1.
    """
    members = list(values(record, path, language))
    if len(members) == 1 and isinstance(members[0], list):
        return [_grade(value, position) for value in members[0]]
    return [_grade(value, position) for value in members if "*" in path or not is_missing(value)]


def _grade(value: object, position: str) -> int:
    if is_missing(value):
        return 0
    return parse_grade(str(int(value) if isinstance(value, bool) else value), position)


def relevant(texts: Sequence[str], grades: Sequence[int], path: str, position: str) -> list[str]:
    """Return the texts with a grade above 0; a single grade is that of all texts.

    Raises `DataError` if texts and grades have different numbers. For example,
    ``relevant(["a", "b"], [0, 1], "rel", "t.csv:1")`` is ``["b"]``.
    """
    if len(grades) == 1:
        return list(texts) if grades[0] > 0 else []
    if len(texts) != len(grades):
        raise DataError(
            f"{position} has {len(texts)} passages and {len(grades)} grades in '{path}': `grade` needs a grade for each"
        )
    return [text for text, grade in zip(texts, grades, strict=True) if grade > 0]


class Unread:
    """Fields that look like grades, and that the recipe does not name."""

    def __init__(self, name: str, passages: Sequence[str], named: Sequence[str]) -> None:
        self._name, self._named = name, set(named)
        self._parents = list(dict.fromkeys(["", *(path.rpartition(".")[0] for path in passages)]))
        self._lists = [path for path in passages if "*" not in path]
        self._counts: dict[str, Counter[bool]] = defaultdict(Counter)
        self._records = 0

    def watch(self, record: object, language: str) -> None:
        """Count the grades of a record: 0, or others."""
        self._records += 1
        if self._records > _SEARCHED:
            return
        for parent in self._parents:
            for member in values(record, parent, language) if parent else [record]:
                self._count(parent, member)
        for path in self._lists:
            members = first_value(record, path, language)
            for member in members if isinstance(members, list) else ():
                self._count(f"{path}.*", member)

    def _count(self, parent: str, fields: object) -> None:
        if not isinstance(fields, Mapping):
            return
        names = [*usual_fields(fields, "grade"), *(["score"] if parent.endswith("*") and "score" in fields else [])]
        for name in names:
            for value in _numbers(fields[name]):
                self._counts[f"{parent}.{name}".lstrip(".")][value > 0] += 1

    def warn(self) -> None:
        """Log the fields that have both grades above 0 and others, which are not read."""
        for path, counts in self._counts.items():
            if len(counts) == 2 and path not in self._named:
                log.warning(
                    f"{self._name}: passages are judged in '{path}' ({counts[False]:,} with 0), and all are read as "
                    f"answers. Set `grade: {path}` to read those above 0 only"
                )


def _numbers(value: Any) -> Iterator[float]:
    """Yield the numbers in a value or a list, also those in cells of a table."""
    for member in value if isinstance(value, list) else [value]:
        try:
            yield float(member)
        except (TypeError, ValueError):
            continue
