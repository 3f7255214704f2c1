"""Results that somebody else made: check that their parts fit each other, their task and, if it is here, the data.

All scores, intervals and contributions are computed again from the ranks. Ranks of invented rankings with the scores
that follow from them fit each other; only an evaluation shows them, see `hbt_bench.checks.repeat`.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hbt_bench.checks.impossible_ranks import contradictions, depth_problems
from hbt_bench.checks.result_data import data_problems, judgement_problems
from hbt_bench.checks.result_identity import count_problems, own_problems, strict_json, task_problems
from hbt_bench.checks.result_scores import (
    exact_scores,
    interval_problems,
    older_measures,
    random_problems,
    score_problems,
)
from hbt_bench.data.collection import Collection
from hbt_bench.errors import DataError, OutputError, UsageError
from hbt_bench.identity.task_name import TaskName
from hbt_bench.identity.variant import Variant
from hbt_bench.log import counter
from hbt_bench.results.ranks_file import ARRAYS, StoredRanks
from hbt_bench.results.result import ForeignError, Result
from hbt_bench.results.schema import MODEL_META
from hbt_bench.results.task_choice import choosing_names, no_results_of
from hbt_bench.tasks.registry import TaskRegistry
from hbt_bench.tasks.task import TaskSpec

AGAIN = "Evaluate with `hbt-bench run` and submit its files unchanged."
#: Equal ranks of two models mean a copy only if there are so many that chance is ruled out.
_FEW_RANKS = 100
#: The model with scores of its own in each language.
_BM25 = "hbt-bench/bm25"


@dataclass(frozen=True)
class Finding:
    """Something in a file that does not fit, and the remedy. If it is `open`, nothing is wrong, but unverified."""

    path: Path
    problem: str
    advice: str = AGAIN
    open: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}. {self.advice}".rstrip()


@dataclass(frozen=True)
class Checked:
    """A result that was read. `data` is whether its data were compared with the data here, or with their hash."""

    result: Result
    verified: bool
    data: Literal["here", "pinned", "unknown"]


@dataclass(frozen=True)
class Verification:
    """The results in folders, and what does not fit in them."""

    checked: tuple[Checked, ...]
    findings: tuple[Finding, ...]

    def refused(self, strict: bool = False) -> list[Finding]:
        """Return the findings for which a submission is refused; with `strict`, also what cannot be verified."""
        return [finding for finding in self.findings if strict or not finding.open]


@dataclass(eq=False)
class Verifier:
    """Checks results; see `verify`.

    Attributes:
        registry: The tasks. Shipped definitions that are not listed, such as those of `tasks/ood`, are found, too.
        data_dir: The folder of the data files.
    """

    registry: TaskRegistry
    data_dir: Path | None = None
    findings: list[Finding] = field(default_factory=list)
    checked: list[Checked] = field(default_factory=list)
    _ranks: dict[Path, StoredRanks] = field(default_factory=dict)
    _digests: dict[Path, str] = field(default_factory=dict)

    def check(self, folders: Iterable[Path], tasks: Iterable[str] = ()) -> Verification:
        """Check all results in folders, or those of `tasks`; a result file may stand for a folder.

        Raises `OutputError` if there is no such folder or no result in it, and `UsageError` for a task without results.
        """
        paths = list(dict.fromkeys(path for folder in folders for path in self._files(folder)))
        results = [read for path in paths if path.suffix == ".json" and (read := self._read(path))]
        if not results and not self.findings:
            raise OutputError(f"there are no results in {', '.join(map(str, folders))}: name a folder with results")
        if chosen := set(tasks):
            names = {name for each in self.checked for name in _names(each.result)}
            names |= {name for result, _ in results for name in _names(result)}
            # a damaged file may be of any task
            if (unknown := sorted(chosen - names)) and all(finding.open for finding in self.findings):
                raise UsageError(no_results_of(unknown[0], names))
            results = [pair for pair in results if not chosen.isdisjoint(_names(pair[0]))]
        results.sort(key=lambda pair: (pair[0].collection, pair[0].path))
        count = counter("verifying results", len(results))
        for collection, group in groupby(results, key=lambda pair: pair[0].collection):
            self._check_collection(collection, list(group), count)
            self._ranks.clear()
        if not chosen:
            self._check_strays(paths, [result for result, _ in results])
        self._check_copies()
        wrong = {finding.path for finding in self.findings if not finding.open}
        checked = [
            replace(each, verified=each.verified and not wrong & {each.result.path, each.result.ranks})
            for each in self.checked
        ]
        return Verification(tuple(checked), tuple(sorted(self.findings, key=lambda each: str(each.path))))

    def _add(self, path: Path, problems: Iterable[str], advice: str = AGAIN, is_open: bool = False) -> bool:
        """Keep a finding for each problem, and return whether there was any."""
        before = len(self.findings)
        self.findings += [Finding(path, problem, advice, is_open) for problem in problems]
        return len(self.findings) > before

    # Files

    def _files(self, folder: Path) -> Iterator[Path]:
        """Yield the files below a folder, or a single file; links are findings, and are not followed."""
        if folder.is_file() and not folder.is_symlink():
            yield folder
            return
        if not folder.is_dir():
            raise OutputError(f"there is no folder {folder}: name a folder with results")
        for parent, folders, names in os.walk(folder):
            for name in sorted(names) + [name for name in folders if Path(parent, name).is_symlink()]:
                path = Path(parent, name)
                if path.is_symlink() or not path.is_file():
                    self._add(path, ["it is a link, or not a plain file"], "Replace it by the file itself.")
                else:
                    yield path

    def _read(self, path: Path) -> tuple[Result, Mapping[str, Any]] | None:
        """Return a result and its JSON. JSON of another program is a finding only in the folder of a model."""
        if path.name == MODEL_META:
            return None
        try:
            result = Result.read(path)
            content = strict_json(path)
        except ForeignError:
            if path.with_name(MODEL_META).exists():
                self._add(path, ["it is not a result of `hbt-bench run`"], "Remove it, or evaluate with it.")
            return None
        except (OutputError, ValueError) as error:
            self._add(path, [str(error).removeprefix(f"{path} ").rstrip(".")])
            return None
        if result.plain:
            self._add(path, ["plain mteb.evaluate wrote it, without ranks"], is_open=True)
            self.checked.append(Checked(result, False, "unknown"))
            return None
        return result, content

    def _check_strays(self, paths: Iterable[Path], results: Iterable[Result]) -> None:
        """Find files in the folders of models that belong to no result."""
        named = {path for result in results for path in (result.path, result.ranks) if path}
        damaged = {each.path.parent for each in self.findings if each.path.suffix == ".json" and not each.open}
        parents = {path.parent for path in named} - damaged  # a damaged result may name them
        for path in paths:
            allowed = path.suffix == ".json" or path.name.endswith(".run.parquet")
            if path.parent in parents and path not in named and not allowed:
                self._add(path, ["no result names it"], "Remove it.")

    # Results

    def _check_collection(
        self, name: str, group: list[tuple[Result, Mapping[str, Any]]], count: Callable[[int], object]
    ) -> None:
        """Check the results of a collection, and compare them with each other."""
        spec = self._definition(group[0][0].task)
        collection = self._load(spec) if spec else None
        for result, content in group:
            self._check_result(result, content, spec, collection)
            count(1)
        if collection is not None:
            return
        for aspect, of in (("data", lambda result: result.fields.get("data")), ("clusters", _clusters)):
            self._check_agreement(aspect, group, of)

    def _check_result(
        self, result: Result, content: Mapping[str, Any], spec: TaskSpec | None, collection: Collection | None
    ) -> None:
        path = result.path
        self._add(path, own_problems(result, content))
        if spec is None:
            problem = f"the task {result.task} is unknown"
            self._add(path, [problem], "Name the folder with its definition in --task-dir.", is_open=True)
        else:
            self._add(path, task_problems(result, spec))
        if collection is not None:
            self._add(path, data_problems(result, collection))
        stored = self._stored(result, spec, collection)
        if stored is not None:
            self._check_numbers(result, stored, content, spec)
        pinned = spec is not None and spec.data is not None and spec.data == result.fields.get("data")
        data: Any = "here" if collection is not None else "pinned" if pinned else "unknown"
        if data == "unknown":
            advice = "Set --data-dir or HBT_BENCH_DATA to the data, or pin their hash with `data` in the task file."
            self._add(path, ["its data are not here, and have no pinned hash"], advice, is_open=True)
        self.checked.append(Checked(result, stored is not None, data))

    def _stored(self, result: Result, spec: TaskSpec | None, collection: Collection | None) -> StoredRanks | None:
        """Return the ranks of a result, None if there are none or they are damaged."""
        path = result.ranks
        if path is None or not (path.exists() or path.is_symlink()):
            advice = "Add the .ranks.npz file that `hbt-bench run` wrote; scores cannot be verified without it."
            self._add(result.path, ["there are no ranks"], advice, is_open=True)
            return None
        if path.is_symlink():
            return None  # found already
        try:
            stored = self._ranks.get(path) or self._ranks_of(path, result, spec, collection)
        except (OutputError, OSError) as error:
            self._add(path, [str(error).rstrip(".")], "")
            return None
        if stored.data != result.fields.get("data"):
            self._add(path, [f"the ranks are of data {stored.data}, but {result.path.name} is of other data"])
            return None
        return stored

    def _ranks_of(
        self, path: Path, result: Result, spec: TaskSpec | None, collection: Collection | None
    ) -> StoredRanks:
        """Read and check a file of ranks, which several results may share."""
        stored = StoredRanks.read(path)
        self._ranks[path] = stored
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if len(set(names)) < len(names) or (unknown := {name.removesuffix(".npy") for name in names} - ARRAYS):
            self._add(path, [f"there are unknown arrays: {', '.join(sorted(unknown))[:100]}"])
        self._add(path, contradictions(stored, result.model == _BM25, collection))
        if spec is not None:
            self._add(path, count_problems(result, stored.judgements, spec))
        if collection is not None:
            self._add(path, judgement_problems(stored, collection))
        ranked = [stored.ranks.pool, stored.ranks.block, stored.ranks.top]
        if len(stored.ranks.pool) >= _FEW_RANKS:
            self._digests[path] = _digest(ranked)
        return stored

    def _check_numbers(
        self, result: Result, stored: StoredRanks, content: Mapping[str, Any], spec: TaskSpec | None
    ) -> None:
        path = result.path
        entries = [entry for split in content["scores"].values() for entry in split]
        exact = exact_scores(result, stored)
        problems = list(score_problems(result, stored, exact, entries, spec))
        self._add(path, depth_problems(stored, result.depth))
        self._add(path, problems[:3] + ([f"{len(problems) - 3} more scores differ"] if len(problems) > 3 else []))
        if not problems:
            self._add(path, interval_problems(result, stored))
            self._add(path, random_problems(result, stored.judgements))
        if older := older_measures(exact, entries):
            problem = f"it lacks {', '.join(older)[:100]}, which this version computes"
            self._add(path, [problem], "Evaluate again with --overwrite.", is_open=True)

    # Results among each other

    def _check_agreement(
        self, aspect: str, group: list[tuple[Result, Mapping[str, Any]]], of: Callable[[Result], Any]
    ) -> None:
        """Find results of a collection that differ in a part that its data decide. The majority is taken as right."""
        values: dict[Any, list[Result]] = defaultdict(list)
        for result, _ in group:
            if (value := of(result)) is not None:
                values[value].append(result)
        most = max(values.values(), key=len, default=[])
        for results in values.values():
            if results is not most:
                for result in results:
                    problem = f"its {aspect} differ from those of {len(most)} results of the collection"
                    self._add(result.path, [f"{problem}, such as {most[0].path}"])

    def _check_copies(self) -> None:
        """Find results that are there twice, and ranks that another model has, too."""
        seen: dict[tuple[str, ...], Path] = {}
        owners: dict[tuple[str, str], Result] = {}
        for result in (checked.result for checked in self.checked):
            key = (result.task, result.model, result.revision, result.prompt_by_hand, result.fields.get("data", ""))
            if key in seen:
                self._add(result.path, [f"it is the same result as {seen[key]}"], "Remove one of them.")
            seen.setdefault(key, result.path)
            digest = self._digests.get(result.ranks) if result.ranks else None
            if digest is None or result.mode != "multi":
                continue
            owner = owners.setdefault((result.collection, digest), result)
            if _weights(owner) != _weights(result):
                problem = f"its ranks are equal to those of {owner.label} in {owner.ranks}"
                self._add(result.path, [problem], "Submit the ranks of this model.")

    # Tasks and data

    @cache  # noqa: B019 -- a verifier lives as long as a command
    def _definition(self, task: str) -> TaskSpec | None:
        location = self.registry.locate(TaskName.parse(task).mode_name)
        if location is None:
            return None
        if location.folder is not None:
            self.registry.add(location.folder)
        try:
            return self.registry.select([task])[0].spec
        except (UsageError, DataError):  # languages or shifts that the task does not have
            return None

    def _load(self, spec: TaskSpec) -> Collection | None:
        try:
            return spec.load(None, self.data_dir)
        except (DataError, UsageError):
            return None


def _names(result: Result) -> set[str]:
    return choosing_names(result.task_name) | choosing_names(result.task_name.unshifted)


def _weights(result: Result) -> tuple[str, str]:
    """Return the model without the settings that may leave its vectors unchanged."""
    return result.model, Variant.split(result.revision)[0]


def _clusters(result: Result) -> str | None:
    return None if result.hierarchy is None else repr(result.hierarchy.as_json()["levels"])


def _digest(arrays: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr((array.shape, array.dtype.kind)).encode() + np.ascontiguousarray(array, "<i4").tobytes())
    return digest.hexdigest()
