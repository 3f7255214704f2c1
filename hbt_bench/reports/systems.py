"""The models of a comparison: find their results, read them with their ranks, and check that they are comparable."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hbt_bench.errors import DataError, UsageError, did_you_mean
from hbt_bench.identity.checkpoint import Checkpoint
from hbt_bench.identity.task_name import Mode, TaskName
from hbt_bench.identity.variant import short_revision
from hbt_bench.measures.registry import Measure
from hbt_bench.measures.scores import ModeRanks
from hbt_bench.mteb.models import BM25
from hbt_bench.ranking.bm25 import Parameters
from hbt_bench.results.schema import MODEL_META
from hbt_bench.results.scores import hierarchy_of
from hbt_bench.results.store import Result, model_folder, model_label
from hbt_bench.stats.clusters import Level
from hbt_bench.tasks.registry import TaskRegistry
from hbt_bench.tasks.task import TaskSpec


class RankedResult(NamedTuple):
    """A result and its ranks, which give the values of any measure. `model` is the user's name of the model."""

    model: str
    result: Result
    mode_ranks: ModeRanks

    def check_cut(self, measure: Measure) -> None:
        """Raise `DataError` if the ranks are those of a run whose cut leaves a measure open."""
        ranks = self.mode_ranks
        if ranks.ranks.cut is not None and measure.applies_to(ranks.judgements, ranks.mode):
            try:
                ranks.values(measure)
            except DataError as error:
                raise DataError(f"{self.model}: {error}") from error


@dataclass(frozen=True)
class ModelResults:
    """The folder with the results of a model, which may not exist yet. `model` is the user's name of the model."""

    model: str
    folder: Path

    @classmethod
    def find(cls, model: str, output: Path) -> ModelResults:
        """Find the results of a model below `output`.

        `model` is the folder of a checkpoint or of results, a name with or without its organisation, or
        ``name@revision`` with the beginning of a revision. Results with prompts given by hand are found by their folder
        only. For example, ``ModelResults.find("all-MiniLM-L6-v2", Path("results"))``.

        Raises `UsageError` if several folders match.
        """
        path = _as_folder(model)
        if path is not None:
            metas = [path / MODEL_META] if (path / MODEL_META).is_file() else sorted(path.glob(f"*/{MODEL_META}"))
            if metas:
                return cls(model, _single(model, [meta.parent for meta in metas]))
            checkpoint = Checkpoint.from_folder(path)
            return cls(model, model_folder(output, checkpoint.name, checkpoint.revision))
        name, _, revision = model.partition("@")
        folder_name = model_folder(output, name, "-").parent.name
        folders = [meta.parent for meta in sorted(output.glob(f"*/*/{MODEL_META}"))]
        named = [folder for folder in folders if revision in (folder.name, short_revision(folder.name))]
        # a correction of the model is another system, so the whole name goes first
        folders = named or [folder for folder in folders if folder.name.startswith(revision)]
        exact = [folder for folder in folders if folder.parent.name == folder_name]
        short = [folder for folder in folders if folder.parent.name.endswith(f"__{folder_name}")]
        return cls(model, _single(model, exact or short or [model_folder(output, folder_name, revision or "-")]))

    def read(
        self,
        spec: TaskSpec,
        mode: Mode,
        languages: Sequence[str] | None,
        modes: Sequence[Mode] = (),
        registry: TaskRegistry | None = None,
    ) -> RankedResult:
        """Read the result of a task with its ranks.

        `modes` are all modes of the comparison, for the command in error messages. Raises `DataError` for a result
        that is missing, incomplete, without ranks or of other languages, and `OutputError` for a damaged result.
        """
        chosen = spec.select(languages)
        task = spec.task_name(mode, chosen)
        command = self._command(spec, mode, languages, modes, registry)
        path = self.folder / f"{spec.mteb_task_name(mode, chosen)}.json"
        if not path.is_file():
            raise self._missing(spec, mode, task, command)
        result, subject = Result.read(path), f"the result of {self.model} on {task}"
        if result.task != task:
            raise DataError(f"{path} is of {result.task}, but {task} was expected. Run `{command}`.")
        if not result.complete:
            count = f"{len(result.subsets)} of {result.expected_subsets} subsets"
            raise DataError(f"{subject} is incomplete ({count}). Run `{command}`.")
        if result.plain:
            raise DataError(f"{subject} was written by plain mteb.evaluate, without ranks. Run `{command}`.")
        if result.ranks is None:
            raise DataError(
                f"{subject} has no ranks, so its queries cannot be compared. MTEB evaluates this model itself and "
                "keeps no ranks."
            )
        stored = result.stored_ranks(DataError, f"Run `{command} --overwrite`.")
        return RankedResult(self.model, result, ModeRanks(stored.judgements, stored.ranks, mode))

    def _missing(self, spec: TaskSpec, mode: Mode, task: str, command: str) -> UsageError | DataError:
        """Return the error for a missing result: a mistyped name, other languages, or no evaluation yet."""
        output = self._model_folder.parent
        text = f"there is no result of {self.model} on {task} in {output}"
        if not self.folder.is_dir():
            names = {meta.parent.parent.name.rpartition("__")[2] for meta in output.glob(f"*/*/{MODEL_META}")}
            hint = "" if _as_folder(self.model) else did_you_mean(self.model.partition("@")[0], names)
            return UsageError(text + hint) if hint else DataError(f"{text}. Run `{command}`.")
        others = []
        for path in sorted(self.folder.glob(f"{spec.mteb_task_name(mode)}*.json")):
            languages = TaskName.parse(Result.read(path).task).languages.strip("[]")
            others.append(f"--languages {languages}" if languages else "all languages")
        if others:
            return DataError(f"{text}, only with {' or '.join(others)}. Compare with those, or run `{command}`.")
        return DataError(f"{text}. Run `{command}`.")

    @property
    def _model_folder(self) -> Path:
        """The folder ``<output>/<model>``. Results are in ``<revision>`` below it, or deeper for an experiment."""
        folder = self.folder if len(self.folder.parts) > 2 else self.folder.resolve()
        return folder.parents[2] if folder.parent.name == "experiments" else folder.parent

    def _command(
        self,
        spec: TaskSpec,
        mode: Mode,
        languages: Sequence[str] | None,
        modes: Sequence[Mode],
        registry: TaskRegistry | None,
    ) -> str:
        """Return the command that evaluates this model. It names the folder of a task that is not shipped."""
        path, name = _as_folder(self.model), self._model_folder.name
        if path is not None and not self.folder.is_relative_to(path):
            model = self.model  # the folder of a checkpoint
        elif name.startswith("local__"):
            model = f"path/to/{name.removeprefix('local__')}"
        else:
            model = name.replace("__", "/", 1).removeprefix("hbt-bench/")
        parameters = _without_tokens(self.folder.name)
        if model == BM25 and parameters not in ("-", _without_tokens(str(Parameters()))):
            model = f"{BM25}@{parameters}"
        task = spec.name if set(modes) == set(spec.modes) else spec.task_name(mode)
        command = ["hbt-bench", "run", "--model", model, "--tasks", task]
        if languages is not None:
            command += ["--languages", ",".join(languages)]
        location = (registry or TaskRegistry()).locate(spec.base)
        if location and location.folder:
            command += ["--task-dir", str(location.folder)]
        return shlex.join([*command, "--output", str(self._model_folder.parent)])


def _without_tokens(revision: str) -> str:
    """Return the parameters in a revision of BM25, without the version of its tokens."""
    return re.sub(r"-t\d+$", "", revision)


def _as_folder(model: str) -> Path | None:
    """Return the folder that a model is named by, or None if it has another kind of name."""
    path = Path(model).expanduser()
    return path if model != BM25 and path.is_dir() else None


def _single(model: str, folders: Sequence[Path]) -> Path:
    if len(folders) > 1:
        models = [folder.parent.name.replace("__", "/", 1) for folder in folders]
        names = [model_label(name, folder.name) for name, folder in zip(models, folders, strict=True)]
        if len(set(names)) < len(names):
            names = [f"{name}@{folder.name}" for name, folder in zip(models, folders, strict=True)]
        raise UsageError(f"'{model}' has several sets of results. Give one of {', '.join(names)}.")
    return folders[0]


@dataclass(frozen=True)
class System:
    """A model in a comparison. `label` is its name in tables; `signatures` are those of its results by task."""

    label: str
    model: str
    revision: str
    prompt: str
    folder: str
    signatures: dict[str, str]

    @classmethod
    def from_results(cls, label: str, results: Sequence[RankedResult]) -> System:
        """Describe the model of these results, which are of different tasks."""
        first = results[0].result
        signatures = {ranked.result.task: ranked.result.signature for ranked in results}
        return cls(
            label, first.model, first.revision, first.fields.get("prompt", ""), str(first.path.parent), signatures
        )


def check_comparable(results: Sequence[RankedResult]) -> None:
    """Raise `DataError` if a result of the same task has other texts, data or tie rules than the first result.

    Prompts may differ, because they belong to the model.
    """
    first = results[0]
    for other in results[1:]:
        for trait, field in (("candidate texts", "text"), ("data", "data"), ("tie rules", "ties")):
            value, other_value = (ranked.result.fields.get(field) for ranked in (first, other))
            if value != other_value:
                raise DataError(
                    f"{first.model} and {other.model} cannot be compared on {first.result.task}: their {trait} differ "
                    f"({value} and {other_value}). Evaluate both again with the same {trait}."
                )


def common_level(results: Sequence[RankedResult], cluster: str | None = None) -> Level:
    """Return the level of the clusters for results of the same data; `cluster` names it, see `Level.choose`.

    Results of older versions have no clusters, and take those of the others. Raises `DataError` if two results have
    different clusters.
    """
    hierarchies = [hierarchy_of(ranked.mode_ranks.judgements) for ranked in results]
    clustered = [(ranked, each) for ranked, each in zip(results, hierarchies, strict=True) if ranked.result.hierarchy]
    for ranked, each in clustered:
        if not each.same_levels(clustered[0][1]):
            raise DataError(
                f"{clustered[0][0].model} and {ranked.model} have different clusters of questions on "
                f"{ranked.result.task}. Evaluate both again with the same version of hbt-bench."
            )
    return (clustered[0][1] if clustered else hierarchies[0]).level(cluster)


def version_notes(results: Sequence[RankedResult]) -> list[str]:
    """Return a note for each program with different versions in the signatures."""
    notes = []
    for field, program in (("hbt", "hbt-bench"), ("mteb", "mteb")):
        versions = {ranked.model: ranked.result.fields.get(field) for ranked in results}
        if len(set(versions.values())) > 1:
            listed = ", ".join(f"{version} for {model}" for model, version in versions.items())
            notes.append(f"the results were made by different versions of {program}: {listed}")
    return notes


def labels(results: Sequence[RankedResult]) -> list[str]:
    """Return the shortest labels that are distinct: the model's name, with revision, with prompts, or numbered."""
    plain = [ranked.result for ranked in results]
    for names in (
        [result.model.rpartition("/")[2] for result in plain],
        [model_label(result.model.rpartition("/")[2], result.revision) for result in plain],
        [f"{result.model}@{result.revision}" for result in plain],
        [f"{result.label} prompt:{result.fields.get('prompt')}" for result in plain],
    ):
        if len(set(names)) == len(names):
            return names
    names = [result.label for result in plain]  # the same results were named twice
    return [f"{name} ({names[: index + 1].count(name)})" for index, name in enumerate(names)]
