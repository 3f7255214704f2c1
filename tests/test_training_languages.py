"""Scripts, regions and other spellings of languages in training data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.errors import DataError
from hbt_bench.training.data import TrainingData
from hbt_bench.training.overlap import Overlap
from hbt_bench.training.recipe import Recipe
from tests.factories import SMALL, train

SOURCE = {"path": "data.jsonl", "query": "q", "passage": "p"}


def write(folder, labels, parallel=True):
    """Write twelve items with a text in each language, in a record for each item or for each text."""
    rows = [
        {"id": f"{n}", "texts": {label: {"q": f"q {label} {n}", "p": f"p {label} {n}"} for label in labels}}
        if parallel
        else {"id": f"{n}", "lang": label, "q": f"q {label} {n}", "p": f"p {label} {n}"}
        for n in range(12)
        for label in (labels[:1] if parallel else labels)
    ]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def languages_of(folder, labels, parallel=True, chosen=None, **source):
    """Return the languages that a recipe trains on."""
    write(folder, labels, parallel)
    keys = {} if parallel else {"language_field": "lang"}
    settings = {**SMALL, "batch_size": 4, "languages": chosen, "data": [{**SOURCE, **keys, **source}]}
    data = TrainingData.from_recipe(Recipe(**settings), [folder])
    return data.plan.sources[0].source.languages


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize(
    ("labels", "languages", "expected"),
    [
        (["eng_Latn", "deu_Latn"], None, ("de", "en")),
        (["eng", "deu", "zho_Hant"], None, ("de", "en", "zh-Hant")),
        (["en", "zh-CN", "zh-TW"], None, ("en", "zh", "zh-Hant")),
        (["en", "pt-BR"], None, ("en", "pt")),
        (["en", "pt-BR", "pt-PT"], None, ("en", "pt-BR", "pt-PT")),
        (["en-US", "bho", "lat_Latn", "sr-Latn", "sr"], None, ("bho", "en", "la", "sr", "sr-Latn")),
        (["en", "zh_Hans", "zho_Hant", "de"], ("en", "zho_Hant"), ("en", "zh-Hant")),
        (["en", "pt_BR", "nb"], ("en", "pt-BR", "nb"), ("en", "nb", "pt-BR")),
        (["en", "pt_BR", "nb"], ("en", "pt", "no"), ("en", "no", "pt")),
    ],
)
def test_labels_of_training_data_have_codes(tmp_path, parallel, labels, languages, expected):
    assert languages_of(tmp_path, labels, parallel, languages) == expected


@pytest.mark.parametrize("parallel", [True, False])
def test_codes_of_training_data_can_be_mapped(tmp_path, parallel):
    codes = {"en": "english", "zh-Hant": "trad", "pt-BR": "pt"}
    assert languages_of(tmp_path, list(codes.values()), parallel, languages=codes) == ("en", "pt-BR", "zh-Hant")


def test_unknown_code_of_training_data_states_how_to_map_it(tmp_path):
    with pytest.raises(DataError, match=r"data.jsonl:1 has the unknown language code 'trad'.*languages: {bho: CODE}"):
        languages_of(tmp_path, ["trad", "simp"])


@pytest.mark.parametrize(
    ("code", "reason"), [("pt-BR", "same text"), ("pt", "same text"), ("es", None), ("zh-Hant", None)]
)
def test_overlap_is_found_in_every_region(code, reason):
    queries, documents = [Query("q", "pt-PT", "onde fica o mar", "q")], [Document("d", "pt-PT", "no sul")]
    overlap = Overlap([Collection.from_records("demo", queries, documents, {"q": {"d": 1}})])
    assert overlap.reason(code, "Onde fica o mar?") == reason


def test_training_draws_pairs_of_scripts(tmp_path):
    write(tmp_path, ["en", "zho_Hans", "zho_Hant"])
    changes = {
        "languages": ("en", "zh-Hant"),
        "data": [SOURCE],
        "strategy": "cross-lingual",
        "batch_size": 4,
        "steps": 2,
    }
    train(tmp_path / "model", folders=[tmp_path], **changes, save_every=2, vocabulary=300)
    recipe = json.loads(Path(tmp_path, "model", "hbt_bench_recipe.json").read_text())
    assert sorted(recipe["languages"]) == ["en", "zh-Hant"]
    write(tmp_path, ["en", "zho_Hans", "zho_Hant"])
    data = TrainingData.from_recipe(Recipe(**{**SMALL, **changes}), [tmp_path])
    pairs = {(query, passage) for (_, _, query, passage) in data.plan.batch_shares()}
    assert pairs == {("en", "zh-Hant"), ("zh-Hant", "en")}
