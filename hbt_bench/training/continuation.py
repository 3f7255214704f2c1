"""More steps on a finished run: allowed if its first steps are those that a run of all steps would have had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hbt_bench.errors import UsageError
from hbt_bench.training.recipe import Recipe


def finished_steps(recipe: Recipe, facts: Mapping[str, Any], differences: list[str]) -> int | None:
    """Return the steps of a finished run that a recipe continues, None if the recipe has no more steps, or differs.

    Raises `UsageError` if the finished steps would have been others with more steps to come, or if the run stopped
    early. For example, a learning rate that falls to 0 at the last step has another value at each earlier step.
    """
    steps: int = facts["recipe"]["steps"]
    if differences != ["steps"] or steps >= recipe.steps:
        return None
    reasons = {
        f"`schedule: {recipe.schedule}` lowers the learning rate by the share of all steps": (
            recipe.schedule != "constant"
        ),
        f"`warmup: {recipe.warmup:g}` is a share of all steps": (
            round(recipe.warmup * steps) != round(recipe.warmup * recipe.steps)
        ),
        "`instruction` starts or ends at a share of all steps": (
            recipe.instruction is not None and recipe.instruction.when != "mixed"
        ),
        f"`patience` stopped the run at step {facts['steps']}": facts["steps"] < steps,
    }
    for reason, holds in reasons.items():
        if holds:
            raise UsageError(
                f"the run of {steps} steps cannot be continued to {recipe.steps}, because {reason}: name another "
                "--output to train anew, or make the model the `init` of another recipe"
            )
    return steps
