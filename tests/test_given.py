"""A model object gets the results of the same model by name, with ranks, and is identified by what is in it."""

from __future__ import annotations

import numpy as np
import pytest

import hbt_bench
from hbt_bench.errors import ModelError, UsageError
from hbt_bench.identity.checkpoint import Checkpoint
from hbt_bench.mteb.given import GivenModel
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.results.store import StoredRanks
from tests.factories import LANGUAGES, TestEncoder, hashed, plain_bert, torch_random_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a tiny model of sentence-transformers."""
    return torch_random_model(tmp_path_factory.mktemp("given") / "ckpt", seed=3)


def loaded(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu")


def evaluated(model, output, **options):
    return hbt_bench.evaluate(model, "cldr-facts", output, languages=LANGUAGES, **options)


def ranks(result):
    stored = StoredRanks.read(next(result.path.parent.glob("*.ranks.npz")))
    return stored.ranks.pool


def test_object_name_and_folder_have_the_same_ranks_and_scores(folder, tmp_path):
    by_folder = evaluated(folder, tmp_path / "folder")
    by_object = evaluated(loaded(folder), tmp_path / "object", name="me/exp3")
    assert [result.task for result in by_object] == [result.task for result in by_folder]
    for given, named in zip(by_object, by_folder, strict=True):
        assert given.scores == pytest.approx(named.scores, abs=0, nan_ok=True)
        assert given.intervals == named.intervals
        assert given.model == "me/exp3"
        assert given.fields["data"] == named.fields["data"]
    assert np.array_equal(ranks(by_object[2]), ranks(by_folder[2]))
    assert by_object[0].revision == by_folder[0].revision == Checkpoint(folder).revision  # the same weights


def test_object_with_other_weights_is_another_model(folder, tmp_path):
    import torch

    model = loaded(folder)
    first = GivenModel(model, "me/exp3").identity
    with torch.no_grad():
        model[0].embedding.weight[5] += 1
    second = GivenModel(model, "me/exp3").identity
    assert first[0] == second[0] == "me/exp3"
    assert first[1] != second[1]
    assert GivenModel(model, "me/exp3", "v2").identity == ("me/exp3", "v2")


def test_prompts_of_an_object_are_used_and_recorded(tmp_path):
    import torch
    from sentence_transformers import SentenceTransformer

    torch.manual_seed(0)
    model = SentenceTransformer(str(plain_bert(tmp_path / "bert")), device="cpu")
    model.prompts = {"query": "ask ", "document": "read "}
    model.save(str(tmp_path / "prompted"))
    by_object = evaluated(model, tmp_path / "object", name="me/prompted")[0]
    by_folder = evaluated(tmp_path / "prompted", tmp_path / "folder")[0]
    assert by_object.scores == pytest.approx(by_folder.scores, abs=0, nan_ok=True)
    assert by_object.fields["prompt"] == by_folder.fields["prompt"] != "none"


def test_encoder_of_mteb_keeps_ranks_and_is_not_encoded_again(tmp_path):
    encoder = TestEncoder(hashed(), name="me/hashed", revision="7")
    first = evaluated(encoder, tmp_path)
    count = encoder.encoded.total()
    again = evaluated(encoder, tmp_path)
    assert count > 0
    assert encoder.encoded.total() == count
    assert [result.signature for result in again] == [result.signature for result in first]
    assert "model:me/hashed@7|prompt:model|" in first[2].signature
    assert first[2].path.parent == tmp_path / "me__hashed" / "7"
    assert ranks(first[2]).min() == 1
    evaluated(encoder, tmp_path, overwrite=True)
    assert encoder.encoded.total() == 2 * count


def test_name_and_revision_replace_those_of_an_encoder(tmp_path):
    encoder = TestEncoder(hashed(), name="me/hashed", revision="7")
    result = evaluated(encoder, tmp_path, name="me/other", revision="8")[0]
    assert (result.model, result.revision) == ("me/other", "8")
    assert encoder.mteb_model_meta.name == "me/hashed"  # the caller's object is as it was


class Nameless(TestEncoder):
    def __init__(self, name, revision):
        super().__init__(hashed(), name=name, revision=revision)


class FixedMeta:
    """An encoder whose class decides its metadata."""

    def __init__(self):
        self.inner = TestEncoder(hashed(), name="me/fixed", revision="1")

    @property
    def mteb_model_meta(self):
        return self.inner.mteb_model_meta

    def encode(self, inputs, **options):
        return self.inner.encode(inputs, **options)

    def similarity(self, first, second):
        return self.inner.similarity(first, second)

    def similarity_pairwise(self, first, second):
        return self.inner.similarity_pairwise(first, second)


@pytest.mark.parametrize(
    ("model", "options", "fragments"),
    [
        (object(), {"name": "me/x", "revision": "1"}, ["object", "lacks encode", "AbsEncoder"]),
        (Nameless(None, "1"), {}, ["has no name", "pass name=", "me/exp3"]),
        (Nameless("me/x", None), {}, ["has no revision", "pass revision="]),
        (Nameless("me/x", "no_revision_available"), {}, ["has no revision"]),
        (TestEncoder(hashed()), {"name": "   "}, ["has no name", "pass name="]),
        ("bm25", {"name": "me/x"}, ["name= is for model objects"]),
        (ModelRequest("org/model"), {"name": "me/x"}, ["Give given_name= and revision= to the ModelRequest"]),
        (ModelRequest("org/model"), {"revision": "7"}, ["Give given_name= and revision= to the ModelRequest"]),
        (TestEncoder(hashed()), {"batch_size": 0}, ["batch_size is 0, but must be a whole number from 1"]),
        (TestEncoder(hashed()), {"batch_size": 2.5}, ["batch_size is 2.5, but must be"]),
    ],
)
def test_objects_without_identity_are_refused(model, options, fragments, tmp_path):
    with pytest.raises(UsageError) as raised:
        evaluated(model, tmp_path, **options)
    assert all(fragment in str(raised.value) for fragment in fragments)


def test_metadata_that_cannot_be_replaced(tmp_path):
    result = evaluated(FixedMeta(), tmp_path)[0]
    assert (result.model, result.revision) == ("me/fixed", "1")
    with pytest.raises(UsageError, match="leave out name="):
        evaluated(FixedMeta(), tmp_path, name="me/other")


def test_cross_encoder_object_is_refused(tmp_path):
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(plain_bert(tmp_path / "bert")), num_labels=1, device="cpu")
    with pytest.raises(ModelError, match="cross-encoder"):
        evaluated(model, tmp_path / "out", name="me/reranker")


def test_model_request_is_taken_too(folder, tmp_path):
    assert evaluated(ModelRequest(str(folder)), tmp_path)[0].model == "local/ckpt"


def test_languages_may_be_a_text(folder, tmp_path):
    [result] = hbt_bench.evaluate(str(folder), "cldr-facts-mono", tmp_path, languages="deu, en")
    assert result.task == "cldr-facts-mono[de,en]"
