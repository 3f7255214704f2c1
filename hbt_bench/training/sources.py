"""Sources of training items, as recipes describe them: their fields, and their readers.

Fields of records are paths as in `hbt_bench.data.records`. To add a kind of source, write a class with `kind`, `label`,
`read` and `version`, and add it to `SourceSpec`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from hbt_bench.data import cldr
from hbt_bench.data.collection import Collection
from hbt_bench.data.data_files import first_path
from hbt_bench.data.records import PLACEHOLDER, first_value, read_hub, read_rows, values
from hbt_bench.errors import DataError, did_you_mean
from hbt_bench.languages import LANGUAGES
from hbt_bench.training.parallel import Item, ParallelText
from hbt_bench.training.strategies import StrategyName
from hbt_bench.yaml_file import StrictModel

Code = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]
#: A path, or several paths with texts to join by a space.
Fields = str | tuple[str, ...]
#: The field of a parallel record that maps languages to their content.
TEXTS = "texts"


class TrainingSource(StrictModel):
    """The fields that every kind of source has."""

    #: How the batches of this source are drawn, if not as in the recipe.
    strategy: StrategyName | None = None
    #: The weight with which the source is drawn, instead of the recipe's `source_weights`.
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    def version(self, folders: Sequence[Path]) -> str:
        """Return the version of the data, if other fields do not identify their content."""
        return ""


class Part(StrictModel):
    """A share of a source's records: the hash of field `by`, mapped to [0, 1), lies in [start, end).

    For example, ``Part(by="doc", end=0.9)`` keeps the records of about 90 % of the documents.
    """

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
        needed = [field for field in (self.part.by if self.part else None, self.next_in) if field is not None]
        present: set[str] = set()
        last: Item | None = None
        group: object = None
        for position, record in records:
            present |= {field for field in needed if first_value(record, field) is not None}
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
        for field in needed:
            if field not in present:
                raise DataError(f"{name} has no field '{field}': check `part` and `next_in`")
        if not items:
            raise DataError(f"{name} has no record that fits: check `where` and `part`")
        if self.negative is not None and not any(item.negatives for item in items.values()):
            raise DataError(f"{name} has no hard negative in '{self.negative}': check the name of the field")
        return ParallelText.from_items(name, items.values(), bitext=self.bitext)

    def _selects(self, record: Mapping[str, Any]) -> bool:
        """Return whether `where` and `part` keep a record."""
        return all(first_value(record, field) == value for field, value in self.where.items()) and (
            self.part is None or first_value(record, self.part.by) in self.part
        )

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
        if language in item.queries or language in item.passages:
            raise DataError(
                f"{position} repeats the id '{item.id}' in '{language}': set `id` to a field that is unique per record"
            )
        if query := _joined_text(content, self.query, language, position):
            item.queries[language] = query
        if passage := _joined_text(content, self.passage, language, position):
            item.passages[language] = passage
        if self.negative is not None and (texts := _texts(content, self.negative, language, position)):
            item.negatives[language] = texts


class CldrFacts(TrainingSource):
    """The training split of the embedded collection cldr-facts, which has no text in the held-out languages.

    With the view ``translations``, each question is instead the query for its translations.
    """

    kind: Literal["cldr-facts"]
    view: Literal["facts", "translations"] = "facts"

    @property
    def label(self) -> str:
        """The name in previews and counts."""
        return cldr.NAME if self.view == "facts" else f"cldr-{self.view}"

    def read(self, folders: Sequence[Path]) -> ParallelText:
        """Build the items; `folders` are not used."""
        items = collection_items(cldr.read("train"))
        bitext = self.view == "translations"
        if bitext:
            items = [replace(item, passages=item.queries) for item in items]
        return ParallelText.from_items(self.label, items, bitext=bitext)

    def version(self, folders: Sequence[Path]) -> str:
        """Return the CLDR version, on which the facts depend."""
        return cldr.cldr_version()


class FileData(Records):
    """Records in a JSON lines, CSV or TSV file, plain or gzipped; the path is relative to a data folder or the recipe.

    For example, ``{kind: file, path: train/mlqa.jsonl.gz, query: question, passage: context}`` in a recipe.
    """

    kind: Literal["file"]
    path: str

    @property
    def label(self) -> str:
        """The file's name without its endings."""
        return self.name or Path(self.path).name.removesuffix(".gz").rpartition(".")[0]

    def read(self, folders: Sequence[Path]) -> ParallelText:
        """Read the file from the first of `folders` that has it.

        Raises `DataError` if the file is missing, and with the line if it is damaged.
        """
        path = first_path(folders, self.path, Path.is_file)
        if path is None:
            searched = ", ".join(str(folder) for folder in folders)
            raise DataError(f"there is no {self.path} in {searched}: name the folder that has it with --data-dir")
        return self.items(self.label, ((row.where, row.fields) for row in read_rows(path)))

    def version(self, folders: Sequence[Path]) -> str:
        """Return the SHA-256 of the file, or "missing"."""
        path = first_path(folders, self.path, Path.is_file)
        return _file_hash(path.resolve(), path.stat().st_mtime_ns) if path else "missing"


class HubData(Records):
    """A data set on the Hugging Face hub, or a folder in the same layout.

    `configs`, `folders` or `splits` name the configuration, the repository's folder or the split of each language.
    Their records are matched by `id`, or by row with ``align: row``, which fits the translations of mMARCO. Code of a
    data set never runs; if a data set needs it, as mMARCO does, name `folders` of the hub's own Parquet copies.
    """

    kind: Literal["hub"]
    dataset: str
    revision: str | None = None
    split: str = "train"
    configs: dict[str, str] = Field(default_factory=dict)
    folders: dict[str, str] = Field(default_factory=dict)
    splits: dict[str, str] = Field(default_factory=dict)
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
        """Load the data set, from the first of `folders` that has it or from the hub; raises `DataError`."""
        return self.items(self.label, self._records(folders))

    def _records(self, folders: Sequence[Path]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        source = first_path(folders, self.dataset, Path.is_dir) or self.dataset
        for language in [*self.configs, *self.folders, *self.splits] or [""]:
            config, split = self.configs.get(language), self.splits.get(language, self.split)
            folder = self.folders.get(language)
            rows = read_hub(source, self.revision, config, split, folder=folder)
            for number, row in enumerate(rows):
                if number == self.limit:
                    break
                record = dict(row.fields)
                if self.align == "row":
                    record[self.id] = str(number)
                if language and TEXTS not in record:
                    record = {self.id: record.get(self.id, str(number)), **record, TEXTS: {language: row.fields}}
                yield f"{self.label}, row {number} of {config or folder or split}", record


SourceSpec = Annotated[CldrFacts | FileData | HubData, Field(discriminator="kind")]


def expand(entry: object) -> object:
    """Write out an abbreviated source: ``cldr-facts`` becomes the mapping with its kind."""
    if entry == cldr.NAME:
        return {"kind": cldr.NAME}
    if isinstance(entry, Mapping) and "kind" not in entry and "path" in entry:
        return {"kind": "file", **entry}
    return entry


def collection_items(collection: Collection) -> list[Item]:
    """Return the questions of a collection, each with its first relevant document in each language."""
    items: dict[str, Item] = {}
    for row, query in enumerate(collection.queries):
        item = items.setdefault(query.question, Item(query.question, {}, {}))
        item.queries[query.language] = query.text
        pairs = slice(collection.qrels.offsets[row], collection.qrels.offsets[row + 1])
        for column in collection.qrels.documents[pairs]:
            item.passages.setdefault(collection.documents[column].language, collection.documents[column].text)
    return list(items.values())


@cache
def _file_hash(path: Path, modified: int) -> str:
    """Return the SHA-256 of a file; `modified`, the time of its last change, is part of the cache's key."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
