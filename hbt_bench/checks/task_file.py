"""Check a task file and its data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hbt_bench.checks.check import Check
from hbt_bench.data.collection import Collection
from hbt_bench.data.readers import SharedIds
from hbt_bench.errors import DataError, HbtBenchError, UsageError
from hbt_bench.languages import get_language, is_usual
from hbt_bench.tasks.folders import Folder, taken, twin_of
from hbt_bench.tasks.registry import TaskRegistry, mteb_task_names
from hbt_bench.tasks.schema import FileSource
from hbt_bench.tasks.sources import MtebSource
from hbt_bench.tasks.task import TaskSpec


class _WarningError(Exception):
    """A finding that leaves the task usable."""


@dataclass
class Validation:
    """The checks of a task file, each after the checks that it depends on.

    Example: ``for check in Validation(Path("my-task.yaml")).run(): print(check.mark, check.name, check.message)``
    """

    path: Path
    data_dir: Path | None = None
    registry: TaskRegistry = field(default_factory=TaskRegistry)
    spec: TaskSpec | None = field(default=None, init=False)
    collection: Collection | None = field(default=None, init=False)

    def run(self) -> Iterator[Check]:
        """Yield each check when it is done. If a check fails, the checks that depend on it are skipped."""
        for name, check, needs in (
            ("schema", self._schema, None),
            ("name", self._name, "spec"),
            ("licence and citation", self._about, "spec"),
            ("languages", self._languages, "spec"),
            ("data and judgements", self._data, "spec"),
            ("hashes", self._hashes, "collection"),
            ("counts", self._counts, "collection"),
            ("parallel ids", self._parallel, "collection"),
            ("own documents", self._own_documents, "collection"),
            ("repeated texts", self._repeated, "collection"),
            ("run", self._run, "collection"),
        ):
            yield self._checked(name, check, needs)

    def _checked(self, name: str, check: Callable[[], str], needs: str | None) -> Check:
        if needs and getattr(self, needs) is None:
            return Check(name, "skipped", "depends on a failed check")
        try:
            return Check(name, "passed", check())
        except _WarningError as warning:
            return Check(name, "warning", str(warning))
        except HbtBenchError as error:
            return Check(name, "failed", str(error))

    def _need(self) -> tuple[TaskSpec, Collection]:
        assert self.spec is not None
        assert self.collection is not None
        return self.spec, self.collection

    def _schema(self) -> str:
        if not self.path.is_file():
            raise UsageError(f"{self.path} is not a file: name a task file")
        folder = Folder.read(self.path, self.registry.shipped)
        for problem in folder.problems.values():
            raise problem
        self.spec = folder.specs[self.path.stem]
        return f"a {self.spec.source.kind} source, modes {', '.join(self.spec.modes)}"

    def _name(self) -> str:
        assert self.spec is not None
        other = self.registry.specs.get(self.spec.name)
        if other is not None and other.source != self.spec.source:
            raise DataError(f"another task has the name '{self.spec.name}': rename the file and its `name`")
        self._name_in_mteb()
        return f"{self.spec.name}, in MTEB {self.spec.mteb_task_name(self.spec.modes[-1])}"

    def _name_in_mteb(self) -> None:
        """Raise `DataError` if MTEB, the registry or the file's folder has another task with the same MTEB name."""
        assert self.spec is not None
        mteb_names = {name.casefold() for name in mteb_task_names()}
        for mode in self.spec.modes:
            if (name := self.spec.mteb_task_name(mode)).casefold() in mteb_names:
                raise DataError(f"MTEB has a task {name}: choose another `mteb_name`")
        neighbours = Folder.read(self.path.parent, self.registry.shipped).specs
        others = {**neighbours, **self.registry.specs}
        twin = twin_of(self.spec, (other for name, other in others.items() if name != self.spec.name))
        if twin is not None:
            raise DataError(taken(self.spec, f"the task '{twin.name}'"))

    def _about(self) -> str:
        assert self.spec is not None
        about = self.spec.about
        missing = [
            key
            for key, value in (("license", about.license), ("citation", about.citation), ("reference", about.reference))
            if not (value or "").strip()
        ]
        if missing:
            raise _WarningError(f"missing in metadata: {', '.join(missing)}; users need these to know their rights")
        return f"{about.license}"

    def _languages(self) -> str:
        assert self.spec is not None
        languages = [get_language(code) for code in self.spec.source.languages]  # their codes are from MTEB's tables
        # a rare code may be a mistyped one, so its name is shown
        listed = [item.code if is_usual(item.code) else f"{item.code} ({item.name})" for item in languages]
        return f"{len(languages)}, all known to MTEB: {' '.join(listed)}"

    def _data(self) -> str:
        assert self.spec is not None
        spec = self.spec.model_copy(update={"expect": None, "data": None})
        self.collection = spec.load(data_dir=self.data_dir)
        missing = set(spec.source.languages) - set(self.collection.languages)
        if missing:
            raise DataError(f"no texts in {' '.join(sorted(missing))}: remove these codes from `languages`")
        return (
            f"{len(self.collection.queries):,} queries, each with a relevant document; "
            f"{len(self.collection.documents):,} documents, none empty"
        )

    def _hashes(self) -> str:
        spec, collection = self._need()
        source = spec.source
        if isinstance(source, FileSource):
            if not source.pins:
                raise _WarningError("no file is pinned, so changes would go unnoticed: add `pins` with their sha256")
            if missing := source.unpinned():
                count = "1 file is" if len(missing) == 1 else f"{len(missing)} files are"
                raise _WarningError(f"{count} not pinned, for example {missing[0]}: a change would go unnoticed")
            files = "1 pinned file is" if len(source.pins) == 1 else f"{len(source.pins)} pinned files are"
            return f"{files} unchanged; data {collection.fingerprint}"
        if isinstance(source, MtebSource) and source.revision is None:
            raise _WarningError("no `revision`: the data depend on the installed mteb")
        return f"pinned; data {collection.fingerprint}"

    def _counts(self) -> str:
        spec, collection = self._need()
        if spec.expect is None:
            raise _WarningError("no `expect`: a change of the data would go unnoticed")
        if spec.expect.version != spec.source.version:
            raise _WarningError(f"`expect` is for version {spec.expect.version}, the data are {spec.source.version}")
        spec.expect.check(collection)
        if spec.data not in (None, collection.fingerprint):
            raise DataError(f"the data are {collection.fingerprint}, but the definition expects {spec.data}")
        return "equal to `expect`"

    def _parallel(self) -> str:
        spec, collection = self._need()
        by_question = Counter(query.question for query in collection.queries)
        several = sum(count > 1 for count in by_question.values())
        if not collection.parallel and (finding := _undeclared_translations(collection)):
            value = "true" if hasattr(spec.source, "columns") else "documents"
            raise _WarningError(f"{finding}; if equal ids are translations, set `parallel: {value}` in the source")
        if "cross" not in spec.modes or getattr(spec.source, "parallel", None) in ("none", False):
            return "not declared, so no measure compares translations"
        query_languages = {query.language for query in collection.queries}
        if len(query_languages) > 1 and not several and spec.source.text != "sentence":
            raise DataError(
                "no question occurs in two languages, though the source is parallel: give translations the same id"
            )
        uneven = self._uneven()
        if uneven:
            raise _WarningError(uneven)
        return f"{several:,} of {len(by_question):,} questions in several languages"

    def _uneven(self) -> str:
        """Return a warning if documents with the same id have unrelated lengths, or an empty text."""
        import numpy as np

        _, collection = self._need()
        lengths: dict[str, dict[str, int]] = {}
        for document in collection.documents:
            key = document.id.removeprefix(f"{document.language}-")
            lengths.setdefault(document.language, {})[key] = len(document.text)
        first, *others = collection.languages
        for code in others:
            shared = sorted(lengths.get(first, {}).keys() & lengths.get(code, {}).keys())
            if len(shared) >= 50:
                pair = np.log([[lengths[language][key] for key in shared] for language in (first, code)])
                if pair.std(axis=1).min() > 0.1 and np.corrcoef(pair)[0, 1] < 0.2:
                    return f"documents with the same id in {first} and {code} have unrelated lengths"
        return ""

    def _repeated(self) -> str:
        spec, collection = self._need()
        findings = []
        for kind, texts in (("queries", collection.queries), ("documents", collection.documents)):
            counts = Counter((text.language, text.text) for text in texts)
            repeated = sum(count - 1 for count in counts.values())
            if repeated:
                (language, text), _ = counts.most_common(1)[0]
                findings.append(f"{repeated:,} {kind} repeat another's text, for example '{text[:40]}' in {language}")
        if findings:
            raise _WarningError("; ".join([*findings, *_repeat_advice(spec, " ".join(findings))]))
        return "none"

    def _own_documents(self) -> str:
        spec, collection = self._need()
        rows = {row for row in range(len(collection.queries)) if collection.own_documents(row)}
        if spec.source.text == "sentence":
            return "a sentence is not a candidate for itself"
        findings = [f"{len(rows):,} queries are documents too, and do not find themselves"] if rows else []
        others = _equal_ids(collection, rows)
        if others and getattr(spec.source, "ignore_identical_ids", None) is False:
            findings.append(f"{others:,} queries have the id of a document, which stays a candidate")
        elif others:
            findings.append(
                f"{others:,} queries have the id of a document with another text, which stays a candidate; if ids are "
                "shared, as in BEIR, set `ignore_identical_ids: true` in the source"
            )
        return "; ".join(findings) or "none"

    def _run(self) -> str:
        spec, collection = self._need()
        from hbt_bench.checks.smoke import run

        return run(spec, collection)


def _repeat_advice(spec: TaskSpec, findings: str) -> Iterator[str]:
    """Yield the keys of a task file that merge repeated texts."""
    columns = getattr(spec.source, "columns", None)
    if columns is None:
        return
    if " queries repeat" in findings and not columns.text:
        unpaired = len(spec.source.languages) == 1 or getattr(spec.source, "parallel", None) is False
        if unpaired or columns.has_placeholder:
            yield "remove `id` from columns to take rows with equal queries for a single query with several documents"
        else:
            yield "give rows with equal queries the same id to make them a single query with several documents"
    if " documents repeat" in findings:
        yield "set `merge: true` in columns to merge equal texts"


def _equal_ids(collection: Collection, except_rows: Container[int]) -> int:
    """Return the number of queries with the id of a document that is not judged for them, except those of some rows."""
    documents = {document.id for document in collection.documents}
    names = (f"{query.language}-d-{query.id.removeprefix(f'{query.language}-q-')}" for query in collection.queries)
    return sum(
        name in documents and row not in except_rows and name not in collection.relevant(row)
        for row, name in enumerate(names)
    )


def _undeclared_translations(collection: Collection) -> str:
    """Return a finding if most query ids occur in several languages with equal ids of relevant documents, or ""."""
    ids = SharedIds.of(
        (
            _bare_id(query.id, query.language, "q"),
            {_bare_id(name, query.language, "d"): grade for name, grade in collection.relevant(row).items()},
        )
        for row, query in enumerate(collection.queries)
    )
    if not ids.are_likely_translations:
        return ""
    return f"{ids.equal:,} of {ids.total:,} query ids occur in several languages with the same relevant documents"


def _bare_id(name: str, language: str, kind: str) -> str:
    """Return the id in the data; for example, "7" for "en-q-7", and for "en-q-en/7" of unrelated languages."""
    return name.removeprefix(f"{language}-{kind}-").removeprefix(f"{language}/")
