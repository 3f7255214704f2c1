"""Scores of a model: the value of any measure for each query of each subset, and the means that results hold."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.errors import DataError
from hbt_bench.identity.task_name import Mode
from hbt_bench.measures.bias import Bias, require_translations
from hbt_bench.measures.ranking import Array, Ranking
from hbt_bench.measures.registry import MEASURES, Measure
from hbt_bench.ranking.ranks import Ranks
from hbt_bench.ranking.subsets import Subset, SubsetQrels, judged_subsets
from hbt_bench.stats.clusters import Clusters


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
        return [measure.from_ranking(ranking) for ranking in self._rankings]

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
        if measure.bias:
            try:
                columns[measure.name] = bias.by_language(measure.pool_values(bias))
            except DataError:  # PEER and rank distance do not apply to every collection
                continue
    gap = bias.gap()
    columns["AP_below_best"] = gap.languages[gap.best] - np.array(list(gap.languages.values()))
    shares, ranks = bias.by_language(bias.top_shares()), bias.mean_ranks()
    for index, language in enumerate(bias.judgements.languages):
        columns[f"top10_share_{language}"] = shares[:, index]
        columns[f"mean_rank_{language}"] = ranks[:, index]
    return {
        language: {name: float(column[row]) for name, column in columns.items() if np.isfinite(column[row])}
        for row, language in enumerate(bias.judgements.languages)
    }
