"""Load models under supervision: a model with random weights, an empty tokenizer or a single vector is refused.

transformers fills weights that it does not find with random numbers, and only logs it. `load_checked` reads its report,
for every way in: a folder, a name of the hub, MTEB's loaders, and the init of a training.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hbt_bench.errors import ModelError
from hbt_bench.mteb.file_checks import check_files
from hbt_bench.mteb.probe import check_tokenizer, check_vectors, depends_on

log = logging.getLogger(__name__)

Loaded = TypeVar("Loaded")

#: Heads of language models and classifiers: an encoder does not have them, or not all of them.
_HEADS = re.compile(
    r"cls|seq_relationship|pooler|lm_(heads?|loss|predictions)|(pre_|sop_|qa_)?classifier|classification_head|score"
    r"|qa_outputs|logits_proj|(mask_|entity_|discriminator_|generator_)?predictions|generator_lm_head|pred_layer"
    r"|vocab_(transform|layer_norm|projector)|embed_out|final_logits_bias|sequence_summary|splinter_qass"
)
#: Heads of some classes of transformers. In another class, these names may be a projection that the vectors need.
_HEADS_OF_TRANSFORMERS = frozenset({"head", "decoder", "projection_head", "output_projection"})
#: Ends of the names of buffers that a model computes by itself.
_BUFFERS = ("position_ids", "token_type_ids", "inv_freq", "attn.bias", "attn.masked_bias", "num_batches_tracked")


@dataclass(frozen=True)
class LoadReport:
    """The report of transformers on a model that it loaded: names of weights.

    Attributes:
        model: The model.
        missing: Weights that no file has. They are random.
        mismatched: Weights whose shape in the files is not that of config.json. They are random.
        unexpected: Weights in the files that the model does not have.
    """

    model: Any
    missing: frozenset[str]
    mismatched: frozenset[str]
    unexpected: frozenset[str]

    @classmethod
    def from_info(cls, model: Any, info: Mapping[str, Any]) -> LoadReport:
        """Return the report in the loading info of transformers."""
        mismatched = frozenset(name for name, *_ in info["mismatched_keys"])
        return cls(model, frozenset(info["missing_keys"]), mismatched, frozenset(info["unexpected_keys"]))


@contextmanager
def load_reports() -> Iterator[list[LoadReport]]:
    """Collect the reports of transformers on all models that it loads while the block lasts.

    The reports are those of its public option `output_loading_info`.
    """
    from transformers import PreTrainedModel

    reports: list[LoadReport] = []
    original = PreTrainedModel.__dict__["from_pretrained"]

    def load(cls: Any, *arguments: Any, **options: Any) -> tuple[Any, Any]:
        # a mismatch would raise an error that names no weight; `_check_missing` raises a better error
        options = {**options, "output_loading_info": True, "ignore_mismatched_sizes": True}
        model, info = original.__func__(cls, *arguments, **options)
        return model, info

    def from_pretrained(cls: Any, *arguments: Any, **options: Any) -> Any:
        wants_info = options.pop("output_loading_info", False)
        model, info = load(cls, *arguments, **options)
        reports.append(LoadReport.from_info(model, info))
        # the report on an adapter does not have that on its base
        bases = {str(adapter.base_model_name_or_path) for adapter in getattr(model, "peft_config", {}).values()}
        reports.extend(LoadReport.from_info(model, load(cls, base)[1]) for base in bases if Path(base).is_dir())
        return (model, info) if wants_info else model

    PreTrainedModel.from_pretrained = classmethod(from_pretrained)
    try:
        yield reports
    finally:
        PreTrainedModel.from_pretrained = original


def load_checked(name: str, load: Callable[[], Loaded], folder: Path | None = None, leave_out: bool = False) -> Loaded:
    """Return the model that `load` returns, if its files, weights, tokenizer and vectors are usable.

    For example, ``load_checked("ckpt", lambda: SentenceTransformer("ckpt"), Path("ckpt"))``. `name` is the model's
    name in messages, and `folder` has its files, None for a model of the hub. With `leave_out`, weights that the model
    does not use are reported, for a loader that leaves them out on purpose.

    Raises `ModelError` for a file that is empty, missing or a pointer of git-lfs, for weights that are missing, have
    another shape or are not used, for a tokenizer that knows no text, and for a model that gives all texts the same
    vector. Errors of `load` pass.
    """
    if folder is not None:
        check_files(folder)
    with load_reports() as reports:
        model = load()
    for report in reports:
        _check_missing(name, model, report)
        _check_unused(name, model, report, leave_out)
    check_tokenizer(name, model)
    check_vectors(name, model)
    return model


def _check_missing(name: str, model: Any, report: LoadReport) -> None:
    random = sorted(weight for weight in report.missing | report.mismatched if not _is_computed(weight, report.model))
    if not random or not depends_on(model, report.model, random):  # for example, the pooler of a model of means
        return
    kind, total = type(report.model).__name__, len(report.model.state_dict())
    if mismatched := [weight for weight in random if weight in report.mismatched]:
        raise ModelError(
            f"{name}: {len(mismatched)} of {total} weights of {kind} do not have the shape of its config.json, such "
            f"as {_some(mismatched)}. Save the model again with its configuration."
        )
    others = sorted(weight for weight in report.unexpected if not _is_harmless(weight, report.model))
    hint = f" Its files have {_count(others)} with other names, such as {_some(others)}." if others else ""
    raise ModelError(
        f"{name}: {len(random)} of {total} weights of {kind} are missing, such as {_some(random)}, and would be random "
        f"numbers.{hint} Save the model again, without a wrapper around it."
    )


def _check_unused(name: str, model: Any, report: LoadReport, leave_out: bool) -> None:
    # another module may read a weight from the same file, as the projection of ColBERT
    elsewhere = list(model.state_dict()) if hasattr(model, "state_dict") else []
    unused = [
        weight
        for weight in sorted(report.unexpected)
        if not _is_harmless(weight, report.model) and not any(key.endswith(f".{weight}") for key in elsewhere)
    ]
    if not unused:
        return
    kind = type(report.model).__name__
    extra = f"{name}: its files have {_count(unused)} that {kind} lacks, such as {_some(unused)}"
    if not leave_out:
        raise ModelError(f"{extra}. Correct its config.json, or merge its adapter and save the model again.")
    log.warning(f"{extra}. They are left out.")


def _is_computed(weight: str, model: Any) -> bool:
    """Return whether a model computes a weight by itself: a buffer, or positions made of sines."""
    module = dict(model.named_modules()).get(weight.rpartition(".")[0])
    buffer = weight.endswith(_BUFFERS) and weight not in dict(model.named_parameters())
    return buffer or "Sinusoidal" in type(module).__name__


def _is_harmless(weight: str, model: Any) -> bool:
    """Return whether a model can leave out a weight of its files: a computed buffer, or a head that it does not have.

    A head stands at the top of the model, or one module below it.
    """
    if _is_computed(weight, model):
        return True
    import transformers

    prefix = getattr(model, "base_model_prefix", "")
    first, second = [*weight.removeprefix(f"{prefix}.").split("."), ""][:2]
    module = getattr(model, prefix, model) if prefix and weight.startswith(f"{prefix}.") else model
    absent = first if getattr(module, first, None) is None else second
    if absent in _HEADS_OF_TRANSFORMERS:
        architectures = getattr(model.config, "architectures", None) or []
        return all(hasattr(transformers, architecture) for architecture in architectures)
    return _HEADS.fullmatch(absent) is not None


def _count(weights: Sequence[str]) -> str:
    return f"{len(weights)} weight{'s' if len(weights) > 1 else ''}"


def _some(names: Sequence[str], limit: int = 2) -> str:
    return ", ".join(names[:limit])
