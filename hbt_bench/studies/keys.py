"""The keys of a study file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from hbt_bench.errors import DataError
from hbt_bench.yaml_file import StrictModel

Scale = Literal["smoke", "small", "paper"]
SCALES: tuple[Scale, ...] = ("smoke", "small", "paper")

Group = Literal["in-domain", "out-of-domain", "shifted"]
#: The groups of tasks in the order of the report, with their phrases.
GROUPS: dict[str, str] = {
    "in-domain": "in the domain",
    "out-of-domain": "out of the domain",
    "shifted": "on shifted queries",
}


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    repeated = [seed for seed in seeds if seeds.count(seed) > 1]
    if repeated:
        raise ValueError(f"the seed {repeated[0]} is named twice: remove one")
    return seeds


Seeds = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], AfterValidator(_distinct)]


class Tasks(StrictModel):
    """The tasks to evaluate: in the domain of the training data, out of it, and with shifted queries."""

    in_domain: tuple[str, ...] = Field((), alias="in-domain")
    out_of_domain: tuple[str, ...] = Field((), alias="out-of-domain")
    shifted: tuple[str, ...] = ()

    def in_group(self, group: str) -> tuple[str, ...]:
        """Return the names of the tasks of a group."""
        return dict(zip(GROUPS, (self.in_domain, self.out_of_domain, self.shifted), strict=True))[group]


class Sweep(StrictModel):
    """A curve over alpha: the strategies at 0 and 1, and the alphas between them, which get hybrid strategies."""

    zero: str
    one: str
    alphas: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(min_length=1)


class Answer(StrictModel):
    """The comparison that answers the question: `strategy` against each of `over`, on each task of a group.

    The score is AP, averaged over the modes of a task. With `drop`, it is the AP that is lost against the comparable
    task in the domain. `claim` is the sentence that holds if the answer is yes. `margin` is the size below which a
    difference does not matter; with it, the report states whether strategies without a significant difference are the
    same.
    """

    claim: str
    strategy: str
    over: tuple[str, ...] = Field(min_length=1)
    tasks: Group = "out-of-domain"
    drop: bool = False
    margin: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _differs(self) -> Self:
        if self.strategy in self.over:
            raise ValueError(f"'{self.strategy}' cannot be compared with itself: remove it from `over`")
        return self


class Contrast(StrictModel):
    """A comparison besides those of the answer: the mean of the strategies `of` minus the mean of those in `minus`."""

    of: tuple[str, ...] = Field(min_length=1)
    minus: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _differs(self) -> Self:
        if common := set(self.of) & set(self.minus):
            raise ValueError(f"'{sorted(common)[0]}' is on both sides: remove it from one side")
        return self


class ScaleOverrides(StrictModel):
    """The fields that a scale overrides. Mappings are merged key by key, other values are replaced."""

    inits: tuple[str, ...] | None = None
    seeds: Seeds | None = None
    recipe: dict[str, Any] = Field(default_factory=dict)
    strategies: dict[str, dict[str, Any]] = Field(default_factory=dict)
    tasks: Tasks | None = None
    comparable: tuple[tuple[str, str], ...] | None = None
    sweep: Sweep | None = None
    answer: Answer | None = None
    contrasts: tuple[Contrast, ...] | None = None
    drop_overlap: bool | None = None
    limits: str | None = None


class StudyError(DataError):
    """A mistake in a study file, with the keys that lead to it."""

    def __init__(self, keys: Sequence[object], message: str) -> None:
        super().__init__(message)
        self.keys = tuple(keys)
