"""The schema of study files, and a study at a scale with its recipes and tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from hbt_bench.errors import DataError, UsageError, did_you_mean
from hbt_bench.tasks.registry import Selection, TaskRegistry, shipped_folder
from hbt_bench.training.recipe import Recipe
from hbt_bench.yaml_file import StrictModel, YamlFile

Scale = Literal["smoke", "small", "paper"]
SCALES: tuple[Scale, ...] = ("smoke", "small", "paper")

Group = Literal["in-domain", "out-of-domain", "shifted"]
#: The groups of tasks, in the order of the report.
GROUPS: tuple[Group, ...] = ("in-domain", "out-of-domain", "shifted")

_PACKAGE = Path(__file__).resolve().parent
#: The shipped studies: inside the package in a wheel, next to it in a checkout.
_FOLDERS = (_PACKAGE / "definitions", _PACKAGE.parent.parent / "studies")


class Tasks(StrictModel):
    """The tasks to evaluate: in the domain of the training data, out of it, and with shifted queries."""

    in_domain: tuple[str, ...] = Field((), alias="in-domain")
    out_of_domain: tuple[str, ...] = Field((), alias="out-of-domain")
    shifted: tuple[str, ...] = ()

    def in_group(self, group: Group) -> tuple[str, ...]:
        """Return the names of the tasks of a group."""
        return {"in-domain": self.in_domain, "out-of-domain": self.out_of_domain, "shifted": self.shifted}[group]


class Sweep(StrictModel):
    """A curve over alpha: the strategies at 0 and 1, and the alphas between them, which get hybrid strategies."""

    zero: str
    one: str
    alphas: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(min_length=1)


class Answer(StrictModel):
    """The comparison that answers the question: `strategy` against each of `over`, by mean AP on a group of tasks.

    `claim` is the sentence that holds if the answer is yes.
    """

    claim: str
    strategy: str
    over: tuple[str, ...] = Field(min_length=1)
    tasks: Group = "out-of-domain"


class ScaleOverrides(StrictModel):
    """The fields that a scale overrides. Mappings are merged key by key, other values are replaced."""

    inits: tuple[str, ...] | None = None
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] | None = None
    recipe: dict[str, Any] = Field(default_factory=dict)
    strategies: dict[str, dict[str, Any]] = Field(default_factory=dict)
    tasks: Tasks | None = None
    sweep: Sweep | None = None
    answer: Answer | None = None
    drop_overlap: bool | None = None
    limits: str | None = None


class Study(StrictModel):
    """A study file: a question, the strategies to compare, the tasks to compare them on, and three scales."""

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
    scales: dict[Scale, ScaleOverrides]

    @model_validator(mode="after")
    def _has_all_scales(self) -> Self:
        missing = [scale for scale in SCALES if scale not in self.scales]
        if missing:
            raise ValueError(f"the scale '{missing[0]}' is missing in scales")
        return self

    @classmethod
    def read(cls, path: Path) -> Study:
        """Read a study file and check it at every scale; raises `DataError` with line and column."""
        file = YamlFile.read(path)
        try:
            study = cls.model_validate(file.content)
        except ValidationError as error:
            raise file.invalid(error, cls) from error
        if study.name != path.stem:
            raise file.error(["name"], f"the name is '{study.name}': it must be '{path.stem}', like the file's")
        registry = _registry()
        for scale in SCALES:
            try:
                study.at(scale, registry)
            except StudyError as error:
                keys = error.keys if error.is_in_study(file.content, scale) else ("scales", scale, *error.keys)
                raise file.error(keys, f"at the scale {scale}: {error}") from error
        return study

    def at(self, scale: Scale, registry: TaskRegistry | None = None) -> Design:
        """Return the study at a scale; raises `StudyError` if a recipe, task or name is wrong there.

        For example, ``find_study("ood-low-resource").at("small")``.
        """
        overrides = self.scales[scale]
        changed = {name: {**keys, **overrides.strategies.get(name, {})} for name, keys in self.strategies.items()}
        design = Design(
            self,
            scale,
            overrides.inits or self.inits,
            overrides.seeds or self.seeds,
            {**self.recipe, **overrides.recipe},
            {**changed, **{name: keys for name, keys in overrides.strategies.items() if name not in changed}},
            overrides.tasks or self.tasks or Tasks(),
            overrides.sweep or self.sweep,
            overrides.answer or self.answer,
            self.drop_overlap if overrides.drop_overlap is None else overrides.drop_overlap,
            overrides.limits or self.limits,
            registry or _registry(),
        )
        design.check()
        return design


@dataclass(frozen=True)
class StudySystem:
    """A system to compare: an init, trained with a strategy. `alpha` is its position on the curve, or None."""

    init: str
    strategy: str
    changes: Mapping[str, Any]
    alpha: float | None = None


@dataclass(frozen=True)
class Design:
    """A study at a scale. `base` is the recipe without the keys of the strategies."""

    study: Study
    scale: Scale
    inits: tuple[str, ...]
    seeds: tuple[int, ...]
    base: Mapping[str, Any]
    strategies: Mapping[str, Mapping[str, Any]]
    tasks: Tasks
    sweep: Sweep | None
    answer: Answer
    drop_overlap: bool
    limits: str
    registry: TaskRegistry = field(compare=False)

    @property
    def systems(self) -> tuple[StudySystem, ...]:
        """The systems of each init: its strategies in order, then the points of the curve without a strategy."""
        alphas = self._alphas
        added = [alpha for alpha in (self.sweep.alphas if self.sweep else ()) if alpha not in alphas.values()]
        systems = []
        for init in self.inits:
            systems += [StudySystem(init, name, keys, alphas.get(name)) for name, keys in self.strategies.items()]
            for alpha in added:
                changes = {"strategy": "hybrid", "alpha": alpha}
                systems.append(StudySystem(init, f"hybrid, alpha {alpha:g}", changes, alpha))
        return tuple(systems)

    @property
    def _alphas(self) -> dict[str, float]:
        """The alpha of each strategy that is a point of the curve."""
        if self.sweep is None:
            return {}
        alphas = {self.sweep.zero: 0.0, self.sweep.one: 1.0}
        for name, keys in self.strategies.items():
            alpha = keys.get("alpha", 0.5)
            if name not in alphas and keys.get("strategy") == "hybrid" and alpha in self.sweep.alphas:
                alphas[name] = alpha
        return alphas

    def recipe(self, system: StudySystem, seed: int) -> Recipe:
        """Return the recipe of a model; raises pydantic's `ValidationError`."""
        return Recipe.model_validate({**self.base, "init": system.init, **system.changes, "seed": seed})

    def selections(self, group: Group) -> list[tuple[str, Selection]]:
        """Return the tasks of a group, each with its name in the study file. A name may select several tasks."""
        return [(name, selection) for name in self.tasks.in_group(group) for selection in self.registry.select(name)]

    def check(self) -> None:
        """Raise `StudyError` if an init, seed, recipe, task or name is missing or wrong."""
        if not (self.tasks.in_domain or self.tasks.out_of_domain):
            raise StudyError(("tasks",), "there are no tasks: give in-domain or out-of-domain tasks")
        if not self.inits:
            raise StudyError(("inits",), "there is no init: give an init, such as static:64 or a hub name")
        if len(set(self.seeds)) < 2:
            raise StudyError(("seeds",), "a test over seeds needs at least two seeds")
        for system in self.systems:
            try:
                self.recipe(system, self.seeds[0])
            except ValidationError as error:
                raise self._recipe_error(system, error) from error
        for group in GROUPS:
            for index, name in enumerate(self.tasks.in_group(group)):
                try:
                    self.registry.select(name)
                except UsageError as error:
                    raise StudyError(("tasks", group, index), str(error)) from error
        self._check_shifts()
        self._check_names()

    def _check_shifts(self) -> None:
        """Check that each shifted task has its unshifted task in the study, for the drop between them."""
        unshifted = {name for group in ("in-domain", "out-of-domain") for name in self._task_names(group)}
        for index, name in enumerate(self.tasks.shifted):
            for selection in self.registry.select(name):
                if selection.spec is None:
                    raise StudyError(
                        ("tasks", "shifted", index), f"'{name}' has no query shift: write +typos or another"
                    )
                for mode in selection.modes:
                    task = selection.spec.unshifted.task_name(mode)
                    if not selection.spec.shifts or task not in unshifted:
                        message = f"'{name}' is compared with the unshifted {task}, which is not among the other tasks"
                        raise StudyError(("tasks", "shifted", index), f"{message}: add it")

    def _task_names(self, group: Group) -> Iterator[str]:
        for _, selection in self.selections(group):
            if selection.spec:
                yield from map(selection.spec.task_name, selection.modes)

    def _check_names(self) -> None:
        """Check that the strategies of the answer and of the curve exist."""
        named: list[tuple[tuple[object, ...], str]] = [(("answer", "strategy"), self.answer.strategy)]
        named += [(("answer", "over", index), name) for index, name in enumerate(self.answer.over)]
        if self.sweep:
            named += [(("sweep", "zero"), self.sweep.zero), (("sweep", "one"), self.sweep.one)]
        for keys, name in named:
            if name not in self.strategies:
                hint = did_you_mean(name, self.strategies) or f" (there are {', '.join(self.strategies)})"
                raise StudyError(keys, f"no strategy '{name}'{hint}")
        if not self.tasks.in_group(self.answer.tasks):
            raise StudyError(("answer", "tasks"), f"there are no {self.answer.tasks} tasks")

    def _recipe_error(self, system: StudySystem, error: ValidationError) -> StudyError:
        # a union reports an error for each alternative; the deepest is about the alternative that was meant
        first = max(error.errors(), key=lambda detail: len(detail["loc"]))
        location = first["loc"]
        recipe_key = str(location[0]) if location else ""
        message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        if first["type"] == "extra_forbidden":
            name = str(location[-1])
            message = f"unknown key '{name}'{did_you_mean(name, set(Recipe.model_fields) - {recipe_key})}"
        elif recipe_key:
            message = f"{recipe_key}: {message}"
        keys: tuple[object, ...] = ("recipe", *location)
        if recipe_key == "init":
            keys = ("inits", self.inits.index(system.init))
        elif not recipe_key or recipe_key in system.changes:
            keys = ("strategies", system.strategy, *location)
        return StudyError(keys, message)


class StudyError(DataError):
    """A mistake in a study file, with the keys that lead to it."""

    def __init__(self, keys: Sequence[object], message: str) -> None:
        super().__init__(message)
        self.keys = tuple(keys)

    def is_in_study(self, content: Mapping[str, Any], scale: Scale) -> bool:
        """Return whether the keys lead into the study itself, not into the overrides of `scale`."""
        return _depth(content["scales"][scale], self.keys) < _depth(content, self.keys)


def _depth(content: Any, keys: Sequence[object]) -> int:
    """Return the number of leading `keys` that exist in nested content."""
    for depth, key in enumerate(keys):
        in_mapping = isinstance(content, Mapping) and key in content
        in_list = isinstance(content, list) and isinstance(key, int) and key < len(content)
        if not in_mapping and not in_list:
            return depth
        content = content[key]
    return len(keys)


def study_names() -> tuple[str, ...]:
    """Return the names of the shipped studies."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def find_study(name: str) -> Study:
    """Return a study by name, or by the path of its file; raises `UsageError` for an unknown name.

    For example, ``find_study("ood-low-resource")`` or ``find_study("my-study.yaml")``.
    """
    if name.endswith((".yaml", ".yml")):
        return Study.read(Path(name))
    names = study_names()
    if name not in names:
        hint = did_you_mean(name, names) or f" (there are {', '.join(names)})"
        raise UsageError(f"unknown study '{name}'{hint}")
    return Study.read(_folder() / f"{name}.yaml")


def _registry() -> TaskRegistry:
    """Return the tasks that a study can name, among them those of the folder of out-of-domain tasks."""
    return TaskRegistry([shipped_folder() / "ood"])


def _folder() -> Path:
    for folder in _FOLDERS:
        if folder.is_dir():
            return folder
    raise DataError("the studies are missing from this installation: install hbt-bench again")
