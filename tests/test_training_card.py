"""The card of a trained model: its base model, and no paths of the machine."""

import json
from collections import Counter

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.utils import validate_repo_id

from hbt_bench.identity.checkpoint import RECIPE_FILE, Checkpoint
from hbt_bench.training import card
from hbt_bench.training.recipe import Recipe
from tests.factories import SMALL, plain_bert, train


def write_card(folder, text):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("init", "name"),
    [
        ("static:64", None),
        ("tiny:2x128", None),
        ("intfloat/multilingual-e5-small", "intfloat/multilingual-e5-small"),
        ("xlm-roberta-base", "xlm-roberta-base"),
        ("LaBSE", "sentence-transformers/LaBSE"),
    ],
)
def test_base_model_of_names(init, name):
    assert card.base_model(init) == name


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({}, None),
        ({"_name_or_path": "intfloat/multilingual-e5-small"}, "intfloat/multilingual-e5-small"),
        ({"_name_or_path": "xlm-roberta-base"}, "xlm-roberta-base"),
        ({"_name_or_path": "distilbert-base-multilingual-cased"}, "distilbert-base-multilingual-cased"),
        ({"_name_or_path": "/home/ann/bert"}, None),
        ({"_name_or_path": "./bert"}, None),
        ({"_name_or_path": "bert"}, None),
        ({"_name_or_path": "output/checkpoint-500"}, None),
        ({"_name_or_path": "ann/checkpoint-500"}, None),
        ({"_name_or_path": "models/bert"}, None),
        ({"_name_or_path": "parent/bert"}, None),
        ({"_name_or_path": ""}, None),
        ({"_name_or_path": 3}, None),
        ([], None),
    ],
)
def test_base_model_of_a_configuration(tmp_path, config, name):
    (tmp_path / "parent" / "bert").mkdir(parents=True)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    assert card.base_model(str(tmp_path / "m")) == name


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ("base_model: intfloat/multilingual-e5-small", "intfloat/multilingual-e5-small"),
        ("base_model:\n- /home/ann/bert\n- FacebookAI/xlm-roberta-base", "FacebookAI/xlm-roberta-base"),
        ("base_model: /home/ann/bert", None),
        ("base_model: static:64", None),
        ("base_model: local/bert", None),
        ("license: mit", None),
        ("base_model: [", None),
        ("- base_model", None),
    ],
)
def test_base_model_of_a_card(tmp_path, metadata, name):
    assert card.base_model(str(write_card(tmp_path, f"---\n{metadata}\n---\n# m\n"))) == name


def test_base_model_is_no_folder_next_to_a_folder_above(tmp_path, messages):
    folder = tmp_path / "team" / "runs" / "a" / "m"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"_name_or_path": "team/bert"}')
    assert card.base_model(str(folder)) == "team/bert"
    assert [line for line in messages if line.startswith("the card names team/bert as base model, by the config")]
    (tmp_path / "team" / "bert").mkdir()
    assert card.base_model(str(folder)) is None


def test_base_model_of_an_adapter(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    assert card.base_model(str(tmp_path)) == "org/base"


def test_folder_in_the_cache_of_the_hub_has_its_name(tmp_path):
    folder = write_card(tmp_path / "models--org--a--b" / "snapshots" / "0123abc", "---\nbase_model: org/other\n---\n")
    assert card.base_model(str(folder)) == "org/a--b"
    (tmp_path / "linked").symlink_to(folder)
    assert card.base_model(str(tmp_path / "linked")) == "org/a--b"
    assert card.without_paths({"init": str(folder)}) == {"init": "org/a--b"}


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/home/ann/bert", "bert"),
        ("/home/ann/bert/", "bert"),
        ("file:///home/ann/a.jsonl", "a.jsonl"),
        ("C:\\Users\\ann\\bert", "bert"),
        ("../bert", "../bert"),
        ("org/name", "org/name"),
        ("static:64", "static:64"),
    ],
)
def test_absolute_paths_are_not_published(path, shown):
    content = {"init": path, "data": [{"path": path}], "guard": [path, "xquad-r"], "query_prefix": path, "steps": 3}
    expected = {"init": shown, "data": [{"path": shown}], "guard": [shown, "xquad-r"], "query_prefix": path, "steps": 3}
    assert card.without_paths(content) == expected


def test_trained_model_can_be_published(tmp_path):
    """No file of the model has a path of this machine, and the card's metadata are valid."""
    init = plain_bert(tmp_path / "bert")
    rows = [{"q": f"a b {number:b}", "p": f"b {number:b}"} for number in range(32)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = [{"path": str(tmp_path / "pairs.jsonl"), "query": "q", "passage": "p", "language": "en"}]
    options = {"init": str(init), "data": data, "languages": None, "strategy": "monolingual", "steps": 1}
    folder = train(tmp_path / "out", **options)
    assert [path for path in folder.rglob("*") if path.is_file() and str(tmp_path).encode() in path.read_bytes()] == []
    facts = json.loads((folder / RECIPE_FILE).read_text())
    assert (facts["init"], facts["init_revision"]) == ("bert", Checkpoint.from_folder(init).revision)
    assert facts["recipe"]["data"][0]["path"] == "pairs.jsonl"
    metadata = ModelCard.load(folder / "README.md", ignore_metadata_errors=False).data
    assert metadata.base_model is None
    assert metadata.language == ["en"]


def facts(**changes):
    return {
        **{"name": None, "strategy": "hybrid", "alpha": 0.5, "init": "static:16", "base_model": None, "steps": 1},
        **{"languages": ["en"], "pairs_seen": 8, "seconds": 1.0, "data": {}, "dropped": [], "guards": [], "dev": []},
        **{"batches": Counter(), "queries": {}, "kept_step": 1, "versions": {}, "recipe": Recipe(**SMALL).resolved()},
        **changes,
    }


def test_card_has_the_languages_of_the_hub():
    """The hub takes ISO 639 codes as languages. Other tags have a field of their own."""
    metadata = ModelCard(card.readme("m", facts(languages=["en", "pt", "pt-BR", "zh-Hans", "zh-Hant"]))).data
    assert metadata.language == ["en", "pt", "zh"]
    assert metadata.to_dict()["language_bcp47"] == ["pt-BR", "zh-Hans", "zh-Hant"]
    assert "language_bcp47" not in ModelCard(card.readme("m", facts())).data.to_dict()


def test_base_model_in_the_card_is_a_name_on_the_hub():
    metadata = ModelCard(card.readme("m", facts(base_model="org/base"))).data
    assert metadata.base_model == "org/base"
    validate_repo_id(metadata.base_model)
    assert ModelCard(card.readme("m", facts())).data.base_model is None


@pytest.mark.parametrize(
    ("text", "own"),
    [
        (card.readme("m", facts()), True),
        (card.readme("m", facts()).replace("\n", "\r\n"), True),
        ("", False),
        ("# hbt-bench\n", False),
        ("---\ntags:\n- sentence-transformers\n---\n- hbt-bench\n", False),
    ],
)
def test_own_cards_are_recognized(text, own):
    assert card.is_own(text) == own
