"""A result: MTEB's scores of a model on a task, with their signature and their intervals."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from html import escape
from pathlib import Path
from typing import Any

from hbt_bench.data.levels import QUESTION
from hbt_bench.errors import HbtBenchError, OutputError
from hbt_bench.identity.signature import parse_fields
from hbt_bench.identity.task_name import Mode, TaskName
from hbt_bench.identity.variant import short_revision
from hbt_bench.measures.ranking import Array
from hbt_bench.measures.registry import MEASURES
from hbt_bench.results.hierarchy import Hierarchy
from hbt_bench.results.plain import ForeignError, StockError, with_summary
from hbt_bench.results.ranks_file import StoredRanks
from hbt_bench.results.schema import (
    FORMAT,
    MODEL_META,
    ResultFile,
    Summary,
    SummaryLine,
    describe,
    read_json,
    read_summary,
    verify,
)
from hbt_bench.results.scores import (
    Interval,
    Intervals,
    Scores,
    agree,
    decode_contributions,
    hierarchy_of,
    question_clusters,
    question_contributions,
)

__all__ = ["ForeignError", "Result", "StockError", "finite", "model_label"]


@dataclass(frozen=True)
class Result:
    """The scores of a model on a task.

    For example, ``Result.read(path).scores["AP"]`` is a mean over all subsets, ``.subsets["de-en"]["AP"]`` the score of
    one subset.

    Attributes:
        task: The task name, such as ``xquad-r-multi[de,en]``.
        mteb_name: The name of the task in MTEB.
        model, revision: The model's name, and its commit or content hash.
        signature: Everything that the scores depend on.
        subsets: The scores of each subset.
        path: The file.
        expected_subsets: The number of subsets that the task has.
        ranks: The file with the ranks, None for a task of MTEB.
        format: The format of the file.
        intervals: The 95 % intervals of the means by measure, empty if the file has none.
        chance: The means of a random ranking by measure, empty in the results of older versions.
        limits: The lowest and highest means that the cut of a run leaves open, by measure, empty for whole rankings.
        subset_intervals: The intervals of each subset by measure.
        encoded_contributions: The stored contributions by measure, as base64 of float32.
        interval_signature: Everything that the intervals depend on, besides the signature. None in the results of older
            versions, which have questions as clusters.
        hierarchy: The clusters of the questions, None in the results of older versions.
        parameters: The number of the model's parameters, None if unknown.
        speed: Texts that were encoded and ranked per second, None if unknown.
        training: The settings of the model's recipe, empty if unknown.
        prompts: The prompts by role, None if unknown.
        given_prompts: The prompts given by hand, by MTEB's names. None without them, and in results of older versions.
        unshifted: The fingerprint of the data with unchanged queries, None without a query shift.
        plain: Whether plain `mteb.evaluate` wrote the file, which has no ranks and no intervals.
    """

    task: str
    mteb_name: str
    model: str
    revision: str
    signature: str
    subsets: Scores
    path: Path
    expected_subsets: int
    ranks: Path | None = None
    format: int = FORMAT
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    chance: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, Interval] = field(default_factory=dict)
    subset_intervals: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    encoded_contributions: Mapping[str, str] = field(default_factory=dict)
    interval_signature: str | None = None
    hierarchy: Hierarchy | None = None
    parameters: int | None = None
    speed: float | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    prompts: Mapping[str, str] | None = None
    given_prompts: Mapping[str, str] | None = None
    unshifted: str | None = None
    plain: bool = False

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {self.scores[name]:.4g}" for name in self._shown[:3])
        return f"Result({self.task} of {self.label}: {scores})"

    def _repr_html_(self) -> str:
        """Return the scores of each subset as a table for a notebook."""
        import pandas as pd

        frame = pd.DataFrame({"all": self.scores, **self.subsets}).T[self._shown]
        return f"<p>{escape(repr(self))}</p>{frame.to_html(float_format='{:.4f}'.format, na_rep='-', max_rows=30)}"

    @property
    def _shown(self) -> list[str]:
        """The measures in a short description: those of tables, else the first of the task."""
        return [name for name in MEASURES.in_tables() if name in self.scores] or list(self.scores)[:5]

    @property
    def scores(self) -> dict[str, float]:
        """Each measure averaged over the subsets, all with the same weight (the paper's macro average)."""
        return self.subsets.means()

    @property
    def prompt_by_hand(self) -> str:
        """The hash of prompts that were given by hand, else ``none``. MTEB keeps such results in a separate folder."""
        return self.fields.get("prompt", "none") if self._is_experiment else "none"

    @property
    def _is_experiment(self) -> bool:
        """Whether the file is in MTEB's folder for a run with other settings of the same model."""
        return self.path.parent.parent.name == "experiments"

    @property
    def prompts_by_hand(self) -> dict[str, str]:
        """The prompts that were given by hand, by MTEB's names. Empty if there were none."""
        if not self._is_experiment:
            return {}
        if self.given_prompts is not None:
            return dict(self.given_prompts)
        try:  # an older version kept them in MTEB's metadata
            settings = read_json(self.path.with_name(MODEL_META)).get("experiment_kwargs") or {}
            prompts = {name: settings.get(name) for name in ("query_prompt", "document_prompt")}
        except (OSError, ValueError, AttributeError):  # missing or damaged
            prompts = {}
        texts = {name: str(text) for name, text in prompts.items() if text is not None}
        return texts or {f"{role}_prompt": text for role, text in (self.prompts or {}).items()}

    @property
    def label(self) -> str:
        """The model and its revision. A content hash is cut to 8 digits."""
        return model_label(self.model, self.revision)

    @property
    def complete(self) -> bool:
        """Whether every subset of the task has scores."""
        return len(self.subsets) >= self.expected_subsets

    @cached_property
    def fields(self) -> dict[str, str]:
        """The fields of the signature."""
        return parse_fields(self.signature)

    @property
    def depth(self) -> int | None:
        """The number of documents up to which the rankings of a run are complete, None for whole rankings."""
        depth = self.fields.get("depth", "")
        return int(depth) if depth.isdecimal() else None

    @cached_property
    def task_name(self) -> TaskName:
        """The parts of the task's name."""
        return TaskName.parse(self.task)

    @property
    def mode(self) -> Mode | None:
        """The mode, None for a task of MTEB."""
        return self.task_name.mode

    @property
    def collection(self) -> str:
        """The task's name without the mode: ``xquad-r[de,en]+typos``."""
        return self.task_name.collection

    def contributions(self, measure: str, names: Collection[str] | None = None) -> Array | None:
        """Return the contribution of each question to the mean over all subsets, or those in `names`, (questions,).

        They add up to the mean. They are read from the result, or computed from its ranks. None without ranks, and for
        a measure without a value for each query. Raises `OutputError` if the ranks are damaged, of other data, or do
        not give the score of this result.
        """
        return self.cluster_contributions(measure, names, cluster=QUESTION)

    @property
    def interval_level(self) -> str:
        """The level of the clusters of the stored intervals."""
        return parse_fields(self.interval_signature or "").get("level", QUESTION)

    def has_level(self, name: str) -> bool:
        """Return whether the data have clusters of this name."""
        return name == QUESTION or (self.hierarchy is not None and name in self.hierarchy.levels)

    def cluster_contributions(
        self,
        measure: str,
        names: Collection[str] | None = None,
        hierarchy: Hierarchy | None = None,
        cluster: str | None = None,
    ) -> Array | None:
        """Return the contribution of each cluster to the mean, (clusters,); see `contributions` for the questions.

        `hierarchy` replaces that of this result, which must be of the same data; without any, a question is a cluster.
        `cluster` is the level; see `Level.choose`.
        """
        hierarchy = hierarchy or self.hierarchy
        if measure in self.encoded_contributions and (names is None or len(names) == len(self.subsets)):
            contributions = decode_contributions(self.encoded_contributions[measure])
            if hierarchy is None:
                return contributions
            return hierarchy.level(cluster).add_up(contributions, hierarchy.asked.get(measure))
        if self.ranks is None or self.mode is None:
            return None
        stored = self.stored_ranks()
        chosen = self.subsets if names is None else names
        clusters = question_clusters(stored.judgements, stored.ranks, self.mode, measure, chosen)
        if clusters is None:
            return None
        self.check_score(measure, clusters.average, chosen)
        level = (hierarchy or hierarchy_of(stored.judgements)).level(cluster)
        return level.add_up(clusters.contributions, clusters.questions)

    def computed_intervals(self, names: Collection[str] | None = None, cluster: str | None = None) -> Intervals:
        """Return the intervals of all subsets, or those in `names`, computed from the ranks; none without ranks.

        `cluster` is the level of the clusters; see `Level.choose`. Raises `OutputError` if the ranks are damaged or of
        other data.
        """
        if self.ranks is None or self.mode is None:
            return Intervals()
        stored = self.stored_ranks()
        return Intervals.from_ranks(stored.judgements, stored.ranks, self.mode, names, cluster)

    def stored_ranks(
        self, error: type[HbtBenchError] = OutputError, advice: str = "Run again with --overwrite."
    ) -> StoredRanks:
        """Read the ranks from which the scores were computed, with the clusters of the questions.

        Raises `OutputError` if they are damaged, and `error` if there are none, or they are of other data or do not
        give the AP of this result; `advice` ends its message.
        """
        if self.ranks is None:
            raise error(f"{self.path} has no ranks. {advice}")
        stored, data = StoredRanks.read(self.ranks), self.fields.get("data")
        if stored.data != data:
            raise error(f"{self.ranks} is of other data than {self.path.name} ({stored.data}, not {data}). {advice}")
        if self.hierarchy is not None and not stored.judgements.levels:  # files of ranks have no clusters
            if hierarchy_of(stored.judgements).questions != self.hierarchy.questions:
                raise error(f"{self.ranks} has other questions than {self.path.name}. {advice}")
            stored = replace(stored, judgements=replace(stored.judgements, levels=self.hierarchy.levels))
        if self.mode is not None:
            contributions = question_contributions(stored.judgements, stored.ranks, self.mode, "AP", self.subsets)
            self.check_score("AP", math.nan if contributions is None else float(contributions.sum()), error=error)
        return stored

    def check_score(
        self,
        measure: str,
        value: float,
        names: Collection[str] | None = None,
        error: type[HbtBenchError] = OutputError,
    ) -> None:
        """Raise `error` if `value`, computed from the ranks, is not the stored mean of a measure up to rounding.

        A measure that the result does not have is not checked.
        """
        stored = self.subsets.mean(measure, names)
        if stored is not None and not agree(value, stored):
            raise error(
                f"{self.path} has {measure} {stored:.6g}, but {self.ranks and self.ranks.name} gives {value:.6g}. "
                "Delete both files and run again."
            )

    @classmethod
    def read(cls, path: Path, measures: Collection[str] | None = None) -> Result:
        """Read a result file.

        With `measures`, only their scores are sure to be read: if the summary has them, the rest of the file is not
        read. A result of our task that plain `mteb.evaluate` wrote is read, too. Raises `OutputError` for a damaged
        file, and its subclass `ForeignError` for JSON of another program.
        """
        try:
            if measures is not None and set(measures) <= set(MEASURES.in_summary()):
                summary = read_summary(path)
                if summary is not None:
                    line = SummaryLine.model_validate(summary)
                    return cls._from_summary(path, line, line.mteb_name, line.values.scores)
            content = read_json(path)
            plain = not isinstance(content, dict) or "hbt_bench" not in content
            file = _validated(path, with_summary(path, content) if plain else content)
        except OSError as error:
            raise OutputError(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, OverflowError) as error:
            raise OutputError(
                f"{path} is not a result of hbt-bench, or damaged ({describe(error)}). Delete it and run again."
            ) from error
        others = {"subset_intervals": file.subset_intervals, "plain": plain}
        return cls._from_summary(path, file.summary, file.task_name, file.scores, **others)

    @classmethod
    def _from_summary(cls, path: Path, summary: Summary, mteb_name: str, subsets: Scores, **fields: Any) -> Result:
        others = ("ranks", "mteb_name", "values", "stock", "clusters")
        if summary.clusters is not None:
            fields["hierarchy"] = summary.clusters.hierarchy
        fields |= {name: value for name, value in summary if name not in others and value is not None}
        fields["ranks"] = path.parent / summary.ranks if summary.ranks else None
        return cls(path=path, mteb_name=mteb_name, subsets=subsets, **fields)

    def as_json(self) -> dict[str, Any]:
        """Return the entry of ``hbt-bench run --format json``. NaN, which JSON does not have, becomes null."""
        return {key: getattr(self, key) for key in ("task", "mteb_name", "model", "revision")} | {
            "scores": finite(self.scores),
            "subsets": {name: finite(scores) for name, scores in self.subsets.items()},
            "signature": self.signature,
            "interval_signature": self.interval_signature,
            "path": str(self.path),
        }


def _validated(path: Path, content: Mapping[str, Any]) -> ResultFile:
    summary = content["hbt_bench"]
    verify(summary, {key: value for key, value in content.items() if key != "hbt_bench"})
    file_format = summary.get("format", 1)
    if isinstance(file_format, int) and file_format > FORMAT:
        raise OutputError(f"{path} was written by a newer hbt-bench. Upgrade to read it.")
    return ResultFile.model_validate(content)


def finite(scores: Mapping[str, float]) -> dict[str, float | None]:
    """Return scores for JSON, which has no NaN."""
    return {key: value if math.isfinite(value) else None for key, value in scores.items()}


@cache
def model_label(model: str, revision: str) -> str:
    """Return a short name for tables: ``local/ckpt@9285d5c8``."""
    return f"{model}@{short_revision(revision)}" if revision else model
