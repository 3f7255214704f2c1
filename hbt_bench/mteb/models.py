"""Models by name or path: their identity before loading, and loading them as objects that MTEB evaluates."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbt_bench.data import records
from hbt_bench.errors import ModelError, UsageError, did_you_mean
from hbt_bench.identity.checkpoint import Checkpoint
from hbt_bench.identity.signature import Prompts
from hbt_bench.ranking import bm25

if TYPE_CHECKING:
    from hbt_bench.data.collection import Collection
    from hbt_bench.ranking.blocks import Scorer

BM25 = "bm25"
#: MTEB's wrapper of each sentence-transformers class.
_WRAPPERS = {
    "SentenceTransformer": "SentenceTransformerEncoderWrapper",
    "SparseEncoder": "SparseEncoderWrapper",
    "MultiVectorEncoder": "MultiVectorWrapper",
    "CrossEncoder": "CrossEncoderWrapper",
}
#: Least similarity of two folder names for a typing error.
_SIMILARITY = 0.7
_HUB_NAME = re.compile(r"^\w[\w.-]*/[\w.()=, -]+$")


@dataclass(frozen=True)
class ModelRequest:
    """A model by name or path, with the settings that the user gave.

    For example, ``ModelRequest("intfloat/multilingual-e5-small", query_prompt="query: ")``. Everything that can be
    checked without loading the model is checked at once.

    Attributes:
        name: A hub name, a local folder, a name that MTEB knows, ``bm25`` or ``bm25@k1.2-b0.75``.
        revision: The commit of a hub model.
        query_prompt, document_prompt: Prompts that replace the model's own.
        device: A torch device, None to let the library choose.
        trust_remote_code: Whether the model may run code of its repository.
        dtype: The precision of the weights, ``fp16`` or ``bf16``, None to leave it.
    """

    name: str
    revision: str | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    device: str | None = None
    trust_remote_code: bool = False
    dtype: str | None = None

    def __post_init__(self) -> None:
        """Raise `UsageError` or `ModelError` if there cannot be such a model."""
        if self.lexical is not None:
            bm25.require()
            if self.query_prompt or self.document_prompt:
                raise UsageError("bm25 takes no prompts. Leave out --query-prompt and --document-prompt.")
            if self.dtype:
                raise UsageError("bm25 has no weights. Leave out --dtype.")
        elif self.checkpoint is None:
            self._check_name()
        elif self.revision:
            raise UsageError(f"--revision is for hub models, but {self.name} is a folder. Leave it out.")
        elif (self.query_prompt or self.document_prompt) and not self.checkpoint.dense:
            raise UsageError(f"prompts are for models with one vector per text, and {self.name} is not such a model")

    def _check_name(self) -> None:
        """Raise `UsageError` for a mistyped folder. A name that also looks like a hub name needs a revision."""
        if self.revision and _HUB_NAME.match(self.name):
            return
        parents = {Path(self.name).parent, *(path for path in Path().glob("*") if path.is_dir())}
        folders = [str(path) for parent in sorted(parents) for path in islice(parent.glob("*"), 500) if path.is_dir()]
        last = Path(self.name).name.lower()  # the last part decides: results/training is not meant by tests/tiny
        similar = [
            folder
            for folder in folders
            if SequenceMatcher(None, Path(folder).name.lower(), last).ratio() >= _SIMILARITY
        ]
        near = did_you_mean(self.name.rstrip("/"), [BM25, *similar])
        if near or not _HUB_NAME.match(self.name):
            hint = " (for a hub model of this name, add --revision main)" if _HUB_NAME.match(self.name) else ""
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
            return self.checkpoint.name, self.checkpoint.revision + self._suffix
        return None

    @property
    def _suffix(self) -> str:
        """The suffix of a revision with remote code or another precision, which give other vectors."""
        return ("-remote-code" if self.trust_remote_code else "") + (f"-{self.dtype}" if self.dtype else "")

    @property
    def experiment(self) -> dict[str, str] | None:
        """MTEB's experiment settings: the prompts given by hand. Their results get a separate folder."""
        prompts = {"query_prompt": self.query_prompt, "document_prompt": self.document_prompt}
        settings = {key: value for key, value in prompts.items() if value is not None}
        # MTEB makes a folder name of the settings and drops punctuation; the label keeps such names different
        return {**settings, "prompts": self.prompt_label} if settings else None

    def spare_retries(self) -> None:
        """Set the hub's client offline if its host has no address. Call it early, or it retries for minutes."""
        if self.identity is None:
            records.spare_retries()

    def load(self) -> Any:
        """Load the model. Its `mteb_model_meta` has the name and revision.

        Raises `ModelError` if it cannot be loaded.
        """
        if self.lexical is not None:
            return Bm25Model(_meta(f"hbt-bench/{BM25}", str(self.lexical)), self.lexical)
        try:
            return self._cast(self._load_folder(self.checkpoint) if self.checkpoint else self._load_name())
        except (ModelError, UsageError):
            raise
        except Exception as error:  # a loader of any library may raise anything
            source = str(self.checkpoint.path) if self.checkpoint else f"{self.name} (neither a folder nor loadable)"
            reason = [type(error).__name__, *str(error).strip().splitlines()[:1]]
            raise ModelError(f"cannot load {source}: {': '.join(reason)[:300]}") from error

    def _cast(self, model: Any) -> Any:
        """Return the model with its weights in `dtype`."""
        if self.dtype is None:
            return model
        import torch

        module = getattr(model, "model", None)
        if not isinstance(module, torch.nn.Module):
            raise UsageError(f"--dtype is for torch models, and {self.name} is not a torch model. Leave it out.")
        module.to({"fp16": torch.float16, "bf16": torch.bfloat16}[self.dtype])
        return model

    def _load_folder(self, checkpoint: Checkpoint) -> Any:
        import mteb.models as wrappers
        import sentence_transformers

        kind = "SentenceTransformer" if checkpoint.kind == "transformers" else checkpoint.kind
        model = getattr(sentence_transformers, kind)(
            str(checkpoint.path),
            device=self.device,
            trust_remote_code=self.trust_remote_code,
            local_files_only=True,
        )
        if kind == "SentenceTransformer":
            model.prompts = self._override_by_name(model.prompts)
        wrapped = getattr(wrappers, _WRAPPERS[kind])(model)
        wrapped.mteb_model_meta = _meta(
            checkpoint.name, checkpoint.revision + self._suffix, wrapped.mteb_model_meta, self.experiment
        )
        return wrapped

    def _load_name(self) -> Any:
        import mteb
        from mteb.models import SentenceTransformerEncoderWrapper
        from sentence_transformers import SentenceTransformer

        options: dict[str, Any] = {"trust_remote_code": True} if self.trust_remote_code else {}
        try:
            mteb.get_model_meta(self.name, fetch_from_hf=False)
        except KeyError:  # MTEB does not know it: any sentence-transformers or transformers model on the hub
            loaded = SentenceTransformer(self.name, revision=self.revision, device=self.device, **options)
            loaded.prompts = self._override_by_name(loaded.prompts)
            model: Any = SentenceTransformerEncoderWrapper(loaded)
            name, revision = self.name, _commit(self.name, self.revision)
        else:
            if self.experiment:
                defaults = mteb.get_model_meta(self.name).loader_kwargs.get("model_prompts")
                options["model_prompts"] = self._override_by_name(defaults or {})
            model = mteb.get_model(self.name, revision=self.revision, device=self.device, **options)
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


class Bm25Model:
    """BM25 as a model. It scores whole collections for our tasks, and searches for MTEB's own tasks."""

    def __init__(self, meta: Any, parameters: bm25.Parameters) -> None:
        self.mteb_model_meta = meta
        self.parameters = parameters
        self._index: bm25.Bm25Index | None = None
        self._ids: list[str] = []

    def scorers(self, collection: Collection) -> tuple[Scorer, Mapping[str, Scorer]]:
        """Return a scorer of the pool, and a scorer of each language."""
        return bm25.scorers(collection, self.parameters)

    def index(self, corpus: Any, **kwargs: Any) -> None:
        """Index a corpus with the columns id, text and perhaps title (MTEB's search protocol)."""
        titles = corpus["title"] if "title" in corpus.column_names else [""] * len(corpus)
        texts = (f"{title} {text}" for title, text in zip(titles, corpus["text"], strict=True))
        self._ids = list(corpus["id"])
        self._index = bm25.Bm25Index.from_documents((bm25.tokenize(text) for text in texts), self.parameters)

    def search(
        self, queries: Any, *, top_k: int, top_ranked: Mapping[str, list[str]] | None = None, **kwargs: Any
    ) -> dict[str, dict[str, float]]:
        """Return the best `top_k` documents of every query, or of its list of candidates (MTEB's search protocol)."""
        if self._index is None:
            raise ModelError("bm25 needs an index before it can search")
        column_of = {document: column for column, document in enumerate(self._ids)}
        run: dict[str, dict[str, float]] = {}
        for query, text in zip(queries["id"], queries["text"], strict=True):
            scores = self._index.scores(bm25.tokenize(text))
            columns = range(len(scores)) if top_ranked is None else [column_of[name] for name in top_ranked[query]]
            best = sorted(columns, key=lambda column, s=scores: (s[column], self._ids[column]), reverse=True)
            run[query] = {self._ids[column]: float(scores[column]) for column in best[:top_k]}
        return run


def _meta(name: str, revision: str, base: Any = None, experiment: Mapping[str, str] | None = None) -> Any:
    from mteb.models import ModelMeta

    base = base if base is not None else ModelMeta.create_empty()
    return base.model_copy(update={"name": name, "revision": revision, "experiment_kwargs": experiment})


def _commit(name: str, revision: str | None) -> str | None:
    """Return the commit of a hub model that was loaded: the name of its folder in the cache."""
    from huggingface_hub import try_to_load_from_cache

    for file in ("modules.json", "config.json"):
        path = try_to_load_from_cache(name, file, revision=revision)
        if isinstance(path, str):
            return Path(path).parent.name
    return None
