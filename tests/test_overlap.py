"""Check the leakage guard: overlaps are found, counted and removed."""

import pytest

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.errors import DataError
from hbt_bench.training.overlap import Overlap
from hbt_bench.training.parallel import Item, ParallelText

LONG = "The quick brown fox jumps over the lazy dog near the old river bank"
THAI = "ประเทศไทยตั้งอยู่ในเอเชียตะวันออกเฉียงใต้และมีประชากรมาก"


@pytest.fixture(scope="module")
def overlap():
    queries = [Query("q1", "en", "Who is Ann?", "1"), Query("q2", "th", "ใคร", "2")]
    documents = [Document("d1", "en", LONG), Document("d2", "th", THAI), Document("d3", "en", "!!!")]
    return Overlap([Collection.from_records("c", queries, documents, {"q1": {"d1": 1}, "q2": {"d2": 1}})])


@pytest.mark.parametrize(
    ("language", "text", "reason"),
    [
        ("en", "who is ANN", "same text"),
        ("en", " Who  is Ann?! ", "same text"),
        ("de", "Who is Ann?", None),  # another language
        ("en", "Who is Anna?", None),
        ("en", "!!!", "same text"),
        ("en", "???", None),
        ("en", "Then " + " ".join(LONG.split()[2:12]) + " and more", "shared run"),
        ("en", "Then " + " ".join(LONG.split()[2:11]) + " and more", None),  # nine words
        ("th", "ก" + THAI[3:27] + "ข", "shared run"),  # 24 characters
        ("th", "ก" + THAI[3:26] + "ข", None),
    ],
)
def test_reason_of_an_overlap(overlap, language, text, reason):
    assert overlap.reason(language, text) == reason


def test_languages_limit_the_comparison():
    queries = [Query("q1", "en", "Who is Ann?", "1"), Query("q2", "de", "Wer ist Ann?", "2")]
    collection = Collection.from_records("c", queries, [Document("d1", "en", LONG)], {"q1": {"d1": 1}, "q2": {"d1": 1}})
    overlap = Overlap([collection], ("de", "fr"))
    assert overlap.reason("de", "Wer ist Ann?") == "same text"
    assert overlap.reason("en", "Who is Ann?") is None


def test_overlapping_texts_are_counted_and_removed(overlap):
    source = ParallelText.from_items(
        "train",
        [
            Item("1", {"en": "Who is Ann?", "de": "Wer?"}, {"en": "A girl.", "de": "Ein Kind."}),
            Item("2", {"en": "Which fox?"}, {"en": f"Once {LONG}"}),
        ],
    )
    assert dict(overlap.count(source)) == {("en", "same text"): 1, ("en", "shared run"): 1}
    remaining = overlap.remove_from(source)
    assert remaining.ids == ("1",)
    assert remaining.counts.tolist() == [[1, 1], [0, 0]]
    assert not overlap.count(remaining)


def test_hard_negatives_are_compared_too(overlap):
    items = [
        Item("1", {"en": "q"}, {"en": "p"}, {"en": ["Who is Ann?"]}),
        Item("2", {"en": "r"}, {"en": "s"}, {"en": ["t"]}),
    ]
    source = ParallelText.from_items("train", items)
    assert overlap.count(source).total() == 1
    assert overlap.remove_from(source).ids == ("2",)


def test_nothing_left_raises_data_error(overlap):
    source = ParallelText.from_items("train", [Item("1", {"en": "Who is Ann?"}, {"en": "A girl."})])
    with pytest.raises(DataError, match="nothing is left to train on of train"):
        overlap.remove_from(source)
