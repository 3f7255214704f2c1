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
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hbt_bench.errors import OutputError
from hbt_bench.files import check_writable, write_text
from hbt_bench.identity.checkpoint import RECIPE_FILE
from hbt_bench.identity.task_name import TaskName
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.results.result import Result
from hbt_bench.studies.study import GROUPS, Design, StudySystem
from hbt_bench.tasks.registry import Selection
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.run import Training

log = logging.getLogger(__name__)

#: The version of the test. A change repeats the comparisons, but no training and no evaluation.
_TEST = "seeds and questions, 2"
# Rates for rough estimates of time, measured on a processor core or calculated for a GPU.
#: Seconds per training pair of a static:64 init with 4,000 subwords on a core, and its weights. The time grows with
#: the square root of the weights.
_PAIR_SECONDS, _PAIR_WEIGHTS = 1.3e-4, 4000 * 64
#: Seconds per text to encode and rank it with a static init, and seconds to start an evaluation.
_TEXT_SECONDS, _EVALUATION_SECONDS = 3e-4, 0.3
#: Seconds to start a training, and for each source of text to read it, compare it with the guarded collections and
#: learn its subwords.
_START_SECONDS, _SOURCE_SECONDS = 1.0, 1.0
#: Floating-point operations per second of a core in the matrix products of a small transformer.
_CORE_OPERATIONS = 2e10
#: Training pairs per second, and encoded texts per second, of a base-sized transformer on an A100 in bf16: 6 operations
#: per weight and token for training, 2 for encoding, 86 million weights without the embeddings, 2 x 128 tokens, 40 % of
#: 312 TFLOPS.
_GPU_PAIRS, _GPU_TEXTS = 900.0, 5000.0
#: Tokens of an average text.
_TOKENS = 60


@dataclass(frozen=True)
class StudyPaths:
    """The output folder of studies, and the data folders: `folders` for training, `data_dir` for tasks."""

    output: Path
    folders: tuple[Path, ...] = (Path(),)
    data_dir: Path | None = None
    drop_overlap: bool = False


@dataclass(frozen=True)
class Train:
    """The job that trains a model: an init with a strategy and a seed."""

    system: StudySystem
    recipe: Recipe
    paths: StudyPaths

    @cached_property
    def address(self) -> str:
        """A hash of the recipe and of its local data."""
        sources = (*self.recipe.data, *(self.recipe.instruction.data if self.recipe.instruction else ()))
        versions = [spec.version(self.paths.folders) for spec in sources]
        return _hash(self.recipe.digest, self.paths.drop_overlap, versions)

    @property
    def folder(self) -> Path:
        """The folder of the model."""
        return self.paths.output / "models" / self.address

    @property
    def done(self) -> bool:
        """Whether the model is complete."""
        return (self.folder / RECIPE_FILE).is_file()

    @property
    def facts(self) -> dict[str, Any]:
        """The facts about the training that lie next to the model; raises `OutputError` if they are damaged."""
        return _read_json(self.folder / RECIPE_FILE)

    @property
    def label(self) -> str:
        """A short description for tables and messages."""
        return f"{self.system.strategy}, {self.system.init}, seed {self.recipe.seed}"

    @property
    def estimated_seconds(self) -> float:
        """The estimated time, on a core for static: and tiny: inits, on an A100 for others."""
        recipe, (kind, _, size) = self.recipe, self.recipe.init.partition(":")
        pairs = recipe.steps * recipe.batch_size
        start = _START_SECONDS + _SOURCE_SECONDS * sum(spec.kind != "cldr-facts" for spec in recipe.data)
        if kind == "static":
            return start + pairs * _PAIR_SECONDS * math.sqrt(recipe.vocabulary * int(size) / _PAIR_WEIGHTS)
        if kind == "tiny":
            return start + pairs * 3 * _tiny_seconds(size)  # a backward pass costs twice a forward pass
        return start + pairs / _GPU_PAIRS

    def run(self) -> None:
        """Train the model, or resume its training."""
        Training(self.recipe, self.folder, self.paths.folders, drop_overlap=self.paths.drop_overlap).run()


@dataclass(frozen=True)
class Evaluate:
    """The job that evaluates a model on a collection, in all modes of the study, or on a task of MTEB's own."""

    train: Train
    group: str
    name: str
    selection: Selection

    @cached_property
    def address(self) -> str:
        """A hash of the model's address and of the definition of the task."""
        spec = self.selection.spec
        task = [spec.model_dump_json(), spec.name, *self.selection.modes] if spec else [self.selection.stock]
        return _hash(self.train.address, task, version("hbt-bench"))

    @property
    def path(self) -> Path:
        """The file that lists the results, written after all of them."""
        return self.train.paths.output / "evaluations" / f"{self.address}.json"

    @property
    def done(self) -> bool:
        """Whether all results exist."""
        if not self.path.is_file():
            return False
        try:
            return all((self.train.paths.output / path).is_file() for path in _read_json(self.path)["results"])
        except OutputError:
            return False

    @property
    def results(self) -> list[Result]:
        """The result of each mode."""
        return [Result.read(self.train.paths.output / path) for path in _read_json(self.path)["results"]]

    @property
    def label(self) -> str:
        """A short description for tables and messages."""
        return f"{short_name(self.name)}: {self.train.label}"

    @property
    def estimated_seconds(self) -> float | None:
        """The estimated time, None if the definition of the task has no counts of texts."""
        spec, (kind, _, size) = self.selection.spec, self.train.recipe.init.partition(":")
        if spec is None or spec.expect is None:
            return None
        codes = set(spec.select(None))
        counts = (*spec.expect.queries.items(), *spec.expect.documents.items())
        texts = sum(count for code, count in counts if code in codes)
        if kind == "static":
            return _EVALUATION_SECONDS + texts * _TEXT_SECONDS
        if kind == "tiny":
            return _EVALUATION_SECONDS + texts * _tiny_seconds(size)
        return 10.0 + texts / _GPU_TEXTS

    def run(self) -> None:
        """Evaluate the modes that have no result yet."""
        output, started = self.train.paths.output, time.monotonic()
        results = Evaluation(
            ModelRequest(str(self.train.folder)),
            [self.selection],
            output / "results",
            data_dir=self.train.paths.data_dir,
            batch_size=128,
        ).run()
        summary = {
            "task": self.name,
            "results": [result.path.relative_to(output).as_posix() for result in results],
            "seconds": round(time.monotonic() - started, 1),
        }
        write_text(self.path, json.dumps(summary, indent=2) + "\n")


@dataclass(frozen=True)
class StudyPlan:
    """All jobs of a study at a scale.

    For example, ``StudyPlan(find_study("ood-low-resource").at("smoke"), StudyPaths(Path("runs")))``.
    """

    design: Design
    paths: StudyPaths

    @cached_property
    def trainings(self) -> tuple[Train, ...]:
        """A job for each system and seed."""
        design, seeds = self.design, self.design.study.seeds
        return tuple(
            Train(system, design.recipe(system, seed), self.paths) for system in design.systems for seed in seeds
        )

    @cached_property
    def evaluations(self) -> tuple[Evaluate, ...]:
        """A job for each model and task."""
        tasks = [(group, *task) for group in GROUPS for task in self.design.selections(group)]
        return tuple(Evaluate(train, *task) for train in self.trainings for task in tasks)

    @property
    def jobs(self) -> Iterator[Train | Evaluate]:
        """Each training, followed by the evaluations of its model."""
        for train in self.trainings:
            yield train
            yield from (job for job in self.evaluations if job.train is train)

    @cached_property
    def address(self) -> str:
        """The address of the comparison: a hash of all evaluations, the test, the answer, curve and contrasts."""
        study = self.design.study
        compared = [_TEST, study.answer.model_dump_json(), study.sweep.model_dump_json() if study.sweep else ""]
        compared += [contrast.model_dump_json() for contrast in study.contrasts]
        return _hash([(job.train.label, job.group, job.name, job.address) for job in self.evaluations], compared)

    @property
    def comparison(self) -> Path:
        """The file of the comparison, which `study_result.run_study` writes."""
        return self.paths.output / "comparisons" / f"{self.address}.json"

    def run(self) -> None:
        """Run every job that is not done. Raises the errors of `hbt_bench.errors`; finished jobs stay done."""
        check_writable(self.paths.output)
        waiting = self._waiting()
        for number, job in enumerate(waiting, 1):
            log.info(f"[{number}/{len(waiting)}] {type(job).__name__.lower()} {job.label}")
            job.run()

    def estimates(self) -> list[tuple[Train | Evaluate, float | None]]:
        """Return each job with its estimated seconds: 0 if it is done, None if its cost is unknown."""
        waiting = {id(job) for job in self._waiting()}
        return [(job, job.estimated_seconds if id(job) in waiting else 0.0) for job in self.jobs]

    def _waiting(self) -> list[Train | Evaluate]:
        """Return the jobs that are not done, without those that share the output of an earlier job."""
        waiting: dict[str, Train | Evaluate] = {}
        for job in self.jobs:
            if not job.done:
                waiting.setdefault(job.address, job)
        return list(waiting.values())


def _tiny_seconds(size: str) -> float:
    """Return the seconds of a forward pass over two texts.

    A layer has 12 d^2 weights, with 2 operations per weight and token.
    """
    layers, width = (int(number) for number in size.split("x"))
    return 2 * 2 * 12 * layers * width**2 * _TOKENS / _CORE_OPERATIONS


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
