"""A training run: from a recipe to a sentence-transformers model. A killed run continues from its last checkpoint."""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbt_bench.data.collection import Collection
from hbt_bench.distributed import is_first, world_size
from hbt_bench.errors import ModelError, OutputError, UsageError
from hbt_bench.tasks.registry import TaskRegistry
from hbt_bench.training import card, inits, models, weights
from hbt_bench.training.data import TrainingData
from hbt_bench.training.plan import BatchPlan
from hbt_bench.training.recipe import DEV_MEASURES, Recipe
from hbt_bench.training.run_folder import RunFolder, clear_errors

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from hbt_bench.training.rows import Rows

log = logging.getLogger(__name__)

#: Names of recipes for accelerate's settings of mixed precision.
_NAMES = {"no": "fp32", "bf16": "bf16"}


@dataclass(frozen=True)
class Training:
    """A run of `recipe` into the folder `output`, with data from `folders`.

    `drop_overlap` removes training texts that evaluation data have too. Without `resume`, the run does not continue
    from a checkpoint. With `overwrite`, it replaces a model in `output`. `registry` finds the tasks of `guard`.

    Example:
        folder = Training(Recipe(init="static:64", steps=100), Path("model")).run()
        SentenceTransformer(str(folder))
    """

    recipe: Recipe
    output: Path
    folders: Sequence[Path] = (Path(),)
    drop_overlap: bool = False
    resume: bool = True
    overwrite: bool = False
    registry: TaskRegistry | None = None

    def run(self) -> Path:
        """Train, and return `output`. If it has the complete model of the recipe, do nothing.

        Mistakes in recipe, init and data are found before a model is loaded. Raises the errors of `hbt_bench.errors`.
        """
        run = replace(self, recipe=inits.resolve(self.recipe))
        _check_reports(run.recipe)
        folder = run._run()
        if run.recipe.push_to_hub and is_first():
            _push(folder, run.recipe.push_to_hub)
        return folder

    def _run(self) -> Path:
        self._folder.check(self.overwrite)
        if not self.overwrite:
            self._folder.check_recipe(self.recipe)
        if self.recipe.batch_size % (world_size() * self.recipe.accumulation):
            raise UsageError(
                f"a batch of {self.recipe.batch_size} cannot be divided among {world_size()} processes with "
                f"{self.recipe.accumulation} parts each: change --batch-size"
            )
        if self.recipe.precision == "bf16":
            _use_bf16("bf16")  # raises an error if the GPU has none
        registry = self.registry or TaskRegistry()
        data = TrainingData.from_recipe(self.recipe, self.folders, drop_overlap=self.drop_overlap, registry=registry)
        guide = inits.revision(self.recipe.guide) if self.recipe.guide else None
        revision = inits.revision(self.recipe.init, self.recipe.revision)
        inputs = card.Inputs(self.recipe, data.fingerprint, revision, guide)
        if self._is_done(inputs) and world_size() == 1:  # several processes must agree, so they check again in `_train`
            log.info(f"{self.output} has this model already")
            return self.output
        for weighted in data.plan.sources:
            if self.recipe.loss == "paper" and not weighted.source.depth:
                raise UsageError(f"the loss `paper` needs hard negatives, and {weighted.source.name} has none")
            if self.recipe.guide and weighted.source.depth > 1:
                raise UsageError(
                    f"the loss `gist` takes a hard negative a row, and {weighted.source.name} has "
                    f"{weighted.source.depth}: set `max_negatives: 1`"
                )
        with clear_errors(self.output), self._folder.lock():
            return self._train(data, data.dev, inputs)

    @property
    def _folder(self) -> RunFolder:
        return RunFolder(self.output)

    def _is_done(self, inputs: card.Inputs) -> bool:
        return not self.overwrite and self._folder.has_model(inputs)

    def _start(self, inputs: card.Inputs, data: TrainingData) -> tuple[bool, Path | None]:
        """Return whether the model is complete by now, and the checkpoint to continue from."""
        if self._is_done(inputs):
            log.info(f"{self.output} has this model already")
            return True, None
        if not self.resume:
            self._folder.remove_checkpoints()
        identities = [inputs.identity]
        if not self.overwrite and (steps := self._folder.finished_steps(self.recipe)):
            finished = replace(data, plan=replace(data.plan, steps=steps)).fingerprint
            recipe = self.recipe.model_copy(update={"steps": steps})
            identities.append(replace(inputs, recipe=recipe, plan=finished).identity)
        try:
            return False, self._folder.last_checkpoint(*identities)
        except ModelError:  # the checkpoints of another run
            if not self.overwrite:
                raise
        self._folder.remove_checkpoints()
        return False, self._folder.last_checkpoint(inputs.identity)

    def _train(self, data: TrainingData, dev: Collection | None, inputs: card.Inputs) -> Path:
        from accelerate.utils import broadcast_object_list, wait_for_everyone  # type: ignore[import-untyped]
        from transformers.utils import logging as transformers_logging

        logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        start = self._start(inputs, data) if is_first() else None
        arguments = self._arguments()  # joins the processes; the broadcast needs that
        done, checkpoint = broadcast_object_list([start])[0]
        if not done:
            self._fit(data, dev, arguments, inputs, checkpoint)
        wait_for_everyone()
        return self.output

    def _fit(
        self, data: TrainingData, dev: Collection | None, arguments: Any, inputs: card.Inputs, checkpoint: Path | None
    ) -> None:
        """Train from a checkpoint, or from the start, and save the model."""
        from transformers import EarlyStoppingCallback, set_seed
        from transformers.trainer_callback import PrinterCallback

        from hbt_bench.training import losses
        from hbt_bench.training.trainer import CheckpointGuard, PlanTrainer, StepReporter

        started, recipe = time.monotonic(), self.recipe
        set_seed(recipe.seed)
        model = models.load(recipe, data.texts())
        guard = CheckpointGuard(inputs.identity)
        early_stopping = [EarlyStoppingCallback(recipe.patience)] if recipe.patience else []
        trainer = guard.trainer = PlanTrainer(
            self._rows(data.plan),
            model,
            args=arguments,
            loss=losses.build(recipe, model, gather=world_size() > 1),
            evaluator=self._evaluator(model, data, dev),
            callbacks=[guard, StepReporter(data.plan), *early_stopping],
        )
        if (precision := trainer.accelerator.mixed_precision) != arguments.mixed_precision:  # with DeepSpeed
            raise UsageError(
                f"accelerate trains in {precision}, not in the recipe's `precision`: change its configuration"
            )
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if is_first():
            state = trainer.state
            best_step = state.best_global_step or state.global_step
            seconds = time.monotonic() - started
            facts = card.training_facts(
                recipe, data, state.global_step, best_step, seconds, state.log_history, inputs.init_revision
            )
            used = {"precision": _NAMES[arguments.mixed_precision], **models.used_settings(model)}
            if recipe.guide:
                facts["guide_revision"] = inputs.guide_revision
            if recipe.lora:
                weights.merge(model)
            code = inits.code_files(recipe)
            self._folder.save(model, facts | {"used": used}, code, keep_checkpoints=recipe.keep_checkpoint)

    def _arguments(self) -> Any:
        """Return the trainer's arguments. Their construction joins the processes of the run."""
        import torch
        from sentence_transformers import SentenceTransformerTrainingArguments
        from transformers.integrations import is_tensorboard_available

        from hbt_bench.training.trainer import leave_at_exit

        recipe, processes, has_dev = self.recipe, world_size(), self.recipe.has_dev
        # passed only if the recipe sets it: the argument is renamed in the next major release of transformers
        less_memory: dict[str, Any] = {"gradient_checkpointing": True} if recipe.gradient_checkpointing else {}
        default = ["tensorboard"] if is_tensorboard_available() else []
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(self.output / "runs")
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(self._folder.checkpoints),
            max_steps=recipe.steps,
            per_device_train_batch_size=recipe.batch_size // (processes * recipe.accumulation),
            gradient_accumulation_steps=recipe.accumulation,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            warmup_steps=round(recipe.warmup * recipe.steps),
            lr_scheduler_type="constant_with_warmup" if recipe.schedule == "constant" else recipe.schedule,
            bf16=_use_bf16(recipe.precision),
            seed=recipe.seed,
            dataloader_num_workers=recipe.workers,
            logging_steps=max(1, recipe.steps // 100),
            logging_nan_inf_filter=False,
            report_to=list(recipe.report_to if recipe.report_to is not None else default),
            save_strategy="steps",
            save_steps=min(recipe.save_steps, recipe.steps),
            save_total_limit=2,
            eval_strategy="steps" if has_dev else "no",
            eval_steps=min(recipe.dev_every, recipe.steps) if has_dev else None,
            restore_callback_states_from_checkpoint=True,  # the patience of early stopping
            load_best_model_at_end=has_dev,
            metric_for_best_model=f"eval_{recipe.dev_measure}" if has_dev else None,
            greater_is_better=DEV_MEASURES[recipe.dev_measure] if has_dev else None,
            disable_tqdm=True,
            **less_memory,
            # without a GPU, several processes join only if the device is set to the CPU
            use_cpu=not torch.accelerator.is_available(),
            ddp_timeout=172_800,  # the others wait while a process evaluates or waits for the lock
            ddp_backend="gloo" if processes > 1 and not torch.accelerator.is_available() else None,
        )
        _set_precision(arguments)
        if processes > 1:
            leave_at_exit()
        if arguments.n_gpu > 1:
            log.warning(f"training uses 1 of {arguments.n_gpu} GPUs: start it with torchrun or accelerate to use all")
            arguments._n_gpu = 1  # else every step would take a batch of the plan for each GPU
        return arguments

    def _rows(self, plan: BatchPlan) -> Rows:
        from hbt_bench.training.rows import Rows

        return Rows(plan, parallel=self.recipe.distillation > 0)

    def _evaluator(self, model: SentenceTransformer, data: TrainingData, dev: Collection | None) -> Any:
        from hbt_bench.training import losses
        from hbt_bench.training.evaluator import CollectionEvaluator
        from hbt_bench.training.trainer import LossEvaluator

        if dev is not None:
            return CollectionEvaluator(dev, self.recipe.batch_size)
        if data.held_out is None:
            return None
        recipe = self.recipe
        if recipe.loss == "paper" and not all(weighted.source.depth for weighted in data.held_out.sources):
            log.info("the development data lack hard negatives, so the development loss is `infonce`, not `paper`")
            recipe = recipe.model_copy(update={"loss": "infonce"})
        loss = losses.build(recipe, model, gather=False)  # only the first process evaluates
        return LossEvaluator(self._rows(data.held_out), loss)


def _check_reports(recipe: Recipe) -> None:
    """Raise `UsageError` if a program that logs is not installed, or if there is no token for the hub."""
    for name in recipe.report_to or ():
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"`report_to: {name}` needs the package {name}: run pip install {name}")
    if recipe.push_to_hub:
        from huggingface_hub import get_token

        if not get_token():
            raise UsageError("`push_to_hub` needs a token of the hub: run `hf auth login`, or set HF_TOKEN")


def _push(folder: Path, repository: str) -> None:
    """Upload the folder of a model to the hub; raises `OutputError`."""
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        url = model.push_to_hub(repository, local_model_path=str(folder), exist_ok=True)
    except Exception as error:  # the client raises many types
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise OutputError(
            f"the model is in {folder}, but not in {repository} of the hub ({reason}): repeat the command to upload it"
        ) from error
    log.info(f"the model is in {url}")


def _use_bf16(precision: str) -> bool:
    import torch

    if precision == "bf16" and torch.cuda.is_available() and not torch.cuda.is_bf16_supported():
        raise UsageError("this GPU has no bf16: leave --precision out")
    return precision == "bf16" or (
        precision == "auto" and torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    )


def _set_precision(arguments: Any) -> None:
    """Train in the precision of the recipe, whatever accelerate is configured for."""
    precision = "bf16" if arguments.bf16 else "no"
    configured = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if configured not in ("no", precision):
        log.warning(
            f"training uses {_NAMES[precision]}, the recipe's precision, not accelerate's mixed_precision {configured}"
        )
    arguments.mixed_precision = precision
