"""Exports and model cards: read back by the programs they are for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from hbt_bench.cli.main import run as command
from hbt_bench.errors import OutputError
from hbt_bench.identity.checkpoint import Checkpoint
from hbt_bench.reports.card import updated
from hbt_bench.reports.export import export_mteb
from hbt_bench.results.store import Result, read_all
from tests.factories import torch_random_model

NEW = Path(__file__).parent / "fixtures" / "format-2"


def results(folder=NEW):
    return [one for one in read_all(folder) if isinstance(one, Result)]


# MTEB's repository of results


def test_mteb_loads_what_is_exported(tmp_path, capsys, monkeypatch):
    import mteb
    from mteb.results import TaskResult

    output = tmp_path / "submission"
    assert command(["export", str(NEW), "--for", "mteb-results", "--output", str(output)]) == 0
    told = capsys.readouterr()
    assert told.out == f"{output}\n"
    assert "3 files" in told.err
    assert "CldrFactsCrossLingualRetrieval_de_en, CldrFactsMonolingualRetrieval_de_en, " in told.err
    assert (
        f": mteb {mteb.__version__} has no such task, and the repository takes results of tasks that mteb" in told.err
    )
    assert "so it would not accept these as they are: propose the tasks to mteb first" in told.err
    folder = output / "results" / "hbt-bench__bm25" / "k0.9-b0.4"
    assert sorted(path.name for path in folder.iterdir()) == [
        "CldrFactsCrossLingualRetrieval_de_en.json",
        "CldrFactsMonolingualRetrieval_de_en.json",
        "CldrFactsMultilingualRetrieval_de_en.json",
        "model_meta.json",
    ]
    expected = {result.mteb_name: result.scores["AP"] for result in results()}
    for name, score in expected.items():
        assert TaskResult.from_disk(folder / f"{name}.json").get_score() == pytest.approx(score, abs=1e-5)
    monkeypatch.setenv("MTEB_CACHE", str(output))
    loaded = mteb.load_results(download_latest=False, validate_and_filter=False)
    assert [model.model_name for model in loaded.model_results] == ["hbt-bench/bm25"]
    found = {task.task_name: task.get_score() for task in loaded.model_results[0].task_results}
    assert found == pytest.approx(expected, abs=1e-5)
    # and hbt-bench itself reads them again
    assert {one.task for one in results(output)} == {one.task for one in results()}


def test_incomplete_and_damaged_results_stay_behind(tmp_path, capsys):
    shutil.copytree(NEW, tmp_path / "r")
    mono, cross = (next((tmp_path / "r").rglob(f"*{mode}*.json")) for mode in ("Mono", "Cross"))
    mono.write_text(mono.read_text().replace('"subsets": 2,', '"subsets": 3,', 1))
    cross.write_text(cross.read_text()[:500])
    arguments = ["export", str(tmp_path / "r"), "--for", "mteb-results", "--output", str(tmp_path / "out")]
    assert command(arguments) == 0
    assert [path.name for path in (tmp_path / "out").rglob("*Retrieval*.json")] == [
        "CldrFactsMultilingualRetrieval_de_en.json"
    ]
    told = capsys.readouterr().err
    assert "is incomplete (2 of 3 subsets)" in told
    assert "or damaged" in told
    import pandas as pd

    assert command(["export", str(tmp_path / "r"), "--for", "hub", "--output", str(tmp_path / "x")]) == 0
    assert "is incomplete (2 of 3 subsets)" in capsys.readouterr().err
    frame = pd.read_parquet(tmp_path / "x" / "data" / "results.parquet")
    assert set(frame["task"]) == {"cldr-facts-multi[de,en]"}  # neither the incomplete one nor the damaged
    assert set(frame["subset"]) == {"all", "de-multi", "en-multi"}
    assert command(["export", str(tmp_path / "none"), "--for", "hub"]) == 5
    for path in (tmp_path / "r").rglob("*Multi*.json"):
        path.unlink()
    assert command(["export", str(tmp_path / "r"), "--for", "hub", "--output", str(tmp_path / "y")]) == 5
    assert "there are no complete results in" in capsys.readouterr().err
    assert not (tmp_path / "y").exists()


def test_the_hub_folder_is_a_data_set(tmp_path, monkeypatch):
    from huggingface_hub import DatasetCard

    output = tmp_path / "hub"
    assert command(["export", str(NEW), "--for", "hub", "--output", str(output)]) == 0
    card = DatasetCard.load(output / "README.md")
    [config] = card.data.to_dict()["configs"]
    assert config["data_files"] == [{"split": "train", "path": "data/results.parquet"}]
    import pandas as pd

    frame = pd.read_parquet(output / "data" / "results.parquet")
    assert list(frame.columns) == ["model", "task", "mode", "subset", "measure", "value", "low", "high"]
    assert f"{len(frame):,} rows" in card.text
    assert "| 1 | hbt-bench/bm25@k0.9-b0.4 |" in card.text
    copied = next(output.rglob("*Multilingual*.json"))
    assert copied.read_bytes() == next(NEW.rglob("*Multilingual*.json")).read_bytes()
    assert next(output.rglob("*.npz"))


def copy_of(folder):
    shutil.copytree(NEW, folder)
    return next(folder.rglob("*Multilingual*.json")).parent


@pytest.mark.parametrize("kind", ["hub", "mteb-results"])
def test_two_results_that_would_go_to_one_place(tmp_path, capsys, kind):
    """Of another version of hbt-bench, say: two rows of the leaderboard, but one file where they are published."""
    one, two = copy_of(tmp_path / "r" / "a"), copy_of(tmp_path / "r" / "b")
    for path in two.glob("*Retrieval*.json"):
        path.write_text(path.read_text().replace("|hbt:0.1.0", "|hbt:0.1.1"))
    assert command(["export", str(tmp_path / "r"), "--for", kind, "--output", str(tmp_path / "out")]) == 5
    told = capsys.readouterr().err
    assert "are of the same task, model and revision: export the folder of one of them" in told
    assert str(one.relative_to(tmp_path)) in told
    assert str(two.relative_to(tmp_path)) in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["hub", "mteb-results"])
@pytest.mark.parametrize("name", ["model_meta.json", "*.ranks.npz", "*Cross*.json"])
def test_what_a_link_leads_to_is_not_published(tmp_path, capsys, kind, name):
    place = next(copy_of(tmp_path / "r").glob(name))
    secret = place.rename(tmp_path / "secret")
    place.symlink_to(secret)
    content = secret.read_bytes()
    code = command(["export", str(tmp_path / "r"), "--for", kind, "--output", str(tmp_path / "out")])
    if (kind, name) == ("mteb-results", "*.ranks.npz"):  # ranks are not in it
        assert code == 0
    else:
        assert code == 5
        assert (
            f"{place.name} is a link, and what it leads to may not be meant to be published" in capsys.readouterr().err
        )
    assert not any(path.read_bytes() == content for path in (tmp_path / "out").rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", ["hub", "mteb-results"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff", b"[" * 100_000])
def test_a_damaged_description_of_the_model(tmp_path, capsys, kind, content):
    place = copy_of(tmp_path / "r") / "model_meta.json"
    place.unlink() if content is None else place.write_bytes(content)
    code = command(["export", str(tmp_path / "r"), "--for", kind, "--output", str(tmp_path / "out")])
    told = capsys.readouterr().err
    if (kind, content) == ("hub", None):
        assert code == 0
    else:
        assert code == 5
        assert "model_meta.json" in told
        assert "evaluate again with --overwrite" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("task", "MTEB reads .* as Another with 2 subsets: report this as a defect"),
        ("broken", "MTEB does not read .*: .no such format"),
        ("cache", "MTEB's ResultCache does not find CldrFacts.*, CldrFacts.* of hbt-bench/bm25 in "),
        ("broken cache", "MTEB does not read .*: .no such cache"),
    ],
)
def test_an_export_that_mteb_does_not_read_back_is_an_error(tmp_path, monkeypatch, what, message):
    import mteb
    from mteb.results import TaskResult

    def fail(text):
        def raising(*about, **options):
            raise KeyError(text)

        return raising

    read, load = TaskResult.from_disk, mteb.ResultCache.load_results
    if what == "task":
        monkeypatch.setattr(
            TaskResult, "from_disk", lambda path: read(path).model_copy(update={"task_name": "Another"})
        )
    elif what == "broken":
        monkeypatch.setattr(TaskResult, "from_disk", fail("no such format"))
    elif what == "cache":

        def empty(cache, **options):
            found = load(cache, **options)
            found.model_results = []
            return found

        monkeypatch.setattr(mteb.ResultCache, "load_results", empty)
    else:
        monkeypatch.setattr(mteb.ResultCache, "load_results", fail("no such cache"))
    with pytest.raises(OutputError, match=message):
        export_mteb(NEW, tmp_path / "out")


# Model cards


def entries(text):
    from huggingface_hub import ModelCard

    return ModelCard(text).data.eval_results


def test_a_new_card(tmp_path):
    from huggingface_hub import ModelCard

    text = updated("", "ckpt", results())
    found = {(one.dataset_name, one.metric_type): one for one in entries(text)}
    assert len(found) == 3 * 3 + 1
    multi = found["cldr-facts-multi[de,en]", "rank_distance"]
    assert multi.metric_value == pytest.approx(137.6, abs=0.05)
    assert (multi.dataset_type, multi.dataset_config, multi.dataset_split) == ("hbt-bench/cldr-facts", "multi", "test")
    assert multi.metric_args["signature"].startswith("task:cldr-facts-multi[de,en]|")
    assert ModelCard(text).data.model_name == "ckpt"
    assert "| cldr-facts-mono\\[de,en\\] | 0.9547 [" in text
    assert "\ntask:cldr-facts-cross[de,en]|text:sentence|" in text
    assert updated(text, "ckpt", results()) == text


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


def test_the_rest_of_a_card_stays_byte_for_byte():
    text = updated(CARD, "ckpt", results())
    assert text.startswith("---\nlicense: mit      # a comment\ntags:\n- a\nmodel-index:\n- name: theirs\n")
    assert "\nlanguage: [de, en]\n---\n\n# A model\n\nText before.\n<!-- hbt-bench -->\n\n## Evaluation" in text
    assert text.endswith("<!-- /hbt-bench -->\nText after.\n")
    assert "\nold\n" not in text
    found = entries(text)
    assert found[0].dataset_name == "Other"
    assert len(found) == 1 + 10
    assert updated(text, "ckpt", results()) == text
    fewer = updated(text, "ckpt", results()[:1])
    assert len(entries(fewer)) == 1 + 3


def test_a_card_without_metadata_and_one_without_block():
    text = updated("# Only text\n", "ckpt", results())
    assert text.startswith("---\nmodel-index:\n- name: ckpt\n")
    assert "\n---\n\n# Only text\n\n<!-- hbt-bench -->\n" in text
    windows = updated("---\r\nlicense: mit\r\n---\r\n# M\r\n", "ckpt", results())
    assert windows.startswith("---\r\nlicense: mit\r\nmodel-index:\r\n")
    assert "\n" not in windows.replace("\r\n", "")
    assert len(entries(windows)) == 10
    assert updated(windows, "ckpt", results()) == windows


@pytest.mark.parametrize(
    "front", ["license: mit\n", "model-index: []\n", "model-index:\n", "a: 1\n\nmodel-index:\n\nb: 2\n"]
)
def test_front_matter_of_every_kind(front):
    text = updated(f"---\n{front}---\nbody\n", "ckpt", results())
    metadata = yaml.safe_load(text.split("---\n")[1])
    assert {key: value for key, value in metadata.items() if key != "model-index"} == {
        key: value for key, value in yaml.safe_load(front).items() if key != "model-index"
    }
    assert len(metadata["model-index"][0]["results"]) >= 3
    assert "---\nbody\n" in text
    assert updated(text, "ckpt", results()) == text


def test_the_command_finds_a_checkpoint_by_its_content(tmp_path, capsys):
    checkpoint = torch_random_model(tmp_path / "renamed", seed=5)
    (checkpoint / "README.md").unlink(missing_ok=True)
    assert command(["card", str(checkpoint), "--results", str(NEW)]) == 3
    assert f"there are no complete results of {checkpoint}" in capsys.readouterr().err
    revision = Checkpoint.from_folder(checkpoint).revision
    shutil.copytree(next(NEW.glob("*/*")), tmp_path / "r" / "local__ckpt" / revision)
    for path in (tmp_path / "r").rglob("*Retrieval*.json"):
        path.write_text(path.read_text().replace('"revision": "k0.9-b0.4"', f'"revision": "{revision}"', 1))
    assert command(["card", str(checkpoint), "--results", str(tmp_path / "r")]) == 0
    card = checkpoint / "README.md"
    assert capsys.readouterr().out == f"{card}\n"
    assert len(entries(card.read_text())) == 10
    shutil.copytree(tmp_path / "r", tmp_path / "r" / "copy")  # the same results twice count once
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
    assert "README.md is a link, and what it leads to stays as it is" in capsys.readouterr().err
    card.unlink()
    for damage in ("[", "[" * 3000):
        card.write_text(f"---\na: {damage}\n---\n")
        assert command(["card", str(checkpoint), "--results", str(tmp_path / "r")]) == 5
        told = capsys.readouterr().err
        assert "whose metadata or block is damaged" in told
        assert len(told.splitlines()) == 1


def test_a_recipe_of_what_no_result_can_keep(tmp_path):
    """Such values are left out: a result that had them would be taken for damaged."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "hbt_bench_recipe.json").write_text(
        '{"strategy": "hybrid", "alpha": NaN, "steps": 1e999, "seed": 7, "init": "\\ud800", "\\udfff": 1, '
        f'"pairs_seen": {10**400}, "data": {{"a": "\\udc00"}}, "resumed": false}}'
    )
    assert Checkpoint(tmp_path).recipe == {"strategy": "hybrid", "seed": 7, "resumed": False}


def test_a_recipe_reaches_the_result(tmp_path):
    """How a checkpoint was trained is in its results, for the report to draw a sweep."""
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
