"""`hbt-bench tasks new` and `validate`: draft a task from data, check it, and refuse data without a task."""

from __future__ import annotations

import hashlib
import json

import pytest
import yaml

from hbt_bench.checks.task_file import Validation
from hbt_bench.cli.main import run
from hbt_bench.tasks.folders import Folder
from hbt_bench.tasks.registry import TaskRegistry, shipped_folder

WIDE = [
    {"id": f"r{n}", "x": {c: {"question": f"{c} q{n}?", "answer": f"{c} a{n}."} for c in ("en", "sw")}} for n in (1, 2)
]
FLAT = [
    {"qid": n, "lang": code, "question": f"{code} q{n}?", "passage": f"{code} p{n}."}
    for n in (1, 2)
    for code in ("eng_Latn", "swh_Latn")
]
BITEXT = [{"id": n, "texts": {"en": f"one {n}", "de": f"eins {n}"}} for n in (1, 2, 3)]


@pytest.fixture(autouse=True)
def _working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("name", ["null", "true", "123", "no", "2024-01-01", "demo"])
def test_name_is_quoted_in_yaml(tmp_path, name):
    write(tmp_path / "data.jsonl", FLAT)
    assert run(["tasks", "new", name, "--from", "data.jsonl"]) == 0
    folder = Folder.read(tmp_path / f"{name}.yaml")
    assert (folder.problems, list(folder.specs)) == ({}, [name])
    assert folder.specs[name].title == name
    assert run(["tasks", "validate", f"{name}.yaml"]) == 0


@pytest.mark.parametrize(
    ("rows", "kind", "columns", "languages", "counts"),
    [
        (
            WIDE,
            "jsonl",
            {"id": "id", "query": "x.{language}.question", "document": "x.{language}.answer"},
            ["en", "sw"],
            (4, 4),
        ),
        (
            FLAT,
            "jsonl",
            {"id": "qid", "language": "lang", "query": "question", "document": "passage"},
            {"en": "eng_Latn", "sw": "swh_Latn"},
            (4, 4),
        ),
        (BITEXT, "bitext", {"id": "id", "text": "texts.{language}"}, ["de", "en"], (6, 6)),
    ],
)
def test_source_is_inferred(tmp_path, capsys, rows, kind, columns, languages, counts):
    write(tmp_path / "data.jsonl", rows)
    assert run(["tasks", "new", "demo", "--from", "data.jsonl"]) == 0
    out, err = capsys.readouterr()
    assert out == "demo.yaml\n"
    assert err.splitlines()[-1] == "hbt-bench: check it with `hbt-bench tasks validate demo.yaml`"
    content = yaml.safe_load((tmp_path / "demo.yaml").read_text())
    assert content["source"]["kind"] == kind
    assert content["source"]["columns"] == columns
    assert content["source"]["languages"] == languages
    assert content["source"]["pins"]["data.jsonl"]["size"] == (tmp_path / "data.jsonl").stat().st_size
    assert content["source"].get("parallel") == (True if rows is FLAT else None)
    collection = Folder.read(tmp_path / "demo.yaml").specs["demo"].load()
    assert (len(collection.queries), len(collection.documents)) == counts
    assert {len(collection.relevant(row)) for row in range(counts[0])} == {1 if kind == "bitext" else 2}


def rows_of(ids, code, start=0):
    """Return rows in a language with consecutive ids."""
    return [
        {"id": n, "lang": code, "question": f"{code} q{n}?", "passage": f"{code} p{n}."}
        for n in range(start, start + ids)
    ]


@pytest.mark.parametrize(
    ("start", "parallel", "counts"),
    [(9, False, "1 of 19 ids"), (0, True, "10 of 10 ids"), (5, False, "5 of 15 ids"), (3, True, "7 of 13 ids")],
)
def test_most_ids_must_be_shared_for_translations(tmp_path, capsys, start, parallel, counts):
    write(tmp_path / "data.jsonl", rows_of(10, "en") + rows_of(10, "de", start))
    assert run(["tasks", "new", "demo", "--from", "data.jsonl"]) == 0
    err = capsys.readouterr().err
    assert f"hbt-bench: {counts} occur in several languages" in err
    assert f"(parallel: {str(parallel).lower()})" in err
    assert yaml.safe_load((tmp_path / "demo.yaml").read_text())["source"]["parallel"] is parallel


def test_rows_of_unknown_languages_are_counted(tmp_path, capsys):
    rows = rows_of(4, "en") + rows_of(3, "kiswahili") + rows_of(2, "eng_Latn") + rows_of(1, "tlh")
    write(tmp_path / "data.jsonl", rows)
    assert run(["tasks", "new", "demo", "--from", "data.jsonl", "--columns", "language=lang"]) == 0
    err = capsys.readouterr().err
    assert "hbt-bench: 6 rows are left out" in err
    assert "'kiswahili' (3), 'eng_Latn' (2; 'en' is used for en), 'tlh' (1)" in err
    assert "{sw: kiswahili}" in err
    wide = [
        {"id": n, "x": {"en": {"question": "Q?", "answer": "A."}, "sw": {"question": "S?", "answer": "B."}}}
        for n in (1, 2)
    ]
    write(tmp_path / "wide.jsonl", wide)
    assert run(["tasks", "new", "wide", "--from", "wide.jsonl"]) == 0
    assert capsys.readouterr().err.count("\n") == 1  # only the advice to validate: no row is left out


def test_csv_in_one_language(tmp_path, capsys):
    (tmp_path / "data.csv").write_text('question,text\n"Who, then?",She.\n')
    assert run(["tasks", "new", "demo", "--from", "data.csv"]) == 2
    assert "the language of data.csv is unknown: set it, for example with --language en" in capsys.readouterr().err
    assert run(["tasks", "new", "demo", "--from", "data.csv", "--language", "en"]) == 0
    spec = Folder.read(tmp_path / "demo.yaml").specs["demo"]
    assert spec.modes == ("mono",)
    assert [query.text for query in spec.load().queries] == ["Who, then?"]
    assert run(["tasks", "new", "demo", "--from", "data.csv", "--language", "en"]) == 2
    assert "demo.yaml exists already" in capsys.readouterr().err


def test_unknown_column_is_asked_for(tmp_path, capsys):
    write(tmp_path / "data.jsonl", [{"lang": "en", "a": "Who?", "b": "She."}])
    assert run(["tasks", "new", "demo", "--from", "data.jsonl"]) == 2
    err = capsys.readouterr().err
    assert "no field with a usual name for the query (its fields are a, b, lang)" in err
    assert "--columns query=FIELD" in err
    assert run(["tasks", "new", "demo", "--from", "data.jsonl", "--columns", "query=a,document=b"]) == 0
    assert not (tmp_path / "x.yaml").exists()


ROWS = "".join(json.dumps(row) + "\n" for row in rows_of(2, "en") + rows_of(2, "de"))


@pytest.mark.parametrize(
    ("files", "arguments", "fragments"),
    [
        ({}, "demo --from none.jsonl", ["none.jsonl is not a file or folder"]),
        ({"d.jsonl": ROWS}, "xquad-r --from d.jsonl", ["the task 'xquad-r' exists already"]),
        ({"d.jsonl": ""}, "demo --from d.jsonl", ["d.jsonl is empty"]),
        (
            {"d.jsonl": ROWS},
            "demo --from d.jsonl --columns answer=passage",
            ["--columns 'answer=passage'", "id, language, query, document,", "query=question,document=answer"],
        ),
        (
            {"d.jsonl": ROWS.replace('"en"', '"klingon"').replace('"de"', '"quenya"')},
            "demo --from d.jsonl --columns language=lang",
            ["d.jsonl has no known language code", "klingon, quenya"],
        ),
        (
            {"d.jsonl": ROWS},
            "demo --from d.jsonl --columns language=lang,query=question,document=passage,text=question",
            ["d.jsonl: text is for parallel sentences", "--columns"],
        ),
        (
            {"b/corpus.jsonl": "", "b/qrels/test.tsv": ""},
            "demo --from b",
            ["the language of b is unknown", "--language en"],
        ),
        (
            {"b/klingon/corpus.jsonl": "", "b/klingon/qrels/test.tsv": ""},
            "demo --from b",
            ["b is not a folder in BEIR's layout", "corpus.jsonl, queries.jsonl and qrels/test.tsv"],
        ),
        (
            {"b/corpus.jsonl": "", "b/qrels/test.tsv": ""},
            "demo --from b --language en",
            ["cannot read b/queries.jsonl: No such file or directory"],
        ),
        (
            {"d.jsonl": ROWS},
            "demo --from d.jsonl --split dev",
            ["d.jsonl is not a folder in BEIR's layout", "--split dev"],
        ),
        ({"d.jsonl": ROWS}, "demo --from d.jsonl --quoting none", ["d.jsonl has JSON lines", "leave out quoting"]),
        (
            {"d.jsonl": ROWS},
            "demo --from d.jsonl --language fr",
            ["d.jsonl states the languages of its rows itself (de en): leave out --language fr"],
        ),
        ({"b/corpus.jsonl": "", "b/qrels/test.tsv": ""}, "demo --from b --quoting csv", ["not a table: leave out"]),
        (
            {"d.jsonl": ROWS, "other/x": ""},
            "demo --from d.jsonl --output other",
            ["d.jsonl is not inside other", "--data-dir or HBT_BENCH_DATA"],
        ),
    ],
)
def test_unusable_data_is_refused(tmp_path, capsys, files, arguments, fragments):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert run(["tasks", "new", *arguments.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("hbt-bench: ")
    assert err.count("\n") == 1
    assert [fragment for fragment in fragments if fragment not in err] == []
    assert not list(tmp_path.rglob("*.yaml"))


def test_beir_folders(tmp_path, capsys):
    for code in ("en", "sw"):
        folder = tmp_path / "b" / code / "qrels"
        folder.mkdir(parents=True)
        write(folder.parent / "corpus.jsonl", [{"_id": "1", "title": "T", "text": code}, {"_id": "2", "text": "no"}])
        write(folder.parent / "queries.jsonl", [{"_id": "1", "text": f"{code}?"}])
        (folder / "dev.tsv").write_text("query-id\tcorpus-id\tscore\n1\t1\t2\n")
    assert run(["tasks", "new", "demo", "--from", "b"]) == 0
    spec = Folder.read(tmp_path / "demo.yaml").specs["demo"]
    assert (spec.source.path, spec.source.split, spec.modes) == ("b/{language}", "dev", ("mono", "cross", "multi"))
    collection = spec.load()
    assert [document.text for document in collection.documents] == ["T en", "no", "T sw", "no"]
    assert collection.relevant(0) == {"en-d-1": 2, "sw-d-1": 2}
    assert collection.parallel


def checks(path, last="run"):
    """Validate a task file and return the checks by name, up to the `last`."""
    found = {}
    for check in Validation(path).run():
        found[check.name] = check
        if check.name == last:
            break
    return found


def test_names_and_pins_are_validated(tmp_path):
    assert checks(tmp_path / "none.yaml")["schema"].message.startswith(f"{tmp_path / 'none.yaml'} is not a file")
    for code in ("en", "sw"):
        (tmp_path / f"{code}.txt").write_text(f"one {code}\ntwo {code}\n")
    digests = {code: hashlib.sha256((tmp_path / f"{code}.txt").read_bytes()).hexdigest() for code in ("en", "sw")}
    source = {"kind": "bitext", "path": "{language}.txt", "languages": ["en", "sw"], "columns": {"text": "text"}}
    for codes, message in (
        ((), "no file is pinned"),
        (("en",), "1 file is not pinned, for example sw.txt"),
        (("en", "sw"), "2 pinned files are unchanged; data "),
    ):
        pins = {f"{code}.txt": {"size": 14, "sha256": digests[code]} for code in codes}
        content = {"name": "mine", "source": {**source, **({"pins": pins} if pins else {})}}
        (tmp_path / "mine.yaml").write_text(json.dumps(content))
        hashes = checks(tmp_path / "mine.yaml", "hashes")["hashes"]
        assert hashes.message.startswith(message)
        assert hashes.status == ("passed" if len(codes) == 2 else "warning")
    (tmp_path / "xquad-r.yaml").write_text(json.dumps({"name": "xquad-r", "source": source}))
    assert "another task has the name 'xquad-r'" in checks(tmp_path / "xquad-r.yaml")["name"].message


def test_every_check_runs(tmp_path, capsys):
    write(
        tmp_path / "data.jsonl",
        [{"id": n, "x": {c: {"question": f"{c} {n}?", "answer": f"{c} {n}!"} for c in ("en", "sw")}} for n in range(3)],
    )
    assert run(["tasks", "new", "demo", "--from", "data.jsonl"]) == 0
    capsys.readouterr()
    path = tmp_path / "demo.yaml"
    assert run(["tasks", "validate", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:3] for line in lines] == [" ✓ "] * 2 + [" ? "] + [" ✓ "] * 8
    assert "6 queries, each with a relevant document; 6 documents, none empty" in lines[4]
    assert "mono 0." in lines[-1] or "mono 1.0" in lines[-1]
    assert run(["tasks", "validate", "--strict", str(path)]) == 3
    assert "did not pass" in capsys.readouterr().err

    good = path.read_text()
    path.write_text(good.replace("relevant: {2: 3}", "relevant: {2: 4}"))
    assert checks(path)["counts"].message.startswith("demo has 3 questions whose number of relevant documents is 2")
    path.write_text(f'{good}\ndata: "{"f" * 16}"\n')
    assert checks(path, "counts")["counts"].message.endswith(", but the definition expects ffffffffffffffff")
    path.write_text(
        good.replace("license:  ", "license: cc0-1.0 #")
        .replace("reference:  #", "reference: https://x.org #")
        .replace("citation:   #", "citation: '@misc{x}' #")
    )
    assert checks(path)["licence and citation"].status == "passed"
    path.write_text(good)
    (tmp_path / "data.jsonl").write_text((tmp_path / "data.jsonl").read_text().replace("sw 1!", "sw 2!"))
    after_change = checks(path)
    assert after_change["data and judgements"].status == "failed"
    assert "checksum mismatch" in after_change["data and judgements"].message
    assert after_change["run"].status == "skipped"
    path.write_text(good[: good.index("  pins")] + good[good.index("metadata") :])
    repeated = checks(path)["repeated texts"].message
    assert "1 documents repeat another's text, for example 'sw 2!' in sw" in repeated
    assert "`merge: true`" in repeated
    assert checks(path)["hashes"].status == "warning"


@pytest.mark.parametrize(
    ("old", "new", "name", "status", "message"),
    [
        ("kind: jsonl", "kind: jsonk", "schema", "failed", "unknown kind 'jsonk'; did you mean 'jsonl'?"),
        (
            "name: demo\n",
            "name: demo\nmteb_name: VDR\n",
            "name",
            "failed",
            "MTEB has a task VDRMultilingualRetrieval: choose another `mteb_name`",
        ),
        ("name: demo\n", "name: demo\nmteb_name: XQuADR\n", "name", "failed", "the task 'xquad-r'"),
        (
            "languages: [de, en]",
            "languages: [de, en, sw]",
            "data and judgements",
            "failed",
            "no texts in sw",
        ),
        ("expect:", "metadata_of_mine:", "schema", "failed", "unknown key 'metadata_of_mine' in the file"),
        ("\nexpect:", "\n# ", "counts", "warning", "no `expect`"),
        (
            "parallel: false",
            "parallel: true",
            "parallel ids",
            "failed",
            "no question occurs in two languages",
        ),
        ("name: demo", "name: demo", "parallel ids", "passed", "not declared"),
    ],
)
def test_check_names_the_problem(tmp_path, old, new, name, status, message):
    write(tmp_path / "data.jsonl", rows_of(3, "en") + rows_of(3, "de", 3))
    assert run(["tasks", "new", "demo", "--from", "data.jsonl"]) == 0
    path = tmp_path / "demo.yaml"
    text = path.read_text()
    assert old in text, text
    if new == "\n# ":  # remove the key with its mapping
        text = text[: text.index(old)] + "\n"
    path.write_text(text.replace(old, new, 1))
    check = checks(path, name)[name]
    assert check.status == status
    assert message in check.message


@pytest.mark.parametrize("translated", [False, True])
def test_unrelated_lengths_cause_a_warning(tmp_path, translated):
    import random

    chance = random.Random(1)
    lengths = [{"en": number, "de": number if translated else chance.randrange(1, 60)} for number in range(1, 81)]
    rows = [
        {"id": n, "lang": code, "question": f"{code} {n}?", "passage": "word " * length[code] + f"{n}"}
        for n, length in enumerate(lengths)
        for code in ("en", "de")
    ]
    write(tmp_path / "data.jsonl", rows)
    assert run(["tasks", "new", "demo", "--from", "data.jsonl"]) == 0
    check = checks(tmp_path / "demo.yaml", "parallel ids")["parallel ids"]
    if translated:
        assert (check.status, check.message) == ("passed", "80 of 80 questions in several languages")
    else:
        assert check.status == "warning"
        assert check.message == "documents with the same id in de and en have unrelated lengths"


@pytest.mark.parametrize("name", ["xcopa", "exams"])
def test_training_data_become_tasks(tmp_path, data_dir, capsys, name):
    data = data_dir / "train" / f"{name}.jsonl.gz"
    assert run(["tasks", "new", name, "--from", str(data), "--data-dir", str(data_dir)]) == 0
    spec = Folder.read(tmp_path / f"{name}.yaml").specs[name]
    assert spec.source.columns.query == "texts.{language}.question"
    assert len(spec.languages) == {"xcopa": 12, "exams": 10}[name]
    collection = spec.load(list(spec.languages[:2]), data_dir)
    assert collection.languages == spec.languages[:2]


def test_local_copies_have_the_expected_counts(data_dir):
    specs = TaskRegistry([shipped_folder() / "ood"]).specs
    counts = {name: sum(specs[name].expect.queries.values()) for name in specs if name.endswith(("-ood", "-beir"))}
    assert counts == {
        "belebele-ood": 1800,
        "flores-ood": 55620,
        "news-ood": 30900,  # 1,030 sentences in 30 languages
        "ntrex-ood": 59910,
        "scifact-beir": 300,
        "tatoeba-ood": 42486,
        "wiki-ood": 37332,  # 1,037 sentences in 36 languages
    }
    scifact = specs["scifact-beir"].load(data_dir=data_dir)
    assert scifact.fingerprint == "7bc1a275692d5fe1"
    assert specs["belebele-ood"].load(["de", "en", "sw"], data_dir).languages == ("de", "en", "sw")


def test_embedded_task_is_validated(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nextends: cldr-facts\n")
    passed = checks(path, "counts")
    assert passed["hashes"].status == "passed"
    assert passed["hashes"].message.startswith("pinned; data ")
    assert (passed["counts"].status, passed["counts"].message) == ("passed", "equal to `expect`")
    path.write_text("name: mine\nextends: cldr-facts\nexpect: {version: '1'}\n")
    counts = checks(path, "counts")["counts"]
    assert counts.status == "warning"
    assert counts.message.startswith("`expect` is for version 1, the data are ")
