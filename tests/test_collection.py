"""The collection: order and blocks, judgements, restriction to languages, fingerprint, and errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.errors import DataError, UsageError

QUERIES = (Query("q1", "en", "Who?", "who"), Query("q2", "de", "Wer?", "who"))
DOCUMENTS = (Document("d1", "en", "She."), Document("d2", "de", "Sie."))
RELEVANT = {"q1": {"d1": 1, "d2": 1}, "q2": {"d1": 1, "d2": 2}}


def build(queries=QUERIES, documents=DOCUMENTS, relevant=RELEVANT, **options):
    return Collection.from_records("demo", queries, documents, relevant, **options)


def judgements(collection):
    return {query.id: collection.relevant(row) for row, query in enumerate(collection.queries)}


def same(left, right):
    return (
        left.languages == right.languages
        and left.queries == right.queries
        and left.documents == right.documents
        and judgements(left) == judgements(right)
    )


# Order and blocks


def test_texts_are_sorted_by_language(toy):
    assert toy.languages == ("de", "en", "sw")
    assert [query.id for query in toy.queries] == [
        *("de-moon?", "de-water?", "de-seven?", "de-bee?"),
        *("en-moon?", "en-water?", "en-seven?", "en-red?", "en-bee?", "en-salt?"),
        *("sw-moon?", "sw-seven?"),
    ]
    assert [document.id for document in toy.documents] == [
        *("de-moon", "de-water", "de-seven", "de-red"),
        *("en-moon", "en-water", "en-gills", "en-seven", "en-bee"),
        *("sw-moon", "sw-seven", "sw-salt"),
    ]


def test_language_blocks_are_contiguous(toy):
    assert toy.query_blocks == {"de": slice(0, 4), "en": slice(4, 10), "sw": slice(10, 12)}
    assert toy.document_blocks == {"de": slice(0, 4), "en": slice(4, 9), "sw": slice(9, 12)}
    assert toy.query_languages.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2]
    assert toy.document_languages.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2]


def test_versions_share_question_number(toy):
    assert toy.questions.tolist() == [0, 1, 2, 3, 0, 1, 2, 4, 3, 5, 0, 2]
    assert toy.restrict(["sw"]).questions.tolist() == [0, 1]


def test_language_without_documents_has_empty_block():
    collection = build(documents=(Document("d1", "sw", "Yeye."),), relevant={"q1": {"d1": 1}, "q2": {"d1": 1}})
    assert collection.languages == ("de", "en", "sw")
    assert collection.query_blocks == {"de": slice(0, 1), "en": slice(1, 2), "sw": slice(2, 2)}
    assert collection.document_blocks == {"de": slice(0, 0), "en": slice(0, 0), "sw": slice(0, 1)}


def test_judgements_are_compressed_rows(toy):
    qrels = toy.qrels
    moon, water, seven, red, bee, salt = [0, 4, 9], [1, 5, 6], [2, 7, 10], [3], [8], [11]
    rows = [moon, water, seven, bee, moon, water, seven, red, bee, salt, moon, seven]
    assert qrels.offsets.tolist() == [0, 3, 6, 9, 10, 13, 16, 19, 20, 21, 22, 25, 28]
    assert qrels.documents.tolist() == [column for row in rows for column in row]
    assert qrels.grades.tolist() == [2 if column == 5 else 1 for row in rows for column in row]
    assert qrels.queries.tolist() == [query for query, row in enumerate(rows) for _ in row]


def test_relevant_documents_have_grades(toy):
    assert toy.relevant(5) == {"de-water": 1, "en-water": 2, "en-gills": 1}
    assert toy.relevant(9) == {"sw-salt": 1}


# Restriction


def test_restriction_drops_other_languages_and_unanswered_queries(toy):
    restricted = toy.restrict(["sw", "en"])
    assert restricted.languages == ("en", "sw")
    assert [query.id for query in restricted.queries] == [
        *("en-moon?", "en-water?", "en-seven?", "en-bee?", "en-salt?"),  # the answer to "red" is German
        *("sw-moon?", "sw-seven?"),
    ]
    assert [document.id for document in restricted.documents] == [
        *("en-moon", "en-water", "en-gills", "en-seven", "en-bee", "sw-moon", "sw-seven", "sw-salt"),
    ]
    assert restricted.relevant(1) == {"en-water": 2, "en-gills": 1}
    assert restricted.name == "toy"


def test_restriction_to_single_language(toy):
    restricted = toy.restrict(["sw"])
    assert [query.id for query in restricted.queries] == ["sw-moon?", "sw-seven?"]
    assert judgements(restricted) == {"sw-moon?": {"sw-moon": 1}, "sw-seven?": {"sw-seven": 1}}


def test_restriction_to_all_languages_changes_nothing(toy):
    restricted = toy.restrict(["sw", "de", "en"])
    assert same(restricted, toy)
    assert restricted.fingerprint == toy.fingerprint


def test_every_restriction_has_another_fingerprint(toy):
    selections = [["de"], ["en"], ["sw"], ["de", "en"], ["de", "sw"], ["en", "sw"], ["de", "en", "sw"]]
    assert len({toy.restrict(codes).fingerprint for codes in selections}) == len(selections)


def test_restriction_to_unknown_language_is_refused(toy):
    with pytest.raises(UsageError) as caught:
        toy.restrict(["en", "swahili"])
    assert str(caught.value) == "toy has no language 'swahili'; did you mean 'sw'? (it has de en sw)"


def test_restriction_without_queries_is_refused():
    collection = build(queries=QUERIES[:1], relevant={"q1": {"d2": 1}})
    with pytest.raises(
        DataError, match="demo has no query in en with a relevant document in en: choose other languages"
    ):
        collection.restrict(["en"])


# Fingerprint


def test_fingerprint_of_toy_data(toy):
    assert toy.fingerprint == "11c722e8b4ba26f2"


def test_fingerprint_ignores_name():
    assert build().fingerprint == Collection.from_records("other", QUERIES, DOCUMENTS, RELEVANT).fingerprint


def test_fingerprint_ignores_order_of_languages_and_judgements():
    relevant = {query: dict(reversed(judged.items())) for query, judged in reversed(RELEVANT.items())}
    assert build(QUERIES[::-1], DOCUMENTS[::-1], relevant).fingerprint == build().fingerprint


@pytest.mark.parametrize(
    "changed",
    [
        {"queries": (QUERIES[0]._replace(text="Who"), QUERIES[1])},
        {"queries": (QUERIES[0]._replace(language="fr"), QUERIES[1])},
        {"queries": (QUERIES[0]._replace(question="whom"), QUERIES[1])},
        {"queries": (QUERIES[0]._replace(id="q3"), QUERIES[1]), "relevant": {**RELEVANT, "q3": RELEVANT["q1"]}},
        {"documents": (DOCUMENTS[0]._replace(text="she."), DOCUMENTS[1])},
        {"documents": (DOCUMENTS[0]._replace(language="fr"), DOCUMENTS[1])},
        {
            "documents": (DOCUMENTS[0]._replace(id="d0"), DOCUMENTS[1]),
            "relevant": {"q1": {"d0": 1, "d2": 1}, "q2": {"d0": 1, "d2": 2}},
        },
        {"documents": (*DOCUMENTS, Document("d3", "en", "He."))},
        {"relevant": {**RELEVANT, "q2": {"d1": 1, "d2": 1}}},
        {"relevant": {**RELEVANT, "q2": {"d2": 2}}},
        {"relevant": {"q1": {"d1": 1, "d2": 2}, "q2": {"d1": 1, "d2": 1}}},
        {"queries": (QUERIES[0]._replace(text="Who?w", question="ho"), QUERIES[1])},  # the same letters in a row
    ],
)
def test_fingerprint_depends_on_all_data(changed):
    records = {"queries": QUERIES, "documents": DOCUMENTS, "relevant": RELEVANT, **changed}
    ids = {query.id for query in records["queries"]}
    records["relevant"] = {query: judged for query, judged in records["relevant"].items() if query in ids}
    assert build(**records).fingerprint != build().fingerprint


def test_fingerprint_depends_on_order_within_language():
    more = (*DOCUMENTS, Document("d3", "en", "He."))
    assert build(documents=more).fingerprint != build(documents=more[::-1]).fingerprint


# Errors


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ({"queries": ()}, "demo has no query"),
        ({"documents": ()}, "demo has no document"),
        (
            {"queries": (*QUERIES, QUERIES[0]._replace(language="de"))},
            "demo has the query id 'q1' twice",
        ),
        (
            {"documents": (*DOCUMENTS, DOCUMENTS[1]._replace(language="en"))},
            "demo has the document id 'd2' twice",
        ),
        (
            {"queries": (QUERIES[0], QUERIES[1]._replace(text=" \n\t"))},
            "demo has an empty query, 'q2'",
        ),
        (
            {"documents": (DOCUMENTS[0]._replace(text=""), DOCUMENTS[1])},
            "demo has an empty document, 'd1'",
        ),
        (
            {"queries": (QUERIES[0]._replace(language="eng"), QUERIES[1])},
            "demo has the unknown language code 'eng'; did you mean 'en'?",
        ),
        (
            {"documents": (*DOCUMENTS, Document("d3", "", "He."))},
            "demo has the unknown language code ''",
        ),
        (
            {"relevant": {**RELEVANT, "q9": {"d1": 1}, "q8": {"d1": 1}}},
            "demo judges 'q8'",
        ),
        (
            {"relevant": {**RELEVANT, "q1": {"d1": 1, "q2": 1}}},
            "demo: query 'q1' names the document 'q2', which does not exist",
        ),
        (
            {"relevant": {**RELEVANT, "q2": {"d1": 0}}},
            "demo: query 'q2' has grade 0 for 'd1'",
        ),
        (
            {"relevant": {**RELEVANT, "q2": {"d1": 1, "d2": -1}}},
            "demo: query 'q2' has grade -1 for 'd2'",
        ),
        (
            {"relevant": {**RELEVANT, "q2": {"d1": 32768}}},
            "demo: query 'q2' has grade 32768 for 'd1', above 32767",
        ),
        ({"relevant": {**RELEVANT, "q2": {"d1": 1.9}}}, "demo: query 'q2' has grade 1.9 for 'd1', which is not a"),
        ({"relevant": {**RELEVANT, "q2": {"d1": np.nan}}}, "demo: query 'q2' has grade nan for 'd1', which is not"),
        ({"relevant": {**RELEVANT, "q2": {"d1": "1"}}}, "demo: query 'q2' has grade '1' for 'd1', which is not"),
        ({"own_documents": {"q7": ["d1"]}}, "demo names own documents of 'q7', which is not a query"),
        ({"parallel": "none"}, "demo: parallel is 'none', but must be True or False"),
        ({"relevant": {"q1": {"d1": 1}}}, "demo: query 'q2' has no relevant document"),
        ({"relevant": {**RELEVANT, "q1": {}}}, "demo: query 'q1' has no relevant document"),
    ],
)
def test_inconsistent_records_are_refused(records, message):
    with pytest.raises(DataError) as caught:
        build(**records)
    assert str(caught.value).startswith(message)


def test_query_and_document_may_share_id():
    collection = build(
        queries=(Query("x", "en", "Who?", "who"),), documents=(Document("x", "en", "She."),), relevant={"x": {"x": 3}}
    )
    assert collection.relevant(0) == {"x": 3}


# Properties

CODES = ("am", "de", "en", "zh")


@st.composite
def records(draw):
    """Queries and documents per language, and judgements without any order."""
    documents = {
        code: [
            Document(f"{code}-{number}", code, text)
            for number, text in enumerate(draw(st.lists(st.sampled_from(["a", "b", "ä", "中"]), max_size=4)))
        ]
        for code in CODES
    }
    ids = [document.id for block in documents.values() for document in block]
    if not ids:
        documents["en"] = [Document("en-0", "en", "a")]
        ids = ["en-0"]
    grades = st.dictionaries(st.sampled_from(ids), st.integers(1, 3), min_size=1)
    queries, relevant = {}, {}
    sizes = draw(st.lists(st.integers(0, 3), min_size=len(CODES), max_size=len(CODES)).filter(any))
    for code, size in zip(CODES, sizes, strict=True):
        queries[code] = [Query(f"{code}?{number}", code, "q", str(number)) for number in range(size)]
        relevant |= {query.id: draw(grades) for query in queries[code]}
    return queries, documents, relevant


def interleaved(draw, blocks):
    """Merge the lists in an order drawn at random; each list keeps its order."""
    turns = draw(st.permutations([code for code, block in blocks.items() for _ in block]))
    rest = {code: iter(block) for code, block in blocks.items()}
    return [next(rest[code]) for code in turns]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_order_gives_same_collection(data):
    queries, documents, relevant = data.draw(records())
    first = build(interleaved(data.draw, queries), interleaved(data.draw, documents), relevant)
    second = build(interleaved(data.draw, queries), interleaved(data.draw, documents), relevant)
    assert same(first, second)
    assert first.fingerprint == second.fingerprint
    assert judgements(first) == relevant
    assert first.languages == tuple(code for code in CODES if queries[code] or documents[code])
    for code in first.languages:
        assert list(first.queries[first.query_blocks[code]]) == queries[code]
        assert list(first.documents[first.document_blocks[code]]) == documents[code]
    assert [first.languages[index] for index in first.query_languages] == [query.language for query in first.queries]
    assert [first.languages[index] for index in first.document_languages] == [d.language for d in first.documents]
    pairs = {(query.question, int(number)) for query, number in zip(first.queries, first.questions, strict=True)}
    assert sorted(number for _, number in pairs) == list(range(len(pairs)))
    for row in range(len(first.queries)):
        columns = first.qrels.documents[first.qrels.offsets[row] : first.qrels.offsets[row + 1]]
        assert (np.diff(columns) > 0).all()
        assert (first.qrels.queries[first.qrels.offsets[row] : first.qrels.offsets[row + 1]] == row).all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_restriction_equals_collection_of_its_records(data):
    queries, documents, relevant = data.draw(records())
    full = build(interleaved(data.draw, queries), interleaved(data.draw, documents), relevant)
    selected = data.draw(st.sets(st.sampled_from(full.languages), min_size=1))
    remaining = [document for code in CODES if code in selected for document in documents[code]]
    ids = {document.id for document in remaining}
    judgements_left = {
        query.id: {name: grade for name, grade in relevant[query.id].items() if name in ids}
        for code in CODES
        if code in selected
        for query in queries[code]
    }
    judgements_left = {query: grades for query, grades in judgements_left.items() if grades}
    answered = [query for block in queries.values() for query in block if query.id in judgements_left]
    if not answered:
        with pytest.raises(DataError, match="demo has no query"):
            full.restrict(selected)
        return
    restricted = full.restrict(selected)
    direct = build(answered, remaining, judgements_left)
    assert same(restricted, direct)
    assert restricted.fingerprint == direct.fingerprint
    unchanged = len(answered) == len(full.queries) and len(remaining) == len(full.documents)
    assert (restricted.fingerprint == full.fingerprint) == unchanged


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_change_changes_fingerprint(data):
    queries, documents, relevant = data.draw(records())
    full = build([q for block in queries.values() for q in block], [d for b in documents.values() for d in b], relevant)
    row = data.draw(st.integers(0, len(full.queries) - 1))
    column = data.draw(st.integers(0, len(full.documents) - 1))
    pair = data.draw(st.integers(0, len(full.qrels.grades) - 1))
    changes = (
        replace(full, queries=changed(full.queries, row, text=full.queries[row].text + "x")),
        replace(full, queries=changed(full.queries, row, id=full.queries[row].id + "x")),
        replace(full, queries=changed(full.queries, row, question=full.queries[row].question + "x")),
        replace(full, documents=changed(full.documents, column, text=full.documents[column].text + "x")),
        replace(full, documents=changed(full.documents, column, id=full.documents[column].id + "x")),
        replace(full, documents=changed(full.documents, column, language="yo")),
        replace(full, qrels=replace(full.qrels, grades=bumped(full.qrels.grades, pair))),
        replace(full, qrels=replace(full.qrels, documents=bumped(full.qrels.documents, pair))),
    )
    assert len({full.fingerprint, *(variant.fingerprint for variant in changes)}) == len(changes) + 1


def changed(texts, index, **fields):
    return (*texts[:index], texts[index]._replace(**fields), *texts[index + 1 :])


def bumped(array, index):
    array = array.copy()
    array[index] += 1
    return array
