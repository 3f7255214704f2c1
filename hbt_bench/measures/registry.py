"""The registry of measures: every fact about a measure is written here, and nowhere else.

To add a measure, write its function in `Ranking` or `Bias` and register a `Measure` below. Results, intervals,
leaderboards, comparisons, bias tables, studies and reports read their lists from `MEASURES`. Document the measure in
``docs/reference/measures.md``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from hbt_bench.identity.task_name import MODES
from hbt_bench.measures.measure import CUT_MEASURES, MEASURES, RANKS, UNIT, Measure, MeasureRegistry, cut_measure

if TYPE_CHECKING:
    from hbt_bench.measures.bias import Bias
    from hbt_bench.measures.ranking import Array

__all__ = ["CUT_MEASURES", "EXCESS", "MEASURES", "Measure", "MeasureRegistry", "cut_measure"]

#: The bias measure on leaderboards.
EXCESS = "same_language_excess@10"


def _first_document(kind: str, bias: Bias) -> Array:
    return bias.first_document(kind)


#: Measures of the multilingual mode in the bias report.
_bias_measure = partial(Measure, modes=("multi",), bias=True)

#: Every measure, in the order of the columns of results.
MEASURES.register(
    Measure(
        "AP",
        lambda ranking: ranking.average_precision(),
        limits=lambda ranking: ranking.limits(lambda completed: completed.average_precision()),
        bounds=UNIT,
        scored=True,
        contributions=True,
        summary=True,
        headline=True,
        table_place=1,
        columns=MODES,
        lead=True,
    ),
    Measure(
        "RR",
        lambda ranking: ranking.reciprocal_rank(),
        limits=lambda ranking: ranking.limits(lambda completed: completed.reciprocal_rank()),
        bounds=UNIT,
        scored=True,
    ),
    cut_measure("nDCG", 10, scored=True, table_place=4),
    cut_measure("R", 1, scored=True, summary=True, table_place=2, columns=("mono", "cross")),
    cut_measure("R", 10, scored=True, summary=True, table_place=3, columns=("multi",)),
    cut_measure("R", 100, scored=True),
    _bias_measure(
        "rank_distance",
        lambda ranking: ranking.rank_distance(),
        needs_translations=True,
        limits=lambda ranking: ranking.rank_distance_limits(),
        lower_is_better=True,
        bounds=RANKS,
        decimals=1,
        title="rank distance",
        heading="rank dist.",
        aliases=("rank_distance", "rd"),
        scored=True,
        contributions=True,
        summary=True,
        headline=True,
        table_place=6,
        columns=("multi",),
        lead=True,
    ),
    _bias_measure(
        "rank_distance_relative",
        from_pool=lambda bias: bias.relative_rank_distance(),
        needs_translations=True,
        lower_is_better=True,
        decimals=1,
    ),
    _bias_measure("Max@R", from_pool=lambda bias: bias.max_rank(), lower_is_better=True),
    _bias_measure("Complete@20", from_pool=lambda bias: bias.complete(20), depth=20),
    _bias_measure("Complete@100", from_pool=lambda bias: bias.complete(100), depth=100),
    _bias_measure("TLR@10", from_pool=lambda bias: bias.target_language_recall(10), depth=10),
    _bias_measure(
        "same_language_first",
        from_pool=lambda bias: bias.same_language_first(),
        lower_is_better=True,
        for_user="higher",
        fair_by_chance=True,
        title="LPR",
        aliases=("LPR",),
    ),
    _bias_measure(
        EXCESS,
        from_pool=lambda bias: bias.same_language_excess(10),
        depth=10,
        needs_top=True,
        lower_is_better=True,
        for_user="higher",
        fair_by_chance=True,
        bounds=(-1.0, 1.0),
        title="own-language bias",
        heading="own-lang. bias",
        aliases=("bias",),
        scored=True,
        summary=True,
        columns=("multi",),
        lead=True,
    ),
    *(
        _bias_measure(
            kind,
            from_pool=partial(_first_document, kind),
            depth=1,
            needs_top=True,
            lower_is_better=kind.startswith("first_wrong"),
            for_user="higher" if kind == "first_right_own" else "lower",
            fair_by_chance=kind == "first_wrong_own",
            stored=False,
        )
        for kind in ("first_right_own", "first_right_other", "first_wrong_own", "first_wrong_other")
    ),
    cut_measure("Lang-nDCG", 10, bias=True, for_user="higher", stored=False),
    _bias_measure(
        "MLRS-Q", from_pool=lambda bias: bias.rank_shift(), lower_is_better=True, fair_by_chance=True, stored=False
    ),
    cut_measure("PEER", 20, bias=True, fair_by_chance=True, stored=False),
    _bias_measure(
        "rank_equality", from_pool=lambda bias: bias.rank_equality(), fair_by_chance=True, old_names=("PEER",)
    ),
    _bias_measure("MRC@20", from_pool=lambda bias: bias.rank_consistency(), depth=20, needs_top=True),
    _bias_measure(
        "AWRF@20", from_pool=lambda bias: bias.exposure_fairness(), depth=20, needs_top=True, fair_by_chance=True
    ),
    _bias_measure(
        "remove_same_language",
        from_pool=lambda bias: bias.removal()[0],
        needs_translations=True,
        fair_by_chance=True,
        lower_is_better=True,
    ),
    _bias_measure("remove_other_language", from_pool=lambda bias: bias.removal()[1], needs_translations=True),
    Measure("AP_below_best", modes=("multi",), lower_is_better=True),
    Measure(
        "Rprec",
        lambda ranking: ranking.r_precision(),
        limits=lambda ranking: ranking.limits(lambda completed: completed.r_precision()),
        bounds=UNIT,
    ),
)
