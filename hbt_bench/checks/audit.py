"""Audit the judgements of a collection: texts that occur twice, candidates for judgement, and the AP they allow."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hbt_bench.checks.ceiling import LEVELS, Bound, Ceiling, Level
from hbt_bench.checks.lookalikes import Lookalikes
from hbt_bench.checks.unjudged import KINDS, Answers, Finder, Kind, Unjudged
from hbt_bench.data.collection import Collection
from hbt_bench.data.data_files import Pin
from hbt_bench.data.records import read_json_rows
from hbt_bench.errors import DataError
from hbt_bench.files import replacing
from hbt_bench.identity.task_name import Mode
from hbt_bench.ranking.near_duplicates import THRESHOLD
from hbt_bench.tasks.sources import LareqaSource
from hbt_bench.tasks.task import TaskSpec


@dataclass(frozen=True)
class Count:
    """The number of candidates for judgement of a kind, and of their questions."""

    documents: int
    questions: int


@dataclass(frozen=True, eq=False)
class Audit:
    """The audit of a collection. `answers` are the texts that answer each query, None if they are not known.

    Two documents are near-duplicates from the similarity `threshold` on; see `hbt_bench.ranking.near_duplicates`.

    Example::

        audit = Audit(spec.load(), known_answers(spec))
        audit.counts["same text"].documents, audit.bounds("mono")["same"].AP
    """

    collection: Collection
    answers: Answers | None = None
    threshold: float = THRESHOLD

    @cached_property
    def lookalikes(self) -> Lookalikes:
        """The texts that look like others."""
        return Lookalikes(self.collection, self.threshold)

    @cached_property
    def unjudged(self) -> list[Unjudged]:
        """The candidates for judgement, by question and kind."""
        return list(Finder(self.lookalikes, self.answers or {}).unjudged())

    @cached_property
    def counts(self) -> dict[Kind, Count]:
        """The count of each kind; "answer" is missing if the answers are not known."""
        kinds = [kind for kind in KINDS if kind != "answer" or self.answers is not None]
        return {kind: self._count([item for item in self.unjudged if item.kind == kind]) for kind in kinds}

    @property
    def strong_answers(self) -> Count:
        """The count of the documents with the answer and enough of the query's words; see `Unjudged.is_strong`."""
        return self._count([item for item in self.unjudged if item.kind == "answer" and item.is_strong])

    def _count(self, candidates: Sequence[Unjudged]) -> Count:
        return Count(len(candidates), len({self._questions[candidate.query] for candidate in candidates}))

    @cached_property
    def _questions(self) -> dict[str, str]:
        return {query.id: query.question for query in self.collection.queries}

    @cached_property
    def _ceiling(self) -> Ceiling:
        return Ceiling(self.lookalikes, self.unjudged)

    def bounds(self, mode: Mode) -> dict[Level, Bound]:
        """Return the best expected AP of a mode for each level; empty if no query has a relevant document in the mode.

        See `hbt_bench.checks.ceiling`.
        """
        bounds = {level: self._ceiling.bound(mode, level) for level in LEVELS}
        return {level: bound for level, bound in bounds.items() if bound}

    def write(self, path: Path) -> None:
        """Write a JSON object with ids, kind, evidence and texts for each candidate; raises `OutputError`."""
        queries = {query.id: query.text for query in self.collection.queries}
        documents = {document.id: document.text for document in self.collection.documents}
        with replacing(path) as file:
            for item in self.unjudged:
                row = {
                    "query": item.query,
                    "document": item.document,
                    "kind": item.kind,
                    "evidence": item.evidence,
                    "query_text": queries[item.query],
                    "document_text": documents[item.document],
                }
                file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def known_answers(spec: TaskSpec, languages: Sequence[str], data_dir: Path | None = None) -> Answers | None:
    """Return the answers that the data of a collection have, or None: only LAReQA's files have a place for them.

    Raises `DataError` if a file is missing.
    """
    if not isinstance(spec.source, LareqaSource):
        return None
    files = spec.data_files(data_dir)
    remote = spec.source.remote_files()
    return lareqa_answers(
        {
            code: files.find(remote[code].path, Pin(remote[code].sha256, remote[code].size), remote[code].url)
            for code in languages
        }
    )


def lareqa_answers(files: Mapping[str, Path]) -> Answers:
    """Return the answers in LAReQA's files, a file for each language, under the query ids of `lareqa.read_lareqa`.

    Raises `DataError` if a file cannot be read.
    """
    answers: dict[str, tuple[str, ...]] = {}
    for language, path in files.items():
        try:
            for article in json.loads(path.read_bytes())["data"]:
                for question in (question for paragraph in article["paragraphs"] for question in paragraph["qas"]):
                    texts = (str(answer["text"]) for answer in question["answers"])
                    answers[f"{language}-{question['id']}"] = tuple(dict.fromkeys(texts))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is not a LAReQA file ({error}): fetch it again") from error
    return answers


def read_answers(path: Path, queries: Container[str]) -> Answers:
    """Read answers from JSON lines with a query id and texts: ``{"query": "en-q-7", "answers": ["two", "2"]}``.

    Raises `DataError` with the line for another form, and for an id that is not in `queries`.
    """
    answers: dict[str, tuple[str, ...]] = {}
    for row in read_json_rows(path):
        query, texts = row.fields.get("query"), row.fields.get("answers")
        if not (isinstance(query, str) and isinstance(texts, list) and all(isinstance(text, str) for text in texts)):
            raise DataError(
                f"{row.where}: a line needs a query id and a list of texts, as in "
                '{"query": "en-q-7", "answers": ["two"]}'
            )
        if query not in queries:
            raise DataError(
                f"{row.where}: the collection has no query '{query}': use the ids of the collection, which --output "
                "writes"
            )
        answers[query] = tuple(dict.fromkeys((*answers.get(query, ()), *texts)))
    return answers
