"""The models of a comparison: their results on disk, found by name or folder, and whether they can be compared."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hbt_bench.errors import DataError, UsageError, did_you_mean
from hbt_bench.identity.checkpoint import Checkpoint
from hbt_bench.identity.task_name import Mode, TaskName
from hbt_bench.measures.scores import ModeRanks
from hbt_bench.mteb.models import BM25
from hbt_bench.results.store import Result, StoredRanks, model_folder, model_label
from hbt_bench.tasks.registry import TaskRegistry
from hbt_bench.tasks.task import TaskSpec

#: In every folder of results, as MTEB writes them.
_MARK = "model_meta.json"


@dataclass(frozen=True, eq=False)
class Evidence:
    """One result with the ranks it was read from; `given` is how the user named the model."""

    given: str
    mode: Mode
    result: Result
    stored: StoredRanks

    @cached_property
    def signature(self) -> dict[str, str]:
        """The fields of the signature."""
        return self.result.fields

    @cached_property
    def mode_ranks(self) -> ModeRanks:
        """The ranks, to ask for the values of a measure."""
        return ModeRanks(self.stored.judgements, self.stored.ranks, self.mode)

    @property
    def traits(self) -> dict[str, str | None]:
        """What must be the same for a comparison; prompts belong to the model, and so may differ."""
        return {
            "tasks": self.signature.get("task"),
            "languages": " ".join(self.stored.judgements.languages),
            "candidate texts": self.signature.get("text"),
            "data": self.signature.get("data"),
            "tie rules": self.signature.get("ties"),
        }


@dataclass(frozen=True)
class ResultSource:
    """A model as the user named it, and the folder that its results are in, or would be."""

    given: str
    folder: Path

    @classmethod
    def find(cls, given: str, output: Path) -> ResultSource:
        """Find the results of a model: a local folder, a name, ``name@revision``, or a folder of results itself.

        A name is that of the model with or without its organisation; a revision may be cut short. Results with
        prompts given by hand are found by their folder only. Raises `UsageError` for a name that fits several models.
        """
        path = _folder(given)
        if path is not None:
            own = [path] if (path / _MARK).is_file() else sorted(mark.parent for mark in path.glob(f"*/{_MARK}"))
            if own:
                return cls(given, _only(given, own))
            checkpoint = Checkpoint.from_folder(path)
            return cls(given, model_folder(output, checkpoint.name, checkpoint.revision))
        name, _, revision = given.partition("@")
        name = model_folder(output, name, "-").parent.name
        folders = [mark.parent for mark in sorted(output.glob(f"*/*/{_MARK}"))]
        folders = [folder for folder in folders if folder.name.startswith(revision)]
        exact = [folder for folder in folders if folder.parent.name == name]
        short = [folder for folder in folders if folder.parent.name.endswith(f"__{name}")]
        return cls(given, _only(given, exact or short or [model_folder(output, name, revision or "-")]))

    def read(
        self,
        spec: TaskSpec,
        mode: Mode,
        languages: Sequence[str] | None,
        modes: Sequence[Mode] = (),
        registry: TaskRegistry | None = None,
    ) -> Evidence:
        """Read the result of one task with its ranks; of `modes`, if all are asked for, advice names the collection.

        Raises `DataError` when it is missing, incomplete, without ranks or of other languages, and `OutputError` when
        it is damaged.
        """
        chosen = spec.select(languages)
        task, again = spec.task_name(mode, chosen), self._command(spec, mode, languages, modes, registry)
        path = self.folder / f"{spec.mteb_task_name(mode, chosen)}.json"
        if not path.is_file():
            raise self._missing(spec, mode, task, again)
        result = Result.read(path)
        if result.task != task:
            raise DataError(f"{path} is of {result.task}, where {task} was expected: run `{again}`")
        if not result.complete:
            found = f"{len(result.subsets)} of {result.expected_subsets} subsets"
            raise DataError(
                f"the result of {self.given} on {task} is incomplete ({found}): run `{again}` to complete it"
            )
        if result.ranks is None:
            raise DataError(
                f"the result of {self.given} on {task} has no ranks, so its queries cannot be compared: "
                "the model was evaluated by MTEB's own way, which keeps none"
            )
        evidence = Evidence(self.given, mode, result, StoredRanks.read(result.ranks))
        if evidence.stored.data != evidence.signature.get("data"):
            raise DataError(
                f"{result.ranks} is of other data than {path.name} ({evidence.stored.data} and "
                f"{evidence.signature.get('data')}): run `{again} --overwrite`"
            )
        return evidence

    def _missing(self, spec: TaskSpec, mode: Mode, task: str, command: str) -> UsageError | DataError:
        """The error for a result that is not there: mistyped, evaluated in other languages, or not evaluated."""
        text = f"there is no result of {self.given} on {task} in {self._output}"
        if not self.folder.is_dir():
            known = {mark.parent.parent.name.rpartition("__")[2] for mark in self._output.glob(f"*/*/{_MARK}")}
            near = "" if _folder(self.given) else did_you_mean(self.given.partition("@")[0], known)
            return UsageError(text + near) if near else DataError(f"{text}: run `{command}`")
        others = []
        for path in sorted(self.folder.glob(f"{spec.mteb_task_name(mode)}*.json")):
            languages = TaskName.parse(Result.read(path).task).languages.strip("[]")
            others.append(f"--languages {languages}" if languages else "all languages")
        if others:
            return DataError(f"{text}, only with {' or '.join(others)}: compare with those, or run `{command}`")
        return DataError(f"{text}: run `{command}`")

    @property
    def _place(self) -> Path:
        """``<output>/<model>/<revision>``, above the folder of an experiment."""
        folder = self.folder if len(self.folder.parts) > 2 else self.folder.resolve()
        return folder.parent.parent if folder.parent.name == "experiments" else folder

    @property
    def _output(self) -> Path:
        return self._place.parent.parent

    def _command(
        self,
        spec: TaskSpec,
        mode: Mode,
        languages: Sequence[str] | None,
        modes: Sequence[Mode],
        registry: TaskRegistry | None,
    ) -> str:
        """The command that makes a result of this model, with the folder of a task that does not ship."""
        path, name = _folder(self.given), self._place.parent.name
        if path is not None and not self.folder.is_relative_to(path):
            model = self.given  # a model, not a folder of results
        elif name.startswith("local__"):
            model = f"path/to/{name.removeprefix('local__')}"
        else:
            model = name.replace("__", "/", 1)
        task = spec.name if set(modes) == set(spec.modes) else spec.task_name(mode)
        command = ["hbt-bench", "run", "--model", model.removeprefix("hbt-bench/"), "--tasks", task]
        if languages is not None:
            command += ["--languages", ",".join(languages)]
        location = (registry or TaskRegistry()).locate(spec.base)
        if location and location.folder:
            command += ["--task-dir", str(location.folder)]
        return shlex.join([*command, "--output", str(self._output)])


def _folder(given: str) -> Path | None:
    """The folder that a model is named by, None for a name."""
    try:
        path = Path(given).expanduser()
    except RuntimeError:  # the home folder of a user who does not exist
        return None
    return path if given != BM25 and path.is_dir() else None


def _only(given: str, folders: Sequence[Path]) -> Path:
    if len(folders) > 1:
        names = ", ".join(model_label(folder.parent.name.replace("__", "/", 1), folder.name) for folder in folders)
        raise UsageError(f"'{given}' has several sets of results: name one of {names}")
    return folders[0]


@dataclass(frozen=True)
class System:
    """A model in a comparison: `label` in its tables, `signatures` of its results by task."""

    label: str
    model: str
    revision: str
    prompt: str
    folder: str
    signatures: dict[str, str]

    @classmethod
    def of(cls, label: str, evidence: Sequence[Evidence]) -> System:
        """Describe the model of these results, one a task."""
        result = evidence[0].result
        signatures = {one.result.task: one.result.signature for one in evidence}
        prompt = evidence[0].signature.get("prompt", "")
        return cls(label, result.model, result.revision, prompt, str(result.path.parent), signatures)


def check_comparable(evidence: Sequence[Evidence]) -> None:
    """Raise `DataError` naming the first trait in which a result differs from the first one."""
    first = evidence[0]
    for other in evidence[1:]:
        for trait, value in first.traits.items():
            if value != other.traits[trait]:
                raise DataError(
                    f"{first.given} and {other.given} cannot be compared on {first.result.task}: their {trait} differ "
                    f"({value} and {other.traits[trait]}); run both again on the same"
                )


def version_notes(evidence: Sequence[Evidence]) -> list[str]:
    """A note for each program whose version is not the same for all results."""
    notes = []
    for field, program in (("hbt", "hbt-bench"), ("mteb", "mteb")):
        found = {one.given: one.signature.get(field) for one in evidence}
        if len(set(found.values())) > 1:
            made = ", ".join(f"{version} for {given}" for given, version in found.items())
            notes.append(f"the results were made by different versions of {program}: {made}")
    return notes


def labels(evidence: Sequence[Evidence]) -> list[str]:
    """Short names that tell the models apart: without organisation if possible, with revision and prompt if need be."""
    results = [one.result for one in evidence]
    for names in (
        [result.model.rpartition("/")[2] for result in results],
        [model_label(result.model.rpartition("/")[2], result.revision) for result in results],
        [f"{one.result.label} prompt:{one.signature.get('prompt')}" for one in evidence],
    ):
        if len(set(names)) == len(names):
            return names
    seen: Counter[str] = Counter()
    numbered = []
    for result in results:  # the same results twice
        seen[result.label] += 1
        numbered.append(f"{result.label} ({seen[result.label]})")
    return numbered
