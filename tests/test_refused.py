"""Test unusable arguments: a command prints one sentence and returns an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hbt_bench.cli.main import run

RESULTS = Path(__file__).parent / "fixtures" / "format-2" / "hbt-bench__bm25" / "k0.9-b0.4"


@pytest.fixture
def folder(tmp_path):
    """Return a folder with an empty folder, a recipe, a sparse encoder, and a model without its tokenizer."""
    files = {
        "empty.yaml": "",
        "list.yaml": "- init: static:8",
        "r.yaml": "init: static:8\nsteps: 1\nguard: []\n",
        "sparse/modules.json": "[]",
        "sparse/config_sentence_transformers.json": '{"model_type": "SparseEncoder"}',
        "bare/config.json": '{"architectures": ["BertModel"], "model_type": "bert"}',
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("tasks --task-dir {}/none", 2, "Directory '{}/none' does not exist"),
        ("tasks --task-dir {}/empty", 2, "the folder {}/empty has no task files (*.yaml or *.yml)"),
        (
            "bias {}/none.json",
            2,
            "there is no file {}/none.json: name a result, as in results/<model>/<revision>/<Task>.",
        ),
        (
            f"bias {RESULTS}/CldrFactsMonolingualRetrieval_de_en.json",
            2,
            "is a result of cldr-facts-mono[de,en]: name a result of a multilingual task",
        ),
        (
            "tasks --format json show cldr-facts",
            2,
            "--format json is for the list of tasks: leave it out, or give it af",
        ),
        ("tasks audit cldr-facts --threshold nan", 2, "nan is not a finite number"),
        ("train {}/empty.yaml --show-recipe", 3, "{}/empty.yaml:1:1: the file is empty. Write lines such as `key: v"),
        ("study run {}/list.yaml", 3, "{}/list.yaml:1:1: the file must be a mapping. Write lines such as"),
        ("report {}/empty", 5, "there are no results"),
        ("train {}/r.yaml --init {}/a/b", 2, "there is no folder {}/a/b: give --init a folder, a hub name, static:DIM"),
        ("train {}/r.yaml --init {}/sparse", 4, "{}/sparse is a SparseEncoder: training starts from a model that give"),
        ("train {}/r.yaml --init {}/bare", 4, "{}/bare has no weights"),
    ],
)
def test_missing_or_wrong_argument(folder, monkeypatch, capsys, arguments, code, message):
    monkeypatch.chdir(folder)
    assert run(arguments.replace("{}", str(folder)).split()) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert message.replace("{}", str(folder)) in err
    assert len(err.splitlines()) == 1


def test_no_leaderboard_of_mtebs_own_tasks(tmp_path, capsys):
    """These results have no languages to compare; `show` prints them."""
    about = {
        "format": 2, "task": "SciFact", "mteb_name": "SciFact", "model": "org/m", "revision": "1", "subsets": 1,
        "signature": "task:SciFact|text:none|data:d|model:org/m@1|prompt:none|ties:mteb|hbt:0.1.0|mteb:2.26.24",
        "stock": True, "values": {"subsets": ["default"]}, "intervals": {}, "shares": {},
    }  # fmt: skip
    scores = {"test": [{"hf_subset": "default", "languages": ["eng-Latn"], "main_score": 0.5}]}
    folder = tmp_path / "org__m" / "1"
    folder.mkdir(parents=True)
    (folder / "SciFact.json").write_text(json.dumps({"hbt_bench": about, "task_name": "SciFact", "scores": scores}))
    for arguments in (["leaderboard", str(tmp_path)], ["report", str(tmp_path), "--output", str(tmp_path / "r.html")]):
        assert run(arguments) == 5
        out, err = capsys.readouterr()
        assert out == ""
        assert "there are no results of multilingual collections" in err
        assert len(err.splitlines()) == 1


def test_suite_is_not_a_task_file(tmp_path, capsys):
    (tmp_path / "suites").mkdir()
    path = tmp_path / "suites" / "two.yaml"
    path.write_text("name: two\ndescription: Two.\ntasks: [cldr-facts-mono]\n")
    for arguments in (["tasks", "show", str(path)], ["run", "--model", "bm25", "--tasks", str(path)]):
        assert run(arguments) in (2, 3)
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1)
        assert "two.yaml" in err
