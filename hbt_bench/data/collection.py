"""The parallel collection: queries and documents in several languages, with relevance judgements.

A `TextlessCollection` has the languages, questions and judgements; a `Collection` adds ids and texts. numpy is imported
late, because `hbt-bench tasks` reads no data and must not take the time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from hbt_bench.data.judgements import Qrels, columns_of, same_ids
from hbt_bench.data.levels import DOCUMENT, nested_levels
from hbt_bench.errors import DataError
from hbt_bench.languages import find, select, unknown_code

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The number of languages in a short description.
_SHOWN = 8


class Query(NamedTuple):
    """A question in a language; its versions in other languages have the same `question`."""

    id: str
    language: str
    text: str
    question: str


class Document(NamedTuple):
    """A candidate in a language."""

    id: str
    language: str
    text: str


@dataclass(frozen=True, eq=False)
class TextlessCollection:
    """The languages, questions and judgements of a collection, without ids and texts.

    Measures need no more than this and the ranks, so that stored ranks can be read without the texts.

    `query_languages` (queries,) and `document_languages` (documents,) are ascending indexes into `languages`, so that
    each language is a contiguous block. `questions` (queries,) is the number of each query's question, which versions
    in several languages share. `parallel` is whether the relevant documents of a question are translations of each
    other; the distance between their ranks is only meaningful if they are. `levels` has the clusters of the questions,
    from fine to coarse: for each level, the number of each question's cluster, (questions,); see
    `hbt_bench.data.levels`. Scores do not depend on them.
    """

    languages: tuple[str, ...]
    qrels: Qrels
    query_languages: NDArray[np.int16]
    questions: NDArray[np.int32]
    document_languages: NDArray[np.int16]
    parallel: bool = field(default=True, kw_only=True)
    levels: Mapping[str, NDArray[np.int32]] = field(default_factory=dict, kw_only=True)

    def __repr__(self) -> str:
        return f"TextlessCollection({self._counts})"

    def _repr_html_(self) -> str:
        """Return the number of queries and documents of each language as a table for a notebook."""
        import pandas as pd

        blocks = {"queries": self.query_blocks, "documents": self.document_blocks}
        counts = {name: {code: rows.stop - rows.start for code, rows in of.items()} for name, of in blocks.items()}
        return f"<p>{escape(repr(self))}</p>{pd.DataFrame(counts).to_html()}"

    @property
    def _counts(self) -> str:
        codes = ", ".join(self.languages[:_SHOWN]) + (", ..." if len(self.languages) > _SHOWN else "")
        queries, documents = len(self.query_languages), len(self.document_languages)
        return f"{queries:,} queries and {documents:,} documents in {len(self.languages)} languages: {codes}"

    @cached_property
    def query_blocks(self) -> dict[str, slice]:
        """The rows of each language's queries."""
        return self._blocks(self.query_languages)

    @cached_property
    def document_blocks(self) -> dict[str, slice]:
        """The columns of each language's documents."""
        return self._blocks(self.document_languages)

    def _blocks(self, sorted_languages: NDArray[np.int16]) -> dict[str, slice]:
        import numpy as np

        ends = np.searchsorted(sorted_languages, np.arange(len(self.languages)), side="right").tolist()
        return {code: slice(start, end) for code, start, end in zip(self.languages, [0, *ends], ends, strict=False)}


@dataclass(frozen=True, eq=False)
class Collection(TextlessCollection):
    """Queries and documents, sorted so that each language is a contiguous block, with relevance judgements.

    Use `from_records` to build a collection: it checks the records. `copies` (queries, versions) has the columns of the
    documents that are the query's own text, perhaps in several languages, filled up with -1; they are not candidates
    for it. `unshifted` is the fingerprint of the collection before its queries were changed, None if they were not.
    """

    name: str
    queries: tuple[Query, ...]
    documents: tuple[Document, ...]
    copies: NDArray[np.int32] | None = field(default=None, kw_only=True)
    unshifted: str | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        return f"Collection({self.name!r}, {self._counts})"

    @classmethod
    def from_records(
        cls,
        name: str,
        queries: Iterable[Query],
        documents: Iterable[Document],
        relevant: Mapping[str, Mapping[str, int]],
        *,
        parallel: bool = True,
        own_copies: bool = False,
        own_documents: Mapping[str, Iterable[str]] | None = None,
        clusters: Mapping[str, Iterable[tuple[str, str]]] | None = None,
    ) -> Collection:
        """Check the records and sort them by language; the order within a language is kept.

        `relevant` maps query ids to relevant document ids with their grades. `own_documents` maps query ids to the ids
        of documents that are the query's own text, and so are not candidates for it. If such a document is relevant
        to the query, the query cannot find it. With `own_copies`, the own document has the id of the query.
        `clusters` has levels from fine to coarse, such as paragraph and article: pairs of a question and the id of its
        cluster. The level of the documents comes first, from the judgements.

        Raises `DataError` for a repeated id, an empty text, an unknown language, a judgement of an unknown document or
        query, a grade that is not a whole number from 1 to 32767, a query that has no relevant document, own documents
        of an unknown query, and with `own_copies` for a query that is relevant to itself.

        Example::

            queries = [Query("q1", "en", "Who?", "who"), Query("q2", "de", "Wer?", "who")]
            documents = [Document("d1", "en", "She."), Document("d2", "de", "Sie.")]
            answers = {"d1": 1, "d2": 1}
            collection = Collection.from_records("demo", queries, documents, {"q1": answers, "q2": answers})
        """
        import numpy as np

        if not isinstance(parallel, bool):
            raise DataError(f"{name}: parallel is {parallel!r}, but must be True or False")
        queries, documents = tuple(queries), tuple(documents)
        languages = tuple(sorted({query.language for query in queries} | {document.language for document in documents}))
        for code in languages:
            if find(code) is None:
                raise DataError(f"{name} has the {unknown_code(code)}")
        _check_texts(name, "query", queries)
        _check_texts(name, "document", documents)
        order = {code: position for position, code in enumerate(languages)}
        queries = tuple(sorted(queries, key=lambda query: order[query.language]))
        documents = tuple(sorted(documents, key=lambda document: order[document.language]))
        questions = {question: number for number, question in enumerate(dict.fromkeys(q.question for q in queries))}
        ids, columns = [query.id for query in queries], {document.id: n for n, document in enumerate(documents)}
        if own_copies:
            own_documents = same_ids(name, ids, relevant)
        if unknown := (own_documents or {}).keys() - set(ids):
            raise DataError(f"{name} names own documents of '{min(unknown)}', which is not a query of the collection")
        qrels = Qrels.from_grades(name, ids, columns, relevant)
        numbers = np.array([questions[query.question] for query in queries], dtype=np.int32)
        return cls(
            languages,
            qrels,
            np.array([order[query.language] for query in queries], dtype=np.int16),
            numbers,
            np.array([order[document.language] for document in documents], dtype=np.int16),
            name,
            queries,
            documents,
            parallel=parallel,
            copies=None if own_documents is None else columns_of(ids, columns, own_documents),
            levels=nested_levels(questions, (numbers[qrels.queries], qrels.documents), clusters or {}),
        )

    @cached_property
    def fingerprint(self) -> str:
        """The identity of the data: SHA-256 of languages, ids, texts and judgements, as 16 hexadecimal digits."""
        digest = hashlib.sha256()

        def add(*texts: str) -> None:
            for text in texts:
                encoded = text.encode()
                digest.update(len(encoded).to_bytes(8, "little") + encoded)

        add("hbt-bench collection 1", *self.languages)
        for query in self.queries:
            add(*query)
        for document in self.documents:
            add(*document)
        for array, kind in ((self.qrels.offsets, "<i8"), (self.qrels.documents, "<i4"), (self.qrels.grades, "<i2")):
            digest.update(array.astype(kind).tobytes())
        if not self.parallel:
            digest.update(b"not parallel")
        if self.copies is not None:
            digest.update(b"own copies" + self.copies.astype("<i4").tobytes())
        return digest.hexdigest()[:16]

    def relevant(self, query: int) -> dict[str, int]:
        """Return the relevant documents of the query at row `query`: ids with grades."""
        pairs = slice(self.qrels.offsets[query], self.qrels.offsets[query + 1])
        return {
            self.documents[document].id: int(grade)
            for document, grade in zip(self.qrels.documents[pairs], self.qrels.grades[pairs], strict=True)
        }

    def own_documents(self, query: int) -> list[str]:
        """Return the ids of the documents that are the own text of the query at row `query`."""
        columns = [] if self.copies is None else self.copies[query].tolist()
        return [self.documents[column].id for column in columns if column >= 0]

    @cached_property
    def own_pairs(self) -> NDArray[np.bool_]:
        """Whether each judged pair, (pairs,), has the query's own document, which the query cannot find."""
        import numpy as np

        if self.copies is None:
            return np.zeros(len(self.qrels.documents), bool)
        pairs: NDArray[np.bool_] = (self.copies[self.qrels.queries] == self.qrels.documents[:, None]).any(axis=1)
        return pairs

    def restrict(self, languages: Iterable[str]) -> Collection:
        """Return the collection of the queries and documents in `languages`; its fingerprint differs.

        Queries are dropped if all their relevant documents are in other languages. Raises `UsageError` for a language
        that the collection does not have. For example, ``collection.restrict(["de", "en"])``.
        """
        selected = select(languages, self.languages, self.name)
        return self.narrow(selected, selected)

    def narrow(self, query_languages: Iterable[str], document_languages: Iterable[str]) -> Collection:
        """Return the collection of queries in some languages and documents in other languages; see `restrict`.

        Raises `DataError` if no query has a relevant document left.
        """
        query_codes, document_codes = set(query_languages), set(document_languages)
        documents = [document for document in self.documents if document.language in document_codes]
        ids = {document.id for document in documents}
        relevant = {
            query.id: {document: grade for document, grade in self.relevant(row).items() if document in ids}
            for row, query in enumerate(self.queries)
            if query.language in query_codes
        }
        relevant = {query: grades for query, grades in relevant.items() if grades}
        queries = [query for query in self.queries if query.id in relevant]
        if not queries:
            raise DataError(
                f"{self.name} has no query in {' '.join(sorted(query_codes))} with a relevant document in "
                f"{' '.join(sorted(document_codes))}: choose other languages"
            )
        return self._rebuilt(queries, documents, relevant)

    def with_queries(self, texts: Mapping[str, str]) -> Collection:
        """Return the collection with other query texts; `texts` maps ids to them."""
        queries = [query._replace(text=texts.get(query.id, query.text)) for query in self.queries]
        relevant = {query.id: self.relevant(row) for row, query in enumerate(self.queries)}
        return self._rebuilt(queries, self.documents, relevant)

    def _rebuilt(
        self, queries: Sequence[Query], documents: Iterable[Document], relevant: Mapping[str, Mapping[str, int]]
    ) -> Collection:
        """Return a collection of other records with the own documents of this collection."""
        copies = None
        if self.copies is not None:
            ids = {query.id for query in queries}
            own = ((query.id, row) for row, query in enumerate(self.queries) if query.id in ids)
            copies = {key: self.own_documents(row) for key, row in own}
        questions = list(dict.fromkeys(query.question for query in self.queries))
        return Collection.from_records(
            self.name,
            queries,
            documents,
            relevant,
            parallel=self.parallel,
            own_documents=copies,
            clusters={
                name: zip(questions, map(str, labels.tolist()), strict=True)
                for name, labels in self.levels.items()
                if name != DOCUMENT
            },
        )


def _check_texts(name: str, kind: str, texts: tuple[Query, ...] | tuple[Document, ...]) -> None:
    if not texts:
        raise DataError(f"{name} has no {kind}: its source is empty, or its `kind` does not fit")
    seen: set[str] = set()
    for text in texts:
        if not text.text.strip():
            raise DataError(f"{name} has an empty {kind}, '{text.id}': remove it from the source")
        if text.id in seen:
            raise DataError(f"{name} has the {kind} id '{text.id}' twice: ids must be unique in the whole collection")
        seen.add(text.id)
