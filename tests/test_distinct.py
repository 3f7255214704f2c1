"""Check the search for items without a clash: it fills all batches of a plan, in memory linear in the items."""

import itertools
import tracemalloc

import numpy as np
import pytest

from hbt_bench.errors import DataError
from hbt_bench.training.clashes import DistinctItems
from hbt_bench.training.parallel import Item, ParallelText
from hbt_bench.training.plan import BatchPlan
from hbt_bench.training.strategies import BatchMix, WeightedSource


def source_of(rows, languages=("en",)):
    """Return a source of (query, passage) rows, whose texts begin with their language."""
    return ParallelText.from_items(
        "s",
        [
            Item(
                str(n),
                {code: f"{code} {query}" for code in languages},
                {code: f"{code} {passage}" for code in languages},
            )
            for n, (query, passage) in enumerate(rows)
        ],
    )


def plan(source, strategy="monolingual", rows=8, steps=25, pairs="mixed"):
    mix = BatchMix.from_strategy(strategy, 0.5, pairs, source)
    return BatchPlan((WeightedSource(source, 1.0, mix),), rows, steps, 0)


def repeated(count, others=200):
    """Return `count` items with the same query and other passages, and other items without a common text."""
    return source_of([("same", f"p{n}") for n in range(count)] + [(f"q{n}", f"r{n}") for n in range(others)])


def crossed(number, languages=("en",)):
    """Return a query with `number` passages, each of which answers another query too.

    The items of the repeated query clash with all items, the others only with those.
    """
    rows = [("same", f"p{n}") for n in range(number)] + [(f"q{n}", f"p{n}") for n in range(number)]
    return source_of(rows, languages)


def with_negatives(source):
    """Return a source with a hard negative of each item, as triples have them."""
    rows = zip(source.ids, source.queries[0], source.passages[0], strict=True)
    items = [
        Item(name, {"en": source.texts[query]}, {"en": source.texts[passage]}, {"en": [f"no {name}"]})
        for name, query, passage in rows
    ]
    return ParallelText.from_items("s", items)


@pytest.mark.parametrize("strategy", ["monolingual", "mixed"])
@pytest.mark.parametrize("triples", [False, True])
def test_memory_is_linear_in_a_repeated_query(strategy, triples):
    source = with_negatives(repeated(4000)) if triples else repeated(4000)
    tracemalloc.start()
    batch = plan(source, strategy).batch_at(0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 << 20  # 16 million pairs of items take 128 MiB
    assert (batch.items < 4000).sum() <= 1


def test_group_of_a_query_has_its_items():
    groups, items = source_of([("same", "a"), ("b", "c"), ("SAME", "d"), ("b", "e"), ("f", "a")]).same_query
    assert [groups.of(np.array([item]))[0].tolist() for item in range(5)] == [[0], [1], [0], [1], []]
    assert [items.of(np.array([group]))[0].tolist() for group in range(2)] == [[0, 2], [1, 3]]


def test_repeated_query_is_in_a_batch_once():
    for batch in plan(repeated(600, 30)).batches():
        assert (batch.items < 600).sum() <= 1
        assert len(set(batch.items.tolist())) == 8


@pytest.mark.parametrize(
    ("strategy", "pairs", "languages"),
    [
        ("monolingual", "mixed", ("en",)),
        ("cross-lingual", "one", ("de", "en")),
        ("cross-lingual", "mixed", ("de", "en")),
        ("mixed", "mixed", ("de", "en")),
        ("pair-per-row", "mixed", ("de", "en", "fr")),
    ],
)
def test_batch_is_full_if_a_first_item_clashes_with_all(strategy, pairs, languages):
    """If an item of the repeated query comes first, no other item fits, so the rows are drawn from the others."""
    source = crossed(9, languages)
    for batch in plan(source, strategy, rows=9, pairs=pairs).batches():
        assert sorted(batch.items.tolist()) == list(range(9, 18))
        assert (batch.queries >= 0).all()
        same = batch.pairs[:, 0] == batch.pairs[:, 1]
        assert same.all() if strategy in ("monolingual", "mixed") else strategy == "pair-per-row" or not same.any()
    with pytest.raises(DataError, match=r"^s has 9 different items for a \w+ batch, fewer than 10\. "):
        plan(source, strategy, rows=10, pairs=pairs)


def test_full_batches_are_random_and_reproducible():
    drawn = plan(crossed(30), rows=4)
    batches = [batch.items.tolist() for batch in drawn.batches()]
    assert batches == [drawn.batch_at(step).items.tolist() for step in range(25)]
    assert len(set(itertools.chain(*batches))) > 25


def test_batch_of_rows_draws_pairs_that_its_items_have():
    """Two thirds of the items have a single pair each, so a row cannot have any pair."""
    items = [
        Item(f"{code}{n}", {code: f"{code} {query}"}, {code: f"{code} p{n}"})
        for code in ("de", "en", "fr")
        for n in range(4)
        for query in (["same", f"q{n}"][n % 2],)
    ]
    for batch in plan(ParallelText.from_items("s", items), "mixed", rows=9).batches():
        assert len(set(batch.items.tolist())) == 9
        assert (batch.queries >= 0).all()
        assert (batch.passages >= 0).all()


@pytest.mark.parametrize("seed", range(6))
def test_number_of_distinct_items(seed):
    """No two of the items found share a text, and there are as many as in an exhaustive search."""
    generator = np.random.default_rng(seed)
    rows = [(f"q{generator.integers(8)}", f"p{generator.integers(9)}") for _ in range(12)]
    source = source_of(rows)
    answers = {query: {passage for other, passage in rows if other == query} for query, _ in rows}
    texts = [{query, passage, *answers[query]} for query, passage in rows]
    largest = max(
        sum(chosen)
        for chosen in itertools.product([0, 1], repeat=12)
        if len(set.union(set(), *(texts[n] for n in range(12) if chosen[n])))
        == sum(len(texts[n]) for n in range(12) if chosen[n])
    )
    found = DistinctItems(source).of_pair(0, 0, 12).tolist()
    assert all(not texts[a] & texts[b] for a, b in itertools.combinations(found, 2))
    assert len(found) == largest
    assert DistinctItems(source).counts(12, mono=True)[0, 0] == largest


def test_items_without_common_texts_are_all_distinct():
    source = source_of([(f"q{n}", f"p{n}") for n in range(5)], ("de", "en"))
    assert DistinctItems(source).counts(3, mono=True).tolist() == [[5, 0], [0, 5]]
    assert DistinctItems(source).counts(3, mono=False).tolist() == [[0, 5], [5, 0]]
    assert DistinctItems(source).most_frequent() == (1, "")
    assert DistinctItems(repeated(3)).most_frequent() == (3, "en same")
