"""Reader of BEIR's layout: a folder with corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv, plain or gzipped.

BEIR is arXiv 2104.08663.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from hbt_bench.data.builder import CollectionBuilder, Parallel
from hbt_bench.data.collection import MAX_GRADE, Collection
from hbt_bench.data.records import Row, checked_text, read_lines, read_rows
from hbt_bench.errors import DataError

_GRADE = re.compile("-?[0-9]{1,9}")


class BeirFiles(NamedTuple):
    """The three files of a folder, and the languages of its queries and documents."""

    corpus: Path
    queries: Path
    qrels: Path
    query_language: str
    document_language: str

    @property
    def languages(self) -> set[str]:
        """The languages of this folder."""
        return {self.query_language, self.document_language}


def names(split: str) -> tuple[tuple[str, ...], ...]:
    """Return the names of corpus, queries and qrels, preferred names first."""
    return (
        ("corpus.jsonl", "corpus.jsonl.gz"),
        ("queries.jsonl", "queries.jsonl.gz"),
        (f"qrels/{split}.tsv", f"qrels/{split}.tsv.gz"),
    )


def read(name: str, folders: Iterator[BeirFiles] | list[BeirFiles], parallel: Parallel = "none") -> Collection:
    """Read a folder, or a folder per language, into a collection.

    A document's text is its title, a space and its text, as in BEIR and MTEB. Queries without a judgement are dropped.
    With `parallel` "none", ids are unrelated across folders, even if their queries are in the same language. Raises
    `DataError` with the line if a file does not have BEIR's layout.

    For example, ``read("demo", [BeirFiles(corpus, queries, qrels, "en", "en")])`` with three paths.
    """
    builder = CollectionBuilder(name, parallel)
    for files in folders:
        corpus = _unique((_id(row), _document(row), row.where) for row in read_rows(files.corpus))
        queries = _unique((_id(row), _text(row, "text"), row.where) for row in read_rows(files.queries))
        relevant = _qrels(files.qrels)
        prefix = f"{files.document_language}/" if parallel == "none" and len(files.languages) > 1 else ""
        texts = {f"{prefix}{key}": text for key, text in queries}
        judgements = {f"{prefix}{key}": grades for key, grades in relevant.items()}
        builder.add((files.query_language, texts), (files.document_language, corpus), judgements)
    return builder.build()


def _unique(records: Iterator[tuple[str, str, str]]) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for key, text, where in records:
        if key in seen:
            raise DataError(f"{where}: the id '{key}' is repeated")
        seen.add(key)
        yield key, text


def _id(row: Row) -> str:
    for field in ("_id", "id"):
        value = row.fields.get(field)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return checked_text(str(value), row, field)
    raise DataError(f"{row.where}: the row has no '_id'")


def _text(row: Row, field: str) -> str:
    value = row.fields.get(field)
    if not isinstance(value, str):
        raise DataError(f"{row.where}: the row has no text in '{field}'")
    return checked_text(value, row, field)


def _document(row: Row) -> str:
    title = _text(row, "title") if row.fields.get("title") else ""
    return f"{title} {_text(row, 'text')}".strip()


def _qrels(path: Path) -> Mapping[str, Mapping[str, int]]:
    """Read BEIR's three columns with a header, or TREC's four columns without a header."""
    relevant: dict[str, dict[str, int]] = {}
    for number, line in read_lines(path):
        line = line.rstrip()  # CIRAL has tabs at the end of some lines
        cells = line.split("\t") if "\t" in line else line.split()
        if not cells or (number == 1 and not cells[-1].lstrip("-").isdecimal()):
            continue
        if len(cells) not in (3, 4):
            raise DataError(f"{path}:{number}: {len(cells)} columns instead of query, document and grade")
        query, document, grade = cells[0], cells[-2], cells[-1].strip()
        if not _GRADE.fullmatch(grade):
            raise DataError(f"{path}:{number}: the grade '{grade[:20]}' is not a whole number")
        if int(grade) > MAX_GRADE:
            raise DataError(f"{path}:{number}: the grade {grade} is above {MAX_GRADE}")
        if document in relevant.setdefault(query, {}):
            raise DataError(f"{path}:{number}: query '{query}' and document '{document}' are judged twice")
        relevant[query][document] = int(grade)
    return relevant
