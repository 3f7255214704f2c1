"""The base of all kinds of sources, and the parts of the schema that several kinds share."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    field_validator,
    model_serializer,
    model_validator,
)

from hbt_bench.data import row_fields
from hbt_bench.data.collection import Collection
from hbt_bench.data.data_files import DataFiles, Pin, RemoteFile, check_relative
from hbt_bench.data.language_pairs import LabelForm
from hbt_bench.data.levels import DOCUMENT, QUESTION
from hbt_bench.data.readers import Parallel
from hbt_bench.data.records import PLACEHOLDER, Row, first_value, is_missing
from hbt_bench.errors import DataError, did_you_mean
from hbt_bench.identity.task_name import MODES, Mode
from hbt_bench.languages.codes import check_distinct, labels_by_code
from hbt_bench.yaml_file import StrictModel

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
#: A commit of a data set on the hub.
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


class Source(StrictModel):
    """The base of all kinds of sources. The defaults are those of a parallel collection in local files."""

    kind: str

    @property
    @abstractmethod
    def languages(self) -> tuple[str, ...]:
        """The languages of the collection, sorted."""

    @property
    def declared(self) -> tuple[str, ...] | None:
        """The `languages`, or None if only MTEB knows them, which takes seconds to load."""
        return self.languages

    @property
    def text(self) -> str:
        """The kind of text that a document is, for the signature; for example, "sentence"."""
        return "document"

    @property
    def version(self) -> str | None:
        """The version of the data, or None if they have no versions. Golden counts hold for a version."""
        return None

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes with relevant documents, if the collection has several languages."""
        return MODES

    @property
    def languages_independent(self) -> bool:
        """Whether a language has the same queries with and without the other languages."""
        return False

    def paths(self) -> list[str]:
        """Return the paths that the source reads in a data folder; empty if the data are elsewhere."""
        return [file.path for file in self.remote_files().values()]

    def remote_files(self) -> dict[str, RemoteFile]:
        """Return the pinned files to download, by language."""
        return {}

    @abstractmethod
    def read(self, name: str, languages: Sequence[str], data_files: DataFiles) -> Collection:
        """Return the collection `name` in `languages`.

        The files of other languages are not read. Raises `DataError` if data are missing or damaged.
        """


class Part(StrictModel):
    """A share of a source's records: the hash of field `by`, mapped to [0, 1), lies in [start, end).

    For example, ``Part(by="doc", end=0.9)`` keeps the records of about 90 % of the documents.
    """

    by: str
    start: Annotated[float, Field(ge=0, lt=1)] = 0.0
    end: Annotated[float, Field(gt=0, le=1)] = 1.0

    def keeps(self, row: Row) -> bool:
        """Return whether a record is in the share; raises `DataError` if it has no value at `by`."""
        value = first_value(row.fields, self.by)
        if is_missing(value):
            raise row_fields.missing_field(row, self.by, f"no value at '{self.by}', by which `part` divides the rows")
        return value in self

    def __contains__(self, value: object) -> bool:
        share = int.from_bytes(hashlib.sha256(str(value).encode()).digest()[:8], "big") / 2**64
        return self.start <= share < self.end


class FileSpec(StrictModel):
    """SHA-256 of a pinned file, and its size in bytes."""

    size: Annotated[int, Field(gt=0)]
    sha256: Sha256


class PinSpec(StrictModel):
    """SHA-256 of a file, and its size in bytes, which a file with a `url` needs."""

    sha256: Sha256
    size: Annotated[int, Field(gt=0)] | None = None

    @property
    def pin(self) -> Pin:
        """The pin for `DataFiles.find`."""
        return Pin(self.sha256, self.size)


def _codes(value: object) -> object:
    """Write out a list of codes: ``[en, deu_Latn]`` becomes ``{en: en, de: deu_Latn}``.

    Raises `ValueError` for unknown codes, and for two codes of the same language.
    """
    if isinstance(value, list):
        check_distinct(value)
        value = {str(code): str(code) for code in value}
    if isinstance(value, Mapping):
        labels = labels_by_code(value)
        if not labels:
            raise ValueError("name at least one language")
        return labels
    return value


#: Our language codes with the codes in the data; for example, ``{sw: swh_Latn}``.
Codes = Annotated[dict[str, Annotated[str, StringConstraints(min_length=1)]], BeforeValidator(_codes)]
#: A path, or a list of paths.
Paths = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list | tuple) else (value,))
]


def check_placeholder(path: str, allowed: Sequence[str] = (PLACEHOLDER,)) -> str:
    """Return `path`; raises `ValueError` if it has another placeholder than the allowed, by default ``{language}``."""
    rest = path
    for placeholder in allowed:
        rest = rest.replace(placeholder, "")
    if "{" in rest or "}" in rest:
        raise ValueError(f"must have no placeholder but {' and '.join(allowed)}")
    return path


def check_parallel(parallel: Parallel | None, codes: Mapping[str, str]) -> None:
    """Raise `ValueError` if data in several languages have no meaning of equal ids."""
    if len(codes) > 1 and parallel is None:
        raise ValueError(
            "set `parallel: documents` if equal ids are translations, `parallel: queries` if only equal query "
            "ids are, else `parallel: none`"
        )


def check_path(path: str, allowed: Sequence[str] = (PLACEHOLDER,)) -> str:
    """Return `path`; raises `ValueError` if it leaves its folder or has another placeholder than the allowed.

    For example, ``check_path("../data.jsonl")`` raises an error.
    """
    try:
        check_relative(path)
    except DataError as error:
        raise ValueError(str(error)) from error
    return check_placeholder(path, allowed)


class ColumnsSpec(StrictModel):
    """Paths to the fields of a row; see `hbt_bench.data.row_fields.Columns`.

    `language_form` is the form of the values in `language` if they name two languages, as in ``en-de``:
    ``{query_language}-{language}``, or the other way round. For example,
    ``{id: id, language: lang, query: question, document: answer}``.
    """

    id: Paths = ()
    language: str | None = None
    query: str | None = None
    document: Paths = ()
    document_id: Paths = ()
    title: str | None = None
    grade: str | None = None
    text: str | None = None
    merge: bool = False
    unanswered: bool = False
    clusters: dict[str, str] = Field(default_factory=dict)
    language_form: str | None = None

    @field_validator("clusters")
    @classmethod
    def _check_clusters(cls, clusters: dict[str, str]) -> dict[str, str]:
        if taken := {QUESTION, DOCUMENT} & clusters.keys():
            raise ValueError(f"'{min(taken)}' is a level that every collection has: choose another name")
        return clusters

    @field_validator("language_form")
    @classmethod
    def _check_form(cls, form: str | None) -> str | None:
        parsed = LabelForm.parse(form) if form else None
        return str(parsed) if parsed else None

    @model_serializer(mode="wrap")
    def _without_missing_form(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        if fields.get("language_form") is None:  # the addresses of finished jobs of studies hash these keys
            fields.pop("language_form", None)
        fields.pop("clusters", None)  # scores do not depend on them
        return fields

    @model_validator(mode="after")
    def _check_combination(self) -> ColumnsSpec:
        if self.text is None and (self.query is None or not self.document):
            raise ValueError("give query and document, or text for parallel sentences")
        if self.text is not None and (self.query or self.document or self.document_id or self.title or self.grade):
            raise ValueError("text is for parallel sentences: combine it with id and language only")
        details = [path for path in (*self.document_id, self.title, self.grade) if path and "*" in path.split(".")]
        if details and len(self.document) > 1:
            raise ValueError(f"{details[0]} is a list, so document must be a list too, with a single path")
        if self.unanswered and self.text is not None:
            raise ValueError("unanswered is for questions with documents, not for parallel sentences")
        paths = [path for path in (self.query, *self.document, self.text) if path]
        if self.language_form is not None and (self.language is None or self.text is not None):
            raise ValueError("language_form is for the column `language` of rows with query and document")
        with_code = [path for path in paths if PLACEHOLDER in path]
        if self.language is not None and with_code:
            raise ValueError("use either the column 'language' or the placeholder {language}, not both")
        if with_code and len(with_code) < len(paths):
            raise ValueError("{language} must be in query and in document, or in neither")
        return self

    @property
    def has_placeholder(self) -> bool:
        """Whether the paths have the placeholder ``{language}``, so that a row has texts in several languages."""
        return PLACEHOLDER in (self.query or self.text or "")

    def columns(self, parallel: bool, ignore_identical_ids: bool | None = None) -> row_fields.Columns:
        """Return the paths for `columns.collect`."""
        return row_fields.Columns(
            **self.model_dump(exclude={"language_form"}),
            clusters=self.clusters,
            parallel=parallel,
            ignore_identical_ids=ignore_identical_ids,
            language_form=LabelForm.parse(self.language_form) if self.language_form else None,
        )


class FileSource(StrictModel):
    """Files in the folder of the task or in the data folder, with hashes, and an address if they can be downloaded.

    ``{language}`` in `path` is replaced by the code in the data, ``{path}`` in `url` by the path of the file.
    """

    #: The placeholders that `path` may have.
    placeholders: ClassVar[tuple[str, ...]] = (PLACEHOLDER,)

    path: str
    codes: Codes = Field(alias="languages")
    url: str | None = None
    pins: dict[str, PinSpec] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_files(self) -> FileSource:
        check_path(self.path, self.placeholders)
        for path in self.pins:
            check_path(path)
        files = self.files() if self.pins else []
        if unread := sorted(self.pins.keys() - set(files)):
            hint = did_you_mean(unread[0], files) or f" (it reads {', '.join(files[:3])})"
            raise ValueError(f"pins: the source does not read {unread[0]}{hint}")
        if self.url is not None:
            if not self.url.startswith("https://") or "{path}" not in self.url:
                raise ValueError("url must start with https:// and contain {path}")
            if not self.pins or any(pin.size is None for pin in self.pins.values()):
                raise ValueError("url needs pins with sha256 and size for every file")
        return self

    def paths(self) -> list[str]:
        """Return the files, or the folders in BEIR's layout, that the source reads in a data folder."""
        return list(dict.fromkeys(self.path.replace(PLACEHOLDER, label) for label in self.codes.values()))

    def files(self) -> list[str]:
        """Return all files that the source may read, with every name that a file of a folder may have."""
        return self.paths()

    def address(self, path: str) -> str | None:
        """Return the address of `path`, or None if it cannot be downloaded."""
        return self.url.replace("{path}", path) if self.url else None

    def unpinned(self) -> list[str]:
        """Return the files that the source reads without a hash."""
        return [path for path in self.paths() if path not in self.pins]

    def locate(self, path: str, data_files: DataFiles) -> Path:
        """Return the local file at `path`, checked against its pin; raises `DataError` if it differs."""
        pin = self.pins.get(path)
        return data_files.find(path, pin.pin if pin else None, self.address(path))
