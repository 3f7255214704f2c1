"""Checkpoints in local folders: revision, name, kind and prompts."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from hbt_bench.errors import ModelError
from hbt_bench.identity.checkpoint import Checkpoint
from hbt_bench.identity.signature import Prompts

FILES = {
    "modules.json": "[]",
    "config.json": '{"architectures": ["BertModel"]}',
    "config_sentence_transformers.json": '{"model_type": "SentenceTransformer", "prompts": {}}',
    "model.safetensors": "weights",
    "tokenizer.json": "{}",
    "vocab.txt": "a\nb\n",
    "1_Pooling/config.json": '{"pooling_mode_mean_tokens": true}',
    "2_Dense/model.safetensors": "more weights",
}


def save(folder, **changed):
    """Write a model. `changed` replaces files, and None omits a file."""
    for name, text in {**FILES, **changed}.items():
        if text is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return folder


def revision(folder):
    return Checkpoint.from_folder(folder).revision


@pytest.fixture
def folder(tmp_path):
    return save(tmp_path / "ckpt")


# Identity


def test_revision_is_pinned(folder):
    assert revision(folder) == "6ffc8e3ea0217e6b"


def test_revision_depends_on_weights_not_name(tmp_path):
    first = Checkpoint.from_folder(save(tmp_path / "a" / "ckpt"))
    second = Checkpoint.from_folder(save(tmp_path / "b" / "ckpt", **{"model.safetensors": "other weights"}))
    assert first.name == second.name == "local/ckpt"
    assert first.revision != second.revision


def test_copy_has_the_same_revision(folder, tmp_path):
    before = revision(folder)
    copied = shutil.copytree(folder, tmp_path / "elsewhere" / "renamed")
    assert Checkpoint.from_folder(copied).revision == before
    assert Checkpoint.from_folder(copied).name == "local/renamed"


def test_revision_ignores_order_of_creation(folder, tmp_path):
    other = tmp_path / "other"
    for name in reversed(FILES):
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_text(FILES[name])
    assert revision(other) == revision(folder)


@pytest.mark.parametrize("name", FILES)
def test_every_model_file_changes_the_revision(folder, name):
    before = revision(folder)
    (folder / name).write_text(FILES[name] + " ")
    assert revision(folder) != before


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "readme.md",
        "training_args.bin",
        "optimizer.pt",
        "optimizer.bin",
        "scheduler.pt",
        "scaler.pt",
        "rng_state.pth",
        "rng_state_3.pth",
        "trainer_state.json",
        "events.out.tfevents.1700000000.host",
        "train.log",
        ".gitattributes",
        ".cache/huggingface/download/model.safetensors.metadata",
        "checkpoint-10/model.safetensors",
        "checkpoint-10/config.json",
        "eval/similarity_evaluation_results.csv",
        "runs/Nov20/events.out.tfevents.1",
        "logs/a.txt",
        "onnx/model.onnx",
        "openvino/openvino_model.bin",
    ],
)
def test_files_of_training_keep_the_revision(folder, name):
    before = revision(folder)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("first")
    assert revision(folder) == before
    (folder / name).write_text("second")
    assert revision(folder) == before


@pytest.mark.parametrize(
    "name",
    [
        "pytorch_model.bin",
        "model-00002-of-00002.safetensors",
        "adapter_model.safetensors",
        "modeling_custom.py",
        "sentencepiece.bpe.model",
        "3_Normalize/config.json",
        "checkpoint/model.safetensors",
        "optimizer.pt.safetensors",
    ],
)
def test_additional_model_file_changes_the_revision(folder, name):
    before = revision(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("")
    assert revision(folder) != before


def test_names_and_contents_are_hashed_separately(tmp_path):
    original = save(tmp_path / "one", **{"tokenizer.json": "ab", "vocab.txt": "c"})
    moved = save(tmp_path / "two", **{"tokenizer.json": "a", "vocab.txt": "bc"})
    swapped = save(tmp_path / "three", **{"tokenizer.json": "c", "vocab.txt": "ab"})
    renamed = save(tmp_path / "four", **{"tokenizer.json": "ab", "vocab.txt": None, "vocab.tx": "c"})
    assert len({revision(folder) for folder in (original, moved, swapped, renamed)}) == 4


def test_linked_files_are_hashed_by_content(folder, tmp_path):
    snapshot = tmp_path / "snapshot"  # like those in the cache of Hugging Face
    for name in FILES:
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(folder / name)
    assert revision(snapshot) == revision(folder)


# Name


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("xlm-r_base.v2", "local/xlm-r_base.v2"),
        ("my model (best)", "local/my-model-best-"),
        ("größer", "local/größer"),
        ("a|b", "local/a-b"),
    ],
)
def test_name_is_that_of_the_folder(tmp_path, directory, name):
    assert Checkpoint.from_folder(save(tmp_path / directory)).name == name


def test_name_is_not_that_of_the_card(folder):
    (folder / "README.md").write_text("---\nbase_model: org/base\n---\n# org/base\n")
    assert Checkpoint.from_folder(folder).name == "local/ckpt"


def test_current_folder_has_a_name(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert Checkpoint.from_folder(folder.relative_to(folder)).name == "local/ckpt"


# Kind


@pytest.mark.parametrize("kind", ["SentenceTransformer", "SparseEncoder", "MultiVectorEncoder", "CrossEncoder"])
def test_declared_kind_is_used(tmp_path, kind):
    declared = json.dumps({"model_type": kind})
    assert Checkpoint.from_folder(save(tmp_path, **{"config_sentence_transformers.json": declared})).kind == kind


@pytest.mark.parametrize("declared", [None, "{}", '{"prompts": {}}'])
def test_folder_with_modules_is_a_sentence_transformer(tmp_path, declared):
    model = save(tmp_path, **{"config_sentence_transformers.json": declared})
    assert Checkpoint.from_folder(model).kind == "SentenceTransformer"


def test_unknown_kind_is_refused(tmp_path):
    model = save(tmp_path, **{"config_sentence_transformers.json": '{"model_type": "Reranker9"}'})
    with pytest.raises(ModelError, match="is a sentence-transformers model of an unknown type, 'Reranker9'"):
        Checkpoint.from_folder(model)


def test_kind_must_be_text(tmp_path):
    model = save(tmp_path, **{"config_sentence_transformers.json": '{"model_type": ["CrossEncoder"]}'})
    with pytest.raises(ModelError, match=r"of an unknown type, '\['CrossEncoder'\]'"):
        Checkpoint.from_folder(model)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ('{"architectures": ["XLMRobertaModel"]}', "transformers"),
        ('{"architectures": ["XLMRobertaForMaskedLM"]}', "transformers"),
        ('{"architectures": null}', "transformers"),
        ("{}", "transformers"),
        ('{"architectures": ["XLMRobertaForSequenceClassification"]}', "CrossEncoder"),
    ],
)
def test_folder_without_modules_is_transformers_model(tmp_path, config, kind):
    model = save(tmp_path, **{"modules.json": None, "config_sentence_transformers.json": None, "config.json": config})
    assert Checkpoint.from_folder(model).kind == kind


def test_adapter_is_transformers_model(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    assert Checkpoint.from_folder(tmp_path).kind == "transformers"


def test_revision_of_a_real_model(minilm, tmp_path):
    checkpoint = Checkpoint.from_folder(minilm)
    assert checkpoint.kind == "SentenceTransformer"
    assert checkpoint.prompts == Prompts()
    assert re.fullmatch("[0-9a-f]{16}", checkpoint.revision)
    copied = shutil.copytree(minilm, tmp_path / "fine-tuned")
    assert Checkpoint.from_folder(copied).revision == checkpoint.revision
    with (copied / "model.safetensors").open("r+b") as weights:
        weights.seek(50_000_000)
        byte = weights.read(1)[0]
        weights.seek(50_000_000)
        weights.write(bytes([byte ^ 1]))
    assert Checkpoint.from_folder(copied).revision != checkpoint.revision


# Prompts


@pytest.mark.parametrize(
    ("configured", "prompts"),
    [
        ({"query": "query: ", "passage": "passage: "}, Prompts("query: ", "passage: ")),
        ({"query": "query: ", "document": "document: "}, Prompts("query: ", "document: ")),
        ({"query": "q: ", "corpus": "c: "}, Prompts("q: ", "c: ")),
        ({"query": "q: ", "corpus": "c: ", "passage": "p: ", "document": "d: "}, Prompts("q: ", "d: ")),
        ({"query": "q: ", "passage": "p: ", "document": ""}, Prompts("q: ", "p: ")),
        ({"query": "Instruct: find\nQuery: "}, Prompts("Instruct: find\nQuery: ", "")),
        ({"query": None, "document": None}, Prompts("", "")),
        ({"classification": "c: "}, Prompts("", "")),
        ({}, Prompts("", "")),
        (None, Prompts("", "")),
    ],
)
def test_prompts_are_read_from_configuration(tmp_path, configured, prompts):
    model = save(tmp_path, **{"config_sentence_transformers.json": json.dumps({"prompts": configured})})
    assert Checkpoint.from_folder(model).prompts == prompts


def test_model_without_configuration_has_no_prompts(tmp_path):
    model = save(tmp_path, **{"config_sentence_transformers.json": None})
    assert Checkpoint.from_folder(model).prompts == Prompts("", "")


# Errors


@pytest.mark.parametrize("name", ["config_sentence_transformers.json", "config.json"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"architectures": ["Ber', "Unterminated string"),
        ("", "Expecting value"),
        ("[]", "not a mapping"),
        ("null", "not a mapping"),
    ],
)
def test_damaged_configuration_is_refused(tmp_path, name, text, reason):
    model = save(tmp_path, **{"modules.json": None, name: text})
    with pytest.raises(ModelError) as caught:
        Checkpoint.from_folder(model)
    assert str(caught.value).startswith(f"{tmp_path / name} is damaged ({reason}")


def test_damaged_prompts_are_refused(tmp_path):
    model = Checkpoint.from_folder(save(tmp_path, **{"config_sentence_transformers.json": '{"prompts": ["query: "]}'}))
    with pytest.raises(ModelError, match=r"is damaged \(its prompts are not a mapping\)"):
        model.prompts  # noqa: B018


def test_folder_without_model_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_text("weights")
    with pytest.raises(ModelError, match="holds no model"):
        Checkpoint.from_folder(tmp_path)


def test_linked_folders_are_part_of_the_model(tmp_path):
    revisions = set()
    for name in ("one", "two"):
        (tmp_path / f"base-{name}").mkdir()
        (tmp_path / f"base-{name}" / "model.safetensors").write_text(f"weights {name}")
        folder = tmp_path / name / "ckpt"
        folder.mkdir(parents=True)
        (folder / "modules.json").write_text("[]")
        (folder / "0_Transformer").symlink_to(tmp_path / f"base-{name}")
        (folder / "loop").symlink_to(folder)
        revisions.add(Checkpoint.from_folder(folder).revision)
    assert len(revisions) == 2


def test_revision_of_adapter_includes_local_base(tmp_path):
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    base.mkdir()
    adapter.mkdir()
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_text("before")
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    before = Checkpoint.from_folder(adapter).revision
    (base / "model.safetensors").write_text("after")
    assert Checkpoint.from_folder(adapter).revision != before
