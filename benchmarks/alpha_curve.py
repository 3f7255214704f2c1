"""Compare hybrid batches by alpha, from the results of trained models that differ in alpha and seed only.

    for seed in 0 1 2 3; do for alpha in 0 0.25 0.5 0.75 1; do
      hbt-bench train recipes/e5-small.yaml --data-dir DATA --drop-overlap --init E5 --alpha $alpha --seed $seed \
        --name e5-a$alpha-s$seed --output models/e5-a$alpha-s$seed
      hbt-bench run --model models/e5-a$alpha-s$seed --tasks xquad-r,mlqa-r --output curve
    done; done
    python benchmarks/alpha_curve.py curve --untouched untouched --output results/training/e5-small

Differences from alpha .5 are tested over seeds and clusters of questions together (`hbt_bench.stats.seeds`), corrected
over all comparisons (Holm). With `--restate`, the tables and tests are computed again from the stored values:

    PYTHONPATH=. python benchmarks/alpha_curve.py --restate --data-dir DATA --output results/training/e5-small
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import environment, publish, table, write_csv_gz
from hbt_bench.measures.registry import MEASURES
from hbt_bench.reports.charts import alpha
from hbt_bench.reports.render import write_chart
from hbt_bench.results.ranks_file import StoredRanks
from hbt_bench.results.store import Result, load_results, read_all
from hbt_bench.stats.clusters import Level
from hbt_bench.stats.paired import holm
from hbt_bench.stats.seeds import SeedQuestionMean
from hbt_bench.tasks.registry import select_tasks

BASELINE = 0.5
#: The scores that are compared: the end of a task's name, and the measure.
SCORES = (("mono", "AP"), ("cross", "AP"), ("multi", "AP"), ("multi", "rank_distance"))

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Values of the questions by alpha, (seeds, questions); the mean of a matrix is the score of a task.

    `level` has the clusters of the questions, which are all asked.
    """

    task: str
    measure: str
    values: Mapping[float, Matrix]
    seeds: tuple[int, ...]
    level: Level

    @classmethod
    def from_results(cls, results: Sequence[Result], measure: str) -> Curve:
        """Collect a measure of a task, with the seeds that all alphas have."""
        rows: dict[float, dict[int, Matrix]] = defaultdict(dict)
        task = ""
        for result in results:
            contributions = result.contributions(measure)
            assert contributions is not None
            task, training = result.task, result.training
            rows[float(training["alpha"])][int(training["seed"])] = contributions * len(contributions)
        seeds = tuple(sorted(set.intersection(*(set(by_seed) for by_seed in rows.values()))))
        matrices = {key: np.stack([rows[key][seed] for seed in seeds]) for key in sorted(rows)}
        ranks = results[0].ranks
        assert ranks is not None
        judgements = StoredRanks.read(ranks).judgements
        level = Level.choose(judgements.levels, int(judgements.questions.max()) + 1)
        return cls(task, measure, matrices, seeds, level)

    def mean(self, key: float) -> SeedQuestionMean:
        """Return the average over seeds and questions at an alpha."""
        return self._average(self.values[key])

    def difference(self, key: float) -> SeedQuestionMean:
        """Return the difference from `BASELINE` on the same seeds and questions."""
        return self._average(self.values[key] - self.values[BASELINE])

    def _average(self, values: Matrix) -> SeedQuestionMean:
        sizes = self.level.add_up(np.ones(values.shape[1]))
        return SeedQuestionMean.from_matrix(self.level.add_up(values) / sizes, sizes)


def curves(results: Sequence[Result]) -> list[Curve]:
    """Return a curve for each collection and score."""
    found = []
    for collection in sorted({result.collection for result in results}, reverse=True):
        for mode, measure in SCORES:
            chosen = [result for result in results if result.task == f"{collection}-{mode}"]
            found.append(Curve.from_results(chosen, measure))
    return found


def stored_curves(path: Path, data_dir: Path) -> list[Curve]:
    """Return the curves whose values `questions` wrote. The clusters come from the data."""
    arrays, levels = np.load(path), {}
    matrices: dict[tuple[str, str], dict[float, Matrix]] = defaultdict(dict)
    for name in arrays.files:
        task, measure, _, key = name.split(" ")
        matrices[task, measure][float(key)] = arrays[name].astype(float)
    for collection in {task.rpartition("-")[0] for task, _ in matrices}:
        [selection] = select_tasks(collection)
        assert selection.spec is not None
        loaded = selection.spec.load(None, data_dir)
        levels[collection] = Level.choose(loaded.levels, int(loaded.questions.max()) + 1)
    return [
        Curve(task, measure, values, tuple(range(len(values[BASELINE]))), levels[task.rpartition("-")[0]])
        for (task, measure), values in matrices.items()
    ]


def rows_of(found: Sequence[Curve]) -> list[dict[str, Any]]:
    """Return a row for each alpha of each curve, with p-values corrected over all rows."""
    rows: list[dict[str, Any]] = []
    for curve in found:
        for key in curve.values:
            mean = curve.mean(key)
            row = {"task": curve.task, "measure": curve.measure, "alpha": key, "value": mean.value}
            row |= {"interval": mean.interval, "spread": mean.spread}
            if key != BASELINE:
                difference = curve.difference(key)
                row |= {"difference": difference.value, "difference_interval": difference.interval}
                row["p_raw"] = difference.p_value
                row["errors"] = asdict(difference.squared_errors)
            rows.append(row)
    tested = [row for row in rows if "p_raw" in row]
    for row, p in zip(tested, holm([row["p_raw"] for row in tested]), strict=True):
        row["p"] = p
    return rows


def section(task: str, measure: str, rows: Sequence[Mapping[str, Any]], untouched: float | None) -> list[str]:
    """Return the heading and the table of a curve."""
    digits = MEASURES[measure].decimals
    cells = []
    for row in rows:
        low, high = row["interval"]
        line = [f"{row['alpha']:g}", f"{row['value']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"]
        line.append(f"{row['spread']:.{digits}f}")
        if "p" in row:
            low, high = row["difference_interval"]
            line.append(f"{row['difference']:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]")
            line += [f"{row['p_raw']:.2g}", f"{row['p']:.2g}"]
        else:
            line += ["-", "-", "-"]
        cells.append(line)
    if untouched is not None:
        cells.append(["untouched", f"{untouched:.{digits}f}", "-", "-", "-", "-"])
    header = ["alpha", "mean [95 %]", "deviation of the seeds", f"minus alpha {BASELINE:g} [95 %]", "p", "corrected"]
    return [f"## {task}, {measure}", table(header, cells)]


def draw(found: Sequence[Curve], path: Path) -> None:
    """Draw the curves of the first collection."""
    first = found[0].task.rpartition("-")[0]
    titles = {"AP": "AP", "rank_distance": "rank distance"}
    values = [
        {
            "line": "hybrid batches",
            "strategy": "hybrid" if 0 < key < 1 else "monolingual" if key else "cross-lingual",
            "alpha": key,
            "seed": seed,
            "measure": f"{curve.task.rpartition('-')[2]} {titles[curve.measure]}",
            "value": float(mean),
            "model": f"alpha {key:g}, seed {seed}",
        }
        for curve in found
        if curve.task.rpartition("-")[0] == first
        for key, matrix in curve.values.items()
        for seed, mean in zip(curve.seeds, matrix.mean(axis=1), strict=True)
    ]
    write_chart(alpha(values), path)


def checkpoints(folder: Path, path: Path) -> None:
    """Write all measures of this program of all models, with their intervals; equal results give equal bytes."""
    frame = load_results(folder)
    names = {measure.name for measure in MEASURES}
    frame = frame[frame["measure"].isin(names) & ((frame["subset"] == "all") | frame["measure"].isin(("AP", "R@1")))]
    write_csv_gz(frame, path)


def questions(found: Sequence[Curve], path: Path) -> None:
    """Write the values of the questions, so that the tests can be repeated without the models."""
    arrays = {
        f"{curve.task} {curve.measure} alpha {key:g}": matrix.astype(np.float32)
        for curve in found
        for key, matrix in curve.values.items()
    }
    np.savez_compressed(path, **arrays)


def main() -> None:
    """Write the report, the checkpoints and the chart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="results of the trained models")
    parser.add_argument("--untouched", type=Path, help="results of the init, cut at the same number of tokens")
    parser.add_argument("--about", default="", help="a sentence on the training and its hardware")
    parser.add_argument("--output", default="")
    parser.add_argument("--chart", type=Path)
    parser.add_argument("--restate", action="store_true", help="read the stored values of --output, not results")
    parser.add_argument("--data-dir", type=Path, help="the data, which have the clusters, for --restate")
    options = parser.parse_args()
    if options.restate:
        found = stored_curves(Path(f"{options.output}-questions.npz"), options.data_dir)
        stored = json.loads(Path(f"{options.output}.json").read_text("utf-8"))
        about, untouched = stored["about"], stored["untouched"]
    else:
        assert options.folder is not None
        about = options.about
        baselines = read_all(options.untouched) if options.untouched else []
        untouched = {
            f"{result.task} {name}": value
            for result in baselines
            if isinstance(result, Result)
            for name, value in result.scores.items()
        }
        found = curves([result for result in read_all(options.folder) if isinstance(result, Result)])
    rows = rows_of(found)
    levels = dict.fromkeys(f"{curve.task.rpartition('-')[0]}: {curve.level}" for curve in found)
    seeds = f"Seeds: {', '.join(map(str, found[0].seeds))}. Clusters: {', '.join(levels)}."
    parts = [part for part in (about, seeds) if part]
    for curve in found:
        own = [row for row in rows if (row["task"], row["measure"]) == (curve.task, curve.measure)]
        parts += section(curve.task, curve.measure, own, untouched.get(f"{curve.task} {curve.measure}"))
    kept = {f"{curve.task} {curve.measure}" for curve in found}
    data = {"about": about, "untouched": {key: untouched[key] for key in untouched if key in kept}, "rows": rows}
    publish("Hybrid batches by alpha, from multilingual-e5-small", parts, data, environment(), options.output)
    if options.output and not options.restate:
        checkpoints(options.folder, Path(f"{options.output}-checkpoints.csv.gz"))
        questions(found, Path(f"{options.output}-questions.npz"))
    if options.chart:
        draw(found, options.chart)


if __name__ == "__main__":
    main()
