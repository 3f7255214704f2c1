"""MTEB tasks: scores equal to those of MTEB, texts encoded once, and use from plain MTEB."""

from __future__ import annotations

import math
from collections import Counter
from zlib import crc32

import mteb
import numpy as np
import pytest
from mteb.abstasks.retrieval import AbsTaskRetrieval

from hbt_bench import get_tasks
from hbt_bench.data.collection import Collection
from hbt_bench.errors import ModelError
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.mteb.shared_pass import MtebEncoder, SharedPass
from hbt_bench.mteb.tasks import ParallelRetrieval
from tests.factories import TestEncoder, first_articles, hashed

SHARED_KEYS = 148  # scores of mteb 2.26 per subset, without main_score


def evaluate(model, tasks):
    return mteb.evaluate(model, tasks, cache=None, show_progress_bar=False, co2_tracker=False).task_results


def by_subset(task_result):
    return {entry["hf_subset"]: entry for entry in task_result.scores["test"]}


@pytest.fixture(scope="module")
def minilm_vectors(data_dir, minilm):
    """Real MiniLM vectors of the first words of a quarter of XQuAD-R, with every fourth question, in four languages."""
    from sentence_transformers import SentenceTransformer

    tasks = get_tasks("xquad-r", languages=["de", "en", "es", "zh"], data_dir=data_dir)
    part = first_articles(tasks[0].shared.collection, 13)
    relevant = {query.id: part.relevant(row) for row, query in enumerate(part.queries)}
    queries = [query for query in part.queries if crc32(query.question.encode()) % 4 == 0]  # MTEB's loops are slow
    collection = Collection.from_records(
        "part", queries, part.documents, {query.id: relevant[query.id] for query in queries}
    )
    shared = SharedPass(tasks[0].shared.spec, collection)
    tasks = [ParallelRetrieval(shared, task.mode) for task in tasks]
    texts = sorted({text.text for text in (*collection.queries, *collection.documents)})
    model = SentenceTransformer(str(minilm), device="cpu")
    model.max_seq_length = 16  # enough for different vectors, in a sixth of the time
    vectors = model.encode(texts, batch_size=64, show_progress_bar=False)
    return tasks, dict(zip(texts, vectors, strict=True))


def test_scores_equal_those_of_mteb(minilm_vectors):
    """Every key of every subset of 13 articles of XQuAD-R in 4 languages within 1e-5, over real MiniLM vectors."""
    tasks, vectors = minilm_vectors
    assert len(tasks[0].shared.collection.documents) > 1000  # MTEB keeps 1000 documents of a ranking
    model = TestEncoder(lambda text, role: vectors[text])
    worst, compared, subsets = (0.0, ""), 0, Counter()
    for task, result in zip(tasks, evaluate(model, tasks), strict=True):
        ours = by_subset(result)
        task.load_data()
        subsets[task.mode] = len(ours)
        assert list(ours) == task.hf_subsets
        for name in task.hf_subsets:
            theirs = AbsTaskRetrieval.evaluate(
                task, model, "test", [name], encode_kwargs={"batch_size": 512, "show_progress_bar": False}
            )[name]
            shared = theirs.keys() - {"main_score", *ADDED}
            assert len(shared) == SHARED_KEYS
            for key in shared:
                if math.isnan(theirs[key]) or math.isnan(ours[name][key]):
                    assert math.isnan(theirs[key]) == math.isnan(ours[name][key]), (name, key)
                    continue
                worst = max(worst, (abs(theirs[key] - ours[name][key]), f"{name} {key}"))
                compared += 1
    assert subsets == {"mono": 4, "cross": 12, "multi": 4}
    assert compared > 2500
    assert worst[0] <= 1e-5, worst


ADDED = {"AP", "RR", "nDCG@10", "R@1", "R@10", "R@100", "rank_distance"}


def test_each_text_is_encoded_once(data_dir):
    """At most 13,090 queries and 13,014 candidates for XQuAD-R, at most 24,733 texts for MLQA-R.

    Three languages are evaluated. The distinct texts of all languages are counted.
    """
    for name, limit in (("xquad-r", 26_104), ("mlqa-r", 24_733)):
        assert distinct_texts(get_tasks(name, data_dir=data_dir)).total() <= limit
        model = TestEncoder(hashed(4))
        tasks = get_tasks(name, languages=["en", "es", "zh"], data_dir=data_dir)
        assert len(evaluate(model, tasks)) == 3
        assert model.encoded == distinct_texts(tasks)


def distinct_texts(tasks):
    collection = tasks[0].shared.collection
    texts = {"query": collection.queries, "document": collection.documents}
    return Counter({role: len({(text.language, text.text) for text in found}) for role, found in texts.items()})


@pytest.fixture(scope="module")
def cldr_tasks():
    return get_tasks("cldr-facts", languages=["de", "en", "sw"])


def test_another_model_gets_new_ranks(cldr_tasks):
    first, second = TestEncoder(hashed(8)), TestEncoder(hashed(9))
    before = evaluate(first, cldr_tasks[2])[0].get_score()
    after = evaluate(second, cldr_tasks[2])[0].get_score()
    again = evaluate(first, cldr_tasks[2])[0].get_score()
    assert before == again
    assert before != after
    evaluate(first, cldr_tasks[0])  # the ranks of the last model serve all modes
    assert first.encoded.total() == 2 * second.encoded.total()


def test_metadata_is_complete(cldr_tasks):
    mono, cross, multi = (task.metadata for task in cldr_tasks)
    assert [task.name for task in cldr_tasks] == [f"cldr-facts-{mode}[de,en,sw]" for mode in ("mono", "cross", "multi")]
    assert mono.name == "CldrFactsMonolingualRetrieval_de_en_sw"
    assert mono.eval_langs == {"de": ["deu-Latn"], "en": ["eng-Latn"], "sw": ["swa-Latn"]}
    assert cross.eval_langs["de-sw"] == ["deu-Latn", "swa-Latn"]
    assert len(cross.eval_langs) == 6
    assert multi.eval_langs["en-multi"] == ["eng-Latn", "deu-Latn", "swa-Latn"]
    for metadata in (mono, cross, multi):
        assert metadata.is_filled()
        assert metadata.main_score == "AP"
        assert metadata.dataset["revision"] == cldr_tasks[0].shared.collection.fingerprint


def test_data_has_layout_of_mteb(cldr_tasks):
    cross = cldr_tasks[1]
    cross.load_data()
    split = cross.dataset["de-sw"]["test"]
    assert set(split["queries"]["id"]) == set(split["relevant_docs"])
    assert all(name.startswith("sw-d-") for name in split["corpus"]["id"])
    assert split["relevant_docs"]["de-q-currency-AC"] == {"sw-d-currency-AC": 1}
    multi = cldr_tasks[2]
    multi.load_data()
    assert len(multi.dataset["de-multi"]["test"]["corpus"]) == 3 * len(split["corpus"])


def test_mteb_finds_scores_in_its_cache(cldr_tasks, tmp_path):
    cache = mteb.ResultCache(tmp_path)
    model = TestEncoder(hashed())
    mteb.evaluate(model, cldr_tasks, cache=cache, show_progress_bar=False, co2_tracker=False)
    frame = cache.load_results(models=["tests/encoder"], tasks=cldr_tasks).to_dataframe()
    assert sorted(frame["task_name"]) == sorted(task.metadata.name for task in cldr_tasks)


def test_signature_names_task_data_model_and_versions(cldr_tasks):
    entry = by_subset(evaluate(TestEncoder(hashed(), revision="abc"), cldr_tasks[2])[0])["de-multi"]
    data = cldr_tasks[0].shared.collection.fingerprint
    start = f"task:cldr-facts-multi[de,en,sw]|text:sentence|data:{data}|model:tests/encoder@abc|prompt:model"
    assert entry["signature"].startswith(start + "|ties:docid-desc|hbt:")
    assert entry["queries"] == 182


def test_bm25_ranks_equal_those_of_mteb(cldr_tasks):
    """MTEB uses BM25's search. Both ways have a separate index of each language."""
    pytest.importorskip("bm25s")
    model = ModelRequest("bm25").load()
    for task in cldr_tasks:
        ours = by_subset(evaluate(model, task)[0])
        task.load_data()
        task._top_k = 1000
        theirs = AbsTaskRetrieval.evaluate(task, model, "test", encode_kwargs={})
        for name, scores in theirs.items():
            for key in ("ndcg_at_10", "map_at_1000", "recall_at_1", "mrr_at_100", "AP", "R@10"):
                assert ours[name][key] == pytest.approx(scores[key], abs=1e-5), (name, key)


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (lambda text, role: np.full(4, np.nan, np.float32), "returned NaN or infinity for"),
        (lambda text, role: np.zeros((2, 4), np.float32), r"shape \(\d+, 2, 4\) for \d+ texts"),
        (
            lambda text, role: np.arange(4 if role == "query" else 5, dtype=np.float32) + len(text),
            "4 dimensions and .* 5",
        ),
    ],
    ids=["nan", "shape", "dimensions"],
)
def test_unusable_vectors_are_errors(cldr_tasks, vector, message):
    with pytest.raises(ModelError, match=message):
        evaluate(TestEncoder(vector), cldr_tasks[0])


def test_get_tasks_mixes_ours_and_mteb():
    tasks = get_tasks(["cldr-facts-mono", "SciFact"], languages=["de"])
    assert [task.metadata.name for task in tasks] == ["CldrFactsMonolingualRetrieval_de", "SciFact"]


@pytest.mark.parametrize("kind", ["numpy", "torch", "half", "sparse"])
def test_vectors_of_any_type_become_float32(kind):
    """MTEB's models return arrays, tensors of any precision, or sparse tensors."""
    import torch

    values = np.array([[1.0, 0.0, -2.5], [0.0, 0.5, 0.0]])
    tensor = torch.tensor(
        values, dtype=torch.float16 if kind == "half" else torch.float64, requires_grad=kind == "torch"
    )
    returned = {"numpy": values, "sparse": tensor.to_sparse()}.get(kind, tensor)

    class Model:
        def encode(self, inputs, **options):
            return returned

    vectors = MtebEncoder(Model(), None, {}).encode(["a", "b"], "query", "en")
    assert (type(vectors), vectors.dtype, vectors.tolist()) == (np.ndarray, np.float32, values.tolist())
