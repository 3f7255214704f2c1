"""Records of training data: which fields are query, passage and hard negative, and how they become parallel items."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from hbt_bench.errors import DataError, did_you_mean
from hbt_bench.languages import LANGUAGES
from hbt_bench.training.parallel import Item, ParallelText
from hbt_bench.training.strategies import Strategy

Code = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]
#: A field of a record: dots go into mappings and lists, several fields are joined by a space.
Fields = str | tuple[str, ...]
#: The field of a parallel record that has a part for each language.
TEXTS = "texts"


class TrainingSource(BaseModel):
    """What every source has: a strategy and a weight of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: How the batches of this source are drawn, when otherwise than the recipe says.
    strategy: Strategy | None = None
    #: With what weight the source is picked, in place of the recipe's `source_weights`.
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class Part(BaseModel):
    """A share of a source's records: those whose field `by`, hashed to [0, 1), falls into [start, end)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: str
    start: Annotated[float, Field(ge=0, lt=1)] = 0.0
    end: Annotated[float, Field(gt=0, le=1)] = 1.0

    def __contains__(self, value: object) -> bool:
        share = int.from_bytes(hashlib.sha256(str(value).encode()).digest()[:8], "big") / 2**64
        return self.start <= share < self.end


class Records(TrainingSource):
    """What record sources share: which fields of a record are query, passage and hard negative.

    A record with a mapping `texts` is parallel: the fields are looked up in each language's part of it, or the part
    is the text itself for the field ``text``. A record with a column for each of several `languages` has fields like
    ``queries.{language}``. Any other record is in one `language`, or in that of `language_field`; records that share
    an `id` in several languages are one parallel item. `where` keeps the records that have these
    values.
    """

    name: str | None = None
    query: Fields
    passage: Fields
    negative: Fields | None = None
    id: str = "id"
    languages: tuple[Code, ...] = ()
    language: Code | None = None
    language_field: str | None = None
    where: dict[str, str | int | float | bool] = Field(default_factory=dict)
    part: Part | None = None
    #: A field such as the document of a sentence: the passage is then that of the next record with the same value.
    next_in: str | None = None

    @property
    def bitext(self) -> bool:
        """Whether query and passage are the same text, so that a pair of one language teaches nothing."""
        return self.query == self.passage and self.next_in is None

    def items(self, name: str, records: Iterable[tuple[str, Mapping[str, Any]]]) -> ParallelText:
        """Gather records, each with its place for messages, into parallel items; raises `DataError`."""
        found: dict[str, Item] = {}
        met: set[str] = set()
        last: Item | None = None
        group: object = None
        for place, record in records:
            met |= {field for field in self._needed if _value(record, field) is not None}
            if not self._wanted(record):
                continue
            key = place if record.get(self.id) is None else str(record[self.id])
            item = found.setdefault(key, Item(key, {}, {}, {}))
            for language, content in self._by_language(record, place).items():
                self._add(item, language, content, place)
            if self.next_in:
                if last is not None and _value(record, self.next_in) == group:
                    found[last.id] = replace(last, passages=item.passages)
                last, group = item, _value(record, self.next_in)
                found[key] = replace(item, passages={})
        self._check(name, found, met)
        return ParallelText.from_items(name, found.values(), bitext=self.bitext)

    def _wanted(self, record: Mapping[str, Any]) -> bool:
        """Whether `where` and `part` keep a record."""
        return all(_value(record, field) == value for field, value in self.where.items()) and (
            self.part is None or _value(record, self.part.by) in self.part
        )

    def _check(self, name: str, found: Mapping[str, Item], met: set[str]) -> None:
        """Raise `DataError` when a field that was named is nowhere, or nothing was found."""
        for field in self._needed:
            if field not in met:
                raise DataError(f"{name} has no field '{field}': check `part` and `next_in`")
        if not found:
            raise DataError(f"{name} has no record that fits: check `where` and `part`")
        if self.negative is not None and not any(item.negatives for item in found.values()):
            raise DataError(f"{name} has no hard negative in '{self.negative}': check the name of the field")

    @property
    def _needed(self) -> list[str]:
        """The fields that decide what is read, besides the texts."""
        return [field for field in (self.part.by if self.part else None, self.next_in) if field is not None]

    @model_validator(mode="after")
    def _successors(self) -> Self:
        if self.next_in and self.language_field:
            raise ValueError(
                "`next_in` needs all languages of a sentence in one record, so it takes no `language_field`"
            )
        return self

    def _by_language(self, record: Mapping[str, Any], place: str) -> dict[str, Any]:
        if isinstance(record.get(TEXTS), Mapping):
            parts = {
                code: {"text": part} if isinstance(part, str) else part
                for code, part in record[TEXTS].items()
                if not self.languages or code in self.languages
            }
        elif self.languages:
            parts = dict.fromkeys(self.languages, record)
        else:
            code = self.language or (_value(record, self.language_field) if self.language_field else None)
            if code is None:
                raise DataError(f"{place} does not say its language: give `language` or `language_field` in the recipe")
            parts = {str(code): record}
        for code in parts:
            if code not in LANGUAGES:
                raise DataError(f"{place} has the unknown language code '{code}'{did_you_mean(code, LANGUAGES)}")
        return parts

    def _add(self, item: Item, language: str, content: Any, place: str) -> None:
        query, passage = _text(content, self.query, language, place), _text(content, self.passage, language, place)
        queries, passages, negatives = item.queries, item.passages, item.negatives
        assert isinstance(queries, dict) and isinstance(passages, dict) and isinstance(negatives, dict)  # noqa: PT018
        if language in queries or language in passages:
            raise DataError(
                f"{place} is another record with the id '{item.id}' in '{language}': name a field that tells records "
                "apart with `id`"
            )
        if query:
            queries[language] = query
        if passage:
            passages[language] = passage
        if self.negative is not None and (texts := _texts(content, self.negative, language, place)):
            negatives[language] = texts


def _value(record: object, field: str) -> Any:
    """The value at a dotted path, None where there is none."""
    for step in field.split("."):
        if isinstance(record, Mapping):
            record = record.get(step)
        elif isinstance(record, list) and step.isdigit():
            record = record[int(step)] if int(step) < len(record) else None
        else:
            return None
    return record


def _text(record: object, fields: Fields, language: str, place: str) -> str:
    names = [field.replace("{language}", language) for field in ((fields,) if isinstance(fields, str) else fields)]
    parts = [_value(record, name) for name in names]
    for part in parts:
        if part is not None and not isinstance(part, str):
            raise DataError(f"{place} has no text but {type(part).__name__} in {' '.join(names)}")
    return " ".join(part.strip() for part in parts if part and part.strip())


def _texts(record: object, fields: Fields, language: str, place: str) -> list[str]:
    """Hard negatives: one text, or a list of them."""
    value = _value(record, fields.replace("{language}", language)) if isinstance(fields, str) else None
    if not isinstance(value, list):
        text = _text(record, fields, language, place)
        return [text] if text else []
    if not all(isinstance(text, str) for text in value):
        raise DataError(f"{place} has something other than texts in {fields}")
    return value
