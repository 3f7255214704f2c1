"""Test training runs: their output, and that it depends on the recipe alone."""

import json
import shutil
import time
from pathlib import Path

import pytest
import torch
import yaml

from hbt_bench.cli.main import run
from hbt_bench.data import cldr
from hbt_bench.errors import DataError, ModelError, OutputError, UsageError
from hbt_bench.identity.checkpoint import RECIPE_FILE, Checkpoint
from hbt_bench.tasks.registry import TaskRegistry
from hbt_bench.training.data import TrainingData, dev_collection
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.run import Training
from hbt_bench.training.run_folder import COMPLETE, RunFolder, clear_errors, last_complete
from hbt_bench.training.trainer import PlanTrainer
from tests.factories import SMALL, plain_bert, train, weights_hash
from tests.forked import Script, run_together


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train(tmp_path_factory.mktemp("trained") / "model")


def test_output_folder(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"modules.json", "model.safetensors", "tokenizer.json", "README.md", RECIPE_FILE} <= names
    assert "checkpoints" not in names
    assert not [name for name in names if name.startswith(".")]
    facts = json.loads((trained / RECIPE_FILE).read_text())
    assert (facts["strategy"], facts["alpha"], facts["seed"], facts["init"]) == ("hybrid", 0.5, 0, "tiny:1x32")
    assert (facts["steps"], facts["pairs_seen"]) == (12, 192)
    assert sum(facts["batches"].values()) == 12
    assert sum(share for *_, share in facts["shares"]) == pytest.approx(1, abs=1e-4)
    assert facts["languages"] == ["de", "en", "sw"]
    assert Recipe.model_validate(facts["recipe"]).steps == 12


def test_model_loads_in_sentence_transformers(trained):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(trained), device="cpu")
    assert model.prompts["query"] == "Query: "
    assert model.prompts["document"] == "Passage: "
    assert model.encode(["one", "two"]).shape == (2, 32)


def test_model_card_is_valid(trained):
    from huggingface_hub import ModelCard

    card = ModelCard.load(trained / "README.md")
    assert card.data.to_dict()["library_name"] == "sentence-transformers"
    assert card.data.language == ["de", "en", "sw"]
    block = card.text.split("```yaml\n")[1].split("```")[0]
    assert Recipe.model_validate(yaml.safe_load(block)).digest == Recipe(**SMALL).digest


def test_same_seed_gives_same_weights(trained, tmp_path):
    again = train(tmp_path / "again")
    assert weights_hash(again) == weights_hash(trained)
    assert Checkpoint.from_folder(again).revision == Checkpoint.from_folder(trained).revision
    assert weights_hash(train(tmp_path / "other", seed=1)) != weights_hash(trained)


def test_second_run_does_nothing(trained, messages):
    before = (trained / "model.safetensors").stat().st_mtime_ns
    train(trained)
    assert messages == [f"{trained} has this model already"]
    assert (trained / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match=r"has a model of another recipe \(it differs in alpha\)"):
        train(trained, alpha=0.7)


def test_model_that_another_process_trains_meanwhile(tmp_path, monkeypatch, messages):
    """Two processes start the same run; the second waits for the first, and then finds its model."""
    changes, lock = {"init": "static:8", "steps": 2}, RunFolder.lock

    def waiting(folder):
        monkeypatch.setattr(RunFolder, "lock", lock)
        train(tmp_path / "m", **changes)
        messages.clear()
        return lock(folder)

    monkeypatch.setattr(RunFolder, "lock", waiting)
    assert train(tmp_path / "m", **changes) == tmp_path / "m"
    assert messages == [f"{tmp_path / 'm'} has this model already"]


class StoppedError(Exception):
    pass


def stop_after(step):
    def progress(stage, done, total, note=""):
        if done == step:
            raise StoppedError

    return progress


@pytest.mark.parametrize("changes", [{}, {"accumulation": 2}, {"init": "static:32", "workers": 1}])
def test_stopped_run_continues_to_same_weights(tmp_path, changes, messages):
    with pytest.raises(StoppedError):
        train(tmp_path / "stopped", progress=stop_after(10), **changes)
    kept = sorted(path.name for path in (tmp_path / "stopped" / "checkpoints").iterdir())
    assert kept == ["checkpoint-4", "checkpoint-8"]
    lines = {}
    resumed = train(
        tmp_path / "stopped", progress=lambda stage, done, total, note: lines.update({done: note}), **changes
    )
    assert "continuing from checkpoint-8" in messages
    undisturbed_lines = {}
    undisturbed = train(
        tmp_path / "undisturbed",
        progress=lambda stage, done, total, note: undisturbed_lines.update({done: note}),
        **changes,
    )
    assert weights_hash(resumed) == weights_hash(undisturbed)
    assert lines[12].split(", ")[-1] == undisturbed_lines[12].split(", ")[-1]  # the shares of the batch types


def test_unfinished_checkpoint_is_not_used(tmp_path, messages):
    with pytest.raises(StoppedError):
        train(tmp_path / "m", progress=stop_after(10))
    (tmp_path / "m" / "checkpoints" / "checkpoint-8" / COMPLETE).unlink()
    train(tmp_path / "m")
    assert "continuing from checkpoint-4" in messages
    assert weights_hash(tmp_path / "m") == weights_hash(train(tmp_path / "n"))


STATIC = {"init": "static:32", "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Return a run that stopped with checkpoints 4 and 8, and the weights of the same run without the stop."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.raises(StoppedError):
        train(folder / "m", progress=stop_after(10), **STATIC)
    return folder / "m", weights_hash(train(folder / "undisturbed", **STATIC))


def flip(path):
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 4
    path.write_bytes(body)


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


def garble(path):
    path.write_bytes(b"\xff\xfe")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.safetensors", flip),
        ("model.safetensors", cut),
        ("optimizer.pt", flip),
        ("optimizer.pt", cut),
        ("trainer_state.json", cut),
        ("rng_state.pth", cut),
        ("scheduler.pt", cut),
        ("scheduler.pt", Path.unlink),
        (COMPLETE, flip),
        (COMPLETE, cut),
        (COMPLETE, garble),
    ],
)
def test_damaged_checkpoint_is_not_used(tmp_path, stopped, name, damage, messages):
    folder = shutil.copytree(stopped[0], tmp_path / "m")
    damage(folder / "checkpoints" / "checkpoint-8" / name)
    train(folder, **STATIC)
    damaged, resumed = messages
    assert damaged.startswith("checkpoint-8 is unfinished or damaged")
    assert resumed == "continuing from checkpoint-4"
    assert weights_hash(folder) == stopped[1]


def test_every_file_of_a_checkpoint_is_checked(tmp_path, stopped):
    checkpoints = shutil.copytree(stopped[0] / "checkpoints", tmp_path / "checkpoints")
    identity = json.loads((checkpoints / "checkpoint-8" / COMPLETE).read_text().partition("\n")[2])["run"]
    assert last_complete(checkpoints, identity) == (checkpoints / "checkpoint-8", [])
    files = [path for path in (checkpoints / "checkpoint-8").rglob("*") if path.is_file()]
    assert len(files) > 8
    for path in files:
        body = path.read_bytes()
        flip(path)
        assert last_complete(checkpoints, identity) == (checkpoints / "checkpoint-4", [checkpoints / "checkpoint-8"])
        path.write_bytes(body)


def test_training_restarts_without_usable_checkpoints(tmp_path, stopped):
    folder = shutil.copytree(stopped[0], tmp_path / "m")
    for step in (4, 8):
        flip(folder / "checkpoints" / f"checkpoint-{step}" / "model.safetensors")
    train(folder, **STATIC)
    assert weights_hash(folder) == stopped[1]


def test_damaged_best_checkpoint_is_noticed(tmp_path, messages):
    """The best weights so far are in an older checkpoint, and the run would end with them."""
    changes = {"init": "static:32", "dev": "cldr-facts", "dev_every": 2, "learning_rate": 1e-9}
    undisturbed = train(tmp_path / "a", **changes)
    with pytest.raises(StoppedError):
        train(tmp_path / "b", progress=stop_after(7), **changes)
    checkpoints = tmp_path / "b" / "checkpoints"
    assert {path.name for path in checkpoints.glob("checkpoint-*")} == {"checkpoint-2", "checkpoint-6"}
    flip(checkpoints / "checkpoint-2" / "model.safetensors")
    resumed = train(tmp_path / "b", **changes)
    assert not [line for line in messages if "continuing" in line]
    assert weights_hash(resumed) == weights_hash(undisturbed)


@pytest.mark.parametrize("changes", [{"seed": 3}, {"temperature": 0.2}, {"init": "tiny:1x64"}])
def test_checkpoint_of_another_run_is_an_error(tmp_path, changes):
    with pytest.raises(StoppedError):
        train(tmp_path / "m", progress=stop_after(6))
    with pytest.raises(ModelError, match="is of another run"):
        train(tmp_path / "m", **changes)
    train(tmp_path / "m", resume=False, **changes)


def test_early_stopping_survives_a_stop(tmp_path):
    changes = {
        "init": "static:32",
        "dev": "cldr-facts",
        "dev_every": 2,
        "patience": 3,
        "steps": 80,
        "learning_rate": 1e-9,
    }
    undisturbed = train(tmp_path / "a", **changes)
    steps = json.loads((undisturbed / RECIPE_FILE).read_text())["steps"]
    assert steps == 8  # the model learns nothing, so the first evaluation stays the best
    with pytest.raises(StoppedError):
        train(tmp_path / "b", progress=stop_after(7), **changes)
    resumed = train(tmp_path / "b", **changes)
    assert json.loads((resumed / RECIPE_FILE).read_text())["steps"] == 8
    assert weights_hash(resumed) == weights_hash(undisturbed)


def test_killed_process_resumes(tmp_path, capsys):
    """SIGKILL ends a process; then this process runs the same command."""
    recipe, changes = tmp_path / "recipe.yaml", {"steps": 150, "save_every": 10}
    recipe.write_text(yaml.safe_dump({**SMALL, "languages": list(SMALL["languages"]), "guard": [], **changes}))
    command = ["train", str(recipe), "--output", str(tmp_path / "m")]
    process = Script("import sys\nfrom hbt_bench.cli.main import run\nrun(sys.argv[1:])", command, tmp_path).process
    checkpoints = tmp_path / "m" / "checkpoints"
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob(f"checkpoint-*/{COMPLETE}")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.join()
    assert not (tmp_path / "m" / RECIPE_FILE).exists()
    assert run(command) == 0
    assert "continuing from checkpoint-" in capsys.readouterr().err
    assert weights_hash(tmp_path / "m") == weights_hash(train(tmp_path / "n", **changes))


def test_nan_loss_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    compute = PlanTrainer.compute_loss

    def broken(self, *arguments, **options):
        loss = compute(self, *arguments, **options)
        if self.state.global_step == 9:
            with torch.no_grad():
                self._finite = torch.tensor(False)
        return loss

    monkeypatch.setattr(PlanTrainer, "compute_loss", broken)
    with pytest.raises(ModelError, match="the loss became NaN or infinite at or before step"):
        train(tmp_path / "m")
    assert sorted(path.name for path in (tmp_path / "m" / "checkpoints").iterdir()) == ["checkpoint-4", "checkpoint-8"]
    assert not (tmp_path / "m" / RECIPE_FILE).exists()


def test_overflow_is_noticed(tmp_path):
    with pytest.raises(ModelError, match="lower the learning rate"):
        train(tmp_path / "m", init="static:32", learning_rate=1e38, steps=30, warmup=0, temperature=1e-30, save_every=1)
    from safetensors.torch import load_file

    for path in (tmp_path / "m" / "checkpoints").glob("*/model.safetensors"):
        assert all(bool(torch.isfinite(weights).all()) for weights in load_file(path).values())


def test_killed_overwrite_leaves_no_complete_model(tmp_path, monkeypatch, messages):
    train(tmp_path / "m")

    def killed(*arguments):
        raise StoppedError

    monkeypatch.setattr("hbt_bench.training.card.readme", killed)
    with pytest.raises(StoppedError):
        train(tmp_path / "m", init="static:32", overwrite=True)
    monkeypatch.undo()
    folder = train(tmp_path / "m", init="static:32")
    assert f"{folder} has this model already" not in messages
    assert not (folder / "1_Pooling").exists()
    undisturbed = train(tmp_path / "n", init="static:32")
    assert Checkpoint.from_folder(folder).revision == Checkpoint.from_folder(undisturbed).revision


def write_pairs(folder, word):
    rows = [{"q": f"{word} question {n}", "p": f"{word} answer {n}"} for n in range(24)]
    (folder / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "data": [{"path": "p.jsonl", "query": "q", "passage": "p", "language": "en"}],
        "folders": (folder,),
        "languages": None,
        "strategy": "monolingual",
        "init": "static:8",
        "steps": 4,
        "save_every": 2,
    }


def test_replaced_data_or_init_is_noticed(tmp_path, messages):
    changes = write_pairs(tmp_path, "red")
    train(tmp_path / "init", **changes)
    other = {**changes, "init": str(tmp_path / "init")}
    train(tmp_path / "m", **other)
    messages.clear()
    train(tmp_path / "m", **other)
    assert messages == [f"{tmp_path / 'm'} has this model already"]
    write_pairs(tmp_path, "blue")
    with pytest.raises(UsageError, match="but of another version of the data: choose another --output"):
        train(tmp_path / "m", **other)
    write_pairs(tmp_path, "red")
    train(tmp_path / "init", **{**changes, "seed": 3}, overwrite=True)
    with pytest.raises(UsageError, match="but of another version of the init: choose another --output"):
        train(tmp_path / "m", **other)


def test_stopped_overwrite_continues(tmp_path, messages):
    changes = write_pairs(tmp_path, "red")
    train(tmp_path / "m", **{**changes, "seed": 5})
    with pytest.raises(StoppedError):
        train(tmp_path / "m", **changes, overwrite=True, progress=stop_after(3))
    folder = train(tmp_path / "m", **changes, overwrite=True)
    assert "continuing from checkpoint-2" in messages
    assert weights_hash(folder) == weights_hash(train(tmp_path / "n", **changes))
    with pytest.raises(StoppedError):
        train(folder, **changes, overwrite=True, progress=stop_after(3))
    messages.clear()
    train(folder, **{**changes, "seed": 6}, overwrite=True)  # the checkpoints of another run
    assert not [line for line in messages if "continuing" in line]


def test_tokenizer_is_learned_from_the_texts_that_are_trained_on(tmp_path):
    rows = [
        {"id": f"z{n:x}k", "texts": {code: {"q": f"{code} q{n}", "p": f"{code} p{n}"} for code in ("en", "de", "sw")}}
        for n in range(40)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = {"path": "a.jsonl", "query": "q", "passage": "p"}
    recipe = Recipe(data=[source], languages=("en", "de"), batch_size=4, guard=(), dev_share=0.3, dev_measure="loss")
    data = TrainingData.from_recipe(recipe, [tmp_path])
    assert data.held_out is not None
    held_out = {text for _, text in data.held_out.sources[0].source.occurrences()}
    texts = list(data.texts())
    assert (len(held_out) + len(texts), len(set(texts))) == (160, len(texts))
    assert not held_out & set(texts)


def test_full_disk(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PlanTrainer, "_save", full)
    with pytest.raises(OutputError, match="no space left on the disk"):
        train(tmp_path / "m")


def test_full_disk_in_safetensors(tmp_path, monkeypatch):
    from safetensors import SafetensorError

    def full(*arguments, **options):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(PlanTrainer, "_save", full)
    with pytest.raises(OutputError, match="no space left on the disk"):
        train(tmp_path / "m")


@pytest.mark.parametrize("reason", ["CUDA out of memory. Tried to allocate 2 GiB", "can't allocate memory: 8 bytes"])
def test_too_little_memory(tmp_path, reason):
    with (
        pytest.raises(ModelError, match="not enough memory for this batch: lower --batch-size"),
        clear_errors(tmp_path),
    ):
        raise RuntimeError(reason)


def test_early_stopping_keeps_the_best_weights(tmp_path):
    folder = train(tmp_path / "m", dev="cldr-facts", dev_every=3, patience=1, steps=60, learning_rate=3e-3)
    facts = json.loads((folder / RECIPE_FILE).read_text())
    scores = [entry["eval_AP"] for entry in facts["dev"]]
    assert all("eval_rank_distance" in entry and "eval_AP_mono" in entry for entry in facts["dev"])
    assert facts["steps"] == 60 or scores[-1] <= max(scores[:-1])
    assert facts["kept_step"] == 3 * (scores.index(max(scores)) + 1)
    assert f"the weights are those of step {facts['kept_step']}" in (folder / "README.md").read_text()
    from sentence_transformers import SentenceTransformer

    from hbt_bench.training.evaluator import CollectionEvaluator

    evaluator = CollectionEvaluator(cldr.read("dev", ["de", "en", "sw"]), 32)
    assert evaluator(SentenceTransformer(str(folder), device="cpu"))["AP"] == pytest.approx(max(scores), abs=1e-6)


def test_short_run_is_evaluated_once(tmp_path):
    facts = json.loads((train(tmp_path / "m", dev="cldr-facts") / RECIPE_FILE).read_text())
    assert [entry["step"] for entry in facts["dev"]] == [12]


def test_matryoshka_larger_than_the_model(tmp_path):
    with pytest.raises(UsageError, match="goes up to the model's 32 dimensions"):
        train(tmp_path / "m", matryoshka=(64, 16))


def test_development_loss(tmp_path):
    folder = train(tmp_path / "m", dev_share=0.2, dev_measure="loss", dev_every=4)
    facts = json.loads((folder / RECIPE_FILE).read_text())
    assert [entry["step"] for entry in facts["dev"]] == [4, 8, 12]
    assert facts["dev"][-1]["eval_loss"] < facts["dev"][0]["eval_loss"] + 0.5


@pytest.mark.parametrize(
    "changes",
    [
        {"cached": 4},
        {"symmetric": True},
        {"matryoshka": (32, 16)},
        {"distillation": 1.0},
        {"strategy": "pair-per-row", "schedule": "cosine"},
        {"strategy": "mixed", "gradient_checkpointing": True},
        {
            "instruction": {"data": ["cldr-facts"], "when": "before", "share": 0.5},
            "data": [{"path": "a.jsonl", "query": "q", "passage": "p"}],
            "languages": None,
        },
        {"loss": "paper", "data": [{"path": "a.jsonl", "query": "q", "passage": "p", "negative": "n"}]},
    ],
)  # fmt: skip
def test_variants_train(tmp_path, changes):
    lines = [
        {"id": str(n), "texts": {code: {key: f"{code} {key} {n}" for key in "qpn"} for code in ("de", "en", "sw")}}
        for n in range(60)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    folder = train(tmp_path / "m", steps=4, folders=(tmp_path,), **changes)
    facts = json.loads((folder / RECIPE_FILE).read_text())
    assert facts["steps"] == 4
    assert all(loss > 0 for _, loss in facts["losses"])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"init": "./nowhere"}, UsageError, "there is no folder ./nowhere: give --init a folder"),
        ({"batch_size": 4000}, DataError, "fewer than a batch of 4000"),
        ({"languages": ("fr",)}, DataError, "cldr-facts has none of the languages fr: it has"),
        ({"languages": ("en", "fr")}, DataError, "no source has anything to train on in 'fr': leave the language out"),
        ({"init": "static:32", "cached": 4}, UsageError, "`cached` has no effect on a static: init"),
        ({"pivot": "xx"}, UsageError, "unknown language code 'xx'"),
        ({"loss": "paper"}, UsageError, "the loss `paper` needs hard negatives, and cldr-facts has none"),
        ({"guard": ("xquad",)}, UsageError, "--guard: unknown collection 'xquad'; did you mean 'xquad-r'"),
        ({"dev": "mlqa"}, UsageError, "--dev: unknown collection 'mlqa'; did you mean 'mlqa-r'"),
        ({"strategy": "cross-lingual", "languages": ("en",)}, UsageError, "cldr-facts has no pairs of two languages"),
        ({"data": ["cldr-facts", "cldr-facts"]}, UsageError, "two sources are called cldr-facts"),
    ],
)
def test_mistakes_are_found_before_loading(tmp_path, monkeypatch, changes, error, message):
    monkeypatch.setattr("hbt_bench.training.models.load", None)
    with pytest.raises(error) as caught:
        Training(Recipe.read(None, {**SMALL, **changes}), tmp_path / "m").run()
    assert message in str(caught.value)


def test_init_without_a_tokenizer(tmp_path, trained):
    bare = shutil.copytree(trained, tmp_path / "bare")
    for path in bare.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        train(tmp_path / "m", init=str(bare))


def test_trained_model_is_an_init(tmp_path, trained):
    folder = train(tmp_path / "m", init=str(trained), steps=1, learning_rate=1e-12)
    from safetensors.torch import load_file

    before, after = load_file(trained / "model.safetensors"), load_file(folder / "model.safetensors")
    assert before.keys() == after.keys()
    assert max(float((before[name] - after[name]).abs().max()) for name in before) < 1e-6


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_plain_transformers_folder_gets_the_recipes_pooling(tmp_path, pooling):
    from sentence_transformers import SentenceTransformer

    init = plain_bert(tmp_path / "bert")
    folder = train(tmp_path / "m", init=str(init), pooling=pooling, max_length=12, steps=1)
    model = SentenceTransformer(str(folder), device="cpu")
    assert model[1].get_config_dict()["pooling_mode"] == pooling
    assert model.max_seq_length == 12
    assert (model.prompts["query"], model.similarity_fn_name) == ("Query: ", "cosine")


def test_own_collection_for_development(tmp_path):
    """The collection is read in the languages that it shares with the recipe."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "pairs.yaml").write_text(
        "name: pairs\nsource: {kind: bitext, path: pairs.jsonl, languages: [de, en, fr], "
        "columns: {id: id, text: 'texts.{language}'}}\n"
    )
    rows = [{"id": str(n), "texts": {code: f"{code} {n}" for code in ("de", "en", "fr")}} for n in range(5)]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    registry = TaskRegistry([tmp_path / "tasks"])
    recipe = Recipe(**{**SMALL, "dev": "pairs", "languages": ("de", "en", "sw")})
    collection = dev_collection(recipe, (tmp_path, tmp_path / "data"), registry)  # the data is in the second folder
    assert (collection.name, collection.languages) == ("pairs", ("de", "en"))
    assert len(collection.queries) == 10


def test_languages_too_small_for_a_batch_are_logged(tmp_path, messages):
    codes = [("en", "de") if number < 5 else ("en",) for number in range(30)]
    rows = [
        {"id": str(number), "texts": {code: {"q": f"{code} {number}?", "p": f"{code} {number}."} for code in there}}
        for number, there in enumerate(codes)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = [{"path": "a.jsonl", "query": "q", "passage": "p"}]
    recipe = Recipe(**{**SMALL, "languages": None, "strategy": "monolingual", "steps": 2, "data": data})
    TrainingData.from_recipe(recipe, (tmp_path,))
    [message] = messages
    assert message.startswith("a has too few items for a whole batch in de-de (5)")


def test_guard_finds_and_drops_overlap(tmp_path, data_dir):
    leak = {"id": "1", "texts": {"en": {"q": "How many points did the Panthers defense surrender?", "p": "308"}}}
    clean = [{"id": str(n), "texts": {"en": {"q": f"q{n}", "p": f"p{n}"}}} for n in range(2, 40)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, [leak, *clean])))
    recipe = Recipe(
        **{**SMALL, "languages": None, "guard": ("xquad-r",), "strategy": "monolingual", "steps": 2,
           "data": [{"path": "a.jsonl", "query": "q", "passage": "p"}]}
    )  # fmt: skip
    training = Training(recipe, tmp_path / "m", (data_dir, tmp_path))
    with pytest.raises(
        DataError, match=r"a shares 1 texts with the evaluation collection xquad-r: 1 in en \(same text\)"
    ):
        training.run()
    Training(recipe, tmp_path / "m", (data_dir, tmp_path), drop_overlap=True).run()
    facts = json.loads((tmp_path / "m" / RECIPE_FILE).read_text())
    assert facts["dropped"] == [["a", "en", "same text, xquad-r", 1]]
    assert facts["guards"] == ["xquad-r"]
    assert "compared with the texts of xquad-r" in (tmp_path / "m" / "README.md").read_text()


def test_guard_with_bitext_and_one_language(tmp_path, monkeypatch):
    """A collection of pairs cannot be read in one language; its file has no URL and is in the data folder."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "pairs.yaml").write_text(
        "name: pairs\ntitle: Pairs\nmteb_name: Pairs\ndescription: Pairs.\nsource: {kind: bitext, path: pairs.jsonl, "
        "languages: [de, en], columns: {id: id, text: 'texts.{language}'}}\n"
    )
    rows = [{"id": str(n), "texts": {"en": f"sentence {n}", "de": f"Satz {n}"}} for n in range(5)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    records = [{"id": str(n), "texts": {"en": {"q": f"Sentence {n}!", "p": f"p{n}"}}} for n in range(3, 40)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
    registry = TaskRegistry([tmp_path / "tasks"])
    recipe = Recipe(
        **{**SMALL, "languages": ("en",), "guard": ("pairs",), "strategy": "monolingual", "steps": 2,
           "data": [{"path": "a.jsonl", "query": "q", "passage": "p"}]}
    )  # fmt: skip
    data = TrainingData.from_recipe(recipe, (tmp_path,), drop_overlap=True, registry=registry)
    assert data.dropped == {("a", "en", "same text, pairs"): 2}  # 3 and 4
    assert data.guards == ("pairs",)


WORKER = """
import atexit, json, os, sys, time
from pathlib import Path
import torch
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.run import Training
from hbt_bench.training import run_folder, trainer
seen, rank = [], os.environ.get("RANK", "0")
get = trainer.Rows.__getitem__
def spy(self, row):
    seen.append(row)
    return get(self, row)
trainer.Rows.__getitem__ = spy
save, mark = trainer.PlanTrainer._save_rng_state, run_folder.mark
def slow(self, folder):
    time.sleep(0.2 * int(rank))  # a process that writes its part of a checkpoint late
    save(self, folder)
def marked(folder, identity):
    mark(folder, identity)
    Path(sys.argv[2] + "-marked.txt").write_text((folder / run_folder.COMPLETE).read_text())
trainer.PlanTrainer._save_rng_state, run_folder.mark = slow, marked
def left():  # called last, after the exit handlers of training
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    state = [torch.distributed.is_initialized(), [name for name in threads if "gloo" in name]]
    Path(sys.argv[2] + f"-left-{rank}.json").write_text(json.dumps(state))
atexit.register(left)
recipe = Recipe(**json.loads(sys.argv[1]))
Training(recipe, Path(sys.argv[2])).run()
Path(sys.argv[2] + f"-rows-{rank}.json").write_text(json.dumps(seen))
"""


@pytest.mark.parametrize(
    "changes", [{"distillation": 1.0, "dev_share": 0.2, "dev_measure": "loss", "dev_every": 4}, {"pairs": "one"}]
)
def test_two_processes_train_like_one(tmp_path, changes):
    """Two gloo processes with half a batch each learn the same as one process; static, as dropout would differ."""
    changes = {"init": "static:32", "steps": 8, "learning_rate": 1e-2, **changes}
    for process in run_together(WORKER, [json.dumps({**SMALL, **changes}), tmp_path / "two"], tmp_path):
        assert process.returncode == 0, process.stderr[-3000:]
    assert {f"rng_state_{rank}.pth" for rank in range(2)} < set(
        json.loads((tmp_path / "two-marked.txt").read_text().partition("\n")[2])["files"]
    )
    for rank in range(2):  # the group and its threads end before Python exits
        assert json.loads((tmp_path / f"two-left-{rank}.json").read_text()) == [False, []]
    train(tmp_path / "one", **changes)
    rows = [json.loads((tmp_path / f"two-rows-{rank}.json").read_text()) for rank in range(2)]
    for step in range(8):
        if "dev_share" in changes:  # the first process also reads development rows
            break
        halves = [rows[rank][step * 8 : step * 8 + 8] for rank in range(2)]
        assert halves[0] + halves[1] == list(range(step * 16, step * 16 + 16))
    losses = [json.loads((tmp_path / name / RECIPE_FILE).read_text())["losses"] for name in ("one", "two")]
    assert [step for step, _ in losses[0]] == [step for step, _ in losses[1]]
    for (_, single), (_, double) in zip(*losses, strict=True):
        assert double == pytest.approx(single, abs=1e-4)
