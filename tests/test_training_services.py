"""Guides, programs that log, and the upload to the hub."""

import json

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import CachedGISTEmbedLoss, GISTEmbedLoss

from hbt_bench.errors import OutputError, UsageError
from hbt_bench.training import losses
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.run import Training
from tests.factories import plain_bert

FAST = {"guard": (), "languages": ("de", "en"), "batch_size": 4, "steps": 2, "max_length": 16}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [str(plain_bert(folder / name)) for name in ("init", "guide")]


@pytest.fixture(scope="module")
def guided(models, tmp_path_factory):
    init, guide = models
    recipe = Recipe(init=init, loss="gist", guide=guide, **FAST)
    return recipe, Training(recipe, tmp_path_factory.mktemp("run") / "model").run()


def test_guide_filters_as_the_library_does(models, guided):
    init, guide = models
    model = SentenceTransformer(init, device="cpu").eval()
    texts = ["Who?", "Ann.", "What?", "Tea."]
    features = [model.preprocess(texts[:2]), model.preprocess(texts[2:])]
    loss = losses.build(guided[0], model, gather=False)
    expected = GISTEmbedLoss(model, SentenceTransformer(guide, device="cpu"), temperature=0.05)
    assert type(loss) is GISTEmbedLoss
    assert torch.equal(loss(features, None), expected(features, None))
    assert not any(weights.requires_grad for weights in loss.guide.parameters())
    cached = losses.build(guided[0].model_copy(update={"cached": 2}), model, gather=False)
    assert type(cached) is CachedGISTEmbedLoss


def test_model_depends_on_its_guide(guided, models, tmp_path, messages):
    recipe, folder = guided
    facts = json.loads((folder / "hbt_bench_recipe.json").read_text())
    assert facts["recipe"]["guide"] == "guide"  # no path of this machine
    assert Training(recipe, folder).run() == folder
    assert messages[-1].endswith("has this model already")
    other = plain_bert(tmp_path / "guide")
    with pytest.raises(UsageError, match="differs in guide"):
        Training(recipe.model_copy(update={"guide": str(other)}), folder).run()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "gist"}, "need each other"),
        ({"guide": "a/b"}, "need each other"),
        ({"loss": "gist", "guide": "a/b", "symmetric": True}, "cannot be combined"),
        ({"report_to": ["mlflow"]}, "must be 'tensorboard', 'wandb' or 'trackio'"),
    ],
)
def test_keys_that_do_not_fit(changes, message):
    with pytest.raises(UsageError, match=message):
        Recipe.read(None, changes)


def test_guide_takes_a_hard_negative_a_row(models, tmp_path):
    (tmp_path / "t.csv").write_text("q,p,a,b\n" + "".join(f"q{n},p{n},a{n},b{n}\n" for n in range(8)))
    source = {"path": "t.csv", "language": "en", "query": "q", "passage": "p", "negative": ["a", "b"]}
    keys = FAST | {"languages": None, "strategy": "monolingual"}
    recipe = Recipe(init=models[0], loss="gist", guide=models[1], data=[source], **keys)
    with pytest.raises(UsageError, match="takes a hard negative a row, and t has 2: set `max_negatives: 1`"):
        Training(recipe, tmp_path / "model", [tmp_path]).run()


def test_guide_with_random_weights(tmp_path):
    with pytest.raises(UsageError, match="name a trained model"):
        Training(Recipe(loss="gist", guide="static:8", **FAST), tmp_path / "model").run()


def test_programs_that_log(tmp_path, monkeypatch):
    recipe = Recipe(report_to=["trackio", "wandb"], **FAST)
    with pytest.raises(UsageError, match="needs the package trackio: run pip install trackio"):
        Training(recipe, tmp_path / "model").run()
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None if name == "wandb" else name)
        with pytest.raises(UsageError, match="needs the package wandb: run pip install wandb"):
            Training(recipe, tmp_path / "model").run()
    assert Training(recipe, tmp_path)._arguments().report_to == ["trackio", "wandb"]
    assert recipe.digest == Recipe(**FAST).digest


def test_machine_that_the_recipe_does_not_fit(tmp_path, monkeypatch, messages):
    """Machines with several GPUs, with a GPU without bf16, and with another precision in the settings of DeepSpeed."""
    recipe = Recipe(init="static:8", **(FAST | {"max_length": None}))
    with monkeypatch.context() as patch:
        patch.setattr("torch.cuda.is_available", lambda: True)
        patch.setattr("torch.cuda.is_bf16_supported", lambda *options, **more: False)
        with pytest.raises(UsageError, match="this GPU has no bf16: leave --precision out"):
            Training(recipe.model_copy(update={"precision": "bf16"}), tmp_path / "model").run()
    with monkeypatch.context() as patch:
        patch.setattr("transformers.TrainingArguments.n_gpu", property(lambda self: 2))
        assert Training(recipe, tmp_path / "model")._arguments()._n_gpu == 1
    assert "training uses 1 of 2 GPUs: start it with torchrun or accelerate to use all" in messages
    monkeypatch.setattr("accelerate.Accelerator.mixed_precision", property(lambda self: "fp16"))
    with pytest.raises(UsageError, match="accelerate trains in fp16, not in the recipe's `precision`"):
        Training(recipe, tmp_path / "model").run()


def test_upload(tmp_path, monkeypatch, messages):
    uploads = []

    class Hub:
        def __init__(self, token=None):
            pass

        def create_repo(self, repo_id, **options):
            return type("Url", (), {"repo_id": repo_id})()

        def upload_folder(self, *, repo_id, folder_path, **options):
            if len(uploads) > 1:
                raise OSError("no network")
            uploads.append((repo_id, folder_path))
            return type("Commit", (), {"oid": "1", "commit_url": "u", "repo_url": "u", "pr_url": None})()

    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    training = Training(
        Recipe(init="static:8", push_to_hub="ann/model", **(FAST | {"max_length": None})), tmp_path / "m"
    )
    with pytest.raises(UsageError, match="needs a token of the hub"):
        training.run()
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "secret")
    monkeypatch.setattr("sentence_transformers.base.model.HfApi", Hub)
    training.run()
    training.run()  # an upload that failed is repeated
    assert uploads == [("ann/model", str(tmp_path / "m"))] * 2
    with pytest.raises(OutputError, match=r"not in ann/model of the hub \(no network\): repeat the command"):
        training.run()
