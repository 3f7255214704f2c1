"""Score precomputed vectors, and compare MTEB's path, ours and the bare matrix product.

Each part runs in a separate process, for a separate peak of memory, and the parts take turns. The time is that of
scoring alone; the time to read and lay out the data is reported separately, and peak memory covers both.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import report
from precomputed import KINDS, PrecomputedEncoder, encoder_for

from hbt_bench.data.collection import Collection
from hbt_bench.identity.task_name import MODES
from hbt_bench.tasks.registry import select_tasks
from hbt_bench.tasks.task import TaskSpec

#: Scores of each subset; subsets of all modes have different names.
Scores = dict[str, dict[str, float]]
#: The measured step of a part, after its preparation; returns the scores of each subset.
Step = Callable[[], Scores]

_ENCODE = {"batch_size": 32, "show_progress_bar": False}
_LABELS = {
    "mteb": "MTEB's own path",
    "all-keys": "hbt-bench, every key of MTEB",
    "ranks": "hbt-bench, ranks and rank measures",
    "torch": "matrix product alone, torch",
    "numpy": "matrix product alone, numpy",
}
#: The size in bytes of a block of scores of the bare product.
_BLOCK_BYTES = 1 << 26
#: The least ratio of MTEB's time to that of every key, where MTEB repeats much work: XQuAD-R has the most languages.
_EVERY_KEY = {"xquad-r": 75}
#: Larger differences are listed.
_TOLERANCE = 1e-5


def _mteb(spec: TaskSpec, collection: Collection, encoder: PrecomputedEncoder) -> Step:
    from stock import stock_tasks

    tasks = stock_tasks(spec, collection)

    def step() -> Scores:
        scores: Scores = {}
        for task in tasks:
            for subset in task.hf_subsets:
                scores |= task.evaluate(encoder, "test", [subset], encode_kwargs=dict(_ENCODE))
        return scores

    return step


def _all_keys(spec: TaskSpec, collection: Collection, encoder: PrecomputedEncoder) -> Step:
    from hbt_bench.mteb.tasks import ParallelRetrieval, SharedPass

    shared = SharedPass(spec, collection)
    tasks = [ParallelRetrieval(shared, mode) for mode in MODES]
    for task in tasks:
        task.load_data()

    def step() -> Scores:
        scores: Scores = {}
        for task in tasks:
            for subset in task.hf_subsets:
                scores |= task.evaluate(encoder, "test", [subset], encode_kwargs=dict(_ENCODE))
        return scores

    return step


def _ranks(spec: TaskSpec, collection: Collection, encoder: PrecomputedEncoder) -> Step:
    from hbt_bench.measures.ranking import Ranking
    from hbt_bench.measures.scores import retrieval_scores
    from hbt_bench.mteb.tasks import MtebEncoder, ParallelRetrieval, SharedPass
    from hbt_bench.ranking.dense import DenseScorer
    from hbt_bench.ranking.ranks import rank

    shared = SharedPass(spec, collection)
    metadata = ParallelRetrieval(shared, "multi").metadata
    judged = [judged for mode in MODES for judged in shared.judged(mode).values()]

    def step() -> Scores:
        scorer = DenseScorer.from_collection(collection, MtebEncoder(encoder, metadata, _ENCODE))
        ranks, _ = rank(collection, scorer, confidences=False)
        return {
            qrels.subset.name: retrieval_scores(Ranking.from_ranks(collection, ranks, qrels), qrels.subset.mode)
            for qrels in judged
        }

    return step


def _product(collection: Collection, encoder: PrecomputedEncoder, library: str) -> Step:
    queries = encoder.tables["query"].lookup([query.text for query in collection.queries])
    documents = encoder.tables["document"].lookup([document.text for document in collection.documents])
    height = max(1, _BLOCK_BYTES // (4 * len(documents)))
    starts = range(0, len(queries), height)
    if library == "numpy":
        return lambda: _discard(queries[start : start + height] @ documents.T for start in starts)
    import torch

    left, right = torch.from_numpy(queries), torch.from_numpy(documents).T
    return lambda: _discard(left[start : start + height] @ right for start in starts)


def _discard(blocks: Iterable[object]) -> Scores:
    for _ in blocks:
        pass
    return {}


def _prepare(name: str, spec: TaskSpec, collection: Collection, encoder: PrecomputedEncoder) -> Step:
    if name in ("torch", "numpy"):
        return _product(collection, encoder, name)
    return {"mteb": _mteb, "all-keys": _all_keys, "ranks": _ranks}[name](spec, collection, encoder)


def run_part(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure a part in this process, after the libraries and vectors are loaded."""
    from hbt_bench.mteb.tasks import quiet_libraries

    quiet_libraries()
    spec = select_tasks(options.collection)[0].spec
    assert spec is not None
    languages = options.languages.split(",") if options.languages else None
    encoder = encoder_for(spec.load(None, options.data_dir), options.vectors)
    gc.collect()
    before = _start_of_peak()
    begin = time.perf_counter()
    collection = spec.load(languages, options.data_dir)
    seconds, processor, load, encoded = [], [], 0.0, 0
    scores: Scores = {}
    for repeat in range(1 if name == "mteb" else options.repeats):
        step = _prepare(name, spec, collection, encoder)
        load = load or time.perf_counter() - begin
        encoder.encoded = 0
        start, used = time.perf_counter(), time.process_time()
        scores = step()
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
        encoded = encoder.encoded
        if repeat == 0:
            peak = _peak()
    return {
        "seconds": seconds,
        "cpu_seconds": processor,
        "load_seconds": load,
        "encoded": encoded,
        "peak_mib": (peak - before) / 2**20,
        "before_mib": before / 2**20,
        "subsets": len(scores),
        "scores": {
            name: {key: value for key, value in of_subset.items() if _is_score(key, value)}
            for name, of_subset in scores.items()
        },
    }


def _is_score(key: str, value: object) -> bool:
    return key != "main_score" and isinstance(value, int | float)


def _start_of_peak() -> int:
    """Return the memory of this process in bytes, and restart the count of its peak if the system allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return _peak()
    return _status("VmRSS")


def _peak() -> int:
    """Return the peak memory of this process in bytes (`ru_maxrss` would inherit the parent's peak)."""
    try:
        return _status("VmHWM")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def _in_subprocess(name: str, options: argparse.Namespace, collection: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "part.json")
        command = [sys.executable, __file__, "--part", name, "--part-output", str(result), "--collection", collection]
        command += ["--vectors", options.vectors, "--repeats", str(options.repeats)]
        command += ["--languages", options.languages] if options.languages else []
        command += ["--data-dir", str(options.data_dir)] if options.data_dir else []
        subprocess.run(command, check=True)
        content: dict[str, Any] = json.loads(result.read_bytes())
    print(f"{collection} {name}: {min(content['seconds']):.2f} s", file=sys.stderr)
    return content


def measure(collection: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure all parts of a collection, in turn, `rounds` times; MTEB's own path runs once."""
    parts: dict[str, dict[str, Any]] = {}
    names = [name for name in _LABELS if name != "mteb"]
    for _ in range(options.rounds):
        for name in names:
            again = _in_subprocess(name, options, collection)
            if name in parts:
                for kind in ("seconds", "cpu_seconds"):
                    again[kind] = parts[name][kind] + again[kind]
                again["peak_mib"] = max(parts[name]["peak_mib"], again["peak_mib"])
            parts[name] = again
    if not options.skip_mteb:
        parts["mteb"] = _in_subprocess("mteb", options, collection)
    scores = {name: result.pop("scores") for name, result in parts.items()}
    for result in parts.values():
        result["min"], result["median"] = min(result["seconds"]), statistics.median(result["seconds"])
    measured: dict[str, Any] = {"vectors": options.vectors, "parts": parts}
    if "mteb" in scores:
        measured["parity"] = compare(scores["mteb"], scores["all-keys"])
    return measured


def compare(theirs: Scores, ours: Scores) -> dict[str, Any]:
    """Return the largest difference of each shared key over all subsets, and all differences above the tolerance."""
    if theirs.keys() != ours.keys():
        raise SystemExit(f"the subsets differ: {sorted(theirs.keys() ^ ours.keys())}")
    largest: dict[str, float] = {}
    above, values = [], 0
    for subset, scores in theirs.items():
        for key in scores.keys() & ours[subset].keys():
            values += 1
            difference = _difference(scores[key], ours[subset][key])
            largest[key] = max(largest.get(key, 0.0), difference)
            if difference > _TOLERANCE:
                above.append({"subset": subset, "key": key, "mteb": scores[key], "hbt_bench": ours[subset][key]})
    missing = sorted({key for subset, scores in theirs.items() for key in scores.keys() - ours[subset].keys()})
    return {
        "tolerance": _TOLERANCE,
        "subsets": len(theirs),
        "values": values,
        "missing_keys": missing,
        "largest_difference": dict(sorted(largest.items(), key=lambda entry: -entry[1])),
        "above": sorted(above, key=lambda entry: (entry["subset"], entry["key"])),
    }


def _difference(theirs: float, ours: float) -> float:
    if math.isnan(theirs) or math.isnan(ours):
        return 0.0 if math.isnan(theirs) and math.isnan(ours) else math.inf
    return abs(theirs - ours)


def describe(collection: str, measured: Mapping[str, Any]) -> list[str]:
    """Return the report of a collection in Markdown."""
    parts = measured["parts"]
    rows = [
        [
            label,
            len(parts[name]["seconds"]),
            parts[name]["min"],
            parts[name]["median"],
            statistics.median(parts[name]["cpu_seconds"]),
            parts[name]["load_seconds"],
            round(parts[name]["peak_mib"]),
            parts[name]["encoded"] or "",
            parts[name]["subsets"] or "",
        ]
        for name, label in _LABELS.items()
        if name in parts
    ]
    header = [
        "part",
        "runs",
        "s, min",
        "s, median",
        "CPU s",
        "reading, s",
        "peak, MiB above before",
        "texts encoded",
        "subsets",
    ]
    text = [f"## {collection}, vectors: {measured['vectors']}", report.table(header, rows)]
    text.append(report.table(["target", "required", "with medians", "with minima", ""], _targets(collection, parts)))
    if "parity" in measured:
        text += _parity(measured["parity"])
    return text


def _targets(collection: str, parts: Mapping[str, Any]) -> list[list[object]]:
    rows: list[list[object]] = []

    def ratio(label: str, upper: str, lower: str, target: float, at_least: bool) -> None:
        if upper in parts and lower in parts:
            values = [parts[upper][kind] / parts[lower][kind] for kind in ("median", "min")]
            sign = ">=" if at_least else "<="
            figures = (f"{value:.1f}" for value in values)
            rows.append([label, f"{sign} {target:g}", *figures, report.verdict(values[0], target, at_least)])

    ratio("MTEB / every key", "mteb", "all-keys", _EVERY_KEY.get(collection, 25), at_least=True)
    ratio("MTEB / ranks", "mteb", "ranks", 50, at_least=True)
    ratio("ranks / torch product", "ranks", "torch", 2.0, at_least=False)
    ratio("ranks / numpy product", "ranks", "numpy", 2.5, at_least=False)
    for name in ("all-keys", "ranks"):
        peak = parts[name]["peak_mib"] / 1024
        rows.append([f"peak GiB, {name}", "<= 1.0", f"{peak:.2f}", "", report.verdict(peak, 1.0, at_least=False)])
    return rows


def _parity(parity: Mapping[str, Any]) -> list[str]:
    largest = list(parity["largest_difference"].items())
    affected = {entry["key"] for entry in parity["above"]}
    summary = (
        f"Agreement with MTEB: {parity['values']:,} values of {len(largest)} shared keys over {parity['subsets']} "
        f"subsets; {len(parity['above'])} of them, of {len(affected)} keys, differ by more than "
        f"{parity['tolerance']:g}; keys that only MTEB has: {', '.join(parity['missing_keys']) or 'none'}."
    )
    ranking = [value for key, value in largest if not key.startswith("nauc")]
    nauc = [value for key, value in largest if key.startswith("nauc")]
    summary += f" Largest difference: nAUC {max(nauc):.2g}, all other keys {max(ranking):.2g} (MTEB rounds to 1e-5)."
    rows = []
    for entry in parity["above"]:
        theirs, ours = entry["mteb"], entry["hbt_bench"]
        difference = f"{_difference(theirs, ours):.1e}"
        rows.append([entry["subset"], entry["key"], f"{theirs:.7f}", f"{ours:.7f}", difference])
    return [summary, *([report.table(["subset", "key", "MTEB", "hbt-bench", "difference"], rows)] if rows else [])]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", default="xquad-r", help="collections, separated by commas")
    parser.add_argument("--languages", help="languages, separated by commas; by default all")
    parser.add_argument("--vectors", choices=KINDS, default="minilm")
    parser.add_argument("--data-dir", type=Path, help="folder of the data files [env: HBT_BENCH_DATA]")
    parser.add_argument("--repeats", type=int, default=3, help="runs per process")
    parser.add_argument("--rounds", type=int, default=3, help="processes per part")
    parser.add_argument("--skip-mteb", action="store_true", help="skip MTEB's path, which is slow")
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    parser.add_argument("--part", choices=_LABELS, help=argparse.SUPPRESS)
    parser.add_argument("--part-output", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure, then print and write the report."""
    options = _options()
    if options.part:
        options.part_output.write_text(json.dumps(run_part(options.part, options)), encoding="utf-8")
        return
    about = report.environment()
    measured = {name: measure(name, options) for name in options.collection.split(",")}
    text = [line for name, result in measured.items() for line in describe(name, result)]
    report.publish("Scoring with precomputed vectors", text, {"collections": measured}, about, options.output)


if __name__ == "__main__":
    main()
