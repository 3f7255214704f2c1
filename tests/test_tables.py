"""Tables as sources: one file with all languages, a file a language, and lines of plain text."""

from __future__ import annotations

import gzip
import json

import pytest

from hbt_bench.errors import DataError
from hbt_bench.tasks.task import TaskSpec


def spec(**source):
    return TaskSpec.model_validate({"name": "mine", "source": source})


def texts(collection):
    return {document.id: document.text for document in collection.documents}


def answers(collection):
    found = texts(collection)
    return {
        query.id: sorted(found[key] for key in collection.relevant(row)) for row, query in enumerate(collection.queries)
    }


def lines(path, *records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


QUESTIONS = {"id": "n", "query": "q", "document": "d"}


def test_a_file_a_language(tmp_path):
    """The files are named by the codes of the data, and only those of the languages that are asked for are read."""
    for code in ("deu", "eng"):
        rows = ({"n": n, "q": f"{code} question {n}", "d": f"{code} answer {n}"} for n in range(3))
        lines(tmp_path / code / "test.jsonl", *rows)
    mine = spec(
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


def test_lines_of_plain_text_belong_together_by_their_number(tmp_path):
    """An empty line is no sentence, and those behind it keep their numbers."""
    (tmp_path / "eng.txt.gz").write_bytes(gzip.compress(b"one\n\nthree\nfour\n"))
    (tmp_path / "swh.txt.gz").write_bytes(gzip.compress(b"moja\nmbili\n \nnne\n"))
    mine = spec(kind="bitext", path="{language}.txt.gz", languages={"en": "eng", "sw": "swh"}, columns={"text": "text"})
    collection = mine.load(data_dir=tmp_path)
    found = answers(collection)
    assert sorted(found.values()) == [["four"], ["moja"], ["nne"], ["one"]]  # the rest has no translation
    for row, query in enumerate(collection.queries):
        pair = {query.text, *(texts(collection)[key] for key in collection.relevant(row))}
        assert pair in ({"one", "moja"}, {"four", "nne"})


def test_one_file_of_one_language(tmp_path):
    lines(tmp_path / "t.jsonl", {"n": 1, "q": "who?", "d": "she"}, {"n": 2, "q": "where?", "d": "here"})
    mine = spec(kind="jsonl", path="t.jsonl", languages=["sw"], columns=QUESTIONS)
    assert answers(mine.load(data_dir=tmp_path)) == {"sw-q-1": ["she"], "sw-q-2": ["here"]}
