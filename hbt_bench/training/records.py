"""The keys of sources of records in recipes. Fields of records are paths as in `hbt_bench.data.records`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)

from hbt_bench.data.records import PLACEHOLDER
from hbt_bench.languages.codes import by_code, check_distinct, check_language, labels_by_code
from hbt_bench.tasks.schema import Part
from hbt_bench.training.fields import Entries, Fields, paths_of
from hbt_bench.training.strategies import StrategyName
from hbt_bench.yaml_file import GrowingModel


def _with_labels(languages: object) -> object:
    """Check codes. A list with other spellings than ours, which are those of the data, becomes a mapping."""
    if isinstance(languages, Mapping):
        return labels_by_code(languages)
    if not isinstance(languages, list | tuple):
        return languages
    check_distinct(languages)
    labels = by_code({str(code): code for code in languages})
    return list(labels) if list(labels) == list(labels.values()) else labels


#: A language's code in any spelling.
Code = Annotated[str, AfterValidator(check_language)]
#: Texts by language; the codes become ours.
ByLanguage = Annotated[
    dict[str, str], BeforeValidator(lambda value: by_code(value) if isinstance(value, Mapping) else value)
]


class TrainingSource(GrowingModel):
    """The fields that every kind of source has."""

    #: How the batches of this source are drawn, if not as in the recipe.
    strategy: StrategyName | None = None
    #: The weight with which the source is drawn, instead of the recipe's `source_weights`.
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    _preferred: tuple[str, ...] = PrivateAttr(())

    def preferring(self, languages: Iterable[str]) -> Self:
        """Return the source with the codes of the recipe, which keep their region: "pt-BR" is then not read as "pt"."""
        copy = self.model_copy()
        copy._preferred = tuple(languages)
        return copy

    @property
    def preferred(self) -> tuple[str, ...]:
        """The codes of `preferring`."""
        return self._preferred

    def version(self, folders: Sequence[Path]) -> str:
        """Return the version of the data, if other fields do not identify their content."""
        return ""


class Records(TrainingSource):
    """The fields that sources of records have: the paths of query, passage and hard negative.

    A record with a mapping `texts` is parallel: the paths start in each language's entry, and an entry that is a plain
    text is its field ``text``. A record with several `languages` has paths such as ``queries.{language}``. Any other
    record is in `language`, or in the language that `language_field` names. Records that share an `id` in several
    languages are a single parallel item. `where` keeps records with these values.
    """

    younger_keys: ClassVar[frozenset[str]] = frozenset({"grade", "max_negatives", "parallel"})

    name: str | None = None
    query: Fields
    #: A list is a text whose parts are joined by a space. A list of lists is several passages.
    passage: Entries
    #: The field with the grade of a record, or of each passage. A passage is a positive if its grade is above 0.
    grade: str | None = None
    #: A list is several negatives. A list in the list is a negative whose parts are joined by a space.
    negative: Entries | None = None
    #: Hard negatives of a row, drawn anew at each visit. Without it, as many as most items have, but 7 at most.
    max_negatives: Annotated[int, Field(gt=0)] | None = None
    #: The field of the id. With `none`, no record has an id.
    id: str | None = "id"
    #: Whether records with the same id are translations. Without it, the ids and texts of the data decide.
    parallel: bool | None = None
    #: Codes, or a mapping from our codes to those of the data.
    languages: Annotated[tuple[str, ...] | dict[str, str], BeforeValidator(_with_labels)] = ()
    language: Code | None = None
    language_field: str | None = None
    where: dict[str, str | int | float | bool] = Field(default_factory=dict)
    part: Part | None = None
    #: A field such as the document of a sentence: the passage is then that of the next record with the same value.
    next_in: str | None = None

    @field_validator("where", mode="before")
    @classmethod
    def _plain_values(cls, where: object) -> object:
        for key, value in where.items() if isinstance(where, Mapping) else ():
            if not isinstance(value, str | int | float):
                shown = "null" if value is None else value
                raise ValueError(  # noqa: TRY004 -- pydantic's form
                    f"`where: {{{key}: {shown}}}` has no value to compare with: give a text, a number, true or false, "
                    "and a source for each of several values"
                )
        return where

    @model_validator(mode="after")
    def _successors(self) -> Self:
        if self.next_in and self.language_field:
            raise ValueError(
                "`next_in` needs all languages of a sentence in one record, so it takes no `language_field`"
            )
        return self

    @model_validator(mode="after")
    def _one_language_key(self) -> Self:
        other = next((key for key in ("language_field", "languages") if getattr(self, key)), None)
        if self.language and other:
            raise ValueError(
                f"`language: {self.language}` states that all records are in one language, so it takes no `{other}`: "
                "leave one of them out"
            )
        if self.grade and not isinstance(self.passage, str):
            raise ValueError("`grade` needs a single path in `passage`, whose texts it judges")
        return self

    @property
    def bitext(self) -> bool:
        """Whether query and passage are the same text, so that a pair in a single language teaches nothing."""
        return self.query == self.passage and self.next_in is None

    @property
    def id_field(self) -> str | None:
        """The path of the id, or None if no record has an id."""
        return None if self.id == "none" else self.id

    @property
    def is_parallel(self) -> bool | None:
        """Whether the recipe states that records with the same id are translations; None if it states nothing."""
        return self.parallel

    def id_advice(self, names: Sequence[str]) -> str:
        """Return how to pair the records of several languages that have no ids, but fields with these `names`."""
        return f"set `id` to the field that translations share (the fields are {', '.join(names)})"

    @property
    def chosen(self) -> tuple[str, ...]:
        """The languages to read; none if all are read."""
        return tuple(self.languages)

    @property
    def single(self) -> str | None:
        """The language of all records that are not parallel, None if it is another for each record or path."""
        if self.language or self.language_field or len(self.languages) != 1:
            return self.language
        return next(iter(self.languages))

    def keys_without_language(self) -> dict[str, str]:
        """Return the keys with the same text for each of several languages, with their path."""
        keys: dict[str, Entries | None] = {"query": self.query, "passage": self.passage, "negative": self.negative}
        return {
            key: ", ".join(paths)
            for key, entries in keys.items()
            if (paths := paths_of(entries)) and not any(PLACEHOLDER in path for path in paths)
        }

    @property
    def labels(self) -> dict[str, str]:
        """The code of the data for each language that the recipe names."""
        if isinstance(self.languages, dict):
            return dict(self.languages)
        return {code: code for code in (*self.languages, *([self.language] if self.language else []))}
