"""The plan of a study: its jobs, those that are not done, and the comparison at the end.

A loop over the jobs is enough: a workflow library such as Snakemake or Luigi would add a language or a server.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hbt_bench.errors import UsageError
from hbt_bench.files import check_writable
from hbt_bench.studies.jobs import Evaluate, StudyPaths, Train, address_of, model_of
from hbt_bench.studies.keys import GROUPS
from hbt_bench.studies.study import Design

log = logging.getLogger(__name__)

#: The version of the test. A change repeats the comparisons, but no training and no evaluation.
_TEST = "seeds and questions, task by task, 3"


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
        return address_of([(job.train.label, job.group, job.name, job.address) for job in self.evaluations], compared)

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
    chosen = models_named(plans, only)
    waiting = {address: jobs for address, jobs in waiting_by_model(plans).items() if address in chosen}
    total, number = sum(map(len, waiting.values())), 0
    for jobs in waiting.values():
        train = model_of(jobs[0])
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


def models_named(plans: Iterable[StudyPlan], starts: Iterable[str]) -> set[str]:
    """Return the addresses of models, each with a job whose address begins with one of `starts`; all without `starts`.

    Raises `UsageError` if a start fits no model or several.
    """
    jobs = {job.address: model_of(job).address for plan in plans for job in plan.jobs}
    chosen = set()
    for start in starts:
        models = {model for address, model in jobs.items() if address.startswith(start)}
        if len(models) != 1:
            problem = f"jobs of {len(models)} models have addresses" if models else "there are no addresses"
            raise UsageError(f"{problem} that begin with '{start}': take an address that --dry-run lists")
        chosen |= models
    return chosen or set(jobs.values())


def _scratch(train: Train) -> Path:
    """Return the folder of results that are not kept."""
    return train.folder.with_name(f"{train.address}-results")
