"""The names that choose the results of a task, for commands that read results."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from hbt_bench.errors import did_you_mean
from hbt_bench.identity.task_name import TaskName


def choosing_names(task: TaskName) -> set[str]:
    """Return the names that choose the results of a task: with and without its mode, with and without its languages.

    >>> sorted(choosing_names(TaskName.parse("xquad-r-multi[de,en]")))
    ['xquad-r', 'xquad-r-multi', 'xquad-r-multi[de,en]', 'xquad-r[de,en]']
    """
    return {str(variant) for name in (task, replace(task, mode=None)) for variant in (name, name.unrestricted)}


def no_results_of(name: str, known: Collection[str]) -> str:
    """Return the message for a name that is none of the `known` names of results.

    >>> no_results_of("xqad-r", ["xquad-r", "scifact"])
    "there are no results of xqad-r; did you mean 'xquad-r'?"
    """
    hint = did_you_mean(name, known) or f". The results are of {', '.join(sorted(known))}"
    return f"there are no results of {name}{hint}"
