"""Check the engine against a naive full sort, and against trec_eval at full depth."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import pytrec_eval
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fuzz_ranks import TREC_EVAL, Chunked, by_trec_eval_names
from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.errors import ModelError
from hbt_bench.identity.task_name import MODES
from hbt_bench.measures.ranking import Ranking
from hbt_bench.ranking import blocks, products
from hbt_bench.ranking import ranks as engine
from hbt_bench.ranking.blocks import DeviceKernel, HostKernel
from hbt_bench.ranking.dense import DenseScorer
from hbt_bench.ranking.ranks import CONFIDENCE_DEPTH, TOP_K, rank
from hbt_bench.ranking.subsets import Subset, SubsetQrels, judged_subsets
from tests.factories import Matrix, Threads, random_collection, random_scores


def naive(collection, scores, row, columns):
    """Return columns from best to worst by a full sort: score, then document id, both descending."""
    ids = [document.id for document in collection.documents]
    return sorted(columns, key=lambda column: (scores[row, column], ids[column]), reverse=True)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 1, 2, 5, 40]), st.integers(1, 60), st.booleans())
def test_ranks_equal_full_sort(seed, levels, documents, copies):
    generator = np.random.default_rng(seed)
    collection = random_collection(generator, queries=8, documents=documents)
    if copies:
        collection = replace(collection, copies=own_copies(generator, collection))
    scores = random_scores(generator, collection, levels)
    ranks, confidences = rank(collection, Matrix(scores))
    for row in range(len(collection.queries)):
        own = collection.copies[row] if copies else []  # a query's copies are not candidates
        everything = naive(collection, scores, row, [column for column in range(documents) if column not in own])
        width = collection.copies.shape[1] if copies else 0
        assert ranks.top[row].tolist() == everything[: min(TOP_K, max(0, documents - width))]
        for pair in range(collection.qrels.offsets[row], collection.qrels.offsets[row + 1]):
            document = int(collection.qrels.documents[pair])
            block = collection.document_blocks[collection.documents[document].language]
            assert ranks.pool[pair] == everything.index(document) + 1
            in_block = [column for column in everything if block.start <= column < block.stop]
            assert ranks.block[pair] == in_block.index(document) + 1
        for index, columns in enumerate([*collection.document_blocks.values(), slice(0, documents)]):
            candidates = [column for column in everything if columns.start <= column < columns.stop]
            if not candidates:  # the language has no document, or only the query's copy
                continue
            best = scores[row, candidates].astype(np.float64)[:CONFIDENCE_DEPTH]
            assert confidences.highest[row, index] == best[0]
            assert confidences.spread[row, index] == pytest.approx(best.std(), abs=1e-12)
            assert confidences.margin[row, index] == (best[0] - best[1] if len(best) > 1 else 0)


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
            names = {ids[column] for column in columns}
            qrels, run = {}, {}
            for row in judged.rows:
                name = collection.queries[row].id
                qrels[name] = {key: grade for key, grade in collection.relevant(row).items() if key in names}
                run[name] = {ids[column]: float(scores[row, column]) for column in columns}
            theirs = pytrec_eval.RelevanceEvaluator(qrels, TREC_EVAL).evaluate(run)
            ours = by_trec_eval_names(Ranking.from_ranks(collection, ranks, judged))
            for measure, values in ours.items():
                expected = [theirs[collection.queries[row].id][measure] for row in judged.rows]
                np.testing.assert_allclose(values, expected, atol=1e-6, rtol=0, err_msg=f"{judged.subset} {measure}")


def check_same(results, expected):
    """Check that ranks and confidences are equal to the last bit."""
    for result, other in zip(results, expected, strict=True):
        for name, array in vars(other).items():
            assert np.array_equal(getattr(result, name), array), name


@pytest.mark.parametrize("scores_a_block", [1, 3 * 50, 1 << 21])
def test_blocks_change_nothing(monkeypatch, scores_a_block):
    generator = np.random.default_rng(3)
    collection = random_collection(generator)
    scores = random_scores(generator, collection, 6)
    expected = rank(collection, Matrix(scores))
    monkeypatch.setattr(blocks, "_BLOCK_SCORES", scores_a_block)
    done = []
    check_same(rank(collection, Matrix(scores), progress=done.append), expected)
    assert sum(done) == len(collection.queries)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([None, 1, 3, 40]),
    st.integers(1, 60),
    st.sampled_from([HostKernel(), DeviceKernel()]),
    st.sampled_from([0.0, 0.5]),
    st.booleans(),
)
def test_chunks_change_nothing(seed, levels, width, kernel, off, copies):
    """For any width, in torch or NumPy, and if single pairs are rounded differently."""
    generator = np.random.default_rng(seed)
    collection = random_collection(generator, queries=8, documents=60)
    if copies:
        collection = replace(collection, copies=own_copies(generator, collection))
    scores = random_scores(generator, collection, levels)
    done = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "CONFIDENCE_DEPTH", 25)
        expected = rank(collection, Matrix(scores))
        patch.setattr(engine, "_STATE_BYTES", int(generator.integers(1, 1 << 16)))
        scorer = Chunked(scores, width, kernel=kernel, off=off)
        check_same(rank(collection, scorer, progress=done.append), expected)
    assert sum(done) == len(collection.queries)


def own_copies(generator, collection):
    """Return for most queries up to three columns that are not relevant to them, in any language."""
    everything = {*range(len(collection.documents))}
    width = int(generator.integers(1, 4))
    copies = np.full((len(collection.queries), width), -1, np.int32)
    for row, columns in enumerate(relevant_columns(collection)):
        others = generator.permutation(sorted(everything - {*columns}))[:width]
        if row % 4:
            copies[row, : len(others)] = others
    return copies


def relevant_columns(collection):
    offsets = collection.qrels.offsets
    return [collection.qrels.documents[start:stop].tolist() for start, stop in pairwise(offsets)]


@pytest.mark.parametrize("off", [0.0, 0.5])
@pytest.mark.parametrize(("count", "width"), [(2, 7), (3, 50), (4, 13), (4, 1)])
def test_processes_share_documents_and_get_equal_ranks(count, width, off):
    """With uneven shards, and processes without documents: 50 documents in a chunk go to a single process."""
    generator = np.random.default_rng(count)
    collection = random_collection(generator)
    scores = random_scores(generator, collection, 6)
    expected = rank(collection, Matrix(scores))
    scorers = [Chunked(scores, width, off=off) for _ in range(count)]
    results = Threads(count).run(lambda process: rank(collection, scorers[process.rank], processes=process))
    for result in results:
        check_same(result, expected)
    passes = 2 if off else 1
    starts = sorted(chunk.start for scorer in scorers for chunk in scorer.asked)
    assert starts == sorted([*range(0, 50, width)] * passes)  # each chunk goes to a single process


def vectors(generator, collection, dimensions=24):
    """Return vectors; many are equal, like those of texts that a model does not know."""
    documents = generator.standard_normal((len(collection.documents), dimensions)).astype(np.float32)
    documents[::3] = documents[0]
    return generator.standard_normal((len(collection.queries), dimensions)).astype(np.float32), documents


class Encoder:
    def __init__(self, similarity):
        self.similarity = similarity


def cosine(queries, documents):
    lengths = np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(documents, axis=1))
    return (queries @ documents.T / lengths).astype(np.float32)


def negative_distance(queries, documents):
    return -np.linalg.norm(queries[:, None] - documents[None], axis=2).astype(np.float32)


@pytest.mark.parametrize(
    ("similarity", "kind"),
    [(cosine, "cosine"), (lambda queries, documents: queries @ documents.T, "dot"), (negative_distance, None)],
)
def test_tiles_give_equal_bits_in_any_chunk(monkeypatch, similarity, kind):
    generator = np.random.default_rng(9)
    collection = random_collection(generator, queries=150, documents=700)
    scorer = DenseScorer(Encoder(similarity), *vectors(generator, collection))
    assert scorer.kind == kind
    monkeypatch.setattr(products, "_HOST_TILE", (64, 128))
    scores = scorer.scores(slice(0, 150))
    np.testing.assert_allclose(scores, similarity(scorer.queries, scorer.documents), rtol=1e-4, atol=1e-5)
    assert (scores[:, ::3] == scores[:, :1]).all()  # equal vectors tie in every column
    assert np.array_equal(scorer.scores(slice(70, 71)), scores[70:71])
    expected = rank(collection, Matrix(scores))
    check_same(rank(collection, scorer), expected)
    monkeypatch.setattr(products, "_HOST_CHUNK", 128)
    assert len(scorer.blocks().chunks()) == 6
    assert np.array_equal(scorer.scores(slice(0, 150)), scores)
    check_same(rank(collection, scorer), expected)
    shards = [scorer.blocks().chunks(number, 4) for number in range(4)]
    assert [chunk for shard in shards for chunk in shard] == scorer.blocks().chunks()
    assert [len(shard) for shard in shards] == [1, 2, 1, 2]
    for result in Threads(4).run(lambda process: rank(collection, scorer, processes=process)):
        check_same(result, expected)


@pytest.mark.parametrize("kind", ["cosine", None])
def test_single_pairs_have_scores_of_their_block(monkeypatch, kind):
    monkeypatch.setattr(products, "_HOST_TILE", (16, 128))
    similarity = cosine if kind else negative_distance
    scorer = DenseScorer(
        Encoder(similarity), *vectors(np.random.default_rng(8), random_collection(np.random.default_rng(8), 40, 300))
    )
    expected = similarity(scorer.queries, scorer.documents)
    for rows, columns in (([0, 3, 15], [0, 0, 0]), ([16, 16, 30], [299, 7, 130]), ([39], [128])):
        scores = scorer.blocks().pairs(np.array(rows), np.array(columns))
        np.testing.assert_allclose(scores, expected[rows, columns], rtol=1e-5)


def test_process_without_documents_gets_all_ranks():
    """The only tile goes to the second process."""
    generator = np.random.default_rng(10)
    collection = random_collection(generator)
    scorer = DenseScorer(Encoder(cosine), *vectors(generator, collection))
    assert [len(scorer.blocks().chunks(number, 2)) for number in range(2)] == [0, 1]
    for result in Threads(2).run(lambda process: rank(collection, scorer, processes=process)):
        check_same(result, rank(collection, scorer))


def test_number_of_threads_is_restored():
    generator = np.random.default_rng(2)
    collection = random_collection(generator)
    before = torch.get_num_threads()
    rank(collection, DenseScorer(Encoder(cosine), *vectors(generator, collection)))
    assert torch.get_num_threads() == before


def test_language_scorers_rank_their_block():
    generator = np.random.default_rng(4)
    collection = random_collection(generator)
    pool, other = random_scores(generator, collection, 9), random_scores(generator, collection, 9)
    languages = {code: Matrix(other[:, columns]) for code, columns in collection.document_blocks.items()}
    ranks, confidences = rank(collection, Matrix(pool), languages)
    from_pool, pool_confidences = rank(collection, Matrix(pool))
    from_other, other_confidences = rank(collection, Matrix(other))
    assert np.array_equal(ranks.pool, from_pool.pool)
    assert np.array_equal(ranks.top, from_pool.top)
    assert np.array_equal(ranks.block, from_other.block)
    assert np.array_equal(confidences.spread[:, :-1], other_confidences.spread[:, :-1])
    assert np.array_equal(confidences.spread[:, -1], pool_confidences.spread[:, -1])


def test_ranks_beyond_a_thousand_documents():
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


@pytest.mark.parametrize("width", [None, 600, 350])
def test_ties_put_greatest_ids_on_top(width):
    """Rows of equal scores, with a few better scores, without ties, and with most scores lower."""
    generator = np.random.default_rng(12)
    names = generator.permutation(np.arange(1000, 1600))
    docs = [Document(f"d{name}", "en", str(name)) for name in names]
    asks = [Query(f"q{row}", "en", f"ask {row}", f"q{row}") for row in range(4)]
    collection = Collection.from_records("c", asks, docs, {query.id: {"d1000": 1, "d1599": 1} for query in asks})
    scores = np.ones((4, 600), np.float32)
    scores[1, [5, 70, 400]] = [2, 4, 3]
    scores[2] = generator.permutation(600)
    scores[3, 10:590] = 0
    scorer = Matrix(scores) if width is None else Chunked(scores, width)
    ranks, _ = rank(collection, scorer, confidences=False)
    for row in range(4):
        assert ranks.top[row].tolist() == naive(collection, scores, row, range(600))[:TOP_K]
    assert ranks.top[0].tolist() == np.argsort(-names)[:TOP_K].tolist()  # d1599, d1598, ..., d1580
    assert ranks.pool.reshape(4, 2)[0].tolist() == [600 - (names[d] - 1000) for d in collection.qrels.documents[:2]]


def test_chunks_of_a_single_document():
    """Each of 700 queries has a single candidate in a chunk, so no candidate is dropped before the sort."""
    generator = np.random.default_rng(13)
    collection = random_collection(generator, queries=700, documents=30)
    scores = random_scores(generator, collection, None)
    check_same(rank(collection, Chunked(scores, 1, height=700)), rank(collection, Matrix(scores)))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64])
def test_scores_are_compared_as_float32(dtype):
    """As in trec_eval: 2**24 and 2**24 + 1 are the same float32, so the greater id is first."""
    docs = [Document(name, "en", name) for name in ("a", "b", "c")]
    collection = Collection.from_records("c", [Query("q", "en", "ask", "1")], docs, {"q": {"b": 1}})
    scores = {np.float64: [1 + 1e-9, 1, 0], np.float16: [1, 1, 0], np.int64: [2**24 + 1, 2**24, 0]}[dtype]
    ranks, _ = rank(collection, Matrix(np.array([scores], dtype)))
    assert ranks.top[0].tolist() == [1, 0, 2]
    assert ranks.pool.tolist() == ranks.block.tolist() == [1]


KERNELS = pytest.mark.parametrize(
    ("kernel", "make"), [(HostKernel(), np.array), (DeviceKernel(), torch.from_numpy)], ids=["NumPy", "torch"]
)


@KERNELS
def test_kernel_operations_on_a_block(kernel, make):
    scores = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]], np.float32)
    block = make(scores)
    assert np.sort(kernel.largest(block, 2)).tolist() == [[4, 5], [6, 9]]
    assert np.sort(kernel.largest(block, 5)).tolist() == np.sort(scores).tolist()
    assert np.sort(kernel.largest(block, 6)).tolist() == np.sort(scores).tolist()  # no more than the row has
    assert kernel.floor(block, 2).tolist() == [4, 6]
    assert kernel.floor(block, 5).tolist() == [1, 2]
    reached = kernel.reaching(block, np.array([4, 6], np.float32))
    assert [array.tolist() for array in reached] == [[0, 0, 1, 1], [2, 4, 0, 2], [4, 5, 9, 6]]
    greater, equal = kernel.compare(block, np.array([1, 5], np.float32))
    assert (greater.tolist(), equal.tolist()) == ([3, 2], [2, 1])
    assert kernel.equal(block, 0, np.float32(1)).tolist() == [1, 3]
    assert kernel.at(block, np.array([0, 1]), np.array([2, 4])).tolist() == [4, 3]
    assert not kernel.has_nan(block)
    hidden = kernel.hide(block, np.array([1]), np.array([0]))
    assert kernel.at(hidden, np.array([0, 1]), np.array([0, 0])).tolist() == [3, -np.inf]
    assert kernel.has_nan(make(np.array([[1, 2], [np.nan, 3]], np.float32)))


def test_hiding_a_score_copies_the_matrix():
    scores = np.ones((2, 3), np.float32)
    HostKernel().hide(scores, np.array([0]), np.array([1]))
    assert (scores == 1).all()


@KERNELS
@pytest.mark.parametrize("width", [31, 64, 96, 100, 1000])
def test_floor_is_reached_by_few_more_scores(kernel, make, width):
    scores = np.random.default_rng(width).permuted(np.tile(np.arange(width, dtype=np.float32), (50, 1)), axis=1)
    for depth in (1, 2, 3, 20):
        reached = width - kernel.floor(make(scores), depth)
        assert reached.min() >= depth
        assert np.mean(reached) <= 1.5 * depth


def test_progress_after_every_chunk():
    collection = random_collection(np.random.default_rng(13))
    done = []
    rank(collection, Chunked(np.ones((20, 50), np.float32), 13), progress=done.append)
    assert done == [5, 5, 5, 5, 0]  # of 20 queries in four chunks


def test_queries_are_grouped_if_memory_is_short(monkeypatch):
    generator = np.random.default_rng(14)
    collection = random_collection(generator)
    scores = random_scores(generator, collection, 6)
    expected = rank(collection, Matrix(scores))
    monkeypatch.setattr(engine, "_STATE_BYTES", 1)  # so a group is a block of three queries
    done = []
    check_same(rank(collection, Chunked(scores, 13, off=0.5), progress=done.append), expected)
    assert done == [0, 1, 1, 1, 0] * 6 + [0, 1, 0, 1, 0]


def test_zero_signs_and_infinities_compare_as_numbers():
    docs = [Document(f"d{n}", "en", str(n)) for n in range(4)]
    collection = Collection.from_records("c", [Query("q", "en", "q", "q")], docs, {"q": {"d0": 1, "d1": 1}})
    scores = np.array([[0.0, -0.0, np.inf, -np.inf]], dtype=np.float32)
    ranks, _ = rank(collection, Matrix(scores), confidences=False)
    assert ranks.pool.tolist() == [3, 2]  # d1 = d0 by score, and the greater id comes first


def test_nan_and_wrong_shapes_raise_model_error():
    collection = random_collection(np.random.default_rng(6))
    scores = random_scores(np.random.default_rng(6), collection, None)
    scores[3, 4] = np.nan
    for scorer in (Matrix(scores), Chunked(scores, 9), Chunked(scores, 9, kernel=DeviceKernel())):
        with pytest.raises(ModelError, match="contain NaN"):
            rank(collection, scorer)
    with pytest.raises(ModelError, match=r"shape \(20, 49\).* \(20, 50\)"):
        rank(collection, Matrix(scores[:, 1:]))


def test_subsets_of_a_language_pair():
    docs = [Document("d1", "en", "a"), Document("d2", "de", "b")]
    asks = [Query("q1", "en", "x", "1"), Query("q2", "de", "y", "1"), Query("q3", "de", "z", "2")]
    collection = Collection.from_records("c", asks, docs, {"q1": {"d1": 1, "d2": 1}, "q2": {"d1": 1}, "q3": {"d2": 1}})
    names = {mode: [judged.subset.name for judged in judged_subsets(collection, mode)] for mode in MODES}
    assert names == {"mono": ["de", "en"], "cross": ["de-en", "en-de"], "multi": ["de-multi", "en-multi"]}
    assert SubsetQrels.from_collection(collection, Subset("de", "en")).rows.tolist() == [
        0
    ]  # q3 has no English document
    assert SubsetQrels.from_collection(collection, Subset("de", None)).rows.tolist() == [0, 1]
