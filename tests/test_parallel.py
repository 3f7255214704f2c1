"""Check parallel training text: indices of texts, counts of language pairs, and refused items."""

import numpy as np
import pytest

from hbt_bench.errors import DataError
from hbt_bench.training.parallel import MISSING, Item, ParallelText

ITEMS = [
    Item("1", {"en": "who?", "de": "wer?"}, {"en": "Ann did.", "de": "Anna war es."}),
    Item("2", {"en": "what?"}, {"en": "Ann  did.", "fr": "Quoi."}),
    Item("3", {"de": "wo?"}, {"de": "Hier."}),
]


@pytest.fixture
def source():
    return ParallelText.from_items("small", ITEMS)


def test_equal_texts_have_equal_indices(source):
    assert source.languages == ("de", "en", "fr")
    en = source.languages.index("en")
    assert source.passages[en, 0] == source.passages[en, 1]
    assert source.texts[source.passages[en, 1]] == "Ann did."
    assert source.queries[en, 2] == MISSING


def test_counts_by_language_pair(source):
    # query language in rows, passage language in columns
    assert source.counts.tolist() == [[2, 1, 0], [1, 2, 1], [0, 0, 0]]


def test_items_of_a_pair(source):
    de, en, fr = range(3)
    assert source.items(de, de).tolist() == [0, 2]
    assert source.items(en, fr).tolist() == [1]
    complete = ParallelText.from_items("full", [Item(str(n), {"en": f"q{n}"}, {"en": f"p{n}"}) for n in range(3)])
    assert complete.items(0, 0) is None


def test_texts_shared_with_other_items(source):
    offsets, texts = source.shared
    shared = [set(texts[offsets[item] : offsets[item + 1]].tolist()) for item in range(3)]
    number = source.texts.index("Ann did.")
    assert shared == [{number}, {number}, set()]


def test_bitext_has_no_pair_of_one_language():
    source = ParallelText.from_items("bi", [Item("1", {"en": "a", "de": "b"}, {"en": "a", "de": "b"})], bitext=True)
    assert source.counts.tolist() == [[0, 1], [1, 0]]


def test_each_item_has_its_own_hard_negatives():
    source = ParallelText.from_items(
        "hard",
        [
            Item("1", {"en": "q1"}, {"en": "p1"}, {"en": ["n1", "n2"]}),
            Item("2", {"en": "q2"}, {"en": "p2"}, {"en": ["n3"]}),
            Item("3", {"en": "q3"}, {"en": "p3"}),
        ],
    )
    assert [[source.texts[number] for number in source.negatives.of(np.array([item]))[0]] for item in range(3)] == [
        ["n1", "n2"], ["n3"], [],
    ]  # fmt: skip
    assert source.items(0, 0) is None  # all are trained on


def test_restrict_languages_and_remove_texts(source):
    german = source.restricted(["de"])
    assert german.ids == ("1", "3")
    assert german.languages == ("de",)
    remaining = source.without(lambda language, text: text == "Ann did.")
    assert remaining.ids == ("1", "2", "3")
    assert remaining.counts.tolist() == [[2, 0, 0], [1, 0, 1], [0, 0, 0]]


def test_split_is_a_partition(source):
    train, held_out = source.split(np.array([False, False, True]))
    assert (train.ids, held_out.ids) == (("1", "2"), ("3",))


def test_fingerprint_depends_on_texts_and_ids(source):
    assert source.fingerprint == ParallelText.from_items("small", ITEMS).fingerprint
    changed = [*ITEMS[:2], Item("3", {"de": "wo?"}, {"de": "Dort."})]
    assert source.fingerprint != ParallelText.from_items("small", changed).fingerprint


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([ITEMS[0], ITEMS[0]], "small has two items with the id '1'"),
        ([Item("x", {"en": " "}, {"en": "p"})], "small has an empty text in item 'x'"),
        ([Item("x", {"en": "q"}, {})], "small has no item with a query and a passage to train on"),
        (
            [Item("x", {"en": "q"}, {"en": "p"}, {"en": ["p"]})],
            "small has a hard negative in item 'x' that equals its passage",
        ),
    ],
)
def test_bad_items_raise_data_error(items, message):
    with pytest.raises(DataError) as error:
        ParallelText.from_items("small", items)
    assert str(error.value).startswith(message)


def test_nothing_left_raises_data_error(source):
    with pytest.raises(DataError, match=r"^nothing is left to train on of small \(fr\)$"):
        source.restricted(["fr"])


def test_positives_are_queries_and_all_passages():
    items = [
        Item(
            "a", {"en": "q1", "de": "f1"}, {"en": "p1", "de": "a1"}, {"en": ["n1"]}, {"en": ["p2", "p3"], "de": ["a2"]}
        ),
        Item("b", {"en": "q4"}, {"en": "p4"}, {}, {"en": ["p1"]}),
    ]
    source = ParallelText.from_items("demo", items)
    found = {}
    for item, text in zip(*source.positives(), strict=True):
        found.setdefault(int(item), []).append(source.texts[text])
    assert {item: sorted(texts) for item, texts in found.items()} == {
        0: ["a1", "a2", "f1", "p1", "p2", "p3", "q1"],
        1: ["p1", "p4", "q4"],
    }
    assert [source.texts[number] for number in source.shared.values] == ["p1", "p1"]


def test_used_texts_are_those_of_the_items():
    items = [
        Item(str(n), {"en": f"q{n}", "de": f"f{n}"}, {"en": f"p{n}", "de": f"a{n}"}, {"en": [f"n{n}"]})
        for n in range(2)
    ]
    source = ParallelText.from_items("demo", items)

    def used(part):
        return [text for text, is_used in zip(part.texts, part.used(), strict=True) if is_used]

    assert used(source) == list(source.texts)
    assert used(source.restricted(["en"])) == ["q0", "p0", "n0", "q1", "p1", "n1"]
    assert used(source.split(np.array([True, False]))[0]) == ["f1", "a1", "q1", "p1", "n1"]
    assert used(source.without(lambda language, text: text == "n1")) == ["f0", "a0", "q0", "p0", "n0", "f1", "a1", "q1"]
