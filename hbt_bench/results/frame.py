"""Results as a data frame, for notebooks and studies."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbt_bench.errors import OutputError
from hbt_bench.results.intervals import Interval
from hbt_bench.results.store import Result, read_all

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

COLUMNS = ("model", "task", "mode", "subset", "measure", "value", "low", "high")


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

    ``frame.attrs["signatures"]`` has the signatures by model and task. Damaged files and copies of a result are left
    out, with a warning in the log and a sentence in ``frame.attrs["left_out"]``. Raises `OutputError` if there is no
    such folder.
    """
    frame = long_form(read_all(Path(folder)), intervals)
    for sentence in frame.attrs["left_out"]:
        log.warning(f"left out: {sentence}")
    return frame


def long_form(results: Iterable[Result | OutputError], intervals: bool = True) -> pd.DataFrame:
    """Return the frame of `load_results` from results that were read before."""
    import pandas as pd

    rows: list[tuple[Any, ...]] = []
    signatures: dict[str, dict[str, str]] = {}
    left_out: list[str] = []
    for result in results:
        if isinstance(result, OutputError):
            left_out.append(str(result))
            continue
        prompt = result.prompt_by_hand
        model = result.label + ("" if prompt == "none" else f" prompt:{prompt}")
        signatures.setdefault(model, {})[result.task] = result.signature
        means, subsets = result.intervals, result.subset_intervals
        if intervals and not means:
            try:
                computed = result.computed_intervals()
            except OutputError as error:
                left_out.append(str(error))
            else:
                means, subsets = computed.means, computed.subsets
        rows += [(model, result.task, result.mode or "", *row) for row in _rows(result, means, subsets)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame.attrs |= {"signatures": signatures, "left_out": left_out}
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
