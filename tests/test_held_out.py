"""Check held-out data: no text of theirs is trained on, and the batches of the development loss can be drawn."""

import json

import numpy as np
import pytest

from hbt_bench.errors import DataError, UsageError
from hbt_bench.training.data import TrainingData, dev_collection
from hbt_bench.training.held_out import hold_out
from hbt_bench.training.overlap import normalised
from hbt_bench.training.parallel import MISSING, Item, ParallelText
from hbt_bench.training.recipe import Recipe
from tests.factories import train

#: Items that are held out of 40 at a share of 0.2, and the groups of 40 groups of three items.
HELD_OUT_OF_40 = [4, 14, 17, 19, 20, 27, 34, 39]
HELD_OUT_OF_THREES = [9, 13, 16, 23, 30, 35, 39]


def source_of(rows, name="s"):
    """Return a source of rows; a row has a query and a passage, or a pair of them by language."""
    items = []
    for n, row in enumerate(rows):
        content = row if isinstance(row, dict) else {"en": row}
        items.append(Item(str(n), {c: q for c, (q, _) in content.items()}, {c: p for c, (_, p) in content.items()}))
    return ParallelText.from_items(name, items)


def ids(sources):
    return [[int(name) for name in source.ids] for source in sources]


def texts_of(source):
    """Return the normalised queries and passages of a source."""
    numbers = np.unique(np.concatenate([source.queries, source.passages]))
    return {normalised(source.texts[number]) for number in numbers if number != MISSING}


def write(path, rows):
    """Write rows {language: (query, passage)} as parallel records; return the source of a recipe."""
    records = [
        {"id": str(n), "texts": {code: {"q": query, "p": passage} for code, (query, passage) in row.items()}}
        for n, row in enumerate(rows)
    ]
    path.write_text("\n".join(map(json.dumps, records)))
    return {"path": path.name, "query": "q", "passage": "p"}


def test_split_without_common_texts_stays_the_same():
    """These numbers are those of the releases that split by item."""
    [(training, held_out)] = hold_out([source_of([(f"q{n}", f"p{n}") for n in range(40)])], 0.2)
    assert ids([held_out]) == [HELD_OUT_OF_40]
    assert sorted([*training.ids, *held_out.ids], key=int) == [str(n) for n in range(40)]


@pytest.mark.parametrize("seed", range(4))
def test_sides_have_no_text_in_common(seed):
    """Queries and passages are repeated by chance, within two sources and between them, in three languages."""
    generator = np.random.default_rng(seed)
    codes = ("de", "en", "fr")

    def rows(count):
        chosen = [[code for code in codes if generator.random() < 0.6] or ["en"] for _ in range(count)]
        return [
            {code: (f"q {code} {generator.integers(900)}", f"p {code} {generator.integers(900)}!") for code in row}
            for row in chosen
        ]

    splits = hold_out([source_of(rows(200), "a"), source_of(rows(300), "b")], 0.2)
    training = set.union(*(texts_of(source) for source, _ in splits))
    held_out = set.union(*(texts_of(source) for _, source in splits))
    assert not training & held_out
    assert all(len(side) > 10 for split in splits for side in split)


def test_items_with_the_same_text_are_on_one_side():
    """Item 2n + 1 has the query of item 2n, with other case and punctuation, in another language."""
    rows = []
    for n in range(60):
        rows += [{"de": (f"Wo ist {n}?", f"a{n}")}, {"en": (f"wo ist {n}", f"b{n}")}]
    [(training, held_out)] = hold_out([source_of(rows)], 0.2)
    assert 6 < len(held_out) < 40
    for side in ids([training, held_out]):
        assert {n ^ 1 for n in side} == set(side)


def test_connected_items_are_on_one_side():
    """The first of three items shares its query with the second, the second its passage with the third."""
    rows = []
    for n in range(40):
        rows += [(f"q{n}", f"a{n}"), (f"q{n}", f"b{n}"), (f"r{n}", f"b{n}")]
    [(_, held_out)] = hold_out([source_of(rows)], 0.2)
    numbers = ids([held_out])[0]
    assert len(numbers) % 3 == 0
    assert {n // 3 for n in numbers} == set(HELD_OUT_OF_THREES)
    assert len(numbers) == 3 * len(HELD_OUT_OF_THREES)


def test_texts_of_symbols_are_not_the_same():
    sources = [source_of([("?" * (n + 1), f"p{n}") for n in range(40)])]
    assert ids(side[1] for side in hold_out(sources, 0.2)) == [HELD_OUT_OF_40]


def test_large_group_is_trained_on(messages):
    rows = [("same", f"p{n}") for n in range(60)] + [(f"q{n}", f"r{n}") for n in range(40)]
    [(training, held_out)] = hold_out([source_of(rows)], 0.3)
    assert set(range(60)) <= set(ids([training])[0])
    assert 2 < len(held_out) < 25
    assert messages == [
        "s: 60 of its 100 items share queries or passages in groups too large to hold out. They are trained on; "
        f"{len(held_out)} other items are held out"
    ]


def test_connected_data_cannot_be_held_out():
    with pytest.raises(DataError, match="none of the 20 items of s: 20 of its 20 items share queries or passages"):
        hold_out([source_of([(f"q{n}", "yes") for n in range(20)])], 0.2)
    with pytest.raises(DataError, match=r"too few items are held out .*: none of the 3 items of s\. Raise `dev_share`"):
        hold_out([source_of([(f"q{n}", f"p{n}") for n in range(3)])], 0.01)


SMALL = {"init": "static:8", "guard": [], "steps": 4, "dev_share": 0.2, "dev_measure": "loss"}


@pytest.fixture
def few_translations(tmp_path):
    """Return the source of a recipe: 200 items, 30 of them in two languages."""
    rows = [
        {code: (f"{code} q{n}", f"{code} p{n}") for code in (("en", "de") if n < 30 else ("en",))} for n in range(200)
    ]
    return write(tmp_path / "c.jsonl", rows)


def test_split_depends_on_data_alone(tmp_path, few_translations):
    changes = [{}, {"seed": 3}, {"strategy": "mixed"}, {"alpha": 0.1}, {"batch_size": 6, "steps": 9}]
    splits = []
    for change in changes:
        recipe = Recipe(**{**SMALL, "batch_size": 4, "data": [few_translations], **change})
        splits.append(TrainingData.from_recipe(recipe, [tmp_path]).held_out.sources[0].source.ids[:])
    assert len(set(splits)) == 1


def test_type_that_held_out_items_cannot_fill_is_left_out(tmp_path, few_translations, messages):
    recipe = Recipe(**{**SMALL, "batch_size": 12, "dev_share": 0.1, "data": [few_translations]})
    data = TrainingData.from_recipe(recipe, [tmp_path])
    assert {batch.type for batch in data.held_out.batches()} == {"mono"}
    assert {batch_type for _, batch_type, *_ in data.plan.batch_shares()} == {"mono", "cross"}
    assert data.held_out.batch_size == 10
    assert messages == [
        "the held-out items of c have 3 different items for a cross batch, fewer than 10, so the development loss has "
        "no such batch. Raise `dev_share` to have it, or add to `dev_data`"
    ]


def test_held_out_batches_are_as_small_as_needed(tmp_path, few_translations, messages):
    """All batches are cross-lingual, and 3 of the held-out items are in two languages."""
    recipe = Recipe(
        **{**SMALL, "strategy": "cross-lingual", "batch_size": 12, "dev_share": 0.1, "data": [few_translations]}
    )
    held_out = TrainingData.from_recipe(recipe, [tmp_path]).held_out
    assert held_out.batch_size == 3
    assert [len(set(batch.items.tolist())) for batch in held_out.batches()] == [3] * len(held_out)
    assert messages == [
        "the development loss has batches of 3, not 12, because few items are held out: 20 of c. Raise `dev_share` for "
        "larger batches, or add to `dev_data`"
    ]


def test_too_few_held_out_items_are_refused(tmp_path):
    source = write(tmp_path / "c.jsonl", [{"en": (f"q{n}", f"p{n}")} for n in range(20)])
    recipe = Recipe(**{**SMALL, "strategy": "monolingual", "batch_size": 4, "dev_share": 0.1, "data": [source]})
    with pytest.raises(DataError, match=r"^too few items are held out for a development loss: \d of c\. A batch needs"):
        TrainingData.from_recipe(recipe, [tmp_path])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"languages": ("en",), "dev_measure": "rank_distance"}, UsageError, "has no value on cldr-facts in en, where"),
        ({"languages": ("bho",)}, DataError, "cldr-facts has none of the languages bho: choose another `dev`"),
    ],
)
def test_dev_collection_has_the_measure(changes, error, message):
    with pytest.raises(error, match=message):
        dev_collection(Recipe(**{"dev": "cldr-facts", **changes}), [])
    assert dev_collection(Recipe(dev="cldr-facts", dev_measure="rank_distance", languages=("de", "en")), []).name


def test_items_with_a_further_passage_in_common_are_on_the_same_side():
    """Pairs of items share only their second passage."""
    items = [Item(str(n), {"en": f"q{n}"}, {"en": f"p{n}"}, {}, {"en": [f"shared {n // 2}"]}) for n in range(400)]
    ((training, held_out),) = hold_out([ParallelText.from_items("demo", items)], 0.3)
    pairs = {int(key) // 2 for key in held_out.ids}
    assert 60 < len(held_out) < 180
    assert not pairs & {int(key) // 2 for key in training.ids}


def test_development_loss_on_a_validation_file(tmp_path):
    """The batches are those of the file, in the recipe's languages; another file is other data."""
    data = write(tmp_path / "train.jsonl", [{"en": (f"q{n}", f"p{n}"), "de": (f"f{n}", f"a{n}")} for n in range(40)])
    dev = write(tmp_path / "dev.jsonl", [{"en": (f"v{n}", f"w{n}"), "fr": (f"x{n}", f"y{n}")} for n in range(12)])
    keys = {"init": "static:8", "guard": [], "steps": 4, "batch_size": 4, "languages": ("de", "en"), "data": [data]}
    plain = TrainingData.from_recipe(Recipe(**keys), [tmp_path])
    recipe = Recipe(**keys, dev_measure="loss", dev_data=[{**dev, "strategy": "monolingual"}], patience=1)
    with_dev = TrainingData.from_recipe(recipe, [tmp_path])
    assert with_dev.plan.fingerprint == plain.plan.fingerprint == plain.fingerprint
    drawn = [batch.source.texts[n] for batch in with_dev.held_out.batches() for n in [*batch.queries, *batch.passages]]
    assert sorted(drawn) == sorted([f"v{n}" for n in range(12)] + [f"w{n}" for n in range(12)])
    assert "dev_data" not in Recipe(**keys).resolved()
    write(tmp_path / "dev.jsonl", [{"en": (f"v{n}", f"z{n}")} for n in range(12)])
    assert TrainingData.from_recipe(recipe, [tmp_path]).fingerprint != with_dev.fingerprint


def test_training_stops_by_the_loss_on_a_validation_file(tmp_path, caplog):
    """The validation file has no hard negatives, which the loss of the paper needs."""
    caplog.set_level("INFO")
    records = [{"id": f"v{n}", "q": f"v {n}", "p": f"w {n}"} for n in range(12)]
    (tmp_path / "dev.json").write_text(json.dumps(records))
    negatives = [{"id": f"t{n}", "q": f"q {n}", "p": f"p {n}", "n": f"n {n}"} for n in range(40)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, negatives)))
    keys = {"language": "en", "query": "q", "passage": "p"}
    folder = train(
        tmp_path / "model", folders=[tmp_path], init="static:8", guard=(), loss="paper", strategy="monolingual",
        languages=("en",), batch_size=4, steps=40, learning_rate=0.5, dev_every=2, patience=2, dev_measure="loss",
        data=[{"path": "train.jsonl", **keys, "negative": "n"}], dev_data=[{"path": "dev.json", **keys}],
    )  # fmt: skip
    facts = json.loads((folder / "hbt_bench_recipe.json").read_text())
    losses = [entry["eval_loss"] for entry in facts["dev"]]
    assert facts["kept_step"] == 2 * (1 + losses.index(min(losses)))
    assert facts["steps"] == min(40, facts["kept_step"] + 4)
    assert "lack hard negatives, so the development loss is `infonce`" in caplog.text
    assert not (folder / "checkpoints").exists()  # else a second run would be refused
