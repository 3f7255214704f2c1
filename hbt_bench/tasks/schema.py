"""Parts of the schema that several kinds of sources share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from hbt_bench.data import columns
from hbt_bench.data.data_files import Pin, check_relative
from hbt_bench.data.records import PLACEHOLDER
from hbt_bench.errors import DataError, did_you_mean
from hbt_bench.languages import LANGUAGES
from hbt_bench.yaml_file import StrictModel

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Strict(StrictModel):
    """The base of the models of task files. Fields with an alias can also be set by name."""

    model_config = ConfigDict(populate_by_name=True)


class FileSpec(Strict):
    """SHA-256 of one pinned file, and its size in bytes."""

    size: Annotated[int, Field(gt=0)]
    sha256: Sha256


class PinSpec(Strict):
    """SHA-256 of one file; its size is needed where it can be downloaded."""

    sha256: Sha256
    size: Annotated[int, Field(gt=0)] | None = None

    @property
    def pin(self) -> Pin:
        """For `DataFiles.find`."""
        return Pin(self.sha256, self.size)


def _codes(value: object) -> object:
    """``[en, de]`` is short for ``{en: en, de: de}``."""
    if isinstance(value, list):
        value = dict(zip((str(code) for code in value), (str(code) for code in value), strict=True))
    if isinstance(value, Mapping):
        for code in value:
            known_code(str(code))
        labels = list(value.values())
        if len(set(map(str, labels))) < len(labels):
            raise ValueError("two languages have the same code in the data")
        if not value:
            raise ValueError("name at least one language")
    return value


def known_code(code: str) -> None:
    """Raise `ValueError` with a suggestion for a code that is not in the table of languages."""
    if code not in LANGUAGES:
        names = {language.name.lower(): language.code for language in LANGUAGES.values()}
        hint = f"; did you mean '{names[code.lower()]}'?" if code.lower() in names else did_you_mean(code, LANGUAGES)
        raise ValueError(f"unknown language code '{code}'{hint}")


#: Our code to the code that the data use.
Codes = Annotated[dict[str, Annotated[str, StringConstraints(min_length=1)]], BeforeValidator(_codes)]
Paths = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list | tuple) else (value,))
]


def relative(path: str, *, placeholder: bool = True) -> str:
    """Check a path inside a folder; raises `ValueError`."""
    try:
        check_relative(path)
    except DataError as error:
        raise ValueError(str(error)) from error
    rest = path.replace(PLACEHOLDER, "") if placeholder else path
    if "{" in rest or "}" in rest:
        raise ValueError("must have no placeholder but {language}")
    return path


class ColumnsSpec(Strict):
    """Where a row has its parts: see `hbt_bench.data.columns`."""

    id: Paths = ()
    language: str | None = None
    query: str | None = None
    document: str | None = None
    document_id: Paths = ()
    title: str | None = None
    text: str | None = None
    merge: bool = False
    unanswered: bool = False

    @model_validator(mode="after")
    def _either(self) -> ColumnsSpec:
        if self.text is None and (self.query is None or self.document is None):
            raise ValueError("give query and document, or text for parallel sentences")
        if self.text is not None and (self.query or self.document or self.document_id or self.title):
            raise ValueError("text is for parallel sentences: it stands alone, or with id and language")
        if self.unanswered and self.text is not None:
            raise ValueError("unanswered is for questions with documents, not for parallel sentences")
        placed = [path for path in (self.query, self.document, self.text) if path]
        with_code = [path for path in placed if PLACEHOLDER in path]
        if self.language is not None and with_code:
            raise ValueError("use either the column 'language' or the placeholder {language}, not both")
        if with_code and len(with_code) < len(placed):
            raise ValueError("{language} must be in query and in document, or in neither")
        return self

    @property
    def placed(self) -> bool:
        """Whether one row has several languages."""
        return PLACEHOLDER in (self.query or self.text or "")

    def columns(self, parallel: bool) -> columns.Columns:
        """For `columns.collect`."""
        return columns.Columns(**self.model_dump(), parallel=parallel)


class FileSource(Strict):
    """FileSource inside the folder of the task or the data folder, with their hashes and an address to fetch them from.

    ``{language}`` in `path` stands for the code that the data use; ``{path}`` in `url` for the file's path.
    """

    path: str
    codes: Codes = Field(alias="languages")
    url: str | None = None
    pins: dict[str, PinSpec] = {}

    @model_validator(mode="after")
    def _pinned(self) -> FileSource:
        for path in (self.path, *self.pins):
            relative(path)
        if self.url is not None:
            if not self.url.startswith("https://") or "{path}" not in self.url:
                raise ValueError("url must start with https:// and contain {path}")
            if not self.pins or any(pin.size is None for pin in self.pins.values()):
                raise ValueError("url needs pins with sha256 and size for every file")
        return self

    def paths(self) -> list[str]:
        """The files, or BEIR's folders, that it reads inside of a data folder."""
        return list(dict.fromkeys(self.path.replace(PLACEHOLDER, label) for label in self.codes.values()))

    def address(self, path: str) -> str | None:
        """Where `path` can be downloaded."""
        return self.url.replace("{path}", path) if self.url else None

    def unpinned(self) -> list[str]:
        """The files that are read without a hash."""
        return [path for path in self.paths() if path not in self.pins]

    def locate(self, path: str, places: Any) -> Path:
        """The local file, checked against its pin."""
        pin = self.pins.get(path)
        found: Path = places.find(path, pin.pin if pin else None, self.address(path))
        return found
