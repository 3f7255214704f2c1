"""The kind of source for data in MTEB's retrieval layout, on the hub or in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from hbt_bench.data.collection import Collection
from hbt_bench.data.data_files import DataFiles
from hbt_bench.data.language_pairs import QUERY_LANGUAGE
from hbt_bench.data.readers import CollectionBuilder, Defect, Parallel
from hbt_bench.data.records import PLACEHOLDER
from hbt_bench.data.repository import Repository
from hbt_bench.errors import DataError
from hbt_bench.identity.task_name import MODES, Mode
from hbt_bench.tasks.schema import Codes, Commit, Source, check_parallel, check_path


class RetrievalSource(Source):
    """MTEB's retrieval layout: configurations for the corpus, the queries and the judgements.

    `path` is a data set of the hub at the commit `revision`, or without `revision` a folder in the data folder.
    `config` is the prefix of the configurations, with ``{language}`` for the code in the data, and
    ``{query_language}`` too if there is one for each pair of languages. `skip` names defects of the data that are
    skipped.
    """

    kind: Literal["retrieval"]
    path: str
    revision: Commit | None = None
    codes: Codes = Field(alias="languages")
    config: str = PLACEHOLDER
    split: str = "test"
    parallel: Parallel | None = None
    ignore_identical_ids: bool | None = None
    skip: tuple[Defect, ...] = ()

    @field_validator("path")
    @classmethod
    def _check_path(cls, path: str) -> str:
        check_path(path)
        return path

    @model_validator(mode="after")
    def _check_keys(self) -> RetrievalSource:
        if len(self.codes) > 1 and PLACEHOLDER not in self.config:
            raise ValueError("several languages need {language} in `config`")
        check_parallel(self.parallel, self.codes)
        return self

    @property
    def has_pairs(self) -> bool:
        """Whether there are configurations for each pair of languages."""
        return QUERY_LANGUAGE in self.config

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages, sorted."""
        return tuple(sorted(self.codes))

    @property
    def version(self) -> str | None:
        """The commit of the data set, or None for a folder."""
        return self.revision

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes with relevant documents: no cross if the questions are not parallel."""
        return MODES if self.has_pairs or self.parallel in ("queries", "documents") else ("mono", "multi")

    def read(self, name: str, languages: Sequence[str], data_files: DataFiles) -> Collection:
        """Load the configurations of `languages`; raises `DataError` if the data cannot be read."""
        source = self.path if self.revision else self._folder(data_files)
        repository = Repository(source, self.revision, self.split)
        prefixes = self._prefixes(languages)
        if self.has_pairs:
            prefixes = {prefix: pair for prefix, pair in prefixes.items() if repository.has(prefix)}
            if not prefixes:
                raise DataError(f"{self.path} has no configuration of the form '{self.config}-corpus': check `config`")
        parallel = self.parallel or "none"
        builder = CollectionBuilder(name, parallel, self.has_pairs, self.ignore_identical_ids, frozenset(self.skip))
        return repository.read(builder, prefixes)

    def _prefixes(self, languages: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Return the languages of queries and documents by the prefix of their configurations."""
        return {
            self.config.replace(QUERY_LANGUAGE, self.codes[queries]).replace(PLACEHOLDER, self.codes[documents]): (
                queries,
                documents,
            )
            for queries in languages
            for documents in languages
            if self.has_pairs or queries == documents
        }

    def _folder(self, data_files: DataFiles) -> Path:
        folders = [root / self.path for root in data_files.roots]
        folder = next((folder for folder in folders if folder.is_dir()), None)
        if folder is None:
            raise DataError(
                f"there is no folder {self.path} in {' or '.join(map(str, data_files.roots))}: check `path`, or add "
                "`revision` (a commit) if it is a data set of the hub"
            )
        return folder
