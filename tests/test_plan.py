"""The plan: 10,000 batches of each strategy against its specification."""

import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, chi2

from hbt_bench.errors import DataError, UsageError
from hbt_bench.training.parallel import MISSING, Item, ParallelText
from hbt_bench.training.plan import BatchPlan
from hbt_bench.training.strategies import BatchMix, BatchType, WeightedSource

LANGUAGES = ("ar", "de", "en", "es", "hi")
BATCHES, ROWS = 10_000, 12


def parallel(items=150, name="full", shared=4):
    """Fully parallel, but every `shared` items in a row have one passage in German, and every tenth one question."""
    return ParallelText.from_items(
        name,
        [
            Item(
                f"{name}-{n}",
                {code: f"{code} question {n // 10 if n % 10 < 2 else n}" for code in LANGUAGES},
                {code: f"{code} passage {n // shared if code == 'de' else n}" for code in LANGUAGES},
            )
            for n in range(items)
        ],
    )


def ragged(name="ragged"):
    """Items with two languages each, and some pairs with two items only."""
    pairs = [("en", "de"), ("en", "es"), ("de", "es"), ("en", "hi")]
    items = []
    for n in range(160):
        codes = ("ar", "hi") if n < 2 else pairs[n % 4]
        items.append(Item(str(n), {c: f"{c} q{n}" for c in codes}, {c: f"{c} p{n}" for c in codes}))
    return ParallelText.from_items(name, items)


def plan(strategy, source, *, alpha=0.3, pairs="mixed", steps=BATCHES, rows=ROWS, seed=1, **options):
    return BatchPlan(
        (WeightedSource(source, 1.0, BatchMix.of(strategy, alpha, pairs, source), **options),), rows, steps, seed
    )


def check_clean(batch):
    """No item twice, and no text of a row that is a positive of another one in the languages in play."""
    source = batch.source
    assert len(set(batch.items.tolist())) == len(batch.items)
    query, passage = batch.pairs.T
    assert (batch.queries == source.queries[query, batch.items]).all()
    assert (batch.passages == source.passages[passage, batch.items]).all()
    assert (batch.queries != MISSING).all()
    assert (batch.passages != MISSING).all()
    assert len(set(batch.queries.tolist())) == len(batch.items)
    assert len(set(batch.passages.tolist())) == len(batch.items)
    if len(np.unique(batch.pairs, axis=0)) > 1:  # then translations of a positive count as well
        texts = [
            set(source.queries[:, item].tolist()) | set(source.passages[:, item].tolist()) - {MISSING}
            for item in batch.items.tolist()
        ]
        seen: set[int] = set()
        for own in texts:
            own.discard(MISSING)
            assert not own & seen
            seen |= own


def check_kind(batch, pairs):
    one_pair = len(np.unique(batch.pairs, axis=0)) == 1
    same = batch.pairs[:, 0] == batch.pairs[:, 1]
    if batch.kind == "mono":
        assert same.all()
        assert one_pair
    elif batch.kind == "cross":
        assert not same.any()
        assert one_pair == (pairs == "one")
    elif batch.kind == "mixed":
        assert same.all()
        assert not one_pair


def within_99(count, total, share):
    low, high = binom.ppf([0.005, 0.995], total, share)
    return low <= count <= high


@pytest.mark.parametrize(
    ("strategy", "pairs"),
    [
        ("monolingual", "mixed"),
        ("cross-lingual", "mixed"),
        ("cross-lingual", "one"),
        ("hybrid", "mixed"),
        ("hybrid", "one"),
        ("mixed", "mixed"),
        ("pair-per-row", "mixed"),
        ("multi-task", "mixed"),
    ],
)
def test_ten_thousand_batches(strategy, pairs):
    source = parallel()
    drawn = plan(strategy, source, pairs=pairs)
    kinds, pair_counts = Counter(), Counter()
    for batch in drawn.batches():
        check_clean(batch)
        check_kind(batch, pairs)
        kinds[batch.kind] += 1
        one_pair = len(np.unique(batch.pairs, axis=0)) == 1
        for row in batch.pairs[: 1 if one_pair else None].tolist():
            pair_counts[batch.kind, *row] += 1
    expected_kinds = {
        "monolingual": {"mono"}, "cross-lingual": {"cross"}, "hybrid": {"mono", "cross"}, "mixed": {"mixed"},
        "pair-per-row": {"rows"},
        "multi-task": {"mixed"},
    }[strategy]  # fmt: skip
    assert set(kinds) == expected_kinds
    if strategy == "hybrid":
        assert within_99(kinds["mono"], BATCHES, 0.3)
    if strategy == "pair-per-row":
        mono = sum(count for (_, query, passage), count in pair_counts.items() if query == passage)
        assert within_99(mono, BATCHES * ROWS, 0.3)
    # languages and pairs of each kind are even: one chi-square test over all of them, at 99 %
    for kind in kinds:
        for same in (True, False):
            counts = [n for (k, q, p), n in pair_counts.items() if k == kind and (q == p) == same]
            if counts:
                expected = sum(counts) / (5 if same else 20)
                statistic = sum((n - expected) ** 2 / expected for n in counts)
                assert len(counts) == (5 if same else 20)
                assert statistic < chi2.ppf(0.99, len(counts) - 1), (kind, same)
    planned = drawn.shares()
    assert sum(planned.values()) == pytest.approx(1)
    assert {key[1] for key in planned} == expected_kinds
    for kind in kinds:  # each planned share beside the share of what was drawn
        keys = [key for key in planned if key[1] == kind]
        total = sum(planned[key] for key in keys)
        draws = sum(count for (name, _, _), count in pair_counts.items() if name == kind)
        codes = source.languages
        statistic = sum(
            (pair_counts[kind, codes.index(q), codes.index(p)] - draws * planned[key] / total) ** 2
            / (draws * planned[key] / total)
            for key in keys
            for q, p in [key[2:]]
        )
        assert statistic < chi2.ppf(0.999, len(keys) - 1)


def test_language_specific_batches_of_several_languages_are_refused():
    with pytest.raises(UsageError, match="has several languages, and language-specific batches have one"):
        plan("language-specific", parallel())


def test_language_specific():
    source = parallel().restricted(["hi"])
    for batch in plan("language-specific", source).batches():
        check_clean(batch)
        assert batch.kind == "mono"
    assert source.languages == ("hi",)


def test_every_item_has_its_turn_before_any_comes_again():
    source = ParallelText.from_items(
        "clean", [Item(str(n), {"en": f"q{n}", "de": f"f{n}"}, {"en": f"p{n}", "de": f"a{n}"}) for n in range(48)]
    )
    for strategy in ("monolingual", "cross-lingual"):
        seen: dict[tuple[int, int], list[int]] = {}
        for batch in plan(strategy, source, steps=400).batches():
            for pair, item in zip(batch.pairs.tolist(), batch.items.tolist(), strict=True):
                seen.setdefault(tuple(pair), []).append(item)
        for items in seen.values():
            whole = [items[start : start + 48] for start in range(0, len(items) - 47, 48)]
            if strategy == "monolingual":  # a batch holds one pair, so nothing clashes and no item is exchanged
                assert whole
                assert all(sorted(epoch) == list(range(48)) for epoch in whole)
                assert whole[0] != whole[1]
            else:
                assert all(len(set(epoch)) > 40 for epoch in whole)


def test_a_step_is_a_function_of_seed_and_step():
    source = parallel()
    drawn = plan("hybrid", source, steps=200)
    in_order = list(drawn.batches())
    for step in (199, 3, 57, 57, 0):
        again = pickle.loads(pickle.dumps(drawn)).batch_at(step)
        for field in ("items", "pairs", "queries", "passages", "parallel"):
            assert (getattr(again, field) == getattr(in_order[step], field)).all()
        assert (drawn.batch_at(step).items == in_order[step].items).all()
    assert [drawn.kind_at(step) for step in range(200)] == [batch.kind for batch in in_order]
    other = plan("hybrid", source, steps=200, seed=2)
    assert any((a.items != b.items).any() for a, b in zip(in_order, other.batches(), strict=True))
    with pytest.raises(IndexError):
        drawn.batch_at(200)


def test_the_fingerprint_tells_plans_apart():
    source = parallel()
    base = plan("hybrid", source, steps=50)
    assert base.fingerprint == plan("hybrid", source, steps=50).fingerprint
    others = [
        plan("hybrid", source, steps=50, seed=2),
        plan("hybrid", source, steps=51),
        plan("hybrid", source, steps=50, rows=10),
        plan("hybrid", source, steps=50, pairs="one"),
        plan("mixed", source, steps=50),
        plan("hybrid", parallel(shared=5), steps=50),
    ]
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == len(others) + 1


def test_the_first_batch_is_this_one_on_every_machine():
    batch = plan("cross-lingual", parallel(), rows=6).batch_at(0)
    assert batch.items.tolist() == [46, 65, 12, 16, 99, 83]
    assert batch.pairs.tolist() == [[4, 0], [2, 0], [3, 1], [1, 0], [3, 4], [0, 4]]


def test_ragged_data_keep_to_the_pairs_that_exist():
    source = ragged()
    for strategy in ("hybrid", "mixed", "pair-per-row"):
        for batch in plan(strategy, source, steps=500).batches():
            check_clean(batch)
    drawn = plan("hybrid", source, pairs="one", steps=500)
    assert set(drawn.supplies[0].left_out(ROWS)) == {("ar-hi", 2), ("hi-ar", 2), ("ar-ar", 2)}
    codes = source.languages
    met = {tuple(codes[c] for c in pair) for batch in drawn.batches() for pair in batch.pairs[:1].tolist()}
    assert ("ar", "hi") not in met
    assert ("en", "hi") in met


def test_weights_by_size_and_by_hand():
    source = ragged()
    by_size = plan("monolingual", source, steps=4000, language_weights="size")
    counts = Counter(source.languages[batch.pairs[0, 0]] for batch in by_size.batches())
    sizes = {
        code: int(source.counts[row, row])
        for row, code in enumerate(source.languages)
        if source.counts[row, row] >= ROWS
    }
    total = sum(sizes.values())
    assert set(counts) == set(sizes)
    assert all(within_99(counts[code], 4000, size / total) for code, size in sizes.items())
    by_hand = plan("monolingual", source, steps=4000, language_weights={"en": 3.0})
    share = by_hand.shares()
    assert share["ragged", "mono", "en", "en"] == pytest.approx(3 / 6)
    assert share["ragged", "mono", "de", "de"] == pytest.approx(1 / 6)


def test_hard_negatives_are_nobodys_passage():
    items = [
        Item(str(n), {"en": f"q{n}", "de": f"f{n}"}, {"en": f"p{n}", "de": f"a{n}"},
             {"en": [f"p{(n + 1) % 60}"], "de": [f"a{(n + 1) % 60}"]})
        for n in range(60)
    ]  # fmt: skip
    source = ParallelText.from_items("hard", items)
    for strategy in ("hybrid", "mixed"):
        for batch in plan(strategy, source, steps=300).batches():
            check_clean(batch)
            items_in = set(batch.items.tolist())
            assert not any((item + 1) % 60 in items_in for item in items_in)
            assert batch.negatives.shape == (ROWS, 1)


def met(batch):
    """All pairs of items that stand in one batch."""
    items = batch.items.tolist()
    return {(one, other) for one in items for other in items if one != other}


def test_the_other_passages_of_a_query_are_no_negatives():
    """Item 3k and 3k + 1 ask the same, 3k + 1 and 3k + 2 have the same passage: none of the three may meet."""
    items = []
    for n in range(90):
        k, turn = divmod(n, 3)
        question, passage = (f"q{k}", f"q{k}", f"r{k}")[turn], (f"p{k}", f"s{k}", f"s{k}")[turn]
        items.append(Item(str(n), {"en": question, "de": f"f {question}"}, {"en": passage, "de": f"a {passage}"}))
    source = ParallelText.from_items("triplets", items)
    for strategy in ("monolingual", "cross-lingual", "mixed"):
        for batch in plan(strategy, source, steps=300, rows=12).batches():
            assert all(one // 3 != other // 3 for one, other in met(batch))


def test_case_does_not_tell_texts_apart():
    items = [
        Item(str(n), {"en": f"question {n}"}, {"en": ("YES %d" if n % 2 else "Yes %d") % (n // 2)}) for n in range(80)
    ]
    source = ParallelText.from_items("case", items)
    for batch in plan("monolingual", source, steps=300).batches():
        assert all(one // 2 != other // 2 for one, other in met(batch))


def test_small_batches_whose_rows_drew_one_pair_by_chance():
    source = ParallelText.from_items(
        "small",
        [
            Item(str(n), {c: f"{c} q{n}" for c in ("en", "de")}, {c: f"{c} p{n // 2}" for c in ("en", "de")})
            for n in range(6)
        ],
    )
    for batch in plan("mixed", source, steps=400, rows=2).batches():
        assert len(set(batch.passages.tolist())) == 2
        assert batch.passages.min() >= 0
        assert all(one // 2 != other // 2 for one, other in met(batch))


def test_several_sources_take_turns_by_weight_and_never_mix():
    small, large = parallel(60, "small"), parallel(180, "large")
    for weights, share in (((60.0, 180.0), 0.75), ((1.0, 1.0), 0.5)):
        supplies = tuple(
            WeightedSource(source, weight, BatchMix.of("hybrid", 0.5, "mixed", source))
            for source, weight in zip((small, large), weights, strict=True)
        )
        counts = Counter(batch.source.name for batch in BatchPlan(supplies, ROWS, 4000, 0).batches())
        assert within_99(counts["large"], 4000, share)


@pytest.mark.parametrize("when", ["before", "after", "mixed"])
def test_the_instruction_phase(when):
    main, dolly = parallel(60, "main"), parallel(60, "dolly").restricted(["en"])
    supplies = (
        WeightedSource(main, 60.0, BatchMix.of("hybrid", 0.5, "mixed", main)),
        WeightedSource(dolly, 1.0, BatchMix.of("multi-task", 0.5, "mixed", dolly), phase="instruction"),
    )
    steps = BATCHES if when == "mixed" else 1000
    drawn = BatchPlan(supplies, ROWS, steps, 0, 0.3, when)
    names = []
    for batch in drawn.batches():
        check_clean(batch)
        names.append(batch.source.name)
    stage = names.count("dolly")
    if when == "mixed":
        assert within_99(stage, steps, 0.3)
        assert "dolly" in names[:50]
        assert "main" in names[:50]
    else:
        assert stage == 300
        assert set(names[:300] if when == "before" else names[-300:]) == {"dolly"}
    assert sum(share for key, share in drawn.shares().items() if key[0] == "dolly") == pytest.approx(0.3)


def test_the_parallel_query_is_the_same_question_in_another_language():
    source = parallel()
    for batch in plan("hybrid", source, steps=50).batches():
        for row, item in enumerate(batch.items.tolist()):
            texts = source.queries[:, item].tolist()
            assert batch.parallel[row] in texts
            own = source.languages[batch.pairs[row, 0]]
            assert batch.parallel[row] != batch.queries[row]
            if own != "en":
                assert source.texts[batch.parallel[row]].startswith("en ")
    alone = plan("monolingual", parallel().restricted(["de"]), steps=1).batch_at(0)
    assert (alone.parallel == alone.queries).all()


def test_sources_that_lack_a_kind():
    english = parallel().restricted(["en"])
    assert BatchMix.of("hybrid", 0.3, "mixed", english).kinds == ((1.0, BatchType("mono", 1.0, per_row=False)),)
    with pytest.raises(UsageError, match="full has no pairs of two languages for cross-lingual batches"):
        BatchMix.of("cross-lingual", 0.3, "mixed", english)
    bitext = ParallelText.from_items(
        "bi",
        [Item(str(n), {"en": f"a{n}", "de": f"b{n}"}, {"en": f"a{n}", "de": f"b{n}"}) for n in range(30)],
        bitext=True,
    )
    assert [kind.name for _, kind in BatchMix.of("multi-task", 0.3, "mixed", bitext).kinds] == ["cross"]
    with pytest.raises(UsageError, match="bi has no pairs of one language for mixed batches"):
        BatchMix.of("mixed", 0.3, "mixed", bitext)
    for batch in plan("hybrid", bitext, steps=50).batches():
        check_clean(batch)


def test_too_little_data():
    with pytest.raises(
        DataError, match=r"^full has 8 items, fewer than a batch of 12: lower the batch size or add data$"
    ):
        plan("hybrid", parallel(8), steps=5)
    with pytest.raises(DataError, match="ragged has no language pair with 45 items for a cross batch"):
        plan("cross-lingual", ragged(), pairs="one", rows=45, steps=5)
    same = ParallelText.from_items("same", [Item(str(n), {"en": f"q{n}"}, {"en": f"p{n % 3}"}) for n in range(20)])
    with pytest.raises(DataError, match="same has too few different items in en-en for a batch of 12 without false"):
        list(plan("monolingual", same, steps=2).batches())


@pytest.mark.parametrize("phase", ["main", "instruction"])
def test_a_phase_that_has_nothing_to_draw_from(phase):
    source, phases = parallel(), ("main", "instruction")
    supplies = [
        WeightedSource(source, 1.0, BatchMix.of("hybrid", 0.5, "mixed", source), "uniform", one) for one in phases
    ]
    nothing = [replace(supply, weight=0.0) if supply.phase == phase else supply for supply in supplies]
    with pytest.raises(UsageError, match=f"no source of the {phase} phase has a weight above 0"):
        BatchPlan(tuple(nothing), 8, 10, 0, 0.5)
    assert BatchPlan(tuple(supplies), 8, 10, 0, 0.5).shares()


def test_alpha_zero_and_one():
    source = parallel()
    assert {batch.kind for batch in plan("hybrid", source, alpha=0.0, steps=50).batches()} == {"cross"}
    assert {batch.kind for batch in plan("hybrid", source, alpha=1.0, steps=50).batches()} == {"mono"}
