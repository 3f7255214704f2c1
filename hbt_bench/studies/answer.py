"""The sentences that answer a study's question, if the answer is no or undecided too."""

from __future__ import annotations

from collections.abc import Sequence

from hbt_bench.measures.registry import MEASURES
from hbt_bench.stats.paired import SIGNIFICANCE
from hbt_bench.studies.jobs import short_name
from hbt_bench.studies.study import Answer
from hbt_bench.studies.study_result import Estimate

_GROUP_PHRASES = {
    "in-domain": "in the domain",
    "out-of-domain": "out of the domain",
    "shifted": "on shifted queries",
}


def answer(question: Answer, figures: Sequence[Estimate]) -> str:
    """Return the answer: yes if the strategy is better than every other at corrected p < 0.05.

    If it is better than some, the answer is yes in part. If it is better than none and worse than some, the answer is
    no. If no difference is significant, the question is undecided.
    """
    better = [figure for figure in figures if _is_significant(figure) and figure.value > 0]
    worse = [figure for figure in figures if _is_significant(figure) and figure.value < 0]
    unclear = [figure for figure in figures if not _is_significant(figure)]
    if len(better) == len(figures):
        verdict = f"Yes: in this run {question.claim}."
    elif better:
        verdict = f"Only in part: in this run it is not shown against all that {question.claim}."
    elif worse:
        verdict = f"No: this run does not show that {question.claim}."
    else:
        verdict = f"Undecided: no difference is shown, so this run says neither that {question.claim} nor the opposite."
    outcomes = [(better, "is better than"), (worse, "is worse than"), (unclear, "does not differ with certainty from")]
    clauses = [f"{verb} {_listed(differences)}" for differences, verb in outcomes if differences]
    system = " and ".join(dict.fromkeys(figure.system for figure in figures))
    measure = figures[0].measure.replace("_", " ")
    return f"{verdict} By mean {measure} {_GROUP_PHRASES[question.tasks]}, {system} {' and '.join(clauses)}."


def significant_differences(figures: Sequence[Estimate]) -> str:
    """Return a sentence that lists the differences on single tasks that are significant after the correction."""
    tasks: dict[tuple[str, str, str, str], list[str]] = {}
    for figure in figures:
        if _is_significant(figure):
            better = (figure.value > 0) != MEASURES.describe(figure.measure).lower_is_better
            measure = figure.measure.replace("_", " ")
            key = (figure.system, "better" if better else "worse", figure.baseline, measure)
            tasks.setdefault(key, []).append(short_name(figure.task))
    clauses = [
        f"{system} is {verb} than {other} in {measure} on {', '.join(names)}"
        for (system, verb, other, measure), names in tasks.items()
    ]
    count = sum(map(len, tasks.values()))
    verb = "holds" if count == 1 else "hold"
    sentence = f"Of {len(figures)} single differences {count} {verb} after the correction over all"
    return f"{sentence}: {'; '.join(clauses)}." if clauses else f"{sentence}."


def probability(p: float | None) -> str:
    """Return a p-value as text for tables."""
    if p is None:
        return "-"
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def _is_significant(figure: Estimate) -> bool:
    return figure.p is not None and figure.p < SIGNIFICANCE


def _listed(figures: Sequence[Estimate]) -> str:
    """Join the baselines of the differences, each with its numbers, by commas and a final "and"."""
    texts = []
    for figure in figures:
        p = probability(figure.p)
        p = p if p.startswith("<") else f"= {p}"
        interval = f"95 % from {figure.low:+.4f} to {figure.high:+.4f}"
        texts.append(f"{figure.baseline} ({figure.value:+.4f}, {interval}, corrected p {p})")
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if texts[1:] else texts)
