"""Queries with several relevant documents: in rows, columns and lists, with and without ids."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from hbt_bench.checks.task_file import Validation
from hbt_bench.data.columns import Columns, collect
from hbt_bench.data.records import Row
from hbt_bench.errors import DataError, UsageError
from hbt_bench.measures.ranking import Ranking
from hbt_bench.ranking.ranks import rank
from hbt_bench.ranking.subsets import Subset, SubsetQrels
from hbt_bench.tasks.draft import TaskDraft
from hbt_bench.tasks.folders import Folder
from hbt_bench.tasks.task import TaskSpec
from tests.factories import LANGUAGES, Matrix, hashed, write_beir

#: Three queries with three, two and one answers; two rows are equal.
PAIRS = [("a?", "a 1"), ("a?", "a 2"), ("b?", "b 1"), ("a?", "a 3"), ("c?", "c 1"), ("b?", "b 2"), ("c?", "c 1")]
ANSWERS = {"a?": ["a 1", "a 2", "a 3"], "b?": ["b 1", "b 2"], "c?": ["c 1"]}


def read(rows, languages=("en",), language=None, **columns):
    records = [Row(fields, f"d:{number}", language or fields.get("l")) for number, fields in enumerate(rows, 1)]
    return collect("t", records, Columns(**columns), {code: code for code in languages})


def answers(collection):
    """Return the distinct texts of the relevant documents by the text of the query."""
    texts = {document.id: document.text for document in collection.documents}
    return {
        query.text: sorted({texts[key] for key in collection.relevant(row)})
        for row, query in enumerate(collection.queries)
    }


def average_precision(pairs):
    """Return the mean AP of hashed vectors by the definition: the mean precision at each answer."""
    vector, documents = hashed(), sorted({document for _, document in pairs})
    values = []
    for query, relevant in ANSWERS.items():
        order = sorted(documents, key=lambda text: -float(vector(query, "") @ vector(text, "")))
        places = sorted(order.index(text) + 1 for text in relevant)
        values.append(np.mean([hits / place for hits, place in enumerate(places, 1)]))
    return np.mean(values)


def test_rows_without_id_share_a_query(messages):
    collection = read([{"q": query, "d": text} for query, text in PAIRS], query="q", document="d")
    assert answers(collection) == ANSWERS
    assert (len(collection.queries), len(collection.documents)) == (3, 6)
    [message] = messages
    assert "t: 4 rows repeat the query of another row" in message
    assert "name their `id` in columns" in message
    vector = hashed()
    scores = [[vector(q.text, "") @ vector(d.text, "") for d in collection.documents] for q in collection.queries]
    ranks, _ = rank(collection, Matrix(np.array(scores, np.float32)))
    judged = SubsetQrels.from_collection(collection, Subset("en", "en"))
    mean = Ranking.from_ranks(collection, ranks, judged).average_precision().mean()
    assert mean == pytest.approx(average_precision(PAIRS))


@pytest.mark.parametrize(
    "columns",
    [
        {"id": ("q",), "document_id": ("d",)},  # texts as ids
        {"merge": True},
        {"id": ("n",)},  # a number of the query in its rows
    ],
)
def test_other_ways_to_name_the_same_queries(columns):
    rows = [{"n": ord(query[0]), "q": query, "d": text} for query, text in PAIRS]
    collection = read(rows, query="q", document="d", **columns)
    assert answers(collection) == ANSWERS
    assert (len(collection.queries), len(collection.documents)) == (3, 6)


def test_columns_and_lists_of_documents():
    numbered = [
        {"q": query, "d1": [*texts, None, ""][0], "d2": [*texts, None, ""][1], "d3": [*texts, None, ""][2]}
        for query, texts in ANSWERS.items()
    ]
    listed = [{"q": query, "d": texts} for query, texts in ANSWERS.items()]
    mixed = [
        {"q": query, "first": texts[0], "more": [{"t": text} for text in texts[1:]]} for query, texts in ANSWERS.items()
    ]
    for rows, document in ((numbered, ("d1", "d2", "d3")), (listed, "d.*"), (mixed, ("first", "more.*.t"))):
        collection = read(rows, query="q", document=document)
        assert answers(collection) == ANSWERS
        assert len(collection.documents) == 6
    with pytest.raises(DataError, match=r"d:1: no text in d1 or d2"):
        read([{"q": "a?", "d1": "", "d2": None}], query="q", document=("d1", "d2"), language="en")


def test_rows_of_an_id_have_versions_in_each_language():
    rows = [
        {"l": code, "n": 1, "q": f"{code}?", "d": f"{code} {number}"} for code in ("de", "en") for number in range(3)
    ]
    collection = read(rows, ("de", "en"), id=("n",), query="q", document="d")
    everything = [f"{code} {number}" for code in ("de", "en") for number in range(3)]
    assert answers(collection) == {"de?": everything, "en?": everything}
    apart = read(rows, ("de", "en"), id=("n",), query="q", document="d", parallel=False)
    assert answers(apart) == {"de?": everything[:3], "en?": everything[3:]}


def test_different_queries_of_an_id_are_refused():
    rows = [{"n": 1, "q": "a?", "d": "x"}, {"n": 1, "q": "b?", "d": "y"}]
    with pytest.raises(DataError, match="d:2: the query '1' has another text in 'en' than in d:1"):
        read(rows, id=("n",), query="q", document="d")


def test_rows_that_are_paired_by_number_share_a_question():
    """Rows 0 and 2 are the same question, by their English query; its German versions differ."""
    rows = [
        {"x": {"en": {"q": "a?", "d": "a 1"}, "de": {"q": "A?", "d": "A 1"}}},
        {"x": {"en": {"q": "b?", "d": "b 1"}, "de": {"q": "B?", "d": "B 1"}}},
        {"x": {"en": {"q": "a?", "d": "a 2"}, "de": {"q": "AA?", "d": "A 2"}}},
    ]
    collection = read(rows, ("de", "en"), query="x.{language}.q", document="x.{language}.d")
    first, second = ["A 1", "A 2", "a 1", "a 2"], ["B 1", "b 1"]
    assert answers(collection) == {"A?": first, "AA?": first, "B?": second, "a?": first, "b?": second}
    assert len({query.question for query in collection.queries}) == 2


def test_query_does_not_find_its_own_text():
    """Duplicate questions, with their texts as ids: each query is a document too."""
    rows = [{"q": "a", "d": "b"}, {"q": "b", "d": "a"}, {"q": "c", "d": "C "}]
    by_text = {"id": ("q",), "document_id": ("d",), "query": "q", "document": "d"}
    collection = read(rows, **by_text)
    assert [collection.own_documents(row) for row in range(3)] == [["en-d-a"], ["en-d-b"], []]
    assert read(rows, **by_text, ignore_identical_ids=False).copies is None
    numbered = [{"n": "1", "m": "2", "q": "a", "d": "b"}, {"n": "2", "m": "1", "q": "x", "d": "A"}]
    columns = {"id": ("n",), "document_id": ("m",), "query": "q", "document": "d"}
    assert [read(numbered, **columns).own_documents(row) for row in range(2)] == [["en-d-1"], []]
    by_id = read(numbered, **columns, ignore_identical_ids=True)
    assert [by_id.own_documents(row) for row in range(2)] == [["en-d-1"], ["en-d-2"]]


def test_titles_and_languages_of_own_documents():
    """The English texts show that the ids are shared, so the German translation is left out too."""
    rows = [
        {"l": "en", "n": "1", "m": "2", "q": "a b", "d": "other", "t": None},
        {"l": "de", "n": "1", "m": "2", "q": "frei übersetzt", "d": "anderes", "t": None},
        {"l": "en", "n": "3", "m": "1", "q": "c", "d": "A b", "t": "Title"},
        {"l": "de", "n": "3", "m": "1", "q": "d", "d": "A und B", "t": "Titel"},
    ]
    columns = {"id": ("n",), "document_id": ("m",), "query": "q", "document": "d", "title": "t"}
    collection = read(rows, ("de", "en"), **columns)
    own = {query.id: collection.own_documents(row) for row, query in enumerate(collection.queries)}
    assert own["en-q-1"] == own["de-q-1"] == ["de-d-1", "en-d-1"]
    assert own["en-q-3"] == own["de-q-3"] == []


# The advice of `validate`


def repeated_texts(folder, source):
    """Return the check of repeated texts of a task with this source."""
    path = folder / "mine.yaml"
    path.write_text(json.dumps({"name": "mine", "source": source}))
    validation = Validation(path)
    validation._schema()
    validation._data()
    return validation._checked("repeated texts", validation._repeated, "collection")


@pytest.fixture
def advice(tmp_path):
    """Return a function that validates a task with some columns and returns the check of repeated texts."""

    def check(**columns):
        rows = [{"n": number, "q": query, "d": text} for number, (query, text) in enumerate([*PAIRS, ("d?", "a 1")])]
        (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        source = {"kind": "jsonl", "path": "d.jsonl", "languages": ["en"], "columns": columns}
        found = repeated_texts(tmp_path, source)
        return found, answers(TaskSpec.model_validate({"name": "mine", "source": source}).in_folder(tmp_path).load())

    return check


def test_advice_for_repeated_texts_works(advice):
    columns = {"id": "n", "query": "q", "document": "d"}
    check, found = advice(**columns)
    assert check.status == "warning"
    assert "remove `id` from columns" in check.message
    assert found != ANSWERS
    del columns["id"]
    check, found = advice(**columns)
    assert "1 documents repeat another's text" in check.message
    assert "set `merge: true` in columns" in check.message
    assert found == {**ANSWERS, "d?": ["a 1"]}
    check, found = advice(**columns, merge=True)
    assert (check.status, check.message, found) == ("passed", "none", {**ANSWERS, "d?": ["a 1"]})


def test_advice_for_repeated_queries_fits_the_source(tmp_path):
    """Rows in several languages need ids, and a BEIR folder has no columns."""
    rows = [
        {"n": f"{number}", "lang": code, "q": f"{code}?", "d": f"{number}"} for number in "12" for code in LANGUAGES
    ]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {"id": "n", "query": "q", "document": "d", "language": "lang"}
    source = {"kind": "jsonl", "path": "d.jsonl", "languages": [*LANGUAGES], "columns": columns, "parallel": True}
    assert repeated_texts(tmp_path, source).message == (
        "3 queries repeat another's text, for example 'de?' in de; give rows with equal queries the same id to make "
        "them a single query with several documents"
    )
    write_beir(tmp_path / "b", {"1": "a?", "2": "a?"}, {"3": "x", "4": "y"}, {"1": {"3": 1}, "2": {"4": 1}})
    source = {"kind": "beir", "path": "b", "languages": ["en"]}
    assert repeated_texts(tmp_path, source).message == "1 queries repeat another's text, for example 'a?' in en"


# `tasks new`


def new(tmp_path, rows, columns="", suffix="jsonl"):
    """Draft a task for rows, and return its columns, its answers and the notes."""
    path = tmp_path / f"d.{suffix}"
    if suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [",".join(map(str, row.values())) for row in rows]
        path.write_text("\n".join([",".join(rows[0]), *lines]) + "\n")
    draft = TaskDraft.from_data("mine", path, tmp_path, columns, "en")
    spec = Folder.read(draft.write(overwrite=True)).specs["mine"]
    return draft.content["source"]["columns"], answers(spec.load()), " | ".join(draft.notes)


def numbered(*names):
    """Return rows with a column for each answer; the last cells are empty."""
    return [{"query": query, **dict(zip(names, (*texts, "", ""), strict=False))} for query, texts in ANSWERS.items()]


def listed(field, form):
    """Return rows with the answers in a field, in a form."""
    return [{"query": query, field: form(texts), "neg": ["x"]} for query, texts in ANSWERS.items()]


@pytest.mark.parametrize(
    ("rows", "document"),
    [
        (numbered("answer_1", "answer_2", "answer_3"), ["answer_1", "answer_2", "answer_3"]),
        (numbered("Positive1", "Positive2", "Positive3"), ["Positive1", "Positive2", "Positive3"]),
        (listed("answers", list), "answers.*"),
        (listed("pos", list), "pos.*"),  # FlagEmbedding
        (listed("positive", list), "positive.*"),
        (listed("positive_passages", lambda texts: [{"text": text} for text in texts]), "positive_passages.*.text"),
        (listed("answers", lambda texts: {"text": texts, "answer_start": [1]}), "answers.text.*"),  # SQuAD
    ],
)
def test_fields_with_several_documents_are_found(tmp_path, rows, document):
    columns, found, notes = new(tmp_path, rows)
    assert (columns, found) == ({"query": "query", "document": document}, ANSWERS)
    assert "are relevant documents of the query in their row" in notes


def test_csv_columns_with_empty_cells(tmp_path):
    rows = numbered("answer_1", "answer_2", "answer_3")
    assert new(tmp_path, rows, suffix="csv")[1] == ANSWERS
    columns, found, _ = new(tmp_path, rows, "document=answer_1,document=answer_2", "csv")
    assert (columns["document"], found) == (["answer_1", "answer_2"], {**ANSWERS, "a?": ["a 1", "a 2"]})
    with pytest.raises(UsageError, match="--columns names two fields for query, 'query' and 'answer_1'"):
        new(tmp_path, rows, "query=query,query=answer_1")


def test_ids_of_rows_do_not_separate_queries(tmp_path):
    rows = [{"idx": number, "query": query, "positive": text} for number, (query, text) in enumerate(PAIRS[:6])]
    columns, found, notes = new(tmp_path, rows)
    assert (columns, found) == ({"query": "query", "document": "positive"}, ANSWERS)
    assert "'idx' has another value in 3 rows that repeat a query" in notes
    assert "add `id: idx` to columns" in notes
    assert new(tmp_path, rows, "id=idx")[0]["id"] == "idx"
    few = [{"idx": number, "query": f"{max(number, 1)}?", "positive": f"{number}"} for number in range(9)]
    assert new(tmp_path, few)[0]["id"] == "idx"  # `validate` warns of a few equal queries


# Ids, titles and grades of documents


def passage(key, title, text):
    return {"docid": key, "title": title, "text": text}


def test_list_has_ids_and_titles_of_documents(tmp_path):
    """The layout of MIRACL: two questions share a passage, which is a single document with its own title."""
    rows = [
        {"query_id": "1", "query": "a?", "positive_passages": [passage("7#0", "A", "x"), passage("7#1", "B", "y")]},
        {"query_id": "2", "query": "b?", "positive_passages": [passage("7#1", "B", "y"), passage("8", None, "z")]},
    ]
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    draft = TaskDraft.from_data("t", path, tmp_path, language="en")
    columns = {key: f"positive_passages.*.{key}" for key in ("text", "docid", "title")}
    assert draft.content["source"]["columns"] == {
        "id": "query_id",
        "query": "query",
        "document": columns["text"],
        "document_id": columns["docid"],
        "title": columns["title"],
    }
    draft.write()
    collection = Folder.read(draft.path).specs["t"].load()
    assert answers(collection) == {"a?": ["A x", "B y"], "b?": ["B y", "z"]}
    assert [document.id for document in collection.documents] == ["en-d-7#0", "en-d-7#1", "en-d-8"]


@pytest.mark.parametrize("ids", [["1"], ["1", None], ["1", [2]]])
def test_list_of_ids_must_fit_the_documents(ids):
    with pytest.raises(DataError, match=r"d:1: .*ids"):
        read([{"q": "a?", "d": ["x", "y"], "ids": ids}], query="q", document="d.*", document_id=("ids.*",))


#: Judged documents of two queries, and a query without a relevant document.
JUDGED = [("a?", "x", 2), ("a?", "y", 0), ("b?", "y", 1), ("b?", "x", 0), ("c?", "x", 0), ("b?", "z", -1)]


@pytest.mark.parametrize("spelling", [int, str, float, lambda grade: f"{grade}.0"])
@pytest.mark.parametrize("name", ["id", "document_id", "nothing"])
def test_documents_of_grade_0_are_candidates_only(spelling, name, messages):
    rows = [{"q": query, "d": text, "g": spelling(grade)} for query, text, grade in JUDGED]
    rows = [{**row, "id": row["q"], "document_id": f"k{row['d']}"} for row in rows]
    ids = {} if name == "nothing" else {name: (name,)}
    collection = read(rows, query="q", document="d", grade="g", **ids)
    assert answers(collection) == {"a?": ["x"], "b?": ["y"]}
    assert sorted(document.text for document in collection.documents) == ["x", "y", "z"]
    assert [max(collection.relevant(row).values()) for row in range(2)] == [2, 1]
    assert any("grade above 0 are left out: 1" in message for message in messages)
    if not name.startswith("document"):  # ids decide ties, so they have no relation to grades
        names = [f"en-d-{hashlib.sha256(text.encode()).hexdigest()[:16]}" for text in "xyz"]
        assert sorted(document.id for document in collection.documents) == sorted(names)


def test_grades_in_a_list():
    """The layout of MS MARCO on the hub."""
    rows = [
        {"q": "a?", "passages": {"is_selected": [0, 1], "passage_text": ["x", "y"]}},
        {"q": "b?", "passages": {"is_selected": [1, 0], "passage_text": ["z", "y"]}},
    ]
    document, grade = (f"passages.{name}.*" for name in ("passage_text", "is_selected"))
    collection = read(rows, query="q", document=document, grade=grade)
    assert answers(collection) == {"a?": ["y"], "b?": ["z"]}
    assert sorted(document.text for document in collection.documents) == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("labels", "columns"),
    [
        ([1, 0, 1], {"grade": "label"}),
        (["1", "0", "+2"], {"grade": "label"}),
        ([True, False, True], {"grade": "label"}),
        ([1, 1, 1], {}),
        ([0.5, 0, 1], {}),
        (["sport", "news", "news"], {}),
        ([1, 0, None], {}),
    ],
)
def test_new_finds_grades(tmp_path, labels, columns):
    path = tmp_path / "data.jsonl"
    rows = [
        {"query": q, "text": f"t {q}{n}", "label": label}
        for n, (q, label) in enumerate(zip("aba", labels, strict=True))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    draft = TaskDraft.from_data("t", path, tmp_path, language="en")
    assert draft.content["source"]["columns"] == {"query": "query", "document": "text", **columns}
    assert any("'label' is the grade" in note for note in draft.notes) == bool(columns)
    assert draft.expect.queries == {"en": 1 if columns else 2}


def test_ids_with_two_texts_are_not_ids_of_documents(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("query,doc_id,title,text\na?,1,A,x\nb?,1,A,y\n")
    draft = TaskDraft.from_data("t", path, tmp_path, language="en")
    assert draft.content["source"]["columns"] == {"query": "query", "document": "text"}
    assert any("--columns title=title" in note for note in draft.notes)
    path.write_text("query,doc_id,text\na?,1,x\nb?,1,x\n")
    draft = TaskDraft.from_data("t", path, tmp_path, language="en")
    assert draft.content["source"]["columns"]["document_id"] == "doc_id"
    assert draft.expect.documents == {"en": 1}


def test_rows_with_an_empty_list_are_left_out(tmp_path):
    path = tmp_path / "data.jsonl"
    rows = [{"query": "a?", "answers": ["x"]}, {"query": "b?", "answers": []}, {"query": "c?", "answers": None}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    draft = TaskDraft.from_data("t", path, tmp_path, language="en")
    assert draft.content["source"]["columns"] == {"query": "query", "document": "answers.*", "unanswered": True}
    assert any("2 rows have no text in answers.*" in note for note in draft.notes)
    assert draft.expect.queries == {"en": 1}
