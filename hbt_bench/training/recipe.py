"""The recipe: everything a training run depends on, as one YAML file or as flags of the command line."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from hbt_bench.errors import UsageError
from hbt_bench.languages import get_language
from hbt_bench.measures.registry import MEASURES
from hbt_bench.training.records import Code
from hbt_bench.training.sources import SourceSpec, expand
from hbt_bench.training.strategies import STRATEGIES, StrategyName
from hbt_bench.yaml_file import YamlFile

#: What a development collection can be measured by, and whether more of it is better.
DEV_MEASURES = {**{name: not MEASURES[name].lower_is_better for name in MEASURES.headline()}, "loss": False}
if TYPE_CHECKING:
    DevMeasure = str
else:
    DevMeasure = Literal[tuple(DEV_MEASURES)]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(gt=0)]


class Instruction(BaseModel):
    """A stage on instruction pairs: a share of all steps, at the start, at the end, or drawn step by step."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: tuple[SourceSpec, ...] = Field(min_length=1)
    when: Literal["before", "after", "mixed"] = "after"
    share: Annotated[float, Field(gt=0, lt=1)] = 0.3

    @field_validator("data", mode="before")
    @classmethod
    def _expand(cls, entries: object) -> object:
        return _expanded(entries)


class Recipe(BaseModel):
    """A training run. Defaults are those of arXiv 2408.10536 where it states them; each comment is a flag's help."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = Field(None, description="Name in reports; the output folder's by default.")
    init: str = Field(
        "tiny:2x128",
        description="Model to start from: a hub name, a folder, static:DIM (bag of subwords) or tiny:LAYERSxDIM.",
    )
    data: tuple[SourceSpec, ...] = Field(
        ({"kind": "cldr-facts"},), min_length=1, validate_default=True, description="Sources of parallel text."
    )
    strategy: StrategyName = Field("hybrid", description="How batches draw languages.")
    alpha: Share = Field(0.5, description="Share of monolingual batches (or rows), for hybrid and pair-per-row.")
    pairs: Literal["mixed", "one"] = Field("mixed", description="Language pairs of a cross-lingual batch.")
    languages: tuple[Code, ...] | None = Field(None, description="Only these languages.")
    language_weights: Literal["uniform", "size"] | dict[Code, Positive] = Field(
        "uniform", description="How languages and pairs are weighted: uniform, size, or CODE=WEIGHT,..."
    )
    source_weights: Literal["size", "uniform"] = Field("size", description="How sources are weighted.")
    instruction: Instruction | None = Field(None, description="A stage on instruction pairs.")
    batch_size: Count = Field(100, description="Rows of a step, over all processes.")
    steps: Count = Field(1000, description="Number of steps.")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="Seed of everything random.")

    loss: Literal["infonce", "paper"] = Field(
        "infonce", description="infonce: in-batch passages and hard negatives; paper: hard negatives only (Eq. 1)."
    )
    temperature: Positive = Field(0.05, description="Temperature of the similarities.")
    symmetric: bool = Field(False, description="Also rank the queries for each passage.")
    cached: int | None = Field(None, gt=0, description="Rows at a time with cached gradients, for large batches.")
    matryoshka: tuple[Count, ...] | None = Field(None, description="Also train these leading dimensions.")
    distillation: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.0, description="Weight of the divergence from the parallel query's ranking (LaKDA)."
    )
    pivot: Code = Field("en", description="Language of the parallel query.")

    learning_rate: Positive = Field(3e-5, description="Peak learning rate of AdamW.")
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(0.01, description="Weight decay.")
    warmup: Share = Field(0.1, description="Share of the steps in which the learning rate rises.")
    schedule: Literal["linear", "cosine", "constant"] = Field("linear", description="Learning rate after warm-up.")
    accumulation: Count = Field(1, description="Parts in which a step's batch is run; negatives stay in a part.")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 where a GPU has it.")
    gradient_checkpointing: bool = Field(False, description="Less memory for more time.")
    workers: Annotated[int, Field(ge=0)] = Field(0, description="Processes that prepare batches.")

    query_prefix: str = Field("Query: ", description="Put before every query, in training and in the model.")
    passage_prefix: str = Field("Passage: ", description="Put before every passage.")
    pooling: Literal["mean", "cls", "max", "lasttoken"] = Field("mean", description="Pooling of a plain transformer.")
    max_length: Count | None = Field(None, description="Tokens of a text; the init's own by default.")
    vocabulary: Annotated[int, Field(ge=300)] = Field(8000, description="Subwords of a static: or tiny: init.")

    dev: str | None = Field(
        None, description="Collection for early stopping: a task, or cldr-facts for its development split."
    )
    dev_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Share of each source held out for the development loss."
    )
    dev_measure: DevMeasure = Field("AP", description="What stops training early.")
    dev_every: Count = Field(100, description="Steps between looks at the development data.")
    patience: Count | None = Field(None, description="Looks without improvement before training stops.")
    save_every: Count | None = Field(
        None, description="Steps between checkpoints; a tenth of the run by default, `dev_every` with development data."
    )
    guard: tuple[str, ...] = Field(
        ("xquad-r", "mlqa-r", "cldr-facts"), description="Tasks whose texts must not be trained on."
    )

    @field_validator("data", mode="before")
    @classmethod
    def _expand(cls, entries: object) -> object:
        return _expanded(entries)

    @field_validator("languages", "pivot", "language_weights")
    @classmethod
    def _known(cls, value: Any, info: ValidationInfo) -> Any:
        named = [value] if info.field_name == "pivot" else [] if isinstance(value, str) else value or ()
        for code in named:
            try:
                get_language(code)
            except UsageError as error:
                raise ValueError(str(error)) from None
        return value

    @field_validator("init")
    @classmethod
    def _built(cls, init: str) -> str:
        kind, _, size = init.partition(":")
        parts = {"static": 1, "tiny": 2}.get(kind)
        numbers = size.split("x")
        if parts and not (len(numbers) == parts and all(number.isdigit() and int(number) for number in numbers)):
            raise ValueError(
                f"'{init}' is no init: write static:DIM as in static:256, or tiny:LAYERSxDIM as in tiny:4x256"
            )
        if kind == "tiny" and parts and int(numbers[1]) % 32:
            raise ValueError(f"the dimensions of '{init}' must be a multiple of 32, the width of an attention head")
        return init

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        paper = self.loss == "paper"
        stage = round(self.steps * self.instruction.share) if self.instruction else 1
        mistakes = {
            f"the {self.strategy} strategy needs exactly one language in `languages`": (
                STRATEGIES[self.strategy].one_language and len(self.languages or ()) != 1
            ),
            "`cached` is of no use to a static: init, which has no layers: leave it out": (
                self.cached and self.init.startswith("static:")
            ),
            "`cached` and `distillation` do not go together: leave one out": self.cached and self.distillation,
            "`matryoshka` and `distillation` do not go together: leave one out": self.matryoshka and self.distillation,
            "the loss `paper` takes neither `cached` nor `symmetric` nor `distillation`": (
                paper and (self.cached or self.symmetric or self.distillation)
            ),
            "`patience` needs development data: give `dev` or `dev_share`": (
                self.patience and not (self.dev or self.dev_share)
            ),
            "the development loss is that of held-out training items: give `dev_share`, not `dev`": (
                self.dev_measure == "loss" and self.dev
            ),
            "`dev_share` goes with `dev_measure: loss`": self.dev_share and self.dev_measure != "loss",
            "`accumulation` must divide `batch_size`": self.batch_size % self.accumulation,
            "the instruction stage has no step, or all of them: change its `share` or `steps`": (
                stage in (0, self.steps) if self.instruction else False
            ),
        }
        for message, wrong in mistakes.items():
            if wrong:
                raise ValueError(message)
        return self

    @classmethod
    def read(cls, path: Path | None, changes: Mapping[str, Any] | None = None) -> Recipe:
        """Read a file, with some fields replaced; raises `DataError` with line and column, `UsageError` for a flag."""
        document = YamlFile.read(path) if path else None
        content = {**(document.content if document else {}), **(changes or {})}
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            # of the alternatives that a key has, the one that was meant got furthest
            alike = [one for one in error.errors() if one["loc"][:1] == first["loc"][:1]]
            first = max(alike, key=lambda one: len(one["loc"]))
            place = first["loc"]
            if document and not (place and place[0] in (changes or {})):
                raise document.invalid(error, cls) from None
            flag = f"--{str(place[0]).replace('_', '-')}: " if place else ""
            message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
            if first["type"] == "extra_forbidden":
                message = f"unknown key '{place[-1]}'"
            raise UsageError(f"{flag}{message}") from None

    @property
    def save_steps(self) -> int:
        """Steps between checkpoints; those of the development data are among them."""
        if self.dev or self.dev_share:
            return self.dev_every
        return self.save_every or math.ceil(self.steps / 10)

    def resolved(self) -> dict[str, Any]:
        """All fields with their values, as JSON has them."""
        return self.model_dump(mode="json")

    @property
    def digest(self) -> str:
        """What tells two recipes apart, whatever they are called."""
        content = {key: value for key, value in self.resolved().items() if key not in ("name", "workers")}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _expanded(entries: object) -> object:
    if isinstance(entries, str):
        entries = [entries]
    return [expand(entry) for entry in entries] if isinstance(entries, list | tuple) else entries
