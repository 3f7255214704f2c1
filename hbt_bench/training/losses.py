"""Training losses: those of sentence-transformers, and two from papers that it lacks."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers.sentence_transformer.losses import (
    CachedGISTEmbedLoss,
    CachedMultipleNegativesRankingLoss,
    GISTEmbedLoss,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
)
from sentence_transformers.util import all_gather_with_grad, cos_sim
from torch import Tensor, nn
from torch.nn import functional

from hbt_bench.errors import UsageError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from hbt_bench.training.recipe import Recipe


class PaperLoss(nn.Module):
    """Equation 1 of arXiv 2408.10536: a query's passage against the hard negatives of the batch.

    The denominator has no passages of other queries. The features are the query, the passage and the hard negatives.
    With `gather`, the hard negatives of all processes count. For example, ``PaperLoss(model, temperature=0.05)``.
    """

    def __init__(self, model: SentenceTransformer, temperature: float, *, gather: bool = False) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.gather = gather

    def forward(self, features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        """Return the mean over queries, a scalar."""
        embeddings = [self.model(feature)["sentence_embedding"] for feature in features]
        return self.compute_loss_from_embeddings(embeddings, labels)

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor | None) -> Tensor:
        """Return the loss of embeddings; `embeddings` has an array (rows, dimensions) for each feature."""
        query, passage, *negatives = (functional.normalize(embedding, dim=-1) for embedding in embeddings)
        candidates = _gathered(negatives, gather=self.gather)
        positive = (query * passage).sum(dim=1, keepdim=True)
        scores = torch.cat([positive, query @ candidates.T], dim=1) / self.temperature
        return functional.cross_entropy(scores, torch.zeros(len(query), dtype=torch.long, device=query.device))


class ParallelQueryLoss(nn.Module):
    """InfoNCE plus the divergence from the parallel query's ranking of the batch's passages (LaKDA, arXiv 2509.06195).

    The divergence is KL between the softmax distributions of the two queries over the passages, at the temperature of
    `ranking`. It does not train the parallel query. The features are the query, the passage, the hard negatives, and
    the parallel query. For example, ``ParallelQueryLoss(MultipleNegativesRankingLoss(model), weight=1.0)``.
    """

    def __init__(self, ranking: MultipleNegativesRankingLoss, weight: float, *, gather: bool = False) -> None:
        super().__init__()
        self.model = ranking.model
        self.ranking = ranking
        self.weight = weight
        self.gather = gather

    def forward(self, features: Iterable[dict[str, Tensor]], labels: Tensor) -> dict[str, Tensor]:
        """Return both terms by name; their sum is the loss."""
        *embeddings, parallel = [self.model(feature)["sentence_embedding"] for feature in features]
        passages = _gathered(embeddings[1:], gather=self.gather)
        scores = cos_sim(embeddings[0], passages) * self.ranking.scale
        target = cos_sim(parallel, passages).detach() * self.ranking.scale
        divergence = functional.kl_div(
            scores.log_softmax(dim=1), target.log_softmax(dim=1), reduction="batchmean", log_target=True
        )
        return {
            "ranking_loss": self.ranking.compute_loss_from_embeddings(embeddings, labels),
            "divergence": self.weight * divergence,
        }


def build(recipe: Recipe, model: SentenceTransformer, *, gather: bool) -> nn.Module:
    """Return the loss of a recipe. With `gather`, the passages of all processes are negatives.

    For example, ``build(Recipe(loss="paper"), model, gather=False)`` is a `PaperLoss`.
    """
    if recipe.loss == "paper":
        loss: nn.Module = PaperLoss(model, recipe.temperature, gather=gather)
    elif recipe.guide:
        loss = _guided(recipe, model, gather=gather)
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
        sizes = {*recipe.matryoshka, model.get_embedding_dimension() or max(recipe.matryoshka)}
        loss = MatryoshkaLoss(model, loss, sorted(sizes, reverse=True))
    return loss


def _guided(recipe: Recipe, model: SentenceTransformer, *, gather: bool) -> nn.Module:
    """Return the loss of GISTEmbed (arXiv 2402.16829), with the library's options; raises `UsageError`."""
    options: dict[str, Any] = {"temperature": recipe.temperature, "gather_across_devices": gather}
    guide = _guide(str(recipe.guide), recipe.trust_remote_code).to(model.device)
    try:
        if recipe.cached:
            loss: nn.Module = CachedGISTEmbedLoss(model, guide, mini_batch_size=recipe.cached, **options)
        else:
            loss = GISTEmbedLoss(model, guide, **options)
    except ValueError as error:  # a model without a tokenizer of transformers, or a static one with another tokenizer
        raise UsageError(
            f"`guide: {recipe.guide}` does not fit {recipe.init}: {str(error).rstrip('.')}. Choose another guide"
        ) from error
    return loss


@lru_cache(maxsize=1)  # the development loss has the same guide
def _guide(name: str, trust_remote_code: bool) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(name, trust_remote_code=trust_remote_code).train(False).requires_grad_(False)


def _gathered(embeddings: list[Tensor], *, gather: bool) -> Tensor:
    """Concatenate embeddings, each from all processes if `gather`."""
    return torch.cat([all_gather_with_grad(embedding) if gather else embedding for embedding in embeddings])
