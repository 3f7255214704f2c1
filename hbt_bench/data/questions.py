"""Questions with their documents, from rows."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.data.own_documents import own_documents, same_text
from hbt_bench.data.records import Row
from hbt_bench.data.row_fields import Columns, Key, Texts, first_of_group, key_of, missing_field, texts_at
from hbt_bench.errors import DataError

log = logging.getLogger(__name__)


class QuestionTable:
    """Questions with their documents."""

    def __init__(self, name: str, columns: Columns, complete: bool) -> None:
        self.name, self.columns, self.complete = name, columns, complete
        self.paths = columns.documents
        self.listed = "*" in ".".join(self.paths).split(".")
        self.several = "*" in (columns.query or "").split(".")
        self.queries = Texts(name, "query")
        self.documents = Texts(name, "document")
        self.answers: dict[str, dict[str, None]] = {}  # question -> documents, in the order of the rows
        self.versions: dict[str, dict[Key, None]] = {}  # document -> its versions
        self.merged: dict[Key, str] = {}  # language and text -> document, if equal documents are merged
        self.numbers: dict[Key, dict[str, int]] = {}  # language and document -> numbers of its texts, if it has several
        self.titled: dict[Key, tuple[str, ...]] = {}  # language and document -> its title and text apart
        self.first_rows: dict[Key, str] = {}  # language and text -> the first row with this query, for rows without id
        self.repeats: list[tuple[str, str]] = []  # a row without id, and the first row with its query

    def add(self, row: Row, key: str, code: str, label: str, *, required: bool) -> None:
        """Add the query and the documents of a row in a language; if `required`, a missing field is an error."""
        columns = self.columns
        document = key_of(row, columns.document_id, label) or key
        if not columns.parallel:
            key, document = f"{code}/{key}", f"{code}/{document}"
        title = texts_at(row, columns.title, label, required=False) if columns.title else []
        headings = [heading for _, heading in title if heading]
        for position, body in self._bodies(row, label, required=required and not columns.unanswered):
            text = " ".join([*headings, body])
            version = self._version(code, document if position is None else f"{document}/{position}", text)
            self.documents.add(code, version, text, row.where)
            self.versions.setdefault(document, {})[code, version] = None
            if headings:
                self.titled[code, version] = (*headings, body)
        queries = texts_at(row, columns.query or "", label, required=required)
        for position, text in queries:
            question = f"{key}/{position}" if self.several else key
            query = question if columns.id else self.first_rows.setdefault((code, text), question)
            self.queries.add(code, query, text, row.where)
            self.answers.setdefault(question, {})[document] = None
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

    def _version(self, code: str, document: str, text: str) -> str:
        """Return the id of a document. The rows of an id may have several answers, which are numbered."""
        if self.columns.merge:
            return self.merged.setdefault((code, text), document)
        if self.columns.document_id or self.documents.texts.get((code, document), text) == text:
            return document
        numbers = self.numbers.setdefault((code, document), {self.documents.texts[code, document]: 1})
        number = numbers.setdefault(text, len(numbers) + 1)
        return document if number == 1 else f"{document}/{number}"

    def collection(self) -> Collection:
        """Build the collection: every version of a question has its documents' versions in all languages."""
        questions = self._questions()
        answers: dict[str, dict[str, None]] = {}  # question -> documents of all its rows
        for row, documents in self.answers.items():
            answers.setdefault(questions[row], {}).update(documents)
        if self.repeats and not self.columns.document_id and not self.columns.merge:
            self._drop_copies(answers.values())
        relevant = {}
        for code, query in self.queries.texts:
            names = [f"{language}-d-{key}" for language, key in self._versions(answers[questions[query]])]
            if not names and self.complete and not self.columns.unanswered:
                line = self.queries.lines[code, query]
                raise DataError(f"{line}: the question '{query}' has no document in any of the languages")
            if names:
                relevant[f"{code}-q-{query}"] = dict.fromkeys(names, 1)
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
        )

    def _drop_copies(self, answers: Iterable[Iterable[str]]) -> None:
        """Drop the documents of rows without id that repeat a document of the same question."""
        for documents in answers:
            seen: set[Key] = set()  # languages and texts
            for document in documents:
                for version in list(self.versions.get(document, ())):
                    text = (version[0], self.documents.texts[version])
                    if text in seen:
                        del self.versions[document][version], self.documents.texts[version]
                    seen.add(text)

    def _versions(self, documents: Iterable[str]) -> list[Key]:
        return [version for document in documents for version in self.versions.get(document, ())]

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
        rule = self.columns.own_document
        if not self.columns.document_id or rule == "keep":
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
