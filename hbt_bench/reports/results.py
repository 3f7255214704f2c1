"""The results of a run: a table and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hbt_bench.identity.task_name import TaskName
from hbt_bench.measures.registry import MEASURES
from hbt_bench.reports.table import Table, number
from hbt_bench.results.drop import drop
from hbt_bench.results.result import Result, finite

#: Longer names of tasks would push the numbers out of 80 columns; their languages are counted instead.
_NAME_WIDTH = 19


def as_json(results: Sequence[Result]) -> str:
    """Return results as JSON, with the drops due to query shifts."""
    entries = []
    for result in results:
        drops, reason = drop(result)
        entries.append(result.as_json() | ({"drop": finite(drops)} if drops else {"no_drop": reason} if reason else {}))
    return json.dumps({"results": entries}, ensure_ascii=False)


def results_table(results: Sequence[Result], more: Sequence[str] = ()) -> Table:
    """Return a table with the means of each task in a row; `more` are measures that the tasks add."""
    drops = {result.task: drop(result)[0] for result in results}
    dropped = any(drops.values())  # the results of the unshifted task are there, too
    measures = MEASURES.in_tables()
    measures[4:4] = [measure for measure in dict.fromkeys(more) if measure not in measures]
    if dropped:
        measures.remove("R@1")  # or the table is wider than 80 columns
    if any("AP" not in result.scores for result in results):
        measures = ["main_score", *measures]
    measures = [measure for measure in measures if any(measure in result.scores for result in results)]
    long = any(len(result.task) > _NAME_WIDTH for result in results)
    rows = [
        [
            TaskName.parse(result.task).counted() if long else result.task,
            *(number(result.scores.get(measure), measure) for measure in measures),
            *([number(drops[result.task].get("AP"), "AP")] if dropped else []),
            str(len(result.subsets)),
        ]
        for result in results
    ]
    header = [*(measure.replace("_distance", "\ndist.") for measure in measures), *(["AP drop"] if dropped else [])]
    title = f"{results[0].model} ({results[0].revision[:12]})"
    return Table(("task", *header, "subsets"), rows, title)
