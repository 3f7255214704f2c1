"""Compare training with a plan to the trainer of sentence-transformers on the same texts.

python benchmarks/training.py --data-dir DATA --output results/benchmarks/training

Both train the same model on XQuAD-R's questions and answers in 11 languages, 121 language pairs. The first draws hybrid
batches; the second has the same rows in a data set, with its default sampler. Runs alternate. Then batches are drawn
from fully parallel plans over 2, 11 and 100 languages, to measure start-up, time per batch and memory.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
import tracemalloc
from pathlib import Path
from statistics import median
from typing import Any

import report
from transformers.utils import logging

from hbt_bench.tasks.registry import TaskRegistry
from hbt_bench.training import losses, models
from hbt_bench.training.parallel import Item, ParallelText
from hbt_bench.training.plan import BatchPlan
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.sources import collection_items
from hbt_bench.training.strategies import BatchMix, WeightedSource
from hbt_bench.training.trainer import PlanTrainer, Rows

_WARM = 5
_REQUIRED = 0.97


def arguments(folder: str, steps: int, batch: int, gpu: bool = False) -> Any:
    """Return the training arguments of both trainers."""
    from sentence_transformers import SentenceTransformerTrainingArguments

    return SentenceTransformerTrainingArguments(
        output_dir=folder, max_steps=steps, per_device_train_batch_size=batch, save_strategy="no",
        logging_strategy="no", report_to=[], disable_tqdm=True, use_cpu=not gpu, bf16=gpu, seed=0,
    )  # fmt: skip


def seconds(trainer: Any) -> tuple[float, float]:
    """Return wall-clock and CPU seconds of `train`."""
    wall, processor = time.perf_counter(), time.process_time()
    trainer.train()
    return time.perf_counter() - wall, time.process_time() - processor


def plain(rows: Rows, model: Any, loss: Any, settings: Any) -> Any:
    """Return sentence-transformers' trainer with its default sampler on the rows of the plan."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer

    texts = [rows[row] for row in range(settings.max_steps * settings.per_device_train_batch_size)]
    data = Dataset.from_dict({name: [row[name] for row in texts] for name in rows.columns})
    return SentenceTransformerTrainer(model=model, args=settings, train_dataset=data, loss=loss)


def throughput(source: ParallelText, init: str, batch: int, steps: int, rounds: int, gpu: bool = False) -> list[object]:
    """Return the steps per second of both trainers, which alternate."""
    recipe = Recipe(init=init, guard=())
    plan = BatchPlan(
        (WeightedSource(source, 1.0, BatchMix.from_strategy("hybrid", 0.5, "one", source)),), batch, steps, 0
    )
    rows = Rows(plan, parallel=False)
    timings: dict[str, list[tuple[float, float]]] = {"plain": [], "plan": []}
    for turn in range(rounds + 1):
        for name in timings if turn % 2 else reversed(timings):
            model = models.load(recipe, source.texts)
            loss = losses.build(recipe, model, gather=False)
            with tempfile.TemporaryDirectory() as folder:
                count = _WARM if turn == 0 else steps
                settings = arguments(folder, count, batch, gpu)
                if name == "plain":
                    trainer = plain(rows, model, loss, settings)
                else:
                    trainer = PlanTrainer(rows=rows, model=model, args=settings, loss=loss)
                spent = seconds(trainer)
            if turn:
                timings[name].append(spent)
            gc.collect()
    rate = {name: [steps / median(column) for column in zip(*spent, strict=True)] for name, spent in timings.items()}
    ratio = rate["plan"][0] / rate["plain"][0]
    row = [f"{init}, batches of {batch}", rate["plain"][0], rate["plan"][0], ratio]
    return [*row, rate["plan"][1] / rate["plain"][1], f">= {_REQUIRED}", report.verdict(ratio, _REQUIRED, True)]


def growth(languages: int, items: int = 2000, batches: int = 200) -> list[object]:
    """Return start-up time, time per batch and memory of a plan over a number of languages."""
    codes = [f"l{number:02d}" for number in range(languages)]
    source = ParallelText.from_items(
        "made",
        [
            Item(
                str(n),
                {code: f"{code} question {n}" for code in codes},
                {code: f"{code} passage {n}" for code in codes},
            )
            for n in range(items)
        ],
    )
    gc.collect()
    tracemalloc.start()
    start = time.perf_counter()
    plan = BatchPlan(
        (WeightedSource(source, 1.0, BatchMix.from_strategy("hybrid", 0.5, "one", source)),), 128, 100_000, 0
    )
    plan.batch_at(0)
    started = time.perf_counter() - start
    tracemalloc.stop()
    start = time.perf_counter()
    for step in range(1, batches):
        plan.batch_at(step)
    per_batch = (time.perf_counter() - start) / (batches - 1)
    fresh = BatchPlan(plan.sources, 128, 100_000, 0)
    tracemalloc.start()
    for step in range(batches):
        fresh.batch_at(step)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    texts = sum(array.nbytes for array in (source.queries, source.passages))
    pairs = languages * (languages - 1)
    return [languages, pairs, started * 1e3, per_batch * 1e3, peak / 2**20, texts / 2**20]


def main() -> None:
    """Measure, then print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, help="folder of the data files [env: HBT_BENCH_DATA]")
    parser.add_argument("--output", default="", help="path of the report without ending")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    about = report.environment()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    collection = TaskRegistry().specs["xquad-r"].load(None, options.data_dir)
    source = ParallelText.from_items(collection.name, collection_items(collection))
    rates = []
    for init, batch in (("tiny:2x128", 32), ("static:256", 128)):
        steps = options.steps if init.startswith("tiny") else 5 * options.steps
        rates.append(throughput(source, init, batch, steps, options.rounds))
    grown = [growth(languages) for languages in (2, 11, 100)]
    parts = [
        "Steps a second on XQuAD-R's texts, 11 languages and 121 pairs; both trainers take turns.",
        report.table(
            ["model", "plain trainer", "with a plan", "ratio", "ratio of processor time", "required", ""], rates
        ),
        "A plan of 100,000 steps of 128 rows over 2,000 fully parallel items.",
        report.table(["languages", "pairs", "start, ms", "a batch, ms", "memory, MiB", "index of texts, MiB"], grown),
    ]
    report.publish("Training with a plan", parts, {"rates": rates, "growth": grown}, about, options.output)


if __name__ == "__main__":
    main()
