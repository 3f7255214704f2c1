"""Models by name: checks before loading, and loading from the hub's cache."""

from __future__ import annotations

import json
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import pytest

from hbt_bench.cli.main import run
from hbt_bench.errors import ModelError, UsageError
from hbt_bench.mteb.models import ModelRequest
from tests.factories import TestEncoder, hashed, torch_random_model

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


#: Command lines that need the hub's cache.
COMMANDS = {
    "tiny": "--model tests/tiny --tasks cldr-facts-multi --languages de,en --format json",
    "none": "--model tests/none --tasks cldr-facts-mono",
    "stock": "--model tests/tiny --tasks cldr-facts-mono,SciFact --languages de",
}


@pytest.fixture(scope="module")
def offline(hub_cache, tmp_path_factory):
    """The exit code, stdout and stderr of each command without the hub, and the folder of their outputs."""
    output = tmp_path_factory.mktemp("offline")
    outcomes = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENTENCE_TRANSFORMERS_HOME", str(hub_cache / "hub"))
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub_cache / "hub"))
        patch.setenv("HBT_BENCH_CACHE", str(output / "cache"))
        for name, line in COMMANDS.items():
            with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
                code = run(["run", *line.split(), "--output", str(output / name)])
            outcomes[name] = code, out.getvalue(), err.getvalue()
    return outcomes, output


def test_hub_model_keeps_its_commit(offline):
    outcomes, output = offline
    code, out, err = outcomes["tiny"]
    assert code == 0, err
    result = json.loads(out)["results"][0]
    assert (result["model"], result["revision"]) == ("tests/tiny", COMMIT)
    assert f"|model:tests/tiny@{COMMIT}|" in result["signature"]
    path = output / "tiny" / "tests__tiny" / COMMIT / "CldrFactsMultilingualRetrieval_de_en.json"
    assert result["path"] == str(path)


def test_missing_hub_model_is_an_error(offline):
    code, out, err = offline[0]["none"]
    assert (code, out) == (4, "")
    assert err.count("\n") == 1
    assert err.startswith("hbt-bench: cannot load tests/none (neither a folder nor loadable)")


def test_mteb_task_and_ours_in_one_run(offline):
    """SciFact needs the hub. The error names the task, and results before it stay."""
    outcomes, output = offline
    code, _, err = outcomes["stock"]
    assert code == 4
    assert "tests/tiny failed on SciFact" in err
    assert "Traceback" not in err
    assert len(list((output / "stock").rglob("CldrFactsMonolingualRetrieval_de.json"))) == 1


@pytest.mark.parametrize("name", ["nope", "./nope", "/nope/ckpt", "a/b/c", "~/nope"])
def test_impossible_name_is_refused_at_once(name):
    with pytest.raises(UsageError, match="there is no such folder, and a hub name has the form organisation/model"):
        ModelRequest(name)


def test_mistyped_folder_is_suggested(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch_random_model(tmp_path / "runs" / "checkpoint", seed=1)
    with pytest.raises(UsageError, match="did you mean 'runs/checkpoint'"):
        ModelRequest("runs/chekpoint/")


def test_bm25_takes_no_prompts():
    with pytest.raises(UsageError, match="bm25 takes no prompts"):
        ModelRequest("bm25", query_prompt="query: ")


def test_options_that_do_not_apply_are_refused(tmp_path):
    with pytest.raises(UsageError, match="bm25 has no weights"):
        ModelRequest("bm25", dtype="fp16")
    dense = torch_random_model(tmp_path / "dense", seed=1)
    with pytest.raises(UsageError, match="dense is a folder"):
        ModelRequest(str(dense), revision=COMMIT)
    sparse = tmp_path / "sparse"
    sparse.mkdir()
    (sparse / "modules.json").write_text("[]")
    (sparse / "config_sentence_transformers.json").write_text('{"model_type": "SparseEncoder"}')
    with pytest.raises(UsageError, match="prompts are for models with one vector per text"):
        ModelRequest(str(sparse), document_prompt="passage: ")
    assert ModelRequest(str(sparse)).checkpoint.kind == "SparseEncoder"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("modules.json", [{"idx": 0, "name": "0", "path": "", "type": "own.Own"}]),
        ("config.json", {"auto_map": {"AutoModel": "modeling.Own"}}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["tokens.Own", None]}}),
        ("adapter_config.json", {"base_model_name_or_path": "org/base"}),
    ],
)
def test_remote_code_is_for_models_with_code(tmp_path, name, content):
    folder = torch_random_model(tmp_path / "dense", seed=1)
    with pytest.raises(UsageError, match=r"--trust-remote-code has no effect on .*dense, which has no code"):
        ModelRequest(str(folder), trust_remote_code=True)
    (folder / name).write_text(json.dumps(content))
    assert ModelRequest(str(folder), trust_remote_code=True).identity[1].endswith("-remote-code")


def test_folder_without_model(tmp_path):
    with pytest.raises(ModelError, match="holds no model"):
        ModelRequest(str(tmp_path))


def test_revision_marks_a_hub_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch_random_model(tmp_path / "runs" / "checkpoint", seed=1)
    assert ModelRequest("runs/chekpoint", revision="main").checkpoint is None
    with pytest.raises(UsageError, match="add --revision main"):
        ModelRequest("runs/chekpoint")


@pytest.fixture
def loaded_with(monkeypatch):
    """The options with which MTEB loads `tests/known`, a model that it knows, with prompts."""
    import mteb
    from mteb.models import ModelMeta

    prompts = {"Retrieval-query": "find: ", "STS": "compare: ", "document": "text: "}
    used = {}

    def load(name, revision=None, device=None, **options):
        used.update(options, revision=revision)
        model = TestEncoder(hashed(), name)
        model.mteb_model_meta = model.mteb_model_meta.model_copy(update={"revision": revision})
        return model

    meta = ModelMeta.create_empty({"name": "tests/known"}).model_copy(
        update={"loader_kwargs": {"model_prompts": prompts}}
    )
    monkeypatch.setattr(mteb, "get_model_meta", lambda name, **options: meta)
    monkeypatch.setattr(mteb, "get_model", load)
    return used


def test_mteb_loads_models_that_it_knows(loaded_with):
    model = ModelRequest("tests/known", revision=COMMIT).load()
    assert loaded_with == {"revision": COMMIT}
    assert (model.mteb_model_meta.name, model.mteb_model_meta.revision) == ("tests/known", COMMIT)
    assert model.mteb_model_meta.experiment_kwargs is None


def test_given_prompts_replace_those_of_mteb(loaded_with):
    request = ModelRequest("tests/known", revision=COMMIT, query_prompt="ask: ")
    meta = request.load().mteb_model_meta
    # MTEB would prefer Retrieval-query to the prompt given by hand
    assert loaded_with["model_prompts"] == {"STS": "compare: ", "query": "ask: ", "document": "text: "}
    assert meta.experiment_kwargs == {"prompts": request.prompt_label}


def test_remote_code_marks_the_revision(loaded_with):
    meta = ModelRequest("tests/known", revision=COMMIT, trust_remote_code=True).load().mteb_model_meta
    assert loaded_with == {"revision": COMMIT, "trust_remote_code": True}
    assert meta.revision == f"{COMMIT}-remote-code"


def test_unknown_revision_is_refused(loaded_with):
    with pytest.raises(ModelError, match="the revision of tests/known is unknown"):
        ModelRequest("tests/known").load()


def test_dtype_needs_a_torch_model(loaded_with):
    with pytest.raises(UsageError, match="tests/known is not a torch model"):
        ModelRequest("tests/known", revision=COMMIT, dtype="bf16").load()


def test_bm25_search():
    pytest.importorskip("bm25s", reason="needs the extra bm25")
    from datasets import Dataset

    model = ModelRequest("bm25").load()
    queries = Dataset.from_dict({"id": ["q", "r"], "text": ["salt", "sea honey"]})
    with pytest.raises(ModelError, match="needs an index"):
        model.search(queries, top_k=2)
    texts = {"a": ("Salt", "of the sea"), "b": ("", "salt"), "c": ("", "bees make honey"), "d": ("", "nothing")}
    title, text = zip(*texts.values(), strict=True)
    model.index(Dataset.from_dict({"id": list(texts), "title": list(title), "text": list(text)}))
    run = model.search(queries, top_k=2)
    assert list(run["q"]) == ["b", "a"]  # the shorter document first
    assert set(run["r"]) == {"a", "c"}
    assert run["q"]["b"] > run["q"]["a"] > 0
    # candidates from lists; equal scores are ranked by id, descending, as trec_eval does
    run = model.search(queries, top_k=2, top_ranked={"q": ["d", "c", "a"], "r": ["d"]})
    assert list(run["q"]) == ["a", "d"]
    assert run["r"] == {"d": 0.0}
