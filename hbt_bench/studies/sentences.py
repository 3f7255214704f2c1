"""The result of a study in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from hbt_bench.measures.registry import MEASURES
from hbt_bench.stats.paired import SIGNIFICANCE
from hbt_bench.studies.jobs import short_name
from hbt_bench.studies.keys import Answer
from hbt_bench.studies.study_result import Estimate


def answer(question: Answer, figures: Sequence[Estimate]) -> str:
    """Return the answer: yes if the strategy is better than every other at p < 0.05.

    A yes claims every comparison at once, so its p-values need no correction: the probability that all are significant
    is largest if only one is wrong (an intersection-union test; Berger 1982, Technometrics 24, 295-300). All other
    answers pick some comparisons, so they need Holm's correction: yes in part if the strategy is better than some, no
    if it is better than none and worse than some. If no difference is significant, the strategies are the same within
    the margin of the question, or the question is undecided.
    """
    verdict, better = f"Yes: in this run {question.claim}.", list(figures)
    yes = all(figure.value > 0 and figure.p_raw is not None and figure.p_raw < SIGNIFICANCE for figure in figures)
    if not yes:
        better = [figure for figure in figures if figure.significant and figure.value > 0]
    worse = [figure for figure in figures if figure.significant and figure.value < 0]
    same = [figure for figure in figures if figure.same and figure not in better]
    unclear = [figure for figure in figures if figure not in (*better, *worse, *same)]
    if better and not yes:
        verdict = f"Only in part: in this run it is not shown against all that {question.claim}."
    elif worse:
        verdict = f"No: this run does not show that {question.claim}."
    elif same and not unclear:
        verdict = f"No: all differences are below {question.margin:g}, the margin set beforehand."
    elif not yes:
        verdict = f"Undecided: no difference is significant, so this run does not show whether {question.claim}."
    outcomes = [
        (better, "is better than"),
        (worse, "is worse than"),
        (same, f"is the same within {question.margin or 0:g} as"),
        (unclear, "does not differ with certainty from"),
    ]
    clauses = [f"{verb} {_listed(differences, not yes)}" for differences, verb in outcomes if differences]
    system = " and ".join(dict.fromkeys(figure.system for figure in figures))
    measure = figures[0].measure.replace("_", " ")
    return f"{verdict} By {measure}, {system} {'; '.join(clauses)}."


def significant_differences(figures: Sequence[Estimate]) -> str:
    """Return a sentence that lists the differences on single tasks that are significant after the correction."""
    tasks: dict[tuple[str, str, str, str], list[str]] = {}
    for figure in figures:
        if figure.significant:
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


def _listed(figures: Sequence[Estimate], corrected_p: bool) -> str:
    """Join the baselines of the differences, each with its numbers, by commas and a final "and"."""
    texts = []
    for figure in figures:
        p = probability(figure.p if corrected_p else figure.p_raw)
        p = f"{'corrected p' if corrected_p else 'p'} {p if p.startswith('<') else f'= {p}'}"
        interval = f"95 % from {figure.low:+.4f} to {figure.high:+.4f}"
        texts.append(f"{figure.baseline} on {short_name(figure.task)} ({figure.value:+.4f}, {interval}, {p})")
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if texts[1:] else texts)
