"""The collection: order and blocks, judgements, restriction to languages, fingerprint, and what it refuses."""

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


def build(queries=QUERIES, documents=DOCUMENTS, relevant=RELEVANT):
    return Collection.from_records("demo", queries, documents, relevant)


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


def test_texts_are_sorted_by_language_and_keep_their_order_inside_it(toy):
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


def test_blocks(toy):
    assert toy.query_blocks == {"de": slice(0, 4), "en": slice(4, 10), "sw": slice(10, 12)}
    assert toy.document_blocks == {"de": slice(0, 4), "en": slice(4, 9), "sw": slice(9, 12)}
    assert toy.query_languages.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2]
    assert toy.document_languages.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2]


def test_versions_of_a_question_have_its_number(toy):
    assert toy.questions.tolist() == [0, 1, 2, 3, 0, 1, 2, 4, 3, 5, 0, 2]
    assert toy.restrict(["sw"]).questions.tolist() == [0, 1]


def test_a_language_with_queries_or_documents_alone_has_an_empty_block():
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
    assert qrels.queries.tolist() == [place for place, row in enumerate(rows) for _ in row]


def test_relevant_documents_of_a_query_with_their_grades(toy):
    assert toy.relevant(5) == {"de-water": 1, "en-water": 2, "en-gills": 1}
    assert toy.relevant(9) == {"sw-salt": 1}


# Restriction


def test_restriction_drops_other_languages_and_queries_without_an_answer(toy):
    part = toy.restrict(["sw", "en"])
    assert part.languages == ("en", "sw")
    assert [query.id for query in part.queries] == [
        *("en-moon?", "en-water?", "en-seven?", "en-bee?", "en-salt?"),  # the answer to "red" is German
        *("sw-moon?", "sw-seven?"),
    ]
    assert [document.id for document in part.documents] == [
        *("en-moon", "en-water", "en-gills", "en-seven", "en-bee", "sw-moon", "sw-seven", "sw-salt"),
    ]
    assert part.relevant(1) == {"en-water": 2, "en-gills": 1}
    assert part.name == "toy"


def test_restriction_to_one_language(toy):
    part = toy.restrict(["sw"])
    assert [query.id for query in part.queries] == ["sw-moon?", "sw-seven?"]
    assert judgements(part) == {"sw-moon?": {"sw-moon": 1}, "sw-seven?": {"sw-seven": 1}}


def test_restriction_to_all_languages_changes_nothing(toy):
    part = toy.restrict(["sw", "de", "en"])
    assert same(part, toy)
    assert part.fingerprint == toy.fingerprint


def test_every_restriction_has_a_fingerprint_of_its_own(toy):
    parts = [["de"], ["en"], ["sw"], ["de", "en"], ["de", "sw"], ["en", "sw"], ["de", "en", "sw"]]
    assert len({toy.restrict(part).fingerprint for part in parts}) == len(parts)


def test_restriction_to_an_unknown_language(toy):
    with pytest.raises(UsageError) as caught:
        toy.restrict(["en", "swahili"])
    assert str(caught.value) == "toy has no language 'swahili'; did you mean 'sw'? (it has de en sw)"


def test_restriction_that_leaves_no_query():
    collection = build(queries=QUERIES[:1], relevant={"q1": {"d2": 1}})
    with pytest.raises(
        DataError, match="demo has no query in en with a relevant document in en: choose other languages"
    ):
        collection.restrict(["en"])


# Fingerprint


def test_the_fingerprint_of_known_data(toy):
    assert toy.fingerprint == "11c722e8b4ba26f2"


def test_the_fingerprint_is_of_the_data_and_not_of_the_name():
    assert build().fingerprint == Collection.from_records("other", QUERIES, DOCUMENTS, RELEVANT).fingerprint


def test_the_fingerprint_does_not_depend_on_the_order_of_languages_or_judgements():
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
def test_the_fingerprint_changes_with_everything_that_a_score_depends_on(changed):
    records = {"queries": QUERIES, "documents": DOCUMENTS, "relevant": RELEVANT, **changed}
    ids = {query.id for query in records["queries"]}
    records["relevant"] = {query: judged for query, judged in records["relevant"].items() if query in ids}
    assert build(**records).fingerprint != build().fingerprint


def test_the_fingerprint_tells_the_order_inside_a_language():
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
        ({"relevant": {"q1": {"d1": 1}}}, "demo: query 'q2' has no relevant document"),
        ({"relevant": {**RELEVANT, "q1": {}}}, "demo: query 'q1' has no relevant document"),
    ],
)
def test_what_is_refused(records, message):
    with pytest.raises(DataError) as caught:
        build(**records)
    assert str(caught.value).startswith(message)


def test_a_query_and_a_document_may_share_an_id():
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
    """Merge the lists in an order drawn at random; each list keeps its own order."""
    turns = draw(st.permutations([code for code, block in blocks.items() for _ in block]))
    rest = {code: iter(block) for code, block in blocks.items()}
    return [next(rest[code]) for code in turns]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_records_are_kept_whatever_their_order(data):
    queries, documents, relevant = data.draw(records())
    one = build(interleaved(data.draw, queries), interleaved(data.draw, documents), relevant)
    other = build(interleaved(data.draw, queries), interleaved(data.draw, documents), relevant)
    assert same(one, other)
    assert one.fingerprint == other.fingerprint
    assert judgements(one) == relevant
    assert one.languages == tuple(code for code in CODES if queries[code] or documents[code])
    for code in one.languages:
        assert list(one.queries[one.query_blocks[code]]) == queries[code]
        assert list(one.documents[one.document_blocks[code]]) == documents[code]
    assert [one.languages[place] for place in one.query_languages] == [query.language for query in one.queries]
    assert [one.languages[place] for place in one.document_languages] == [d.language for d in one.documents]
    pairs = {(query.question, int(number)) for query, number in zip(one.queries, one.questions, strict=True)}
    assert sorted(number for _, number in pairs) == list(range(len(pairs)))
    for row in range(len(one.queries)):
        columns = one.qrels.documents[one.qrels.offsets[row] : one.qrels.offsets[row + 1]]
        assert (np.diff(columns) > 0).all()
        assert (one.qrels.queries[one.qrels.offsets[row] : one.qrels.offsets[row + 1]] == row).all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_restriction_is_the_collection_built_from_the_part(data):
    queries, documents, relevant = data.draw(records())
    whole = build(interleaved(data.draw, queries), interleaved(data.draw, documents), relevant)
    kept = data.draw(st.sets(st.sampled_from(whole.languages), min_size=1))
    inside = [document for code in CODES if code in kept for document in documents[code]]
    ids = {document.id for document in inside}
    judged = {
        query.id: {name: grade for name, grade in relevant[query.id].items() if name in ids}
        for code in CODES
        if code in kept
        for query in queries[code]
    }
    judged = {query: one for query, one in judged.items() if one}
    asked = [query for block in queries.values() for query in block if query.id in judged]
    if not asked:
        with pytest.raises(DataError, match="demo has no query"):
            whole.restrict(kept)
        return
    part = whole.restrict(kept)
    direct = build(asked, inside, judged)
    assert same(part, direct)
    assert part.fingerprint == direct.fingerprint
    unchanged = len(asked) == len(whole.queries) and len(inside) == len(whole.documents)
    assert (part.fingerprint == whole.fingerprint) == unchanged


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_single_change_changes_the_fingerprint(data):
    queries, documents, relevant = data.draw(records())
    whole = build(
        [q for block in queries.values() for q in block], [d for b in documents.values() for d in b], relevant
    )
    place = data.draw(st.integers(0, len(whole.queries) - 1))
    column = data.draw(st.integers(0, len(whole.documents) - 1))
    pair = data.draw(st.integers(0, len(whole.qrels.grades) - 1))
    changes = (
        replace(whole, queries=changed(whole.queries, place, text=whole.queries[place].text + "x")),
        replace(whole, queries=changed(whole.queries, place, id=whole.queries[place].id + "x")),
        replace(whole, queries=changed(whole.queries, place, question=whole.queries[place].question + "x")),
        replace(whole, documents=changed(whole.documents, column, text=whole.documents[column].text + "x")),
        replace(whole, documents=changed(whole.documents, column, id=whole.documents[column].id + "x")),
        replace(whole, documents=changed(whole.documents, column, language="yo")),
        replace(whole, qrels=replace(whole.qrels, grades=bumped(whole.qrels.grades, pair))),
        replace(whole, qrels=replace(whole.qrels, documents=bumped(whole.qrels.documents, pair))),
    )
    assert len({whole.fingerprint, *(one.fingerprint for one in changes)}) == len(changes) + 1


def changed(texts, place, **fields):
    return (*texts[:place], texts[place]._replace(**fields), *texts[place + 1 :])


def bumped(array, place):
    array = array.copy()
    array[place] += 1
    return array
