"""The engine on random small collections, and what must not change its ranks; benchmarks/fuzz_ranks.py has the rest."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fuzz_ranks import Case, Matrix, check
from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.measures.mteb_keys import mteb_scores
from hbt_bench.measures.ranking import Ranking
from hbt_bench.ranking import blocks as blocking
from hbt_bench.ranking import ranks as engine
from hbt_bench.ranking.ranks import rank
from hbt_bench.ranking.subsets import Subset, SubsetQrels

SEEDS = st.integers(0, 2**31)
FEW = settings(max_examples=40, deadline=None)


def test_four_hundred_cases():
    seen = Counter()
    for number in range(400):
        check(number, seen)
    assert seen["pairs"] > 4000
    assert seen["values against trec_eval"] > 20_000
    assert all(seen[f"refused: {wrong}"] for wrong in ("NaN", "shape", "document id", "query id", "own"))


def test_a_querys_own_text_does_not_tie_with_a_score_of_minus_infinity():
    documents = [Document(name, "en", name) for name in ("a", "b", "z")]
    collection = Collection.from_records("c", [Query("z", "en", "z", "1")], documents, {"z": {"a": 1}}, own_copies=True)
    ranks, _ = rank(collection, Matrix(np.array([[-np.inf, 1, 5]], np.float32)))  # "z" is greater than "a"
    assert (ranks.pool.tolist(), ranks.block.tolist(), ranks.top.tolist()) == ([2], [2], [[1, 0]])


def by_id(collection, values):
    """The ranks of each judged pair, by the ids of its query and document."""
    return {
        (collection.queries[query].id, collection.documents[document].id): int(value)
        for query, document, value in zip(collection.qrels.queries, collection.qrels.documents, values, strict=True)
    }


def columns_of(case, collection):
    """The scores of a case, by query and document id."""
    return {
        (query.id, document.id): case.scores[row, column]
        for row, query in enumerate(collection.queries)
        for column, document in enumerate(collection.documents)
    }


def scored(collection, scores):
    """A scorer of `collection` that gives each pair of ids its score."""
    return Matrix(
        np.array([[scores[query.id, document.id] for document in collection.documents] for query in collection.queries])
    )


def average_precision(collection, ranks, language):
    return Ranking.from_ranks(collection, ranks, SubsetQrels.of(collection, Subset(language, None))).average_precision()


@FEW
@given(SEEDS)
def test_an_irrelevant_document_never_raises_average_precision(seed):
    case, chance = Case.draw(seed), np.random.default_rng(seed)
    collection = case.collection()
    before, _ = rank(collection, Matrix(case.scores), confidences=False)
    more = Document(f"new{chance.integers(9)}", str(chance.choice(collection.languages)), "of no use")
    larger = Collection.from_records(
        "c", case.queries, [*case.documents, more], case.relevant, own_copies=case.own_copies
    )
    scores = columns_of(case, collection)
    scores |= {(query.id, more.id): chance.choice(case.scores.ravel()) for query in case.queries}
    after, _ = rank(larger, scored(larger, scores), confidences=False)
    for language in {query.language for query in case.queries}:
        lower = average_precision(larger, after, language)
        assert (lower <= average_precision(collection, before, language)).all()
    for old, new in ((before.pool, after.pool), (before.block, after.block)):
        ranks, later = by_id(collection, old), by_id(larger, new)
        assert all(later[pair] - ranks[pair] in (0, 1) for pair in ranks)


@FEW
@given(SEEDS, st.integers(-20, 20), st.sampled_from([1, 2, 0.25]))
def test_adding_to_all_scores_or_doubling_them_changes_nothing(seed, constant, factor):
    case, chance = Case.draw(seed), np.random.default_rng(seed)
    collection = case.collection()
    scores = (chance.integers(-64, 64, case.scores.shape) / 16).astype(np.float32)  # sums of these are exact
    moved = scores * np.float32(factor) + np.float32(constant)
    assert ((moved.astype(np.float64) - constant) / factor == scores).all()
    before, after = (rank(collection, Matrix(one), confidences=False)[0] for one in (scores, moved))
    for name in ("pool", "block", "top"):
        assert np.array_equal(getattr(before, name), getattr(after, name))


@FEW
@given(SEEDS)
def test_the_order_of_documents_and_queries_changes_nothing(seed):
    case, chance = Case.draw(seed), np.random.default_rng(seed)
    collection = case.collection()
    documents = [case.documents[place] for place in chance.permutation(len(case.documents))]
    queries = [case.queries[place] for place in chance.permutation(len(case.queries))]
    other = Collection.from_records("c", queries, documents, case.relevant, own_copies=case.own_copies)
    before, _ = rank(collection, Matrix(case.scores), confidences=False)
    after, _ = rank(other, scored(other, columns_of(case, collection)), confidences=False)
    assert by_id(collection, before.pool) == by_id(other, after.pool)
    assert by_id(collection, before.block) == by_id(other, after.block)
    tops = [
        {
            query.id: [collection_.documents[column].id for column in ranks.top[row]]
            for row, query in enumerate(collection_.queries)
        }
        for collection_, ranks in ((collection, before), (other, after))
    ]
    assert tops[0] == tops[1]


@FEW
@given(SEEDS, st.integers(1, 300), st.integers(1, 60))
def test_the_size_of_blocks_changes_nothing(seed, state_bytes, scores_a_block):
    case = Case.draw(seed)
    collection = case.collection()
    before, sure = rank(collection, Matrix(case.scores))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_STATE_BYTES", state_bytes)
        patch.setattr(blocking, "_BLOCK_SCORES", scores_a_block)
        after, still = rank(collection, Matrix(case.scores))
    for name in ("pool", "block", "top"):
        assert np.array_equal(getattr(before, name), getattr(after, name))
    for name in ("highest", "spread", "margin"):
        assert np.array_equal(getattr(sure, name), getattr(still, name), equal_nan=True)


def test_infinite_scores_are_ranked_and_have_no_spread():
    documents = [Document(f"d{number}", "en", str(number)) for number in range(4)]
    queries = [Query("q1", "en", "a", "1"), Query("q2", "en", "b", "2")]
    collection = Collection.from_records("c", queries, documents, {"q1": {"d0": 1}, "q2": {"d0": 1}})
    scores = np.array([[1, np.inf, 0, -1], [3, 2, 1, 0]], dtype=np.float32)
    ranks, confidences = rank(collection, Matrix(scores))
    assert ranks.pool.tolist() == [2, 1]
    judged = SubsetQrels.of(collection, Subset("en", None))
    found = mteb_scores(Ranking.from_ranks(collection, ranks, judged), judged, confidences, collection)
    assert np.isfinite(found["nauc_ndcg_at_10_max"])
    assert np.isnan(found["nauc_ndcg_at_10_std"])  # a sort would take a NaN for the highest confidence


def test_confidences_of_a_long_ranking():
    chance = np.random.default_rng(3)
    documents = [Document(f"d{number}", "en", str(number)) for number in range(1200)]
    queries = [Query(f"q{number}", "en", "a", str(number)) for number in range(5)]
    collection = Collection.from_records("c", queries, documents, {query.id: {"d0": 1} for query in queries})
    scores = chance.standard_normal((5, 1200)).astype(np.float32)
    _, found = rank(collection, Matrix(scores))
    best = np.sort(scores.astype(np.float64), axis=1)[:, ::-1]
    for place in (0, 1):
        assert found.highest[:, place].tolist() == best[:, 0].tolist()
        np.testing.assert_allclose(found.margin[:, place], best[:, 0] - best[:, 1], rtol=1e-6)
        np.testing.assert_allclose(found.spread[:, place], best[:, :1000].std(axis=1), rtol=1e-9)


def test_the_only_document_of_a_language_when_questions_are_documents():
    documents = [Document("en-1", "en", "one")]
    collection = Collection.from_records(
        "c", [Query("de-1", "de", "eins", "1")], documents, {"de-1": {"en-1": 1}}, own_copies=True
    )
    ranks, _ = rank(collection, Matrix(np.array([[0.5]], np.float32)))
    assert ranks.pool.tolist() == [1]
    assert ranks.block.tolist() == [1]
