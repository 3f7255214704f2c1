"""`tasks new` on folders in BEIR's layout: split, languages and translations are certain, stated or asked for."""

from __future__ import annotations

import json
import re

import pytest

from hbt_bench.checks.task_file import Validation
from hbt_bench.cli.main import run
from hbt_bench.data.readers import SharedIds
from hbt_bench.errors import UsageError
from hbt_bench.tasks.draft import TaskDraft
from hbt_bench.tasks.folders import Folder
from hbt_bench.tasks.infer_beir import infer_beir
from tests.factories import write_beir

ONE = ({"q": "a"}, {"d": "x", "e": "y"}, {"q": {"d": 1}})


def folder(path, splits=("test",), parts=ONE):
    for split in splits:
        write_beir(path, *parts, split)
    return path


def new(tmp_path, **options):
    """Draft a task for the folder b, and return its definition, its collection and the notes."""
    draft = TaskDraft.from_data("mine", tmp_path / "b", tmp_path, **options)
    spec = Folder.read(draft.write(overwrite=True)).specs["mine"]
    return spec, spec.load(), " | ".join(draft.notes)


# Splits


@pytest.mark.parametrize(
    ("splits", "expected", "note"),
    [
        (
            ["test", "dev", "train"],
            "test",
            "the judgements of the split 'test' are read; for those of dev or train, use",
        ),
        (["train", "validation"], "validation", "the split 'validation' are read; for those of train, use --split"),
        (["train", "dev"], "dev", "the split 'dev' are read; for those of train, use --split"),
        (["train"], "train", "the split 'train' are read, on which models may have been trained"),
        (["test"], "test", ""),
        (["qrels"], "qrels", ""),
    ],
)
def test_split_is_chosen_and_stated(tmp_path, splits, expected, note):
    folder(tmp_path / "b", splits)
    spec, _, notes = new(tmp_path, language="en")
    assert spec.source.split == expected
    assert note in notes
    assert bool(note) == ("split" in notes)


def test_split_of_the_user(tmp_path, monkeypatch, capsys):
    folder(tmp_path / "b", ["train", "dev"])
    monkeypatch.chdir(tmp_path)
    assert run(["tasks", "new", "mine", "--from", "b", "--language", "en", "--split", "train"]) == 0
    assert Folder.read(tmp_path / "mine.yaml").specs["mine"].source.split == "train"
    assert run(["tasks", "new", "other", "--from", "b", "--language", "en", "--split", "test"]) == 2
    assert (
        "the split 'test' is not in every folder (b has dev, train): name a split with --split"
        in capsys.readouterr().err
    )


def test_unclear_split_is_asked_for(tmp_path):
    folder(tmp_path / "b", ["a", "b"])
    with pytest.raises(UsageError, match="judgements of the splits a, b: name a split with --split"):
        infer_beir(tmp_path / "b", "b", "en")


def test_folders_need_a_split_in_common(tmp_path):
    folder(tmp_path / "b" / "en", ["test", "dev"])
    folder(tmp_path / "b" / "de", ["dev"])
    source = infer_beir(tmp_path / "b", "b", None)
    assert source.source["split"] == "dev"
    assert "for those of test, use --split" in source.notes[0]
    folder(tmp_path / "b" / "sw", ["train"])
    with pytest.raises(UsageError, match=r"no split is in every folder \(de has dev; en has dev, test; sw has train\)"):
        infer_beir(tmp_path / "b", "b", None)


# Translations


def translated(tmp_path, queries=("q1", "q2", "q3"), other=None, other_qrels=None):
    """Write English and German folders with some ids of queries; `other` are the German ids."""
    for code, keys in (("en", queries), ("de", other or queries)):
        texts = {key: f"{key} {code}" for key in keys}
        qrels = {key: {f"d-{key}": 1} for key in keys}
        if code == "de" and other_qrels:
            qrels |= other_qrels
        write_beir(tmp_path / "b" / code, texts, {f"d-{key}": f"answer {key} {code}" for key in keys}, qrels)


def test_equal_ids_and_judgements_are_translations(tmp_path):
    translated(tmp_path)
    spec, collection, notes = new(tmp_path)
    assert (spec.source.parallel, spec.modes) == ("documents", ("mono", "cross", "multi"))
    assert collection.relevant(0) == {"de-d-d-q1": 1, "en-d-d-q1": 1}
    assert "3 of 3 query ids occur in several folders, all with the same relevant documents" in notes
    assert "write `parallel: none`" in notes


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"other": ("q1", "x2", "x3")}, "1 of 5 query ids occur in several folders, too few for translations"),
        (
            {"other_qrels": {"q2": {"d-q1": 1}}},
            "only 2 of them with the same relevant documents, .* `parallel: queries`",
        ),
        ({"other_qrels": {"q2": {"d-q2": 0}}}, "only 2 of them with the same relevant documents"),
    ],
)
def test_other_folders_are_independent(tmp_path, options, note):
    translated(tmp_path, **options)
    spec, _, notes = new(tmp_path)
    assert (spec.source.parallel, spec.modes) == ("none", ("mono", "multi"))
    assert re.search(note, notes)


def test_undeclared_translations_are_a_warning(tmp_path):
    translated(tmp_path)
    source = {"kind": "beir", "path": "b/{language}", "languages": ["de", "en"], "parallel": "none"}
    path = tmp_path / "mine.yaml"

    def check(**keys):
        path.write_text(json.dumps({"name": "mine", "source": {**source, **keys}}))
        validation = Validation(path)
        validation._schema()
        validation._data()
        return validation._checked("parallel ids", validation._parallel, "collection")

    found = check()
    assert found.status == "warning"
    assert found.message == (
        "3 of 3 query ids occur in several languages with the same relevant documents; if equal ids are translations, "
        "set `parallel: documents` in the source"
    )
    assert check(parallel="documents").status == "passed"
    translated(tmp_path, other=("x1", "x2", "q3"))
    assert check().status == "passed"


# Languages of rows


def rows(folder, queries, corpus, qrels, field="lang"):
    """Write a folder whose rows are (id, language)."""

    def entries(pairs):
        return {key: {"text": f"{key} {code}", **({field: code} if code else {})} for key, code in pairs}

    write_beir(folder, entries(queries), entries(corpus), qrels)


def test_language_is_taken_from_the_rows(tmp_path):
    rows(tmp_path / "b", [("q", "deu_Latn")], [("d", "deu_Latn"), ("e", "deu_Latn")], {"q": {"d": 1}})
    spec, collection, notes = new(tmp_path)
    assert spec.source.codes == {"de": "de"}
    assert collection.languages == ("de",)
    assert "all rows are read as de, by their field 'lang'; to change this, use --language" in notes
    assert new(tmp_path, language="en")[1].languages == ("en",)


def test_rows_of_several_languages(tmp_path):
    """No judgement crosses languages, so the task has no cross-lingual mode."""
    corpus = [("d", "en"), ("e", "de"), ("f", "Klingon")]
    rows(tmp_path / "b", [("q", "en"), ("r", "de")], corpus, {"q": {"d": 1, "f": 0}, "r": {"e": 1}}, "language")
    spec, collection, notes = new(tmp_path)
    assert (spec.source.language, spec.source.parallel, spec.modes) == ("language", "none", ("mono", "multi"))
    assert [query.language for query in collection.queries] == ["de", "en"]
    assert "the language of each row is that in its field 'language'" in notes
    assert "1 row is left out, because the language is unknown or repeated: 'Klingon' (1)" in notes
    assert new(tmp_path, language="en")[1].languages == ("en",)


def test_queries_without_language_need_the_option(tmp_path):
    rows(tmp_path / "b", [("q", "")], [("d", "sw"), ("e", "yo")], {"q": {"d": 1, "e": 1}})
    with pytest.raises(UsageError, match=r"queries\.jsonl has rows without 'lang': .* --language en"):
        infer_beir(tmp_path / "b", "b", None)
    spec, collection, _ = new(tmp_path, language="en")
    assert (spec.source.query_language, spec.modes) == ("en", ("cross", "multi"))
    assert collection.relevant(0) == {"sw-d-d": 1, "yo-d-e": 1}


def test_equal_ids_of_rows_are_translations(tmp_path):
    (tmp_path / "b" / "qrels").mkdir(parents=True)
    for name in ("corpus", "queries"):
        lines = [json.dumps({"_id": "1", "text": f"{name} {code}", "lang": code}) for code in ("en", "de")]
        (tmp_path / "b" / f"{name}.jsonl").write_text("\n".join(lines))
    (tmp_path / "b" / "qrels" / "test.tsv").write_text("1\t1\t1\n")
    spec, collection, notes = new(tmp_path)
    assert (spec.source.parallel, spec.modes) == ("documents", ("mono", "cross", "multi"))
    assert collection.relevant(0) == {"de-d-1": 1, "en-d-1": 1}
    assert "equal ids are treated as translations (parallel: documents)" in notes


def test_folder_without_language_is_asked_for(tmp_path):
    folder(tmp_path / "b")
    with pytest.raises(UsageError, match=r"the language of .* is unknown: set it, for example with --language en"):
        infer_beir(tmp_path / "b", "b", None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="empty is not a folder in BEIR's layout"):
        infer_beir(tmp_path / "empty", "empty", "en")


@pytest.mark.parametrize(
    ("labels", "place", "advice"),
    [
        (("en-de", "en-fr"), "lang", "for a locale, map it in a task file, as in `languages: {en-DE: en-de}`"),
        (("en-zh",), "lang", "into a folder such as b/{query_language}-{language}\n"),
        (("en-zh",), "metadata", "into a folder such as b/{query_language}-{language}\n"),
    ],
)
def test_pairs_in_a_field_are_refused(tmp_path, monkeypatch, capsys, labels, place, advice):
    def fields(label):
        return {"text": label, "lang": label} if place == "lang" else {"text": label, "metadata": {"lang": label}}

    write_beir(tmp_path / "b", {"q": "x"}, {label: fields(label) for label in labels}, {"q": {labels[0]: 1}})
    monkeypatch.chdir(tmp_path)
    assert run(["tasks", "new", "mine", "--from", "b"]) == 3
    err = capsys.readouterr().err
    assert f"'{labels[0]}' in the field '" in err
    assert "may be a pair of languages: write the rows of each pair into a folder" in err
    assert advice in err
    other_languages = len(labels) > 1  # the option is for the queries, which have no label
    assert run(["tasks", "new", "mine", "--from", "b", "--language", "en"]) == (3 if other_languages else 0)


def test_locales_in_a_field_are_read(tmp_path):
    rows(tmp_path / "b", [("q", "pt-BR")], [("d", "pt-BR"), ("e", "en-US"), ("f", "\u200fzh-TW ")], {"q": {"d": 1}})
    spec, collection, _ = new(tmp_path)
    assert spec.source.codes == {"en": "en-US", "pt": "pt-BR", "zh-Hant": "zh-TW"}
    assert [document.language for document in collection.documents] == ["en", "pt", "zh-Hant"]


def test_folders_that_may_be_pairs_are_stated(tmp_path):
    for name, text in (("en-de", "a"), ("en-fr", "b")):
        write_beir(tmp_path / "b" / name, {text: text}, {text: text}, {text: {text: 1}})
    spec, _, notes = new(tmp_path)
    assert spec.source.codes == {"en-DE": "en-de", "en-FR": "en-fr"}
    assert "the folders are read as locales, such as 'en-de', because they share no queries or documents" in notes
    assert "if they are pairs of languages, write b/{query_language}-{language}" in notes


def test_tables_of_ms_marco(tmp_path, monkeypatch, capsys):
    (tmp_path / "b").mkdir()
    for name, text in (("collection", "1\tsea\n2\tice\n"), ("queries.train", "7\tsea?\n8\tx\n")):
        (tmp_path / "b" / f"{name}.tsv").write_text(text)
    (tmp_path / "b/qrels.train.tsv").write_text("7\t0\t1\t1\n")
    spec, collection, notes = new(tmp_path, language="en")
    assert (spec.source.split, sorted(spec.source.pins)[0]) == ("train", "b/collection.tsv")
    assert collection.relevant(0) == {"en-d-1": 1}
    assert len(collection.documents) == 2
    assert "the split 'train' are read, on which models may have been trained" in notes
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b/qrels.dev.tsv").write_text("7\t0\t1\t1\n")
    assert run(["tasks", "new", "other", "--from", "b", "--language", "en"]) == 3
    assert "b has no queries.jsonl or queries.dev.tsv, which the judgements of" in capsys.readouterr().err
    assert run(["tasks", "new", "other", "--from", "b", "--columns", "id=x"]) == 2
    assert "which has fixed columns: leave out --columns" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("versions", "counts", "certain", "likely"),
    [
        ([("a", "x"), ("a", "x"), ("b", "y"), ("b", "y")], (2, 2, 2), True, True),
        ([("a", "x"), ("a", "x"), ("b", "y"), ("b", "z"), ("c", "x"), ("c", "x")], (3, 3, 2), False, True),
        ([("a", "x"), ("a", "x"), ("b", "y")], (2, 1, 1), False, False),
        ([("a", "x"), ("b", "y")], (2, 0, 0), False, False),
    ],
)
def test_translations_by_shared_ids(versions, counts, certain, likely):
    ids = SharedIds.of((query, {document: 1, "other": 0}) for query, document in versions)
    assert tuple(ids) == counts
    assert (ids.are_translations, ids.are_likely_translations) == (certain, likely)
