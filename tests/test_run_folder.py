"""The output folder of a training run: foreign files, and the replacement of a model."""

import json
from pathlib import Path

import pytest

from hbt_bench.errors import OutputError, UsageError
from hbt_bench.identity.checkpoint import RECIPE_FILE, Checkpoint
from hbt_bench.identity.model_files import model_files
from hbt_bench.training import card
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.run_folder import COMPLETE, RunFolder
from tests.factories import SMALL

OWN_CARD = "---\nlanguage:\n- de\ntags:\n- retrieval\n- hbt-bench\n---\n\n# m\n"
KIND = "sentence_transformers.models."
STATIC = {
    "modules.json": json.dumps([{"path": "", "type": f"{KIND}StaticEmbedding"}]),
    "config_sentence_transformers.json": "{}",
    "model.safetensors": "new weights",
    "tokenizer.json": "{}",
}
POOLED = {
    "modules.json": json.dumps(
        [{"path": "", "type": f"{KIND}Transformer"}, {"path": "1_Pooling", "type": f"{KIND}Pooling"}]
    ),
    "config.json": "{}",
    "sentence_bert_config.json": "{}",
    "model.safetensors": "old weights",
    "tokenizer.json": '{"old": true}',
    "vocab.txt": "a",
    "1_Pooling/config.json": "{}",
}


class Model:
    """A model that saves texts as its files."""

    def __init__(self, files):
        self.files = files

    def save(self, folder, create_model_card):
        write(Path(folder), self.files)


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def content(folder):
    """Return the texts of all files by name."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def save(monkeypatch):
    """Return a function that saves a model into a folder as a finished training does."""
    monkeypatch.setattr(card, "readme", lambda folder, facts: OWN_CARD)

    def save(folder, files=STATIC):
        folder.mkdir(exist_ok=True)
        RunFolder(folder).save(Model(files), {"recipe": {}})
        return folder

    return save


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "config.json",
        "model.safetensors",
        "1_Pooling/config.json",
        "src/train.py",
        "data/pairs.csv",
        "notes.txt",
        "recipe.yaml",
        ".git/HEAD",
        ".env",
        "results/local__m/1/T.json",
    ],
)
def test_foreign_files_are_not_replaced(tmp_path, name):
    write(tmp_path, {name: "mine"})
    with pytest.raises(OutputError) as caught:
        RunFolder(tmp_path).check(overwrite=False)
    assert f"{tmp_path} has files that hbt-bench did not write ({name.partition('/')[0]})" in str(caught.value)
    assert content(tmp_path) == {name: "mine"}
    RunFolder(tmp_path).check(overwrite=True)
    assert content(tmp_path) == {name: "mine"}


def test_message_names_three_foreign_files(tmp_path):
    write(tmp_path, {f"{number}.txt": "" for number in range(5)})
    with pytest.raises(OutputError, match=r"\(0.txt, 1.txt, 2.txt and 2 more\)"):
        RunFolder(tmp_path).check(overwrite=False)


@pytest.mark.parametrize(
    "name",
    [
        "train.log",
        "slurm-12.out",
        ".gitignore",
        "runs/events.out.tfevents.1",
        ".training.lock",
        ".saving-a_b1/config.json",
    ],
)
def test_logs_and_remains_of_a_run_are_not_foreign(tmp_path, name):
    write(tmp_path, {name: ""})
    RunFolder(tmp_path).check(overwrite=False)


def test_new_folder_is_made(tmp_path):
    RunFolder(tmp_path / "a" / "b").check(overwrite=False)
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_foreign_checkpoints_are_never_removed(tmp_path, overwrite):
    write(tmp_path, {"checkpoints/checkpoint-500/model.safetensors": "mine"})
    with pytest.raises(OutputError, match=r"checkpoints has files that hbt-bench did not write: move"):
        RunFolder(tmp_path).check(overwrite)
    assert content(tmp_path) == {"checkpoints/checkpoint-500/model.safetensors": "mine"}


def test_unfinished_run_continues_next_to_notes(tmp_path):
    RunFolder(tmp_path).last_checkpoint("run")
    write(tmp_path, {"notes.txt": "", f"checkpoints/checkpoint-4/{COMPLETE}": ""})
    RunFolder(tmp_path).check(overwrite=False)
    write(tmp_path, {"config.json": "{}"})
    with pytest.raises(OutputError, match=r"did not write \(config.json\)"):
        RunFolder(tmp_path).check(overwrite=False)


def test_unfinished_run_of_older_version_continues(tmp_path):
    write(tmp_path, {f"checkpoints/checkpoint-4/{COMPLETE}": ""})
    RunFolder(tmp_path).check(overwrite=False)


def test_own_checkpoints_are_removed(tmp_path):
    files = {"checkpoints/checkpoint-4/a": "", "checkpoints/notes.txt": ""}
    write(tmp_path, files)
    RunFolder(tmp_path).remove_checkpoints()
    assert content(tmp_path) == {"checkpoints/notes.txt": ""}


def test_killed_save_is_not_foreign(tmp_path, save, monkeypatch):
    monkeypatch.setattr(card, "readme", None)
    with pytest.raises(TypeError):
        save(tmp_path, POOLED)
    assert (tmp_path / "1_Pooling").is_dir()
    assert not (tmp_path / RECIPE_FILE).exists()
    RunFolder(tmp_path).check(overwrite=False)
    monkeypatch.setattr(card, "readme", lambda folder, facts: OWN_CARD)
    save(tmp_path, STATIC)
    assert content(tmp_path).keys() == {*STATIC, "README.md", RECIPE_FILE}


def test_replaced_model_leaves_nothing(tmp_path, save):
    """The new model has the same files and the same revision as in a new folder."""
    old = {
        **POOLED,
        "modules.json": POOLED["modules.json"].replace("]", f', {{"path": "2_Own", "type": "{KIND}Dense"}}]'),
        "2_Own/model.safetensors": "old",
        "pytorch_model.bin": "old",
        "pytorch_model-00001-of-00002.bin": "old",
        "model-00001-of-00002.safetensors": "old",
        "model.safetensors.index.json": '{"weight_map": {}}',
        "adapter_config.json": "{}",
        "adapter_model.safetensors": "old",
        "merges.txt": "old",
        "additional_chat_templates/a.jinja": "old",
    }
    write(tmp_path / "m", old)
    save(tmp_path / "m")
    new = save(tmp_path / "new")
    assert content(tmp_path / "m") == content(new)
    assert {path.name for path in (tmp_path / "m").iterdir()} == {*STATIC, "README.md", RECIPE_FILE}
    assert Checkpoint.from_folder(tmp_path / "m").revision == Checkpoint.from_folder(new).revision


def test_files_without_a_model_are_kept(tmp_path, save, messages):
    others = {
        "notes.txt": "mine",
        "src/model.py": "mine",
        "data/config.json": "mine",
        "1_Pooling/notes.txt": "mine",
        "modeling_own.py": "mine",
        "results/a.json": "mine",
        "runs/events": "mine",
    }
    config = json.dumps({"auto_map": {"AutoModel": "modeling_own.Own"}})
    write(tmp_path, {**POOLED, **others, "config.json": config, "README.md": "two days of work"})
    save(tmp_path)
    assert content(tmp_path) == {
        **STATIC,
        **others,
        "README.md": OWN_CARD,
        "README.old.md": "two days of work",
        RECIPE_FILE: (tmp_path / RECIPE_FILE).read_text(),
    }
    assert messages == [f"the README.md that was in {tmp_path} is kept as README.old.md"]


def test_stray_file_in_a_new_module_is_removed(tmp_path, save):
    write(tmp_path, {"1_Pooling/model.safetensors": "stray", "1_Pooling/notes.txt": "mine"})
    save(tmp_path, POOLED)
    assert {path.relative_to(tmp_path).as_posix() for path in model_files(tmp_path)} == set(POOLED)
    assert (tmp_path / "1_Pooling" / "notes.txt").read_text() == "mine"


def test_own_card_is_replaced_unless_it_was_changed(tmp_path, save):
    save(tmp_path)
    save(tmp_path)
    assert not (tmp_path / "README.old.md").exists()
    (tmp_path / "README.md").write_text(f"{OWN_CARD}\nmy notes\n")
    save(tmp_path)
    assert (tmp_path / "README.old.md").read_text() == f"{OWN_CARD}\nmy notes\n"
    assert (tmp_path / "README.md").read_text() == OWN_CARD


def test_second_foreign_card_is_kept(tmp_path, save):
    write(tmp_path, {"README.md": "second", "README.old.md": "first"})
    save(tmp_path)
    assert (tmp_path / "README.old.md").read_text() == "first"
    assert (tmp_path / "README.old1.md").read_text() == "second"


def test_linked_files_of_other_models_are_kept(tmp_path, save):
    other = write(tmp_path / "other", POOLED)
    folder = tmp_path / "m"
    folder.mkdir()
    for name in ("modules.json", "model.safetensors", "1_Pooling"):
        (folder / name).symlink_to(other / name)
    save(folder)
    assert content(folder).keys() == {*STATIC, "README.md", RECIPE_FILE}
    assert not (folder / "1_Pooling").is_symlink()
    assert content(other) == POOLED


def test_folder_with_the_name_of_a_file(tmp_path, save):
    write(tmp_path, {"tokenizer.json/a.txt": "mine"})
    with pytest.raises(OutputError, match="cannot write"):
        save(tmp_path)
    assert (tmp_path / "tokenizer.json" / "a.txt").read_text() == "mine"


def write_recipe(folder, recipe):
    facts = {"recipe": card.without_paths(recipe.resolved()), "recipe_digest": recipe.digest}
    (folder / RECIPE_FILE).write_text(json.dumps(facts))
    return RunFolder(folder)


def test_inits_of_equal_names_are_different_recipes(tmp_path):
    recipe = Recipe(**{**SMALL, "init": "/one/bert", "data": [{"path": "/data/a.jsonl", "query": "q", "passage": "p"}]})
    folder = write_recipe(tmp_path, recipe)
    assert "/" not in json.loads((tmp_path / RECIPE_FILE).read_text())["recipe"]["init"]
    assert folder.check_recipe(recipe)
    assert folder.check_recipe(recipe.model_copy(update={"name": "other", "workers": 2}))
    with pytest.raises(UsageError, match=r"it differs in data, init\)"):
        folder.check_recipe(recipe.model_copy(update={"init": "/two/bert"}))
    with pytest.raises(UsageError, match=r"it differs in seed\)"):
        folder.check_recipe(recipe.model_copy(update={"seed": 5}))


def test_model_of_other_inputs_is_not_the_model(tmp_path):
    recipe = Recipe(**SMALL)
    folder = write_recipe(tmp_path, recipe)
    assert folder.has_model(card.Inputs(recipe, "plan", "init"))  # of an older version
    facts = {"recipe": recipe.resolved(), "recipe_digest": recipe.digest, "plan": "a", "init_revision": "b"}
    (tmp_path / RECIPE_FILE).write_text(json.dumps(facts))
    assert folder.has_model(card.Inputs(recipe, "a", "b"))
    with pytest.raises(UsageError, match="of the same recipe, but of another version of the data: choose"):
        folder.has_model(card.Inputs(recipe, "c", "b"))
    with pytest.raises(UsageError, match="of another version of the data and another version of the init"):
        folder.has_model(card.Inputs(recipe, "c", None))
    assert card.Inputs(recipe, "a", None).identity == f"a {recipe.digest}"
    assert card.Inputs(recipe, "a", "b").identity == f"a {recipe.digest} b"


def test_recipe_file_of_older_version_has_paths(tmp_path):
    recipe = Recipe(**{**SMALL, "init": "/one/bert"})
    (tmp_path / RECIPE_FILE).write_text(json.dumps({"recipe": recipe.resolved()}))
    assert RunFolder(tmp_path).check_recipe(recipe)
    with pytest.raises(UsageError, match=r"it differs in init\)"):
        RunFolder(tmp_path).check_recipe(recipe.model_copy(update={"init": "/two/bert"}))
