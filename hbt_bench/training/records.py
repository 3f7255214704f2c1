"""Records of training data: which fields are query, passage and hard negative, and how records become parallel items.

Fields are paths as in `hbt_bench.data.records`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from hbt_bench.data.records import PLACEHOLDER, first_value, values
from hbt_bench.errors import DataError, did_you_mean
from hbt_bench.languages import LANGUAGES
from hbt_bench.training.parallel import Item, ParallelText
from hbt_bench.training.strategies import StrategyName

Code = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]
#: A path, or several paths with texts to join by a space.
Fields = str | tuple[str, ...]
#: The field of a parallel record that maps languages to their content.
TEXTS = "texts"


class TrainingSource(BaseModel):
    """The fields that every kind of source has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: How the batches of this source are drawn, if not as in the recipe.
    strategy: StrategyName | None = None
    #: The weight with which the source is drawn, instead of the recipe's `source_weights`.
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class Part(BaseModel):
    """A share of a source's records: the hash of field `by`, mapped to [0, 1), lies in [start, end).

    For example, ``Part(by="doc", end=0.9)`` keeps the records of about 90 % of the documents.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: str
    start: Annotated[float, Field(ge=0, lt=1)] = 0.0
    end: Annotated[float, Field(gt=0, le=1)] = 1.0

    def __contains__(self, value: object) -> bool:
        share = int.from_bytes(hashlib.sha256(str(value).encode()).digest()[:8], "big") / 2**64
        return self.start <= share < self.end


class Records(TrainingSource):
    """The fields that sources of records have: the paths of query, passage and hard negative.

    A record with a mapping `texts` is parallel: the paths start in each language's entry, and an entry that is a plain
    text is its field ``text``. A record with several `languages` has paths such as ``queries.{language}``. Any other
    record is in `language`, or in the language that `language_field` names. Records that share an `id` in several
    languages are a single parallel item. `where` keeps records with these values.
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
        """Whether query and passage are the same text, so that a pair in a single language teaches nothing."""
        return self.query == self.passage and self.next_in is None

    def items(self, name: str, records: Iterable[tuple[str, Mapping[str, Any]]]) -> ParallelText:
        """Build parallel items from records with their positions.

        Raises `DataError` with the position for a record without a known language, a field that is not a text and a
        repeated id, and if no record fits or a field is missing in all records.
        """
        items: dict[str, Item] = {}
        present: set[str] = set()
        last: Item | None = None
        group: object = None
        for position, record in records:
            present |= {field for field in self._needed if first_value(record, field) is not None}
            if not self._selects(record):
                continue
            key = position if record.get(self.id) is None else str(record[self.id])
            item = items.setdefault(key, Item(key, {}, {}, {}))
            for language, content in self._by_language(record, position).items():
                self._add(item, language, content, position)
            if self.next_in:
                if last is not None and first_value(record, self.next_in) == group:
                    items[last.id] = replace(last, passages=item.passages)
                last, group = item, first_value(record, self.next_in)
                items[key] = replace(item, passages={})
        self._check(name, items, present)
        return ParallelText.from_items(name, items.values(), bitext=self.bitext)

    def _selects(self, record: Mapping[str, Any]) -> bool:
        """Return whether `where` and `part` keep a record."""
        return all(first_value(record, field) == value for field, value in self.where.items()) and (
            self.part is None or first_value(record, self.part.by) in self.part
        )

    def _check(self, name: str, items: Mapping[str, Item], present: set[str]) -> None:
        """Raise `DataError` if no record has a field that the recipe names, or if there are no items."""
        for field in self._needed:
            if field not in present:
                raise DataError(f"{name} has no field '{field}': check `part` and `next_in`")
        if not items:
            raise DataError(f"{name} has no record that fits: check `where` and `part`")
        if self.negative is not None and not any(item.negatives for item in items.values()):
            raise DataError(f"{name} has no hard negative in '{self.negative}': check the name of the field")

    @property
    def _needed(self) -> list[str]:
        """The fields, other than texts, that decide how records are read."""
        return [field for field in (self.part.by if self.part else None, self.next_in) if field is not None]

    @model_validator(mode="after")
    def _successors(self) -> Self:
        if self.next_in and self.language_field:
            raise ValueError(
                "`next_in` needs all languages of a sentence in one record, so it takes no `language_field`"
            )
        return self

    def _by_language(self, record: Mapping[str, Any], position: str) -> dict[str, Any]:
        """Return the content of a record by language."""
        if isinstance(record.get(TEXTS), Mapping):
            contents = {
                code: {"text": content} if isinstance(content, str) else content
                for code, content in record[TEXTS].items()
                if not self.languages or code in self.languages
            }
        elif self.languages:
            contents = dict.fromkeys(self.languages, record)
        else:
            code = self.language or (first_value(record, self.language_field) if self.language_field else None)
            if code is None:
                raise DataError(f"{position} has no language: set `language` or `language_field` in the recipe")
            contents = {str(code): record}
        for code in contents:
            if code not in LANGUAGES:
                raise DataError(f"{position} has the unknown language code '{code}'{did_you_mean(code, LANGUAGES)}")
        return contents

    def _add(self, item: Item, language: str, content: Any, position: str) -> None:
        query = _joined_text(content, self.query, language, position)
        passage = _joined_text(content, self.passage, language, position)
        queries, passages, negatives = item.queries, item.passages, item.negatives
        assert isinstance(queries, dict) and isinstance(passages, dict) and isinstance(negatives, dict)  # noqa: PT018
        if language in queries or language in passages:
            raise DataError(
                f"{position} repeats the id '{item.id}' in '{language}': set `id` to a field that is unique per record"
            )
        if query:
            queries[language] = query
        if passage:
            passages[language] = passage
        if self.negative is not None and (texts := _texts(content, self.negative, language, position)):
            negatives[language] = texts


def _joined_text(record: object, fields: Fields, language: str, position: str) -> str:
    """Return the texts at the paths, joined by a space; missing texts are left out."""
    paths = (fields,) if isinstance(fields, str) else fields
    texts = [first_value(record, path, language) for path in paths]
    for text in texts:
        if text is not None and not isinstance(text, str):
            names = " ".join(path.replace(PLACEHOLDER, language) for path in paths)
            raise DataError(f"{position} has no text but {type(text).__name__} in {names}")
    return " ".join(text.strip() for text in texts if text and text.strip())


def _texts(record: object, fields: Fields, language: str, position: str) -> list[str]:
    """Return hard negatives: a text, a list of texts, or all texts of a path with ``*``."""
    if isinstance(fields, str) and "*" in fields.split("."):
        texts: Any = [value for value in values(record, fields, language) if value is not None]
    else:
        texts = first_value(record, fields, language) if isinstance(fields, str) else None
    if not isinstance(texts, list):
        text = _joined_text(record, fields, language, position)
        return [text] if text else []
    if not all(isinstance(text, str) for text in texts):
        raise DataError(f"{position} has something other than texts in {fields}")
    return texts
