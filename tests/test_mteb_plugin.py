"""Our tasks in MTEB's registries: names, metadata, benchmarks, tables, pickles, and MTEB's command line."""

from __future__ import annotations

import importlib
import pickle
import sys
from types import SimpleNamespace

import mteb
import pytest

import hbt_bench
import hbt_bench.mteb
from hbt_bench.cli.main import run
from hbt_bench.errors import UsageError
from hbt_bench.mteb import _AfterMteb, plugin
from tests.factories import TestEncoder, hashed

NAME = "cldr-facts[de,en,sw]"
SHIPPED = tuple(hbt_bench.register())


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return the benchmark, MTEB's results of a model that MTEB does not know, and the folder of its cache."""
    hbt_bench.register(NAME)
    benchmark = mteb.get_benchmark(f"hbt({NAME})")
    cache = mteb.ResultCache(tmp_path_factory.mktemp("cache"))
    mteb.evaluate(TestEncoder(hashed()), benchmark.tasks, cache=cache, show_progress_bar=False, co2_tracker=False)
    return benchmark, cache.load_results(tasks=benchmark, include_remote=False), cache


def test_tasks_are_found_by_name():
    task = mteb.get_task("XQuADRMultilingualRetrieval")
    assert (task.metadata.name, task.data_loaded, len(task.hf_subsets)) == ("XQuADRMultilingualRetrieval", False, 11)
    german = mteb.get_task("XQuADRCrossLingualRetrieval", hf_subsets=["de-en", "zh-de"])
    assert german.hf_subsets == ["de-en", "zh-de"]
    names = ["XQuADRMonolingualRetrieval", "MLQARMonolingualRetrieval"]
    greek = mteb.get_tasks(tasks=names, languages=["ell"])
    assert [task.hf_subsets for task in greek] == [["el"]]  # MLQA-R has no Greek
    listed = importlib.import_module("mteb.get_tasks").TASK_LIST
    assert set(names) <= {task.metadata.name for task in listed}


@pytest.mark.parametrize("name", SHIPPED)
def test_metadata_pass_checks_of_mteb(name):
    """The checks of MTEB's ``test_all_metadata_is_filled_and_valid``, without statistics, which need the data."""
    metadata = type(mteb.get_task(name)).metadata
    metadata._validate_metadata()
    assert metadata.is_filled()
    assert metadata.dataset.get("trust_remote_code", False) is False
    assert isinstance(metadata.simplified_task_type, str)
    assert metadata.bibtex_citation.startswith("@")
    assert all(len(code.split("-")[1]) == 4 for code in metadata.bcp47_codes)


@pytest.mark.parametrize("name", ["cldr-facts", "xquad-r", "mlqa-r[de,hi]", "cldr-facts[de>en,sw]+typos"])
def test_metadata_of_definition_are_those_of_data(name, data_dir):
    loaded = hbt_bench.get_tasks(name, data_dir=data_dir)
    loaded = [task for task in loaded if task.metadata.eval_langs]  # no queries of [de>en,sw] are monolingual
    for task, registered in zip(loaded, hbt_bench.register(name), strict=True):
        defined = mteb.get_task(registered).metadata.model_dump()
        read = task.metadata.model_dump()
        assert defined.pop("dataset")["path"] == read.pop("dataset")["path"]
        assert defined == read


def test_scores_are_those_of_get_tasks(results):
    _, loaded, _ = results
    model = TestEncoder(hashed())
    tasks = hbt_bench.get_tasks("cldr-facts", languages=["de", "en", "sw"])
    expected = mteb.evaluate(model, tasks, cache=None, show_progress_bar=False, co2_tracker=False).task_results
    scores = {task.task_name: task for task in loaded[0].task_results}
    assert len(scores) == 3
    for theirs in expected:
        ours = scores[theirs.task_name]
        assert ours.get_score() == pytest.approx(theirs.get_score(), abs=1e-6)
        assert ours.dataset_revision == theirs.dataset_revision == tasks[0].shared.collection.fingerprint


def test_summary_has_unknown_models_and_a_column_for_each_mode(results):
    benchmark, loaded, _ = results
    [row] = loaded.get_benchmark_result().to_dict("records")
    scores = {task.task_name: task.get_score() for task in loaded[0].task_results}
    modes = {label: scores[f"CldrFacts{word}Retrieval_de_en_sw"] for label, word in LABELS.items()}
    assert row["Model"] == "tests/encoder"
    assert row["Mean (Task)"] == pytest.approx(sum(scores.values()) / 3)
    assert {label: row[f"__cg__Mode::{label}"] for label in LABELS} == pytest.approx(modes)
    assert benchmark.get_score(loaded)["tests/encoder"]["Mode::Multilingual"] == pytest.approx(modes["Multilingual"])
    assert "tests/encoder" not in plugin.import_module("mteb.models.model_implementations").MODEL_REGISTRY
    frame = loaded._to_results_df(benchmark.tasks)
    assert benchmark._create_per_task_table(frame)["Model"].to_list() == ["tests/encoder"]
    assert set(benchmark._create_per_language_table(frame).columns) == {"Model", "deu-Latn", "eng-Latn", "swa-Latn"}


LABELS = {"Monolingual": "Monolingual", "Cross-lingual": "CrossLingual", "Multilingual": "Multilingual"}


def test_cached_results_are_not_evaluated_again(results):
    benchmark, _, cache = results
    model = TestEncoder(hashed())
    mteb.evaluate(model, benchmark.tasks, cache=cache, show_progress_bar=False, co2_tracker=False)
    assert model.encoded.total() == 0


def test_commands_read_the_cache_of_mteb(results, capsys):
    _, loaded, cache = results
    folder = str(cache.cache_path / "results")
    assert run(["leaderboard", folder, "--format", "csv"]) == 0
    header, row = capsys.readouterr().out.replace(f'"{NAME}"', "x").strip().splitlines()
    multi = float(dict(zip(header.split(","), row.split(","), strict=True))["multi AP"])
    scores = {task.task_name: task.get_score() for task in loaded[0].task_results}
    assert multi == pytest.approx(scores["CldrFactsMultilingualRetrieval_de_en_sw"], abs=1e-6)
    assert run(["compare", "tests/encoder@1", "bm25", "--tasks", NAME, "--results", folder]) == 3
    assert "without ranks. Run `hbt-bench run --model tests/encoder" in capsys.readouterr().err


def test_modes_share_a_pass(results):
    benchmark, _, _ = results
    model = TestEncoder(hashed(4))
    mteb.evaluate(model, benchmark.tasks, cache=None, show_progress_bar=False, co2_tracker=False)
    assert model.encoded == {"query": 3 * 182, "document": 3 * 182}


def test_tasks_survive_pickle(results):
    benchmark, _, _ = results
    task = mteb.get_task(benchmark.tasks[1].metadata.name, hf_subsets=["de-en"])
    copy = pickle.loads(pickle.dumps(task))
    assert type(copy) is type(task)
    assert (copy.hf_subsets, copy.metadata, copy.data_loaded) == (["de-en"], task.metadata, False)
    copy.load_data()
    again = pickle.loads(pickle.dumps(copy))
    assert (again.data_loaded, again.metadata.revision) == (False, copy.metadata.revision)
    assert pickle.loads(pickle.dumps(type(task))) is type(task)


def test_statistics_stay_outside_mteb(results, tmp_path, monkeypatch):
    benchmark, _, _ = results
    monkeypatch.setenv("HBT_BENCH_CACHE", str(tmp_path))
    task = mteb.get_task(benchmark.tasks[2].metadata.name)
    task.load_data()
    assert task.metadata.n_samples is None
    task.calculate_descriptive_statistics()
    assert task.metadata.n_samples == {"test": 3 * (182 + 3 * 182)}
    [path] = tmp_path.rglob("*.json")
    assert path.name == f"{task.metadata.name}.json"


def test_suites_are_benchmarks():
    names = {
        benchmark.name for benchmark in (mteb.get_benchmark("hbt(suite:paper)"), mteb.get_benchmark("hbt(mlqa-r)"))
    }
    assert names == {"hbt(suite:paper)", "hbt(mlqa-r)"}
    assert {task.metadata.name for task in mteb.get_benchmark("hbt(mlqa-r)")} == {
        "MLQARMonolingualRetrieval",
        "MLQARCrossLingualRetrieval",
        "MLQARMultilingualRetrieval",
    }
    assert "ArguAna" in {task.metadata.name for task in mteb.get_benchmark("hbt(suite:beir)")}
    assert mteb.get_benchmark("MTEB(eng, v2)").name == "MTEB(eng, v2)"
    with pytest.raises(KeyError, match=r"Did you mean: hbt\(xquad-r\)"):
        mteb.get_benchmark("hbt(xquad-rr)")


def test_models_trained_on_the_source_are_not_zero_shot():
    meta = mteb.get_model_meta("mteb/baseline-random-encoder").model_copy(
        update={"training_datasets": {"XQuADRetrieval"}}
    )
    assert not meta.is_zero_shot_on([mteb.get_task("XQuADRMultilingualRetrieval")])
    assert meta.is_zero_shot_on([mteb.get_task("NTREXMultilingualRetrieval")])


def test_registering_twice_changes_nothing():
    tasks = importlib.import_module("mteb.get_tasks")
    before = len(tasks.TASK_LIST)
    assert tuple(hbt_bench.register()) == SHIPPED
    assert len(tasks.TASK_LIST) == before
    assert len({task.metadata.name for task in tasks.TASK_LIST if task in plugin._REGISTERED.values()}) >= len(SHIPPED)
    with pytest.raises(UsageError, match="SciFact is a task of MTEB"):
        hbt_bench.register("SciFact")


def test_task_that_mteb_gains_is_kept(monkeypatch):
    registry = importlib.import_module("mteb.get_tasks")._TASKS_REGISTRY
    stock = SimpleNamespace(metadata=SimpleNamespace(eval_langs={"ha": ["hau-Latn"]}))
    monkeypatch.setitem(registry, "CldrFactsMonolingualRetrieval_ha_yo", stock)
    assert hbt_bench.register("cldr-facts-mono[ha,yo]") == ["CldrFactsMonolingualRetrieval_ha_yo"]
    assert registry["CldrFactsMonolingualRetrieval_ha_yo"] is stock


def test_hook_registers_after_the_import_of_mteb(monkeypatch):
    """The finder leaves other modules alone, and imports the plug-in after MTEB's module is executed."""
    steps = []

    def found(name):
        return SimpleNamespace(loader=SimpleNamespace(exec_module=lambda module: steps.append("mteb")))

    monkeypatch.setattr(hbt_bench.mteb, "find_spec", found)
    monkeypatch.setattr(hbt_bench.mteb, "import_module", steps.append)
    finder = _AfterMteb()
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    assert finder.find_spec("mteb.models") is None
    finder.find_spec("mteb")  # a question whether MTEB is installed
    assert steps == []
    finder.find_spec("mteb").loader.exec_module(None)
    assert steps == ["mteb", "hbt_bench.mteb.plugin"]
    assert finder not in sys.meta_path


# The command line


def test_command_is_that_of_mteb(tmp_path, capsys):
    arguments = ["run", "-m", "mteb/baseline-random-encoder", "-t", "CldrFactsMonolingualRetrieval", "-l", "deu"]
    assert run(["mteb", *arguments, "--output-folder", str(tmp_path), "--verbosity", "0"]) == 0
    [path] = tmp_path.rglob("CldrFacts*.json")
    assert mteb.TaskResult.from_disk(path).hf_subsets == ["de"]
    assert run(["mteb", "available-benchmarks", "-b", "hbt(xquad-r)"]) == 0
    assert "XQuADRCrossLingualRetrieval, t2t, multilingual 110 / 110 Subsets" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 0, "available-tasks"),
        (["--help"], 0, "available-tasks"),
        (["ran"], 2, "invalid choice: 'ran'"),
        (["run", "-t", "XQuADRMultilingualRetrieval"], 2, "mteb run needs a model: add -m"),
        (
            ["available-tasks", "-t", "XQuADRMultilingual"],
            2,
            "hbt-bench: mteb: KeyError: 'XQuADRMultilingual' not found",
        ),
    ],
)
def test_mistakes_have_exit_codes(arguments, code, message, capsys):
    assert run(["mteb", *arguments]) == code
    captured = capsys.readouterr()
    assert message in captured.out + captured.err
    assert "Traceback" not in captured.err
