"""The schema of a task definition: one YAML file describes one collection, and with it up to three MTEB tasks."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from hbt_bench.corpus import cldr, download, lareqa
from hbt_bench.corpus.collection import Collection
from hbt_bench.errors import DataError, UsageError
from hbt_bench.languages import LANGUAGES, select
from hbt_bench.ranking.signature import Signature
from hbt_bench.ranking.subsets import MODES, Mode

#: How a mode is written in MTEB's task names.
MODE_WORDS: dict[Mode, str] = {"mono": "Monolingual", "cross": "CrossLingual", "multi": "Multilingual"}
#: Longest list of languages that a restricted task spells out in its MTEB name.
_SPELLED_OUT = 8


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileSpec(_Strict):
    """Size in bytes and SHA-256 of one pinned file."""

    size: Annotated[int, Field(gt=0)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class LareqaSource(_Strict):
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
    def version(self) -> str | None:
        """The files are pinned, so their counts hold for every version."""
        return None

    def remote_files(self) -> dict[str, download.RemoteFile]:
        """The pinned file of each language."""
        return {
            language: download.RemoteFile(
                self.path.format(language=language), self.url.format(language=language), file.sha256, file.size
            )
            for language, file in sorted(self.files.items())
        }

    def read(self, name: str, languages: Sequence[str], data_dir: Path | None) -> Collection:
        """Fetch what is missing and read the files of `languages`."""
        remote = self.remote_files()
        paths = {code: download.fetch(remote[code], owner=name, data_dir=data_dir) for code in languages}
        return lareqa.read(name, paths, self.candidate)


class CldrSource(_Strict):
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
    def version(self) -> str | None:
        """The CLDR version, on which the facts depend."""
        return cldr.cldr_version()

    def remote_files(self) -> dict[str, download.RemoteFile]:
        """None: the data come with babel."""
        return {}

    def read(self, name: str, languages: Sequence[str], data_dir: Path | None) -> Collection:
        """Make the split; `data_dir` is not used."""
        return cldr.read(self.split, languages)


class Metadata(_Strict):
    """What MTEB asks about a data set, in MTEB's words."""

    reference: str
    license: str
    date: tuple[str, str]
    domains: tuple[str, ...]
    task_subtypes: tuple[str, ...] = ()
    annotations_creators: str
    sample_creation: str
    adapted_from: tuple[str, ...] = ()
    citation: str

    @field_validator("date", mode="before")
    @classmethod
    def _as_text(cls, dates: Iterable[object]) -> tuple[str, ...]:
        return tuple(str(date) for date in dates)  # YAML reads an unquoted date as a date


class Expect(_Strict):
    """Golden counts: queries and documents per language, and how many question ids have n relevant documents.

    With `version` they hold for that version of the source only, and are not checked for another.
    """

    version: str | None = None
    queries: dict[str, int]
    documents: dict[str, int]
    relevant: dict[int, int]

    def check(self, collection: Collection) -> None:
        """Raise `DataError` naming the first count that differs."""
        queries = Counter(query.language for query in collection.queries)
        documents = Counter(document.language for document in collection.documents)
        relevant = Counter(_relevant_by_question(collection).values())
        _compare(collection.name, "queries in", queries, self.queries)
        _compare(collection.name, "documents in", documents, self.documents)
        _compare(collection.name, "questions with a number of relevant documents of", relevant, self.relevant)


class TaskSpec(_Strict):
    """A collection with its source, its MTEB metadata and its golden counts."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: str
    mteb_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9]*$")]
    description: str
    source: Annotated[LareqaSource | CldrSource, Field(discriminator="kind")]
    metadata: Metadata
    expect: Expect | None = None

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the collection, sorted."""
        return self.source.languages

    def select(self, languages: Iterable[str] | None) -> tuple[str, ...]:
        """Check a wish for languages; raise `UsageError` for one the collection lacks."""
        chosen = self.languages if languages is None else select(languages, self.languages, self.name)
        if not chosen:
            raise UsageError(f"no language is left of {self.name}: name at least one of {' '.join(self.languages)}")
        return chosen

    def load(self, languages: Iterable[str] | None = None, data_dir: Path | None = None) -> Collection:
        """Read the collection, check its golden counts and restrict it to `languages`.

        Raises `UsageError` for an unknown language and `DataError` for data that is missing, damaged or different.
        """
        chosen = self.select(languages)
        collection = self.source.read(self.name, chosen, data_dir)
        if self.expect and self.expect.version == self.source.version:
            if chosen == self.languages:
                self.expect.check(collection)
            else:
                self.expect.model_copy(
                    update={
                        "queries": {code: self.expect.queries[code] for code in chosen},
                        "documents": {code: self.expect.documents[code] for code in chosen},
                        "relevant": Counter(_relevant_by_question(collection).values()),
                    }
                ).check(collection)
        return collection

    def task_name(self, mode: Mode, languages: Sequence[str] | None = None) -> str:
        """The name on the command line: ``xquad-r-multi``, or ``xquad-r-multi[de,en]`` for a part of it."""
        part = self._part(languages)
        return f"{self.name}-{mode}" + (f"[{','.join(part)}]" if part else "")

    def mteb_task_name(self, mode: Mode, languages: Sequence[str] | None = None) -> str:
        """The MTEB name; a restricted pool is another task, so it has another name and another file."""
        part = self._part(languages)
        suffix = "" if not part else "_" + ("_".join(part) if len(part) <= _SPELLED_OUT else _digest(part))
        return f"{self.mteb_name}{MODE_WORDS[mode]}Retrieval{suffix}"

    def signature(self, mode: Mode, collection: Collection, model: str, prompt: str) -> Signature:
        """The signature of the scores of `model` (a name and a revision) in one mode of this collection."""
        return Signature(
            self.task_name(mode, collection.languages), self.source.text, collection.fingerprint, model, prompt
        )

    def ranks_name(self, languages: Sequence[str] | None = None) -> str:
        """The name of the file of ranks, which all modes share."""
        return self.mteb_task_name("multi", languages).replace(MODE_WORDS["multi"], "", 1) + ".ranks.npz"

    def _part(self, languages: Sequence[str] | None) -> tuple[str, ...]:
        return () if languages is None or tuple(languages) == self.languages else tuple(languages)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes that make sense: one language alone has no cross-lingual and no multilingual mode."""
        return MODES if len(self.languages) > 1 else ("mono",)


def _compare(name: str, what: str, found: Mapping[Any, int], expected: Mapping[Any, int]) -> None:
    for key in sorted({*found, *expected}, key=str):
        if found.get(key, 0) != expected.get(key, 0):
            raise DataError(
                f"{name} has {found.get(key, 0)} {what} {key} where its definition expects {expected.get(key, 0)}: "
                "the data or the reader changed"
            )


def _relevant_by_question(collection: Collection) -> dict[str, int]:
    counts = collection.qrels.offsets[1:] - collection.qrels.offsets[:-1]
    return {query.question: int(count) for query, count in zip(collection.queries, counts, strict=True)}


def _digest(languages: Sequence[str]) -> str:
    """A short name for a long list, different for every list."""
    return f"{len(languages)}languages_{hashlib.sha256(' '.join(languages).encode()).hexdigest()[:8]}"
