"""The kinds of sources that task files can have. Each reads its data into a `Collection`.

To add a kind, write a subclass of `Source` with `kind`, `languages` and `read`, and add it to `SOURCES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import Field, StringConstraints, TypeAdapter, WrapValidator, field_validator

from hbt_bench.data import cldr, lareqa
from hbt_bench.data.collection import Collection
from hbt_bench.data.data_files import DataFiles, Pin, RemoteFile
from hbt_bench.data.readers import Parallel
from hbt_bench.identity.task_name import MODES, Mode
from hbt_bench.languages import find, unknown_code
from hbt_bench.tasks.beir_source import BeirSource
from hbt_bench.tasks.retrieval_source import RetrievalSource
from hbt_bench.tasks.schema import (
    Codes,
    Commit,
    FileSpec,
    Source,
    check_placeholder,
)
from hbt_bench.tasks.table_sources import HubSource, TableSource


class LareqaSource(Source):
    """LAReQA's JSON, a pinned file per language. ``{language}`` in `path` and `url` is replaced by the code."""

    kind: Literal["lareqa"]
    candidate: lareqa.Candidate
    path: str
    url: str
    files: dict[str, FileSpec]

    @field_validator("path", "url")
    @classmethod
    def _check_template(cls, template: str) -> str:
        if "{language}" not in template or ".." in template or template.startswith("/"):
            raise ValueError("must be relative to the data folder and contain {language}")
        return check_placeholder(template)

    @field_validator("files")
    @classmethod
    def _check_languages(cls, files: dict[str, FileSpec]) -> dict[str, FileSpec]:
        unknown = next((code for code in files if find(code) is None), None)
        if unknown is not None:  # the code is in the path too, so no other spelling is accepted
            raise ValueError(unknown_code(unknown))
        return files

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages with a file, sorted."""
        return tuple(sorted(self.files))

    @property
    def text(self) -> str:
        """The kind of text that a document is, for the signature."""
        return self.candidate

    @property
    def languages_independent(self) -> bool:
        """True: each question has its answer in its own language."""
        return True

    def remote_files(self) -> dict[str, RemoteFile]:
        """Return the pinned file of each language."""
        return {
            language: RemoteFile(
                self.path.format(language=language), self.url.format(language=language), file.sha256, file.size
            )
            for language, file in sorted(self.files.items())
        }

    def read(self, name: str, languages: Sequence[str], data_files: DataFiles) -> Collection:
        """Read the files of `languages`; missing files are downloaded. Raises `DataError` if a file is damaged."""
        remote = self.remote_files()
        paths = {
            code: data_files.find(file.path, Pin(file.sha256, file.size), file.url)
            for code, file in remote.items()
            if code in languages
        }
        return lareqa.read_lareqa(name, paths, self.candidate)


class CldrSource(Source):
    """Facts from the Unicode CLDR data in the installed babel package. Nothing is downloaded."""

    kind: Literal["cldr"]
    split: Literal["train", "dev", "test"] = "test"

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages with templates, sorted."""
        return tuple(sorted(cldr.LANGUAGES))

    @property
    def text(self) -> str:
        """The kind of text that a document is, for the signature."""
        return "sentence"

    @property
    def languages_independent(self) -> bool:
        """True: each language has all facts."""
        return True

    @property
    def version(self) -> str | None:
        """The CLDR version, on which the facts depend."""
        return cldr.cldr_version()

    def read(self, name: str, languages: Sequence[str], data_files: DataFiles) -> Collection:
        """Build the split; `data_files` are not used."""
        return cldr.read(self.split, languages)


class MtebSource(Source):
    """A retrieval or bitext task of MTEB, with its subsets in one pool.

    `languages` maps our codes to the names of subsets, or to MTEB's codes if a subset has two languages. A list of
    codes, or nothing, uses MTEB's metadata. `pairs` is the order of the languages in the name of a subset. `parallel`
    is the meaning of equal ids in several subsets. It holds for ids with `id_digits` hexadecimal digits; other ids are
    an error, because some data sets number the queries of each language anew. `revision` is MTEB's own by default.
    `ignore_identical_ids` is the rule for documents with the id of a query, by default that of the MTEB task. `skip`
    with "dangling" leaves out judgements of missing queries or documents.
    """

    kind: Literal["mteb"]
    task: Annotated[str, StringConstraints(pattern=r"^[\w.()+-]+$")]
    codes: Codes | None = Field(default=None, alias="languages")
    split: str | None = None
    pairs: Literal["query-document", "document-query"] | None = None
    parallel: Parallel | None = None
    id_digits: Annotated[int, Field(gt=0, le=64)] | None = None
    revision: Commit | None = None
    ignore_identical_ids: bool | None = None
    skip: tuple[Literal["dangling"], ...] = ()

    @property
    def declared(self) -> tuple[str, ...] | None:
        """The languages in the task file, or None if it has none, because only MTEB knows them then."""
        return tuple(sorted(self.codes)) if self.codes else None

    @property
    def languages(self) -> tuple[str, ...]:
        """The declared languages, or else all languages of the MTEB task that have a code here."""
        if self.codes:
            return tuple(sorted(self.codes))
        from hbt_bench.data import mteb_reader

        return mteb_reader.languages(self.task)

    @property
    def is_bitext(self) -> bool:
        """Whether the task mines parallel sentences. Its name shows this, so MTEB is not loaded."""
        return self.task.endswith("BitextMining") or self.task == "Tatoeba"

    @property
    def text(self) -> str:
        """The kind of text that a document is, for the signature."""
        return "sentence" if self.is_bitext else "document"

    @property
    def version(self) -> str | None:
        """The commit of the data set, or None if it is not pinned."""
        return self.revision

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes with relevant documents: no mono for sentences, no cross without parallel ids."""
        if self.is_bitext:
            return ("cross", "multi")
        return MODES if self.parallel in ("queries", "documents") or self.pairs else ("mono", "multi")

    def read(self, name: str, languages: Sequence[str], data_files: DataFiles) -> Collection:
        """Load the subsets of `languages` with MTEB's loader; raises `DataError` if it fails."""
        from hbt_bench.data import mteb_reader

        pooled = mteb_reader.PooledTask(
            self.task,
            self.codes,
            self.split,
            self.pairs,
            self.parallel,
            self.id_digits,
            self.revision,
            self.ignore_identical_ids,
            frozenset(self.skip),
        )
        return mteb_reader.read(name, pooled, languages)


#: All kinds of sources. A class may have several values of `kind`.
SOURCES: list[type[Source]] = [
    LareqaSource,
    CldrSource,
    TableSource,
    BeirSource,
    HubSource,
    RetrievalSource,
    MtebSource,
]


def _union(kinds: tuple[type[Source], ...]) -> Any:
    return Annotated[Union[kinds], Field(discriminator="kind")]  # noqa: UP007 -- the classes are not known here


@cache
def _adapter(kinds: tuple[type[Source], ...]) -> TypeAdapter[Source]:
    return TypeAdapter(_union(kinds))


def _validate(value: Any, handler: Any) -> Source:
    """Validate by the current `SOURCES`, so that a package may add a kind after the schema of tasks is built."""
    return _adapter(tuple(SOURCES)).validate_python(value)


#: The type of `source` in a task file: the class in `SOURCES` that has its `kind`.
if TYPE_CHECKING:
    AnySource = Source
else:
    AnySource = Annotated[_union(tuple(SOURCES)), WrapValidator(_validate)]
