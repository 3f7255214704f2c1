"""Signatures explained. The printed commands reproduce the signature and the scores."""

from __future__ import annotations

import json
import shlex

import pytest

from hbt_bench.cli.main import run as command
from hbt_bench.identity.signature import Signature
from hbt_bench.reports.explain import explain
from hbt_bench.results.store import Result, read_all
from hbt_bench.tasks.registry import shipped_folder
from tests.factories import torch_random_model

MINE = """
name: mine
extends: cldr-facts
mteb_name: Mine
title: My facts
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return the current folder. It has a task file in a folder that must be named."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own tasks").mkdir()
    (tmp_path / "own tasks" / "mine.yaml").write_text(MINE)
    return tmp_path


def printed(capsys, *given):
    """Return the words of the command that `show` prints, as JSON and as text."""
    assert command(["show", *given, "--format", "json"]) == 0
    line = json.loads(capsys.readouterr().out)["command"]
    assert command(["show", *given]) == 0
    assert f"  $ {line}\n" in capsys.readouterr().out
    return shlex.split(line)


@pytest.mark.parametrize(
    ("model", "tasks", "options"),
    [
        ("bm25", "cldr-facts-mono", ["--languages", "de,en"]),
        ("bm25@k1.5-b0.75", "cldr-facts-multi[de,en]", []),
        ("bm25", "cldr-facts-cross[de,en>sw]", []),
        ("bm25", "cldr-facts-mono[sw]+typos@0.3:2", []),
        ("bm25", "mine-mono[sw]", ["--task-dir", "own tasks"]),
        ("./ckpt", "cldr-facts-mono[sw]", []),
        ("./ckpt", "cldr-facts-mono[sw]", ["--query-prompt", "q: "]),
        ("./ckpt", "cldr-facts-mono[sw]", ["--query-prompt", "", "--document-prompt", "it's: "]),
    ],
)
def test_printed_command_reproduces_the_scores(here, model, tasks, options, capsys):
    if model == "./ckpt":
        torch_random_model(here / "ckpt", seed=3)
    run = ["--model", model, "--tasks", tasks, *options]
    assert command(["run", *run, "--output", "first"]) == 0
    [first] = read_all(here / "first")
    assert isinstance(first, Result)
    capsys.readouterr()
    folder = ["--task-dir", "own tasks"] if "own tasks" in options else []
    program, *arguments = printed(capsys, str(first.path), *folder)
    assert program == "hbt-bench"
    assert command([*arguments, "--output", "second"]) == 0
    [second] = read_all(here / "second")
    assert second.signature == first.signature
    assert list(second.subsets) == list(first.subsets)
    for name, scores in first.subsets.items():
        assert second.subsets[name] == pytest.approx(scores, rel=0, abs=0, nan_ok=True)
    assert second.path.relative_to(here / "second") == first.path.relative_to(here / "first")


def explained(signature):
    """Return the words of the command, and the explanation."""
    explanation = explain(Signature.parse(signature))
    return shlex.split(explanation.command), explanation


def signature(task="xquad-r-multi", model="org/m@abc", prompt="none", text="sentence"):
    return f"task:{task}|text:{text}|data:d|model:{model}|prompt:{prompt}|ties:docid-desc|hbt:0.1.0|mteb:2.26.24"


def test_command_names_folder_of_shipped_task():
    command, explanation = explained(signature("ntrex-ood-multi[en,sw,yo]"))
    assert command[-4:-1] == ["--tasks", "ntrex-ood-multi[en,sw,yo]", "--task-dir"]
    assert (shipped_folder() / "ood").samefile(command[-1])
    assert explanation.notes == ()
    assert "NTREX" in explanation.parts[0][2]


def test_unknown_task_gets_a_note():
    command, explanation = explained(signature("theirs-multi+keywords"))
    assert command[-2:] == ["--task-dir", "path/to/tasks"]
    assert "has no task theirs-multi" in explanation.notes[0]
    assert "theirs.yaml" in explanation.notes[0]


def test_missing_checkpoint_gets_a_note():
    command, explanation = explained(signature(model="local/gone@0123456789abcdef"))
    assert command[3] == "path/to/gone"
    assert "0123456789abcdef" in explanation.notes[0]


@pytest.mark.parametrize(
    ("label", "meaning", "noted"),
    [
        ("none", "nothing is put before", False),
        ("model", "the prompts of the named model", False),
        ("0a1b2c3d", "hash of the texts before queries and documents", True),
    ],
)
def test_hash_of_unknown_prompts_gets_a_note(label, meaning, noted):
    command, explanation = explained(signature(prompt=label))
    meanings = {name: text for name, _, text in explanation.parts}
    assert meanings["prompt"].startswith(meaning)
    assert "--query-prompt" not in command
    assert any("--query-prompt" in note for note in explanation.notes) == noted


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("org/m@abc", ["--model", "org/m", "--revision", "abc"]),
        ("org/m@no_revision_available", ["--model", "org/m"]),
        ("org/m@abc-remote-code", ["--model", "org/m", "--revision", "abc", "--trust-remote-code"]),
        ("hbt-bench/bm25@k1.2-b0.75", ["--model", "bm25@k1.2-b0.75"]),
    ],
)
def test_command_has_options_of_the_model(model, options):
    assert explained(signature(model=model))[0] == ["hbt-bench", "run", *options, "--tasks", "xquad-r-multi"]


@pytest.mark.parametrize(
    ("model", "words", "note"),
    [
        ("me/colbert@run-0123", ["score", "path/to/run", "--name", "me/colbert"], "whose rankings have this hash"),
        ("me/m@vectors-0123", ["run", "--model", "vectors:path/to/vectors"], "whose files hash to vectors-0123"),
        ("no_model_name/available@1", ["run", "--model", "path/to/model"], "got a model object without a name"),
        (
            "endpoint/m@1a2b-endpoint1-dot-fields3c4d",
            ["run", "--model", "http://HOST:PORT", "--served-name", "m", "--similarity", "dot"],
            "add --query-fields and --document-fields",
        ),
    ],
)
def test_models_that_the_revision_does_not_find_get_a_note(model, words, note):
    command, explanation = explained(signature(model=model))
    assert command == ["hbt-bench", *words, "--tasks", "xquad-r-multi"]
    assert note in explanation.notes[-1]


def test_languages_and_shifts_are_explained():
    command, explanation = explained(signature("xquad-r-multi[de,en]+typos@0.3"))
    assert command[-1] == "xquad-r-multi[de,en]+typos@0.3"
    meaning = explanation.parts[0][2]
    assert meaning.startswith("the languages de en alone")
    assert "documents of all languages in one pool" in meaning
    assert meaning.endswith("queries changed by typos@0.3")
    assert not explanation.notes
