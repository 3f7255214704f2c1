"""The jobs of a study in the order of their dependence: train, evaluate, compare.

Every job has an address, a hash of all that it depends on, under which its output lies. So what is there is not done
again, a changed strategy redoes its own jobs only, and studies with the same recipe share the model. Training and
evaluation continue by themselves when they were killed; what is left is a loop over three kinds of jobs, for which a
workflow library (Snakemake, doit, Luigi, Dagster) would add a language or a server and take nothing away.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hbt_bench.data import cldr
from hbt_bench.errors import OutputError
from hbt_bench.files import check_writable, write_text
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.results.result import Result
from hbt_bench.studies import cost
from hbt_bench.studies.design import GROUPS, Design, Group, StudySystem
from hbt_bench.tasks.registry import Selection
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.run import RECIPE_FILE, Training
from hbt_bench.training.sources import FileData

Say = Callable[[str], object]


@dataclass(frozen=True)
class Train:
    """One model: an init trained with a strategy from one seed."""

    system: StudySystem
    recipe: Recipe
    place: StudyPaths

    @cached_property
    def address(self) -> str:
        """The hash of the recipe, and of the data where they are files or made here."""
        return _hash(self.recipe.digest, self.place.drop_overlap, [self.place.data(spec) for spec in self._sources])

    @property
    def _sources(self) -> Sequence[Any]:
        return (*self.recipe.data, *(self.recipe.instruction.data if self.recipe.instruction else ()))

    @property
    def folder(self) -> Path:
        """Where the model is, or will be."""
        return self.place.output / "models" / self.address

    @property
    def done(self) -> bool:
        """Whether the model is there, complete."""
        return (self.folder / RECIPE_FILE).is_file()

    @property
    def about(self) -> dict[str, Any]:
        """What the model says of its training; raises `OutputError` when it is damaged."""
        return _read(self.folder / RECIPE_FILE)

    @property
    def label(self) -> str:
        """For plans and messages."""
        return f"{self.system.strategy}, {self.system.init}, seed {self.recipe.seed}"

    def run(self, say: Say, bars: Any) -> None:
        """Train, or continue."""
        progress = {"progress": bars.train} if bars else {}
        Training(
            self.recipe, self.folder, self.place.folders, drop_overlap=self.place.drop_overlap, say=say, **progress
        ).run()


@dataclass(frozen=True)
class Evaluate:
    """One model on one collection, in all modes that the study asks for, or on one task of MTEB's own."""

    train: Train
    group: Group
    name: str
    selection: Selection

    @cached_property
    def address(self) -> str:
        """The hash of the model's address and of the definition of the task."""
        spec = self.selection.spec
        task = [spec.model_dump_json(), spec.name, *self.selection.modes] if spec else [self.selection.stock]
        return _hash(self.train.address, task, version("hbt-bench"))

    @property
    def path(self) -> Path:
        """The record that is written when all results are there."""
        return self.train.place.output / "evaluations" / f"{self.address}.json"

    @property
    def done(self) -> bool:
        """Whether the results are there."""
        if not self.path.is_file():
            return False
        try:
            return all((self.train.place.output / one).is_file() for one in _read(self.path)["results"])
        except OutputError:
            return False

    @property
    def results(self) -> list[Result]:
        """The results, one a mode."""
        return [Result.read(self.train.place.output / path) for path in _read(self.path)["results"]]

    @property
    def label(self) -> str:
        """For plans and messages."""
        return f"{short(self.name)}: {self.train.label}"

    def run(self, say: Say, bars: Any) -> None:
        """Evaluate what is missing."""
        output, started = self.train.place.output, time.monotonic()
        progress = {"progress": bars.update} if bars else {}
        results = Evaluation(
            ModelRequest(str(self.train.folder)),
            [self.selection],
            output / "results",
            data_dir=self.train.place.data_dir,
            batch_size=128,
            say=say,
            **progress,
        ).run()
        about = {
            "task": self.name,
            "results": [result.path.relative_to(output).as_posix() for result in results],
            "seconds": round(time.monotonic() - started, 1),
        }
        write_text(self.path, json.dumps(about, indent=2) + "\n")


@dataclass(frozen=True)
class StudyPaths:
    """Where a study's outputs lie, and where it looks for data: `folders` for training, `data_dir` for tasks."""

    output: Path
    folders: tuple[Path, ...] = (Path(),)
    data_dir: Path | None = None
    drop_overlap: bool = False

    def data(self, spec: Any) -> str:
        """What tells the content of a source from another under the same name; data of the hub have a revision."""
        if isinstance(spec, FileData):
            path = next((folder / spec.path for folder in self.folders if (folder / spec.path).is_file()), None)
            return _file_hash(path.resolve(), path.stat().st_mtime_ns) if path else "missing"
        return cldr.cldr_version() if spec.kind == cldr.NAME else ""


@dataclass(frozen=True)
class StudyPlan:
    """All jobs of a study at one scale; running it again does what is left."""

    design: Design
    place: StudyPaths
    say: Say = field(default=lambda message: None, compare=False)

    @cached_property
    def trainings(self) -> tuple[Train, ...]:
        """One for each system and seed."""
        design = self.design
        return tuple(
            Train(system, design.recipe(system, seed), self.place) for system in design.systems for seed in design.seeds
        )

    @cached_property
    def evaluations(self) -> tuple[Evaluate, ...]:
        """One for each model and task."""
        tasks = [(group, *one) for group in GROUPS for one in self.design.selections(group)]
        return tuple(Evaluate(train, *task) for train in self.trainings for task in tasks)

    @property
    def jobs(self) -> Iterator[Train | Evaluate]:
        """In an order in which each finds what it needs: a model, then its evaluations."""
        for train in self.trainings:
            yield train
            yield from (one for one in self.evaluations if one.train is train)

    @cached_property
    def address(self) -> str:
        """Of the comparison: the hash of all evaluations and of what is compared."""
        design = self.design
        compared = [design.answer.model_dump_json(), design.sweep.model_dump_json() if design.sweep else ""]
        return _hash([(one.train.label, one.group, one.name, one.address) for one in self.evaluations], compared)

    @property
    def comparison(self) -> Path:
        """Where the comparison is, or will be."""
        return self.place.output / "comparisons" / f"{self.address}.json"

    def run(self, bars: Any = None) -> Path:
        """Do every job that is not done and return the comparison's file.

        Raises the errors of `hbt_bench.errors`; what was done stays done.
        """
        from hbt_bench.studies.study_result import StudyResult

        check_writable(self.place.output)
        left = [job for job in self.jobs if not job.done]
        for number, job in enumerate(left, 1):
            if job.done:  # two systems may be the same model
                continue
            self.say(f"[{number}/{len(left)}] {type(job).__name__.lower()} {job.label}")
            job.run(self.say, bars)
        if not self.comparison.is_file():
            write_text(self.comparison, StudyResult.of(self).as_json())
        return self.comparison

    def estimates(self) -> list[tuple[Train | Evaluate, float | None]]:
        """Each job with its estimated seconds: 0 where it is done, None where nothing is known of its cost."""
        seen: set[str] = set()
        found: list[tuple[Train | Evaluate, float | None]] = []
        for job in self.jobs:
            done = job.done or job.address in seen
            seen.add(job.address)
            if done:
                found.append((job, 0.0))
            elif isinstance(job, Train):
                found.append((job, cost.training(job.recipe)))
            else:
                found.append((job, cost.evaluation(job.train.recipe, job.selection)))
        return found


def short(task: str) -> str:
    """A task's name without its list of languages, which the table of languages has."""
    name, bracket, rest = task.partition("[")
    inside, _, shift = rest.partition("]")
    sizes = ">".join(str(part.count(",") + 1) for part in inside.split(">")) if bracket else ""
    return f"{name}[{sizes} languages]{shift}" if bracket else task


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@cache
def _file_hash(path: Path, changed: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        return found
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot read {path}: delete it and run the study again") from error
