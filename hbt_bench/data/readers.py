"""Readers of two layouts: BEIR's folders (arXiv 2104.08663) and LAReQA's files (arXiv 2004.05484).

BEIR: a folder with corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv, plain or gzipped.

LAReQA: SQuAD layout plus sentence breaks, one JSON file per language. A candidate is a sentence, with language,
article, paragraph and position as its id. Equal sentences stay separate candidates, as in the published counts. The
relevant sentence of a question is the sentence in which its answer starts.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hbt_bench.data.builder import CollectionBuilder, Parallel
from hbt_bench.data.collection import MAX_GRADE, Collection, Document, Query
from hbt_bench.data.records import Row, checked_text, read_lines, read_rows
from hbt_bench.errors import DataError

#: The text of a document: a sentence, or a sentence followed by its paragraph.
Candidate = Literal["sentence", "sentence+context"]

# BEIR


class BeirFiles(NamedTuple):
    """The three files of a folder, and the languages of its queries and documents."""

    corpus: Path
    queries: Path
    qrels: Path
    query_language: str
    document_language: str


def beir_names(split: str) -> tuple[tuple[str, ...], ...]:
    """Return the names of corpus, queries and qrels, preferred names first."""
    return tuple((name, f"{name}.gz") for name in ("corpus.jsonl", "queries.jsonl", f"qrels/{split}.tsv"))


def read_beir(name: str, folders: Iterable[BeirFiles], parallel: Parallel = "none") -> Collection:
    """Read a folder, or a folder per language, into a collection.

    A document's text is its title, a space and its text, as in BEIR and MTEB. Queries without a judgement are dropped.
    With `parallel` "none", ids are unrelated across folders, even if their queries are in the same language. Raises
    `DataError` with the line if a file does not have BEIR's layout.

    For example, ``read_beir("demo", [BeirFiles(corpus, queries, qrels, "en", "en")])`` with three paths.
    """
    builder = CollectionBuilder(name, parallel)
    for files in folders:
        other_language = files.query_language != files.document_language
        prefix = f"{files.document_language}/" if parallel == "none" and other_language else ""
        texts = {f"{prefix}{key}": text for key, text in _texts(files.queries, titles=False)}
        judgements = {f"{prefix}{key}": grades for key, grades in _qrels(files.qrels).items()}
        corpus = _texts(files.corpus, titles=True)
        builder.add((files.query_language, texts), (files.document_language, corpus), judgements)
    return builder.build()


def _texts(path: Path, *, titles: bool) -> Iterator[tuple[str, str]]:
    """Yield the ids and texts of a file, with a title before the text if `titles`."""
    seen: set[str] = set()
    for row in read_rows(path):
        key, text = _id(row), _text(row, "text")
        if key in seen:
            raise DataError(f"{row.where}: the id '{key}' is repeated")
        seen.add(key)
        title = _text(row, "title") if row.fields.get("title") else ""
        yield key, f"{title} {text}".strip() if titles else text


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
        if not re.fullmatch("-?[0-9]{1,9}", grade):
            raise DataError(f"{path}:{number}: the grade '{grade[:20]}' is not a whole number")
        if int(grade) > MAX_GRADE:
            raise DataError(f"{path}:{number}: the grade {grade} is above {MAX_GRADE}")
        if document in relevant.setdefault(query, {}):
            raise DataError(f"{path}:{number}: query '{query}' and document '{document}' are judged twice")
        relevant[query][document] = int(grade)
    return relevant


# LAReQA


class _Paragraph(NamedTuple):
    key: str  # language, article and paragraph, as in "en-03-017"
    context: str
    breaks: list[tuple[int, int]]
    questions: list[tuple[str, str, int, str]]  # id, text, answer start, answer


def read_lareqa(name: str, files: Mapping[str, Path], candidate: Candidate = "sentence") -> Collection:
    """Read a file per language into a collection.

    `candidate` is the text of a document: the sentence, or the sentence followed by its paragraph. The id matches a
    question's versions across languages, and each version has the relevant sentences of all versions.

    Raises `DataError` if a file cannot be parsed, if a sentence break is outside its paragraph, and if an answer is
    outside its paragraph or in the gap between two sentences. For example,
    ``read_lareqa("xquad-r", {"de": Path("de.json"), "en": Path("en.json")})``.
    """
    queries, documents = [], []
    answers: dict[str, list[str]] = {}  # question id -> its relevant sentences in all languages
    for language, path in files.items():
        for paragraph in _paragraphs(language, path):
            for position, (start, end) in enumerate(paragraph.breaks):
                sentence = paragraph.context[start:end].strip()
                text = sentence if candidate == "sentence" else f"{sentence} {paragraph.context.strip()}"
                documents.append(Document(f"{paragraph.key}-{position:03d}", language, text))
            for question, text, start, answer in paragraph.questions:
                position = _sentence(paragraph, question, start, answer, path)
                queries.append(Query(f"{language}-{question}", language, text, question))
                answers.setdefault(question, []).append(f"{paragraph.key}-{position:03d}")
    relevant = {query.id: dict.fromkeys(answers[query.question], 1) for query in queries}
    return Collection.from_records(name, queries, documents, relevant)


def _paragraphs(language: str, path: Path) -> Iterator[_Paragraph]:
    try:
        for article_number, article in enumerate(json.loads(path.read_bytes())["data"]):
            for number, paragraph in enumerate(article["paragraphs"]):
                yield _paragraph(f"{language}-{article_number:02d}-{number:03d}", paragraph, path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        reason = f"no field {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path} is not a LAReQA file ({reason}): fetch it again") from error


def _paragraph(key: str, fields: Mapping[str, Any], path: Path) -> _Paragraph:
    context = fields["context"]
    breaks = [(operator.index(start), operator.index(end)) for start, end in fields["sentence_breaks"]]
    if any(not 0 <= start < end <= len(context) for start, end in breaks):
        raise DataError(f"{path}: paragraph {key} has a sentence break outside its {len(context)} characters")
    questions = [
        (str(question["id"]), str(question["question"]), operator.index(answer["answer_start"]), str(answer["text"]))
        for question in fields["qas"]
        for answer in question["answers"][:1]
    ]
    if len(questions) < len(fields["qas"]):
        raise DataError(f"{path}: paragraph {key} has a question without an answer")
    return _Paragraph(key, context, breaks, questions)


def _sentence(paragraph: _Paragraph, question: str, start: int, answer: str, path: Path) -> int:
    if paragraph.context[max(start, 0) : start + len(answer)] != answer or start < 0:
        raise DataError(f"{path}: the answer of question '{question}' is not at character {start} of its paragraph")
    for position, (first, last) in enumerate(paragraph.breaks):
        if first <= start < last:
            return position
    raise DataError(f"{path}: the answer of question '{question}' is not in a sentence of its paragraph")
