"""The differences that a comparison can show, before anything is trained or evaluated.

A plan needs an earlier comparison of the same kind, for its variances. Their parts (seeds, questions, rest) are divided
by the planned numbers of seeds and questions.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from hbt_bench.stats.paired import SIGNIFICANCE
from hbt_bench.stats.seeds import SquaredErrors

#: The usual probability that a true difference is found.
POWER = 0.8
#: No plan has more seeds.
MOST_SEEDS = 1_000
#: Nodes of the integral over the estimated variance of the seeds.
_NODES = 60


def planned(errors: SquaredErrors, seeds: int, questions: int | None = None) -> SquaredErrors:
    """Return the squared errors that are expected with other numbers of seeds and questions.

    The parts of the seeds and of the rest shrink with the number of seeds; those of the questions and of the rest with
    the number of questions.

    >>> planned(SquaredErrors(by_seed=0.5, seeds=2, by_question=0.75, questions=100, rest=0.25), seeds=4)
    SquaredErrors(by_seed=0.25, seeds=4, by_question=0.625, questions=100, rest=0.125)
    """
    fewer = errors.seeds / seeds
    shrink = 1.0 if questions is None or not errors.questions else errors.questions / questions
    rest = (errors.by_question - errors.questions_alone) * fewer * shrink
    return SquaredErrors(
        errors.seeds_alone * fewer + rest if errors.questions else errors.by_seed * fewer,
        seeds,
        errors.questions_alone * shrink + rest,
        errors.questions if questions is None or not errors.questions else questions,
        rest,
    )


def power(errors: SquaredErrors, difference: float, level: float = SIGNIFICANCE) -> float:
    """Return the probability that the test over seeds and questions finds a true `difference`.

    `errors` are the true squared errors. The integral is over the variance that the seeds will show, which has a
    chi-squared distribution.
    """
    from scipy.special import ndtr

    margins, weights = _margins(errors, level)
    detected = ndtr((difference - margins) / math.sqrt(errors.total)) + ndtr(
        (-difference - margins) / math.sqrt(errors.total)
    )
    return float(weights @ detected)


def smallest_difference(errors: SquaredErrors, level: float = SIGNIFICANCE, probability: float = POWER) -> float:
    """Return the smallest true difference that the test finds with this probability; 0 without any variance."""
    from scipy.optimize import brentq

    if errors.total <= 0:
        return 0.0
    high = float(_margins(errors, level)[0].max()) + 10 * math.sqrt(errors.total)
    return float(brentq(lambda difference: power(errors, difference, level) - probability, 0.0, high))


def seeds_needed(errors: SquaredErrors, difference: float, level: float = SIGNIFICANCE) -> int | None:
    """Return the smallest number of seeds with which a true `difference` is found with a power of 0.8.

    Return None if 1,000 seeds are too few, because the questions alone leave too much uncertainty.
    """
    if power(planned(errors, MOST_SEEDS), difference, level) < POWER:
        return None
    low, high = 1, MOST_SEEDS  # `high` is enough, `low` is not
    while high - low > 1:
        middle = (low + high) // 2
        enough = power(planned(errors, middle), difference, level) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


def _margins(errors: SquaredErrors, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the margins of the test for variances that the seeds may show, and their probabilities."""
    from scipy.stats import chi2

    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    steps = (nodes + 1) / 2
    shown = chi2.ppf(steps**4, errors.seeds - 1) / (errors.seeds - 1)  # more nodes for small variances
    margins = [replace(errors, by_seed=errors.by_seed * float(ratio)).margin(level) for ratio in shown]
    return np.array(margins), weights / 2 * 4 * steps**3


def paired_smallest_difference(
    error: float, clusters: int, level: float = SIGNIFICANCE, probability: float = POWER
) -> float:
    """Return the smallest true difference between two given models that a paired test finds with this probability.

    `error` is the standard error of the difference over `clusters` of questions.

    >>> round(paired_smallest_difference(0.01, 1_000), 4)
    0.028
    """
    from scipy.special import stdtrit

    return error * float(stdtrit(clusters - 1, 1 - level / 2) + stdtrit(clusters - 1, probability))


def paired_p_equivalent(difference: float, error: float, clusters: int, margin: float) -> float:
    """Return the p of two one-sided t-tests that the models differ by `margin` or more.

    Below 0.05, the models are the same within the margin (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15, 657-680).

    >>> round(paired_p_equivalent(0.002, 0.004, 1_000, 0.01), 4)
    0.0229
    """
    from scipy.special import stdtr

    room = margin - abs(difference)
    return float(stdtr(clusters - 1, -room / error)) if error > 0 else float(room <= 0)
