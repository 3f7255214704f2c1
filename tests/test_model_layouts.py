"""Layouts of model folders: our vectors equal those of sentence-transformers, by folder and by name on the hub."""

from __future__ import annotations

import importlib.util
from functools import cache

import numpy as np
import pytest
import torch

from hbt_bench.mteb.models import ModelRequest
from hbt_bench.mteb.shared_pass import MtebEncoder
from tests.layouts import COMMIT, DENSE, adapter, hub_cache, plain

TEXTS = ["The old bridge stands", "Where is the river", "Burg near the Bridge of old", "a", "market, castle: 17!"]
LAYOUTS = {**DENSE, "adapter": adapter} if importlib.util.find_spec("peft") else DENSE


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Return a function that saves a layout, and loads it by folder and by name from a hub cache."""
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path / "hub"))

    def load(make):
        make(tmp_path / "model")
        hub_cache(tmp_path / "model", tmp_path / "hub", "org/model")
        names = [str(tmp_path / "model"), "org/model"]
        if make is adapter:  # peft does not look in the cache of sentence-transformers
            names.pop()
        return tmp_path / "model", [ModelRequest(name).load() for name in names]

    return load


@cache
def metadata():
    import mteb

    return mteb.get_task("SciFact").metadata


def encoded(model, role):
    return MtebEncoder(model, metadata(), {"batch_size": 2}).encode(TEXTS, role, "en")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_vectors_equal_sentence_transformers(loaded, layout):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding

    folder, models = loaded(LAYOUTS[layout])
    if layout == "model2vec":  # sentence-transformers does not load it by itself
        reference = SentenceTransformer(modules=[StaticEmbedding.load(str(folder)), Normalize()], device="cpu")
    else:
        reference = SentenceTransformer(str(folder), device="cpu")
    for role, encode in (("query", reference.encode_query), ("document", reference.encode_document)):
        expected = encode(TEXTS, batch_size=2)  # of the same size: half precision rounds
        assert len(np.unique(expected.round(4), axis=0)) > 2
        for model in models:
            np.testing.assert_allclose(encoded(model, role), expected, rtol=0, atol=2e-5)
    for model in models[1:]:
        assert (model.mteb_model_meta.name, model.mteb_model_meta.revision) == ("org/model", COMMIT)


def test_plain_transformer_is_mean_of_tokens(loaded):
    """Without sentence-transformers: the mean of the last layer over all tokens, the ends included."""
    from transformers import AutoModel, AutoTokenizer

    folder, models = loaded(plain)
    tokenizer, transformer = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    with torch.no_grad():
        states = [transformer(**tokenizer(text, return_tensors="pt")).last_hidden_state[0] for text in TEXTS]
    expected = np.stack([state.mean(0).numpy() for state in states])
    for model in models:
        np.testing.assert_allclose(encoded(model, "query"), expected, rtol=0, atol=2e-5)


def test_prompts_are_in_the_vectors(loaded):
    """The prompts of the layout "prompts", put before the texts by hand."""
    from sentence_transformers import SentenceTransformer

    folder, models = loaded(DENSE["prompts"])
    reference = SentenceTransformer(str(folder), device="cpu")
    for role, prompt in (("query", "ask: "), ("document", "answer: ")):
        expected = reference.encode([prompt + text for text in TEXTS], prompt="")
        for model in models:
            np.testing.assert_allclose(encoded(model, role), expected, rtol=0, atol=2e-5)
