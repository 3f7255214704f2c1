"""Train with the stock trainer and with `hbt-bench train`, as after an installation; batches and weights must be equal.

Run it by the Python of an environment that has the wheel, outside the repository::

    python -m build --wheel --outdir dist
    python -m venv clean
    clean/bin/pip install torch==2.13.0
    clean/bin/pip install dist/*.whl
    clean/bin/python benchmarks/own_script.py --output results/benchmarks/own_script

Where the package index has builds for CUDA only, add ``--extra-index-url https://download.pytorch.org/whl/cpu`` to the
first installation. The rows and the untrained init are those of ``examples/hybrid_training.py``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import report
import yaml
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import set_seed

import hbt_bench
from hbt_bench.training.data import TrainingData
from hbt_bench.training.recipe import Recipe

FIELDS = {"query": "question", "passage": "context", "language_field": "lang", "name": "rows"}
BATCHES = {"strategy": "hybrid", "alpha": 0.5, "batch_size": 32, "steps": 200, "seed": 3}
RECIPE = {**BATCHES, "learning_rate": 0.05, "weight_decay": 0.01, "warmup": 0.1, "guard": []}


def example() -> Any:
    """Return the module of the example."""
    path = Path(__file__).parents[1] / "examples" / "hybrid_training.py"
    spec = importlib.util.spec_from_file_location("hybrid_training", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_command(folder: Path) -> float:
    """Train with the command line; return its seconds."""
    content = {**RECIPE, "init": "init", "data": [{"path": "rows.jsonl", **FIELDS}]}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("hbt-bench")), "train", "recipe.yaml", "--output", "by-command"]
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True)
    return time.perf_counter() - start


def by_script(folder: Path, rows: list[dict[str, str]]) -> tuple[Any, float]:
    """Train with the stock trainer; return its data set and its seconds, start included."""
    start = time.perf_counter()
    data = hbt_bench.hybrid_dataset(rows, **FIELDS, **BATCHES)
    set_seed(BATCHES["seed"])
    model = SentenceTransformer(str(folder / "init"), device="cpu")
    arguments = Arguments(
        str(folder / "script"), max_steps=BATCHES["steps"], per_device_train_batch_size=BATCHES["batch_size"],
        batch_sampler=hbt_bench.PlanBatchSampler, prompts={"query": "Query: ", "passage": "Passage: "},
        learning_rate=RECIPE["learning_rate"], weight_decay=RECIPE["weight_decay"],
        warmup_steps=round(RECIPE["warmup"] * BATCHES["steps"]), seed=BATCHES["seed"], save_strategy="no",
        report_to=[], use_cpu=True,
    )  # fmt: skip
    loss = MultipleNegativesRankingLoss(model, scale=20)
    SentenceTransformerTrainer(model, arguments, train_dataset=data, loss=loss).train()
    model.save_pretrained(str(folder / "by-script"))
    return data, time.perf_counter() - start


def main() -> int:
    """Train twice, compare, and write the report; return 1 if batches or weights differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    options = parser.parse_args()
    about = report.environment()
    own = example()
    rows = list(own.facts())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "rows.jsonl").write_text(lines, encoding="utf-8")
        own.small_model([row[key] for row in rows for key in ("question", "context")]).save_pretrained(
            str(folder / "init")
        )
        command_seconds = by_command(folder)
        data, script_seconds = by_script(folder, rows)
        plan = TrainingData.from_recipe(Recipe.read(folder / "recipe.yaml"), [folder]).plan
        texts = [
            (batch.source.texts[query], batch.source.texts[passage])
            for batch in plan.batches()
            for query, passage in zip(batch.queries, batch.passages, strict=True)
        ]
        drawn = sum((row["query"], row["passage"]) == pair for row, pair in zip(data, texts, strict=True))
        command, script = (load_file(next((folder / part).rglob("model.safetensors"))) for part in OUTPUTS)
        init = load_file(next((folder / "init").rglob("model.safetensors")))
    equal = sum(script[key].equal(command[key]) for key in command)
    trained = sum(not init[key].equal(command[key]) for key in command)
    foreign = [part.name for part in distributions() if part.name.lower().startswith(("nvidia", "triton", "cuda"))]
    own_copy = Path(hbt_bench.__file__).is_relative_to(sys.prefix)
    checks = [
        ["hbt_bench is imported from the environment", "yes" if own_copy else "no"],
        ["packages of CUDA", len(foreign)],
        ["rows of all batches that are equal", f"{drawn:,} of {len(texts):,}"],
        ["tensors that are equal bit for bit", f"{equal} of {len(command)}"],
        ["tensors that training changed", trained],
        ["s, `hbt-bench train`, start included", command_seconds],
        ["s, stock trainer, start included", script_seconds],
    ]
    parts = [
        f"{BATCHES['steps']} steps of {BATCHES['batch_size']} rows from the facts of `examples/hybrid_training.py`, in "
        "a fresh environment with the wheel:",
        "```console\n" + "\n".join(f"$ {line}" for line in COMMANDS) + "\n```",
        report.table(["check", "value"], checks),
    ]
    report.publish("The stock trainer against `hbt-bench train`", parts, {"checks": checks}, about, options.output)
    right = own_copy and drawn == len(texts) and equal == len(command) == trained and not foreign
    return int(not right)


OUTPUTS = ("by-command", "by-script")
COMMANDS = [line.strip() for line in (__doc__ or "").splitlines() if line.startswith("    ")]

if __name__ == "__main__":
    sys.exit(main())
