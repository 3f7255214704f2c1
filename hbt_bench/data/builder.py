"""Retrieval data of single languages put together: a corpus, queries and judgements each, into one collection."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.errors import DataError

#: What equal ids in several languages mean: nothing; versions of one question; of one question and of its answers.
Parallel = Literal["none", "queries", "documents"]


@dataclass
class Pool:
    """Collects parts and makes a collection of them.

    A part is what a data set gives for one language, or for queries in one and documents in another. The same id in
    several parts of a language is the same query or document, and must have the same text. With `parallel` other than
    "none", a question's versions share all their relevant documents. With `by_text`, parts may number their documents
    each for itself: then equal texts of a language are the same document.
    """

    name: str
    parallel: Parallel = "none"
    by_text: bool = False
    queries: dict[tuple[str, str], str] = field(default_factory=dict)
    documents: dict[tuple[str, str], str] = field(default_factory=dict)
    _digests: dict[tuple[str, str], str] = field(default_factory=dict)
    judged: dict[tuple[str, str], dict[tuple[str, str], int]] = field(default_factory=dict)

    def add(
        self,
        queries: tuple[str, Mapping[str, str]],
        documents: tuple[str, Iterable[tuple[str, str]]],
        relevant: Mapping[str, Mapping[str, int]],
    ) -> None:
        """Add a part: (language, id to text) of queries, (language, pairs of id and text) of documents, judgements.

        Grades below 1 mean that a document is not relevant; a query that has no other is left out, unless it is the
        version of a question that has one elsewhere, and so is a query that is not judged. Raises `DataError` for an id
        with two texts and for a judgement of an unknown document.
        """
        query_language, texts = queries
        document_language, pairs = documents
        place: dict[str, str] = {}  # id in this part -> id in the pool
        for document, text in pairs:
            key = self._known(document_language, document, text) if self.by_text else document
            place[document] = key
            self._put(self.documents, "document", document_language, key, text)
        for query, grades in relevant.items():
            positive = {document: grade for document, grade in grades.items() if grade > 0}
            if not positive and (self.parallel == "none" or query not in texts):
                continue
            if query not in texts:
                raise DataError(f"{self.name} judges the query '{query}', which does not exist in '{query_language}'")
            for document in positive:
                if document not in place:
                    raise DataError(
                        f"{self.name}: query '{query}' names the document '{document}', which does not exist in "
                        f"'{document_language}'"
                    )
            self._put(self.queries, "query", query_language, query, texts[query])
            known = self.judged.setdefault((query_language, query), {})
            known |= {(document_language, place[document]): grade for document, grade in positive.items()}

    def _known(self, language: str, document: str, text: str) -> str:
        """The id under which a text is in the pool; a new one where the id is taken by another text."""
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        taken = self.documents.get((language, document), text) != text
        return self._digests.setdefault((language, digest), digest if taken else document)

    def _put(self, known: dict[tuple[str, str], str], kind: str, language: str, key: str, text: str) -> None:
        if known.setdefault((language, key), text) != text:
            raise DataError(
                f"{self.name} has the {kind} id '{key}' with two texts in '{language}': its parts do not share ids, "
                "so they cannot be pooled"
            )

    def collection(self) -> Collection:
        """Everything that was added; documents without text, which data sets have, are left out where not judged."""
        judged = self._shared() if self.parallel != "none" else self.judged
        judged = {query: grades for query, grades in judged.items() if grades}
        needed = {document for grades in judged.values() for document in grades}
        documents = {key: text for key, text in self.documents.items() if text.strip() or key in needed}
        return Collection.from_records(
            self.name,
            [
                Query(f"{code}-q-{key}", code, text, key if self.parallel != "none" else f"{code}/{key}")
                for (code, key), text in self.queries.items()
                if (code, key) in judged
            ],
            [Document(f"{code}-d-{key}", code, text) for (code, key), text in documents.items()],
            {
                f"{code}-q-{key}": {f"{language}-d-{document}": grade for (language, document), grade in grades.items()}
                for (code, key), grades in judged.items()
            },
            parallel=self.parallel == "documents",
        )

    def _shared(self) -> dict[tuple[str, str], dict[tuple[str, str], int]]:
        """The judgements of all versions of a question, for each of them; the highest grade where they differ."""
        union: dict[str, dict[tuple[str, str], int]] = {}
        for (_, key), grades in self.judged.items():
            known = union.setdefault(key, {})
            for document, grade in grades.items():
                known[document] = max(grade, known.get(document, 0))
        return {query: union[query[1]] for query in self.judged}
