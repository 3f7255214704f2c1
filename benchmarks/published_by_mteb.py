"""Hold multilingual-e5-small with weights of 4 bits against figures that MTEB publishes for the original weights.

    python benchmarks/published_by_mteb.py E5-FOLDER --data-dir DATA --output results/benchmarks/published_by_mteb

The figures are of intfloat/multilingual-e5-small at e4ce9877 in https://github.com/embeddings-benchmark/results:
accuracy in Tatoeba's pairs with English. A sentence is right if its own translation is the nearest of the pair's
English sentences, so accuracy is R@1. MTEB's prompt for both sides of a pair is "query: ".
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import environment, publish, table, verdict
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.tasks.registry import TaskRegistry

#: MTEB's accuracy by language, and the code in its name of a pair.
TATOEBA = {
    "sw": ("swh", 0.7153846153846154),
    "te": ("tel", 0.8974358974358975),
    "bn": ("ben", 0.855),
    "km": ("khm", 0.5096952908587258),
    "cy": ("cym", 0.6747826086956522),
    "tl": ("tgl", 0.813),
    "kk": ("kaz", 0.76),
    "be": ("bel", 0.843),
    "et": ("est", 0.616),
    "is": ("isl", 0.683),
    "fo": ("fao", 0.6145038167938931),
    "br": ("bre", 0.088),
}
#: Largest difference of a mean of many figures; a single pair of 390 sentences may differ by some points.
TOLERANCE = 0.02


def pair_task(data_dir: Path, code: str, iso: str, folder: Path) -> Path:
    """Write the sentences of a pair and a task that reads them, and return the task file."""
    with gzip.open(data_dir / "ood" / "tatoeba-laser.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if code in row["texts"] and row["id"].split("/")[1] == iso]
    path = folder / f"tatoeba-{code}.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    about = {
        "name": f"tatoeba-{code}",
        "title": "Tatoeba",
        "mteb_name": f"Tatoeba{iso.title()}",
        "description": "A pair",
    }
    columns = {"id": "id", "text": "texts.{language}"}
    source = {"kind": "bitext", "path": path.name, "languages": ["en", code], "columns": columns}
    task = folder / f"tatoeba-{code}.yaml"
    task.write_text(json.dumps({**about, "source": source}), encoding="utf-8")  # YAML contains JSON
    return task


def scores(model: Path, data_dir: Path, folder: Path) -> dict[str, float]:
    """Return R@1 of each language's sentences among the English sentences of its pair."""
    tasks = [pair_task(data_dir, code, iso, folder) for code, (iso, _) in TATOEBA.items()]
    request = ModelRequest(str(model), query_prompt="query: ", document_prompt="query: ")
    selections = TaskRegistry().select([f"{task.with_suffix('.yaml')}" for task in tasks])
    results = Evaluation(request, selections, folder / "results", data_dir=folder).run()
    by_pair = {name: values["R@1"] for result in results for name, values in result.subsets.items()}
    return {code: by_pair[f"{code}-en"] for code in TATOEBA}


def main() -> None:
    """Evaluate, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--output", default="")
    options = parser.parse_args()
    about = environment()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HBT_BENCH_CACHE"] = str(Path(folder, "cache"))
        ours = scores(options.model.resolve(), options.data_dir, Path(folder))
    rows: list[list[Any]] = [
        [f"Tatoeba {iso}-eng, accuracy", published, ours[code], ours[code] - published]
        for code, (iso, published) in TATOEBA.items()
    ]
    mean, published_mean = sum(ours.values()) / len(ours), sum(value for _, value in TATOEBA.values()) / len(TATOEBA)
    rows.append([f"Tatoeba, mean of {len(ours)} pairs", published_mean, mean, mean - published_mean])
    outcome = verdict(abs(mean - published_mean), TOLERANCE, at_least=False)
    text = (
        "The published figures are of the original float32 weights, ours of weights rounded to 4 bits. "
        f"Mean within {TOLERANCE}: {outcome}."
    )
    cells = [[row[0], *(f"{value:.4f}" for value in row[1:3]), f"{row[3]:+.4f}"] for row in rows]
    parts = [text, table(["figure", "published by MTEB", "here", "difference"], cells)]
    publish("multilingual-e5-small against MTEB's figures", parts, {"tatoeba": ours}, about, options.output)
    raise SystemExit(outcome == "MISSED")


if __name__ == "__main__":
    main()
