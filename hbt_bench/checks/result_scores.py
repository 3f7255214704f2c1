"""Whether the numbers of a result are those that its ranks give: scores, intervals, contributions and counts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.measures.bias import Bias
from hbt_bench.measures.chance import scored_chance
from hbt_bench.measures.registry import MEASURES
from hbt_bench.measures.scores import bias_scores, subset_scores
from hbt_bench.ranking.subsets import judged_subsets
from hbt_bench.results.ranks_file import StoredRanks
from hbt_bench.results.result import Result
from hbt_bench.results.schema import NOT_SCORES
from hbt_bench.results.scores import TOLERANCE, Intervals, agree, decode_contributions, hierarchy_of
from hbt_bench.tasks.task import TaskSpec

#: Largest difference of a score from its exact value: results have six decimals.
_ROUNDING = 1e-6
#: MTEB's key without a value in the ranks: it needs the scores of documents.
_NAUC = "nauc_"

#: Scores by subset and measure.
Scores = Mapping[str, Mapping[str, float]]


def exact_scores(result: Result, stored: StoredRanks) -> dict[str, dict[str, float]]:
    """Return every score that the ranks of a result give, by subset: ours, and MTEB's without nAUC."""
    assert result.mode is not None, "a result with ranks is of our task"
    judgements, ranks = stored.judgements, stored.ranks
    bias = bias_scores(Bias(judgements, ranks)) if result.mode == "multi" else {}
    return {
        judged.subset.name: subset_scores(judgements, ranks, judged, bias)
        for judged in judged_subsets(judgements, result.mode)
    }


def older_measures(exact: Scores, entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the measures that this version computes, but no subset has: an older version wrote the result.

    MTEB's keys are not among them, because published results may leave them out, and neither are measures that have
    intervals, which all versions wrote.
    """
    keys = dict.fromkeys(key for scores in exact.values() for key in scores)
    absent = [key for key in keys if not _is_mteb(key) and not any(key in entry for entry in entries)]
    return [key for key in absent if not MEASURES.describe(key).scored]


def score_problems(
    result: Result, stored: StoredRanks, exact: Scores, entries: Sequence[Mapping[str, Any]], spec: TaskSpec | None
) -> Iterator[str]:
    """Yield a sentence for each score that the ranks do not give; `entries` are the subsets in MTEB's JSON.

    The keys of nAUC need the scores of documents, so only their presence is checked. They have no range: for a measure
    that is the same for all queries, nAUC is a quotient of rounding errors.
    """
    assert result.mode is not None, "a result with ranks is of our task"
    names = [str(entry.get("hf_subset")) for entry in entries]
    if names != list(exact) or result.expected_subsets != len(exact):
        yield f"the ranks have the subsets {', '.join(exact)[:100]}, but the result has {', '.join(names)[:100]}"
        return
    older = older_measures(exact, entries)
    counts = {each.subset.name: len(each.rows) for each in judged_subsets(stored.judgements, result.mode)}
    for name, entry in zip(names, entries, strict=True):
        yield from _subset(name, entry, {key: value for key, value in exact[name].items() if key not in older})
        if entry.get("queries", counts[name]) != counts[name]:
            yield f"{name} has {entry['queries']} queries, but the ranks have {counts[name]}"
        main = exact[name].get(spec.main_score, math.nan) if spec else math.nan
        if spec and "main_score" in entry and not _equal(entry["main_score"], main):
            yield f"main_score of {name} is {entry['main_score']}, but the ranks give {main:.6f}"


def _is_mteb(key: str) -> bool:
    return "_at_" in key or key == "accuracy" or key.startswith(_NAUC)


def _subset(name: str, entry: Mapping[str, Any], exact: Mapping[str, float]) -> Iterator[str]:
    """Yield the differences of a subset from the exact scores."""
    has_mteb = any(_is_mteb(key) for key in entry)
    expected = {key: value for key, value in exact.items() if has_mteb or not _is_mteb(key)}
    if missing := [key for key in expected if key not in entry]:
        yield f"{name} lacks {', '.join(missing)[:100]}"
    areas = {f"{_NAUC}{key}_{kind}" for key in expected if "_at_" in key for kind in ("max", "std", "diff1")}
    unknown = sorted(entry.keys() - expected.keys() - areas - NOT_SCORES)
    if unknown:
        yield f"{name} has unknown keys: {', '.join(unknown)[:100]}"
    needed = {key for key in areas if "hit_rate" not in key}  # which MTEB leaves out
    if needed & entry.keys() and (missing := sorted(needed - entry.keys())):
        yield f"{name} lacks {', '.join(missing)[:100]}"
    for key in areas & entry.keys():
        if not _is_number(entry[key]):
            yield f"{key} of {name} cannot be {entry[key]}"
    for key in expected.keys() & entry.keys():
        if not _equal(entry[key], expected[key]):
            yield f"{key} of {name} is {entry[key]}, but the ranks give {expected[key]:.6f}"


def _equal(stored: Any, exact: float) -> bool:
    if not _is_number(stored):
        return False
    if math.isnan(exact):
        return math.isnan(stored)
    return bool(abs(stored - exact) <= _ROUNDING * max(1.0, abs(exact) * _ROUNDING))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def interval_problems(result: Result, stored: StoredRanks) -> Iterator[str]:
    """Yield a sentence for each interval, limit and contribution that the ranks do not give."""
    assert result.mode is not None, "a result with ranks is of our task"
    judgements, hierarchy = stored.judgements, result.hierarchy
    if hierarchy is not None:
        if hierarchy_of(judgements).questions != hierarchy.questions:
            yield "the clusters are of other questions than the ranks"
            return
        judgements = replace(judgements, levels=hierarchy.levels)  # files of ranks have no clusters
    computed = Intervals.from_ranks(judgements, stored.ranks, result.mode)
    if result.interval_signature not in (None, computed.signature):
        yield f"the intervals are of {result.interval_signature}, but the ranks give {computed.signature}"
        return
    for kind, ours, exact in (
        ("interval", result.intervals, computed.means),
        ("limits", result.limits, computed.limits),
    ):
        for name in sorted(ours.keys() | exact.keys()):
            if name not in ours or name not in exact or not _close(ours[name], exact[name]):
                yield f"the {kind} of {name} is {ours.get(name)}, but the ranks give {exact.get(name)}"
    for name, subsets in result.subset_intervals.items():
        exact_subsets = computed.subsets.get(name, {})
        if subsets.keys() != exact_subsets.keys() or not all(
            _close(subsets[key], exact_subsets[key]) for key in subsets
        ):
            yield f"the intervals of {name} by subset are not those of the ranks"
    shares = {name: decode_contributions(text) for name, text in result.encoded_contributions.items()}
    yield from _differing("the contributions to {} are", shares, computed.contributions)
    if hierarchy is not None and computed.hierarchy is not None:
        yield from _differing("the questions with a value of {} are", hierarchy.asked, computed.hierarchy.asked)


def random_problems(result: Result, judgements: TextlessCollection) -> Iterator[str]:
    """Yield a sentence for each value of a random ranking that differs from that of the judgements or is missing.

    A result of an older version, which has no such value, is accepted.
    """
    assert result.mode is not None, "a result with ranks is of our task"
    exact = scored_chance(judgements, result.mode) if result.chance else {}
    for name in sorted(result.chance.keys() | exact.keys()):
        if not _equal(result.chance.get(name), exact.get(name, math.nan)):
            yield f"the {name} of a random ranking is {result.chance.get(name)}, but should be {exact.get(name)}"


def _differing(sentence: str, ours: Mapping[str, Any], exact: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each measure with other numbers, (questions,), or with numbers on a single side."""
    for name in sorted(ours.keys() | exact.keys()):
        stored, computed = ours.get(name), exact.get(name)
        same = stored is not None and computed is not None and stored.shape == computed.shape
        if not same or not np.allclose(stored, computed, rtol=TOLERANCE, atol=TOLERANCE):  # type: ignore[arg-type]
            yield f"{sentence.format(name)} not those of the ranks"


def _close(stored: tuple[float, float], exact: tuple[float, float]) -> bool:
    return all(agree(value, end) for value, end in zip(stored, exact, strict=True))
