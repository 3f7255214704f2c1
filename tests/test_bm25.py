"""Check BM25: tokens of many scripts, and scores computed by hand."""

from __future__ import annotations

import sys
from math import log

import numpy as np
import pytest

from hbt_bench.errors import UsageError
from hbt_bench.ranking import bm25
from hbt_bench.ranking.bm25 import Bm25Index, scorers, tokenize

pytest.importorskip("bm25s", reason="needs the extra bm25")


# Tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        (" \t\n— … !?", []),
        ("Die Straße führt über Köln-Süd.", ["die", "strasse", "führt", "über", "köln", "süd"]),
        ("It's 3.5 kg, isn't it?", ["it", "s", "3", "5", "kg", "isn", "t", "it"]),
        ("snake_case", ["snake", "case"]),
        ("ΟΔΟΣ Οδός", ["οδοσ", "οδόσ"]),
        ("Привет, МИР!", ["привет", "мир"]),
        # a vowel sign, a virama or a mark belongs to its word
        ("हिन्दी में कक्षा।", ["हिन्दी", "में", "कक्षा"]),
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("አማርኛ፡ቋንቋ", ["አማርኛ", "ቋንቋ"]),
        ("كِتَابٌ جديد", ["كِتَابٌ", "جديد"]),
        ("Ọ̀yọ́ ni", ["ọ̀yọ́", "ni"]),
        # pairs of clusters where words are not separated
        ("ภาษาไทยง่าย", ["ภา", "าษ", "ษา", "าไ", "ไท", "ทย", "ยง่", "ง่า", "าย"]),
        ("中文分词", ["中文", "文分", "分词"]),
        ("中。文", ["中", "文"]),
        ("東", ["東"]),
        ("ភាសាខ្មែរ", ["ភាសា", "សាខ្មែ", "ខ្មែរ"]),
        ("ຂ້ອຍ", ["ຂ້ອ", "ອຍ"]),
        ("တို့", ["တို့"]),
        ("カタカナとひらがな", ["カタ", "タカ", "カナ", "ナと", "とひ", "ひら", "らが", "がな"]),
        # scripts meet
        ("GPU加速v2版本", ["gpu", "加速", "v2", "版本"]),
        ("ไทย Thai ไทย", ["ไท", "ทย", "thai", "ไท", "ทย"]),
        ("2024年", ["2024", "年"]),
        # compatible and composed forms are equal
        ("１２３　ＡＢＣ", ["123", "abc"]),
        ("ﬁne", ["fine"]),
        ("Cafe\u0301", ["caf\u00e9"]),
        ("ｶﾀ", ["カタ"]),
    ],
)
def test_tokens_of_many_scripts(text, tokens):
    assert tokenize(text) == tokens


def test_tokens_of_both_normal_forms_are_equal():
    assert tokenize("Vi\u1ec7t") == tokenize("Vie\u0323\u0302t") == ["vi\u1ec7t"]


# Scores

#: Three documents: 3, 2 and 4 terms, 3 on average.
DOCUMENTS = (("a", "b", "a"), ("b", "c"), ("c", "c", "c", "d"))
IDF_1 = log(1 + (3 - 1 + 0.5) / (1 + 0.5))  # of a term in a single document
IDF_2 = log(1 + (3 - 2 + 0.5) / (2 + 0.5))  # of a term in two


def saturated(count, length):
    """tf / (tf + k1 (1 - b + b dl / avgdl)) with k1 = 0.9 and b = 0.4."""
    return count / (count + 0.9 * (0.6 + 0.4 * length / 3))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("a", [IDF_1 * saturated(2, 3), 0, 0]),
        ("b", [IDF_2 * saturated(1, 3), IDF_2 * saturated(1, 2), 0]),
        ("c", [0, IDF_2 * saturated(1, 2), IDF_2 * saturated(3, 4)]),
        ("ad", [IDF_1 * saturated(2, 3), 0, IDF_1 * saturated(1, 4)]),
        ("bc", [IDF_2 * saturated(1, 3), 2 * IDF_2 * saturated(1, 2), IDF_2 * saturated(3, 4)]),
        ("aa", [2 * IDF_1 * saturated(2, 3), 0, 0]),
        ("az", [IDF_1 * saturated(2, 3), 0, 0]),
        ("zy", [0, 0, 0]),
        ("", [0, 0, 0]),
    ],
)
def test_scores_by_hand(query, expected):
    scores = Bm25Index.from_documents(DOCUMENTS).scores(list(query))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_scores_as_numbers():
    scores = Bm25Index.from_documents(DOCUMENTS).scores(["b", "c"])
    np.testing.assert_allclose(scores, [0.2473703, 0.5280940, 0.3507490], rtol=1e-6)


def test_default_parameters_are_anserinis():
    assert bm25.Parameters() == bm25.Parameters(k1=0.9, b=0.4)
    assert str(bm25.Parameters()) == "k0.9-b0.4-t2"  # revisions without -t2 have other tokens


def test_parameters_change_scores():
    """Without b the length does not count: tf / (tf + k1)."""
    scores = Bm25Index.from_documents(DOCUMENTS, bm25.Parameters(2.0, 0.0)).scores(["a", "c"])
    np.testing.assert_allclose(scores, [IDF_1 * 2 / 4, IDF_2 * 1 / 3, IDF_2 * 3 / 5], rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "k1", "b"), [("k0.9-b0.4", 0.9, 0.4), ("k2-b1", 2, 1), ("k0-b0", 0, 0), ("k1.25-b0.75", 1.25, 0.75)]
)
def test_parameters_are_parsed(text, k1, b):
    assert bm25.Parameters.parse(text) == bm25.Parameters(k1, b)
    assert str(bm25.Parameters(k1, b)) == f"{text}-t2"
    assert bm25.Parameters.parse(f"{text}-t2") == bm25.Parameters(k1, b)


def test_revision_with_other_tokens_is_refused():
    with pytest.raises(
        UsageError, match=r"bm25@k0.9-b0.4-t1 has tokens of version 1, and this hbt-bench makes version 2"
    ):
        bm25.Parameters.parse("k0.9-b0.4-t1")


@pytest.mark.parametrize(
    "text", ["", "k0.9", "k0.9-b1.01", "k0.9-b0.4 ", "b0.4-k0.9", "K0.9-B0.4", "k-1-b0.4", "k1-b1-t"]
)
def test_malformed_parameters_raise_usage_error(text):
    with pytest.raises(UsageError) as caught:
        bm25.Parameters.parse(text)
    assert str(caught.value).startswith(f"bm25@{text} is not a BM25 model")
    assert "bm25@k1.2-b0.75" in str(caught.value)


@pytest.mark.filterwarnings("error")
def test_documents_without_words_score_zero():
    assert Bm25Index.from_documents([[], ["a"], []]).scores(["a"]).tolist() == [
        0,
        pytest.approx(log(8 / 3) / (1 + 1.62)),
        0,
    ]
    assert Bm25Index.from_documents([[], []]).scores(["a"]).tolist() == [0, 0]


def test_vocabulary_has_terms_of_the_documents():
    index = Bm25Index.from_documents(DOCUMENTS)
    assert index.vocabulary == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert index.size == 3


# Collections


def test_scores_of_a_collection(toy):
    pool, blocks = scorers(toy)
    rows = slice(0, len(toy.queries))
    assert pool.scores(rows).shape == (12, 12)
    assert {code: scorer.scores(rows).shape for code, scorer in blocks.items()} == {
        "de": (12, 4),
        "en": (12, 5),
        "sw": (12, 3),
    }
    row = [query.id for query in toy.queries].index("en-water?")
    english = blocks["en"].scores(slice(row, row + 1))[0]
    # "What do fish breathe in?" against five documents of 5, 4, 7, 5 and 3 words, 4.8 on average
    expected = [
        0,
        sum(log(1 + (5 - n + 0.5) / (n + 0.5)) / (1 + 0.9 * (0.6 + 0.4 * 4 / 4.8)) for n in (2, 1, 2)),
        sum(log(1 + (5 - n + 0.5) / (n + 0.5)) / (1 + 0.9 * (0.6 + 0.4 * 7 / 4.8)) for n in (2, 2)),
        0,
        0,
    ]
    np.testing.assert_allclose(english, expected, rtol=1e-6)


def test_parameters_apply_to_pool_and_languages(toy):
    pool, blocks = scorers(toy, bm25.Parameters(2.0, 0.0))
    row = [query.id for query in toy.queries].index("en-water?")
    # as above, in five English documents and in all twelve, where no term is in other languages
    for scorer, documents, column in ((blocks["en"], 5, 1), (pool, 12, toy.document_blocks["en"].start + 1)):
        expected = sum(log(1 + (documents - n + 0.5) / (n + 0.5)) / (1 + 2) for n in (2, 1, 2))
        assert scorer.scores(slice(row, row + 1))[0, column] == pytest.approx(expected, rel=1e-6)


def test_rows_are_those_asked_for(toy):
    pool, _ = scorers(toy)
    everything = pool.scores(slice(0, 12))
    assert (pool.scores(slice(3, 7)) == everything[3:7]).all()
    assert everything[3:7].any()


def test_scores_are_independent_of_other_languages(toy):
    pool, blocks = scorers(toy)
    part = toy.restrict(["en", "sw"])
    pool_of_part, blocks_of_part = scorers(part)
    row_of = {query.id: row for row, query in enumerate(toy.queries)}
    rows = [row_of[query.id] for query in part.queries]
    for code in ("en", "sw"):
        whole = blocks[code].scores(slice(0, 12))[rows]
        assert (blocks_of_part[code].scores(slice(0, len(rows))) == whole).all()
        assert whole.any()
    columns = list(range(4, 12))
    assert not np.allclose(pool_of_part.scores(slice(0, len(rows))), pool.scores(slice(0, 12))[rows][:, columns])


def test_a_language_without_documents_has_no_scorer(toy):
    documents = [document for document in toy.documents if document.language != "sw"]
    relevant = {query.id: {"en-moon": 1} for query in toy.queries}
    collection = type(toy).from_records("toy", toy.queries, documents, relevant)
    _, blocks = scorers(collection)
    assert collection.languages == ("de", "en", "sw")
    assert set(blocks) == {"de", "en"}


@pytest.mark.parametrize("module", ["bm25s", "regex"])
def test_missing_extra_names_the_install_command(monkeypatch, module):
    bm25.require()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError) as caught:
        bm25.require()
    assert str(caught.value) == "the model bm25 needs an extra: run `pip install 'hbt-bench[bm25]'`"
