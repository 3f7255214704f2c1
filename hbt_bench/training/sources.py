"""Where training items come from: descriptions of sources, as recipes have them, and the readers."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from hbt_bench.data import cldr, hub
from hbt_bench.data.collection import Collection
from hbt_bench.data.rows import read_rows
from hbt_bench.errors import DataError, UsageError
from hbt_bench.training.parallel import Item, ParallelText
from hbt_bench.training.records import TEXTS, Records, TrainingSource


class CldrFacts(TrainingSource):
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


class FileData(Records):
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


class HubData(Records):
    """A data set on the Hugging Face hub, or a folder in the same form.

    `configs`, `folders` or `splits` name the configuration, the folder of the repository or the split of each language;
    their records are matched by `id`, or by row with ``align: row`` as the translations of mMARCO are. Code that a data
    set brings along is never run: of one that needs it, as mMARCO does, the hub's own Parquet copies have folders.
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
        """Load it with the `datasets` library; raises `DataError` when it cannot be had or is of another form."""
        return self.items(self.label, self._records(folders))

    def _records(self, folders: Sequence[Path]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        local = next((folder / self.dataset for folder in folders if (folder / self.dataset).is_dir()), None)
        if local is None:
            hub.check_remote(self.dataset)
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
                if language and TEXTS not in found:
                    found = {self.id: found.get(self.id, str(row)), **found, TEXTS: {language: record}}
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


def data_folders(data_dir: Path | None, beside: Path | None) -> tuple[Path, ...]:
    """Where files of sources are looked for: the data folder, then beside the recipe, then here."""
    environment = os.environ.get("HBT_BENCH_DATA")
    chosen = data_dir or (Path(environment) if environment else None)
    if chosen is not None and not chosen.is_dir():
        raise UsageError(f"the data folder {chosen} does not exist")
    return tuple(dict.fromkeys(folder for folder in (chosen, beside, Path()) if folder is not None))
