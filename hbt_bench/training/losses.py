"""The losses. Those of sentence-transformers where it has them, in one place; two of the field's that it lacks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
)
from sentence_transformers.util import all_gather_with_grad, cos_sim
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from hbt_bench.training.recipe import Recipe


class PaperLoss(nn.Module):
    """Equation 1 of arXiv 2408.10536 to the letter: a query's own passage against the hard negatives of the batch.

    The passages of other queries are not in the denominator. Features: query, passage, hard negatives.
    """

    def __init__(self, model: SentenceTransformer, temperature: float, *, gather: bool = False) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.gather = gather

    def forward(self, features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        """The mean over queries, a scalar."""
        embeddings = [self.model(one)["sentence_embedding"] for one in features]
        return self.compute_loss_from_embeddings(embeddings, labels)

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor | None) -> Tensor:
        """The same from embeddings of shape (rows, dimensions), one a feature."""
        query, passage, *negatives = (functional.normalize(one, dim=-1) for one in embeddings)
        against = torch.cat([all_gather_with_grad(one) if self.gather else one for one in negatives])
        own = (query * passage).sum(dim=1, keepdim=True)
        scores = torch.cat([own, query @ against.T], dim=1) / self.temperature
        return functional.cross_entropy(scores, torch.zeros(len(query), dtype=torch.long, device=query.device))


class ParallelQueryLoss(nn.Module):
    """InfoNCE plus the divergence from the ranking that the parallel query gives the batch's passages.

    After LaKDA (arXiv 2509.06195): softmax over the passages of the batch at the loss's temperature, KL divergence
    from the parallel query's distribution, which is not trained by it. Features: query, passage, hard negatives, and
    last the parallel query.
    """

    def __init__(self, ranking: MultipleNegativesRankingLoss, weight: float, *, gather: bool = False) -> None:
        super().__init__()
        self.model = ranking.model
        self.ranking = ranking
        self.weight = weight
        self.gather = gather

    def forward(self, features: Iterable[dict[str, Tensor]], labels: Tensor) -> dict[str, Tensor]:
        """Both terms, by name; their sum is trained."""
        *embeddings, parallel = [self.model(one)["sentence_embedding"] for one in features]
        passages = torch.cat([all_gather_with_grad(one) if self.gather else one for one in embeddings[1:]])
        own = cos_sim(embeddings[0], passages) * self.ranking.scale
        other = cos_sim(parallel, passages).detach() * self.ranking.scale
        divergence = functional.kl_div(
            own.log_softmax(dim=1), other.log_softmax(dim=1), reduction="batchmean", log_target=True
        )
        return {
            "ranking_loss": self.ranking.compute_loss_from_embeddings(embeddings, labels),
            "divergence": self.weight * divergence,
        }


def build(recipe: Recipe, model: SentenceTransformer, *, gather: bool) -> nn.Module:
    """The loss of a recipe; with `gather` the passages of all processes are negatives."""
    if recipe.loss == "paper":
        loss: nn.Module = PaperLoss(model, recipe.temperature, gather=gather)
    else:
        options: dict[str, Any] = {"scale": 1 / recipe.temperature, "gather_across_devices": gather}
        if recipe.symmetric:
            options |= {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}
        if recipe.cached:
            loss = CachedMultipleNegativesRankingLoss(model, mini_batch_size=recipe.cached, **options)
        else:
            loss = MultipleNegativesRankingLoss(model, **options)
    if recipe.distillation:
        loss = ParallelQueryLoss(loss, recipe.distillation, gather=gather)
    if recipe.matryoshka:
        loss = MatryoshkaLoss(model, loss, sorted(recipe.matryoshka, reverse=True))
    return loss
