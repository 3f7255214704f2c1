"""Tiny models in the layouts that sentence-transformers, transformers, model2vec and PyLate save, and a hub cache."""

from __future__ import annotations

import atexit
import json
import shutil
import string
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

#: The commit of all models in a hub cache.
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WIDTH = 16


def hub_cache(folder, cache, name):
    """Lay a model out in a cache as the hub's client does; return the cache."""
    model = cache / f"models--{name.replace('/', '--')}"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(COMMIT)
    (model / "snapshots").mkdir()
    (model / "snapshots" / COMMIT).symlink_to(folder.resolve(), target_is_directory=True)
    return cache


def small_task(folder, languages=("de", "en")):
    """Write a task of twelve questions, and their answers, in each language; return the path of its file.

    The texts are the days and months of the languages.
    """
    from babel import Locale

    rows = []
    for code in languages:
        locale = Locale(code)
        days, months = list(locale.days["format"]["wide"].values()), list(locale.months["format"]["wide"].values())
        for number, month in enumerate(months):
            day = days[number % 7]
            rows.append({"id": number, "language": code, "query": f"{month} {day}", "document": f"{day} 1 {month} 2"})
    (folder / "small.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    path = folder / "small.yaml"
    codes = ", ".join(languages)
    path.write_text(
        "name: small\ntitle: Small\nmteb_name: Small\ndescription: Days and months.\n"
        f"source:\n  kind: jsonl\n  path: small.jsonl\n  languages: [{codes}]\n  parallel: true\n"
        "  columns: {id: id, language: language, query: query, document: document}\n"
    )
    return path


def letters(longest=64, lower=False):
    """Return a tokenizer of single letters, for transformers."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = {
        name: f"[{name.partition('_')[0].upper()}]" for name in ("pad_token", "unk_token", "cls_token", "sep_token")
    }
    special["mask_token"] = "[MASK]"
    names = [*special.values(), *string.ascii_letters, *string.digits, *string.punctuation]
    tokenizer = Tokenizer(models.WordLevel({name: row for row, name in enumerate(names)}, unk_token="[UNK]"))
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("", "isolated")]
    )
    ends = [(name, names.index(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=longest, **special)


def bert(folder, kind="BertModel", seed=0, layers=2, **options):
    """Save a BERT of a class of transformers, with random weights; return the folder."""
    import torch
    import transformers

    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=len(letters()),
        hidden_size=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.3,
        **({"num_labels": 1} if kind.endswith("Classification") else {}),
    )
    getattr(transformers, kind)(config).save_pretrained(folder, **options)
    letters().save_pretrained(folder)
    return folder


@cache
def _bases():
    """Return a folder for models that others are copied from; it is removed at exit."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return Path(folder.name)


def _transformer(seed=0, task="feature-extraction"):
    """Return a module with a BERT."""
    from sentence_transformers.base.modules import Transformer

    folder = _bases() / f"{task}-{seed}"
    if not folder.is_dir():
        bert(folder, "BertForMaskedLM" if task == "fill-mask" else "BertModel", seed)
    return Transformer(str(folder), transformer_task=task)


def modules(folder, *added, **settings):
    """Save a SentenceTransformer of a BERT and other modules; return the folder."""
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(modules=[_transformer(), *added], device="cpu", **settings).save(
        str(folder), create_model_card=False
    )
    return folder


def pooled(folder, pooling="mean", include_prompt=True, **settings):
    """Save a SentenceTransformer with a pooling and settings; return the folder."""
    from sentence_transformers.sentence_transformer.modules import Pooling

    base = _bases() / "pooled"
    if not base.is_dir():
        modules(base, Pooling(WIDTH))
    shutil.copytree(base, folder)
    change_json(folder / "1_Pooling" / "config.json", pooling_mode=pooling, include_prompt=include_prompt)
    change_json(folder / "config_sentence_transformers.json", **settings)
    return folder


def change_json(path, **changes):
    """Change keys of a JSON file."""
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**content, **changes}))


# Dense layouts


def plain(folder):
    bert(folder)


def masked_language_model(folder):
    bert(folder, "BertForMaskedLM")


def decoder(folder):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    sizes = {"n_embd": WIDTH, "n_layer": 1, "n_head": 2, "n_positions": 64, "initializer_range": 0.3}
    GPT2LMHeadModel(GPT2Config(vocab_size=len(letters()), **sizes)).save_pretrained(folder)
    letters().save_pretrained(folder)


def encoder_decoder(folder):
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    sizes = {"d_model": WIDTH, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    T5ForConditionalGeneration(T5Config(vocab_size=len(letters()), **sizes)).save_pretrained(folder)
    letters().save_pretrained(folder)


def dense_normalized(folder):
    import torch
    from sentence_transformers.base.modules import Dense, Normalize
    from sentence_transformers.sentence_transformer.modules import Pooling

    torch.manual_seed(1)
    modules(folder, Pooling(WIDTH), Dense(WIDTH, 8), Normalize(), similarity_fn_name="dot")


def layers_weighted(folder):
    from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling

    modules(folder, Pooling(WIDTH, "max"), LayerNorm(WIDTH))


def prompts(folder):
    pooled(folder, prompts={"query": "ask: ", "document": "answer: "})


def default_prompt(folder):
    pooled(folder, prompts={"query": "ask: ", "note": "note: "}, default_prompt_name="note")


def prompt_not_pooled(folder):
    pooled(folder, include_prompt=False, prompts={"query": "ask: "})


def short_texts(folder):
    pooled(folder)
    change_json(folder / "sentence_bert_config.json", max_seq_length=6)


def lower_case(folder):
    pooled(folder)
    change_json(folder / "sentence_bert_config.json", do_lower_case=True)


def truncated_vectors(folder):
    pooled(folder, truncate_dim=6)


def old_pooling(folder):
    pooled(folder)
    modes = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": WIDTH, **modes}))


def old_folders(folder):
    """Move the transformer to a folder of its own, as versions before 2.0 did."""
    pooled(folder)
    (folder / "0_Transformer").mkdir()
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "sentence_bert_config.json")
    for name in names:
        with suppress(FileNotFoundError):
            shutil.move(folder / name, folder / "0_Transformer" / name)
    content = json.loads((folder / "modules.json").read_text())
    content[0] |= {"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}
    (folder / "modules.json").write_text(json.dumps(content))


def shards(folder):
    pooled(folder)
    (folder / "model.safetensors").unlink()
    bert(folder, max_shard_size="20kB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1


def pickled(folder):
    import torch
    from safetensors.torch import load_file

    pooled(folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def half_precision(folder):
    rewrite(pooled(folder), lambda name, value: {name: value.half()})
    change_json(folder / "config.json", dtype="float16")


def static(folder):
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    torch.manual_seed(0)
    SentenceTransformer(modules=[StaticEmbedding(letters(), embedding_dim=8)], device="cpu").save(
        str(folder), create_model_card=False
    )


def model2vec(folder, with_modules=False):
    """Save a model as model2vec does, with or without the list of modules that newer versions add."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    torch.manual_seed(0)
    tokenizer = letters().backend_tokenizer
    vectors = torch.randn(40, 8)
    mapping = torch.arange(tokenizer.get_vocab_size()) % 40
    tensors = {"embeddings": vectors, "mapping": mapping, "weights": torch.rand(tokenizer.get_vocab_size())}
    save_file(tensors, folder / "model.safetensors")
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"model_type": "model2vec", "architectures": ["StaticModel"], "normalize": True, "hidden_dim": 8}
    (folder / "config.json").write_text(json.dumps(config))
    kinds = {".": "StaticEmbedding", "1_Normalize": "Normalize"}
    if with_modules:
        entries = [
            {"idx": row, "name": str(row), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for row, (path, kind) in enumerate(kinds.items())
        ]
        (folder / "modules.json").write_text(json.dumps(entries))


def model2vec_with_modules(folder):
    model2vec(folder, with_modules=True)


def bag_of_words(folder):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import BoW

    words = ["river", "bridge", "the", "stands", "Where", "Burg", "old", "near"]
    SentenceTransformer(modules=[BoW(words)], device="cpu").save(str(folder), create_model_card=False)


def word_vectors(folder):
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, WordEmbeddings
    from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer

    words = ["[PAD]", "river", "bridge", "the", "stands", "where", "burg", "old", "near", "is"]
    torch.manual_seed(0)
    vectors = WordEmbeddings(WhitespaceTokenizer(words, do_lower_case=True), torch.randn(len(words), 8).numpy())
    SentenceTransformer(modules=[vectors, Pooling(8)], device="cpu").save(str(folder), create_model_card=False)


def router(folder):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sentence_transformer.modules import Pooling

    queries, documents = ([_transformer(seed), Pooling(WIDTH)] for seed in (1, 2))
    SentenceTransformer(modules=[Router.for_query_document(queries, documents)], device="cpu").save(
        str(folder), create_model_card=False
    )


def adapter(folder):
    """Save a LoRA adapter of a BERT in another folder; needs peft."""
    import torch
    from peft import LoraConfig, TaskType
    from transformers import AutoModel

    base = bert(folder.with_name(f"{folder.name}-base"))
    torch.manual_seed(3)
    model = AutoModel.from_pretrained(base)
    options = {"r": 2, "target_modules": ["query"], "init_lora_weights": False}
    model.add_adapter(LoraConfig(task_type=TaskType.FEATURE_EXTRACTION, **options))
    model.save_pretrained(folder)
    change_json(folder / "adapter_config.json", base_model_name_or_path=str(base))
    letters().save_pretrained(folder)


DENSE = {
    "plain transformer": plain,
    "masked language model": masked_language_model,
    "decoder": decoder,
    "encoder and decoder": encoder_decoder,
    **{
        f"pooling {mode}": lambda folder, mode=mode: pooled(folder, mode)
        for mode in ("mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
    },
    "two poolings": lambda folder: pooled(folder, ("cls", "mean")),
    "dense and normalized": dense_normalized,
    "layer norm": layers_weighted,
    "prompts": prompts,
    "default prompt": default_prompt,
    "prompt not pooled": prompt_not_pooled,
    "short texts": short_texts,
    "lower case": lower_case,
    "truncated vectors": truncated_vectors,
    "old pooling": old_pooling,
    "old folders": old_folders,
    "shards": shards,
    "pickled": pickled,
    "half precision": half_precision,
    "static": static,
    "model2vec": model2vec,
    "model2vec with modules": model2vec_with_modules,
    "bag of words": bag_of_words,
    "word vectors": word_vectors,
    "router": router,
}


# Other kinds


def sparse(folder):
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    SparseEncoder(modules=[_transformer(task="fill-mask"), SpladePooling()], device="cpu").save(
        str(folder), create_model_card=False
    )
    return folder


def late_interaction(folder):
    from sentence_transformers import MultiVectorEncoder

    base = bert(folder.with_name(f"{folder.name}-base"))
    MultiVectorEncoder(str(base), device="cpu").save(str(folder), create_model_card=False)
    return folder


def pylate(folder, declared="ColBERT"):
    """Save a late-interaction model as PyLate 1 does, with its own class names; `declared` is its model_type."""
    import torch
    from safetensors.torch import save_file

    bert(folder)
    (folder / "1_Dense").mkdir()
    change_json(folder / "sentence_bert_config.json", max_seq_length=63, do_lower_case=False)
    types = {"": "sentence_transformers.models.Transformer", "1_Dense": "pylate.models.Dense.Dense"}
    entries = [{"idx": n, "name": str(n), "path": path, "type": kind} for n, (path, kind) in enumerate(types.items())]
    (folder / "modules.json").write_text(json.dumps(entries))
    dense = {"in_features": WIDTH, "out_features": 8, "bias": False}
    change_json(folder / "1_Dense" / "config.json", **dense, activation_function="torch.nn.modules.linear.Identity")
    save_file({"linear.weight": torch.eye(8, WIDTH)}, folder / "1_Dense" / "model.safetensors")
    settings = {"query_prefix": "?", "document_prefix": "!", "query_length": 32, "document_length": 63}
    change_json(
        folder / "config_sentence_transformers.json",
        **({"model_type": declared} if declared else {}),
        prompts={},
        similarity_fn_name="MaxSim",
        attend_to_expansion_tokens=False,
        skiplist_words=["!", "."],
        **settings,
    )
    return folder


def stanford_colbert(folder):
    """Save a late-interaction model as Stanford's ColBERT does, with its projection beside the BERT."""
    import torch

    bert(folder, "BertForMaskedLM")
    rewrite(folder, lambda name, value: {} if name.startswith("cls") else {name: value})
    extra = {"linear.weight": torch.eye(8, WIDTH)}
    rewrite(folder, lambda name, value: {name: value, **extra})
    change_json(folder / "config.json", architectures=["HF_ColBERT"])
    change_json(folder / "artifact.metadata", query_token_id="[MASK]", doc_token_id="[SEP]", query_maxlen=16)
    return folder


def rewrite(folder: Path, change):
    """Replace each weight of a model by the weights that `change(name, value)` returns; return the folder."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = load_file(path)
    changed = [change(name, value) for name, value in weights.items()]
    path.unlink()
    tensors = {name: value.clone() for entry in changed for name, value in entry.items()}
    save_file(tensors, path, {"format": "pt"})
    return folder
