"""Check the passages and the hard negatives that rows draw from items with several."""

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chi2

from hbt_bench.errors import DataError
from hbt_bench.training.parallel import Item, ParallelText
from hbt_bench.training.plan import BatchPlan
from hbt_bench.training.strategies import BatchMix, WeightedSource


def items(lists, codes=("en",), further=lambda n: 0):
    """Return an item for each list of hard negatives, which all languages have."""
    return [
        Item(
            str(n),
            {code: f"{code} q{n}" for code in codes},
            {code: f"{code} p{n}" for code in codes},
            {code: [f"{code} {text}" for text in texts] for code in codes},
            {code: [f"{code} p{n}.{k}" for k in range(further(n))] for code in codes},
        )
        for n, texts in enumerate(lists)
    ]


def plan(source, strategy="monolingual", rows=8, steps=60, seed=1):
    mix = BatchMix.from_strategy(strategy, 0.5, "mixed", source)
    return BatchPlan((WeightedSource(source, 1.0, mix),), rows, steps, seed)


def rows_of(batch):
    """Return the query, passage and hard negatives of each row as texts."""
    texts = batch.source.texts
    for query, passage, negatives in zip(batch.queries, batch.passages, batch.negatives, strict=True):
        yield texts[query], texts[passage], [texts[number] for number in negatives]


#: Half of the items have no hard negative, one has thirty, and the others have one.
RAGGED = [[] if n % 2 else [f"n{n}.{k}" for k in range(1 if n else 30)] for n in range(60)]


def test_all_items_of_ragged_data_are_drawn():
    source = ParallelText.from_items("ragged", items(RAGGED))
    assert source.depth == 1
    drawn, own = set(), Counter()
    for batch in plan(source).batches():
        used = [text for _, _, negatives in rows_of(batch) for text in negatives]
        assert len(set(used)) == len(used) == 8
        for query, _, (negative,) in rows_of(batch):
            number = int(query.removeprefix("en q"))
            drawn.add(number)
            own[number] += negative.startswith(f"en n{number}.")
    assert drawn == set(range(60))
    assert all(bool(own[number]) == (number % 2 == 0) for number in drawn)


def test_sample_of_many_negatives_changes_with_each_visit():
    source = ParallelText.from_items("ragged", items(RAGGED))
    seen = {
        negatives[0]
        for batch in plan(source, steps=200).batches()
        for query, _, negatives in rows_of(batch)
        if query == "en q0"
    }
    assert len(seen) > 12


@pytest.mark.parametrize(
    ("lengths", "maximum", "depth"),
    [
        ([2, 2, 2], None, 2),
        ([0, 1, 30, 1], None, 1),
        ([1, 2, 2], None, 2),
        ([30, 30], None, 7),
        ([30, 30], 12, 12),
        ([0, 1, 4], 12, 4),
        ([0, 1, 4], 1, 1),
        ([0, 0], None, 0),
    ],
)
def test_depth_is_usual_number_or_maximum(lengths, maximum, depth):
    lists = [[f"n{n}.{k}" for k in range(length)] for n, length in enumerate(lengths)]
    assert ParallelText.from_items("hard", items(lists), max_negatives=maximum).depth == depth


def test_rows_have_own_negatives_in_order():
    lists = [[f"n{n}.{k}" for k in range(2)] for n in range(40)]
    for batch in plan(ParallelText.from_items("pairs", items(lists))).batches():
        for query, _, negatives in rows_of(batch):
            number = query.removeprefix("en q")
            assert negatives == [f"en n{number}.0", f"en n{number}.1"]


@pytest.mark.parametrize("strategy", ["monolingual", "cross-lingual", "mixed"])
def test_no_negative_answers_a_query_of_the_batch(strategy):
    """The hard negatives are passages of the next ten items, as mining gives them."""
    lists = [[f"p{(n + k) % 48}" for k in range(1, 11)] for n in range(48)]
    source = ParallelText.from_items("mined", items(lists, ("de", "en")), max_negatives=4)
    for batch in plan(source, strategy, rows=6, steps=80).batches():
        answers = {int(query.split("q")[1]) for query, _, _ in rows_of(batch)}
        for (_, passage_language), (_, _, negatives) in zip(batch.pairs.tolist(), rows_of(batch), strict=True):
            assert len(set(negatives)) == 4
            for negative in negatives:  # in no language: a translation of an answer is an answer
                assert negative.startswith(source.languages[passage_language])
                assert int(negative.split("p")[1]) not in answers


def test_language_without_negatives_borrows_passages():
    lists = [Item(str(n), {c: f"{c} q{n}" for c in ("de", "en")}, {c: f"{c} p{n}" for c in ("de", "en")},
                  {"en": [f"en n{n}"]}) for n in range(40)]  # fmt: skip
    source = ParallelText.from_items("half", lists)
    for batch in plan(source, "mixed", steps=60).batches():
        answers = {query.split("q")[1] for query, _, _ in rows_of(batch)}
        for query, _, (negative,) in rows_of(batch):
            if query.startswith("en"):
                assert negative == f"en n{query.removeprefix('en q')}"
            else:
                assert negative.startswith("de p")
                assert negative.removeprefix("de p") not in answers


def test_each_passage_has_the_same_probability():
    """A chi-square test at 99.9 % on items with three passages each."""
    source = ParallelText.from_items("several", items([[]] * 40, further=lambda n: 2))
    counts = Counter(
        passage.partition(".")[2] for batch in plan(source, steps=250).batches() for _, passage, _ in rows_of(batch)
    )
    assert set(counts) == {"", "0", "1"}
    expected = counts.total() / 3
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < chi2.ppf(0.999, 2)


def test_items_that_share_any_passage_never_meet():
    further = [Item(str(n), {"en": f"q{n}"}, {"en": f"p{n}"}, {}, {"en": [f"s{n // 2}"]}) for n in range(40)]
    for batch in plan(ParallelText.from_items("shared", further), steps=60).batches():
        assert len({item // 2 for item in batch.items.tolist()}) == 8


def test_only_negative_that_answers_the_query_is_replaced():
    """Items 2k and 2k + 1 have the same query, and each has the other's passage as its only hard negative."""
    lists = [Item(str(n), {"en": f"q{n // 2}"}, {"en": f"p{n}"}, {"en": [f"p{n ^ 1}"]}) for n in range(40)]
    drawn = set()
    for batch in plan(ParallelText.from_items("triples", lists), steps=60).batches():
        drawn.update(batch.items.tolist())
        answers = {f"p{2 * int(query[1:]) + k}" for query, _, _ in rows_of(batch) for k in (0, 1)}
        assert not answers & {text for _, _, negatives in rows_of(batch) for text in negatives}
    assert drawn == set(range(40))


def test_draw_depends_on_seed_and_step_alone():
    source = ParallelText.from_items("ragged", items(RAGGED, ("de", "en"), further=lambda n: n % 3))
    drawn = plan(source, "hybrid", steps=40)
    batches = list(drawn.batches())
    again = plan(source, "hybrid", steps=40)
    for step in (39, 3, 17):
        for name in ("items", "passages", "negatives"):
            assert (getattr(again.batch_at(step), name) == getattr(batches[step], name)).all()
    other = plan(source, "hybrid", steps=40, seed=2)
    assert any((a.negatives != b.negatives).any() for a, b in zip(batches, other.batches(), strict=True))


def test_text_draws_stay_the_same_between_releases():
    source = ParallelText.from_items("ragged", items(RAGGED, further=lambda n: n % 3), max_negatives=2)
    batch = plan(source).batch_at(0)
    assert [[query[3:], passage[3:], *(text[3:] for text in texts)] for query, passage, texts in rows_of(batch)][
        :4
    ] == [
        ["q34", "p34.0", "n34.0", "n50.0"],
        ["q12", "p12", "n12.0", "n56.0"],
        ["q51", "p51", "n8.0", "n20.0"],
        ["q47", "p47", "n30.0", "n18.0"],
    ]


def test_too_few_texts_raise_data_error():
    lists = [[f"p{(n + 1) % 8}"] * 1 + [f"p{(n + 2) % 8}"] for n in range(8)]
    with pytest.raises(DataError, match="small has too few hard negatives in en for a batch of 8 without false neg"):
        plan(ParallelText.from_items("small", items(lists))).batch_at(0)


def test_fingerprint_depends_on_negatives_and_passages():
    base = ParallelText.from_items("ragged", items(RAGGED))
    more = ParallelText.from_items("ragged", items(RAGGED, further=lambda n: n == 5))
    deeper = ParallelText.from_items("ragged", items(RAGGED), max_negatives=3)
    moved = [*RAGGED[:1], ["n2.0"], [], *RAGGED[3:]]
    assert (
        len({source.fingerprint for source in (base, more, deeper, ParallelText.from_items("ragged", items(moved)))})
        == 4
    )


def test_fingerprint_with_one_negative_each_stays_the_same():
    lists = [
        Item(str(n), {c: f"{c} q{n}" for c in ("de", "en")}, {c: f"{c} p{n}" for c in ("de", "en")},
             {c: [f"{c} n{n}"] for c in ("de", "en")})
        for n in range(60)
    ]  # fmt: skip
    source = ParallelText.from_items("hard", lists)
    assert source.fingerprint == "d3f57f83701139b0"
    assert plan(source, "hybrid", steps=300).fingerprint == "3676aaee94422b97"


def test_unwanted_negatives_and_passages_are_removed():
    lists = [
        Item("0", {"en": "q0"}, {"en": "p0"}, {"en": ["bad", "n0"]}),
        Item("1", {"en": "q1"}, {"en": "p1"}, {"en": ["bad"]}),
        Item("2", {"en": "q2"}, {"en": "bad p"}, {"en": ["n2"]}, {"en": ["p2", "bad too"]}),
        Item("3", {"en": "q3"}, {"en": "p3"}),
    ]
    left = ParallelText.from_items("hard", lists).without(lambda language, text: text.startswith("bad"))
    assert left.ids == ("0", "2", "3")  # the only hard negative of item 1 is unwanted
    texts = [left.texts[number] for number in left.passages[0]]
    negatives = [[left.texts[n] for n in left.negatives.of(np.array([item]))[0]] for item in range(3)]
    assert (texts, negatives, len(left.more_passages.values)) == (["p0", "p2", "p3"], [["n0"], ["n2"], []], 0)


def test_loss_sees_a_column_for_each_negative():
    from hbt_bench.training.rows import Rows

    source = ParallelText.from_items("ragged", items(RAGGED), max_negatives=2)
    rows = Rows(plan(source, steps=2), parallel=False)
    assert rows.columns == ["query", "passage", "negative0", "negative1"]
    assert [list(rows[row]) for row in (0, 15)] == [rows.columns] * 2


def test_borrowed_negatives_of_a_row_differ():
    """Two rows have all four hard negatives, so the other two rows borrow texts that the batch has already."""
    lists = [["n0", "n1"], ["n2", "n3"], [], []]
    for batch in plan(ParallelText.from_items("few", items(lists)), rows=4, steps=20).batches():
        assert batch.negatives.shape == (4, 2)
        assert all(len(set(negatives)) == 2 for _, _, negatives in rows_of(batch))
