"""Encoders that tests control."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import torch


class TestEncoder:
    """An MTEB encoder made of a function from a text and its role to a vector; it counts what it encodes."""

    __test__ = False

    def __init__(self, vector, name="tests/encoder", revision="1"):
        from mteb.models import ModelMeta

        self.vector = vector
        self.mteb_model_meta = ModelMeta.create_empty({"name": name, "revision": revision})
        self.encoded = Counter()

    def encode(self, inputs, *, task_metadata, hf_split, hf_subset, prompt_type=None, **kwargs):
        texts = [text for batch in inputs for text in batch["text"]]
        role = prompt_type.value
        self.encoded[role] += len(texts)
        return np.stack([self.vector(text, role) for text in texts])

    def similarity(self, embeddings1, embeddings2):
        from mteb.similarity_functions import cos_sim

        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1, embeddings2):
        raise AssertionError("not for retrieval")


def hashed(dimensions=8):
    """A vector that depends on the text alone: reproducible, and without meaning."""

    def vector(text, role):
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
        return np.random.default_rng(seed).standard_normal(dimensions).astype(np.float32)

    return vector


def torch_random_model(folder, seed):
    """Save a tiny sentence-transformers model with random static embeddings; returns the folder."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    alphabet = {chr(code): code - 32 for code in range(32, 1200)}
    tokenizer = Tokenizer(models.WordLevel({**alphabet, "[UNK]": len(alphabet)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    weights = torch.randn(len(alphabet) + 1, 16, generator=torch.Generator().manual_seed(seed)).numpy()
    module = StaticEmbedding(tokenizer, embedding_weights=weights)
    SentenceTransformer(modules=[module], device="cpu", similarity_fn_name="cosine").save(str(folder))
    return folder


def plain_bert(folder):
    """Save a tiny BERT as transformers does, without the modules of sentence-transformers; returns the folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "a": 2, "b": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    config = BertConfig(vocab_size=4, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    BertModel(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder
