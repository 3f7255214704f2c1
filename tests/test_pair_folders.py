"""Folders in BEIR's layout that are named by pairs of languages, by locales, or by a single language."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from hbt_bench.cli.main import run
from hbt_bench.errors import DataError
from hbt_bench.tasks.pair_folders import PairFolders
from hbt_bench.tasks.registry import select_tasks

#: The words of three questions and their answers in each language.
WORDS = {
    "en": ("sea", "sun", "ice"),
    "de": ("Meer", "Sonne", "Eis"),
    "zh_Hant": ("海", "日", "冰"),
    "pt-BR": ("mar", "sol", "gelo"),
}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def folder(path, queries, documents, ids="d"):
    """Write a folder with queries in a language and documents in another; each query has the answer of its number."""
    root = Path(path)
    (root / "qrels").mkdir(parents=True)
    asked = [{"_id": f"q{number}", "text": f"{word}?"} for number, word in enumerate(WORDS[queries])]
    answers = [{"_id": f"{ids}{number}", "text": f"{word}."} for number, word in enumerate(WORDS[documents])]
    for name, rows in (("queries", asked), ("corpus", answers)):
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    grades = "".join(f"q{number}\t{ids}{number}\t1\n" for number in range(3))
    (root / "qrels/test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{grades}")


def draft(data):
    """Run `tasks new`; return the source of the task file."""
    assert run(["tasks", "new", "demo", "--from", data, "--overwrite"]) == 0
    return yaml.safe_load(Path("demo.yaml").read_text())["source"]


def relevant_pairs(collection):
    """Return the languages of the judged pairs, and the numbers of their questions and answers."""
    documents = {document.id: document for document in collection.documents}
    return {
        (query.language, documents[key].language, query.text, documents[key].text)
        for row, query in enumerate(collection.queries)
        for key in collection.relevant(row)
    }


@pytest.mark.parametrize(
    ("separator", "order", "languages"),
    [("-", 1, ["en", "de"]), ("_", 1, ["en", "de"]), ("-", -1, ["de", "en"]), ("-", 1, ["zh_Hant", "en", "pt-BR"])],
)
def test_every_pair_is_read(separator, order, languages, capsys):
    for queries in languages:
        for documents in languages:
            folder(f"pairs/{separator.join((queries, documents)[::order])}", queries, documents)
    source = draft("pairs")
    names = ["{query_language}", "{language}"][::order]
    codes = {"zh_Hant": "zh-Hant", "pt-BR": "pt"}
    assert source["path"] == f"pairs/{separator.join(names)}"
    assert (source["parallel"], len(source["pins"])) == ("queries", 3 * len(languages) ** 2)
    expected = sorted(codes.get(label, label) for label in languages)
    assert sorted(source["languages"]) == expected
    assert "queries" in capsys.readouterr().err
    collection = select_tasks("demo.yaml")[0].spec.load()
    assert relevant_pairs(collection) == {
        (codes.get(queries, queries), codes.get(documents, documents), f"{question}?", f"{answer}.")
        for queries in languages
        for documents in languages
        for question, answer in zip(WORDS[queries], WORDS[documents], strict=True)
    }


def test_document_ids_may_differ_by_pair():
    for queries in ("en", "de"):
        folder(f"pairs/{queries}-en", queries, "en", ids=f"{queries}-")
    assert draft("pairs")["path"] == "pairs/{query_language}-{language}"
    [selection] = select_tasks("demo.yaml")
    assert selection.modes == ("mono", "cross", "multi")
    collection = selection.spec.load()
    assert (len(collection.queries), len(collection.documents)) == (6, 3)


def test_pairs_without_monolingual_folders_have_no_mono_mode():
    folder("pairs/en-de", "en", "de")
    folder("pairs/de-en", "de", "en")
    draft("pairs")
    assert select_tasks("demo.yaml")[0].modes == ("cross", "multi")


@pytest.mark.parametrize("names", [("pt-br", "pt-pt"), ("pt-BR", "en-US"), ("en-de", "en-fr"), ("de-de", "fr-fr")])
def test_locales_are_not_pairs(names):
    for number, name in enumerate(names):
        folder(f"data/{name}", list(WORDS)[number], list(WORDS)[number])
    assert PairFolders.detect({name: Path("data", name) for name in names}) is None
    assert draft("data")["path"] == "data/{language}"


def test_names_of_locales_and_pairs_are_pairs_if_they_share_queries():
    folder("data/en-de", "en", "de")
    folder("data/en-pt", "en", "pt-BR")  # English in Germany and in Portugal, by their names
    assert draft("data")["path"] == "data/{query_language}-{language}"


def test_other_folders_are_named(capsys):
    for queries, documents in (("en", "en"), ("de", "en"), ("de", "de")):
        folder(f"pairs/{queries}-{documents}", queries, documents)
    folder("pairs/misc", "en", "en")
    draft("pairs")
    assert "1 folder is left out, because the language is unknown or repeated: 'misc' (1)" in capsys.readouterr().err


def test_pair_without_pin_may_be_missing(messages):
    folder("pairs/en-en", "en", "en")
    folder("pairs/de-en", "de", "en")
    path = "pairs/{query_language}-{language}"
    Path("demo.yaml").write_text(
        f"name: demo\nsource: {{kind: beir, path: '{path}', languages: [en, de], parallel: none}}\n"
    )
    [selection] = select_tasks("demo.yaml")
    collection = selection.spec.load()
    assert {(queries, documents) for queries, documents, *_ in relevant_pairs(collection)} == {
        ("en", "en"),
        ("de", "en"),
    }
    assert messages == ["2 of 4 pairs have no folder, for example pairs/en-de: they are left out"]
    with pytest.raises(DataError, match="there is no folder pairs/de-de: check `path` and `languages`"):
        selection.spec.load(["de"])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("path: 'x/{query_language}', languages: [en]", "put {language} for the documents in it too"),
        (
            "path: 'x/{query_language}-{language}', languages: [en], query_language: en",
            "the query language is given twice",
        ),
    ],
)
def test_wrong_paths_of_pairs_are_refused(keys, message):
    Path("demo.yaml").write_text(f"name: demo\nsource: {{kind: beir, {keys}}}\n")
    with pytest.raises(DataError, match=message):
        select_tasks("demo.yaml")


@pytest.mark.parametrize("names", [("pt-BR", "zh_Hant", "en"), ("de",)])
def test_folders_of_locales_or_one_language_are_read(names):
    for name in names:
        folder(f"data/{name}", name, name)
    source = draft("data")
    assert source["path"] == "data/{language}"
    collection = select_tasks("demo.yaml")[0].spec.load()
    codes = {"pt-BR": "pt", "zh_Hant": "zh-Hant"}
    assert set(collection.languages) == {codes.get(name, name) for name in names}
    assert len(collection.queries) == 3 * len(names)
