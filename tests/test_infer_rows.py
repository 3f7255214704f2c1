"""`hbt-bench tasks new` on odd tables: ids, languages and columns as exports write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from hbt_bench.cli.main import run
from hbt_bench.data.records import Row
from hbt_bench.tasks.fields import count_labels, name_of, paths_by_language
from hbt_bench.tasks.folders import Folder

#: Two questions in two languages.
ROWS = [
    {"id": number, "lang": code, "question": f"{code} question {number}", "answer": f"{code} answer {number}"}
    for number in (1, 2)
    for code in ("en", "de")
]
FLAT = {"id": "id", "language": "lang", "query": "question", "document": "answer"}


@pytest.fixture(autouse=True)
def _working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def new(name, content, *arguments):
    """Write a data file, draft a task, and return its source and its collection."""
    if isinstance(content, list):
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
    Path(name).write_text(content, encoding="utf-8", newline="")
    assert run(["tasks", "new", "demo", "--from", name, "--overwrite", *arguments]) == 0
    path = Path("demo.yaml")
    return yaml.safe_load(path.read_text())["source"], Folder.read(path).specs["demo"].load()


def changed(**functions):
    """Return the rows with fields changed by functions of their values."""
    return [{**row, **{key: change(row[key]) for key, change in functions.items()}} for row in ROWS]


# Ids


@pytest.mark.parametrize(
    "ids",
    [
        lambda row: float(row["id"]),
        lambda row: f"{row['id']}.0",
        lambda row: row["id"] if row["lang"] == "en" else float(row["id"]),
        lambda row: str(row["id"]) if row["lang"] == "en" else f"{row['id']}.0",
    ],
)
def test_whole_numbers_are_the_same_id(ids):
    source, collection = new("data.jsonl", [{**row, "id": ids(row)} for row in ROWS])
    assert (source["columns"], source["parallel"]) == (FLAT, True)
    assert collection.relevant(0) == {"de-d-1": 1, "en-d-1": 1}
    assert collection.parallel


def test_row_without_id_is_left_out_and_counted(capsys):
    extra = [{**ROWS[0], "id": None}, {**ROWS[1], "id": float("nan")}]
    _, collection = new("data.jsonl", [*ROWS, *extra])
    assert len(collection.queries) == 4
    assert "demo: 2 rows have no id and are left out (data.jsonl:5)" in capsys.readouterr().err


def test_floats_of_a_column_with_a_missing_value():
    text = "id,lang,question,answer\n1.0,en,a,b\n1.0,de,c,d\n2.0,en,e,f\n2.0,de,g,h\n,en,i,j\n"
    source, collection = new("data.csv", text)
    assert (source["columns"], source["parallel"]) == (FLAT, True)
    assert [query.id for query in collection.queries] == ["de-q-1", "de-q-2", "en-q-1", "en-q-2"]


# Languages


def test_row_without_language_is_left_out_and_counted(capsys):
    source, collection = new("data.jsonl", [{**ROWS[0], "id": 3, "lang": None}, *ROWS, {**ROWS[0], "lang": ""}])
    assert (source["columns"], source["languages"], source["parallel"]) == (FLAT, ["de", "en"], True)
    assert len(collection.queries) == 4
    assert "demo: 2 rows have no language and are left out (data.jsonl:1)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spelling", "labels"),
    [
        (str.upper, {"de": "DE", "en": "EN"}),
        ({"en": "English", "de": "German"}.get, {"de": "German", "en": "English"}),
        ({"en": "en-US", "de": "de_AT"}.get, {"de": "de_AT", "en": "en-US"}),
    ],
)
def test_languages_are_found_in_any_spelling(spelling, labels):
    source, collection = new("data.jsonl", changed(lang=spelling))
    assert (source["columns"], source["languages"], source["parallel"]) == (FLAT, labels, True)
    assert collection.languages == ("de", "en")


def test_unknown_codes_of_the_first_rows_are_counted(capsys):
    unknown = [{**ROWS[0], "id": number, "lang": "other"} for number in range(10, 310)]
    known = [{**row, "id": 1000 + row["id"] + 2 * copy} for row in ROWS for copy in range(100)]
    source, collection = new("data.jsonl", unknown + known)
    assert source["columns"] == FLAT
    assert len(collection.queries) == 400
    assert "300 rows are left out" in capsys.readouterr().err


def test_nested_language_and_id(capsys):
    rows = [
        {"about": {"lang": row["lang"], "id": row["id"]}, "question": row["question"], "answer": row["answer"]}
        for row in ROWS
    ]
    source, _ = new("data.jsonl", rows, "--columns", "language=about.lang,id=about.id")
    assert source["parallel"] is True
    assert "2 of 2 ids occur in several languages" in capsys.readouterr().err


# Columns of several languages


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (["question_en", "question_de", "answer_en", "answer_de"], ("question_{language}", "answer_{language}")),
        (
            ["Question (EN)", "Question (DE)", "Answer (EN)", "Answer (DE)"],
            ("Question ({language})", "Answer ({language})"),
        ),
        (["en_query", "de_query", "en_passage", "de_passage"], ("{language}_query", "{language}_passage")),
        (["question.en", "question.de", "context.en", "context.de"], ("question.{language}", "context.{language}")),
        (
            ["question-eng_Latn", "question-deu_Latn", "text-eng_Latn", "text-deu_Latn"],
            ("question-{language}", "text-{language}"),
        ),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_language_in_names_of_columns(names, columns, ending):
    values = [["who", "wer", "she", "sie"], ["where", "wo", "here", "hier"]]
    if ending == "csv":
        content = "\n".join(",".join(row) for row in [names, *values])
    else:
        content = [dict(zip(names, row, strict=True)) for row in values]
    source, collection = new(f"data.{ending}", content)
    assert (source["columns"]["query"], source["columns"]["document"]) == columns
    assert [query.text for query in collection.queries] == ["wer", "wo", "who", "where"]
    assert {document.text for document in collection.documents} == {"sie", "hier", "she", "here"}
    assert {len(collection.relevant(row)) for row in range(4)} == {2}
    named, _ = new(f"data.{ending}", content, "--columns", "query={},document={}".format(*columns))
    assert named["columns"] == source["columns"]


def test_other_columns_are_not_languages(capsys):
    names = "question_id,question_en,question_de,question_no,question_fr,answer_en,answer_de"
    source, _ = new("data.csv", f"{names}\nq1,who is,wer ist,17,qui,she,sie\n")
    assert source["languages"] == ["de", "en"]
    assert source["columns"] == {"id": "question_id", "query": "question_{language}", "document": "answer_{language}"}
    assert (
        "'fr': left out, because not all of question_{language}, answer_{language} have it" in capsys.readouterr().err
    )
    source, _ = new("flat.csv", "id,en,de,no\n1,good day,guten Tag,17\n2,bye,auf Wiedersehen,18\n")
    assert source["languages"] == ["de", "en"]


def test_sentences_by_language():
    source, collection = new("data.tsv", 'text_en\ttext_pt-BR\n"Good day\tBom dia\nBye\tTchau\n')
    assert (source["kind"], source["quoting"], source["columns"]) == ("bitext", "none", {"text": "text_{language}"})
    assert source["languages"] == {"en": "en", "pt": "pt-BR"}
    assert [query.text for query in collection.queries] == ['"Good day', "Bye", "Bom dia", "Tchau"]
    source, _ = new("pairs.txt", "en\tde\nGood day\tGuten Tag\n")
    assert (source["kind"], source["columns"]) == ("bitext", {"text": "{language}"})


def test_names_without_roles_are_listed(capsys):
    Path("data.csv").write_text("id,title_en,title_de,note_en,note_de\n1,a,b,c,d\n")
    assert run(["tasks", "new", "demo", "--from", "data.csv"]) == 2
    err = capsys.readouterr().err
    assert "by language title_{language}, note_{language})" in err
    assert "if the first line is a row, name all columns with --header" in err
    source, _ = new(
        "data.csv", Path("data.csv").read_text(), "--columns", "query=title_{language},document=note_{language}"
    )
    assert source["languages"] == ["de", "en"]


def test_paths_and_labels():
    rows = [
        Row({"texts": {"en": "a b", "de": "c d"}, "question_en": "q", "question_zh_Hans": "r", "score": "3"}, "d:1")
    ]
    assert paths_by_language(rows) == ["texts.{language}", "question_{language}"]
    assert count_labels(rows, "texts.{language}") == {"en": 1, "de": 1}
    assert count_labels(rows, "question_{language}") == {"en": 1, "zh_Hans": 1}
    assert [name_of(path) for path in ("question_{language}", "{language}.text", "a.q ({language})", "{language}")] == [
        "question",
        "text",
        "q",
        "",
    ]


# Tables


def test_table_without_header(capsys):
    text = "7\ten\twhat is it\tthis\n8\ten\twho\tshe\n"
    Path("data.tsv").write_text(text)
    assert run(["tasks", "new", "demo", "--from", "data.tsv"]) == 2
    assert "if the first line is a row, name all columns with --header" in capsys.readouterr().err
    source, collection = new("data.tsv", text, "--header", "id,lang,question,answer")
    assert source["header"] == ["id", "lang", "question", "answer"]
    assert [query.id for query in collection.queries] == ["en-q-7", "en-q-8"]


def test_conventions_of_a_table_are_options():
    text = 'id,lang,question,answer\n1,en,"open,x\n2,en,c,d\n3,en,40",y\n'
    source, collection = new("data.csv", text, "--quoting", "none")
    assert source["quoting"] == "none"
    assert len(collection.queries) == 3
    source, _ = new("data.tsv", "lang#question#answer\nen#a#b\n", "--delimiter", "#")
    assert source["delimiter"] == "#"
    assert run(["tasks", "new", "demo", "--from", "data.tsv", "--delimiter", "##"]) == 2


def test_nothing_is_pinned_from_a_doubtful_table(capsys):
    Path("data.csv").write_text('id,lang,question,answer\n1,en,"open,x\n2,en,c,d\n3,en,40",y\n')
    assert run(["tasks", "new", "demo", "--from", "data.csv"]) == 3
    assert "data.csv: the lines 2 to 4 would be one row" in capsys.readouterr().err
    assert not Path("demo.yaml").exists()


def test_scripts_in_names_are_part_of_the_label():
    codes = {"ace": "ace_Latn", "ace-Arab": "ace_Arab", "ar": "arb_Arab", "en": "eng_Latn"}
    rows = [{"id": 1, **{f"sentence_{label}": f"{label} text" for label in codes.values()}}]
    source, collection = new("data.jsonl", rows)
    assert (source["kind"], source["languages"]) == ("bitext", codes)
    assert source["columns"] == {"id": "id", "text": "sentence_{language}"}
    assert len(collection.queries) == 4


def test_sentences_are_an_assumption(capsys):
    new("data.jsonl", [{"queries": {"en": "who?", "de": "wer?"}, "answers": {"en": ["me"], "de": ["ich"]}}])
    assert "queries.{language} are read as parallel sentences" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "advice"),
    [
        ("data.json", '[{"query": "a"}]', "jq -c '.[]'"),
        ("data.jsonl", '{\n "query": "a"\n}', "each line must be an object"),
        ("data.parquet", "PAR1", "read_parquet"),
    ],
)
def test_other_files_can_be_converted(name, content, advice, capsys):
    Path(name).write_text(content)
    assert run(["tasks", "new", "demo", "--from", name, "--language", "en"]) == 3
    assert advice in capsys.readouterr().err


def test_marks_and_blanks_around_codes_are_dropped():
    marks = {"en": ("\u200een", "en "), "de": ("de\u200f", "\ufeff\u202ade\u202c")}
    rows = [{**row, "lang": marks[row["lang"]][row["id"] - 1]} for row in ROWS]
    source, collection = new("data.jsonl", rows)
    assert (source["languages"], source["parallel"]) == (["de", "en"], True)
    assert [query.id for query in collection.queries] == ["de-q-1", "de-q-2", "en-q-1", "en-q-2"]
    Path("demo.yaml").write_text(Path("demo.yaml").read_text().replace("[de, en]", '{de: " de", en: "\u200een"}'))
    assert len(Folder.read(Path("demo.yaml")).specs["demo"].load().queries) == 4


def test_mark_without_a_code_is_no_language(capsys):
    source, collection = new("data.jsonl", [{**ROWS[0], "lang": "\u200f"}, {**ROWS[1], "lang": "de"}])
    assert (source["columns"]["language"], collection.languages) == ("lang", ("de",))
    assert "1 row has no language and is left out (data.jsonl:1)" in capsys.readouterr().err


# Columns that the user names, and unused columns


def test_several_fields_form_an_id(capsys):
    rows = [{"article": "a", "number": number, "question": f"{number}?", "answer": "x"} for number in (1, 2)]
    columns = ["--columns", "id=article,id=number", "--language", "en"]
    source, collection = new("data.jsonl", rows, *columns)
    assert source["columns"]["id"] == ["article", "number"]
    assert [query.id for query in collection.queries] == ["en-q-a/1", "en-q-a/2"]
    for value in ("id=article,number", "id="):
        assert run(["tasks", "new", "other", "--from", "data.jsonl", "--columns", value]) == 2
        assert "for two fields, repeat the key, as in id=a,id=b" in capsys.readouterr().err


def test_several_fields_form_a_parallel_id():
    rows = [{**row, "article": "a", "id": row["id"]} for row in ROWS]
    source, _ = new("data.jsonl", rows, "--columns", "id=article,id=id")
    assert (source["columns"]["id"], source["parallel"]) == (["article", "id"], True)


@pytest.mark.parametrize("name", ["negative_passages", "neg", "hard_negatives", "negative_1", "Negative"])
def test_unused_negatives_are_stated(capsys, name):
    row = {"query": "q?", "positive_passages": [{"docid": "d", "text": "x"}], name: [{"docid": "e", "text": "y"}]}
    _, collection = new("data.jsonl", [row], "--language", "en")
    assert [document.id for document in collection.documents] == ["en-d-d"]
    assert f"the field '{name}' is not used: its texts are no candidates" in capsys.readouterr().err
    new("data.jsonl", [{**row, name: None}], "--language", "en")
    assert "is not used" not in capsys.readouterr().err


# A file for each language


def write_files(folder, names, number=2):
    Path(folder).mkdir(exist_ok=True)
    for name, code in names.items():
        rows = [{"id": key, "question": f"{code} {key}?", "answer": f"{code} {key}"} for key in range(number)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        if name.endswith(".csv"):
            text = "id,question,answer\n" + "".join(",".join(map(str, row.values())) + "\n" for row in rows)
        Path(folder, name).write_text(text)


def draft_folder(folder):
    assert run(["tasks", "new", "demo", "--from", folder, "--overwrite"]) == 0
    return yaml.safe_load(Path("demo.yaml").read_text())["source"], Folder.read(Path("demo.yaml")).specs["demo"].load()


@pytest.mark.parametrize("name", ["{language}.jsonl", "test.{language}.jsonl", "{language}_dev.csv"])
def test_file_for_each_language(name):
    write_files("data", {name.replace("{language}", label): label for label in ("eng_Latn", "de", "pt-BR")})
    source, collection = draft_folder("data")
    assert (source["path"], source["parallel"]) == (f"data/{name}", True)
    assert source["languages"] == {"de": "de", "en": "eng_Latn", "pt": "pt-BR"}
    assert sorted(source["pins"]) == sorted(
        f"data/{name}".replace("{language}", code) for code in ("de", "eng_Latn", "pt-BR")
    )
    assert [query.text for query in collection.queries if query.language == "pt"] == ["pt-BR 0?", "pt-BR 1?"]
    assert collection.relevant(0) == {"de-d-0": 1, "en-d-0": 1, "pt-d-0": 1}


def test_other_files_of_a_folder_are_named(capsys):
    write_files("data", {"en.jsonl": "en", "de.jsonl": "de", "notes.jsonl": "x", "README.md": "x"})
    draft_folder("data")
    err = capsys.readouterr().err
    assert "1 file is left out, because the language is unknown or repeated: 'notes.jsonl' (1)" in err


def test_field_with_another_language_than_the_file_is_stated(capsys):
    Path("data").mkdir()
    for code, label in (("en", "en-US"), ("de", "fr")):
        Path("data", f"{code}.jsonl").write_text(json.dumps({"question": "q", "answer": "a", "lang": label}))
    draft_folder("data")
    err = capsys.readouterr().err
    assert "by their field 'lang', 1 rows in the file of 'de' are in 'fr', but they are read as 'de'" in err
    assert "en-US" not in err


@pytest.mark.parametrize(
    ("names", "code", "message"),
    [
        (["en-de.jsonl", "en-fr.jsonl"], 3, "data may be locales or pairs of languages, for example 'en-de'"),
        (["en-zh.jsonl", "en-ja.jsonl"], 3, "data may be locales or pairs of languages, for example 'en-ja'"),
        (["a.en.jsonl", "a.de.jsonl", "b.en.jsonl", "b.de.jsonl"], 2, "data has several files for each language"),
        (["train.jsonl", "test.jsonl"], 2, "data is not a folder in BEIR's layout"),
        (["en.txt", "de.txt"], 2, "data is not a folder in BEIR's layout"),
    ],
)
def test_folders_that_leave_a_doubt_are_refused(names, code, message, capsys):
    write_files("data", dict.fromkeys(names, "x"))
    assert run(["tasks", "new", "demo", "--from", "data"]) == code
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
