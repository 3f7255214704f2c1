"""Hybrid batches for a training script of one's own: a data set with the rows of a plan, and a sampler of its batches.

Both follow the conventions of sentence-transformers, so its own trainer takes them with any loss.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from datasets import Dataset
from pydantic import ValidationError

from hbt_bench.distributed import world_size
from hbt_bench.errors import DataError, UsageError
from hbt_bench.training.plan import BatchPlan
from hbt_bench.training.plan_report import check_negatives, fill
from hbt_bench.training.reading import TEXTS, read_items
from hbt_bench.training.recipe import Recipe, first_mistake
from hbt_bench.training.records import Records
from hbt_bench.training.rows import Rows
from hbt_bench.training.strategies import STRATEGIES, BatchMix, Pairs, SourcePairs, WeightedSource, Weights

log = logging.getLogger(__name__)

Record = Mapping[str, Any]


def hybrid_dataset(
    rows: Iterable[Record] | Mapping[str, Iterable[Record]],
    *,
    query: str,
    passage: str,
    steps: int,
    batch_size: int,
    strategy: str = "hybrid",
    alpha: float = 0.5,
    pairs: Pairs = "mixed",
    languages: Sequence[str] | None = None,
    language_weights: Weights = "uniform",
    align: Literal["id", "row"] = "id",
    seed: int = 0,
    **fields: Any,
) -> Dataset:
    """Return the batches of a strategy as a data set of `steps` times `batch_size` rows, in order.

    A row has the columns ``query`` and ``passage``, and ``negative0`` and so on if `negative` names hard negatives. Its
    texts are drawn when it is read. `batch_size` counts the rows of a step over all processes and accumulated parts.

    `rows` are records as in a recipe: each has a field `language_field`, or `texts` by language, or `query` and
    `passage` are paths such as ``question_{language}``. A mapping has the records of each language; they are paired by
    their `id`, or by their number with ``align="row"``. All other keys of a source in a recipe are keywords here:
    `negative`, `id`, `parallel`, `where`, `max_negatives` and so on.

    Raises `DataError` if a record is damaged or the rows are too few, and `UsageError` if an option does not fit. The
    strategies are those of arXiv 2408.10536 and others (``docs/training.md``).

    Example:
        rows = [{"id": "1", "lang": "en", "question": "Who?", "context": "Ann."}, ...]
        fields = {"query": "question", "passage": "context", "language_field": "lang"}
        data = hybrid_dataset(rows, **fields, batch_size=32, steps=500)
        args = SentenceTransformerTrainingArguments(
            "out", max_steps=500, per_device_train_batch_size=32, batch_sampler=PlanBatchSampler
        )
    """
    if strategy not in STRATEGIES:
        raise UsageError(f"unknown strategy '{strategy}'. Choose one of {', '.join(STRATEGIES)}")
    if not 0 <= alpha <= 1:
        raise UsageError(f"alpha is {alpha}, but it is a share of the batches: give a number from 0 to 1")
    if batch_size < 1 or steps < 1:
        raise UsageError(f"batch_size is {batch_size} and steps is {steps}: both must be at least 1")
    if align not in ("id", "row"):
        raise UsageError(f"align is '{align}', but must be 'id' or 'row'")
    codes = tuple(languages or ())
    if isinstance(rows, Mapping):
        rows, fields["id"] = _merged(rows, codes, align, fields.get("id", "id")), "id"
        fields["parallel"] = True if align == "row" else fields.get("parallel")
    try:
        spec = Records(query=query, passage=passage, languages=codes, **fields)
        recipe = Recipe(pairs=pairs, language_weights=language_weights, batch_size=batch_size, steps=steps, seed=seed)
    except ValidationError as error:
        location, message = first_mistake(error)
        raise UsageError(f"{'.'.join(map(str, location))}: {message}" if location else message) from None
    records = ((f"row {number}", record) for number, record in enumerate(rows))
    source = read_items(spec.name or "rows", spec, records)
    mix = BatchMix.from_strategy(strategy, alpha, pairs, source)
    if STRATEGIES[strategy].uses_alpha and alpha < 1 and not SourcePairs(source, alpha, pairs).cross:
        reason = source.unpaired or f"all texts are in {' '.join(source.languages)}"
        log.warning(f"{source.name} has no pairs of two languages, so all batches of {strategy} have one: {reason}")
    weighted = fill(WeightedSource(source, 1.0, mix, recipe.language_weights), batch_size)
    plan = BatchPlan((weighted,), batch_size, steps, seed)
    check_negatives(plan)
    return plan_dataset(plan)


def plan_dataset(plan: BatchPlan) -> Dataset:
    """Return the rows of all batches of a plan as a data set; it holds numbers, and draws texts when a row is read."""
    rows = Dataset(pa.table({"row": np.arange(plan.steps * plan.batch_size)}), fingerprint=plan.fingerprint)
    transform = _Texts()
    rows.set_transform(transform)  # without the plan yet, because the library hashes a copy of all that a transform has
    transform.rows = Rows(plan, parallel=False)
    return rows


class _Texts:
    """The texts of rows, by their numbers: the transform of a data set."""

    rows: Rows

    @property
    def plan(self) -> BatchPlan:
        """The plan of the rows."""
        return self.rows.plan

    def __deepcopy__(self, memo: object) -> _Texts:
        """Return the transform itself: copies of a data set share their texts."""
        return self

    def __call__(self, batch: Mapping[str, Sequence[int]]) -> dict[str, list[str]]:
        rows = [self.rows[int(row)] for row in batch["row"]]
        return {column: [row[column] for row in rows] for column in self.rows.columns if column in rows[0]}


class PlanBatchSampler:
    """The batches of a `hybrid_dataset`, in the order of its plan: a ``batch_sampler`` of sentence-transformers.

    The rows of a step are consecutive. Each process takes its slice of them, and each accumulated part, so a whole step
    has one type of batch. A resumed run skips the batches that it has seen.

    Raises `UsageError`, before the first step, if the rows of a step over all processes and accumulated parts are not
    the plan's `batch_size`, or if the trainer's steps are more than those of the plan.
    """

    def __init__(self, dataset: Dataset, batch_size: int, drop_last: bool = True, **options: Any) -> None:
        stated = dataset.format["format_kwargs"] if isinstance(dataset, Dataset) else {}
        transform = stated.get("transform")
        if not isinstance(transform, _Texts) or not _is_whole(dataset, transform.plan):
            raise UsageError(
                "PlanBatchSampler needs the data set of hybrid_dataset as it was returned: neither shuffled nor cut"
            )
        self._plan, self.batch_size, self.drop_last = transform.plan, batch_size, drop_last
        self._check(_arguments_of_caller())

    def _check(self, arguments: Any) -> None:
        parts = getattr(arguments, "gradient_accumulation_steps", 1)
        processes, rows = world_size(), self._plan.batch_size
        if self.batch_size * processes * parts != rows:
            raise UsageError(
                f"a step has {self.batch_size} rows x {processes} processes x {parts} accumulated parts, but a batch "
                f"of the data set has {rows}: set per_device_train_batch_size to {rows / (processes * parts):g}, or "
                f"make the data set with batch_size={self.batch_size * processes * parts}"
            )
        steps = getattr(arguments, "max_steps", -1)
        if steps <= 0:
            steps = self._plan.steps * getattr(arguments, "num_train_epochs", 1)
        if steps > self._plan.steps:
            raise UsageError(
                f"the trainer has {steps:g} steps, but the data set has {self._plan.steps}: set "
                f"max_steps={self._plan.steps}, or make the data set with steps={steps:g}"
            )

    def __len__(self) -> int:
        return self._plan.steps * self._plan.batch_size // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        starts = range(0, self._plan.steps * self._plan.batch_size, self.batch_size)
        return (list(range(start, start + self.batch_size)) for start in starts)


def _is_whole(dataset: Dataset, plan: BatchPlan) -> bool:
    """Return whether a data set has all rows of a plan in their order, on which the batches depend."""
    rows = dataset.with_format("arrow")[:]["row"].to_numpy()
    return np.array_equal(rows, np.arange(plan.steps * plan.batch_size))


def _arguments_of_caller() -> Any:
    """Return the arguments of the trainer that makes the sampler; it passes the rows of a process only."""
    frame = inspect.currentframe()
    while frame is not None and not hasattr(trainer := frame.f_locals.get("self"), "train_dataset"):
        frame = frame.f_back
    return getattr(trainer, "args", None) if frame else None


def _merged(
    rows: Mapping[str, Iterable[Record]], languages: Sequence[str], align: str, id_field: str
) -> Iterator[dict[str, Any]]:
    """Yield the records of each language as records with `texts` and an `id`."""
    lengths = {}
    for language, records in rows.items():
        if languages and language not in languages:
            continue
        number = -1
        for number, record in enumerate(records):
            key = number if align == "row" else record.get(id_field)
            yield {"id": key, TEXTS: {language: record}}
        lengths[language] = number + 1
    if align == "row" and len(set(lengths.values())) > 1:
        counts = ", ".join(f"{count:,} in {language}" for language, count in lengths.items())
        raise DataError(f'align="row" pairs rows by number, but there are {counts}: pair them by their `id`')
