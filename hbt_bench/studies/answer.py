"""The sentence that answers a study's question for one run, also when the answer is no or undecided."""

from __future__ import annotations

from collections.abc import Sequence

from hbt_bench.reports.difference import LEVEL
from hbt_bench.studies.design import Answer
from hbt_bench.studies.jobs import short
from hbt_bench.studies.study_result import Estimate


def answer(question: Answer, figures: Sequence[Estimate]) -> str:
    """Yes if the strategy is better than each other at p < 0.05, corrected, no if it is better than none of them.

    A no needs a difference against it; where none is shown at all, the question is undecided.
    """
    better = [one for one in figures if _holds(one) and one.value > 0]
    worse = [one for one in figures if _holds(one) and one.value < 0]
    if len(better) == len(figures):
        verdict = f"Yes: in this run {question.claim}."
    elif better:
        verdict = f"Only in part: in this run it is not shown against all that {question.claim}."
    elif worse:
        verdict = f"No: this run does not show that {question.claim}."
    else:
        verdict = f"Undecided: no difference is shown, so this run says neither that {question.claim} nor the opposite."
    parts = []
    for found, words in ((better, "is better than"), (worse, "is worse than")):
        if found:
            parts.append(f"{words} {_listed(found)}")
    unclear = [one for one in figures if not _holds(one)]
    if unclear:
        parts.append(f"does not differ with certainty from {_listed(unclear)}")
    system = " and ".join(dict.fromkeys(one.system for one in figures))
    measure = figures[0].measure.replace("_", " ")
    return f"{verdict} By mean {measure} {_WHERE[question.tasks]}, {system} {' and '.join(parts)}."


def holding(figures: Sequence[Estimate]) -> str:
    """Which single differences hold after the correction over all, in words: the answer is of the mean alone."""
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for one in figures:
        if _holds(one):
            better = (one.value > 0) != (one.measure == "rank_distance")
            measure = one.measure.replace("_", " ")
            key = (one.system, "better" if better else "worse", one.baseline, measure)
            found.setdefault(key, []).append(short(one.task))
    count = sum(map(len, found.values()))
    told = [
        f"{system} is {verb} than {other} in {measure} on {', '.join(names)}"
        for (system, verb, other, measure), names in found.items()
    ]
    words = (
        f"Of {len(figures)} single differences {count} hold{'s' if count == 1 else ''} after the correction over all"
    )
    return f"{words}{': ' + '; '.join(told) if told else ''}."


_WHERE = {
    "in-domain": "in the domain",
    "out-of-domain": "out of the domain",
    "shifted": "on shifted queries",
}


def _holds(figure: Estimate) -> bool:
    return figure.p is not None and figure.p < LEVEL


def _listed(figures: Sequence[Estimate]) -> str:
    texts = [
        f"{one.baseline} ({one.value:+.4f}, 95 % from {one.low:+.4f} to {one.high:+.4f}, {_p(one.p)})"
        for one in figures
    ]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if texts[1:] else texts)


def probability(p: float | None) -> str:
    """A p-value as tables have it."""
    if p is None:
        return "-"
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def _p(p: float | None) -> str:
    text = probability(p)
    return f"corrected p {text}" if text.startswith("<") else f"corrected p = {text}"
