"""Commands that `show` prints: run as they are, they make the same number of the same signature."""

from __future__ import annotations

import json
import shlex

import pytest

from hbt_bench.cli.main import run as command
from hbt_bench.reports.explain import explain, parse_signature
from hbt_bench.results.store import Result, read_all
from hbt_bench.tasks import registry
from tests.factories import torch_random_model

MINE = """
name: mine
extends: cldr-facts
mteb_name: Mine
title: My facts
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to work in, with a task file of its own that is known by its folder alone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own tasks").mkdir()
    (tmp_path / "own tasks" / "mine.yaml").write_text(MINE)
    yield tmp_path
    registry.forget()


def printed(capsys, *given):
    """The command that `show` prints for a person, and the one it gives to a program."""
    assert command(["show", *given, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["command"]
    assert command(["show", *given]) == 0
    assert f"  $ {found}\n" in capsys.readouterr().out
    return shlex.split(found)


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
def test_what_is_printed_makes_the_number(here, model, tasks, options, capsys):
    if model == "./ckpt":
        torch_random_model(here / "ckpt", seed=3)
    run = ["--model", model, "--tasks", tasks, *options]
    assert command(["run", *run, "--output", "first"]) == 0
    [first] = read_all(here / "first")
    assert isinstance(first, Result)
    registry.forget()  # as in another process
    capsys.readouterr()
    folder = ["--task-dir", "own tasks"] if "own tasks" in options else []
    program, *arguments = printed(capsys, str(first.path), *folder)
    assert program == "hbt-bench"
    registry.forget()
    assert command([*arguments, "--output", "second"]) == 0
    [second] = read_all(here / "second")
    assert (second.signature, second.subsets) == (first.signature, first.subsets)
    assert second.path.relative_to(here / "second") == first.path.relative_to(here / "first")


def words(signature):
    found = explain(parse_signature(signature))
    return shlex.split(found.command), found


def signature(task="xquad-r-multi", model="org/m@abc", prompt="none", text="sentence"):
    return f"task:{task}|text:{text}|data:d|model:{model}|prompt:{prompt}|ties:docid-desc|hbt:0.1.0|mteb:2.26.24"


def test_a_task_in_a_folder_of_the_shipped_ones_is_named_with_it():
    """Those of tasks/ood, which are known where their folder is named."""
    found, about = words(signature("ntrex-ood-multi[en,sw,yo]"))
    folder = registry.shipped().path / "ood"
    assert found[-4:-2] == ["--tasks", "ntrex-ood-multi[en,sw,yo]"]
    assert found[-2] == "--task-dir"
    assert folder.samefile(found[-1])
    assert about.notes == ()
    assert "NTREX" in about.parts[0][2]


def test_what_is_not_here_is_marked_as_such():
    found, about = words(signature("theirs-multi+keywords"))
    assert found[-2:] == ["--task-dir", "path/to/tasks"]
    assert "has no task theirs-multi: put the folder that has its file theirs.yaml" in about.notes[0]
    found, about = words(signature(model="local/gone@0123456789abcdef"))
    assert found[3] == "path/to/gone"
    assert about.notes[0].endswith("whose files hash to 0123456789abcdef, whatever its name is now")


def test_what_a_hash_of_prompts_does_not_say():
    found, about = words(signature(prompt="0a1b2c3d"))
    meaning = next(said for name, _, said in about.parts if name == "prompt")
    assert meaning == "hash of the texts before queries and documents: the model's own, or given by hand"
    assert "a hash does not say the prompts" in about.notes[-1]
    assert "--query-prompt" not in found
    about = words(signature(prompt="model"))[1]
    meaning = next(said for name, _, said in about.parts if name == "prompt")
    assert meaning == "the prompts that the named model comes with"


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("org/m@abc", ["--model", "org/m", "--revision", "abc"]),
        ("org/m@no_revision_available", ["--model", "org/m"]),
        ("org/m@abc-remote-code", ["--model", "org/m", "--revision", "abc", "--trust-remote-code"]),
        ("hbt-bench/bm25@k1.2-b0.75", ["--model", "bm25@k1.2-b0.75"]),
    ],
)
def test_options_of_models(model, options):
    assert words(signature(model=model))[0] == ["hbt-bench", "run", *options, "--tasks", "xquad-r-multi"]


def test_a_shifted_task_is_explained():
    found, about = words(signature("xquad-r-multi[de,en]+typos@0.3"))
    assert found[-1] == "xquad-r-multi[de,en]+typos@0.3"
    meaning = about.parts[0][2]
    assert meaning.startswith("the languages de en alone, so another pool; ")
    assert meaning.endswith("documents of all languages in one pool; queries changed by typos@0.3")
    assert not about.notes
