"""Test tables as sources: a file for all languages, a file for each language, and lines of plain text."""

from __future__ import annotations

import gzip
import json

import pytest

from hbt_bench.errors import DataError
from hbt_bench.tasks.task import TaskSpec

QUESTIONS = {"id": "n", "query": "q", "document": "d"}


def task(**source):
    return TaskSpec.model_validate({"name": "mine", "source": source})


def texts(collection):
    """Return the text of each document by its id."""
    return {document.id: document.text for document in collection.documents}


def answers(collection):
    """Return the texts of the answers of each query by its id."""
    documents = texts(collection)
    return {
        query.id: sorted(documents[answer] for answer in collection.relevant(row))
        for row, query in enumerate(collection.queries)
    }


def write_lines(path, *records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_languages_have_a_file_each(tmp_path):
    """The codes of the data name the files, and only the files of the chosen languages are read."""
    for code in ("deu", "eng"):
        rows = ({"n": n, "q": f"{code} question {n}", "d": f"{code} answer {n}"} for n in range(3))
        write_lines(tmp_path / code / "test.jsonl", *rows)
    mine = task(
        kind="jsonl",
        path="{language}/test.jsonl",
        languages={"de": "deu", "en": "eng"},
        columns=QUESTIONS,
        parallel=True,
    )
    collection = mine.load(data_dir=tmp_path)
    assert collection.languages == ("de", "en")
    assert answers(collection)["de-q-1"] == ["deu answer 1", "eng answer 1"]
    (tmp_path / "deu" / "test.jsonl").unlink()
    assert texts(mine.load(["en"], data_dir=tmp_path)) == {f"en-d-{n}": f"eng answer {n}" for n in range(3)}
    with pytest.raises(DataError, match=r"deu/test\.jsonl"):
        mine.load(data_dir=tmp_path)


def test_lines_are_paired_by_their_number(tmp_path):
    """An empty line is not a sentence, but it counts, so later lines keep their numbers."""
    (tmp_path / "eng.txt.gz").write_bytes(gzip.compress(b"one\n\nthree\nfour\n"))
    (tmp_path / "swh.txt.gz").write_bytes(gzip.compress(b"moja\nmbili\n \nnne\n"))
    mine = task(kind="bitext", path="{language}.txt.gz", languages={"en": "eng", "sw": "swh"}, columns={"text": "text"})
    collection = mine.load(data_dir=tmp_path)
    # lines 2 and 3 have no translation
    assert sorted(answers(collection).values()) == [["four"], ["moja"], ["nne"], ["one"]]
    for row, query in enumerate(collection.queries):
        pair = {query.text, *(texts(collection)[answer] for answer in collection.relevant(row))}
        assert pair in ({"one", "moja"}, {"four", "nne"})


def test_single_file_of_a_single_language(tmp_path):
    write_lines(tmp_path / "t.jsonl", {"n": 1, "q": "who?", "d": "she"}, {"n": 2, "q": "where?", "d": "here"})
    mine = task(kind="jsonl", path="t.jsonl", languages=["sw"], columns=QUESTIONS)
    assert answers(mine.load(data_dir=tmp_path)) == {"sw-q-1": ["she"], "sw-q-2": ["here"]}
