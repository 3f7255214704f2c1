"""Values of a random ranking: by hand, against all orders of a small pool, and against simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.measures.bias import Bias
from hbt_bench.measures.chance import EXPECTED, _simulated, chance
from hbt_bench.measures.registry import MEASURES, Measure
from hbt_bench.measures.scores import ModeRanks
from hbt_bench.ranking.ranks import Ranks
from tests.factories import parallel_collection, random_collection

#: Names of all measures with a formula, with a cut-off of 2 where they have one.
FORMULAS = [name.replace("@k", "@2") for name in EXPECTED]


def formula(name):
    """Return a measure with a cut-off that the registry may not have."""
    functions = {
        "Complete@2": lambda bias: bias.complete(2),
        "TLR@2": lambda bias: bias.target_language_recall(2),
        "same_language_excess@2": lambda bias: bias.same_language_excess(2),
    }
    return Measure(name, from_pool=functions[name], modes=("multi",)) if name in functions else Measure.parse(name)


@pytest.fixture(scope="module")
def pool():
    """Five documents in two languages, two of them relevant to a German query, three to an English query."""
    languages = {"a": "de", "b": "de", "c": "en", "d": "en", "e": "en"}
    documents = [Document(name, code, name) for name, code in languages.items()]
    asks = [Query("q", "de", "q", "q"), Query("r", "en", "r", "r")]
    relevant = {"q": {"a": 2, "c": 1}, "r": {"a": 1, "d": 1, "e": 3}}
    return Collection.from_records("c", asks, documents, relevant)


def all_orders(collection):
    """Return the bias of every order of the documents, the same for all queries."""
    size = len(collection.documents)
    for order in itertools.permutations(range(size)):
        ranks = np.argsort(order)[collection.qrels.documents].astype(np.int32) + 1
        top = np.tile(np.array(order, np.int32), (len(collection.queries), 1))
        yield Bias(collection, Ranks(ranks, ranks, top))


@pytest.mark.parametrize("name", FORMULAS)
def test_formula_equals_mean_over_all_orders(pool, name):
    measure = formula(name)
    means = [np.nanmean(measure.pool_values(bias)) for bias in all_orders(pool)]
    assert chance(measure, pool, "multi") == pytest.approx(np.mean(means))


@pytest.mark.parametrize("mode", ["mono", "cross", "multi"])
@pytest.mark.parametrize("name", FORMULAS)
def test_simulation_agrees_with_formula(name, mode):
    collection = random_collection(np.random.default_rng(3), queries=40, documents=30, graded=True)
    measure = formula(name)
    expected = chance(measure, collection, mode)
    if expected is None:
        assert mode not in measure.modes
        return
    draws = [
        np.mean([np.nanmean(values) for values in ModeRanks(*draw, mode).values(measure) if np.isfinite(values).any()])
        for draw in _simulated(collection)
    ]
    assert abs(np.mean(draws) - expected) <= 4.5 * np.std(draws) / np.sqrt(len(draws)) + 1e-12


def test_chance_by_hand():
    collection = parallel_collection(6, extra=5)  # 33 documents in 3 languages, 3 relevant
    by_chance = {name: chance(Measure.parse(name), collection, "multi") for name in ("R@11", "LPR", "rank_distance")}
    assert by_chance == pytest.approx({"R@11": 1 / 3, "LPR": 1 / 3, "rank_distance": 34 * 2 / 4})
    assert chance(Measure.parse("RR"), collection, "mono") == pytest.approx(np.mean(1 / np.arange(1, 12)))
    assert chance(Measure.parse("rank_distance"), collection, "mono") is None


def test_simulated_measures_have_a_fixed_value():
    collection = parallel_collection(30, extra=10)
    first = {measure.name: chance(measure, collection, "multi") for measure in MEASURES if measure.bias}
    assert {name for name, value in first.items() if value is None} == {"PEER@20", "rank_equality"}
    _simulated.cache_clear()
    assert first == {measure.name: chance(measure, collection, "multi") for measure in MEASURES if measure.bias}
    # two independent top 20 of a pool of 120 documents share some 3; without any, MRC is -85.7
    assert -85.7 < first["MRC@20"] < -60
    assert 0.9 < first["AWRF@20"] < 1


def test_a_measure_without_query_values_has_no_chance(pool):
    assert chance(MEASURES["AP_below_best"], pool, "multi") is None
    assert chance(MEASURES.describe("mean_rank_de"), pool, "multi") is None
