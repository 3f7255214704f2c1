"""LAReQA's layout (arXiv 2004.05484): SQuAD's layout and the sentence breaks, a JSON file for each language.

A candidate is a sentence, with language, article, paragraph and position as its id. Equal sentences stay separate
candidates, as in the published counts. The relevant sentence of a question is the sentence in which its answer starts.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.errors import DataError

#: The text of a document: a sentence, or a sentence followed by its paragraph.
Candidate = Literal["sentence", "sentence+context"]


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

    Questions with a common paragraph or article in any of the languages are clusters.
    """
    queries, documents = [], []
    clusters: dict[str, list[tuple[str, str]]] = {"paragraph": [], "article": []}
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
                clusters["paragraph"].append((question, paragraph.key))
                clusters["article"].append((question, paragraph.key.rpartition("-")[0]))
    relevant = {query.id: dict.fromkeys(answers[query.question], 1) for query in queries}
    return Collection.from_records(name, queries, documents, relevant, clusters=clusters)


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
