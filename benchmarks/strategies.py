"""Train every strategy with several seeds from a recipe, evaluate the models, and compare the strategies.

python benchmarks/strategies.py recipes/parallel-small.yaml --data-dir DATA --tasks xquad-r,mlqa-r --output runs

A second run does the missing work only. A strategy's value for a query is the mean over its seeds. Strategies are
compared with hybrid-50 by the tests of `hbt-bench compare`, clustered by question and corrected over all comparisons.
These tests treat the seeds as fixed; the deviation of the seeds is reported separately.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import report

from hbt_bench.identity.task_name import Mode
from hbt_bench.measures.registry import MEASURES, Measure
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.reports.systems import ModelResults, RankedResult
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.results.store import load_results
from hbt_bench.stats.clusters import Clusters, bootstrap, percentiles
from hbt_bench.stats.paired import Paired, holm
from hbt_bench.tasks.registry import select_tasks
from hbt_bench.tasks.task import TaskSpec
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.run import Training

#: Name, strategy and alpha of each model.
RUNS = [
    ("monolingual", "monolingual", 1.0),
    ("cross-lingual", "cross-lingual", 0.0),
    ("hybrid-50", "hybrid", 0.5),
    ("mixed", "mixed", 1.0),
    ("hybrid-25", "hybrid", 0.25),
    ("hybrid-75", "hybrid", 0.75),
]

#: The strategy that the others are compared with.
BASELINE = "hybrid-50"
#: The published measures of each model besides those of bias, and the published measures of its subsets.
RETRIEVAL = ("AP", "R@1", "R@10", "nDCG@10")
SUBSETS = ("AP", "R@1", "R@10", "rank_distance", "same_language_excess@10")


def by_question(evidence: RankedResult, measure: str) -> Clusters:
    """Return the values of all subsets by question."""
    values = evidence.mode_ranks.clusters(Measure.parse(measure))
    assert values is not None
    return values[0]


def compared(output: Path, spec: TaskSpec, mode: Mode, measure: str, seeds: int) -> list[dict[str, object]]:
    """Return the rows of all strategies on a task by a measure, with uncorrected p-values."""
    means, spread = [], []
    for name, _, _ in RUNS:
        labels = [f"{name}-seed{seed}" for seed in range(seeds)]
        models = [
            by_question(ModelResults.find(f"local/{label}", output / "results").read(spec, mode, None), measure)
            for label in labels
        ]
        means.append(replace(models[0], values=np.mean([model.values for model in models], axis=0)))
        spread.append(statistics.stdev(model.average for model in models) if seeds > 1 else 0.0)
    draws = bootstrap(means, seed=0)
    base = [name for name, _, _ in RUNS].index(BASELINE)
    rows: list[dict[str, object]] = []
    for index, (name, _, _) in enumerate(RUNS):
        row: dict[str, object] = {"task": spec.task_name(mode), "measure": measure, "strategy": name}
        row |= {"value": means[index].average, "interval": percentiles(draws[index]), "seed_deviation": spread[index]}
        if index != base:
            paired = Paired(means[index], means[base])
            row |= {"difference": paired.difference, "difference_interval": percentiles(draws[index] - draws[base])}
            row["p_raw"] = paired.p_value()
        rows.append(row)
    return rows


def measures(output: Path, spec: TaskSpec, mode: Mode) -> tuple[str, ...]:
    """Return AP, and rank distance if questions have several answers in the pool."""
    evidence = ModelResults.find(f"local/{BASELINE}-seed0", output / "results").read(spec, mode, None)
    return tuple(name for name in MEASURES.headline() if evidence.mode_ranks.clusters(MEASURES[name]))


def checkpoints(output: Path, path: Path) -> None:
    """Write all numbers of all models, with intervals and subsets; equal results give equal bytes."""
    frame = load_results(output / "results")
    selected = frame["measure"].isin(
        (*RETRIEVAL, *(measure.name for measure in MEASURES if measure.bias), "AP_below_best")
    )
    frame = frame[selected & ((frame["subset"] == "all") | frame["measure"].isin(SUBSETS))]
    report.write_csv_gz(frame, path)


def publish(options: argparse.Namespace, about: dict[str, object]) -> None:
    """Compare the strategies and write the report."""
    rows = []
    for selection in select_tasks(options.tasks):
        assert selection.spec is not None
        for mode in selection.modes:
            for measure in measures(options.output, selection.spec, mode):
                rows += compared(options.output, selection.spec, mode, measure, options.seeds)
    tested = [row for row in rows if "p_raw" in row]
    for row, p in zip(tested, holm([row["p_raw"] for row in tested]), strict=True):
        row["p"] = p
    parts = ["\n".join(line for line in (__doc__ or "").strip().splitlines()[4:])]
    for task, measure in dict.fromkeys((row["task"], row["measure"]) for row in rows):
        digits = 1 if measure == "rank_distance" else 4
        table = []
        for row in (row for row in rows if (row["task"], row["measure"]) == (task, measure)):
            low, high = row["interval"]
            cells = [row["strategy"], f"{row['value']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"]
            cells.append(f"{row['seed_deviation']:.{digits}f}")
            if "p" in row:
                low, high = row["difference_interval"]
                cells += [f"{row['difference']:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]", f"{row['p']:.2g}"]
            else:
                cells += ["-", "-"]
            table.append(cells)
        header = ["strategy", "mean over the seeds [95 %]", "deviation of the seeds", f"minus {BASELINE} [95 %]", "p"]
        parts += [f"## {task}, {measure}", report.table(header, table)]
    costs = []
    for name, _, _ in RUNS:
        recipes = [
            json.loads((options.output / "models" / f"{name}-seed{seed}" / "hbt_bench_recipe.json").read_text())
            for seed in range(options.seeds)
        ]
        seconds = ", ".join(f"{recipe['seconds']:.0f}" for recipe in recipes)
        costs.append([name, recipes[0]["steps"], recipes[0]["pairs_seen"], seconds])
    header = ["strategy", "steps", "pairs seen", "seconds of the seeds"]
    parts += ["## Cost", "Every model saw the same number of pairs.", report.table(header, costs)]
    parts += ["## Recipe", f"```yaml\n{options.recipe.read_text(encoding='utf-8').strip()}\n```"]
    report.publish(f"Strategies of {options.recipe.stem}", parts, {"rows": rows}, about, options.report)
    if options.report:
        checkpoints(options.output, Path(options.report).with_name("checkpoints.csv.gz"))


def main() -> None:
    """Train and evaluate seed by seed, so that an interrupted run has equally many seeds of each strategy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--tasks", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("runs"), help="folder of the models and results")
    parser.add_argument("--report", default="", help="path of the report without ending")
    options = parser.parse_args()
    about = report.environment()
    for seed in range(options.seeds):
        for name, strategy, alpha in RUNS:
            label = f"{name}-seed{seed}"
            changes = {"strategy": strategy, "alpha": alpha, "seed": seed, "name": label}
            folder = options.output / "models" / label
            recipe = Recipe.read(options.recipe, changes)
            Training(recipe, folder, (options.data_dir,), drop_overlap=True).run()
            request = ModelRequest(str(folder))
            selections = select_tasks(options.tasks)
            results = Evaluation(request, selections, options.output / "results", data_dir=options.data_dir).run()
            scores = ", ".join(f"{result.task} {result.scores['AP']:.4f}" for result in results)
            print(f"{label}: {scores}", flush=True)
    publish(options, about)


if __name__ == "__main__":
    main()
