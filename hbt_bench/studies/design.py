"""A study at one scale: the systems it compares, their recipes and tasks, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hbt_bench.errors import DataError, UsageError, did_you_mean
from hbt_bench.tasks import registry
from hbt_bench.tasks.registry import Selection
from hbt_bench.training.recipe import Recipe

if TYPE_CHECKING:
    from hbt_bench.studies.study import Study

Scale = Literal["smoke", "small", "paper"]
#: The groups of tasks, in the order of the report.
Group = Literal["in-domain", "out-of-domain", "shifted"]
GROUPS: tuple[Group, ...] = ("in-domain", "out-of-domain", "shifted")


class Strict(BaseModel):
    """Frozen, and without keys that nobody asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Tasks(Strict):
    """What is evaluated: in the domain of the training data, out of it, and with shifted queries."""

    in_domain: tuple[str, ...] = Field((), alias="in-domain")
    out_of_domain: tuple[str, ...] = Field((), alias="out-of-domain")
    shifted: tuple[str, ...] = ()

    def of(self, group: Group) -> tuple[str, ...]:
        """The tasks of one group."""
        return {"in-domain": self.in_domain, "out-of-domain": self.out_of_domain, "shifted": self.shifted}[group]


class Sweep(Strict):
    """A curve over alpha: the strategies that stand for 0 and 1, and the values between them, which are hybrid."""

    zero: str
    one: str
    alphas: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(min_length=1)


class Answer(Strict):
    """What answers the question: `strategy` against each of `over`, by the mean AP on a group of tasks.

    `claim` is the sentence that a yes means.
    """

    claim: str
    strategy: str
    over: tuple[str, ...] = Field(min_length=1)
    tasks: Group = "out-of-domain"


@dataclass(frozen=True)
class StudySystem:
    """What is compared: an init trained with a strategy; `alpha` is its place on the curve, if it has one."""

    init: str
    strategy: str
    changes: Mapping[str, Any]
    alpha: float | None = None


@dataclass(frozen=True)
class Design:
    """A study at one scale, with everything that the scale leaves out taken from the study."""

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

    @property
    def systems(self) -> tuple[StudySystem, ...]:
        """The strategies in their order for each init, then the points of the curve that no strategy has."""
        places = {}
        if self.sweep:
            places = {self.sweep.zero: 0.0, self.sweep.one: 1.0}
            hybrids = {name: changes for name, changes in self.strategies.items() if name not in places}
            for name, changes in hybrids.items():
                if changes.get("strategy") == "hybrid" and changes.get("alpha", 0.5) in self.sweep.alphas:
                    places[name] = changes.get("alpha", 0.5)
        found = []
        for init in self.inits:
            found += [StudySystem(init, name, changes, places.get(name)) for name, changes in self.strategies.items()]
            for alpha in self.sweep.alphas if self.sweep else ():
                if alpha not in places.values():
                    changes = {"strategy": "hybrid", "alpha": alpha}
                    found.append(StudySystem(init, f"hybrid, alpha {alpha:g}", changes, alpha))
        return tuple(found)

    def recipe(self, system: StudySystem, seed: int) -> Recipe:
        """The recipe of one model; raises pydantic's `ValidationError`."""
        return Recipe.model_validate({**self.base, "init": system.init, **system.changes, "seed": seed})

    def selections(self, group: Group) -> list[tuple[str, Selection]]:
        """The tasks of a group with the names they were given, one collection or MTEB task each."""
        return [(name, one) for name in self.tasks.of(group) for one in _tasks(name)]

    def check(self) -> None:
        """Raise `MistakeError` for recipes, tasks or names that cannot be."""
        for system in self.systems:
            try:
                self.recipe(system, self.seeds[0])
            except ValidationError as error:
                raise self._mistake(system, error) from error
        for group in GROUPS:
            for place, name in enumerate(self.tasks.of(group)):
                try:
                    _tasks(name)
                except UsageError as error:
                    raise MistakeError(("tasks", group, place), str(error)) from error
        self._check_shifts()
        self._check_names()

    def _check_shifts(self) -> None:
        """A drop needs the clean task too."""
        clean = {name for group in ("in-domain", "out-of-domain") for name in self._results(group)}
        for place, name in enumerate(self.tasks.shifted):
            for selection in _tasks(name):
                if selection.spec is None:
                    raise MistakeError(
                        ("tasks", "shifted", place), f"'{name}' has no query shift: write +typos or another"
                    )
                for mode in selection.modes:
                    task, shift, _ = selection.spec.task_name(mode).partition("+")
                    if not shift or task not in clean:
                        raise MistakeError(
                            ("tasks", "shifted", place),
                            f"'{name}' is compared with the clean {task}, which is among no other tasks: add it",
                        )

    def _results(self, group: Group) -> list[str]:
        return [
            selection.spec.task_name(mode)
            for _, selection in self.selections(group)
            if selection.spec
            for mode in selection.modes
        ]

    def _check_names(self) -> None:
        """The answer and the curve are about strategies that there are."""
        named: list[tuple[tuple[object, ...], str]] = [(("answer", "strategy"), self.answer.strategy)]
        named += [(("answer", "over", place), name) for place, name in enumerate(self.answer.over)]
        if self.sweep:
            named += [(("sweep", "zero"), self.sweep.zero), (("sweep", "one"), self.sweep.one)]
        for where, name in named:
            if name not in self.strategies:
                near = did_you_mean(name, self.strategies) or f" (there are {', '.join(self.strategies)})"
                raise MistakeError(where, f"no strategy '{name}'{near}")
        if not self.tasks.of(self.answer.tasks):
            raise MistakeError(("answer", "tasks"), f"there are no {self.answer.tasks} tasks")

    def _mistake(self, system: StudySystem, error: ValidationError) -> MistakeError:
        first = max(error.errors(), key=lambda one: len(one["loc"]))
        place = first["loc"]
        key = str(place[0]) if place else ""
        message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        if first["type"] == "extra_forbidden":
            message = f"unknown key '{place[-1]}'{did_you_mean(str(place[-1]), set(Recipe.model_fields) - {key})}"
        elif key:
            message = f"{key}: {message}"
        path: tuple[object, ...] = ("recipe", *place)
        if key == "init":
            path = ("inits", self.inits.index(system.init))
        elif not key or key in system.changes:
            path = ("strategies", system.strategy, *place)
        return MistakeError(path, message)


class MistakeError(DataError):
    """A mistake with the keys that lead to it."""

    def __init__(self, place: Sequence[object], message: str) -> None:
        super().__init__(message)
        self.place = tuple(place)

    def in_study(self, content: Mapping[str, Any], scale: Scale) -> bool:
        """Whether the mistake stands in the study itself, not in the block of the scale."""
        return _depth(content["scales"][scale], self.place) < _depth(content, self.place)


def _depth(content: Any, place: Sequence[object]) -> int:
    """How many keys of `place` lead somewhere."""
    for depth, key in enumerate(place):
        inside = isinstance(content, Mapping) and key in content
        if not inside and not (isinstance(content, list) and isinstance(key, int) and key < len(content)):
            return depth
        content = content[key]
    return len(place)


def _tasks(name: str) -> list[Selection]:
    """The collections of a task's name, those of the data folder among them."""
    registry.add(registry.shipped_folder() / "ood")
    return registry.select_tasks([name])
