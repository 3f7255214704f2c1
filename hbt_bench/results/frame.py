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
    """All results below a folder in long form: one row a model, task, subset and measure.

    The columns are ``model`` (name and revision, with the prompts where they were given by hand), ``task``, ``mode``
    ("mono", "cross", "multi", or "" for a task of MTEB's own), ``subset`` ("all" for the mean over the subsets, only
    where none is missing), ``measure``, ``value``, and the 95 % interval ``low`` and ``high``, NaN where there is
    none. Intervals that a result does not have are made from its ranks, unless `intervals` is False.

    A result that is there twice counts once. ``frame.attrs["signatures"]`` has the signatures by model and task, and
    ``frame.attrs["left_out"]`` a sentence for each file that is damaged or the same as another; each is logged as a
    warning.
    Raises `OutputError` when there is no such folder.
    """
    frame = long_form(read_all(Path(folder)), intervals)
    for sentence in frame.attrs["left_out"]:
        log.warning(f"left out: {sentence}")
    return frame


def long_form(results: Iterable[Result | OutputError], intervals: bool = True) -> pd.DataFrame:
    """The rows of `load_results`, of results that are read already."""
    import pandas as pd

    rows: list[tuple[Any, ...]] = []
    signatures: dict[str, dict[str, str]] = {}
    left_out: list[str] = []
    for found in results:
        if isinstance(found, OutputError):
            left_out.append(str(found))
            continue
        prompt = found.given_prompt
        model = found.label + ("" if prompt == "none" else f" prompt:{prompt}")
        signatures.setdefault(model, {})[found.task] = found.signature
        means, subsets = _intervals(found, intervals, left_out)
        mode = found.place[1] or ""
        rows += [(model, found.task, mode, *row) for row in _rows(found, means, subsets)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame.attrs |= {"signatures": signatures, "left_out": left_out}
    return frame


def _intervals(
    result: Result, wanted: bool, left_out: list[str]
) -> tuple[Mapping[str, Interval], Mapping[str, Mapping[str, Interval]]]:
    if not result.intervals and wanted:
        try:
            made = result.computed_intervals()
        except OutputError as error:
            left_out.append(str(error))
        else:
            return made.means, made.subsets
    return result.intervals, result.subset_intervals


def _rows(
    result: Result, means: Mapping[str, Interval], subsets: Mapping[str, Mapping[str, Interval]]
) -> Iterator[tuple[str, str, float, float, float]]:
    none = (math.nan, math.nan)
    if result.complete:
        for measure, value in result.scores.items():
            yield ("all", measure, value, *means.get(measure, none))
    for subset, scores in result.subsets.items():
        for measure, value in scores.items():
            yield (subset, measure, value, *subsets.get(measure, {}).get(subset, none))
