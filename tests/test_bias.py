"""Bias measures by hand on six queries, at their floor, ceiling and random expectation, and their invariances."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.errors import DataError
from hbt_bench.measures.bias import Bias, jensen_shannon, top_k_spearman
from hbt_bench.measures.peer import kruskal_wallis
from hbt_bench.measures.ranking import Ranking, ratio
from hbt_bench.measures.registry import MEASURES
from hbt_bench.measures.scores import bias_scores
from hbt_bench.ranking.ranks import rank
from hbt_bench.ranking.subsets import Subset, SubsetQrels
from tests.factories import (
    LANGUAGES,
    Matrix,
    aligned_bias,
    bias_of_orders,
    first_articles,
    parallel_collection,
    random_collection,
    random_scores,
    six_queries,
)


@pytest.fixture
def six():
    return six_queries()


def test_rank_distance_by_hand(six):
    assert six.rank_distance().tolist() == [8, 2, 2, 4, 8, 2]
    # a random ranking of 9 documents with 3 relevant has (9 + 1)(3 - 1)/(3 + 1) = 5
    assert six.relative_rank_distance().tolist() == [1.6, 0.4, 0.4, 0.8, 1.6, 0.4]
    assert six.by_language(six.rank_distance()).tolist() == [5, 3, 5]


def test_max_rank_and_complete_by_hand(six):
    assert six.max_rank().tolist() == [9, 3, 3, 9, 9, 3]
    assert six.complete(3).tolist() == [0, 1, 1, 0, 0, 1]
    assert six.complete(9).tolist() == [1, 1, 1, 1, 1, 1]


def test_target_language_recall_by_hand(six):
    # the two documents in other languages: de 0 at 4, 9; de 1 at 2, 3; en 0 at 1, 3; en 1 at 5, 9; sw at 1, 2
    assert six.target_language_recall(3).tolist() == [0, 1, 1, 0, 1, 1]
    assert six.target_language_recall(4).tolist() == [0.5, 1, 1, 0, 1, 1]


def test_same_language_preference_by_hand(six):
    assert six.same_language_first().tolist() == [1, 1, 0, 0, 0, 0]
    assert six.pool_shares.tolist() == pytest.approx([1 / 3] * 3)
    # the top 3: de 0 has three German documents, sw 0 two; every other query has a document in each language
    assert six.top_shares(3)[0].tolist() == [1, 0, 0]
    assert six.top_shares(3)[4].tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    assert six.same_language_excess(3).tolist() == pytest.approx([2 / 3, 0, 0, 0, -1 / 3, 0])


def test_no_excess_for_absent_or_only_language():
    asks = [Query(f"{code}-q", code, code, "q") for code in ("de", "en", "sw")]
    relevant = {query.id: {"d1": 1} for query in asks}
    english = [Document("d1", "en", "a"), Document("d2", "en", "b")]
    only = bias_of_orders(Collection.from_records("c", asks, english, relevant), [["d1", "d2"]] * 3)
    assert np.isnan(only.same_language_excess(1)).all()
    more = bias_of_orders(
        Collection.from_records("c", asks, [*english, Document("d3", "de", "c")], relevant), [["d3"]] * 3
    )
    excess = more.same_language_excess(1)
    assert excess[:2].tolist() == pytest.approx([2 / 3, -2 / 3])
    assert np.isnan(excess[2])
    assert "same_language_excess@10" not in bias_scores(more)["sw"]


def test_mean_ranks_by_hand(six):
    # German queries: German answers at 1, 1; English at 4, 2; Swahili at 9, 3
    assert six.mean_ranks()[0].tolist() == [1, 3, 6]
    assert six.mean_ranks()[2].tolist() == [1.5, 1.5, 6]


def test_rank_consistency_by_hand(six):
    # over all nine documents there is no union to complete: plain Spearman of full rankings
    first, second, third = six.ranks.top[0], six.ranks.top[2], six.ranks.top[4]
    pairs = [stats.spearmanr(np.argsort(a), np.argsort(b)).statistic for a, b in ((first, second), (first, third))]
    assert six.rank_consistency(9)[0] == pytest.approx(100 * np.mean(pairs))
    # de 1 and sw 1 agree; the top 1 of de 0 and en 0 are two documents in opposite order
    assert six.rank_consistency(1)[0] == -100
    assert six.rank_consistency(1).tolist()[1] == pytest.approx(100 * (1 - 1) / 2)


def test_exposure_fairness_by_hand(six):
    exposure = 1 / np.log2([2, 3, 4])
    exposure /= exposure.sum()
    target = np.full(3, 1 / 3)
    middle = (exposure + target) / 2
    divergence = sum(np.sum(p * np.log2(p / middle)) for p in (exposure, target)) / 2
    assert six.exposure_fairness(3)[1] == pytest.approx(1 - divergence)
    # German alone against a third each: JSD = H((2/3, 1/6, 1/6)) - log2(3)/2
    entropy = -(2 / 3 * np.log2(2 / 3) + 2 * (1 / 6) * np.log2(1 / 6))
    assert six.exposure_fairness(3)[0] == pytest.approx(1 - (entropy - np.log2(3) / 2))


def test_removal_by_hand(six):
    same, other = six.removal()
    # de 0 has 1, 4, 9; without German 3, 8; without English 1, 8; without Swahili 1, 4
    complete = (1 + 2 / 4 + 3 / 9) / 3
    assert same[0] == pytest.approx(complete - (1 / 3 + 2 / 8) / 2)
    assert other[0] == pytest.approx(complete - ((1 + 2 / 8) / 2 + (1 + 2 / 4) / 2) / 2)
    # de 1 has 1, 2, 3 whatever is taken out it stays perfect
    assert [same[1], other[1]] == pytest.approx([0, 0])


def test_language_gap_by_hand(six):
    # ranks of the answers: de 1, 4, 9 and 1, 2, 3; en 1, 2, 3 and 5, 7, 9; sw 1, 2, 9 and 1, 2, 3
    means = {
        "de": ((1 + 2 / 4 + 3 / 9) / 3 + 1) / 2,
        "en": (1 + (1 / 5 + 2 / 7 + 3 / 9) / 3) / 2,
        "sw": ((1 + 1 + 3 / 9) / 3 + 1) / 2,
    }
    gap = six.gap()
    assert gap.languages == pytest.approx(means)
    assert (gap.best, gap.worst) == ("sw", "en")
    assert gap.gap == pytest.approx(means["sw"] - means["en"])
    assert gap.deviation == pytest.approx(np.std(list(means.values())))
    assert bias_scores(six)["de"]["AP_below_best"] == pytest.approx(means["sw"] - means["de"])


def test_scores_have_every_stored_measure_that_applies(six):
    scores = bias_scores(six)
    assert set(scores) == set(LANGUAGES)
    assert {measure.name for measure in MEASURES if measure.bias and measure.stored} - set(scores["de"]) == {
        "rank_equality"
    }
    assert scores["de"]["rank_distance"] == 5
    assert scores["de"]["mean_rank_sw"] == 6
    assert scores["de"]["top10_share_de"] == pytest.approx(1 / 3)


def test_rank_equality_needs_several_documents_in_a_language(six):
    with pytest.raises(DataError, match="several relevant documents in a language"):
        six.rank_equality()


def several(generator, graded=False):
    """Queries with several relevant documents in some of four languages."""
    collection = random_collection(generator, queries=30, documents=40, graded=graded)
    return Bias(collection, rank(collection, Matrix(random_scores(generator, collection, None)), confidences=False)[0])


@pytest.mark.parametrize("graded", [False, True])
def test_rank_equality_equals_scipy(graded):
    bias = several(np.random.default_rng(1), graded)
    qrels, languages = bias.judgements.qrels, bias.judgements.document_languages
    checked = 0
    for row, value in enumerate(bias.rank_equality()):
        pairs = np.arange(qrels.offsets[row], qrels.offsets[row + 1])
        levels = []
        for grade in np.unique(qrels.grades[pairs]):
            graded_pairs = pairs[qrels.grades[pairs] == grade]
            document_languages = languages[qrels.documents[graded_pairs]]
            groups = [
                bias.ranks.pool[graded_pairs][document_languages == language]
                for language in np.unique(document_languages)
            ]
            if len(groups) > 1 and max(map(len, groups)) > 1:
                levels.append(stats.kruskal(*groups).pvalue)
        if levels:
            assert value == pytest.approx(np.mean(levels), abs=1e-12)
            checked += 1
        else:
            assert np.isnan(value)
    assert checked > 5


def test_aligned_ranking_gives_the_floor():
    bias = aligned_bias()
    assert (bias.rank_distance() == 2).all()
    assert (bias.max_rank() == 3).all()
    assert (bias.target_language_recall() == 1).all()
    assert bias.rank_consistency() == pytest.approx(100)
    assert np.stack(bias.removal()) == pytest.approx(0)
    assert (bias.complete(3) == 1).all()
    # 21 queries, the three of a question in the same order: each language comes first for its share of them
    assert np.nanmean(bias.same_language_first()) == pytest.approx(1 / 3)


def test_language_separated_ranking_gives_the_ceiling():
    questions, extra = 7, 13  # 20 documents a language
    collection = parallel_collection(questions, extra=extra)
    orders = []
    for query in collection.queries:
        number, language = query.question[1:], query.language
        others = [code for code in LANGUAGES if code != language]
        # all documents in the query's language, the answer first; then the other languages, the answers last
        first = [f"{language}-d{number}"] + [
            d.id for d in collection.documents if d.language == language and d.id != f"{language}-d{number}"
        ]
        wrong = [
            d.id
            for d in collection.documents
            if d.language != language and d.id not in {f"{c}-d{number}" for c in others}
        ]
        orders.append(first + wrong + [f"{code}-d{number}" for code in others])
    bias = bias_of_orders(collection, orders)
    documents = len(collection.documents)
    assert (bias.rank_distance() == documents - 1).all()
    assert (bias.max_rank() == documents).all()
    assert (bias.same_language_first() == 1).all()
    assert (bias.target_language_recall() == 0).all()
    assert bias.same_language_excess() == pytest.approx(1 - 1 / 3)
    assert bias.exposure_fairness() == pytest.approx(
        1 - (-(2 / 3 * np.log2(2 / 3) + 1 / 3 * np.log2(1 / 6)) - np.log2(3) / 2)
    )
    assert (bias.rank_consistency() < 0).all()
    same, other = bias.removal()
    assert (same > 0.3).all()
    assert (other < 0).all()


def test_random_rankings_give_analytic_expectation():
    """The means of 10,000 draws are within 4 standard errors of their expectation."""
    collection = parallel_collection(10, extra=10)
    documents, relevant, share, draws = len(collection.documents), 3, 1 / 3, 10_000
    generator = np.random.default_rng(5)
    values = {
        name: []
        for name in (
            "rank_distance",
            "rank_distance_relative",
            "Max@R",
            "TLR@10",
            "same_language_first",
            "same_language_excess@10",
        )
    }
    for _ in range(draws // len(collection.queries) + 1):
        scores_ = generator.standard_normal((len(collection.queries), documents)).astype(np.float32)
        bias = Bias(collection, rank(collection, Matrix(scores_), confidences=False)[0])
        for name, samples in values.items():
            samples.append(MEASURES[name].pool_values(bias))
    expected = {
        "rank_distance": (documents + 1) * (relevant - 1) / (relevant + 1),
        "rank_distance_relative": 1,
        "Max@R": (documents + 1) * relevant / (relevant + 1),
        "TLR@10": 10 / documents,
        "same_language_first": share,
        "same_language_excess@10": 0,
    }
    for name, samples in values.items():
        sample = np.concatenate(samples)[:draws]
        assert len(sample) == draws
        assert abs(sample.mean() - expected[name]) < 4 * sample.std() / np.sqrt(draws), name


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["documents", "queries", "languages", "monotone"]))
def test_order_names_and_scale_change_nothing(seed, change):
    """Permuting documents, queries or languages, and a monotone transform of the scores; without ties."""
    generator = np.random.default_rng(seed)
    base = parallel_collection(5, extra=5)
    matrix = (
        generator.permutation(len(base.queries) * len(base.documents)).reshape(len(base.queries), -1).astype(np.float32)
    )
    score = {
        (query.id, document.id): matrix[row, column]
        for row, query in enumerate(base.queries)
        for column, document in enumerate(base.documents)
    }
    queries, documents = list(base.queries), list(base.documents)
    relevant = {query.id: base.relevant(row) for row, query in enumerate(base.queries)}
    rename = dict(zip(LANGUAGES, LANGUAGES, strict=True))
    transform = float
    if change == "documents":
        documents = [documents[index] for index in generator.permutation(len(documents))]
    elif change == "queries":
        queries = [queries[index] for index in generator.permutation(len(queries))]
    elif change == "languages":
        rename = dict(zip(LANGUAGES, generator.permutation(LANGUAGES).tolist(), strict=True))
        queries = [query._replace(language=rename[query.language]) for query in queries]
        documents = [document._replace(language=rename[document.language]) for document in documents]
    else:
        transform = lambda value: float(np.float32(value) ** 3 / 7 + 2)  # noqa: E731
    changed = Collection.from_records("changed", queries, documents, relevant)
    moved = np.array([[transform(score[q.id, d.id]) for d in changed.documents] for q in changed.queries], np.float64)
    order = np.argsort(np.argsort(moved, axis=1), axis=1).astype(np.float32)  # float32 would tie the cubes
    before = bias_scores(Bias(base, rank(base, Matrix(matrix), confidences=False)[0]))
    after = bias_scores(Bias(changed, rank(changed, Matrix(order), confidences=False)[0]))
    for language in LANGUAGES:
        expected, actual = before[language], after[rename[language]]
        for name in [measure.name for measure in MEASURES if measure.name in expected]:
            assert actual[name] == pytest.approx(expected[name], abs=1e-9), name
        for other in LANGUAGES:
            assert actual[f"mean_rank_{rename[other]}"] == pytest.approx(expected[f"mean_rank_{other}"])
            assert actual[f"top10_share_{rename[other]}"] == pytest.approx(expected[f"top10_share_{other}"])


def test_bias_and_retrieval_rank_distance_agree():
    bias = several(np.random.default_rng(8))
    for language in bias.judgements.languages:
        judged = SubsetQrels.from_collection(bias.judgements, Subset(language, None))
        spans = Ranking.from_ranks(bias.judgements, bias.ranks, judged).rank_distance()
        assert bias_scores(bias)[language]["rank_distance"] == pytest.approx(np.nanmean(spans))


def test_rank_distance_equals_full_sort_on_real_vectors(data_dir, minilm):
    """All queries of XQuAD-R's first two articles in three languages, over a real model's vectors, exactly."""
    from hbt_bench.mteb.models import ModelRequest
    from hbt_bench.mteb.tasks import MtebEncoder, get_tasks
    from hbt_bench.ranking.dense import DenseScorer

    task = get_tasks("xquad-r-multi", languages=["de", "en", "es"], data_dir=data_dir)[0]
    collection = first_articles(task.shared.collection, 2)
    encoder = MtebEncoder(ModelRequest(str(minilm)).load(), task.metadata, {"batch_size": 64})
    scorer = DenseScorer.from_collection(collection, encoder)
    distance = Bias(collection, rank(collection, scorer, confidences=False)[0]).rank_distance()
    ids = [document.id for document in collection.documents]
    everything = scorer.scores(slice(0, len(collection.queries)))
    for row, values in enumerate(everything):
        order = sorted(range(len(ids)), key=lambda column, v=values: (v[column], ids[column]), reverse=True)
        ranks = {ids[column]: number for number, column in enumerate(order)}
        answers = [ranks[name] for name in collection.relevant(row)]
        assert distance[row] == max(answers) - min(answers)
    assert len(distance) > 100


def test_samples_statistics_equal_scipy():
    generator = np.random.default_rng(2)
    tops, other_tops = (np.stack([generator.permutation(30)[:6] for _ in range(50)]).astype(np.int32) for _ in range(2))
    for row, value in enumerate(top_k_spearman(tops, other_tops)):
        union = sorted({*tops[row], *other_tops[row]})
        below = (6 + 1 + len(union)) / 2
        ranks = [[list(top[row]).index(d) + 1 if d in top[row] else below for d in union] for top in (tops, other_tops)]
        assert value == pytest.approx(stats.spearmanr(*ranks).statistic)
    assert top_k_spearman(tops, tops) == pytest.approx(1)
    tests = kruskal_wallis(np.array([0, 0, 0, 0, 1, 1, 1]), np.array([3, 3, 5, 5, 1, 2, 1]))
    assert tests.statistic.tolist() == pytest.approx(
        [stats.kruskal([1, 2], [3, 4]).statistic, stats.kruskal([1, 3], [2]).statistic]
    )
    assert tests.p[0] == pytest.approx(stats.kruskal([1, 2], [3, 4]).pvalue)
    assert jensen_shannon(np.array([[1.0, 0]]), np.array([[0.0, 1]])).tolist() == [1]


def test_single_relevant_document_has_no_distance():
    docs = [Document("d1", "en", "a"), Document("d2", "de", "b")]
    collection = Collection.from_records("c", [Query("q", "en", "x", "q")], docs, {"q": {"d2": 1}})
    bias = Bias(collection, rank(collection, Matrix(np.array([[1, 0]], np.float32)), confidences=False)[0])
    scores = bias_scores(bias)["en"]
    assert "rank_distance" not in scores
    assert "remove_other_language" not in scores
    assert "same_language_first" not in scores
    assert scores["TLR@10"] == 1


def test_bias_needs_no_texts():
    bias = aligned_bias()
    fields = {
        field.name: getattr(bias.judgements, field.name)
        for field in dataclasses.fields(type(bias.judgements).__mro__[1])
    }
    from hbt_bench.data.collection import TextlessCollection

    assert bias_scores(Bias(TextlessCollection(**fields), bias.ranks)) == bias_scores(bias)


def two():
    """One question in two languages, and a document in each that answers nothing; two relevant documents a query."""
    collection = parallel_collection(1, ("de", "en"), extra=1)
    return bias_of_orders(
        collection, [["de-d000", "de-x000", "en-d000", "en-x000"], ["de-d000", "en-d000", "de-x000", "en-x000"]]
    )


def test_two_relevant_documents_by_hand():
    bias = two()
    assert bias.rank_distance().tolist() == [2, 1]
    assert bias.relative_rank_distance().tolist() == pytest.approx([2 / (5 / 3), 1 / (5 / 3)])  # (N + 1)(n - 1)/(n + 1)
    # de: AP is (1 + 2/3)/2; without the German document the English document is second, without the other AP is 1
    # en: AP is 1; without either document the other is first
    assert MEASURES["remove_same_language"].pool_values(bias).tolist() == pytest.approx([5 / 6 - 1 / 2, 0])
    assert MEASURES["remove_other_language"].pool_values(bias).tolist() == pytest.approx([5 / 6 - 1, 0])
    assert bias.mean_ranks().tolist() == [[1, 3], [1, 2]]


def test_exposure_adds_up_over_a_language():
    german, english = 1 + 1 / np.log2(3), 1 / np.log2(4) + 1 / np.log2(5)
    shares = np.array([german, english]) / (german + english)
    expected = 1 - distance.jensenshannon(shares, [0.5, 0.5], base=2) ** 2
    assert two().exposure_fairness()[0] == pytest.approx(expected)


def test_exposure_is_compared_with_answer_shares():
    documents = [
        Document(name, language, name) for name, language in zip("abcx", ("de", "de", "en", "en"), strict=True)
    ]
    relevant = {"q": {"a": 1, "b": 1, "c": 1}}
    collection = Collection.from_records("c", [Query("q", "de", "q", "q")], documents, relevant)
    english, german = 1 + 1 / np.log2(5), 1 / np.log2(3) + 1 / np.log2(4)
    shares = np.array([german, english]) / (german + english)
    expected = 1 - distance.jensenshannon(shares, [2 / 3, 1 / 3], base=2) ** 2
    assert bias_of_orders(collection, [["c", "a", "b", "x"]]).exposure_fairness()[0] == pytest.approx(expected)


def test_rank_equality_weighs_grades():
    grades = {"a": ("de", 1), "b": ("de", 1), "c": ("en", 1), "d": ("de", 2), "e": ("en", 2), "f": ("en", 2)}
    documents = [Document(name, language, name) for name, (language, _) in grades.items()]
    relevant = {"q": {name: grade for name, (_, grade) in grades.items()}}
    collection = Collection.from_records("c", [Query("q", "de", "q", "q")], documents, relevant)
    bias = bias_of_orders(collection, [["c", "a", "b", "e", "d", "f"]])
    low, high = stats.kruskal([2, 3], [1]).pvalue, stats.kruskal([5], [4, 6]).pvalue
    assert low != high
    assert bias.rank_equality().tolist() == pytest.approx([(low + high) / 2])
    assert bias.rank_equality({1: 1.0, 2: 3.0}).tolist() == pytest.approx([(low + 3 * high) / 4])
    assert bias.rank_equality({2: 2.0}).tolist() == pytest.approx([high])  # a grade without a weight has none


def test_ratio_by_zero_is_nan():
    quotient = ratio(np.array([1.0, 0.0, 6.0]), np.array([0, 0, 3]))
    assert np.isnan(quotient[:2]).all()
    assert quotient[2] == 2
