"""The sentence that answers a study's question for one run, also when the answer is no or undecided."""

from __future__ import annotations

from collections.abc import Sequence

from hbt_bench.reporting.comparison import LEVEL
from hbt_bench.studies.findings import Figure
from hbt_bench.studies.study import Answer


def answer(question: Answer, figures: Sequence[Figure]) -> str:
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
        verdict = f"Undecided: this run shows no difference, so neither that {question.claim} nor the opposite."
    parts = []
    for found, words in ((better, "better than"), (worse, "worse than")):
        if found:
            parts.append(f"is {words} {_listed(found)}")
    open_ones = [one for one in figures if not _holds(one)]
    if open_ones:
        parts.append(f"no difference is shown from {_listed(open_ones)}")
    system = " and ".join(dict.fromkeys(one.system for one in figures))
    # a sentence of its own where nothing is said of the strategy itself
    told = "; ".join(parts)
    told = f"By mean AP {_WHERE[question.tasks]}, {system} {told}" if better or worse else f"For {system}, {told}"
    return f"{verdict} {told}."


_WHERE = {
    "in-domain": "in the domain",
    "out-of-domain": "out of the domain",
    "shifted": "on shifted queries",
}


def _holds(figure: Figure) -> bool:
    return figure.p is not None and figure.p < LEVEL


def _listed(figures: Sequence[Figure]) -> str:
    texts = [
        f"{one.baseline} by {one.value:+.4f} (95 % from {one.low:+.4f} to {one.high:+.4f}, p = {probability(one.p)})"
        for one in figures
    ]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if texts[1:] else texts)


def probability(p: float | None) -> str:
    """A p-value as tables have it."""
    if p is None:
        return "-"
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"
