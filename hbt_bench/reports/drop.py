"""The drop of a query shift: the score of a model on a task minus its score on the shifted task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hbt_bench.data.query_shift import Shift
from hbt_bench.errors import OutputError
from hbt_bench.identity.task_name import TaskName
from hbt_bench.results.result import Result


@dataclass(frozen=True)
class Drop:
    """The drop of each measure, or the `reason` why it cannot be computed; a positive drop is a loss of score.

    Both are empty for a task without a query shift.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""

    @classmethod
    def from_result(cls, result: Result) -> Drop:
        """Compare a result with the result of the unshifted task in the same folder.

        Both must have the same data, prompts and subsets. For example, ``Drop.from_result(result).values["AP"]``.
        """
        name = TaskName.parse(result.task)
        if not name.shifts:
            return cls()
        task = name.unshifted
        suffix = "".join(f"_{Shift.parse(shift).word}" for shift in name.shifts)
        path = result.path.with_name(f"{result.mteb_name.removesuffix(suffix)}.json")
        try:
            unshifted = Result.read(path)
        except OutputError as error:
            missing = f"there is no result of {task} in {path.parent}. Run {task}, too."
            return cls(reason=str(error) if path.exists() else missing)
        if result.unshifted is None:
            return cls(reason="the result does not name the data of its queries. Run it again with --overwrite.")
        data = unshifted.fields.get("data")
        if data != result.unshifted:
            return cls(
                reason=f"{path.name} is of data {data}, but the queries were made from data {result.unshifted}. "
                f"Run {task} again with --overwrite."
            )
        if unshifted.fields.get("prompt") != result.fields.get("prompt"):
            return cls(reason=f"{path.name} has other prompts. Run {task} with the same prompts.")
        if unshifted.subsets.keys() != result.subsets.keys():
            return cls(reason=f"{path.name} has other subsets. Run {task} again with --overwrite.")
        scores = result.scores
        return cls(
            {measure: value - scores[measure] for measure, value in unshifted.scores.items() if measure in scores}
        )
