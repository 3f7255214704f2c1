"""Check the engine on random small collections, and that equivalent inputs give equal ranks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fuzz_ranks import Case, Matrix, check
from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.measures.ranking import Ranking
from hbt_bench.measures.scores import mteb_scores
from hbt_bench.ranking import blocks as blocking
from hbt_bench.ranking import ranks as engine
from hbt_bench.ranking.ranks import rank
from hbt_bench.ranking.subsets import Subset, SubsetQrels

SEEDS = st.integers(0, 2**31)
FEW = settings(max_examples=40, deadline=None)


def test_random_cases_equal_sort_and_trec_eval():
    seen = Counter()
    for number in range(400):
        check(number, seen)
    assert seen["pairs"] > 4000
    assert seen["values against trec_eval"] > 20_000
    assert all(seen[f"refused: {wrong}"] for wrong in ("NaN", "shape", "document id", "query id", "own"))


def test_hidden_copy_does_not_tie_with_infinity():
    documents = [Document(name, "en", name) for name in ("a", "b", "z")]
    collection = Collection.from_records("c", [Query("z", "en", "z", "1")], documents, {"z": {"a": 1}}, own_copies=True)
    ranks, _ = rank(collection, Matrix(np.array([[-np.inf, 1, 5]], np.float32)))  # "z" is greater than "a"
    assert (ranks.pool.tolist(), ranks.block.tolist(), ranks.top.tolist()) == ([2], [2], [[1, 0]])


def by_id(collection, values):
    """Return the rank of each judged pair, by the ids of its query and document."""
    return {
        (collection.queries[query].id, collection.documents[document].id): int(value)
        for query, document, value in zip(collection.qrels.queries, collection.qrels.documents, values, strict=True)
    }


def columns_of(case, collection):
    """Return the scores of a case, by query and document id."""
    return {
        (query.id, document.id): case.scores[row, column]
        for row, query in enumerate(collection.queries)
        for column, document in enumerate(collection.documents)
    }


def scored(collection, scores):
    """Return a scorer of the collection with a score for each pair of ids."""
    return Matrix(
        np.array([[scores[query.id, document.id] for document in collection.documents] for query in collection.queries])
    )


def average_precision(collection, ranks, language):
    return Ranking.from_ranks(
        collection, ranks, SubsetQrels.from_collection(collection, Subset(language, None))
    ).average_precision()


@FEW
@given(SEEDS)
def test_irrelevant_document_never_raises_average_precision(seed):
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
def test_scaled_and_shifted_scores_give_equal_ranks(seed, constant, factor):
    case, chance = Case.draw(seed), np.random.default_rng(seed)
    collection = case.collection()
    scores = (chance.integers(-64, 64, case.scores.shape) / 16).astype(np.float32)  # sums of these are exact
    moved = scores * np.float32(factor) + np.float32(constant)
    assert ((moved.astype(np.float64) - constant) / factor == scores).all()
    before, after = (rank(collection, Matrix(matrix), confidences=False)[0] for matrix in (scores, moved))
    for name in ("pool", "block", "top"):
        assert np.array_equal(getattr(before, name), getattr(after, name))


@FEW
@given(SEEDS)
def test_order_of_records_changes_nothing(seed):
    case, chance = Case.draw(seed), np.random.default_rng(seed)
    collection = case.collection()
    documents = [case.documents[index] for index in chance.permutation(len(case.documents))]
    queries = [case.queries[index] for index in chance.permutation(len(case.queries))]
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
def test_size_of_blocks_changes_nothing(seed, state_bytes, scores_a_block):
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


def test_infinite_scores_have_ranks_and_no_spread():
    documents = [Document(f"d{number}", "en", str(number)) for number in range(4)]
    queries = [Query("q1", "en", "a", "1"), Query("q2", "en", "b", "2")]
    collection = Collection.from_records("c", queries, documents, {"q1": {"d0": 1}, "q2": {"d0": 1}})
    scores = np.array([[1, np.inf, 0, -1], [3, 2, 1, 0]], dtype=np.float32)
    ranks, confidences = rank(collection, Matrix(scores))
    assert ranks.pool.tolist() == [2, 1]
    judged = SubsetQrels.from_collection(collection, Subset("en", None))
    results = mteb_scores(Ranking.from_ranks(collection, ranks, judged), judged, confidences, collection)
    assert np.isfinite(results["nauc_ndcg_at_10_max"])
    assert np.isnan(results["nauc_ndcg_at_10_std"])  # a sort would take a NaN for the highest confidence


def test_confidences_of_a_long_ranking():
    chance = np.random.default_rng(3)
    documents = [Document(f"d{number}", "en", str(number)) for number in range(1200)]
    queries = [Query(f"q{number}", "en", "a", str(number)) for number in range(5)]
    collection = Collection.from_records("c", queries, documents, {query.id: {"d0": 1} for query in queries})
    scores = chance.standard_normal((5, 1200)).astype(np.float32)
    _, confidences = rank(collection, Matrix(scores))
    best = np.sort(scores.astype(np.float64), axis=1)[:, ::-1]
    for index in (0, 1):
        assert confidences.highest[:, index].tolist() == best[:, 0].tolist()
        np.testing.assert_allclose(confidences.margin[:, index], best[:, 0] - best[:, 1], rtol=1e-6)
        np.testing.assert_allclose(confidences.spread[:, index], best[:, :1000].std(axis=1), rtol=1e-9)


def test_only_document_of_a_language_with_copies():
    documents = [Document("en-1", "en", "one")]
    collection = Collection.from_records(
        "c", [Query("de-1", "de", "eins", "1")], documents, {"de-1": {"en-1": 1}}, own_copies=True
    )
    ranks, _ = rank(collection, Matrix(np.array([[0.5]], np.float32)))
    assert ranks.pool.tolist() == [1]
    assert ranks.block.tolist() == [1]
