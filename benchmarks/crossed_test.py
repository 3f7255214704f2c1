"""False positives and power of the test over seeds and questions, beside its predecessor and a test by question.

    PYTHONPATH=. python benchmarks/crossed_test.py --output results/benchmarks/crossed_test

The predecessor added the variances of the mean by seed and by question, and took the critical value of Cochran and Cox.
"Equal seeds" is a test by question alone, which takes the seeds as given. Real values are differences between models
of `results/training/e5-small-questions.npz`: a study draws questions with their rest (seeds by questions), and the
effects of its seeds are normal.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit
from scipy.stats import chi2

from benchmarks.report import environment, publish, table
from hbt_bench.stats.seeds import SeedQuestionMean, SquaredErrors

Matrix = NDArray[np.float64]

LEVEL = 0.05
SEEDS = (2, 3, 5, 10)
#: Variance of the seeds, divided by that of everything else, both of the mean.
RATIOS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
#: Share of the rest in the variance of the mean by question.
RESTS = (0.0, 0.25, 0.5, 0.9)
#: True differences in standard errors of the mean, for power.
EFFECT = 3.0
QUESTIONS = Path("results/training/e5-small-questions.npz")


def new(errors: SquaredErrors, level: float = LEVEL) -> float:
    """Return the margin of the test of hbt-bench."""
    return errors.margin(level)


def predecessor(errors: SquaredErrors, level: float = LEVEL) -> float:
    """Return the margin of Cochran and Cox, with the rest in both variances."""
    t, q = (-float(stdtrit(count - 1, level / 2)) for count in (errors.seeds, errors.questions))
    total = errors.by_seed + errors.by_question
    return (t * errors.by_seed + q * errors.by_question) / math.sqrt(total)


def equal_seeds(errors: SquaredErrors, level: float = LEVEL) -> float:
    """Return the margin of a t-test by question alone."""
    return -float(stdtrit(errors.questions - 1, level / 2)) * math.sqrt(errors.by_question)


Test = Callable[[SquaredErrors, float], float]

TESTS: dict[str, Test] = {
    "new": new, "predecessor": predecessor, "equal seeds": equal_seeds,
}  # fmt: skip


def integrated(test: Test, seeds: int, ratio: float, rest: float, effect: float, level: float = LEVEL) -> float:
    """Return the rate of rejections if the variances by question are known and values are normal.

    The integral is over the variance by seed, whose estimate has a chi-squared distribution.
    """
    nodes, weights = np.polynomial.legendre.leggauss(150)
    steps = (nodes + 1) / 2
    drawn = chi2.ppf(steps**4, seeds - 1) / (seeds - 1)  # the power puts nodes where margins change most
    deviation = math.sqrt(1 + ratio)
    margins = np.array([test(SquaredErrors(float(x), seeds, 1.0, 10**9, rest), level) for x in (rest + ratio) * drawn])
    rejected = ndtr(effect - margins / deviation) + ndtr(-effect - margins / deviation)
    return float((weights / 2 * 4 * steps**3 * rejected).sum())


@dataclass(frozen=True)
class Population:
    """Clusters of questions to draw studies from: their sizes and means, (clusters,), and rest, (seeds, clusters)."""

    name: str
    sizes: Matrix
    means: Matrix
    rest: Matrix

    @classmethod
    def from_questions(cls, name: str, questions: Matrix, rest: Matrix, clusters: NDArray[np.int64]) -> Population:
        """Average the questions by cluster; the mean of the population is 0."""
        sizes = np.bincount(clusters).astype(float)
        means = np.bincount(clusters, questions - questions.mean()) / sizes
        return cls(name, sizes, means, np.stack([np.bincount(clusters, row) / sizes for row in rest]))

    def study(self, seeds: int, ratio: float, generator: np.random.Generator) -> tuple[Matrix, Matrix, float]:
        """Return a study without a true difference by cluster, (seeds, clusters), the sizes, and its standard error.

        Whole clusters are drawn. The rest of a cluster in a seed is that of a random seed, with a random sign, so a
        cluster with a varied rest keeps it.
        """
        shares = (self.sizes / self.sizes.sum()) ** 2
        error = math.sqrt(float((shares * (self.means**2 + (self.rest**2).mean(axis=0) / seeds)).sum()))
        drawn = generator.integers(len(self.sizes), size=len(self.sizes))
        source = generator.integers(len(self.rest), size=(seeds, len(drawn)))
        signs = generator.choice((-1.0, 1.0), size=(seeds, len(drawn)))
        values = self.means[drawn] + signs * self.rest[source, drawn]
        values = values + generator.normal(0, error * math.sqrt(ratio * seeds), (seeds, 1))
        return values, self.sizes[drawn], error * math.sqrt(1 + ratio)


def populations() -> Iterator[Population]:
    """Yield normal values, real values by question, and real values in clusters."""
    generator = np.random.default_rng(0)
    single = np.arange(240)
    yield Population.from_questions(
        "normal, 240 questions", generator.normal(size=240), generator.normal(size=(40, 240)), single
    )
    scale = np.exp(generator.normal(0, 1, 240))  # a question varies up to 100 times as much as another
    varied = generator.normal(size=(40, 240)) * scale
    yield Population.from_questions(
        "unequal variances, 240 questions", generator.normal(size=240) * scale, varied, single
    )
    arrays = np.load(QUESTIONS)
    for name, other in (("xquad-r-multi AP", "1"), ("mlqa-r-mono AP", "0.25"), ("xquad-r-multi rank_distance", "0.75")):
        values = arrays[f"{name} alpha {other}"].astype(float) - arrays[f"{name} alpha 0.5"]
        mean = values.mean(axis=0)
        seeds = values.mean(axis=1, keepdims=True)
        rest = (values - mean - seeds + values.mean()) * math.sqrt(len(values) / (len(values) - 1))
        tails = float(((mean - mean.mean()) ** 4).mean() / mean.var() ** 2)
        title = f"{name}, alpha {other} minus 0.5 (kurtosis {tails:.0f}), {len(mean)} questions"
        yield Population.from_questions(title, mean, rest, np.arange(len(mean)))
        clusters = np.sort(generator.integers(48, size=len(mean)))
        shared = generator.normal(size=48)[clusters] * mean.std() / 2  # an article makes its questions alike
        own = generator.normal(size=(len(rest), 48))[:, clusters] * rest.std() / 2
        yield Population.from_questions(f"{name}, in 48 articles", mean + shared, rest + own, clusters)


def simulated(population: Population, seeds: int, ratio: float, studies: int, effect: float) -> dict[str, float]:
    """Return the rate of rejections of each test."""
    generator = np.random.default_rng([seeds, round(10 * ratio), len(population.name), round(effect)])
    rejected = dict.fromkeys(TESTS, 0)
    for _ in range(studies):
        values, sizes, error = population.study(seeds, ratio, generator)
        mean = SeedQuestionMean.from_matrix(values + effect * error, sizes)
        for name, test in TESTS.items():
            rejected[name] += abs(mean.value) > test(mean.squared_errors, LEVEL)
    return {name: count / studies for name, count in rejected.items()}


def exact_rows(tests: Sequence[str], effect: float) -> list[list[str]]:
    """Return a row for each number of seeds, share of the rest and test."""
    rows = []
    for seeds in SEEDS:
        for rest in RESTS:
            for name in tests:
                rates = [100 * integrated(TESTS[name], seeds, ratio, rest, effect) for ratio in RATIOS]
                rows.append([f"{seeds} seeds, rest {rest:.0%}, {name}", *(f"{rate:.2f}" for rate in rates)])
    return rows


def smaller_levels() -> list[list[str]]:
    """Return the largest rate at small levels, which corrections for many comparisons need, divided by the level."""
    rows = []
    for level in (0.05, 0.01, 0.001, 0.0001):
        cells = [
            max(integrated(TESTS[name], seeds, ratio, rest, 0.0, level) for ratio in RATIOS for rest in RESTS) / level
            for name in ("new", "predecessor")
            for seeds in SEEDS
        ]
        rows.append([f"{100 * level:g} %", *(f"{cell:.2f}" for cell in cells)])
    return rows


def main() -> None:
    """Integrate, simulate and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=4000, help="simulated studies in each cell")
    parser.add_argument("--output", default="")
    options = parser.parse_args()
    about = environment()
    header = ["seeds vary by", *(f"{ratio:g}" for ratio in RATIOS)]
    positives = exact_rows(["new", "predecessor"], 0.0)
    powers = exact_rows(["new", "predecessor"], EFFECT)
    small = smaller_levels()
    ratios = (0.0, 0.3, 3.0, 30.0)
    rows, most = [], dict.fromkeys(TESTS, 0.0)
    for population in populations():
        for seeds in SEEDS:
            cells = [simulated(population, seeds, ratio, options.studies, 0.0) for ratio in ratios]
            power = [simulated(population, seeds, ratio, options.studies // 4, EFFECT) for ratio in ratios]
            for name in TESTS:
                most[name] = max(most[name], *(cell[name] for cell in cells))
                shown = [f"{100 * cell[name]:.1f}" for cell in cells]
                shown += ["-" if name == "equal seeds" else f"{100 * cell[name]:.0f}" for cell in power]
                rows.append([population.name, str(seeds), name, *shown])
    error = 100 * math.sqrt(LEVEL * (1 - LEVEL) / options.studies)
    cells_count = len(rows) // len(TESTS) * len(ratios)
    summary = [
        ["integrated, normal values",
         *(f"{max(float(cell) for row in positives if row[0].endswith(name) for cell in row[1:]):.2f}"
           for name in ("new", "predecessor")), "-"],
        ["simulated, all populations", *(f"{100 * most[name]:.1f}" for name in TESTS)],
    ]  # fmt: skip
    parts = [
        "\n".join(line for line in (__doc__ or "").strip().splitlines()[4:]),
        "All tests are at 5 %. Columns have the variance of the seeds, divided by the variance of everything else "
        "(both of the mean). The rest is specific to a seed and a question; its share is of the variance by question.",
        "## The largest rate of false positives, in %",
        table(["", *TESTS], summary),
        "## The largest rate of false positives, divided by the level, integrated",
        table(["level", *(f"{name}, {seeds} seeds" for name in ("new", "predecessor") for seeds in SEEDS)], small),
        "## False positives in %, integrated",
        table(header, positives),
        f"## Power in %, integrated, for a true difference of {EFFECT:g} standard errors",
        "A test that knows all variances has 85 %. The power of the predecessor with two seeds comes in part from "
        "rejecting more than 5 % of true nulls.",
        table(header, powers),
        f"## False positives and power in %, simulated, {options.studies:,} studies each",
        f"The standard error of a rate of 5 % is {error:.2f}: if all {cells_count} rates were exactly 5 %, the largest "
        f"would be about {100 * LEVEL + error * -float(ndtri(0.5 / cells_count)):.1f}. Power is that for a difference "
        f"of {EFFECT:g} standard errors in {options.studies // 4:,} studies. In 48 articles, the clusters are the "
        "articles.",
        table(
            ["population", "seeds", "test", *(f"false, {ratio:g}" for ratio in ratios),
             *(f"power, {ratio:g}" for ratio in ratios)],
            rows,
        ),
    ]  # fmt: skip
    data = {"false_positives": positives, "power": powers, "simulated": rows, "largest": summary, "levels": small}
    publish("The test over seeds and questions", parts, data, about, options.output)


if __name__ == "__main__":
    main()
