"""The jobs of a study: train each model, then evaluate it on each task.

Each job has an address, a hash of everything that its output depends on, and writes to a path with that address. So a
finished job is not repeated, a changed strategy repeats its own jobs only, and studies with equal recipes share models.
Training and evaluation resume by themselves after a kill.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hbt_bench.errors import OutputError
from hbt_bench.identity.checkpoint import RECIPE_FILE
from hbt_bench.identity.signature import scores_version
from hbt_bench.identity.task_name import TaskName
from hbt_bench.mteb.corrected_model import Correction
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.studies.estimates import evaluation_seconds, text_count, training_seconds
from hbt_bench.studies.study import study_registry
from hbt_bench.studies.system import UNTOUCHED, StudySystem
from hbt_bench.studies.values import TaskValues
from hbt_bench.tasks.registry import Selection
from hbt_bench.training.inits import revision as init_revision
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.run import Training


@dataclass(frozen=True)
class StudyPaths:
    """The output folder of studies, and the data folders: `folders` for training, `data_dir` for tasks."""

    output: Path
    folders: tuple[Path, ...] = (Path(),)
    data_dir: Path | None = None
    drop_overlap: bool = False


@dataclass(frozen=True)
class Train:
    """The job that trains a model: an init with a strategy and a seed. An untouched init needs no training.

    `language` is the model's language if the system has a model for each language.
    """

    system: StudySystem
    recipe: Recipe
    paths: StudyPaths
    language: str = ""

    @cached_property
    def address(self) -> str:
        """A hash of the recipe, of the files of a local init, and of the local data; the same on every machine."""
        recipe = self.recipe.model_copy(update={"init": _init(self.recipe.init)})
        if not self.system.trained:
            return address_of(UNTOUCHED, recipe.init, recipe.longest)
        sources = (*recipe.data, *(recipe.instruction.data if recipe.instruction else ()))
        versions = [spec.version(self.paths.folders) for spec in sources]
        return address_of(recipe.digest, self.paths.drop_overlap, versions)

    @property
    def folder(self) -> Path:
        """The folder of the model."""
        return self.paths.output / "models" / self.address

    @property
    def done(self) -> bool:
        """Whether the model is complete."""
        return not self.system.trained or (self.folder / RECIPE_FILE).is_file()

    @property
    def facts(self) -> dict[str, Any]:
        """The facts about the training that a study needs; raises `OutputError` if they are damaged."""
        if not self.system.trained:
            return {}
        facts = _read_json(self.folder / RECIPE_FILE)
        within = sum(share for *_, query, passage, share in facts["shares"] if query == passage)
        kept = {key: facts[key] for key in ("steps", "pairs_seen", "seconds", "machine", "versions")}
        return kept | {"within": round(within, 6), "dropped": sum(count for *_, count in facts["dropped"])}

    @property
    def label(self) -> str:
        """A short description for tables and messages."""
        parts = (self.system.strategy, self.language, Path(self.system.init).name)
        seed = f"seed {self.recipe.seed}" if self.system.trained else ""
        return ", ".join(part for part in (*parts, seed) if part)

    @property
    def model(self) -> ModelRequest:
        """The model to evaluate. An untouched init cuts texts as the trained models do."""
        system, correction = self.system, None
        if system.correct:
            correction = Correction.parse(system.correct, system.correct_on, study_registry(), self.paths.data_dir)
        if system.trained:
            return ModelRequest(str(self.folder), correction=correction)
        return ModelRequest(system.init, max_seq_length=self.recipe.longest, correction=correction)

    @property
    def estimated_seconds(self) -> float:
        """The estimated time; see `training_seconds`."""
        return training_seconds(self.recipe) if self.system.trained else 0.0

    def run(self) -> None:
        """Train the model, or resume its training."""
        drop = self.paths.drop_overlap
        Training(self.recipe, self.folder, self.paths.folders, drop_overlap=drop, registry=study_registry()).run()


@dataclass(frozen=True)
class Evaluate:
    """The job that evaluates a model on a collection, in all modes of the study, or on a task of MTEB's own."""

    train: Train
    group: str
    name: str
    selection: Selection

    @cached_property
    def address(self) -> str:
        """A hash of the model's address, its correction, and the definition of the task."""
        spec, system = self.selection.spec, self.train.system
        keys = spec.model_dump_json(exclude_defaults=True) if spec else ""  # a new key of tasks keeps the addresses
        task = [keys, spec.name, *self.selection.modes] if spec else [self.selection.stock]
        corrected = [system.correct, system.correct_on] if system.correct else []
        return address_of(self.train.address, task, scores_version(version("hbt-bench")), *corrected)

    @property
    def path(self) -> Path:
        """The file of the values."""
        return self.train.paths.output / "evaluations" / f"{self.address}.npz"

    @property
    def done(self) -> bool:
        """Whether the values exist."""
        return self.path.is_file()

    @cached_property
    def values(self) -> TaskValues:
        """The values of the evaluation; raises `OutputError` if they are damaged."""
        return TaskValues.read(self.path)

    @property
    def label(self) -> str:
        """A short description for tables and messages."""
        return f"{short_name(self.name)}: {self.train.label}"

    @property
    def estimated_seconds(self) -> float | None:
        """The estimated time, None if the definition of the task has no counts of texts."""
        return evaluation_seconds(self.train.recipe.init, text_count(self.selection, self.name))

    def run(self, results_folder: Path, *, last: bool = True) -> None:
        """Evaluate the modes that have no result yet, and keep the values that the study needs.

        The vectors stay in the cache for other tasks of the model, unless this is its last task.
        """
        started = time.monotonic()
        results = Evaluation(
            self.train.model,
            [self.selection],
            results_folder,
            data_dir=self.train.paths.data_dir,
            batch_size=128,
            keep_embeddings=not last,
        ).run()
        collection = self.selection.spec.base if self.selection.spec else self.name
        seconds = round(time.monotonic() - started, 1)
        facts = {"model": self.train.label, "task": self.name, **self.train.facts, "evaluation_seconds": seconds}
        TaskValues.from_results(results, collection, facts).write(self.path)


def model_of(job: Train | Evaluate) -> Train:
    """Return the training of a job's model."""
    return job if isinstance(job, Train) else job.train


def _init(init: str) -> str:
    """Return the init as name and hash of its files if it is a folder, so that its place does not matter."""
    return f"{Path(init).name}@{init_revision(init)}" if Path(init).is_dir() else init


def short_name(task: str) -> str:
    """Return a task name with its languages counted: ``x[de,en]`` becomes ``x[2 languages]``."""
    return TaskName.parse(task).counted(" languages")


def address_of(*parts: Any) -> str:
    """Return a hash of values that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot read {path}: delete it and run the study again") from error
    return content
