"""Train every strategy with several seeds from one recipe and evaluate each model; a re-run does what is missing.

python benchmarks/strategies.py recipes/parallel-small.yaml --data-dir DATA --tasks xquad-r,mlqa-r --output runs
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hbt_bench.reporting.evaluation import Evaluation
from hbt_bench.tasks.mteb_model import ModelRequest
from hbt_bench.tasks.registry import select_tasks
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.training import Training

#: Name, strategy and alpha of each model.
RUNS = [
    ("monolingual", "monolingual", 1.0),
    ("cross-lingual", "cross-lingual", 0.0),
    ("hybrid-50", "hybrid", 0.5),
    ("mixed", "mixed", 1.0),
    ("hybrid-25", "hybrid", 0.25),
    ("hybrid-75", "hybrid", 0.75),
]


def main() -> None:
    """Train and evaluate, seed by seed, so that whatever is there is balanced."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--tasks", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("runs"))
    options = parser.parse_args()
    for seed in range(options.seeds):
        for name, strategy, alpha in RUNS:
            label = f"{name}-seed{seed}"
            changes = {"strategy": strategy, "alpha": alpha, "seed": seed, "name": label}
            folder = options.output / "models" / label
            recipe = Recipe.read(options.recipe, changes)
            Training(recipe, folder, (options.data_dir,), drop_overlap=True).run()
            request = ModelRequest(str(folder))
            selections = select_tasks(options.tasks)
            found = Evaluation(request, selections, options.output / "results", data_dir=options.data_dir).run()
            scores = ", ".join(f"{result.task} {result.scores['AP']:.4f}" for result in found)
            print(f"{label}: {scores}", flush=True)


if __name__ == "__main__":
    main()
