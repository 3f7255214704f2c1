"""A task as a pull request to MTEB: MTEB alone, on the exported folder, has the scores of our task."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys

import pytest
from mteb.abstasks.task_metadata import TaskMetadata

from hbt_bench import get_tasks
from hbt_bench.cli.main import run
from hbt_bench.errors import OutputError, UsageError
from hbt_bench.reports.mteb_task import export_task
from hbt_bench.tasks.registry import TaskRegistry
from tests.factories import child_environment, evaluate, torch_random_model

NAME = "cldr-facts-multi[de,en]"
MTEB_NAME = "CldrFactsMultilingualRetrieval_de_en"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return the folder of an export."""
    output = tmp_path_factory.mktemp("pull-request")
    arguments = ["--for", "mteb-task", NAME, "--hub", "org/cldr-facts-multi", "--revision", "abc123"]
    assert run(["export", *arguments, "--output", str(output)]) == 0
    return output


def task_of(folder):
    [path] = folder.glob("mteb/tasks/retrieval/multilingual/*.py")
    assert "hbt" not in path.read_text()
    return runpy.run_path(str(path))[MTEB_NAME]()


#: Evaluates a model on a task file as a user of MTEB does who has no hbt-bench; writes its scores as JSON.
STOCK_SCRIPT = """
import sys
sys.modules["hbt_bench"] = None  # an import of it, or of a module below it, raises ImportError
import json, runpy
from pathlib import Path
import mteb
from mteb.abstasks.retrieval import AbsTaskRetrieval
from sentence_transformers import SentenceTransformer

path, name, data, model, scores = sys.argv[1:]
task = runpy.run_path(path)[name]()
assert type(task).__bases__ == (AbsTaskRetrieval,)
task.metadata = task.metadata.model_copy(update={"dataset": {"path": data, "revision": "main"}})
model = SentenceTransformer(model, device="cpu")
[result] = mteb.evaluate(model, task, cache=None, show_progress_bar=False, co2_tracker=False).task_results
assert [module for module in sys.modules if module.startswith("hbt_bench")] == ["hbt_bench"]
Path(scores).write_text(json.dumps(result.scores))
"""


def test_mteb_without_hbt_bench_has_the_same_scores(exported, tmp_path):
    model = torch_random_model(tmp_path / "model", seed=3)
    [path] = exported.glob("mteb/tasks/retrieval/multilingual/*.py")
    arguments = [path, MTEB_NAME, exported / "dataset", model, tmp_path / "scores.json"]
    environment = child_environment() | {"HF_DATASETS_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", STOCK_SCRIPT, *map(str, arguments)]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as child:
        [result] = evaluate(model, tmp_path / "results", tasks=NAME, languages=None)
        _, errors = child.communicate()
    assert child.returncode == 0, errors
    theirs, own = (json.loads(file.read_text()) for file in (tmp_path / "scores.json", result.path))
    ours = {entry["hf_subset"]: entry for entry in own["scores"]["test"]}
    assert [entry["hf_subset"] for entry in theirs["test"]] == list(ours) == ["de-multi", "en-multi"]
    for entry in theirs["test"]:
        subset = ours[entry["hf_subset"]]
        assert 0 < entry["main_score"] == entry["ndcg_at_10"] < 1
        scores = {key: value for key, value in entry.items() if isinstance(value, float) and key != "main_score"}
        assert scores == pytest.approx({key: subset[key] for key in scores}, abs=1e-5, nan_ok=True)
        assert len(scores) > 125


def test_metadata_are_those_of_our_task(exported):
    task, [ours] = task_of(exported), get_tasks(NAME)
    assert task.metadata.dataset == {"path": "org/cldr-facts-multi", "revision": "abc123"}
    assert task.metadata.main_score == "ndcg_at_10"
    changed = {"dataset", "main_score", "bibtex_citation"}
    assert task.metadata.model_dump(exclude=changed) == ours.metadata.model_dump(exclude=changed)
    assert task.metadata.bibtex_citation.strip() == ours.metadata.bibtex_citation.strip()
    task.metadata._validate_metadata()
    assert task.metadata.is_filled()


def test_statistics_are_those_that_mteb_checks(exported, monkeypatch):
    """MTEB's ``test_empty_descriptive_stat_in_new_datasets``, with the file at its place in MTEB."""
    [path] = exported.glob(f"mteb/descriptive_stats/Retrieval/{MTEB_NAME}.json")
    metadata = task_of(exported).metadata
    assert metadata.descriptive_stat_path.parts[-3:] == path.parts[-3:]
    monkeypatch.setattr(TaskMetadata, "descriptive_stat_path", path)
    assert metadata.n_samples == {"test": 2 * 3 * 182}
    statistics = metadata.descriptive_stats["test"]
    assert (statistics["num_queries"], statistics["num_documents"]) == (2 * 182, 2 * 2 * 182)
    assert statistics["hf_subset_descriptive_stats"]["de-multi"]["num_documents"] == 2 * 182
    assert statistics["relevant_docs_statistics"]["average_relevant_docs_per_query"] == 2.0


def test_files_of_a_language_are_shared(exported):
    names = {path.relative_to(exported / "dataset").as_posix() for path in (exported / "dataset").rglob("*.parquet")}
    assert names == {f"{part}/{code}.parquet" for part in ("corpus", "queries") for code in ("de", "en")} | {
        "qrels/de-multi.parquet",
        "qrels/en-multi.parquet",
    }
    card = (exported / "dataset" / "README.md").read_text()
    assert "license: other" in card
    assert "- config_name: en-multi-corpus" in card
    text = (exported / "PULL_REQUEST.md").read_text()
    assert "hf upload org/cldr-facts-multi dataset . --repo-type dataset" in text
    assert "loaded 2 of 2 subsets" in text


@pytest.mark.parametrize(
    ("name", "hub", "message"),
    [
        ("cldr-facts[de,en]", "a/b", r"name a mode, such as cldr-facts-multi\[de,en\]"),
        ("SciFact", "a/b", "is not a single task of hbt-bench"),
        (NAME, "cldr", "give it as ORG/NAME"),
    ],
)
def test_other_requests_are_refused(name, hub, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        export_task(name, hub, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_brackets_in_the_path_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"has \[ in its path"):
        export_task(NAME, "a/b", tmp_path / "x[1]")


def test_data_of_another_export_are_refused(tmp_path):
    (tmp_path / "dataset" / "corpus").mkdir(parents=True)
    (tmp_path / "dataset" / "corpus" / "sw.parquet").touch()
    with pytest.raises(OutputError, match=r"sw\.parquet belongs to another export"):
        export_task(NAME, "a/b", tmp_path)


def test_repository_is_needed(capsys):
    assert run(["export", "--for", "mteb-task", NAME]) == 2
    assert "Add --hub ORG/NAME" in capsys.readouterr().err


def test_missing_metadata_are_named(tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine\nsource: {kind: cldr}\nmetadata: {license: cc-by-4.0}\n")
    with pytest.raises(UsageError, match="the definition of mine has no reference, date, domains"):
        export_task("mine-multi", "a/b", tmp_path / "out", registry=TaskRegistry([tmp_path]))
