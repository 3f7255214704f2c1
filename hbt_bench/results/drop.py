"""The drop of scores due to a query shift."""

from __future__ import annotations

from collections.abc import Mapping

from hbt_bench.data.query_shift import Shift
from hbt_bench.errors import OutputError
from hbt_bench.identity.task_name import TaskName
from hbt_bench.results.result import Result


def drop(result: Result) -> tuple[Mapping[str, float], str]:
    """Return the drop of each measure due to a query shift, or {} with the reason why it cannot be computed.

    A drop is the score on the unshifted task minus the score on the shifted task, so a positive drop is a loss. Both
    results are in the same folder, and must have the same data, prompts and subsets. A task without a query shift has
    neither drops nor a reason.
    """
    name = TaskName.parse(result.task)
    if not name.shifts:
        return {}, ""
    task = name.unshifted
    suffix = "".join(f"_{Shift.parse(shift).word}" for shift in name.shifts)
    path = result.path.with_name(f"{result.mteb_name.removesuffix(suffix)}.json")
    try:
        unshifted = Result.read(path)
    except OutputError as error:
        return {}, str(error) if path.exists() else f"there is no result of {task} in {path.parent}. Run {task}, too."
    data = unshifted.fields.get("data")
    if result.unshifted is None:
        return {}, "the result does not name the data of its queries. Run it again with --overwrite."
    if data != result.unshifted:
        return {}, (
            f"{path.name} is of data {data}, but the queries were made from data {result.unshifted}. "
            f"Run {task} again with --overwrite."
        )
    if unshifted.fields.get("prompt") != result.fields.get("prompt"):
        return {}, f"{path.name} has other prompts. Run {task} with the same prompts."
    if unshifted.subsets.keys() != result.subsets.keys():
        return {}, f"{path.name} has other subsets. Run {task} again with --overwrite."
    scores = result.scores
    return {measure: value - scores[measure] for measure, value in unshifted.scores.items() if measure in scores}, ""
