"""The jobs of a study: train each model, then evaluate it on each task.

Each job has an address, a hash of everything that its output depends on, and writes to a path with that address. So a
finished job is not repeated, a changed strategy repeats its own jobs only, and studies with equal recipes share models.
Training and evaluation resume by themselves after a kill. A loop over the jobs is enough: a workflow library such as
Snakemake or Luigi would add a language or a server.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hbt_bench.errors import OutputError, UsageError
from hbt_bench.files import check_writable
from hbt_bench.identity.checkpoint import RECIPE_FILE
from hbt_bench.identity.signature import scores_version
from hbt_bench.identity.task_name import TaskName
from hbt_bench.mteb.corrected_model import Correction
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.studies.estimates import evaluation_seconds, text_count, training_seconds
from hbt_bench.studies.keys import GROUPS
from hbt_bench.studies.study import Design, study_registry
from hbt_bench.studies.system import UNTOUCHED, StudySystem
from hbt_bench.studies.values import TaskValues
from hbt_bench.tasks.registry import Selection
from hbt_bench.training.inits import revision as init_revision
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.run import Training

log = logging.getLogger(__name__)

#: The version of the test. A change repeats the comparisons, but no training and no evaluation.
_TEST = "seeds and questions, task by task, 3"


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
            return _hash(UNTOUCHED, recipe.init, recipe.longest)
        sources = (*recipe.data, *(recipe.instruction.data if recipe.instruction else ()))
        versions = [spec.version(self.paths.folders) for spec in sources]
        return _hash(recipe.digest, self.paths.drop_overlap, versions)

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
        return _hash(self.train.address, task, scores_version(version("hbt-bench")), *corrected)

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


@dataclass(frozen=True)
class StudyPlan:
    """All jobs of a study at a scale.

    For example, ``StudyPlan(find_study("ood-low-resource").at("smoke"), StudyPaths(Path("runs")))``.
    """

    design: Design
    paths: StudyPaths

    @cached_property
    def trainings(self) -> tuple[Train, ...]:
        """A job for each system and seed, and for each language that has its own model; one for an untouched init."""
        design, seeds = self.design, self.design.study.seeds
        return tuple(
            Train(system, design.recipe(system, seed, language), self.paths, language)
            for system in design.systems
            for seed in (seeds if system.trained else seeds[:1])
            for language in system.each or ("",)
        )

    @cached_property
    def evaluations(self) -> tuple[Evaluate, ...]:
        """A job for each model and task. A correction needs languages of texts, which MTEB's own tasks do not give."""
        tasks = [(group, *task) for group in GROUPS for task in self.design.selections(group)]
        return tuple(
            Evaluate(train, *task)
            for train in self.trainings
            for task in tasks
            if task[2].spec or not train.system.correct
        )

    @cached_property
    def by_model(self) -> tuple[tuple[Train, tuple[Evaluate, ...]], ...]:
        """Each training with the evaluations of its model."""
        return tuple((train, tuple(job for job in self.evaluations if job.train is train)) for train in self.trainings)

    @property
    def jobs(self) -> Iterator[Train | Evaluate]:
        """Each training, followed by the evaluations of its model."""
        for train, evaluations in self.by_model:
            if train.system.trained:
                yield train
            yield from evaluations

    @cached_property
    def address(self) -> str:
        """The address of the comparison: a hash of all evaluations, the test, the answer, curve and contrasts."""
        study = self.design.study
        compared = [
            _TEST,
            study.answer.model_dump_json(),
            str(study.comparable),
            study.sweep.model_dump_json() if study.sweep else "",
        ]
        compared += [contrast.model_dump_json() for contrast in study.contrasts]
        return _hash([(job.train.label, job.group, job.name, job.address) for job in self.evaluations], compared)

    @property
    def comparison(self) -> Path:
        """The file of the comparison, which `study_result.run_study` writes."""
        return self.paths.output / "comparisons" / f"{self.address}.json"

    def run(self) -> None:
        """Run every job that is not done. Raises the errors of `hbt_bench.errors`; finished jobs stay done."""
        run_jobs([self])

    def estimates(self) -> list[tuple[Train | Evaluate, float | None]]:
        """Return each job with its estimated seconds: 0 if it is done, None if its cost is unknown."""
        waiting = {id(job) for job in self._waiting()}
        return [(job, job.estimated_seconds if id(job) in waiting else 0.0) for job in self.jobs]

    def _waiting(self) -> list[Train | Evaluate]:
        return [job for jobs in waiting_by_model([self]).values() for job in jobs]


def waiting_by_model(plans: Iterable[StudyPlan]) -> dict[str, list[Train | Evaluate]]:
    """Return the jobs that are not done by the address of their model, each output once.

    A model whose evaluations are all there is not trained again.
    """
    waiting: dict[str, dict[str, Train | Evaluate]] = {}
    for train, evaluations in (group for plan in plans for group in plan.by_model):
        missing = [job for job in evaluations if not job.done]
        jobs = waiting.setdefault(train.address, {})
        if missing and not train.done:
            jobs.setdefault(train.address, train)
        for job in missing:
            jobs.setdefault(job.address, job)
    return {address: list(jobs.values()) for address, jobs in waiting.items() if jobs}


def run_jobs(plans: Sequence[StudyPlan], only: Sequence[str] = (), *, compact: bool = False) -> None:
    """Run the jobs of studies that are not done, model by model, so that the tasks of a model share its vectors.

    `only` has addresses of jobs, or their starts, to share the work among machines: all jobs of their models are run.
    With `compact`, weights and ranks are deleted once a model's evaluations are there. Raises `UsageError` if a start
    fits no model or several, and the errors of `hbt_bench.errors`; finished jobs stay done.
    """
    for plan in plans:
        check_writable(plan.paths.output)
        for init in plan.design.study.inits:
            if not (":" in init or "/" in init or Path(init).is_dir()):
                raise UsageError(
                    f"there is no folder {init} with the init of the study: make it, or name another: --init"
                )
    chosen = {_model_address(plans, start) for start in only}
    waiting = {address: jobs for address, jobs in waiting_by_model(plans).items() if not only or address in chosen}
    total, number = sum(map(len, waiting.values())), 0
    for jobs in waiting.values():
        train = _model(jobs[0])
        for job in jobs:
            number += 1
            log.info(f"[{number}/{total}] {type(job).__name__.lower()} {job.label}")
            if isinstance(job, Train):
                job.run()
            else:
                job.run(_scratch(train) if compact else train.paths.output / "results", last=job is jobs[-1])
        if compact:
            shutil.rmtree(_scratch(train), ignore_errors=True)
            if train.system.trained:
                shutil.rmtree(train.folder, ignore_errors=True)


def _model_address(plans: Iterable[StudyPlan], start: str) -> str:
    """Return the address of the model that has a job whose address begins with `start`."""
    found = {_model(job).address for plan in plans for job in plan.jobs if job.address.startswith(start)}
    if len(found) != 1:
        problem = f"jobs of {len(found)} models have addresses" if found else "there are no addresses"
        raise UsageError(f"{problem} that begin with '{start}': take an address that --dry-run lists")
    return found.pop()


def _scratch(train: Train) -> Path:
    """Return the folder of results that are not kept."""
    return train.folder.with_name(f"{train.address}-results")


def _model(job: Train | Evaluate) -> Train:
    return job if isinstance(job, Train) else job.train


def _init(init: str) -> str:
    """Return the init as name and hash of its files if it is a folder, so that its place does not matter."""
    return f"{Path(init).name}@{init_revision(init)}" if Path(init).is_dir() else init


def short_name(task: str) -> str:
    """Return a task name with its languages counted: ``x[de,en]`` becomes ``x[2 languages]``."""
    return TaskName.parse(task).counted(" languages")


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot read {path}: delete it and run the study again") from error
    return content
