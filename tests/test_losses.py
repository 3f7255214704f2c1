"""Test the losses against values computed by hand."""

import math

import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from hbt_bench.training import losses, models
from hbt_bench.training.recipe import Recipe

# three queries in the plane, their passages, and a hard negative each; all of length 1
QUERIES = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
PASSAGES = torch.tensor([[0.8, 0.6], [0.0, 1.0], [1.0, 0.0]])
NEGATIVES = torch.tensor([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]])
COSINES = [[0.8, 0.0, 1.0], [0.6, 1.0, 0.0], [0.96, 0.8, 0.6]]
NEGATIVE_COSINES = [[0.0, 1.0, -1.0], [1.0, 0.0, 0.0], [0.8, 0.6, -0.6]]


class Identity(nn.Module):
    """A model that returns its features as embeddings."""

    device = torch.device("cpu")

    def forward(self, features):
        return {"sentence_embedding": features["x"]}


def value(recipe, *columns):
    loss = losses.build(recipe, Identity(), gather=False)
    terms = loss([{"x": column} for column in columns], None)
    return float(sum(terms.values()) if isinstance(terms, dict) else terms)


def log_sum(*cosines, temperature):
    return math.log(sum(math.exp(cosine / temperature) for cosine in cosines))


def test_in_batch_loss_by_hand():
    expected = sum(log_sum(*row, temperature=0.5) - row[n] / 0.5 for n, row in enumerate(COSINES)) / 3
    assert value(Recipe(temperature=0.5), QUERIES, PASSAGES) == pytest.approx(expected, abs=1e-6)


def test_in_batch_loss_with_hard_negatives_by_hand():
    rows = [cosines + negatives for cosines, negatives in zip(COSINES, NEGATIVE_COSINES, strict=True)]
    expected = sum(log_sum(*row, temperature=0.5) - row[n] / 0.5 for n, row in enumerate(rows)) / 3
    assert value(Recipe(temperature=0.5), QUERIES, PASSAGES, NEGATIVES) == pytest.approx(expected, abs=1e-6)


def test_paper_loss_by_hand():
    """The denominator has the query's passage and all negatives of the batch, and no other passage."""
    expected = 0.0
    for n in range(3):
        expected += log_sum(COSINES[n][n], *NEGATIVE_COSINES[n], temperature=0.1) - COSINES[n][n] / 0.1
    assert value(Recipe(loss="paper", temperature=0.1), QUERIES, PASSAGES, NEGATIVES) == pytest.approx(
        expected / 3, abs=1e-6
    )


def test_symmetric_by_hand():
    columns = list(zip(*COSINES, strict=True))
    forth = sum(log_sum(*row, temperature=0.5) - row[n] / 0.5 for n, row in enumerate(COSINES)) / 3
    back = sum(log_sum(*column, temperature=0.5) - column[n] / 0.5 for n, column in enumerate(columns)) / 3
    loss = value(Recipe(temperature=0.5, symmetric=True), QUERIES, PASSAGES)
    assert loss == pytest.approx((forth + back) / 2, abs=1e-6)


def test_divergence_by_hand():
    parallel = QUERIES[[1, 0, 2]]
    recipe = Recipe(temperature=0.5, distillation=2.0)
    divergence = 0.0
    for n, other in enumerate((1, 0, 2)):
        total, other_total = (log_sum(*COSINES[row], temperature=0.5) for row in (n, other))
        for column in range(3):
            log_p = COSINES[n][column] / 0.5 - total
            log_other = COSINES[other][column] / 0.5 - other_total
            divergence += math.exp(log_other) * (log_other - log_p)
    plain = value(Recipe(temperature=0.5), QUERIES, PASSAGES)
    assert value(recipe, QUERIES, PASSAGES, parallel) == pytest.approx(plain + 2 * divergence / 3, abs=1e-5)
    assert value(recipe, QUERIES, PASSAGES, QUERIES) == pytest.approx(plain, abs=1e-6)


def test_divergence_does_not_train_the_parallel_query():
    queries, parallel = QUERIES.clone().requires_grad_(), QUERIES[[1, 0, 2]].clone().requires_grad_()
    loss = losses.build(Recipe(distillation=1.0), Identity(), gather=False)
    loss([{"x": queries}, {"x": PASSAGES}, {"x": parallel}], None)["divergence"].backward()
    assert parallel.grad is None
    assert queries.grad.abs().sum() > 0


TEXTS = [f"{word} {number}" for number in range(8) for word in ("river", "mountain", "city")]


def gradients(recipe):
    torch.manual_seed(0)
    model = models.load(recipe, TEXTS)
    model.eval()  # the cached loss would draw another dropout
    loss = losses.build(recipe, model, gather=False)
    features = [model.preprocess([f"{word} {n}" for n in range(8)]) for word in ("river", "city")]
    total = loss(features, None)
    total.backward()
    return float(total.detach()), {name: weights.grad.clone() for name, weights in model.named_parameters()}


@pytest.mark.parametrize("symmetric", [False, True])
def test_cached_loss_has_equal_gradients(symmetric):
    base = {"init": "tiny:1x32", "vocabulary": 300, "symmetric": symmetric}
    plain, gradient = gradients(Recipe(**base))
    cached, other = gradients(Recipe(cached=3, **base))
    assert cached == pytest.approx(plain, abs=1e-6)
    assert any(values.abs().max() > 1e-3 for values in gradient.values())
    for name, values in gradient.items():
        assert (values - other[name]).abs().max() < 1e-5, name


def test_matryoshka_trains_all_dimensions(tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    from hbt_bench.training.models import learn_subwords

    model = SentenceTransformer(modules=[StaticEmbedding(learn_subwords(["a b"], 300), embedding_dim=16)])
    assert losses.build(Recipe(matryoshka=(4,)), model, gather=False).matryoshka_dims == (16, 4)
    assert losses.build(Recipe(matryoshka=(16, 8)), model, gather=False).matryoshka_dims == (16, 8)
    model.truncate_dim = 6
    assert losses.build(Recipe(matryoshka=(4,)), model, gather=False).matryoshka_dims == (6, 4)


def test_matryoshka_sums_over_leading_dimensions():
    base = {"init": "tiny:1x32", "vocabulary": 300}
    torch.manual_seed(0)
    model = models.load(Recipe(**base), TEXTS)
    assert isinstance(model, SentenceTransformer)
    model.eval()
    features = [model.preprocess(TEXTS[start:8:2]) for start in (0, 1)]
    matryoshka = losses.build(Recipe(matryoshka=(32, 8), **base), model, gather=False)(features, None)
    vectors = [model(dict(feature))["sentence_embedding"].detach() for feature in features]
    parts = [
        losses.build(Recipe(**base), Identity(), gather=False)([{"x": vector[:, :size]} for vector in vectors], None)
        for size in (32, 8)
    ]
    assert float(matryoshka) == pytest.approx(float(sum(parts)), abs=1e-5)
