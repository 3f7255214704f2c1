"""hbt-bench: multilingual retrieval benchmarks for MTEB, with exact ranks and language bias.

Public names are bound at first use, so that importing the package, and the command line, stay fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hbt_bench.data.collection import Collection, Document, Query
    from hbt_bench.errors import DataError, HbtBenchError, ModelError, OutputError, ProcessError, UsageError
    from hbt_bench.measures.ranking import Ranking
    from hbt_bench.mteb.models import ModelRequest
    from hbt_bench.mteb.plugin import register
    from hbt_bench.mteb.tasks import get_tasks
    from hbt_bench.ranking.ranks import Ranks, rank
    from hbt_bench.reports.compare import compare
    from hbt_bench.results.evaluate import Evaluation, evaluate
    from hbt_bench.results.result import Result
    from hbt_bench.results.store import load_results
    from hbt_bench.tasks.registry import select_tasks

_MODULES = {
    "Collection": "data.collection",
    "DataError": "errors",
    "Document": "data.collection",
    "Evaluation": "results.evaluate",
    "HbtBenchError": "errors",
    "ModelError": "errors",
    "ModelRequest": "mteb.models",
    "OutputError": "errors",
    "ProcessError": "errors",
    "Query": "data.collection",
    "Ranking": "measures.ranking",
    "Ranks": "ranking.ranks",
    "Result": "results.result",
    "UsageError": "errors",
    "compare": "reports.compare",
    "evaluate": "results.evaluate",
    "get_tasks": "mteb.tasks",
    "load_results": "results.store",
    "rank": "ranking.ranks",
    "register": "mteb.plugin",
    "select_tasks": "tasks.registry",
}

__all__ = [
    "Collection",
    "DataError",
    "Document",
    "Evaluation",
    "HbtBenchError",
    "ModelError",
    "ModelRequest",
    "OutputError",
    "ProcessError",
    "Query",
    "Ranking",
    "Ranks",
    "Result",
    "UsageError",
    "__version__",
    "compare",
    "evaluate",
    "get_tasks",
    "load_results",
    "rank",
    "register",
    "select_tasks",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("hbt-bench")
    if name not in _MODULES:
        raise AttributeError(f"module 'hbt_bench' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"hbt_bench.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
