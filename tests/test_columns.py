"""Rows to collections: layouts, languages, and sentences that are queries and documents at once."""

from __future__ import annotations

import mteb
import numpy as np
import pytest

from hbt_bench.corpus.collection import Collection, Document, Query
from hbt_bench.corpus.columns import Columns, collect
from hbt_bench.corpus.rows import Row
from hbt_bench.errors import DataError
from hbt_bench.ranking.ranks import rank
from hbt_bench.tasks.mteb_task import ParallelRetrieval, SharedPass
from hbt_bench.tasks.spec import TaskSpec
from tests.encoders import TestEncoder, hashed


def rows(*fields, language=None):
    return [Row(one, f"d:{number}", language) for number, one in enumerate(fields, 1)]


def test_several_questions_on_a_document():
    data = rows(
        {
            "id": "p1",
            "texts": {"en": "One.", "de": "Eins.", "sw": "Moja."},
            "questions": [{"en": {"q": "A?"}, "de": {"q": "Ä?"}}, {"de": {"q": "B?"}}],
        }
    )
    mapping = Columns(id=("id",), query="questions.*.{language}.q", document="texts.{language}")
    found = collect("t", data, mapping, {"en": "en", "de": "de", "sw": "sw"})
    assert [(query.id, query.text) for query in found.queries] == [
        ("de-q-p1/0", "Ä?"),
        ("de-q-p1/1", "B?"),  # the second question keeps its number, though English lacks it
        ("en-q-p1/0", "A?"),
    ]
    assert found.relevant(1) == {"de-d-p1": 1, "en-d-p1": 1, "sw-d-p1": 1}


def test_several_answers_of_a_question():
    data = rows(
        {"q": "1", "a": "x", "l": "eng", "question": "Who?", "passage": "A.", "title": "T"},
        {"q": "1", "a": "y", "l": "eng", "question": "Who?", "passage": "B.", "title": ""},
        {"q": "1", "a": "x", "l": "deu", "question": "Wer?", "passage": "C.", "title": None},
        {"q": "1", "a": "x", "l": "fra", "question": "Qui?", "passage": "D.", "title": "T"},
    )
    mapping = Columns(
        id=("q",), language="l", query="question", document="passage", document_id=("q", "a"), title="title"
    )
    found = collect("t", data, mapping, {"en": "eng", "de": "deu"})
    assert {document.id: document.text for document in found.documents} == {
        "de-d-1/x": "C.",
        "en-d-1/x": "T A.",
        "en-d-1/y": "B.",
    }
    assert found.relevant(0) == found.relevant(1) == {"de-d-1/x": 1, "en-d-1/x": 1, "en-d-1/y": 1}
    apart = collect("t", data, Columns(**{**vars(mapping), "parallel": False}), {"en": "eng", "de": "deu"})
    assert apart.relevant(0) == {"de-d-de/1/x": 1}
    assert not apart.parallel


def test_files_that_are_aligned_by_line():
    data = [
        *rows({"text": "eins"}, {"text": None}, language="de"),
        *rows({"text": "one"}, {"text": "two"}, language="en"),
    ]
    found = collect("t", data, Columns(text="text"), {"de": "de", "en": "en"})
    assert [query.text for query in found.queries] == ["eins", "one"]
    assert [document.text for document in found.documents] == ["eins", "one", "two"]  # no translation: a candidate only


def test_a_part_leaves_out_what_it_cannot_answer():
    data = rows(
        {"id": 1, "q": {"en": "A?", "de": "Ä?"}, "d": {"sw": "Moja."}},
        {"id": 2, "q": {"en": "B?"}, "d": {"en": "Two."}},
    )
    mapping = Columns(id=("id",), query="q.{language}", document="d.{language}")
    assert len(collect("t", data, mapping, {"en": "en", "de": "de", "sw": "sw"}).queries) == 3
    part = collect("t", data, mapping, {"en": "en", "de": "de"}, whole=False)
    assert [query.id for query in part.queries] == ["en-q-2"]
    with pytest.raises(DataError, match="the question '1' has no document in any of the languages"):
        collect("t", data, mapping, {"en": "en", "de": "de"})


def bitext(count=30, languages=("de", "en", "sw")):
    data = rows(*({"id": n, "x": {code: f"{code} sentence {n}" for code in languages}} for n in range(count)))
    return collect("t", data, Columns(id=("id",), text="x.{language}"), dict(zip(languages, languages, strict=True)))


def test_a_sentence_is_no_candidate_for_itself():
    collection = bitext()
    vectors = np.random.default_rng(0).standard_normal((90, 4)).astype(np.float32)
    scores = vectors @ vectors.T

    class Scorer:
        def scores(self, part):
            return scores[part]

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


def test_mtebs_own_path_leaves_the_sentence_out_too():
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
            found = mteb.evaluate(model, task, cache=None, co2_tracker=False).task_results[0].scores["test"]
            results[folder] = {entry["hf_subset"]: entry["map_at_100"] for entry in found}
        else:
            # a model that only searches goes MTEB's way; its answer must be that of the engine
            from mteb.models import SearchEncoderWrapper

            task.load_data()
            found = task.evaluate(SearchEncoderWrapper(model), "test", encode_kwargs={"batch_size": 8})
            results[folder] = {subset: entry["map_at_100"] for subset, entry in found.items()}
    assert results[None] == pytest.approx(results["predictions"], abs=1e-4)


def test_parts_keep_what_a_collection_is():
    collection = bitext(5)
    part = collection.restrict(["de", "en"])
    assert part.copies.tolist() == list(range(10))
    assert part.relevant(0) == {"en-0": 1}
    one_way = collection.narrow(["de"], ["en"])
    assert one_way.copies.tolist() == [-1] * 5
    texts = collection.with_queries({"de-0": "anders"})
    assert texts.queries[0].text == "anders"
    assert texts.documents == collection.documents
    assert texts.copies.tolist() == collection.copies.tolist()
    assert len({one.fingerprint for one in (collection, part, one_way, texts)}) == 4


def test_a_query_that_is_its_own_answer():
    with pytest.raises(DataError, match="t: query 'a' names itself as relevant"):
        Collection.from_records(
            "t", [Query("a", "en", "x", "1")], [Document("a", "en", "x")], {"a": {"a": 1}}, own_copies=True
        )
