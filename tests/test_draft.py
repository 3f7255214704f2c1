"""`hbt-bench tasks new` and `validate`: from data to a task that runs, and what they say when it cannot be."""

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
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("name", ["null", "true", "123", "no", "2024-01-01", "demo"])
def test_a_name_that_yaml_takes_for_something_else(tmp_path, name):
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
def test_the_form_is_found_out(tmp_path, capsys, rows, kind, columns, languages, counts):
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
    return [
        {"id": n, "lang": code, "question": f"{code} q{n}?", "passage": f"{code} p{n}."}
        for n in range(start, start + ids)
    ]


@pytest.mark.parametrize(
    ("start", "parallel", "said"),
    [
        (
            9,
            False,
            "1 of 19 ids are there in several languages, too few for translations, so that languages are taken for "
            "apart (parallel: false)",
        ),
        (
            0,
            True,
            "10 of 10 ids are there in several languages, so that they are taken for translations (parallel: true): "
            "look at some, or say false",
        ),
        (
            5,
            False,
            "5 of 15 ids are there in several languages, too few for translations, so that languages are taken for "
            "apart (parallel: false)",
        ),
        (
            3,
            True,
            "7 of 13 ids are there in several languages, so that they are taken for translations (parallel: true): "
            "look at some, or say false",
        ),
    ],
)
def test_most_ids_must_be_shared_for_translations(tmp_path, capsys, start, parallel, said):
    write(tmp_path / "data.jsonl", rows_of(10, "en") + rows_of(10, "de", start))
    assert run(["tasks", "new", "demo", "--from", "data.jsonl"]) == 0
    assert f"hbt-bench: {said}\n" in capsys.readouterr().err
    assert yaml.safe_load((tmp_path / "demo.yaml").read_text())["source"]["parallel"] is parallel


def test_rows_of_unknown_languages_are_counted(tmp_path, capsys):
    rows = rows_of(4, "en") + rows_of(3, "kiswahili") + rows_of(2, "eng_Latn") + rows_of(1, "tlh")
    write(tmp_path / "data.jsonl", rows)
    assert run(["tasks", "new", "demo", "--from", "data.jsonl", "--columns", "language=lang"]) == 0
    assert (
        "hbt-bench: 6 rows are left out, whose language is not known or taken: 'kiswahili' (3), 'eng_Latn' (2, as 'en' "
        "is en), 'tlh' (1); give those that you want a code in `languages`, as in {sw: kiswahili}\n"
    ) in capsys.readouterr().err
    wide = [
        {"id": n, "x": {"en": {"question": "Q?", "answer": "A."}, "sw": {"question": "S?", "answer": "B."}}}
        for n in (1, 2)
    ]
    write(tmp_path / "wide.jsonl", wide)
    assert run(["tasks", "new", "wide", "--from", "wide.jsonl"]) == 0
    assert capsys.readouterr().err.count("\n") == 1  # nothing is left out, and nothing is said of it


def test_csv_in_one_language(tmp_path, capsys):
    (tmp_path / "data.csv").write_text('question,text\n"Who, then?",She.\n')
    assert run(["tasks", "new", "demo", "--from", "data.csv"]) == 2
    assert "say in which language data.csv is, as in --language en" in capsys.readouterr().err
    assert run(["tasks", "new", "demo", "--from", "data.csv", "--language", "en"]) == 0
    spec = Folder.read(tmp_path / "demo.yaml").specs["demo"]
    assert spec.modes == ("mono",)
    assert [query.text for query in spec.load().queries] == ["Who, then?"]
    assert run(["tasks", "new", "demo", "--from", "data.csv", "--language", "en"]) == 2
    assert "demo.yaml is there already" in capsys.readouterr().err


def test_what_cannot_be_told_is_asked_for(tmp_path, capsys):
    write(tmp_path / "data.jsonl", [{"lang": "en", "a": "Who?", "b": "She."}])
    assert run(["tasks", "new", "demo", "--from", "data.jsonl"]) == 2
    said = capsys.readouterr().err
    assert "cannot tell which field is the query (there are a, b, lang): say it with --columns query=FIELD" in said
    assert run(["tasks", "new", "demo", "--from", "data.jsonl", "--columns", "query=a,document=b"]) == 0
    assert not (tmp_path / "x.yaml").exists()


ROWS = "".join(json.dumps(row) + "\n" for row in rows_of(2, "en") + rows_of(2, "de"))


@pytest.mark.parametrize(
    ("files", "arguments", "said"),
    [
        ({}, "demo --from none.jsonl", "there is no file or folder none.jsonl"),
        ({"d.jsonl": ROWS}, "xquad-r --from d.jsonl", "there is a task 'xquad-r' already: choose another name"),
        ({"d.jsonl": ""}, "demo --from d.jsonl", "d.jsonl is empty"),
        (
            {"d.jsonl": ROWS},
            "demo --from d.jsonl --columns answer=passage",
            "--columns 'answer=passage': write it like query=question,document=answer,language=lang,id=id",
        ),
        (
            {"d.jsonl": ROWS.replace('"en"', '"tlh"').replace('"de"', '"qya"')},
            "demo --from d.jsonl --columns language=lang",
            "d.jsonl has no known language code (there are qya, tlh)",
        ),
        (
            {"d.jsonl": ROWS},
            "demo --from d.jsonl --columns language=lang,query=question,document=passage,text=question",
            "d.jsonl: text is for parallel sentences: it stands alone, or with id and language (say it with --columns)",
        ),
        (
            {"b/corpus.jsonl": "", "b/qrels/test.tsv": ""},
            "demo --from b",
            "say in which language b is, as in --language en",
        ),
        (
            {"b/klingon/corpus.jsonl": "", "b/klingon/qrels/test.tsv": ""},
            "demo --from b",
            "b is no folder in BEIR's layout: corpus.jsonl, queries.jsonl and qrels/test.tsv, in it or in a folder for "
            "each language, named by its code",
        ),
        (
            {"b/corpus.jsonl": "", "b/qrels/test.tsv": ""},
            "demo --from b --language en",
            "cannot read b/queries.jsonl: No such file or directory",
        ),
        (
            {"d.jsonl": ROWS, "other/x": ""},
            "demo --from d.jsonl --output other",
            "d.jsonl is not inside other: a task file lies beside or above its data, or the data are in the folder "
            "that --data-dir or HBT_BENCH_DATA names",
        ),
    ],
)
def test_what_no_task_can_be_made_of(tmp_path, capsys, files, arguments, said):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert run(["tasks", "new", *arguments.split()]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"hbt-bench: {said}\n")
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
    assert (spec.source.path, spec.source.split, spec.modes) == ("b/{language}", "dev", ("mono", "multi"))
    collection = spec.load()
    assert [document.text for document in collection.documents] == ["T en", "no", "T sw", "no"]
    assert collection.relevant(0) == {"en-d-1": 2}
    assert not collection.parallel


def checks(path):
    return {check.name: check for check in Validation(path).run()}


def test_what_validation_says_of_names_and_pins(tmp_path):
    assert checks(tmp_path / "none.yaml")["schema"].message == f"there is no file {tmp_path / 'none.yaml'}"
    for code in ("en", "sw"):
        (tmp_path / f"{code}.txt").write_text(f"one {code}\ntwo {code}\n")
    digests = {code: hashlib.sha256((tmp_path / f"{code}.txt").read_bytes()).hexdigest() for code in ("en", "sw")}
    source = {"kind": "bitext", "path": "{language}.txt", "languages": ["en", "sw"], "columns": {"text": "text"}}
    for codes, said in (
        ((), "no file is pinned: changed data would go unnoticed; add `pins` with their sha256"),
        (("en",), "1 file is not pinned, as sw.txt: changes would go unnoticed"),
        (("en", "sw"), "2 pinned files are unchanged; data "),
    ):
        pins = {f"{code}.txt": {"size": 14, "sha256": digests[code]} for code in codes}
        told = {"name": "mine", "source": {**source, **({"pins": pins} if pins else {})}}
        (tmp_path / "mine.yaml").write_text(json.dumps(told))
        found = checks(tmp_path / "mine.yaml")
        assert found["hashes"].message.startswith(said)
        assert found["hashes"].status == ("passed" if len(codes) == 2 else "warning")
    (tmp_path / "xquad-r.yaml").write_text(json.dumps({"name": "xquad-r", "source": source}))
    said = "the name 'xquad-r' is that of another task: rename the file and its `name`"
    assert checks(tmp_path / "xquad-r.yaml")["name"].message == said


def test_every_check_is_made(tmp_path, capsys):
    write(
        tmp_path / "data.jsonl",
        [{"id": n, "x": {c: {"question": f"{c} {n}?", "answer": f"{c} {n}!"} for c in ("en", "sw")}} for n in range(3)],
    )
    assert run(["tasks", "new", "demo", "--from", "data.jsonl"]) == 0
    capsys.readouterr()
    path = tmp_path / "demo.yaml"
    assert run(["tasks", "validate", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:3] for line in lines] == [" ✓ "] * 2 + [" ? "] + [" ✓ "] * 7
    assert "6 queries, each with a relevant document; 6 documents, none empty" in lines[4]
    assert "mono 0." in lines[-1] or "mono 1.0" in lines[-1]
    assert run(["tasks", "validate", "--strict", str(path)]) == 3
    assert "did not pass" in capsys.readouterr().err

    good = path.read_text()
    path.write_text(good.replace("relevant: {2: 3}", "relevant: {2: 4}"))
    assert checks(path)["counts"].message.startswith("demo has 3 questions whose number of relevant documents is 2")
    path.write_text(
        good.replace("license:  ", "license: cc0-1.0 #")
        .replace("reference:  #", "reference: https://x.org #")
        .replace("citation:   #", "citation: '@misc{x}' #")
    )
    assert checks(path)["licence and citation"].status == "passed"
    path.write_text(good)
    (tmp_path / "data.jsonl").write_text((tmp_path / "data.jsonl").read_text().replace("sw 1!", "sw 2!"))
    found = checks(path)
    assert found["data and judgements"].status == "failed"
    assert "checksum mismatch" in found["data and judgements"].message
    assert found["run"].status == "skipped"
    path.write_text(good[: good.index("  pins")] + good[good.index("metadata") :])
    assert (
        checks(path)["repeated texts"].message
        == "1 documents repeat another's text, as 'sw 2!' in sw; `merge: true` in columns takes equal ones for one"
    )
    assert checks(path)["hashes"].status == "warning"


@pytest.mark.parametrize(
    ("old", "new", "check", "status", "said"),
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
            "there are no texts in sw: take them out of `languages`",
        ),
        ("expect:", "metadata_of_mine:", "schema", "failed", "unknown key 'metadata_of_mine' in the file"),
        ("\nexpect:", "\n# ", "counts", "warning", "no `expect`: changed data would go unnoticed"),
        (
            "parallel: false",
            "parallel: true",
            "parallel ids",
            "failed",
            "no question is there in two languages, though the source is parallel: give translations the same id",
        ),
        ("name: demo", "name: demo", "parallel ids", "passed", "none declared: no measure compares translations"),
    ],
)
def test_a_check_says_what_is_wrong(tmp_path, old, new, check, status, said):
    write(tmp_path / "data.jsonl", rows_of(3, "en") + rows_of(3, "de", 3))
    assert run(["tasks", "new", "demo", "--from", "data.jsonl"]) == 0
    path = tmp_path / "demo.yaml"
    text = path.read_text()
    assert old in text, text
    if new == "\n# ":  # the counts go, with all that is indented under them
        text = text[: text.index(old)] + "\n"
    path.write_text(text.replace(old, new, 1))
    found = next(one for one in Validation(path).run() if one.name == check)
    assert (found.status, said in found.message) == (status, True), found.message


def test_ids_that_are_no_translations_are_noticed(tmp_path):
    import random

    chance = random.Random(1)
    rows = [
        {"id": n, "lang": code, "question": f"{code} {n}?", "passage": "word " * chance.randrange(1, 60) + f"{n}"}
        for n in range(80)
        for code in ("en", "de")
    ]
    write(tmp_path / "data.jsonl", rows)
    assert run(["tasks", "new", "demo", "--from", "data.jsonl"]) == 0
    check = checks(tmp_path / "demo.yaml")["parallel ids"]
    assert check.status == "warning"
    assert check.message == "documents with the same id in de and en are of unrelated length: translations?"


@pytest.mark.parametrize("name", ["xcopa", "exams"])
def test_training_data_become_tasks_at_once(tmp_path, data_dir, capsys, name):
    data = data_dir / "train" / f"{name}.jsonl.gz"
    assert run(["tasks", "new", name, "--from", str(data), "--data-dir", str(data_dir)]) == 0
    spec = Folder.read(tmp_path / f"{name}.yaml").specs[name]
    assert spec.source.columns.query == "texts.{language}.question"
    assert len(spec.languages) == {"xcopa": 12, "exams": 10}[name]
    part = spec.load(list(spec.languages[:2]), data_dir)
    assert part.languages == spec.languages[:2]


def test_the_local_copies_are_what_their_definitions_say(data_dir):
    specs = TaskRegistry([shipped_folder() / "ood"]).specs
    counts = {name: sum(specs[name].expect.queries.values()) for name in specs if name.endswith(("-ood", "-beir"))}
    assert counts == {
        "belebele-ood": 1800,
        "flores-ood": 55620,
        "ntrex-ood": 59910,
        "scifact-beir": 300,
        "tatoeba-ood": 42486,
    }
    scifact = specs["scifact-beir"].load(data_dir=data_dir)
    assert scifact.fingerprint == "7bc1a275692d5fe1"
    assert specs["belebele-ood"].load(["de", "en", "sw"], data_dir).languages == ("de", "en", "sw")


def test_what_validation_says_of_a_task_that_is_made_here(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nextends: cldr-facts\n")
    found = checks(path)
    assert found["hashes"].status == "passed"
    assert found["hashes"].message.startswith("pinned; data ")
    assert (found["counts"].status, found["counts"].message) == ("passed", "as in `expect`")
    path.write_text("name: mine\nextends: cldr-facts\nexpect: {version: '1'}\n")
    counts = checks(path)["counts"]
    assert counts.status == "warning"
    assert counts.message.startswith("`expect` is for version 1, the data are ")
