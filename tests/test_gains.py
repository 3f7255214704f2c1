"""R-precision, and nDCG with exponential gain, by hand and by trec_eval."""

from __future__ import annotations

import numpy as np
import pytest

from hbt_bench.measures.ranking import Ranking
from hbt_bench.measures.registry import MEASURES, Measure
from hbt_bench.measures.scores import ModeRanks
from hbt_bench.ranking.ranks import rank
from tests.factories import Matrix, random_collection, random_scores


def test_values_by_hand():
    # a query with relevant documents at ranks 1, 3 and 7, of the grades 1, 3 and 2; one with a document at rank 2
    ranking = Ranking(np.array([1, 3, 7, 2]), np.array([1, 3, 2, 1]), np.array([0, 0, 0, 1]), 2)
    assert ranking.r_precision() == pytest.approx([2 / 3, 0])
    gain = 1 / np.log2(2) + 7 / np.log2(4)
    ideal = 7 / np.log2(2) + 3 / np.log2(3) + 1 / np.log2(4)
    assert ranking.ndcg(3, exponential=True) == pytest.approx([gain / ideal, 1 / np.log2(3)])
    assert ranking.ndcg(3) == pytest.approx([(1 + 3 / 2) / (3 + 2 / np.log2(3) + 1 / 2), 1 / np.log2(3)])


def test_greatest_grades_do_not_overflow():
    ranking = Ranking(np.array([1, 2]), np.array([32767, 32766]), np.array([0, 0]), 1)
    assert ranking.ndcg(10, exponential=True) == pytest.approx([1])


def test_parity_with_trec_eval():
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="pip install pytrec-eval-terrier")
    generator = np.random.default_rng(5)
    collection = random_collection(generator, graded=True)
    scores = random_scores(generator, collection, levels=9)
    mode = ModeRanks(collection, rank(collection, Matrix(scores), confidences=False)[0], "multi")
    ids = [document.id for document in collection.documents]
    names = [query.id for query in collection.queries]
    qrels = {name: dict(collection.relevant(row)) for row, name in enumerate(names)}
    gains = {name: {document: 2**grade - 1 for document, grade in grades.items()} for name, grades in qrels.items()}
    run = {name: dict(zip(ids, map(float, scores[row]), strict=True)) for row, name in enumerate(names)}
    for measure, judged, key in (("Rprec", qrels, "Rprec"), ("nDCGexp@10", gains, "ndcg_cut_10")):
        values = np.concatenate(mode.values(Measure.parse(measure)))
        results = pytrec_eval.RelevanceEvaluator(judged, {key.replace("_10", ".10")}).evaluate(run)
        assert values == pytest.approx([results[name][key] for name in names], abs=1e-6)


def test_they_can_be_compared_but_are_not_in_results():
    assert not Measure.parse("Rprec").scored
    assert Measure.parse("nDCGexp@10").lower_is_better is False
    assert "Rprec" not in MEASURES.in_tables()
