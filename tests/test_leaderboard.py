"""The leaderboard: literals, marks, order, ranks, choices, every format from the same rows."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import json
import shutil
import subprocess

import numpy as np
import pytest
from rich.console import Console

import hbt_bench
from hbt_bench.cli.main import run as command
from hbt_bench.errors import UsageError
from hbt_bench.measures.registry import EXCESS
from hbt_bench.reports.leaderboard import Leaderboard
from hbt_bench.reports.markdown_block import replaced
from hbt_bench.reports.row_builder import Choice
from hbt_bench.reports.rows import differ
from hbt_bench.reports.table import Table, render
from hbt_bench.results.scores import Scores
from hbt_bench.results.store import Result, read_all
from tests.factories import FIXTURE, plant_fixture


def result(
    tmp_path, task, subsets, model="local/a", revision="0123456789abcdef", expected=None, data="d1", shares=None
):
    name = model.replace("|", "/")
    signature = f"task:{task}|text:sentence|data:{data}|model:{name}@{revision}|prompt:none|ties:docid-desc"
    folder = tmp_path / model.replace("/", "__") / revision
    encoded = {"AP": base64.b64encode(np.asarray(shares, "<f4").tobytes()).decode()} if shares is not None else {}
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
        intervals={"AP": (0.1, 0.5)} if shares is not None else {},
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


def cells(board, names=("model", "mono:AP", "cross:AP", "multi:AP", "rank_distance")):
    return [[list(row) for row in table.rows] for table in board.tables(board.columns(names))]


def test_one_row_a_model_with_means_over_subsets(two_models):
    board = Leaderboard.of(two_models)
    assert [(row.model, row.collection) for row in board.rows] == [("org/b", "xquad-r"), ("local/a", "xquad-r")]
    assert board.rows[1].values == {
        ("mono", "AP"): pytest.approx(0.6),
        ("mono", "R@1"): 0.5,
        ("cross", "AP"): 0.25,
        ("multi", "AP"): 0.2,
        ("multi", "rank_distance"): 100.0,
    }
    assert cells(board) == [
        [["org/b@cccccccc", "-", "-", "0.4000", "50.0"], ["local/a@01234567", "0.6000", "0.2500", "0.2000", "100.0"]]
    ]


def test_all_formats_come_from_the_same_rows(two_models):
    board = Leaderboard.of(two_models)
    tables = board.tables(board.columns(["model", "AP", "worst"]))
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
    """The lines of a table on a terminal."""
    with (console := Console(width=width)).capture() as capture:
        console.print(table.rich(width), crop=False)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_name_is_not_folded_within_its_revision():
    table = Table(("model", "AP"), [["local/a-long-name@01234567", "0.6\n±0.1"], ["local/a@01234567", "0.5\n±0.1"]])
    lines = [line.split() for line in drawn(table, 24)[2:]]
    assert lines == [["local/a-long-name", "0.6"], ["@01234567", "±0.1"], ["local/a@01234567", "0.5"], ["±0.1"]]


def test_a_table_on_a_terminal_has_lines_of_one_width(two_models):
    table = Leaderboard.of(two_models).tables()[0]
    widths = table.widths(40)
    assert max(map(len, drawn(table, 40))) == sum(widths) + 2 * (len(widths) - 1)
    evil = dataclasses.replace(table, rows=[["\x1b[31mred\a", *row[1:]] for row in table.rows])
    assert not {"\x1b", "\a"} & set("".join(drawn(evil, 80)))


def test_a_mean_over_fewer_subsets_is_marked_unranked_and_last(tmp_path):
    shares = np.full(30, 0.01)
    part = result(tmp_path, "xquad-r-multi", {"en-multi": {"AP": 0.9}}, expected=11, shares=shares * 3)
    whole = result(tmp_path, "xquad-r-multi", {"en-multi": {"AP": 0.3}}, "org/b", shares=shares)
    board = Leaderboard.of([part, whole])
    [rows] = cells(board, ("rank", "model", "multi:AP"))
    assert rows == [["1", "org/b@01234567", "0.3000\n±0.2000"], ["-", "local/a@01234567", "0.9000*\n±0.8000"]]
    assert board.tables()[0].bold == {(0, 2)}
    assert board.legend[0] == (
        "* mean over fewer languages than the task has, without a rank: "
        "local/a@01234567 has 1 of 11 subsets of xquad-r-multi"
    )
    assert json.loads(board.tables()[0].json())[1]["incomplete"] == ["multi"]


def test_bold_is_every_tie_after_rounding(tmp_path):
    values = {"local/a": 0.50004, "local/b": 0.49996, "local/c": 0.4999}
    board = Leaderboard.of(
        [result(tmp_path, "xquad-r-mono", {"en": {"AP": value}}, model) for model, value in values.items()]
    )
    table = board.tables(board.columns(["model", "mono:AP"]))[0]
    assert [row[1] for row in table.rows] == ["0.5000", "0.5000", "0.4999"]
    assert table.bold == {(0, 1), (1, 1)}


def test_models_that_cannot_be_told_apart_share_a_rank(tmp_path):
    generator = np.random.default_rng(3)
    base = generator.random(200) / 200
    noise = generator.standard_normal(200) / 2000
    planted = {
        "best": base + 0.002,
        "close": base + 0.002 + noise - noise.mean() - 1e-6,
        "next": base + 0.001,
        "last": base,
    }
    found = [
        result(tmp_path, "xquad-r-multi", {"en-multi": {"AP": float(shares.sum())}}, f"local/{name}", shares=shares)
        for name, shares in planted.items()
    ]
    board = Leaderboard.of(found)
    assert [(row.model, row.rank) for row in board.rows] == [
        ("local/best", 1),
        ("local/close", 1),
        ("local/next", 3),
        ("local/last", 4),
    ]
    assert "Bonferroni" in board.legend[-2]
    # there is no rank by what is not kept question by question, nor without intervals
    assert {row.rank for row in Leaderboard.of(found, intervals=False).rows} == {None}
    # another order changes no rank
    by_name = Leaderboard.of(found, sort="model")
    assert [(row.model, row.rank) for row in by_name.rows] == [
        ("local/best", 1),
        ("local/close", 1),
        ("local/last", 4),
        ("local/next", 3),
    ]
    assert [row.rank for row in Leaderboard.of(found[::-1], sort="rank").rows] == [1, 1, 3, 4]
    assert by_name.tables()[0].title == "xquad-r (data d1; ranks by multi AP)"
    assert by_name.boards[0].sorted_by is None
    assert json.loads(by_name.tables()[0].json())[2]["rank by"] == "multi AP"


def test_told_apart_by_the_test_of_compare():
    """Ten questions won by the same amount: p is 2 of 1,024 ways, of which 0.0019 is below 0.002 alone."""
    one, other = np.full(10, 0.1), np.full(10, 0.05)
    assert differ(one, other, 0.002)
    assert not differ(one, other, 0.0019)
    assert not differ(one, one.copy(), 0.05)
    assert not differ(one, other[:9], 0.05)


def test_other_data_are_another_table(tmp_path):
    one = result(tmp_path, "xquad-r-mono", {"en": {"AP": 0.5}}, data="d1")
    part = result(tmp_path, "xquad-r-mono[de,en]", {"en": {"AP": 0.5}}, data="d2")
    assert [table.title for table in Leaderboard.of([one, part]).tables()] == [
        "xquad-r (data d1)",
        "xquad-r[de,en] (data d2)",
    ]


def test_reported_figures_are_those_of_the_papers_and_marked(two_models):
    board = Leaderboard.of(two_models, reported=True)
    reported = {row.model: row for row in board.rows if not row.measured and row.collection == "xquad-r"}
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
    table = next(table for table in board.tables() if table.title == "xquad-r (data d1)")
    assert table.header[-1] == "source"
    assert {row[-1] for row in table.rows} == {"measured", "reported"}
    names = [row[table.header.index("model")] for row in table.rows]
    assert names[:2] == ["LaBSE, hybrid †", "LaBSE, cross-lingual †"]
    # what was measured is in bold, though what was reported is higher
    at = names.index("org/b@cccccccc")
    assert (at, list(table.header).index("multi AP ↑")) in table.bold
    assert any(line.startswith("† figures of arXiv 2408.10536") for line in board.legend)


def test_reported_figures_are_chosen_as_others_are(two_models):
    board = Leaderboard.of(two_models, reported=True, choice=Choice(tasks=("xquad-r-multi",)))
    reported = {row.model: row for row in board.rows if not row.measured}
    assert {mode for row in board.rows for mode, _ in row.values} == {"multi"}
    assert reported["XLM-R, hybrid"].values[("multi", "AP")] == 0.5927
    board = Leaderboard.of(two_models, reported=True, choice=Choice(models=("LaBSE*", "b")))
    assert {row.model.split(",")[0] for row in board.rows} == {"LaBSE", "org/b"}
    assert all(row.measured for row in Leaderboard.of(two_models, True, Choice(languages=("en",))).rows)


@pytest.mark.parametrize(
    ("choice", "models"),
    [
        (Choice(), {"local/a", "org/b"}),
        (Choice(tasks=("xquad-r",)), {"local/a", "org/b"}),
        (Choice(tasks=("xquad-r-mono",)), {"local/a"}),
        (Choice(models=("ORG/*",)), {"org/b"}),
        (Choice(models=("b",)), {"org/b"}),
        (Choice(models=("*@01234567",)), {"local/a"}),
        (Choice(languages=("en",)), {"local/a", "org/b"}),
    ],
)
def test_choices(two_models, choice, models):
    assert {row.model for row in Leaderboard.of(two_models, choice=choice).rows} == models


def test_languages_leave_subsets_not_whole_tasks(two_models):
    board = Leaderboard.of(two_models, choice=Choice(languages=("de",)))
    assert cells(board, ("model", "mono:AP")) == [[["local/a@01234567", "0.7000"]]]
    assert board.tables()[0].title == "xquad-r (data d1; languages de)"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice(tasks=("xquad-q",)), "there are no results of xquad-q; did you mean 'xquad-r'"),
        (Choice(models=("x*",)), r"no model's name fits x\*: a pattern is such as 'local/\*'"),
        (Choice(languages=("sw",)), "no result has subsets of the languages sw alone"),
    ],
)
def test_a_choice_that_leaves_nothing_is_told(two_models, choice, message):
    with pytest.raises(UsageError, match=message):
        Leaderboard.of(two_models, choice=choice)


def ranked(tmp_path, model, sign, mono, data="d1", collection="xquad-r"):
    """A result with ranks: the fixture's BM25 under another name, its measures those of its ranks."""
    shares = np.random.default_rng(1).random(60) / 60
    values = {"AP": float(shares.sum()) + sign * 0.1, "R@1": 0.5}
    task, subset = (f"{collection}-mono", "en") if mono else (f"{collection}-multi", "en-multi")
    return result(tmp_path, task, {subset: values}, model, data=data, shares=shares + sign * 0.1 / 60)


def test_each_board_is_ranked_by_what_it_has(tmp_path):
    found = [
        ranked(tmp_path, "local/a", 1, mono=False),
        ranked(tmp_path, "local/b", 0, mono=False),
        ranked(tmp_path, "local/a", 0, mono=True, collection="scifact-beir"),
        ranked(tmp_path, "local/b", 1, mono=True, collection="scifact-beir"),
    ]
    for sort in (None, "AP", "multi:AP"):
        board = Leaderboard.of(found, sort=sort)
        assert [one.ranked_by for one in board.boards] == [("multi", "AP"), ("mono", "AP")]
        assert [[(row.model, row.rank) for row in one.rows] for one in board.boards] == [
            [("local/a", 1), ("local/b", 2)],
            [("local/b", 1), ("local/a", 2)],
        ]
    titles = [table.title for table in board.tables()]
    assert titles == ["xquad-r (data d1; ranks by multi AP)", "scifact-beir (data d1; ranks by mono AP)"]


def test_a_measure_without_a_mode_is_that_of_the_multilingual_mode(tmp_path):
    """A is better within a language and B in the pool: a reader of --sort AP looks for the pool."""
    found = [
        *(ranked(tmp_path, "local/a", sign, mono) for sign, mono in ((1, True), (0, False))),
        *(ranked(tmp_path, "local/b", sign, mono) for sign, mono in ((0, True), (1, False))),
    ]
    assert [row.model for row in Leaderboard.of(found, sort="AP").rows] == ["local/b", "local/a"]
    board = Leaderboard.of(found, sort="mono:AP")
    assert [(row.model, row.rank, row.ranked_by) for row in board.rows] == [
        ("local/a", 1, ("mono", "AP")),
        ("local/b", 2, ("mono", "AP")),
    ]


def test_ranks_by_measures_that_are_made_from_the_ranks(tmp_path):
    """Two models whose every rank differs by some places: told apart by each measure, in its own direction."""
    shutil.copytree(FIXTURE, tmp_path, dirs_exist_ok=True)
    plant_fixture(tmp_path, "local/worse", "0123456789abcdef", 40)
    everything = [one for one in read_all(tmp_path) if isinstance(one, Result)]
    told = [  # scores that are not those of the ranks are noticed
        dataclasses.replace(
            one,
            subsets=Scores.from_subsets(
                {name: {**scores, "nDCG@10": scores["nDCG@10"] - 2e-5} for name, scores in one.subsets.items()}
            ),
        )
        if one.model == "local/worse"
        else one
        for one in everything
    ]
    doubted = Leaderboard.of(told, sort="nDCG@10")
    assert [row.rank for row in doubted.boards[0].rows] == [1, None]
    assert any("has nDCG@10" in note for note in doubted.notes)
    for sort, key in (("nDCG@10", ("multi", "nDCG@10")), ("mono:RR", ("mono", "RR")), ("bias", ("multi", EXCESS))):
        board = Leaderboard.of(everything, sort=sort).boards[0]
        assert board.ranked_by == key
        # the ranks in the blocks, which decide the second, are the same
        assert [row.rank for row in board.rows] == ([1, 1] if sort == "mono:RR" else [1, 2])
    board = Leaderboard.of(everything, sort="rank_distance").boards[0]
    assert [(row.rank, row.ranked_by) for row in board.rows] == [(at, ("multi", "rank_distance")) for at in (1, 2)]
    assert board.rows[0].values["multi", "rank_distance"] < board.rows[1].values["multi", "rank_distance"]
    board = Leaderboard.of(everything, sort="AP").boards[0]
    assert [(row.model, row.rank) for row in board.rows] == [("hbt-bench/bm25", 1), ("local/worse", 2)]
    # a figure without a value a question, and what is no figure, sort only: the ranks are by AP
    for sort in ("AP_below_best", "parameters", "model"):
        assert Leaderboard.of(everything, sort=sort).boards[0].ranked_by == ("multi", "AP")


def test_shares_from_the_ranks_are_those_that_are_stored():
    for path in FIXTURE.rglob("*Retrieval_de_en.json"):
        found = Result.read(path)
        without = dataclasses.replace(found, encoded_contributions={})
        for measure in found.encoded_contributions:
            assert without.contributions(measure) == pytest.approx(found.contributions(measure), rel=1e-6)  # float32
        assert without.contributions("R@1").sum() == pytest.approx(found.scores["R@1"])
        assert without.contributions("AP", ["de"] if found.mode == "mono" else None) is not None
        assert without.contributions("queries") is None


def test_reported_figures_keep_the_digits_of_their_papers(two_models):
    board = Leaderboard.of(two_models, reported=True)
    shown = dict(zip(*zip(*cells(board, ("model", "multi:AP"))[0], strict=True), strict=True))
    assert (shown["mBERT, X-Y †"], shown["XLM-R, hybrid †"]) == ("0.66", "0.5927")
    mlqa = dict(cells(board, ("model", "cross:AP"))[1])
    assert mlqa["XLM-R, cross-lingual †"] == "0.6200"  # four decimals in Table 4, a zero the last


def test_main_collections_come_first_and_shifts_are_boards_of_their_own(tmp_path):
    names = ("belebele", "mlqa-r", "xquad-r", "zz", "xquad-r")
    found = [result(tmp_path, f"{name}-multi", {"en-multi": {"AP": 0.5}}) for name in names[:-1]]
    found.append(result(tmp_path, "xquad-r-multi+typos", {"en-multi": {"AP": 0.4}}, data="d2"))
    board = Leaderboard.of(found)
    assert [one.collection for one in board.boards] == ["xquad-r", "xquad-r+typos", "mlqa-r", "belebele", "zz"]
    for tasks, left in (
        (("xquad-r",), ["xquad-r"]),
        (("xquad-r+typos",), ["xquad-r+typos"]),
        (("xquad-r-multi+typos", "zz-multi"), ["xquad-r+typos", "zz"]),
    ):
        assert [one.collection for one in Leaderboard.of(found, choice=Choice(tasks)).boards] == left


def test_the_same_result_twice_counts_once(tmp_path, capsys, messages):
    shutil.copytree(FIXTURE, tmp_path / "a")
    shutil.copytree(FIXTURE, tmp_path / "b")
    whole, part = (next((tmp_path / name).rglob("*Mono*.json")) for name in "ba")
    content = json.loads(part.read_text())
    content["scores"]["test"] = content["scores"]["test"][:1]  # a run that was stopped
    head = content.pop("hbt_bench")
    for key in ("format", "values", "intervals", "shares"):
        del head[key]  # as format 1, whose scores are read
    part.write_text(json.dumps({**content, "hbt_bench": head}))
    assert command(["leaderboard", str(tmp_path), "--format", "json"]) == 0
    told = capsys.readouterr()
    [row] = json.loads(told.out)
    assert row["incomplete"] == []
    folders = [str(path.relative_to(tmp_path).parent) for path in (whole, part)]
    assert folders == ["b/hbt-bench__bm25/k0.9-b0.4", "a/hbt-bench__bm25/k0.9-b0.4"]
    assert f"{tmp_path}/{folders[1]}: CldrFactsMonolingualRetrieval_de_en.json has the same signature" in told.err
    assert f"{tmp_path}/{folders[0]}: 2 results have the same signature as in {tmp_path}/{folders[1]}" in told.err
    assert len(told.err.splitlines()) == 2
    frame = hbt_bench.load_results(tmp_path)
    assert any("2 results have the same signature" in message for message in messages)
    once = hbt_bench.load_results(FIXTURE)
    assert len(frame) == len(once)
    assert set(frame["subset"]) == set(once["subset"])


def test_columns_by_name_and_order_by_any(two_models):
    board = Leaderboard.of(two_models, sort="rank_distance")
    assert [row.model for row in board.rows] == ["org/b", "local/a"]
    board = Leaderboard.of(two_models, sort="model")
    assert [row.model for row in board.rows] == ["local/a", "org/b"]
    assert [column.name for column in board.columns(["AP", "R@1"])] == ["mono:AP", "cross:AP", "multi:AP", "mono:R@1"]
    assert [column.name for column in board.columns(["all"])][-1] == "multi:rank_distance"
    with pytest.raises(UsageError, match="unknown column 'multi:R@1'"):
        board.columns(["multi:R@1"])
    with pytest.raises(UsageError, match="unknown column 'modle'; did you mean 'model'"):
        board.columns(["modle"])


def test_damaged_files_are_told_and_the_rest_is_shown(tmp_path, capsys):
    (tmp_path / "results" / "m" / "r").mkdir(parents=True)
    (tmp_path / "results" / "m" / "r" / "Task.json").write_text("{")
    assert command(["leaderboard", str(tmp_path / "results")]) == 5
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("hbt-bench: left out: ")
    assert told[1].startswith("hbt-bench: there are no results of multilingual collections in")


def test_a_cell_is_no_formula_no_column_and_no_markup(tmp_path):
    board = Leaderboard.of([result(tmp_path, "xquad-r-mono", {"en": {"AP": 0.5}}, model="=cmd|x<img src=x>")])
    table = board.tables(board.columns(["model", "mono:AP"]))[0]
    assert "'=cmd|x<img src=x>" in table.csv().splitlines()[1]
    assert table.markdown().splitlines()[2].startswith("| =cmd\\|x&lt;img src=x>\\@<!-- -->01234567 |")
    assert '<th scope="row">=cmd|x&lt;img src=x&gt;@01234567</th>' in table.html()


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
def test_csv_has_no_formulas_and_numbers_stay(cell, written):
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
def test_markdown_escapes_what_github_would_take_for_markup(cell, written):
    assert Table(["a"], [[cell]]).markdown().splitlines()[2] == f"| {written} |"


def test_every_format_that_is_pasted_has_its_legend(tmp_path, capsys):
    shutil.copytree("tests/fixtures/format-2", tmp_path / "r")
    meaning = "A model that cannot be told apart from the best of a rank shares it"
    for style, line in (
        ("md", f"\n\n{meaning} (randomization test by question, p &lt; 0.05, Bonferroni)."),
        ("latex", f"\\footnotesize\\noindent\n{meaning} (randomization test by question, p \\textless{{}} 0.05"),
        ("html", f"<li>{meaning} (randomization test by question, p &lt; 0.05, Bonferroni).</li>"),
    ):
        assert command(["leaderboard", str(tmp_path / "r"), "--format", style]) == 0
        told = capsys.readouterr()
        assert line in told.out
        assert "ranks by multi AP)" in told.out
        assert told.err == ""


def test_json_of_others_is_passed_over_in_silence(tmp_path, capsys):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "Theirs.json").write_text('{"task_name": "SciFact", "scores": {}}')
    assert command(["leaderboard", str(tmp_path)]) == 5
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_prompts_tell_rows_apart(tmp_path):
    one = result(tmp_path, "xquad-r-mono", {"en": {"AP": 0.5}})
    other = dataclasses.replace(
        one,
        signature=one.signature.replace("prompt:none", "prompt:ab12cd34"),
        path=tmp_path / "experiments" / "e" / "x.json",
    )
    own = dataclasses.replace(other, revision="76543210", path=tmp_path / "own" / "x.json")  # the model's own prompts
    [rows] = cells(Leaderboard.of([one, other, own]), ("model",))
    assert sorted(row[0] for row in rows) == [
        "local/a@01234567",
        "local/a@01234567 prompt:ab12cd34",
        "local/a@76543210",
    ]


def test_latex_compiles(two_models, tmp_path):
    pdflatex = shutil.which("pdflatex")
    if pdflatex is None:
        pytest.skip("there is no pdflatex here")
    board = Leaderboard.of([*two_models, result(tmp_path, "x-mono", {"en": {"AP": 0.5}}, "a_b%$&#^~{}")], reported=True)
    text = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\tiny\n"
    (tmp_path / "board.tex").write_text(text + render(board.tables(), "latex", board.legend) + "\n\\end{document}\n")
    arguments = [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "board.tex"]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# Blocks in Markdown files


def test_a_block_is_replaced_and_the_rest_stays():
    text = "a\r\n<!-- leaderboard -->\r\nold\r\n<!-- /leaderboard -->\r\nb"
    found = replaced(text, "leaderboard", "one\ntwo")
    assert found == "a\r\n<!-- leaderboard -->\r\n\r\none\r\ntwo\r\n\r\n<!-- /leaderboard -->\r\nb"
    assert replaced(found, "leaderboard", "one\ntwo") == found
    assert replaced("no block", "leaderboard", "x") is None
    with pytest.raises(ValueError, match="one <!-- leaderboard -->, and one"):
        replaced("<!-- /leaderboard --><!-- leaderboard -->", "leaderboard", "x")


def test_update_wants_a_block(tmp_path, capsys):
    (tmp_path / "x.md").write_text("nothing")
    assert command(["leaderboard", "tests/fixtures/format-2", "--update", str(tmp_path / "x.md")]) == 5
    assert "has no block to update: put <!-- leaderboard --> and <!-- /leaderboard -->" in capsys.readouterr().err


# A thousand models


def test_a_thousand_models_are_read_by_their_heads(tmp_path, capsys):
    """The whole command on 6,000 results; benchmarks/leaderboard.py times it with files of real size."""
    generator = np.random.default_rng(0)
    for number in range(1000):
        for collection in ("aa", "bb"):
            for mode, names in (("mono", ["en"]), ("cross", ["en-de"]), ("multi", ["en-multi"])):
                shares = ((0.9 * number / 1000 + 0.05 * generator.random(200)) / 200).astype("<f4")
                value = float(shares.sum(dtype=np.float64))
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
                    "shares": {"AP": base64.b64encode(shares.tobytes()).decode()},
                }
                folder = tmp_path / f"org__m{number}" / "1"
                folder.mkdir(parents=True, exist_ok=True)
                # the rest of the file would not parse, which shows that it is not read
                (folder / f"{collection}{mode}.json").write_text(
                    '{\n  "hbt_bench": ' + json.dumps(about) + ",\n..\n}\n"
                )
    assert command(["leaderboard", str(tmp_path), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 2000
    assert (rows[0]["model"], rows[0]["rank"], rows[999]["rank"] > 1) == ("org/m999", 1, True)
