"""Results of our tasks that plain `mteb.evaluate` wrote into its own cache."""

from __future__ import annotations

import json
import logging
import math

import mteb
import pytest
from mteb.cache import ResultCache
from mteb.models.search_wrappers import SearchEncoderWrapper

from hbt_bench.cli.main import run
from hbt_bench.errors import OutputError
from hbt_bench.mteb.tasks import get_tasks
from hbt_bench.results.result import ForeignError, Result, StockError
from hbt_bench.results.store import find, load_results, read_all
from tests.factories import TestEncoder, hashed


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return the folder of a cache, and the scores that mteb returns, by task."""
    folder = tmp_path_factory.mktemp("plain")
    tasks = get_tasks("cldr-facts", languages=["de", "en"])
    model = TestEncoder(hashed())
    results = mteb.evaluate(model, tasks, cache=ResultCache(folder), co2_tracker=False, show_progress_bar=False)
    return folder / "results", {result.task_name: result for result in results.task_results}


def result_file(folder, mode):
    [path] = folder.glob(f"*/*/CldrFacts{mode}*.json")
    return path


def test_scores_are_those_of_mteb(plain):
    folder, expected = plain
    results = [result for result in read_all(folder) if isinstance(result, Result)]
    assert {result.mteb_name for result in results} == set(expected)
    for result in results:
        theirs = expected[result.mteb_name]
        assert result.scores["AP"] == pytest.approx(theirs.get_score(), abs=1e-6)
        for entry in theirs.scores["test"]:
            for measure in ("AP", "R@10", "ndcg_at_10", "map_at_100"):
                assert result.subsets[entry["hf_subset"]][measure] == pytest.approx(entry[measure], abs=1e-6)
        assert (result.model, result.revision, result.plain, result.ranks) == ("tests/encoder", "1", True, None)
        assert result.complete
        assert result.task == f"cldr-facts-{result.mode}[de,en]"
        assert result.intervals == {}


def test_frame_has_the_scores_without_intervals(plain, caplog):
    folder, expected = plain
    with caplog.at_level(logging.INFO):
        frame = load_results(folder)
    multi = frame.query("mode == 'multi' and subset == 'all' and measure == 'AP'")
    theirs = next(result for name, result in expected.items() if "Multilingual" in name)
    assert multi["value"].tolist() == [pytest.approx(theirs.get_score(), abs=1e-6)]
    assert all(map(math.isnan, multi["low"]))
    assert frame.attrs["left_out"] == []
    assert f"{folder}: 3 results are of plain mteb.evaluate, without the ranks" in caplog.text


def test_leaderboard_and_show_read_them(plain, capsys):
    folder, expected = plain
    assert run(["leaderboard", str(folder), "--format", "csv"]) == 0
    header, row = capsys.readouterr().out.strip().replace('"cldr-facts[de,en]"', "cldr-facts").splitlines()
    cells = dict(zip(header.split(","), row.split(","), strict=True))
    theirs = next(result for name, result in expected.items() if "Multilingual" in name)
    assert float(cells["multi AP"]) == pytest.approx(theirs.get_score(), abs=1e-6)
    assert (cells["multi AP low"], cells["multi AP high"], cells.get("rank", "")) == ("", "", "")
    assert run(["show", str(result_file(folder, "Multi"))]) == 0
    out = capsys.readouterr().out
    assert "Means over 2 of 2 subsets:\n" in out
    assert f"AP               {theirs.get_score():.4f}" in out
    assert "hbt-bench run --model tests/encoder --revision 1 --tasks 'cldr-facts-multi[de,en]'" in out
    assert run(["export", "--for", "mteb-results", str(folder), "--output", str(folder.parent / "export")]) == 0


def test_comparison_names_the_command(plain, capsys):
    folder, _ = plain
    command = ["compare", "tests/encoder@1", "bm25", "--tasks", "cldr-facts-multi[de,en]", "--results", str(folder)]
    assert run(command) == 3
    err = capsys.readouterr().err
    assert "written by plain mteb.evaluate, without ranks. Run `hbt-bench run --model tests/encoder" in err


def test_they_are_evaluated_again_for_their_ranks(plain):
    folder, _ = plain
    path = result_file(folder, "Mono")
    assert find(path, Result.read(path).signature) is None


def test_interrupted_result_is_incomplete(plain, tmp_path):
    folder, _ = plain
    content = json.loads(result_file(folder, "Cross").read_text())
    content["scores"]["test"].pop()
    (tmp_path / "x.json").write_text(json.dumps(content))
    result = Result.read(tmp_path / "x.json")
    assert (len(result.subsets), result.expected_subsets, result.complete) == (1, 2, False)
    for entry in content["scores"]["test"]:
        del entry["subsets"]  # older versions did not count them
    (tmp_path / "x.json").write_text(json.dumps(content))
    assert Result.read(tmp_path / "x.json").complete


def test_result_by_mteb_s_own_search_is_read(tmp_path):
    """A model that only searches is ranked by MTEB, subset by subset."""
    tasks = get_tasks("cldr-facts-mono", languages=["de", "en"])
    model = SearchEncoderWrapper(TestEncoder(hashed()))
    theirs = mteb.evaluate(model, tasks, cache=ResultCache(tmp_path), co2_tracker=False, show_progress_bar=False)
    [result] = read_all(tmp_path / "results")
    assert (result.task, result.model, result.complete) == ("cldr-facts-mono[de,en]", "tests/encoder", True)
    assert result.scores["AP"] == pytest.approx(theirs.task_results[0].get_score(), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda entry: entry.pop("signature"), OutputError, "has no signature, so its data and model are unknown"),
        (
            lambda entry: entry.update(signature=entry["signature"].replace("encoder", "x")),
            OutputError,
            "different sig",
        ),
        (lambda entry: entry.update(AP=1.5), OutputError, "AP cannot be 1.5"),
    ],
)
def test_doubtful_result_is_refused(plain, tmp_path, change, error, message):
    folder, _ = plain
    content = json.loads(result_file(folder, "Multi").read_text())
    entries = content["scores"]["test"]
    for entry in entries if "no signature" in message else entries[:1]:
        change(entry)
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(error, match=message):
        Result.read(tmp_path / "x.json")
    content["dataset_revision"] = "0" * 16
    (tmp_path / "y.json").write_text(json.dumps(content))
    with pytest.raises(OutputError):
        Result.read(tmp_path / "y.json")


def test_results_of_mteb_s_own_tasks_are_counted(tmp_path, capsys):
    stock = {"task_name": "SciFact", "scores": {"test": [{"hf_subset": "default", "main_score": 0.5}]}}
    (tmp_path / "SciFact.json").write_text(json.dumps(stock))
    (tmp_path / "other.json").write_text("[1]")
    assert list(read_all(tmp_path)) == []
    with pytest.raises(StockError, match="hbt-bench run --tasks SciFact"):
        Result.read(tmp_path / "SciFact.json")
    with pytest.raises(ForeignError, match="Name a file that `hbt-bench run` wrote"):
        Result.read(tmp_path / "other.json")
    assert run(["leaderboard", str(tmp_path)]) == 5
    assert "1 result of plain mteb.evaluate on MTEB's own tasks left out" in capsys.readouterr().err
