"""The engine against a naive full sort, and against trec_eval at full depth."""

from __future__ import annotations

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from hbt_bench.corpus.collection import Collection, Document, Query
from hbt_bench.errors import ModelError
from hbt_bench.ranking import ranks as engine
from hbt_bench.ranking.measures import Ranking
from hbt_bench.ranking.ranks import CONFIDENCE_DEPTH, TOP_K, rank
from hbt_bench.ranking.subsets import MODES, Judged, Subset, judged_subsets

LANGUAGES = ("ar", "de", "en", "zh")


class Matrix:
    """A scorer that reads a matrix."""

    def __init__(self, scores):
        self.matrix = scores

    def scores(self, rows):
        return self.matrix[rows]


def random_collection(generator, queries=20, documents=50, graded=False):
    """Queries and documents in random languages, 1 to 6 relevant documents a query, ids in random order."""
    names = generator.permutation(documents)
    docs = [Document(f"d{name}", str(generator.choice(LANGUAGES)), f"text {name}") for name in names]
    asks = [Query(f"q{row}", str(generator.choice(LANGUAGES)), f"ask {row}", f"q{row}") for row in range(queries)]
    relevant = {}
    for query in asks:
        found = generator.choice(documents, size=generator.integers(1, min(7, documents + 1)), replace=False)
        relevant[query.id] = {docs[d].id: int(generator.integers(1, 4)) if graded else 1 for d in found}
    return Collection.from_records("random", asks, docs, relevant)


def random_scores(generator, collection, levels):
    """Scores with `levels` distinct values, so that few levels make many ties; None for no ties to speak of."""
    shape = (len(collection.queries), len(collection.documents))
    scores = generator.standard_normal(shape) if levels is None else generator.integers(0, levels, shape) - levels // 2
    return scores.astype(np.float32)


def naive(collection, scores, row, columns):
    """Columns from best to worst by a full sort: score, then document id, both descending."""
    ids = [document.id for document in collection.documents]
    return sorted(columns, key=lambda column: (scores[row, column], ids[column]), reverse=True)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 1, 2, 5, 40]), st.integers(1, 60))
def test_ranks_equal_a_full_sort(seed, levels, documents):
    generator = np.random.default_rng(seed)
    collection = random_collection(generator, queries=8, documents=documents)
    scores = random_scores(generator, collection, levels)
    ranks, confidences = rank(collection, Matrix(scores))
    for row in range(len(collection.queries)):
        everything = naive(collection, scores, row, range(len(collection.documents)))
        assert ranks.top[row].tolist() == everything[:TOP_K]
        for pair in range(collection.qrels.offsets[row], collection.qrels.offsets[row + 1]):
            document = int(collection.qrels.documents[pair])
            block = collection.document_blocks[collection.documents[document].language]
            assert ranks.pool[pair] == everything.index(document) + 1
            assert (
                ranks.block[pair] == naive(collection, scores, row, range(block.start, block.stop)).index(document) + 1
            )
        for place, columns in enumerate([*collection.document_blocks.values(), slice(0, documents)]):
            if columns.start == columns.stop:  # a language with queries and no documents
                continue
            kept = np.sort(scores[row, columns].astype(np.float64))[::-1][:CONFIDENCE_DEPTH]
            assert confidences.highest[row, place] == kept[0]
            assert confidences.spread[row, place] == pytest.approx(kept.std(), abs=1e-12)
            assert confidences.margin[row, place] == (kept[0] - kept[1] if len(kept) > 1 else 0)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from([("random", None), ("tie-heavy", 3), ("tie-heavy", 8)]), st.booleans()
)
def test_measures_equal_trec_eval_at_full_depth(seed, kind, graded):
    # 20 examples x 200 queries: about 1,300 without ties and 2,700 with many; the two tests below add fixed seeds
    check_against_trec_eval(np.random.default_rng(seed), kind[1], graded, queries=200)


@pytest.mark.parametrize("levels", [None, 4], ids=["random", "tie-heavy"])
def test_two_thousand_queries_equal_trec_eval(levels):
    check_against_trec_eval(np.random.default_rng(7), levels, graded=False, queries=2000, documents=300)


def check_against_trec_eval(generator, levels, graded, queries, documents=120):
    collection = random_collection(generator, queries, documents, graded)
    scores = random_scores(generator, collection, levels)
    ranks, _ = rank(collection, Matrix(scores), confidences=False)
    ids = [document.id for document in collection.documents]
    for mode in MODES:
        for judged in judged_subsets(collection, mode):
            columns = range(documents)
            if judged.subset.documents is not None:
                block = collection.document_blocks[judged.subset.documents]
                columns = range(block.start, block.stop)
            inside = {ids[column] for column in columns}
            qrels, run = {}, {}
            for row in judged.rows:
                name = collection.queries[row].id
                qrels[name] = {key: grade for key, grade in collection.relevant(row).items() if key in inside}
                run[name] = {ids[column]: float(scores[row, column]) for column in columns}
            wanted = {"map", "recip_rank", "ndcg_cut.10", "recall.10", "P.5", "success.1", "map_cut.10"}
            theirs = pytrec_eval.RelevanceEvaluator(qrels, wanted).evaluate(run)
            ranking = Ranking.of(collection, ranks, judged)
            ours = {
                "map": ranking.average_precision(),
                "recip_rank": ranking.reciprocal_rank(),
                "ndcg_cut_10": ranking.ndcg(10),
                "recall_10": ranking.recall(10),
                "P_5": ranking.precision(5),
                "success_1": ranking.success(1),
                "map_cut_10": ranking.average_precision(10),
            }
            for measure, values in ours.items():
                expected = [theirs[collection.queries[row].id][measure] for row in judged.rows]
                np.testing.assert_allclose(values, expected, atol=1e-6, rtol=0, err_msg=f"{judged.subset} {measure}")


@pytest.mark.parametrize(("block_bytes", "slice_scores"), [(1, 1), (4 * 50 * 3, 70), (1 << 26, 1 << 20)])
def test_blocks_and_slices_change_nothing(monkeypatch, block_bytes, slice_scores):
    generator = np.random.default_rng(3)
    collection = random_collection(generator)
    scores = random_scores(generator, collection, 6)
    expected, expected_confidences = rank(collection, Matrix(scores))
    monkeypatch.setattr(engine, "_BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(engine, "_SLICE_SCORES", slice_scores)
    done = []
    found, confidences = rank(collection, Matrix(scores), progress=done.append)
    for name in ("pool", "block", "top"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
    for name in ("highest", "spread", "margin"):
        assert np.array_equal(getattr(confidences, name), getattr(expected_confidences, name))
    assert sum(done) == len(collection.queries)


def test_scorers_of_single_languages_rank_their_block_and_the_pool_scorer_the_pool():
    generator = np.random.default_rng(4)
    collection = random_collection(generator)
    pool, other = random_scores(generator, collection, 9), random_scores(generator, collection, 9)
    blocks = {code: Matrix(other[:, columns]) for code, columns in collection.document_blocks.items()}
    found, confidences = rank(collection, Matrix(pool), blocks)
    from_pool, pool_confidences = rank(collection, Matrix(pool))
    from_other, other_confidences = rank(collection, Matrix(other))
    assert np.array_equal(found.pool, from_pool.pool)
    assert np.array_equal(found.top, from_pool.top)
    assert np.array_equal(found.block, from_other.block)
    assert np.array_equal(confidences.spread[:, :-1], other_confidences.spread[:, :-1])
    assert np.array_equal(confidences.spread[:, -1], pool_confidences.spread[:, -1])


def test_more_than_a_thousand_documents():
    generator = np.random.default_rng(5)
    collection = random_collection(generator, queries=5, documents=1500)
    scores = random_scores(generator, collection, None)
    ranks, confidences = rank(collection, Matrix(scores))
    for row in range(5):
        everything = naive(collection, scores, row, range(1500))
        for pair in range(collection.qrels.offsets[row], collection.qrels.offsets[row + 1]):
            assert ranks.pool[pair] == everything.index(collection.qrels.documents[pair]) + 1
        best = np.sort(scores[row].astype(np.float64))[::-1][:1000]
        assert confidences.spread[row, -1] == pytest.approx(best.std(), rel=1e-12)


def test_zero_signs_and_infinities_compare_as_numbers():
    docs = [Document(f"d{n}", "en", str(n)) for n in range(4)]
    collection = Collection.from_records("c", [Query("q", "en", "q", "q")], docs, {"q": {"d0": 1, "d1": 1}})
    scores = np.array([[0.0, -0.0, np.inf, -np.inf]], dtype=np.float32)
    ranks, _ = rank(collection, Matrix(scores), confidences=False)
    assert ranks.pool.tolist() == [3, 2]  # d1 = d0 by score, and the greater id comes first


def test_nan_and_wrong_shapes_are_errors():
    collection = random_collection(np.random.default_rng(6))
    scores = random_scores(np.random.default_rng(6), collection, None)
    scores[3, 4] = np.nan
    with pytest.raises(ModelError, match="contain NaN"):
        rank(collection, Matrix(scores))
    with pytest.raises(ModelError, match=r"shape \(20, 49\) where \(20, 50\)"):
        rank(collection, Matrix(scores[:, 1:]))


def test_subsets_of_one_language_pair():
    docs = [Document("d1", "en", "a"), Document("d2", "de", "b")]
    asks = [Query("q1", "en", "x", "1"), Query("q2", "de", "y", "1"), Query("q3", "de", "z", "2")]
    collection = Collection.from_records("c", asks, docs, {"q1": {"d1": 1, "d2": 1}, "q2": {"d1": 1}, "q3": {"d2": 1}})
    names = {mode: [judged.subset.name for judged in judged_subsets(collection, mode)] for mode in MODES}
    assert names == {"mono": ["de", "en"], "cross": ["de-en", "en-de"], "multi": ["de-multi", "en-multi"]}
    assert Judged.of(collection, Subset("de", "en")).rows.tolist() == [0]  # q3 has no English document
    assert Judged.of(collection, Subset("de", None)).rows.tolist() == [0, 1]
