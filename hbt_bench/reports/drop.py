"""The drop of a query shift: a score of the clean task minus that of the shifted one, for the same model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hbt_bench.data.query_shift import Shift
from hbt_bench.errors import OutputError
from hbt_bench.identity.task_name import TaskName
from hbt_bench.results.result import Result


@dataclass(frozen=True)
class Drop:
    """Each measure's drop against the clean result in the same folder, or `why` there is none.

    Means over the same subsets, as `Result.scores`; positive means that the shift cost that much. Both are empty for a
    task without a shift.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    why: str = ""

    @classmethod
    def of(cls, result: Result) -> Drop:
        """Compare with the clean result, if it is of the data whose queries were changed, and with the same prompts."""
        name = TaskName.parse(result.task)
        if not name.shifts:
            return cls()
        task = name.unshifted
        words = "".join(f"_{Shift.parse(shift).word}" for shift in name.shifts)
        path = result.path.with_name(f"{result.mteb_name.removesuffix(words)}.json")
        try:
            clean = Result.read(path)
        except OutputError as error:
            return cls(
                why=str(error) if path.exists() else f"there is no result of {task} in {path.parent}; run it too"
            )
        if result.unshifted is None:
            return cls(why="it does not say which data its queries were made of; run it again with --overwrite")
        found = clean.fields.get("data")
        if found != result.unshifted:
            why = f"{path.name} is of other data ({found}) than the queries were made of ({result.unshifted})"
            return cls(why=f"{why}; run {task} again with --overwrite")
        if clean.fields.get("prompt") != result.fields.get("prompt"):
            return cls(why=f"{path.name} is of other prompts; run {task} with the same ones")
        if clean.subsets.keys() != result.subsets.keys():
            return cls(why=f"{path.name} has other subsets; run {task} again with --overwrite")
        after = result.scores
        return cls({measure: value - after[measure] for measure, value in clean.scores.items() if measure in after})
