"""The training loop: the trainer of sentence-transformers with the batches of a plan, and development data.

Processes and accumulated parts take consecutive slices of each batch of the plan, so all of them work on the same type
of batch and the same language pair. The run is one epoch with as many steps as the plan.
"""

from __future__ import annotations

import atexit
import functools
import gc
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_model, save_file
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator
from sentence_transformers.util import batch_to_device
from torch.utils.data import DataLoader
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hbt_bench.distributed import is_first
from hbt_bench.errors import ModelError
from hbt_bench.log import progress
from hbt_bench.training import run_folder, weights
from hbt_bench.training.plan import BatchPlan
from hbt_bench.training.rows import Rows

#: The file of a checkpoint with the trained weights of a model with adapters.
_TRAINED = "trained.safetensors"


def collator(model: SentenceTransformer, columns: Sequence[str]) -> SentenceTransformerDataCollator:
    """Return the function that turns rows into features, with the prompts and the tasks of `encode_query` and so on.

    So a step sees a text as the model does in use: a pooling may leave out the prompt, and a Router has an encoder for
    each task.
    """
    roles = {column: "query" if column in ("query", "parallel") else "document" for column in columns}
    prompts = {column: model.prompts[role] for column, role in roles.items()}
    return SentenceTransformerDataCollator(preprocess_fn=model.preprocess, prompts=prompts, router_mapping=roles)


class PlanTrainer(SentenceTransformerTrainer):  # type: ignore[misc]
    """A trainer on the rows of a plan, in order. It stops if the loss or a weight is NaN or infinite."""

    def __init__(self, rows: Rows, model: SentenceTransformer, **arguments: Any) -> None:
        self.rows = rows
        self._finite: torch.Tensor | None = None
        super().__init__(model=model, data_collator=collator(model, rows.columns), **arguments)

    def get_train_dataloader(self) -> DataLoader[dict[str, str]]:
        """Return the rows of the plan, sliced for every process and accumulated part."""
        self.accelerator.even_batches = False
        loader: DataLoader[dict[str, str]] = DataLoader(
            self.rows,  # type: ignore[arg-type]
            batch_size=self.args.per_device_train_batch_size,
            drop_last=True,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        self._train_dataloader = self.accelerator.prepare(loader)
        return self._train_dataloader  # type: ignore[no-any-return]

    def compute_loss(self, *arguments: Any, **options: Any) -> Any:
        """Return the loss, and record on the device whether it is finite.

        `check_finite` reads the record when the device waits anyway.
        """
        loss = super().compute_loss(*arguments, **options)
        value = (loss[0] if isinstance(loss, tuple) else loss).detach()
        self._finite = torch.isfinite(value) if self._finite is None else self._finite & torch.isfinite(value)
        return loss

    def check_finite(self, *, weights: bool) -> None:
        """Raise `ModelError` if a loss since the last check or, with `weights`, a weight is NaN or infinite."""
        name = "" if self._finite is None or bool(self._finite) else "loss"
        self._finite = None
        if not name and weights and not all(bool(torch.isfinite(part).all()) for part in self.model.parameters()):
            name = "weights"
        if name:
            raise ModelError(
                f"the {name} became NaN or infinite at or before step {self.state.global_step}: lower the learning "
                "rate or raise the temperature; the last checkpoint before it is kept"
            )

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Save a checkpoint. Of a model with adapters, save the trained weights: its base may be elsewhere later."""
        folder = Path(output_dir or self.args.output_dir)
        if not weights.adapted(self.model):
            self.model.save_pretrained(str(folder), create_model_card=False)
            return
        folder.mkdir(parents=True, exist_ok=True)
        trained = {name: part.data for name, part in self.model.named_parameters() if part.requires_grad}
        save_file(trained, folder / _TRAINED)

    def _load_from_checkpoint(self, checkpoint_path: str) -> None:
        path = Path(checkpoint_path, _TRAINED)
        if path.is_file():
            load_model(self.model, path, strict=False)
        else:
            super()._load_from_checkpoint(checkpoint_path)

    def create_model_card(self, *arguments: Any, **options: Any) -> None:
        """Do nothing: the card is written once, at the end, from the recipe."""


class CheckpointGuard(TrainerCallback):  # type: ignore[misc]
    """Check the loss and the weights before they are logged or saved, and mark complete checkpoints."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.trainer: PlanTrainer | None = None

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        """Check the loss if this step is logged, evaluated, saved or the last, and the weights if it is saved."""
        save = control.should_save or state.global_step >= state.max_steps
        if save or control.should_log or control.should_evaluate:
            assert self.trainer is not None
            self.trainer.check_finite(weights=save)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        """Mark the checkpoint, when all processes have written their files."""
        assert self.trainer is not None
        self.trainer.accelerator.wait_for_everyone()  # each process writes its random state
        if is_first():
            run_folder.mark(Path(args.output_dir, f"checkpoint-{state.global_step}"), self.identity)


class StepReporter(TrainerCallback):  # type: ignore[misc]
    """Report the progress of each step, with the loss and the shares of the batch types so far."""

    def __init__(self, plan: BatchPlan) -> None:
        self._types: Counter[str] = Counter()
        self._plan = plan
        self._loss = ""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any
    ) -> None:
        """Count the steps that an interrupted run finished."""
        self._types.update(self._plan.type_at(step) for step in range(state.global_step))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        """Report a step."""
        if is_first():
            self._types[self._plan.type_at(state.global_step - 1)] += 1
            total = self._types.total()
            shares = " ".join(f"{batch_type} {count / total:.0%}" for batch_type, count in sorted(self._types.items()))
            progress("training", state.global_step, state.max_steps, f"{self._loss}{shares}")

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        """Keep the loss for the reports of the next steps."""
        if "loss" in rest["logs"]:
            self._loss = f"loss {rest['logs']['loss']:.3f}, "


class LossEvaluator(SentenceEvaluator):  # type: ignore[misc]
    """The mean loss of a fixed set of held-out batches."""

    def __init__(self, rows: Rows, loss: torch.nn.Module) -> None:
        super().__init__()
        self.rows = rows
        self.loss = loss

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Return the mean loss under ``loss``."""
        training, size = model.training, self.rows.plan.batch_size
        model.eval()
        collate, losses = collator(model, self.rows.columns), []
        with torch.no_grad():
            for step in range(len(self.rows.plan)):
                rows = [self.rows[row] for row in range(step * size, (step + 1) * size)]
                batch = batch_to_device(collate(rows), model.device)
                features = [
                    {key.removeprefix(f"{name}_"): value for key, value in batch.items() if key.startswith(f"{name}_")}
                    for name in self.rows.columns
                ]
                value = self.loss([feature for feature in features if feature], None)  # some sources lack negatives
                losses.append(float(sum(value.values()) if isinstance(value, dict) else value))
        model.train(training)
        return {"loss": float(np.mean(losses))}


@functools.cache
def leave_at_exit() -> None:
    """Leave the process group when Python exits, because threads of the group can abort the exit.

    It cannot be earlier: the libraries keep the group for the next training of these processes.
    """

    @atexit.register
    def leave() -> None:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
            gc.collect()  # a trained model holds the group in a reference cycle
