"""Compare the time of fitting and applying a correction with that of encoding, in seconds of a processor core.

``python benchmarks/correction_cost.py MODEL --output results/benchmarks/correction_cost`` needs a folder with a model,
which benchmarks/make_e5_small.py makes, and the data folder (HBT_BENCH_DATA). Each round encodes a sample of XQuAD-R,
and fits and applies every correction. The vectors are random, in the number of XQuAD-R's texts: no step depends on
their values. The time of encoding is scaled from the sample to this number.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import report
from sentence_transformers import SentenceTransformer

from hbt_bench.identity.correction_name import CorrectionName
from hbt_bench.ranking.correction import ROLES, Sample, fit
from hbt_bench.tasks.registry import select_tasks

KINDS = ("center", "shift:0.6", "subspace:6", "all-but-the-top", "lir", "whiten", "procrustes")
_REQUIRED = 0.01


def random_sample(languages: Sequence[str], count: int, dimensions: int) -> Sample:
    """Return `count` random vectors of length 1 for each role and language, whose questions are translations."""
    generator = np.random.default_rng(0)
    vectors: dict[Any, dict[str, list[Any]]] = {role: {} for role in ROLES}
    for role in ROLES:
        for language in languages:
            rows = generator.normal(size=(count, dimensions)) + generator.normal(size=dimensions)
            vectors[role][language] = [(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)]
    numbers = np.arange(count, dtype=np.int32)
    return Sample(vectors, lambda: {language: (numbers, vectors["query"][language][0]) for language in languages})


def correct(kind: str, sample: Sample) -> None:
    """Fit a correction on a sample, and apply it to the same vectors."""
    fitted = fit(CorrectionName.parse(kind), sample)
    for role, languages in sample.vectors.items():
        for language, chunks in languages.items():
            for chunk in chunks:
                fitted(chunk, role, language)


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds of all cores that some work takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, then print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a model")
    parser.add_argument("--data-dir", type=Path, help="folder of the data files [env: HBT_BENCH_DATA]")
    parser.add_argument("--texts", type=int, default=512, help="texts that are encoded in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    options = parser.parse_args(arguments)
    about = report.environment()
    spec = select_tasks("xquad-r")[0].spec
    assert spec is not None
    collection = spec.load(None, options.data_dir)
    texts = [text.text for role in (collection.queries, collection.documents) for text in role]
    languages = sorted({text.language for text in collection.queries})
    model = SentenceTransformer(options.model, device="cpu")
    drawn = random.Random(0).sample(texts, options.texts)
    sample = random_sample(languages, len(texts) // (2 * len(languages)), model.get_embedding_dimension() or 0)
    work: dict[str, Callable[[], object]] = {"encoding": lambda: model.encode(drawn, show_progress_bar=False)}
    work |= {kind: lambda kind=kind: correct(kind, sample) for kind in KINDS}  # type: ignore[misc]
    model.encode(drawn[:32], show_progress_bar=False)  # warm-up
    measured: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(options.rounds):
        for name, function in work.items():
            measured[name].append(seconds(function))
    encoding = median(measured["encoding"]) * len(texts) / len(drawn)
    rows = []
    for kind in KINDS:
        spent = median(measured[kind])
        share = spent / encoding
        verdict = report.verdict(share, _REQUIRED, at_least=False)
        rows.append([kind, f"{spent:.2f}", f"{share:.3%}", f"< {_REQUIRED:.0%}", verdict])
    parts = [
        f"{len(texts):,} texts in {len(languages)} languages. Encoding with {Path(options.model).name} takes "
        f"{encoding:,.0f} seconds of a core, scaled from {len(drawn)} texts. Medians of {options.rounds} rounds, in "
        "which all take turns.",
        report.table(["fit and apply", "seconds of a core", "share of encoding", "required", ""], rows),
    ]
    data = {"texts": len(texts), "encoded": len(drawn), "seconds": measured}
    report.publish("The cost of a correction", parts, data, about, options.output)
    return data


if __name__ == "__main__":
    main()
