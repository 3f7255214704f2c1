"""Collections from rows: layouts, languages, and sentences that are both queries and documents."""

from __future__ import annotations

from dataclasses import replace

import mteb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.data.columns import Columns, collect
from hbt_bench.data.records import Row
from hbt_bench.errors import DataError
from hbt_bench.mteb.tasks import ParallelRetrieval, SharedPass
from hbt_bench.ranking.ranks import rank
from hbt_bench.tasks.task import TaskSpec
from tests.factories import TestEncoder, hashed


def rows(*fields, language=None):
    return [Row(record, f"d:{number}", language) for number, record in enumerate(fields, 1)]


def test_several_questions_share_document():
    data = rows(
        {
            "id": "p1",
            "texts": {"en": "One.", "de": "Eins.", "sw": "Moja."},
            "questions": [{"en": {"q": "A?"}, "de": {"q": "Ä?"}}, {"de": {"q": "B?"}}],
        }
    )
    mapping = Columns(id=("id",), query="questions.*.{language}.q", document="texts.{language}")
    collection = collect("t", data, mapping, {"en": "en", "de": "de", "sw": "sw"})
    assert [(query.id, query.text) for query in collection.queries] == [
        ("de-q-p1/0", "Ä?"),
        ("de-q-p1/1", "B?"),  # the second question keeps its number, though English lacks it
        ("en-q-p1/0", "A?"),
    ]
    assert collection.relevant(1) == {"de-d-p1": 1, "en-d-p1": 1, "sw-d-p1": 1}


def test_question_has_several_answers():
    data = rows(
        {"q": "1", "a": "x", "l": "eng", "question": "Who?", "passage": "A.", "title": "T"},
        {"q": "1", "a": "y", "l": "eng", "question": "Who?", "passage": "B.", "title": ""},
        {"q": "1", "a": "x", "l": "deu", "question": "Wer?", "passage": "C.", "title": None},
        {"q": "1", "a": "x", "l": "fra", "question": "Qui?", "passage": "D.", "title": "T"},
    )
    mapping = Columns(
        id=("q",), language="l", query="question", document="passage", document_id=("q", "a"), title="title"
    )
    collection = collect("t", data, mapping, {"en": "eng", "de": "deu"})
    assert {document.id: document.text for document in collection.documents} == {
        "de-d-1/x": "C.",
        "en-d-1/x": "T A.",
        "en-d-1/y": "B.",
    }
    assert collection.relevant(0) == collection.relevant(1) == {"de-d-1/x": 1, "en-d-1/x": 1, "en-d-1/y": 1}
    separate = collect("t", data, Columns(**{**vars(mapping), "parallel": False}), {"en": "eng", "de": "deu"})
    assert separate.relevant(0) == {"de-d-de/1/x": 1}
    assert not separate.parallel


def test_files_are_aligned_by_line():
    data = [
        *rows({"text": "eins"}, {"text": None}, language="de"),
        *rows({"text": "one"}, {"text": "two"}, language="en"),
    ]
    collection = collect("t", data, Columns(text="text"), {"de": "de", "en": "en"})
    assert [query.text for query in collection.queries] == ["eins", "one"]
    assert [document.text for document in collection.documents] == [
        "eins",
        "one",
        "two",
    ]  # no translation: a candidate only


def test_rows_without_id_or_language_are_counted(caplog):
    complete = [{"id": 1.0, "l": "en", "q": "A?", "d": "a"}, {"id": 1, "l": "de", "q": "B?", "d": "b"}]
    others = [
        {"id": None, "l": "en", "q": "C?", "d": "c"},
        {"l": "en"},
        {"id": 2, "l": float("nan"), "q": "D?", "d": "d"},
    ]
    mapping = Columns(id=("id",), language="l", query="q", document="d")
    collection = collect("t", rows(*complete, *others), mapping, {"en": "en", "de": "de"})
    assert [query.text for query in collection.queries] == ["B?", "A?"]
    assert collection.relevant(0) == {"de-d-1": 1, "en-d-1": 1}
    assert caplog.messages == [
        "t: 2 rows have no id and are left out (d:3)",
        "t: 1 row has no language and is left out (d:5)",
    ]
    with pytest.raises(DataError, match="d:1: no text or number at 'id'; did you mean 'd'"):
        collect("t", rows({"l": "en", "q": "A?", "d": "a"}), mapping, {"en": "en"})
    with pytest.raises(DataError, match=r"d:1: 'id' must be a text or a whole number, not 1\.5"):
        collect("t", rows({**complete[0], "id": 1.5}), mapping, {"en": "en"})


@pytest.mark.parametrize("mapping", [Columns(text="text"), Columns(query="text", document="text")])
def test_files_of_different_length_are_refused(mapping):
    data = [
        *rows({"text": "eins"}, {"text": "zwei"}, {"text": "drei"}, language="de"),
        *rows({"text": "one"}, {"text": "three"}, language="en"),
        *rows({"text": "moja"}, {"text": "mbili"}, {"text": "tatu"}, language="sw"),
    ]
    codes = {"de": "de", "en": "en", "sw": "sw"}
    with pytest.raises(DataError, match=r"t has 2 rows in 'en' and 3 in 'sw', .* paired by row number"):
        collect("t", data, mapping, codes)
    assert len(collect("t", data, mapping, {"de": "de", "sw": "sw"}).queries) == 6
    with pytest.raises(DataError, match="t has 0 rows in 'ha' and 3 in 'de'"):
        collect("t", data[:3], mapping, {"de": "de", "ha": "ha"})
    unpaired = Columns(query="text", document="text", parallel=False)
    assert len(collect("t", data, unpaired, codes).queries) == 8  # nothing is paired


def test_equal_sentences_join_their_rows():
    data = rows(
        {"id": 1, "x": {"de": "Hallo", "en": "Hello"}},
        {"id": 2, "x": {"en": "Hello", "sw": "Habari"}},
        {"id": 3, "x": {"de": "Tag", "sw": "Habari"}},
        {"id": 4, "x": {"de": "Ja", "en": "Yes"}},
        {"id": 5, "x": {"en": "Hi", "sw": "Hujambo"}},
        {"id": 6, "x": {"de": "Hallo", "sw": "Hujambo"}},
    )
    mapping = Columns(id=("id",), text="x.{language}", merge=True)
    collection = collect("t", data, mapping, {"de": "de", "en": "en", "sw": "sw"})
    texts = {document.id: document.text for document in collection.documents}
    answers = {
        query.text: {texts[key] for key in collection.relevant(row)} for row, query in enumerate(collection.queries)
    }
    assert answers == {
        "Hallo": {"Hello", "Hi", "Habari", "Hujambo"},
        "Tag": {"Hello", "Hi", "Habari", "Hujambo"},
        "Hello": {"Hallo", "Tag", "Habari", "Hujambo"},
        "Hi": {"Hallo", "Tag", "Habari", "Hujambo"},
        "Habari": {"Hallo", "Tag", "Hello", "Hi"},
        "Hujambo": {"Hallo", "Tag", "Hello", "Hi"},
        "Ja": {"Yes"},
        "Yes": {"Ja"},
    }
    assert {query.question for query in collection.queries if query.text in ("Ja", "Yes")} == {"4"}
    assert {query.question for query in collection.queries if query.text not in ("Ja", "Yes")} == {"1"}


@settings(max_examples=60, deadline=None)
@given(
    pairs=st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.integers(0, 5)).filter(lambda pair: pair[0]),
        min_size=1,
        max_size=25,
    )
)
def test_translations_are_connected_components(pairs):
    codes = {"a": ("de", "en"), "b": ("en", "sw")}
    spoken = {code for kind, *_ in pairs for code in codes[kind]}
    data, edges = [], []
    for number, (kind, left, right) in enumerate(pairs):
        first, second = codes[kind]
        data.append({"id": number, "x": {first: f"{first}{left}", second: f"{second}{right}"}})
        edges.append({f"{first}{left}", f"{second}{right}"})
    collection = collect(
        "t", rows(*data), Columns(id=("id",), text="x.{language}", merge=True), {c: c for c in sorted(spoken)}
    )
    groups: list[set[str]] = []
    for edge in edges:
        groups = [group for group in groups if not group & edge] + [edge.union(*(g for g in groups if g & edge))]
    texts = {document.id: document.text for document in collection.documents}
    for row, query in enumerate(collection.queries):
        (group,) = [group for group in groups if query.text in group]
        assert {texts[key] for key in collection.relevant(row)} == {
            text for text in group if text[:2] != query.text[:2]
        }


def test_unanswered_questions_are_dropped():
    data = rows(
        {"id": 1, "q": {"de": "Wo?", "en": "Where?"}, "a": {"de": [{"t": "Rom"}], "en": [{"t": "Rome"}]}},
        {"id": 2, "q": {"de": "Wer?", "en": "Who?"}, "a": {"de": [{"t": None}], "en": [{"t": None}]}},
        {
            "id": 3,
            "q": {"de": "Welche?", "en": "Which?"},
            "a": {"de": [{"t": "Rom"}, {"t": "Bonn"}], "en": [7, {"t": "Bonn"}]},
        },
        {"id": 4, "q": {"de": "Ort?", "en": "Place?"}, "a": {"de": [{"t": "Rom"}], "en": [{"t": "City of Rome"}]}},
    )
    mapping = Columns(id=("id",), query="q.{language}", document="a.{language}.*.t", merge=True, unanswered=True)
    collection = collect("t", data, mapping, {"de": "de", "en": "en"})
    texts = {document.id: document.text for document in collection.documents}
    assert sorted(texts.values()) == ["Bonn", "Bonn", "City of Rome", "Rom", "Rome"]
    answers = {
        query.text: sorted(texts[key] for key in collection.relevant(row))
        for row, query in enumerate(collection.queries)
    }
    assert answers == {
        "Wo?": ["Rom", "Rome"],
        "Where?": ["Rom", "Rome"],
        "Welche?": ["Bonn", "Bonn", "Rom"],
        "Which?": ["Bonn", "Bonn", "Rom"],
        "Ort?": ["City of Rome", "Rom"],
        "Place?": ["City of Rome", "Rom"],
    }
    assert collection.parallel
    with pytest.raises(DataError, match="d:2: the question '2' has no document in any of the languages"):
        collect("t", data, replace(mapping, unanswered=False), {"de": "de", "en": "en"})


def test_selected_languages_drop_unanswered_questions():
    data = rows(
        {"id": 1, "q": {"en": "A?", "de": "Ä?"}, "d": {"sw": "Moja."}},
        {"id": 2, "q": {"en": "B?"}, "d": {"en": "Two."}},
    )
    mapping = Columns(id=("id",), query="q.{language}", document="d.{language}")
    assert len(collect("t", data, mapping, {"en": "en", "de": "de", "sw": "sw"}).queries) == 3
    selected = collect("t", data, mapping, {"en": "en", "de": "de"}, complete=False)
    assert [query.id for query in selected.queries] == ["en-q-2"]
    with pytest.raises(DataError, match="the question '1' has no document in any of the languages"):
        collect("t", data, mapping, {"en": "en", "de": "de"})


@pytest.mark.parametrize(
    ("labels", "languages", "message"),
    [
        (
            ["en", "de", "DE"],
            {"en": "en", "de": "Deu"},
            "t has no texts in de, which the data call 'Deu'; rows in 'de'",
        ),
        (["en", "de"], {"en": "en", "de": "de", "fr": "fr"}, "no texts in fr, .*: map the code, as in `languages: {fr"),
    ],
)
@pytest.mark.parametrize("complete", [True, False])
def test_language_without_texts_is_refused(labels, languages, message, complete):
    data = rows(*({"id": 1, "l": label, "q": f"q {label}", "d": f"d {label}"} for label in labels))
    with pytest.raises(DataError, match=message):
        collect("t", data, Columns(id=("id",), language="l", query="q", document="d"), languages, complete=complete)
    wide = rows({f"{kind}_{label}": f"{kind} {label}" for label in labels for kind in "qd"})
    with pytest.raises(DataError, match=message.partition("; ")[0]):
        collect("t", wide, Columns(query="q_{language}", document="d_{language}"), languages, complete=complete)


def test_title_that_no_row_has_is_refused():
    data = rows({"id": 1, "q": "Who?", "d": "Ann.", "title": ""})
    mapping = Columns(id=("id",), query="q", document="d", title="title")
    assert collect("t", data, mapping, {"en": "en"}).documents[0].text == "Ann."
    with pytest.raises(DataError, match="t: no row has a text in 'titel', the `title`"):
        collect("t", data, replace(mapping, title="titel"), {"en": "en"})


def bitext(count=30, languages=("de", "en", "sw")):
    data = rows(*({"id": n, "x": {code: f"{code} sentence {n}" for code in languages}} for n in range(count)))
    return collect("t", data, Columns(id=("id",), text="x.{language}"), dict(zip(languages, languages, strict=True)))


def test_sentence_is_not_its_own_candidate():
    collection = bitext()
    vectors = np.random.default_rng(0).standard_normal((90, 4)).astype(np.float32)
    scores = vectors @ vectors.T

    class Scorer:
        def scores(self, rows):
            return scores[rows]

    ranks, confidences = rank(collection, Scorer())
    for pair, (query, document) in enumerate(zip(collection.qrels.queries, collection.qrels.documents, strict=True)):
        others = [column for column in range(90) if column != query]
        assert ranks.pool[pair] == 1 + sum(scores[query, column] > scores[query, document] for column in others)
        block = collection.document_blocks[collection.documents[document].language]
        assert ranks.block[pair] == 1 + int((scores[query, block] > scores[query, document]).sum())
    assert all(row not in top for row, top in enumerate(ranks.top))
    best = np.sort(np.where(np.eye(90, dtype=bool), -np.inf, scores), axis=1)[:, ::-1]
    assert confidences.highest[:, -1] == pytest.approx(best[:, 0])
    assert confidences.margin[:, -1] == pytest.approx(best[:, 0] - best[:, 1], abs=1e-6)
    assert confidences.spread[:, -1] == pytest.approx(best[:, :-1].std(axis=1), abs=1e-6)


def test_mteb_search_path_leaves_out_sentence():
    spec = TaskSpec.model_validate(
        {
            "name": "t",
            "source": {
                "kind": "bitext",
                "path": "d.jsonl",
                "languages": ["de", "en", "sw"],
                "columns": {"id": "id", "text": "x.{language}"},
            },
        }
    )
    collection = bitext(8)
    results = {}
    for folder in (None, "predictions"):
        task = ParallelRetrieval(SharedPass(spec, collection), "multi")
        model = TestEncoder(hashed())
        if folder is None:
            entries = mteb.evaluate(model, task, cache=None, co2_tracker=False).task_results[0].scores["test"]
            results[folder] = {entry["hf_subset"]: entry["map_at_100"] for entry in entries}
        else:
            # a model that only searches goes MTEB's way; its answer must be that of the engine
            from mteb.models import SearchEncoderWrapper

            task.load_data()
            entries = task.evaluate(SearchEncoderWrapper(model), "test", encode_kwargs={"batch_size": 8})
            results[folder] = {subset: entry["map_at_100"] for subset, entry in entries.items()}
    assert results[None] == pytest.approx(results["predictions"], abs=1e-4)


def test_restricted_collections_keep_own_copies():
    collection = bitext(5)
    restricted = collection.restrict(["de", "en"])
    assert restricted.copies.tolist() == [[row] for row in range(10)]
    assert restricted.relevant(0) == {"en-0": 1}
    narrowed = collection.narrow(["de"], ["en"])
    assert narrowed.copies.tolist() == [[-1]] * 5
    changed = collection.with_queries({"de-0": "anders"})
    assert changed.queries[0].text == "anders"
    assert changed.documents == collection.documents
    assert changed.copies.tolist() == collection.copies.tolist()
    assert len({variant.fingerprint for variant in (collection, restricted, narrowed, changed)}) == 4


def test_query_relevant_to_itself_is_refused():
    with pytest.raises(DataError, match="t: query 'a' names itself as relevant"):
        Collection.from_records(
            "t", [Query("a", "en", "x", "1")], [Document("a", "en", "x")], {"a": {"a": 1}}, own_copies=True
        )


@pytest.mark.parametrize("answers", ["['a b', 'c']", '{"text": ["a"], "answer_start": [3]}', "['a', nan]"])
def test_lists_written_into_cells_are_refused_or_reported(answers, messages):
    columns = Columns(id=("id",), query="q", document=("a",))

    def rows(*bodies):
        return [
            Row({"id": str(number), "q": f"ask {number}", "a": body}, "t", "en") for number, body in enumerate(bodies)
        ]

    with pytest.raises(DataError, match=r"^demo has (lists|mappings) written as text in 'document', such as [\[{]"):
        collect("demo", rows(answers, answers), columns, {"en": "en"})
    collection = collect("demo", rows(answers, "a text"), columns, {"en": "en"})
    assert [document.text for document in collection.documents] == [answers, "a text"]
    assert "(1 of 2 texts)" in messages[-1]
