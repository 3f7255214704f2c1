"""Half-widths, coverage and false positives by level of the clusters, on real results.

    PYTHONPATH=. python benchmarks/cluster_levels.py results --output results/benchmarks/cluster_levels

A simulated collection has as many questions, paragraphs or articles as XQuAD-R, drawn with replacement: a
unit brings all its questions with their real values of AP. Each drawn unit is new, so other levels are clusters within
it. For the test, the values are differences between two models, with their mean subtracted: the null is true. For the
interval, the truth is the mean of the real values.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import environment, publish, table
from hbt_bench.results.hierarchy import Hierarchy
from hbt_bench.results.result import Result
from hbt_bench.results.scores import decode_contributions
from hbt_bench.results.store import read_all
from hbt_bench.stats.clusters import CONFIDENCE, RESAMPLES, Array, Clusters
from hbt_bench.stats.paired import SIGNIFICANCE, sign_flip_p

NAMES = {"hbt-bench/bm25": "BM25", "local/e5-small-4bit": "e5-small", "local/all-MiniLM-L6-v2": "MiniLM"}
NAMES |= {"google/universal-sentence-encoder-multilingual": "USE"}
COLLECTION, MODES = "xquad-r", ("mono", "cross", "multi")
LEVELS = ("question", "document", "paragraph", "article")
#: The levels and modes of the simulation.
SIMULATED, SIMULATED_MODES = ("question", "paragraph", "article"), ("mono", "multi")

Labels = Mapping[str, NDArray[np.int32]]


def load(folder: Path) -> tuple[dict[tuple[str, str], Array], Hierarchy]:
    """Return the AP of each question times the number of subsets, by mode and model, and the clusters."""
    values, hierarchy = {}, None
    for result in read_all(folder):
        if isinstance(result, Result) and result.collection == COLLECTION and result.model in NAMES:
            assert result.mode is not None
            assert result.hierarchy is not None, "run benchmarks/add_clusters.py first"
            hierarchy = result.hierarchy
            contributions = decode_contributions(result.encoded_contributions["AP"])
            values[result.mode, NAMES[result.model]] = contributions * len(contributions)
    assert hierarchy is not None, f"no results of {COLLECTION}"
    return values, hierarchy


def half_width(clusters: Clusters) -> float:
    """Return the wider half of the interval of a mean."""
    low, high = clusters.interval()
    return max(clusters.average - low, high - clusters.average)


def drawn(labels: Labels, unit: str, generator: np.random.Generator) -> tuple[NDArray[np.int64], Labels]:
    """Draw units with replacement: return the rows of their questions, and the clusters of these rows by level."""
    members = _members(unit)
    picked = generator.integers(0, len(members), len(members))
    rows = np.concatenate([members[number] for number in picked])
    copies = np.repeat(np.arange(len(picked)), [len(members[number]) for number in picked])
    clusters = {}
    for name, numbers in labels.items():
        # a finer cluster is another cluster in each copy of its unit; a coarser cluster is broken up by the draw
        finer = LEVELS.index(name) <= LEVELS.index(unit)
        keys = copies * (int(numbers.max()) + 1) + numbers[rows] if finer else numbers[rows]
        clusters[name] = np.unique(keys, return_inverse=True)[1]
    return rows, clusters


_LABELS: dict[str, NDArray[np.int32]] = {}


@cache
def _members(unit: str) -> list[NDArray[np.int64]]:
    """Return the questions of each unit."""
    order = np.argsort(_LABELS[unit], kind="stable")
    return np.split(order, np.cumsum(np.bincount(_LABELS[unit]))[:-1])


def false_positives(differences: Array, unit: str, draws: int, seed: int) -> dict[str, float]:
    """Return the share of true nulls that the test rejects, by level."""
    generator, rejected = np.random.default_rng(seed), dict.fromkeys(SIMULATED, 0)
    null = differences - differences.mean()
    for _ in range(draws):
        rows, clusters = drawn(_LABELS, unit, generator)
        for name, numbers in clusters.items():
            rejected[name] += sign_flip_p(np.bincount(numbers, null[rows])) < SIGNIFICANCE
    return {name: count / draws for name, count in rejected.items()}


def coverage(values: Array, unit: str, draws: int, seed: int) -> dict[str, float]:
    """Return the share of 95 % intervals that contain the truth, by level."""
    generator, covered = np.random.default_rng(seed), dict.fromkeys(SIMULATED, 0)
    truth = float(values.mean())
    for number in range(draws):
        rows, clusters = drawn(_LABELS, unit, generator)
        for name, numbers in clusters.items():
            low, high = _ratio_interval(values[rows], numbers, number)
            covered[name] += low <= truth <= high
    return {name: count / draws for name, count in covered.items()}


def _ratio_interval(values: Array, numbers: NDArray[np.int64], seed: int) -> tuple[float, float]:
    """Return the bootstrap interval of the mean over questions if clusters are resampled."""
    totals, counts = np.bincount(numbers, values), np.bincount(numbers)
    return Clusters((totals / counts)[:, None], counts[:, None], np.arange(len(counts))).interval(RESAMPLES, seed)


def percent(rates: Sequence[float]) -> str:
    """Return the lowest and highest of several rates."""
    low, high = (f"{100 * rate:.1f}" for rate in (min(rates), max(rates)))
    return low if low == high else f"{low} to {high}"


def _half_widths(values: Mapping[tuple[str, str], Array], hierarchy: Hierarchy) -> Iterator[list[str]]:
    for (mode, model), array in sorted(values.items(), key=lambda item: (item[0][1], MODES.index(item[0][0]))):
        clusters = Clusters.from_matrix(array[:, None])
        widths = [half_width(clusters.at(hierarchy.level(name))) for name in LEVELS]
        yield [model, mode, f"{clusters.average:.4f}", *(f"{width:.4f}" for width in widths)]


def main() -> None:
    """Simulate and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draws", type=int, default=300, help="simulated collections of each test")
    parser.add_argument("--intervals", type=int, default=60, help="simulated collections of each interval")
    parser.add_argument("--output", default="")
    options = parser.parse_args()
    about = environment()
    values, hierarchy = load(options.folder)
    _LABELS.update({name: hierarchy.level(name).labels for name in SIMULATED})
    models = sorted({model for _, model in values})
    tests: dict[str, dict[str, list[float]]] = {unit: {name: [] for name in SIMULATED} for unit in SIMULATED}
    intervals: dict[str, dict[str, list[float]]] = {unit: {name: [] for name in SIMULATED} for unit in SIMULATED}
    for unit in SIMULATED:
        for mode in SIMULATED_MODES:
            for seed, (first, second) in enumerate(combinations(models, 2)):
                differences = values[mode, first] - values[mode, second]
                for name, rate in false_positives(differences, unit, options.draws, seed).items():
                    tests[unit][name].append(rate)
            for seed, model in enumerate(models):
                for name, rate in coverage(values[mode, model], unit, options.intervals, seed).items():
                    intervals[unit][name].append(rate)
    numbers = ", ".join(f"{hierarchy.level(name).number:,} by {name}" for name in LEVELS)
    shown: list[Any] = [
        [[f"{unit}s", *(percent(rates[unit][name]) for name in SIMULATED)] for unit in SIMULATED]
        for rates in (tests, intervals)
    ]
    pooled = [[f"{unit}s", *(f"{100 * np.mean(rates[unit][name]):.1f}" for name in SIMULATED)]
              for rates in (tests, intervals) for unit in SIMULATED]  # fmt: skip
    error = 100 * math.sqrt(SIGNIFICANCE * (1 - SIGNIFICANCE))
    widths = list(_half_widths(values, hierarchy))
    parts = [
        "\n".join(line for line in (__doc__ or "").strip().splitlines()[4:]),
        f"Clusters of {COLLECTION}: {numbers}. Models: {', '.join(models)}.",
        "## Half-widths of the 95 % interval of AP, by level",
        table(["model", "mode", "AP", *LEVELS], widths),
        "## False positives of the paired test at 5 %, in %, by level of the test",
        f"Mean over {len(tests['article']['article'])} pairs of models and modes, with {options.draws:,} simulated "
        f"collections each; the standard error of a single rate of 5 % is {error / math.sqrt(options.draws):.1f}.",
        table(["units drawn", *SIMULATED], pooled[: len(SIMULATED)]),
        "If questions are drawn, the articles keep their own means in every draw, so tests by article reject less than "
        "they may. Lowest and highest of these pairs:",
        table(["units drawn", *SIMULATED], shown[0]),
        f"## Coverage of the {100 * CONFIDENCE:.0f} % interval, in %, by level of the interval",
        f"Mean over {len(intervals['article']['article'])} models and modes, with {options.intervals:,} simulated "
        f"collections each.",
        table(["units drawn", *SIMULATED], pooled[len(SIMULATED) :]),
        f"The simulation took {time.process_time():.0f} seconds of a single thread.",
    ]
    data = {"half_widths": widths, "false_positives": tests, "coverage": intervals}
    publish("Levels of clusters", parts, data, about, options.output)


if __name__ == "__main__":
    main()
