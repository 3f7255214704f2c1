"""Measures against literals worked out by hand, and against MTEB."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores, make_score_dict

from hbt_bench.errors import UsageError
from hbt_bench.identity.task_name import MODES
from hbt_bench.measures.ranking import Ranking
from hbt_bench.measures.registry import Measure
from hbt_bench.measures.scores import CUTOFFS, mteb_scores, retrieval_scores
from hbt_bench.measures.tied import expected_average_precision
from hbt_bench.ranking.ranks import rank
from hbt_bench.ranking.subsets import judged_subsets
from tests.factories import Matrix, random_collection, random_scores


@pytest.fixture
def ranking():
    """Query 0 has relevant documents at ranks 2 and 5 (grades 1, 3), query 1 at rank 1, query 2 at rank 12."""
    return Ranking(np.array([2, 5, 1, 12]), np.array([1, 3, 2, 1]), np.array([0, 0, 1, 2]), 3)


def test_average_precision_by_hand(ranking):
    assert ranking.average_precision().tolist() == pytest.approx([(1 / 2 + 2 / 5) / 2, 1, 1 / 12])
    assert ranking.average_precision(3).tolist() == pytest.approx([1 / 4, 1, 0])
    many = Ranking(np.array([1, 2, 5]), np.ones(3, int), np.zeros(3, int), 1)
    assert many.average_precision(2).tolist() == pytest.approx([2 / 3])
    assert many.average_precision(2, capped=True).tolist() == [1]  # XTREME-R divides by min(3, 2)


@pytest.mark.parametrize(("relevant", "candidates"), [(1, 1), (1, 5), (2, 6), (4, 7), (7, 7)])
def test_expected_average_precision_of_a_tie_is_the_mean_over_all_orders(relevant, candidates):
    def average_precision(places):
        return np.mean([(number + 1) / (place + 1) for number, place in enumerate(places)])

    mean = np.mean([average_precision(places) for places in combinations(range(candidates), relevant)])
    assert expected_average_precision([(relevant, candidates)], relevant) == pytest.approx(mean, abs=1e-12)


def test_cut_measures_by_hand(ranking):
    assert ranking.recall(2).tolist() == [0.5, 1, 0]
    assert ranking.precision(5).tolist() == pytest.approx([0.4, 0.2, 0])
    assert ranking.success(1).tolist() == [0, 1, 0]
    assert ranking.success(5).tolist() == [1, 1, 0]
    assert ranking.reciprocal_rank().tolist() == pytest.approx([1 / 2, 1, 1 / 12])
    assert ranking.reciprocal_rank(10).tolist() == pytest.approx([1 / 2, 1, 0])


def test_ndcg_by_hand(ranking):
    gain = 1 / math.log2(3) + 3 / math.log2(6)
    ideal = 3 / math.log2(2) + 1 / math.log2(3)
    assert ranking.ndcg(10).tolist() == pytest.approx([gain / ideal, 1, 0])
    # at 1 the ideal ranking holds the grade 3 alone, and nothing relevant is at rank 1
    assert ranking.ndcg(1).tolist() == [0, 1, 0]
    assert ranking.ndcg(20)[2] == pytest.approx(1 / math.log2(13))


def test_rank_distance_is_last_minus_first_rank(ranking):
    assert ranking.rank_distance()[0] == 3
    assert np.isnan(ranking.rank_distance()[1:]).all()


def test_scores_are_means_over_queries(ranking):
    scores = retrieval_scores(ranking, "multi")
    assert scores["AP"] == pytest.approx((0.45 + 1 + 1 / 12) / 3)
    assert scores["R@1"] == pytest.approx(1 / 3)
    assert scores["R@10"] == pytest.approx(2 / 3)
    assert scores["rank_distance"] == 3  # the other queries have a single relevant document, and so no distance
    assert "rank_distance" not in retrieval_scores(ranking, "mono")


def test_scores_by_hand(ranking):
    gain, ideal = 1 / math.log2(3) + 3 / math.log2(6), 3 + 1 / math.log2(3)
    assert retrieval_scores(ranking, "mono") == pytest.approx(
        {
            "AP": (0.45 + 1 + 1 / 12) / 3,
            "RR": (1 / 2 + 1 + 1 / 12) / 3,
            "nDCG@10": (gain / ideal + 1) / 3,
            "R@1": 1 / 3,
            "R@10": 2 / 3,
            "R@100": 1,
        }
    )


@pytest.mark.parametrize(("rank", "values"), [(10, (1 / math.log2(11), 1, 1)), (11, (0, 0, 1)), (101, (0, 0, 0))])
def test_scores_are_cut_at_their_depth(rank, values):
    ranking = Ranking(np.array([rank]), np.ones(1, int), np.zeros(1, int), 1)
    scores = retrieval_scores(ranking, "multi")
    assert tuple(scores[name] for name in ("nDCG@10", "R@10", "R@100")) == pytest.approx(values)
    assert "rank_distance" not in scores  # no query has two relevant documents


def test_no_rank_distance_without_translations():
    collection = random_collection(np.random.default_rng(2), queries=6)
    scores = random_scores(np.random.default_rng(2), collection, None)
    for parallel in (True, False):
        same = replace(collection, parallel=parallel)
        ranks, _ = rank(same, Matrix(scores), confidences=False)
        rankings = [Ranking.from_ranks(same, ranks, judged) for judged in judged_subsets(same, "multi")]
        assert any("rank_distance" in retrieval_scores(ranking, "multi") for ranking in rankings) == parallel


@pytest.mark.parametrize("levels", [None, 12], ids=["random", "ties"])
@pytest.mark.parametrize("graded", [False, True])
def test_every_key_equals_mteb(levels, graded):
    """Holds for mteb 2.26.5 and later, whose nAUC shares the mean of tied confidences."""
    generator = np.random.default_rng(11)
    collection = random_collection(generator, queries=120, documents=200, graded=graded)
    scores = random_scores(generator, collection, levels)
    ranks, confidences = rank(collection, Matrix(scores))
    ids = [document.id for document in collection.documents]
    compared = 0
    for mode in MODES:
        for judged in judged_subsets(collection, mode):
            columns = range(len(ids))
            if judged.subset.documents is not None:
                block = collection.document_blocks[judged.subset.documents]
                columns = range(block.start, block.stop)
            candidates = {ids[column] for column in columns}
            qrels, run = {}, {}
            for row in judged.rows:
                name = collection.queries[row].id
                qrels[name] = {key: grade for key, grade in collection.relevant(row).items() if key in candidates}
                # best first: the last bit of MTEB's standard deviation hangs on the order, and ours on no other
                best = sorted(columns, key=lambda column, row=row: scores[row, column], reverse=True)
                run[name] = {ids[column]: float(scores[row, column]) for column in best}
            theirs = mteb_keys(run, qrels)
            ours = mteb_scores(Ranking.from_ranks(collection, ranks, judged), judged, confidences, collection)
            assert ours.keys() == theirs.keys()
            for key, value in theirs.items():
                # nAUC divides by a difference that is only rounding if a measure is the same for all queries
                if math.isnan(value) or abs(value) > 1e3:
                    continue
                assert ours[key] == pytest.approx(value, abs=1e-5), (judged.subset.name, key)
                compared += 1
    assert compared > 2000


def mteb_keys(run, qrels):
    scores = calculate_retrieval_scores(run, qrels, list(CUTOFFS))
    return make_score_dict(
        ndcg=scores.ndcg,
        _map=scores.map,
        recall=scores.recall,
        precision=scores.precision,
        mrr=scores.mrr,
        naucs=scores.naucs,
        naucs_mrr=scores.naucs_mrr,
        hit_rate=scores.hit_rate,
        task_scores={},
    )


def test_no_nauc_without_confidences():
    collection = random_collection(np.random.default_rng(12))
    ranks, confidences = rank(collection, Matrix(random_scores(np.random.default_rng(12), collection, None)))
    judged = next(iter(judged_subsets(collection, "multi")))
    ranking = Ranking.from_ranks(collection, ranks, judged)
    without = mteb_scores(ranking, judged, None, collection)
    assert not [key for key in without if key.startswith("nauc")]
    assert len([key for key in mteb_scores(ranking, judged, confidences, collection) if key.startswith("nauc")]) == 105


# A measure by its name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AP", [9 / 20, 1]),
        ("RR", [1 / 2, 1]),
        ("RR@1", [0, 1]),
        ("R@2", [1 / 2, 1]),
        ("P@5", [2 / 5, 1 / 5]),
        ("Success@1", [0, 1]),
        ("nDCG@3", [1 / np.log2(3) / (1 + 1 / np.log2(3)), 1]),
        ("rank_distance", [3, float("nan")]),  # a single answer has no distance
    ],
)
def test_measure_by_name(name, expected):
    ranking = Ranking(np.array([2, 5, 1]), np.array([1, 1, 1]), np.array([0, 0, 1]), 2)
    measure = Measure.parse(name)
    assert measure.name == name
    assert measure.from_ranking(ranking).tolist() == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ndcg@5", "unknown measure 'ndcg@5'; did you mean 'nDCG@5'"),
        ("nDCG", "unknown measure 'nDCG'; did you mean 'nDCG@10'"),
        ("rank-distance", "unknown measure 'rank-distance'; did you mean 'rank_distance'"),
        ("R@0", "unknown measure 'R@0'"),
        ("AP@", "unknown measure 'AP@'"),
        ("xyz", "unknown measure 'xyz' (choose from AP, RR, nDCG@10, R@1, R@10, R@100, rank_distance, "),
        ("R@" + "9" * 5000, "unknown measure 'R@999"),
    ],
)
def test_unknown_measure_gets_suggestion(name, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        Measure.parse(name)


def test_ap_at_k_divides_as_xtreme_r():
    """AP@20 as XTREME-R reports LAReQA: divided by min(|relevant|, 20), so that a full top is a full score."""
    ranking = Ranking(np.array([1, 2, 5]), np.ones(3, int), np.zeros(3, int), 1)
    assert Measure.parse("AP@2").from_ranking(ranking).tolist() == [1]
    assert Measure.parse("AP@20").from_ranking(ranking).tolist() == pytest.approx([(1 + 1 + 3 / 5) / 3])
