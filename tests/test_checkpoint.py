"""Checkpoints in local folders: revision, name, kind and prompts."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from hbt_bench.errors import ModelError
from hbt_bench.identity.checkpoint import Checkpoint
from hbt_bench.identity.model_files import model_files
from hbt_bench.identity.signature import Prompts

ROOT = Path(__file__).parents[1]
MODULES = [
    {"path": "", "type": "sentence_transformers.models.Transformer"},
    {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"path": "2_Dense", "type": "sentence_transformers.models.Dense"},
    {"path": "3_Normalize", "type": "sentence_transformers.models.Normalize"},
]
FILES = {
    "modules.json": json.dumps(MODULES),
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
    assert revision(folder) == "289dc73b94259bdd"


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
        "LICENSE",
        "notes.txt",
        "figure.svg",
        "analysis.ipynb",
        "train.py",
        "zero_to_fp32.py",
        "latest",
        "global_step40/mp_rank_00_model_states.pt",
        "training_args.bin",
        "optimizer.pt",
        "optimizer.bin",
        "scheduler.pt",
        "scaler.pt",
        "rng_state_3.pth",
        "random_states_0.pkl",
        "trainer_state.json",
        "all_results.json",
        "eval_results.json",
        "train_results.json",
        "ds_config.json",
        "hbt_bench_recipe.json",
        "events.out.tfevents.1700000000.host",
        "train.log",
        ".gitattributes",
        ".cache/huggingface/download/model.safetensors.metadata",
        "checkpoint-10/model.safetensors",
        "checkpoint-10/config.json",
        "checkpoint/model.safetensors",
        "checkpoints/epoch=1.ckpt",
        "eval/similarity_evaluation_results.csv",
        "runs/Nov20/events.out.tfevents.1",
        "logs/a.txt",
        "wandb/run-1/files/config.yaml",
        "mlruns/0/meta.yaml",
        "results/local__ckpt/9285d5c87e2fe26e/XQuADRMultilingualRetrieval.json",
        "images/map.png",
        "onnx/model.onnx",
        "openvino/openvino_model.bin",
        "model.onnx",
        "tf_model.h5",
        "flax_model.msgpack",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "pytorch_model-00001-of-00002.bin",
        "model-00002-of-00002.safetensors",
        "model.fp16.safetensors",
        "optimizer.pt.safetensors",
        "modeling_custom.py",
        "5_Dense/config.json",
        "1_Pooling/trainer_state.json",
    ],
)
def test_other_files_keep_the_revision(folder, name):
    before = revision(folder)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("first")
    assert revision(folder) == before


@pytest.mark.parametrize(
    "name",
    [
        "config.4.0.0.json",
        "sentence_bert_config.json",
        "sentence_xlm-roberta_config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "data_config.json",
        "adapter_config.json",
        "adapter_model.safetensors",
        "adapter_model.bin",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "entity_vocab.json",
        "merges.txt",
        "unigram.json",
        "sentencepiece.bpe.model",
        "qwen.tiktoken",
        "chat_template.jinja",
        "additional_chat_templates/search.jinja",
        "3_Normalize/config.json",
    ],
)
def test_additional_model_file_changes_the_revision(folder, name):
    before = revision(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}")
    assert revision(folder) != before


def names(folder):
    return {path.relative_to(folder).as_posix() for path in model_files(folder)}


def transformers_model(folder, *files, **texts):
    """Write a model without modules: a configuration and files, empty or with a text."""
    folder.mkdir()
    contents = {"config.json": "{}", **dict.fromkeys(files, ""), **texts}
    for name, text in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("config", "present", "loaded"),
    [
        ("{}", ["pytorch_model.bin"], ["pytorch_model.bin"]),
        ("{}", ["pytorch_model.bin", "model.safetensors"], ["model.safetensors"]),
        ("{}", ["adapter_model.bin", "adapter_model.safetensors"], ["adapter_model.safetensors"]),
        ("{}", ["model.safetensors", "model.fp16.safetensors"], ["model.safetensors"]),
        (
            '{"transformers_weights": "best.safetensors"}',
            ["best.safetensors", "last.safetensors"],
            ["best.safetensors"],
        ),
    ],
)
def test_loaded_format_of_weights_counts(tmp_path, config, present, loaded):
    model = transformers_model(tmp_path / "m", *present, **{"config.json": config})
    assert names(model) == {"config.json", *loaded}


def test_variant_of_weights_counts_if_it_is_set(folder):
    (folder / "model.fp16.safetensors").touch()
    assert "model.fp16.safetensors" not in names(folder)
    (folder / "sentence_bert_config.json").write_text('{"model_args": {"variant": "fp16"}}')
    assert "model.fp16.safetensors" in names(folder)


def test_shards_of_the_index_count(tmp_path):
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-2.safetensors"}}
    shards = [f"model-{number}.safetensors" for number in (1, 2, 3)]
    model = transformers_model(tmp_path / "m", *shards, **{"model.safetensors.index.json": json.dumps(index)})
    expected = {"config.json", "model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors"}
    assert names(model) == expected


def test_code_counts_if_a_setting_names_it(tmp_path):
    auto_map = {"AutoModel": "modeling_own.Own", "AutoConfig": "org/other--configuration_own.OwnConfig"}
    model = transformers_model(
        tmp_path / "m",
        *("layers.py", "heads.py", "configuration_own.py", "train.py", "scale.npy", "other.npy"),
        **{
            "config.json": json.dumps({"auto_map": auto_map}),
            "modeling_own.py": "import torch\nfrom .layers import Layer\nfrom . import heads\n",
            "heads.py": "weights = load('scale.npy')\n",
        },
    )
    assert names(model) == {"config.json", "modeling_own.py", "layers.py", "heads.py", "scale.npy"}


def test_own_module_counts_with_all_its_files(folder):
    modules = [*MODULES, {"path": "4_Own", "type": "own.Scale"}]
    files = {"own.py": "", "other.py": "", "4_Own/scale.npy": "", "4_Own/more/a.bin": "", "4_Own/.hidden": ""}
    save(folder, **files, **{"modules.json": json.dumps(modules)})
    assert {"own.py", "4_Own/scale.npy", "4_Own/more/a.bin"} <= names(folder)
    assert not {"other.py", "4_Own/.hidden"} & names(folder)


def test_parts_of_a_router_count(tmp_path):
    kind = "sentence_transformers.models."
    types = {"query_0_StaticEmbedding": f"{kind}StaticEmbedding", "document_0_Transformer": f"{kind}Transformer"}
    model = transformers_model(
        tmp_path / "m",
        *("query_0_StaticEmbedding/model.safetensors", "query_0_StaticEmbedding/notes.txt"),
        *("document_0_Transformer/model.safetensors", "old_0_Transformer/model.safetensors"),
        **{
            "modules.json": json.dumps([{"path": "", "type": f"{kind}Router"}]),
            "router_config.json": json.dumps({"types": types}),
        },
    )
    weights = {"query_0_StaticEmbedding/model.safetensors", "document_0_Transformer/model.safetensors"}
    assert names(model) == {"modules.json", "config.json", "router_config.json", *weights}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("modules.json", "{", "modules.json is damaged"),
        ("modules.json", '[{"path": "1_Pooling"}]', "modules.json is damaged (not a list of modules)"),
        ("modules.json", '[{"path": "../other", "type": "a.B"}]', "which is not in the model's folder"),
        ("modules.json", '[{"path": "/other", "type": "a.B"}]', "which is not in the model's folder"),
        ("tokenizer_config.json", "{", "tokenizer_config.json is damaged"),
        ("model.safetensors.index.json", "{}", "model.safetensors.index.json is damaged (no weight_map)"),
    ],
)
def test_damaged_model_has_no_revision(folder, name, text, message):
    (folder / "model.safetensors").unlink()
    (folder / name).write_text(text)
    with pytest.raises(ModelError) as caught:
        revision(folder)
    assert message in str(caught.value)


def test_published_revision_of_a_model_is_kept(minilm, tmp_path):
    """The published results of all-MiniLM-L6-v2 have this revision."""
    for path in Path(minilm).iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "results").symlink_to(ROOT / "results")
    assert revision(tmp_path) == "9285d5c87e2fe26e"


def test_names_and_contents_are_hashed_separately(tmp_path):
    original = save(tmp_path / "one", **{"tokenizer.json": "ab", "vocab.txt": "c"})
    moved = save(tmp_path / "two", **{"tokenizer.json": "a", "vocab.txt": "bc"})
    swapped = save(tmp_path / "three", **{"tokenizer.json": "c", "vocab.txt": "ab"})
    renamed = save(tmp_path / "four", **{"tokenizer.json": "ab", "vocab.txt": None, "vocab.json": "c"})
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
        ("{]", "Expecting property name"),
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
        modules = [{"path": "0_Transformer", "type": MODULES[0]["type"]}, {"path": "1_Own", "type": "own.Module"}]
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "0_Transformer").symlink_to(tmp_path / f"base-{name}")
        (folder / "1_Own").mkdir()
        (folder / "1_Own" / "loop").symlink_to(folder / "1_Own")
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
