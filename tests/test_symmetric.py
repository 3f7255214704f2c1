"""Models with equal vectors for queries and documents encode each text of a bitext once."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.mteb.shared_pass import SharedPass
from hbt_bench.ranking.dense import DenseScorer
from hbt_bench.ranking.encode import distinct_texts
from hbt_bench.ranking.ranks import rank
from hbt_bench.tasks.registry import select_tasks
from tests.factories import TestEncoder, hashed, torch_random_model


def bitext(extra=()):
    """Two sentences in two languages. Each is the query for its translation; `extra` are more German documents."""
    texts = {"de": ["Ein Satz.", "Noch ein Satz."], "en": ["A sentence.", "Another sentence."]}
    queries = [Query(f"{code}-q{n}", code, text, f"s{n}") for code in texts for n, text in enumerate(texts[code])]
    documents = [Document(f"{code}-d{n}", code, text) for code in texts for n, text in enumerate(texts[code])]
    documents += [Document(f"de-x{n}", "de", text) for n, text in enumerate(extra)]
    other = {"de": "en", "en": "de"}
    relevant = {query.id: {f"{other[query.language]}-d{query.question[1:]}": 1} for query in queries}
    return Collection.from_records("bitext", queries, documents, relevant)


class Counting:
    """An encoder that counts each text and role."""

    def __init__(self, symmetric):
        self.symmetric = symmetric
        self.encoded = Counter()
        self.vector = hashed()

    def encode(self, texts, role, language):
        self.encoded.update((text, role) for text in texts)
        return np.stack([self.vector(text, role) for text in texts])

    def similarity(self, queries, documents):
        return queries @ documents.T


@pytest.mark.parametrize(
    ("symmetric", "extra", "encoded"),
    [(True, (), 4), (False, (), 8), (True, ["Etwas anderes."], 2 + 3 + 2)],  # German queries, German and English texts
)
def test_symmetric_model_encodes_each_text_once(symmetric, extra, encoded):
    collection, encoder, steps = bitext(extra), Counting(symmetric), []
    ranks = rank(
        collection, DenseScorer.from_collection(collection, encoder, progress=steps.append), confidences=False
    )[0]
    assert encoder.encoded.total() == sum(steps) == distinct_texts(collection, symmetric) == encoded
    expected = rank(collection, DenseScorer.from_collection(collection, Counting(False)), confidences=False)[0]
    assert np.array_equal(ranks.pool, expected.pool)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return torch_random_model(tmp_path_factory.mktemp("models") / "tiny", seed=3)


def count_texts(model):
    """Return the number of texts that a pass over the bitext encodes."""
    return SharedPass(select_tasks("cldr-facts-multi")[0].spec, bitext()).texts(model)


def test_which_models_are_symmetric(checkpoint):
    from mteb.models import SentenceTransformerEncoderWrapper
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Router

    assert count_texts(ModelRequest(str(checkpoint)).load()) == 4
    assert count_texts(ModelRequest(str(checkpoint), query_prompt="query: ").load()) == 8
    assert count_texts(ModelRequest(str(checkpoint), document_prompt="passage: ").load()) == 8
    assert count_texts(TestEncoder(hashed())) == 8
    query, document = (SentenceTransformer(str(checkpoint))[0] for _ in range(2))
    routed = SentenceTransformer(modules=[Router.for_query_document([query], [document])])
    assert count_texts(SentenceTransformerEncoderWrapper(routed)) == 8
    prompted = SentenceTransformer(str(checkpoint), prompts={"query": "", "document": "", "Retrieval": "find: "})
    assert count_texts(SentenceTransformerEncoderWrapper(prompted)) == 8

    foreign = SentenceTransformer(modules=[query, torch.nn.Identity()])
    assert count_texts(SentenceTransformerEncoderWrapper(foreign)) == 8

    class Subclass(SentenceTransformer):
        pass

    assert count_texts(SentenceTransformerEncoderWrapper(Subclass(str(checkpoint)))) == 8
