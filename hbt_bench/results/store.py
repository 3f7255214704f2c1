"""Results on disk: MTEB's layout and JSON, with the ranks beside it.

``<output>/<model>/<revision>/<Task>.json`` is an MTEB `TaskResult`, with two more keys. ``hbt_bench`` is the first and
stands on a line of its own, the second of the file: the identity of the result and all that a leaderboard shows, so
that a thousand results are read by their heads, with checksums of itself and of the rest. ``hbt_bench_intervals`` are
the intervals of single subsets. A file is written whole or not at all, and it is the last that is written of a task, so
that a file that is there is complete.

Format 2 is this one. Format 1 has no ``format``, its ``hbt_bench`` comes last, and intervals are made from
its ranks.
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
from hbt_bench.results.result import ForeignError, Result, model_label, subset_scores
from hbt_bench.results.summary import FORMAT, HEAD, head_values, sealed

__all__ = ["Result", "StoredRanks", "find", "model_folder", "model_label", "read_all", "write"]


def model_folder(output: Path, model: str, revision: str, experiment: str | None = None) -> Path:
    """MTEB's folder of a model's results."""
    folder = output / model.replace("/", "__").replace(" ", "_") / revision
    return folder / "experiments" / experiment if experiment else folder


def find(path: Path, signature: str) -> Result | None:
    """The result at `path` if it is there with its ranks, complete, and has this very signature; else None."""
    if not path.is_file():
        return None
    try:
        result = Result.read(path)
        if result.signature != signature or not result.complete:
            return None
        if result.ranks:
            result.stored_ranks()
    except OutputError:
        return None  # the result or its ranks are damaged, gone, or of different runs: they are written anew
    return result


def write(
    path: Path,
    task_result: Mapping[str, Any],
    about: Mapping[str, Any],
    model_meta: Mapping[str, Any],
    intervals: Intervals | None = None,
) -> Result:
    """Write MTEB's task result with `about` as its head, and the model's metadata beside it."""
    write_text(path.parent / "model_meta.json", json.dumps(model_meta, default=str, indent=4) + "\n")
    means, subset_intervals = (intervals or Intervals()).as_json()
    subsets = subset_scores(task_result["scores"], bool(about["stock"]))
    # the format comes first, as what tells a reader of heads that this is one
    head = {"format": FORMAT, **about, "mteb_name": task_result["task_name"], "values": head_values(subsets), **means}
    rest = {key: value for key, value in task_result.items() if key not in ("hbt_bench", "hbt_bench_intervals")}
    head = sealed(head, {**rest, "hbt_bench_intervals": subset_intervals})
    body = json.dumps(rest, indent=2, ensure_ascii=False)[1:-2]
    tail = f'"hbt_bench_intervals": {json.dumps(subset_intervals)}'
    write_text(path, f"{{\n{HEAD.decode()}{json.dumps(head, ensure_ascii=False)},{body},\n  {tail}\n}}\n")
    return Result.read(path)


def read_all(output: Path, measures: Collection[str] | None = None) -> Iterator[Result | OutputError]:
    """All results below a folder, ordered by path; a damaged one comes as its error, for the caller to tell.

    A result that is there several times, with the same signature, comes once, the most complete of them, and each
    folder with others comes as an error too. With `measures`, only these are promised to be among the
    scores, and much less may be read.
    """
    if not output.is_dir():
        raise OutputError(f"there is no folder {output}: run `hbt-bench run` first, or name the folder of the results")
    read = list(_read_each(output, measures))
    best: dict[tuple[str, str, str], Result] = {}
    for result in read:
        if isinstance(result, Result):
            other = best.setdefault(_identity(result), result)
            if other is not result and _wholeness(result) > _wholeness(other):
                best[_identity(result)] = result
    again = [one for one in read if isinstance(one, Result) and best[_identity(one)] is not one]
    counts = Counter(_folders(one, best) for one in again)
    for one in read:
        if isinstance(one, OutputError) or best[_identity(one)] is one:
            yield one
        elif count := counts.pop(_folders(one, best), 0):
            folder, other_folder = _folders(one, best)
            what = f"{count} results have" if count > 1 else f"{one.path.name} has"
            yield OutputError(f"{folder}: {what} the signature of what {other_folder} has too, and counts once")


def _read_each(output: Path, measures: Collection[str] | None) -> Iterator[Result | OutputError]:
    """Every result below a folder, ordered by path, and errors for what cannot be read."""
    closed: list[OSError] = []
    walk = os.walk(output, onerror=closed.append)
    found = [os.path.join(folder, name) for folder, _, names in walk for name in names]  # noqa: PTH118
    for error in closed:
        yield OutputError(f"cannot read {error.filename}: {error.strerror}")
    for file in sorted(found):
        name = os.path.basename(file)  # noqa: PTH119 -- a thousand models are many files, and Path is slow
        if not name.endswith(".json") or name == "model_meta.json" or name.startswith("."):
            continue
        try:
            yield Result.read(Path(file), measures)
        except ForeignError:
            continue
        except OutputError as error:
            yield error


def _identity(result: Result) -> tuple[str, str, str]:
    return result.signature, result.model, result.revision


def _folders(result: Result, best: Mapping[tuple[str, str, str], Result]) -> tuple[Path, Path]:
    """Where a result lies, and where the one lies that is counted."""
    return result.path.parent, best[_identity(result)].path.parent


def _wholeness(result: Result) -> tuple[int, bool]:
    return len(result.subsets), result.ranks is not None and result.ranks.is_file()
