"""Models that MTEB ranks with, and re-rankings: their results have ranks, so that every command reads them."""

from __future__ import annotations

from dataclasses import replace

import mteb
import numpy as np
import pandas as pd
import pytest
from mteb.models import ModelMeta
from sentence_transformers import MultiVectorEncoder, SparseEncoder

import hbt_bench
from hbt_bench.cli.main import run
from hbt_bench.errors import DataError, ModelError, UsageError
from hbt_bench.mteb.run_model import RunRules
from hbt_bench.mteb.tasks import get_tasks
from hbt_bench.results.runs import score_selections
from tests import layouts
from tests.factories import LANGUAGES, TestEncoder, hashed
from tests.layouts import small_task


class Hybrid:
    """A search model of MTEB's protocol that adds the reciprocal ranks of two encoders."""

    mteb_model_meta = ModelMeta.create_empty({"name": "tests/hybrid", "revision": "1"})

    def __init__(self):
        self.encoders = [TestEncoder(hashed(8)), TestEncoder(hashed(5))]

    def index(self, corpus, **options):
        self.corpus = list(corpus)

    def search(self, queries, *, top_k, **options):
        found = {}
        for query in queries:
            total = np.zeros(len(self.corpus))
            for encoder in self.encoders:
                documents = np.stack([encoder.vector(row["text"], "") for row in self.corpus])
                order = np.argsort(-(documents @ encoder.vector(query["text"], "")), kind="stable")
                total[order] += 1 / (60 + np.arange(len(order)))
            best = np.argsort(-total, kind="stable")[:top_k]
            found[query["id"]] = {self.corpus[column]["id"]: float(total[column]) for column in best}
        return found


MODELS = {
    "sparse": lambda folder: SparseEncoder(str(layouts.sparse(folder / "m")), device="cpu"),
    "late interaction": lambda folder: MultiVectorEncoder(str(layouts.late_interaction(folder / "m")), device="cpu"),
    "hybrid": lambda folder: Hybrid(),
}


@pytest.mark.parametrize("name", MODELS)
def test_results_keep_ranks_of_all_modes(tmp_path, name, capsys):
    task = str(small_task(tmp_path))
    model = MODELS[name](tmp_path)
    named = {} if name == "hybrid" else {"name": "tests/other"}
    results = hbt_bench.evaluate(model, task, tmp_path / "results", **named)
    assert [result.mode for result in results] == ["mono", "cross", "multi"]
    hbt_bench.evaluate(TestEncoder(hashed(8), "tests/dense"), task, tmp_path / "results")
    for result in results:
        stored = result.stored_ranks()
        ranks = stored.ranks.pool if result.mode == "multi" else stored.ranks.block
        used = ranks[ranks < 10**6]
        assert len(used)
        assert used.min() >= 1
        assert result.depth is None
        assert result.intervals["AP"][0] <= result.scores["AP"] <= result.intervals["AP"][1]
    report = hbt_bench.bias(results[2])
    assert report.diagnosis
    label = "tests/hybrid" if name == "hybrid" else "tests/other"
    assert run(["compare", label, "tests/dense", "--results", str(tmp_path / "results"), "--tasks", "small-multi",
                "--task-dir", str(tmp_path), "--samples", "99", "--resamples", "99"]) == 0  # fmt: skip
    assert "rank_distance" in capsys.readouterr().out


def test_prediction_folder_keeps_ranks_and_is_a_run(tmp_path):
    encoder = TestEncoder(hashed(8), "tests/dense")
    path = str(small_task(tmp_path))
    [task] = get_tasks(f"{path}")[2:]
    mteb.evaluate(encoder, task, cache=None, prediction_folder=tmp_path / "predictions", co2_tracker=False)
    assert task.kept_ranks is not None
    [file] = (tmp_path / "predictions").rglob("*.json")
    expected = hbt_bench.evaluate(encoder, path, tmp_path / "results")[2]
    [selection] = hbt_bench.select_tasks(path)
    multi = [replace(selection, modes=("multi",))]
    [scored] = score_selections([str(file)], multi, tmp_path / "results", "me/run", RunRules(verify=True))
    assert np.array_equal(scored.stored_ranks().ranks.pool, expected.stored_ranks().ranks.pool)
    assert np.array_equal(task.kept_ranks[1].pool, expected.stored_ranks().ranks.pool)


class Lengths:
    """A cross-encoder that prefers documents as long as the query."""

    def predict(self, pairs, **options):
        return np.array([-abs(len(query) - len(document)) for query, document in pairs])


def test_reranked_run_has_the_candidates_of_the_first(tmp_path):
    collection = hbt_bench.select_tasks("cldr-facts-multi")[0].spec.load(LANGUAGES)
    generator = np.random.default_rng(1)
    names = np.array([document.id for document in collection.documents])
    first = {
        query.id: dict(zip(names[generator.permutation(len(names))[:8]].tolist(), range(8, 0, -1), strict=True))
        for query in collection.queries
    }
    made = hbt_bench.rerank(Lengths(), first, "cldr-facts-multi", 5, languages=LANGUAGES)
    texts = {document.id: document.text for document in collection.documents}
    query = collection.queries[3]
    kept = list(first[query.id])[:5]
    assert made["multi"][query.id] == {name: -abs(len(query.text) - len(texts[name])) for name in kept}
    [result] = hbt_bench.score(made, "cldr-facts-multi", tmp_path, name="me/re", languages=LANGUAGES)
    assert result.depth == 5
    assert "AP" not in result.scores
    for model, given, message in (
        (Lengths(), {"x": {"y": 1.0}}, "the run has the id 'x', which is not of cldr-facts"),
        (object(), first, "object has no `predict`"),
        (Lengths(), pd.DataFrame({"query": ["x"], "document": ["y"], "rank": [1]}), "has no scores: add the column"),
    ):
        with pytest.raises((DataError, UsageError), match=message):
            hbt_bench.rerank(model, given, "cldr-facts-multi", languages=LANGUAGES)
    for depth in (0, 1.5):
        with pytest.raises(UsageError, match=f"depth is {depth}, but must be a whole number from 1"):
            hbt_bench.rerank(Lengths(), first, "cldr-facts-multi", depth, languages=LANGUAGES)


class Reranker:
    """A cross-encoder that counts the pairs it is given, and returns `scores` of their number."""

    def __init__(self, scores):
        self.scores = scores
        self.pairs = 0

    def predict(self, pairs, **options):
        self.pairs += len(pairs)
        return self.scores(len(pairs))


@pytest.fixture(scope="module")
def candidates():
    """Return a run with three documents of the first two queries."""
    collection = hbt_bench.select_tasks("cldr-facts-multi")[0].spec.load(LANGUAGES)
    documents = [document.id for document in collection.documents[:3]]
    rows = [(query.id, name, 1.0) for query in collection.queries[:2] for name in documents]
    return pd.DataFrame(rows, columns=["query", "document", "score"])


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (lambda count: np.ones((count, 2)), r"gave an array of shape \(2, 2\) for 2 pairs of texts: give a model"),
        (lambda count: np.ones(1), r"gave an array of shape \(1,\) for 2 pairs"),
        (lambda count: np.full(count, np.nan), "gave NaN or infinity for the query"),
    ],
)
def test_scores_of_another_form_are_refused_after_two_pairs(candidates, scores, message):
    model = Reranker(scores)
    with pytest.raises(ModelError, match=message):
        hbt_bench.rerank(model, candidates, "cldr-facts-multi", languages=LANGUAGES)
    assert model.pairs == 2


def test_column_of_scores_is_taken(candidates):
    column = Reranker(lambda count: np.arange(count)[:, None])
    made = hbt_bench.rerank(column, candidates, "cldr-facts-multi", languages=LANGUAGES)
    assert [list(documents.values()) for documents in made["multi"].values()] == [[0, 1, 2], [3, 4, 5]]


def test_repeated_candidate_is_refused(candidates):
    twice = pd.concat([candidates, candidates[:1]])
    with pytest.raises(DataError, match=r"\(multi\) has the document '.*' twice for the query '.*': keep one"):
        hbt_bench.rerank(Lengths(), twice, "cldr-facts-multi", languages=LANGUAGES)


def test_tasks_are_not_converted_to_reranking():
    message = "cldr-facts-multi.* ranks whole collections.*hbt_bench.rerank"
    with pytest.raises(UsageError, match=message):
        mteb.get_task("CldrFactsMultilingualRetrieval").convert_to_reranking("predictions")
    with pytest.raises(UsageError, match=message):
        get_tasks("cldr-facts-multi", LANGUAGES)[0].convert_to_reranking("predictions")
