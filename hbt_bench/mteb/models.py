"""Models by name or path: their identity before loading, and loading them as objects that MTEB evaluates."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hbt_bench.data import records
from hbt_bench.errors import ModelError, UsageError, did_you_mean
from hbt_bench.identity.checkpoint import Checkpoint, Kind
from hbt_bench.identity.signature import Prompts
from hbt_bench.identity.variant import Variant
from hbt_bench.mteb import variants
from hbt_bench.mteb.bm25_model import Bm25Model
from hbt_bench.mteb.corrected_model import NO_VECTORS, CorrectedModel, Correction
from hbt_bench.mteb.embeddings_client import is_url
from hbt_bench.mteb.endpoint import Endpoint, EndpointEncoder, check_endpoint
from hbt_bench.mteb.loaders import check_code, hub_checkpoint, load_error, open_model, similar_folders, wrapped
from hbt_bench.mteb.loading import load_checked
from hbt_bench.ranking import bm25

BM25 = "bm25"
_HUB_NAME = re.compile(r"^\w[\w.-]*/[\w.()=, -]+$")


@dataclass(frozen=True)
class ModelRequest:
    """A model by name or path, with the settings that the user gave.

    For example, ``ModelRequest("intfloat/multilingual-e5-small", query_prompt="query: ")``. Everything that can be
    checked without loading the model is checked at once.

    Attributes:
        name: A hub name, a local folder, a name that MTEB knows, ``bm25`` or ``bm25@k1.2-b0.75``, or the URL of an
            embeddings server.
        revision: The commit of a hub model, or the version of a model on a server.
        query_prompt, document_prompt: Prompts that replace the model's own.
        device: A torch device, None to let the library choose.
        trust_remote_code: Whether the model may run code of its repository.
        dtype: The precision, ``fp16``, ``bf16`` or ``fp32``, None to leave that of the weights.
        backend: The engine that computes the model, ``torch``, ``onnx`` or ``openvino``.
        truncate_dim: The number of dimensions that are kept of a vector, None for all.
        max_seq_length: The number of tokens that are read of a text, None for the model's own.
        batch_tokens: The number of tokens in a batch, padding included, None for batches with a number of texts.
        endpoint: The settings of a model on a server; the `name` is its URL.
        given_name: The name in results of a folder or of a model on a server, as ``me/exp3``.
        precision: The numbers of a vector when texts are compared, ``int8`` or ``binary``; None for the model's.
        correction: The correction of the vectors, None for none.
    """

    name: str
    revision: str | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    device: str | None = None
    trust_remote_code: bool = False
    dtype: str | None = None
    backend: str = "torch"
    truncate_dim: int | None = None
    max_seq_length: int | None = None
    batch_tokens: int | None = None
    endpoint: Endpoint | None = None
    given_name: str | None = None
    precision: str | None = None
    correction: Correction | None = None

    def __post_init__(self) -> None:
        """Raise `UsageError` or `ModelError` if there cannot be such a model."""
        self._check_values()
        if self.correction and self.precision:
            raise UsageError("--correct is for vectors of full precision. Leave out --precision.")
        if is_url(self.name) or self.endpoint is not None:
            local = {
                "device": self.device,
                "trust-remote-code": self.trust_remote_code,
                "batch-tokens": self.batch_tokens,
            }
            check_endpoint(self.name, self.endpoint, self.variant, local)
            return
        if self.given_name and self.checkpoint is None:
            raise UsageError(f"--name is for folders and servers. {self.name} has a name already: leave --name out.")
        if self.lexical is not None:
            bm25.require()
            if self.correction:
                raise UsageError(NO_VECTORS.format(name=self.name))
            if self.query_prompt or self.document_prompt:
                raise UsageError("bm25 takes no prompts. Leave out --query-prompt and --document-prompt.")
            others = {"--batch-tokens": self.batch_tokens, "--revision": self.revision, "--device": self.device}
            others["--trust-remote-code"] = self.trust_remote_code
            if options := [*self.variant.options[::2], *(option for option, value in others.items() if value)]:
                raise UsageError(f"bm25 has no weights. Leave out {' and '.join(options)}.")
            return
        variants.check(self.variant, self.device)
        if self.checkpoint is None:
            self._check_name()
        elif self.revision:
            raise UsageError(f"--revision is for hub models, but {self.name} is a folder. Leave it out.")
        else:
            self._check_options(self.checkpoint)

    @property
    def variant(self) -> Variant:
        """The settings that change the model's vectors."""
        backend = None if self.backend == "torch" else self.backend
        return Variant(backend, self.dtype, self.truncate_dim, self.max_seq_length, self.precision)

    def _check_values(self) -> None:
        """Raise `UsageError` for a setting with a value that no model has."""
        variants.check_values(self.variant, self.batch_tokens)
        if self.given_name is not None and not self.given_name.strip():
            raise UsageError("--name is empty. Give a name such as me/exp3, or leave it out.")

    def _check_options(self, checkpoint: Checkpoint) -> None:
        """Raise `UsageError` if the user gave prompts or settings that the class of the model does not have."""
        variants.check_checkpoint(self.variant, checkpoint, self.name)
        if self.trust_remote_code:
            check_code(checkpoint, self.name)
        if self.correction and not checkpoint.dense:
            raise UsageError(NO_VECTORS.format(name=self.name))
        if (self.query_prompt or self.document_prompt) and not checkpoint.dense:
            raise UsageError(f"prompts are for models with one vector per text, and {self.name} is not such a model")

    def _check_name(self) -> None:
        """Raise `UsageError` for a mistyped folder. A name that also looks like a hub name may need a revision."""
        hub = _HUB_NAME.match(self.name)
        if hub and self.revision:
            return
        near = did_you_mean(self.name.rstrip("/"), [BM25, *similar_folders(self.name, whole=hub is not None)])
        if hub and not Path(self.name).parent.is_dir() and (not near or self._known_to_mteb is not None):
            return
        if near or not hub:
            hint = " (for a hub model of this name, add --revision main)" if hub else ""
            raise UsageError(
                f"no model '{self.name}': there is no such folder, and a hub name has the form organisation/model"
                f"{near}{hint}"
            )

    @cached_property
    def lexical(self) -> bm25.Parameters | None:
        """The parameters of BM25, None for another model. Raises `UsageError` for invalid parameters."""
        name, separator, parameters = self.name.partition("@")
        if name != BM25:
            return None
        return bm25.Parameters.parse(parameters) if separator else bm25.Parameters()

    @cached_property
    def checkpoint(self) -> Checkpoint | None:
        """The local folder, None for a name."""
        try:
            path = Path(self.name).expanduser()
        except RuntimeError:  # the home folder of a user who does not exist
            return None
        return Checkpoint.from_folder(path) if path.is_dir() else None

    @property
    def prompts(self) -> Prompts | None:
        """The prompts that are used, None if they are unknown before the model is loaded."""
        if self.lexical is not None:
            return Prompts()
        if self.checkpoint is None or not self.checkpoint.dense:
            return None
        return self._override(self.checkpoint.prompts)

    def _override(self, defaults: Prompts) -> Prompts:
        """Return a model's prompts, replaced by the prompts given by hand."""
        return Prompts(
            defaults.query if self.query_prompt is None else self.query_prompt,
            defaults.document if self.document_prompt is None else self.document_prompt,
        )

    @property
    def prompt_label(self) -> str:
        """The label of the prompts in the signature. ``model`` stands for the prompts of a hub model."""
        if self.prompts is not None:
            return self.prompts.label
        prompts = [self.query_prompt, self.document_prompt]
        return "model" if prompts == [None, None] else hashlib.sha256(json.dumps(prompts).encode()).hexdigest()[:8]

    @cached_property
    def identity(self) -> tuple[str, str] | None:
        """The name and revision, None if they are unknown before the model is loaded."""
        if self.lexical is not None:
            return f"hbt-bench/{BM25}", str(self.lexical)
        if self.checkpoint is not None:
            mark = f"-{self.correction.mark}" if self.correction else ""
            return self.given_name or self.checkpoint.name, self.checkpoint.revision + self._suffix + mark
        return None

    def stored_identity(self, revisions: Callable[[str], Iterable[str]]) -> tuple[str, str] | None:
        """Return the `identity`; that of a model on a server from `revisions`, the results of a name, None without.

        So a finished run sends no request.
        """
        if self.endpoint is None:
            return self.identity
        name = self.given_name or self.endpoint.name
        revision = self.endpoint.stored_revision(self.name, self.revision, self._suffix, revisions(name))
        return (name, revision) if revision else None

    @property
    def _suffix(self) -> str:
        """The suffix of a revision with remote code or settings that give other vectors."""
        return ("-remote-code" if self.trust_remote_code else "") + self.variant.suffix

    @property
    def _place(self) -> str | None:
        """The device on which the model is loaded. Backends other than torch compute on the CPU."""
        return "cpu" if self.variant.backend else self.device

    @property
    def prompts_by_hand(self) -> dict[str, str]:
        """The prompts given by hand, by MTEB's names."""
        prompts = {"query_prompt": self.query_prompt, "document_prompt": self.document_prompt}
        return {key: value for key, value in prompts.items() if value is not None}

    @property
    def experiment(self) -> dict[str, str] | None:
        """MTEB's experiment settings, of which it makes a folder name: the hash of prompts given by hand."""
        return {"prompts": self.prompt_label} if self.prompts_by_hand else None

    def spare_retries(self) -> None:
        """Set the hub's client offline if its host has no address. Call it early, or it retries for minutes."""
        if self.identity is None and self.endpoint is None:
            records.spare_retries()

    @cached_property
    def hub(self) -> Checkpoint | None:
        """The configuration of a hub model that MTEB does not know, in the client's cache; None for other models.

        Raises `ModelError` if the hub has no such model.
        """
        if self.endpoint or self.lexical is not None or self.checkpoint is not None or self._known_to_mteb is not None:
            return None
        return hub_checkpoint(self.name, self.revision)

    @property
    def kind(self) -> Kind | None:
        """The class of the model, None if only MTEB knows it. Raises `ModelError` if the hub has no such model."""
        if self.lexical is not None or self.endpoint is not None:
            return None
        if (checkpoint := self.checkpoint or self.hub) is not None:
            return checkpoint.kind
        return "CrossEncoder" if self._known_to_mteb.is_cross_encoder else None

    @cached_property
    def _known_to_mteb(self) -> Any:
        """MTEB's metadata of the model, None if MTEB does not know its name."""
        records.spare_retries()  # before the hub's client is imported and reads its settings
        import mteb

        try:
            return mteb.get_model_meta(self.name, fetch_from_hf=False)
        except KeyError:
            return None

    def load(self) -> Any:
        """Load the model. Its `mteb_model_meta` has the name and revision.

        Raises `ModelError` if it cannot be loaded, or if its weights, tokenizer or vectors are unusable.
        """
        model = self._load()
        return CorrectedModel(model, self.correction) if self.correction else model

    def _load(self) -> Any:
        if self.lexical is not None:
            return Bm25Model(_meta(f"hbt-bench/{BM25}", str(self.lexical)), self.lexical)
        if self.endpoint is not None:
            return self._open_endpoint(self.endpoint)
        try:
            checkpoint = self.checkpoint or self.hub
            model = self._load_own(checkpoint) if checkpoint else self._load_from_mteb()
            variants.apply(model, self.name, self.variant, self.batch_tokens)
            return model
        except (ModelError, UsageError):
            raise
        except Exception as error:  # a loader of any library may raise anything
            exists = self.checkpoint is not None or self.hub is None
            raise load_error(str(self.checkpoint.path) if self.checkpoint else self.name, error, exists) from error

    def _open_endpoint(self, endpoint: Endpoint) -> EndpointEncoder:
        """Return the model on a server, after a first request."""
        model = endpoint.open(self.name, self._override(Prompts()), self.revision)
        meta, width = model.mteb_model_meta, model.probe.shape[1]
        if self.truncate_dim and self.truncate_dim > width:
            raise UsageError(f"--truncate-dim {self.truncate_dim} is more than the {width} dimensions of {meta.name}")
        model.truncate_dim = self.truncate_dim
        if self.precision:
            variants.quantize(model, self.precision)
        model.mteb_model_meta = _meta(self.given_name or meta.name, meta.revision + self._suffix, meta, self.experiment)
        return model

    def _load_own(self, checkpoint: Checkpoint) -> Any:
        """Load a folder or a hub model with the class of sentence-transformers that saved it."""
        self._check_options(checkpoint)
        hub_name = None if self.checkpoint else self.name
        model = open_model(checkpoint, hub_name, self._place, self.trust_remote_code)
        if checkpoint.dense:
            model.prompts = self._override_by_name(model.prompts)
        model = wrapped(model, checkpoint.kind)
        local_name = self.given_name or checkpoint.name
        name, revision = (hub_name, checkpoint.path.name) if hub_name else (local_name, checkpoint.revision)
        model.mteb_model_meta = _meta(name, revision + self._suffix, model.mteb_model_meta, self.experiment)
        return model

    def _load_from_mteb(self) -> Any:
        """Load a model with MTEB's loader for it."""
        import mteb

        variants.check_known(self.variant, self._known_to_mteb, self.name)
        if self.correction and self._known_to_mteb.model_type != ["dense"]:
            raise UsageError(NO_VECTORS.format(name=self.name))
        options: dict[str, Any] = {"trust_remote_code": True} if self.trust_remote_code else {}
        if self.experiment:
            defaults = mteb.get_model_meta(self.name).loader_kwargs.get("model_prompts")
            options["model_prompts"] = self._override_by_name(defaults or {})
        model = load_checked(
            self.name,
            lambda: mteb.get_model(self.name, revision=self.revision, device=self._place, **options),
            leave_out=True,
        )
        name, revision = model.mteb_model_meta.name or self.name, model.mteb_model_meta.revision
        if not revision:
            raise ModelError(f"the revision of {self.name} is unknown, so its scores could not be identified later")
        model.mteb_model_meta = _meta(name, revision + self._suffix, model.mteb_model_meta, self.experiment)
        return model

    def _override_by_name(self, defaults: Mapping[str, str | None]) -> dict[str, str]:
        """Return a model's prompts by name, with the two used prompts under the last names that MTEB looks up.

        Names that MTEB prefers for a retrieval task are removed, so that texts are encoded with these prompts.
        """
        used = self._override(Prompts.from_config(defaults))
        names = {*Prompts.QUERY_NAMES, *Prompts.DOCUMENT_NAMES}
        others = {name: text for name, text in defaults.items() if text and name not in names}
        return {**others, "query": used.query, "document": used.document}


def _meta(name: str, revision: str, base: Any = None, experiment: Mapping[str, str] | None = None) -> Any:
    from mteb.models import ModelMeta

    base = base if base is not None else ModelMeta.create_empty()
    return base.model_copy(update={"name": name, "revision": revision, "experiment_kwargs": experiment})
