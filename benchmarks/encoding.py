"""Measure how fast a model encodes texts of XQuAD-R: precisions, backends, and batches of texts and of tokens.

``python benchmarks/encoding.py MODEL --output results/benchmarks/encoding`` measures on the processor, and
``--device cuda`` on a GPU. MODEL is a folder; benchmarks/make_e5_small.py makes one. Without MODEL, the weights are
random, in the shape of multilingual-e5-small. The texts are a sample with a seed: questions and candidates of some
languages, from the data folder (HBT_BENCH_DATA). Each language and role is a call, as in an evaluation.

- Texts per second, with the least time of all rounds and with the median. The settings take turns in each round.
- GFLOPS of the matrix products that the tokens of the texts need. Padding is not counted as work.
- The peak: the products alone, with the model's shapes and precision, in the same run. The share is GFLOPS / peak.
- The cosine of each vector to that of float32 in batches of 32.

``--scores`` also evaluates XQuAD-R in three modes with the settings in `SCORED`: seconds of the whole evaluation, and
the change of AP. It needs all packages of hbt-bench. Without it, torch and sentence-transformers are enough; OpenVINO
and ONNX Runtime are measured if they are installed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import report
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout may not be installed

from hbt_bench.mteb.token_batches import TokenBatches

#: Texts of a language and role: the role and the texts.
Call = tuple[str, list[str]]

_TYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_OTHER_PACKAGES = ("openvino", "onnxruntime")
#: Rows of the products of the peak: tokens of a large batch.
_ROWS = {"cpu": 2048, "cuda": 65_536}


@dataclass(frozen=True)
class Setting:
    """A way to encode: an engine, a precision, and batches of `size` texts or tokens."""

    engine: str
    dtype: str
    size: int
    unit: str = "texts"

    def __str__(self) -> str:
        return f"{self.engine} {self.dtype}, {self.size:,} {self.unit}"


def settings_of(device: str) -> list[Setting]:
    """Return the settings that are measured on a device; the first is that of sentence-transformers."""
    base = [Setting("torch", "fp32", 32)]
    if device == "cuda":
        sizes, budgets = (32, 64, 128, 256, 512, 1024), (8192, 16_384, 32_768, 65_536)
        engines = [("torch", dtype) for dtype in ("fp32", "tf32", "bf16", "fp16")]
        compiled = Setting("compiled", "bf16", 256)
    else:
        sizes, budgets = (8, 16, 32, 64, 128), (512, 1024, 2048, 4096)
        engines = [("torch", "fp32"), ("torch", "bf16"), ("openvino", "fp32"), ("openvino", "bf16"), ("onnx", "fp32")]
        compiled = Setting("compiled", "bf16", 32)
    for engine, dtype in engines:
        base += [Setting(engine, dtype, size) for size in sizes]
        base += [Setting(engine, dtype, budget, "tokens") for budget in budgets]
    return list(dict.fromkeys([*base, compiled]))


# Texts and models


def sample(folder: Path, languages: Sequence[str], count: int, seed: int = 0) -> list[Call]:
    """Return `count` distinct questions and candidates of XQuAD-R in each language, longest first."""
    generator, calls = random.Random(seed), []
    for language in languages:
        content = json.loads(Path(folder, "lareqa", "xquad-r", f"{language}.json").read_bytes())
        paragraphs = [paragraph for article in content["data"] for paragraph in article["paragraphs"]]
        roles = {
            "query": [question["question"] for paragraph in paragraphs for question in paragraph["qas"]],
            "document": [
                paragraph["context"][start:end]
                for paragraph in paragraphs
                for start, end in paragraph["sentence_breaks"]
            ],
        }
        for role, texts in roles.items():
            distinct = sorted(set(texts))
            chosen = generator.sample(distinct, min(count, len(distinct)))
            calls.append((role, sorted(chosen, key=lambda text: (-len(text), text))))
    return calls


def random_model(
    folder: Path, texts: Sequence[str], layers: int = 12, width: int = 384, vocabulary: int = 250_037
) -> Path:
    """Save a BERT with random weights and a tokenizer that is trained on `texts`; by default of e5-small's shape."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=8000,
        special_tokens=["<pad>", "<unk>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    ends = [("<s>", 2), ("</s>", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    torch.manual_seed(0)
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "intermediate_size": 4 * width}
    config = BertConfig(vocab_size=vocabulary, num_attention_heads=width // 32, **sizes)
    BertModel(config).save_pretrained(folder / "weights")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", model_max_length=512
    ).save_pretrained(folder / "weights")
    transformer = Transformer(str(folder / "weights"))
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
    SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu").save(str(folder / "model"))
    return folder / "model"


class Models:
    """The models of the engines and precisions, each loaded once."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder, self.device = folder, device
        self.loaded: dict[tuple[str, str], Any] = {}

    def get(self, setting: Setting) -> Any:
        """Return the model of a setting. Raises an error if the engine cannot compute it."""
        dtype = "fp32" if setting.dtype == "tf32" else setting.dtype
        key = setting.engine, dtype
        if key not in self.loaded:
            self.loaded[key] = self._load(*key)
        return self.loaded[key]

    def _load(self, engine: str, dtype: str) -> Any:
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(self.folder), device=self.device, local_files_only=True)
        model.float()
        if engine in ("onnx", "openvino"):
            from hbt_bench.identity.checkpoint import Checkpoint
            from hbt_bench.mteb import backends

            checkpoint = Checkpoint.from_folder(self.folder)
            identity = f"{checkpoint.name}@{checkpoint.revision}"  # that of `--scores`, which finds the exported model
            backends.export(model, identity, checkpoint.name, engine, dtype)
            return model
        model.to(_TYPES[dtype])
        if engine == "compiled":
            model[0].model = torch.compile(model[0].model, dynamic=True)
        return model


# Measures


def encode(model: Any, setting: Setting, calls: Sequence[Call], device: str) -> list[Any]:
    """Return the vectors of each call."""
    torch.set_float32_matmul_precision("high" if setting.dtype == "tf32" else "highest")
    options: dict[str, Any] = {"show_progress_bar": False, "convert_to_tensor": device == "cuda"}
    if setting.unit == "tokens":
        encode_call: Callable[..., Any] = TokenBatches(model, model.encode, setting.size)
    else:
        encode_call, options["batch_size"] = model.encode, setting.size
    prompts = {role: _prompt(model, role) for role, _ in calls}
    vectors = [encode_call(texts, prompt=prompts[role], **options) for role, texts in calls]
    if device == "cuda":
        torch.cuda.synchronize()
    return vectors


def _prompt(model: Any, role: str) -> str:
    names = ("query",) if role == "query" else ("document", "passage")
    return next((model.prompts[name] for name in names if model.prompts.get(name)), "")


def tokens_of(model: Any, calls: Sequence[Call]) -> list[int]:
    """Return the number of tokens of each text, with its prompt."""
    return [
        len(row)
        for role, texts in calls
        for row in model.tokenizer([_prompt(model, role) + text for text in texts], truncation=True)["input_ids"]
    ]


def operations(config: Any, lengths: Sequence[int]) -> float:
    """Return the floating-point operations of the products that texts of these lengths need: weights and attention."""
    width, inner = config.hidden_size, config.intermediate_size
    weights = config.num_hidden_layers * (4 * width * width + 2 * width * inner)
    tokens, pairs = sum(lengths), sum(length * length for length in lengths)
    return 2.0 * weights * tokens + 4.0 * config.num_hidden_layers * width * pairs


def peak(config: Any, dtype: str, device: str, seconds: float = 1.0) -> float:
    """Return the operations per second of the products of a layer alone, the best of many repetitions."""
    width, inner, rows = config.hidden_size, config.intermediate_size, _ROWS[device]
    torch.set_float32_matmul_precision("high" if dtype == "tf32" else "highest")
    options: dict[str, Any] = {"dtype": _TYPES[dtype], "device": device}
    narrow, wide = torch.randn(rows, width, **options), torch.randn(rows, inner, **options)
    square, up, down = (torch.randn(*shape, **options) for shape in ((width, width), (inner, width), (width, inner)))
    product = torch.nn.functional.linear
    best, end = float("inf"), time.perf_counter() + seconds
    with torch.inference_mode():
        while time.perf_counter() < end or best == float("inf"):
            start = time.perf_counter()
            for _ in range(4):
                product(narrow, square)
            product(narrow, up)
            product(wide, down)
            if device == "cuda":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
    return 2.0 * rows * (4 * width * width + 2 * width * inner) / best


def computed_tokens(model: Any, setting: Setting, calls: Sequence[Call], device: str) -> tuple[int, Any]:
    """Return the tokens that a setting computes, padding included, and the vectors of all texts."""
    counts: list[int] = []
    hook = model[0].register_forward_pre_hook(lambda module, inputs: counts.append(inputs[0]["input_ids"].numel()))
    try:
        vectors = encode(model, setting, calls, device)
    finally:
        hook.remove()
    return sum(counts), np.concatenate([torch.as_tensor(part).float().cpu().numpy() for part in vectors])


def cosines(vectors: Any, reference: Any) -> tuple[float, float]:
    """Return the least and the mean cosine of vectors to those of the reference."""
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(reference, axis=1)
    values = (vectors * reference).sum(axis=1) / lengths
    return float(values.min()), float(values.mean())


def measure(models: Models, settings: Sequence[Setting], calls: Sequence[Call], rounds: int) -> dict[str, Any]:
    """Return the figures of all settings; a setting that this machine does not have is skipped with its reason."""
    device, config = models.device, models.get(settings[0])[0].config
    lengths = tokens_of(models.get(settings[0]), calls)
    figures: dict[str, dict[str, Any]] = {}
    skipped: dict[str, str] = {}
    reference = computed_tokens(models.get(settings[0]), settings[0], calls, device)[1]
    for setting in settings:
        engine = f"{setting.engine} {setting.dtype}"
        if engine in skipped:
            continue
        try:
            padded, vectors = computed_tokens(models.get(setting), setting, calls, device)
        except Exception as error:  # an engine that is not installed, or that cannot compute the model
            skipped[engine] = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
            print(f"skipped {engine}: {skipped[engine]}", file=sys.stderr)
            continue
        least, mean = cosines(vectors, reference)
        padding = padded / sum(lengths) - 1
        figures[str(setting)] = {"padding": padding, "cosine": least, "mean cosine": mean, "seconds": []}
    measured = [setting for setting in settings if str(setting) in figures]
    peaks = dict.fromkeys((setting.dtype for setting in measured), 0.0)
    for number in range(rounds):
        for dtype in peaks:
            peaks[dtype] = max(peaks[dtype], peak(config, dtype, device))
        for setting in measured:
            start = time.perf_counter()
            encode(models.get(setting), setting, calls, device)
            figures[str(setting)]["seconds"].append(time.perf_counter() - start)
            print(f"round {number + 1}: {setting}: {figures[str(setting)]['seconds'][-1]:.2f} s", file=sys.stderr)
    work = operations(config, lengths)
    for setting in measured:
        row = figures[str(setting)]
        best, middle = min(row["seconds"]), statistics.median(row["seconds"])
        row |= {"texts/s": len(lengths) / best, "texts/s, median": len(lengths) / middle, "GFLOPS": work / best / 1e9}
        row["share of peak"] = work / best / peaks[setting.dtype]
        row["times the first"] = row["texts/s"] / figures[str(settings[0])]["texts/s"]
    gigaflops = {dtype: value / 1e9 for dtype, value in peaks.items()}
    return {
        "texts": len(lengths),
        "tokens": sum(lengths),
        "peak GFLOPS": gigaflops,
        "settings": figures,
        "skipped": skipped,
    }


# Scores

#: Settings whose scores are compared, as fields of a `ModelRequest`; the first is the reference.
SCORED: dict[str, dict[str, Any]] = {
    "torch fp32": {"dtype": "fp32"},
    "torch fp32, 2,048 tokens": {"dtype": "fp32", "batch_tokens": 2048},
    "torch bf16": {"dtype": "bf16"},
    "torch bf16, 2,048 tokens": {"dtype": "bf16", "batch_tokens": 2048},
    "onnx fp32, 2,048 tokens": {"backend": "onnx", "batch_tokens": 2048},
    "openvino fp32, 2,048 tokens": {"backend": "openvino", "batch_tokens": 2048},
    "openvino bf16": {"backend": "openvino", "dtype": "bf16"},
    "openvino bf16, 2,048 tokens": {"backend": "openvino", "dtype": "bf16", "batch_tokens": 2048},
}


def scores(
    folder: Path, device: str, names: Sequence[str], languages: Sequence[str] | None, data_dir: Path
) -> dict[str, dict[str, float]]:
    """Return AP of the three modes of XQuAD-R and the seconds of the whole evaluation, with a cold vector store."""
    from hbt_bench.mteb.models import ModelRequest
    from hbt_bench.results.evaluate import Evaluation
    from hbt_bench.tasks.registry import select_tasks

    rows = {}
    for name in names:
        fields = SCORED[name]
        backend = fields.get("backend", "torch")
        if backend != "torch" and (device != "cpu" or not find_spec({"onnx": "onnxruntime"}.get(backend, backend))):
            continue
        with tempfile.TemporaryDirectory() as output:
            request = ModelRequest(str(folder), device=device, **fields)
            chosen = tuple(languages) if languages else None
            start = time.perf_counter()
            results = Evaluation(request, select_tasks("xquad-r"), Path(output), chosen, data_dir).run()
            seconds = time.perf_counter() - start
        modes = [result.task.partition("[")[0].rpartition("-")[2] for result in results]
        precision = [result.scores.get("AP", 0.0) for result in results]  # a single language has no cross-lingual part
        rows[name] = {**dict(zip(modes, precision, strict=True)), "seconds": seconds}
        print(f"{name}: {rows[name]}", file=sys.stderr)
    return rows


def scores_table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table of AP, with the greatest change against the first row."""
    reference = next(iter(rows.values()))
    modes = [mode for mode in reference if mode != "seconds"]
    return report.table(
        ["XQuAD-R", *(f"{mode} AP" for mode in modes), "greatest change", "s, whole evaluation"],
        [
            [
                name,
                *(f"{row[mode]:.4f}" for mode in modes),
                f"{max(abs(row[mode] - reference[mode]) for mode in modes):.5f}",
                row["seconds"],
            ]
            for name, row in rows.items()
        ],
    )


# Report


def figures_table(measured: Mapping[str, Any]) -> str:
    """Return the table of all settings."""
    columns = ("texts/s", "texts/s, median", "times the first", "GFLOPS", "share of peak", "padding")
    rows = [
        [name, *(row[column] for column in columns), f"{row['cosine']:.6f}", f"{row['mean cosine']:.6f}"]
        for name, row in measured["settings"].items()
    ]
    return report.table(["setting, batch", *columns, "least cosine", "mean cosine"], rows)


def _versions() -> dict[str, str]:
    found = {}
    for name in _OTHER_PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, then print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, help="folder of a model; without it, random weights")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--texts", type=int, default=256, help="texts of each language and role")
    parser.add_argument("--languages", default="en,ru,zh,th", help="languages of the sample")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only",
        default="",
        help="only settings with one of these words, split by semicolons, as in 'bf16;2,048 tokens'",
    )
    parser.add_argument("--scores", action="store_true", help="also evaluate XQuAD-R with the settings of SCORED")
    parser.add_argument("--scored", default="", help="names in SCORED, split by semicolons; without it, all")
    parser.add_argument("--score-languages", default="", help="languages of the evaluation; without it, all")
    parser.add_argument(
        "--data-dir", type=Path, default=os.environ.get("HBT_BENCH_DATA"), help="folder of the data files"
    )
    parser.add_argument("--tiny", action="store_true", help="a tiny model with random weights, for a test")
    parser.add_argument("--output", default="", help="write this path with .md and .json")
    options = parser.parse_args(arguments)
    if options.data_dir is None:
        parser.error("name the folder of the data files with --data-dir, or in HBT_BENCH_DATA")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU was found: use --device cpu")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    about = report.environment()
    about["versions"] |= _versions()
    about["device"] = torch.cuda.get_device_name() if options.device == "cuda" else f"{torch.get_num_threads()} threads"
    calls = sample(Path(options.data_dir), options.languages.split(","), options.texts)
    words = [word for word in options.only.split(";") if word]
    every = settings_of(options.device)
    settings = [
        every[0],
        *(setting for setting in every[1:] if not words or any(word in str(setting) for word in words)),
    ]
    with tempfile.TemporaryDirectory() as temporary:
        texts = [text for _, part in calls for text in part]
        sizes = (2, 64, 9000) if options.tiny else ()
        folder = options.model or random_model(Path(temporary), texts, *sizes)
        measured = measure(Models(folder, options.device), settings, calls, options.rounds)
        languages = [code for code in options.score_languages.split(",") if code]
        scored = [name for name in SCORED if not options.scored or name in options.scored.split(";")]
        data_dir = Path(options.data_dir)
        compared = scores(folder, options.device, scored, languages, data_dir) if options.scores else {}
    _publish(options, about, measured, compared)
    return {**measured, "scores": compared}


def _publish(
    options: argparse.Namespace, about: dict[str, Any], measured: dict[str, Any], compared: dict[str, Any]
) -> None:
    name = options.model.resolve().name if options.model else "random weights in the shape of multilingual-e5-small"
    peaks = ", ".join(f"{dtype} {value:,.0f}" for dtype, value in measured["peak GFLOPS"].items())
    parts = [
        f"{name}, on {about['device']}; {measured['texts']:,} texts of XQuAD-R ({options.languages}) with "
        f"{measured['tokens']:,} tokens; best of {options.rounds} rounds that take turns.",
        f"Peak of the products alone, in GFLOPS: {peaks}.",
        "Padding is the number of padding tokens for each token; it is high where a call has few texts. Cosines are to "
        "float32 in batches of 32. The greatest change is that of the three AP.",
        figures_table(measured),
        *(f"Skipped: {engine} ({reason})." for engine, reason in measured["skipped"].items()),
        *([scores_table(compared)] if compared else []),
    ]
    report.publish("Encoding", parts, {**measured, "scores": compared}, about, options.output)


if __name__ == "__main__":
    main()
