"""Questions with their documents, from rows."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from hbt_bench.data.beir import parse_grade
from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.data.own_documents import own_documents, same_text
from hbt_bench.data.records import Row, checked_text, first_value, identifier, is_missing, values
from hbt_bench.data.row_fields import (
    ClusterIds,
    Columns,
    Key,
    KeyedTexts,
    first_of_group,
    key_of,
    missing_field,
    texts_at,
)
from hbt_bench.errors import DataError

log = logging.getLogger(__name__)


class QuestionTable:
    """Questions with their documents."""

    def __init__(self, name: str, columns: Columns, complete: bool) -> None:
        self.name, self.columns, self.complete = name, columns, complete
        self.paths = columns.documents
        self.listed = "*" in ".".join(self.paths).split(".")
        self.several = "*" in (columns.query or "").split(".")
        self.queries = KeyedTexts(name, "query")
        self.documents = KeyedTexts(name, "document")
        self.answers: dict[str, dict[str, int]] = {}  # question -> documents with grades, in the order of the rows
        self.versions: dict[str, dict[Key, None]] = {}  # document -> its versions
        self.merged: dict[Key, str] = {}  # language and text -> document, if equal documents are merged
        self.numbers: dict[Key, dict[str, int]] = {}  # language and document -> numbers of its texts, if it has several
        self.titled: dict[Key, tuple[str, ...]] = {}  # language and document -> its title and text apart
        self.first_rows: dict[Key, str] = {}  # language and text -> the first row with this query, for rows without id
        self.repeats: list[tuple[str, str]] = []  # a row without id, and the first row with its query
        self.clusters = ClusterIds(columns.clusters)
        self.has_title = columns.title is None  # whether a row has a title

    @property
    def languages(self) -> set[str]:
        """The languages with a query or a document."""
        return self.queries.languages | self.documents.languages

    def add(self, row: Row, key: str, code: str, label: str, *, required: bool, query_code: str | None = None) -> None:
        """Add the query and the documents of a row in a language; if `required`, a missing field is an error.

        `query_code` is the language of the query, if the documents are in another.
        """
        columns = self.columns
        pair = f"{query_code}-{code}/" if query_code else f"{code}/"
        query_prefix = "" if columns.parallel else pair
        prefix = f"{code}/" if query_prefix and columns.document_id else query_prefix
        fields = _Fields.read(row, label, columns)
        self.has_title = self.has_title or first_value(row.fields, columns.title or "", label) is not None
        grades: dict[str, int] = {}  # document -> grade
        for position, body in self._bodies(row, label, required=required and not columns.unanswered):
            document, grade = self._document(fields, key, position)
            document = f"{prefix}{document}"
            grades[document] = max(grade, grades.get(document, grade))
            headings = fields.texts(columns.title, position) if columns.title else []
            text = " ".join([*headings, body])
            numbered = position is not None and not _has_list(columns.document_id)
            version = self._version(code, f"{document}/{position}" if numbered else document, text)
            self.documents.add(code, version, text, row.where)
            self.versions.setdefault(document, {})[code, version] = None
            if headings:
                self.titled[code, version] = (*headings, body)
        if not grades and not _has_list((*columns.document_id, columns.grade or "")):  # texts in another language
            document, grade = self._document(fields, key, None)
            grades[f"{prefix}{document}"] = grade
        key, query_code = f"{query_prefix}{key}", query_code or code
        queries = texts_at(row, columns.query or "", label, required=required)
        for position, text in queries:
            question = f"{key}/{position}" if self.several else key
            query = question if columns.id else self.first_rows.setdefault((query_code, text), question)
            self.queries.add(query_code, query, text, row.where)
            _merge(self.answers.setdefault(question, {}), grades)
            self.clusters.add(row, question, label)
            if query != question:
                self.repeats.append((question, query))

    def _bodies(self, row: Row, label: str, *, required: bool) -> Iterator[tuple[int | None, str]]:
        """Yield the texts of a row's documents, with their positions if the columns may have several."""
        paths = self.paths
        by_path = [texts_at(row, path, label, required=required and len(paths) == 1) for path in paths]
        if len(paths) == 1:
            for position, body in by_path[0]:
                if body.strip() or not self.columns.unanswered:
                    yield position if self.listed else None, body
            return
        bodies = [body for texts in by_path for _, body in texts]
        if required and not any(body.strip() for body in bodies):
            raise missing_field(row, paths[0], f"no text in {' or '.join(paths)}")
        yield from ((position, body) for position, body in enumerate(bodies) if body.strip())

    def _document(self, fields: _Fields, key: str, position: int | None) -> tuple[str, int]:
        """Return the id and the grade of the document at a position of the row's list.

        Documents of a question without ids have the id of the question, so those of another grade need another id.
        """
        columns = self.columns
        grade = 1
        if columns.grade:
            value = fields.single(columns.grade, position)
            grade = parse_grade(str(int(value) if isinstance(value, bool) else value), fields.row.where)
        if not columns.document_id:
            return key if grade == 1 else f"{key}/grade-{grade}", grade
        if position is None or not _has_list(columns.document_id):
            return key_of(fields.row, columns.document_id, fields.label), grade
        return "/".join(fields.identifier(path, position) for path in columns.document_id), grade

    def _version(self, code: str, document: str, text: str) -> str:
        """Return the id of a document. The rows of an id may have several answers, which are numbered.

        Graded documents without ids are identified by their texts, because several queries may judge a document.
        """
        if self.columns.grade and not self.columns.document_id:
            # ids decide ties, so they must not depend on grades or on the order of the rows
            return hashlib.sha256(text.encode()).hexdigest()[:16]
        if self.columns.merge:
            return self.merged.setdefault((code, text), document)
        if self.columns.document_id or self.documents.texts.get((code, document), text) == text:
            return document
        numbers = self.numbers.setdefault((code, document), {self.documents.texts[code, document]: 1})
        number = numbers.setdefault(text, len(numbers) + 1)
        return document if number == 1 else f"{document}/{number}"

    def collection(self) -> Collection:
        """Build the collection: every version of a question has its documents' versions in all languages."""
        if self.complete and not self.has_title and self.documents.texts:
            title = self.columns.title
            raise DataError(f"{self.name}: no row has a text in '{title}', the `title`: correct it, or leave it out")
        questions = self._questions()
        answers: dict[str, dict[str, int]] = {}  # question -> documents of all its rows, with grades
        for row, documents in self.answers.items():
            _merge(answers.setdefault(questions[row], {}), documents)
        if self.repeats and not self.columns.document_id and not self.columns.merge:
            self._drop_copies(answers.values())
        relevant: dict[str, dict[str, int]] = {}
        for code, query in self.queries.texts:
            names = self._grades(answers[questions[query]])
            if not names and self.complete and not self.columns.unanswered and not self.columns.grade:
                line = self.queries.lines[code, query]
                raise DataError(
                    f"{line}: the question '{query}' has no document in any of the languages: to "
                    "leave such questions out, set `unanswered: true` in columns"
                )
            if names:
                relevant[f"{code}-q-{query}"] = names
        if lost := len(self.queries.texts) - len(relevant) if self.columns.grade else 0:
            log.info(f"{self.name}: queries without a document of a grade above 0 are left out: {lost:,}")
        return Collection.from_records(
            self.name,
            [
                Query(name, code, text, questions[key])
                for (code, key), text in self.queries.texts.items()
                if (name := f"{code}-q-{key}") in relevant
            ],
            [Document(f"{code}-d-{key}", code, text) for (code, key), text in self.documents.texts.items()],
            relevant,
            parallel=self.columns.parallel,
            own_documents=self._own_documents(relevant),
            clusters=self.clusters.pairs(self.name, questions),
        )

    def _drop_copies(self, answers: Iterable[Mapping[str, int]]) -> None:
        """Drop the documents of rows without id that repeat a document of the same question with a lower grade."""
        for documents in answers:
            seen: set[Key] = set()  # languages and texts
            for document in sorted(documents, key=lambda name: -documents[name]):
                for version in list(self.versions.get(document, ())):
                    text = (version[0], self.documents.texts[version])
                    if text in seen:
                        del self.versions[document][version], self.documents.texts[version]
                    seen.add(text)

    def _grades(self, documents: Mapping[str, int]) -> dict[str, int]:
        """Return the grades of the relevant documents' versions; a version of two documents has the higher grade."""
        grades: dict[str, int] = {}
        for document, grade in documents.items():
            names = (f"{language}-d-{key}" for language, key in self.versions.get(document, ()))
            _merge(grades, dict.fromkeys(names, grade) if grade > 0 else {})
        return grades

    def _questions(self) -> dict[str, str]:
        """Return the question of each row or id. Rows without id that share a query have the same question."""
        if not self.repeats:
            return {row: row for row in self.answers}
        log.info(
            f"{self.name}: {len(self.repeats):,} rows repeat the query of another row and have no id, so their "
            "documents are taken for answers to a single query; to keep the rows apart, name their `id` in columns"
        )
        return first_of_group(self.answers, self.repeats)

    def _own_documents(self, relevant: Mapping[str, Mapping[str, int]]) -> dict[str, list[str]] | None:
        """Return the documents that are the own text of each query; without `document_id`, ids do not show it."""
        rule = self.columns.ignore_identical_ids
        if not self.columns.document_id or rule is False:
            return None
        copies = {
            question: versions
            for question in self.answers
            if (versions := self.versions.get(question)) and (rule or self._has_own_text(question, versions))
        }
        ids = {
            f"{code}-q-{key}": [f"{language}-d-{version}" for language, version in copies[key]]
            for code, key in self.queries.texts
            if key in copies and f"{code}-q-{key}" in relevant
        }
        return own_documents(self.name, ids, relevant, rule)

    def _has_own_text(self, question: str, versions: Iterable[Key]) -> bool:
        """Return whether a document is the text of the question in its language."""
        return any(
            same_text(query, [self.documents.texts[version], *self.titled.get(version, ())])
            for version in versions
            if (query := self.queries.texts.get((version[0], question))) is not None
        )


class _Fields(NamedTuple):
    """The fields of a row in a language; `lists` has the values at paths with a list, in the order of the documents."""

    row: Row
    label: str
    lists: Mapping[str, list[Any]]

    @classmethod
    def read(cls, row: Row, label: str, columns: Columns) -> _Fields:
        """Read the lists; raises `DataError` if they and the list of documents differ in length."""
        paths = [path for path in (*columns.document_id, columns.title, columns.grade) if path and _has_list([path])]
        if not paths or not _has_list(columns.documents):
            return cls(row, label, {})
        lists = {path: list(values(row.fields, path, label)) for path in (*paths, *columns.documents)}
        documents = len(lists[columns.documents[0]])
        for path, members in lists.items():
            if len(members) != documents:
                raise DataError(
                    f"{row.where}: '{path}' has {len(members)} values, but '{columns.documents[0]}' has {documents}: "
                    "each document needs a value"
                )
        return cls(row, label, lists)

    def single(self, path: str, position: int | None) -> Any:
        """Return the value at a path, of the document at a position if there is a list; raises `DataError` if none."""
        if position is not None and path in self.lists:
            found = self.lists[path][position : position + 1]
        else:
            found = list(values(self.row.fields, path, self.label))
        present = [value for value in found if not is_missing(value)]
        if len(present) != 1:
            raise missing_field(self.row, path, f"{len(present) or 'no'} values at '{path}' instead of one")
        return present[0]

    def identifier(self, path: str, position: int) -> str:
        """Return the id at a path; raises `DataError` if there is none."""
        value = identifier(self.single(path, position))
        if value is None:
            raise DataError(f"{self.row.where}: document {position + 1} has no text or whole number at '{path}'")
        return checked_text(value, self.row, path)

    def texts(self, path: str, position: int | None) -> list[str]:
        """Return the texts at a path, only that of the document at a position if there is a list."""
        if position is None or path not in self.lists:
            return [text for _, text in texts_at(self.row, path, self.label, required=False) if text]
        value = self.lists[path][position]
        if value is not None and not isinstance(value, str):
            raise DataError(f"{self.row.where}: '{path}' must be a text, not {value!r:.40}")
        return [checked_text(value, self.row, path)] if value else []


def _has_list(paths: Iterable[str]) -> bool:
    """Return whether a path has a value for each member of a list."""
    return any("*" in path.split(".") for path in paths)


def _merge(grades: dict[str, int], others: Mapping[str, int]) -> None:
    """Add grades of documents; the higher grade of a document counts."""
    for document, grade in others.items():
        grades[document] = max(grade, grades.get(document, grade))
