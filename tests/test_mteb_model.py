"""Models by name: what is told before loading, and loading from the hub's cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from hbt_bench.errors import ModelError, UsageError
from hbt_bench.tasks.mteb_model import ModelRequest
from tests.encoders import torch_random_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def hub_cache(tmp_path_factory):
    """A hub cache that holds one model, as the hub's client lays it out."""
    home = tmp_path_factory.mktemp("hf")
    model = home / "hub" / "models--tests--tiny"
    torch_random_model(model / "snapshots" / COMMIT, seed=3)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(COMMIT)
    return home


def run(*arguments, home):
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "hbt_bench", "run", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def test_a_hub_model_keeps_its_commit(hub_cache, tmp_path):
    options = ["--tasks", "cldr-facts-multi", "--languages", "de,en", "--output", str(tmp_path), "--format", "json"]
    found = run("--model", "tests/tiny", *options, home=hub_cache)
    assert found.returncode == 0, found.stderr
    result = json.loads(found.stdout)["results"][0]
    assert (result["model"], result["revision"]) == ("tests/tiny", COMMIT)
    assert f"|model:tests/tiny@{COMMIT}|" in result["signature"]
    assert result["path"] == str(tmp_path / "tests__tiny" / COMMIT / "CldrFactsMultilingualRetrieval_de_en.json")


def test_a_hub_model_that_is_not_there_is_one_sentence(hub_cache, tmp_path):
    found = run("--model", "tests/none", "--tasks", "cldr-facts-mono", "--output", str(tmp_path), home=hub_cache)
    assert found.returncode == 4
    assert found.stdout == ""
    lines = found.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("hbt-bench: cannot load tests/none (neither a folder here nor loadable)")


def test_a_stock_task_and_ours_run_in_one_call(hub_cache, tmp_path):
    """SciFact needs the hub: without it the error names the task, and what is done before stays."""
    options = ["--tasks", "cldr-facts-mono,SciFact", "--languages", "de", "--output", str(tmp_path)]
    found = run("--model", "tests/tiny", *options, home=hub_cache)
    assert found.returncode == 4
    assert "tests/tiny failed on SciFact" in found.stderr
    assert "Traceback" not in found.stderr
    assert len(list(tmp_path.rglob("CldrFactsMonolingualRetrieval_de.json"))) == 1


@pytest.mark.parametrize("name", ["nope", "./nope", "/nope/ckpt", "a/b/c", "~/nope"])
def test_what_can_be_no_model_is_told_at_once(name):
    with pytest.raises(UsageError, match="there is no such folder, and a hub name has the form organisation/model"):
        ModelRequest(name)


def test_a_mistyped_folder_is_suggested(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch_random_model(tmp_path / "runs" / "checkpoint", seed=1)
    with pytest.raises(UsageError, match="did you mean 'runs/checkpoint'"):
        ModelRequest("runs/chekpoint/")


def test_bm25_takes_no_prompts():
    with pytest.raises(UsageError, match="bm25 takes no prompts"):
        ModelRequest("bm25", query_prompt="query: ")


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(ModelError, match="holds no model"):
        ModelRequest(str(tmp_path))
