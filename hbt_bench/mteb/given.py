"""A model object that the caller made: a model of sentence-transformers, or an object of MTEB's protocols."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, get_args

from hbt_bench.errors import UsageError
from hbt_bench.identity.checkpoint import Checkpoint, Kind
from hbt_bench.identity.signature import Prompts
from hbt_bench.mteb.loaders import wrapped
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.mteb.probe import check_tokenizer, check_vectors
from hbt_bench.ranking.ranks import ScoringModel

#: What MTEB writes for a name or revision that it does not know.
_UNKNOWN = frozenset({None, "", "no_model_name/available", "no_revision_available"})


@dataclass(frozen=True, eq=False)
class GivenModel:
    """A model object, with the name and revision that identify its results.

    For example, ``GivenModel(SentenceTransformer("ckpt"), "me/exp3")``. Everything that can be checked without a text
    is checked at once.

    Attributes:
        model: A model of sentence-transformers, or an object of MTEB's protocols of encoders and search models.
        given_name: The name in results, as ``me/exp3``; None for the name in the object's `mteb_model_meta`.
        given_revision: The version of the weights; None for the revision in `mteb_model_meta`, or, of a model of
            sentence-transformers, the hash that its saved folder has.
    """

    model: Any
    given_name: str | None = None
    given_revision: str | None = None

    #: Settings that only a model by name has.
    device: ClassVar[None] = None
    batch_tokens: ClassVar[None] = None
    checkpoint: ClassVar[None] = None
    experiment: ClassVar[None] = None
    prompts_by_hand: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        """Raise `UsageError` if the object is no model, or if its name or revision is unknown."""
        from mteb.models import CrossEncoderProtocol, EncoderProtocol, SearchProtocol

        protocols = (ScoringModel, EncoderProtocol, SearchProtocol, CrossEncoderProtocol)
        if self.kind is None and not isinstance(self.model, protocols):
            needed = ("encode", "similarity", "similarity_pairwise", "mteb_model_meta")
            missing = [name for name in needed if not hasattr(self.model, name)]
            raise UsageError(
                f"{type(self.model).__name__} is not an encoder as MTEB defines it: it lacks {', '.join(missing)}. "
                "Derive its class from mteb.models.abs_encoder.AbsEncoder, and give it an mteb_model_meta."
            )
        for field, value in (("name", self.name), ("revision", self._revision or self.kind)):
            if not value:
                raise UsageError(
                    f"{type(self.model).__name__} has no {field}, by which its results are found again: pass {field}=, "
                    f"such as {'me/exp3' if field == 'name' else 'the version of its weights'}"
                )

    @property
    def name(self) -> str:
        """The name in results, empty if it is unknown."""
        return self.given_name or self._known("name") or ""

    @property
    def _revision(self) -> str | None:
        return self.given_revision or self._known("revision")

    def _known(self, field: str) -> str | None:
        """Return a field of the object's metadata, None if it is unknown."""
        value = getattr(getattr(self.model, "mteb_model_meta", None), field, None)
        return None if value in _UNKNOWN else value

    @property
    def kind(self) -> Kind | None:
        """The class of a model of sentence-transformers, None for another object."""
        names = [kind.__name__ for kind in type(self.model).__mro__ if kind.__module__.startswith("sentence_trans")]
        return next((kind for kind in get_args(Kind) if kind in names), None)

    @cached_property
    def identity(self) -> tuple[str, str]:
        """The name and revision. To hash a model of sentence-transformers, it is saved in a temporary folder."""
        if self._revision:
            return self.name, self._revision
        with tempfile.TemporaryDirectory() as folder:
            self.model.save_pretrained(folder)
            return self.name, Checkpoint(Path(folder)).revision

    @property
    def prompts(self) -> Prompts | None:
        """The prompts of a model of sentence-transformers, None for another object, whose prompts are its own."""
        if self.kind != "SentenceTransformer":
            return None
        return Prompts.from_config(self.model.prompts)

    @property
    def prompt_label(self) -> str:
        """The label of the prompts in the signature, ``model`` if they are the object's own."""
        return "model" if self.prompts is None else self.prompts.label

    def load(self) -> Any:
        """Return the model as MTEB evaluates it. Its `mteb_model_meta` has the name and revision.

        The caller's object is not changed. Raises `ModelError` if its tokenizer or its vectors are unusable.
        """
        from mteb.models import ModelMeta

        if self.kind is None:
            model = copy(self.model)
        else:
            check_tokenizer(self.name, self.model)
            check_vectors(self.name, self.model)
            model = wrapped(self.model, self.kind)
        name, revision = self.identity
        base = getattr(model, "mteb_model_meta", None) or ModelMeta.create_empty()
        meta = base.model_copy(update={"name": name, "revision": revision})
        if meta != base:
            try:
                model.mteb_model_meta = meta
            except AttributeError as error:
                raise UsageError(
                    f"{type(self.model).__name__} does not let its mteb_model_meta be set: leave out name= and "
                    "revision=, and give it a meta with both"
                ) from error
        return model


def requested(model: Any, name: str | None = None, revision: str | None = None) -> ModelRequest | GivenModel:
    """Return a model by name or path as a `ModelRequest`, and an object as a `GivenModel`.

    For example, ``requested("bm25")`` and ``requested(SentenceTransformer("ckpt"), "me/exp3")``. Raises `UsageError`
    for a model that cannot be, and for `name` with a model by name.
    """
    if isinstance(model, ModelRequest | GivenModel):
        return model
    if not isinstance(model, str | Path):
        return GivenModel(model, name, revision)
    if name:
        raise UsageError("name= is for model objects. A model by name has that name: leave name= out.")
    return ModelRequest(str(model), revision)
