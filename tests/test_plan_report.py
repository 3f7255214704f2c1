"""Check the log of a plan: shares of sources, and batches that differ from the recipe, before the first step."""

import json

import pytest

from hbt_bench.errors import DataError, UsageError
from hbt_bench.training.data import TrainingData
from hbt_bench.training.recipe import Recipe


@pytest.fixture
def plan(tmp_path):
    """A function that returns the data of sources: {name: (items, translated items, keys of the source)}."""

    def plan(sources, **changes):
        data = []
        for name, (count, translated, keys) in sources.items():
            records = [
                {
                    "id": str(n),
                    "texts": {
                        code: {"q": f"{name} {code} q{n}", "p": f"{name} {code} p{n}"}
                        for code in (("en", "de") if n < translated else ("en",))
                    },
                }
                for n in range(count)
            ]
            (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)))
            data.append({"path": f"{name}.jsonl", "query": "q", "passage": "p", **keys})
        recipe = Recipe(**{"init": "static:8", "guard": [], "batch_size": 8, "steps": 300, "data": data, **changes})
        return TrainingData.from_recipe(recipe, [tmp_path])

    return plan


def shares(data):
    """Return the planned share of the batches of each source and type."""
    result = {}
    for (source, batch_type, *_), share in data.plan.batch_shares().items():
        result[source, batch_type] = result.get((source, batch_type), 0) + share
    return {key: pytest.approx(share) for key, share in result.items()}


def test_shares_of_sources_are_logged(plan, messages):
    plan({"a": (30, 30, {}), "b": (20, 20, {})})
    assert messages == ["shares of the batches: a 60.00%, b 40.00%"]


def test_single_source_is_not_logged(plan, messages):
    plan({"a": (30, 30, {})})
    assert messages == []


def test_shares_with_weights(plan, messages):
    """A weight replaces the number of items, or the 1 of `uniform`."""
    plan({"a": (30, 30, {}), "b": (20, 20, {"weight": 90})})
    plan({"a": (30, 30, {}), "b": (20, 20, {"weight": 0.5})}, source_weights="uniform")
    assert messages == [
        "shares of the batches: a 25.00%, b 75.00%",
        "shares of the batches: a 66.67%, b 33.33%",
    ]


def test_source_that_is_hardly_drawn(plan, messages):
    plan({"a": (300, 300, {}), "b": (200, 200, {"weight": 0.5})})
    assert messages == [
        "shares of the batches: a 99.83%, b 0.17%",
        "b is hardly drawn: 0.17% of the batches, 0.5 of 300. Its `weight` replaces its number of items, 200. To draw "
        "it 0.5 times as often as without, set `weight: 100`",
    ]
    assert shares(plan({"a": (300, 300, {}), "b": (200, 200, {"weight": 100})})) == {
        ("a", "mono"): 0.375, ("a", "cross"): 0.375, ("b", "mono"): 0.125, ("b", "cross"): 0.125,
    }  # fmt: skip


def test_source_beside_a_heavy_source(plan, messages):
    plan({"a": (30, 30, {"weight": 9999}), "b": (20, 20, {})}, steps=1000)
    assert messages[-1] == "b is hardly drawn: 0.20% of the batches, 2.0 of 1,000. Raise its `weight`"


def test_small_source_drawn_by_size_is_no_warning(plan, messages):
    plan({"a": (2000, 8, {}), "b": (10, 10, {})})
    assert messages[-1] == "shares of the batches: a 99.50%, b 0.50%"


def test_type_that_a_source_cannot_fill_is_left_out(plan, messages):
    """20 translated items do not fill a cross-lingual batch of 32; each row draws its own language pair."""
    data = plan({"big": (100, 100, {}), "part": (100, 20, {})}, batch_size=32)
    assert shares(data) == {("big", "mono"): 0.25, ("big", "cross"): 0.25, ("part", "mono"): 0.5}
    assert messages[:3] == [
        "part has 20 different items for a cross batch, fewer than 32, so it has no such batch. Lower `batch_size` to "
        "have it",
        "75% of the batches, not 50%, are monolingual, because some sources lack pairs of one language or of two "
        "languages",
        "part has too few items for a whole batch in de-de (20): training does not use these pairs",
    ]
    assert {len(set(batch.items.tolist())) for batch in data.plan.batches()} == {32}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"strategy": "cross-lingual"}, DataError, "part has 20 different items for a cross batch, fewer than 32"),
        (
            {"strategy": "cross-lingual", "pairs": "one"},
            DataError,
            "part has no language pair with 32 items for a cross batch. The largest has 20. Lower `batch_size` to 20, ",
        ),
        ({"alpha": 0}, DataError, "part has 20 different items for a cross batch, fewer than 32"),
        ({"batch_size": 200}, DataError, "big has 100 items, fewer than a batch of 200"),
        ({"languages": ("de",)}, DataError, "part has 20 items, fewer than a batch of 32"),
        ({"languages": ("de",), "strategy": "cross-lingual"}, UsageError, "big has no pairs of two languages"),
    ],
)
def test_batch_that_cannot_be_filled_is_refused(plan, changes, error, message):
    with pytest.raises(error) as caught:
        plan({"big": (100, 100, {}), "part": (100, 20, {})}, **{"batch_size": 32, **changes})
    assert message in str(caught.value)


def test_rows_without_enough_pairs_of_two_languages(plan, messages):
    data = plan({"a": (100, 5, {})}, strategy="pair-per-row", alpha=0.25, batch_size=16, steps=20)
    assert messages == [
        "a has 5 different items with pairs of two languages, fewer than the 12 rows of a rows batch that draw such "
        "pairs. Others take their place"
    ]
    cross = [(batch.pairs[:, 0] != batch.pairs[:, 1]).sum() for batch in data.plan.batches()]
    assert max(cross) == 5


def test_text_of_most_items_is_named(tmp_path, messages):
    rows = [{"q": "How do I pay?" if n < 70 else f"q{n}", "p": f"p{n}"} for n in range(100)]
    (tmp_path / "faq.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = [{"path": "faq.jsonl", "query": "q", "passage": "p", "language": "en"}]
    recipe = Recipe(init="static:8", guard=[], batch_size=8, steps=4, strategy="monolingual", data=data)
    TrainingData.from_recipe(recipe, [tmp_path])
    assert messages == [
        "70 of 100 items of faq have the text 'How do I pay?'. A batch has at most one of them, so they are drawn less "
        "often than the others"
    ]


def test_too_few_hard_negatives_are_refused(tmp_path):
    """The English items have hard negatives, and all German passages are in the batch."""
    records = [
        {
            "id": str(n),
            "texts": {
                code: {"q": f"{code} q{n}", "p": f"{code} p{n}", **({"n": f"no {n}"} if code == "en" else {})}
                for code in ("de", "en")
            },
        }
        for n in range(8)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
    data = [{"path": "a.jsonl", "query": "q", "passage": "p", "negative": "n"}]
    settings = {"init": "static:8", "guard": [], "strategy": "monolingual", "data": data, "steps": 50}
    with pytest.raises(DataError, match="a has too few hard negatives in de for a batch of 8 without false negatives"):
        TrainingData.from_recipe(Recipe(**settings, batch_size=8), [tmp_path])
    data = TrainingData.from_recipe(Recipe(**settings, batch_size=7), [tmp_path])
    assert all((batch.negatives >= 0).all() for batch in data.plan.batches())


@pytest.mark.parametrize(
    ("translated", "changes", "message"),
    [
        (30, {"language_weights": {"fr": 3}}, "`language_weights` names fr, but the data are in de en"),
        (0, {"distillation": 1}, "`distillation` has no effect, because no item has its query in two languages"),
        (
            30,
            {"distillation": 1, "pivot": "fr"},
            "no source has queries in fr, the `pivot` of `distillation`: choose one",
        ),
    ],
)
def test_keys_without_effect_are_refused(plan, translated, changes, message):
    with pytest.raises(UsageError) as error:
        plan({"a": (30, translated, {})}, **changes)
    assert message in str(error.value)


def test_keys_without_effect_are_reported(plan, messages):
    plan({"a": (30, 30, {})}, strategy="monolingual", alpha=0.3, pairs="one")
    assert messages == [
        "`alpha: 0.3` has no effect on monolingual batches",
        "`pairs: one` has no effect on monolingual batches",
    ]
    messages.clear()
    plan({"a": (30, 30, {})}, dev_every=5, dev_measure="loss", languages=["de", "en"], language_weights={"sw": 2})
    plan({"a": (30, 30, {})}, dev="cldr-facts", dev_every=10, save_every=5)
    assert messages == [
        "`dev_every: 5` has no effect without development data, such as `dev`",
        "`dev_measure: loss` has no effect without development data, such as `dev`",
        "`language_weights` has no effect on sw, which `languages` does not name",
        "`save_every: 5` has no effect with development data, because each evaluation has a checkpoint "
        "(`dev_every: 10`)",
    ]
    messages.clear()
    plan({"a": (30, 30, {"strategy": "monolingual"}), "b": (30, 30, {})}, alpha=0.3, pairs="one")
    plan({"c": (30, 30, {})}, distillation=1, languages=["de", "en"], language_weights={"de": 2, "en": 1})
    assert not [line for line in messages if "no effect" in line or "pivot" in line]
