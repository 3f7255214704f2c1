"""The training loop: sentence-transformers' trainer, fed with the batches of a plan.

The global batch is the plan's; processes and accumulated parts take consecutive slices of it, so that all of them
work on the same kind of batch and the same language pair. The run is one epoch of as many steps as the plan has.
"""

from __future__ import annotations

import atexit
import functools
import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformerTrainer
from torch.utils.data import DataLoader, Dataset
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hbt_bench.distributed import is_first
from hbt_bench.errors import ModelError
from hbt_bench.log import progress
from hbt_bench.training import checkpoints
from hbt_bench.training.plan import Batch, BatchPlan


class Rows(Dataset[dict[str, str]]):
    """The rows of all batches in order, as texts with their prefixes."""

    def __init__(self, plan: BatchPlan, query_prefix: str, passage_prefix: str, *, parallel: bool) -> None:
        self.plan = plan
        self._prefixes = query_prefix, passage_prefix
        self._parallel = parallel
        self._negatives = max(supply.source.negatives.shape[2] for supply in plan.sources)

    def __len__(self) -> int:
        return self.plan.steps * self.plan.batch_size

    @property
    def columns(self) -> list[str]:
        """The texts of a row, in the order in which losses take them."""
        negatives = [f"negative{number}" for number in range(self._negatives)]
        return ["query", "passage", *negatives, *(["parallel"] if self._parallel else [])]

    def __getitem__(self, row: int) -> dict[str, str]:
        """One row: query, passage, hard negatives, and the parallel query if it is asked for."""
        step, place = divmod(row, self.plan.batch_size)
        batch = self._batch(step)
        query, passage = self._prefixes
        texts = batch.source.texts
        found = {
            "query": query + texts[batch.queries[place]],
            "passage": passage + texts[batch.passages[place]],
        }
        for number, text in enumerate(batch.negatives[place]):
            found[f"negative{number}"] = passage + texts[text]
        if self._parallel:
            found["parallel"] = query + texts[batch.parallel[place]]
        return found

    def _batch(self, step: int) -> Batch:
        known: Batch | None = getattr(self, "_last", None)
        if known is None or known.step != step:
            known = self._last = self.plan.batch_at(step)
        return known


class Slices:
    """A batch sampler of consecutive rows; picklable, and skipped through in no time when a run is resumed."""

    def __init__(self, rows: int, size: int) -> None:
        self.batch_size = size
        self.drop_last = True
        self._count = rows // size

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[int]]:
        return (list(range(at * self.batch_size, (at + 1) * self.batch_size)) for at in range(self._count))


class PlanTrainer(SentenceTransformerTrainer):  # type: ignore[misc]
    """A trainer whose loader hands out the rows of a plan in order, and that stops when the loss is no number."""

    def __init__(self, rows: Rows, **arguments: Any) -> None:
        self.rows = rows
        self._finite: torch.Tensor | None = None
        super().__init__(**arguments)

    def get_train_dataloader(self) -> DataLoader[dict[str, str]]:
        """The plan's rows, sliced for every process and accumulated part."""
        self.accelerator.even_batches = False
        loader = DataLoader(
            self.rows,
            batch_sampler=Slices(len(self.rows), self.args.per_device_train_batch_size),
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        self._train_dataloader = self.accelerator.prepare(loader)
        return self._train_dataloader  # type: ignore[no-any-return]

    def compute_loss(self, *arguments: Any, **options: Any) -> Any:
        """The loss; whether it is a number is remembered on the device and read when the device waits anyway."""
        loss = super().compute_loss(*arguments, **options)
        value = (loss[0] if isinstance(loss, tuple) else loss).detach()
        self._finite = torch.isfinite(value) if self._finite is None else self._finite & torch.isfinite(value)
        return loss

    def check_loss(self) -> None:
        """Raise `ModelError` when a loss since the last check was NaN or infinite."""
        if self._finite is not None and not bool(self._finite):
            raise ModelError(
                f"the loss became NaN or infinite at or before step {self.state.global_step}: lower the learning rate "
                "or raise the temperature; the last checkpoint before it is kept"
            )
        self._finite = None

    def check_weights(self) -> None:
        """Raise `ModelError` when a weight is NaN or infinite, before it is saved."""
        if not all(bool(torch.isfinite(part).all()) for part in self.model.parameters()):
            raise ModelError(
                f"the weights became NaN or infinite at or before step {self.state.global_step}: lower the learning "
                "rate; the last checkpoint before it is kept"
            )

    def create_model_card(self, *arguments: Any, **options: Any) -> None:
        """Nothing: the card is written once, at the end, from the recipe."""


class Watch(TrainerCallback):  # type: ignore[misc]
    """Looks at the loss before anything is logged or saved, and marks checkpoints that are complete."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.trainer: PlanTrainer | None = None

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        """Check the loss when this step is logged, evaluated or saved, and at the last."""
        if control.should_log or control.should_save or control.should_evaluate or state.global_step >= state.max_steps:
            assert self.trainer is not None
            self.trainer.check_loss()
        if control.should_save or state.global_step >= state.max_steps:
            assert self.trainer is not None
            self.trainer.check_weights()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        """Mark the checkpoint, whose files are all there now."""
        assert self.trainer is not None
        self.trainer.accelerator.wait_for_everyone()  # each process writes the state of its random numbers
        if is_first():
            checkpoints.mark(Path(args.output_dir, f"checkpoint-{state.global_step}"), self.identity)


class Bar(TrainerCallback):  # type: ignore[misc]
    """Sends each step's loss to the receiver of progress, and the shares of the batch types so far."""

    def __init__(self, plan: BatchPlan) -> None:
        self._kinds: Counter[str] = Counter()
        self._plan = plan
        self._loss = ""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any
    ) -> None:
        """Count the steps that an interrupted run has done."""
        self._kinds.update(self._plan.type_at(step) for step in range(state.global_step))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        """Advance by a step."""
        if is_first():
            self._kinds[self._plan.type_at(state.global_step - 1)] += 1
            total = self._kinds.total()
            shares = " ".join(f"{kind} {count / total:.0%}" for kind, count in sorted(self._kinds.items()))
            progress("training", state.global_step, state.max_steps, f"{self._loss}{shares}")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **rest: Any,
    ) -> None:
        """Remember the loss for the next steps' line."""
        if logs and "loss" in logs:
            self._loss = f"loss {logs['loss']:.3f}, "


@functools.cache
def leave_at_exit() -> None:
    """Leave the group of processes when Python ends, as its threads may abort a process that ends with them.

    Not before, as the libraries keep the group for the next training of these processes.
    """
    atexit.register(_leave)


def _leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        gc.collect()  # a model that was trained keeps the group, and itself by a circle
