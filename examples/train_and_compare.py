"""Train with two strategies, evaluate the checkpoints, and compare them with a significance test.

python examples/train_and_compare.py [STEPS] [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import hbt_bench
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.run import Training

RECIPE = {
    "init": "static:64",  # random subword vectors, which train in seconds; use a hub name or a folder for real models
    "data": [{"kind": "cldr-facts"}],  # {"path": "train.jsonl.gz", "query": "question", "passage": "answer"}
    "languages": ["de", "en", "sw"],
    "batch_size": 64,
    "learning_rate": 0.05,
    "guard": ["cldr-facts"],  # raise an error if a training text occurs in these tasks
}


def main(steps: str = "200", folder: str = "example") -> None:
    """Train for `steps` steps per strategy, then print scores and the comparison."""
    output = Path(folder)
    models = []
    for strategy in ("monolingual", "hybrid"):
        recipe = Recipe.model_validate({**RECIPE, "strategy": strategy, "steps": int(steps), "name": strategy})
        models.append(Training(recipe, output / strategy).run())

    tasks = "cldr-facts[de,en,sw]"
    for model in models:
        request = hbt_bench.ModelRequest(str(model))
        for result in hbt_bench.Evaluation(request, hbt_bench.select_tasks(tasks), output / "results").run():
            print(f"{model.name:12} {result.task:28} AP {result.scores['AP']:.4f}")

    comparison = hbt_bench.compare(models, tasks, results=output / "results", measures="AP,rank_distance")
    for sentence in comparison.conclusions:
        print(sentence)


if __name__ == "__main__":
    main(*sys.argv[1:])
