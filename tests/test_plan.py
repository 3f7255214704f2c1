"""Check the plan: 10,000 draws and 2,000 batches of each strategy follow its specification."""

import pickle
from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest
from scipy.stats import binom, chi2

from hbt_bench.errors import DataError, UsageError
from hbt_bench.training.parallel import MISSING, Item, ParallelText
from hbt_bench.training.plan import BatchPlan
from hbt_bench.training.strategies import BatchMix, BatchType, WeightedSource

LANGUAGES = ("ar", "de", "en", "es", "hi")
#: Steps whose language pairs are drawn, of which the first have their items drawn too, which takes ten times as long.
BATCHES, WITH_ITEMS, ROWS = 10_000, 2_000, 12


def parallel(items=150, name="full", shared=4):
    """Return parallel items; `shared` neighbours share a German passage, every tenth and the next a question."""
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
    """Return items in two languages each; some pairs have two items only."""
    pairs = [("en", "de"), ("en", "es"), ("de", "es"), ("en", "hi")]
    items = []
    for n in range(160):
        codes = ("ar", "hi") if n < 2 else pairs[n % 4]
        items.append(Item(str(n), {c: f"{c} q{n}" for c in codes}, {c: f"{c} p{n}" for c in codes}))
    return ParallelText.from_items(name, items)


def plan(strategy, source, *, alpha=0.3, pairs="mixed", steps=BATCHES, rows=ROWS, seed=1, **options):
    return BatchPlan(
        (WeightedSource(source, 1.0, BatchMix.from_strategy(strategy, alpha, pairs, source), **options),),
        rows,
        steps,
        seed,
    )


def has_one_pair(batch):
    """Return whether all rows of a batch have the languages of the first."""
    return bool((batch.pairs == batch.pairs[0]).all())


def check_clean(batch):
    """Check that no item comes twice and no row has the positive text of another row in the batch's languages."""
    source = batch.source
    assert len(set(batch.items.tolist())) == len(batch.items)
    query, passage = batch.pairs.T
    assert (batch.queries == source.queries[query, batch.items]).all()
    assert (batch.passages == source.passages[passage, batch.items]).all()
    assert (batch.queries != MISSING).all()
    assert (batch.passages != MISSING).all()
    assert len(set(batch.queries.tolist())) == len(batch.items)
    assert len(set(batch.passages.tolist())) == len(batch.items)
    if not has_one_pair(batch):  # then translations of a positive count as well
        texts = [
            set(source.queries[:, item].tolist()) | set(source.passages[:, item].tolist()) - {MISSING}
            for item in batch.items.tolist()
        ]
        seen: set[int] = set()
        for row in texts:
            row.discard(MISSING)
            assert not row & seen
            seen |= row


def check_type(batch, pairs):
    one_pair = has_one_pair(batch)
    same = batch.pairs[:, 0] == batch.pairs[:, 1]
    if batch.type == "mono":
        assert same.all()
        assert one_pair
    elif batch.type == "cross":
        assert not same.any()
        assert one_pair == (pairs == "one")
    elif batch.type == "mixed":
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
def test_batches_follow_their_strategy(strategy, pairs):
    source = parallel()
    drawn = plan(strategy, source, pairs=pairs)
    codes = source.languages
    rows_draw = {kind.name: kind.per_row for _, kind in drawn.sources[0].mix.types}
    in_batches = Counter()
    for batch in islice(drawn.batches(), WITH_ITEMS):
        check_clean(batch)
        check_type(batch, pairs)
        for query, passage in batch.pairs.tolist():
            in_batches[batch.type, codes[query], codes[passage]] += 1
    drawn_first = row_counts(drawn, WITH_ITEMS)
    for kind, several in rows_draw.items():
        same_kind = {key: count for key, count in drawn_first.items() if key[0] == kind}
        if several:  # a row whose items all clash takes another pair
            check_shares(in_batches, kind, drawn)
        else:
            assert {key: count for key, count in in_batches.items() if key[0] == kind} == same_kind
    draws = {key: count if rows_draw[key[0]] else count // ROWS for key, count in row_counts(drawn, BATCHES).items()}
    expected_kinds = {
        "monolingual": {"mono"}, "cross-lingual": {"cross"}, "hybrid": {"mono", "cross"}, "mixed": {"mixed"},
        "pair-per-row": {"rows"},
        "multi-task": {"mixed"},
    }[strategy]  # fmt: skip
    assert {kind for kind, _, _ in draws} == {kind for kind, _, _ in in_batches} == expected_kinds
    if strategy == "hybrid":
        assert within_99(sum(count for (kind, _, _), count in draws.items() if kind == "mono"), BATCHES, 0.3)
    if strategy == "pair-per-row":
        mono = sum(count for (_, query, passage), count in draws.items() if query == passage)
        assert within_99(mono, BATCHES * ROWS, 0.3)
    for kind in expected_kinds:
        check_shares(draws, kind, drawn)
    planned = drawn.batch_shares()
    assert sum(planned.values()) == pytest.approx(1)
    assert {key[1] for key in planned} == expected_kinds


def row_counts(drawn, steps):
    """Return the number of rows by type of batch, query language and passage language, as drawn before the items."""
    return {key[1:]: round(share * steps * ROWS) for key, share in drawn.drawn_shares(steps).items()}


def source_count(drawn, name, steps):
    """Return how many of the first steps draw from a source."""
    return round(sum(share for key, share in drawn.drawn_shares(steps).items() if key[0] == name) * steps)


def check_shares(counts, kind, drawn):
    """Check by chi-square tests that pairs are even (at 99 %) and follow the planned shares (at 99.9 %)."""
    counts = {key[1:]: count for key, count in counts.items() if key[0] == kind}
    for same in (True, False):
        observed = [n for (query, passage), n in counts.items() if (query == passage) == same]
        if observed:
            expected = sum(observed) / (5 if same else 20)
            statistic = sum((n - expected) ** 2 / expected for n in observed)
            assert len(observed) == (5 if same else 20)
            assert statistic < chi2.ppf(0.99, len(observed) - 1), (kind, same)
    planned = {key[2:]: share for key, share in drawn.batch_shares().items() if key[1] == kind}
    assert planned.keys() == counts.keys()
    scale = sum(counts.values()) / sum(planned.values())
    statistic = sum((counts[pair] - share * scale) ** 2 / (share * scale) for pair, share in planned.items())
    assert statistic < chi2.ppf(0.999, len(planned) - 1)


def test_language_specific_refuses_several_languages():
    with pytest.raises(UsageError, match="full has several languages"):
        plan("language-specific", parallel())


def test_language_specific_batches_are_monolingual():
    source = parallel().restricted(["hi"])
    for batch in plan("language-specific", source, steps=WITH_ITEMS).batches():
        check_clean(batch)
        assert batch.type == "mono"
    assert source.languages == ("hi",)


def test_items_come_again_after_all_others():
    source = ParallelText.from_items(
        "clean", [Item(str(n), {"en": f"q{n}", "de": f"f{n}"}, {"en": f"p{n}", "de": f"a{n}"}) for n in range(48)]
    )
    for strategy in ("monolingual", "cross-lingual"):
        seen: dict[tuple[int, int], list[int]] = {}
        for batch in plan(strategy, source, steps=400).batches():
            for pair, item in zip(batch.pairs.tolist(), batch.items.tolist(), strict=True):
                seen.setdefault(tuple(pair), []).append(item)
        for items in seen.values():
            epochs = [items[start : start + 48] for start in range(0, len(items) - 47, 48)]
            if strategy == "monolingual":  # a batch holds one pair, so nothing clashes and no item is exchanged
                assert epochs
                assert all(sorted(epoch) == list(range(48)) for epoch in epochs)
                assert epochs[0] != epochs[1]
            else:
                assert all(len(set(epoch)) > 40 for epoch in epochs)


def test_batch_depends_on_seed_and_step_alone():
    source = parallel()
    drawn = plan("hybrid", source, steps=200)
    in_order = list(drawn.batches())
    for step in (199, 3, 57, 57, 0):
        again = pickle.loads(pickle.dumps(drawn)).batch_at(step)
        for field in ("items", "pairs", "queries", "passages", "parallel"):
            assert (getattr(again, field) == getattr(in_order[step], field)).all()
        assert (drawn.batch_at(step).items == in_order[step].items).all()
    assert [drawn.type_at(step) for step in range(200)] == [batch.type for batch in in_order]
    other = plan("hybrid", source, steps=200, seed=2)
    assert any((a.items != b.items).any() for a, b in zip(in_order, other.batches(), strict=True))
    with pytest.raises(IndexError):
        drawn.batch_at(200)


def test_different_plans_have_different_fingerprints():
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


def test_fingerprints_stay_the_same_between_releases():
    weights = {"en": 3.0}
    assert plan("hybrid", parallel(), steps=300).fingerprint == "c0e8f660fd86aaf2"
    assert plan("hybrid", ragged(), pairs="one", steps=300).fingerprint == "aea40c129b64b8ec"
    assert plan("pair-per-row", parallel(), steps=300).fingerprint == "cc4ae4d4121520d2"
    assert plan("monolingual", parallel(), steps=300, language_weights=weights).fingerprint == "50afe1bb74f72477"


def test_first_batch_is_the_same_on_every_machine():
    batch = plan("cross-lingual", parallel(), rows=6).batch_at(0)
    assert batch.items.tolist() == [46, 65, 12, 16, 99, 83]
    assert batch.pairs.tolist() == [[4, 0], [2, 0], [3, 1], [1, 0], [3, 4], [0, 4]]


def test_ragged_data_draw_only_existing_pairs():
    source = ragged()
    for strategy in ("hybrid", "mixed", "pair-per-row"):
        for batch in plan(strategy, source, steps=200).batches():
            check_clean(batch)
    drawn = plan("hybrid", source, pairs="one", steps=500)
    assert set(drawn.sources[0].unused_pairs(ROWS)) == {("ar-hi", 2), ("hi-ar", 2), ("ar-ar", 2)}
    met = {key[2:] for key in drawn.drawn_shares(500)}
    assert ("ar", "hi") not in met
    assert ("en", "hi") in met


def test_language_weights_by_size_and_by_mapping():
    source = ragged()
    by_size = plan("monolingual", source, steps=4000, language_weights="size")
    counts = {query: rows // ROWS for (_, query, _), rows in row_counts(by_size, 4000).items()}
    sizes = {
        code: int(source.counts[row, row])
        for row, code in enumerate(source.languages)
        if source.counts[row, row] >= ROWS
    }
    total = sum(sizes.values())
    assert set(counts) == set(sizes)
    assert all(within_99(counts[code], 4000, size / total) for code, size in sizes.items())
    by_hand = plan("monolingual", source, steps=4000, language_weights={"en": 3.0})
    share = by_hand.batch_shares()
    assert share["ragged", "mono", "en", "en"] == pytest.approx(3 / 6)
    assert share["ragged", "mono", "de", "de"] == pytest.approx(1 / 6)


def test_hard_negatives_are_no_passage_of_the_batch():
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
    """Return all pairs of items of a batch."""
    items = batch.items.tolist()
    return {(item, other) for item in items for other in items if item != other}


def test_other_passages_of_a_query_never_meet():
    """Items 3k and 3k + 1 share a question, 3k + 1 and 3k + 2 a passage, so the three never meet."""
    items = []
    for n in range(90):
        k, turn = divmod(n, 3)
        question, passage = (f"q{k}", f"q{k}", f"r{k}")[turn], (f"p{k}", f"s{k}", f"s{k}")[turn]
        items.append(Item(str(n), {"en": question, "de": f"f {question}"}, {"en": passage, "de": f"a {passage}"}))
    source = ParallelText.from_items("triplets", items)
    for strategy in ("monolingual", "cross-lingual", "mixed"):
        for batch in plan(strategy, source, steps=300, rows=12).batches():
            assert all(item // 3 != other // 3 for item, other in met(batch))


def test_texts_that_differ_in_case_clash():
    items = [
        Item(str(n), {"en": f"question {n}"}, {"en": ("YES %d" if n % 2 else "Yes %d") % (n // 2)}) for n in range(80)
    ]
    source = ParallelText.from_items("case", items)
    for batch in plan("monolingual", source, steps=300).batches():
        assert all(item // 2 != other // 2 for item, other in met(batch))


def test_mixed_batch_of_one_pair_by_chance():
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
        assert all(item // 2 != other // 2 for item, other in met(batch))


def test_sources_are_drawn_by_weight():
    small, large = parallel(60, "small"), parallel(180, "large")
    for weights, share in (((60.0, 180.0), 0.75), ((1.0, 1.0), 0.5)):
        sources = tuple(
            WeightedSource(source, weight, BatchMix.from_strategy("hybrid", 0.5, "mixed", source))
            for source, weight in zip((small, large), weights, strict=True)
        )
        drawn = BatchPlan(sources, ROWS, BATCHES, 0)
        assert within_99(source_count(drawn, "large", BATCHES), BATCHES, share)
        assert sum(batch.source is large for batch in islice(drawn.batches(), 200)) == source_count(drawn, "large", 200)


@pytest.mark.parametrize("when", ["before", "after", "mixed"])
def test_instruction_phase_has_its_share_of_steps(when):
    main, dolly = parallel(60, "main"), parallel(60, "dolly").restricted(["en"])
    sources = (
        WeightedSource(main, 60.0, BatchMix.from_strategy("hybrid", 0.5, "mixed", main)),
        WeightedSource(dolly, 1.0, BatchMix.from_strategy("multi-task", 0.5, "mixed", dolly), phase="instruction"),
    )
    steps = BATCHES if when == "mixed" else 1000
    drawn = BatchPlan(sources, ROWS, steps, 0, 0.3, when)
    names = []
    for batch in islice(drawn.batches(), 1000):
        check_clean(batch)
        names.append(batch.source.name)
    stage = source_count(drawn, "dolly", steps)
    assert names.count("dolly") == source_count(drawn, "dolly", 1000)
    if when == "mixed":
        assert within_99(stage, steps, 0.3)
        assert "dolly" in names[:50]
        assert "main" in names[:50]
    else:
        assert stage == 300
        assert set(names[:300] if when == "before" else names[-300:]) == {"dolly"}
    assert sum(share for key, share in drawn.batch_shares().items() if key[0] == "dolly") == pytest.approx(0.3)


def test_parallel_query_is_a_translation():
    source = parallel()
    for batch in plan("hybrid", source, steps=50).batches():
        for row, item in enumerate(batch.items.tolist()):
            texts = source.queries[:, item].tolist()
            assert batch.parallel[row] in texts
            language = source.languages[batch.pairs[row, 0]]
            assert batch.parallel[row] != batch.queries[row]
            if language != "en":
                assert source.texts[batch.parallel[row]].startswith("en ")
    alone = plan("monolingual", parallel().restricted(["de"]), steps=1).batch_at(0)
    assert (alone.parallel == alone.queries).all()


def test_source_without_pairs_of_a_type():
    english = parallel().restricted(["en"])
    assert BatchMix.from_strategy("hybrid", 0.3, "mixed", english).types == (
        (1.0, BatchType("mono", 1.0, per_row=False)),
    )
    with pytest.raises(UsageError, match="full has no pairs of two languages for cross-lingual batches"):
        BatchMix.from_strategy("cross-lingual", 0.3, "mixed", english)
    bitext = ParallelText.from_items(
        "bi",
        [Item(str(n), {"en": f"a{n}", "de": f"b{n}"}, {"en": f"a{n}", "de": f"b{n}"}) for n in range(30)],
        bitext=True,
    )
    assert [kind.name for _, kind in BatchMix.from_strategy("multi-task", 0.3, "mixed", bitext).types] == ["cross"]
    with pytest.raises(UsageError, match="bi has no pairs of one language for mixed batches"):
        BatchMix.from_strategy("mixed", 0.3, "mixed", bitext)
    for batch in plan("hybrid", bitext, steps=50).batches():
        check_clean(batch)


def test_too_few_items_raise_data_error():
    with pytest.raises(DataError, match=r"^full has 8 items, fewer than a batch of 12\b"):
        plan("hybrid", parallel(8), steps=5)
    with pytest.raises(DataError, match="ragged has no language pair with 45 items for a cross batch"):
        plan("cross-lingual", ragged(), pairs="one", rows=45, steps=5)
    same = ParallelText.from_items("same", [Item(str(n), {"en": f"q{n}"}, {"en": f"p{n % 3}"}) for n in range(20)])
    with pytest.raises(DataError, match="same has 3 different items for a mono batch, fewer than 12"):
        plan("monolingual", same, steps=2)


@pytest.mark.parametrize("phase", ["main", "instruction"])
def test_phase_without_weight_raises_usage_error(phase):
    source, phases = parallel(), ("main", "instruction")
    sources = [
        WeightedSource(source, 1.0, BatchMix.from_strategy("hybrid", 0.5, "mixed", source), "uniform", name)
        for name in phases
    ]
    nothing = [replace(entry, weight=0.0) if entry.phase == phase else entry for entry in sources]
    with pytest.raises(UsageError, match=f"no source of the {phase} phase has a weight above 0"):
        BatchPlan(tuple(nothing), 8, 10, 0, 0.5)
    assert BatchPlan(tuple(sources), 8, 10, 0, 0.5).batch_shares()


def test_alpha_zero_is_cross_and_one_mono():
    source = parallel()
    assert {batch.type for batch in plan("hybrid", source, alpha=0.0, steps=50).batches()} == {"cross"}
    assert {batch.type for batch in plan("hybrid", source, alpha=1.0, steps=50).batches()} == {"mono"}
