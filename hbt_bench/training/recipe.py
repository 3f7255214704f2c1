"""The recipe: everything that a training run depends on, as a YAML file or as flags of the command line."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from hbt_bench.errors import UsageError, did_you_mean
from hbt_bench.languages.codes import check_distinct
from hbt_bench.measures.registry import MEASURES
from hbt_bench.training.records import Code
from hbt_bench.training.sources import SourceSpec, expand
from hbt_bench.training.strategies import STRATEGIES, StrategyName
from hbt_bench.yaml_file import GrowingModel, StrictModel, YamlFile

#: The measures for early stopping, and whether higher values are better.
DEV_MEASURES = {**{name: not MEASURES[name].lower_is_better for name in MEASURES.headline()}, "loss": False}
if TYPE_CHECKING:
    DevMeasure = str
else:
    DevMeasure = Literal[tuple(DEV_MEASURES)]

#: Fields that do not change the weights.
NEUTRAL_FIELDS = frozenset({"name", "workers", "report_to", "push_to_hub", "keep_checkpoint"})


def _expanded(entries: object) -> object:
    if isinstance(entries, str):
        entries = [entries]
    return [expand(entry) for entry in entries] if isinstance(entries, list | tuple) else entries


def _distinct(codes: object) -> object:
    """Check that no two codes, or keys, name the same language."""
    if isinstance(codes, list | tuple | Mapping):
        check_distinct(codes)
    return codes


Sources = Annotated[tuple[SourceSpec, ...], BeforeValidator(_expanded), Field(min_length=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(gt=0)]


class Instruction(StrictModel):
    """A phase on instruction pairs: a share of all steps, at the start, at the end, or mixed in."""

    data: Sources
    when: Literal["before", "after", "mixed"] = "after"
    share: Annotated[float, Field(gt=0, lt=1)] = 0.3


class Lora(StrictModel):
    """Low-rank adapters of the transformer (arXiv 2106.09685), merged into its weights at the end of the training."""

    r: Count = Field(16, description="Rank of the adapters.")
    alpha: Positive | None = Field(None, description="Scale: updates are multiplied by alpha / r. Without it, 2 r.")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="Dropout before the adapters.")
    targets: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear", description="Names of the adapted layers, as in query; all-linear: all linear layers."
    )


class Lengths(StrictModel):
    """Maximum tokens of queries and of passages."""

    query: Count
    passage: Count


#: A number, or a mapping; the tags make a mistake in a mapping one about its keys.
MaxLength = Annotated[
    Annotated[Count, Tag("number")] | Annotated[Lengths, Tag("mapping")],
    Discriminator(lambda value: "mapping" if isinstance(value, Mapping | Lengths) else "number"),
]


class Recipe(GrowingModel):
    """The recipe of a training run. Each description is the help of a flag.

    Defaults are those of arXiv 2408.10536, if the paper has them. For example,
    ``Recipe(init="static:64", strategy="hybrid", alpha=0.25, steps=100)``.
    """

    younger_keys: ClassVar[frozenset[str]] = frozenset(
        {"revision", "trust_remote_code", "lora", "freeze", "dev_data", "guide", "report_to", "push_to_hub"}
        | {"keep_checkpoint"}
    )

    name: str | None = Field(None, description="Name in reports. Without it, reports use the name of the folder.")
    init: str = Field(
        "tiny:2x128",
        description="Model to start from: a hub name, a folder, static:DIM (bag of subwords) or tiny:LAYERSxDIM.",
    )
    revision: str | None = Field(None, description="Commit, branch or tag of an init of the hub.")
    trust_remote_code: bool = Field(False, description="Run code of the init's repository. Read the code first.")
    data: Sources = Field(({"kind": "cldr-facts"},), validate_default=True, description="Sources of parallel text.")
    strategy: StrategyName = Field("hybrid", description="How batches draw languages.")
    alpha: Share = Field(0.5, description="Share of monolingual batches (or rows), for hybrid and pair-per-row.")
    pairs: Literal["mixed", "one"] = Field(
        "mixed",
        description="mixed: each row of a cross-lingual batch draws a language pair; one: all rows share a pair.",
    )
    languages: Annotated[tuple[Code, ...] | None, BeforeValidator(_distinct)] = Field(
        None, description="Train on these languages only."
    )
    language_weights: Annotated[Literal["uniform", "size"] | dict[Code, Positive], BeforeValidator(_distinct)] = Field(
        "uniform", description="How languages and pairs are weighted: uniform, size, or CODE=WEIGHT,..."
    )
    source_weights: Literal["size", "uniform"] = Field("size", description="How sources are weighted.")
    instruction: Instruction | None = Field(None, description="A phase on instruction pairs.")
    batch_size: Count = Field(100, description="Rows of a step, over all processes.")
    steps: Count = Field(1000, description="Number of steps.")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="Seed of all random numbers.")

    loss: Literal["infonce", "paper", "gist"] = Field(
        "infonce",
        description="infonce: in-batch passages and hard negatives; paper: hard negatives only (Eq. 1); gist: infonce "
        "without the negatives that a `guide` finds more similar to the query than its passage.",
    )
    guide: str | None = Field(None, description="Model that finds false negatives for the loss gist.")
    temperature: Positive = Field(0.05, description="Temperature of the similarities.")
    symmetric: bool = Field(False, description="Also rank the queries for each passage.")
    cached: int | None = Field(
        None, gt=0, description="Rows per forward pass with cached gradients; for large batches."
    )
    matryoshka: tuple[Count, ...] | None = Field(
        None, description="Also train these leading dimensions, next to all dimensions."
    )
    distillation: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.0, description="Weight of the divergence from the parallel query's ranking (LaKDA)."
    )
    pivot: Code = Field("en", description="Language of the parallel query.")

    lora: Lora | None = Field(
        None, description="Train low-rank adapters only, as in {r: 16}, and merge them into the model."
    )
    freeze: tuple[str, ...] = Field(
        (), description="Modules that are not trained: embeddings, or names as in encoder.layer.0."
    )
    learning_rate: Positive = Field(3e-5, description="Peak learning rate of AdamW.")
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(0.01, description="Weight decay.")
    warmup: Share = Field(0.1, description="Share of the steps in which the learning rate rises.")
    schedule: Literal["linear", "cosine", "constant"] = Field("linear", description="Learning rate after warm-up.")
    accumulation: Count = Field(
        1,
        description="Split the batch of a step into this many parts to save memory; negatives come from the same part.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 if the GPU supports it.")
    gradient_checkpointing: bool = Field(False, description="Save memory at the cost of time.")
    workers: Annotated[int, Field(ge=0)] = Field(0, description="Processes that prepare batches.")
    report_to: tuple[Literal["tensorboard", "wandb", "trackio"], ...] | None = Field(
        None, description="Programs that log the training. Without it, tensorboard if it is installed."
    )
    push_to_hub: str | None = Field(
        None, description="Repository of the hub for the model, as in ORG/NAME; needs a token."
    )

    query_prefix: str = Field(
        "Query: ",
        description="Put before every query, in training and in the model. Without it, the init's own prompt, if any.",
    )
    passage_prefix: str = Field(
        "Passage: ", description="Put before every passage. Without it, the init's own prompt, if any."
    )
    pooling: Literal["mean", "cls", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens", "own"] = Field(
        "mean", description="Pooling of a plain transformer; own: that of the modules of the init."
    )
    max_length: MaxLength | None = Field(
        None,
        description="Maximum tokens of a text, or {query: 32, passage: 256}. Without it, the maximum of the init.",
    )
    vocabulary: Annotated[int, Field(ge=300)] = Field(8000, description="Subwords of a static: or tiny: init.")

    dev: str | None = Field(
        None, description="Collection for early stopping: a task, or cldr-facts for its development split."
    )
    dev_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Share of each source held out for the development loss."
    )
    dev_data: Sources | None = Field(
        None, description="Sources for the development loss, such as a validation file, instead of held-out items."
    )
    dev_measure: DevMeasure = Field("AP", description="Measure for early stopping.")
    dev_every: Count = Field(100, description="Steps between evaluations on development data.")
    patience: Count | None = Field(None, description="Evaluations without improvement before training stops.")
    save_every: Count | None = Field(
        None,
        description="Steps between checkpoints. Without it, a tenth of the run, or `dev_every` with development data.",
    )
    keep_checkpoint: bool = Field(
        False, description="Keep the last checkpoint of a finished run, from which a recipe with more steps continues."
    )
    guard: tuple[str, ...] = Field(
        ("xquad-r", "mlqa-r", "cldr-facts"), description="Tasks whose texts must not be trained on."
    )

    @field_validator("init")
    @classmethod
    def _check_init(cls, init: str) -> str:
        kind, _, size = init.partition(":")
        count = {"static": 1, "tiny": 2}.get(kind)
        numbers = size.split("x")
        if count and not (len(numbers) == count and all(number.isdigit() and int(number) for number in numbers)):
            raise ValueError(
                f"'{init}' is not an init: write static:DIM as in static:256, or tiny:LAYERSxDIM as in tiny:4x256"
            )
        if kind == "tiny" and count and int(numbers[1]) % 32:
            raise ValueError(f"the dimensions of '{init}' must be a multiple of 32, the width of an attention head")
        return init

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        paper = self.loss == "paper"
        stage = round(self.steps * self.instruction.share) if self.instruction else 1
        mistakes = {
            f"the {self.strategy} strategy needs exactly one language in `languages`": (
                STRATEGIES[self.strategy].one_language and len(self.languages or ()) != 1
            ),
            "`cached` has no effect on a static: init, which has no layers: leave it out": (
                self.cached and self.init.startswith("static:")
            ),
            "`lora` trains none of the transformer's own weights: leave `freeze` out": self.lora and self.freeze,
            "`cached` and `distillation` cannot be combined: leave one out": self.cached and self.distillation,
            "`matryoshka` and `distillation` cannot be combined: leave one out": self.matryoshka and self.distillation,
            "the loss `paper` cannot be combined with `cached`, `symmetric` or `distillation`": (
                paper and (self.cached or self.symmetric or self.distillation)
            ),
            "the loss `gist` and `guide` need each other: give both, or leave both out": (self.loss == "gist")
            != bool(self.guide),
            "the loss `gist` cannot be combined with `symmetric` or `distillation`": (
                self.guide and (self.symmetric or self.distillation)
            ),
            "`patience` needs development data: give `dev`, `dev_share` or `dev_data`": (
                self.patience and not self.has_dev
            ),
            "the development loss is computed on items with queries and passages: give `dev_share`, not `dev`, or "
            "`dev_data`": self.dev_measure == "loss" and self.dev,
            "`dev_share` and `dev_data` need `dev_measure: loss`": (
                (self.dev_share or self.dev_data) and self.dev_measure != "loss"
            ),
            "`dev_data` takes the place of held-out items: leave `dev_share` out": self.dev_share and self.dev_data,
            "`accumulation` must divide `batch_size`": self.batch_size % self.accumulation,
            f"`batch_size: {self.batch_size}` with `accumulation: {self.accumulation}` has a row in each part, and "
            "so no other passage to rank the passage against: raise `batch_size`, lower `accumulation`, or give every "
            "source hard negatives (`negative`)": self.batch_size == self.accumulation and not self._has_negatives,
            f"`pivot: {self.pivot}` has no effect without `distillation`: leave one out, or add the other": (
                self.pivot != type(self).model_fields["pivot"].default and not self.distillation
            ),
            "the instruction stage has no steps, or all of them: change its `share` or `steps`": (
                stage in (0, self.steps) if self.instruction else False
            ),
        }
        for message, wrong in mistakes.items():
            if wrong:
                raise ValueError(message)
        return self

    @classmethod
    def read(cls, path: Path | None, changes: Mapping[str, Any] | None = None) -> Recipe:
        """Read a recipe file, and replace the fields in `changes`, which are flags.

        Raises `DataError` with line and column for a mistake in the file, and `UsageError` for one in a flag. For
        example, ``Recipe.read(Path("recipe.yaml"), {"alpha": "0.75"})``.
        """
        file = YamlFile.read(path) if path else None
        content = {**(file.content if file else {}), **(changes or {})}
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            location, message = first_mistake(error)
            if file and not (location and location[0] in (changes or {})):
                raise file.invalid(error, cls) from None
            flag = f"--{str(location[0]).replace('_', '-')}: " if location else ""
            raise UsageError(f"{flag}{message}") from None

    @property
    def _has_negatives(self) -> bool:
        """Whether every source names hard negatives."""
        sources = [*self.data, *(self.instruction.data if self.instruction else ())]
        return all(getattr(source, "negative", None) for source in sources)

    @property
    def has_dev(self) -> bool:
        """Whether training is evaluated on development data."""
        return bool(self.dev or self.dev_share or self.dev_data)

    @property
    def longest(self) -> int | None:
        """The greatest `max_length`, None for the maximum of the init."""
        limit = self.max_length
        return max(limit.query, limit.passage) if isinstance(limit, Lengths) else limit

    @property
    def save_steps(self) -> int:
        """Steps between checkpoints. With development data, each evaluation has a checkpoint."""
        if self.has_dev:
            return self.dev_every
        return self.save_every or math.ceil(self.steps / 10)

    def resolved(self) -> dict[str, Any]:
        """Return all fields with their values, ready for JSON."""
        return self.model_dump(mode="json")

    @property
    def digest(self) -> str:
        """A hash of the recipe without its name and the number of workers."""
        content = {key: value for key, value in self.resolved().items() if key not in NEUTRAL_FIELDS}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def first_mistake(error: ValidationError) -> tuple[tuple[int | str, ...], str]:
    """Return the keys that lead to the first mistake in a recipe, and its message."""
    first = error.errors()[0]
    # a union reports an error for each alternative; the deepest is about the alternative that was meant
    alternatives = [detail for detail in error.errors() if detail["loc"][:1] == first["loc"][:1]]
    deepest = max(alternatives, key=lambda detail: len(detail["loc"]))
    location = deepest["loc"]
    if deepest["type"] == "extra_forbidden":
        name = str(location[-1])
        return location, f"unknown key '{name}'{did_you_mean(name, set(Recipe.model_fields) - {name})}"
    if deepest["type"] == "missing":
        return location, f"the key '{location[-1]}' is missing"
    return location, deepest["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
