"""The kinds of sources that a task definition can have; every one ends in a `Collection`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from hbt_bench.data import beir, cldr, download, lareqa
from hbt_bench.data.builder import Parallel
from hbt_bench.data.collection import Collection
from hbt_bench.data.data_files import DataFiles, Pin
from hbt_bench.data.records import PLACEHOLDER
from hbt_bench.identity.task_name import MODES, Mode
from hbt_bench.languages import LANGUAGES
from hbt_bench.tasks.schema import Codes, FileSource, FileSpec, known_code, relative
from hbt_bench.tasks.source import Commit, Source
from hbt_bench.tasks.table_sources import HubSource, TableSource


class LareqaSource(Source):
    """LAReQA's JSON, one pinned file a language; ``{language}`` in `path` and `url` stands for the code."""

    kind: Literal["lareqa"]
    candidate: lareqa.Candidate
    path: str
    url: str
    files: dict[str, FileSpec]

    @field_validator("path", "url")
    @classmethod
    def _has_placeholder(cls, template: str) -> str:
        if "{language}" not in template or ".." in template or template.startswith("/"):
            raise ValueError("must be relative to the data folder and contain {language}")
        rest = template.replace("{language}", "")
        if "{" in rest or "}" in rest:
            raise ValueError("must have no placeholder but {language}")
        return template

    @field_validator("files")
    @classmethod
    def _known_languages(cls, files: dict[str, FileSpec]) -> dict[str, FileSpec]:
        unknown = [code for code in files if code not in LANGUAGES]
        if unknown:
            raise ValueError(f"unknown language code '{unknown[0]}'")
        return files

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that have a file."""
        return tuple(sorted(self.files))

    @property
    def text(self) -> str:
        """What a document's text is, for the signature."""
        return self.candidate

    @property
    def languages_independent(self) -> bool:
        """Every question has its answer in its own language."""
        return True

    def remote_files(self) -> dict[str, download.RemoteFile]:
        """The pinned file of each language."""
        return {
            language: download.RemoteFile(
                self.path.format(language=language), self.url.format(language=language), file.sha256, file.size
            )
            for language, file in sorted(self.files.items())
        }

    def read(self, name: str, languages: Sequence[str], places: DataFiles) -> Collection:
        """Fetch what is missing and read the files of `languages`."""
        remote = self.remote_files()
        paths = {
            code: places.find(file.path, Pin(file.sha256, file.size), file.url)
            for code, file in remote.items()
            if code in languages
        }
        return lareqa.read(name, paths, self.candidate)


class CldrSource(Source):
    """Facts from the Unicode CLDR data in the installed babel package; nothing is downloaded."""

    kind: Literal["cldr"]
    split: Literal["train", "dev", "test"] = "test"

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that have templates."""
        return tuple(sorted(cldr.LANGUAGES))

    @property
    def text(self) -> str:
        """What a document's text is, for the signature."""
        return "sentence"

    @property
    def languages_independent(self) -> bool:
        """Every fact is there in every language."""
        return True

    @property
    def version(self) -> str | None:
        """The CLDR version, on which the facts depend."""
        return cldr.cldr_version()

    def read(self, name: str, languages: Sequence[str], places: DataFiles) -> Collection:
        """Make the split; no folder is used."""
        return cldr.read(self.split, languages)


class BeirSource(FileSource, Source):
    """BEIR's layout: one folder, or one a language; `query_language` is for queries that are all in one language."""

    kind: Literal["beir"]
    query_language: str | None = None
    split: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$")] = "test"
    parallel: Parallel | None = None

    @model_validator(mode="after")
    def _fits(self) -> BeirSource:
        if (PLACEHOLDER in self.path) != (len(self.codes) > 1):
            raise ValueError("several languages need {language} in path, and one language must not have it")
        if len(self.codes) > 1 and self.parallel is None:
            raise ValueError(
                "say `parallel: documents` when equal ids are translations, `queries` when only the queries are, "
                "else `none`"
            )
        if self.query_language is not None:
            known_code(self.query_language)
        return self

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the documents and of the queries."""
        return tuple(sorted({*self.codes, *([self.query_language] if self.query_language else [])}))

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Questions that are not parallel have answers in one language only."""
        if self.query_language is not None:
            return ("cross", "multi")
        return MODES if self.parallel in ("queries", "documents") else ("mono", "multi")

    def unpinned(self) -> list[str]:
        """The files that are read without a hash, by the first of their names."""
        choices = beir.names(self.split)
        files = [[f"{folder}/{name}" for name in choice] for folder in self.paths() for choice in choices]
        return [paths[0] for paths in files if self.pins.keys().isdisjoint(paths)]

    def read(self, name: str, languages: Sequence[str], places: DataFiles) -> Collection:
        """Read the folders of `languages`."""
        return beir.read(name, self._folders(languages, places), self.parallel or "none")

    def _folders(self, languages: Sequence[str], places: DataFiles) -> Iterator[beir.BeirFiles]:
        for code in languages:
            if code not in self.codes:
                continue
            folder = relative(self.path.replace(PLACEHOLDER, self.codes[code]))
            corpus, queries, qrels = (
                self.locate(self._name(folder, choice, places), places) for choice in beir.names(self.split)
            )
            yield beir.BeirFiles(corpus, queries, qrels, self.query_language or code, code)

    def _name(self, folder: str, choice: tuple[str, ...], places: DataFiles) -> str:
        paths = tuple(f"{folder}/{name}" for name in choice)
        pinned = [path for path in paths if path in self.pins]
        return pinned[0] if pinned else places.first(paths)


class MtebSource(Source):
    """A retrieval or bitext task of MTEB's, its subsets pooled.

    `languages` maps our codes to the names of subsets, or to MTEB's codes where a subset has two languages; a list, or
    nothing, leaves that to MTEB's metadata. `pairs` says which of two languages is the query's. `parallel` says what
    equal ids in several subsets mean, and `id_digits`, of how many hexadecimal digits the ids are that it holds for: a
    data set that numbers its queries anew in each language is then refused. `revision` is MTEB's own if not given.
    """

    kind: Literal["mteb"]
    task: Annotated[str, StringConstraints(pattern=r"^[\w.()+-]+$")]
    codes: Codes | None = Field(default=None, alias="languages")
    split: str | None = None
    pairs: Literal["query-document", "document-query"] | None = None
    parallel: Parallel | None = None
    id_digits: Annotated[int, Field(gt=0, le=64)] | None = None
    revision: Commit | None = None

    @property
    def declared(self) -> tuple[str, ...] | None:
        """The languages in the definition; those that MTEB has are known when it is loaded."""
        return tuple(sorted(self.codes)) if self.codes else None

    @property
    def languages(self) -> tuple[str, ...]:
        """The declared languages, or all of the task that have a code of ours."""
        if self.codes:
            return tuple(sorted(self.codes))
        from hbt_bench.data import mteb_reader

        return mteb_reader.languages(self.task)

    @property
    def is_bitext(self) -> bool:
        """Whether the task mines parallel sentences, told by its name so that MTEB need not be loaded."""
        return self.task.endswith("BitextMining") or self.task == "Tatoeba"

    @property
    def text(self) -> str:
        """What a document's text is, for the signature."""
        return "sentence" if self.is_bitext else "document"

    @property
    def version(self) -> str | None:
        """The commit of the data set, if it is pinned here."""
        return self.revision

    @property
    def modes(self) -> tuple[Mode, ...]:
        """As for files: no sentence is its own translation, and without parallel ids there is no cross."""
        if self.is_bitext:
            return ("cross", "multi")
        return MODES if self.parallel in ("queries", "documents") or self.pairs else ("mono", "multi")

    def read(self, name: str, languages: Sequence[str], places: DataFiles) -> Collection:
        """Load the subsets of `languages` with MTEB's own loader."""
        from hbt_bench.data import mteb_reader

        pooled = mteb_reader.PooledTask(
            self.task, self.codes, self.split, self.pairs, self.parallel, self.id_digits, self.revision
        )
        return mteb_reader.read(name, pooled, languages)


AnySource = Annotated[
    LareqaSource | CldrSource | TableSource | BeirSource | HubSource | MtebSource, Field(discriminator="kind")
]
