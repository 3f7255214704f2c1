"""Check that a task has something to score in the chosen languages."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from hbt_bench.data.collection import Collection
from hbt_bench.errors import UsageError
from hbt_bench.ranking.subsets import judged_subsets
from hbt_bench.tasks.registry import Selection

log = logging.getLogger(__name__)


def check_subsets(selection: Selection, collections: Mapping[str, Collection], *, warn: bool = True) -> None:
    """Raise `UsageError` if no mode of a task has a subset in these languages; log a warning for a mode without any.

    A task of MTEB has no modes, so it passes.

    >>> check_subsets(select_tasks("cldr-facts")[0], {"cldr-facts": collection})
    """
    if selection.spec is None:
        return
    collection = collections[selection.spec.name]
    empty = [mode for mode in selection.modes if next(judged_subsets(collection, mode), None) is None]
    for mode in empty:
        kind = "the same language" if mode == "mono" else "different languages"
        name = selection.spec.task_name(mode, collection.languages)
        reason = f"{name} has no queries with relevant documents in {kind}"
        if len(empty) == len(selection.modes):
            raise UsageError(f"{reason}: add a language, or choose another mode")
        if warn:
            log.warning(f"{reason}, so it has no scores")
