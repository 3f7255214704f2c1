"""Test which weights are trained: adapters and frozen modules, and the models that they leave."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from hbt_bench.errors import ModelError, UsageError
from hbt_bench.identity.checkpoint import RECIPE_FILE
from hbt_bench.training import weights
from hbt_bench.training.inits import resolve
from hbt_bench.training.models import load
from hbt_bench.training.recipe import Recipe
from tests.factories import SMALL, train, weights_hash
from tests.test_inits import transformer
from tests.test_training import StoppedError, stop_after

TEXTS = ["a river", "the sea and the sky"]


def used(folder):
    return json.loads((folder / RECIPE_FILE).read_text())["used"]


@pytest.fixture
def bert(tmp_path):
    return transformer(tmp_path / "bert")


def test_lora_needs_peft(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"`lora` needs the package peft\. Run pip install 'hbt-bench\[lora\]'"):
        resolve(Recipe(lora={"r": 4}))


def test_lora_changes_linear_layers_by_its_rank(tmp_path, bert, monkeypatch):
    """The folder has a plain model, with the vectors of the model that was trained."""
    pytest.importorskip("peft", reason="adapters need the package peft")
    vectors, merge = {}, weights.merge
    monkeypatch.setattr(weights, "merge", lambda model: (vectors.update(trained=model.encode(TEXTS)), merge(model)))
    output = train(tmp_path / "out", init=str(bert), lora={"r": 2}, steps=3)
    assert not list(output.glob("adapter*"))
    assert np.allclose(SentenceTransformer(str(output), device="cpu").encode(TEXTS), vectors["trained"], atol=1e-6)
    before, after = load_file(bert / "model.safetensors"), load_file(output / "model.safetensors")
    assert before.keys() == after.keys()
    ranks = {
        name: int(torch.linalg.matrix_rank(after[name] - before[name], tol=1e-6))
        for name in before
        if after[name].ndim == 2
    }
    layers = {name for name in ranks if name.startswith("encoder.") and name.endswith(".weight")}
    assert {name: ranks[name] for name in layers} == dict.fromkeys(layers, 2)
    assert all(torch.equal(after[name], before[name]) for name in before.keys() - layers)
    sizes = sum(2 * sum(before[name].shape) for name in layers)
    assert used(output)["trained_parameters"] == sizes
    assert used(output)["parameters"] == sizes + sum(value.numel() for value in before.values())


def test_stopped_lora_continues_to_same_weights(tmp_path):
    pytest.importorskip("peft", reason="adapters need the package peft")
    changes = {"lora": {"r": 2, "dropout": 0.5, "targets": ["q_lin"]}, "steps": 6, "save_every": 2}
    whole = train(tmp_path / "whole", **changes)
    with pytest.raises(StoppedError):
        train(tmp_path / "stopped", progress=stop_after(5), **changes)
    assert weights_hash(train(tmp_path / "stopped", **changes)) == weights_hash(whole)


def test_layers_that_cannot_be_adapted():
    pytest.importorskip("peft", reason="adapters need the package peft")
    with pytest.raises(UsageError, match=r"`targets: query` are not layers of the init tiny:1x32: choose among k_lin"):
        load(Recipe(**SMALL | {"lora": {"targets": ["query"]}}), TEXTS)


def test_frozen_modules_keep_their_weights(tmp_path, bert):
    output = train(tmp_path / "out", init=str(bert), freeze=["embeddings", "layer.0.attention"], steps=2)
    before, after = load_file(bert / "model.safetensors"), load_file(output / "model.safetensors")
    kept = {name for name in before if torch.equal(before[name], after[name])}
    frozen = {name for name in before if name.startswith("embeddings.") or ".layer.0.attention." in name}
    unused = {name for name in before if name.startswith("pooler.")}
    assert kept == frozen | unused
    total = sum(value.numel() for value in before.values())
    trained = total - sum(before[name].numel() for name in frozen)
    assert used(output)["trained_parameters"] == trained
    assert used(output)["parameters"] == total


def test_number_of_trained_weights_is_logged(bert, messages):
    load(Recipe(init=str(bert), freeze=["encoder"]), ())
    # 82 letters, 64 positions and 2 types of 16 dimensions with a norm, and a pooler; the layer has 1,696 weights
    assert messages == [f"training {(82 + 64 + 2) * 16 + 32 + 17 * 16:,} of 4,368 weights"]


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["embedings"], UsageError, "`freeze: embedings` is not a module of the init .*; did you mean 'embeddings'"),
        (["layer.1"], UsageError, "`freeze: layer.1` is not a module of the init .*; did you mean 'layer.0'"),
        (["embeddings", "encoder", "pooler"], ModelError, "all weights of the init .* are frozen"),
    ],
)
def test_modules_that_cannot_be_frozen(bert, names, error, message):
    with pytest.raises(error, match=message):
        load(Recipe(init=str(bert), freeze=names), ())
