"""The user's view of language by hand on six queries, and hubs and groups of languages."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.measures.hubness import hubness
from hbt_bench.measures.preference import FIRST
from hbt_bench.measures.registry import MEASURES, Measure
from hbt_bench.reports.strata import Strata
from tests.factories import aligned_bias, bias_of_orders, six_queries


@pytest.fixture(scope="module")
def six():
    return six_queries()


def test_lpr_is_the_name_of_the_paper(six):
    measure = Measure.parse("LPR")
    assert measure is MEASURES["same_language_first"]
    assert measure.title_in("multi") == "LPR"
    # de 0 and de 1 rank German first; en 0 ranks Swahili first, en 1 and sw 1 German, sw 0 English
    assert measure.pool_values(six).tolist() == [1, 1, 0, 0, 0, 0]


def test_lang_ndcg_by_hand(six):
    # the answers in the query's language are at the ranks 1, 1, 2, 7, 9, 3
    gains = [1 / math.log2(rank + 1) for rank in (1, 1, 2, 7, 9, 3)]
    assert Measure.parse("Lang-nDCG@10").pool_values(six).tolist() == pytest.approx(gains)
    assert six.lang_ndcg(3).tolist() == pytest.approx([1, 1, gains[2], 0, 0, 0.5])


def test_lang_ndcg_needs_an_answer_in_the_language():
    asks = [Query(f"{code}-q", code, code, "q") for code in ("de", "en")]
    documents = [Document("a", "de", "a"), Document("b", "de", "b"), Document("c", "en", "c")]
    relevant = {"de-q": {"a": 2, "b": 1, "c": 3}, "en-q": {"a": 1}}
    bias = bias_of_orders(Collection.from_records("c", asks, documents, relevant), [["c", "b", "a"], ["a", "b", "c"]])
    german, english = bias.lang_ndcg(10)
    # grade 1 at rank 2 and grade 2 at rank 3, over grade 2 first and grade 1 second
    assert german == pytest.approx((1 / math.log2(3) + 2 / 2) / (2 + 1 / math.log2(3)))
    assert math.isnan(english)


def test_first_document_by_hand(six):
    # en 1 is the only query with a wrong first document, which is German
    expected = {
        "first_right_own": [1, 1, 0, 0, 0, 0],
        "first_right_other": [0, 0, 1, 0, 1, 1],
        "first_wrong_own": [0, 0, 0, 0, 0, 0],
        "first_wrong_other": [0, 0, 0, 1, 0, 0],
    }
    assert {kind: MEASURES[kind].pool_values(six).tolist() for kind in FIRST} == expected


def test_rank_shift_by_hand(six):
    # de 0: English from 4 to 2 if asked in English, Swahili stays at 9; both could rise by 3 + 8
    # en 0: German from 3 to 1; sw 0: German from 2 to 1; de 1 and sw 1: nothing rises
    # en 1: German from 5 to 1, Swahili from 9 to 3
    expected = [100 * 2 / 11, 0, 100 * 2 / 2, 100 * 10 / 12, 100 * 1 / 1, 0]
    assert MEASURES["MLRS-Q"].pool_values(six).tolist() == pytest.approx(expected)


def test_rank_shift_needs_a_version_of_the_query():
    documents = [Document("a", "de", "a"), Document("b", "en", "b")]
    asks = [Query("q", "de", "q", "q")]
    bias = bias_of_orders(Collection.from_records("c", asks, documents, {"q": {"a": 1, "b": 1}}), [["a", "b"]])
    assert np.isnan(bias.rank_shift()).all()


def test_measures_of_the_user_are_not_stored():
    assert not any(MEASURES[name].stored for name in (*FIRST, "Lang-nDCG@10", "MLRS-Q", "PEER@20"))


def test_hubness_by_hand():
    documents = [Document(name, "de", name) for name in "abcd"]
    asks = [Query(f"q{number}", "de", "q", f"q{number}") for number in range(4)]
    collection = Collection.from_records("c", asks, documents, {query.id: {"a": 1} for query in asks})
    bias = bias_of_orders(collection, ["ab", "ac", "ab", "ad"])
    hubs = hubness(collection, bias.ranks, 2)
    # a is in 4 top 2, b in 2, c and d in 1: the mean is 2, the second moment 6/4, the third 6/4
    assert hubs.skewness == pytest.approx(1.5 / 1.5**1.5)
    assert hubs.chance == 0  # a document is in half of the top 2
    assert (hubs.hubs, hubs.never, hubs.languages) == (0.5, 0, {"de": hubs.skewness})
    first = hubness(collection, bias.ranks, 1)
    assert (first.never, first.hubs) == (0.75, 1)


def test_strata_by_hand(six):
    strata = Strata.from_bias(six, "family")
    assert strata.groups == {"Indo-European": ["de", "en"], "Niger-Congo": ["sw"]}
    found = {(stratum.measure, stratum.queries, stratum.documents): stratum for stratum in strata.strata}
    assert found["rank_distance", "Indo-European", None].value == 4  # 8 and 2 in German, 2 and 4 in English
    assert found["rank_distance", "Niger-Congo", None].value == 5
    assert found["same_language_first", "Indo-European", None].value == 0.5
    # all 9 documents are in the top 10
    assert found["TLR@10", "Indo-European", "Niger-Congo"].value == 1
    assert found["TLR@10", "Indo-European", "Indo-European"].value == 1  # German answers to English, and the reverse
    assert ("TLR@10", "Niger-Congo", "Niger-Congo") not in found  # Swahili has no other language of its family
    by_query, by_pair = strata.tables()
    assert [by_query.header[-1], strata.tables(for_user=True)[0].header[-1]] == [
        "own-lang. bias ↓",
        "own-lang. bias ↑",
    ]
    assert by_query.rows[1][:2] == ["Niger-Congo", "sw"]
    assert by_pair.rows[1][2] == "-"


@pytest.mark.parametrize(("by", "groups"), [("script", {"Latn"}), ("resources", {"2", "5"})])
def test_strata_have_intervals(by, groups):
    strata = Strata.from_bias(aligned_bias(), by)
    assert set(strata.groups) == groups
    assert all(stratum.low <= stratum.value <= stratum.high for stratum in strata.strata)
    assert strata.records()[0]["by"] == by
