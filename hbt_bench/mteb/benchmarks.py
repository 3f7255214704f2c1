"""Collections and suites as benchmarks of MTEB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mteb.benchmarks import _create_table
from mteb.benchmarks.benchmark import Benchmark, BenchmarkAggregation, CustomGroup, CustomGrouping
from mteb.models import ModelMeta
from mteb.models.model_implementations import MODEL_REGISTRY

from hbt_bench.identity.task_name import Mode
from hbt_bench.tasks.task import TaskSpec

#: The columns of MTEB's tables for the modes. Scores of different modes are not comparable.
_MODE_LABELS: dict[Mode, str] = {"mono": "Monolingual", "cross": "Cross-lingual", "multi": "Multilingual"}


@dataclass(repr=False)
class HbtBenchmark(Benchmark):  # type: ignore[misc]  # mteb is not followed by mypy
    """A benchmark of MTEB with a summary that keeps models that MTEB does not know, such as local checkpoints."""

    def _create_summary_table(self, pl_df: Any) -> Any:
        models = set(pl_df["model_name"].unique()) if "model_name" in pl_df.columns else set()
        unknown = models - MODEL_REGISTRY.keys()
        MODEL_REGISTRY.update({name: ModelMeta.create_empty(overwrites={"name": name}) for name in unknown})
        try:
            _forget_models()
            return super()._create_summary_table(pl_df)
        finally:
            for name in unknown:
                del MODEL_REGISTRY[name]
            _forget_models()


def benchmark(
    title: str, description: str, specs: Sequence[TaskSpec], tasks: Sequence[tuple[Mode | None, Any]]
) -> HbtBenchmark:
    """Return a benchmark of tasks with their modes, None for a task of MTEB. Its tables have a column for each mode."""
    groups = [
        CustomGroup(label, chosen)
        for mode, label in _MODE_LABELS.items()
        if (chosen := [task for task_mode, task in tasks if task_mode == mode])
    ]
    citations = dict.fromkeys(spec.about.citation.strip() for spec in specs if spec.about.citation)
    return HbtBenchmark(
        name=title,
        tasks=[task for _, task in tasks],
        description=description,
        reference=specs[0].about.reference if len(specs) == 1 else None,
        citation="\n\n".join(citations) or None,
        aggregations=(BenchmarkAggregation.MEAN_TASK, *([CustomGrouping("Mode", groups)] if groups else ())),
        language_view="all",
    )


def _forget_models() -> None:
    """Let MTEB's tables read its registry of models again."""
    for cached in (_create_table._static_model_meta, _create_table._meta_df_no_zs, _create_table._meta_df_with_zs):
        cached.cache_clear()
