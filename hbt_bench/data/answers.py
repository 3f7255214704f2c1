"""The texts that answer a query, such as the spans of SQuAD. Only the audit of a collection uses them."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from pathlib import Path

from hbt_bench.data.lines import read_lines
from hbt_bench.errors import DataError

#: The answers of queries, by the id of the query.
Answers = Mapping[str, tuple[str, ...]]


def lareqa_answers(files: Mapping[str, Path]) -> Answers:
    """Return the answers in LAReQA's files, a file for each language, under the query ids of `readers.read_lareqa`.

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
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}:{number}: not JSON ({error}): write an object on each line") from error
        query = row.get("query") if isinstance(row, dict) else None
        texts = row.get("answers") if isinstance(row, dict) else None
        if (
            not isinstance(query, str)
            or not isinstance(texts, list)
            or not all(isinstance(text, str) for text in texts)
        ):
            raise DataError(
                f"{path}:{number}: a line needs a query id and a list of texts, as in "
                '{"query": "en-q-7", "answers": ["two"]}'
            )
        if query not in queries:
            raise DataError(
                f"{path}:{number}: the collection has no query '{query}': use the ids of the collection, which "
                "--output writes"
            )
        answers[query] = tuple(dict.fromkeys((*answers.get(query, ()), *texts)))
    return answers
