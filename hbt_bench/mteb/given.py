"""A model object that the caller made: a model of sentence-transformers, or an object of MTEB's protocols."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, get_args

from hbt_bench.errors import UsageError
from hbt_bench.identity.checkpoint import Checkpoint, Kind
from hbt_bench.identity.signature import Prompts
from hbt_bench.mteb import vectors
from hbt_bench.mteb.corrected_model import OWN, CorrectedModel, Correction, check_vectors_known
from hbt_bench.mteb.loaders import wrapped
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.mteb.probe import check_tokenizer, check_vectors
from hbt_bench.ranking.encode import Encoder
from hbt_bench.ranking.ranks import RankedModel, ScoringModel
from hbt_bench.tasks.registry import TaskRegistry

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
        correction: The correction of the vectors, None for none.
    """

    model: Any
    given_name: str | None = None
    given_revision: str | None = None
    correction: Correction | None = None

    #: Settings that only a model by name has.
    device: ClassVar[None] = None
    batch_tokens: ClassVar[None] = None
    checkpoint: ClassVar[None] = None
    experiment: ClassVar[None] = None
    prompts_by_hand: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        """Raise `UsageError` if the object is no model, or if its name or revision is unknown."""
        from mteb.models import CrossEncoderProtocol, EncoderProtocol, SearchProtocol

        protocols = (ScoringModel, RankedModel, EncoderProtocol, SearchProtocol, CrossEncoderProtocol)
        if self.kind is None and not isinstance(self.model, protocols):
            needed = ("encode", "similarity", "similarity_pairwise", "mteb_model_meta")
            missing = [name for name in needed if not hasattr(self.model, name)]
            raise UsageError(
                f"{type(self.model).__name__} is not an encoder as MTEB defines it: it lacks {', '.join(missing)}. "
                "Derive its class from mteb.models.abs_encoder.AbsEncoder, and give it an mteb_model_meta."
            )
        for field, value in (("name", self.name), ("revision", self._revision or self.kind)):
            if not str(value or "").strip():
                raise UsageError(
                    f"{type(self.model).__name__} has no {field}, by which its results are found again: pass {field}=, "
                    f"such as {'me/exp3' if field == 'name' else 'the version of its weights'}"
                )

    @property
    def name(self) -> str:
        """The name in results, empty if it is unknown."""
        return (self._known("name") or "") if self.given_name is None else self.given_name

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
        """The name and revision, with the mark of the correction."""
        name, revision = self._plain_identity
        return name, f"{revision}-{self.correction.mark}" if self.correction else revision

    @cached_property
    def _plain_identity(self) -> tuple[str, str]:
        """The name and revision. To hash a model of sentence-transformers, it is saved in a temporary folder."""
        if self._revision:
            return self.name, self._revision
        with tempfile.TemporaryDirectory() as folder:
            self.model.save_pretrained(folder)
            return self.name, Checkpoint(Path(folder)).revision

    @property
    def prompts(self) -> Prompts | None:
        """The prompts of a model of sentence-transformers, None for another object, which has its own prompts."""
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
        name, revision = self._plain_identity
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
        return CorrectedModel(model, self.correction) if self.correction else model


def requested(model: Any, name: str | None = None, revision: str | None = None) -> ModelRequest | GivenModel:
    """Return a model by name or path as a `ModelRequest`, and an object as a `GivenModel`.

    For example, ``requested("bm25")`` and ``requested(SentenceTransformer("ckpt"), "me/exp3")``. Raises `UsageError`
    for a model that cannot be, for `name` with a model by name, and for both with a request, which has them itself.
    """
    if isinstance(model, ModelRequest | GivenModel):
        if name or revision:
            fields = "given_name= and revision=" if isinstance(model, ModelRequest) else "its name and revision"
            raise UsageError(
                f"name= and revision= are for model objects. Give {fields} to the {type(model).__name__} instead."
            )
        return model
    if isinstance(model, CorrectedModel):
        return GivenModel(model.given, name, revision, model.correction)
    if not isinstance(model, str | Path):
        return GivenModel(model, name, revision)
    if str(model).startswith(vectors.PREFIX):
        return given_vectors(str(model), name, {"revision": revision})
    if name:
        raise UsageError("name= is for model objects. A model that is given as text keeps its name: leave name= out.")
    return ModelRequest(str(model), revision)


def given_vectors(model: str, name: str | None, settings: Mapping[str, object]) -> GivenModel:
    """Return the vectors of ``vectors:DIR``. Raises `UsageError` for `settings` of models, which cannot change them."""
    if options := [option for option, value in settings.items() if value]:
        raise UsageError(f"{' and '.join(options)} cannot change vectors that exist, as {model}. Leave it out.")
    return GivenModel(vectors.VectorModel.from_name(model), name)


def corrected(
    model: Any,
    correction: str,
    on: str = OWN,
    *,
    data_dir: str | Path | None = None,
    task_dirs: Iterable[str | Path] = (),
) -> CorrectedModel:
    """Return a model with corrected vectors, which `hbt_bench.evaluate` and `mteb.evaluate` take with our tasks.

    For example, the model minus the mean of each language's texts, and minus the means of held-out texts::

        hbt_bench.evaluate(hbt_bench.corrected(model, "center"), "xquad-r", name="me/exp3")
        hbt_bench.evaluate(hbt_bench.corrected(model, "center", on="cldr-facts"), "xquad-r", name="me/exp3")

    Args:
        model: A model of sentence-transformers, an encoder of MTEB's protocol, or a name that `ModelRequest` takes.
        correction: ``center``, ``whiten``, ``lir:K``, ``subspace:K``, ``procrustes``, ``shift:FACTOR`` or
            ``all-but-the-top``; see `docs/how-to/correct.md`.
        on: ``own`` for the texts of the evaluated collection, or held-out texts: a task or a file, perhaps with a
            number of texts of each language, as in ``ntrex-ood:400``.
        data_dir: The folder of the data files.
        task_dirs: Folders with task files.

    Raises `UsageError` for an unknown correction or source, and for a model without vectors.
    """
    registry = TaskRegistry([Path(folder) for folder in task_dirs])
    parsed = Correction.parse(correction, on, registry, Path(data_dir) if data_dir else None)
    if isinstance(model, str | Path):
        loaded = requested(model).load()
        check_vectors_known(loaded, str(model))
        return _saveable(CorrectedModel(loaded, parsed))
    given = GivenModel(model, getattr(model, "name", None) or "model", "given")
    check_vectors_known(wrapped(model, given.kind) if given.kind else model, type(model).__name__)
    return _saveable(CorrectedModel(wrapped(model, given.kind) if given.kind else model, parsed, model))


def _saveable(model: CorrectedModel) -> CorrectedModel:
    """Return a corrected model that can encode texts outside an evaluation, as every task for retrieval does."""

    def encoder_of(model: Any, batch_size: int) -> Encoder:
        from hbt_bench.mteb.metadata import defined_metadata
        from hbt_bench.mteb.shared_pass import MtebEncoder

        metadata = defined_metadata(TaskRegistry().specs["cldr-facts"], "multi")
        return MtebEncoder(model, metadata, {"batch_size": batch_size})

    model.encoder_of = encoder_of
    return model
