"""Labels of rows such as ``en-de``: read as two languages, or as a locale, if that is certain, else refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from hbt_bench.cli.main import run
from hbt_bench.data.language_pairs import LabelForm, pair_splits
from hbt_bench.languages import is_official
from hbt_bench.tasks.folders import Folder
from hbt_bench.tasks.pair_labels import PairLabels
from hbt_bench.tasks.schema import ColumnsSpec

FORM = "{query_language}-{language}"
BACK = "{language}-{query_language}"


@pytest.fixture(autouse=True)
def _working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def row(lang, query, passage, **fields):
    return {"lang": lang, "query": query, "passage": passage, **fields}


def draft(rows, *arguments):
    """Draft a task; return its source, and the judged pairs as languages and texts."""
    Path("data.jsonl").write_text("".join(json.dumps(fields) + "\n" for fields in rows), encoding="utf-8")
    assert run(["tasks", "new", "demo", "--from", "data.jsonl", "--overwrite", *arguments]) == 0
    path = Path("demo.yaml")
    collection = Folder.read(path).specs["demo"].load()
    documents = {document.id: document for document in collection.documents}
    pairs = {
        (query.language, documents[key].language, query.text, documents[key].text)
        for number, query in enumerate(collection.queries)
        for key in collection.relevant(number)
    }
    return yaml.safe_load(path.read_text())["source"], pairs


@pytest.mark.parametrize(
    ("rows", "form"),
    [
        # no label is a locale: ZH and EN are not regions
        ([row("en-zh", "sea?", "hai"), row("zh-en", "bing?", "ice")], FORM),
        ([row("en>de", "sea?", "Meer"), row("en>fr", "sun?", "soleil")], FORM.replace("-", ">")),
        ([row("en_de", "sea?", "Meer"), row("de_en", "Eis?", "ice")], FORM.replace("-", "_")),
        ([row("zh_Hant-en", "海?", "sea"), row("en-zh_Hant", "ice?", "冰")], FORM),
        # the scripts show the languages and their order, for the label without a sign too
        ([row("en-ru", "sea?", "море"), row("en-es", "sun?", "sol")], FORM),
        ([row("en-ru", "море?", "sea")], BACK),
        # English in Germany and French in Germany do not share texts
        ([row("en-de", "sea?", "Meer"), row("fr-de", "mer?", "Meer")], FORM),
        ([row("en-de", "Meer?", "sea"), row("fr-de", "Meer?", "mer")], BACK),
        # another column has the language of the documents, or of the queries
        ([row("en-de", "sea?", "Meer", doc_lang="de")], FORM),
        ([row("en-de", "Meer?", "sea", query_lang="de")], BACK),
    ],
)
def test_certain_pairs_are_read(rows, form, capsys):
    source, pairs = draft(rows)
    assert source["columns"]["language_form"] == form
    expected = set()
    for fields in rows:
        first, second = re.split("[->]|(?<=^..)_(?=..$)", fields["lang"])
        codes = [code.replace("_", "-") for code in (first, second)][:: -1 if form == BACK else 1]
        expected.add((*codes, fields["query"], fields["passage"]))
    assert pairs == expected
    assert f"'lang' of data.jsonl are pairs of languages, read as {form}, because" in capsys.readouterr().err


@pytest.mark.parametrize(
    "rows",
    [
        [row("en-de", "sea?", "Meer"), row("en-fr", "sun?", "soleil")],
        [row("en-de", "sea?", "Meer"), row("en-fr", "sea?", "mer")],  # shared English queries: in two markets, or pairs
        [row("EN-DE", "sea?", "Meer")],
        [row("en-ES", "sea?", "mar"), row("en-FR", "sea?", "mer")],
        [row("en", "sea?", "sea"), row("en", "ice?", "ice"), row("en-de", "sun?", "Sonne")],
        [row("pt-BR", "mar?", "mar"), row("en-zh", "a?", "b"), row("en-zh", "c?", "d")],  # a locale, and pairs
        [row("en-ru", "sea?", "море"), row("es-ru", "море?", "mar")],  # the signs contradict each other
    ],
)
def test_doubtful_labels_are_refused(rows, capsys):
    Path("data.jsonl").write_text("".join(json.dumps(fields) + "\n" for fields in rows), encoding="utf-8")
    assert run(["tasks", "new", "demo", "--from", "data.jsonl"]) == 3
    err = capsys.readouterr().err
    assert "the labels in 'lang' of data.jsonl may be locales or pairs of languages, for example" in err
    assert f"use --columns 'language_form={FORM}' for pairs" in err
    assert "'language_form={language}' for locales" in err
    assert len(err.splitlines()) == 1


def test_stated_form_decides():
    rows = [row("en-de", "sea?", "Meer"), row("en-fr", "sun?", "soleil")]
    source, pairs = draft(rows, "--columns", f"language_form={FORM}")
    assert (source["languages"], source["parallel"]) == (["de", "en", "fr"], False)
    assert pairs == {("en", "de", "sea?", "Meer"), ("en", "fr", "sun?", "soleil")}
    assert Folder.read(Path("demo.yaml")).specs["demo"].modes == ("cross", "multi")
    source, pairs = draft(rows, "--columns", f"language_form={BACK}")
    assert pairs == {("de", "en", "sea?", "Meer"), ("fr", "en", "sun?", "soleil")}
    source, pairs = draft(rows, "--columns", "language_form={language}")
    assert source["languages"] == {"en-DE": "en-de", "en-FR": "en-fr"}
    assert "language_form" not in source["columns"]
    assert pairs == {("en-DE", "en-DE", "sea?", "Meer"), ("en-FR", "en-FR", "sun?", "soleil")}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["pt-BR", "zh-TW", "en-US"], {"pt": "pt-BR", "zh-Hant": "zh-TW", "en": "en-US"}),
        (["pt-br", "pt-pt"], {"pt-BR": "pt-br", "pt-PT": "pt-pt"}),
        (["de-de", "fr-fr", "en-gb"], {"de": "de-de", "fr": "fr-fr", "en": "en-gb"}),
        (["fr-CA", "fr-BE", "en-IN"], {"fr-CA": "fr-CA", "fr-BE": "fr-BE", "en": "en-IN"}),
        (["jv-ID", "sl-SL", "sq-AL", "nb-NO"], {"jv": "jv-ID", "sl": "sl-SL", "sq": "sq-AL", "no": "nb-NO"}),  # MASSIVE
        (["zh-yue", "zh-Hans-CN", "es-419"], {"yue": "zh-yue", "zh": "zh-Hans-CN", "es": "es-419"}),
        (["en-RU", "es-MX"], {"en": "en-RU", "es": "es-MX"}),
    ],
)
def test_locales_are_read_as_before(labels, expected):
    source, pairs = draft([row(label, f"{label}?", label) for label in labels])
    assert source["languages"] == dict(sorted(expected.items()))
    assert "language_form" not in source["columns"]
    assert pairs == {(code, code, f"{label}?", label) for code, label in expected.items()}


def test_script_shows_a_locale():
    source, _ = draft([row("en-ru", "sea?", "the sea"), row("en-ru", "ice?", "the ice")])
    assert source["languages"] == {"en": "en-ru"}


def test_ids_of_pairs_are_questions_or_rows(capsys):
    """An id that several pairs share is a question, unless it has two queries in a language."""
    rows = [row("en-zh", "sea?", "hai", id=1), row("en-ja", "sea?", "umi", id=1)]
    source, _ = draft(rows)
    assert (source["columns"]["id"], source["parallel"]) == ("id", True)
    rows[1]["query"] = "ice?"
    source, pairs = draft(rows)
    assert source["parallel"] is False
    assert pairs == {("en", "zh", "sea?", "hai"), ("en", "ja", "ice?", "umi")}
    assert "0 of 1 ids occur in several languages, and 1 have several queries in a language" in capsys.readouterr().err


def test_row_ids_do_not_split_a_query_of_pairs(capsys):
    rows = [row(f"en-{code}", "sea?", code, id=number) for number, code in enumerate(["zh", "ja", "ko"])]
    source, pairs = draft(rows)
    assert "id" not in source["columns"]
    assert pairs == {("en", code, "sea?", code) for code in ("zh", "ja", "ko")}
    assert len(Folder.read(Path("demo.yaml")).specs["demo"].load().queries) == 1
    assert "so it is the id of a row" in capsys.readouterr().err


def test_rows_of_one_language_may_stand_beside_pairs():
    source, pairs = draft([row("en", "sea?", "sea"), row("zh", "bing?", "bing"), row("en-zh", "sun?", "ri")])
    assert source["languages"] == ["en", "zh"]
    assert pairs == {("en", "en", "sea?", "sea"), ("zh", "zh", "bing?", "bing"), ("en", "zh", "sun?", "ri")}


def test_questions_of_one_language_may_have_parallel_documents():
    draft([row(f"en-{code}", f"{key}?", f"{code} {key}", id=key) for key in (1, 2) for code in ("zh", "ja")])
    assert run(["tasks", "validate", "demo.yaml"]) == 0


def test_pair_with_an_unknown_language_is_left_out(capsys):
    _, pairs = draft([row("en-zh", "a?", "b"), row("en-zh", "c?", "d"), row("other", "e?", "f")])
    assert pairs == {("en", "zh", "a?", "b"), ("en", "zh", "c?", "d")}
    assert "1 row is left out, because the language is unknown or repeated: 'other' (1)" in capsys.readouterr().err


def test_task_file_without_form_names_the_key(capsys):
    draft([row("en-zh", "a?", "b"), row("zh-en", "c?", "d")])
    text = Path("demo.yaml").read_text().replace(f", language_form: '{FORM}'", "").replace("\nmodes:", "\n#")
    assert "language_form" not in text
    Path("demo.yaml").write_text(text)
    assert run(["tasks", "validate", "demo.yaml"]) == 3
    assert f"if they are pairs of languages, set `language_form: '{FORM}'` in columns" in capsys.readouterr().out


def test_forms_and_their_splits():
    assert str(LabelForm.parse(BACK)) == BACK
    assert LabelForm.parse("{language}") is None
    assert list(LabelForm("-").split("zh-Hant-en")) == [("zh", "Hant-en"), ("zh-Hant", "en")]
    assert LabelForm("-", 1).codes("de-en", {"en": "en", "de": "de"}) == ("en", "de")
    assert list(pair_splits("pt-BR-en")) == [("pt-BR", "-", "en")]
    assert [list(pair_splits(label)) for label in ("en2de", "en -> de", "en-US", "German")] == [
        [("en", "2", "de")],
        [("en", " -> ", "de")],
        [],
        [],
    ]
    for text in ("en-de", "{query_language}", "{query_language}{language}", "{language}-{language}", "x{language}"):
        with pytest.raises(ValueError, match="is not a form of labels"):
            LabelForm.parse(text)
    assert (is_official("pt", "BR"), is_official("no", "NO"), is_official("en", "DE")) == (True, True, False)
    assert PairLabels.detect({"en": 3, "de-AT": 1}) is None


def test_form_needs_a_column(capsys):
    Path("data.jsonl").write_text(json.dumps({"query": "a", "passage": "b"}))
    for form, message in ((FORM, "needs the column with the labels"), ("en-de", "is not a form of labels")):
        columns = ["--columns", f"language_form={form}"]
        assert run(["tasks", "new", "demo", "--from", "data.jsonl", "--language", "en", *columns]) == 2
        assert message in capsys.readouterr().err


def test_columns_without_form_keep_their_keys():
    """Finished jobs of studies have addresses that hash these keys."""
    assert "language_form" not in ColumnsSpec(query="q", document="d").model_dump_json()
    with pytest.raises(ValueError, match="language_form is for the column `language`"):
        ColumnsSpec(query="q", document="d", language_form=FORM)
