"""Our tasks and benchmarks in MTEB's registries, so that MTEB finds them by name.

Importing this module registers all tasks by their MTEB names and a benchmark for each collection and suite. MTEB has no
entry points for plug-ins (mteb 2.26), so this module writes into its registries, as importing a task of MTEB does.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from mteb.abstasks.retrieval import AbsTaskRetrieval

from hbt_bench.errors import UsageError
from hbt_bench.identity.task_name import Mode, parse_names
from hbt_bench.tasks.registry import TaskRegistry, select_tasks
from hbt_bench.tasks.task import TaskSpec

if TYPE_CHECKING:
    from hbt_bench.mteb.shared_pass import SharedPass

log = logging.getLogger(__name__)

# MTEB's functions `get_tasks` and `get_benchmark` hide the modules of their names
_task_module: Any = import_module("mteb.get_tasks")
_benchmark_module: Any = import_module("mteb.benchmarks.get_benchmark")


class _DefinedMetadata:
    """The metadata of a class, made at their first use. The cross-lingual tasks have thousands of subsets."""

    def __get__(self, task: Any, owner: type[RegisteredRetrieval]) -> Any:
        from hbt_bench.mteb.metadata import defined_metadata

        if owner is RegisteredRetrieval:
            raise AttributeError("the base class of the tasks has no metadata")
        owner.metadata = metadata = defined_metadata(owner.spec, owner.mode)
        return metadata


class RegisteredRetrieval(AbsTaskRetrieval):  # type: ignore[misc]  # mteb is not followed by mypy
    """A mode of a collection as a class of MTEB, made without arguments. The data are read when they are used.

    Its metadata are those of the definition. After `load_data`, the instance has the metadata of the data: the
    revision is their fingerprint, and the subsets are those with relevant documents. The modes of a collection share a
    pass, as long as no other collection is read in between.
    """

    spec: ClassVar[TaskSpec]
    mode: ClassVar[Mode]
    metadata: Any = _DefinedMetadata()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset: dict[str, dict[str, Any]] = {}
        self.data_loaded = False
        self._task: Any = None

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Read the collection and lay it out as MTEB does. Raises `DataError` if data are missing or damaged."""
        if self.data_loaded:
            return
        from hbt_bench.mteb.tasks import ParallelRetrieval

        self._task = ParallelRetrieval(_shared_pass(self.spec.name, os.environ.get("HBT_BENCH_DATA")), self.mode)
        self._task.load_data(num_proc, **kwargs)
        self.dataset, self.metadata = self._task.dataset, self._task.metadata
        self.ignore_identical_ids = self._task.ignore_identical_ids
        self.data_loaded = True

    def unload_data(self) -> None:
        """Drop the data. The last collection is kept for its other modes."""
        self._task, self.dataset, self.data_loaded = None, {}, False

    def evaluate(
        self, model: Any, split: str = "test", subsets_to_run: list[str] | None = None, **options: Any
    ) -> Mapping[str, Any]:
        """Return the scores of the subsets, from the ranks of a pass over all; see `ParallelRetrieval.evaluate`."""
        self.load_data()
        chosen = [name for name in self.hf_subsets if subsets_to_run is None or name in subsets_to_run]
        scores: Mapping[str, Any] = self._task.evaluate(model, split, chosen, **options)
        return scores

    def convert_to_reranking(self, *arguments: Any, **options: Any) -> Any:
        """Raise `UsageError`; see `ParallelRetrieval.convert_to_reranking`."""
        from hbt_bench.mteb.tasks import NO_RERANKING

        raise UsageError(NO_RERANKING.format(name=self.spec.task_name(self.mode)))

    def __reduce__(self) -> tuple[Any, ...]:
        state = {key: value for key, value in vars(self).items() if key not in ("_task", "dataset", "data_loaded")}
        return _restore, (self.spec.task_name(self.mode), state)


_REGISTERED: dict[str, type[RegisteredRetrieval]] = {}


def register(names: str | Iterable[str] | None = None) -> list[str]:
    """Make tasks known to MTEB, and return their MTEB names.

    ``import hbt_bench.mteb`` registers the shipped tasks; `names` adds others: your own, and tasks in fewer languages
    or with changed queries. Then `mteb.get_task`, `mteb.get_tasks` and `mteb.get_benchmark` find them, and so do
    MTEB's results, tables and command line. The benchmark of ``xquad-r`` is ``hbt(xquad-r)``, and that of a suite
    ``hbt(suite:paper)``. If MTEB gains a task of the same name, MTEB's is kept. For example:

    >>> register("xquad-r-multi[de,en]")
    ['XQuADRMultilingualRetrieval_de_en']

    Raises `UsageError` for an unknown name, or a task of MTEB.
    """
    if names is None:
        specs = TaskRegistry().shipped.specs.values()
        return [_register(spec, mode) for spec in specs for mode in spec.modes]
    chosen = parse_names(names)
    tasks = _register_all(chosen)
    _more_benchmarks.update({f"hbt({name})": name for name in chosen})
    _all_benchmarks.cache_clear()
    return tasks


def _register_all(names: str | Iterable[str]) -> list[str]:
    """Register tasks by our names. Raises `UsageError` for an unknown name, or a task of MTEB."""
    tasks = []
    for selection in select_tasks(names):
        if selection.spec is None:
            raise UsageError(f"{selection.stock} is a task of MTEB, which needs no registration")
        tasks += [name for _, name in _register_modes(selection.spec, selection.modes)]
    return tasks


def _register_modes(spec: TaskSpec, modes: Iterable[Mode]) -> list[tuple[Mode, str]]:
    """Register modes of a collection, without those that have no subsets, such as mono of ``xquad-r[de>en]``."""
    named = [(mode, _register(spec, mode)) for mode in modes]
    return [(mode, name) for mode, name in named if _task_module._TASKS_REGISTRY[name].metadata.eval_langs]


def _register(spec: TaskSpec, mode: Mode) -> str:
    """Register a task, if MTEB has none of its name, and return its MTEB name."""
    name, registry = spec.mteb_task_name(mode), _task_module._TASKS_REGISTRY
    if name in _REGISTERED:
        return name
    if name in registry:
        log.info(f"mteb has a task {name} already, so {spec.task_name(mode)} of hbt-bench is not registered in mteb")
        return name
    made = type(name, (RegisteredRetrieval,), {"spec": spec, "mode": mode, "__module__": __name__, "__doc__": None})
    registry[name] = _REGISTERED[name] = made
    _task_module.TASK_LIST = (*_task_module.TASK_LIST, made)
    for parent in spec.metadata.adapted_from:  # a model that was trained on it is not zero-shot on ours
        _task_module._SIMILAR_TASKS[parent].append(name)
    return name


def __getattr__(name: str) -> type[RegisteredRetrieval]:
    """Return the class of a registered task. `pickle` looks classes up by module and name."""
    try:
        return _REGISTERED[name]
    except KeyError:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'") from None


def _restore(name: str, state: Mapping[str, Any]) -> RegisteredRetrieval:
    """Return the task with a name and the attributes of a pickled task."""
    [registered] = _register_all(name)
    task = _REGISTERED[registered]()
    task.__dict__.update(state)
    return task


@lru_cache(maxsize=1)
def _shared_pass(name: str, data_dir: str | None) -> SharedPass:
    """Return the pass of a collection; that of the last is kept. `data_dir` is the folder that the source searches."""
    from hbt_bench.mteb.shared_pass import SharedPass

    spec = next(task.spec for task in _REGISTERED.values() if task.spec.name == name)
    return SharedPass(spec, spec.load())


# Benchmarks

_stock_registry = _benchmark_module._build_registry
#: The benchmarks of registered tasks, in addition to those of collections and suites.
_more_benchmarks: dict[str, str] = {}


class _Benchmarks(Mapping[str, Any]):
    """MTEB's registry of benchmarks with ours, which are made when MTEB asks for them."""

    def __init__(self) -> None:
        registry = TaskRegistry()
        names = [*registry.specs, *(f"suite:{name}" for name in registry.suites)]
        self._names = {f"hbt({name})": name for name in names} | _more_benchmarks
        self._made: dict[str, Any] = dict(_stock_registry())

    def __getitem__(self, title: str) -> Any:
        if title not in self._made:
            self._made[title] = _benchmark(title, self._names[title])
        return self._made[title]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._made, **self._names})

    def __len__(self) -> int:
        return len({**self._made, **self._names})


def _benchmark(title: str, name: str) -> Any:
    """Return the benchmark of a collection, task or suite."""
    from hbt_bench.mteb.benchmarks import benchmark

    registry = TaskRegistry()
    selections = registry.select(name)
    specs = [selection.spec for selection in selections if selection.spec]
    tasks: list[tuple[Mode | None, Any]] = []
    for selection in selections:
        if selection.spec is None:
            tasks.append((None, _task_module.get_task(selection.stock)))
        else:
            registered = _register_modes(selection.spec, selection.modes)
            tasks += [(mode, _task_module.get_task(name)) for mode, name in registered]
    suite = registry.suites.get(name.removeprefix("suite:")) if name.startswith("suite:") else None
    return benchmark(title, suite.description if suite else " ".join(spec.description for spec in specs), specs, tasks)


_benchmark_module._build_registry = _all_benchmarks = lru_cache(_Benchmarks)
register()
