"""The drop of a query shift: a score of the clean task minus that of the shifted one, for the same model."""

from __future__ import annotations

from hbt_bench.corpus.shift import Shift
from hbt_bench.errors import OutputError
from hbt_bench.reporting.result import Result


def drop(result: Result) -> dict[str, float]:
    """Each measure's drop against the clean result in the same folder; empty where there is none, or no shift.

    Means over the same subsets, as `Result.scores`; positive means that the shift cost that much. The clean result
    must be of the same candidates: the data hashes of shifted queries differ by design, the number of subsets must not.
    """
    clean, plus, shifts = result.task.partition("+")
    if not plus:
        return {}
    words = "".join(f"_{Shift.parse(part).word}" for part in shifts.split("+"))
    path = result.path.with_name(f"{result.mteb_name.removesuffix(words)}.json")
    try:
        before = Result.read(path)
    except OutputError:
        return {}
    if before.task != clean or before.subsets.keys() != result.subsets.keys():
        return {}
    after = result.scores
    return {measure: value - after[measure] for measure, value in before.scores.items() if measure in after}
