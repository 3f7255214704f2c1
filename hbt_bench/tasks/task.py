"""The schema of a task definition: a YAML file that describes a collection and its MTEB tasks, at most three."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, StringConstraints, field_validator, model_validator

from hbt_bench.data.collection import Collection
from hbt_bench.data.data_files import DataFiles
from hbt_bench.data.query_shift import Shift
from hbt_bench.errors import DataError, UsageError
from hbt_bench.files import file_name
from hbt_bench.identity.signature import Signature
from hbt_bench.identity.task_name import MODES, Mode, TaskName
from hbt_bench.languages import select
from hbt_bench.measures.registry import MEASURES
from hbt_bench.tasks.expect import Expect, warn_of_version
from hbt_bench.tasks.sources import AnySource, MtebSource
from hbt_bench.yaml_file import StrictModel

#: The modes as words of MTEB's task names.
MODE_WORDS: dict[Mode, str] = {"mono": "Monolingual", "cross": "CrossLingual", "multi": "Multilingual"}
#: Longest list of languages that a restricted task spells out in its MTEB name.
_MOST_SPELLED = 8
#: The measures that a task may choose as its main score.
if TYPE_CHECKING:
    MainScore = str
else:
    MainScore = Literal[tuple(measure.name for measure in MEASURES if measure.scored and measure.modes == MODES)]


class Metadata(StrictModel):
    """MTEB's metadata of a data set, under MTEB's names. Fields that a definition leaves out are unknown."""

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


class TaskSpec(StrictModel):
    """The definition of a collection: its source, its MTEB metadata and its golden counts.

    `measures` are reported with the main score. `data` is the fingerprint of the whole collection, by which results are
    checked without the data; it holds for the version of the source that `expect` names. `narrowed` returns the
    definition in fewer languages and `shifted` with changed queries; the names of its tasks change, too. For example:

    >>> spec = TaskRegistry().specs["xquad-r"]
    >>> spec.narrowed(["de", "en"]).shifted([Shift.parse("typos")]).task_name("multi")
    'xquad-r-multi[de,en]+typos'
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
    data: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")] | None = None

    _folder: Path | None = PrivateAttr(None)
    _base: str = PrivateAttr("")
    _queries: tuple[str, ...] | None = PrivateAttr(None)
    _documents: tuple[str, ...] | None = PrivateAttr(None)
    _shifts: tuple[Shift, ...] = PrivateAttr(())

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, content: Any) -> Any:
        if isinstance(content, dict) and isinstance(name := content.get("name"), str):
            words = "".join(word[:1].upper() + word[1:] for word in name.split("-"))
            mteb_name = words if words[:1].isalpha() else f"Task{words}"
            defaults = {"title": name, "mteb_name": mteb_name, "description": f"The collection {name}."}
            return {**defaults, **{key: value for key, value in content.items() if value is not None}}
        return content

    @field_validator("name")
    @classmethod
    def _without_mode(cls, name: str) -> str:
        if TaskName.parse(name).mode:
            raise ValueError("must not end in a mode (-mono, -cross, -multi), which is added to it")
        return name

    @model_validator(mode="after")
    def _modes_are_possible(self) -> Self:
        modes = self.only_modes
        if modes is not None and (not modes or not {*self.source.modes, "mono"}.issuperset(modes)):
            raise ValueError(f"modes: this source has {', '.join(self.source.modes)}")
        if modes is not None and len(set(modes)) < len(modes):
            raise ValueError("modes: name each mode once")
        return self

    @model_validator(mode="after")
    def _version_is_possible(self) -> Self:
        if self.expect and self.expect.version is not None and self.source.version is None:
            raise ValueError(
                f"expect: the source has no version, so its counts would not be checked as version "
                f"{self.expect.version}: leave `version` out"
            )
        return self

    @property
    def about(self) -> Metadata:
        """The metadata. A definition without any that pools an MTEB task has MTEB's."""
        if self.metadata != Metadata() or not isinstance(self.source, MtebSource):
            return self.metadata
        from hbt_bench.data import mteb_reader

        return Metadata(**mteb_reader.metadata(self.source.task))

    def in_folder(self, folder: Path) -> Self:
        """Return the definition with `folder` as the folder of its file, in which relative paths are searched."""
        copy = self.model_copy()
        copy._folder = folder
        return copy

    @property
    def base(self) -> str:
        """The name of the collection, without languages and shifts."""
        return self._base or self.name

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the queries and documents, sorted."""
        if self._queries is None or self._documents is None:
            return self.source.languages
        return tuple(code for code in self.source.languages if code in {*self._queries, *self._documents})

    @property
    def shifts(self) -> tuple[Shift, ...]:
        """The changes of the queries, in the order in which they are made."""
        return self._shifts

    @property
    def unshifted(self) -> Self:
        """The definition with unchanged queries."""
        return self._with(self._queries, self._documents, ())

    def narrowed(
        self,
        languages: Iterable[str] | None = None,
        query_languages: Iterable[str] | None = None,
        document_languages: Iterable[str] | None = None,
    ) -> Self:
        """Return the definition in `languages`, with queries and documents in some of them if these are given.

        Languages are codes or names of groups, such as ``low-resource``. Raises `UsageError` for a language that the
        collection lacks, or if no language is left.
        """
        common = self.select(languages)
        queries = common if query_languages is None else select(query_languages, common, f"{self.base} (queries)")
        documents = (
            common if document_languages is None else select(document_languages, common, f"{self.base} (documents)")
        )
        if not queries or not documents:
            raise UsageError(f"no language is left of {self.base}: name at least one of {' '.join(common)}")
        return self._with(queries, documents, self._shifts)

    def shifted(self, shifts: Iterable[Shift]) -> Self:
        """Return the definition with queries changed by `shifts`, in their order."""
        return self._with(self._queries, self._documents, tuple(shifts))

    def _with(
        self, queries: tuple[str, ...] | None, documents: tuple[str, ...] | None, shifts: tuple[Shift, ...]
    ) -> Self:
        copy = self.model_copy()
        copy._base, copy._queries, copy._documents, copy._shifts = self.base, queries, documents, shifts
        return copy.model_copy(update={"name": str(copy._name(None, None))})

    def select(self, languages: Iterable[str] | None) -> tuple[str, ...]:
        """Return the codes that `languages` name, by default all.

        Raises `UsageError` for a language that the collection lacks, or if no language is left.
        """
        chosen = self.languages if languages is None else select(languages, self.languages, self.base)
        if not chosen:
            raise UsageError(f"no language is left of {self.base}: name at least one of {' '.join(self.languages)}")
        return chosen

    def data_files(self, data_dir: Path | None) -> DataFiles:
        """Return the finder of this collection's data files."""
        return DataFiles(self.base, self._folder, data_dir)

    @property
    def pinned(self) -> bool:
        """Whether the golden counts and the fingerprint hold for the version of the source that is here."""
        return self.expect is None or self.expect.version == self.source.version

    def load(self, languages: Iterable[str] | None = None, data_dir: Path | None = None) -> Collection:
        """Read the collection in `languages`, check its golden counts and change its queries.

        Raises `UsageError` for a language that the collection lacks, and `DataError` if data are missing, damaged or
        different from the golden counts.
        """
        chosen = self.select(languages)
        collection = self.source.read(self.base, chosen, self.data_files(data_dir))
        if self.expect and not self.pinned:
            warn_of_version(self.base, self.expect.version, self.source.version)
        if self.pinned and self.expect:
            self.expect.check(
                collection,
                None if chosen == self.source.languages else chosen,
                languages_independent=self.source.languages_independent,
            )
        if self.pinned and self.data not in (None, collection.fingerprint) and chosen == self.source.languages:
            raise DataError(f"{self.base} has data {collection.fingerprint}, but its definition expects {self.data}")
        shifted = collection
        for shift in self._shifts:  # before narrowing: a shift may take words from versions in a document language
            shifted = shift.apply(shifted)
        if self._queries is not None and self._documents is not None and self._queries != self._documents:
            collection = collection.narrow(self._queries, self._documents)
            shifted = shifted.narrow(self._queries, self._documents)
        return replace(shifted, unshifted=collection.fingerprint) if self._shifts else collection

    def task_name(self, mode: Mode, languages: Sequence[str] | None = None) -> str:
        """Return the name on the command line, such as ``xquad-r-multi[de,en]+typos``."""
        return str(self._name(mode, languages))

    def mteb_task_name(self, mode: Mode, languages: Sequence[str] | None = None) -> str:
        """Return the MTEB name, such as ``XQuADRMultilingualRetrieval_de_en``.

        Each choice of languages has its own name, because it has its own pool and its own result file. The name of the
        file may not be too long, so a long name ends with a hash.
        """
        queries, documents = self._restriction(languages)
        if queries == documents:
            suffix = f"_{_spelled(queries)}" if queries else ""
        else:
            suffix = f"_from_{_spelled(queries)}_to_{_spelled(documents)}"
        shifts = "".join(f"_{shift.word}" for shift in self._shifts)
        return file_name(f"{self.mteb_name}{MODE_WORDS[mode]}Retrieval{suffix}{shifts}")

    def signature(
        self, mode: Mode, collection: Collection, model: str, prompt: str, depth: int | None = None
    ) -> Signature:
        """Return the signature of the scores of `model` (``name@revision``) in one mode of this collection.

        `depth` is that of a run, None for whole rankings.
        """
        task = self.task_name(mode, collection.languages)
        return Signature(task, self.source.text, collection.fingerprint, model, prompt, depth=depth)

    def ranks_name(self, languages: Sequence[str] | None = None) -> str:
        """Return the name of the file of ranks, which all modes share if one pass made them."""
        return self.mteb_task_name("multi", languages).replace(MODE_WORDS["multi"], "", 1) + ".ranks.npz"

    def _restriction(self, languages: Sequence[str] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the languages of queries and of documents, empty for the full collection."""
        if languages is None and self._queries is None:
            return (), ()
        chosen = tuple(self.languages if languages is None else languages)
        queries = tuple(code for code in chosen if self._queries is None or code in self._queries)
        documents = tuple(code for code in chosen if self._documents is None or code in self._documents)
        return ((), ()) if queries == documents == self.source.languages else (queries, documents)

    def _name(self, mode: Mode | None, languages: Sequence[str] | None) -> TaskName:
        queries, documents = self._restriction(languages)
        shifts = tuple(map(str, self._shifts))
        if not queries and not documents:
            return TaskName(self.base, mode, shifts=shifts)
        return TaskName(self.base, mode, queries, documents, shifts)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes of the collection. A collection in a single language has the monolingual mode only."""
        if self.only_modes is not None:
            return self.only_modes
        declared = self.source.declared
        return self.source.modes if declared is None or len(declared) > 1 else ("mono",)


def _spelled(languages: Sequence[str]) -> str:
    """Return the codes, or the number and a hash of a long list."""
    if len(languages) <= _MOST_SPELLED:
        return "_".join(languages)
    return f"{len(languages)}languages_{hashlib.sha256(' '.join(languages).encode()).hexdigest()[:8]}"
