"""The folder of results: MTEB's layout and JSON, with the ranks in the same folder.

``<output>/<model>/<revision>/<Task>.json`` is an MTEB `TaskResult` with two more keys:

1. ``hbt_bench`` is the second line of the file. It has the identity of the result, all that a leaderboard shows, and
   checksums of itself and of the rest. A thousand results are read by these lines.
2. ``hbt_bench_intervals`` has the intervals of single subsets.

A file is written whole or not at all, and after all other files of its task. So a file that exists is complete.

This is format 2. Format 1 has no ``format``, its ``hbt_bench`` comes last, and its intervals are computed from the
ranks.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from hbt_bench.errors import OutputError
from hbt_bench.files import write_text
from hbt_bench.results.intervals import Intervals
from hbt_bench.results.ranks_file import StoredRanks
from hbt_bench.results.result import ForeignError, Result, model_label
from hbt_bench.results.schema import FORMAT, scores_from_mteb, summary_values
from hbt_bench.results.summary import PREFIX, seal

__all__ = ["Result", "StoredRanks", "find", "model_folder", "model_label", "read_all", "write"]


def model_folder(output: Path, model: str, revision: str, experiment: str | None = None) -> Path:
    """Return MTEB's folder of a model's results."""
    folder = output / model.replace("/", "__").replace(" ", "_") / revision
    return folder / "experiments" / experiment if experiment else folder


def find(path: Path, signature: str) -> Result | None:
    """Return the result at `path` if it is complete, has its ranks and this signature; else None."""
    if not path.is_file():
        return None
    try:
        result = Result.read(path)
        if result.signature != signature or not result.complete:
            return None
        if result.ranks:
            result.stored_ranks()
    except OutputError:
        return None  # damaged, or ranks of another run: both are written again
    return result


def write(
    path: Path,
    task_result: Mapping[str, Any],
    summary: Mapping[str, Any],
    model_meta: Mapping[str, Any],
    intervals: Intervals | None = None,
) -> Result:
    """Write MTEB's task result with `summary`, and the model's metadata next to it. Return the new result."""
    write_text(path.parent / "model_meta.json", json.dumps(model_meta, default=str, indent=4) + "\n")
    statistics, subset_intervals = (intervals or Intervals()).as_json()
    rest = {key: value for key, value in task_result.items() if key not in ("hbt_bench", "hbt_bench_intervals")}
    line = {
        "format": FORMAT,  # first, because readers of summaries look for it
        **summary,
        "mteb_name": task_result["task_name"],
        "values": summary_values(scores_from_mteb(task_result, bool(summary["stock"]))),
        **statistics,
    }
    line = seal(line, {**rest, "hbt_bench_intervals": subset_intervals})
    body = json.dumps(rest, indent=2, ensure_ascii=False)[1:-2]
    tail = f'"hbt_bench_intervals": {json.dumps(subset_intervals)}'
    write_text(path, f"{{\n{PREFIX.decode()}{json.dumps(line, ensure_ascii=False)},{body},\n  {tail}\n}}\n")
    return Result.read(path)


def read_all(output: Path, measures: Collection[str] | None = None) -> Iterator[Result | OutputError]:
    """Yield all results below a folder, ordered by path, and an `OutputError` for each damaged file.

    Of results with the same signature, only the most complete is yielded, and an error for each folder with others.
    With `measures`, only their scores are sure to be read, which may be much faster. Raises `OutputError` if there is
    no such folder.
    """
    if not output.is_dir():
        raise OutputError(f"there is no folder {output}. Run `hbt-bench run` first, or name the folder of the results.")
    files = list(_read_files(output, measures))
    best: dict[tuple[str, str, str], Result] = {}
    for result in files:
        if isinstance(result, Result):
            key = _identity(result)
            best[key] = max(best.get(key, result), result, key=_completeness)
    copies = [result for result in files if isinstance(result, Result) and best[_identity(result)] is not result]
    counts = Counter(_folders(result, best) for result in copies)
    for result in files:
        if isinstance(result, OutputError) or best[_identity(result)] is result:
            yield result
        elif count := counts.pop(_folders(result, best), 0):
            folder, best_folder = _folders(result, best)
            subject = f"{count} results have" if count > 1 else f"{result.path.name} has"
            yield OutputError(f"{folder}: {subject} the same signature as in {best_folder}, and is counted once")


def _read_files(output: Path, measures: Collection[str] | None) -> Iterator[Result | OutputError]:
    """Yield every result below a folder, ordered by path, and errors for files and folders that cannot be read."""
    unreadable: list[OSError] = []
    walk = os.walk(output, onerror=unreadable.append)
    # strings, because a thousand models have many files and Path is slow
    paths = sorted(os.path.join(folder, name) for folder, _, names in walk for name in names)  # noqa: PTH118
    for error in unreadable:
        yield OutputError(f"cannot read {error.filename}: {error.strerror}")
    for path in paths:
        name = os.path.basename(path)  # noqa: PTH119
        if not name.endswith(".json") or name == "model_meta.json" or name.startswith("."):
            continue
        try:
            yield Result.read(Path(path), measures)
        except ForeignError:
            continue
        except OutputError as error:
            yield error


def _identity(result: Result) -> tuple[str, str, str]:
    return result.signature, result.model, result.revision


def _folders(result: Result, best: Mapping[tuple[str, str, str], Result]) -> tuple[Path, Path]:
    """Return the folder of a result, and the folder of the result that is counted."""
    return result.path.parent, best[_identity(result)].path.parent


def _completeness(result: Result) -> tuple[int, bool]:
    return len(result.subsets), result.ranks is not None and result.ranks.is_file()
