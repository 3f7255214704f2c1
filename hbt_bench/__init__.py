"""hbt-bench: multilingual retrieval benchmarks for MTEB, with exact ranks and language bias.

Public names are bound at first use, so that importing the package, and the command line, stay fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hbt_bench.actions.analyses import bias, leaderboard, plot
    from hbt_bench.actions.experiments import study, train
    from hbt_bench.actions.outputs import card, draft_task, export, report, site
    from hbt_bench.data.collection import Collection, Document, Query
    from hbt_bench.errors import DataError, HbtBenchError, ModelError, OutputError, ProcessError, UsageError
    from hbt_bench.measures.ranking import Ranking
    from hbt_bench.mteb.endpoint import Endpoint
    from hbt_bench.mteb.given import corrected
    from hbt_bench.mteb.models import ModelRequest
    from hbt_bench.mteb.plugin import register
    from hbt_bench.mteb.tasks import get_tasks
    from hbt_bench.ranking.ranks import Ranks, rank
    from hbt_bench.reports.compare import compare
    from hbt_bench.results.evaluate import Evaluation, evaluate
    from hbt_bench.results.queries import load_queries
    from hbt_bench.results.rerank import rerank
    from hbt_bench.results.result import Result
    from hbt_bench.results.runs import score
    from hbt_bench.results.store import load_results
    from hbt_bench.tasks.registry import select_tasks
    from hbt_bench.training.evaluator import CollectionEvaluator
    from hbt_bench.training.hybrid import PlanBatchSampler, hybrid_dataset

_MODULES = {
    "Collection": "data.collection",
    "CollectionEvaluator": "training.evaluator",
    "DataError": "errors",
    "Document": "data.collection",
    "Endpoint": "mteb.endpoint",
    "Evaluation": "results.evaluate",
    "HbtBenchError": "errors",
    "ModelError": "errors",
    "ModelRequest": "mteb.models",
    "OutputError": "errors",
    "PlanBatchSampler": "training.hybrid",
    "ProcessError": "errors",
    "Query": "data.collection",
    "Ranking": "measures.ranking",
    "Ranks": "ranking.ranks",
    "Result": "results.result",
    "UsageError": "errors",
    "bias": "actions.analyses",
    "card": "actions.outputs",
    "compare": "reports.compare",
    "corrected": "mteb.given",
    "draft_task": "actions.outputs",
    "evaluate": "results.evaluate",
    "export": "actions.outputs",
    "get_tasks": "mteb.tasks",
    "hybrid_dataset": "training.hybrid",
    "leaderboard": "actions.analyses",
    "load_queries": "results.queries",
    "load_results": "results.store",
    "plot": "actions.analyses",
    "rank": "ranking.ranks",
    "register": "mteb.plugin",
    "report": "actions.outputs",
    "rerank": "results.rerank",
    "score": "results.runs",
    "select_tasks": "tasks.registry",
    "site": "actions.outputs",
    "study": "actions.experiments",
    "train": "actions.experiments",
}

__all__ = [
    "Collection",
    "CollectionEvaluator",
    "DataError",
    "Document",
    "Endpoint",
    "Evaluation",
    "HbtBenchError",
    "ModelError",
    "ModelRequest",
    "OutputError",
    "PlanBatchSampler",
    "ProcessError",
    "Query",
    "Ranking",
    "Ranks",
    "Result",
    "UsageError",
    "__version__",
    "bias",
    "card",
    "compare",
    "corrected",
    "draft_task",
    "evaluate",
    "export",
    "get_tasks",
    "hybrid_dataset",
    "leaderboard",
    "load_queries",
    "load_results",
    "plot",
    "rank",
    "register",
    "report",
    "rerank",
    "score",
    "select_tasks",
    "site",
    "study",
    "train",
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
