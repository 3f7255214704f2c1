"""The task sets that pool MTEB's data over languages, on stand-ins of the same form."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import mteb
import pytest

from hbt_bench.data import mteb_reader
from hbt_bench.errors import DataError
from hbt_bench.tasks.registry import TaskRegistry, select_tasks
from tests.factories import hub_data_set, retrieval_configs, write_beir

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def load(monkeypatch, tmp_path):
    """Load a shipped definition from configurations in the place of its data set."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")
    original = mteb_reader._task

    def loaded(name, configs, languages):
        folder = hub_data_set(tmp_path / "data", configs)

        def task(stock):
            copy = original(stock)
            copy.metadata = copy.metadata.model_copy(update={"dataset": {"path": str(folder), "revision": "main"}})
            return copy

        monkeypatch.setattr(mteb_reader, "_task", task)
        spec = TaskRegistry().specs[name]
        source = spec.source.model_copy(update={"revision": None})
        return spec.model_copy(update={"source": source, "expect": None}).load(languages)

    return loaded


def parts(split, qrels=None):
    """Two languages with the same ids: two questions, and three documents."""
    texts = {"de": ["eins", "zwei", "drei"], "en": ["one", "two", "three"], "es": ["uno", "dos", "tres"]}
    configs = {}
    for code in ("de", "es"):
        documents = {f"d{row}": text for row, text in enumerate(texts[code])}
        queries = {f"q{row}": f"{text}?" for row, text in enumerate(texts[code][:2])}
        judged = (qrels or {}).get(code, [("q0", "d0", 1), ("q1", "d1", 1)])
        configs |= retrieval_configs(code, split, queries, documents, judged)
    return configs


PARALLEL = {"mupler": "test", "mmarco": "dev", **{f"nano-multi-{name}": "test" for name in ("scifact", "arguana")}}


@pytest.mark.parametrize("name", PARALLEL)
def test_equal_ids_are_translations(load, name):
    languages = ["es", "de"] if name != "mupler" else ["es", "it"]
    configs = parts(PARALLEL[name])
    if name == "mupler":  # it has no German
        configs = {key.replace("de-", "it-"): value for key, value in configs.items()}
    pool = load(name, configs, languages)
    assert pool.parallel
    assert pool.questions.tolist() == [0, 1, 0, 1]
    for row in range(4):
        expected = ({"eins", "uno"}, {"zwei", "dos"})[pool.questions[row]]
        texts = {document.id: document.text for document in pool.documents}
        assert {texts[key] for key in pool.relevant(row)} == expected


def test_ids_that_are_numbered_anew_are_refused(load):
    other = {"es": [("q0", "d1", 1), ("q1", "d2", 1)]}
    with pytest.raises(DataError, match="only 0 of 2 query ids have the same relevant documents in several languages"):
        load("nano-multi-nq", parts("test", other), ["de", "es"])


@pytest.mark.parametrize(("name", "labels"), [("mldr", ("de", "es")), ("webfaq", ("deu", "spa"))])
def test_questions_of_other_sets_are_unrelated(load, name, labels):
    configs = parts("test")
    for code, label in zip(("de", "es"), labels, strict=True):
        configs = {key.replace(f"{code}-", f"{label}-"): value for key, value in configs.items()}
    pool = load(name, configs, ["de", "es"])
    assert not pool.parallel
    assert sorted(pool.questions.tolist()) == [0, 1, 2, 3]
    assert [len(pool.relevant(row)) for row in range(4)] == [1] * 4


def test_subsets_of_xpqa_name_documents_first(load):
    """The subsets number their queries and documents anew."""
    judged = [("Q0", "C0", 1), ("Q1", "C1", 1)]
    configs = (
        retrieval_configs("deu-deu", "test", {"Q0": "Wie?", "Q1": "Wo?"}, {"C0": "so", "C1": "da"}, judged)
        | retrieval_configs("eng-deu", "test", {"Q0": "Wie?"}, {"C0": "like this"}, [("Q0", "C0", 1)])
        | retrieval_configs("deu-eng", "test", {"Q0": "Where?"}, {"C0": "so", "C1": "da"}, [("Q0", "C1", 1)])
    )
    pool = load("xpqa", configs, ["de", "en"])
    texts = {document.id: document.text for document in pool.documents}
    found = {query.text: {texts[key] for key in pool.relevant(row)} for row, query in enumerate(pool.queries)}
    assert found == {"Wie?": {"so", "like this"}, "Wo?": {"da"}, "Where?": {"da"}}
    assert {query.text: query.language for query in pool.queries} == {"Wie?": "de", "Wo?": "de", "Where?": "en"}
    assert sorted(texts.values()) == ["da", "like this", "so"]


def test_documents_of_xpqa_come_first_in_the_statistics_of_mteb():
    """The queries of eng-ara are those of ara-ara, and the documents of ara-eng, too."""
    stats = mteb.get_task("XPQARetrieval").metadata.descriptive_stats["test"]["hf_subset_descriptive_stats"]
    same, other, into = stats["ara-ara"], stats["eng-ara"], stats["ara-eng"]
    assert other["queries_text_statistics"] == same["queries_text_statistics"]
    assert into["documents_text_statistics"] == same["documents_text_statistics"]


def test_suite_has_thirteen_sets():
    assert len(select_tasks("suite:nano-multi")) == 13


def test_afriqa_has_questions_in_other_languages_than_passages(tmp_path):
    convert = runpy.run_path(str(EXAMPLES / "afriqa.py"))["convert"]
    english = dict.fromkeys(["bem", "hau", "ibo", "kin", "swa", "twi", "yor", "zul"], "en")
    for asked, answered in {"fon": "fr", **english}.items():
        rows = [
            {
                "id": "0",
                "question_lang": f"{asked}?",
                "title": "T",
                "context": "Shared" if answered == "en" else "Seul",
            },
            {"id": "1", "question_lang": f"{asked}??", "title": "T", "context": f"Own {asked}"},
            {"id": "2", "question_lang": "no passage", "title": "T", "context": None},
        ]
        path = tmp_path / "clone/data/gold_passages" / asked / f"gold_span_passages.afriqa.{asked}.{answered}.test.json"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    convert(tmp_path / "clone", tmp_path)
    spec = TaskRegistry().specs["afriqa"]
    source = spec.source.model_copy(update={"pins": {}})
    pool = spec.model_copy(update={"source": source, "expect": None}).load(["en", "fr", "fon", "ha", "yo"], tmp_path)
    relevant = {query.id: pool.relevant(row) for row, query in enumerate(pool.queries)}
    assert len(relevant) == 6
    assert relevant["ha-q-0"] == relevant["yo-q-0"]  # equal passages are a single document of the pool
    assert list(relevant["fon-q-1"]) == ["fr-d-fon-1"]
    assert sorted(document.text for document in pool.documents) == [
        "T Own fon",
        "T Own hau",
        "T Own yor",
        "T Seul",
        "T Shared",
    ]


def test_neuclirbench_shares_judgements_between_the_languages_of_a_topic(tmp_path):
    documents = {f"{code}1": {"text": f"news {code}", "lang": code} for code in ("fas", "rus", "zho")}
    write_beir(tmp_path / "neuclirbench", {}, documents, {"1": {"fas1": 1, "zho1": 3, "rus1": 0}})
    topics = [{"_id": "1", "text": f"topic {code}", "lang": code} for code in ("eng", "fas", "rus", "zho")]
    (tmp_path / "neuclirbench" / "queries.jsonl").write_text("".join(json.dumps(topic) + "\n" for topic in topics))
    pool = TaskRegistry().specs["neuclirbench"].load(data_dir=tmp_path)
    assert [query.id for query in pool.queries] == ["en-q-1", "fa-q-1", "ru-q-1", "zh-q-1"]
    assert all(pool.relevant(row) == {"fa-d-fas1": 1, "zh-d-zho1": 3} for row in range(4))
