"""Precision, backend, dimensions, tokens and batches of a model: what they change, and how a signature names them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hbt_bench.errors import ModelError, UsageError
from hbt_bench.identity.signature import Signature
from hbt_bench.identity.variant import Variant
from hbt_bench.mteb import backends
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.mteb.token_batches import TokenBatches, cut
from hbt_bench.reports.explain import explain
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.tasks.registry import select_tasks
from tests.factories import torch_random_model
from tests.layouts import plain, pooled, small_task

TEXTS = ["a", "a long text with many letters", "some text", "text", "other letters of a text", "b c"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """Return the folder of a tiny transformer."""
    folder = tmp_path_factory.mktemp("models") / "bert"
    pooled(folder)
    return folder


@pytest.fixture
def engine(monkeypatch, tmp_path):
    """Return the calls of a stand-in for OpenVINO, which keeps the module of torch as a file."""
    calls = []

    def export(module, example, folder):
        calls.append("export")
        torch.save(module, folder / "model.pt")

    def open_model(folder, precision):
        calls.append(precision)
        module = torch.load(folder / "model.pt", weights_only=False)

        def run(inputs):
            with torch.no_grad():
                return module(*map(torch.from_numpy, inputs)).numpy()

        return run

    monkeypatch.setenv("HBT_BENCH_CACHE", str(tmp_path / "cache"))
    stand_in = backends.Engine({"torch": "torch"}, ("fp32", "bf16"), export, open_model)
    monkeypatch.setitem(backends.ENGINES, "openvino", stand_in)
    return calls


@pytest.mark.parametrize(
    ("variant", "suffix", "options"),
    [
        (Variant(), "", ""),
        (Variant(dtype="bf16"), "-bf16", "--dtype bf16"),
        (Variant("openvino", "bf16"), "-openvino-bf16", "--backend openvino --dtype bf16"),
        (Variant(None, "fp32", 64, 128), "-fp32-dim64-len128", "--dtype fp32 --truncate-dim 64 --max-seq-length 128"),
        (Variant("onnx", None, None, 16), "-onnx-len16", "--backend onnx --max-seq-length 16"),
        (Variant(truncate_dim=64, precision="int8"), "-dim64-int8", "--truncate-dim 64 --precision int8"),
        (Variant(dtype="fp16", precision="binary"), "-fp16-binary", "--dtype fp16 --precision binary"),
    ],
)
def test_revision_names_the_variant(variant, suffix, options):
    assert variant.suffix == suffix
    assert Variant.split(f"1e76180541b3e331-remote-code{suffix}") == ("1e76180541b3e331-remote-code", variant)
    assert variant.options == options.split()


@pytest.mark.parametrize("revision", ["k0.9-b0.4-t2", "main", "v1.5", "abc-dim0", "no_revision_available"])
def test_other_revisions_have_no_variant(revision):
    assert Variant.split(revision) == (revision, Variant())


def test_batch_has_at_most_the_budget_of_padded_tokens():
    assert [rows.tolist() for rows in cut([3, 9, 4, 4, 20], budget=12)] == [[4], [1], [2, 3, 0]]
    assert cut([], budget=12) == []
    lengths = np.random.default_rng(0).integers(1, 60, 200)
    batches = cut(lengths, budget=100)
    assert sorted(np.concatenate(batches)) == list(range(200))
    assert all(lengths[rows].max() * len(rows) <= 100 for rows in batches)


@pytest.mark.parametrize("tensor", [False, True])
def test_batches_of_tokens_keep_vectors_and_order(bert, tensor):
    model = ModelRequest(str(bert), device="cpu", query_prompt="a: ").load().model
    expected = model.encode_query(TEXTS, convert_to_tensor=tensor)
    sizes = []
    hook = model[0].register_forward_pre_hook(lambda module, inputs: sizes.append(inputs[0]["input_ids"].shape))
    batched = ModelRequest(str(bert), device="cpu", query_prompt="a: ", batch_tokens=40).load().model
    batched[0].register_forward_pre_hook(lambda module, inputs: sizes.append(inputs[0]["input_ids"].shape))
    found = batched.encode_query(TEXTS, convert_to_tensor=tensor)
    hook.remove()
    assert type(found) is type(expected)
    assert np.abs(np.asarray(found) - np.asarray(expected)).max() < 2e-5
    assert len(sizes) > 1
    assert all(rows == 1 or rows * tokens <= 40 for rows, tokens in sizes)


def test_other_calls_are_left_to_the_model(bert):
    model = ModelRequest(str(bert), device="cpu", batch_tokens=8).load().model
    own = model.encode.encode
    assert np.array_equal(model.encode("a text"), own("a text"))
    assert np.array_equal(model.encode(TEXTS, precision="int8"), own(TEXTS, precision="int8"))
    assert len(model.encode([])) == 0
    assert isinstance(model.encode, TokenBatches)


def test_dimensions_and_tokens_are_those_of_sentence_transformers(bert):
    from sentence_transformers import SentenceTransformer

    plain_model = SentenceTransformer(str(bert), device="cpu", truncate_dim=4)
    plain_model.max_seq_length = 5
    request = ModelRequest(str(bert), device="cpu", truncate_dim=4, max_seq_length=5)
    model = request.load()
    assert np.array_equal(model.model.encode(TEXTS), plain_model.encode(TEXTS))
    assert model.mteb_model_meta.revision == request.identity[1] == f"{request.checkpoint.revision}-dim4-len5"


def test_tokens_replace_the_lengths_of_queries_and_documents(bert, tmp_path):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(bert), device="cpu")
    model[0].query_length, model[0].document_length = 4, 6
    model.save(str(tmp_path))
    short = ModelRequest(str(tmp_path), device="cpu", max_seq_length=3).load().model
    plain_model = SentenceTransformer(str(bert), device="cpu")
    plain_model.max_seq_length = 3
    for encode in ("encode_query", "encode_document"):
        assert np.array_equal(getattr(short, encode)(TEXTS), getattr(plain_model, encode)(TEXTS))
        assert not np.array_equal(getattr(short, encode)(TEXTS), getattr(model, encode)(TEXTS))


def test_binary_ranks_by_hamming_distance_and_does_not_depend_on_other_texts(bert, tmp_path):
    [*results] = Evaluation(
        ModelRequest(str(bert), device="cpu", precision="binary"), select_tasks(str(small_task(tmp_path))), tmp_path
    ).run()
    assert results[2].revision.endswith("-binary")
    stored = results[2].stored_ranks()  # MTEB's own path, for vectors that depend on other texts, has no ranks
    collection = select_tasks(str(tmp_path / "small.yaml"))[0].spec.load()
    model = ModelRequest(str(bert), device="cpu").load().model
    queries, documents = (
        model.encode([text.text for text in texts]) > 0 for texts in (collection.queries, collection.documents)
    )
    distances = (queries[:, None] != documents[None]).sum(axis=2)
    ids = np.array([document.id for document in collection.documents])
    qrels = collection.qrels
    for pair, (row, column) in enumerate(zip(qrels.queries, qrels.documents, strict=True)):
        nearer = distances[row] < distances[row, column]
        equal = (distances[row] == distances[row, column]) & (ids > ids[column])  # ties: the greater id first
        assert stored.ranks.pool[pair] == 1 + (nearer | equal).sum()


def test_fp32_is_part_of_the_revision(bert):
    model = ModelRequest(str(bert), device="cpu", dtype="fp32").load()
    assert {value.dtype for value in model.model.parameters()} == {torch.float32}
    assert model.mteb_model_meta.revision.endswith("-fp32")


def test_backend_gives_the_results_of_torch(bert, engine, tmp_path):
    selections = select_tasks(str(small_task(tmp_path)))
    files = sorted(path.name for path in bert.iterdir())
    for number, fields in enumerate(({}, {"backend": "openvino"}, {"backend": "openvino", "dtype": "bf16"})):
        request = ModelRequest(str(bert), device="cpu", **fields)
        [*results] = Evaluation(request, selections, tmp_path / "results").run()
        if not number:
            expected = results
        assert [result.scores["AP"] for result in results] == pytest.approx([row.scores["AP"] for row in expected])
        assert results[0].revision == expected[0].revision + request.variant.suffix
    assert engine == ["export", "fp32", "bf16"]  # exported once for both precisions
    assert files == sorted(path.name for path in bert.iterdir())
    content = json.loads(results[0].path.read_bytes())
    assert content["hbt_bench"]["parameters"] == json.loads(expected[0].path.read_bytes())["hbt_bench"]["parameters"]
    command = explain(Signature.parse(results[0].signature)).command
    assert "--backend openvino --dtype bf16" in command


def test_backend_with_other_vectors_is_refused(bert, engine, monkeypatch):
    wrong = backends.ENGINES["openvino"]
    monkeypatch.setitem(
        backends.ENGINES,
        "openvino",
        backends.Engine(wrong.packages, wrong.precisions, wrong.export, lambda folder, precision: _noise),
    )
    with pytest.raises(ModelError, match="other vectors with openvino than with torch"):
        ModelRequest(str(bert), backend="openvino").load()


def _noise(inputs):
    return np.random.default_rng(0).standard_normal((*inputs[0].shape, 16)).astype(np.float32)


def test_failed_export_leaves_no_file(bert, engine, monkeypatch, tmp_path):
    def fail(module, example, folder):
        (folder / "half").write_text("")
        raise RuntimeError("an operation is unknown")

    monkeypatch.setitem(
        backends.ENGINES,
        "openvino",
        backends.Engine({"torch": "torch"}, ("fp32",), fail, lambda folder, precision: _noise),
    )
    with pytest.raises(ModelError, match=r"cannot be exported to openvino \(RuntimeError: an operation is unknown\)"):
        ModelRequest(str(bert), backend="openvino").load()
    assert not list((tmp_path / "cache").rglob("half"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"backend": "openvino", "dtype": "fp16"}, "computes in fp32 or bf16, not in fp16"),
        ({"backend": "openvino", "device": "cuda"}, "computes on the CPU, not on cuda"),
        ({"truncate_dim": 99}, "more than the 16 dimensions"),
        ({"max_seq_length": 9999}, r"more than the \d+ positions"),
    ],
)
def test_impossible_settings_are_refused(bert, engine, fields, message):
    with pytest.raises(UsageError, match=message):
        ModelRequest(str(bert), **fields).load()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("precision", "int4", "one of None, 'int8', 'binary'"),
        ("dtype", "half", "one of None, 'fp16', 'bf16', 'fp32'"),
        ("backend", "foo", "one of 'torch', 'onnx', 'openvino'"),
        ("truncate_dim", -1, "a whole number from 1, or None for all dimensions"),
        ("truncate_dim", 0, "a whole number from 1"),
        ("max_seq_length", 0, "a whole number from 1, or None for the model's own"),
        ("max_seq_length", 8.5, "a whole number from 1"),
        ("batch_tokens", 0, "a whole number from 1, or None for batches of texts"),
        ("batch_tokens", True, "a whole number from 1"),
    ],
)
def test_values_that_no_model_has_are_refused_before_it_is_loaded(field, value, message):
    with pytest.raises(UsageError, match=f"{field} is {value!r}, but must be {message}"):
        ModelRequest("bm25", **{field: value})


def test_missing_package_is_named(bert, monkeypatch):
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--backend openvino needs openvino\. Run pip install openvino"):
        ModelRequest(str(bert), backend="openvino")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"backend": "openvino"}, "for transformers with one vector per text.*StaticEmbedding"),
        ({"batch_tokens": 64}, "--batch-tokens is for transformers"),
        ({"max_seq_length": 8}, "--max-seq-length is for models that have such a limit"),
    ],
)
def test_model_without_transformer_is_refused(tmp_path, engine, fields, message):
    folder = torch_random_model(tmp_path / "static", 1)
    with pytest.raises(UsageError, match=message):
        ModelRequest(str(folder), device="cpu", **fields).load()


def test_cross_encoder_has_no_backend_before_it_is_loaded(engine, tmp_path):
    folder = tmp_path / "cross"
    plain(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["BertForSequenceClassification"]}))
    with pytest.raises(UsageError, match="is a model of the kind CrossEncoder"):
        ModelRequest(str(folder), backend="openvino")
    with pytest.raises(UsageError, match="--truncate-dim is for models of sentence-transformers"):
        ModelRequest(str(folder), truncate_dim=8)


@pytest.mark.parametrize(("framework", "kind"), [(["API"], ["dense"]), (["Sentence Transformers"], ["sparse"])])
def test_model_that_mteb_knows_is_refused_before_it_is_loaded(monkeypatch, engine, framework, kind):
    import mteb
    from mteb.models import ModelMeta

    meta = ModelMeta.create_empty({"name": "tests/known", "framework": framework, "model_type": kind})
    monkeypatch.setattr(mteb, "get_model_meta", lambda name, **options: meta)
    monkeypatch.setattr(mteb, "get_model", lambda *names, **options: pytest.fail("the model was loaded"))
    with pytest.raises(UsageError, match="--backend is for models of sentence-transformers with one vector per text"):
        ModelRequest("tests/known", backend="openvino").load()


def test_bm25_has_no_settings():
    with pytest.raises(UsageError, match=r"bm25 has no weights\. Leave out --backend and --batch-tokens"):
        ModelRequest("bm25", backend="onnx", batch_tokens=64)
    with pytest.raises(UsageError, match=r"bm25 has no weights\. Leave out --revision"):
        ModelRequest("bm25", revision="7")
    with pytest.raises(UsageError, match="Leave out --device and --trust-remote-code"):
        ModelRequest("bm25", device="cuda:7", trust_remote_code=True)


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_real_backend_has_the_vectors_of_torch(bert, backend, monkeypatch, tmp_path):
    for package in backends.ENGINES[backend].packages:
        pytest.importorskip(package)
    monkeypatch.setenv("HBT_BENCH_CACHE", str(tmp_path))
    expected = ModelRequest(str(bert), device="cpu").load().model.encode(TEXTS)
    found = ModelRequest(str(bert), backend=backend).load().model.encode(TEXTS)
    assert np.abs(found - expected).max() < 2e-5
