"""Where training items come from: descriptions of sources, as recipes have them, and the readers."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from hbt_bench.corpus import cldr
from hbt_bench.corpus.collection import Collection
from hbt_bench.corpus.rows import read_rows
from hbt_bench.errors import DataError, UsageError, did_you_mean
from hbt_bench.languages import LANGUAGES
from hbt_bench.training.parallel import Item, ParallelText
from hbt_bench.training.strategies import Strategy

Code = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]
#: A field of a record: dots go into mappings and lists, several fields are joined by a space.
Fields = str | tuple[str, ...]
_RESERVED = "texts"


class Part(BaseModel):
    """A share of a source's records: those whose field `by`, hashed to [0, 1), falls into [start, end)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: str
    start: Annotated[float, Field(ge=0, lt=1)] = 0.0
    end: Annotated[float, Field(gt=0, le=1)] = 1.0

    def __contains__(self, value: object) -> bool:
        share = int.from_bytes(hashlib.sha256(str(value).encode()).digest()[:8], "big") / 2**64
        return self.start <= share < self.end


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    #: How the batches of this source are drawn, when otherwise than the recipe says.
    strategy: Strategy | None = None
    #: With what weight the source is picked, in place of the recipe's `source_weights`.
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class CldrFacts(_Source):
    """The training split of the embedded collection cldr-facts; its held-out languages are in none of its texts.

    The view ``translations`` is a second task for the same facts: a question is the query for its translations.
    """

    kind: Literal["cldr-facts"]
    view: Literal["facts", "translations"] = "facts"

    @property
    def label(self) -> str:
        """The name in previews and counts."""
        return cldr.NAME if self.view == "facts" else f"cldr-{self.view}"

    def read(self, folders: Sequence[Path]) -> ParallelText:
        """Make the facts; no folder is looked at."""
        collection = cldr.read("train")
        if self.view == "facts":
            return from_collection(collection)
        texts: dict[str, dict[str, str]] = {}
        for query in collection.queries:
            texts.setdefault(query.question, {})[query.language] = query.text
        items = [Item(question, versions, versions) for question, versions in texts.items()]
        return ParallelText.from_items(self.label, items, bitext=True)


class _Records(_Source):
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
    where: dict[str, str | int | float | bool] = {}
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
        if isinstance(record.get(_RESERVED), Mapping):
            parts = {
                code: {"text": part} if isinstance(part, str) else part
                for code, part in record[_RESERVED].items()
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


class FileData(_Records):
    """Records in a file of JSON lines, CSV or TSV, plain or gzip, given relative to a data folder or to the recipe."""

    kind: Literal["file"]
    path: str

    @property
    def label(self) -> str:
        """The file's name without its endings."""
        return self.name or Path(self.path).name.removesuffix(".gz").rpartition(".")[0]

    def read(self, folders: Sequence[Path]) -> ParallelText:
        """Read the file from the first of `folders` that has it.

        Raises `DataError` for a file that is missing or damaged, naming the line.
        """
        path = next((folder / self.path for folder in folders if (folder / self.path).is_file()), None)
        if path is None:
            looked = ", ".join(str(folder) for folder in folders)
            raise DataError(f"there is no {self.path} in {looked}: give the folder that has it with --data-dir")
        return self.items(self.label, ((row.where, row.fields) for row in read_rows(path)))


class HubData(_Records):
    """A data set on the Hugging Face hub, or a folder in the same form.

    `configs`, `folders` or `splits` name the configuration, the folder of the repository or the split of each language;
    their records are matched by `id`, or by row with ``align: row`` as the translations of mMARCO are. Code that a data
    set brings along is never run: of one that needs it, as mMARCO does, the hub's own Parquet copies have folders.
    """

    kind: Literal["hub"]
    dataset: str
    revision: str | None = None
    split: str = "train"
    configs: dict[str, str] = {}
    folders: dict[str, str] = {}
    splits: dict[str, str] = {}
    align: Literal["id", "row"] = "id"
    limit: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> HubData:
        if sum(map(bool, (self.configs, self.folders, self.splits))) > 1:
            raise ValueError("give one of `configs`, `folders` and `splits`")
        if self.next_in and (self.configs or self.folders or self.splits):
            raise ValueError("`next_in` needs all languages of a sentence in one record")
        return self

    @property
    def label(self) -> str:
        """The data set's name without its owner."""
        return self.name or self.dataset.rstrip("/").rpartition("/")[2]

    def read(self, folders: Sequence[Path]) -> ParallelText:
        """Load it with the `datasets` library; raises `DataError` when it cannot be had or is of another form."""
        return self.items(self.label, self._records(folders))

    def _records(self, folders: Sequence[Path]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        local = next((folder / self.dataset for folder in folders if (folder / self.dataset).is_dir()), None)
        name = str(local or self.dataset)
        for language in [*self.configs, *self.folders, *self.splits] or [""]:
            config, split = self.configs.get(language), self.splits.get(language, self.split)
            inside = self.folders.get(language)
            for row, record in enumerate(self._load(name, config, inside, split)):
                if row == self.limit:
                    break
                found = dict(record)
                if self.align == "row":
                    found[self.id] = str(row)
                if language and _RESERVED not in found:
                    found = {self.id: found.get(self.id, str(row)), **found, _RESERVED: {language: record}}
                yield f"{self.label}, row {row} of {config or inside or split}", found

    def _load(self, name: str, config: str | None, folder: str | None, split: str) -> Iterator[Mapping[str, Any]]:
        from datasets import load_dataset

        local = Path(name).is_dir()
        # the library's cache tells local folders apart by their last name only, so they get one that is thrown away
        with tempfile.TemporaryDirectory() if local else contextlib.nullcontext() as cache:
            try:
                yield from load_dataset(
                    name,
                    config,
                    data_dir=folder,
                    split=split,
                    revision=self.revision,
                    streaming=local,
                    cache_dir=cache,
                )
            except Exception as error:  # the library and its file formats raise anything
                reason = " ".join(str(error).split())[:200]
                raise DataError(
                    f"the data set {self.dataset} cannot be loaded ({type(error).__name__}: {reason}): check its name, "
                    "configuration and split, and the network"
                ) from error


SourceSpec = Annotated[CldrFacts | FileData | HubData, Field(discriminator="kind")]


def expand(entry: object) -> object:
    """A source as a recipe may abbreviate it: ``cldr-facts`` for the mapping that names its kind."""
    if entry == cldr.NAME:
        return {"kind": cldr.NAME}
    if isinstance(entry, Mapping) and "kind" not in entry and "path" in entry:
        return {"kind": "file", **entry}
    return entry


def from_collection(collection: Collection) -> ParallelText:
    """The questions of a collection with the relevant document that each language has for them."""
    items: dict[str, Item] = {}
    for row, query in enumerate(collection.queries):
        item = items.setdefault(query.question, Item(query.question, {}, {}))
        assert isinstance(item.queries, dict)
        assert isinstance(item.passages, dict)
        item.queries[query.language] = query.text
        pairs = slice(collection.qrels.offsets[row], collection.qrels.offsets[row + 1])
        for column in collection.qrels.documents[pairs]:
            item.passages.setdefault(collection.documents[column].language, collection.documents[column].text)
    return ParallelText.from_items(collection.name, items.values())


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


def data_folders(data_dir: Path | None, beside: Path | None) -> tuple[Path, ...]:
    """Where files of sources are looked for: the data folder, then beside the recipe, then here."""
    environment = os.environ.get("HBT_BENCH_DATA")
    chosen = data_dir or (Path(environment) if environment else None)
    if chosen is not None and not chosen.is_dir():
        raise UsageError(f"the data folder {chosen} does not exist")
    return tuple(dict.fromkeys(folder for folder in (chosen, beside, Path()) if folder is not None))
