"""Compute a transformer of sentence-transformers with ONNX Runtime or OpenVINO in place of torch.

The package of the engine is enough. The `backend` of sentence-transformers needs optimum too, whose releases pin older
versions of transformers. The exported model is kept in the cache, never in the folder of the model.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hbt_bench.data.data_files import cache_dir
from hbt_bench.errors import ModelError, UsageError
from hbt_bench.files import output_error
from hbt_bench.identity.checkpoint import Checkpoint
from hbt_bench.identity.model_files import read_json
from hbt_bench.mteb.probe import sample_words
from hbt_bench.text import one_line

log = logging.getLogger(__name__)

#: Returns the hidden states of a batch, from the values of its inputs in order.
Run = Callable[[Sequence[np.ndarray]], np.ndarray]

#: Inputs that a text model may have.
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
#: Least cosine between vectors of an engine and of torch; bf16 has .99.
_LEAST_COSINE = 0.97


@dataclass(frozen=True)
class Engine:
    """An engine that computes an exported model.

    Attributes:
        packages: The packages that it needs, by their names in Python and for pip.
        precisions: The precisions that it computes in, the default first.
        export: Writes a module, called with examples of its inputs, into a folder.
        open: Returns the function that computes the model of a folder in a precision.
    """

    packages: Mapping[str, str]
    precisions: tuple[str, ...]
    export: Callable[[torch.nn.Module, Mapping[str, torch.Tensor], Path], None]
    open: Callable[[Path, str], Run]


def _export_openvino(module: torch.nn.Module, example: Mapping[str, torch.Tensor], folder: Path) -> None:
    import openvino

    model = openvino.convert_model(module, example_input=tuple(example.values()))
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)


def _open_openvino(folder: Path, precision: str) -> Run:
    import openvino

    settings = {
        # without it, OpenVINO would choose bf16 by itself on a processor that has it
        "INFERENCE_PRECISION_HINT": {"fp32": "f32"}.get(precision, precision),
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = openvino.Core().compile_model(str(folder / "model.xml"), "CPU", settings)
    return lambda inputs: np.asarray(compiled(list(inputs))[0])


def _export_onnx(module: torch.nn.Module, example: Mapping[str, torch.Tensor], folder: Path) -> None:
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    torch.onnx.export(
        module,
        tuple(example.values()),
        folder / "model.onnx",
        input_names=list(example),
        dynamo=True,
        dynamic_shapes=((free,) * len(example),),
        verbose=False,
    )


def _open_onnx(folder: Path, precision: str) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda inputs: np.asarray(session.run(None, dict(zip(names, inputs, strict=True)))[0])


ENGINES = {
    "onnx": Engine(
        {"onnxruntime": "onnxruntime", "onnx": "onnx", "onnxscript": "onnxscript"}, ("fp32",), _export_onnx, _open_onnx
    ),
    "openvino": Engine({"openvino": "openvino"}, ("fp32", "bf16"), _export_openvino, _open_openvino),
}


def check(backend: str, dtype: str | None, device: str | None) -> None:
    """Raise `UsageError` if a backend lacks a package, the precision or the device."""
    engine, option = ENGINES[backend], f"--backend {backend}"
    if missing := [package for module, package in engine.packages.items() if find_spec(module) is None]:
        raise UsageError(f"{option} needs {' and '.join(missing)}. Run pip install {' '.join(missing)}.")
    if dtype and dtype not in engine.precisions:
        raise UsageError(f"{option} computes in {' or '.join(engine.precisions)}, not in {dtype}. Change --dtype.")
    if device not in (None, "cpu"):
        raise UsageError(f"{option} computes on the CPU, not on {device}. Leave out --device.")


def check_checkpoint(backend: str, checkpoint: Checkpoint, name: str) -> None:
    """Raise `UsageError` if the model of a folder does not begin with a transformer, which alone can be exported."""
    kind: str = checkpoint.kind
    if kind == "SentenceTransformer":
        modules = read_json(checkpoint.path / "modules.json")
        kind = next((str(module.get("type")) for module in modules or () if isinstance(module, dict)), kind)
        if kind.startswith("sentence_transformers.") and kind.endswith(".Transformer"):
            return
    elif kind == "transformers":
        return
    raise UsageError(
        f"--backend {backend} is for transformers with one vector per text, and {name} is a model of the kind "
        f"{kind.rpartition('.')[2]}. Leave it out."
    )


def export(model: Any, identity: str, name: str, backend: str, dtype: str | None) -> None:
    """Compute the transformer of `model`, a SentenceTransformer, with a backend from now on.

    `identity` has the revision of the model, and `name` stands in messages. Raises `UsageError` if the model does not
    begin with a transformer for texts, and `ModelError` if the transformer cannot be exported, or has other vectors.
    """
    engine, transformer = ENGINES[backend], model[0]
    texts = [" ".join(sample_words(code)) for code in ("en", "ru")] + [sample_words("en")[1]]
    features = _features(transformer, name, backend, texts)
    model.float()
    before = model.encode(texts, show_progress_bar=False)
    folder = _folder(identity, backend)
    if not folder.is_dir():
        log.info(f"{name} is exported to {backend}, into {folder}")
        _write(engine, _Hidden(transformer.model, tuple(features)), features, name, backend, folder)
    run = engine.open(folder, dtype or engine.precisions[0])
    transformer.model = _Exported(run, tuple(features), transformer.model.config)
    after = model.encode(texts, show_progress_bar=False)
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    cosine = float(np.min((before * after).sum(axis=1) / lengths))
    if not cosine >= _LEAST_COSINE:
        raise ModelError(
            f"{name} has other vectors with {backend} than with torch (cosine {cosine:.3f}). Leave out --backend."
        )


def _features(transformer: Any, name: str, backend: str, texts: list[str]) -> dict[str, torch.Tensor]:
    """Return the inputs for texts. Raises `UsageError` if the module is not a transformer with hidden states."""
    from sentence_transformers.sentence_transformer.modules import Transformer

    text = transformer.modality_config.get("text", {}) if isinstance(transformer, Transformer) else {}
    if text.get("method") != "forward" or text.get("method_output_name") != "last_hidden_state":
        raise UsageError(f"--backend {backend} is for transformers that read texts, and {name} is not. Leave it out.")
    features = transformer.preprocess(texts)
    return {key: features[key] for key in _INPUTS if key in features}


def _folder(identity: str, backend: str) -> Path:
    """Return the folder of an exported model in the cache. Its name is a hash of all that the contents depend on."""
    libraries = ("torch", "transformers", *ENGINES[backend].packages.values())
    versions = [f"{library} {version(library)}" for library in libraries]
    return cache_dir() / backend / hashlib.sha256("|".join([identity, *versions]).encode()).hexdigest()[:16]


def _write(
    engine: Engine, module: torch.nn.Module, example: Mapping[str, torch.Tensor], name: str, backend: str, folder: Path
) -> None:
    """Export a module into a folder, which appears when it is complete. Another process may do the same."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".", suffix=".tmp") as temporary:
            made = Path(temporary, folder.name)
            made.mkdir()
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")  # those of the tracer, on the code of transformers
                engine.export(module.eval(), example, made)
            if not folder.is_dir():
                made.rename(folder)
    except OSError as error:
        raise output_error(folder, error, "set HBT_BENCH_CACHE to another folder") from error
    except Exception as error:  # an exporter of any library may raise anything
        reason = one_line(error)[:200]
        raise ModelError(
            f"{name} cannot be exported to {backend} ({type(error).__name__}: {reason}). Leave out --backend."
        ) from error


class _Hidden(torch.nn.Module):
    """A transformer with its inputs in order, and the hidden states of the last layer as its only output."""

    def __init__(self, model: torch.nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *values: torch.Tensor) -> Any:
        return self.model(**dict(zip(self.names, values, strict=True)), return_dict=True)["last_hidden_state"]


class _Exported(torch.nn.Module):
    """An exported transformer in the place of the transformer."""

    def __init__(self, run: Run, names: tuple[str, ...], config: Any) -> None:
        super().__init__()
        self.run, self.names, self.config = run, names, config

    def forward(self, **inputs: Any) -> dict[str, torch.Tensor]:
        values = [inputs[name].cpu().numpy() for name in self.names]
        return {"last_hidden_state": torch.from_numpy(np.ascontiguousarray(self.run(values), dtype=np.float32))}
