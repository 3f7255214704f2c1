"""The rows of all batches of a plan, as texts."""

from __future__ import annotations

from hbt_bench.training.plan import Batch, BatchPlan


class Rows:
    """The rows of all batches of a plan in order, as texts.

    For example, with batches of 100, ``rows[250]["query"]`` is the query in row 50 of the batch of step 2. With
    `parallel`, rows have the parallel query too.
    """

    def __init__(self, plan: BatchPlan, *, parallel: bool) -> None:
        self.plan = plan
        self._parallel = parallel
        self._negatives = max(weighted.source.depth for weighted in plan.sources)
        self._last: Batch | None = None

    def __len__(self) -> int:
        return self.plan.steps * self.plan.batch_size

    @property
    def columns(self) -> list[str]:
        """The keys of a row, in the order that losses expect."""
        negatives = [f"negative{number}" for number in range(self._negatives)]
        return ["query", "passage", *negatives, *(["parallel"] if self._parallel else [])]

    def __getitem__(self, row: int) -> dict[str, str]:
        """Return the texts of a row by column."""
        step, index = divmod(row, self.plan.batch_size)
        if self._last is None or self._last.step != step:
            self._last = self.plan.batch_at(step)
        batch = self._last
        texts = batch.source.texts
        columns = {"query": texts[batch.queries[index]], "passage": texts[batch.passages[index]]}
        for number, text in enumerate(batch.negatives[index]):
            columns[f"negative{number}"] = texts[text]
        if self._parallel:
            columns["parallel"] = texts[batch.parallel[index]]
        return columns
