"""The leaderboard: literals, marks, order, every format from the same numbers."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import pytest

from hbt_bench.cli.main import run as command
from hbt_bench.reporting.leaderboard import Leaderboard
from hbt_bench.reporting.results import Result


def result(tmp_path, task, subsets, model="local/a", revision="0123456789abcdef", expected=None, data="d1"):
    name = model.replace("|", "/")
    signature = f"task:{task}|text:sentence|data:{data}|model:{name}@{revision}|prompt:none|ties:docid-desc"
    folder = tmp_path / model.replace("/", "__") / revision
    return Result(task, task, model, revision, signature, subsets, folder / f"{task}.json", expected or len(subsets))


@pytest.fixture
def two_models(tmp_path):
    good = {"en": {"AP": 0.5}, "de": {"AP": 0.7}}
    return [
        result(tmp_path, "xquad-r-mono", good),
        result(tmp_path, "xquad-r-cross", {"en-de": {"AP": 0.25}}),
        result(tmp_path, "xquad-r-multi", {"en-multi": {"AP": 0.2, "rank_distance": 100.0}}),
        result(tmp_path, "xquad-r-multi", {"en-multi": {"AP": 0.4, "rank_distance": 50.0}}, "org/b", "c" * 40),
        result(tmp_path, "SciFact", {"default": {"main_score": 0.9}}),
    ]


def test_one_row_a_model_with_means_over_subsets(two_models):
    board = Leaderboard.of(two_models)
    assert [(row.model, row.collection) for row in board.rows] == [("org/b", "xquad-r"), ("local/a", "xquad-r")]
    assert board.rows[1].scores == {
        ("mono", "AP"): pytest.approx(0.6),
        ("cross", "AP"): 0.25,
        ("multi", "AP"): 0.2,
        ("multi", "rank_distance"): 100.0,
    }
    assert board.rows[0].cells() == ["-", "-", "0.4000", "50.0"]


def test_all_formats_have_the_same_numbers(two_models):
    board = Leaderboard.of(two_models)
    markdown = board.table().markdown().splitlines()
    assert markdown[2] == "| org/b@cccccccc | xquad-r | - | - | 0.4000 | 50.0 | measured |"
    assert markdown[3] == "| local/a@01234567 | xquad-r | 0.6000 | 0.2500 | 0.2000 | 100.0 | measured |"
    rows = list(csv.reader(io.StringIO(board.table().csv())))
    assert rows[2] == ["local/a@01234567", "xquad-r", "0.6000", "0.2500", "0.2000", "100.0", "measured"]
    parsed = json.loads(board.json())
    assert parsed[0]["mono AP"] is None
    assert parsed[1]["mono AP"] == pytest.approx(0.6)
    assert board.tables()[0].rows[1] == ["local/a@01234567", "0.6000", "0.2500", "0.2000", "100.0"]


def test_a_mean_over_fewer_subsets_is_marked(tmp_path):
    board = Leaderboard.of([result(tmp_path, "xquad-r-mono", {"en": {"AP": 0.5}}, expected=11)])
    assert board.rows[0].cells()[0] == "0.5000*"
    assert board.incomplete
    assert json.loads(board.json())[0]["incomplete"] == ["mono"]


def test_other_data_are_another_table(tmp_path):
    one = result(tmp_path, "xquad-r-mono", {"en": {"AP": 0.5}}, data="d1")
    part = result(tmp_path, "xquad-r-mono[de,en]", {"en": {"AP": 0.5}}, data="d2")
    assert [table.title for table in Leaderboard.of([one, part]).tables()] == [
        "xquad-r (AP; data d1)",
        "xquad-r[de,en] (AP; data d2)",
    ]


def test_reported_figures_are_those_of_the_papers_and_marked(two_models):
    board = Leaderboard.of(two_models, reported=True)
    reported = {row.model: row for row in board.rows if not row.data and row.collection == "xquad-r"}
    # arXiv 2408.10536, Tables 3, 5 and 7
    assert reported["XLM-R, hybrid"].scores == {
        ("mono", "AP"): 0.7977,
        ("cross", "AP"): 0.7053,
        ("multi", "AP"): 0.5927,
        ("mono", "R@1"): 0.7086,
        ("cross", "R@1"): 0.5976,
        ("multi", "R@10"): 0.5169,
        ("multi", "rank_distance"): 286.6,
    }
    assert reported["XLM-R, hybrid"].source == "reported: arXiv 2408.10536"
    assert reported["mBERT, X-Y"].scores == {("multi", "AP"): 0.66}
    table = board.tables()[0]
    assert table.header[-1] == "source"
    assert {row[-1] for row in table.rows} == {"measured", "reported"}
    assert [row.model for row in board.rows if row.collection == "xquad-r"][:2] == [
        "LaBSE, hybrid",
        "LaBSE, cross-lingual",
    ]


def test_damaged_files_are_told_and_the_rest_is_shown(tmp_path, capsys):
    (tmp_path / "results" / "m" / "r").mkdir(parents=True)
    (tmp_path / "results" / "m" / "r" / "Task.json").write_text("{")
    assert command(["leaderboard", str(tmp_path / "results")]) == 5
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("hbt-bench: left out: ")
    assert told[1].startswith("hbt-bench: there are no results of multilingual collections in")


def test_a_cell_is_no_formula_and_no_column(tmp_path):
    board = Leaderboard.of([result(tmp_path, "xquad-r-mono", {"en": {"AP": 0.5}}, model="=cmd|x")])
    assert board.table().csv().splitlines()[1].startswith("'=cmd|x")
    assert board.table().markdown().splitlines()[2].startswith("| =cmd\\|x@")


def test_json_of_others_is_passed_over_in_silence(tmp_path, capsys):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "Theirs.json").write_text('{"task_name": "SciFact", "scores": {}}')
    assert command(["leaderboard", str(tmp_path)]) == 5
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_prompts_tell_rows_apart(tmp_path):
    one = result(tmp_path, "xquad-r-mono", {"en": {"AP": 0.5}})
    other = dataclasses.replace(
        one, signature=one.signature.replace("prompt:none", "prompt:ab12cd34"), path=tmp_path / "e" / "x.json"
    )
    names = [row[0] for row in Leaderboard.of([one, other]).table().rows]
    assert sorted(names) == ["local/a@01234567", "local/a@01234567 prompt:ab12cd34"]
