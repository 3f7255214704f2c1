"""The tasks of a collection as MTEB evaluates them, without code of hbt-bench in the evaluation."""

from __future__ import annotations

from typing import Any

from mteb.abstasks.retrieval import AbsTaskRetrieval

from hbt_bench.data.collection import Collection
from hbt_bench.identity.task_name import MODES
from hbt_bench.mteb.tasks import ParallelRetrieval, SharedPass
from hbt_bench.tasks.task import TaskSpec


class Stock(AbsTaskRetrieval):  # type: ignore[misc]
    """A retrieval task of MTEB with our data and MTEB's evaluation."""

    def __init__(self, task: ParallelRetrieval) -> None:
        self.metadata = task.metadata.model_copy(update={"main_score": "ndcg_at_10"})
        super().__init__()
        self._loaded = task.dataset
        self.load_data()

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Use the loaded data."""
        self.dataset, self.data_loaded = self._loaded, True


def stock_tasks(spec: TaskSpec, collection: Collection) -> list[Stock]:
    """Return a task of MTEB for each of the three modes."""
    shared = SharedPass(spec, collection)
    tasks = [ParallelRetrieval(shared, mode) for mode in MODES]
    for task in tasks:
        task.load_data()
    return [Stock(task) for task in tasks]
