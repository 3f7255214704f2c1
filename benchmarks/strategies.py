"""Train every strategy with several seeds from a recipe, evaluate the models, and compare the strategies.

python benchmarks/strategies.py recipes/parallel-small.yaml --data-dir DATA --tasks xquad-r,mlqa-r --output runs

A second run does the missing work only. Strategies are compared with hybrid-50 over seeds and clusters of questions
(`hbt_bench.stats.seeds`), corrected over all comparisons (Holm). With `--restate`, the tests are computed again from
the stored scores of the checkpoints and the stored intervals over questions:

python benchmarks/strategies.py recipes/parallel-small.yaml --data-dir DATA --tasks TASKS --restate results/training/x
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import report

from hbt_bench.identity.task_name import Mode, TaskName
from hbt_bench.measures.registry import MEASURES, Measure
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.reports.systems import ModelResults, RankedResult, common_level
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.results.store import load_results
from hbt_bench.stats.clusters import Array, Level
from hbt_bench.stats.paired import SIGNIFICANCE, holm
from hbt_bench.stats.seeds import SeedQuestionMean, SquaredErrors
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
#: The quantile of a 95 % interval, and the largest ratio of the variances by article and by question of a difference
#: between strategies, measured on XQuAD-R with the stored values of `results/training/e5-small-questions.npz`.
NORMAL, ARTICLES = 1.96, 3.4
RESTATED = (
    "A strategy's value is the mean over its three seeds. Strategies are compared with hybrid-50 over seeds and "
    "questions, corrected over all comparisons (Holm). The values of the questions of these models are not stored. So "
    "the tests were computed from the stored scores of the checkpoints and from the stored bootstrap intervals over "
    f"questions, on the safe side: the variance over questions is multiplied by {ARTICLES:g}, the largest ratio "
    "between variances by article and by question in [e5-small.md](e5-small.md), and the variance that is specific to "
    "a seed and a question counts twice. Intervals have the same variances. "
    "`python benchmarks/strategies.py recipes/parallel-small.yaml --data-dir DATA --tasks TASKS --restate "
    "results/training/parallel-small` computes the tables again; the key `by_question` of "
    "[parallel-small.json](parallel-small.json) has the intervals over questions."
)
#: The published measures of each model besides those of bias, and the published measures of its subsets.
RETRIEVAL = ("AP", "R@1", "R@10", "nDCG@10")
SUBSETS = ("AP", "R@1", "R@10", "rank_distance", "same_language_excess@10")


def matrix(evidence: Sequence[RankedResult], measure: str) -> tuple[Array, Array]:
    """Return the values of models by cluster of questions, (models, clusters), and the sizes of the clusters."""
    level, rows = common_level(evidence), []
    for ranked in evidence:
        measured = ranked.mode_ranks.clusters(Measure.parse(measure))
        assert measured is not None
        values = measured[0]
        sizes = level.add_up(np.ones(len(values.questions)), values.questions)
        rows.append(level.add_up(values.contributions * len(values.questions), values.questions) / sizes)
    return np.stack(rows), sizes


def estimated(value: float, spread: float, errors: SquaredErrors, difference: bool) -> dict[str, object]:
    """Return the fields of a row for a score, or for a difference from the baseline."""
    width = errors.margin(SIGNIFICANCE)
    interval = (value - width, value + width)
    if not difference:
        return {"value": value, "interval": interval, "seed_deviation": spread}
    fields = {"difference": value, "difference_interval": interval, "p_raw": errors.p_value(value)}
    return {**fields, "errors": asdict(errors)}


def compared(output: Path, spec: TaskSpec, mode: Mode, measure: str, seeds: int) -> list[dict[str, object]]:
    """Return the rows of all strategies on a task by a measure, with uncorrected p-values."""
    models = [
        ModelResults.find(f"local/{name}-seed{seed}", output / "results").read(spec, mode, None)
        for name, _, _ in RUNS
        for seed in range(seeds)
    ]
    values, sizes = matrix(models, measure)
    by_strategy = values.reshape(len(RUNS), seeds, -1)
    base = by_strategy[[name for name, _, _ in RUNS].index(BASELINE)]
    rows: list[dict[str, object]] = []
    for (name, _, _), own in zip(RUNS, by_strategy, strict=True):
        row: dict[str, object] = {"task": spec.task_name(mode), "measure": measure, "strategy": name}
        for mean in [SeedQuestionMean.from_matrix(own, sizes), SeedQuestionMean.from_matrix(own - base, sizes)][
            : 2 - (name == BASELINE)
        ]:
            row |= estimated(mean.value, mean.spread, mean.squared_errors, "value" in row)
        rows.append(row)
    return rows


def restated(rows: Sequence[Mapping[str, Any]], scores: Any, questions: Mapping[str, int]) -> list[dict[str, object]]:
    """Return rows that were tested by question with the test over seeds and questions.

    The variance by seed comes from the `scores` of the checkpoints. The variance by question comes from the stored
    bootstrap intervals, times `ARTICLES`. The rest is not stored, so it counts twice, which is on the safe side.
    """
    scores = scores[scores["subset"] == "all"].sort_values("model")
    strategy = scores["model"].str.extract(r"local/(.*)-seed")[0]
    by_model = {
        key: group["value"].to_numpy() for key, group in scores.groupby([scores.task, scores.measure, strategy])
    }
    new = []
    for row in rows:
        key = (row["task"], row["measure"])
        own, base = (by_model[(*key, name)] for name in (row["strategy"], BASELINE))
        fields = {name: row[name] for name in ("task", "measure", "strategy")}
        parts = [(row["value"], own, row["interval"])]
        if row["strategy"] != BASELINE:
            parts.append((row["difference"], own - base, row["difference_interval"]))
        for value, seeds, (low, high) in parts:
            by_question = ARTICLES * ((high - low) / 2 / NORMAL) ** 2
            count = questions[TaskName.parse(row["task"]).base]
            errors = SquaredErrors(float(seeds.var(ddof=1)) / len(seeds), len(seeds), by_question, count)
            fields |= estimated(value, float(seeds.std(ddof=1)), errors, "value" in fields)
        new.append(fields)
    return new


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


def tables(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Correct the p-values of the rows, and return a table for each task and measure."""
    tested = [row for row in rows if "p_raw" in row]
    for row, p in zip(tested, holm([row["p_raw"] for row in tested]), strict=True):
        row["p"] = p
    parts = []
    for task, measure in dict.fromkeys((row["task"], row["measure"]) for row in rows):
        digits = 1 if measure == "rank_distance" else 4
        table = []
        for row in (row for row in rows if (row["task"], row["measure"]) == (task, measure)):
            low, high = row["interval"]
            cells = [row["strategy"], f"{row['value']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"]
            cells.append(f"{row['seed_deviation']:.{digits}f}")
            if "p" in row:
                low, high = row["difference_interval"]
                cells += [f"{row['difference']:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"]
                cells += [f"{row['p_raw']:.2g}", f"{row['p']:.2g}"]
            else:
                cells += ["-", "-", "-"]
            table.append(cells)
        header = ["strategy", "mean over the seeds [95 %]", "deviation of the seeds", f"minus {BASELINE} [95 %]"]
        parts += [f"## {task}, {measure}", report.table([*header, "p", "corrected"], table)]
    return parts


def restate(options: argparse.Namespace) -> None:
    """Test the stored rows again, and replace the tables of the report; the rest of the report stays."""
    path = options.restate.with_suffix(".json")
    stored = json.loads(path.read_text("utf-8"))
    questions = {}
    for selection in select_tasks(options.tasks):
        assert selection.spec is not None
        loaded = selection.spec.load(None, options.data_dir)
        questions[selection.spec.base] = Level.choose(loaded.levels, int(loaded.questions.max()) + 1).number
    original = stored.setdefault("by_question", stored["rows"])
    rows = restated(original, pd.read_csv(path.with_name("checkpoints.csv.gz")), questions)
    parts = [f"# Strategies of {options.recipe.stem}", RESTATED, *tables(rows)]
    _, mark, rest = path.with_suffix(".md").read_text("utf-8").partition("## Cost\n")
    path.with_suffix(".md").write_text("\n\n".join([*parts, mark + rest]), "utf-8")
    stored["rows"] = rows
    path.write_text(json.dumps(stored, indent=2, ensure_ascii=False) + "\n", "utf-8")


def publish(options: argparse.Namespace, about: dict[str, object]) -> None:
    """Compare the strategies and write the report."""
    rows: list[dict[str, Any]] = []
    for selection in select_tasks(options.tasks):
        assert selection.spec is not None
        for mode in selection.modes:
            for measure in measures(options.output, selection.spec, mode):
                rows += compared(options.output, selection.spec, mode, measure, options.seeds)
    parts = ["\n".join(line for line in (__doc__ or "").strip().splitlines()[4:6]), *tables(rows)]
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
    parser.add_argument("--restate", type=Path, help="path of a stored report, to test its values again")
    options = parser.parse_args()
    if options.restate:
        restate(options)
        return
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
