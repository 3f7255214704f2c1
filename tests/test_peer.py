"""PEER by hand on six queries, and its parity with an independent implementation and with the authors' package."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi2

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.errors import DataError, UsageError
from hbt_bench.measures.bias import Bias
from hbt_bench.measures.registry import MEASURES, Measure
from hbt_bench.ranking.ranks import rank
from tests.factories import Matrix, bias_of_orders, random_collection, six_queries


@pytest.fixture
def pairs():
    """Six queries, each with two relevant documents in German (a, b) and English (c, d); x to z are not relevant."""
    asks = [Query(f"q{number}", "de", "q", f"q{number}") for number in range(6)]
    languages = dict.fromkeys("abuvw", "de") | dict.fromkeys("cdxyz", "en")
    documents = [Document(name, code, name) for name, code in languages.items()]
    collection = Collection.from_records("c", asks, documents, {query.id: dict.fromkeys("abcd", 1) for query in asks})
    return bias_of_orders(
        collection,
        ["abcduvwxyz", "acdbuvwxyz", "uvwxyzabcd", "auvwxybcdz", "uvwxyabcdz", "acuvbdwxyz"],
    )


def test_peer_by_hand(pairs):
    values = pairs.peer(6).tolist()
    # German at 1, 2 and English at 3, 4: mean ranks 1.5 and 3.5 about 2.5, H = 3 (2 + 2)/5
    assert values[0] == pytest.approx(chi2.sf(2.4, 1))
    # German at 1, 4 and English at 2, 3 have equal means
    assert values[1] == 1
    # no answer in the top 6
    assert values[2] == 1
    # German at 1; the others share (2 * 4 + 3 + 1)/2 = 6: means 3.5 and 6 about 4.75, H = 3 * 6.25/18.75
    assert values[3] == pytest.approx(chi2.sf(1, 1))
    # German at 6, where the others are, too
    assert math.isnan(values[4])
    # the positions count, not the ranks among the answers: German at 1, 5, English at 2, 6, H = 3 * 1/17
    assert values[5] == pytest.approx(chi2.sf(3 / 17, 1))


def test_rank_equality_has_no_cutoff(pairs):
    values = pairs.rank_equality().tolist()
    assert values[2:4] == pytest.approx([chi2.sf(2.4, 1)] * 2)  # German at 7, 8 or 1, 7; English after both
    assert values[5] == pytest.approx(chi2.sf(0.6, 1))  # in the order German, English, German, English


def test_peer_with_one_language_is_1():
    documents = [Document(name, "de", name) for name in "ab"]
    collection = Collection.from_records("c", [Query("q", "de", "q", "q")], documents, {"q": {"a": 1, "b": 1}})
    bias = bias_of_orders(collection, ["ab"])
    assert bias.peer(2).tolist() == [1]
    assert np.isnan(bias.rank_equality()).all()


def test_peer_refuses_constant_statistics_and_wrong_weights(pairs):
    with pytest.raises(DataError, match="several relevant documents in a language"):
        six_queries().peer(9)
    with pytest.raises(DataError, match=r"add up to 0\.5: they must add up to 1"):
        pairs.peer(6, {1: 0.5})
    with pytest.raises(DataError, match="needs the top 30"):
        pairs.peer(30, {0: 0.5, 1: 0.5})


def test_old_key_of_peer_is_rank_equality(pairs):
    assert MEASURES.describe("PEER") is MEASURES["rank_equality"]
    with pytest.raises(UsageError, match="PEER@"):
        Measure.parse("PEER")  # a cut-off is needed, as in the package
    assert Measure.parse("PEER@6").pool_values(pairs)[0] == pytest.approx(chi2.sf(2.4, 1))


def loops(samples, members):
    """Return p of the authors' definition from the positions of each language, None below the cut."""
    missing = sum(position is None for positions in samples.values() for position in positions)
    if missing == members:
        return 1.0
    shared = (2 * members + missing + 1) / 2
    groups = [[shared if place is None else place for place in places] for places in samples.values() if places]
    if len(groups) < 2:
        return 1.0
    values = [value for group in groups for value in group]
    mean = sum(values) / len(values)
    between = sum(len(group) * (sum(group) / len(group) - mean) ** 2 for group in groups)
    whole = sum((value - mean) ** 2 for value in values)
    return chi2.sf((len(values) - 1) * between / whole, len(groups) - 1) if whole else math.nan


def by_loops(grades, languages, order, depth, weights):
    """Return PEER of a query: `grades` of the relevant documents, `languages` of all, and the ranking `order`."""
    total = 0.0
    for grade, weight in weights.items():
        named = order[:depth] if grade == 0 else grades
        members = [name for name in named if grades.get(name, 0) == grade]
        samples = {}
        for name in members:
            samples.setdefault(languages[name], []).append(order.index(name) + 1 if name in order[:depth] else None)
        if members:
            total += weight * loops(samples, len(members))
    return total


def random_runs(number):
    """Yield random rankings of collections with grades, and a depth and weights of PEER."""
    generator = np.random.default_rng(7)
    for draw in range(number // 20):
        collection = random_collection(generator, queries=20, documents=40, graded=True)
        scores = np.stack([generator.permutation(40) for _ in collection.queries]).astype(np.float32)
        bias = Bias(collection, rank(collection, Matrix(scores), confidences=False)[0])
        weights = {1: 0.2, 2: 0.3, 3: 0.5} if draw % 2 else {0: 0.4, 1: 0.1, 3: 0.5}
        yield bias, scores, int(generator.integers(3, 21)), weights


def test_peer_equals_loops_on_1000_random_runs():
    checked = 0
    for bias, scores, depth, weights in random_runs(1_000):
        collection = bias.judgements
        names = [document.id for document in collection.documents]
        languages = {document.id: document.language for document in collection.documents}
        values = bias.peer(depth, weights)
        for row, value in enumerate(values):
            order = [names[column] for column in np.argsort(-scores[row])]
            expected = by_loops(collection.relevant(row), languages, order, depth, weights)
            assert value == pytest.approx(expected, abs=1e-12, nan_ok=True)
            checked += 1
    assert checked == 1_000


def test_peer_equals_the_authors_package_on_1000_random_runs():
    package = pytest.importorskip("peer_measure", reason="peer_measure is not installed")
    checked = 0
    for bias, scores, depth, weights in random_runs(1_040):
        collection = bias.judgements
        languages = {document.id: document.language for document in collection.documents}
        # the package needs a judgement of 0 in every query that has another document in the top
        qrels = {
            query.id: dict.fromkeys(languages, 0) | dict(collection.relevant(row))
            for row, query in enumerate(collection.queries)
        }
        run = {
            query.id: dict(zip(languages, scores[row].astype(float).tolist(), strict=True))
            for row, query in enumerate(collection.queries)
        }
        measure = package.PEER(weights=weights, lang_mapping=languages) @ depth
        # version 0.0.1 finds its measures with a function that newer ir_measures lack; its evaluator does not need it
        evaluator = package.PEEREvaluator([measure], qrels, {0: [(depth, measure)]}, {0: languages})
        found = {item.query_id: item.value for item in evaluator.iter_calc(run)}
        ours = bias.peer(depth, weights)
        theirs = np.array([found[query.id] for query in collection.queries])
        # a grade without a weight, at equal positions, makes the package's value NaN
        defined = np.isfinite(theirs)
        assert ours[defined].tolist() == pytest.approx(theirs[defined].tolist(), abs=1e-12)
        checked += defined.sum()
    assert checked >= 1_000
