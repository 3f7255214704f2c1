"""MTEB's retrieval scores under MTEB's keys, such as ``ndcg_at_10`` and ``nauc_map_at_10_std``."""

from __future__ import annotations

import re

import numpy as np

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.measures.ranking import Array, Ranking
from hbt_bench.ranking.ranks import Confidences
from hbt_bench.ranking.subsets import SubsetQrels

#: MTEB's cut-offs.
CUTOFFS = (1, 3, 5, 10, 20, 100, 1000)
#: Abstention rates of nAUC: 0, 0.1, ..., 0.9.
_ABSTENTION = np.linspace(0, 1, 11)[:-1]
_UNIT_KEY = re.compile(r"(map|ndcg|recall|precision|mrr|hit_rate)_at_\d+|accuracy")


def lies_between_0_and_1(key: str) -> bool:
    """Return whether `key` is a key of MTEB with values from 0 to 1, which excludes nAUC."""
    return _UNIT_KEY.fullmatch(key) is not None


def mteb_scores(
    ranking: Ranking, judged: SubsetQrels, confidences: Confidences | None, judgements: TextlessCollection
) -> dict[str, float]:
    """Return every key of MTEB's retrieval scores with MTEB's value, as of mteb 2.26.5.

    The nAUC keys are left out without `confidences`.
    """
    values: dict[str, Array] = {}
    for name, measure in (
        ("ndcg", ranking.ndcg),
        ("map", ranking.average_precision),
        ("recall", ranking.recall),
        ("precision", ranking.precision),
        ("mrr", ranking.reciprocal_rank),
    ):
        values |= {f"{name}_at_{cutoff}": measure(cutoff) for cutoff in CUTOFFS}
    scores = {key: float(value.mean()) for key, value in values.items()}
    scores |= {f"hit_rate_at_{cutoff}": float(ranking.success(cutoff).mean()) for cutoff in CUTOFFS}
    scores["accuracy"] = scores["recall_at_1"]
    if confidences is not None:
        column = len(judgements.languages)
        if judged.subset.documents is not None:
            column = judgements.languages.index(judged.subset.documents)
        levels = (confidences.highest, confidences.spread, confidences.margin)
        areas = _nauc(np.stack([level[judged.rows, column] for level in levels]), np.stack(list(values.values())))
        for key, row in zip(values, areas, strict=True):
            for confidence, area in zip(("max", "std", "diff1"), row, strict=True):
                scores[f"nauc_{key}_{confidence}"] = float(area)
    return scores


def _nauc(confidences: Array, values: Array) -> Array:
    """Return the normalised area under the abstention curve (arXiv 2402.12997), (measures, confidences).

    `confidences` (confidences, queries), `values` (measures, queries). The area is NaN if a measure is the same for all
    queries, since no abstention changes it, and for a confidence that contains NaN (the spread of infinite scores),
    since a sort would take NaN for the highest. The operations have MTEB's order, because the normaliser is a
    difference of nearly equal numbers if a measure hardly varies.
    """
    best = np.sort(values, axis=1)
    oracle = _abstention_curves(best, best)
    oracle_area = np.trapezoid(oracle, _ABSTENTION, axis=1)
    flat_area = oracle[:, 0] * (_ABSTENTION[-1] - _ABSTENTION[0])
    orders = [np.argsort(confidence, stable=True) for confidence in confidences]
    curves = [
        _abstention_curves(confidence[order], values[:, order])
        for confidence, order in zip(confidences, orders, strict=True)
    ]
    areas = np.stack([np.trapezoid(curve, _ABSTENTION, axis=1) for curve in curves], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        normalised = (areas - flat_area[:, None]) / (oracle_area - flat_area)[:, None]
    unknown = (oracle_area == flat_area)[:, None] | np.isnan(confidences).any(axis=1)
    return np.where(unknown, np.nan, normalised)


def _abstention_curves(confidences: Array, values: Array) -> Array:
    """Return the mean of each measure over the queries left at every abstention rate, (measures, rates).

    `values` (measures, queries) are sorted by rising confidence. `confidences` has a row for each measure, or a single
    row for all. Queries of equal confidence share their mean, which is the expectation over all orders of the tie.
    """
    opens_tie = np.ones(values.shape, dtype=bool)
    opens_tie[:, 1:] = confidences[..., 1:] != confidences[..., :-1]
    start = np.flatnonzero(opens_tie)
    size = np.diff(np.append(start, values.size))
    shared = np.repeat(np.add.reduceat(values.ravel(), start) / size, size).reshape(values.shape)
    queries = values.shape[1]
    dropped = [min(round(rate * queries), queries - 1) for rate in _ABSTENTION]
    return np.stack([shared[:, count:].mean(axis=1) for count in dropped], axis=1)
