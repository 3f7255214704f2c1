"""Scoring over vectors at hand: MTEB's own path against ours, and against the bare matrix product.

Every part runs in a process of its own, so that its peak memory is its own, and the parts take turns. Time is that
of the scoring alone; reading the data and laying them out is given beside it, and peak memory covers both.
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
#: What a part does after `prepare`, and the number of subsets that it scores.
Step = Callable[[], Scores]

_ENCODE = {"batch_size": 32, "show_progress_bar": False}
_LABELS = {
    "mteb": "MTEB's own path",
    "all-keys": "hbt-bench, every key of MTEB",
    "ranks": "hbt-bench, ranks and rank measures",
    "torch": "matrix product alone, torch",
    "numpy": "matrix product alone, numpy",
}
#: Bytes of the scores that the bare product computes at a time.
_BLOCK_BYTES = 1 << 26
#: Differences above this are listed.
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
            one.subset.name: retrieval_scores(Ranking.from_ranks(collection, ranks, one), one.subset.mode)
            for one in judged
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


def _prepare(part: str, spec: TaskSpec, collection: Collection, encoder: PrecomputedEncoder) -> Step:
    if part in ("torch", "numpy"):
        return _product(collection, encoder, part)
    return {"mteb": _mteb, "all-keys": _all_keys, "ranks": _ranks}[part](spec, collection, encoder)


def run_part(part: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one part in this process; the libraries and the vectors are there before anything is counted."""
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
    for repeat in range(1 if part == "mteb" else options.repeats):
        step = _prepare(part, spec, collection, encoder)
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
            name: {key: value for key, value in one.items() if _is_score(key, value)} for name, one in scores.items()
        },
    }


def _is_score(key: str, value: object) -> bool:
    return key != "main_score" and isinstance(value, int | float)


def _start_of_peak() -> int:
    """The memory of this process now, in bytes; where the system allows it, the peak is counted anew from here."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return _peak()
    return _status("VmRSS")


def _peak() -> int:
    """The peak memory of this process, in bytes (`ru_maxrss` would inherit the parent's peak)."""
    try:
        return _status("VmHWM")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def _in_subprocess(part: str, options: argparse.Namespace, collection: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "part.json")
        command = [sys.executable, __file__, "--part", part, "--part-output", str(result), "--collection", collection]
        command += ["--vectors", options.vectors, "--repeats", str(options.repeats)]
        command += ["--languages", options.languages] if options.languages else []
        command += ["--data-dir", str(options.data_dir)] if options.data_dir else []
        subprocess.run(command, check=True)
        content: dict[str, Any] = json.loads(result.read_bytes())
    print(f"{collection} {part}: {min(content['seconds']):.2f} s", file=sys.stderr)
    return content


def measure(collection: str, options: argparse.Namespace) -> dict[str, Any]:
    """All parts of one collection, taking turns `rounds` times; MTEB's own path runs once."""
    parts: dict[str, dict[str, Any]] = {}
    names = [part for part in _LABELS if part != "mteb"]
    for _ in range(options.rounds):
        for part in names:
            again = _in_subprocess(part, options, collection)
            if part in parts:
                for kind in ("seconds", "cpu_seconds"):
                    again[kind] = parts[part][kind] + again[kind]
                again["peak_mib"] = max(parts[part]["peak_mib"], again["peak_mib"])
            parts[part] = again
    if not options.skip_mteb:
        parts["mteb"] = _in_subprocess("mteb", options, collection)
    every = {part: parts[part].pop("scores") for part in parts}
    for part in parts.values():
        part["min"], part["median"] = min(part["seconds"]), statistics.median(part["seconds"])
    found: dict[str, Any] = {"vectors": options.vectors, "parts": parts}
    if "mteb" in every:
        found["parity"] = compare(every["mteb"], every["all-keys"])
    return found


def compare(theirs: Scores, ours: Scores) -> dict[str, Any]:
    """The largest difference of every shared key over all subsets, and all differences above the tolerance."""
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


def describe(collection: str, found: Mapping[str, Any]) -> list[str]:
    """The report of one collection, in Markdown."""
    parts = found["parts"]
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
    text = [f"## {collection}, vectors: {found['vectors']}", report.table(header, rows)]
    text.append(report.table(["target", "required", "with medians", "with minima", ""], _targets(parts)))
    if "parity" in found:
        text += _parity(found["parity"])
    return text


def _targets(parts: Mapping[str, Any]) -> list[list[object]]:
    rows: list[list[object]] = []

    def ratio(label: str, upper: str, lower: str, target: float, at_least: bool) -> None:
        if upper in parts and lower in parts:
            values = [parts[upper][kind] / parts[lower][kind] for kind in ("median", "min")]
            sign = ">=" if at_least else "<="
            figures = (f"{value:.1f}" for value in values)
            rows.append([label, f"{sign} {target:g}", *figures, report.verdict(values[0], target, at_least)])

    ratio("MTEB / every key", "mteb", "all-keys", 25, at_least=True)
    ratio("MTEB / ranks", "mteb", "ranks", 50, at_least=True)
    ratio("ranks / torch product", "ranks", "torch", 2.5, at_least=False)
    ratio("ranks / numpy product", "ranks", "numpy", 2.5, at_least=False)
    for part in ("all-keys", "ranks"):
        peak = parts[part]["peak_mib"] / 1024
        rows.append([f"peak GiB, {part}", "<= 1.0", f"{peak:.2f}", "", report.verdict(peak, 1.0, at_least=False)])
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
    parser.add_argument("--collection", default="xquad-r", help="one or more, with commas")
    parser.add_argument("--languages", help="only these, with commas")
    parser.add_argument("--vectors", choices=KINDS, default="minilm")
    parser.add_argument("--data-dir", type=Path, help="the data files [env: HBT_BENCH_DATA]")
    parser.add_argument("--repeats", type=int, default=3, help="runs in one process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each part")
    parser.add_argument("--skip-mteb", action="store_true", help="leave the slow part out")
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    parser.add_argument("--part", choices=_LABELS, help=argparse.SUPPRESS)
    parser.add_argument("--part-output", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure, print and write."""
    options = _options()
    if options.part:
        options.part_output.write_text(json.dumps(run_part(options.part, options)), encoding="utf-8")
        return
    about = report.environment()
    found = {name: measure(name, options) for name in options.collection.split(",")}
    text = [part for name, one in found.items() for part in describe(name, one)]
    report.publish("Scoring with vectors at hand", text, {"collections": found}, about, options.output)


if __name__ == "__main__":
    main()
