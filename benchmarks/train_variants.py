"""Train a model in full, in bf16, with adapters and with frozen embeddings, and compare memory, time and losses.

``OMP_NUM_THREADS=1 python benchmarks/train_variants.py --init e5-small --output results/benchmarks/train_variants``

Each training is a process with batches of 32 pairs of the embedded facts. Seconds are medians over the steps after the
first five; the processor's seconds depend little on other programs. The losses of another seed show how much of a
difference is noise. Then plain sentence-transformers loads the model,
and its vectors are compared with those of the trained model, before adapters are merged.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import report
import torch

#: The changes of each recipe.
VARIANTS: dict[str, dict[str, Any]] = {
    "all weights": {},
    "all weights, another seed": {"seed": 1},
    "all weights, bf16": {"precision": "bf16"},
    "LoRA, r 16": {"lora": {"r": 16}},
    "frozen embeddings": {"freeze": ["embeddings"]},
}
_WARM = 5
_TEXTS = ["Who wrote the novel?", "Wer schrieb den Roman?", "A river is a natural stream of water."]


def train(variant: str, init: str, steps: int) -> dict[str, Any]:
    """Train a variant in this process, and return its figures."""
    from sentence_transformers import SentenceTransformer

    from hbt_bench.log import show_progress
    from hbt_bench.training import models
    from hbt_bench.training.recipe import Recipe
    from hbt_bench.training.run import Training

    fixed = {"batch_size": 32, "guard": (), "save_every": steps}
    recipe = Recipe(**{"init": init, "steps": steps, **fixed, **VARIANTS[variant]})
    clocks: list[tuple[float, float]] = []
    vectors, settings = [], models.used_settings

    def used_settings(model: SentenceTransformer) -> dict[str, Any]:
        vectors.append(model.encode_query(_TEXTS))
        return settings(model)

    models.used_settings = used_settings
    with tempfile.TemporaryDirectory() as folder:
        with show_progress(lambda *_: clocks.append((time.perf_counter(), time.process_time()))):
            Training(recipe, Path(folder)).run()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        facts = json.loads(Path(folder, "hbt_bench_recipe.json").read_text())
        loaded = SentenceTransformer(folder, device="cpu").encode_query(_TEXTS)
    stretches = np.diff(np.array(clocks[-steps:]), axis=0)[_WARM:]
    return {
        "trained": facts["used"].get("trained_parameters"),
        "wall": median(stretches[:, 0]),
        "processor": median(stretches[:, 1]),
        "memory": memory,
        "losses": [loss for _, loss in facts["losses"]],
        "difference": float(np.abs(loaded - vectors[0]).max()),
    }


def main() -> None:
    """Train each variant in its own process, and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--init", required=True)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(train(options.variant, options.init, options.steps)))
        return
    about, lines, results = report.environment(), [], {}
    for variant in VARIANTS:
        child = subprocess.run([sys.executable, *sys.argv, "--variant", variant], stdout=subprocess.PIPE, check=True)
        results[variant] = found = json.loads(child.stdout.splitlines()[-1])
        trained = "all" if found["trained"] is None else f"{found['trained']:,}"
        losses = np.array(found["losses"])
        apart = np.abs(losses - results["all weights"]["losses"])[-10:].mean()
        figures = [found[name] for name in ("memory", "processor", "wall")]
        lines.append([variant, trained, *figures, losses[-10:].mean(), apart, found["difference"]])
    head = [
        "variant",
        "trained weights",
        "GiB at most",
        "s of the processor a step",
        "s a step",
        "mean loss of the last 10",
        "their mean distance from the first row's",
    ]
    parts = [
        f"{options.steps} steps of 32 pairs of the embedded facts, each variant in a process of its own, with "
        f"{torch.get_num_threads()} thread. The last column is the greatest difference of the vectors of plain "
        "sentence-transformers, which loads the saved model, from those of the trained model before its adapters are "
        "merged.",
        report.table([*head, "difference"], lines),
    ]
    report.publish(
        "Training all weights, in bf16, adapters, or all but the embeddings", parts, results, about, options.output
    )


if __name__ == "__main__":
    main()
