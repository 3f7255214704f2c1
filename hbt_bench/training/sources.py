"""Sources of training items, as recipes describe them, and their readers.

To add a kind of source, write a class with `kind`, `label`, `read` and `version`, and add it to `SourceSpec`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from hbt_bench.data import cldr
from hbt_bench.data.collection import Collection
from hbt_bench.data.data_files import first_path
from hbt_bench.data.records import read_hub, read_rows
from hbt_bench.errors import DataError
from hbt_bench.training.parallel import Item, ParallelText
from hbt_bench.training.records import TEXTS, Records, TrainingSource


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
        collection = cldr.read("train")
        if self.view == "facts":
            return from_collection(collection)
        texts: dict[str, dict[str, str]] = {}
        for query in collection.queries:
            texts.setdefault(query.question, {})[query.language] = query.text
        items = [Item(question, versions, versions) for question, versions in texts.items()]
        return ParallelText.from_items(self.label, items, bitext=True)

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

    def version(self, folders: Sequence[Path]) -> str:
        """Return nothing: the revision identifies the content."""
        return ""

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


def from_collection(collection: Collection) -> ParallelText:
    """Return the questions of a collection, each with its first relevant document in each language."""
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


@cache
def _file_hash(path: Path, modified: int) -> str:
    """Return the SHA-256 of a file; `modified`, the time of its last change, is part of the cache's key."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
