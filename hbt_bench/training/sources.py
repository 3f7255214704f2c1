"""The kinds of sources of training items.

To add a kind of source, write a class with `kind`, `label`, `read` and `version`, and add it to `SourceSpec`. The keys
for the fields of records are in `hbt_bench.training.records`.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from hbt_bench.data import cldr
from hbt_bench.data.collection import Collection
from hbt_bench.data.data_files import first_path
from hbt_bench.data.dialect import DELIMITERS, TableFormat
from hbt_bench.data.lines import suffix
from hbt_bench.data.records import Row, data_errors, first_value, identifier, read_hub, read_rows, without_repetition
from hbt_bench.errors import DataError
from hbt_bench.files import file_hash
from hbt_bench.training.items import Item
from hbt_bench.training.parallel import ParallelText
from hbt_bench.training.reading import TEXTS, read_items
from hbt_bench.training.records import ByLanguage, Records, TrainingSource

log = logging.getLogger(__name__)

#: Rows of a Parquet file in memory at once.
_PARQUET_ROWS = 4096


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
        """Return the items, which are built once; `folders` are not used."""
        return _cldr_facts(self.label, bitext=self.view == "translations")

    def version(self, folders: Sequence[Path]) -> str:
        """Return the CLDR version, on which the facts depend."""
        return cldr.cldr_version()


@cache
def _cldr_facts(label: str, *, bitext: bool) -> ParallelText:
    items = collection_items(cldr.read("train"))
    if bitext:
        items = [replace(item, passages=item.queries) for item in items]
    return ParallelText.from_items(label, items, bitext=bitext)


class FileData(Records, TableFormat):
    """Records in a file: JSON lines, CSV or TSV, plain or gzipped, Parquet, or JSON as SQuAD's or a list of objects.

    The path is relative to a data folder or the recipe.

    For example, ``{kind: file, path: train/mlqa.jsonl.gz, query: question, passage: context}`` in a recipe.
    """

    younger_keys: ClassVar[frozenset[str]] = Records.younger_keys | TableFormat.model_fields.keys()

    kind: Literal["file"]
    path: str

    @model_validator(mode="after")
    def _is_table(self) -> FileData:
        if (self.quoting or self.delimiter or self.header) and suffix(Path(self.path)) not in DELIMITERS:
            raise ValueError(f"quoting, delimiter and header are keys of tables, not of {self.path}: leave them out")
        return self

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
        return read_items(self.label, self, ((row.where, row.fields) for row in _file_rows(path, self)))

    def version(self, folders: Sequence[Path]) -> str:
        """Return the SHA-256 of the file, or "missing"."""
        path = first_path(folders, self.path, Path.is_file)
        return _unchanged_hash(path.resolve(), path.stat().st_mtime_ns) if path else "missing"


def _file_rows(path: Path, table: TableFormat) -> Iterator[Row]:
    """Yield the rows of a file; raises `DataError` with the position."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as parquet  # type: ignore[import-untyped]

        number = 0
        with data_errors(path), parquet.ParquetFile(path) as file:
            for group in range(file.num_row_groups):  # an iterator over several groups keeps them all in memory
                for batch in file.iter_batches(_PARQUET_ROWS, row_groups=[group]):
                    for record in batch.to_pylist():
                        yield Row(record, f"{path}, row {number}")
                        number += 1
    elif path.suffix == ".json":
        yield from _json_rows(path)
    else:
        yield from read_rows(path, table)


def _json_rows(path: Path) -> Iterator[Row]:
    """Yield the objects of a list, or the questions of a file in the form of SQuAD, each with context and title."""
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=without_repetition)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON: {error}; write `.jsonl` for a file with an object on each line") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    records = content if isinstance(content, list) else None
    if isinstance(content, dict) and isinstance(content.get("data"), list):
        records = list(_questions(content["data"])) or content["data"]
    if records is None or not all(isinstance(record, dict) for record in records):
        raise DataError(f"{path} is neither a list of objects nor has `data` as SQuAD: write the records as JSON lines")
    if impossible := sum(record.get("is_impossible") is True for record in records):
        log.info(f"{path.name}: left out {impossible:,} questions that their context does not answer (is_impossible)")
    for number, record in enumerate(records):
        if record.get("is_impossible") is not True:
            yield Row(record, f"{path}, record {number}")


def _questions(articles: Sequence[object]) -> Iterator[dict[str, Any]]:
    for article in articles:
        if not isinstance(article, Mapping):
            continue
        for paragraph in article.get("paragraphs") or ():
            for question in paragraph.get("qas") or ():
                yield {"title": article.get("title"), "context": paragraph.get("context"), **question}


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
    configs: ByLanguage = Field(default_factory=dict)
    folders: ByLanguage = Field(default_factory=dict)
    splits: ByLanguage = Field(default_factory=dict)
    align: Literal["id", "row"] = "id"
    limit: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> HubData:
        if sum(map(bool, (self.configs, self.folders, self.splits))) > 1:
            raise ValueError("give one of `configs`, `folders` and `splits`")
        if self.splits and self.split != "train":
            raise ValueError(f"`splits` names the split of each language: leave `split: {self.split}` out")
        if self.next_in and (self.configs or self.folders or self.splits):
            raise ValueError("`next_in` needs all languages of a sentence in one record")
        if self.parallel is not None and self.align == "row":
            raise ValueError("`align: row` pairs the rows of all languages, so it takes no `parallel`")
        parts = next((key for key in ("configs", "folders", "splits") if getattr(self, key)), None)
        other = next((key for key in ("language", "languages", "language_field") if getattr(self, key)), None)
        if parts and other:
            raise ValueError(f"`{parts}` names the languages, so it takes no `{other}`: leave `{other}` out")
        return self

    @property
    def label(self) -> str:
        """The data set's name without its owner."""
        return self.name or self.dataset.rstrip("/").rpartition("/")[2]

    @property
    def id_field(self) -> str | None:
        """The path of the id, which is the number of the row with ``align: row``."""
        return "id" if self.align == "row" else super().id_field

    @property
    def is_parallel(self) -> bool | None:
        """Whether the recipe states that records with the same id are translations, as ``align: row`` does."""
        return True if self.align == "row" else super().is_parallel

    def id_advice(self, names: Sequence[str]) -> str:
        """Return how to pair the records of several languages that have no ids, but fields with these `names`."""
        advice = super().id_advice([name for name in names if name != TEXTS or not self._parts])
        if not self._parts:
            return advice
        return f"{advice}, or `align: row` if the rows of all languages are translations in the same order"

    @property
    def labels(self) -> dict[str, str]:
        """The code of the data for each language that the recipe names."""
        return {code: code for code in self._parts} or super().labels

    @property
    def _parts(self) -> dict[str, str]:
        """The configuration, folder or split of each language."""
        return self.configs or self.folders or self.splits

    def read(self, folders: Sequence[Path]) -> ParallelText:
        """Load the data set, from the first of `folders` that has it or from the hub; raises `DataError`."""
        return read_items(self.label, self, self._records(folders))

    def _records(self, folders: Sequence[Path]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        source = first_path(folders, self.dataset, Path.is_dir) or self.dataset
        if isinstance(source, Path) and self.revision:
            log.warning(f"{self.label}: `revision: {self.revision}` has no effect, because {source} is a local folder")
        counts: Counter[str] = Counter()
        ids: dict[str, int] = {}  # the row of each id of the first language
        for language in self._parts or [""]:
            config, split = self.configs.get(language), self.splits.get(language, self.split)
            folder = self.folders.get(language)
            rows = read_hub(source, self.revision, config, split, folder=folder)
            for number, row in enumerate(self._with_configurations(rows)):
                if number == self.limit:
                    break
                record = dict(row.fields)
                if language and not isinstance(record.get(TEXTS), Mapping):
                    record[TEXTS] = {language: row.fields}
                if self.align == "row":
                    self._check_id(row, number, ids, first=not counts.keys() - {language})
                    record["id"] = str(number)
                counts[language] += 1
                yield f"{self.label}, row {number} of {config or folder or split}", record
        if self.align == "row" and len(set(counts.values())) > 1:
            rows_of = ", ".join(f"{count:,} in {language}" for language, count in counts.items())
            log.warning(f"{self.label} has different numbers of rows ({rows_of}), which `align: row` pairs by number")

    def _with_configurations(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Yield rows; the error of a data set that needs a configuration names those that it has."""
        try:
            yield from rows
        except DataError as error:
            names = re.search(r"available configs: \[(.*?)\]", str(error.__cause__), re.DOTALL)
            if names is None or self._parts:
                raise
            raise DataError(
                f"{self.label} has several configurations ({names[1]}): name one for each language, as in "
                "`configs: {en: NAME}`"
            ) from error

    def _check_id(self, row: Row, number: int, ids: dict[str, int], *, first: bool) -> None:
        """Raise `DataError` if the id of a row is that of another row in the first language."""
        key = identifier(first_value(row.fields, self.id)) if self.id not in (None, "none") else None
        if key is None:
            return
        if first:
            ids[key] = min(number, ids.get(key, number))
        elif ids.get(key, number) != number:
            raise DataError(
                f"{self.label} pairs rows by number (`align: row`), but the {self.id} '{key}' is in row {ids[key]} of "
                f"the first language and in row {number} of {row.where}: pair by id with `id: {self.id}` and without "
                "`align`, or ignore the ids with `id: none`"
            )


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
def _unchanged_hash(path: Path, modified: int) -> str:
    """Return the SHA-256 of a file; `modified`, the time of its last change, is part of the cache's key."""
    return file_hash(path)
