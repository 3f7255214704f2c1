"""MTEB's layout of retrieval data in a folder: configurations by language and by pair, and defects that are skipped."""

from __future__ import annotations

import pandas
import pytest
import yaml
from mteb.abstasks.retrieval_dataset_loaders import RetrievalDatasetLoader

from hbt_bench.data import records
from hbt_bench.data.records import Row
from hbt_bench.errors import DataError
from hbt_bench.tasks.task import TaskSpec
from tests.factories import write_beir

TEXTS = {"de": {"d1": "Berlin", "d2": "Rom"}, "en": {"d1": "Berlin", "d2": "Rome"}}
QUESTIONS = {"de": {"q1": "Hauptstadt?", "q2": "Italien?"}, "en": {"q1": "Capital?", "q2": "Italy?"}}
JUDGED = [("q1", "d1", 1), ("q2", "d2", 2), ("q2", "d1", 0)]


def write(folder, prefixes, judged=JUDGED, key="_id"):
    """Write a data set; `prefixes` maps the prefixes of configurations to the languages of queries and documents."""
    configs = []
    for prefix, (queries, documents) in prefixes.items():
        tables = {
            "corpus": [{key: name, "text": text, "title": ""} for name, text in TEXTS[documents].items()],
            "queries": [{key: name, "text": text} for name, text in QUESTIONS[queries].items()],
            "qrels": [{"query-id": query, "corpus-id": name, "score": grade} for query, name, grade in judged],
        }
        for name, rows in tables.items():
            config = f"{prefix}-{name}" if prefix else name
            path = folder / config / "test.parquet"
            path.parent.mkdir(parents=True)
            pandas.DataFrame(rows).to_parquet(path)
            configs.append(
                {"config_name": config, "data_files": [{"split": "test", "path": str(path.relative_to(folder))}]}
            )
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n")


def task(folder, **source):
    content = {"name": "mine", "source": {"kind": "retrieval", "path": "data", "languages": ["de", "en"], **source}}
    return TaskSpec.model_validate(content).in_folder(folder)


def judgements(collection):
    return {query.id: collection.relevant(row) for row, query in enumerate(collection.queries)}


@pytest.mark.parametrize("key", ["_id", "id"])
def test_configuration_for_each_language(tmp_path, key):
    write(tmp_path / "data", {"de": ("de", "de"), "en": ("en", "en")}, key=key)
    spec = task(tmp_path, parallel="documents")
    assert spec.modes == ("mono", "cross", "multi")
    collection = spec.load()
    assert {query.id: query.text for query in collection.queries}["de-q-q2"] == "Italien?"
    both = {"de-d-d1": 1, "en-d-d1": 1}, {"de-d-d2": 2, "en-d-d2": 2}
    assert judgements(collection) == {f"{code}-q-q{n + 1}": both[n] for code in ("de", "en") for n in (0, 1)}


def test_parts_are_those_of_the_loader_of_mteb(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    write(tmp_path / "data", {"de": ("de", "de")})
    theirs = RetrievalDatasetLoader(str(tmp_path / "data"), None, config="de").load()
    collection = task(tmp_path, languages=["de"]).load()
    assert {f"de-d-{row['id']}": row["text"] for row in theirs["corpus"]} == {
        d.id: d.text for d in collection.documents
    }
    assert {f"de-q-{row['id']}": row["text"] for row in theirs["queries"]} == {q.id: q.text for q in collection.queries}
    positive = {
        f"de-q-{query}": {f"de-d-{document}": grade for document, grade in grades.items() if grade}
        for query, grades in theirs["relevant_docs"].items()
    }
    assert positive == judgements(collection)


def test_configuration_for_each_pair(tmp_path):
    write(tmp_path / "data", {"de-en": ("de", "en"), "en-en": ("en", "en")})
    spec = task(tmp_path, parallel="queries", config="{query_language}-{language}")
    assert judgements(spec.load()) == {
        f"{code}-q-{query}": grades
        for code in ("de", "en")
        for query, grades in (("q1", {"en-d-d1": 1}), ("q2", {"en-d-d2": 2}))
    }


def test_single_language_without_a_prefix(tmp_path):
    write(tmp_path / "data", {"": ("en", "en")})
    spec = task(tmp_path, languages=["en"], config="")
    assert spec.modes == ("mono",)
    assert judgements(spec.load()) == {"en-q-q1": {"en-d-d1": 1}, "en-q-q2": {"en-d-d2": 2}}


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ({"path": "missing", "parallel": "none"}, DataError, "no folder missing"),
        ({"languages": ["de", "fr"], "parallel": "none"}, DataError, "no configuration 'fr-"),
        ({}, ValueError, "parallel: documents"),
        ({"config": "", "parallel": "none"}, ValueError, "{language} in `config`"),
    ],
)
def test_errors_name_the_key(tmp_path, source, error, message):
    write(tmp_path / "data", {"de": ("de", "de"), "en": ("en", "en")})
    with pytest.raises(error, match=message):
        task(tmp_path, **source).load()


# Defects that are skipped


def test_dangling_judgements_are_skipped_if_asked(tmp_path, messages):
    judged = [*JUDGED, ("q1", "gone", 1), ("q9", "d1", 1)]
    write(tmp_path / "data", {"en": ("en", "en")}, judged)
    with pytest.raises(DataError, match=r"'gone', which does not exist.*skip: \[dangling\]"):
        task(tmp_path, languages=["en"]).load()
    collection = task(tmp_path, languages=["en"], skip=["dangling"]).load()
    assert judgements(collection) == {"en-q-q1": {"en-d-d1": 1}, "en-q-q2": {"en-d-d2": 2}}
    assert [text for text in messages if "mine: 2 judgements" in text]


def test_defects_of_a_folder_of_beir_are_skipped_if_asked(tmp_path, messages):
    judged = {"q1": {"d1": 1}, "q2": {"gone": 1}}
    write_beir(tmp_path / "b", {"q1": "1?", "q2": "2?"}, {"d1": "one", "d2": "two"}, judged)
    with (tmp_path / "b" / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "d1", "text": "one again"}\n')
    source = {"kind": "beir", "path": "b", "languages": ["en"]}

    def load(**keys):
        return TaskSpec.model_validate({"name": "mine", "source": source | keys}).in_folder(tmp_path).load()

    with pytest.raises(DataError, match=r"'d1' is repeated.*skip: \[duplicates\]"):
        load(skip=["dangling"])
    with pytest.raises(DataError, match="'gone'"):
        load(skip=["duplicates"])
    collection = load(skip=["dangling", "duplicates"])
    assert [document.text for document in collection.documents] == ["one", "two"]
    assert judgements(collection) == {"en-q-q1": {"en-d-d1": 1}}
    counts = [text.split(" are left out")[0] for text in messages if "skip: [" in text]
    assert counts == [
        "mine: 1 judgements of missing queries or documents",
        "mine: 1 rows with the id of an earlier row",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"judged": [("q1", "d1", 1), ("q1", "d1", 2)]}, "query 'q1' has two grades for the document 'd1'"),
        ({"judged": [("q1", None, 1)]}, "no 'query-id' or no 'corpus-id'"),
        ({"documents": [("d1", "one"), ("d1", "two")]}, "the id 'd1' is repeated"),
    ],
)
def test_damaged_configurations_are_refused(tmp_path, monkeypatch, change, message):
    if "documents" in change:
        monkeypatch.setattr("hbt_bench.data.repository.records.read_hub", repeated(change["documents"]))
    write(tmp_path / "data", {"en": ("en", "en")}, change.get("judged", JUDGED))
    with pytest.raises(DataError, match=message):
        task(tmp_path, languages=["en"]).load()


def repeated(documents):
    """Return a reader that has these documents in the place of the corpus."""
    read = records.read_hub

    def rows(source, revision, config, *arguments, **options):
        if not config.endswith("corpus"):
            return read(source, revision, config, *arguments, **options)
        return [Row({"_id": key, "text": text}, f"corpus:{row}") for row, (key, text) in enumerate(documents)]

    return rows


def test_repeated_documents_are_skipped_if_asked(tmp_path, monkeypatch):
    documents = [("d1", "one"), ("d1", "again"), ("d2", "two")]
    monkeypatch.setattr("hbt_bench.data.repository.records.read_hub", repeated(documents))
    write(tmp_path / "data", {"en": ("en", "en")})
    collection = task(tmp_path, languages=["en"], skip=["duplicates"]).load()
    assert [document.text for document in collection.documents] == ["one", "two"]


def test_pairs_without_a_configuration_are_an_error(tmp_path):
    write(tmp_path / "data", {"de": ("de", "de")})
    spec = task(tmp_path, parallel="queries", config="{query_language}-{language}")
    with pytest.raises(DataError, match="no configuration of the form"):
        spec.load()


def test_only_split_is_read(tmp_path):
    write(tmp_path / "data", {"en": ("en", "en")})
    assert len(task(tmp_path, languages=["en"], split="dev").load().queries) == 2
