"""Models by name: what is told before loading, and loading from the hub's cache."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hbt_bench.errors import ModelError, UsageError
from hbt_bench.mteb.models import ModelRequest
from tests.factories import COMMANDS_SCRIPT, TestEncoder, child_environment, hashed, torch_random_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def hub_cache(tmp_path_factory):
    """A hub cache that holds one model, as the hub's client lays it out."""
    home = tmp_path_factory.mktemp("hf")
    model = home / "hub" / "models--tests--tiny"
    torch_random_model(model / "snapshots" / COMMIT, seed=3)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(COMMIT)
    return home


#: The command lines that need a hub's cache, which its client looks for when it is imported; run by one process.
COMMANDS = {
    "tiny": "--model tests/tiny --tasks cldr-facts-multi --languages de,en --format json",
    "none": "--model tests/none --tasks cldr-facts-mono",
    "stock": "--model tests/tiny --tasks cldr-facts-mono,SciFact --languages de",
}


@pytest.fixture(scope="module")
def offline(hub_cache, tmp_path_factory):
    """Exit code, stdout and stderr of each command without the hub, and the folder of their outputs."""
    output = tmp_path_factory.mktemp("offline")
    commands = [["run", *line.split(), "--output", str(output / name)] for name, line in COMMANDS.items()]
    variables = {"HF_HOME": str(hub_cache), "HF_HUB_OFFLINE": "1", "HBT_BENCH_CACHE": str(output / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS_SCRIPT, json.dumps([commands, []])],
        env=child_environment() | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")  # no library writes beside what the command says
    return {name: found[:3] for name, found in zip(COMMANDS, json.loads(done.stdout), strict=True)}, output


def test_a_hub_model_keeps_its_commit(offline):
    found, output = offline
    code, out, err = found["tiny"]
    assert code == 0, err
    result = json.loads(out)["results"][0]
    assert (result["model"], result["revision"]) == ("tests/tiny", COMMIT)
    assert f"|model:tests/tiny@{COMMIT}|" in result["signature"]
    path = output / "tiny" / "tests__tiny" / COMMIT / "CldrFactsMultilingualRetrieval_de_en.json"
    assert result["path"] == str(path)


def test_a_hub_model_that_is_not_there_is_one_sentence(offline):
    code, out, err = offline[0]["none"]
    assert (code, out) == (4, "")
    assert err.count("\n") == 1
    assert err.startswith("hbt-bench: cannot load tests/none (neither a folder here nor loadable)")


def test_a_stock_task_and_ours_run_in_one_call(offline):
    """SciFact needs the hub: without it the error names the task, and what is done before stays."""
    found, output = offline
    code, _, err = found["stock"]
    assert code == 4
    assert "tests/tiny failed on SciFact" in err
    assert "Traceback" not in err
    assert len(list((output / "stock").rglob("CldrFactsMonolingualRetrieval_de.json"))) == 1


@pytest.mark.parametrize("name", ["nope", "./nope", "/nope/ckpt", "a/b/c", "~/nope"])
def test_what_can_be_no_model_is_told_at_once(name):
    with pytest.raises(UsageError, match="there is no such folder, and a hub name has the form organisation/model"):
        ModelRequest(name)


def test_a_mistyped_folder_is_suggested(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch_random_model(tmp_path / "runs" / "checkpoint", seed=1)
    with pytest.raises(UsageError, match="did you mean 'runs/checkpoint'"):
        ModelRequest("runs/chekpoint/")


def test_bm25_takes_no_prompts():
    with pytest.raises(UsageError, match="bm25 takes no prompts"):
        ModelRequest("bm25", query_prompt="query: ")


def test_options_that_the_model_has_no_use_for(tmp_path):
    with pytest.raises(UsageError, match="bm25 has no weights: leave --dtype out"):
        ModelRequest("bm25", dtype="fp16")
    dense = torch_random_model(tmp_path / "dense", seed=1)
    with pytest.raises(UsageError, match="dense is a folder, whose revision is its content"):
        ModelRequest(str(dense), revision=COMMIT)
    sparse = tmp_path / "sparse"
    sparse.mkdir()
    (sparse / "modules.json").write_text("[]")
    (sparse / "config_sentence_transformers.json").write_text('{"model_type": "SparseEncoder"}')
    with pytest.raises(UsageError, match="prompts by hand are for models that give one vector a text"):
        ModelRequest(str(sparse), document_prompt="passage: ")
    assert ModelRequest(str(sparse)).checkpoint.kind == "SparseEncoder"


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(ModelError, match="holds no model"):
        ModelRequest(str(tmp_path))


def test_a_revision_says_that_a_hub_model_is_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch_random_model(tmp_path / "runs" / "checkpoint", seed=1)
    assert ModelRequest("runs/chekpoint", revision="main").checkpoint is None
    with pytest.raises(UsageError, match="a hub model of that name is meant with --revision main"):
        ModelRequest("runs/chekpoint")


@pytest.fixture
def known(monkeypatch):
    """A model that MTEB knows, `tests/known` with prompts of its own; what it was asked to be loaded with."""
    import mteb
    from mteb.models import ModelMeta

    own = {"Retrieval-query": "find: ", "STS": "compare: ", "document": "text: "}
    asked = {}

    def load(name, revision=None, device=None, **options):
        asked.update(options, revision=revision)
        model = TestEncoder(hashed(), name)
        model.mteb_model_meta = model.mteb_model_meta.model_copy(update={"revision": revision})
        return model

    meta = ModelMeta.create_empty({"name": "tests/known"}).model_copy(update={"loader_kwargs": {"model_prompts": own}})
    monkeypatch.setattr(mteb, "get_model_meta", lambda name, **options: meta)
    monkeypatch.setattr(mteb, "get_model", load)
    return asked


def test_a_model_that_mteb_knows_is_loaded_by_mteb(known):
    model = ModelRequest("tests/known", revision=COMMIT).load()
    assert known == {"revision": COMMIT}
    assert (model.mteb_model_meta.name, model.mteb_model_meta.revision) == ("tests/known", COMMIT)
    assert model.mteb_model_meta.experiment_kwargs is None


def test_prompts_by_hand_replace_those_that_mteb_knows(known):
    request = ModelRequest("tests/known", revision=COMMIT, query_prompt="ask: ")
    meta = request.load().mteb_model_meta
    # MTEB would prefer the first of the three to the one that was given
    assert known["model_prompts"] == {"STS": "compare: ", "query": "ask: ", "document": "text: "}
    assert meta.experiment_kwargs == {"query_prompt": "ask: ", "prompts": request.prompt_label}


def test_code_of_its_own_is_said_to_mteb_and_marks_the_revision(known):
    meta = ModelRequest("tests/known", revision=COMMIT, trust_remote_code=True).load().mteb_model_meta
    assert known == {"revision": COMMIT, "trust_remote_code": True}
    assert meta.revision == f"{COMMIT}-remote-code"


def test_a_model_of_no_known_revision_has_no_scores_to_tell_apart(known):
    with pytest.raises(ModelError, match="the revision of tests/known is not known"):
        ModelRequest("tests/known").load()


def test_a_model_without_torch_has_no_precision_to_choose(known):
    with pytest.raises(UsageError, match="tests/known is no torch model whose precision could be chosen"):
        ModelRequest("tests/known", revision=COMMIT, dtype="bf16").load()


def test_bm25_searches_what_it_indexed():
    pytest.importorskip("bm25s", reason="needs the extra bm25")
    from datasets import Dataset

    model = ModelRequest("bm25").load()
    queries = Dataset.from_dict({"id": ["q", "r"], "text": ["salt", "sea honey"]})
    with pytest.raises(ModelError, match="before a corpus was indexed"):
        model.search(queries, top_k=2)
    texts = {"a": ("Salt", "of the sea"), "b": ("", "salt"), "c": ("", "bees make honey"), "d": ("", "nothing")}
    title, text = zip(*texts.values(), strict=True)
    model.index(Dataset.from_dict({"id": list(texts), "title": list(title), "text": list(text)}))
    found = model.search(queries, top_k=2)
    assert list(found["q"]) == ["b", "a"]  # the shorter one first
    assert set(found["r"]) == {"a", "c"}
    assert found["q"]["b"] > found["q"]["a"] > 0
    # of lists that are given, and of the same score the later id first, as trec_eval has it
    found = model.search(queries, top_k=2, top_ranked={"q": ["d", "c", "a"], "r": ["d"]})
    assert list(found["q"]) == ["a", "d"]
    assert found["r"] == {"d": 0.0}
