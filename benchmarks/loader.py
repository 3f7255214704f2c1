"""Draw batches through the loader of sentence-transformers' own trainer, and check each against the plan and the data.

``python benchmarks/loader.py --data-dir DATA --output results/benchmarks/loader`` draws 10,000 batches of each case
from MLQA's questions, many of which share a context, in one process and again in two of torchrun.

The plan is that of `hbt-bench train` for a recipe with the same file. Types, pairs and false negatives are computed
from the file alone.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import report

import hbt_bench
from hbt_bench.training.data import TrainingData
from hbt_bench.training.plan import BatchPlan
from hbt_bench.training.recipe import Recipe

_FIELDS: dict[str, Any] = {"query": "question", "passage": "context"}
#: Name, arguments of `hybrid_dataset` that a recipe has too, and fields of the records.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a pair for each row": ({"batch_size": 64, "pairs": "mixed", "alpha": 0.5, "seed": 1}, _FIELDS),
    "one pair, hard negatives": (
        {"batch_size": 32, "pairs": "one", "alpha": 0.4, "seed": 2},
        {**_FIELDS, "negative": "wrong"},
    ),
}
Row = dict[str, str]
Texts = dict[str, dict[str, dict[str, Any]]]


def write_records(source: Path, target: Path) -> Texts:
    """Write parallel records with two contexts of other questions as hard negatives; return their texts by id."""
    with gzip.open(source, "rt", encoding="utf-8") as stream:
        records = [json.loads(line) for line in stream]
    for number, record in enumerate(records):
        for code, texts in record["texts"].items():
            others = (records[(number + step) % len(records)]["texts"].get(code, {}) for step in (101, 211, 307, 401))
            wrong = [other["context"] for other in others if "context" in other]
            texts["wrong"] = [text for text in wrong if text != texts.get("context")][:2]
    target.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return {record["id"]: record["texts"] for record in records}


class _Unchanged:
    """A collator that returns the rows; the trainer asks it for its label columns."""

    valid_label_columns = ()

    def __call__(self, rows: list[Row]) -> list[Row]:
        return rows


def loader(case: str, path: Path, steps: int, processes: int) -> Any:
    """Return the batches of a stock trainer, as lists of rows."""
    from sentence_transformers import SentenceTransformer, SentenceTransformerModelCardData, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    from tests.factories import torch_random_model

    plan, fields = CASES[case]
    with path.open(encoding="utf-8") as stream:
        data = hbt_bench.hybrid_dataset(map(json.loads, stream), **fields, **plan, steps=steps)
    folder = Path(tempfile.mkdtemp(dir=path.parent))
    card = SentenceTransformerModelCardData(generate_widget_examples=False)  # would draw a thousand more batches
    model = SentenceTransformer(str(torch_random_model(folder, 0)), device="cpu", model_card_data=card)
    arguments = Arguments(
        str(folder), max_steps=steps, per_device_train_batch_size=plan["batch_size"] // processes,
        batch_sampler=hbt_bench.PlanBatchSampler, report_to=[], use_cpu=True,
        ddp_backend="gloo" if processes > 1 else None,
    )  # fmt: skip
    trainer = SentenceTransformerTrainer(
        model, arguments, train_dataset=data, loss=MultipleNegativesRankingLoss(model), data_collator=_Unchanged()
    )
    return trainer.get_train_dataloader()


def hashes(batches: Any) -> list[str]:
    """Return a hash of the rows of each batch."""
    return [hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16] for rows in batches]


def by_processes(case: str, path: Path, steps: int, processes: int) -> list[list[Row]]:
    """Return the rows of each step in processes of torchrun, in the order of the processes."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    command += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", __file__, "--worker", case]
    command += ["--records", str(path), "--steps", str(steps)]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    parts = [path.with_name(f"part-{number}.jsonl").open(encoding="utf-8") for number in range(processes)]
    return [[row for line in lines for row in json.loads(line)] for lines in zip(*parts, strict=True)]


@cache
def folded(text: str) -> str:
    """Return a text without case and spacing, by which texts are equal in a batch."""
    return unicodedata.normalize("NFKC", " ".join(text.split())).casefold()


class Answers:
    """The texts that answer a question, from the records alone: those of all records with the same question."""

    def __init__(self, records: Texts) -> None:
        self.records: Texts = records
        self._asked: dict[str, set[str]] = defaultdict(set)
        for key, texts in records.items():
            for content in texts.values():
                if "question" in content:
                    self._asked[folded(content["question"])].add(key)

    def of(self, item: str, queries: set[str], passages: set[str]) -> set[str]:
        """Return a record's questions in the languages `queries`, and the contexts that answer them in `passages`."""
        own = self.records[item]
        asked = {folded(own[code]["question"]) for code in queries & own.keys() if "question" in own[code]}
        answering = {item}.union(*(self._asked[text] for text in asked))
        contents = [self.records[key][code] for key in answering for code in passages & self.records[key].keys()]
        return {folded(content["context"]) for content in contents if "context" in content} | asked


def false_negatives(rows: list[Row], positives: list[set[str]]) -> int:
    """Return the number of texts of other rows, and of hard negatives, that answer the question of a row."""
    own = [{folded(row["query"]), folded(row["passage"])} for row in rows]
    wrong = {folded(text) for row in rows for name, text in row.items() if name.startswith("negative")}
    met = Counter(text for texts in own for text in texts)
    return sum(
        sum(met[text] - (text in texts) for text in known) + len(known & wrong)
        for known, texts in zip(positives, own, strict=True)
    )


def check(batches: Any, plan: BatchPlan, records: Texts) -> dict[str, Any]:
    """Compare batches with the plan and with the records; return counts of batches, rows and differences."""
    counts: Counter[str] = Counter()
    shares: Counter[tuple[str, str, str]] = Counter()
    answers = Answers(records)
    for step, rows in enumerate(batches):
        batch = plan.batch_at(step)
        codes = [tuple(batch.source.languages[code] for code in pair) for pair in batch.pairs.tolist()]
        items = [batch.source.ids[item] for item in batch.items.tolist()]
        stated = zip(rows, items, codes, strict=True)
        counts["rows that differ from the plan"] += sum(
            row["query"] != " ".join(records[item][query]["question"].split())
            or row["passage"] != " ".join(records[item][passage]["context"].split())
            for row, item, (query, passage) in stated
        )
        same = {query == passage for query, passage in codes}
        counts["batches of two types"] += len(same) > 1 or (batch.type == "mono") != all(same)
        one_pair = len(set(codes)) == 1
        counts["monolingual batches of several languages"] += batch.type == "mono" and not one_pair
        counts["repeated questions"] += len(rows) - len({folded(row["query"]) for row in rows})
        # a text may meet its translation only if the rows have several pairs
        spoken = [set(column) if one_pair else set(batch.source.languages) for column in zip(*codes, strict=True)]
        counts["false negatives"] += false_negatives(rows, [answers.of(item, *spoken) for item in items])
        counts["monolingual"] += batch.type == "mono"
        counts["batches"] += 1
        shares.update((batch.type, *pair) for pair in codes)
    return {"counts": dict(counts), "deviation": _deviation(shares, plan)}


def _deviation(shares: Counter[tuple[str, str, str]], plan: BatchPlan) -> float:
    """Return the greatest difference of a pair's share from the planned share."""
    planned = {key[1:]: share for key, share in plan.batch_shares().items()}
    total = shares.total()
    return max(abs(shares[key] / total - planned.get(key, 0.0)) for key in planned.keys() | shares.keys())


def main() -> int:
    """Check the cases and write the report; return 1 if a batch is not as planned."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="folder of the data files")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--records", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        number, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        with options.records.with_name(f"part-{number}.jsonl").open("w", encoding="utf-8") as stream:
            for rows in loader(options.worker, options.records, options.steps, processes):
                stream.write(json.dumps(rows) + "\n")
        return 0
    about, lines, wrong = report.environment(), [], 0
    results: dict[str, Any] = {}
    for case, (settings, fields) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "records.jsonl")
            records = write_records(options.data_dir / "train" / "mlqa-test.jsonl.gz", path)
            recipe = Recipe(data=[{"path": path.name, **fields}], steps=options.steps, **settings, guard=())
            plan = TrainingData.from_recipe(recipe, [path.parent]).plan
            drawn = loader(case, path, options.steps, 1)
            start = time.perf_counter()
            batches = list(drawn)
            seconds = time.perf_counter() - start
            result = check(batches, plan, records)
            result["two processes differ"] = int(
                np.count_nonzero(
                    np.array(hashes(batches)) != np.array(hashes(by_processes(case, path, options.steps, 2)))
                )
            )
        result["batches_a_second"] = len(batches) / seconds
        results[case] = result
        counts = result["counts"]
        mono = f"{counts.pop('monolingual') / len(batches):.4f} of {settings['alpha']}"
        total = counts.pop("batches")
        mistakes = {**counts, "batches that differ in two processes": result.pop("two processes differ")}
        wrong += sum(mistakes.values()) + (total != options.steps)
        lines += [[case, "batches", total], [case, "monolingual share", mono]]
        lines += [[case, "greatest deviation of a pair's share", result["deviation"]]]
        lines += [[case, "batches a second", result["batches_a_second"]]]
        lines += [[case, name, count] for name, count in mistakes.items()]
        results[case] |= {"mistakes": mistakes, "monolingual": mono}
    parts = [
        "Batches of sentence-transformers' own trainer with `hybrid_dataset` and `PlanBatchSampler`, from MLQA's test "
        f"questions in {len(plan.sources[0].source.languages)} languages: {len(records):,} items.",
        report.table(["case", "check", "value"], lines),
    ]
    report.publish("Batches of the stock trainer's loader", parts, {"cases": results}, about, options.output)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
