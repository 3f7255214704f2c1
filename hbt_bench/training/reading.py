"""Read the records of a source into the pieces of its items, and report what is missing in them."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from hbt_bench.data.records import PLACEHOLDER, Row, checked_text, first_value, identifier, is_missing, same_value
from hbt_bench.data.row_fields import usual_fields
from hbt_bench.errors import DataError
from hbt_bench.languages import general, read_label
from hbt_bench.training.fields import (
    FieldReader,
    Unread,
    alternatives,
    entries_of,
    grades_at,
    paths_of,
    relevant,
    shown,
)
from hbt_bench.training.pairing import pair
from hbt_bench.training.parallel import MISSING, ParallelText
from hbt_bench.training.records import Records
from hbt_bench.training.source_labels import Labels
from hbt_bench.training.table import MORE, NEGATIVE, PASSAGE, QUERY, TableWriter, TextTable, single_spaced, with_codes

log = logging.getLogger(__name__)

#: The field of a parallel record that maps languages to their content.
TEXTS = "texts"
#: The fields, and the values of a field, that a message names at most.
_SHOWN = 8


def read_items(name: str, spec: Records, records: Iterable[tuple[str, Mapping[str, Any]]]) -> ParallelText:
    """Build parallel items from records with their positions.

    Raises `DataError` with the position for a record without a known language, a field that is not a text and a
    repeated id, and if no record fits or a field is missing in all records. For example,
    ``read_items("faq", spec, [("faq.jsonl:1", {"q": "Who?", "a": "Ann."})])``.
    """
    reading = _Reading(name, spec)
    for position, record in records:
        reading.add(position, record)
    items, unpaired = pair(name, reading.table(), spec.is_parallel, spec.id_advice(reading.names))
    _check_complete(name, spec, items)
    if spec.max_negatives and spec.negative is None:
        log.warning(f"{name}: `max_negatives` has no effect without `negative`, the field of the hard negatives")
    source = ParallelText.from_table(
        name, items, bitext=spec.bitext, max_negatives=spec.max_negatives, unpaired=unpaired
    )
    _log_depth(source)
    return source


class _Reading:
    """The records of a source while they are read."""

    def __init__(self, name: str, spec: Records) -> None:
        self.name, self.spec = name, spec
        self._table = TableWriter()  # the texts are under the codes of the data
        self._without_id = self._without_group = 0
        keys = {"where": list(spec.where), "language_field": paths_of(spec.language_field)}
        keys |= {"part": [spec.part.by] if spec.part else [], "next_in": paths_of(spec.next_in)}
        keys["id"] = [] if spec.id_field in (None, "id") else paths_of(spec.id_field)
        self._fields = FieldReader(name, keys)
        texts = {"query": spec.query, "passage": spec.passage, "negative": spec.negative}
        paths = {key: paths_of(fields) for key, fields in texts.items()}
        self._texts = FieldReader(name, paths | ({"grade": [spec.grade]} if spec.grade else {}))
        self._unread = Unread(
            name, paths["passage"], [*spec.where, *(path for each in paths.values() for path in each)]
        )
        self._values: dict[str, Counter[str]] = {field: Counter() for field in spec.where}
        self._labels = Labels(name, spec.labels, spec.chosen, spec.preferred)
        self._false_negatives = 0
        self._others: dict[str, Counter[str]] = defaultdict(
            Counter
        )  # languages in fields that the recipe does not name
        self._language_fields: dict[tuple[str, ...], set[str]] = {}  # by the fields of a record
        self._group: object = None
        self._count = 0

    def add(self, position: str, record: Mapping[str, Any]) -> None:
        """Read a record, unless `where` and `part` leave it out."""
        self._count += 1
        self._fields.watch(record)
        if not self._selects(record, position):
            return
        self._notice(record)
        field = self.spec.id_field
        key = None if field is None else identifier(record[field] if field in record else self._found(record, field))
        if key is not None:
            checked_text(key, Row(record, position), str(field))
        self._without_id += key is None
        follows = self._follows(record)
        self._table.owner(key, position)
        for label, content in self._by_language(record, position).items():
            self._labels.count(label, position)
            if self._labels.is_wanted(label):
                self._texts.watch(content, label)
                self._read(label, content, position, follows)

    @staticmethod
    def _found(record: Mapping[str, Any], path: str) -> Any:
        """Return the value at a path that is not the name of a field of a record."""
        return first_value(record, path) if "." in path or PLACEHOLDER in path else None

    def _follows(self, record: Mapping[str, Any]) -> bool:
        """Return whether the passage of a record is that of the record before it."""
        if not self.spec.next_in:
            return False
        before, self._group = self._group, first_value(record, self.spec.next_in)
        if is_missing(self._group):
            self._without_group += 1
            return False
        return len(self._table) > 0 and self._group == before

    def _notice(self, record: Mapping[str, Any]) -> None:
        """Count the values of fields that look like a language, if it is not the language that the recipe states."""
        if isinstance(record.get(TEXTS), Mapping):
            return
        field = self.spec.language_field
        stated = read_label(first_value(record, field), rare=True) if field else self.spec.single
        if stated is None:
            return
        fields = tuple(record)
        if (names := self._language_fields.get(fields)) is None:
            names = {*usual_fields(record, "language"), *(name for name in record if "lang" in name.lower())}
            self._language_fields[fields] = names
        for name in names:
            code = read_label(record[name]) if name != field else None
            if code and general(code) != general(stated):
                self._others[name][str(record[name])] += 1

    def _warn_of_languages(self) -> None:
        for field, labels in sorted(self._others.items()):
            shown = ", ".join(f"'{label}' ({count:,})" for label, count in labels.most_common(_SHOWN))
            advice = f"Set `language_field: {field}` to read it"
            if self.spec.language_field:
                advice = (
                    "If query and passage have different languages, write records with texts by language, such as "
                    '{"texts": {"en": {"q": ...}, "de": {"p": ...}}}'
                )
            log.warning(
                f"{self.name}: {labels.total():,} of {len(self._table):,} records have another language in '{field}' "
                f"than that they are read in: {shown}. {advice}"
            )

    @property
    def names(self) -> list[str]:
        """The names of the fields of the first record."""
        return self._fields.names[:_SHOWN]

    def table(self) -> TextTable:
        """Return what was read, under our codes; raises `DataError` if a field or all records are missing."""
        if not self._count:
            raise DataError(f"{self.name} has no records")
        self._fields.check()
        if not len(self._table):
            raise DataError(f"{self.name} has no record that fits: check `where` and `part`{self._values_shown()}")
        codes = self._labels.codes()
        self._texts.check()
        if self.spec.chosen and not self.spec.language_field:
            self._check_languages(codes)
        self._warn_of_languages()
        self._unread.warn()
        for path in sorted(self._texts.titled):
            log.info(f"{self.name}: titles in '{path}' stand before their texts; name '{path}.text' for the text alone")
        if self._false_negatives:
            log.warning(
                f"{self.name}: left out {self._false_negatives:,} hard negatives that equal a passage of their item"
            )
        if 0 < self._without_id < len(self._table):
            log.warning(
                f"{self.name}: {self._without_id} of {len(self._table)} records have no '{self.spec.id_field}', so "
                "they are paired with no other record"
            )
        if self._without_group:
            log.warning(
                f"{self.name}: {self._without_group:,} of {len(self._table):,} records have no "
                f"'{self.spec.next_in}' (`next_in`), so no record follows them"
            )
        return with_codes(self._table.done(), codes)

    def _check_languages(self, codes: Mapping[str, str]) -> None:
        """Raise `DataError` if a language has neither queries nor passages; log what it lacks otherwise."""
        for label, code in codes.items():
            lacking = {key: self._texts.missing(key, label) for key in self._texts.keys}
            if lacking["query"] and lacking["passage"]:
                shown = " and ".join(f"'{', '.join(lacking[key])}'" for key in ("query", "passage"))
                raise DataError(
                    f"{self.name} has no text in {shown}, its `query` and `passage` in {code}: leave {code} out of "
                    f"`languages`, or map its code, as in `languages: {{{code}: CODE}}`"
                )
            for key, fields in lacking.items():
                if fields:
                    log.warning(f"{self.name} has no text in '{', '.join(fields)}', its `{key}` in {code}")

    def _selects(self, record: Mapping[str, Any], position: str) -> bool:
        """Return whether `where` and `part` keep a record; raises `DataError` if `part` has no value to divide by."""
        for field, expected in self.spec.where.items():
            value = first_value(record, field)
            if value is None or not same_value(value, expected):
                if value is not None and len(self._values[field]) < _SHOWN:
                    self._values[field][f"{value}"] += 1
                return False
        return self.spec.part is None or self.spec.part.keeps(Row(record, position))

    def _values_shown(self) -> str:
        fields = (
            f"`{field}` is " + ", ".join(f"'{value:.40}'" for value in values)
            for field, values in self._values.items()
            if values
        )
        text = "; ".join(fields)
        return f" ({text})" if text else ""

    def _by_language(self, record: Mapping[str, Any], position: str) -> dict[str, Any]:
        """Return the content of a record by the data's code of the language."""
        spec = self.spec
        if isinstance(record.get(TEXTS), Mapping):
            key = "language" if spec.language else "language_field"
            if value := spec.language or spec.language_field:
                code = spec.language or "CODE"
                raise DataError(
                    f"{position} has texts by language, so it takes no `{key}: {value}`: leave `{key}` out, or choose "
                    f"languages with `languages: [{code}]`"
                )
            return {
                str(label): {"text": content} if isinstance(content, str) else content
                for label, content in record[TEXTS].items()
            }
        if spec.languages and not spec.language_field:
            if len(spec.languages) > 1:
                self._check_paths(position)
            return dict.fromkeys(spec.labels.values(), record)
        label = spec.language or (first_value(record, spec.language_field) if spec.language_field else None)
        if label is None and not spec.language_field:
            raise DataError(f"{position} has no language: set `language` or `language_field` in the recipe")
        if label is None or label == "":
            self._labels.count(None, position)
            return {}
        return {str(label): record}

    def _check_paths(self, position: str) -> None:
        """Raise `DataError` if a text would count as a text of several languages."""
        codes = " and ".join(self.spec.languages)
        shared = self.spec.keys_without_language()
        if len(shared) == 2 + (self.spec.negative is not None):
            field = next(usual_fields(self.names, "language"), None)
            advice = f"`language_field: {field}`" if field else "`language_field` to the field with the language"
            raise DataError(
                f"{position} has no texts by language, but `languages` names {codes}: set {advice}, or write paths "
                f"with {PLACEHOLDER}, such as `query: {next(iter(shared.values()))}_{PLACEHOLDER}`"
            )
        for key, path in shared.items():
            raise DataError(
                f"{position}: `{key}: {path}` is the same text for {codes}: write a path with {PLACEHOLDER}. A "
                f"language without such a field has no `{key}`"
            )

    def _read(self, label: str, content: Any, position: str, follows: bool) -> None:
        """Add the texts of a record in a language; if it `follows` another record, the passages are that record's."""
        spec, texts, add = self.spec, self._texts, self._table.add
        if query := texts.joined(content, spec.query, label, position):
            add(label, QUERY, single_spaced(query))
        passages = [single_spaced(text) for text in self._passages(label, content, position)]
        if passages and (follows or not spec.next_in):
            add(label, PASSAGE, passages[0], before=follows)
        if spec.negative is not None:
            negatives = texts.several(content, alternatives(spec.negative), label, position)
            spaced = [text for text in map(single_spaced, negatives) if text not in passages]
            for text in spaced:
                add(label, NEGATIVE, text)
            self._false_negatives += len(negatives) - len(spaced)
        for text in passages[1:] if follows or not spec.next_in else ():
            add(label, MORE, text, before=follows)

    def _passages(self, label: str, content: Any, position: str) -> list[str]:
        """Return the different passages of a record in a language, without those that its grades call irrelevant."""
        path, grade = self.spec.passage, self.spec.grade
        if grade is None or not isinstance(path, str):
            self._unread.watch(content, label)
            return self._texts.several(content, entries_of(path), label, position, complete=False)
        grades = grades_at(content, grade, label, position)
        texts = relevant(self._texts.members(content, path, label, position), grades, grade, position) if grades else []
        return [text for text in dict.fromkeys(texts) if text]


def _check_complete(name: str, spec: Records, items: TextTable) -> None:
    """Log the number of items without a query or a passage, which are left out.

    Raises `DataError` if no item has a text in a field, or no hard negative although the recipe names some.
    """
    has = {role: np.zeros(len(items.names), dtype=np.bool_) for role in (QUERY, PASSAGE)}
    for role, present in has.items():
        present[items.owner[items.role == role]] = True
    for key, role in (("query", QUERY), ("passage", PASSAGE)):
        path = shown(getattr(spec, key))
        reason = f"their `{key}` '{path}' is empty"
        if spec.grade and key == "passage":
            reason = f"they have no `{key}` with a `grade` above 0"
        if not has[role].any():
            if spec.grade and key == "passage":
                raise DataError(f"{name} has no item to train on: {reason}")
            raise DataError(f"{name} has no text in '{path}', its `{key}`: the field is empty")
        missing = np.count_nonzero(~has[role] & (has[QUERY] | has[PASSAGE]))
        if missing and not (spec.next_in and key == "passage"):
            log.warning(f"{name}: {missing:,} of {len(items.names):,} items are left out, because {reason}")
    if spec.negative is not None and not (items.role == NEGATIVE).any():
        raise DataError(
            f"{name} has no hard negative in '{shown(spec.negative)}': check the name of the field, or leave "
            "`negative` out"
        )


def _log_depth(source: ParallelText) -> None:
    """Log the number of hard negatives of a row, if it is not the number of each item."""
    lengths = source.negatives.lengths()[source.passages.ravel() != MISSING]
    if source.depth and (lengths != source.depth).any():
        log.info(
            f"{source.name}: items have {lengths.min()} to {lengths.max()} hard negatives; each row has {source.depth} "
            "(`max_negatives`), drawn from its own or else from those of other items in the language"
        )
