"""Test the inits of training: the same training by folder and by name, in float32, with the init's own settings."""

import itertools
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, StaticEmbedding, Transformer
from sentence_transformers.sparse_encoder.modules import SpladePooling
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModel, BertConfig, PreTrainedTokenizerFast, XLMRobertaConfig

from hbt_bench.errors import ModelError, UsageError
from hbt_bench.identity.checkpoint import RECIPE_FILE
from hbt_bench.training import losses
from hbt_bench.training.inits import resolve, revision
from hbt_bench.training.models import load, trained_prompts
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.trainer import PlanTrainer, collator
from tests.factories import train, weights_hash

POSITIONS = 64


def letters():
    """Return a tokenizer of single letters."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    names = [*special, *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZäöüß0123456789 .,:;?!-'()"]
    tokenizer = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    roles = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **dict(zip(roles, special, strict=True)))


def transformer(folder, seed=0, config=BertConfig, **changes):
    """Save a tiny transformer with random weights as transformers does; return the folder."""
    torch.manual_seed(seed)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    settings = {"vocab_size": len(letters()), "initializer_range": 0.3, "max_position_embeddings": POSITIONS}
    model = AutoModel.from_config(config(**{**size, **settings, **changes}))
    with torch.no_grad():  # so that half precision can store the weights exactly
        for weights in model.parameters():
            weights.copy_(weights.bfloat16().half())
    model.save_pretrained(folder)
    letters().save_pretrained(folder)
    return folder


def saved(folder, *modules, **options):
    """Save modules as a model of sentence-transformers; return the folder."""
    SentenceTransformer(modules=list(modules), device="cpu", **options).save(str(folder), create_model_card=False)
    return folder


def static(folder, dtype=torch.float32):
    weights = torch.randn(len(letters()), 16, generator=torch.Generator().manual_seed(0)).bfloat16().half()
    return saved(folder, StaticEmbedding(letters(), embedding_weights=weights.to(dtype)))


def stored_as(folder, target, dtype):
    """Copy a model with its weights in another type."""
    shutil.copytree(folder, target)
    for path in target.rglob("*.safetensors"):
        save_file({name: value.to(dtype) for name, value in load_file(path).items()}, path, metadata={"format": "pt"})
    for path in target.rglob("config.json"):
        config = json.loads(path.read_text())
        path.write_text(json.dumps({**config, **({"dtype": str(dtype)[6:]} if "dtype" in config else {})}))
    return target


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return transformer(tmp_path_factory.mktemp("plain") / "bert")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return a function that puts a folder into a cache of the hub, and returns the model's name."""
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path / "hub"))

    def put(folder, name="tests/model"):
        target = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        shutil.copytree(folder, target / "snapshots" / ("0" * 40))
        (target / "refs").mkdir()
        (target / "refs" / "main").write_text("0" * 40)
        return name

    return put


def facts(folder):
    return json.loads((folder / RECIPE_FILE).read_text())


def recipe(init, **changes):
    return Recipe(init=str(init), **changes)


def loaded(init, **changes):
    return load(resolve(recipe(init, **changes)), ())


def vectors_in_training(model, texts):
    """Return the vectors of queries and of passages in a step of training, without dropout."""
    batch = collator(model, ["query", "passage"])([{"query": text, "passage": text} for text in texts])
    features, _ = PlanTrainer.collect_features(None, batch)
    model.eval()
    with torch.no_grad():
        return [model(feature)["sentence_embedding"].numpy() for feature in features]


def parameters(model):
    return {name: value.detach() for name, value in model.named_parameters()}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_loaded_as_float32(tmp_path, plain, dtype):
    inits = {
        "plain": plain,
        "modules": saved(tmp_path / "modules", Transformer(str(plain)), Pooling(16), Dense(16, 8)),
        "static": static(tmp_path / "static"),
    }
    for name, init in inits.items():
        expected = parameters(SentenceTransformer(str(init), device="cpu"))
        model = loaded(stored_as(init, tmp_path / f"half-{name}", dtype))
        for key, value in parameters(model).items():
            assert value.dtype == torch.float32
            assert torch.equal(value, expected[key].to(dtype).float()), key


def test_float32_weights_with_a_configuration_of_half_precision(tmp_path, plain):
    folder = shutil.copytree(plain, tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    weights = {name: value + 1e-4 for name, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert torch.equal(
        loaded(folder)[0].model.embeddings.word_embeddings.weight, weights["embeddings.word_embeddings.weight"]
    )


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """Return a function that trains two steps on a few texts into a new folder."""
    folder = tmp_path_factory.mktemp("short")
    words = ["river", "sea", "sky", "tree", "stone", "rain", "wind", "snow", "bird", "fish", "moon", "sun"]
    texts = {
        word: {"q": f"What is a {word}?", "p": f"The {word} is number {number}."} for number, word in enumerate(words)
    }
    lines = [json.dumps({"id": word, "texts": {"en": text, "de": text}}) for word, text in texts.items()]
    (folder / "pairs.jsonl").write_text("\n".join(lines))
    data = {"data": [{"path": "pairs.jsonl", "query": "q", "passage": "p"}], "languages": None, "folders": (folder,)}
    count = itertools.count()

    def run(**changes):
        options = {"steps": 2, "batch_size": 4, "precision": "fp32", "strategy": "monolingual", **data, **changes}
        return train(folder / str(next(count)), **options)

    return run


def test_half_precision_of_the_hub_is_trained_like_float32(tmp_path, plain, hub, short):
    """The init has weights that both types store exactly, so the runs are the same."""
    half = short(init=hub(stored_as(plain, tmp_path / "bf16", torch.bfloat16)))
    single = short(init=str(plain))
    assert weights_hash(half) == weights_hash(single)
    assert facts(half)["losses"] == facts(single)["losses"]
    assert {value.dtype for value in load_file(half / "model.safetensors").values()} == {torch.float32}
    used = {"precision": "fp32", "weights": "float32", "float32_matmul": "highest"}
    used |= {"pooling": "mean", "max_length": POSITIONS}
    assert facts(half)["used"] == {**used, "prompts": {"query": "Query: ", "document": "Passage: "}}


def test_recipe_decides_the_precision(monkeypatch, messages, short):
    """accelerate launch sets the variable."""
    single = short(precision="auto")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    half = short(precision="bf16")
    assert "training uses bf16, the recipe's precision, not accelerate's mixed_precision fp16" in messages
    assert (facts(half)["used"]["precision"], facts(half)["used"]["weights"]) == ("bf16", "float32")
    assert weights_hash(half) != weights_hash(single)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    again = short()
    assert "training uses fp32, the recipe's precision, not accelerate's mixed_precision bf16" in messages
    assert facts(single)["used"]["precision"] == facts(again)["used"]["precision"] == "fp32"
    assert weights_hash(again) == weights_hash(single)


@pytest.mark.parametrize("by_name", [False, True])
def test_plain_transformer_gets_the_recipes_pooling(plain, hub, by_name):
    init = hub(plain) if by_name else plain
    for pooling in ("mean", "cls"):
        resolved = resolve(recipe(init, pooling=pooling))
        model = load(resolved, ())
        assert (resolved.pooling, model[1].pooling_mode) == (pooling, pooling)
        tokens = model[0](model.preprocess(["a river", "the sea and the sky"]))
        first, mask = tokens["token_embeddings"], tokens["attention_mask"][:, :, None]
        expected = first[:, 0] if pooling == "cls" else (first * mask).sum(1) / mask.sum(1)
        vectors = model.encode(["a river", "the sea and the sky"])
        assert np.allclose(vectors, expected.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("by_name", [False, True])
def test_modules_keep_their_pooling(tmp_path, plain, hub, by_name):
    folder = saved(tmp_path / "cls", Transformer(str(plain)), Pooling(16, "cls"), Normalize())
    init = hub(folder) if by_name else folder
    for changes in ({}, {"pooling": "cls"}, {"pooling": "own"}):
        assert resolve(recipe(init, **changes)).pooling == "cls"
    assert loaded(init)[1].pooling_mode == "cls"
    with pytest.raises(UsageError, match=r"`pooling: mean` is for plain transformers, and .* with `cls`: leave it out"):
        resolve(recipe(init, pooling="mean"))
    both = saved(tmp_path / "both", Transformer(str(plain)), Pooling(16, ("cls", "mean")))
    assert resolve(recipe(both)).pooling == "own"


def test_pooling_of_older_models(tmp_path, plain):
    folder = saved(tmp_path / "old", Transformer(str(plain)), Pooling(16, "max"))
    old = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(old))
    assert resolve(recipe(folder)).pooling == "max"


PROMPTS = {"query": "find: ", "passage": "text: ", "sts": "same: "}


def test_own_prompts_are_used_unless_the_recipe_has_others(tmp_path, plain, messages):
    folder = saved(tmp_path / "m", Transformer(str(plain)), Pooling(16), prompts=PROMPTS)
    own = resolve(recipe(folder))
    assert (own.query_prefix, own.passage_prefix) == ("find: ", "text: ")
    other = resolve(recipe(folder, query_prefix=""))
    assert (other.query_prefix, other.passage_prefix) == ("", "text: ")
    assert [line.split(f"{folder}: ")[1] for line in messages] == [
        "query_prefix 'find: ' and passage_prefix 'text: '; the recipe may set other prefixes",
        "query_prefix '' for 'find: '",
        "passage_prefix 'text: '; the recipe may set other prefixes",
    ]
    without = resolve(recipe(saved(tmp_path / "n", Transformer(str(plain)), Pooling(16))))
    assert (without.query_prefix, without.passage_prefix) == ("Query: ", "Passage: ")


def test_trained_prompts_have_all_names_of_the_init():
    names = {"Retrieval": "r: ", "Retrieval-query": "q: ", **PROMPTS}
    assert trained_prompts(names, "a: ", "b: ") == {
        "Retrieval-query": "a: ",
        "query": "a: ",
        "passage": "b: ",
        "sts": "same: ",
        "document": "b: ",
    }


@pytest.mark.parametrize("include", [True, False])
def test_a_step_has_the_vectors_of_the_model_in_use(tmp_path, plain, include):
    """With `include_prompt: false`, neither pools the prompt."""
    folder = saved(tmp_path / "m", Transformer(str(plain)), Pooling(16, "mean", include), prompts=PROMPTS)
    model, texts = loaded(folder), ["a river", "the sea and the sky"]
    queries, passages = vectors_in_training(model, texts)
    assert np.allclose(queries, model.encode_query(texts), atol=1e-6)
    assert np.allclose(passages, model.encode_document(texts), atol=1e-6)
    tokens = model[0](model.preprocess([f"find: {text}" for text in texts]))
    mask = tokens["attention_mask"].clone()
    mask[:, : 0 if include else 1 + len("find: ")] = 0  # [CLS] and a token for each letter
    expected = (tokens["token_embeddings"] * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    assert np.allclose(queries, expected.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"cached": 4}, {"distillation": 1.0}, {"matryoshka": (16, 8)}])
def test_losses_leave_the_prompt_out(tmp_path, plain, changes):
    """A loss over the features of a step is the loss over the vectors of the model in use."""
    folder = saved(tmp_path / "m", Transformer(str(plain)), Pooling(16, "mean", False), prompts=PROMPTS)
    resolved = resolve(recipe(folder, **changes))
    model = load(resolved, ()).eval()
    rows = [{"query": text, "passage": text[::-1], "parallel": text.upper()} for text in ("river", "the sea", "sky")]
    rows = rows if resolved.distillation else [{"query": row["query"], "passage": row["passage"]} for row in rows]
    features, _ = PlanTrainer.collect_features(None, collator(model, list(rows[0]))(rows))
    value = losses.build(resolved, model, gather=False)(features, None)
    roles = {"query": "query", "passage": "document", "parallel": "query"}
    vectors = [torch.tensor(model.encode([row[key] for row in rows], prompt_name=roles[key])) for key in rows[0]]
    plain_loss = losses.build(recipe("static:16", distillation=resolved.distillation), Given(), gather=False)
    expected = plain_loss([{"x": part} for part in vectors], None)
    if resolved.matryoshka:
        expected = expected + plain_loss([{"x": part[:, :8]} for part in vectors], None)
    totals = [sum(part.values()) if isinstance(part, dict) else part for part in (value, expected)]
    assert totals[0].item() == pytest.approx(totals[1].item(), abs=1e-5)


class Given(torch.nn.Module):
    """A model that returns its features as embeddings."""

    device = torch.device("cpu")

    def forward(self, features):
        return {"sentence_embedding": features["x"]}


def test_trained_model_loads_and_has_the_vectors_of_training(tmp_path, plain, short):
    options = {"prompts": PROMPTS, "default_prompt_name": "passage"}
    folder = saved(tmp_path / "init", Transformer(str(plain)), Pooling(16, "mean", False), **options)
    output = short(init=str(folder))
    model, texts = SentenceTransformer(str(output), device="cpu"), ["a river", "the sea and the sky"]
    used = {"query": "find: ", "document": "text: "}
    assert facts(output)["used"]["prompts"] == used == {role: model.prompts[role] for role in used}
    assert np.allclose(vectors_in_training(model, texts), [model.encode_query(texts), model.encode_document(texts)])
    assert model.default_prompt_name == "passage"
    assert np.allclose(model.encode(texts), model.encode_document(texts))


def test_default_prompt_that_is_not_trained(tmp_path, plain):
    """The prompt Retrieval is for queries and documents, which have different prompts in training."""
    options = {"prompts": {**PROMPTS, "Retrieval": "r: "}, "default_prompt_name": "Retrieval"}
    folder = saved(tmp_path / "init", Transformer(str(plain)), Pooling(16), **options)
    loaded(folder, query_prefix="q: ", passage_prefix="p: ").save(str(tmp_path / "m"), create_model_card=False)
    model = SentenceTransformer(str(tmp_path / "m"), device="cpu")
    assert model.default_prompt_name is None
    assert (model.prompts["query"], model.prompts["document"], model.prompts["sts"]) == ("q: ", "p: ", "same: ")


def test_router_trains_both_encoders(tmp_path, short):
    routes = [[Transformer(str(transformer(tmp_path / str(seed), seed))), Pooling(16, "cls")] for seed in (1, 2)]
    folder = saved(tmp_path / "init", Router.for_query_document(*routes))
    output = short(init=str(folder), max_length=32, dev_share=0.4, dev_measure="loss")
    before, after = SentenceTransformer(str(folder), device="cpu"), SentenceTransformer(str(output), device="cpu")
    moved = {
        name.split(".")[2] for name, value in parameters(after).items() if (value != parameters(before)[name]).any()
    }
    assert moved == {"query", "document"}
    assert after.max_seq_length == 32
    assert facts(output)["recipe"]["pooling"] == "cls"
    model, texts = loaded(folder), ["a river", "the sea and the sky"]
    queries, passages = vectors_in_training(model, texts)
    assert np.allclose(queries, model.encode_query(texts), atol=1e-6)
    assert np.allclose(passages, model.encode_document(texts), atol=1e-6)
    assert not np.allclose(queries, passages, atol=0.1)


def test_router_without_an_encoder_for_documents(tmp_path, plain):
    routes = {"query": [Transformer(str(plain)), Pooling(16)], "passage": [Transformer(str(plain)), Pooling(16)]}
    folder = saved(tmp_path / "init", Router(routes, default_route="query"))
    with pytest.raises(ModelError, match="cannot encode a text: ValueError: No route found for task type 'doc"):
        loaded(folder)
    wide = transformer(tmp_path / "wide", hidden_size=32)
    routes = [[Transformer(str(path)), Pooling(size)] for path, size in ((plain, 16), (wide, 32))]
    with pytest.raises(ModelError, match="gives queries 16 and documents 32 dimensions"):
        loaded(saved(tmp_path / "uneven", Router.for_query_document(*routes)))


def configured(folder, **changes):
    """Write a folder with the configuration of a model, and other files that are never read."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", **changes}))
    for name in ("tokenizer.json", "model.safetensors"):
        (folder / name).write_text("{}")
    return folder


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"quantization_config": {"quant_method": "gptq"}},
            r"is quantized \(gptq\), and such weights cannot be trained",
        ),
        ({"model_type": "mine", "auto_map": {"AutoModel": "m.M"}}, r"needs code of its repository \(mine\)"),
        ({"architectures": ["BertForSequenceClassification"]}, "is a CrossEncoder: training starts from a model that"),
        ({"architectures": ["HF_ColBERT"]}, "is a MultiVectorEncoder: training starts from a model that"),
    ],
)
def test_model_that_cannot_be_trained(tmp_path, hub, by_name, config, message):
    folder = configured(tmp_path / "m", **config)
    with pytest.raises(ModelError, match=message):
        resolve(recipe(hub(folder) if by_name else folder))


def test_code_that_transformers_has_is_not_needed(tmp_path):
    resolve(recipe(configured(tmp_path / "m", auto_map={"AutoModel": "m.M"})))


@pytest.mark.parametrize("by_name", [False, True])
def test_modules_that_cannot_be_trained(tmp_path, plain, hub, by_name):
    sparse = SparseEncoder(
        modules=[Transformer(str(plain), transformer_task="fill-mask"), SpladePooling()], device="cpu"
    )
    sparse.save(str(tmp_path / "sparse"), create_model_card=False)
    own = saved(tmp_path / "own", Transformer(str(plain)), Pooling(16))
    modules = (own / "modules.json").read_text()
    (own / "modules.json").write_text(modules.replace("sentence_transformers.sentence_transformer.modules", "mine"))
    expected = {"sparse": "is a SparseEncoder: training starts", "own": r"needs code of its repository \(mine\.pool"}
    for name, message in expected.items():
        init = hub(tmp_path / name, f"tests/{name}") if by_name else tmp_path / name
        with pytest.raises(ModelError, match=message):
            resolve(recipe(init))


def test_adapter_needs_peft(tmp_path, hub, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    folder = configured(tmp_path / "m")
    (folder / "adapter_config.json").write_text("{}")
    for init in (folder, hub(folder)):
        with pytest.raises(ModelError, match="is an adapter, which needs the package peft"):
            resolve(recipe(init))


def adapter(folder, base):
    """Write an adapter of a base model as peft does; return the folder."""
    folder.mkdir()
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": str(base),
        "r": 4,
        "lora_alpha": 8,
        "inference_mode": True,
    }
    targets = {"task_type": "FEATURE_EXTRACTION", "target_modules": ["query"], "lora_dropout": 0.0, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config | targets))
    prefix = "base_model.model.encoder.layer.0.attention.self.query.lora"
    weights = {f"{prefix}_A.weight": torch.randn(4, 16), f"{prefix}_B.weight": torch.randn(16, 4)}
    save_file(weights, folder / "adapter_model.safetensors")
    letters().save_pretrained(folder)
    return folder


def test_adapter_is_trained(tmp_path, plain, short):
    pytest.importorskip("peft", reason="adapters need the package peft")
    init = adapter(tmp_path / "adapter", plain)
    output = short(init=str(init))
    before, after = (load_file(path / "adapter_model.safetensors") for path in (init, output))
    assert before.keys() == after.keys()
    assert not any(torch.equal(before[name], after[name]) for name in before)
    half = stored_as(plain, tmp_path / "half", torch.bfloat16)
    with pytest.raises(ModelError, match=r"the base model of the adapter .* is stored in bfloat16"):
        loaded(adapter(tmp_path / "other", half))


def test_name_that_is_nowhere(tmp_path, hub):
    with pytest.raises(ModelError, match="cannot load tests/none"):
        resolve(recipe("tests/none"))


def test_frozen_weights(tmp_path, plain, monkeypatch):
    folder = saved(tmp_path / "m", Transformer(str(plain)), Pooling(16))
    load_modules = SentenceTransformer._load_config_modules

    def frozen(self, *arguments, **options):
        modules, kwargs = load_modules(self, *arguments, **options)
        for module in modules.values():
            module.requires_grad_(False)
        return modules, kwargs

    monkeypatch.setattr(SentenceTransformer, "_load_config_modules", frozen)
    with pytest.raises(ModelError, match=r"all weights of the init .* are frozen"):
        loaded(folder)


@pytest.mark.parametrize(
    ("init", "changes", "message"),
    [
        ("static:32", {"pooling": "cls"}, "`pooling: cls` has no effect on static:32"),
        ("static:32", {"max_length": 9}, "`max_length` has no effect on static:32"),
        ("static:32", {"gradient_checkpointing": True}, "`gradient_checkpointing` has no effect on static:32"),
        ("static:32", {"matryoshka": (64, 8)}, "goes up to the model's 32 dimensions, but the recipe has 64"),
        ("tiny:1x32", {"matryoshka": (33,)}, "goes up to the model's 32 dimensions, but the recipe has 33"),
        ("tiny:1x32", {"pooling": "own"}, "`pooling: own` is for inits with modules, and tiny:1x32 has none"),
        ("static", {"max_length": 9}, "`max_length` has no effect on"),
        ("static", {"cached": 4}, "`cached` has no effect on"),
        ("static", {"pooling": "max"}, "has its own modules with `mean`"),
        ("plain", {"vocabulary": 900}, "`vocabulary` is for static: and tiny: inits"),
        ("plain", {"pooling": "own"}, "`pooling: own` is for inits with modules"),
        ("plain", {"max_length": 65}, "`max_length: 65` is beyond the 64 positions of"),
        ("cut", {}, r"cuts its vectors to 8 dimensions: train these with `matryoshka: \[8\]`"),
    ],
)
def test_key_that_the_init_cannot_honour(tmp_path, plain, init, changes, message):
    """It is found by the files, before data are read and a model is loaded."""
    if init == "static":
        init = static(tmp_path / "static")
    elif init == "plain":
        init = plain
    elif init == "cut":
        init = saved(tmp_path / "cut", Transformer(str(plain)), Pooling(16), truncate_dim=8)
    with pytest.raises(UsageError, match=message):
        resolve(recipe(init, **changes))


def test_length_within_the_positions(tmp_path, messages):
    """The first positions of an XLM-R are for padding, so 64 rows are 62 tokens."""
    folder = transformer(tmp_path / "m", config=XLMRobertaConfig, pad_token_id=1)
    with pytest.raises(UsageError, match="`max_length: 63` is beyond the 62 positions of"):
        loaded(folder, max_length=63)
    assert loaded(folder, max_length=62).max_seq_length == 62
    model = loaded(folder)
    assert model.max_seq_length == 62
    assert [line for line in messages if "texts are cut at the 62 positions of" in line]
    assert model.encode(["a" * 99]).shape == (1, 16)


def test_prompt_that_fills_the_length(plain):
    """[CLS], [SEP] and a token for each letter of the prompt."""
    with pytest.raises(
        UsageError, match=r"the query prompt has 9 of the 9 tokens of a text .*raise `max_length`, or shor"
    ):
        loaded(plain, max_length=9, passage_prefix="")
    assert loaded(plain, max_length=10, passage_prefix="").max_seq_length == 10


def test_vectors_that_are_cut_are_trained_so(tmp_path, plain):
    folder = saved(tmp_path / "cut", Transformer(str(plain)), Pooling(16), truncate_dim=8)
    assert loaded(folder, matryoshka=(8, 4)).truncate_dim == 8
    with pytest.raises(UsageError, match="goes up to the model's 8 dimensions"):
        loaded(folder, matryoshka=(16,))


def test_other_similarity_is_replaced_aloud(tmp_path, plain, messages):
    folder = saved(tmp_path / "m", Transformer(str(plain)), Pooling(16), similarity_fn_name="dot")
    assert loaded(folder).similarity_fn_name == "cosine"
    assert [line for line in messages if "dot, is replaced by cosine" in line]


def test_separate_lengths_hold_in_training_and_use(tmp_path, plain, short):
    """A token is a letter, with [CLS] and [SEP] around the text."""
    output = short(init=str(plain), max_length={"query": 20, "passage": 40})
    model = SentenceTransformer(str(output), device="cpu")
    assert facts(output)["used"]["max_length"] == {"query": 20, "passage": 40}
    assert [model.preprocess(["a" * 60], task=task)["input_ids"].shape[1] for task in ("query", "document")] == [20, 40]
    trained = loaded(output, max_length={"query": 20, "passage": 40})
    queries, passages = vectors_in_training(trained, ["a" * 60])
    assert np.allclose(queries, model.encode_query(["Query: " + "a" * 60], prompt=""), atol=1e-6)
    assert np.allclose(passages, model.encode_document(["a" * 60]), atol=1e-6)
    assert loaded(output, max_length=30).max_seq_length == 30
    assert loaded(output, max_length=30)[0].query_length is None
    with pytest.raises(UsageError, match=f"`max_length: 99` is beyond the {POSITIONS} positions"):
        resolve(recipe(plain, max_length={"query": 20, "passage": 99}))
    with pytest.raises(UsageError, match="the query prompt has 9 of the 8 tokens"):
        loaded(plain, max_length={"query": 8, "passage": 20})


def test_revision_of_the_hub(tmp_path, plain, hub):
    """The cache has two commits: main is the zeros, and the tag is the ones."""
    name = hub(plain)
    folder = tmp_path / "hub" / "models--tests--model"
    shutil.copytree(transformer(tmp_path / "other", seed=1), folder / "snapshots" / ("1" * 40))
    (folder / "refs" / "v2").write_text("1" * 40)
    assert (revision(name), revision(name, "v2")) == ("0" * 40, "1" * 40)
    main, tagged = parameters(loaded(name)), parameters(loaded(name, revision="v2"))
    assert all(torch.equal(value, parameters(loaded(tmp_path / "other"))[key]) for key, value in tagged.items())
    assert any(not torch.equal(value, main[key]) for key, value in tagged.items())
    with pytest.raises(UsageError, match=r"`revision` is for models of the hub, and .* is a folder"):
        resolve(recipe(plain, revision="v2"))
    with pytest.raises(UsageError, match="`revision` is for models with files, and static:16 has random weights"):
        resolve(recipe("static:16", revision="v2"))


def test_code_of_an_init_is_run_if_the_recipe_trusts_it(tmp_path, plain, short, messages):
    folder = saved(tmp_path / "m", Transformer(str(plain)), Pooling(16))
    (folder / "own.py").write_text(
        "from sentence_transformers.sentence_transformer.modules import Pooling\n"
        "class Own(Pooling):\n"
        "    def forward(self, features):\n"
        "        features = super().forward(features)\n"
        "        features['sentence_embedding'] = features['sentence_embedding'] * 2 + 1\n"
        "        return features\n"
    )
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "own.Own"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match=r"needs code of its repository \(own.Own\), which is not run"):
        resolve(recipe(folder))
    output = short(init=str(folder), trust_remote_code=True)
    assert f"running the code that comes with {folder}" in messages
    plain_vector = SentenceTransformer(modules=[Transformer(str(output)), Pooling(16)], device="cpu").encode(["sea"])
    vector = SentenceTransformer(str(output), device="cpu", trust_remote_code=True).encode(["sea"])
    assert np.allclose(vector, plain_vector * 2 + 1, atol=1e-5)
    with pytest.raises(UsageError, match=r"`trust_remote_code` has no effect on .*, which has no code"):
        resolve(recipe(plain, trust_remote_code=True))
