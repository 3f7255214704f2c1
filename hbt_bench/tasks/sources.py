"""The kinds of sources that a task definition can have; every one ends in a `Collection`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from hbt_bench.corpus import beir, cldr, columns, download, hub, lareqa
from hbt_bench.corpus.collection import Collection
from hbt_bench.corpus.places import Places
from hbt_bench.corpus.pool import Parallel
from hbt_bench.corpus.rows import SUFFIXES, Row, read_lines, read_rows
from hbt_bench.languages import LANGUAGES
from hbt_bench.ranking.subsets import MODES, Mode
from hbt_bench.tasks.schema import PLACEHOLDER, Codes, ColumnsSpec, Files, FileSpec, Strict, known_code, relative

Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


class Source(Strict):
    """What every kind has; the answers here are those of a parallel collection in local files."""

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the collection, sorted."""
        raise NotImplementedError

    @property
    def declared(self) -> tuple[str, ...] | None:
        """`languages` where they are known without loading MTEB, else None."""
        return self.languages

    @property
    def text(self) -> str:
        """What a document's text is, for the signature."""
        return "document"

    @property
    def version(self) -> str | None:
        """What the counts of a definition hold for, where the data come in versions."""
        return None

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes that have something to judge, when there are several languages."""
        return MODES

    @property
    def apart(self) -> bool:
        """Whether a language has the same queries with and without the others."""
        return False

    def remote_files(self) -> dict[str, download.RemoteFile]:
        """Pinned files to download, by language."""
        return {}

    def read(self, name: str, languages: Sequence[str], places: Places) -> Collection:
        """Read the data of `languages` and nothing else, where the source lets them be read apart."""
        raise NotImplementedError


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
    def apart(self) -> bool:
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

    def read(self, name: str, languages: Sequence[str], places: Places) -> Collection:
        """Fetch what is missing and read the files of `languages`."""
        remote = self.remote_files()
        paths = {code: download.fetch(remote[code], owner=name, data_dir=places.data_dir) for code in languages}
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
    def apart(self) -> bool:
        """Every fact is there in every language."""
        return True

    @property
    def version(self) -> str | None:
        """The CLDR version, on which the facts depend."""
        return cldr.cldr_version()

    def read(self, name: str, languages: Sequence[str], places: Places) -> Collection:
        """Make the split; no folder is used."""
        return cldr.read(self.split, languages)


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
        return columns.collect(name, rows, mapping, chosen, whole=len(chosen) == len(self.codes))


class TableSource(Files, _Mapped):
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

    def read(self, name: str, languages: Sequence[str], places: Places) -> Collection:
        """Read the one file, or those of `languages`."""
        return self._collect(name, languages, self._rows(languages, places))

    def _rows(self, languages: Sequence[str], places: Places) -> Iterator[Row]:
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


class BeirSource(Files, Source):
    """BEIR's layout: one folder, or one a language; `query_language` is for queries that are all in one language."""

    kind: Literal["beir"]
    codes: Codes = Field(alias="languages")
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

    def read(self, name: str, languages: Sequence[str], places: Places) -> Collection:
        """Read the folders of `languages`."""
        return beir.read(name, self._folders(languages, places), self.parallel or "none")

    def _folders(self, languages: Sequence[str], places: Places) -> Iterator[beir.Files]:
        for code in languages:
            if code not in self.codes:
                continue
            folder = relative(self.path.replace(PLACEHOLDER, self.codes[code]))
            corpus, queries, qrels = (
                self.locate(self._name(folder, choice, places), places) for choice in beir.names(self.split)
            )
            yield beir.Files(corpus, queries, qrels, self.query_language or code, code)

    def _name(self, folder: str, choice: tuple[str, ...], places: Places) -> str:
        paths = tuple(f"{folder}/{name}" for name in choice)
        pinned = [path for path in paths if path in self.pins]
        return pinned[0] if pinned else places.first(paths)


class HubSource(_Mapped):
    """A data set on the hub at a pinned commit; ``{language}`` in `config` or `split` stands for the data's code."""

    kind: Literal["hub"]
    path: Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")]
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

    def read(self, name: str, languages: Sequence[str], places: Places) -> Collection:
        """Load the configurations or splits of `languages`."""
        return self._collect(name, languages, self._rows(languages))

    def _rows(self, languages: Sequence[str]) -> Iterator[Row]:
        fields = self._fields(languages)
        if not self.several:
            alone = next(iter(self.codes.values())) if len(self.codes) == 1 and not self.columns.language else None
            label = None if self.columns.placed else alone
            yield from hub.read_rows(self.path, self.revision, self.config, self.split, fields, label)
            return
        for code in languages:
            label = self.codes[code]
            config = self.config.replace(PLACEHOLDER, label) if self.config else None
            split = self.split.replace(PLACEHOLDER, label)
            yield from hub.read_rows(self.path, self.revision, config, split, fields, label)

    def _fields(self, languages: Sequence[str]) -> set[str]:
        named = self.columns.columns(True).fields()
        return {name.replace(PLACEHOLDER, self.codes[code]) for name in named for code in languages}


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
        from hbt_bench.tasks import mteb_pool

        return mteb_pool.languages(self.task)

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

    def read(self, name: str, languages: Sequence[str], places: Places) -> Collection:
        """Load the subsets of `languages` with MTEB's own loader."""
        from hbt_bench.tasks import mteb_pool

        return mteb_pool.read(name, self, languages)


AnySource = Annotated[
    LareqaSource | CldrSource | TableSource | BeirSource | HubSource | MtebSource, Field(discriminator="kind")
]


def keys() -> set[str]:
    """Every key that a source may have, for suggestions."""
    kinds: tuple[Any, ...] = (LareqaSource, CldrSource, TableSource, BeirSource, HubSource, MtebSource, ColumnsSpec)
    return {info.alias or name for kind in kinds for name, info in kind.model_fields.items()}
