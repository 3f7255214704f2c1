"""Parts of a data set, put together into a collection: a corpus, queries and judgements for each language."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.data.own_documents import own_documents, same_text
from hbt_bench.data.records import identifier
from hbt_bench.errors import DataError

#: The meaning of equal ids in several languages: nothing; versions of a question; of a question and of its documents.
Parallel = Literal["none", "queries", "documents"]
#: Defects of data that a source can skip: judgements of missing queries or documents, and rows with a repeated id.
Defect = Literal["dangling", "duplicates"]
#: The language and the id of a query or document.
Key = tuple[str, str]

log = logging.getLogger(__name__)

_SKIP_DANGLING = "; to leave out such judgements, add `skip: [dangling]` to the source"
_SKIPPED: dict[Defect, str] = {
    "dangling": "judgements of missing queries or documents are left out",
    "duplicates": "rows with the id of an earlier row are left out",
}


class SharedIds(NamedTuple):
    """How many query ids occur, how many in several versions, and how many of these with equal relevant documents.

    A version is a query in another language. Equal ids are translations of each other if most occur in several
    versions, all with the same relevant documents; if only some have other documents, they are likely translations.
    """

    total: int
    shared: int
    equal: int

    @classmethod
    def of(cls, versions: Iterable[tuple[str, Mapping[str, int]]]) -> SharedIds:
        """Count the ids of versions, each with the grades of its documents.

        For example, ``SharedIds.of([("q1", {"d1": 1}), ("q1", {"d1": 2})])`` is ``SharedIds(1, 1, 1)``.
        """
        answers: dict[str, list[frozenset[str]]] = {}
        for query, grades in versions:
            answers.setdefault(query, []).append(frozenset(key for key, grade in grades.items() if grade > 0))
        several = [sets for sets in answers.values() if len(sets) > 1]
        return cls(len(answers), len(several), sum(len(set(sets)) == 1 for sets in several))

    @property
    def are_most_shared(self) -> bool:
        """Whether most ids occur in several versions."""
        return 2 * self.shared > self.total

    @property
    def are_translations(self) -> bool:
        """Whether equal ids are translations without doubt."""
        return self.are_most_shared and self.equal == self.shared

    @property
    def are_likely_translations(self) -> bool:
        """Whether most ids occur in several versions with the same relevant documents."""
        return 2 * self.equal > self.total


class Entry(NamedTuple):
    """A document of a corpus: its id, its text, and its title."""

    id: str
    body: str
    title: str = ""

    @property
    def text(self) -> str:
        """The title, a space and the text, as in BEIR and MTEB."""
        return f"{self.title} {self.body}".strip() if self.title else self.body


@dataclass
class CollectionBuilder:
    """Collect parts of a data set and build a collection from them.

    A part is the data of a language, or queries in a language with documents in another. An id that several parts
    of a language share is the same query or document, and must have the same text. With `parallel` other than
    "none", the versions of a question share all their relevant documents. With `by_text`, each part may number its
    documents independently: equal texts of a language are then the same document. `ignore_identical_ids` is the
    rule for documents with the id of a query; see `hbt_bench.data.own_documents`. `skip` names defects of the data that
    are skipped and counted in a message; without it, they are errors.

    For example::

        builder = CollectionBuilder("demo", "documents")
        builder.add(("en", {"1": "Who?"}), ("en", [("d1", "She.")]), {"1": {"d1": 1}})
        builder.add(("de", {"1": "Wer?"}), ("de", [("d1", "Sie.")]), {"1": {"d1": 1}})
        collection = builder.build()
    """

    name: str
    parallel: Parallel = "none"
    by_text: bool = False
    ignore_identical_ids: bool | None = None
    skip: frozenset[Defect] = frozenset()
    skipped: Counter[Defect] = field(default_factory=Counter, init=False)
    _queries: dict[Key, str] = field(default_factory=dict, init=False)
    _documents: dict[Key, str] = field(default_factory=dict, init=False)
    _digests: dict[Key, str] = field(default_factory=dict, init=False)
    _judgements: dict[Key, dict[Key, int]] = field(default_factory=dict, init=False)
    _own: dict[Key, dict[Key, None]] = field(default_factory=dict, init=False)

    def add(
        self,
        queries: tuple[str, Mapping[str, str]],
        documents: tuple[str, Iterable[tuple[str, ...]]],
        relevant: Mapping[str, Mapping[str, int]],
        prefix: str = "",
    ) -> None:
        """Add a part: the language and texts of queries, the language and entries of documents, and judgements.

        An entry has the id and the text of a document, and perhaps a title; see `Entry`. `prefix` is put before the
        ids of the queries in the collection.

        `relevant` maps query ids to document ids with their grades; a grade below 1 means not relevant. Queries
        without a judgement are dropped. Queries without a relevant document are dropped too, unless another version
        of the question has a relevant document. Raises `DataError` if an id has two texts, or if a judgement names an
        unknown query or document and `skip` does not have "dangling".
        """
        query_language, texts = queries
        document_language, entries = documents
        ids: dict[str, str] = {}  # id in this part -> id in the collection
        for entry in (Entry(*values) for values in entries):
            key = self._id_by_text(document_language, entry.id, entry.text) if self.by_text else entry.id
            ids[entry.id] = key
            self._put(self._documents, "document", document_language, key, entry.text)
            if entry.id in texts and self._is_own(texts[entry.id], entry, query_language == document_language):
                copies = self._own.setdefault((query_language, f"{prefix}{entry.id}"), {})
                copies[document_language, key] = None
        for query, grades in self.known(respelled(relevant, texts, ids), texts, ids).items():
            positive = {document: grade for document, grade in grades.items() if grade > 0}
            if not positive and (self.parallel == "none" or query not in texts):
                continue
            if query not in texts:
                raise DataError(
                    f"{self.name} judges the query '{query}', which does not exist in '{query_language}': add it to "
                    f"the queries, or remove its judgements{_SKIP_DANGLING}"
                )
            for document in positive:
                if document not in ids:
                    raise DataError(
                        f"{self.name}: query '{query}' names the document '{document}', which does not exist in "
                        f"'{document_language}': add it to the corpus, or remove the judgement{_SKIP_DANGLING}"
                    )
            self._put(self._queries, "query", query_language, f"{prefix}{query}", texts[query])
            judgements = self._judgements.setdefault((query_language, f"{prefix}{query}"), {})
            judgements |= {(document_language, ids[document]): grade for document, grade in positive.items()}

    def known(
        self, judgements: Mapping[str, Mapping[str, int]], queries: Container[str], documents: Container[str]
    ) -> Mapping[str, Mapping[str, int]]:
        """Return the judgements of known queries and documents if `skip` has "dangling", else all judgements."""
        if "dangling" not in self.skip:
            return judgements
        complete = {
            query: {document: grade for document, grade in grades.items() if grade < 1 or document in documents}
            for query, grades in judgements.items()
            if query in queries
        }
        self.skipped["dangling"] += sum(map(len, judgements.values())) - sum(map(len, complete.values()))
        return complete

    def check_id(self, key: str, is_repeated: bool, where: str) -> bool:
        """Return whether to read a row with the id `key`; raises `DataError` if it is repeated and not skipped."""
        if is_repeated and "duplicates" not in self.skip:
            advice = "to read the first row only, add `skip: [duplicates]` to the source"
            raise DataError(f"{where}: the id '{key}' is repeated; {advice}")
        self.skipped["duplicates"] += is_repeated
        return not is_repeated

    def _is_own(self, query: str, entry: Entry, same_language: bool) -> bool:
        """Return whether a document with the id of a query is the query's own document."""
        if self.ignore_identical_ids is not None:
            return self.ignore_identical_ids
        return same_language and same_text(query, (entry.body, entry.title, entry.text))

    def _id_by_text(self, language: str, document: str, text: str) -> str:
        """Return the id under which a text is stored, and a new id if another text has this id."""
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        taken = self._documents.get((language, document), text) != text
        return self._digests.setdefault((language, digest), digest if taken else document)

    def _put(self, texts: dict[Key, str], kind: str, language: str, key: str, text: str) -> None:
        if texts.setdefault((language, key), text) != text:
            raise DataError(
                f"{self.name} has the {kind} id '{key}' with two texts in '{language}': its parts do not share ids, "
                "so they cannot be pooled"
            )

    def build(self) -> Collection:
        """Build the collection; documents without text, which some data sets have, are dropped unless relevant."""
        for defect, count in sorted(self.skipped.items()):
            if count:
                log.warning(f"{self.name}: {count:,} {_SKIPPED[defect]}, by `skip: [{defect}]` of the source")
        judgements = self._shared_judgements() if self.parallel != "none" else self._judgements
        judgements = {query: grades for query, grades in judgements.items() if grades}
        relevant = {document for grades in judgements.values() for document in grades}
        documents = {key: text for key, text in self._documents.items() if text.strip() or key in relevant}
        names = {
            f"{code}-q-{key}": {f"{language}-d-{document}": grade for (language, document), grade in grades.items()}
            for (code, key), grades in judgements.items()
        }
        copies = {
            f"{code}-q-{key}": [f"{copy[0]}-d-{copy[1]}" for copy in keys if copy in documents]
            for (code, key), keys in self._own_documents().items()
            if (code, key) in judgements
        }
        return Collection.from_records(
            self.name,
            [
                Query(f"{code}-q-{key}", code, text, key if self.parallel != "none" else f"{code}/{key}")
                for (code, key), text in self._queries.items()
                if (code, key) in judgements
            ],
            [Document(f"{code}-d-{key}", code, text) for (code, key), text in documents.items()],
            names,
            parallel=self.parallel == "documents",
            own_documents=own_documents(self.name, copies, names, self.ignore_identical_ids),
        )

    def _own_documents(self) -> Mapping[Key, Iterable[Key]]:
        """Return the own documents of the queries. Versions of a question share them, with all their translations."""
        if self.parallel == "none":
            return self._own
        shared: dict[str, dict[Key, None]] = {}
        for (_, question), copies in self._own.items():
            shared.setdefault(question, {}).update(copies)
        if self.parallel == "documents" and not self.by_text:
            languages = list(dict.fromkeys(code for code, _ in self._documents)) if shared else []
            shared = {
                question: {(code, key): None for _, key in copies for code in languages}
                for question, copies in shared.items()
            }
        return {query: shared[query[1]] for query in self._queries if query[1] in shared}

    def _shared_judgements(self) -> dict[Key, dict[Key, int]]:
        """Give each version of a question the judgements of all its versions, with the highest grade of each pair."""
        union: dict[str, dict[Key, int]] = {}
        for (_, key), grades in self._judgements.items():
            merged = union.setdefault(key, {})
            merged |= {document: max(grade, merged.get(document, 0)) for document, grade in grades.items()}
        return {query: union[query[1]] for query in self._judgements}


def respelled(
    judgements: Mapping[str, Mapping[str, int]], queries: Container[str], documents: Container[str]
) -> Mapping[str, Mapping[str, int]]:
    """Return the judgements with the spelling of the ids in the data, if numbers are spelled otherwise.

    A table with a missing value has its ids as floats, so "1.0" is "1" if the data have no other id "1.0".
    """
    if all(query in queries for query in judgements) and all(
        document in documents for grades in judgements.values() for document in grades
    ):
        return judgements
    spelled: dict[str, dict[str, int]] = {}
    for query, grades in judgements.items():
        by_document = spelled.setdefault(_respelled(query, queries), {})
        by_document |= {_respelled(document, documents): grade for document, grade in grades.items()}
    return spelled


def _respelled(key: str, known: Container[str]) -> str:
    """Return an id as the data spell it, or as it is if they have it in no spelling."""
    spellings = (key, identifier(key) or key, f"{key}.0" if key.isdecimal() else key)
    return next((name for name in spellings if name in known), key)
