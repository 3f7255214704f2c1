"""Study files, and a study at a scale with its recipes and tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from hbt_bench.errors import UsageError, did_you_mean
from hbt_bench.identity.task_name import TaskName
from hbt_bench.mteb.corrected_model import Correction
from hbt_bench.studies.keys import (
    GROUPS,
    SCALES,
    Answer,
    Contrast,
    Scale,
    ScaleOverrides,
    Seeds,
    StudyError,
    Sweep,
    Tasks,
)
from hbt_bench.studies.system import StudySystem, alpha_of, check_recipe_keys
from hbt_bench.tasks.registry import Selection, TaskRegistry, shipped_folder
from hbt_bench.training.inits import is_random
from hbt_bench.training.recipe import Recipe, first_mistake
from hbt_bench.yaml_file import StrictModel, YamlFile

_PACKAGE = Path(__file__).resolve().parent
#: The shipped studies: inside the package in a wheel, next to it in a checkout.
_FOLDERS = (_PACKAGE / "definitions", _PACKAGE.parent.parent / "studies")

#: The greatest relative difference between the pools of comparable tasks.
_SAME_SIZE = 0.02


class Study(StrictModel):
    """A study file: a question, the strategies to compare, the tasks to compare them on, and three scales.

    `comparable` has pairs of tasks of the same kind and pool size, in the domain and out of it, whose difference is the
    drop.
    """

    name: str
    title: str
    question: str
    inits: tuple[str, ...] = ()
    seeds: Seeds = ()
    recipe: dict[str, Any] = Field(default_factory=dict)
    strategies: dict[str, dict[str, Any]] = Field(min_length=2)
    tasks: Tasks = Tasks()
    comparable: tuple[tuple[str, str], ...] = ()
    sweep: Sweep | None = None
    answer: Answer
    contrasts: tuple[Contrast, ...] = ()
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
        registry = study_registry()
        for scale in SCALES:
            try:
                study.at(scale, registry)
            except StudyError as error:
                overrides = file.content["scales"][scale]
                in_study = _depth(file.content, error.keys) > _depth(overrides, error.keys)
                keys = error.keys if in_study else ("scales", scale, *error.keys)
                raise file.error(keys, f"at the scale {scale}: {error}") from error
        return study

    def at(self, scale: Scale, registry: TaskRegistry | None = None) -> Design:
        """Return the study at a scale; raises `StudyError` if a recipe, task or name is wrong there.

        For example, ``find_study("ood-low-resource").at("small")``.
        """
        overrides = self.scales[scale]
        changes = {name: value for name, value in overrides if value is not None}
        changes["recipe"] = self.recipe | overrides.recipe
        changes["strategies"] = {
            name: self.strategies.get(name, {}) | overrides.strategies.get(name, {})
            for name in self.strategies | overrides.strategies
        }
        design = Design(self.model_copy(update=changes), scale, registry or study_registry())
        design.check()
        return design


@dataclass(frozen=True)
class Design:
    """A study at a scale: `study` has the values of the scale."""

    study: Study
    scale: Scale
    registry: TaskRegistry = field(compare=False)

    def with_init(self, init: str) -> Design:
        """Return the study with another init; raises `StudyError` if it cannot be one."""
        design = replace(self, study=self.study.model_copy(update={"inits": (init,)}))
        design.check()
        return design

    @property
    def systems(self) -> tuple[StudySystem, ...]:
        """The systems of each init: its strategies in order, then the points of the curve without a strategy.

        Random weights have no untouched model, because training draws them.
        """
        sweep = self.study.sweep
        strategies = {name: (keys, self._alpha(name, keys)) for name, keys in self.study.strategies.items()}
        alphas = {alpha for _, alpha in strategies.values()}
        for alpha in sweep.alphas if sweep else ():
            if alpha not in alphas:
                strategies[f"hybrid, alpha {alpha:g}"] = {"strategy": "hybrid", "alpha": alpha}, alpha
        systems = (
            StudySystem.from_keys(init, name, *keys) for init in self.study.inits for name, keys in strategies.items()
        )
        return tuple(system for system in systems if system.trained or not is_random(system.init))

    @property
    def strategies(self) -> tuple[str, ...]:
        """The names of the strategies and of the other points of the curve."""
        return tuple(dict.fromkeys(system.strategy for system in self.systems))

    def _alpha(self, name: str, keys: Mapping[str, Any]) -> float | None:
        """Return the alpha of a strategy on the curve, None if it is not a point of the curve."""
        sweep, alpha = self.study.sweep, alpha_of(keys, self.study.recipe)
        on_curve = sweep and (name in (sweep.zero, sweep.one) or alpha in sweep.alphas)
        return alpha if on_curve else None

    def contrast(self, of: Sequence[str], minus: Sequence[str]) -> Contrast:
        """Return a contrast between strategies; raises `UsageError` for an unknown name, or the same on both sides."""
        for name in (*of, *minus):
            if name not in self.strategies:
                raise UsageError(unknown_strategy(name, self.strategies))
        if common := set(of) & set(minus):
            raise UsageError(f"'{sorted(common)[0]}' is on both sides: remove it from one side")
        return Contrast(of=tuple(of), minus=tuple(minus))

    def recipe(self, system: StudySystem, seed: int, language: str = "") -> Recipe:
        """Return the recipe of a model, that of `language` if each has its own; raises pydantic's `ValidationError`."""
        changes = dict(system.changes) if system.trained else {}
        if system.each:
            changes["languages"] = [language or system.each[0]]
        return Recipe.model_validate({**self.study.recipe, "init": system.init, **changes, "seed": seed})

    def selections(self, group: str) -> list[tuple[str, Selection]]:
        """Return the tasks of a group, each with its name in the study file. A name may select several tasks."""
        names = self.study.tasks.in_group(group)
        return [(name, selection) for name in names for selection in self.registry.select(name)]

    def check(self) -> None:
        """Raise `StudyError` if an init, seed, recipe, task or name is missing or wrong."""
        study = self.study
        if not (study.tasks.in_domain or study.tasks.out_of_domain):
            raise StudyError(("tasks",), "there are no tasks: give in-domain or out-of-domain tasks")
        if not study.inits:
            raise StudyError(("inits",), "there is no init: give an init, such as static:64 or a hub name")
        if len(set(study.seeds)) < 2:
            raise StudyError(("seeds",), "a test over seeds needs at least two seeds")
        check_recipe_keys(("recipe",), study.recipe)
        for system in self.systems:
            try:
                self.recipe(system, study.seeds[0])
                if system.correct:
                    Correction.parse(system.correct, system.correct_on, self.registry)
            except ValidationError as error:
                raise self._recipe_error(system, error) from error
            except UsageError as error:
                raise StudyError(("strategies", system.strategy), str(error)) from error
        self._check_tasks()
        self._check_comparable()
        self._check_names()
        self._check_answered()

    def _check_comparable(self) -> None:
        """Check that comparable tasks are listed, of the same kind, and have pools of about the same size."""
        for index, pair in enumerate(self.study.comparable):
            sizes = []
            for side, (group, name) in enumerate(zip(("in-domain", "out-of-domain"), pair, strict=True)):
                keys = ("comparable", index, side)
                if name not in self.study.tasks.in_group(group):
                    raise StudyError(keys, f"'{name}' is not among the {group} tasks: add it")
                spec = self.registry.select(name)[0].spec
                if spec is None:
                    raise StudyError(keys, f"'{name}' has no languages to compare: name a task of hbt-bench")
                counts = spec.expect.documents if spec.expect else {}
                sizes.append([counts.get(code, 0) for code in spec.select(TaskName.parse(name).documents)] or [0])
            if (least := min(map(min, sizes))) < (1 - _SAME_SIZE) * max(map(max, sizes)) or not least:
                raise StudyError(("comparable", index), f"the pools of {' and '.join(pair)} differ in size")
        if self.study.answer.drop and not self.study.comparable:
            raise StudyError(("answer", "drop"), "a drop needs comparable tasks: give `comparable`")

    def _check_tasks(self) -> None:
        """Check the names of the tasks, and that shifted tasks have their unshifted tasks, which the drop needs."""
        unshifted: set[str] = set()
        for group in GROUPS:  # the shifted tasks come last
            selected: dict[str, str] = {}
            for index, name in enumerate(self.study.tasks.in_group(group)):
                try:
                    selections = self.registry.select(name)
                except UsageError as error:
                    raise StudyError(("tasks", group, index), str(error)) from error
                for selection in selections:
                    for task in _task_names(selection):
                        if other := selected.get(task):
                            message = f"'{name}' and '{other}' both select {task}: name it once"
                            raise StudyError(("tasks", group, index), message)
                        selected[task] = name
                    if group == "shifted":
                        _check_shift(selection, name, index, unshifted)
                    else:
                        unshifted.update(_task_names(selection))

    def _check_names(self) -> None:
        """Check that the strategies of the answer, the curve and the contrasts exist."""
        study, answer, sweep = self.study, self.study.answer, self.study.sweep
        names: dict[tuple[object, ...], str] = {("answer", "strategy"): answer.strategy}
        names |= {("answer", "over", index): name for index, name in enumerate(answer.over)}
        names |= {("sweep", "zero"): sweep.zero, ("sweep", "one"): sweep.one} if sweep else {}
        for index, contrast in enumerate(study.contrasts):
            for side in ("of", "minus"):
                sides = enumerate(getattr(contrast, side))
                names |= {("contrasts", index, side, number): name for number, name in sides}
        for keys, name in names.items():
            if name not in self.strategies:
                without = f"'{name}' has no model, because random weights cannot stay untouched: name another strategy"
                raise StudyError(keys, without if name in study.strategies else unknown_strategy(name, self.strategies))
        for end, alpha in (("zero", 0), ("one", 1)) if sweep else ():
            if alpha_of(study.strategies.get(getattr(sweep, end), {}), study.recipe) != alpha:
                raise StudyError(
                    ("sweep", end), f"the alpha of '{getattr(sweep, end)}' is not {alpha}: name another strategy"
                )
        if not study.tasks.in_group(answer.tasks):
            raise StudyError(("answer", "tasks"), f"there are no {answer.tasks} tasks")

    def _check_answered(self) -> None:
        """Check that models of single languages can answer the queries of a task of the answer."""
        answer = self.study.answer
        asked = [
            set(selection.spec.select(TaskName.parse(name).queries))
            for name, selection in self.selections(answer.tasks)
            if selection.spec
        ]
        for system in self.systems:
            compared = system.strategy in (answer.strategy, *answer.over)
            if compared and system.each and not any(languages <= set(system.each) for languages in asked):
                message = "each: every task of the answer also has queries in other languages: add these"
                raise StudyError(("strategies", system.strategy, "each"), message)

    def _recipe_error(self, system: StudySystem, error: ValidationError) -> StudyError:
        location, message = first_mistake(error)
        key = location[0] if location else ""
        if key == "init":
            return StudyError(("inits", self.study.inits.index(system.init)), f"init: {message}")
        message = message if not key or message.startswith("unknown key") else f"{key}: {message}"
        if not key or key in system.changes:
            return StudyError(("strategies", system.strategy, *location), message)
        return StudyError(("recipe", *location), message)


def _task_names(selection: Selection) -> list[str]:
    spec = selection.spec
    return [spec.task_name(mode) for mode in selection.modes] if spec else [selection.stock]


def _check_shift(selection: Selection, name: str, index: int, unshifted: Set[str]) -> None:
    keys = ("tasks", "shifted", index)
    if selection.spec is None or not selection.spec.shifts:
        raise StudyError(keys, f"'{name}' has no query shift: write +typos or another")
    for task in map(selection.spec.unshifted.task_name, selection.modes):
        if task not in unshifted:
            message = f"'{name}' is compared with the unshifted {task}, which is not among the other tasks"
            raise StudyError(keys, f"{message}: add it")


def unknown_strategy(name: str, names: Sequence[str]) -> str:
    """Return the message on a strategy that a study does not have."""
    hint = did_you_mean(name, names) or f" (there are {', '.join(names)})"
    return f"no strategy '{name}'{hint}"


def _depth(content: Any, keys: Sequence[object]) -> int:
    """Return the number of leading `keys` that exist in nested content."""
    for depth, key in enumerate(keys):
        in_mapping = isinstance(content, Mapping) and key in content
        if not in_mapping and not (isinstance(content, list) and isinstance(key, int) and key < len(content)):
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


def study_registry() -> TaskRegistry:
    """Return the tasks that a study can name, among them those of the folder of out-of-domain tasks."""
    return TaskRegistry([shipped_folder() / "ood"])


def _folder() -> Path:
    return next(folder for folder in _FOLDERS if folder.is_dir())
