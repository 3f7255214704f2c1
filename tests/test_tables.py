"""Test tables as sources: a file for all languages, a file for each language, and lines of plain text."""

from __future__ import annotations

import gzip
import json

import pytest
from pydantic import ValidationError

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


def test_conventions_are_keys_of_a_source(tmp_path):
    (tmp_path / "t.tsv").write_text('1#en#"who\n2#en#where"\n')
    keys = {"delimiter": "#", "quoting": "none", "header": ["n", "lang", "q"]}
    columns = {"id": "n", "language": "lang", "query": "q", "document": "q"}
    mine = task(kind="csv", path="t.tsv", languages=["en"], columns=columns, **keys)
    assert answers(mine.load(data_dir=tmp_path)) == {"en-q-1": ['"who'], "en-q-2": ['where"']}
    with pytest.raises(ValidationError, match="keys of tables, not of JSON lines"):
        task(kind="jsonl", path="t.jsonl", languages=["en"], columns=QUESTIONS, quoting="csv")


def test_text_file_with_tabs_is_a_table(tmp_path):
    (tmp_path / "t.txt").write_text("en\tsw\none\tmoja\ntwo\tmbili\n")
    mine = task(kind="bitext", path="t.txt", languages=["en", "sw"], columns={"text": "{language}"})
    assert sorted(answers(mine.load(data_dir=tmp_path)).values()) == [["mbili"], ["moja"], ["one"], ["two"]]
    for keys in ({"header": ["text"]}, {"delimiter": ";"}):
        with pytest.raises(ValidationError, match="each line is a sentence"):
            task(kind="bitext", path="{language}.txt", languages=["en", "sw"], columns={"text": "text"}, **keys)


def test_ids_of_files_are_numbers_in_any_spelling(tmp_path):
    (tmp_path / "en.csv").write_text("n,q,d\n1,who?,she\n2,where?,here\n")
    (tmp_path / "sw.csv").write_text("n,q,d\n1.0,nani?,yeye\n2.0,wapi?,hapa\n")
    mine = task(kind="csv", path="{language}.csv", languages=["en", "sw"], columns=QUESTIONS, parallel=True)
    assert answers(mine.load(data_dir=tmp_path))["en-q-2"] == ["hapa", "here"]


def test_part_is_by_a_path_that_each_row_has(tmp_path):
    rows = [{"n": n, "q": f"q{n}", "d": f"d{n}", "meta": {"doc": f"a{n // 2}"}} for n in range(40)]
    write_lines(tmp_path / "t.jsonl", *rows)
    source = {"kind": "jsonl", "path": "t.jsonl", "languages": ["en"], "columns": QUESTIONS}
    halves = [
        set(texts(task(**source, part={"by": "meta.doc", **limits}).load(data_dir=tmp_path)))
        for limits in ({"end": 0.5}, {"start": 0.5})
    ]
    assert [len(half) for half in halves] == [24, 16]
    assert not halves[0] & halves[1]
    with pytest.raises(DataError, match=r"t\.jsonl:1: no value at 'doc', by which `part` divides .*the row has n, q"):
        task(**source, part={"by": "doc", "start": 0.5}).load(data_dir=tmp_path)


@pytest.mark.parametrize(
    ("keys", "source", "message"),
    [
        (
            {"expect": {"version": "9", "queries": {"en": 1}}},
            {},
            "expect: the source has no version, .* version 9: leave",
        ),
        ({"modes": ["multi", "multi"]}, {}, "modes: name each mode once"),
        (
            {},
            {"pins": {"tt.jsonl": {"sha256": "0" * 64}}},
            r"the source does not read tt\.jsonl; did you mean 't\.jsonl'",
        ),
        (
            {},
            {"kind": "beir", "path": "b/{language}", "pins": {"b/fr/corpus.jsonl": {"sha256": "0" * 64}}},
            r"pins: the source does not read b/fr/corpus\.jsonl; did you mean",
        ),
    ],
)
def test_keys_that_would_check_nothing(keys, source, message):
    usual = {"kind": "jsonl", "path": "t.jsonl", "columns": {**QUESTIONS, "language": "l"}, "parallel": True}
    if "kind" in source:
        usual = {"parallel": "queries"}
    with pytest.raises(ValidationError, match=message):
        TaskSpec.model_validate({"name": "mine", "source": {**usual, "languages": ["de", "en"], **source}, **keys})
