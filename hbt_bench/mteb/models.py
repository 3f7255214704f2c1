"""Models by name or path, as objects that MTEB evaluates: what is known before loading, and the loading."""

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

from hbt_bench.data import hub
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
#: How alike the last parts of two paths must be for one to be a mistyped other.
_ALIKE = 0.7
_HUB_NAME = re.compile(r"^\w[\w.-]*/[\w.()=, -]+$")


@dataclass(frozen=True)
class ModelRequest:
    """What the user asked for: a hub name, a local folder, a name that MTEB knows, ``bm25`` or ``bm25@k1.2-b0.75``.

    Creating one checks all that can be checked without loading the model; `load` does the rest. Prompts given here
    replace the model's own; `dtype` is what the weights are computed with.
    """

    name: str
    revision: str | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    device: str | None = None
    trust_remote_code: bool = False
    dtype: str | None = None

    def __post_init__(self) -> None:
        """Raise `UsageError` or `ModelError` when there can be no such model."""
        if self.lexical is not None:
            bm25.require()
            if self.query_prompt or self.document_prompt:
                raise UsageError("bm25 takes no prompts: leave --query-prompt and --document-prompt out")
            if self.dtype:
                raise UsageError("bm25 has no weights: leave --dtype out")
        elif self.checkpoint is None:
            self._check_name()
        elif self.revision:
            raise UsageError(f"--revision is for hub models: {self.name} is a folder, whose revision is its content")
        elif (self.query_prompt or self.document_prompt) and not self.checkpoint.dense:
            raise UsageError(f"prompts by hand are for models that give one vector a text: {self.name} does not")

    def _check_name(self) -> None:
        """Tell a mistyped folder from a hub name; one that looks like both is a hub name if it has a revision."""
        if self.revision and _HUB_NAME.match(self.name):
            return
        parents = {Path(self.name).parent, *(path for path in Path().glob("*") if path.is_dir())}
        folders = [str(path) for parent in sorted(parents) for path in islice(parent.glob("*"), 500) if path.is_dir()]
        last = Path(self.name).name.lower()  # results/training is not meant by tests/tiny, much as they are alike
        alike = [one for one in folders if SequenceMatcher(None, Path(one).name.lower(), last).ratio() >= _ALIKE]
        near = did_you_mean(self.name.rstrip("/"), [BM25, *alike])
        if near or not _HUB_NAME.match(self.name):
            hint = " (a hub model of that name is meant with --revision main)" if _HUB_NAME.match(self.name) else ""
            raise UsageError(
                f"no model '{self.name}': there is no such folder, and a hub name has the form organisation/model"
                f"{near}{hint}"
            )

    @cached_property
    def lexical(self) -> bm25.Parameters | None:
        """The parameters of BM25, None for another model; raises `UsageError` for such as it cannot have."""
        name, at, parameters = self.name.partition("@")
        if name != BM25:
            return None
        return bm25.Parameters.parse(parameters) if at else bm25.Parameters()

    @cached_property
    def checkpoint(self) -> Checkpoint | None:
        """The local folder, None for a name."""
        try:
            path = Path(self.name).expanduser()
        except RuntimeError:  # the home folder of a user who does not exist
            return None
        return Checkpoint.at(path) if path.is_dir() else None

    @property
    def prompts(self) -> Prompts | None:
        """The prompts in force, where they are known without loading the model; else None."""
        if self.lexical is not None:
            return Prompts()
        if self.checkpoint is None or not self.checkpoint.dense:
            return None
        return self._over(self.checkpoint.prompts)

    def _over(self, own: Prompts) -> Prompts:
        """A model's own prompts, replaced by those given by hand."""
        return Prompts(
            own.query if self.query_prompt is None else self.query_prompt,
            own.document if self.document_prompt is None else self.document_prompt,
        )

    @property
    def prompt_label(self) -> str:
        """The label of the prompts for the signature: ``model`` stands for those that a named model comes with."""
        if self.prompts is not None:
            return self.prompts.label
        given = [self.query_prompt, self.document_prompt]
        return "model" if given == [None, None] else hashlib.sha256(json.dumps(given).encode()).hexdigest()[:8]

    @cached_property
    def identity(self) -> tuple[str, str] | None:
        """Name and content revision, when they are known without loading the model; else None."""
        if self.lexical is not None:
            return f"hbt-bench/{BM25}", str(self.lexical)
        if self.checkpoint is not None:
            return self.checkpoint.name, self.checkpoint.revision + self._mark
        return None

    @property
    def _mark(self) -> str:
        """The mark of a revision that ran its own code or in another precision: it computes something else then."""
        return ("-remote-code" if self.trust_remote_code else "") + (f"-{self.dtype}" if self.dtype else "")

    @property
    def experiment(self) -> dict[str, str] | None:
        """What MTEB calls experiment settings: prompts given by hand keep their results in a folder of their own."""
        given = {"query_prompt": self.query_prompt, "document_prompt": self.document_prompt}
        known = {key: value for key, value in given.items() if value is not None}
        # MTEB makes a folder name of these, in which different punctuation looks alike; the label does not
        return {**known, "prompts": self.prompt_label} if known else None

    def spare_retries(self) -> None:
        """Set the hub client offline when its host has no address, or it would retry for minutes; call it early."""
        if self.identity is None:
            hub.spare_retries()

    def load(self) -> Any:
        """Load the model; its `mteb_model_meta` carries the identity.

        Raises `ModelError` in one sentence when it cannot be loaded.
        """
        if self.lexical is not None:
            return Bm25Model(_meta(f"hbt-bench/{BM25}", str(self.lexical)), self.lexical)
        try:
            return self._cast(self._load_folder(self.checkpoint) if self.checkpoint else self._load_name())
        except (ModelError, UsageError):
            raise
        except Exception as error:  # a loader of any library may raise anything
            where = (
                str(self.checkpoint.path) if self.checkpoint else f"{self.name} (neither a folder here nor loadable)"
            )
            raise ModelError(f"cannot load {where}: {_first_line(error)}") from error

    def _cast(self, model: Any) -> Any:
        """The model with its weights in `dtype`."""
        if self.dtype is None:
            return model
        import torch

        module = getattr(model, "model", None)
        if not isinstance(module, torch.nn.Module):
            raise UsageError(f"{self.name} is no torch model whose precision could be chosen: leave --dtype out")
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
            model.prompts = self._prompts_over(model.prompts)
        wrapped = getattr(wrappers, _WRAPPERS[kind])(model)
        wrapped.mteb_model_meta = _meta(
            checkpoint.name, checkpoint.revision + self._mark, wrapped.mteb_model_meta, self.experiment
        )
        return wrapped

    def _load_name(self) -> Any:
        import mteb
        from mteb.models import SentenceTransformerEncoderWrapper
        from sentence_transformers import SentenceTransformer

        options: dict[str, Any] = {"trust_remote_code": True} if self.trust_remote_code else {}
        try:
            mteb.get_model_meta(self.name, fetch_from_hf=False)
        except KeyError:  # not one of MTEB's: any sentence-transformers or transformers model on the hub
            loaded = SentenceTransformer(self.name, revision=self.revision, device=self.device, **options)
            loaded.prompts = self._prompts_over(loaded.prompts)
            model: Any = SentenceTransformerEncoderWrapper(loaded)
            name, revision = self.name, _commit(self.name, self.revision)
        else:
            if self.experiment:
                own = mteb.get_model_meta(self.name).loader_kwargs.get("model_prompts")
                options["model_prompts"] = self._prompts_over(own or {})
            model = mteb.get_model(self.name, revision=self.revision, device=self.device, **options)
            name, revision = model.mteb_model_meta.name or self.name, model.mteb_model_meta.revision
        if not revision:
            raise ModelError(f"the revision of {self.name} is not known, so its scores could not be told apart later")
        model.mteb_model_meta = _meta(name, revision + self._mark, model.mteb_model_meta, self.experiment)
        return model

    def _prompts_over(self, own: Mapping[str, str | None]) -> dict[str, str]:
        """A model's prompts with the pair in force under the two names that MTEB looks up last.

        What MTEB would prefer to them for a retrieval task is taken out, so that the pair is what is encoded with.
        """
        pair = self._over(Prompts.of(own))
        names = {*Prompts.QUERY_NAMES, *Prompts.DOCUMENT_NAMES}
        others = {name: text for name, text in own.items() if text and name not in names}
        return {**others, "query": pair.query, "document": pair.document}


class Bm25Model:
    """BM25 as a model: scores whole candidate sets for our tasks, and searches for MTEB's own."""

    def __init__(self, meta: Any, parameters: bm25.Parameters) -> None:
        self.mteb_model_meta = meta
        self.parameters = parameters
        self._index: bm25.Bm25Index | None = None
        self._ids: list[str] = []

    def scorers(self, collection: Collection) -> tuple[Scorer, Mapping[str, Scorer]]:
        """A scorer of the pool and one of each language."""
        return bm25.scorers(collection, self.parameters)

    def index(self, corpus: Any, **kwargs: Any) -> None:
        """MTEB's search protocol: index a corpus with columns id, text and, if any, title."""
        titles = corpus["title"] if "title" in corpus.column_names else [""] * len(corpus)
        texts = (f"{title} {text}" for title, text in zip(titles, corpus["text"], strict=True))
        self._ids = list(corpus["id"])
        self._index = bm25.Bm25Index.of((bm25.tokenize(text) for text in texts), self.parameters)

    def search(
        self, queries: Any, *, top_k: int, top_ranked: Mapping[str, list[str]] | None = None, **kwargs: Any
    ) -> dict[str, dict[str, float]]:
        """MTEB's search protocol: the best `top_k` documents of every query, or of its given list."""
        if self._index is None:
            raise ModelError("bm25 was asked to search before a corpus was indexed")
        place = {document: column for column, document in enumerate(self._ids)}
        run: dict[str, dict[str, float]] = {}
        for query, text in zip(queries["id"], queries["text"], strict=True):
            scores = self._index.scores(bm25.tokenize(text))
            columns = range(len(scores)) if top_ranked is None else [place[name] for name in top_ranked[query]]
            best = sorted(columns, key=lambda column, s=scores: (s[column], self._ids[column]), reverse=True)
            run[query] = {self._ids[column]: float(scores[column]) for column in best[:top_k]}
        return run


def _meta(name: str, revision: str, base: Any = None, experiment: Mapping[str, str] | None = None) -> Any:
    from mteb.models import ModelMeta

    base = base if base is not None else ModelMeta.create_empty()
    return base.model_copy(update={"name": name, "revision": revision, "experiment_kwargs": experiment})


def _commit(name: str, revision: str | None) -> str | None:
    """The commit of a hub model that was loaded: the folder of the cache that its files lie in."""
    from huggingface_hub import try_to_load_from_cache

    for file in ("modules.json", "config.json"):
        path = try_to_load_from_cache(name, file, revision=revision)
        if isinstance(path, str):
            return Path(path).parent.name
    return None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
