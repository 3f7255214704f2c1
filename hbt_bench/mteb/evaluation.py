"""A task of MTEB evaluated by MTEB: its JSON, and the facts of the model and the data that go with it."""

from __future__ import annotations

import hashlib
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

from hbt_bench.errors import HbtBenchError, ModelError
from hbt_bench.mteb.endpoint import EndpointEncoder
from hbt_bench.ranking.ranks import RankedModel


def evaluated(model: Any, task: Any, batch_size: int) -> dict[str, Any]:
    """Evaluate a task and return MTEB's JSON. Raises `ModelError` if MTEB or the model's code fails."""
    import mteb

    try:
        results = mteb.evaluate(
            model,
            task,
            cache=None,
            co2_tracker=False,
            encode_kwargs={"batch_size": batch_size, "show_progress_bar": sys.stderr.isatty()},
            show_progress_bar=False,
        )
        return _mteb_json(results.task_results[0])
    except (HbtBenchError, MemoryError):
        raise
    except Exception as error:  # MTEB and the model's own code may raise anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise ModelError(f"{model.mteb_model_meta.name} failed on {task.metadata.name}: {reason}") from error


def _mteb_json(task_result: Any) -> dict[str, Any]:
    """Return a task result as MTEB writes it, with MTEB's rounding."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "result.json")
        task_result.to_disk(path)
        content: dict[str, Any] = json.loads(path.read_bytes())
    for key in ("evaluation_time", "kg_co2_emissions"):  # NaN for a task that consists of other tasks
        if isinstance(value := content.get(key), float) and not math.isfinite(value):
            content[key] = None
    return content


def data_revision(task: Any) -> str:
    """Return MTEB's commit of the data, or a hash of the commits for a task that consists of other tasks."""
    tasks = getattr(task.metadata, "tasks", None)
    if not tasks:
        return str(task.metadata.revision)
    revisions = " ".join(f"{member.metadata.name}@{member.metadata.revision}" for member in tasks)
    return hashlib.sha256(revisions.encode()).hexdigest()[:16]


def count_parameters(model: Any) -> int | None:
    """Return the number of a model's parameters, from its metadata or counted; None for a model without weights."""
    count: int | None = model.mteb_model_meta.n_parameters
    module = getattr(model, "model", None)
    if count is None and module is not None and hasattr(module, "parameters"):
        return sum(parameter.numel() for parameter in module.parameters()) or None
    return count


def device_name(model: Any) -> str | None:
    """Return the name of the device, without which a speed means little; of a model on a server, its URL."""
    if isinstance(model, EndpointEncoder):
        return model.client.url
    if isinstance(model, RankedModel):  # a run was made elsewhere
        return None
    import torch

    device = torch.device(getattr(getattr(model, "model", None), "device", "cpu"))
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{device.type}, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type


def experiment_name(experiment: dict[str, str] | None) -> str | None:
    """Return MTEB's folder name for settings of an experiment."""
    if not experiment:
        return None
    from mteb.models import ModelMeta

    name: str = ModelMeta.create_empty({"experiment_kwargs": experiment}).experiment_name
    return name
