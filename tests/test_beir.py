"""BEIR's layout: judgements with certainty, files of any origin, splits, and languages of rows."""

from __future__ import annotations

import gzip
import json

import pytest

from hbt_bench.data.beir import find_splits, preferred_split, read_qrels
from hbt_bench.errors import DataError
from hbt_bench.tasks.task import TaskSpec
from tests.factories import write_beir

HEADER = "query-id\tcorpus-id\tscore\n"
THREE = {"q1": {"d1": 1}, "q2": {"d2": 1, "d3": 2}}


def task(folder, **source):
    content = {"name": "mine", "source": {"kind": "beir", "path": "b", "languages": ["en"], **source}}
    return TaskSpec.model_validate(content).in_folder(folder)


def judgements(collection):
    return {query.id: collection.relevant(row) for row, query in enumerate(collection.queries)}


# Judgements


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEADER + "q1\td1\t1\nq2\td2\t1\nq2\td3\t2\n", THREE),
        ("q1\td1\t1\nq2\td2\t1\nq2\td3\t2\n", THREE),
        ("q1\td1\t1.0\nq2\td2\t1.0\nq2\td3\t2.0\n", THREE),  # a column of floats
        ("q1\td1\t+1\nq2\td2\t+1\nq2\td3\t+2\n", THREE),
        ("q1\td1\t1.\nq2\td2\t01\nq2\td3\t2.00\n", THREE),
        ("q1 0 d1 1\nq2 0 d2 1\nq2 0 d3 2\n", THREE),  # TREC
        ("q1\t0\td1\t1.0\nq2\t0\td2\t1\nq2\t0\td3\t2\n", THREE),
        ("q1\tQ0\td1\t1\t\t\nq2\tQ0\td2\t1\t\nq2\tQ0\td3\t2\n", THREE),  # CIRAL
        ("\ufeff" + HEADER + "q1\td1\t1\r\nq2\td2\t1\r\nq2\td3\t2\r\n", THREE),
        ("\ufeffq1\td1\t1\r\nq2\td2\t1\r\nq2\td3\t2", THREE),
        ("\n" + HEADER + "\nq1\td1\t1\n\nq2\td2\t1\nq2\td3\t2\n\n", THREE),
        ("query-id corpus-id score\nq1 d1 1\nq2 d2 1\nq2 d3 2\n", THREE),
        ("query_id\tQ0\tdoc_id\trelevance\nq1\t0\td1\t1\nq2\t0\td2\t1\nq2\t0\td3\t2\n", THREE),
        ("corpus-id\tquery-id\tscore\nd1\tq1\t1\nd2\tq2\t1\nd3\tq2\t2\n", THREE),  # by the names
        ("qid\tscore\tdocid\nq1\t1\td1\nq2\t1\td2\nq2\t2\td3\n", THREE),
        ("Anfrage\tDokument\tNote\nq1\td1\t1\nq2\td2\t1\nq2\td3\t2\n", THREE),  # by the usual order
        ("q1\td1\t1\nq1\td1\t1.0\nq2\td2\t1\nq2\td3\t2\n", THREE),  # the same judgement twice
        ("q1\td1\t-1\nq1\td2\t0\nq2\td3\t-2.0\n", {"q1": {"d1": -1, "d2": 0}, "q2": {"d3": -2}}),
    ],
)
def test_every_judgement_is_read(tmp_path, text, expected):
    path = tmp_path / "test.tsv"
    path.write_bytes(text.encode())
    assert read_qrels(path, {"q1", "q2"}) == expected
    (tmp_path / "test.tsv.gz").write_bytes(gzip.compress(text.encode()))
    assert read_qrels(tmp_path / "test.tsv.gz", {"q1", "q2"}) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1\td1\tyes\n", "test.tsv:1: the grade 'yes' is not a whole number"),  # no header: q1 is a query
        ("q1\td1\t0.5\nq2\td2\t1\n", "test.tsv:1: the grade '0.5' is not a whole number"),
        (HEADER + "q1\td1\t1e0\n", "test.tsv:2: the grade '1e0' is not a whole number"),
        (HEADER + "q1\td1\t1\nq1\td1\t0\n", "test.tsv:3: query 'q1' and document 'd1' are judged twice"),
        (HEADER + "q1\td1\t1\t1\t1\n", "test.tsv:2: 5 columns instead of query, document and grade"),
        ("q1\td1\n", "test.tsv:1: 2 columns instead of query, document and grade"),
        ("q1\td1\t99999999999\n", "test.tsv:1: the grade '99999999999' is not a whole number"),
    ],
)
def test_uncertain_judgements_are_refused(tmp_path, text, message):
    (tmp_path / "test.tsv").write_text(text)
    with pytest.raises(DataError) as caught:
        read_qrels(tmp_path / "test.tsv", {"q1", "q2"})
    assert message in str(caught.value)


# Files


def test_archives_and_odd_fields_are_read(tmp_path):
    """Numbers as ids, null titles, CRLF and byte order marks, and gzipped files."""
    corpus = [
        {"_id": 1, "title": None, "text": "one"},
        {"_id": 2.0, "title": "T", "text": "two"},
        {"id": "3", "text": "x"},
    ]
    folder = tmp_path / "b"
    (folder / "qrels").mkdir(parents=True)
    lines = "\r\n".join(map(json.dumps, corpus))
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + lines.encode()))
    (folder / "queries.jsonl").write_bytes(b'\xef\xbb\xbf{"_id": 7, "text": "who?", "metadata": {}}\r\n\r\n')
    (folder / "qrels" / "test.tsv.gz").write_bytes(gzip.compress(b"7\t1\t1\r\n7\t2\t2\r\n"))
    collection = task(tmp_path).load()
    assert [document.text for document in collection.documents] == ["one", "T two", "x"]
    assert judgements(collection) == {"en-q-7": {"en-d-1": 1, "en-d-2": 2}}


def test_graded_and_negative_judgements(tmp_path):
    write_beir(tmp_path / "b", {"q": "a", "r": "b"}, {"d": "x", "e": "y"}, {"q": {"d": 3, "e": 0}, "r": {"e": -1}})
    assert judgements(task(tmp_path).load()) == {"en-q-q": {"en-d-d": 3}}


# Splits


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (["dev", "test", "train"], "test"),
        (["test-a", "test", "train"], "test"),
        (["test_b", "dev"], "test_b"),
        (["train", "validation"], "validation"),
        (["train", "Val"], "Val"),
        (["train"], "train"),
        (["default", "train"], "default"),
        (["a", "b"], None),
        (["train-a", "train-b"], None),
        ([], None),
    ],
)
def test_evaluation_splits_are_preferred(splits, expected):
    assert preferred_split(splits) == expected


def test_missing_split_names_those_of_the_folder(tmp_path):
    for split in ("train", "validation"):
        write_beir(tmp_path / "b", {"q": "a"}, {"d": "x"}, {"q": {"d": 1}}, split)
    assert find_splits(tmp_path / "b") == ("train", "validation")
    with pytest.raises(
        DataError, match="b has no judgements of the split 'test', only of train, validation: set `split`"
    ):
        task(tmp_path).load()
    assert len(task(tmp_path, split="validation").load().queries) == 1
    with pytest.raises(DataError, match=r"none/corpus\.jsonl is missing"):
        task(tmp_path, path="none").load()


# Languages of rows


@pytest.fixture
def mixed(tmp_path):
    """A folder with English, German and French rows; English queries have answers in several languages."""
    queries = {f"{code}1": {"text": f"q {code}", "lang": code} for code in ("en", "de", "fr")}
    corpus = {f"d-{code}": {"text": f"d {code}", "lang": code} for code in ("en", "de", "fr")}
    qrels = {"en1": {"d-en": 1, "d-de": 2}, "de1": {"d-de": 1}, "fr1": {"d-fr": 1, "d-en": 0}}
    write_beir(tmp_path / "b", queries, corpus, qrels)
    return tmp_path


def test_field_gives_the_language_of_each_row(mixed):
    spec = task(mixed, language="lang", languages=["de", "en", "fr"], parallel="none")
    collection = spec.load()
    assert judgements(collection) == {
        "de-q-de1": {"de-d-d-de": 1},
        "en-q-en1": {"de-d-d-de": 2, "en-d-d-en": 1},
        "fr-q-fr1": {"fr-d-d-fr": 1},
    }
    assert spec.modes == ("mono", "cross", "multi")
    assert not collection.parallel
    part = task(mixed, language="lang", languages={"en": "en", "fr": "fr"}, parallel="none").load()
    assert judgements(part) == {"en-q-en1": {"en-d-d-en": 1}, "fr-q-fr1": {"fr-d-d-fr": 1}}


def test_ignored_language_field_is_logged(mixed, messages):
    assert task(mixed).load().languages == ("en",)
    assert len(messages) == 2
    for message, name in zip(messages, ("queries", "corpus"), strict=True):
        assert message.startswith(str(mixed / "b" / f"{name}.jsonl"))
        assert "by the field 'lang', 1 in de, 1 in fr, but all rows are read as en" in message
        assert "`language: lang`" in message


@pytest.mark.parametrize("label", ["en", "eng", "en-US", "EN", "English", "formal", None])
def test_field_that_names_no_other_language_is_not_logged(tmp_path, messages, label):
    write_beir(
        tmp_path / "b", {"q": {"text": "a", "lang": label}}, {"d": {"text": "x", "language": label}}, {"q": {"d": 1}}
    )
    assert len(task(tmp_path).load().queries) == 1
    assert messages == []


def test_equal_ids_in_the_languages_of_a_folder(tmp_path):
    """Each row of a translated set in one folder has the id of its original."""
    folder = tmp_path / "b"
    (folder / "qrels").mkdir(parents=True)
    for name in ("corpus", "queries"):
        rows = [{"_id": "1", "text": f"{name} {code}", "lang": code} for code in ("eng_Latn", "deu_Latn")]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "qrels" / "test.tsv").write_text("1\t1\t1\n")
    source = {"language": "lang", "languages": {"en": "eng_Latn", "de": "deu_Latn"}}
    collection = task(tmp_path, **source, parallel="documents").load()
    assert judgements(collection) == {key: {"de-d-1": 1, "en-d-1": 1} for key in ("de-q-1", "en-q-1")}
    assert collection.parallel
    with pytest.raises(
        DataError, match=r"queries\.jsonl:2: the id '1' is repeated in another language; .*parallel: doc"
    ):
        task(tmp_path, **source, parallel="none").load()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries": {"q": {"text": "a"}}}, r"queries\.jsonl:1: the row has no language in 'lang'"),
        ({"qrels": {"x": {"d": 1}}}, "mine judges the query 'x', which does not exist"),
        ({"qrels": {"q": {"x": 1}}}, "query 'q' names the document 'x', which does not exist"),
        ({"corpus": {"d": {"text": "x", "lang": "de"}}}, "mine has no query"),
    ],
)
def test_errors_of_rows_with_languages(tmp_path, change, message):
    row = {"text": "a", "lang": "en"}
    parts = {"queries": {"q": row}, "corpus": {"d": row}, "qrels": {"q": {"d": 1}}, **change}
    write_beir(tmp_path / "b", parts["queries"], parts["corpus"], parts["qrels"])
    with pytest.raises(DataError, match=message):
        task(tmp_path, language="lang").load()


def test_queries_in_one_language_need_no_field(tmp_path):
    corpus = {"d": {"text": "x", "lang": "de"}, "e": {"text": "y", "lang": "fr"}}
    write_beir(tmp_path / "b", {"q": "a"}, corpus, {"q": {"d": 1, "e": 1}})
    source = {"language": "lang", "languages": ["de", "fr"], "query_language": "en", "parallel": "none"}
    assert judgements(task(tmp_path, **source).load()) == {"en-q-q": {"de-d-d": 1, "fr-d-e": 1}}


# Ids and languages as exports write them


@pytest.mark.parametrize(
    ("ids", "judged", "expected"),
    [
        ([1, 2], "10.0\t1.0\t1.0", ("10", "1")),  # a column of floats
        (["1", "2"], "10.0\t1.0\t1", ("10", "1")),
        (["1.0", "2.0"], "10\t1\t1", ("10", "1.0")),
        (["1.0", "1"], "10\t1.0\t1", ("10", "1.0")),  # two documents, and both spellings
        ([" 1", "2\t"], "10 \t 1 \t1", ("10", "1")),  # blanks around ids
    ],
)
@pytest.mark.parametrize("field", [False, True])
def test_ids_of_judgements_are_matched(tmp_path, ids, judged, expected, field):
    language = {"lang": "\u200een "} if field else {}
    (tmp_path / "b" / "qrels").mkdir(parents=True)
    for name, keys in (("corpus", ids), ("queries", ["10"])):
        lines = [json.dumps({"_id": key, "text": f"{name} {key}", **language}) for key in keys]
        (tmp_path / "b" / f"{name}.jsonl").write_text("\n".join(lines))
    (tmp_path / "b/qrels/test.tsv").write_text(f"{HEADER}{judged}\n")
    keys = {"language": "lang", "parallel": "none"} if field else {}
    collection = task(tmp_path, **keys).load()
    query, document = expected
    assert judgements(collection) == {f"en-q-{query}": {f"en-d-{document}": 1}}


def test_unknown_id_is_still_an_error(tmp_path):
    write_beir(tmp_path / "b", {"10": "q"}, {"v1.0": "d"}, {"10": {"v1": 1}})
    with pytest.raises(DataError, match="names the document 'v1', which does not exist"):
        task(tmp_path).load()


def test_language_in_metadata_is_a_field(tmp_path, messages):
    def fields(code):
        return {"text": f"a text in {code}", "metadata": {"lang": code}}

    write_beir(tmp_path / "b", {"q": fields("de")}, {"d": fields("de"), "e": fields("en")}, {"q": {"d": 1}})
    collection = task(tmp_path, languages=["de", "en"], language="metadata.lang", parallel="none").load()
    assert [document.language for document in collection.documents] == ["de", "en"]
    task(tmp_path).load()
    assert "by the field 'metadata.lang', 1 in de, but all rows are read as en" in messages[-1]


def test_label_of_a_pair_in_its_folder_is_no_warning(tmp_path, messages):
    texts = {"text": "x", "lang": "en-de"}
    write_beir(tmp_path / "b/en-de", {"q": texts}, {"d": texts}, {"q": {"d": 1}})
    path = "b/{query_language}-{language}"
    task(tmp_path, path=path, languages=["de", "en"], parallel="none").load()
    assert [message for message in messages if "by the field" in message] == []


def test_tables_of_ms_marco(tmp_path):
    """They have no header, and a quotation mark is a letter. An export may have a header."""
    folder = tmp_path / "b"
    folder.mkdir()
    (folder / "queries.dev.small.tsv").write_text("10\tsea?\n11\tice?\n12\tnot judged\n")
    (folder / "qrels.dev.small.tsv").write_text("10\t0\t1\t1\n11\t0\t2\t1\n")
    assert find_splits(folder) == ("dev.small",)
    for head in ("", "pid\tpassage\n"):
        (folder / "collection.tsv.gz").write_bytes(gzip.compress(f'{head}1\t"The sea\n2\tIce "is" cold.\n'.encode()))
        collection = task(tmp_path, split="dev.small").load()
        assert [document.text for document in collection.documents] == ['"The sea', 'Ice "is" cold.']
        assert judgements(collection) == {"en-q-10": {"en-d-1": 1}, "en-q-11": {"en-d-2": 1}}


def test_judgement_with_fewer_columns_than_the_header_is_refused(tmp_path):
    path = tmp_path / "qrels.tsv"
    path.write_text("query-id\titeration\tcorpus-id\tscore\nq1\t0\td1\t1\nq1\td2\t1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"qrels.tsv:3: 3 columns instead of the 4"):
        read_qrels(path)
