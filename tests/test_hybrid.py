"""Test hybrid batches in a training script of one's own: they are those of `hbt-bench train`."""

import json
from types import SimpleNamespace

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard

from hbt_bench.errors import DataError, UsageError
from hbt_bench.training.data import TrainingData
from hbt_bench.training.hybrid import PlanBatchSampler, hybrid_dataset
from hbt_bench.training.recipe import Recipe
from tests.factories import parallel_collection, torch_random_model, train

LANGUAGES = ("de", "en", "sw")
FIELDS = {"query": "question", "passage": "context", "language_field": "lang"}


def records(count=60):
    return [
        {"id": f"q{number}", "lang": code, "question": f"{code} question {number}", "context": f"{code} text {number}"}
        for number in range(count)
        for code in LANGUAGES
    ]


def plan_of(data):
    return data.format["format_kwargs"]["transform"].plan


def sampler(data, rows=16):
    return PlanBatchSampler(data, batch_size=rows)


@pytest.fixture(scope="module")
def data():
    return hybrid_dataset(records(), **FIELDS, batch_size=16, steps=40, seed=3)


def test_rows_are_those_of_a_recipe(data, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records()))
    recipe = Recipe(data=[{"path": "rows.jsonl", **FIELDS}], batch_size=16, steps=40, seed=3)
    plan = TrainingData.from_recipe(recipe, [tmp_path]).plan
    texts = [
        (batch.source.texts[query], batch.source.texts[passage])
        for batch in plan.batches()
        for query, passage in zip(batch.queries, batch.passages, strict=True)
    ]
    assert [(row["query"], row["passage"]) for row in data] == texts


def test_batches_have_one_type_and_no_item_twice(data):
    mono = 0
    for numbers in sampler(data):
        rows = data[numbers]
        languages = [(query[:2], passage[:2]) for query, passage in zip(rows["query"], rows["passage"], strict=True)]
        same = {query == passage for query, passage in languages}
        assert len(same) == 1
        mono += same == {True}
        if same == {True}:
            assert len(set(languages)) == 1
        items = [text.split()[2] for text in rows["query"]]
        assert items == [text.split()[2] for text in rows["passage"]]
        assert len(set(items)) == 16
    assert 12 <= mono <= 28  # 20 of 40 are expected; outside with a chance of 1 in 140


@pytest.mark.parametrize("shape", ["mapping", "texts", "paths", "dataset"])
def test_shapes_of_rows(data, shape):
    options = {**FIELDS, "batch_size": 16, "steps": 40, "seed": 3}
    if shape == "mapping":
        rows = {code: [record for record in records() if record["lang"] == code] for code in LANGUAGES}
        del options["language_field"]
    elif shape == "texts":
        groups = {}
        for record in records():
            groups.setdefault(record["id"], {})[record["lang"]] = record
        rows = [{"id": key, "texts": texts} for key, texts in groups.items()]
        del options["language_field"]
    elif shape == "paths":
        rows = [
            {"id": f"q{number}"}
            | {f"q_{code}": f"{code} question {number}" for code in LANGUAGES}
            | {f"p_{code}": f"{code} text {number}" for code in LANGUAGES}
            for number in range(60)
        ]
        options |= {"query": "q_{language}", "passage": "p_{language}", "languages": LANGUAGES}
        del options["language_field"]
    else:
        from datasets import Dataset

        rows = Dataset.from_list(records())
    made = hybrid_dataset(rows, **options)
    assert [plan_of(made).batch_at(step).items.tolist() for step in (0, 39)] == [
        plan_of(data).batch_at(step).items.tolist() for step in (0, 39)
    ]
    assert sorted(made[:]["query"]) == sorted(data[:]["query"])


def test_mapping_by_row():
    rows = {
        code: [{"q": f"{code} {number}", "p": f"{code} p{number}"} for number in range(20)] for code in ("de", "en")
    }
    made = hybrid_dataset(rows, query="q", passage="p", align="row", batch_size=8, steps=9, alpha=0)
    for row in made:
        assert row["query"][:2] != row["passage"][:2]
        assert row["passage"].split()[1] == "p" + row["query"].split()[1]
    rows["en"].pop()
    with pytest.raises(DataError, match="20 in de, 19 in en"):
        hybrid_dataset(rows, query="q", passage="p", align="row", batch_size=8, steps=9)


def test_hard_negatives_are_columns():
    rows = [{**record, "wrong": f"{record['lang']} wrong {record['id']}"} for record in records()]
    made = hybrid_dataset(rows, **FIELDS, negative="wrong", batch_size=16, steps=4, alpha=1)
    assert set(made[0]) == {"query", "passage", "negative0"}
    assert all(row["negative0"].split()[2] == "q" + row["query"].split()[2] for row in made)


def test_processes_and_parts_share_a_batch(data):
    whole = list(sampler(data))
    assert len(sampler(data)) == len(whole) == 40
    parts = list(AccumulatingTrainer().sampler(data))
    shards = [
        list(BatchSamplerShard(AccumulatingTrainer().sampler(data), 2, index, even_batches=False)) for index in range(2)
    ]
    assert [len(shard) for shard in shards] == [80, 80]
    for step, rows in enumerate(whole):
        assert [row for part in parts[4 * step : 4 * step + 4] for row in part] == rows
        assert sorted(row for shard in shards for part in shard[2 * step : 2 * step + 2] for row in part) == rows


class AccumulatingTrainer:
    """The part of a trainer that a sampler sees: four rows at a time, and four parts of a step."""

    train_dataset = None
    args = SimpleNamespace(gradient_accumulation_steps=4, max_steps=40)

    def sampler(self, data):
        return PlanBatchSampler(data, batch_size=4)


def trainer(folder, data, output, evaluator=None, **options):
    from sentence_transformers import SentenceTransformer, SentenceTransformerModelCardData, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import set_seed

    set_seed(3)
    # examples for the card would draw a thousand batches
    card = SentenceTransformerModelCardData(generate_widget_examples=False)
    model = SentenceTransformer(str(folder), device="cpu", model_card_data=card)
    usual = {"per_device_train_batch_size": 16, "max_steps": 12, "save_strategy": "no"}
    arguments = Arguments(
        str(output),
        batch_sampler=PlanBatchSampler,
        prompts={"query": "Query: ", "passage": "Passage: "},
        learning_rate=1e-3,
        weight_decay=0.01,
        warmup_steps=1,
        seed=3,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        **{**usual, **options},
    )
    loss = MultipleNegativesRankingLoss(model, scale=20)
    return SentenceTransformerTrainer(model, arguments, train_dataset=data, loss=loss, evaluator=evaluator)


@pytest.fixture(scope="module")
def init(tmp_path_factory):
    return train(tmp_path_factory.mktemp("init") / "model", steps=1, batch_size=8)


class Unchanged:
    """A collator that returns the rows."""

    valid_label_columns = ()

    def __call__(self, rows):
        return rows


def test_loader_of_the_stock_trainer_has_the_plan(init, data, tmp_path):
    made = trainer(init, data, tmp_path, max_steps=40)
    made.data_collator = Unchanged()
    batches = list(made.get_train_dataloader())
    assert [len(rows) for rows in batches] == [16] * 40
    for rows, batch in zip(batches, plan_of(data).batches(), strict=True):
        texts = batch.source.texts
        assert [row["query"] for row in rows] == [texts[number] for number in batch.queries]
        assert [row["passage"] for row in rows] == [texts[number] for number in batch.passages]


def test_steps_in_any_order_are_the_same(monkeypatch):
    from hbt_bench.training import draws

    monkeypatch.setattr(draws, "_KEPT", 4)
    made = hybrid_dataset(records(), **FIELDS, batch_size=16, steps=40, seed=3)
    in_order = [batch.items.tolist() for batch in plan_of(made).batches()]
    again = plan_of(hybrid_dataset(records(), **FIELDS, batch_size=16, steps=40, seed=3))
    order = [39, 0, 25, 24, 10, 9, 31, 30, 1, 38]
    assert [again.batch_at(step).items.tolist() for step in order] == [in_order[step] for step in order]


def test_stock_trainer_gives_the_weights_of_train(init, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records()))
    options = {"batch_size": 16, "steps": 12, "seed": 3}
    source = {"kind": "file", "path": str(path), **FIELDS}
    ours = train(tmp_path / "ours", init=str(init), data=[source], **options)
    stock = trainer(init, hybrid_dataset(records(), **FIELDS, **options), tmp_path / "stock")
    stock.train()
    from safetensors.torch import load_file

    weights = load_file(ours / "model.safetensors")
    trained = dict(stock.model[0].auto_model.state_dict())
    before = load_file(init / "model.safetensors")
    assert any(not torch.equal(weights[name], before[name]) for name in weights)
    assert all(torch.equal(weights[name], trained[name]) for name in weights)


def test_resumed_run_has_the_same_weights(init, data, tmp_path):
    whole = trainer(init, data, tmp_path / "whole")
    whole.train()
    trainer(init, data, tmp_path / "part", save_strategy="steps", save_steps=6).train()
    again = trainer(init, data, tmp_path / "part", save_strategy="steps", save_steps=6)
    again.train(resume_from_checkpoint=str(tmp_path / "part" / "checkpoint-6"))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gradient_accumulation_steps": 2}, "set per_device_train_batch_size to 8"),
        ({"per_device_train_batch_size": 12}, "a step has 12 rows"),
        ({"max_steps": 41}, "set max_steps=40"),
        ({"max_steps": -1, "num_train_epochs": 2}, "the trainer has 80 steps, but the data set has 40"),
    ],
)
def test_arguments_that_do_not_fit(init, data, tmp_path, options, message):
    made = trainer(init, data, tmp_path, **options)
    with pytest.raises(UsageError, match=message):
        made.train()
    assert made.state.global_step == 0


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"strategy": "hybird"}, UsageError, "unknown strategy 'hybird'"),
        ({"alpha": 1.5}, UsageError, "alpha is 1.5"),
        ({"batch_size": 61}, DataError, "60 items, fewer than a batch of 61"),
        ({"qurey": "x"}, UsageError, "unknown key 'qurey'"),
        ({"passage": "answer"}, DataError, "answer"),
        ({"language_field": None}, DataError, "no language"),
        ({"pairs": "both"}, UsageError, "pairs: must be 'mixed' or 'one'"),
        ({"language_weights": "sizes"}, UsageError, "language_weights.*must be"),
        ({"align": "rows"}, UsageError, "align is 'rows'"),
        ({"steps": 0}, UsageError, "batch_size is 16 and steps is 0: both must be at least 1"),
        ({"seed": -1}, UsageError, "seed: must be"),
        ({"steps": 2.5}, UsageError, "steps: must be"),
        ({"weight": 5}, UsageError, "weight is for one of several sources"),
        ({"align": "row"}, UsageError, "pairs the rows of a mapping from languages to rows"),
        ({"language_weights": {"fr": 9.0}}, UsageError, "`language_weights` names fr, but the data are in de en sw"),
        ({"language_weights": {"eng": 9.0, "en": 2}}, UsageError, "'eng' and 'en' are the same language, en"),
    ],
)
def test_mistakes(changes, error, message):
    with pytest.raises(error, match=message):
        hybrid_dataset(records(), **{**FIELDS, "batch_size": 16, "steps": 4, **changes})


def by_language(*codes, **fields):
    return {
        code: [
            {"q": f"{code} q{number}", "p": f"{code} p{number}", **dict.fromkeys(fields, f"k{number}")}
            for number in range(20)
        ]
        for code in codes
    }


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"align": "row", "parallel": False},
            UsageError,
            'align="row" pairs the rows of all languages, so it takes no',
        ),
        (
            {"align": "row", "id": "uid"},
            DataError,
            "the id 'k19' is in row 19 of the first language and in row 0 of de",
        ),
        ({"id": "m.k"}, DataError, "no row has a text or a whole number at 'm.k', the `id`"),
        ({"language_field": "lang"}, DataError, "has texts by language, so it takes no `language_field: lang`"),
    ],
)
def test_mistakes_in_a_mapping(options, error, message):
    rows = by_language("en", "de", uid=True)
    rows["de"].reverse()
    with pytest.raises(error, match=message):
        hybrid_dataset(rows, query="q", passage="p", batch_size=8, steps=4, **options)


def test_languages_of_a_mapping_in_any_spelling(messages):
    rows = by_language("EN", "deu", "sw", id=True)
    rows = {code: [{**row, "m": {"k": row.pop("id")}} for row in entries] for code, entries in rows.items()}
    made = hybrid_dataset(
        rows, query="q", passage="p", id="m.k", languages=["en", "de"], batch_size=8, steps=9, alpha=0, pairs="one"
    )
    source = plan_of(made).sources[0].source
    assert (source.languages, len(source), source.counts.tolist()) == (("de", "en"), 20, [[20, 20], [20, 20]])
    assert not messages


def test_options_without_effect_are_reported(messages):
    hybrid_dataset(records(), **FIELDS, batch_size=16, steps=4, strategy="monolingual", alpha=0.1, pairs="one")
    assert messages == [
        "`alpha: 0.1` has no effect on monolingual batches",
        "`pairs: one` has no effect on monolingual batches",
    ]
    messages.clear()
    rows = [record for record in records() if record["lang"] != "sw" or record["id"] in ("q1", "q2")]
    hybrid_dataset(rows, **FIELDS, batch_size=16, steps=4, strategy="cross-lingual", pairs="one")
    assert messages[-1].startswith("rows has too few items for a whole batch in de-sw (2), ")


def test_sampler_needs_the_data_set():
    from datasets import Dataset

    with pytest.raises(UsageError, match="hybrid_dataset"):
        PlanBatchSampler(Dataset.from_list(records()), batch_size=4)
    data = hybrid_dataset(records(), **FIELDS, batch_size=16, steps=4)
    assert len(sampler(data)) == 4
    for changed in (data.shuffle(seed=1), data.select(range(48)), records()):
        with pytest.raises(UsageError, match="neither shuffled nor cut"):
            sampler(changed)


@pytest.mark.parametrize(
    ("kept", "reason"),
    [({"lang", "question", "context"}, "no record has an id"), ({"id", "lang", "question", "context"}, "are in de")],
)
def test_hybrid_without_pairs_of_two_languages_is_logged(kept, reason, caplog):
    rows = [{key: row[key] for key in kept} for row in records() if "id" not in kept or row["lang"] == "de"]
    hybrid_dataset(rows, **FIELDS, batch_size=16, steps=4)
    assert "rows has no pairs of two languages, so all batches of hybrid have one" in caplog.text
    assert reason in caplog.text


def test_evaluator_chooses_the_checkpoint(init, data, tmp_path):
    from hbt_bench.training.evaluator import CollectionEvaluator

    evaluator = CollectionEvaluator("cldr-facts", primary="rank_distance", languages=LANGUAGES)
    assert (evaluator.primary_metric, evaluator.greater_is_better) == ("cldr-facts_rank_distance", False)
    made = trainer(
        init,
        data,
        tmp_path,
        evaluator,
        eval_strategy="steps",
        eval_steps=6,
        save_strategy="steps",
        save_steps=6,
        load_best_model_at_end=True,
        metric_for_best_model=f"eval_{evaluator.primary_metric}",
        greater_is_better=evaluator.greater_is_better,
    )
    made.train()
    values = [log["eval_cldr-facts_rank_distance"] for log in made.state.log_history if "eval_cldr-facts_AP" in log]
    assert len(values) == 2
    assert made.state.best_metric == min(values)
    again = evaluator(made.model)
    assert set(again) == {f"cldr-facts_{key}" for key in ("AP", "AP_mono", "AP_cross", "rank_distance")}
    assert again["cldr-facts_rank_distance"] == pytest.approx(min(values))
    (path,) = tmp_path.rglob("collection_evaluation_cldr-facts.csv")
    lines = path.read_text().splitlines()
    assert lines[0].startswith("epoch,steps,cldr-facts_AP_mono")
    assert len(lines) == 3
    assert "cldr-facts_AP" in made.model.model_card_data.eval_results_dict[evaluator]


def test_name_with_a_slash_is_no_folder(tmp_path):
    from sentence_transformers import SentenceTransformer

    from hbt_bench.training.evaluator import CollectionEvaluator

    model = SentenceTransformer(str(torch_random_model(tmp_path / "model", 0)), device="cpu")
    values = CollectionEvaluator(parallel_collection(3), name="me/dev")(model, str(tmp_path / "out"))
    lines = (tmp_path / "out" / "collection_evaluation_me_dev.csv").read_text().splitlines()
    assert lines[1].split(",")[2:] == [str(value) for value in values.values()]


def test_evaluator_without_such_a_score():
    from hbt_bench.training.evaluator import CollectionEvaluator

    with pytest.raises(UsageError, match=r"no score 'AP_pool': choose one of .*AP_mono"):
        CollectionEvaluator("cldr-facts", primary="AP_pool")
    with pytest.raises(UsageError, match="unknown language code 'd'"):
        CollectionEvaluator("cldr-facts", languages="de")
    with pytest.raises(UsageError, match="unknown collection 'cldr-fact'"):
        CollectionEvaluator("cldr-fact")


@pytest.mark.parametrize(
    ("collection", "options", "message"),
    [
        ("cldr-facts", {"languages": ["de", "fr"]}, "cldr-facts has no fr: leave fr out of languages"),
        (
            "cldr-facts",
            {"languages": ["de"], "primary": "AP_cross"},
            "no value of AP_cross in de: choose another primary",
        ),
        ("cldr-facts", {"languages": ["de", "en"], "primary": "rank_distance_mono"}, "no value of rank_distance_mono"),
        ("cldr-facts", {"batch_size": 0}, "batch_size is 0"),
        (None, {"languages": ["fr"]}, "fr"),
        (None, {"data_dir": "data"}, "data_dir is for the name of a collection"),
    ],
)
def test_evaluator_refuses_options_without_effect(collection, options, message):
    from hbt_bench.training.evaluator import CollectionEvaluator

    with pytest.raises(UsageError, match=message):
        CollectionEvaluator(collection or parallel_collection(3), **options)


def test_evaluator_in_some_languages_of_a_collection():
    from hbt_bench.training.evaluator import CollectionEvaluator

    codes = parallel_collection(3).languages
    assert CollectionEvaluator(parallel_collection(3), languages=codes[:2]).collection.languages == codes[:2]
