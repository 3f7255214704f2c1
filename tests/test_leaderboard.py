"""Test the leaderboard: values, marks, order, ranks, filters, and the same rows in every format."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import json
import shutil
import subprocess
from collections import Counter
from importlib.resources import files

import numpy as np
import pytest
from rich.console import Console

import hbt_bench
from hbt_bench.cli.main import run as command
from hbt_bench.data.cldr import read
from hbt_bench.errors import UsageError
from hbt_bench.measures.registry import EXCESS
from hbt_bench.reports.card import replace_block
from hbt_bench.reports.leaderboard import Leaderboard
from hbt_bench.reports.leaderboard_rows import ResultFilter, differ
from hbt_bench.reports.systems import ModelResults
from hbt_bench.reports.table import Table, render
from hbt_bench.results.scores import Scores
from hbt_bench.results.store import Result, read_all
from hbt_bench.results.upgrade import upgrade
from tests.factories import FIXTURE, plant_fixture


def result(
    tmp_path, task, subsets, model="local/a", revision="0123456789abcdef", expected=None, data="d1", contributions=None
):
    name = model.replace("|", "/")
    signature = f"task:{task}|text:sentence|data:{data}|model:{name}@{revision}|prompt:none|ties:docid-desc"
    folder = tmp_path / model.replace("/", "__") / revision
    encoded = (
        {"AP": base64.b64encode(np.asarray(contributions, "<f4").tobytes()).decode()}
        if contributions is not None
        else {}
    )
    return Result(
        task,
        task,
        model,
        revision,
        signature,
        Scores.from_subsets(subsets),
        folder / f"{task}.json",
        expected or len(subsets),
        encoded_contributions=encoded,
        intervals={"AP": (0.1, 0.5)} if contributions is not None else {},
    )


@pytest.fixture
def two_models(tmp_path):
    good = {"en": {"AP": 0.5, "R@1": 0.25}, "de": {"AP": 0.7, "R@1": 0.75}}
    return [
        result(tmp_path, "xquad-r-mono", good),
        result(tmp_path, "xquad-r-cross", {"en-de": {"AP": 0.25}}),
        result(tmp_path, "xquad-r-multi", {"en-multi": {"AP": 0.2, "rank_distance": 100.0}}),
        result(tmp_path, "xquad-r-multi", {"en-multi": {"AP": 0.4, "rank_distance": 50.0}}, "org/b", "c" * 40),
        result(tmp_path, "SciFact", {"default": {"main_score": 0.9}}),
    ]


def cells(leaderboard, names=("model", "mono:AP", "cross:AP", "multi:AP", "rank_distance")):
    """Return the cells of each board."""
    return [[list(row) for row in table.rows] for table in leaderboard.tables(leaderboard.columns(names))]


def test_models_have_rows_with_means_over_subsets(two_models):
    leaderboard = Leaderboard.from_results(two_models)
    assert [(row.model, row.collection) for row in leaderboard.rows] == [("org/b", "xquad-r"), ("local/a", "xquad-r")]
    assert leaderboard.rows[1].values == {
        ("mono", "AP"): pytest.approx(0.6),
        ("mono", "R@1"): 0.5,
        ("cross", "AP"): 0.25,
        ("multi", "AP"): 0.2,
        ("multi", "rank_distance"): 100.0,
    }
    assert cells(leaderboard) == [
        [["org/b@cccccccc", "-", "-", "0.4000", "50.0"], ["local/a@01234567", "0.6000", "0.2500", "0.2000", "100.0"]]
    ]


def test_all_formats_have_the_same_rows(two_models):
    leaderboard = Leaderboard.from_results(two_models)
    tables = leaderboard.tables(leaderboard.columns(["model", "AP", "worst"]))
    markdown = render(tables, "md").splitlines()
    assert markdown[:4] == [
        "**xquad-r (data d1)**",
        "",
        "| model | mono AP ↑ | cross AP ↑ | multi AP ↑ | worst language |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    assert markdown[4:] == [
        "| org/b@cccccccc | - | - | **0.4000** | en 0.4000 multi AP |",
        "| local/a@01234567 | **0.6000** | **0.2500** | 0.2000 | en 0.2000 multi AP |",
    ]
    rows = list(csv.DictReader(io.StringIO(render(tables, "csv"))))
    assert rows[0]["mono AP"] == ""
    assert (float(rows[1]["mono AP"]), rows[1]["model"], rows[1]["worst language"]) == (0.6, "local/a", "en")
    parsed = json.loads(render(tables, "json"))
    assert parsed[0]["mono AP"] is None
    assert parsed[1]["mono AP"] == pytest.approx(0.6)
    assert parsed[1]["revision"] == "0123456789abcdef"
    latex = render(tables, "latex").splitlines()
    assert latex[3] == r"model & mono AP $\uparrow$ & cross AP $\uparrow$ & multi AP $\uparrow$ & worst language \\"
    assert latex[6] == r"local/a@01234567 & \textbf{0.6000} & \textbf{0.2500} & 0.2000 & en 0.2000 multi AP \\"
    html = render(tables, "html")
    assert '<tr><th scope="row">org/b@cccccccc</th><td>-</td><td>-</td><td><strong>0.4000</strong></td>' in html
    assert html.count('scope="col"') == 5
    assert drawn(tables[0], 80)[-2:] == [
        "local/a@01234567     0.6000      0.2500      0.2000       en 0.2000",
        "                                                           multi AP",
    ]


def drawn(table, width):
    """Return the lines of a table on a terminal."""
    with (console := Console(width=width)).capture() as capture:
        console.print(table.rich(width), crop=False)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_names_are_not_folded_within_a_revision():
    table = Table(("model", "AP"), [["local/a-long-name@01234567", "0.6\n±0.1"], ["local/a@01234567", "0.5\n±0.1"]])
    lines = [line.split() for line in drawn(table, 24)[2:]]
    assert lines == [["local/a-long-name", "0.6"], ["@01234567", "±0.1"], ["local/a@01234567", "0.5"], ["±0.1"]]


def test_terminal_lines_have_the_same_width(two_models):
    table = Leaderboard.from_results(two_models).tables()[0]
    widths = table.widths(40)
    assert max(map(len, drawn(table, 40))) == sum(widths) + 2 * (len(widths) - 1)
    evil = dataclasses.replace(table, rows=[["\x1b[31mred\a", *row[1:]] for row in table.rows])
    assert not {"\x1b", "\a"} & set("".join(drawn(evil, 80)))


def test_incomplete_mean_is_marked_unranked_and_last(tmp_path):
    contributions = np.full(30, 0.01)
    incomplete = result(
        tmp_path, "xquad-r-multi", {"en-multi": {"AP": 0.9}}, expected=11, contributions=contributions * 3
    )
    complete = result(tmp_path, "xquad-r-multi", {"en-multi": {"AP": 0.3}}, "org/b", contributions=contributions)
    leaderboard = Leaderboard.from_results([incomplete, complete])
    [rows] = cells(leaderboard, ("rank", "model", "multi:AP"))
    assert rows == [["1", "org/b@01234567", "0.3000\n±0.2000"], ["-", "local/a@01234567", "0.9000*\n±0.8000"]]
    assert leaderboard.tables()[0].bold == {(0, 2)}
    assert leaderboard.legend[0] == (
        "* mean over fewer languages than the task has, without a rank: "
        "local/a@01234567 has 1 of 11 subsets of xquad-r-multi"
    )
    assert json.loads(render(leaderboard.tables()[:1], "json"))[1]["incomplete"] == ["multi"]


def test_ties_after_rounding_are_all_bold(tmp_path):
    values = {"local/a": 0.50004, "local/b": 0.49996, "local/c": 0.4999}
    leaderboard = Leaderboard.from_results(
        [result(tmp_path, "xquad-r-mono", {"en": {"AP": value}}, model) for model, value in values.items()]
    )
    table = leaderboard.tables(leaderboard.columns(["model", "mono:AP"]))[0]
    assert [row[1] for row in table.rows] == ["0.5000", "0.5000", "0.4999"]
    assert table.bold == {(0, 1), (1, 1)}


def test_models_without_a_significant_difference_share_ranks(tmp_path):
    generator = np.random.default_rng(3)
    base = generator.random(200) / 200
    noise = generator.standard_normal(200) / 2000
    planted = {
        "best": base + 0.002,
        "close": base + 0.002 + noise - noise.mean() - 1e-6,
        "next": base + 0.001,
        "last": base,
    }
    results = [
        result(
            tmp_path,
            "xquad-r-multi",
            {"en-multi": {"AP": float(contributions.sum())}},
            f"local/{name}",
            contributions=contributions,
        )
        for name, contributions in planted.items()
    ]
    leaderboard = Leaderboard.from_results(results)
    assert [(row.model, row.rank) for row in leaderboard.rows] == [
        ("local/best", 1),
        ("local/close", 1),
        ("local/next", 3),
        ("local/last", 4),
    ]
    assert "Bonferroni" in leaderboard.legend[-2]
    # without intervals there are no ranks
    assert {row.rank for row in Leaderboard.from_results(results, intervals=False).rows} == {None}
    # another order does not change the ranks
    by_name = Leaderboard.from_results(results, sort="model")
    assert [(row.model, row.rank) for row in by_name.rows] == [
        ("local/best", 1),
        ("local/close", 1),
        ("local/last", 4),
        ("local/next", 3),
    ]
    assert [row.rank for row in Leaderboard.from_results(results[::-1], sort="rank").rows] == [1, 1, 3, 4]
    assert by_name.tables()[0].title == "xquad-r (data d1; ranks by multi AP)"
    assert by_name.boards[0].sorted_by is None
    assert json.loads(render(by_name.tables()[:1], "json"))[2]["rank by"] == "multi AP"


def test_differ_needs_p_below_the_level():
    """All ten questions differ by the same amount, so p is 2 / 1,024 = 0.00195."""
    first, second = np.full(10, 0.1), np.full(10, 0.05)
    assert differ(first, second, 0.002)
    assert not differ(first, second, 0.0019)
    assert not differ(first, first.copy(), 0.05)
    assert not differ(first, second[:9], 0.05)


def test_other_data_are_another_table(tmp_path):
    all_languages = result(tmp_path, "xquad-r-mono", {"en": {"AP": 0.5}}, data="d1")
    two_languages = result(tmp_path, "xquad-r-mono[de,en]", {"en": {"AP": 0.5}}, data="d2")
    assert [table.title for table in Leaderboard.from_results([all_languages, two_languages]).tables()] == [
        "xquad-r (data d1)",
        "xquad-r[de,en] (data d2)",
    ]


def test_reported_scores_are_those_of_the_papers(two_models):
    leaderboard = Leaderboard.from_results(two_models, reported=True)
    reported = {row.model: row for row in leaderboard.rows if not row.measured and row.collection == "xquad-r"}
    # arXiv 2408.10536, Tables 3, 5 and 7
    assert reported["XLM-R, hybrid"].values == {
        ("mono", "AP"): 0.7977,
        ("cross", "AP"): 0.7053,
        ("multi", "AP"): 0.5927,
        ("mono", "R@1"): 0.7086,
        ("cross", "R@1"): 0.5976,
        ("multi", "R@10"): 0.5169,
        ("multi", "rank_distance"): 286.6,
    }
    assert reported["XLM-R, hybrid"].source == "reported: arXiv 2408.10536"
    assert reported["mBERT, X-Y"].values == {("multi", "AP"): 0.66}
    table = next(table for table in leaderboard.tables() if table.title == "xquad-r (data d1)")
    assert table.header[-1] == "source"
    assert {row[-1] for row in table.rows} == {"measured", "reported"}
    names = [row[table.header.index("model")] for row in table.rows]
    assert names[:2] == ["LaBSE, hybrid †", "LaBSE, cross-lingual †"]
    # only measured scores are bold, although reported scores are higher
    index = names.index("org/b@cccccccc")
    assert (index, list(table.header).index("multi AP ↑")) in table.bold
    assert any(line.startswith("† scores reported by arXiv 2408.10536") for line in leaderboard.legend)


def test_reported_scores_are_filtered(two_models, messages):
    leaderboard = Leaderboard.from_results(
        two_models, reported=True, result_filter=ResultFilter(tasks=("xquad-r-multi",))
    )
    reported = {row.model: row for row in leaderboard.rows if not row.measured}
    assert {mode for row in leaderboard.rows for mode, _ in row.values} == {"multi"}
    assert reported["XLM-R, hybrid"].values[("multi", "AP")] == 0.5927
    leaderboard = Leaderboard.from_results(
        two_models, reported=True, result_filter=ResultFilter(models=("LaBSE*", "b"))
    )
    assert {row.model.split(",")[0] for row in leaderboard.rows} == {"LaBSE", "org/b"}
    assert not messages
    for tasks in ((), ("xquad-r",), ("xquad-r-mono",)):
        languages = ResultFilter(tasks, languages=("en",))
        assert all(row.measured for row in Leaderboard.from_results(two_models, True, languages).rows)
    assert [note.partition(":")[0] for note in messages] == ["reported scores are left out"] * 3


@pytest.mark.parametrize(
    ("result_filter", "models"),
    [
        (ResultFilter(), {"local/a", "org/b"}),
        (ResultFilter(tasks=("xquad-r",)), {"local/a", "org/b"}),
        (ResultFilter(tasks=("xquad-r-mono",)), {"local/a"}),
        (ResultFilter(models=("ORG/*",)), {"org/b"}),
        (ResultFilter(models=("b",)), {"org/b"}),
        (ResultFilter(models=("*@01234567",)), {"local/a"}),
        (ResultFilter(languages=("en",)), {"local/a", "org/b"}),
    ],
)
def test_filters_select_models(two_models, result_filter, models):
    assert {row.model for row in Leaderboard.from_results(two_models, result_filter=result_filter).rows} == models


def test_languages_select_subsets(two_models):
    leaderboard = Leaderboard.from_results(two_models, result_filter=ResultFilter(languages=("de",)))
    assert cells(leaderboard, ("model", "mono:AP")) == [[["local/a@01234567", "0.7000"]]]
    assert leaderboard.tables()[0].title == "xquad-r (data d1; languages de)"


@pytest.mark.parametrize(
    ("result_filter", "message"),
    [
        (ResultFilter(tasks=("xquad-q",)), "there are no results of xquad-q; did you mean 'xquad-r'"),
        (ResultFilter(models=("x*",)), r"no model's name matches x\*"),
        (ResultFilter(languages=("sw",)), "no result has subsets of the languages sw alone"),
    ],
)
def test_filter_without_results_is_an_error(two_models, result_filter, message):
    with pytest.raises(UsageError, match=message):
        Leaderboard.from_results(two_models, result_filter=result_filter)


@pytest.mark.parametrize(
    ("result_filter", "notes"),
    [
        (ResultFilter(tasks=("xquad-r", "xquad-r-mono")), []),
        (ResultFilter(tasks=("xquad-r", "squad")), ["no result of squad is shown"]),
        (ResultFilter(tasks=("xquad-r", "SciFac")), ["no result of SciFac is shown"]),
        (ResultFilter(models=("org/*", "zz*")), ["no model that is shown matches zz*"]),
        (ResultFilter(languages=("DE", "eng", "xx")), ["no result in the language xx is shown"]),
    ],
)
def test_name_without_results_among_others_is_noted(two_models, result_filter, notes):
    found = Leaderboard.from_results(two_models, result_filter=result_filter, intervals=False).notes
    assert [note.partition(";")[0] for note in found] == notes


def ranked(tmp_path, model, sign, mono, data="d1", collection="xquad-r"):
    """Return a result with contributions of questions; a greater `sign` means a greater AP."""
    contributions = np.random.default_rng(1).random(60) / 60
    values = {"AP": float(contributions.sum()) + sign * 0.1, "R@1": 0.5}
    task, subset = (f"{collection}-mono", "en") if mono else (f"{collection}-multi", "en-multi")
    return result(tmp_path, task, {subset: values}, model, data=data, contributions=contributions + sign * 0.1 / 60)


def test_each_board_is_ranked_by_its_main_mode(tmp_path):
    results = [
        ranked(tmp_path, "local/a", 1, mono=False),
        ranked(tmp_path, "local/b", 0, mono=False),
        ranked(tmp_path, "local/a", 0, mono=True, collection="scifact-beir"),
        ranked(tmp_path, "local/b", 1, mono=True, collection="scifact-beir"),
    ]
    for sort in (None, "AP", "multi:AP"):
        leaderboard = Leaderboard.from_results(results, sort=sort)
        assert [board.ranked_by for board in leaderboard.boards] == [("multi", "AP"), ("mono", "AP")]
        assert [[(row.model, row.rank) for row in board.rows] for board in leaderboard.boards] == [
            [("local/a", 1), ("local/b", 2)],
            [("local/b", 1), ("local/a", 2)],
        ]
    titles = [table.title for table in leaderboard.tables()]
    assert titles == ["xquad-r (data d1; ranks by multi AP)", "scifact-beir (data d1; ranks by mono AP)"]


def test_measure_without_mode_is_multilingual(tmp_path):
    """A is better in the monolingual mode, B in the multilingual mode."""
    results = [
        *(ranked(tmp_path, "local/a", sign, mono) for sign, mono in ((1, True), (0, False))),
        *(ranked(tmp_path, "local/b", sign, mono) for sign, mono in ((0, True), (1, False))),
    ]
    assert [row.model for row in Leaderboard.from_results(results, sort="AP").rows] == ["local/b", "local/a"]
    leaderboard = Leaderboard.from_results(results, sort="mono:AP")
    assert [(row.model, row.rank, row.ranked_by) for row in leaderboard.rows] == [
        ("local/a", 1, ("mono", "AP")),
        ("local/b", 2, ("mono", "AP")),
    ]


def test_ranks_by_measures_computed_from_ranks(tmp_path):
    """All ranks of the second model are worse by 40, so every measure of the pool ranks it second."""
    shutil.copytree(FIXTURE, tmp_path, dirs_exist_ok=True)
    plant_fixture(tmp_path, "local/worse", "0123456789abcdef", 40)
    results = [result for result in read_all(tmp_path) if isinstance(result, Result)]
    wrong = [  # a score that the ranks do not give
        dataclasses.replace(
            result,
            subsets=Scores.from_subsets(
                {name: {**scores, "nDCG@10": scores["nDCG@10"] - 2e-5} for name, scores in result.subsets.items()}
            ),
        )
        if result.model == "local/worse"
        else result
        for result in results
    ]
    doubted = Leaderboard.from_results(wrong, sort="nDCG@10")
    assert [row.rank for row in doubted.boards[0].rows] == [1, None]
    assert any("has nDCG@10" in note for note in doubted.notes)
    for sort, key in (("nDCG@10", ("multi", "nDCG@10")), ("mono:RR", ("mono", "RR")), ("bias", ("multi", EXCESS))):
        board = Leaderboard.from_results(results, sort=sort).boards[0]
        assert board.ranked_by == key
        # both models have the same ranks within a language, so they share a rank by mono:RR
        assert [row.rank for row in board.rows] == ([1, 1] if sort == "mono:RR" else [1, 2])
    board = Leaderboard.from_results(results, sort="rank_distance").boards[0]
    assert [(row.rank, row.ranked_by) for row in board.rows] == [(rank, ("multi", "rank_distance")) for rank in (1, 2)]
    assert board.rows[0].values["multi", "rank_distance"] < board.rows[1].values["multi", "rank_distance"]
    board = Leaderboard.from_results(results, sort="AP").boards[0]
    assert [(row.model, row.rank) for row in board.rows] == [("hbt-bench/bm25", 1), ("local/worse", 2)]
    # scores without a value for each question, and facts, only sort: the ranks are by AP
    for sort in ("AP_below_best", "parameters", "model"):
        assert Leaderboard.from_results(results, sort=sort).boards[0].ranked_by == ("multi", "AP")


def test_computed_contributions_equal_stored_contributions():
    for path in FIXTURE.rglob("*Retrieval_de_en.json"):
        result = Result.read(path)
        recomputed = dataclasses.replace(result, encoded_contributions={})
        for measure in result.encoded_contributions:
            assert recomputed.contributions(measure) == pytest.approx(
                result.contributions(measure), rel=1e-6
            )  # float32
        assert recomputed.contributions("R@1").sum() == pytest.approx(result.scores["R@1"])
        assert recomputed.contributions("AP", ["de"] if result.mode == "mono" else None) is not None
        assert recomputed.contributions("queries") is None


def test_reported_scores_keep_their_decimals(two_models):
    leaderboard = Leaderboard.from_results(two_models, reported=True)
    shown = dict(zip(*zip(*cells(leaderboard, ("model", "multi:AP"))[0], strict=True), strict=True))
    assert (shown["mBERT, X-Y †"], shown["XLM-R, hybrid †"]) == ("0.66", "0.5927")
    mlqa = dict(cells(leaderboard, ("model", "cross:AP"))[1])
    assert mlqa["XLM-R, cross-lingual †"] == "0.6200"  # Table 4 has four decimals, the last of them a zero


def test_main_collections_come_first(tmp_path):
    names = ("belebele", "mlqa-r", "xquad-r", "zz", "xquad-r")
    results = [result(tmp_path, f"{name}-multi", {"en-multi": {"AP": 0.5}}) for name in names[:-1]]
    results.append(result(tmp_path, "xquad-r-multi+typos", {"en-multi": {"AP": 0.4}}, data="d2"))
    leaderboard = Leaderboard.from_results(results)
    assert [board.collection for board in leaderboard.boards] == [
        "xquad-r",
        "xquad-r+typos",
        "mlqa-r",
        "belebele",
        "zz",
    ]
    for tasks, left in (
        (("xquad-r",), ["xquad-r"]),
        (("xquad-r+typos",), ["xquad-r+typos"]),
        (("xquad-r-multi+typos", "zz-multi"), ["xquad-r+typos", "zz"]),
    ):
        assert [
            board.collection for board in Leaderboard.from_results(results, result_filter=ResultFilter(tasks)).boards
        ] == left


def test_copies_of_a_result_count_once(tmp_path, capsys, messages):
    shutil.copytree(FIXTURE, tmp_path / "a")
    shutil.copytree(FIXTURE, tmp_path / "b")
    complete, stopped = (next((tmp_path / name).rglob("*Mono*.json")) for name in "ba")
    content = json.loads(stopped.read_text())
    content["scores"]["test"] = content["scores"]["test"][:1]  # a run that was stopped
    summary = content.pop("hbt_bench")
    for key in ("format", "values", "intervals", "shares"):
        del summary[key]  # as in format 1, whose scores are read
    stopped.write_text(json.dumps({**content, "hbt_bench": summary}))
    assert command(["leaderboard", str(tmp_path), "--format", "json"]) == 0
    captured = capsys.readouterr()
    [row] = json.loads(captured.out)
    assert row["incomplete"] == []
    folders = [str(path.relative_to(tmp_path).parent) for path in (complete, stopped)]
    assert folders == ["b/hbt-bench__bm25/k0.9-b0.4", "a/hbt-bench__bm25/k0.9-b0.4"]
    assert f"{tmp_path}/{folders[1]}: CldrFactsMonolingualRetrieval_de_en.json has the same signature" in captured.err
    assert f"{tmp_path}/{folders[0]}: 2 results have the same signature as in {tmp_path}/{folders[1]}" in captured.err
    assert len(captured.err.splitlines()) == 2
    frame = hbt_bench.load_results(tmp_path)
    assert any("2 results have the same signature" in message for message in messages)
    once = hbt_bench.load_results(FIXTURE)
    assert len(frame) == len(once)
    assert set(frame["subset"]) == set(once["subset"])


def test_columns_are_found_and_sorted_by_name(two_models):
    leaderboard = Leaderboard.from_results(two_models, sort="rank_distance")
    assert [row.model for row in leaderboard.rows] == ["org/b", "local/a"]
    leaderboard = Leaderboard.from_results(two_models, sort="model")
    assert [row.model for row in leaderboard.rows] == ["local/a", "org/b"]
    assert [column.name for column in leaderboard.columns(["AP", "R@1"])] == [
        "mono:AP",
        "cross:AP",
        "multi:AP",
        "mono:R@1",
    ]
    assert [column.name for column in leaderboard.columns(["all"])][-1] == "multi:rank_distance"
    with pytest.raises(UsageError, match="unknown column 'multi:R@1'"):
        leaderboard.columns(["multi:R@1"])
    with pytest.raises(UsageError, match="unknown column 'modle'; did you mean 'model'"):
        leaderboard.columns(["modle"])


def test_damaged_files_are_left_out_with_a_warning(tmp_path, capsys):
    (tmp_path / "results" / "m" / "r").mkdir(parents=True)
    (tmp_path / "results" / "m" / "r" / "Task.json").write_text("{")
    assert command(["leaderboard", str(tmp_path / "results")]) == 5
    messages = capsys.readouterr().err.splitlines()
    assert messages[0].startswith("hbt-bench: left out: ")
    assert messages[1].startswith("hbt-bench: there are no results of multilingual collections in")


def test_names_are_escaped_in_each_format(tmp_path):
    leaderboard = Leaderboard.from_results(
        [result(tmp_path, "xquad-r-mono", {"en": {"AP": 0.5}}, model="=cmd|x<img src=x>")]
    )
    table = leaderboard.tables(leaderboard.columns(["model", "mono:AP"]))[0]
    assert "'=cmd|x<img src=x>" in table.csv().splitlines()[1]
    assert table.markdown().splitlines()[2].startswith("| =cmd\\|x&lt;img src=x>\\@<!-- -->01234567 |")
    assert '<th scope="row">=cmd|x&lt;img src=x&gt;@01234567</th>' in render([table], "html")


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd", "'+cmd"),
        ("  =1+1", "'  =1+1"),
        ("-cmd|x", "'-cmd|x"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'?x"),
        ("\nx", '"\'\nx"'),
        ("＝1+1", "'＝1+1"),
        ("＋1", "'＋1"),
        ("－1", "'－1"),
        ("＠x", "'＠x"),
        ("-0.5", "-0.5"),
        ("+1e-3", "+1e-3"),
        (-0.25, "-0.25"),
        ("-", "-"),
        ("-0.1 [-0.2, 0.0]", '"\'-0.1 [-0.2, 0.0]"'),
        (None, '""'),
    ],
)
def test_csv_escapes_formulas_but_not_numbers(cell, written):
    table = Table(["a"], [], records=lambda: [{"a": cell}])
    assert table.csv() == f"a\n{written}"


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("a_b_c 2-1 e@5", "a_b_c 2-1 e@5"),
        ("_a_ __b__", r"\_a\_ \_\_b\_\_"),
        ("~~gone~~ $x$ *i* `c`", r"\~\~gone\~\~ \$x\$ \*i\* \`c\`"),
        ("a<!-- b --> <-", r"a&lt;!-- b --> &lt;-"),
        ("a|b <br> c\\d", r"a\|b &lt;br> c\\d"),
        ("[x](y) [z] [^1]", r"\[x\](y) \[z\] \[^1\]"),
        ("0.5 [-0.1, 0.2] [95 %]", "0.5 [-0.1, 0.2] [95 %]"),
        ("[1](y) &amp; &#64; a & b", r"\[1\](y) \&amp; \&#64; a & b"),
        ("@user me@x.org", r"\@<!-- -->user me@x.org"),
        ("a\nb\r\nc", "a b c"),
    ],
)
def test_markdown_escapes_the_markup_of_github(cell, written):
    assert Table(["a"], [[cell]]).markdown().splitlines()[2] == f"| {written} |"


def test_formats_to_paste_have_a_legend(tmp_path, capsys):
    shutil.copytree("tests/fixtures/format-2", tmp_path / "r")
    meaning = "Models share a rank if the test finds no significant difference from the best of that rank"
    for style, line in (
        ("md", f"\n\n{meaning} (randomization test by question, p &lt; 0.05, Bonferroni)."),
        ("latex", f"\\footnotesize\\noindent\n{meaning} (randomization test by question, p \\textless{{}} 0.05"),
        ("html", f"<li>{meaning} (randomization test by question, p &lt; 0.05, Bonferroni).</li>"),
    ):
        assert command(["leaderboard", str(tmp_path / "r"), "--format", style]) == 0
        captured = capsys.readouterr()
        assert line in captured.out
        assert "ranks by multi AP)" in captured.out
        assert captured.err == ""


def test_json_of_other_programs_is_skipped(tmp_path, capsys):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "Theirs.json").write_text('{"task_name": "SciFact", "scores": {}}')
    assert command(["leaderboard", str(tmp_path)]) == 5
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_other_prompts_are_another_row(tmp_path):
    plain = result(tmp_path, "xquad-r-mono", {"en": {"AP": 0.5}})
    prompted = dataclasses.replace(
        plain,
        signature=plain.signature.replace("prompt:none", "prompt:ab12cd34"),
        path=tmp_path / "experiments" / "e" / "x.json",
    )
    own_prompts = dataclasses.replace(
        prompted, revision="76543210", path=tmp_path / "own" / "x.json"
    )  # the model's own_prompts prompts
    [rows] = cells(Leaderboard.from_results([plain, prompted, own_prompts]), ("model",))
    assert sorted(row[0] for row in rows) == [
        "local/a@01234567",
        "local/a@01234567 prompt:ab12cd34",
        "local/a@76543210",
    ]


def test_latex_compiles(two_models, tmp_path):
    pdflatex = shutil.which("pdflatex")
    if pdflatex is None:
        pytest.skip("needs pdflatex")
    leaderboard = Leaderboard.from_results(
        [*two_models, result(tmp_path, "x-mono", {"en": {"AP": 0.5}}, "a_b%$&#^~{}")], reported=True
    )
    text = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\tiny\n"
    (tmp_path / "board.tex").write_text(
        text + render(leaderboard.tables(), "latex", leaderboard.legend) + "\n\\end{document}\n"
    )
    arguments = [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "board.tex"]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# Blocks in Markdown files


def test_replaced_block_leaves_the_rest_unchanged():
    text = "a\r\n<!-- leaderboard -->\r\nold\r\n<!-- /leaderboard -->\r\nb"
    replaced = replace_block(text, "leaderboard", "one\ntwo")
    assert replaced == "a\r\n<!-- leaderboard -->\r\n\r\none\r\ntwo\r\n\r\n<!-- /leaderboard -->\r\nb"
    assert replace_block(replaced, "leaderboard", "one\ntwo") == replaced
    assert replace_block("no block", "leaderboard", "x") is None
    with pytest.raises(ValueError, match="<!-- leaderboard -->"):
        replace_block("<!-- /leaderboard --><!-- leaderboard -->", "leaderboard", "x")


def test_update_needs_a_block(tmp_path, capsys):
    (tmp_path / "x.md").write_text("nothing")
    assert command(["leaderboard", "tests/fixtures/format-2", "--update", str(tmp_path / "x.md")]) == 5
    assert "has no block to update" in capsys.readouterr().err


def test_update_is_markdown(tmp_path, capsys):
    path = tmp_path / "x.md"
    path.write_text("<!-- leaderboard -->\n<!-- /leaderboard -->\n")
    assert command(["leaderboard", "tests/fixtures/format-2", "--update", str(path), "--format", "json"]) == 2
    assert "--update writes Markdown, not json: leave --format out" in capsys.readouterr().err
    assert command(["leaderboard", "tests/fixtures/format-2", "--update", str(path), "--format", "md"]) == 0
    assert "| rank | model |" in path.read_text()


# Thousands of results


def test_thousand_models_are_read_by_their_summaries(tmp_path, capsys):
    """Run the command on 6,000 results; benchmarks/leaderboard.py times it on files of real size."""
    generator = np.random.default_rng(0)
    for number in range(1000):
        for collection in ("aa", "bb"):
            for mode, names in (("mono", ["en"]), ("cross", ["en-de"]), ("multi", ["en-multi"])):
                contributions = ((0.9 * number / 1000 + 0.05 * generator.random(200)) / 200).astype("<f4")
                value = float(contributions.sum(dtype=np.float64))
                about = {
                    "format": 2,
                    "task": f"{collection}-{mode}",
                    "model": f"org/m{number}",
                    "revision": "1",
                    "signature": f"task:{collection}-{mode}|text:sentence|data:d|model:org/m{number}@1|prompt:none",
                    "subsets": 1,
                    "stock": False,
                    "mteb_name": mode,
                    "values": {"subsets": names, "AP": [value]},
                    "intervals": {"AP": [value, value]},
                    "shares": {"AP": base64.b64encode(contributions.tobytes()).decode()},
                }
                folder = tmp_path / f"org__m{number}" / "1"
                folder.mkdir(parents=True, exist_ok=True)
                # the rest of the file is invalid, so the test fails if it is read
                (folder / f"{collection}{mode}.json").write_text(
                    '{\n  "hbt_bench": ' + json.dumps(about) + ",\n..\n}\n"
                )
    assert command(["leaderboard", str(tmp_path), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 2000
    assert (rows[0]["model"], rows[0]["rank"], rows[999]["rank"] > 1) == ("org/m999", 1, True)


@pytest.fixture
def planted(tmp_path):
    """A folder with two models on two languages of cldr-facts, 182 documents each."""
    plant_fixture(tmp_path / "results", "org/a", "1", by=0)
    plant_fixture(tmp_path / "results", "org/b", "1", by=5)
    return tmp_path / "results"


def test_chance_is_the_score_of_a_random_ranking(planted):
    (board,) = Leaderboard.from_results(read_all(planted)).boards
    harmonic = {size: sum(1 / number for number in range(1, size + 1)) for size in (182, 364)}
    pool = ((364 - harmonic[364]) / 363 + harmonic[364]) / 364  # two of 364 documents are relevant
    single = harmonic[182] / 182
    assert board.chance() == pytest.approx({"mono": single, "cross": single, "multi": pool}, abs=1e-12)
    (german,) = Leaderboard.from_results(read_all(planted), result_filter=ResultFilter(languages=("de",))).boards
    assert german.chance() == pytest.approx({"mono": single, "multi": pool}, abs=1e-12)
    collection = read("test", ["de", "en"])
    stored = [upgrade(result, collection) for result in read_all(planted) if result.label == "org/a@1"]
    for path in planted.rglob("*.npz"):
        path.unlink()
    (board,) = Leaderboard.from_results(stored, intervals=False).boards
    assert board.chance() == pytest.approx({"mono": single, "cross": single, "multi": pool}, abs=1e-6)
    old = [result for result in read_all(planted) if result.label == "org/b@1"]
    (board,) = Leaderboard.from_results(old, intervals=False).boards
    assert board.chance() == {}


def test_plot_shows_modes_and_bias(planted):
    chart = planted / "modes.svg"
    assert command(["leaderboard", str(planted), "--tasks", "cldr-facts", "--plot", str(chart)]) == 0
    text = chart.read_text(encoding="utf-8")
    (board,) = Leaderboard.from_results(read_all(planted)).boards
    for row in board.rows:
        assert row.label in text
        assert f">{row.value(('multi', EXCESS)):.0%}<" in text.replace("\u2212", "-")
    assert "random ranking" in text


def test_plot_of_two_collections_is_refused(planted, capsys):
    arguments = ["leaderboard", str(planted), "--plot", str(planted / "modes.svg"), "--no-intervals"]
    assert command([*arguments, "--reported"]) == 2
    assert "--tasks" in capsys.readouterr().err
    assert not (planted / "modes.svg").exists()


def test_values_of_the_paper_are_complete():
    text = files("hbt_bench.reports").joinpath("reported.csv").read_text(encoding="utf-8")
    paper = [line for line in csv.DictReader(text.splitlines()) if line["source"].startswith("arXiv 2408.10536")]
    tables = Counter(int(line["source"].rpartition(" ")[2]) for line in paper)
    # mono, cross and multi AP and recall of three strategies; rank distance of both models; nDCG@10 and R@100
    assert tables == {3: 18, 4: 18, 5: 18, 6: 18, 7: 6, 8: 6, 12: 6, 13: 6}
    miracl = {(line["model"], line["measure"]): line["value"] for line in paper if line["collection"] == "miracl"}
    assert miracl["XLM-R, monolingual", "nDCG@10"] == "0.4148"
    assert miracl["XLM-R, hybrid", "nDCG@10"] == "0.4054"
    assert miracl["LaBSE, monolingual", "R@100"] == "0.8120"


def test_reported_board_shows_its_own_scores(two_models):
    leaderboard = Leaderboard.from_results(two_models, reported=True)
    tables = {table.title.partition(" ")[0]: table for table in leaderboard.tables()}
    assert list(tables["miracl"].header) == ["model", "mono nDCG@10 ↑", "mono R@100 ↑", "source"]
    assert ["LaBSE, hybrid †", "0.4411", "0.7954", "reported"] in tables["miracl"].rows
    assert "multi AP ↑" in tables["xquad-r"].header


def test_scores_at_chance_are_not_bold(tmp_path):
    plant_fixture(tmp_path, "org/a", "a" * 40, 0)
    board = Leaderboard.from_results(read_all(tmp_path))
    table = board.tables()[0]
    assert table.rows[-1][list(table.header).index("model")] == "random ranking"
    assert len(table._records) == len(table.rows) - 1  # CSV and JSON have models only
    column = list(table.header).index("rank dist. ↓")
    chance_score = board.boards[0].random_score(("multi", "rank_distance"))
    assert table.rows[-1][column] == f"{chance_score:.1f}"
    row = board.boards[0].rows[0]
    key = ("multi", "rank_distance")
    low, high = row.intervals[key]
    assert ((0, column) in table.bold) == (high < chance_score)
    for interval, is_bold in (((1.0, chance_score - 1), True), ((1.0, chance_score + 1), False)):
        row.intervals[key] = interval
        assert ((0, column) in board.tables()[0].bold) is is_bold
    assert low < high


def test_corrections_on_other_texts_of_the_same_name_have_the_whole_revision(tmp_path):
    marks = [f"0123456789abcdef-center-on-held{digest}" for digest in ("_8e4370d1", "_29911770", "-out_8e4370d1")]
    for mark in marks:
        (tmp_path / "local__a" / mark).mkdir(parents=True)
        (tmp_path / "local__a" / mark / "model_meta.json").touch()
    results = [result(tmp_path, "xquad-r-multi", {"en-multi": {"AP": 0.5}}, revision=mark) for mark in marks]
    rows = Leaderboard.from_results(results, intervals=False).rows
    assert {row.label for row in rows} == {
        "local/a@0123456789abcdef-center-on-held_8e4370d1",
        "local/a@0123456789abcdef-center-on-held_29911770",
        "local/a@01234567-center-on-held-out",
    }
    with pytest.raises(UsageError, match="local/a@0123456789abcdef-center-on-held_8e4370d1"):
        ModelResults.find("local/a", tmp_path)
