"""A new measure needs one registration to appear in results, leaderboards, comparisons, bias and HTML reports."""

from __future__ import annotations

import numpy as np
import pytest

from hbt_bench.errors import UsageError
from hbt_bench.measures.bias import Bias
from hbt_bench.measures.ranking import Ranking
from hbt_bench.measures.registry import MEASURES, Measure
from hbt_bench.reports.bias import BiasReport
from hbt_bench.reports.compare import compare
from hbt_bench.reports.leaderboard import Leaderboard
from hbt_bench.reports.page import ReportRequest
from hbt_bench.results.result import Result
from hbt_bench.results.store import read_all
from tests.factories import evaluate

NAME = "last_rank_gain"


def last_rank_gain(ranking: Ranking):
    """Return 1 over the rank of the last relevant document."""
    return 1 / ranking.ranks[np.cumsum(ranking.relevant) - 1]


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """Return results of two models that were evaluated with a new measure, and keep it registered."""
    MEASURES.register(
        Measure(
            NAME,
            last_rank_gain,
            modes=("multi",),
            bounds=(0.0, 1.0),
            decimals=2,
            title="last gain",
            aliases=("gain",),
            scored=True,
            contributions=True,
            summary=True,
            bias=True,
            headline=True,
            table_place=9,
            columns=("multi",),
        )
    )
    output = tmp_path_factory.mktemp("results")
    for model in ("bm25", "bm25@k1.2-b0.75"):
        evaluate(model, output, "cldr-facts", ("de", "en"))
    yield output
    MEASURES.unregister(NAME)


@pytest.fixture
def results(output):
    return [Result.read(path) for path in sorted(output.rglob("*MultilingualRetrieval*.json"))]


def test_result_has_score_interval_and_contributions(results):
    for result in results:
        values = last_rank_gain(Bias(result.stored_ranks().judgements, result.stored_ranks().ranks).ranking)
        low, high = result.intervals[NAME]
        assert result.scores[NAME] == pytest.approx(values.mean(), abs=1e-6)
        assert low < result.scores[NAME] < high
        assert set(result.subset_intervals[NAME]) == {"de-multi", "en-multi"}
        assert result.contributions(NAME).sum() == pytest.approx(values.mean(), abs=1e-5)
        assert Result.read(result.path, [NAME]).scores.keys() == set(MEASURES.in_summary())


def test_leaderboard_has_the_column(results):
    board = Leaderboard.from_results(results)
    [column] = board.columns(["gain"])
    assert (column.name, column.header) == (f"multi:{NAME}", "last gain ↑")
    assert f"multi:{NAME}" in [column.name for column in board.columns()]
    value, interval = column.text(board.rows[0]).split("\n")
    assert value == f"{board.rows[0].values['multi', NAME]:.2f}"
    assert interval.startswith("±0.")


def test_compare_tests_the_measure(output):
    models = [str(path.parent) for path in sorted(output.rglob("model_meta.json"))]
    comparison = compare(models, "cldr-facts-multi", languages=["de", "en"])
    assert [row.measure for row in comparison.rows if row.difference] == ["AP", "rank_distance", NAME]
    [row] = [row for row in comparison.rows if row.measure == NAME and row.difference]
    assert (row.title, row.lower_is_better) == (f"{NAME} ↑", False)
    assert 0 < row.difference.p <= 1


def test_bias_report_has_the_measure(results):
    stored = results[0].stored_ranks()
    report = BiasReport.from_bias(Bias(stored.judgements, stored.ranks), "task", "model", "task:x", None)
    figure = report.figure(NAME)
    assert figure.value == pytest.approx(results[0].scores[NAME], abs=1e-6)
    assert set(figure.languages) == {"de", "en"}
    assert f"{NAME} ↑" in [row[0] for row in report.summary().rows]


def test_html_report_has_column_and_comparison(output):
    [board] = ReportRequest().content(read_all(output))["boards"]
    assert f"multi:{NAME}" in [column["name"] for column in board["columns"]]
    assert any(NAME in sentence for sentence in board["comparison"]["conclusions"])


def test_a_name_is_registered_once(output):
    with pytest.raises(UsageError, match=f"'{NAME}' exists already"):
        MEASURES.register(Measure(NAME, last_rank_gain))
