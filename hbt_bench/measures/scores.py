"""Scores of a model: the values of any measure by query, and the means that results hold, ours and MTEB's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.errors import DataError
from hbt_bench.identity.task_name import Mode
from hbt_bench.measures.bias import Bias, require_translations
from hbt_bench.measures.ranking import Array, Ranking
from hbt_bench.measures.registry import MEASURES, Measure
from hbt_bench.ranking.ranks import Confidences, Ranks
from hbt_bench.ranking.subsets import Subset, SubsetQrels, judged_subsets
from hbt_bench.stats.clusters import Clusters

#: MTEB's cut-offs.
CUTOFFS = (1, 3, 5, 10, 20, 100, 1000)
#: Abstention rates of nAUC: 0, 0.1, ..., 0.9.
_ABSTENTION = np.linspace(0, 1, 11)[:-1]


@dataclass(frozen=True, eq=False)
class ModeRanks:
    """The ranks of a model in a mode, which give the values of any measure.

    `names` restricts the subsets; None is all of them.

    Example:
        ``ModeRanks(collection, ranks, "cross").values(Measure.parse("nDCG@10"))`` has an array for each language pair.
    """

    judgements: TextlessCollection
    ranks: Ranks
    mode: Mode
    names: Collection[str] | None = None

    @cached_property
    def subsets(self) -> list[SubsetQrels]:
        """The subsets in which a query has a relevant document."""
        subsets = judged_subsets(self.judgements, self.mode)
        return [judged for judged in subsets if self.names is None or judged.subset.name in self.names]

    @cached_property
    def _rankings(self) -> list[Ranking]:
        return [Ranking.from_ranks(self.judgements, self.ranks, judged) for judged in self.subsets]

    @cached_property
    def _bias(self) -> Bias:
        return Bias(self.judgements, self.ranks)

    def values(self, measure: Measure) -> list[Array]:
        """Return the value of each query of each subset, NaN for a query without a value.

        Raises `DataError` if the measure does not apply to the mode or to the collection.
        """
        if self.mode not in measure.modes:
            raise DataError(
                f"{measure.name} does not exist in the mode {self.mode}, only in {', '.join(measure.modes)}"
            )
        if measure.from_ranking is None:
            values = measure.pool_values(self._bias)
            return [values[judged.rows] for judged in self.subsets]
        if measure.needs_translations:
            require_translations(self.judgements, measure.title or measure.name)
        for ranking in self._rankings:
            measure.check_cut(ranking)
        return [measure.from_ranking(ranking) for ranking in self._rankings]

    def limits(self, measure: Measure) -> tuple[float, float] | None:
        """Return the lowest and highest mean over the subsets that the cut of a run leaves open.

        Return None if no limits are known, or if the measure has a value.
        """
        if measure.limits is None or not measure.applies_to(self.judgements, self.mode):
            return None
        if all(ranking.known_to(len(self.judgements.document_languages)) for ranking in self._rankings):
            return None
        by_subset = [measure.limits(ranking) for ranking in self._rankings]
        ends = [[values[end][np.isfinite(values[end])] for values in by_subset] for end in (0, 1)]
        low, high = (np.mean([array.mean() for array in arrays if len(array)]) for arrays in ends)
        return float(low), float(high)

    def clusters(self, measure: Measure) -> tuple[Clusters, list[Subset]] | None:
        """Return the values by question, and the subsets that are the columns; None if the measure has no value.

        A subset without values is left out: for example, a language has no rank distance if each of its questions has
        a single answer.
        """
        try:
            values = self.values(measure)
        except DataError:
            return None
        pairs = zip(self.subsets, values, strict=True)
        columns = [judged.subset for judged, array in pairs if np.isfinite(array).any()]
        if not columns:
            return None
        questions = [self.judgements.questions[judged.rows] for judged in self.subsets]
        numbers = np.repeat(np.arange(len(values)), [len(array) for array in values])
        return Clusters.from_values(np.concatenate(values), np.concatenate(questions), numbers), columns


def retrieval_scores(ranking: Ranking, mode: Mode) -> dict[str, float]:
    """Return the scores that hbt-bench adds to MTEB's, as means over the queries of a subset.

    For example, ``retrieval_scores(ranking, "mono")["AP"]`` is the mean average precision.
    """
    scores = {}
    for measure in MEASURES:
        if measure.scored and measure.from_ranking and mode in measure.modes:
            with suppress(DataError):  # the cut of a run leaves the value open
                measure.check_cut(ranking)
                values = measure.from_ranking(ranking)
                if np.isfinite(values).any():
                    scores[measure.name] = float(np.nanmean(values))
    return scores


def bias_scores(bias: Bias) -> dict[str, dict[str, float]]:
    """Return the scores of the multilingual mode, as means by query language.

    ``AP_below_best`` is the AP of the best language minus that of this language. ``top10_share_<language>`` and
    ``mean_rank_<language>`` are a row of the matrices query language x document language. A measure that does not apply
    to a language, or to the collection, is left out.
    """
    columns: dict[str, Array] = {}
    for measure in MEASURES:
        if measure.bias and measure.stored:
            try:
                columns[measure.name] = bias.by_language(measure.pool_values(bias))
            except DataError:  # PEER and rank distance do not apply to every collection
                continue
    gap = bias.gap()
    if gap is not None:
        columns["AP_below_best"] = gap.languages[gap.best] - np.array(list(gap.languages.values()))
    shares, ranks = bias.by_language(bias.top_shares()), bias.mean_ranks()
    for index, language in enumerate(bias.judgements.languages):
        columns[f"top10_share_{language}"] = shares[:, index]
        columns[f"mean_rank_{language}"] = ranks[:, index]
    return {
        language: {name: float(column[row]) for name, column in columns.items() if np.isfinite(column[row])}
        for row, language in enumerate(bias.judgements.languages)
    }


def subset_scores(
    judgements: TextlessCollection,
    ranks: Ranks,
    judged: SubsetQrels,
    bias: Mapping[str, Mapping[str, float]],
    confidences: Confidences | None = None,
) -> dict[str, float]:
    """Return every score of a subset that follows from the ranks: MTEB's keys, ours, and those in `bias` by language.

    `bias` comes from `bias_scores` in the multilingual mode, and is empty in the others. For example, with stored ranks
    of the monolingual mode, ``subset_scores(judgements, ranks, judged, {})["AP"]``.
    """
    ranking = Ranking.from_ranks(judgements, ranks, judged)
    scores = mteb_scores(ranking, judged, confidences, judgements) | retrieval_scores(ranking, judged.subset.mode)
    return scores | dict(bias.get(judged.subset.queries, {}))


def mteb_scores(
    ranking: Ranking, judged: SubsetQrels, confidences: Confidences | None, judgements: TextlessCollection
) -> dict[str, float]:
    """Return every key of MTEB's retrieval scores with MTEB's value, as of mteb 2.26.5.

    The nAUC keys are left out without `confidences`, and the cut-offs below the end of a run.
    """
    cutoffs = [cutoff for cutoff in CUTOFFS if ranking.known_to(cutoff)]
    values: dict[str, Array] = {}
    for name, measure in (
        ("ndcg", ranking.ndcg),
        ("map", ranking.average_precision),
        ("recall", ranking.recall),
        ("precision", ranking.precision),
        ("mrr", ranking.reciprocal_rank),
    ):
        values |= {f"{name}_at_{cutoff}": measure(cutoff) for cutoff in cutoffs}
    scores = {key: float(value.mean()) for key, value in values.items()}
    scores |= {f"hit_rate_at_{cutoff}": float(ranking.success(cutoff).mean()) for cutoff in cutoffs}
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
