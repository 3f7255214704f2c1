"""The value of each query, in long form, from the ranks of results."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hbt_bench.errors import DataError, OutputError, UsageError, did_you_mean
from hbt_bench.identity.task_name import Mode, parse_names
from hbt_bench.measures.registry import MEASURES, Measure
from hbt_bench.measures.scores import ModeRanks
from hbt_bench.results.scores import hierarchy_of
from hbt_bench.results.store import Result, read_all
from hbt_bench.results.task_choice import choosing_names

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def load_queries(
    folder: str | Path = "results",
    measures: str | Iterable[str] | None = None,
    tasks: str | Iterable[str] | None = None,
    cluster: str | None = None,
) -> pd.DataFrame:
    """Return the value of each query and measure, with a row for each model, task, subset, query and measure.

    For example, the mean average precision of a model by query language::

        frame = load_queries("results", "AP", "xquad-r-multi")
        frame.groupby(["model", "query_language"])["value"].mean()

    The columns are ``model`` (name and revision), ``task``, ``mode``, ``subset``, ``query`` (the id), ``question`` (a
    number that the versions of a query share), ``level`` and ``cluster`` (the name of the level of the clusters, and
    the number of the question's cluster), ``query_language``, ``document_language`` ("all" for the pool), ``measure``
    and ``value``. Queries without a value are left out.

    Args:
        folder: The folder of the results.
        measures: Names of measures, as ``AP,nDCG@10``; None for those of results.
        tasks: Names of collections or tasks, as ``xquad-r`` or ``xquad-r-multi``; None for all.
        cluster: The level of the clusters, as ``paragraph``; None for that of intervals and tests.

    Results without ranks or without ids, and measures that do not apply, are left out, with a warning, as are tasks
    without a result. Raises `UsageError` for an unknown measure and if no measure is one of the tasks, and
    `OutputError` if there is no such folder or no value.
    """
    import pandas as pd

    parsed = [Measure.parse(name) for name in parse_names(measures)] if measures else [m for m in MEASURES if m.scored]
    requested = {measure.name: measure for measure in parsed}.values()
    results = _results(Path(folder), parse_names(tasks) if tasks else ())
    if measures:
        _check_modes(requested, {result.mode for result in results if result.mode})
    frames: list[pd.DataFrame] = []
    without: set[str] = set()  # collections without the clusters
    for result in results:
        try:
            level = cluster if cluster is None or result.has_level(cluster) else None
            frames += _frames(result, requested, level)
            if level != cluster:
                without.add(result.collection)
        except OutputError as error:
            log.warning(f"left out: {error}")
    for name in sorted(without):
        log.warning(f"{name} has no clusters by '{cluster}': its usual level is used")
    if not frames:
        raise OutputError(f"no result in {folder} has values of these queries. Run `hbt-bench run` first.")
    return pd.concat(frames, ignore_index=True)


def _results(folder: Path, names: Sequence[str]) -> list[Result]:
    """Return the results of the tasks `names`, or of all. Raises `OutputError` if all names are without results."""
    known: set[str] = set()
    results = []
    for result in read_all(folder):
        if isinstance(result, OutputError):
            log.warning(f"left out: {result}")
            continue
        choosing = choosing_names(result.task_name)
        known |= choosing
        if result.mode is not None and (not names or not choosing.isdisjoint(names)):
            results.append(result)
    missing = [f"no result in {folder} is of {name}{did_you_mean(name, known)}" for name in names if name not in known]
    if missing and not results:
        raise OutputError(missing[0])
    for note in missing:
        log.warning(note)
    return results


def _check_modes(requested: Collection[Measure], modes: Set[Mode]) -> None:
    """Log a warning for each measure that no mode has; raises `UsageError` if that is true of all measures."""
    notes = [
        f"no chosen task has {measure.name}, which needs a {' or '.join(measure.modes)} task"
        for measure in requested
        if modes.isdisjoint(measure.modes)
    ]
    if modes and len(notes) == len(requested):
        raise UsageError(f"{notes[0]}: choose other --tasks or --measures")
    for note in notes if modes else ():
        log.warning(note)


def _frames(result: Result, measures: Iterable[Measure], cluster: str | None) -> Iterator[pd.DataFrame]:
    """Yield a table for each subset and measure. Raises `OutputError` without ranks or ids."""
    import pandas as pd

    assert result.mode is not None, "tasks of MTEB are left out"
    stored = result.stored_ranks()
    if stored.ids is None:
        raise OutputError(f"{stored_name(result)} is of an older version, without ids. Run again with --overwrite.")
    ids = np.array(stored.ids.queries, object)
    judgements = stored.judgements
    ranks = ModeRanks(judgements, stored.ranks, result.mode)
    level = hierarchy_of(judgements).level(cluster)
    for measure in measures:
        if result.mode not in measure.modes:
            continue
        try:
            values = ranks.values(measure)
        except DataError as error:
            log.warning(f"{measure.name} of {result.label} on {result.task} is left out: {error}")
            continue
        for judged, array in zip(ranks.subsets, values, strict=True):
            has_value = np.isfinite(array)
            rows = judged.rows[has_value]
            questions = judgements.questions[rows]
            yield pd.DataFrame(
                {
                    "model": result.label,
                    "task": result.task,
                    "mode": result.mode,
                    "subset": judged.subset.name,
                    "query": ids[rows],
                    "question": questions,
                    "level": level.name,
                    "cluster": level.labels[questions],
                    "query_language": judged.subset.queries,
                    "document_language": judged.subset.documents or "all",
                    "measure": measure.name,
                    "value": array[has_value],
                }
            )


def stored_name(result: Result) -> str:
    """Return the name of the file with the ranks of a result, for messages."""
    return str(result.ranks or result.path)
