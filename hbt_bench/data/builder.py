"""Collections from parts: a corpus, queries and judgements for each language."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.errors import DataError

#: The meaning of equal ids in several languages: nothing; versions of a question; of a question and of its documents.
Parallel = Literal["none", "queries", "documents"]
#: The language and the id of a query or document.
Key = tuple[str, str]


@dataclass
class CollectionBuilder:
    """Collect parts of a data set and build a collection from them.

    A part is the data of a language, or queries in a language with documents in another. An id that several parts
    of a language share is the same query or document, and must have the same text. With `parallel` other than
    "none", the versions of a question share all their relevant documents. With `by_text`, each part may number its
    documents independently: equal texts of a language are then the same document.

    For example::

        builder = CollectionBuilder("demo", "documents")
        builder.add(("en", {"1": "Who?"}), ("en", [("d1", "She.")]), {"1": {"d1": 1}})
        builder.add(("de", {"1": "Wer?"}), ("de", [("d1", "Sie.")]), {"1": {"d1": 1}})
        collection = builder.build()
    """

    name: str
    parallel: Parallel = "none"
    by_text: bool = False
    _queries: dict[Key, str] = field(default_factory=dict, init=False)
    _documents: dict[Key, str] = field(default_factory=dict, init=False)
    _digests: dict[Key, str] = field(default_factory=dict, init=False)
    _judgements: dict[Key, dict[Key, int]] = field(default_factory=dict, init=False)

    def add(
        self,
        queries: tuple[str, Mapping[str, str]],
        documents: tuple[str, Iterable[tuple[str, str]]],
        relevant: Mapping[str, Mapping[str, int]],
    ) -> None:
        """Add a part: the language and texts of queries, the language, ids and texts of documents, and judgements.

        `relevant` maps query ids to document ids with their grades; a grade below 1 means not relevant. Queries
        without a judgement are dropped. Queries without a relevant document are dropped too, unless another version
        of the question has a relevant document. Raises `DataError` if an id has two texts, or if a judgement names an
        unknown query or document.
        """
        query_language, texts = queries
        document_language, pairs = documents
        ids: dict[str, str] = {}  # id in this part -> id in the collection
        for document, text in pairs:
            key = self._id_by_text(document_language, document, text) if self.by_text else document
            ids[document] = key
            self._put(self._documents, "document", document_language, key, text)
        for query, grades in relevant.items():
            positive = {document: grade for document, grade in grades.items() if grade > 0}
            if not positive and (self.parallel == "none" or query not in texts):
                continue
            if query not in texts:
                raise DataError(f"{self.name} judges the query '{query}', which does not exist in '{query_language}'")
            for document in positive:
                if document not in ids:
                    raise DataError(
                        f"{self.name}: query '{query}' names the document '{document}', which does not exist in "
                        f"'{document_language}'"
                    )
            self._put(self._queries, "query", query_language, query, texts[query])
            judgements = self._judgements.setdefault((query_language, query), {})
            judgements |= {(document_language, ids[document]): grade for document, grade in positive.items()}

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
        judgements = self._shared_judgements() if self.parallel != "none" else self._judgements
        judgements = {query: grades for query, grades in judgements.items() if grades}
        relevant = {document for grades in judgements.values() for document in grades}
        documents = {key: text for key, text in self._documents.items() if text.strip() or key in relevant}
        return Collection.from_records(
            self.name,
            [
                Query(f"{code}-q-{key}", code, text, key if self.parallel != "none" else f"{code}/{key}")
                for (code, key), text in self._queries.items()
                if (code, key) in judgements
            ],
            [Document(f"{code}-d-{key}", code, text) for (code, key), text in documents.items()],
            {
                f"{code}-q-{key}": {f"{language}-d-{document}": grade for (language, document), grade in grades.items()}
                for (code, key), grades in judgements.items()
            },
            parallel=self.parallel == "documents",
        )

    def _shared_judgements(self) -> dict[Key, dict[Key, int]]:
        """Give each version of a question the judgements of all its versions, with the highest grade of each pair."""
        union: dict[str, dict[Key, int]] = {}
        for (_, key), grades in self._judgements.items():
            merged = union.setdefault(key, {})
            merged |= {document: max(grade, merged.get(document, 0)) for document, grade in grades.items()}
        return {query: union[query[1]] for query in self._judgements}
