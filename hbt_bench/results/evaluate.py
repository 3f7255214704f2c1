"""The main job: a model and tasks in, results on disk out; what is there already is not done again."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hbt_bench.data import hub
from hbt_bench.data.collection import Collection
from hbt_bench.data.download import cache_dir
from hbt_bench.distributed import ALONE, Processes, local_device
from hbt_bench.errors import HbtBenchError, ModelError
from hbt_bench.files import check_writable
from hbt_bench.identity.signature import Signature
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.ranking.ranks import ScoringModel
from hbt_bench.ranking.store import EmbeddingStore
from hbt_bench.results import store
from hbt_bench.results.intervals import Intervals
from hbt_bench.results.store import Result
from hbt_bench.tasks.registry import Selection

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """One run: `selections` of tasks for one model, with results under `output`.

    `languages` restricts the collections, `data_dir` is where data files lie. `keep_embeddings` leaves the vectors in
    the cache after success; a run that was killed finds them there in any case. `processes` share the work.
    """

    model: ModelRequest
    selections: Sequence[Selection]
    output: Path
    languages: tuple[str, ...] | None = None
    data_dir: Path | None = None
    batch_size: int = 32
    keep_embeddings: bool = False
    overwrite: bool = False
    processes: Processes = field(default=ALONE, compare=False)

    def run(self) -> list[Result]:
        """Evaluate and return one result a task, in the order of `selections`.

        Of several processes the first writes and returns results, the others return nothing. Everything that can be
        checked without the model is checked first. Raises the errors of `hbt_bench.errors`.
        """
        check_writable(self.output)
        check_writable(cache_dir(), "set HBT_BENCH_CACHE to another folder")
        ours = [selection.spec for selection in self.selections if selection.spec]
        for spec in ours:
            spec.select(self.languages)
        collections = {spec.name: spec.load(self.languages, self.data_dir) for spec in ours}
        known = self._known_results(collections) if self._writes else None
        if self.processes.share(known is not None):
            return known or []
        self.model.spare_retries()  # before the hub's client is imported and reads its settings
        from hbt_bench.mteb.tasks import quiet_libraries

        quiet_libraries()
        if ours and self.model.checkpoint and self.model.checkpoint.kind == "CrossEncoder":
            raise ModelError(
                f"{self.model.name} is a cross-encoder, which re-ranks candidates it is given: {ours[0].name} ranks "
                "whole collections, so evaluate it on a reranking task of MTEB's"
            )
        if self.languages and len(ours) < len(self.selections):
            log.warning("--languages does not restrict MTEB's own tasks")
        if self.model.checkpoint and self.model.checkpoint.kind == "transformers":
            log.warning(f"{self.model.name} is a plain transformers model: its vectors are made by mean pooling")
        request = self.model
        if request.device is None and self.processes.count > 1:
            request = replace(request, device=local_device())
        model = request.load()
        meta = model.mteb_model_meta
        store = EmbeddingStore(cache_dir() / "embeddings", self._vectors_depend_on(meta))
        if self.overwrite:
            store.clear()
        with store.in_use():
            found = [result for one in self.selections for result in self._select(one, collections, model, store)]
            self.processes.gather(None)  # nobody lacks a vector any more
        if not self.keep_embeddings:
            store.clear()
        return [result for result in found if result is not None]

    @property
    def _writes(self) -> bool:
        """Whether this process is the one that reads and writes results."""
        return self.processes.rank == 0

    def _vectors_depend_on(self, meta: Any) -> str:
        """What makes vectors of equal texts differ: model, prompts, device, batches and the libraries that encode."""
        libraries = ("torch", "transformers", "sentence-transformers", "mteb", "hbt-bench")
        versions = " ".join(f"{name} {version(name)}" for name in libraries)
        device = (self.model.device or "").partition(":")[0]  # one GPU or the other
        settings = f"{self.model.prompt_label}|{meta.experiment_kwargs}|{device}|{self.batch_size}"
        return f"{meta.name}@{meta.revision}|{settings}|{versions}"

    def _known_results(self, collections: Mapping[str, Collection]) -> list[Result] | None:
        """All results from disk, when the model's identity is known and nothing is missing: then nothing is loaded."""
        identity = self.model.identity
        if identity is None or self.overwrite:
            return None
        folder = store.model_folder(self.output, *identity, _experiment_name(self.model.experiment))
        known = []
        for selection in self.selections:
            if selection.spec is None:
                return None
            spec, collection = selection.spec, collections[selection.spec.name]
            for mode in selection.modes:
                signature = spec.signature(mode, collection, "@".join(identity), self.model.prompt_label)
                path = folder / f"{spec.mteb_task_name(mode, collection.languages)}.json"
                result = store.find(path, str(signature))
                if result is None:
                    return None
                known.append(result)
        return known

    def _select(
        self, selection: Selection, collections: Mapping[str, Collection], model: Any, store: EmbeddingStore
    ) -> list[Result | None]:
        from hbt_bench.mteb import tasks

        if selection.spec is None:
            import mteb

            task = mteb.get_task(selection.stock)
            hub.check_remote(task.metadata.dataset["path"])
            return [self._task(task, model, None)]
        shared = tasks.SharedPass(selection.spec, collections[selection.spec.name])
        shared.store = store
        shared.processes = self.processes
        shared.prompt_label = self.model.prompt_label
        return [self._task(tasks.ParallelRetrieval(shared, mode), model, shared) for mode in selection.modes]

    def _task(self, task: Any, model: Any, shared: Any) -> Result | None:
        import mteb

        meta = model.mteb_model_meta
        name = task.metadata.name
        folder = store.model_folder(self.output, meta.name, meta.revision, meta.experiment_name)
        path = folder / f"{name}.json"
        if shared:
            signature = str(task.signature(f"{meta.name}@{meta.revision}"))
        else:
            data = _data_revision(task)
            signature = str(
                Signature(name, "mteb", data, f"{meta.name}@{meta.revision}", self.model.prompt_label, "mteb")
            )
        done = store.find(path, signature) if self._writes and not self.overwrite else None
        if self.processes.share(done is not None):
            return done
        if not self._writes:
            self._help(task, model, shared)
            return None
        try:
            evaluated = mteb.evaluate(
                model,
                task,
                cache=None,
                co2_tracker=False,
                encode_kwargs={"batch_size": self.batch_size},
                show_progress_bar=False,
            ).task_results[0]
            content = _mteb_json(evaluated)
        except HbtBenchError:
            raise
        except MemoryError:
            raise
        except Exception as error:  # MTEB and the model's own code may raise anything
            raise ModelError(f"{meta.name} failed on {name}: {type(error).__name__}: {_one_line(error)}") from error
        intervals = None
        if shared and shared.ranks is not None:
            intervals = Intervals.from_ranks(shared.collection, shared.ranks, task.mode)
            ranks = folder / shared.spec.ranks_name(shared.languages)
            collection = shared.collection
            store.StoredRanks(collection.fingerprint, collection, shared.ranks).write(ranks)
        about = {
            "task": task.name if shared else name,
            "model": meta.name,
            "revision": meta.revision,
            "signature": signature,
            "subsets": len(task.hf_subsets) * len(task.eval_splits),
            "stock": shared is None,
            "prompts": None if self.model.prompts is None else vars(self.model.prompts),
            "clean": shared.collection.unshifted if shared else None,
            "ranks": ranks.name if shared and shared.ranks is not None else None,
            "parameters": _parameters(model),
            "speed": shared.speed if shared else None,
            "device": _device(model),
            "training": self.model.checkpoint.recipe if self.model.checkpoint else {},
        }
        return store.write(path, content, about, meta.to_dict(), intervals)

    def _help(self, task: Any, model: Any, shared: Any) -> None:
        """Do a share of a task that the first process evaluates; what is not made of vectors is its alone."""
        from hbt_bench.mteb.tasks import is_ours

        if shared and is_ours(model) and not isinstance(model, ScoringModel):
            shared.evaluate(model, task.metadata, {"batch_size": self.batch_size})


def _mteb_json(task_result: Any) -> dict[str, Any]:
    """A task result in the form, and with the rounding, in which MTEB writes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "result.json")
        task_result.to_disk(path)
        content: dict[str, Any] = json.loads(path.read_bytes())
    for key in (
        "evaluation_time",
        "kg_co2_emissions",
    ):  # of a task put together of others it is NaN, which JSON has not
        if isinstance(value := content.get(key), float) and not math.isfinite(value):
            content[key] = None
    return content


def _data_revision(task: Any) -> str:
    """MTEB's commit of the data; for a task that MTEB puts together of others, a hash of theirs."""
    parts = getattr(task.metadata, "tasks", None)
    if not parts:
        return str(task.metadata.revision)
    revisions = " ".join(f"{part.metadata.name}@{part.metadata.revision}" for part in parts)
    return hashlib.sha256(revisions.encode()).hexdigest()[:16]


def _parameters(model: Any) -> int | None:
    """How many parameters a model has, from its metadata or counted."""
    known: int | None = model.mteb_model_meta.n_parameters
    module = getattr(model, "model", None)
    if known is None and module is not None and hasattr(module, "parameters"):
        return sum(parameter.numel() for parameter in module.parameters()) or None
    return known


def _device(model: Any) -> str:
    """What a model ran on, without which its speed says little."""
    import torch

    device = torch.device(getattr(getattr(model, "model", None), "device", "cpu"))
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{device.type}, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type


def _experiment_name(experiment: dict[str, str] | None) -> str | None:
    if not experiment:
        return None
    from mteb.models import ModelMeta

    name: str = ModelMeta.create_empty({"experiment_kwargs": experiment}).experiment_name
    return name


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
