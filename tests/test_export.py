"""Test exports and model cards: MTEB and the hub must be able to read them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

import hbt_bench
from hbt_bench.cli.main import run as command
from hbt_bench.errors import OutputError
from hbt_bench.identity.checkpoint import Checkpoint
from hbt_bench.reports.card import updated_card
from hbt_bench.reports.export import export_mteb
from hbt_bench.results.store import Result, read_all
from tests.factories import torch_random_model

RESULTS = Path(__file__).parent / "fixtures" / "format-2"
WORDS = ("CrossLingual", "Monolingual", "Multilingual")


def read_results(folder=RESULTS):
    return [result for result in read_all(folder) if isinstance(result, Result)]


# MTEB's repository of results


def test_mteb_loads_the_export(tmp_path, capsys, monkeypatch):
    import mteb
    from mteb.results import TaskResult

    output = tmp_path / "submission"
    assert command(["export", str(RESULTS), "--for", "mteb-results", "--output", str(output)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{output}\n"
    assert "3 files" in captured.err
    assert f"mteb {mteb.__version__} has no task CldrFactsCrossLingualRetrieval_de_en, Cldr" in captured.err
    assert "Propose the tasks to MTEB first." in captured.err
    folder = output / "results" / "hbt-bench__bm25" / "k0.9-b0.4"
    assert sorted(path.name for path in folder.iterdir()) == [
        "CldrFactsCrossLingualRetrieval_de_en.json",
        "CldrFactsMonolingualRetrieval_de_en.json",
        "CldrFactsMultilingualRetrieval_de_en.json",
        "model_meta.json",
        "run_settings.jsonl",
    ]
    settings = [json.loads(line) for line in (folder / "run_settings.jsonl").read_text().splitlines()]
    assert [entry["task"] for entry in settings] == [f"CldrFacts{word}Retrieval_de_en" for word in WORDS]
    assert settings[0] == {
        "task": "CldrFactsCrossLingualRetrieval_de_en",
        "splits": ["test"],
        "version": {"mteb": "2.26.24", "hbt-bench": "0.1.0"},
        "encode_kwargs": {},
        "subsets": ["de-en", "en-de"],
    }
    expected = {result.mteb_name: result.scores["AP"] for result in read_results()}
    for name, score in expected.items():
        assert TaskResult.from_disk(folder / f"{name}.json").get_score() == pytest.approx(score, abs=1e-5)
    monkeypatch.setenv("MTEB_CACHE", str(output))
    loaded = mteb.load_results(download_latest=False, validate_and_filter=False)
    assert [model.model_name for model in loaded.model_results] == ["hbt-bench/bm25"]
    scores = {task.task_name: task.get_score() for task in loaded.model_results[0].task_results}
    assert scores == pytest.approx(expected, abs=1e-5)
    # hbt-bench itself reads them again
    assert {result.task for result in read_results(output)} == {result.task for result in read_results()}


def test_result_of_another_program_is_not_replaced(tmp_path, capsys):
    folder = tmp_path / "results" / "hbt-bench__bm25" / "k0.9-b0.4"
    folder.mkdir(parents=True)
    name = "CldrFactsMonolingualRetrieval_de_en.json"
    (folder / name).write_text('{"task_name": "CldrFactsMonolingualRetrieval_de_en"}')
    assert command(["export", str(RESULTS), "--for", "mteb-results", "--output", str(tmp_path)]) == 5
    assert f"{folder / name} was not exported by hbt-bench: choose another --output" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == [name]
    (folder / name).unlink()
    export_mteb(RESULTS, tmp_path)
    other = json.loads((folder / name).read_text())
    del other["hbt_bench"]
    (folder / "Other.json").write_text(json.dumps({**other, "task_name": "Other"}))
    (folder / "model_meta.json").write_text(
        '{"name": "hbt-bench/bm25", "revision": "k0.9-b0.4", "framework": ["mine"]}'
    )
    export_mteb(RESULTS, tmp_path)
    assert json.loads((folder / "model_meta.json").read_text())["framework"] == ["mine"]
    (folder / "Other.json").unlink()
    export_mteb(RESULTS, tmp_path)
    assert json.loads((folder / "model_meta.json").read_text())["framework"] != ["mine"]


@pytest.mark.parametrize("inner", ["", "export"])
def test_output_in_the_results_is_refused(tmp_path, capsys, inner):
    shutil.copytree(RESULTS, tmp_path / "results")
    output = tmp_path / "results" / inner
    assert command(["export", str(tmp_path / "results"), "--for", "mteb-results", "--output", str(output)]) == 2
    assert f"{output} is in {tmp_path / 'results'}, whose results would then be read twice" in capsys.readouterr().err
    assert len(read_results(tmp_path / "results")) == len(read_results())


def test_incomplete_and_damaged_results_are_left_out(tmp_path, capsys):
    shutil.copytree(RESULTS, tmp_path / "r")
    mono, cross = (next((tmp_path / "r").rglob(f"*{mode}*.json")) for mode in ("Mono", "Cross"))
    mono.write_text(mono.read_text().replace('"subsets": 2,', '"subsets": 3,', 1))
    cross.write_text(cross.read_text()[:500])
    arguments = ["export", str(tmp_path / "r"), "--for", "mteb-results", "--output"]
    assert command([*arguments, str(tmp_path / "out")]) == 0
    assert [path.name for path in (tmp_path / "out").rglob("*Retrieval*.json")] == [
        "CldrFactsMultilingualRetrieval_de_en.json"
    ]
    messages = capsys.readouterr().err
    assert "is incomplete (2 of 3 subsets)" in messages
    assert "or damaged" in messages
    for path in (tmp_path / "r").rglob("*Multi*.json"):
        path.unlink()
    assert command([*arguments, str(tmp_path / "none")]) == 5
    assert "no complete results" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_hub_is_a_line_of_pandas(tmp_path, capsys, monkeypatch):
    import pandas as pd

    assert command(["export", str(RESULTS), "--for", "hub"]) == 2
    line = f'hbt_bench.load_results("{RESULTS}").to_parquet("results.parquet")'
    assert capsys.readouterr().err.endswith(f"{line}\n")
    monkeypatch.chdir(tmp_path)
    exec(line, {"hbt_bench": hbt_bench})
    assert set(pd.read_parquet("results.parquet")["task"]) == {result.task for result in read_results()}


def copy_results(folder):
    """Copy the results, and return the folder of their files."""
    shutil.copytree(RESULTS, folder)
    return next(folder.rglob("*Multilingual*.json")).parent


def test_results_with_one_target_are_refused(tmp_path, capsys):
    """Results of two versions of hbt-bench are two rows of a leaderboard, but one file in the repository."""
    first, second = copy_results(tmp_path / "r" / "a"), copy_results(tmp_path / "r" / "b")
    for path in second.glob("*Retrieval*.json"):
        path.write_text(path.read_text().replace("|hbt:0.1.0", "|hbt:0.1.1"))
    assert command(["export", str(tmp_path / "r"), "--for", "mteb-results", "--output", str(tmp_path / "out")]) == 5
    message = capsys.readouterr().err
    assert "are of the same task, model and revision" in message
    assert str(first.relative_to(tmp_path)) in message
    assert str(second.relative_to(tmp_path)) in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["model_meta.json", "*.ranks.npz", "*Cross*.json"])
def test_targets_of_links_are_not_published(tmp_path, capsys, name):
    link = next(copy_results(tmp_path / "r").glob(name))
    secret = link.rename(tmp_path / "secret")
    link.symlink_to(secret)
    content = secret.read_bytes()
    code = command(["export", str(tmp_path / "r"), "--for", "mteb-results", "--output", str(tmp_path / "out")])
    if name == "*.ranks.npz":  # ranks are not exported
        assert code == 0
    else:
        assert code == 5
        assert f"{link.name} is a link" in capsys.readouterr().err
    assert not any(path.read_bytes() == content for path in (tmp_path / "out").rglob("*") if path.is_file())


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff", b"[" * 100_000])
def test_damaged_model_description_is_refused(tmp_path, capsys, content):
    path = copy_results(tmp_path / "r") / "model_meta.json"
    path.unlink() if content is None else path.write_bytes(content)
    code = command(["export", str(tmp_path / "r"), "--for", "mteb-results", "--output", str(tmp_path / "out")])
    message = capsys.readouterr().err
    assert code == 5
    assert "model_meta.json" in message
    assert "Evaluate again with --overwrite" in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("other task", "MTEB's ResultCache does not find CldrFacts.*, CldrFacts.* of hbt-bench/bm25 with all subsets"),
        ("broken file", "MTEB cannot read .*: .no such format"),
        ("empty cache", "MTEB's ResultCache does not find CldrFacts.*, CldrFacts.* of hbt-bench/bm25 with "),
        ("broken cache", "MTEB cannot read .*: .no such cache"),
    ],
)
def test_export_is_read_back_by_mteb(tmp_path, monkeypatch, fault, message):
    import mteb
    from mteb.results import TaskResult

    read, load = TaskResult.from_disk, mteb.ResultCache.load_results

    def fail(*arguments, **options):
        raise KeyError({"broken file": "no such format", "broken cache": "no such cache"}[fault])

    def read_other(path):
        return read(path).model_copy(update={"task_name": "Another"})

    def load_nothing(cache, **options):
        results = load(cache, **options)
        results.model_results = []
        return results

    if fault in ("other task", "broken file"):
        monkeypatch.setattr(TaskResult, "from_disk", read_other if fault == "other task" else fail)
    else:
        monkeypatch.setattr(mteb.ResultCache, "load_results", load_nothing if fault == "empty cache" else fail)
    with pytest.raises(OutputError, match=message):
        export_mteb(RESULTS, tmp_path / "out")


# Model cards


def entries(text):
    """Return the evaluation results of a card, read by huggingface_hub."""
    from huggingface_hub import ModelCard

    return ModelCard(text).data.eval_results


def test_new_card_is_read_by_the_hub(tmp_path):
    from huggingface_hub import ModelCard

    text = updated_card("", "ckpt", read_results())
    by_name = {(entry.dataset_name, entry.metric_type): entry for entry in entries(text)}
    assert len(by_name) == 3 * 3 + 1
    multi = by_name["cldr-facts-multi[de,en]", "rank_distance"]
    assert multi.metric_value == pytest.approx(137.6, abs=0.05)
    assert (multi.dataset_type, multi.dataset_config, multi.dataset_split) == ("hbt-bench/cldr-facts", "multi", "test")
    assert multi.metric_args["signature"].startswith("task:cldr-facts-multi[de,en]|")
    assert ModelCard(text).data.model_name == "ckpt"
    assert "| cldr-facts-mono\\[de,en\\] | 0.9547 [" in text
    assert "\ntask:cldr-facts-cross[de,en]|text:sentence|" in text
    assert updated_card(text, "ckpt", read_results()) == text


CARD = """---
license: mit      # a comment
tags:
- a
model-index:
- name: theirs
  results:
  - task:
      type: text-classification
    dataset:
      name: Other
      type: other/set
    metrics:
    - type: accuracy
      value: 0.5
language: [de, en]
---

# A model

Text before.
<!-- hbt-bench -->
old
<!-- /hbt-bench -->
Text after.
"""


def test_rest_of_a_card_stays_unchanged():
    text = updated_card(CARD, "ckpt", read_results())
    assert text.startswith("---\nlicense: mit      # a comment\ntags:\n- a\nmodel-index:\n- name: theirs\n")
    assert "\nlanguage: [de, en]\n---\n\n# A model\n\nText before.\n<!-- hbt-bench -->\n\n## Evaluation" in text
    assert text.endswith("<!-- /hbt-bench -->\nText after.\n")
    assert "\nold\n" not in text
    assert entries(text)[0].dataset_name == "Other"
    assert len(entries(text)) == 1 + 10
    assert updated_card(text, "ckpt", read_results()) == text
    fewer = updated_card(text, "ckpt", read_results()[:1])
    assert len(entries(fewer)) == 1 + 3


def test_metadata_and_block_are_added():
    text = updated_card("# Only text\n", "ckpt", read_results())
    assert text.startswith("---\nmodel-index:\n- name: ckpt\n")
    assert "\n---\n\n# Only text\n\n<!-- hbt-bench -->\n" in text
    windows = updated_card("---\r\nlicense: mit\r\n---\r\n# M\r\n", "ckpt", read_results())
    assert windows.startswith("---\r\nlicense: mit\r\nmodel-index:\r\n")
    assert "\n" not in windows.replace("\r\n", "")
    assert len(entries(windows)) == 10
    assert updated_card(windows, "ckpt", read_results()) == windows


@pytest.mark.parametrize(
    "metadata", ["license: mit\n", "model-index: []\n", "model-index:\n", "a: 1\n\nmodel-index:\n\nb: 2\n"]
)
def test_model_index_is_added_to_any_metadata(metadata):
    text = updated_card(f"---\n{metadata}---\nbody\n", "ckpt", read_results())
    values = yaml.safe_load(text.split("---\n")[1])
    assert {key: value for key, value in values.items() if key != "model-index"} == {
        key: value for key, value in yaml.safe_load(metadata).items() if key != "model-index"
    }
    assert len(values["model-index"][0]["results"]) >= 3
    assert "---\nbody\n" in text
    assert updated_card(text, "ckpt", read_results()) == text


def test_checkpoint_is_found_by_its_content(tmp_path, capsys):
    checkpoint = torch_random_model(tmp_path / "renamed", seed=5)
    (checkpoint / "README.md").unlink(missing_ok=True)
    assert command(["card", str(checkpoint), "--results", str(RESULTS)]) == 3
    assert f"there are no complete results of {checkpoint}" in capsys.readouterr().err
    revision = Checkpoint.from_folder(checkpoint).revision
    shutil.copytree(next(RESULTS.glob("*/*")), tmp_path / "r" / "local__ckpt" / revision)
    for path in (tmp_path / "r").rglob("*Retrieval*.json"):
        path.write_text(path.read_text().replace('"revision": "k0.9-b0.4"', f'"revision": "{revision}"', 1))
    assert command(["card", str(checkpoint), "--results", str(tmp_path / "r")]) == 0
    card = checkpoint / "README.md"
    assert capsys.readouterr().out == f"{card}\n"
    assert len(entries(card.read_text())) == 10
    shutil.copytree(tmp_path / "r", tmp_path / "r" / "copy")  # copies of a result count once
    assert command(["card", str(checkpoint), "--results", str(tmp_path / "r")]) == 0
    assert len(entries(card.read_text())) == 10
    assert "3 results have the same signature" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "r" / "copy")
    assert Checkpoint.from_folder(checkpoint).revision == revision
    before = card.stat().st_mtime_ns
    assert command(["card", str(checkpoint), "--results", str(tmp_path / "r")]) == 0
    assert card.stat().st_mtime_ns == before
    shared = card.rename(tmp_path / "shared.md")  # as in the hub's cache
    card.symlink_to(shared)
    assert command(["card", str(checkpoint), "--results", str(tmp_path / "r")]) == 5
    assert "README.md is a link" in capsys.readouterr().err
    card.unlink()
    for damage in ("[", "[" * 3000):
        card.write_text(f"---\na: {damage}\n---\n")
        assert command(["card", str(checkpoint), "--results", str(tmp_path / "r")]) == 5
        message = capsys.readouterr().err
        assert "its metadata or block is damaged" in message
        assert len(message.splitlines()) == 1


def test_recipe_values_without_json_are_left_out(tmp_path):
    """A result with such values would be damaged."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "hbt_bench_recipe.json").write_text(
        '{"strategy": "hybrid", "alpha": NaN, "steps": 1e999, "seed": 7, "init": "\\ud800", "\\udfff": 1, '
        f'"pairs_seen": {10**400}, "data": {{"a": "\\udc00"}}, "resumed": false}}'
    )
    assert Checkpoint(tmp_path).recipe == {"strategy": "hybrid", "seed": 7, "resumed": False}


def test_recipe_is_part_of_the_result(tmp_path):
    """The report draws scores against the settings of the recipe."""
    from hbt_bench.mteb.models import ModelRequest
    from hbt_bench.results.evaluate import Evaluation
    from hbt_bench.tasks.registry import select_tasks

    checkpoint = torch_random_model(tmp_path / "ckpt", seed=6)
    recipe = {"strategy": "hybrid", "alpha": 0.5, "seed": 3, "init": "x", "name": "y", "long": {"left": "out"}}
    recipe["data"] = {"tatoeba": "2b", "cldr-facts": "1a"}
    (checkpoint / "hbt_bench_recipe.json").write_text(json.dumps(recipe))
    [result] = Evaluation(ModelRequest(str(checkpoint)), select_tasks("cldr-facts-mono"), tmp_path / "r", ("sw",)).run()
    single = {key: recipe[key] for key in ("strategy", "alpha", "seed", "init", "name")}
    assert dict(result.training) == {**single, "data": "cldr-facts 1a, tatoeba 2b"}
    assert result.parameters == (1200 - 32 + 1) * 16
    assert result.speed > 0
    assert json.loads(result.path.read_text())["hbt_bench"]["device"].startswith("cpu")
