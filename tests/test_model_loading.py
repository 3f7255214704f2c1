"""Loading a model: damaged models are refused, and a name on the hub gives the scores of the same folder."""

from __future__ import annotations

import importlib.util
import json
import shutil
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hbt_bench.errors import ModelError, UsageError
from hbt_bench.mteb.loading import load_checked
from hbt_bench.mteb.models import ModelRequest
from tests import layouts
from tests.factories import evaluate, torch_random_model
from tests.layouts import COMMIT, WIDTH, bert, change_json, hub_cache, pooled, rewrite, small_task

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a function that saves a model once in this module."""
    folder, made = tmp_path_factory.mktemp("saved"), {}

    def save(make):
        if make not in made:
            made[make] = folder / str(len(made))
            make(made[make])
        return made[make]

    return save


@pytest.fixture
def copied(saved, tmp_path):
    """Return a function that copies a saved model, changes it and returns its folder."""

    def copy(make, change=lambda folder: None):
        folder = tmp_path / "ckpt"
        shutil.copytree(saved(make), folder)
        change(folder)
        return folder

    return copy


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return small_task(tmp_path_factory.mktemp("task"))


def scores(model, output, task, language="en"):
    """Return the scores of a model within a language, without NaN, which differs from itself."""
    result = evaluate(model, output, str(task), (language,))[0]
    return {name: score for name, score in result.scores.items() if score == score}


def refused(folder):
    """Return the message of the error that loading a model raises."""
    with pytest.raises(ModelError) as caught:
        ModelRequest(str(folder)).load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def renamed(prefix):
    return lambda folder: rewrite(folder, lambda name, value: {prefix + name: value})


def without(part):
    return lambda folder: rewrite(folder, lambda name, value: {} if part in name else {name: value})


def with_unmerged_lora(folder):
    """Save the names that peft gives to the weights of a model with an adapter."""

    def change(name, value):
        if not name.endswith("query.weight"):
            return {name: value}
        stem = name.removesuffix("weight")
        adapter = {f"{stem}lora_{letter}.default.weight": torch.ones(2, 2) for letter in "AB"}
        return {f"{stem}base_layer.weight": value, **adapter}

    return rewrite(folder, change)


# Weights. The BERT has 39 weights, of which 2 are the pooler's, and 16 are in each layer.


@pytest.mark.parametrize("prefix", ["net.backbone.", "module.", "_orig_mod.", "base_model.model."])
def test_weights_under_other_names_are_refused(copied, prefix):
    message = refused(copied(pooled, renamed(prefix)))
    assert "39 of 39 weights of BertModel are missing, such as embeddings.LayerNorm.bias" in message
    assert f"39 weights with other names, such as {prefix}embeddings.LayerNorm.bias" in message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without("layer.1."), "16 of 39 weights of BertModel are missing, such as encoder.layer.1."),
        (with_unmerged_lora, "2 of 39 weights of BertModel are missing, such as encoder.layer.0.attention.self.query"),
        (
            lambda folder: change_json(folder / "config.json", num_hidden_layers=1),
            "its files have 16 weights that BertModel lacks, such as encoder.layer.1.",
        ),
        (
            lambda folder: change_json(folder / "config.json", num_hidden_layers=3),
            "16 of 55 weights of BertModel are missing, such as encoder.layer.2.",
        ),
        (
            lambda folder: change_json(folder / "config.json", intermediate_size=64),
            "6 of 39 weights of BertModel do not have the shape of its config.json, such as encoder.layer.0.inter",
        ),
        (without("query.bias"), "2 of 39 weights of BertModel are missing, such as encoder.layer.0"),
    ],
    ids=[
        "half the layers",
        "lora",
        "config of fewer layers",
        "config of more layers",
        "config of other sizes",
        "biases",
    ],
)
def test_wrong_weights_are_refused(copied, change, expected):
    assert expected in refused(copied(pooled, change))


def test_unused_pooler_may_be_missing(copied):
    assert ModelRequest(str(copied(pooled, without("pooler")))).load()


def test_computed_buffers_and_heads_are_harmless(copied):
    """Checkpoints of language models, with buffers that older versions of transformers saved."""
    extra = {"cls.seq_relationship.weight": torch.ones(2, WIDTH), "bert.embeddings.position_ids": torch.arange(64)}

    def add(folder):
        weights = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        save_file({**weights, **extra}, folder / "model.safetensors", {"format": "pt"})

    assert ModelRequest(str(copied(layouts.masked_language_model, add))).load()


def test_projection_of_unknown_class_is_refused(copied):
    def add(folder):
        return rewrite(folder, lambda name, value: {name: value, "linear.weight": torch.ones(4, WIDTH)})

    assert "its files have 1 weight that BertModel lacks, such as linear.weight" in refused(copied(layouts.plain, add))


def test_weight_missing_in_a_shard_is_refused(copied):
    def change(folder):
        path = min(folder.glob("model-*.safetensors"))
        weights = load_file(path)
        path.unlink()
        del weights["embeddings.LayerNorm.bias"]
        save_file(weights, path, {"format": "pt"})

    assert "1 of 39 weights of BertModel are missing, such as embeddings.LayerNorm.bias" in refused(
        copied(layouts.DENSE["shards"], change)
    )


def test_pickled_weights_are_checked(copied):
    def change(folder):
        weights = torch.load(folder / "pytorch_model.bin")
        torch.save({f"module.{name}": value for name, value in weights.items()}, folder / "pytorch_model.bin")

    assert "39 of 39 weights of BertModel are missing" in refused(copied(layouts.pickled, change))


@pytest.mark.parametrize("make", [layouts.sparse, layouts.late_interaction, layouts.pylate, layouts.decoder])
def test_weights_of_other_kinds_are_checked(copied, make):
    assert "would be random numbers" in refused(copied(make, renamed("net.")))


def test_weights_of_router_are_checked(copied):
    def change(folder):
        renamed("net.")(next(folder.glob("document_0_*")))

    assert "39 of 39 weights of BertModel are missing" in refused(copied(layouts.router, change))


def cross_encoder(folder):
    bert(folder, "BertForSequenceClassification")


@pytest.mark.parametrize("part", ["classifier", "pooler"])
def test_head_of_cross_encoder_is_needed(copied, part):
    """A cross-encoder uses the pooler, which an encoder with mean pooling does not."""
    assert "2 of 41 weights of BertForSequenceClassification are missing" in refused(
        copied(cross_encoder, without(part))
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda folder: (folder / "2_Dense" / "model.safetensors").unlink(), "2_Dense has no weights"),
        (
            lambda folder: renamed("module.")(folder / "2_Dense"),
            "loading state_dict for Dense: Missing key(s) in state_dict",
        ),
    ],
    ids=["missing", "renamed"],
)
def test_weights_of_dense_are_checked(copied, change, expected):
    assert expected in refused(copied(layouts.dense_normalized, change))


def test_weights_of_static_embedding_are_checked(copied):
    assert "its files lack 'embeddings'" in refused(copied(layouts.static, renamed("module.")))


def test_a_loader_of_mteb_may_leave_weights_out(copied, messages):
    """MTEB's loaders know their models: missing weights are errors, unused weights are reported."""
    from sentence_transformers import SentenceTransformer

    folder = copied(pooled, lambda folder: change_json(folder / "config.json", num_hidden_layers=1))
    assert load_checked("org/model", lambda: SentenceTransformer(str(folder), device="cpu"), leave_out=True)
    [message] = messages
    assert message.startswith("org/model: its files have 16 weights that BertModel lacks")


# Files


def first_shard(folder):
    min(folder.glob("model-*.safetensors")).unlink()


@pytest.mark.parametrize("content", [POINTER, b""], ids=["pointer", "empty"])
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "modules.json"])
def test_pointers_and_empty_files_are_named(copied, name, content):
    folder = copied(pooled, lambda folder: (folder / name).write_bytes(content))
    with pytest.raises(ModelError) as caught:
        ModelRequest(str(folder)).load()
    assert str(caught.value).startswith(f"{folder / name} is {'a pointer of git-lfs' if content else 'empty'}")


@pytest.mark.parametrize(
    ("make", "change", "expected"),
    [
        (pooled, lambda folder: (folder / "model.safetensors").unlink(), "ckpt has no weights"),
        (layouts.shards, first_shard, "lacks 1 of the 2 files with its weights, such as model-00001-of-00002.safete"),
        (layouts.static, lambda folder: (folder / "tokenizer.json").unlink(), "ckpt has no tokenizer"),
    ],
    ids=["weights", "shard", "tokenizer"],
)
def test_missing_files_are_named(copied, make, change, expected):
    assert expected in refused(copied(make, change))


def test_files_that_are_not_read_may_be_pointers(copied):
    def change(folder):
        (folder / "pytorch_model.bin").write_bytes(POINTER)
        (folder / "README.md").write_bytes(b"")

    assert ModelRequest(str(copied(pooled, change))).load()


def test_adapter_needs_peft(tmp_path):
    if importlib.util.find_spec("peft"):
        pytest.skip("peft is installed")
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    assert refused(tmp_path) == f"{tmp_path} is an adapter, which needs the package peft. Run pip install peft."


# Tokenizers and vectors


def without_vocabulary(folder):
    content = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    content["model"]["vocab"] = {
        token: row for token, row in vocabulary.items() if token.startswith("[") and token != "["
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))


def test_tokenizer_of_special_tokens_is_refused(copied):
    assert "ckpt knows no words: more than half of its tokens are unknown" in refused(
        copied(pooled, without_vocabulary)
    )


def test_model_of_few_words_is_loaded(copied):
    """Its tokenizer knows none of the sample, but the words of its vocabulary."""
    assert ModelRequest(str(copied(layouts.bag_of_words))).load()


@pytest.mark.parametrize(
    ("change", "roles"),
    [
        (lambda folder: rewrite(folder, lambda name, value: {name: 0 * value}), "query and document"),
        (lambda folder: change_json(folder / "sentence_bert_config.json", max_seq_length=2), "query and document"),
        (
            lambda folder: change_json(folder / "config_sentence_transformers.json", prompts={"query": "ask " * 80}),
            "query",
        ),
    ],
    ids=["zero weights", "two tokens", "long prompt"],
)
def test_one_vector_for_all_texts_is_refused(copied, change, roles):
    assert f"ckpt gives most texts the same vector as a {roles}, in each of 18 scripts" in refused(
        copied(pooled, change)
    )


def test_vectors_of_a_task_are_compared(copied, tmp_path, task, monkeypatch):
    """A loader of MTEB may have a model that cannot be tried before."""
    from tests.factories import TestEncoder

    encoder = TestEncoder(lambda text, role: np.ones(4, np.float32))
    monkeypatch.setattr(ModelRequest, "load", lambda request: encoder)
    with pytest.raises(ModelError, match=r"gives 100% of different texts in '(de|en)' the same vector as a query"):
        evaluate(copied(pooled), tmp_path / "results", str(task), None)


def test_language_outside_the_vocabulary_is_evaluated(minilm, tmp_path, messages):
    """MiniLM gives most Thai texts the same unknown tokens, and so the same vector."""
    assert 0 < scores(minilm, tmp_path / "results", small_task(tmp_path, ("th",)), "th")["AP"] < 1
    assert any("most texts in th have the same vector as a query" in message for message in messages)


# Names on the hub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return a function that puts a folder into a hub cache as org/model."""
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path / "hub"))
    return lambda folder: hub_cache(folder, tmp_path / "hub", "org/model")


@pytest.mark.parametrize("make", [pooled, layouts.sparse, layouts.late_interaction, layouts.pylate])
def test_name_and_folder_have_equal_scores(saved, hub, tmp_path, task, capfd, make):
    """They have no progress bars either: MTEB would write one for each subset."""
    hub(saved(make))
    by_folder = scores(saved(make), tmp_path / "results", task)
    assert scores("org/model", tmp_path / "results", task) == by_folder
    assert 0 < by_folder["AP"] < 1
    assert (tmp_path / "results" / "org__model" / COMMIT / "SmallMonolingualRetrieval_en.json").is_file()
    assert "it/s" not in capfd.readouterr().err


def test_undeclared_pylate_model_is_late_interaction(tmp_path):
    """Versions of PyLate before sentence-transformers 5 saved no model_type."""
    request = ModelRequest(str(layouts.pylate(tmp_path / "older", declared=None)))
    assert request.kind == "MultiVectorEncoder"
    assert type(request.load()).__name__ == "MultiVectorWrapper"


def test_colbert_of_stanford_is_late_interaction(saved):
    """Its projection is in the file of the BERT, which does not use it."""
    request = ModelRequest(str(saved(layouts.stanford_colbert)))
    assert request.kind == "MultiVectorEncoder"
    projection = request.load().model[1].linear.weight
    assert torch.equal(projection, torch.eye(8, WIDTH))


def test_cross_encoder_by_name_is_refused(saved, hub, tmp_path, task):
    hub(saved(cross_encoder))
    with pytest.raises(ModelError, match="org/model is a cross-encoder"):
        evaluate("org/model", tmp_path / "results", str(task), None)


def test_prompts_of_sparse_model_by_name_are_refused(saved, hub):
    hub(saved(layouts.sparse))
    with pytest.raises(UsageError, match="prompts are for models with one vector per text, and org/model is not"):
        ModelRequest("org/model", query_prompt="ask: ").load()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (renamed("module."), "org/model: 39 of 39 weights of BertModel are missing"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), "model.safetensors is empty"),
        (without_vocabulary, "the tokenizer of org/model knows no words"),
    ],
    ids=["weights", "file", "tokenizer"],
)
def test_damaged_hub_model_is_refused(copied, hub, change, expected):
    hub(copied(pooled, change))
    assert expected in refused("org/model")


def test_vocabulary_beyond_the_weights_is_refused(copied):
    folder = copied(pooled, lambda folder: change_json(folder / "config.json", vocab_size=50))
    assert "1 of 39 weights of BertModel do not have the shape of its config.json, such as embeddings.word" in refused(
        folder
    )


def test_hub_model_runs_twice_beside_its_results(saved, hub, tmp_path, task, monkeypatch):
    """Results in the default folder have the model's name, and are no mistyped path."""
    hub(saved(layouts.static))
    monkeypatch.chdir(tmp_path)
    first = scores("org/model", Path("results"), task)
    assert (tmp_path / "results" / "org__model").is_dir()
    assert scores("org/model", Path("results"), task) == first


def test_folders_without_model_are_not_suggested(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("results/org__model", "cache/org--model", "org/modell", "runs/model/eval"):
        (tmp_path / folder).mkdir(parents=True)
    torch_random_model(tmp_path / "copies" / "model", seed=1)
    assert ModelRequest("org/model").name == "org/model"


# Messages


def test_missing_package_of_mteb_model_is_named():
    with pytest.raises(ModelError) as caught:
        ModelRequest("openai/text-embedding-3-small").load()
    message = str(caught.value)
    assert message.startswith("cannot load openai/text-embedding-3-small: it needs openai>=")
    assert message.endswith(" Run pip install 'mteb[openai]'.")


def test_missing_module_is_named(monkeypatch):
    import mteb

    def load(*arguments, **options):
        raise ModuleNotFoundError("No module named 'voyage.client'", name="voyage.client")

    monkeypatch.setattr(mteb, "get_model_meta", lambda name, **options: types.SimpleNamespace(is_cross_encoder=False))
    monkeypatch.setattr(mteb, "get_model", load)
    with pytest.raises(ModelError) as caught:
        ModelRequest("org/model").load()
    assert str(caught.value) == "cannot load org/model: it needs the package voyage. Run pip install voyage."


def test_unknown_name_is_compared_with_those_of_mteb(hub):
    with pytest.raises(ModelError, match="did you mean 'intfloat/multilingual-e5-small'"):
        ModelRequest("intfloat/multilingual-e5-smal").load()
