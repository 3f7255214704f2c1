"""What a command is given and cannot use: one sentence and an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hbt_bench.cli.main import run

RESULTS = Path(__file__).parent / "fixtures" / "format-2" / "hbt-bench__bm25" / "k0.9-b0.4"


@pytest.fixture
def folder(tmp_path):
    """An empty folder, a recipe, a sparse encoder, and a model without its tokenizer."""
    files = {
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
    ("arguments", "code", "said"),
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
            "is of cldr-facts-mono[de,en]: language bias is read from a multilingual task's result",
        ),
        ("report {}/empty", 5, "there are no results"),
        ("train {}/r.yaml --init {}/a/b", 2, "there is no folder {}/a/b: give --init a folder, a hub name, static:DIM"),
        ("train {}/r.yaml --init {}/sparse", 4, "{}/sparse is a SparseEncoder: training starts from a model that give"),
        ("train {}/r.yaml --init {}/bare", 4, "the init {}/bare has no tokenizer: save one beside its weights"),
    ],
)
def test_what_is_not_there_or_of_another_kind(folder, monkeypatch, capsys, arguments, code, said):
    monkeypatch.chdir(folder)
    assert run(arguments.replace("{}", str(folder)).split()) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert said.replace("{}", str(folder)) in told.err
    assert len(told.err.splitlines()) == 1


def test_results_of_mtebs_own_tasks_have_no_leaderboard_and_no_report(tmp_path, capsys):
    """They have no languages that could be compared; `show` is what tells them."""
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
        told = capsys.readouterr()
        assert told.out == ""
        assert "there are no results of multilingual collections" in told.err
        assert len(told.err.splitlines()) == 1


def test_a_suite_is_no_task_file(tmp_path, capsys):
    (tmp_path / "suites").mkdir()
    path = tmp_path / "suites" / "two.yaml"
    path.write_text("name: two\ndescription: Two.\ntasks: [cldr-facts-mono]\n")
    for arguments in (["tasks", "show", str(path)], ["run", "--model", "bm25", "--tasks", str(path)]):
        assert run(arguments) in (2, 3)
        told = capsys.readouterr()
        assert (told.out, len(told.err.splitlines())) == ("", 1)
        assert "two.yaml" in told.err
