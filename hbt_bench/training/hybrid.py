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

from hbt_bench.data.records import first_value, identifier
from hbt_bench.distributed import world_size
from hbt_bench.errors import DataError, UsageError
from hbt_bench.languages import general, read_label
from hbt_bench.training.plan import BatchPlan
from hbt_bench.training.plan_report import check_keys, check_negatives, fill, report
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
    _check_fields(align, fields, by_language=isinstance(rows, Mapping))
    codes = tuple(languages or ())
    weights = dict(language_weights) if isinstance(language_weights, Mapping) else language_weights
    try:
        spec = Records(query=query, passage=passage, languages=codes, **fields)
        recipe = Recipe(pairs=pairs, language_weights=weights, batch_size=batch_size, steps=steps, seed=seed)
    except ValidationError as error:
        location, message = first_mistake(error)
        raise UsageError(f"{'.'.join(map(str, location))}: {message}" if location else message) from None
    if isinstance(rows, Mapping):
        rows = _merged(rows, spec, align)
        spec = spec.model_copy(update={"id": "id", "parallel": True if align == "row" else spec.parallel})
    records = ((f"row {number}", record) for number, record in enumerate(rows))
    source = read_items(spec.name or "rows", spec, records)
    recipe = recipe.model_copy(
        update={"strategy": strategy, "alpha": alpha, "languages": spec.chosen or None, "guard": ()}
    )
    check_keys(recipe, [source])
    mix = BatchMix.from_strategy(strategy, alpha, pairs, source)
    if STRATEGIES[strategy].uses_alpha and alpha < 1 and not SourcePairs(source, alpha, pairs).cross:
        reason = source.unpaired or f"all texts are in {' '.join(source.languages)}"
        log.warning(f"{source.name} has no pairs of two languages, so all batches of {strategy} have one: {reason}")
    weighted = fill(WeightedSource(source, 1.0, mix, recipe.language_weights), batch_size)
    plan = BatchPlan((weighted,), batch_size, steps, seed)
    report(recipe, plan, [None])
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


def _check_fields(align: str, fields: Mapping[str, Any], *, by_language: bool) -> None:
    """Raise `UsageError` if `align` is unknown or does not fit the rows, and for a key that does not fit a source."""
    if align not in ("id", "row"):
        raise UsageError(f"align is '{align}', but must be 'id' or 'row'")
    if align == "row" and not by_language:
        raise UsageError('align="row" pairs the rows of a mapping from languages to rows: give such a mapping')
    if align == "row" and fields.get("parallel") is not None:
        raise UsageError('align="row" pairs the rows of all languages, so it takes no parallel: leave it out')
    if "weight" in fields:
        raise UsageError("weight is for one of several sources, and the rows are the only one: leave it out")


def _merged(rows: Mapping[str, Iterable[Record]], spec: Records, align: str) -> Iterator[dict[str, Any]]:
    """Yield the records of each language as records with `texts` and an `id`."""
    lengths: dict[str, int] = {}
    numbers: dict[str, int] = {}  # the row of each id of the first language
    has_id = spec.id_field in (None, "id")
    for language, records in rows.items():
        if not _is_wanted(language, spec):
            continue
        number = -1
        for number, record in enumerate(records):
            key = _identifier(record, spec.id_field)
            has_id = has_id or key is not None
            if align == "row" and key is not None:
                _check_number(numbers, key, number, language, first=not lengths)
            yield {"id": number if align == "row" else key, TEXTS: {language: record}}
        lengths[language] = number + 1
    if not has_id:
        raise DataError(f"no row has a text or a whole number at '{spec.id_field}', the `id`: correct it")
    if align == "row" and len(set(lengths.values())) > 1:
        counts = ", ".join(f"{count:,} in {language}" for language, count in lengths.items())
        raise DataError(f'align="row" pairs rows by number, but there are {counts}: pair them by their `id`')


def _is_wanted(language: str, spec: Records) -> bool:
    """Return whether a language, in any spelling, may be one that the rows are read in."""
    code = read_label(language, rare=True)
    spellings = {language, code, general(code) if code else None}
    return not spec.chosen or not spellings.isdisjoint({*spec.chosen, *spec.labels.values()})


def _identifier(record: Record, path: str | None) -> str | None:
    """Return the id of a record at a path, which may be the name of a field with a dot."""
    if path is None:
        return None
    return identifier(record[path] if path in record else first_value(record, path))


def _check_number(numbers: dict[str, int], key: str, number: int, language: str, *, first: bool) -> None:
    """Raise `DataError` if the id of a row is that of another row in the first language."""
    if first:
        numbers.setdefault(key, number)
    elif numbers.get(key, number) != number:
        raise DataError(
            f"align=\"row\" pairs rows by number, but the id '{key}' is in row {numbers[key]} of the first language "
            f'and in row {number} of {language}: pair by id, without align, or ignore the ids with id="none"'
        )
