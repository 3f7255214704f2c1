"""One training run: a recipe in, a sentence-transformers model out; what a killed run had done is not done again."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbt_bench.data.collection import Collection
from hbt_bench.distributed import is_first, world_size
from hbt_bench.errors import OutputError, UsageError
from hbt_bench.files import check_writable, write_text
from hbt_bench.tasks.registry import TaskRegistry
from hbt_bench.training import card, models
from hbt_bench.training.checkpoints import last_complete
from hbt_bench.training.data import TrainingData, dev_collection
from hbt_bench.training.recipe import DEV_MEASURES, Recipe
from hbt_bench.training.run_folder import claimed, remove_model, writing

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from hbt_bench.training.trainer import PlanTrainer, Rows

log = logging.getLogger(__name__)

#: What a model was trained from, beside its weights; written last, so a model that has it is complete.
RECIPE_FILE = "hbt_bench_recipe.json"
_CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class Training:
    """A run of `recipe` into the folder `output`, its data looked for in `folders`."""

    recipe: Recipe
    output: Path
    folders: Sequence[Path] = (Path(),)
    drop_overlap: bool = False
    resume: bool = True
    overwrite: bool = False

    def run(self) -> Path:
        """Train and return `output`; a complete model of the same recipe is returned as it is.

        Everything that can be checked without the model is checked first. Raises the errors of `hbt_bench.errors`.
        """
        models.check(self.recipe.init)
        check_writable(self.output)
        if self._is_done() and world_size() == 1:  # several processes must find the same, and look together later
            return self._found()
        if self.recipe.batch_size % (world_size() * self.recipe.accumulation):
            raise UsageError(
                f"a batch of {self.recipe.batch_size} cannot be shared out evenly to {world_size()} processes of "
                f"{self.recipe.accumulation} parts: change --batch-size"
            )
        registry = TaskRegistry()
        material = TrainingData.load(self.recipe, self.folders, drop_overlap=self.drop_overlap, registry=registry)
        if self.recipe.loss == "paper":
            for supply in material.plan.sources:
                if not supply.source.negatives.shape[2]:
                    raise UsageError(f"the loss `paper` needs hard negatives, and {supply.source.name} has none")
        dev = dev_collection(self.recipe, self.folders, registry)
        with writing(self.output), claimed(self.output):
            return self._train(material, dev)

    def _found(self) -> Path:
        log.info(f"{self.output} has this model already")
        return self.output

    def _is_done(self) -> bool:
        """Whether the model is there; raises `UsageError` when it is another one's place."""
        path = self.output / RECIPE_FILE
        if self.overwrite or not path.is_file():
            return False
        try:
            known = json.loads(path.read_bytes())
            other = {key for key, value in self.recipe.resolved().items() if known["recipe"].get(key) != value}
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise OutputError(f"{path} is damaged: train again with --overwrite") from error
        other -= {"name", "workers"}
        if other:
            raise UsageError(
                f"{self.output} has a model of another recipe (it differs in {', '.join(sorted(other))}): choose "
                "another --output, or --overwrite"
            )
        return True

    def _start(self, identity: str) -> tuple[bool, Path | None]:
        """Whether the model is there by now, and the checkpoint to continue from; others are removed."""
        if self._is_done():
            self._found()
            return True, None
        checkpoints = self.output / _CHECKPOINTS
        if self.overwrite or not self.resume:
            shutil.rmtree(checkpoints, ignore_errors=True)
        newest, useless = last_complete(checkpoints, identity)
        for path in useless:
            log.warning(f"{path.name} is unfinished or damaged: it is not continued from")
            shutil.rmtree(path)
        if newest is not None:
            log.info(f"continuing from {newest.name}")
        return False, newest

    def _train(self, material: TrainingData, dev: Collection | None) -> Path:
        from accelerate.utils import broadcast_object_list, wait_for_everyone  # type: ignore[import-untyped]
        from transformers.utils import logging as transformers_logging

        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        identity = f"{material.plan.fingerprint} {self.recipe.digest}"
        found = self._start(identity) if is_first() else None  # the others wait for it as soon as they are joined
        arguments = self._arguments()
        done, newest = broadcast_object_list([found])[0]
        if not done:
            self._fit(material, dev, arguments, identity, newest)
        wait_for_everyone()
        return self.output

    def _fit(
        self, material: TrainingData, dev: Collection | None, arguments: Any, identity: str, newest: Path | None
    ) -> None:
        """Train, from the checkpoint `newest` on, and write the model."""
        from transformers import set_seed

        started = time.monotonic()
        set_seed(self.recipe.seed)
        model = models.load(self.recipe, _texts(material))
        if self.recipe.matryoshka and max(self.recipe.matryoshka) > (model.get_embedding_dimension() or 0):
            raise UsageError(f"`matryoshka` goes up to the model's {model.get_embedding_dimension()} dimensions")
        trainer = self._trainer(model, material, dev, arguments, identity)
        trainer.train(resume_from_checkpoint=str(newest) if newest else None)
        if is_first():
            state = trainer.state
            done, kept = state.global_step, state.best_global_step or state.global_step
            about = card.about(self.recipe, material, done, kept, time.monotonic() - started, state.log_history)
            self._save(model, about)

    def _arguments(self) -> Any:
        """The trainer's arguments; making them joins the processes that were started together."""
        import torch
        from sentence_transformers import SentenceTransformerTrainingArguments

        from hbt_bench.training.trainer import leave_at_exit

        recipe, processes = self.recipe, world_size()
        looks = recipe.dev is not None or bool(recipe.dev_share)
        # given only where it is asked for: its name changes with transformers' next major release
        less_memory: dict[str, Any] = {"gradient_checkpointing": True} if recipe.gradient_checkpointing else {}
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(self.output / "runs")
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(self.output / _CHECKPOINTS),
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
            report_to=["tensorboard"] if _installed("tensorboard") else [],
            save_strategy="steps",
            save_steps=min(recipe.save_steps, recipe.steps),
            save_total_limit=2,
            eval_strategy="steps" if looks else "no",
            eval_steps=min(recipe.dev_every, recipe.steps) if looks else None,
            restore_callback_states_from_checkpoint=True,  # how long early stopping has waited
            load_best_model_at_end=looks,
            metric_for_best_model=f"eval_{recipe.dev_measure}" if looks else None,
            greater_is_better=DEV_MEASURES[recipe.dev_measure] if looks else None,
            disable_tqdm=True,
            **less_memory,
            # on the processor, processes find one another only when they are told that it is the device
            use_cpu=not torch.accelerator.is_available(),
            ddp_timeout=172_800,  # one may look at the development data, or wait for another run, while others wait
            ddp_backend="gloo" if processes > 1 and not torch.accelerator.is_available() else None,
        )
        if processes > 1:
            leave_at_exit()
        if arguments.n_gpu > 1:
            log.warning(f"one of {arguments.n_gpu} GPUs is used: start with torchrun or accelerate launch to use all")
            arguments._n_gpu = 1  # else every step would have as many batches of the plan
        return arguments

    def _trainer(
        self, model: SentenceTransformer, material: TrainingData, dev: Collection | None, arguments: Any, identity: str
    ) -> PlanTrainer:
        from transformers import EarlyStoppingCallback
        from transformers.trainer_callback import PrinterCallback

        from hbt_bench.training import losses
        from hbt_bench.training.trainer import Bar, PlanTrainer, Watch

        loss = losses.build(self.recipe, model, gather=world_size() > 1)
        watch = Watch(identity)
        callbacks = [watch, Bar(material.plan)]
        if self.recipe.patience:
            callbacks.append(EarlyStoppingCallback(self.recipe.patience))
        trainer = PlanTrainer(
            rows=self._rows(material.plan),
            model=model,
            args=arguments,
            loss=loss,
            evaluator=self._evaluator(model, material, dev),
            callbacks=callbacks,
        )
        trainer.remove_callback(PrinterCallback)
        watch.trainer = trainer
        return trainer

    def _rows(self, plan: Any) -> Rows:
        from hbt_bench.training.trainer import Rows

        recipe = self.recipe
        return Rows(plan, recipe.query_prefix, recipe.passage_prefix, parallel=recipe.distillation > 0)

    def _evaluator(self, model: SentenceTransformer, material: TrainingData, dev: Collection | None) -> Any:
        from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator

        from hbt_bench.training import losses
        from hbt_bench.training.evaluators import CollectionEvaluator, LossEvaluator

        if dev is not None:
            return CollectionEvaluator(dev, self.recipe.batch_size)
        if material.held_out is None:
            return None
        loss = losses.build(self.recipe, model, gather=False)  # one process looks at the development data
        return LossEvaluator(
            self._rows(material.held_out), SentenceTransformerDataCollator(preprocess_fn=model.preprocess), loss
        )

    def _save(self, model: SentenceTransformer, about: dict[str, Any]) -> None:
        """Write the model beside, then move its files in place, the one that makes the folder complete last."""
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=self.output) as folder:
            model.save(folder, create_model_card=False)
            if (self.output / RECIPE_FILE).is_file():  # an older model's: from here on the folder is not complete
                (self.output / RECIPE_FILE).unlink()
                remove_model(self.output)
            for path in sorted(Path(folder).iterdir(), key=lambda path: path.name == "modules.json"):
                target = self.output / path.name
                if target.is_dir():
                    shutil.rmtree(target)
                path.replace(target)
        write_text(self.output / "README.md", card.readme(self.output.name, about))
        write_text(self.output / RECIPE_FILE, json.dumps(about, indent=2, ensure_ascii=False) + "\n")
        shutil.rmtree(self.output / _CHECKPOINTS, ignore_errors=True)


def _texts(material: TrainingData) -> Iterator[str]:
    """Every training text once a source, for a tokenizer."""
    for supply in material.plan.sources:
        yield from supply.source.texts


def _use_bf16(precision: str) -> bool:
    import torch

    if precision == "bf16" and torch.cuda.is_available() and not torch.cuda.is_bf16_supported():
        raise UsageError("this GPU has no bf16: leave --precision out")
    return precision == "bf16" or (
        precision == "auto" and torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    )


def _installed(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None
