"""Latent semantic indexing: learned across languages from parallel contexts alone, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from hbt_bench.corpus import cldr
from hbt_bench.ranking.checkpoint import Checkpoint
from hbt_bench.reporting.evaluation import Evaluation
from hbt_bench.tasks.mteb_model import ModelRequest
from hbt_bench.tasks.registry import select_tasks
from hbt_bench.training.lsi import Lsi

LANGUAGES = ("de", "en", "sw", "tr")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Both kinds, fitted on the training split in four languages."""
    train = cldr.read("train", LANGUAGES)
    folder = tmp_path_factory.mktemp("lsi")
    return {
        parallel: Lsi(parallel, vocabulary=3000).fit(train, folder / f"lsi-{parallel}") for parallel in (False, True)
    }


def test_parallel_contexts_are_what_aligns_languages(fitted, tmp_path):
    scores = {}
    for parallel, folder in fitted.items():
        selections = select_tasks("cldr-facts")
        mono, cross, multi = Evaluation(ModelRequest(str(folder)), selections, tmp_path, LANGUAGES).run()
        scores[parallel] = (mono.scores["AP"], cross.scores["AP"], multi.scores["rank_distance"])
    assert scores[True][1] > 2 * scores[False][1]
    assert scores[True][2] < scores[False][2] / 2
    assert min(scores[True][0], scores[False][0]) > 0.5


def test_a_fit_repeats(fitted, tmp_path):
    again = Lsi(True, vocabulary=3000).fit(cldr.read("train", LANGUAGES), tmp_path / "again")
    assert Checkpoint.at(again).revision == Checkpoint.at(fitted[True]).revision


def test_what_is_unknown_has_no_vector(fitted):
    vectors = load_file(fitted[True] / "model.safetensors")["embedding.weight"]
    tokenizer = Tokenizer.from_file(str(fitted[True] / "tokenizer.json"))
    assert not vectors[tokenizer.token_to_id("[UNK]")].any()
    assert vectors.shape == (tokenizer.get_vocab_size(), 256)
    assert np.count_nonzero(vectors.any(axis=1)) > 1000
