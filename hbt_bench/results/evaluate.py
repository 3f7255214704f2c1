"""Evaluation of a model on tasks, with results on disk. Existing results are not computed again."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbt_bench.data import records
from hbt_bench.data.collection import Collection
from hbt_bench.data.data_files import cache_dir
from hbt_bench.distributed import ALONE, Processes, local_device
from hbt_bench.errors import ModelError, UsageError
from hbt_bench.files import check_writable
from hbt_bench.identity.signature import Signature
from hbt_bench.identity.task_name import parse_names
from hbt_bench.measures.chance import scored_chance
from hbt_bench.mteb import evaluation
from hbt_bench.mteb.corrected_model import uncorrected
from hbt_bench.mteb.endpoint import EndpointEncoder
from hbt_bench.mteb.given import GivenModel, requested
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.ranking.ranks import ScoringModel, run_depth
from hbt_bench.ranking.store import EmbeddingStore
from hbt_bench.results import store
from hbt_bench.results.kept_runs import keep_run
from hbt_bench.results.scores import Intervals
from hbt_bench.results.store import Result
from hbt_bench.results.upgrade import upgrade
from hbt_bench.settings import check_whole
from hbt_bench.tasks.registry import Selection, select_tasks
from hbt_bench.tasks.subset_check import check_subsets
from hbt_bench.tasks.task import TaskSpec

if TYPE_CHECKING:
    from hbt_bench.mteb.shared_pass import SharedPass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """A run of a model on tasks.

    For example, the three tasks of XQuAD-R with BM25::

        from hbt_bench import Evaluation, ModelRequest, select_tasks

        results = Evaluation(ModelRequest("bm25"), select_tasks("xquad-r"), Path("results")).run()

    Attributes:
        model: The model, by name or as an object.
        selections: The tasks.
        output: The folder of the results.
        languages: The languages to which the collections are restricted, None for all.
        data_dir: The folder of the data files.
        batch_size: Texts per batch.
        keep_run: The number of best documents to keep of each query, in a file for `export`. None keeps no run.
        keep_embeddings: Leave the vectors in the cache after success. A run that was killed finds them there anyway.
        overwrite: Evaluate again if there are results.
        processes: The processes that share the work.
    """

    model: ModelRequest | GivenModel
    selections: Sequence[Selection]
    output: Path
    languages: tuple[str, ...] | None = None
    data_dir: Path | None = None
    batch_size: int = 32
    keep_embeddings: bool = False
    overwrite: bool = False
    processes: Processes = field(default=ALONE, compare=False)
    keep_run: int | None = None

    def __post_init__(self) -> None:
        """Raise `UsageError` for numbers that cannot be."""
        check_whole("batch_size", self.batch_size)
        check_whole("keep_run", self.keep_run, none="no run")

    def run(self) -> list[Result]:
        """Evaluate and return a result for each task, in the order of `selections`.

        With several processes, only the first writes and returns results. Everything that can be checked without the
        model is checked first. Raises the errors of `hbt_bench.errors`.
        """
        check_writable(self.output)
        check_writable(cache_dir(), "set HBT_BENCH_CACHE to another folder")
        specs = [selection.spec for selection in self.selections if selection.spec]
        self._check_correction(specs)
        for spec in specs:
            spec.select(self.languages)
        collections = {spec.name: spec.load(self.languages, self.data_dir) for spec in specs}
        for selection in self.selections:
            check_subsets(selection, collections, warn=self._writes)
        stored = self._stored_results(collections) if self._writes else None
        if self.processes.share(stored is not None):
            return stored or []
        if isinstance(self.model, ModelRequest):
            self.model.spare_retries()  # before the hub's client is imported and reads its settings
        from hbt_bench.mteb.tasks import quiet_libraries

        quiet_libraries()
        self._check_kind(specs)
        if self.languages and len(specs) < len(self.selections):
            log.warning("--languages does not restrict MTEB's own tasks")
        request = self.model
        alone = self.processes.count == 1
        local = isinstance(request, ModelRequest) and request.lexical is None and not request.endpoint
        if isinstance(request, ModelRequest) and local and request.device is None and not alone:
            # backends other than torch compute on the CPU
            request = replace(request, device=local_device() if request.backend == "torch" else "cpu")
        model = request.load()
        encoder = uncorrected(model)
        vectors = EmbeddingStore(cache_dir() / "embeddings", self._vector_identity(encoder))
        if self.overwrite:
            vectors.clear()
        with vectors.in_use():
            if isinstance(encoder, EndpointEncoder):
                encoder.keep(vectors)
            results = [
                result
                for selection in self.selections
                for result in self._evaluate_selection(selection, collections, model, vectors)
            ]
            self.processes.gather(None)  # wait until no process needs a vector
        if not self.keep_embeddings:
            vectors.clear()
        return [result for result in results if result is not None]

    @property
    def _repeats(self) -> bool:
        """Whether tasks with results are evaluated again."""
        saves = self.model.correction is not None and self.model.correction.target is not None
        return self.overwrite or self.keep_run is not None or saves

    @property
    def _writes(self) -> bool:
        """Whether this process reads and writes results."""
        return self.processes.rank == 0

    def _check_kind(self, specs: Sequence[TaskSpec]) -> None:
        """Raise `ModelError` for a cross-encoder."""
        if specs and self.model.kind == "CrossEncoder":
            raise ModelError(
                f"{self.model.name} is a cross-encoder, which only re-ranks given candidates, but {specs[0].name} "
                "ranks whole collections. Evaluate it on a reranking task of MTEB."
            )

    def _check_correction(self, specs: Sequence[TaskSpec]) -> None:
        """Raise `UsageError` if the languages of texts are unknown, or held-out texts are those of a task."""
        if self.model.correction is None:
            return
        if len(specs) < len(self.selections):
            raise UsageError("--correct needs the language of each text, which MTEB's own tasks lack: leave them out")
        for spec in specs:
            self.model.correction.check(spec.base)

    def _vector_identity(self, model: Any) -> str:
        """Return the identity of a text's vector: model, prompts, device, batch size and library versions."""
        if isinstance(model, EndpointEncoder):
            return model.vectors_depend_on
        meta = model.mteb_model_meta
        libraries = ("torch", "transformers", "sentence-transformers", "mteb", "hbt-bench")
        versions = " ".join(f"{name} {version(name)}" for name in libraries)
        device = (self.model.device or "").partition(":")[0]  # all GPUs give the same vectors
        batch = f"{self.model.batch_tokens} tokens" if self.model.batch_tokens else self.batch_size
        settings = f"{self.model.prompt_label}|{meta.experiment_kwargs}|{device}|{batch}"
        return f"{meta.name}@{meta.revision}|{settings}|{versions}"

    def _stored_results(self, collections: Mapping[str, Collection]) -> list[Result] | None:
        """Return all results from disk, without loading the model; None if any is missing."""
        if self._repeats:
            return None
        identity = self.model.identity
        if isinstance(self.model, ModelRequest):
            identity = self.model.stored_identity(lambda name: store.revisions(self.output, name))
        if identity is None:
            return None
        folders = self._folders(*identity)
        results = []
        for selection in self.selections:
            if selection.spec is None:
                return None
            spec, collection = selection.spec, collections[selection.spec.name]
            for mode in selection.modes:
                depth = run_depth(getattr(self.model, "model", None), collection, mode)
                signature = spec.signature(mode, collection, "@".join(identity), self.model.prompt_label, depth)
                name = f"{spec.mteb_task_name(mode, collection.languages)}.json"
                result = _find(folders, name, str(signature))
                if result is None:
                    return None
                results.append(upgrade(result, collection))
        return results

    def _folders(self, model: str, revision: str) -> list[Path]:
        """Return the folder of the results, and its former name, which had the texts of prompts given by hand."""
        experiment = self.model.experiment
        former = [{**self.model.prompts_by_hand, **experiment}] if experiment else []
        names = [evaluation.experiment_name(settings) for settings in (experiment, *former)]
        folder = store.model_folder(self.output, model, revision, names[0])
        return [folder, *(folder.with_name(name) for name in names[1:] if name)]

    def _evaluate_selection(
        self, selection: Selection, collections: Mapping[str, Collection], model: Any, vectors: EmbeddingStore
    ) -> list[Result | None]:
        from hbt_bench.mteb import tasks

        if selection.spec is None:
            import mteb

            task = mteb.get_task(selection.stock)
            records.check_remote(task.metadata.dataset["path"])
            return [self._evaluate_task(task, model, None)]
        shared = tasks.SharedPass(selection.spec, collections[selection.spec.name])
        shared.store = vectors
        shared.processes = self.processes
        shared.prompt_label = self.model.prompt_label
        shared.keeps_scorers = self.keep_run is not None
        return [self._evaluate_task(tasks.ParallelRetrieval(shared, mode), model, shared) for mode in selection.modes]

    def _evaluate_task(self, task: Any, model: Any, shared: SharedPass | None) -> Result | None:
        """Return the result of a task, from disk or evaluated now; `shared` is None for a task of MTEB."""
        meta = model.mteb_model_meta
        folder, *former = self._folders(meta.name, meta.revision)
        name = f"{task.metadata.name}.json"
        signature = self._signature(task, model, shared)
        stored = _find([folder, *former], name, signature) if self._writes and not self._repeats else None
        if self.processes.share(stored is not None):
            return stored
        if not self._writes:
            self._share_work(task, model, shared)
            return None
        content = evaluation.evaluated(model, task, self.batch_size)
        intervals = ranks = None
        if shared and (kept := task.kept_ranks) is not None:
            collection, (name_of_ranks, found) = shared.collection, kept
            intervals = Intervals.from_ranks(collection, found, task.mode)
            ranks = folder / name_of_ranks
            store.StoredRanks(collection.fingerprint, collection, found).write(ranks)
        if shared and self.keep_run is not None:
            keep_run(folder, task, self.keep_run)
        summary = {
            "task": task.name if shared else task.metadata.name,
            "model": meta.name,
            "revision": meta.revision,
            "signature": signature,
            "subsets": len(task.hf_subsets) * len(task.eval_splits),
            "stock": shared is None,
            "prompts": None if self.model.prompts is None else vars(self.model.prompts),
            "clean": shared.collection.unshifted if shared else None,
            "chance": scored_chance(shared.collection, task.mode) if shared else {},
            "ranks": ranks.name if ranks else None,
            "parameters": evaluation.count_parameters(uncorrected(model)),
            "speed": shared.speed if shared else None,
            "device": evaluation.device_name(uncorrected(model)),
            "training": self.model.checkpoint.recipe if self.model.checkpoint else {},
        }
        if self.model.prompts_by_hand:
            summary["prompts_by_hand"] = self.model.prompts_by_hand
        return store.write(folder / name, content, summary, meta.to_dict(), intervals)

    def _signature(self, task: Any, model: Any, shared: SharedPass | None) -> str:
        if shared:
            return str(task.signature_of(model))
        name = f"{model.mteb_model_meta.name}@{model.mteb_model_meta.revision}"
        return str(
            Signature(task.metadata.name, "mteb", evaluation.data_revision(task), name, self.model.prompt_label, "mteb")
        )

    def _share_work(self, task: Any, model: Any, shared: SharedPass | None) -> None:
        """Do this process's share of a task that the first process evaluates. Only work with vectors is shared."""
        options = {"batch_size": self.batch_size}
        if shared and task.shares_pass(model, options) and not isinstance(model, ScoringModel):
            shared.evaluate(model, task.metadata, options)


def evaluate(
    model: Any,
    tasks: str | Iterable[str],
    output: str | Path = "results",
    *,
    name: str | None = None,
    revision: str | None = None,
    languages: Iterable[str] | None = None,
    data_dir: str | Path | None = None,
    batch_size: int = 32,
    overwrite: bool = False,
    keep_embeddings: bool = False,
) -> list[Result]:
    """Evaluate a model object, or a model by name, on tasks, and return a result for each task.

    For example, with a model of sentence-transformers in a notebook::

        results = hbt_bench.evaluate(model, "xquad-r", name="me/exp3")

    The results are those of ``hbt-bench run``, with ranks, so that every command reads them. If there are results
    already, the model is not evaluated again.

    Args:
        model: A model of sentence-transformers, an object of MTEB's protocols, or a name that `ModelRequest` takes.
        tasks: Names of tasks, ``suite:NAME`` or task files.
        output: The folder of the results.
        name: The name in results, if the object has none in its `mteb_model_meta`, or another is wanted.
        revision: The version of the weights. A model of sentence-transformers has a hash of its contents.
        languages: The languages to which the collections are restricted, None for all.
        data_dir: The folder of the data files, None to look them up or download them.
        batch_size: Texts per batch.
        overwrite: Evaluate again if there are results.
        keep_embeddings: Leave the vectors in the cache, for example for corrections of the same model.

    Raises `UsageError` for an object that is no model, and for one whose name or revision is unknown; and the errors of
    `Evaluation.run`.
    """
    return Evaluation(
        requested(model, name, revision),
        select_tasks(tasks),
        Path(output),
        None if languages is None else parse_names(languages),
        Path(data_dir) if data_dir else None,
        batch_size,
        keep_embeddings,
        overwrite,
    ).run()


def _find(folders: Sequence[Path], name: str, signature: str) -> Result | None:
    """Return the first stored result with a signature, None if there is none."""
    return next((result for folder in folders if (result := store.find(folder / name, signature))), None)
