"""One result: a file in which MTEB's scores of a task stand with what they depend on and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from hbt_bench.errors import OutputError
from hbt_bench.measures.ranking import Array
from hbt_bench.ranking.subsets import MODES, Mode
from hbt_bench.results import schema
from hbt_bench.results.intervals import Interval, Intervals, decode_shares, question_shares
from hbt_bench.results.ranks_file import StoredRanks
from hbt_bench.results.summary import FORMAT, HEAD_MEASURES, HeadScores, head_values, read_head, verify

_HEX = frozenset("0123456789abcdef")
#: Not scores, though they stand among them in MTEB's JSON.
_NO_SCORES = {"hf_subset", "languages", "mteb_version", "signature", "main_score", "queries"}
#: What a file raises that is damaged, or nested or numbered beyond what Python takes.
_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)


class ForeignError(OutputError):
    """JSON that is whole and not of this program, such as a result of MTEB's own."""


@dataclass(frozen=True)
class Result:
    """The scores of one model on one task: per subset, and as means over the subsets.

    `intervals` are those of the means and `subset_intervals` those of each subset, by measure, empty where they are
    not stored; `encoded_shares` are what `shares` needs no ranks for. `parameters` is the number of the model's,
    `speed` the texts it encoded and ranked a second, `training` what its recipe says; None or empty where it is not
    known. `clean` is the fingerprint of the data with unchanged queries, None for a task without a query shift.
    """

    task: str
    mteb_name: str
    model: str
    revision: str
    signature: str
    subsets: Mapping[str, Mapping[str, float]]
    path: Path
    expected_subsets: int
    ranks: Path | None = None
    format: int = FORMAT
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    subset_intervals: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    encoded_shares: Mapping[str, str] = field(default_factory=dict)
    parameters: int | None = None
    speed: float | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    prompts: Mapping[str, str] | None = None
    clean: str | None = None

    @property
    def scores(self) -> dict[str, float]:
        """Each measure averaged over the subsets, every subset counting the same (the paper's macro average)."""
        return self.means(self.subsets)

    def means(self, names: Collection[str]) -> dict[str, float]:
        """Each measure averaged over the subsets in `names`; a measure that one of them lacks is left out."""
        if isinstance(self.subsets, HeadScores) and len(names) == len(self.subsets):
            return self.subsets.means
        chosen = [self.subsets[name] for name in names]
        shared = [measure for measure in chosen[0] if all(measure in scores for scores in chosen)] if chosen else []
        return {measure: math.fsum(scores[measure] for scores in chosen) / len(chosen) for measure in shared}

    def by_subset(self, measure: str, names: Collection[str]) -> dict[str, float]:
        """One measure of the subsets in `names` that have it."""
        if isinstance(self.subsets, HeadScores):
            columns: Any = zip(self.subsets.names, self.subsets.columns.get(measure, ()), strict=False)
        else:
            columns = ((name, scores.get(measure)) for name, scores in self.subsets.items())
        wanted = set(names)
        return {name: value for name, value in columns if value is not None and name in wanted}

    @property
    def given_prompt(self) -> str:
        """The hash of the prompts if they were given by hand, else ``none``: MTEB keeps such results apart."""
        return self.fields.get("prompt", "none") if "experiments" in self.path.parts else "none"

    @property
    def hand_prompts(self) -> dict[str, str]:
        """The prompts that were given by hand, by MTEB's names; empty where none were."""
        if "experiments" not in self.path.parts:
            return {}
        try:
            meta = schema.loaded(self.path.with_name("model_meta.json"))
            given = meta.get("experiment_kwargs") or {}
        except (OSError, ValueError, AttributeError, RecursionError):
            given = {}
        found = {key: str(given[key]) for key in ("query_prompt", "document_prompt") if given.get(key) is not None}
        own = {f"{role}_prompt": text for role, text in (self.prompts or {}).items()}
        return found or own

    @property
    def label(self) -> str:
        """Model and revision, a content hash shortened to 8 digits."""
        return model_label(self.model, self.revision)

    @property
    def complete(self) -> bool:
        """Whether every subset of the task is there."""
        return len(self.subsets) >= self.expected_subsets

    @cached_property
    def fields(self) -> dict[str, str]:
        """The fields of the signature."""
        return {name: value for name, _, value in (part.partition(":") for part in self.signature.split("|"))}

    @cached_property
    def place(self) -> tuple[str, Mode | None]:
        """``xquad-r[de,en]+typos`` and ``multi`` for ``xquad-r-multi[de,en]+typos``; for a task without modes, None."""
        end = next((at for at, sign in enumerate(self.task) if sign in "[+"), len(self.task))
        collection, _, mode = self.task[:end].rpartition("-")
        found = next((known for known in MODES if known == mode), None)
        return (collection + self.task[end:], found) if found else (self.task, None)

    def shares(self, measure: str, names: Collection[str] | None = None) -> Array | None:
        """What each question adds to the mean of `measure` over all subsets or those in `names`, (questions,).

        As stored, else from the ranks; None where there are no ranks, or the measure has no value a question. Raises
        `OutputError` when the ranks cannot be read, are of other data, or do not give the score of this result.
        """
        names = self.subsets if names is None else names
        mode = self.place[1]
        if len(names) == len(self.subsets) and measure in self.encoded_shares:
            return decode_shares(self.encoded_shares[measure])
        if self.ranks is None or mode is None:
            return None
        stored = self.stored_ranks()
        shares = question_shares(stored.judgements, stored.ranks, mode, measure, names)
        written = self.means(names).get(measure)
        if shares is not None and (written is None or not schema.agree(float(shares.sum()), written)):
            raise OutputError(f"{self.path} does not say the {measure} that its ranks give: run again with --overwrite")
        return shares

    def computed_intervals(self, names: Collection[str] | None = None) -> Intervals:
        """Intervals from the ranks, of all subsets or those in `names`; empty for a result without ranks.

        Raises `OutputError` when the ranks cannot be read or are of other data.
        """
        mode = self.place[1]
        if self.ranks is None or mode is None:
            return Intervals()
        stored = self.stored_ranks()
        return Intervals.of(stored.judgements, stored.ranks, mode, names)

    def stored_ranks(self) -> StoredRanks:
        """The ranks that the scores were made from.

        Raises `OutputError` when there are none, or they cannot be read, are of other data, or give another AP.
        """
        if self.ranks is None:
            raise OutputError(f"{self.path} has no ranks: run again with --overwrite")
        stored, mode = StoredRanks.read(self.ranks), self.place[1]
        if stored.data != self.fields.get("data"):
            raise OutputError(f"{self.ranks} is of other data than {self.path.name}: run again with --overwrite")
        if mode is not None:
            shares = question_shares(stored.judgements, stored.ranks, mode, "AP", self.subsets)
            written = self.scores.get("AP")
            if shares is None or written is None or not schema.agree(float(shares.sum()), written):
                raise OutputError(
                    f"{self.ranks} is not what {self.path.name} was made from: run again with --overwrite"
                )
        return stored

    @classmethod
    def read(cls, path: Path, measures: Collection[str] | None = None) -> Result:
        """Read one file; raises `OutputError` when it is damaged, of which `ForeignError` for other JSON than ours.

        With `measures`, only these are promised to be among the scores; if the head has them, no more is read.
        """
        try:
            if measures is not None and set(measures) <= set(HEAD_MEASURES):
                about = read_head(path)
                if about is not None:
                    return cls._of(path, about["mteb_name"], about, HeadScores.of(about["values"]), {})
            content = schema.loaded(path)
            if not isinstance(content, dict) or "hbt_bench" not in content:
                raise ForeignError(
                    f"{path} is no result of hbt-bench: name one of the files that `hbt-bench run` writes"
                )
            about = content["hbt_bench"]
            verify(about, {key: value for key, value in content.items() if key != "hbt_bench"})
            if schema.as_count(about.get("format", 1)) > FORMAT:
                raise OutputError(f"{path} was written by a newer hbt-bench: upgrade to read it")
            subsets = subset_scores(content["scores"], about["stock"])
            _check_scores(subsets, about.get("values"))
            return cls._of(path, content["task_name"], about, subsets, content.get("hbt_bench_intervals", {}))
        except OSError as error:
            raise OutputError(f"cannot read {path}: {error.strerror}") from error
        except _DAMAGED as error:
            reason = " ".join(f"{error!r}".split())[:200]
            raise OutputError(
                f"{path} is no result of hbt-bench, or damaged ({reason}): delete it and run again"
            ) from error

    @classmethod
    def _of(
        cls,
        path: Path,
        mteb_name: str,
        about: Mapping[str, Any],
        subsets: Mapping[str, Mapping[str, float]],
        intervals: Mapping[str, Any],
    ) -> Result:
        result = cls(
            task=schema.as_text(about["task"]),
            mteb_name=schema.as_text(mteb_name),
            model=schema.as_text(about["model"]),
            revision=schema.as_text(about["revision"]),
            signature=schema.as_text(about["signature"]),
            subsets=subsets,
            path=path,
            expected_subsets=schema.as_count(about["subsets"], min(1, len(subsets))),
            ranks=schema.beside(path, about["ranks"]) if about.get("ranks") else None,
            format=about.get("format", 1),
            intervals={measure: schema.as_interval(found) for measure, found in about.get("intervals", {}).items()},
            subset_intervals={
                measure: {name: schema.as_interval(found) for name, found in named.items()}
                for measure, named in intervals.items()
            },
            encoded_shares=dict(about.get("shares", {})),
            parameters=schema.as_count(about["parameters"]) if about.get("parameters") else None,
            speed=schema.as_speed(about["speed"]) if about.get("speed") else None,
            training=schema.as_recipe(about.get("training") or {}),
            prompts={schema.as_text(role): schema.as_text(text) for role, text in (about.get("prompts") or {}).items()}
            or None,
            clean=schema.as_text(about["clean"]) if about.get("clean") else None,
        )
        result._check()
        return result

    def _check(self) -> None:
        """Raise `ValueError` where the parts of a result do not agree."""
        if not self.fields.get("data"):
            raise ValueError("its signature names no data")
        for measure in {**self.intervals, **self.encoded_shares}:
            mean = self._mean(measure)
            if measure in self.intervals:
                schema.check_interval(measure, self.intervals[measure], mean)
            if measure in self.encoded_shares:
                schema.check_shares(measure, self.encoded_shares[measure], mean)
        for measure, named in self.subset_intervals.items():
            values = self.by_subset(measure, named)
            for name, interval in named.items():
                schema.check_interval(measure, interval, values.get(name))

    def _mean(self, measure: str) -> float | None:
        """The mean over the subsets that have a score, None where none has."""
        if isinstance(self.subsets, HeadScores):
            column = self.subsets.columns.get(measure, ())
        else:
            column = [scores.get(measure) for scores in self.subsets.values()]
        found = [value for value in column if value is not None and value == value]
        return math.fsum(found) / len(found) if found else None

    def as_json(self) -> dict[str, Any]:
        """The entry of ``hbt-bench run --format json``; NaN, which JSON does not have, becomes null."""
        return {
            "task": self.task,
            "mteb_name": self.mteb_name,
            "model": self.model,
            "revision": self.revision,
            "scores": finite(self.scores),
            "subsets": {name: finite(scores) for name, scores in self.subsets.items()},
            "signature": self.signature,
            "path": str(self.path),
        }


def subset_scores(splits: Mapping[str, Any], stock: bool) -> dict[str, dict[str, float]]:
    """The scores of each subset in MTEB's JSON, the split told where there are several.

    Raises `ValueError` for a subset that is there twice.
    """
    found: dict[str, dict[str, float]] = {}
    for split, entries in splits.items():
        for entry in entries:
            name = entry["hf_subset"] if len(splits) == 1 else f"{entry['hf_subset']}/{split}"
            if found.setdefault(name, {}):
                raise ValueError("a subset is there twice")
            found[name] |= {
                key: float(value)
                for key, value in entry.items()
                if key not in _NO_SCORES and isinstance(value, int | float) and not isinstance(value, bool)
            }
            found[name] |= {"main_score": float(entry["main_score"])} if stock else {}
    return found


def _check_scores(subsets: Mapping[str, Mapping[str, float]], head: Any) -> None:
    """Raise `ValueError` for scores that cannot be, and where the `head` has others; format 1 has none there."""
    for name in subsets:
        schema.as_text(name)
    for measure in {schema.as_text(key) for scores in subsets.values() for key in scores}:
        schema.check_scores(measure, (scores.get(measure) for scores in subsets.values()))
    if head is not None and head != head_values(subsets):
        raise ValueError("its head has other scores than the rest")


def finite(scores: Mapping[str, float]) -> dict[str, float | None]:
    """Scores for JSON, which has no NaN."""
    return {key: value if math.isfinite(value) else None for key, value in scores.items()}


@cache
def model_label(model: str, revision: str) -> str:
    """``local/ckpt@9285d5c8``: enough to tell models apart in a table."""
    is_hash = len(revision) > 8 and _HEX.issuperset(revision)
    return f"{model}@{revision[:8] if is_hash else revision}" if revision else model
