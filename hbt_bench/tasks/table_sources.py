"""Sources of rows with columns: JSON lines, CSV and bitext files, and data sets on the hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from hbt_bench.data import columns
from hbt_bench.data.collection import Collection
from hbt_bench.data.data_files import DataFiles
from hbt_bench.data.dialect import DELIMITERS, TableFormat
from hbt_bench.data.lines import read_lines, suffix
from hbt_bench.data.records import PLACEHOLDER, SUFFIXES, Row, read_hub, read_rows
from hbt_bench.identity.task_name import MODES, Mode
from hbt_bench.tasks.schema import Codes, ColumnsSpec, Commit, FileSource, Part, Source, check_path


class _RowSource(Source):
    """Rows with columns. If `parallel`, rows with the same id in several languages are translations of each other.

    `ignore_identical_ids` is the rule for documents with the id of a query; without it, a query does not find
    a document with its id and its text.
    """

    codes: Codes = Field(alias="languages")
    columns: ColumnsSpec
    parallel: bool | None = None
    ignore_identical_ids: bool | None = None

    @model_validator(mode="after")
    def _check_parallel(self) -> _RowSource:
        # the ids may be numbers that start again in each language, so parallel must be stated
        if (
            self.parallel is None
            and len(self.codes) > 1
            and not self.columns.has_placeholder
            and self.columns.text is None
        ):
            raise ValueError(
                "set `parallel: true` if rows with the same id are translations of each other, else `parallel: false`"
            )
        if self.parallel and self.columns.language is not None and not self.columns.id:
            raise ValueError("parallel rows need `id` in columns, which translations of each other share")
        if self.columns.text is not None and self.columns.language is not None and not self.columns.id:
            raise ValueError("parallel sentences need `id` in columns, which translations of each other share")
        if self.parallel is False and self.columns.text is not None:
            raise ValueError("parallel sentences cannot be `parallel: false`")
        if self.ignore_identical_ids is not None and not self.columns.document_id:
            raise ValueError(
                "ignore_identical_ids needs `document_id` in columns: without it, a document has no id that could be "
                "a query's"
            )
        return self

    @property
    def languages(self) -> tuple[str, ...]:
        """The declared languages, sorted."""
        return tuple(sorted(self.codes))

    @property
    def text(self) -> str:
        """The kind of text that a document is, for the signature."""
        return "sentence" if self.columns.text is not None else "document"

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes with relevant documents: no mono for sentences, no cross for questions that are not parallel."""
        if self.columns.text is not None:
            return ("cross", "multi")
        return MODES if self.parallel is not False or self.columns.language_form else ("mono", "multi")

    def _check_language(self, in_path: bool, *keys: str) -> None:
        """Raise `ValueError` unless the language is given once: `in_path`, that is in `keys`, or in columns."""
        in_columns = self.columns.language is not None or self.columns.has_placeholder
        if in_path and in_columns:
            raise ValueError(f"{{language}} in {' or '.join(keys)} gives the language: remove it from columns")
        if not in_path and not in_columns and len(self.codes) > 1:
            raise ValueError(
                f"the language is not given: put {{language}} in {', '.join(keys)} or columns, or name the column "
                "`language`"
            )

    def _only_label(self) -> str | None:
        """Return the language of all rows, or None if each row has its own language."""
        if self.columns.language is not None or self.columns.has_placeholder:
            return None
        return next(iter(self.codes.values()))

    def _collect(self, name: str, languages: Sequence[str], rows: Iterator[Row]) -> Collection:
        mapping = self.columns.columns(self.parallel is not False, self.ignore_identical_ids)
        chosen = {code: self.codes[code] for code in languages}
        return columns.collect(name, rows, mapping, chosen, complete=len(chosen) == len(self.codes))


class TableSource(FileSource, _RowSource, TableFormat):
    """JSON lines, CSV or TSV: a file per language, or a single file with a column or a placeholder for the language.

    With `part`, only a share of the rows belongs to the collection; the other rows can be training data.
    """

    kind: Literal["jsonl", "csv", "bitext"]
    part: Part | None = None

    @model_validator(mode="after")
    def _check_keys(self) -> TableSource:
        ending = suffix(Path(self.path))
        allowed = {"jsonl": (".jsonl",), "csv": tuple(DELIMITERS), "bitext": SUFFIXES}[self.kind]
        if ending not in allowed:
            raise ValueError(
                f"the path of a {self.kind} source must end in {' or '.join(allowed)}, with or without .gz"
            )
        if self.kind == "bitext" and self.columns.text is None:
            raise ValueError("a bitext source needs `text` in columns; use jsonl or csv for questions with answers")
        if ending == ".jsonl" and (self.quoting or self.delimiter or self.header):
            raise ValueError("quoting, delimiter and header are keys of tables, not of JSON lines")
        self._check_language(self.file_per_language, "path")
        has_columns = self.columns.text != "text" or self.columns.id or self.delimiter or self.header
        if self.plain and (has_columns or not self.file_per_language):
            raise ValueError(
                "plain text needs {language} in path and `columns: {text: text}`, because each line is a sentence"
            )
        return self

    @property
    def plain(self) -> bool:
        """Whether each line of a file is a sentence. A file with several languages is a table."""
        one_language = not self.columns.has_placeholder and self.columns.language is None
        return self.kind == "bitext" and suffix(Path(self.path)) == ".txt" and one_language

    @property
    def file_per_language(self) -> bool:
        """Whether each language has a file."""
        return PLACEHOLDER in self.path

    def read(self, name: str, languages: Sequence[str], data_files: DataFiles) -> Collection:
        """Read the file, or the files of `languages`."""
        rows = self._rows(languages, data_files)
        if self.part is not None:
            rows = filter(self.part.keeps, rows)
        return self._collect(name, languages, rows)

    def _rows(self, languages: Sequence[str], data_files: DataFiles) -> Iterator[Row]:
        if not self.file_per_language:
            for row in read_rows(self.locate(self.path, data_files), self):
                yield row._replace(language=self._only_label())
            return
        for code in languages:
            label = self.codes[code]
            path = self.locate(check_path(self.path.replace(PLACEHOLDER, label)), data_files)
            if self.plain:
                # an empty line stays a row, so that the lines of all files stay aligned
                for number, line in read_lines(path):
                    yield Row({"text": line} if line.strip() else {"text": None}, f"{path}:{number}", label)
            else:
                for row in read_rows(path, self):
                    yield row._replace(language=label)


class HubSource(_RowSource):
    """A data set on the hub at a pinned commit; ``{language}`` in `config` or `split` becomes the data's code."""

    kind: Literal["hub"]
    path: Annotated[str, StringConstraints(pattern=r"^\w[\w.-]*/\w[\w.-]*$")]
    revision: Commit
    config: str | None = None
    split: str = "test"

    @property
    def split_per_language(self) -> bool:
        """Whether each language has a configuration or a split."""
        return PLACEHOLDER in f"{self.config}{self.split}"

    @model_validator(mode="after")
    def _check_keys(self) -> HubSource:
        self._check_language(self.split_per_language, "config", "split")
        return self

    def read(self, name: str, languages: Sequence[str], data_files: DataFiles) -> Collection:
        """Load the configurations or splits of `languages`; raises `DataError` if the hub cannot be reached."""
        return self._collect(name, languages, self._rows(languages))

    def _rows(self, languages: Sequence[str]) -> Iterator[Row]:
        fields = self._fields(languages)
        if not self.split_per_language:
            label = self._only_label()
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
