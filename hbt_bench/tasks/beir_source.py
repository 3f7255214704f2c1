"""The kind of source for folders in BEIR's layout: a folder, or a folder for each language or pair of languages."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import StringConstraints, field_validator, model_validator

from hbt_bench.data import beir
from hbt_bench.data.collection import Collection
from hbt_bench.data.data_files import DataFiles
from hbt_bench.data.language_pairs import QUERY_LANGUAGE, pair_path
from hbt_bench.data.readers import Defect, Parallel
from hbt_bench.data.records import PLACEHOLDER
from hbt_bench.errors import DataError
from hbt_bench.identity.task_name import MODES, Mode
from hbt_bench.languages.codes import check_language
from hbt_bench.tasks.schema import FileSource, Source, check_parallel, check_path

log = logging.getLogger(__name__)


class BeirSource(FileSource, Source):
    """BEIR's layout: a folder, or a folder per language.

    A folder for each pair of languages has ``{query_language}`` in its path too, for the code of its queries.
    `query_language` is the language of all queries, if given. `language` is the field with the language of each row,
    for several languages in one folder. `ignore_identical_ids` is the rule for documents with the id of a query;
    without it, a query does not find a document with its id and its text. `skip` names defects of the data that are
    skipped: judgements of missing queries or documents ("dangling"), and rows with the id of an earlier row.
    """

    placeholders: ClassVar[tuple[str, ...]] = (PLACEHOLDER, QUERY_LANGUAGE)

    kind: Literal["beir"]
    query_language: str | None = None
    split: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")] = "test"
    parallel: Parallel | None = None
    language: str | None = None
    ignore_identical_ids: bool | None = None
    skip: tuple[Defect, ...] = ()

    @field_validator("query_language")
    @classmethod
    def _check_query_language(cls, code: str | None) -> str | None:
        return None if code is None else check_language(code)

    @model_validator(mode="after")
    def _check_keys(self) -> BeirSource:
        folder_per_language = PLACEHOLDER in self.path
        if self.has_pairs and not folder_per_language:
            raise ValueError("{query_language} in path is for pairs: put {language} for the documents in it too")
        if self.has_pairs and self.query_language is not None:
            raise ValueError("the query language is given twice: use {query_language} in path, or `query_language`")
        if self.language is not None and folder_per_language:
            raise ValueError("the language is given twice: use {language} in path, or the field in `language`")
        if self.language is None and not folder_per_language and len(self.codes) > 1:
            raise ValueError(
                "several languages need {language} in path; if the rows of one folder are in several languages, name "
                "the field with their code in `language`"
            )
        check_parallel(self.parallel, self.codes)
        return self

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of documents and queries, sorted."""
        return tuple(sorted({*self.codes, *([self.query_language] if self.query_language else [])}))

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes with relevant documents: no cross if the questions are not parallel."""
        if self.language is not None:  # judgements may name documents in any language
            return MODES
        if self.has_pairs:
            pairs = self._pairs()
            kinds: dict[Mode, bool] = {
                "mono": any(queries == documents for queries, documents in pairs),
                "cross": any(queries != documents for queries, documents in pairs),
                "multi": True,
            }
            return tuple(mode for mode in MODES if kinds[mode])
        if self.query_language is not None:
            return ("cross", "multi")
        return MODES if self.parallel in ("queries", "documents") else ("mono", "multi")

    @property
    def has_pairs(self) -> bool:
        """Whether there is a folder for each pair of languages."""
        return QUERY_LANGUAGE in self.path

    def _pairs(self) -> dict[tuple[str, str], str]:
        """Return the folder of each pair of codes: of the pinned pairs, or of all if no file is pinned."""
        pinned = {path.rsplit("/", 1)[0].removesuffix("/qrels") for path in self.pins}
        return {pair: folder for pair, folder in self._folders().items() if folder in pinned or not pinned}

    def _folders(self) -> dict[tuple[str, str], str]:
        """Return the folder of each pair of codes."""
        return {
            (queries, documents): pair_path(self.path, query_label, document_label)
            for queries, query_label in self.codes.items()
            for documents, document_label in self.codes.items()
        }

    def paths(self) -> list[str]:
        """Return the folders that the source reads in a data folder."""
        return list(self._pairs().values()) if self.has_pairs else super().paths()

    def files(self) -> list[str]:
        """Return the files that a folder may have, under all of their names."""
        names = [name for choice in beir.beir_names(self.split) for name in choice]
        folders = self._folders().values() if self.has_pairs else super().paths()
        return [f"{folder}/{name}" for folder in folders for name in names]

    def unpinned(self) -> list[str]:
        """Return the files that the source reads without a hash, under their preferred names."""
        choices = beir.beir_names(self.split)
        files = [[f"{folder}/{name}" for name in choice] for folder in self.paths() for choice in choices]
        return [paths[0] for paths in files if self.pins.keys().isdisjoint(paths)]

    def read(self, name: str, languages: Sequence[str], data_files: DataFiles) -> Collection:
        """Read the folders of `languages`; raises `DataError` if a file is missing or damaged."""
        codes = [code for code in languages if code in self.codes]
        field = None
        if self.language is not None:
            labels = {self.codes[code]: code for code in codes}
            field, codes = beir.LanguageField(self.language, labels, self.query_language), codes[:1]
        if self.has_pairs:
            pairs = self._existing_pairs(codes, data_files)
        else:
            pairs = {
                (self.query_language or code, code): self.path.replace(PLACEHOLDER, self.codes[code]) for code in codes
            }
        folders = (self._files(folder, *pair, data_files) for pair, folder in pairs.items())
        return beir.read_beir(
            name,
            folders,
            self.parallel or "none",
            self.ignore_identical_ids,
            field,
            self.has_pairs,
            frozenset(self.skip),
        )

    def _existing_pairs(self, codes: Sequence[str], data_files: DataFiles) -> dict[tuple[str, str], str]:
        """Return the folders of the pairs among `codes`. A pair without a pin may be missing, which is logged."""
        pairs = {pair: folder for pair, folder in self._pairs().items() if set(pair) <= set(codes)}
        if self.pins:
            return pairs
        existing = {
            pair: folder
            for pair, folder in pairs.items()
            if any((root / check_path(folder)).is_dir() for root in data_files.roots)
        }
        if not existing:
            raise DataError(f"there is no folder {' or '.join(list(pairs.values())[:2])}: check `path` and `languages`")
        if len(existing) < len(pairs):
            missing = [folder for pair, folder in pairs.items() if pair not in existing]
            log.warning(
                f"{len(missing)} of {len(pairs)} pairs have no folder, for example {missing[0]}: they are left out"
            )
        return existing

    def _files(self, folder: str, query_language: str, document_language: str, data_files: DataFiles) -> beir.BeirFiles:
        check_path(folder)
        names = [self._name(folder, choice, data_files) for choice in beir.beir_names(self.split)]
        splits = {split for root in data_files.roots for split in beir.find_splits(root / folder)}
        if splits and self.split not in splits and self.url is None:
            present = ", ".join(sorted(splits))
            raise DataError(f"{folder} has no judgements of the split '{self.split}', only of {present}: set `split`")
        corpus, queries, qrels = (self.locate(name, data_files) for name in names)
        return beir.BeirFiles(corpus, queries, qrels, query_language, document_language)

    def _name(self, folder: str, choice: tuple[str, ...], data_files: DataFiles) -> str:
        paths = tuple(f"{folder}/{name}" for name in choice)
        pinned = [path for path in paths if path in self.pins]
        return pinned[0] if pinned else data_files.first(paths)
