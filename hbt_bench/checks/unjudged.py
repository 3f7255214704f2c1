"""Documents that are not judged relevant to a question and may be, with the evidence.

Nothing here is a judgement. A document with the answer of a question need not answer it, and near-duplicates may differ
in the word that matters. People decide.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from hbt_bench.checks.lookalikes import Lookalikes
from hbt_bench.log import counter
from hbt_bench.ranking.word_table import text_words

#: The texts that answer each query, such as the spans of SQuAD, by the id of the query.
Answers = Mapping[str, tuple[str, ...]]
Kind = Literal["other version", "translation", "same text", "same query", "near-duplicate", "answer"]
#: The reasons for which an unjudged document may be relevant, the strongest first.
KINDS: dict[Kind, str] = {
    "other version": "relevant to the question in another language",
    "translation": "translation of a relevant document, by its id",
    "same text": "same words as a relevant document",
    "same query": "relevant to another question with the same words",
    "near-duplicate": "nearly the words of a relevant document",
    "answer": "has the words of the answer",
}
#: The share of the query's words, from which on a document with the answer is a strong candidate.
FITTING_SHARE = 0.3


@dataclass(frozen=True)
class Unjudged:
    """A document that may be relevant to a query.

    A question counts once: `query` is its version in the document's language, if it has such a version. `evidence` has
    some of these fields:

    - `like`, a relevant document; `query`, another query
    - `similarity`, with `here` and `there`, the words that only this or only the relevant document has
    - `answer`, with `question_share`, the share of the query's words in this document, and `judged_share`, the greatest
      such share of a relevant document in the language

    Rare words weigh more in a share: a word in n of N documents of a language has the weight log((N + 1) / (n + 0.5)).
    """

    query: str
    document: str
    kind: Kind
    evidence: Mapping[str, Any]

    @property
    def is_strong(self) -> bool:
        """False for a document that has the answer, but too few of the query's words.

        Its share must reach `FITTING_SHARE` and that of the relevant documents.
        """
        if self.kind != "answer":
            return True
        return bool(self.evidence["question_share"] >= max(FITTING_SHARE, self.evidence.get("judged_share", 0)))


@dataclass(frozen=True, eq=False)
class Finder:
    """Find unjudged documents that may be relevant.

    For example, ``list(Finder(Lookalikes(collection)).unjudged())``. `answers` are the texts that answer each query.
    """

    lookalikes: Lookalikes
    answers: Answers

    def unjudged(self) -> Iterator[Unjudged]:
        """Yield the candidates, by question and by kind in the order of `KINDS`; a document may have several kinds."""
        rows: dict[int, list[int]] = {}
        for row, question in enumerate(self.lookalikes.collection.questions.tolist()):
            rows.setdefault(question, []).append(row)
        done = counter("questions", len(rows))
        for versions in rows.values():
            yield from _Question(self, versions).unjudged()
            done(1)

    @cached_property
    def _holders(self) -> dict[str, list[int]]:
        return {}

    def holders(self, answer: str) -> list[int]:
        """Return the documents that have the words of an answer in succession."""
        if answer not in self._holders:
            phrase = self.lookalikes.words.phrase(answer) if any(map(str.isalnum, answer)) else None
            self._holders[answer] = self.lookalikes.words.find(phrase) if phrase else []
        return self._holders[answer]

    def shares(self, row: int, columns: Iterable[int], block: slice) -> list[float]:
        """Return the share of a query's words in each document, weighted by their rarity in a block of documents."""
        table, weights = self.lookalikes.words, self._weights(block)
        asked = [
            table.vocabulary.get(word, -1) for word in set(text_words(self.lookalikes.collection.queries[row].text))
        ]
        total = math.fsum(weights[number] for number in asked)
        return [
            round(math.fsum(weights[number] for number in asked if number in had) / total, 4)
            for had in (set(table.row(column).tolist()) for column in columns)
        ]

    def _weights(self, block: slice) -> list[float]:
        """Return the weight of each word, and at the end that of a word in no document of the block."""
        key = block.start, block.stop
        if key not in self._weights_by_block:
            counts = np.append(self.lookalikes.words.document_counts(block), 0)
            self._weights_by_block[key] = np.log((block.stop - block.start + 1) / (counts + 0.5)).tolist()
        return self._weights_by_block[key]

    @cached_property
    def _weights_by_block(self) -> dict[tuple[int, int], list[float]]:
        return {}

    def relevant(self, row: int) -> list[int]:
        """Return the documents that are relevant to a query."""
        qrels = self.lookalikes.collection.qrels
        columns: list[int] = qrels.documents[qrels.offsets[row] : qrels.offsets[row + 1]].tolist()
        return columns


@dataclass(frozen=True, eq=False)
class _Question:
    """The versions of a question: the rows of its queries."""

    finder: Finder
    rows: list[int]

    def unjudged(self) -> Iterator[Unjudged]:
        lookalikes = list(self._alike())
        yield from self._other_versions()
        yield from self._translations()
        yield from (candidate for candidate in lookalikes if candidate.kind == "same text")
        yield from self._same_queries()
        yield from (candidate for candidate in lookalikes if candidate.kind == "near-duplicate")
        for row in self.rows:
            yield from self._answers(row)

    @cached_property
    def _judged(self) -> dict[int, list[int]]:
        """The documents that are relevant to a version of the question, with the rows of these versions."""
        judged: dict[int, list[int]] = {}
        for row in self.rows:
            for column in self.finder.relevant(row):
                judged.setdefault(column, []).append(row)
        return dict(sorted(judged.items()))

    def _candidate(self, column: int, rows: Iterable[int], kind: Kind, **evidence: Any) -> Iterator[Unjudged]:
        """Yield a candidate for a query that may find the document, preferably in its language."""
        collection = self.finder.lookalikes.collection
        document = collection.documents[column]
        possible = [row for row in rows if document.id not in collection.own_documents(row)]
        if possible:
            row = min(possible, key=lambda row: (collection.queries[row].language != document.language, row))
            yield Unjudged(collection.queries[row].id, document.id, kind, evidence)

    def _other_versions(self) -> Iterator[Unjudged]:
        for column, judged in self._judged.items():
            for row in sorted(set(self.rows) - set(judged)):
                yield from self._candidate(column, [row], "other version", query=self._query(judged[0]))

    def _translations(self) -> Iterator[Unjudged]:
        seen: set[int] = set()
        for column, judged in self._judged.items():
            for other in self.finder.lookalikes.translations(column):
                if other not in self._judged and other not in seen:
                    seen.add(other)
                    yield from self._candidate(other, judged, "translation", like=self._document(column))

    def _alike(self) -> Iterator[Unjudged]:
        """Yield lookalikes of relevant documents, each with the most similar of these."""
        best: dict[int, tuple[float, int]] = {}  # lookalike -> similarity, relevant document
        for column in self._judged:
            for other, similarity in self.finder.lookalikes.of(column):
                value = 2.0 if similarity is None else similarity  # the same words are above all similarities
                if other not in self._judged and value > best.get(other, (0.0, 0))[0]:
                    best[other] = value, column
        for other, (similarity, column) in sorted(best.items()):
            rows, like = self._judged[column], self._document(column)
            if similarity > 1:
                yield from self._candidate(other, rows, "same text", like=like)
                continue
            here, there = self._words(other), self._words(column)
            yield from self._candidate(
                other,
                rows,
                "near-duplicate",
                like=like,
                similarity=round(similarity, 4),
                here=list((here - there).elements()),
                there=list((there - here).elements()),
            )

    def _same_queries(self) -> Iterator[Unjudged]:
        queries = self.finder.lookalikes.queries
        twins: dict[int, dict[int, int]] = {}  # document -> rows of this question -> a row of the other question
        for row in self.rows:
            for other in queries.members[int(queries.group[row])]:
                for column in () if other in self.rows else self.finder.relevant(other):
                    if column not in self._judged:
                        twins.setdefault(column, {}).setdefault(row, other)
        for column, others in sorted(twins.items()):
            for candidate in self._candidate(column, others, "same query"):
                row = next(row for row in others if self._query(row) == candidate.query)
                yield replace(candidate, evidence={"query": self._query(others[row])})

    def _answers(self, row: int) -> Iterator[Unjudged]:
        """Yield documents in the query's language with its answer, or in any language if that has no documents."""
        collection = self.finder.lookalikes.collection
        query = collection.queries[row]
        block = collection.document_blocks[query.language]
        if block.start == block.stop:
            block = slice(0, len(collection.documents))
        holders: dict[int, str] = {}
        for answer in self.finder.answers.get(query.id, ()):
            for column in self.finder.holders(answer):
                if block.start <= column < block.stop and column not in self._judged:
                    holders.setdefault(column, answer)
        if not holders:
            return
        judged = [column for column in self.finder.relevant(row) if block.start <= column < block.stop]
        best = {"judged_share": max(self.finder.shares(row, judged, block))} if judged else {}
        for column, share in zip(sorted(holders), self.finder.shares(row, sorted(holders), block), strict=True):
            yield from self._candidate(column, [row], "answer", answer=holders[column], question_share=share, **best)

    def _words(self, column: int) -> Counter[str]:
        return Counter(self.finder.lookalikes.words.words_of(column))

    def _document(self, column: int) -> str:
        return self.finder.lookalikes.collection.documents[column].id

    def _query(self, row: int) -> str:
        return self.finder.lookalikes.collection.queries[row].id
