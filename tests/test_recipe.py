"""Test recipes: their defaults, files, flags and mistakes."""

from pathlib import Path

import pytest

from hbt_bench.errors import DataError, UsageError
from hbt_bench.training.recipe import Recipe

GOOD = """\
init: static:64
strategy: hybrid
alpha: 0.25
data:
  - cldr-facts
  - {path: a.jsonl, query: question, passage: context, weight: 2}
languages: [en, no]
"""


def write(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return path


def test_recipe_from_a_file(tmp_path):
    recipe = Recipe.read(write(tmp_path, GOOD))
    assert (recipe.init, recipe.alpha, recipe.languages) == ("static:64", 0.25, ("en", "no"))
    assert [source.kind for source in recipe.data] == ["cldr-facts", "file"]
    assert recipe.data[1].weight == 2


def test_defaults_of_the_paper():
    recipe = Recipe()
    assert (recipe.alpha, recipe.batch_size, recipe.learning_rate, recipe.weight_decay) == (0.5, 100, 3e-5, 1e-2)
    assert (recipe.query_prefix, recipe.passage_prefix, recipe.pairs) == ("Query: ", "Passage: ", "mixed")


def test_flags_replace_keys(tmp_path):
    recipe = Recipe.read(write(tmp_path, GOOD), {"alpha": "0.75", "steps": "7", "language_weights": {"en": "2"}})
    assert (recipe.alpha, recipe.steps, recipe.language_weights) == (0.75, 7, {"en": 2.0})


def test_digest_ignores_name_and_workers(tmp_path):
    recipe = Recipe.read(write(tmp_path, GOOD))
    assert recipe.digest == recipe.model_copy(update={"name": "x", "workers": 3}).digest
    assert recipe.digest != recipe.model_copy(update={"alpha": 0.26}).digest
    assert Recipe.model_validate(recipe.resolved()).digest == recipe.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stratgy: hybrid\n", ":1:1: unknown key 'stratgy' in the file; did you mean 'strategy'?"),
        ("init: static:64\nalpha: 1.5\n", ":2:1: alpha: must be less than or equal to 1"),
        ("alpha: nan\n", ":1:1: alpha: "),
        ("alpha: -0.1\n", ":1:1: alpha: must be greater than or equal to 0"),
        ("steps: 0\n", ":1:1: steps: must be greater than 0"),
        ("strategy: hybird\n", ":1:1: strategy: must be 'monolingual', 'cross-lingual', 'hybrid'"),
        ("languages: [xx]\n", ":1:13: languages.0: unknown language code 'xx'"),
        ("languages: [de, deu]\n", "'de' and 'deu' are the same language, de: name it once"),
        ("language_weights: {eng: 2, en: 3}\n", ":1:1: language_weights: 'eng' and 'en' are the same language, en"),
        ("init: static:big\n", ":1:1: init: 'static:big' is not an init: write static:DIM as in static:256"),
        ("init: tiny:2x100\n", ":1:1: init: the dimensions of 'tiny:2x100' must be a multiple of 32"),
        ("data:\n  - {path: a, query: q, passage: p, quary: x}\n", ":2:"),
        ("data: []\n", ":1:1: data: "),
        ("strategy: language-specific\n", "needs exactly one language in `languages`"),
        ("cached: 8\ndistillation: 1\n", "`cached` and `distillation` cannot be combined"),
        ("loss: paper\nsymmetric: true\n", "the loss `paper` cannot be combined with"),
        ("patience: 3\n", "`patience` needs development data"),
        ("dev: cldr-facts\ndev_measure: loss\n", "give `dev_share`, not `dev`"),
        ("dev_share: 0.1\n", "`dev_share` and `dev_data` need `dev_measure: loss`"),
        ("dev_share: 0.1\ndev_measure: loss\ndev_data: cldr-facts\n", "leave `dev_share` out"),
        ("batch_size: 10\naccumulation: 3\n", "`accumulation` must divide `batch_size`"),
        ("steps: 2\ninstruction: {data: [cldr-facts], share: 0.1}\n", "the instruction stage has no steps"),
        ("alpha: 0.5\nalpha: 0.6\n", ":2:1: invalid YAML: the key 'alpha' is repeated"),
        ("a: &x 1\nb: *x\n", "anchors and aliases"),
        ("a: !!python/name:os.system\n", "is not allowed"),
    ],
)
def test_mistakes_in_a_file_have_line_and_column(tmp_path, text, message):
    with pytest.raises(DataError) as error:
        Recipe.read(write(tmp_path, text))
    assert message in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "recipe.yaml"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"alpha": "2"}, "--alpha: must be less than or equal to 1"),
        ({"batch_size": "many"}, "--batch-size: must be a valid integer, unable to parse string as an integer"),
        ({"language_weights": {"en": "-1"}}, "--language-weights: must be greater than 0"),
    ],
)
def test_mistakes_in_flags(flags, message):
    with pytest.raises(UsageError) as error:
        Recipe.read(None, flags)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("configs: {en: en}, folders: {en: data/en}", "give one of `configs`, `folders` and `splits`"),
        ("configs: {en: en}, next_in: doc", "`next_in` needs all languages of a sentence in one record"),
        ("language_field: lang, next_in: doc", "so it takes no `language_field`"),
        ("splits: {en: en}, split: test", "`splits` names the split of each language: leave `split: test` out"),
        ("splits: {en: train, eng: test}", "'en' and 'eng' are the same language, en: name it once"),
        ("languages: {en: a, eng: b}", "'en' and 'eng' are the same language, en: name it once"),
        ("languages: [de, deu]", "'de' and 'deu' are the same language, de: name it once"),
        ("languages: {en: a, de: a}", "two languages have the same code in the data"),
    ],
)
def test_hub_source_names_languages_in_one_way(tmp_path, more, message):
    text = f"data:\n  - {{kind: hub, dataset: a/b, query: q, passage: p, {more}}}\n"
    with pytest.raises(DataError, match=":2:") as error:
        Recipe.read(write(tmp_path, text))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "digest"),
    [("e5-small", "077582cb9b3059b1"), ("parallel-small", "bccdaa96bf46acca"), (None, "66b35cd60f5705bd")],
)
def test_older_recipes_keep_their_digest(name, digest):
    """Models and studies are found by it, so a younger key is part of it only if a recipe has the key."""
    recipe = Recipe.read(Path(__file__).parents[1] / "recipes" / f"{name}.yaml") if name else Recipe()
    assert recipe.digest == digest
    changes = {"lora": {"r": 4}, "freeze": ["embeddings"], "revision": "v2", "trust_remote_code": True}
    changes["max_length"] = {"query": 32, "passage": 64}
    digests = {Recipe.model_validate({**recipe.resolved(), key: value}).digest for key, value in changes.items()}
    assert len(digests | {digest}) == len(changes) + 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lora: {r: 0}\n", "lora.r: must be greater than 0"),
        ("lora: {r: 4}\nfreeze: [embeddings]\n", "`lora` trains none of the transformer's own weights"),
        ("max_length: {query: 32}\n", "the key 'passage' is missing"),
    ],
)
def test_mistakes_in_trained_weights_and_lengths(tmp_path, text, message):
    with pytest.raises(DataError) as error:
        Recipe.read(write(tmp_path, text))
    assert message in str(error.value)
