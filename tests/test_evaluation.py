"""Evaluation: identity of models, results on disk, continuing after any interruption."""

from __future__ import annotations

import errno
import json
import os
import shutil
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from hbt_bench import files
from hbt_bench.cli.main import run
from hbt_bench.errors import DataError, ModelError, OutputError, UsageError
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.mteb.tasks import get_tasks
from hbt_bench.ranking.store import EmbeddingStore
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.results.store import Result, StoredRanks
from hbt_bench.tasks.registry import Selection, TaskRegistry, select_tasks
from tests.factories import LANGUAGES, evaluate, plain_bert, result_content, torch_random_model
from tests.forked import run_script
from tests.layouts import small_task


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Two different models whose folders have the same name, and a fine-tune whose card names its base."""
    root = tmp_path_factory.mktemp("models")
    first = torch_random_model(root / "a" / "ckpt", seed=1)
    second = torch_random_model(root / "b" / "ckpt", seed=2)
    (second / "README.md").write_text("---\nbase_model: local/ckpt\nmodel_name: local/ckpt\n---\n# local/ckpt\n")
    return first, second


def test_results_have_mteb_layout_ranks_and_signature(checkpoints, tmp_path):
    from mteb.results import TaskResult

    results = evaluate(checkpoints[0], tmp_path)
    assert [result.task for result in results] == [
        f"cldr-facts-{mode}[de,en,sw]" for mode in ("mono", "cross", "multi")
    ]
    multi = results[2]
    loaded = TaskResult.from_disk(multi.path)
    assert loaded.task_name == multi.mteb_name == "CldrFactsMultilingualRetrieval_de_en_sw"
    assert loaded.get_score() == pytest.approx(multi.scores["AP"], abs=1e-5)
    assert set(multi.subsets) == {"de-multi", "en-multi", "sw-multi"}
    assert multi.scores["rank_distance"] == pytest.approx(
        np.mean([scores["rank_distance"] for scores in multi.subsets.values()])
    )
    assert multi.path.parent == tmp_path / "local__ckpt" / multi.revision
    assert f"model:local/ckpt@{multi.revision}|prompt:none|ties:docid-desc" in multi.signature

    collection = TaskRegistry().specs["cldr-facts"].load(LANGUAGES)
    stored = StoredRanks.read(multi.path.parent / "CldrFactsRetrieval_de_en_sw.ranks.npz")
    assert stored.data == collection.fingerprint
    assert stored.judgements.query_blocks == collection.query_blocks
    assert np.array_equal(stored.judgements.questions, collection.questions)
    offsets = collection.qrels.offsets
    spans = [np.ptp(stored.ranks.pool[start:stop]) for start, stop in pairwise(offsets)]
    assert np.mean(spans[collection.query_blocks["sw"]]) == pytest.approx(
        multi.subsets["sw-multi"]["rank_distance"], abs=1e-5
    )
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes((multi.path.parent / "CldrFactsRetrieval_de_en_sw.ranks.npz").read_bytes()[:-100])
    with pytest.raises(OutputError, match="cannot read the ranks"):
        StoredRanks.read(damaged)
    damaged.unlink()
    with pytest.raises(OutputError, match=r"the ranks .*damaged\.npz are missing"):
        StoredRanks.read(damaged)


def test_different_checkpoints_never_share_a_result(checkpoints, tmp_path):
    first, second = (evaluate(checkpoint, tmp_path)[2] for checkpoint in checkpoints)
    assert first.model == second.model == "local/ckpt"
    assert first.revision != second.revision
    assert first.path != second.path
    assert first.scores["AP"] != second.scores["AP"]
    assert evaluate(checkpoints[0], tmp_path)[2].as_json() == first.as_json()


def test_given_prompts_have_separate_results(checkpoints, tmp_path):
    selections = select_tasks("cldr-facts-mono")
    plain = Evaluation(ModelRequest(str(checkpoints[0])), selections, tmp_path, LANGUAGES).run()[0]
    request = ModelRequest(str(checkpoints[0]), query_prompt="query: ")
    prompted = Evaluation(request, selections, tmp_path, LANGUAGES).run()[0]
    assert prompted.path != plain.path
    assert "experiments" in prompted.path.parts
    assert prompted.scores["AP"] != plain.scores["AP"]
    assert "|prompt:none|" in plain.signature
    assert "|prompt:none|" not in prompted.signature


def test_precision_is_part_of_the_revision(checkpoints, tmp_path):
    from hbt_bench.identity.signature import Signature
    from hbt_bench.reports.explain import explain

    selections = select_tasks("cldr-facts-mono")
    plain, half = (
        Evaluation(ModelRequest(str(checkpoints[0]), dtype=dtype), selections, tmp_path, ("en",)).run()[0]
        for dtype in (None, "bf16")
    )
    assert half.revision == f"{plain.revision}-bf16"
    assert half.path.parent != plain.path.parent
    assert f"@{plain.revision}-bf16|" in half.signature
    assert half.scores["AP"] != plain.scores["AP"]  # rounding to 8 bits moves some ranks
    assert half.scores["AP"] == pytest.approx(plain.scores["AP"], abs=0.05)
    assert "--dtype bf16" in explain(Signature.parse(half.signature)).command
    assert "--dtype" not in explain(Signature.parse(plain.signature)).command
    with pytest.raises(UsageError, match="bm25 has no weights"):
        ModelRequest("bm25", dtype="fp16")


def test_passage_prompts_are_used_for_documents(checkpoints, tmp_path):
    folder = tmp_path / "e5"
    shutil.copytree(checkpoints[0], folder)
    config = json.loads((folder / "config_sentence_transformers.json").read_text())
    config["prompts"] = {"query": "query: ", "passage": "passage: "}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(config))
    model = ModelRequest(str(folder)).load()
    assert model.model.prompts == {"query": "query: ", "document": "passage: "}
    assert model.model_prompts == {"query": "query: ", "document": "passage: "}


def test_finished_results_are_reused(checkpoints, tmp_path, monkeypatch):
    before = evaluate(checkpoints[0], tmp_path)
    times = [result.path.stat().st_mtime_ns for result in before]
    monkeypatch.setattr(ModelRequest, "load", lambda self: pytest.fail("the model was loaded"))
    assert same(evaluate(checkpoints[0], tmp_path), before)
    assert [result.path.stat().st_mtime_ns for result in before] == times


def test_damaged_result_is_written_again(checkpoints, tmp_path):
    before = evaluate(checkpoints[0], tmp_path)
    good = result_content(before[2].path)
    before[2].path.write_text(before[2].path.read_text()[:5000])
    assert same(evaluate(checkpoints[0], tmp_path), before)
    assert result_content(before[2].path) == good


def test_result_with_other_signature_is_replaced(checkpoints, tmp_path):
    result = evaluate(checkpoints[0], tmp_path, "cldr-facts-mono")[0]
    stored = json.loads(result.path.read_text())
    stored["hbt_bench"]["signature"] = stored["hbt_bench"]["signature"].replace("text:sentence", "text:other")
    del stored["hbt_bench"]["check"]
    stored["scores"]["test"][0]["AP"] = 2.0
    result.path.write_text(json.dumps(stored))
    assert evaluate(checkpoints[0], tmp_path, "cldr-facts-mono")[0].as_json() == result.as_json()


def test_vectors_are_removed_unless_kept(checkpoints, tmp_path):
    cache = tmp_path / os.environ["HBT_BENCH_CACHE"] / "embeddings"
    evaluate(checkpoints[0], tmp_path / "removed")
    assert not list(cache.rglob("*.safetensors"))
    evaluate(checkpoints[0], tmp_path / "kept", keep_embeddings=True)
    assert list(cache.rglob("*.safetensors"))


def test_command_states_that_no_vectors_were_kept(checkpoints, tmp_path, capsys):
    command = ["run", "--model", str(checkpoints[0]), "--tasks", "cldr-facts-mono", "--languages", "de"]
    message = "no vectors were kept, because the results exist already: add --overwrite"
    for options, stated in ([], False), (["--overwrite"], False), ([], True):
        assert run([*command, "--output", str(tmp_path), "--keep-embeddings", *options]) == 0
        assert (message in capsys.readouterr().err) == stated


def test_interrupted_run_reuses_its_vectors(checkpoints, tmp_path, monkeypatch):
    put = EmbeddingStore.put
    stored = []

    def failing_put(self, texts, role, language, vectors):
        if len(stored) == 4:
            raise KeyboardInterrupt
        stored.append(texts)
        put(self, texts, role, language, vectors)

    monkeypatch.setattr(EmbeddingStore, "put", failing_put)
    with pytest.raises(KeyboardInterrupt):
        evaluate(checkpoints[0], tmp_path)
    again = []
    monkeypatch.setattr(EmbeddingStore, "put", lambda self, texts, *rest: again.append(texts))
    evaluate(checkpoints[0], tmp_path)
    assert len(stored) == 4
    assert len(again) == 2  # queries and documents in three languages, one chunk each, are six
    assert not [texts for texts in again if texts in stored]


def same(results, others):
    """Return whether results are equal, with NaN equal to NaN (nAUC of a measure that never varies)."""
    return [result.as_json() for result in results] == [result.as_json() for result in others]


KILLER = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from hbt_bench.errors import OutputError
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.results.store import read_all
from hbt_bench.mteb import tasks
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.tasks.registry import select_tasks

torch.set_num_threads(1)  # threads do not survive a fork
output = Path(sys.argv[2])

def evaluate(output):
    child = os.fork()
    if child == 0:
        Evaluation(ModelRequest(sys.argv[1]), select_tasks(sys.argv[3]), output).run()
        os._exit(0)
    return child

started = time.monotonic()
os.waitpid(evaluate(output / "first"), 0)
whole = time.monotonic() - started
generator = random.Random(20)
files = 0
for moment in range(20):
    folder = output / f"round-{moment // 5}"  # five kills in the same folder
    child = evaluate(folder)
    if moment % 2:  # kill when the first result appears, however busy the machine is
        deadline = time.monotonic() + 10 * whole
        while not list(folder.rglob("*Retrieval*.json")) and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.02 * whole * generator.random())
    else:
        time.sleep(whole * generator.random())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    results = list(read_all(folder)) if folder.exists() else []
    files += len(results)
    damaged = [str(error) for error in results if isinstance(error, OutputError)]
    assert not damaged, damaged
for number in range(4):
    _, status = os.waitpid(evaluate(output / f"round-{number}"), 0)
    assert status == 0, status
print(files)
"""


def test_killed_runs_end_with_equal_results(checkpoints, tmp_path):
    """No file is ever unreadable, and the last JSON equals that of an undisturbed run, except for times."""
    task = str(small_task(tmp_path))
    undisturbed = evaluate(checkpoints[0], tmp_path / "undisturbed", task, languages=None)
    output = tmp_path / "killed"
    killer = run_script(KILLER, [checkpoints[0], output, task], tmp_path)
    assert killer.returncode == 0, killer.stderr
    assert int(killer.stdout) > 0  # some kills came after the first result
    for number in range(4):
        for expected in undisturbed:
            path = output / f"round-{number}" / expected.path.relative_to(tmp_path / "undisturbed")
            assert result_content(path) == result_content(expected.path)
            ranks = expected.path.parent / "SmallRetrieval.ranks.npz"
            assert (path.parent / ranks.name).read_bytes() == ranks.read_bytes()


def test_full_disk_keeps_the_old_result(checkpoints, tmp_path, monkeypatch):
    before = evaluate(checkpoints[0], tmp_path, "cldr-facts-mono")[0]
    content = before.path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OutputError, match="no space left"):
        evaluate(checkpoints[0], tmp_path, "cldr-facts-mono", overwrite=True)
    assert before.path.read_bytes() == content


def test_unwritable_output_fails_before_loading(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setattr(ModelRequest, "load", lambda self: pytest.fail("the model was loaded"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        evaluate(checkpoints[0], tmp_path / "file" / "results")


def test_missing_data_fail_before_loading(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setattr(ModelRequest, "load", lambda self: pytest.fail("the model was loaded"))
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match=r"raw\.githubusercontent\.com/google-research-datasets/lareqa"):
        evaluate(checkpoints[0], tmp_path / "results", "xquad-r-multi", None, data_dir=tmp_path / "data")


@pytest.mark.parametrize(
    ("tasks", "languages", "message"),
    [
        (
            "cldr-facts-cross",
            ("de",),
            r"cldr-facts-cross\[de\] has no queries .* in different languages: add a language",
        ),
        ("cldr-facts-mono[de>en]", None, r"cldr-facts-mono\[de>en\] has no queries .* in the same language"),
        ("cldr-facts-mono,cldr-facts-cross[de]", None, r"cldr-facts-cross\[de\] has no queries"),
    ],
)
def test_task_without_subsets_fails_before_loading(checkpoints, tmp_path, monkeypatch, tasks, languages, message):
    monkeypatch.setattr(ModelRequest, "load", lambda self: pytest.fail("the model was loaded"))
    for function in (partial(evaluate, checkpoints[0], tmp_path), get_tasks):
        with pytest.raises(UsageError, match=message):
            function(tasks, languages)


def test_mode_without_subsets_is_named_once(checkpoints, tmp_path, caplog):
    results = evaluate(checkpoints[0], tmp_path, languages=("de",))
    assert {result.mode: len(result.subsets) for result in results} == {"mono": 1, "cross": 0, "multi": 1}
    assert [record.message for record in caplog.records if "has no queries" in record.message] == [
        "cldr-facts-cross[de] has no queries with relevant documents in different languages, so it has no scores"
    ]


@pytest.mark.parametrize("depth", [0, -1, 2.5])
def test_depth_of_a_kept_run_is_a_whole_number(checkpoints, depth):
    with pytest.raises(UsageError, match=f"keep_run is {depth}, but must be a whole number from 1, or None for no run"):
        evaluate(checkpoints[0], "results", keep_run=depth)


def test_nan_vectors_leave_no_result(checkpoints, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "broken"
    shutil.copytree(checkpoints[0], folder)
    weights = {name: np.full_like(value, np.nan) for name, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match="returned NaN"):
        evaluate(folder, tmp_path / "results")
    assert not list((tmp_path / "results").rglob("*.json"))


def test_damaged_weights_are_an_error(checkpoints, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(checkpoints[0], folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot load") as caught:
        evaluate(folder, tmp_path / "results")
    assert "\n" not in str(caught.value)


def test_incomplete_result_is_evaluated_again(checkpoints, tmp_path):
    result = evaluate(checkpoints[0], tmp_path, "cldr-facts-cross")[0]
    stored = json.loads(result.path.read_text())
    del stored["scores"]["test"][0]
    summary = stored["hbt_bench"]
    summary["values"] = {key: column[1:] for key, column in summary["values"].items()}
    del summary["intervals"], summary["shares"], summary["check"]
    result.path.write_text(json.dumps(stored))
    assert not Result.read(result.path).complete
    assert evaluate(checkpoints[0], tmp_path, "cldr-facts-cross")[0].as_json() == result.as_json()


def test_transformers_folder_is_mean_pooled(tmp_path, capsys, messages):
    plain_bert(tmp_path / "bert")
    evaluation = Evaluation(
        ModelRequest(str(tmp_path / "bert")),
        select_tasks("cldr-facts-mono"),
        tmp_path / "results",
        ("en",),
    )
    result = evaluation.run()[0]
    assert 0 < result.scores["AP"] <= 1
    assert any("mean pooling" in message for message in messages)


@pytest.mark.parametrize("model", ["checkpoint", "bm25"])
def test_mteb_task_runs_with_ours(checkpoints, tmp_path, monkeypatch, model):
    """MTEB's mock of a retrieval task replaces a task from the hub."""
    import mteb
    from mteb.mocks.mock_tasks.retrieval import MockRetrievalTask

    name = MockRetrievalTask.metadata.name
    monkeypatch.setattr(mteb, "get_task", lambda task: MockRetrievalTask() if task == name else None)
    selections = [*select_tasks("cldr-facts-mono"), Selection(None, stock=name)]
    request = ModelRequest(str(checkpoints[0]) if model == "checkpoint" else "bm25")
    ours, stock = Evaluation(request, selections, tmp_path, ("en",)).run()
    assert (ours.task, stock.task, stock.mteb_name) == ("cldr-facts-mono[en]", name, name)
    assert stock.scores["main_score"] == pytest.approx(stock.scores["ndcg_at_10"])
    assert stock.signature.startswith(f"task:{name}|text:mteb|data:")
    assert "AP" not in stock.scores
    monkeypatch.setattr(mteb, "evaluate", lambda *rest, **named: pytest.fail("evaluated again"))
    again = Evaluation(request, selections, tmp_path, ("en",)).run()
    assert same(again, [ours, stock])


def configured(base, folder, prompts):
    """Copy a model and change the prompts in its configuration."""
    shutil.copytree(base, folder)
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "prompts": prompts}))
    return folder


@pytest.mark.parametrize(
    ("prompts", "options", "used"),
    [
        ({}, {}, ("", "")),
        ({"query": "q: ", "passage": "p: "}, {}, ("q: ", "p: ")),
        ({"query": "q: ", "passage": "p: "}, {"query_prompt": "Q: "}, ("Q: ", "p: ")),
        ({"Retrieval-query": "r: ", "query": "q: "}, {}, ("r: ", "")),
        ({"Retrieval-query": "r: "}, {"query_prompt": "Q: ", "document_prompt": "D: "}, ("Q: ", "D: ")),
        ({"Retrieval": "both: "}, {}, ("both: ", "both: ")),
    ],
)
def test_texts_have_the_prompts_of_the_signature(checkpoints, tmp_path, prompts, options, used):
    """Every text that the model encodes starts with the prompt that the result names."""
    from hbt_bench.identity.signature import Prompts

    folder = configured(checkpoints[0], tmp_path / "model", prompts)
    request = ModelRequest(str(folder), **options)
    assert request.prompts == Prompts(*used)
    seen = {"query": set(), "document": set()}
    model = request.load()
    encode = type(model.model).encode

    def spy(self, *texts, **named):
        seen[named["task"]].add(named.get("prompt") or "")
        return encode(self, *texts, **named)

    from hbt_bench.mteb.tasks import get_tasks

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.model), "encode", spy)
        task = get_tasks("cldr-facts-mono", languages=["en"])[0]
        task.evaluate(model, encode_kwargs={})
    assert seen == {"query": {used[0]}, "document": {used[1]}}


def test_similar_prompts_have_different_paths(checkpoints, tmp_path):
    selections = select_tasks("cldr-facts-mono")
    paths = set()
    for prompt in ("query: ", "query/ "):
        request = ModelRequest(str(checkpoints[0]), query_prompt=prompt)
        paths.add(Evaluation(request, selections, tmp_path, ("en",)).run()[0].path)
    assert len(paths) == 2


def test_missing_or_damaged_ranks_are_written_again(checkpoints, tmp_path):
    result = evaluate(checkpoints[0], tmp_path)[2]
    good = result.ranks.read_bytes()
    for damage in (lambda: result.ranks.unlink(), lambda: result.ranks.write_bytes(good[:-50])):
        damage()
        evaluate(checkpoints[0], tmp_path)
        assert result.ranks.read_bytes() == good


def test_cross_encoder_is_refused_before_loading(tmp_path, monkeypatch):
    monkeypatch.setattr(ModelRequest, "load", lambda self: pytest.fail("the model was loaded"))
    (tmp_path / "reranker").mkdir()
    (tmp_path / "reranker" / "config.json").write_text('{"architectures": ["BertForSequenceClassification"]}')
    with pytest.raises(ModelError, match="is a cross-encoder"):
        evaluate(tmp_path / "reranker", tmp_path / "results")


def test_unwritable_cache_fails_before_loading(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setattr(ModelRequest, "load", lambda self: pytest.fail("the model was loaded"))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HBT_BENCH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OutputError, match="set HBT_BENCH_CACHE to another folder"):
        evaluate(checkpoints[0], tmp_path / "results")
