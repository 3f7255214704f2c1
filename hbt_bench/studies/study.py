"""A study as its file has it: a question, the strategies that are compared, on what, and at three scales."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from hbt_bench.errors import DataError, UsageError, did_you_mean
from hbt_bench.studies.design import Answer, Design, MistakeError, Scale, Strict, Sweep, Tasks
from hbt_bench.yaml_file import YamlFile

SCALES: tuple[Scale, ...] = ("smoke", "small", "paper")

_PACKAGE = Path(__file__).resolve().parent
#: In a wheel the studies lie inside the package, in a checkout beside it.
_FOLDERS = (_PACKAGE / "definitions", _PACKAGE.parent.parent / "studies")


class Block(Strict):
    """What a scale may say otherwise than the study: mappings are merged key by key, other values replaced."""

    inits: tuple[str, ...] | None = None
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] | None = None
    recipe: dict[str, Any] = Field(default_factory=dict)
    strategies: dict[str, dict[str, Any]] = Field(default_factory=dict)
    tasks: Tasks | None = None
    sweep: Sweep | None = None
    answer: Answer | None = None
    drop_overlap: bool | None = None
    limits: str | None = None


class Study(Strict):
    """One study: what its file has, valid as a whole at each scale (`read` checks all of them)."""

    name: str
    title: str
    question: str
    inits: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    recipe: dict[str, Any] = Field(default_factory=dict)
    strategies: dict[str, dict[str, Any]] = Field(min_length=2)
    tasks: Tasks | None = None
    sweep: Sweep | None = None
    answer: Answer
    drop_overlap: bool = False
    limits: str = ""
    scales: dict[Scale, Block]

    @model_validator(mode="after")
    def _has_all_scales(self) -> Self:
        missing = [scale for scale in SCALES if scale not in self.scales]
        if missing:
            raise ValueError(f"the scale '{missing[0]}' is missing in scales")
        return self

    @classmethod
    def read(cls, path: Path) -> Study:
        """Read a file and check it at every scale; raises `DataError` with line and column."""
        document = YamlFile.read(path)
        try:
            study = cls.model_validate(document.content)
        except ValidationError as error:
            raise document.invalid(error, cls) from error
        if study.name != path.stem:
            raise document.error(["name"], f"the name is '{study.name}': it must be '{path.stem}', like the file's")
        for scale in SCALES:
            try:
                study.at(scale)
            except MistakeError as problem:
                place = (
                    problem.place if problem.in_study(document.content, scale) else ("scales", scale, *problem.place)
                )
                raise document.error(place, f"at the scale {scale}: {problem}") from problem
        return study

    def at(self, scale: Scale) -> Design:
        """The study at one scale."""
        block = self.scales[scale]
        strategies = {
            name: {**changes, **block.strategies.get(name, {})} for name, changes in self.strategies.items()
        } | {name: changes for name, changes in block.strategies.items() if name not in self.strategies}
        tasks = block.tasks or self.tasks
        inits, seeds = block.inits or self.inits, block.seeds or self.seeds
        if tasks is None or not (tasks.in_domain or tasks.out_of_domain):
            raise MistakeError(("tasks",), "there are no tasks: give in-domain or out-of-domain ones")
        if not inits:
            raise MistakeError(("inits",), "there is no init: give one as in static:64 or a hub name")
        if len(set(seeds)) < 2:
            raise MistakeError(("seeds",), "a test over seeds needs two of them at least")
        drop = self.drop_overlap if block.drop_overlap is None else block.drop_overlap
        design = Design(
            self,
            scale,
            inits,
            seeds,
            {**self.recipe, **block.recipe},
            strategies,
            tasks,
            block.sweep or self.sweep,
            block.answer or self.answer,
            drop,
            block.limits or self.limits,
        )
        design.check()
        return design


def names() -> tuple[str, ...]:
    """The studies that ship."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def find(name: str) -> Study:
    """A study by its name, or by the path of its file; raises `UsageError` for an unknown one."""
    if name.endswith((".yaml", ".yml")):
        return Study.read(Path(name))
    if name not in names():
        raise UsageError(
            f"unknown study '{name}'{did_you_mean(name, names()) or ' (there are ' + ', '.join(names()) + ')'}"
        )
    return Study.read(_folder() / f"{name}.yaml")


def _folder() -> Path:
    found = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    if found is None:
        raise DataError("the studies are missing from this installation: install hbt-bench again")
    return found
