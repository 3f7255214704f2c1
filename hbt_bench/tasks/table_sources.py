"""Sources of rows with columns: JSON lines, CSV and bitext files, and data sets of the hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from hbt_bench.data import columns
from hbt_bench.data.collection import Collection
from hbt_bench.data.data_files import DataFiles
from hbt_bench.data.records import PLACEHOLDER, SUFFIXES, Row, read_hub, read_lines, read_rows
from hbt_bench.identity.task_name import MODES, Mode
from hbt_bench.tasks.schema import Codes, ColumnsSpec, FileSource, relative
from hbt_bench.tasks.source import Commit, Source


class _Mapped(Source):
    """Rows with columns: `languages` are our codes with those of the data, `parallel` says what equal ids mean."""

    codes: Codes = Field(alias="languages")
    columns: ColumnsSpec
    parallel: bool | None = None

    @model_validator(mode="after")
    def _says_what_ids_mean(self) -> _Mapped:
        # rows of one language each, whose ids could be numbers that start anew in every language
        if self.parallel is None and len(self.codes) > 1 and not self.columns.placed and self.columns.text is None:
            raise ValueError(
                "say `parallel: true` when rows with the same id are translations of each other, else `parallel: false`"
            )
        if self.parallel and self.columns.language is not None and not self.columns.id:
            raise ValueError("parallel rows need `id` in columns: it tells which rows are translations of each other")
        if self.columns.text is not None and self.columns.language is not None and not self.columns.id:
            raise ValueError("parallel sentences need `id` in columns: it tells which of them are translations")
        if self.parallel is False and self.columns.text is not None:
            raise ValueError("parallel sentences cannot be `parallel: false`")
        return self

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that are declared."""
        return tuple(sorted(self.codes))

    @property
    def text(self) -> str:
        """What a document's text is, for the signature."""
        return "sentence" if self.columns.text is not None else "document"

    @property
    def modes(self) -> tuple[Mode, ...]:
        """A sentence is no query for itself; questions that are not parallel have no answer in other languages."""
        if self.columns.text is not None:
            return ("cross", "multi")
        return MODES if self.parallel is not False else ("mono", "multi")

    def _collect(self, name: str, languages: Sequence[str], rows: Iterator[Row]) -> Collection:
        mapping = self.columns.columns(self.parallel is not False)
        chosen = {code: self.codes[code] for code in languages}
        return columns.collect(name, rows, mapping, chosen, complete=len(chosen) == len(self.codes))


class TableSource(FileSource, _Mapped):
    """JSON lines or CSV: one file with a column or a placeholder for the language, or a file a language."""

    kind: Literal["jsonl", "csv", "bitext"]

    @model_validator(mode="after")
    def _fits(self) -> TableSource:
        suffix = Path(self.path.removesuffix(".gz")).suffix
        allowed = {"jsonl": (".jsonl",), "csv": (".csv", ".tsv"), "bitext": (*SUFFIXES, ".txt")}[self.kind]
        if suffix not in allowed:
            raise ValueError(f"the path of a {self.kind} source ends in {' or '.join(allowed)}, with or without .gz")
        if self.kind == "bitext" and self.columns.text is None:
            raise ValueError("a bitext source has `text` in columns; questions with answers are jsonl or csv")
        if self.several and (self.columns.language is not None or self.columns.placed):
            raise ValueError("{language} in the path tells the language: leave it out of columns")
        if not self.several and self.columns.language is None and not self.columns.placed and len(self.codes) > 1:
            raise ValueError("say where the language is: {language} in path or in columns, or a column `language`")
        if suffix == ".txt" and (not self.several or self.columns.text != "text" or self.columns.id):
            raise ValueError("plain text needs {language} in path and `columns: {text: text}`: a line is a sentence")
        return self

    @property
    def several(self) -> bool:
        """Whether each language has a file."""
        return PLACEHOLDER in self.path

    def read(self, name: str, languages: Sequence[str], places: DataFiles) -> Collection:
        """Read the one file, or those of `languages`."""
        return self._collect(name, languages, self._rows(languages, places))

    def _rows(self, languages: Sequence[str], places: DataFiles) -> Iterator[Row]:
        alone = next(iter(self.codes.values())) if len(self.codes) == 1 and self.columns.language is None else None
        if not self.several:
            for row in read_rows(self.locate(self.path, places)):
                yield row if self.columns.placed else row._replace(language=alone)
            return
        for code in languages:
            label = self.codes[code]
            path = self.locate(relative(self.path.replace(PLACEHOLDER, label)), places)
            if Path(path.name.removesuffix(".gz")).suffix == ".txt":
                # a line stays a row of the same number when it is empty, so that the files stay aligned
                for number, line in read_lines(path):
                    yield Row({"text": line} if line.strip() else {"text": None}, f"{path}:{number}", label)
            else:
                for row in read_rows(path):
                    yield row._replace(language=label)


class HubSource(_Mapped):
    """A data set on the hub at a pinned commit; ``{language}`` in `config` or `split` stands for the data's code."""

    kind: Literal["hub"]
    path: Annotated[str, StringConstraints(pattern=r"^\w[\w.-]*/\w[\w.-]*$")]
    revision: Commit
    config: str | None = None
    split: str = "test"

    @property
    def several(self) -> bool:
        """Whether each language has a configuration or a split."""
        return PLACEHOLDER in f"{self.config}{self.split}"

    @model_validator(mode="after")
    def _fits(self) -> HubSource:
        if self.several and (self.columns.language is not None or self.columns.placed):
            raise ValueError("{language} in config or split tells the language: leave it out of columns")
        if not self.several and self.columns.language is None and not self.columns.placed and len(self.codes) > 1:
            raise ValueError("say where the language is: {language} in config, split or columns, or `language`")
        return self

    def read(self, name: str, languages: Sequence[str], places: DataFiles) -> Collection:
        """Load the configurations or splits of `languages`."""
        return self._collect(name, languages, self._rows(languages))

    def _rows(self, languages: Sequence[str]) -> Iterator[Row]:
        fields = self._fields(languages)
        if not self.several:
            alone = next(iter(self.codes.values())) if len(self.codes) == 1 and not self.columns.language else None
            label = None if self.columns.placed else alone
            yield from read_hub(self.path, self.revision, self.config, self.split, fields=fields, language=label)
            return
        for code in languages:
            label = self.codes[code]
            config = self.config.replace(PLACEHOLDER, label) if self.config else None
            split = self.split.replace(PLACEHOLDER, label)
            yield from read_hub(self.path, self.revision, config, split, fields=fields, language=label)

    def _fields(self, languages: Sequence[str]) -> set[str]:
        named = self.columns.columns(True).fields()
        return {name.replace(PLACEHOLDER, self.codes[code]) for name in named for code in languages}
