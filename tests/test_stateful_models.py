"""Models whose vectors depend on the other texts of a call: their scores are those of MTEB's own evaluation."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.models import CompressionWrapper, SentenceTransformerEncoderWrapper
from mteb.types import OutputDType
from sentence_transformers import SentenceTransformer

from hbt_bench.mteb.tasks import SPLIT, get_tasks
from tests.factories import TestEncoder, hashed, torch_random_model
from tests.layouts import small_task

KEYS = ("ndcg_at_10", "map_at_1000", "recall_at_10")


class Calibrated(TestEncoder):
    """An encoder that rounds vectors by the scale of its first call."""

    def __init__(self):
        super().__init__(hashed())
        self.state = {}

    def encode(self, inputs, **options):
        found = super().encode(inputs, **options)
        scale = self.state.setdefault("scale", np.abs(found).max(axis=0))
        return np.round(found / scale * 2) / 2


class Quantized(SentenceTransformerEncoderWrapper):
    """An encoder that rounds vectors by the greatest number of each call."""

    def encode(self, inputs, **options):
        found = np.asarray(super().encode(inputs, **options))
        return np.round(found / np.abs(found).max() * 7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return torch_random_model(tmp_path_factory.mktemp("model") / "static", seed=5)


def loaded(folder):
    return SentenceTransformerEncoderWrapper(SentenceTransformer(str(folder), device="cpu"))


MODELS = {
    "int8": lambda folder: CompressionWrapper(loaded(folder), OutputDType.INT8),
    "uint4": lambda folder: CompressionWrapper(loaded(folder), OutputDType.UINT4),
    "clipped": lambda folder: CompressionWrapper(loaded(folder), OutputDType.INT8, clipping_margin=(0.05, 0.95)),
    "own rounding": lambda folder: Quantized(SentenceTransformer(str(folder), device="cpu")),
    "first call": lambda folder: Calibrated(),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return small_task(tmp_path_factory.mktemp("task"))


def evaluated(model, path, plain=False):
    """Return scores of a subset; `plain` is MTEB's own evaluation."""
    task = get_tasks(str(path))[0]
    task.load_data()
    evaluate = AbsTaskRetrieval.evaluate if plain else type(task).evaluate
    task._top_k = len(task.shared.collection.documents)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = evaluate(task, model, SPLIT, ["de"], encode_kwargs={"batch_size": 32}, num_proc=None)
    return {key: scores["de"][key] for key in KEYS}, task


@pytest.mark.parametrize("name", MODELS)
def test_scores_equal_those_of_mteb(folder, path, name, messages):
    ours, task = evaluated(MODELS[name](folder), path)
    plain, _ = evaluated(MODELS[name](folder), path, plain=True)
    assert ours == plain
    assert task.shared.ranks is None
    assert sum("depends on the other texts of a call" in message for message in messages) == 1


@pytest.mark.parametrize("kind", [OutputDType.FLOAT16, OutputDType.BF16, OutputDType.BINARY])
def test_vectors_of_single_texts_share_a_pass(folder, path, kind, messages):
    ours, task = evaluated(CompressionWrapper(loaded(folder), kind), path)
    assert ours == pytest.approx(evaluated(CompressionWrapper(loaded(folder), kind), path, plain=True)[0], abs=1e-5)
    assert task.shared.ranks is not None
    assert messages == []


def test_dynamic_quantization_is_stateful(folder, path):
    """The scale of the activations is that of a batch."""
    inner = SentenceTransformer(str(folder), device="cpu")
    torch.manual_seed(0)
    inner.append(Head())
    quantized = torch.ao.quantization.quantize_dynamic(inner, {torch.nn.Linear}, dtype=torch.qint8)
    _, task = evaluated(SentenceTransformerEncoderWrapper(quantized), path)
    assert task.shared.ranks is None


class Head(torch.nn.Module):
    """A linear layer on sentence vectors."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(16, 16)

    def forward(self, features, **options):
        features["sentence_embedding"] = self.linear(features["sentence_embedding"])
        return features


def test_a_trial_leaves_counts_alone(path):
    model = TestEncoder(hashed())
    task = get_tasks(str(path))[0]
    assert task.shares_pass(model, {"batch_size": 32})
    assert model.encoded.total() == 0
