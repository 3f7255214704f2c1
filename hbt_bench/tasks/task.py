"""The schema of a task definition: one YAML file describes one collection, and with it up to three MTEB tasks."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, StringConstraints, field_validator, model_validator

from hbt_bench.data.collection import Collection
from hbt_bench.data.data_files import DataFiles
from hbt_bench.data.query_shift import Shift
from hbt_bench.errors import DataError, UsageError
from hbt_bench.identity.signature import Signature
from hbt_bench.languages import select
from hbt_bench.ranking.subsets import Mode
from hbt_bench.tasks.schema import Strict
from hbt_bench.tasks.sources import AnySource, MtebSource

#: How a mode is written in MTEB's task names.
MODE_WORDS: dict[Mode, str] = {"mono": "Monolingual", "cross": "CrossLingual", "multi": "Multilingual"}
#: Longest list of languages that a restricted task spells out in its MTEB name.
_SPELLED_OUT = 8
#: The measures that can be the first of a task.
MainScore = Literal["AP", "RR", "nDCG@10", "R@1", "R@10", "R@100"]


class Metadata(Strict):
    """What MTEB asks about a data set, in MTEB's words; what a definition leaves out is not known."""

    reference: str | None = None
    license: str | None = None
    date: tuple[str, str] | None = None
    domains: tuple[str, ...] = ()
    task_subtypes: tuple[str, ...] = ()
    annotations_creators: str | None = None
    sample_creation: str | None = None
    adapted_from: tuple[str, ...] = ()
    citation: str | None = None

    @field_validator("date", mode="before")
    @classmethod
    def _as_text(cls, dates: Any) -> Any:
        return tuple(str(date) for date in dates) if isinstance(dates, list | tuple) else dates


class Expect(Strict):
    """Golden counts: queries and documents per language, and how many question ids have n relevant documents.

    What is left out is not known, and not checked. With `version` they hold for that version of the source only, and
    are not checked for another.
    """

    version: str | None = None
    queries: dict[str, int] = Field(default_factory=dict)
    documents: dict[str, int] = Field(default_factory=dict)
    relevant: dict[int, int] = Field(default_factory=dict)

    @classmethod
    def of(cls, collection: Collection) -> Expect:
        """The counts of a collection as it is."""
        return cls(
            queries=dict(sorted(Counter(query.language for query in collection.queries).items())),
            documents=dict(sorted(Counter(document.language for document in collection.documents).items())),
            relevant=dict(sorted(Counter(_relevant_by_question(collection).values()).items())),
        )

    def check(self, collection: Collection, languages: Sequence[str] | None = None, *, apart: bool = True) -> None:
        """Raise `DataError` naming the first count that differs.

        With `languages` the collection has only these of all: their documents are counted, and their queries too where
        the answers of each language are `apart`; the relevant documents of a question are fewer then.
        """
        name = collection.name
        queries = Counter(query.language for query in collection.queries)
        documents = Counter(document.language for document in collection.documents)
        if languages is None:
            _compare(name, "queries in", queries, self.queries)
            _compare(name, "documents in", documents, self.documents)
            relevant = Counter(_relevant_by_question(collection).values())
            _compare(name, "questions with a number of relevant documents of", relevant, self.relevant)
            return
        if apart:
            _compare(name, "queries in", queries, _of(self.queries, languages))
        _compare(name, "documents in", documents, _of(self.documents, languages))


class TaskSpec(Strict):
    """A collection with its source, its MTEB metadata and its golden counts.

    `measures` are shown beside the main score. `narrowed` and `shifted` give a spec for a part of the languages, or for
    queries that are changed; its names tell.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=60)]
    title: str = ""
    mteb_name: Annotated[str, StringConstraints(pattern=r"^([A-Za-z][A-Za-z0-9]*)?$")] = ""
    description: str = ""
    source: AnySource
    metadata: Metadata = Metadata()
    main_score: MainScore = "AP"
    measures: tuple[MainScore, ...] = ()
    only_modes: tuple[Mode, ...] | None = Field(default=None, alias="modes")
    expect: Expect | None = None

    _folder: Path | None = PrivateAttr(None)
    _base: str = PrivateAttr("")
    _queries: tuple[str, ...] | None = PrivateAttr(None)
    _documents: tuple[str, ...] | None = PrivateAttr(None)
    _shifts: tuple[Shift, ...] = PrivateAttr(())

    @model_validator(mode="before")
    @classmethod
    def _named(cls, content: Any) -> Any:
        if isinstance(content, dict) and isinstance(name := content.get("name"), str):
            words = "".join(part[:1].upper() + part[1:] for part in name.split("-"))
            letters = words if words[:1].isalpha() else f"Task{words}"
            filled = {"title": name, "mteb_name": letters, "description": f"The collection {name}."}
            return {**filled, **{key: value for key, value in content.items() if value is not None}}
        return content

    @field_validator("name")
    @classmethod
    def _no_mode(cls, name: str) -> str:
        if name.endswith(("-mono", "-cross", "-multi")):
            raise ValueError("must not end in a mode (-mono, -cross, -multi), which is added to it")
        return name

    @model_validator(mode="after")
    def _modes_are_possible(self) -> Self:
        if self.only_modes is not None:
            wrong = [mode for mode in self.only_modes if mode not in (*self.source.modes, "mono")]
            if wrong or not self.only_modes:
                raise ValueError(f"modes: this source has {', '.join(self.source.modes)}")
        return self

    @property
    def about(self) -> Metadata:
        """The metadata; for a task of MTEB's pooled without any, those that MTEB has."""
        if self.metadata != Metadata() or not isinstance(self.source, MtebSource):
            return self.metadata
        from hbt_bench.data import mteb_reader

        return Metadata(**mteb_reader.metadata(self.source.task))

    def in_folder(self, folder: Path) -> Self:
        """The same, with the folder in which its file lies."""
        copy = self.model_copy()
        copy._folder = folder
        return copy

    @property
    def base(self) -> str:
        """The name of the whole collection, unchanged."""
        return self._base or self.name

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that are left of the collection, sorted."""
        if self._queries is None or self._documents is None:
            return self.source.languages
        return tuple(code for code in self.source.languages if code in {*self._queries, *self._documents})

    @property
    def shifts(self) -> tuple[Shift, ...]:
        """How the queries are changed, in order."""
        return self._shifts

    @property
    def clean(self) -> Self:
        """The same with unchanged queries."""
        return self._with(self._queries, self._documents, ())

    def narrowed(
        self,
        languages: Iterable[str] | None = None,
        query_languages: Iterable[str] | None = None,
        document_languages: Iterable[str] | None = None,
    ) -> Self:
        """Only these languages, and of these only some for queries or documents; names of groups count too.

        Raises `UsageError` for a language that the collection does not have.
        """
        kept = self.select(languages)
        queries = kept if query_languages is None else select(query_languages, kept, f"{self.base} (queries)")
        documents = kept if document_languages is None else select(document_languages, kept, f"{self.base} (documents)")
        if not queries or not documents:
            raise UsageError(f"no language is left of {self.base}: name at least one of {' '.join(kept)}")
        return self._with(queries, documents, self._shifts)

    def shifted(self, shifts: Iterable[Shift]) -> Self:
        """The same with changed queries."""
        return self._with(self._queries, self._documents, tuple(shifts))

    def _with(
        self, queries: tuple[str, ...] | None, documents: tuple[str, ...] | None, shifts: tuple[Shift, ...]
    ) -> Self:
        copy = self.model_copy()
        copy._base, copy._queries, copy._documents, copy._shifts = self.base, queries, documents, shifts
        label = copy.base + copy._bracket(None) + copy._suffix()
        return copy.model_copy(update={"name": label})

    def select(self, languages: Iterable[str] | None) -> tuple[str, ...]:
        """Check a wish for languages; raise `UsageError` for one the collection lacks."""
        chosen = self.languages if languages is None else select(languages, self.languages, self.base)
        if not chosen:
            raise UsageError(f"no language is left of {self.base}: name at least one of {' '.join(self.languages)}")
        return chosen

    def places(self, data_dir: Path | None) -> DataFiles:
        """Where the files of this task are looked for."""
        return DataFiles(self.base, self._folder, data_dir)

    def load(self, languages: Iterable[str] | None = None, data_dir: Path | None = None) -> Collection:
        """Read the collection, check its golden counts, change its queries and restrict it to the wanted languages.

        Queries are changed first, for they may take words from their versions in a language of the documents.

        Raises `UsageError` for an unknown language and `DataError` for data that is missing, damaged or different.
        """
        chosen = self.select(languages)
        collection = self.source.read(self.base, chosen, self.places(data_dir))
        if self.expect and self.expect.version == self.source.version:
            whole = chosen == self.source.languages
            self.expect.check(collection, None if whole else chosen, apart=self.source.apart)
        changed = collection
        for shift in self._shifts:
            changed = shift.apply(changed)
        if self._queries is not None and self._documents is not None and self._queries != self._documents:
            collection, changed = (one.narrow(self._queries, self._documents) for one in (collection, changed))
        return replace(changed, clean=collection.fingerprint) if self._shifts else collection

    def task_name(self, mode: Mode, languages: Sequence[str] | None = None) -> str:
        """The name on the command line: ``xquad-r-multi``, ``xquad-r-multi[de,en]`` for a part, ``...+typos``."""
        return f"{self.base}-{mode}{self._bracket(languages)}{self._suffix()}"

    def mteb_task_name(self, mode: Mode, languages: Sequence[str] | None = None) -> str:
        """The MTEB name; a restricted pool is another task, so it has another name and another file."""
        queries, documents = self._parts(languages)
        if queries == documents:
            suffix = "" if not queries else f"_{_spelled(queries)}"
        else:
            suffix = f"_from_{_spelled(queries)}_to_{_spelled(documents)}"
        shifts = "".join(f"_{shift.word}" for shift in self._shifts)
        return f"{self.mteb_name}{MODE_WORDS[mode]}Retrieval{suffix}{shifts}"

    def signature(self, mode: Mode, collection: Collection, model: str, prompt: str) -> Signature:
        """The signature of the scores of `model` (a name and a revision) in one mode of this collection."""
        return Signature(
            self.task_name(mode, collection.languages), self.source.text, collection.fingerprint, model, prompt
        )

    def ranks_name(self, languages: Sequence[str] | None = None) -> str:
        """The name of the file of ranks, which all modes share."""
        return self.mteb_task_name("multi", languages).replace(MODE_WORDS["multi"], "", 1) + ".ranks.npz"

    def _parts(self, languages: Sequence[str] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The languages of queries and of documents, empty where they are all of the collection."""
        if languages is None and self._queries is None:
            return (), ()
        whole = self.source.languages
        chosen = tuple(self.languages if languages is None else languages)
        queries = tuple(code for code in chosen if self._queries is None or code in self._queries)
        documents = tuple(code for code in chosen if self._documents is None or code in self._documents)
        return ((), ()) if queries == documents == whole else (queries, documents)

    def _bracket(self, languages: Sequence[str] | None) -> str:
        queries, documents = self._parts(languages)
        if queries == documents:
            return f"[{','.join(queries)}]" if queries else ""
        return f"[{','.join(queries)}>{','.join(documents)}]"

    def _suffix(self) -> str:
        return "".join(f"+{shift}" for shift in self._shifts)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes that make sense: one language alone has no cross-lingual and no multilingual mode."""
        if self.only_modes is not None:
            return self.only_modes
        declared = self.source.declared
        several = declared is None or len(declared) > 1
        return self.source.modes if several else ("mono",)


def _compare(name: str, what: str, found: Mapping[Any, int], expected: Mapping[Any, int]) -> None:
    if not expected:
        return
    for key in sorted({*found, *expected}, key=str):
        if found.get(key, 0) != expected.get(key, 0):
            raise DataError(
                f"{name} has {found.get(key, 0)} {what} {key} where its definition expects {expected.get(key, 0)}: "
                "the data or the reader changed"
            )


def _of(counts: Mapping[str, int], languages: Sequence[str]) -> dict[str, int]:
    return {code: counts[code] for code in languages if code in counts}


def _relevant_by_question(collection: Collection) -> dict[str, int]:
    counts = collection.qrels.offsets[1:] - collection.qrels.offsets[:-1]
    return {query.question: int(count) for query, count in zip(collection.queries, counts, strict=True)}


def _spelled(languages: Sequence[str]) -> str:
    """The codes, or a short name for a long list, different for every list."""
    if len(languages) <= _SPELLED_OUT:
        return "_".join(languages)
    return f"{len(languages)}languages_{hashlib.sha256(' '.join(languages).encode()).hexdigest()[:8]}"
