"""The schema of a result file: the summary in ``hbt_bench``, MTEB's scores and the intervals of the subsets.

The summary is the second line of the file, all that a leaderboard of many models reads. A value outside the schema
means that the file is damaged: a score outside the range of its measure, an interval that does not contain its score, a
summary that differs from MTEB's scores or from its checksum.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import from_json

from hbt_bench.identity.signature import parse_fields
from hbt_bench.measures.registry import MEASURES
from hbt_bench.results.hierarchy import Hierarchy
from hbt_bench.results.scores import TOLERANCE, Scores, agree, decode_contributions

#: The format that is written.
FORMAT = 2
#: The beginning of the second line, before the summary itself.
PREFIX = b'  "hbt_bench": '
#: Bytes of a result file that are read. All pairs of 200 languages need a quarter of them.
MAX_BYTES = 128 << 20
#: MTEB's description of the model, in each folder of results.
MODEL_META = "model_meta.json"
#: Keys that differ between runs with equal scores, and the checksums themselves.
_UNSEALED = {"check", "speed", "device", "date", "evaluation_phases", "evaluation_time", "kg_co2_emissions"}
#: Keys of a subset in MTEB's JSON that are not scores.
NOT_SCORES = {"hf_subset", "languages", "mteb_version", "signature", "main_score", "queries", "subsets"}


def _increasing(interval: tuple[float, float]) -> tuple[float, float]:
    if interval[0] > interval[1]:
        raise ValueError("the lower bound is above the upper bound")
    return interval


def _file_name(name: str) -> str:
    """Refuse a path: a result from elsewhere must not make us read any other file."""
    if name != os.path.basename(name) or name in ("", ".", ".."):  # noqa: PTH119
        raise ValueError(f"{name[:40]!r} is not the name of a file in the same folder")
    return name


def _names_data(signature: str) -> str:
    if not parse_fields(signature).get("data"):
        raise ValueError("the signature does not name the data")
    return signature


#: Below 2^53, up to which every JSON reader keeps integers exactly.
Count = Annotated[int, Field(ge=0, lt=1 << 53)]
Speed = Annotated[float, Field(ge=0, lt=2.0**53)]
Bounds = Annotated[tuple[float, float], Field(strict=False), AfterValidator(_increasing)]
FileName = Annotated[str, AfterValidator(_file_name)]
#: A value of a recipe. Seeds have up to 64 bits.
Setting = (
    str
    | bool
    | Annotated[int, Field(gt=-(1 << 64), lt=1 << 64)]
    | Annotated[float, Field(gt=-(2.0**64), lt=2.0**64)]
    | None
)


class _Schema(BaseModel):
    # built on first use, because a leaderboard needs only the summary
    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False, defer_build=True)


class Values(_Schema, extra="allow"):
    """The scores in a summary: the names of the subsets, then a list for each measure, null for a missing score."""

    __pydantic_extra__: dict[str, list[float | None]]
    subsets: list[str]

    @cached_property
    def scores(self) -> Scores:
        """The same scores, by subset and measure."""
        return Scores(self.subsets, self.__pydantic_extra__)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_scores(self.scores)
        return self


class HierarchyEntry(_Schema):
    """The clusters of the questions in a summary, as `Hierarchy.as_json` writes them."""

    questions: Annotated[int, Field(ge=0, lt=1 << 31)]
    levels: dict[str, str]
    asked: dict[str, str]

    @cached_property
    def hierarchy(self) -> Hierarchy:
        """The clusters. Raises `ValueError` if they are damaged."""
        return Hierarchy.from_json(self.model_dump())


class Summary(_Schema):
    """The identity of a result, and all that a leaderboard shows of it."""

    format: int = Field(1, ge=0, le=FORMAT)
    task: str
    mteb_name: str | None = None
    model: str
    revision: str
    signature: Annotated[str, AfterValidator(_names_data)]
    expected_subsets: Count = Field(alias="subsets")
    stock: bool
    ranks: FileName | None = None
    parameters: Count | None = None
    speed: Speed | None = None
    training: dict[str, Setting] | None = None
    prompts: dict[str, str] | None = None
    given_prompts: dict[str, str] | None = Field(None, alias="prompts_by_hand")
    unshifted: str | None = Field(None, alias="clean")
    values: Values | None = None
    intervals: dict[str, Bounds] = {}
    chance: dict[str, float] = {}
    limits: dict[str, Bounds] = {}
    encoded_contributions: dict[str, str] = Field({}, alias="shares")
    interval_signature: str | None = None
    clusters: HierarchyEntry | None = Field(None, alias="hierarchy")


class SummaryLine(Summary):
    """A summary that is read without the rest of its file."""

    mteb_name: str
    values: Values

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_statistics(self, self.values.scores, {})
        return self


class SubsetEntry(_Schema):
    """A subset in MTEB's JSON. MTEB writes NaN for a score without a value."""

    model_config = ConfigDict(allow_inf_nan=True, extra="allow")

    hf_subset: str
    main_score: float | None = None

    def scores(self, stock: bool) -> dict[str, float]:
        """Return the scores by measure, with the main score for a task of MTEB (`stock`)."""
        scores = {
            key: float(value)
            for key, value in (self.model_extra or {}).items()
            if key not in NOT_SCORES and isinstance(value, int | float) and not isinstance(value, bool)
        }
        if stock:
            if self.main_score is None:
                raise ValueError("main_score is missing")
            scores["main_score"] = self.main_score
        return scores


class ResultFile(_Schema):
    """A whole result file."""

    summary: Summary = Field(alias="hbt_bench")
    task_name: str
    splits: dict[str, list[SubsetEntry]] = Field(alias="scores")
    subset_intervals: dict[str, dict[str, Bounds]] = Field({}, alias="hbt_bench_intervals")

    @cached_property
    def scores(self) -> Scores:
        """MTEB's scores. The name of a subset has its split if there are several splits."""
        return _join_splits(self.splits, self.summary.stock)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_scores(self.scores)
        values = self.summary.values
        if values is not None and values.model_dump() != summary_values(self.scores):
            raise ValueError("the summary has other scores than the rest of the file")
        _check_statistics(self.summary, self.scores, self.subset_intervals)
        return self


def scores_from_mteb(content: Mapping[str, Any], stock: bool) -> Scores:
    """Return the scores in MTEB's JSON of a result."""
    splits = TypeAdapter(dict[str, list[SubsetEntry]]).validate_python(content["scores"])
    return _join_splits(splits, stock)


def summary_values(scores: Scores) -> dict[str, list[Any]]:
    """Return the ``values`` of a summary."""
    values: dict[str, list[Any]] = {"subsets": list(scores)}
    for measure in MEASURES.in_summary():
        if measure in scores.columns:
            column = scores.columns[measure]
            values[measure] = [value if value is not None and math.isfinite(value) else None for value in column]
    return values


def describe(error: ValueError | OverflowError) -> str:
    """Return the first reason of an error, on one line of at most 200 characters."""
    text = str(error)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        location = ".".join(map(str, first["loc"]))
        text = first["msg"].removeprefix("Value error, ")
        text = f"{location}: {text}" if location else text
    return " ".join(text.split())[:200]


def _join_splits(splits: Mapping[str, Iterable[SubsetEntry]], stock: bool) -> Scores:
    subsets: dict[str, dict[str, float]] = {}
    for split, entries in splits.items():
        for entry in entries:
            name = entry.hf_subset if len(splits) == 1 else f"{entry.hf_subset}/{split}"
            if name in subsets:
                raise ValueError(f"the subset {name[:40]!r} is there twice")
            subsets[name] = entry.scores(stock)
    return Scores.from_subsets(subsets)


def _check_scores(scores: Scores) -> None:
    """Raise `ValueError` for scores outside the range of their measure, and subsets that are there twice."""
    if len(set(scores.names)) < len(scores.names):
        raise ValueError("a subset is there twice")
    for measure, column in scores.columns.items():
        if len(column) != len(scores.names):
            raise ValueError(f"there are {len(column)} scores of {measure} for {len(scores.names)} subsets")
        _check_range(measure, column)


def _check_range(measure: str, values: Iterable[float | None]) -> None:
    low, high = MEASURES.describe(measure).bounds
    for value in values:
        if value is not None and not low - TOLERANCE <= value <= high + TOLERANCE and not math.isnan(value):
            raise ValueError(f"{measure} cannot be {value:.6g}")


def _check_statistics(
    summary: Summary, scores: Scores, subset_intervals: Mapping[str, Mapping[str, tuple[float, float]]]
) -> None:
    """Raise `ValueError` if intervals or contributions are not those of the scores."""
    if scores and not summary.expected_subsets:
        raise ValueError("there are scores of a task without subsets")
    means = {measure: scores.mean(measure) for measure in {**summary.intervals, **summary.encoded_contributions}}
    for measure, interval in summary.intervals.items():
        _check_interval(measure, interval, means[measure])
    for measure, value in summary.chance.items():
        _check_range(measure, [value])
    hierarchy = summary.clusters and summary.clusters.hierarchy
    for measure, text in summary.encoded_contributions.items():
        number = _check_contributions(measure, text, means[measure])
        if hierarchy and number != len(hierarchy.asked.get(measure, range(hierarchy.questions))):
            raise ValueError(f"the contributions to {measure} are of other questions than the clusters")
    for measure, intervals in subset_intervals.items():
        values = scores.by_subset(measure)
        for name, interval in intervals.items():
            _check_interval(measure, interval, values.get(name))


def _check_interval(measure: str, interval: tuple[float, float], value: float | None) -> None:
    _check_range(measure, interval)
    tolerance = TOLERANCE * max(1.0, abs(value or 0.0))
    if value is not None and not interval[0] - tolerance <= value <= interval[1] + tolerance:
        raise ValueError(f"the interval of {measure} does not contain {value:.6g}")


def _check_contributions(measure: str, text: str, mean: float | None) -> int:
    """Return the number of contributions; raises `ValueError` if they do not add up to the mean."""
    try:
        contributions = decode_contributions(text)
    except ValueError as error:
        raise ValueError(f"the contributions to {measure} are not base64 of float32") from error
    if mean is None or not agree(float(contributions.sum()), mean):
        raise ValueError(f"the contributions to {measure} do not add up to its mean")
    return len(contributions)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises `ValueError` for other content."""
    with path.open("rb") as file:
        return from_json(file.read(MAX_BYTES))


def read_summary(path: Path) -> Any:
    """Return the summary of a result without reading the rest of the file, None for a file of another format.

    Raises `ValueError` for a file that was cut, and for a summary that does not have its checksum.
    """
    with path.open("rb") as file:
        start = file.readline(3)
        line = file.readline(MAX_BYTES)
        if start != b"{\n" or not line.startswith(b'%s{"format": %d,' % (PREFIX, FORMAT)):
            return None
        file.seek(-2, 2)
        if file.read() != b"}\n":
            raise ValueError("its end is missing")
    summary = from_json(line[len(PREFIX) :].rstrip(b",\n"))
    verify(summary)
    return summary


def seal(summary: Mapping[str, Any], rest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary with checksums of itself and of the rest of the file, which show a changed digit."""
    return {**summary, "check": [_checksum(summary), _checksum(rest)]}


def verify(summary: Any, rest: Mapping[str, Any] | None = None) -> None:
    """Raise `ValueError` if a summary, or the `rest` of its file, differs from its checksum. Old files have none."""
    if not isinstance(summary, dict):
        raise ValueError("its summary is not a JSON object")  # noqa: TRY004 -- damage, not a defect
    if "check" not in summary:
        return
    expected = [_checksum(summary)] + ([] if rest is None else [_checksum(rest)])
    stored = summary["check"]
    if not isinstance(stored, list) or stored[: len(expected)] != expected:
        raise ValueError("its checksum is wrong")


def _checksum(content: Mapping[str, Any]) -> str:
    """Return a checksum that does not depend on the layout of the JSON, equal for runs with equal scores."""
    sealed = {key: value for key, value in content.items() if key not in _UNSEALED}
    return f"{zlib.crc32(json.dumps(sealed, sort_keys=True).encode()):08x}"
