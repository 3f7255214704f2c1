"""Measure evaluation and training on a GPU, with a model of the shape of XLM-R base and random weights, in bf16.

``python benchmarks/gpu.py --output results/benchmarks/gpu`` needs a machine with a GPU. ``--tiny`` runs the script on
a CPU for a test; its numbers have no meaning. The texts are those of the embedded facts, or of ``--collection``.

Evaluation has three numbers: texts per second of the full evaluation, texts per second of
`SentenceTransformer.encode` alone on the same distinct texts, and the share of time of our pass over the scores,
including the wait for the device. Training has two: steps per second with a plan, and with the trainer of
sentence-transformers on the same rows.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
import torch
import training

from hbt_bench.data.collection import Collection
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.mteb.shared_pass import MtebEncoder
from hbt_bench.mteb.tasks import ParallelRetrieval, SharedPass, quiet_libraries
from hbt_bench.ranking.dense import DenseScorer
from hbt_bench.ranking.ranks import rank
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.tasks.registry import select_tasks
from hbt_bench.tasks.task import TaskSpec
from hbt_bench.training.models import learn_subwords
from hbt_bench.training.parallel import ParallelText
from hbt_bench.training.sources import collection_items


@dataclass(frozen=True)
class Shape:
    """The sizes of a model and of its inputs."""

    layers: int
    width: int
    heads: int
    vocabulary: int
    batch: int
    train_batch: int
    steps: int


BASE = Shape(12, 768, 12, 250_002, 256, 128, 60)
TINY = Shape(1, 32, 2, 3000, 64, 16, 6)


def build(folder: Path, shape: Shape, texts: Sequence[str]) -> Path:
    """Save a model of the XLM-R architecture with random weights, and a tokenizer trained on `texts`."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=learn_subwords(texts, min(shape.vocabulary, 30_000)),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=256,
    )
    config = XLMRobertaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.width,
        max_position_embeddings=514,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    XLMRobertaModel(config).save_pretrained(folder / "weights")
    tokenizer.save_pretrained(folder / "weights")
    transformer = Transformer(str(folder / "weights"))
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
    SentenceTransformer(modules=[transformer, pooling], similarity_fn_name="cosine").save(str(folder / "model"))
    return folder / "model"


def evaluation(
    folder: Path, spec: TaskSpec, collection: Collection, shape: Shape, device: str, data_dir: Path | None
) -> dict[str, Any]:
    """Return the seconds of the full evaluation, of encoding alone, and of our pass."""
    request = ModelRequest(str(folder), device=device, dtype="bf16")
    wrapped = request.load()
    distinct = [
        sorted({text.text for text in role}, key=len, reverse=True)
        for role in (collection.queries, collection.documents)
    ]
    wrapped.model.encode(distinct[0][: shape.batch], batch_size=shape.batch)  # warm-up
    measured = {"texts": sum(map(len, distinct))}
    measured["encoding"] = _seconds(
        device,
        lambda: [
            wrapped.model.encode(texts, batch_size=shape.batch, convert_to_tensor=True, show_progress_bar=False)
            for texts in distinct
        ],
    )
    with tempfile.TemporaryDirectory() as output:
        os.environ["HBT_BENCH_CACHE"] = output
        run = Evaluation(
            _Loaded(str(folder), device=device, dtype="bf16", model=wrapped),
            select_tasks(spec.name),
            Path(output, "results"),
            batch_size=shape.batch,
            data_dir=data_dir,
        )
        measured["evaluation"] = _seconds(device, run.run)
        del os.environ["HBT_BENCH_CACHE"]
    shared = SharedPass(spec, collection)
    encoder = MtebEncoder(wrapped, ParallelRetrieval(shared, "multi").metadata, {"batch_size": shape.batch})
    scorer = DenseScorer.from_collection(collection, encoder)
    rank(collection, scorer)
    measured["pass"] = _seconds(device, lambda: rank(collection, scorer))
    return measured


@dataclass(frozen=True)
class _Loaded(ModelRequest):
    """A request for a model that is in memory."""

    model: Any = None

    def load(self) -> Any:
        """Return the model."""
        return self.model


def _seconds(device: str, work: Any) -> float:
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, then print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a tiny model and few texts, on the processor")
    parser.add_argument("--collection", default="cldr-facts")
    parser.add_argument("--data-dir", type=Path, help="folder of the data files [env: HBT_BENCH_DATA]")
    parser.add_argument("--rounds", type=int, default=3, help="trainings of each kind; the median is reported")
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    options = parser.parse_args(arguments)
    if not options.tiny and not torch.cuda.is_available():
        parser.error("no GPU was found: use --tiny to test this script on a CPU")
    quiet_libraries()
    shape, device = (TINY, "cpu") if options.tiny else (BASE, "cuda")
    about = report.environment()
    about["device"] = "a CPU" if options.tiny else torch.cuda.get_device_name()
    spec = select_tasks(options.collection)[0].spec
    assert spec is not None
    if options.tiny:
        spec = spec.narrowed(["de", "en"])
    collection = spec.load(None, options.data_dir)
    with tempfile.TemporaryDirectory() as folder:
        texts = [text.text for role in (collection.queries, collection.documents) for text in role]
        model = build(Path(folder), shape, texts)
        measured = evaluation(model, spec, collection, shape, device, options.data_dir)
        source = ParallelText.from_items(spec.name, collection_items(collection))
        rounds = 1 if options.tiny else options.rounds
        row = training.throughput(source, str(model), shape.train_batch, shape.steps, rounds, gpu=not options.tiny)
    rows = [
        ["texts a second, whole evaluation", measured["texts"] / measured["evaluation"]],
        ["texts a second, encoding alone", measured["texts"] / measured["encoding"]],
        ["evaluation / encoding", measured["evaluation"] / measured["encoding"]],
        ["share of our pass in the evaluation", measured["pass"] / measured["evaluation"]],
        ["training steps a second, plain trainer", row[1]],
        ["training steps a second, with a plan", row[2]],
        ["training pairs a second, with a plan", row[2] * shape.train_batch],
        ["ratio", row[3]],
    ]
    text = [
        f"{shape.layers} layers of {shape.width}, random weights, bf16, on {about['device']}; {options.collection}, "
        f"{measured['texts']:,} distinct texts, batches of {shape.batch}; training batches of {shape.train_batch}.",
        report.table(["", "figure"], rows),
    ]
    data = {**measured, "training": row}
    report.publish("On a GPU", text, data, about, options.output)
    return data


if __name__ == "__main__":
    main()
