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
import logging
import math
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbt_bench.errors import OutputError
from hbt_bench.files import file_name, write_text
from hbt_bench.identity.signature import has_equal_scores
from hbt_bench.results.ranks_file import StoredRanks
from hbt_bench.results.result import ForeignError, Result, StockError, model_label
from hbt_bench.results.schema import FORMAT, MODEL_META, PREFIX, scores_from_mteb, seal, summary_values
from hbt_bench.results.scores import Interval, Intervals

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Result", "StoredRanks", "find", "load_results", "model_folder", "model_label", "read_all", "write"]

log = logging.getLogger(__name__)

#: The beginning of the last part of a result file.
INTERVALS = '"hbt_bench_intervals": '


def model_folder(output: Path, model: str, revision: str, experiment: str | None = None) -> Path:
    """Return MTEB's folder of a model's results. Names that a file system may refuse are changed."""
    parts = (model.replace("/", "__").replace(" ", "_"), revision.replace("/", "__"))
    folder = output.joinpath(*map(file_name, parts))
    return folder / "experiments" / file_name(experiment) if experiment else folder


def revisions(output: Path, model: str) -> list[str]:
    """Return the revisions of a model that have a folder in the results."""
    return sorted(path.name for path in model_folder(output, model, "main").parent.glob("*") if path.is_dir())


def find(path: Path, signature: str) -> Result | None:
    """Return the result at `path` if it is complete, has its ranks and a signature with equal scores; else None.

    A result of plain `mteb.evaluate` has no ranks, so it is evaluated again.
    """
    try:
        if not path.is_file():
            return None
        result = Result.read(path)
        if not has_equal_scores(result.signature, signature) or not result.complete or result.plain:
            return None
        if result.ranks:
            result.stored_ranks()
    except (OutputError, OSError):
        return None  # a name that is too long; damaged, or ranks of another run: both are written again
    return result


def write(
    path: Path,
    task_result: Mapping[str, Any],
    summary: Mapping[str, Any],
    model_meta: Mapping[str, Any],
    intervals: Intervals | None = None,
) -> Result:
    """Write MTEB's task result with `summary`, and the model's metadata next to it. Return the new result."""
    write_text(path.parent / MODEL_META, json.dumps(model_meta, default=str, indent=4) + "\n")
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
    write_text(path, assembled(line, body_of(rest), subset_intervals))
    return Result.read(path)


def body_of(task_result: Mapping[str, Any]) -> str:
    """Return the text of MTEB's task result, for `assembled`."""
    return f"{json.dumps(task_result, indent=2, ensure_ascii=False)[1:-2]},\n  "


def assembled(line: Mapping[str, Any], body: str, subset_intervals: Mapping[str, Any]) -> str:
    """Return the text of a result file: its second line, the text of MTEB's task result, intervals of the subsets."""
    summary, intervals = json.dumps(line, ensure_ascii=False), json.dumps(subset_intervals)
    return f"{{\n{PREFIX.decode()}{summary},{body}{INTERVALS}{intervals}\n}}\n"


def read_all(output: Path, measures: Collection[str] | None = None) -> Iterator[Result | OutputError]:
    """Yield all results below a folder, ordered by path, and an `OutputError` for each damaged file.

    Of results with the same signature, only the most complete is yielded, and an error for each folder with others.
    Results that plain `mteb.evaluate` wrote are counted in the log; those of MTEB's own tasks are left out. With
    `measures`, only their scores are sure to be read, which may be much faster. Raises `OutputError` if there is no
    such folder.
    """
    if not output.is_dir():
        raise OutputError(f"there is no folder {output}. Run `hbt-bench run` first, or name the folder of the results.")

    def completeness(result: Result) -> tuple[int, bool]:
        return len(result.subsets), result.ranks is not None and result.ranks.is_file()

    files = list(_read_files(output, measures))
    best: dict[tuple[str, str, str], Result] = {}
    for result in files:
        if isinstance(result, Result):
            key = (result.signature, result.model, result.revision)
            best[key] = max(best.get(key, result), result, key=completeness)
    copies: dict[tuple[Path, Path], list[Path]] = {}
    for result in files:
        if isinstance(result, Result):
            counted = best[result.signature, result.model, result.revision]
            if counted is not result:
                copies.setdefault((result.path.parent, counted.path.parent), []).append(result.path)
                continue
        yield result
    if plain := sum(isinstance(result, Result) and result.plain for result in files):
        number = f"{plain:,} results are" if plain > 1 else "1 result is"
        log.info(
            f"{output}: {number} of plain mteb.evaluate, without the ranks that intervals and tests need; "
            "`hbt-bench run` with the same model and task makes them"
        )
    for (folder, best_folder), paths in copies.items():
        subject = f"{len(paths)} results have" if len(paths) > 1 else f"{paths[0].name} has"
        yield OutputError(f"{folder}: {subject} the same signature as in {best_folder}, and is counted once")


def _read_files(output: Path, measures: Collection[str] | None) -> Iterator[Result | OutputError]:
    """Yield every result below a folder, ordered by path, and errors for files and folders that cannot be read."""
    unreadable: list[OSError] = []
    walk = os.walk(output, onerror=unreadable.append)
    # strings, because a thousand models have many files and Path is slow
    paths = sorted(os.path.join(folder, name) for folder, _, names in walk for name in names)  # noqa: PTH118
    for error in unreadable:
        yield OutputError(f"cannot read {error.filename}: {error.strerror}")
    stock = 0
    for path in paths:
        name = os.path.basename(path)  # noqa: PTH119
        if not name.endswith(".json") or name == MODEL_META or name.startswith("."):
            continue
        try:
            yield Result.read(Path(path), measures)
        except StockError:
            stock += 1
        except ForeignError:
            continue
        except OutputError as error:
            yield error
    if stock:
        number = f"{stock:,} results" if stock > 1 else "1 result"
        log.info(
            f"{output}: {number} of plain mteb.evaluate on MTEB's own tasks left out; evaluate these with "
            "`hbt-bench run --tasks NAME`"
        )


def load_results(folder: str | Path = "results", intervals: bool = True) -> pd.DataFrame:
    """Return all results below a folder in long form, with a row for each model, task, subset and measure.

    For example, the mean average precision of every model on every task::

        frame = load_results("results")
        frame.query("subset == 'all' and measure == 'AP'").pivot(index="model", columns="task", values="value")

    The columns are:

    - ``model``: the name and revision, with the prompts if they were given by hand.
    - ``task``: the task name.
    - ``mode``: "mono", "cross", "multi", or "" for a task of MTEB.
    - ``subset``: the name of the subset, or "all" for the mean over all subsets, if none is missing.
    - ``measure`` and ``value``.
    - ``low`` and ``high``: the 95 % interval, NaN if there is none. Missing intervals are computed from the ranks,
      unless `intervals` is False.

    ``frame.attrs["signatures"]`` has the signatures by model and task, and ``frame.attrs["interval_signatures"]`` those
    of the intervals, with the level of the clusters. Damaged files and copies of a result are left
    out, with a warning in the log and a sentence in ``frame.attrs["left_out"]``. Raises `OutputError` if there is no
    such folder.
    """
    import pandas as pd

    rows: list[tuple[Any, ...]] = []
    signatures: dict[str, dict[str, str]] = {}
    interval_signatures: dict[str, dict[str, str]] = {}
    left_out: list[str] = []
    for result in read_all(Path(folder)):
        if isinstance(result, OutputError):
            left_out.append(str(result))
            continue
        prompt = result.prompt_by_hand
        model = result.label + ("" if prompt == "none" else f" prompt:{prompt}")
        signatures.setdefault(model, {})[result.task] = result.signature
        means, subsets, level = result.intervals, result.subset_intervals, result.interval_signature
        if intervals and not means:
            try:
                computed = result.computed_intervals()
            except OutputError as error:
                left_out.append(str(error))
            else:
                means, subsets, level = computed.means, computed.subsets, computed.signature
        interval_signatures.setdefault(model, {})[result.task] = level or f"level:{result.interval_level}"
        rows += [(model, result.task, result.mode or "", *row) for row in _rows(result, means, subsets)]
    for sentence in left_out:
        log.warning(f"left out: {sentence}")
    columns = ["model", "task", "mode", "subset", "measure", "value", "low", "high"]
    frame = pd.DataFrame(rows, columns=columns)
    frame.attrs |= {"signatures": signatures, "interval_signatures": interval_signatures, "left_out": left_out}
    return frame


def _rows(
    result: Result, means: Mapping[str, Interval], subsets: Mapping[str, Mapping[str, Interval]]
) -> Iterator[tuple[str, str, float, float, float]]:
    """Yield the subset, measure, value and interval of each score."""
    no_interval = (math.nan, math.nan)
    if result.complete:
        for measure, value in result.scores.items():
            yield ("all", measure, value, *means.get(measure, no_interval))
    for subset, scores in result.subsets.items():
        for measure, value in scores.items():
            yield (subset, measure, value, *subsets.get(measure, {}).get(subset, no_interval))
