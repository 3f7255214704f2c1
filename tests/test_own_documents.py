"""Queries that are documents: their own text is left out as in BEIR and MTEB, in all modes and sources."""

from __future__ import annotations

import json
from dataclasses import replace

import mteb
import numpy as np
import pytest
import pytrec_eval
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models import SearchEncoderWrapper

from benchmarks.fuzz_ranks import Chunked
from hbt_bench.checks.task_file import Validation
from hbt_bench.data.own_documents import same_text
from hbt_bench.measures.bias import Bias
from hbt_bench.measures.ranking import Ranking
from hbt_bench.mteb.tasks import ParallelRetrieval, SharedPass
from hbt_bench.ranking.ranks import UNRETRIEVED, rank
from hbt_bench.ranking.subsets import Subset, SubsetQrels
from hbt_bench.results.ranks_file import StoredRanks
from hbt_bench.tasks.task import TaskSpec
from tests.factories import Matrix, TestEncoder, hashed, random_collection, write_beir

#: Queries that are documents: "own" has another relevant document, "judged" has itself and another, and "only" has no
#: relevant document but itself. The other queries are not documents.
QUERIES = {"own": "alpha beta", "judged": "gamma delta", "only": "epsilon zeta", "far": "eta", "near": "theta"}
CORPUS = {key: text for key, text in QUERIES.items() if key in ("own", "judged", "only")} | {
    f"d{number}": f"document {number}" for number in range(6)
}
QRELS = {"own": {"d0": 1}, "judged": {"judged": 2, "d1": 1}, "only": {"only": 1}, "far": {"d2": 1}, "near": {"d3": 1}}
KEYS = [f"{name}_at_{k}" for name in ("ndcg", "map", "recall", "precision", "mrr") for k in (1, 3, 10)]


def task(folder, **source):
    """Return the definition of a BEIR folder, or of a folder for each language."""
    content = {"name": "mine", "source": {"kind": "beir", "path": "b", "languages": ["en"], **source}}
    return TaskSpec.model_validate(content).in_folder(folder)


def evaluate(model, tasks):
    """Return the scores by subset, as `mteb.evaluate` gives them."""
    results = mteb.evaluate(model, tasks, cache=None, show_progress_bar=False, co2_tracker=False).task_results
    return {entry["hf_subset"]: entry for result in results for entries in result.scores.values() for entry in entries}


def mode(spec, name, shared=None):
    return ParallelRetrieval(shared or SharedPass(spec, spec.load()), name)


class Plain(AbsTaskRetrieval):
    """A task of MTEB over the same records, without any code of hbt-bench."""

    def __init__(self, subsets, ignore):
        self.metadata = TaskMetadata(
            name="Plain",
            description="Plain.",
            dataset={"path": "a/b", "revision": "1"},
            type="Retrieval",
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs={name: ["eng-Latn"] for name in subsets},
            main_score="ndcg_at_10",
        )
        self.ignore_identical_ids = ignore
        super().__init__()
        self.dataset = {
            name: {
                "test": {
                    "queries": Dataset.from_list([{"id": key, "text": text} for key, text in queries.items()]),
                    "corpus": Dataset.from_list(
                        [{"id": key, "title": "", "text": text} for key, text in corpus.items()]
                    ),
                    "relevant_docs": {key: dict(grades) for key, grades in qrels.items()},
                    "top_ranked": None,
                }
            }
            for name, (queries, corpus, qrels) in subsets.items()
        }
        self.data_loaded = True

    def unload_data(self):
        """Keep the records."""


@pytest.mark.parametrize("ignore", [True, False])
def test_scores_equal_mteb_for_both_rules(tmp_path, ignore):
    write_beir(tmp_path / "b", QUERIES, CORPUS, QRELS)
    model = TestEncoder(hashed())
    ours = evaluate(model, mode(task(tmp_path, ignore_identical_ids=ignore), "mono"))["en"]
    theirs = evaluate(model, Plain({"en": (QUERIES, CORPUS, QRELS)}, ignore))["en"]
    keys = (
        KEYS + ["nauc_ndcg_at_10_max", "nauc_map_at_10_std", "nauc_mrr_at_10_diff1"] * ignore
    )  # no ties at a score of 1
    assert {key: ours[key] for key in keys} == pytest.approx({key: theirs[key] for key in keys}, abs=1e-5)
    assert 0 < ours["map_at_10"] < 1


def test_search_models_get_the_same_scores(tmp_path):
    """A model that only searches is ranked by MTEB."""
    write_beir(tmp_path / "b", QUERIES, CORPUS, QRELS)
    spec, model = task(tmp_path, ignore_identical_ids=True), TestEncoder(hashed())
    ours = evaluate(model, mode(spec, "mono"))["en"]
    theirs = evaluate(SearchEncoderWrapper(model), mode(spec, "mono"))["en"]
    keys = [*KEYS, "AP", "RR", "nDCG@10", "nauc_ndcg_at_10_max"]
    assert {key: ours[key] for key in keys} == pytest.approx({key: theirs[key] for key in keys}, abs=1e-5)


def test_own_text_is_left_out_by_default(tmp_path, messages):
    """Both relevant documents are second to the query's own text, and first without it."""
    corpus = {"q1": "a b c", "q2": "d e f", "d1": "a b", "d2": "d e", "d3": "x y"}
    write_beir(tmp_path / "b", {"q1": "a b c", "q2": "d e f"}, corpus, {"q1": {"d1": 1}, "q2": {"d2": 1}})
    collection = task(tmp_path).load()
    assert collection.own_documents(0) == ["en-d-q1"]
    [message] = messages
    assert "2 have a document with the same id and text" in message
    assert "`ignore_identical_ids: false`" in message
    assert evaluate(LETTERS, mode(task(tmp_path), "mono"))["en"]["AP"] == 1
    assert evaluate(LETTERS, mode(task(tmp_path, ignore_identical_ids=False), "mono"))["en"]["AP"] == 0.5


def letters(text, role):
    """Return the counts of letters, so that texts with common words are similar."""
    return np.array([text.count(chr(code)) + 0.01 for code in range(97, 123)], np.float32)


LETTERS = TestEncoder(letters)


def test_ranks_equal_trec_eval_without_own_text(tmp_path):
    """The pool of a random collection, after the own documents are removed from the run."""
    generator = np.random.default_rng(5)
    texts = {f"t{number}": " ".join(generator.choice(list("abcdefgh"), 6)) for number in range(40)}
    queries = dict(list(texts.items())[:20])
    qrels = {
        query: {str(key): 1 for key in generator.choice([k for k in texts if k != query], 3, False)}
        for query in queries
    }
    write_beir(tmp_path / "b", queries, texts, qrels)
    collection = task(tmp_path).load()
    vectors = {key: letters(text, "") for key, text in texts.items()}
    scores = np.array([[np.dot(vectors[query], vectors[key]) for key in texts] for query in queries], np.float32)

    class Scorer:
        def scores(self, rows):
            return scores[rows]

    ranks, _ = rank(collection, Scorer())
    judged = SubsetQrels.from_collection(collection, Subset("en", "en"))
    ours = Ranking.from_ranks(collection, ranks, judged)
    run = {
        query: {key: float(scores[row, column]) for column, key in enumerate(texts) if key != query}
        for row, query in enumerate(queries)
    }
    found = pytrec_eval.RelevanceEvaluator(qrels, {"map", "ndcg_cut.10"}).evaluate(run)
    assert ours.average_precision() == pytest.approx([found[query]["map"] for query in queries])
    assert ours.ndcg(10) == pytest.approx([found[query]["ndcg_cut_10"] for query in queries])


def test_equal_ids_mean_nothing_if_texts_differ(tmp_path, messages):
    """Queries and documents are both numbered from 0, as in many data sets."""
    queries = {str(number): f"question {number}" for number in range(4)}
    corpus = {str(number): f"answer {number}" for number in range(6)}
    write_beir(tmp_path / "b", queries, corpus, {str(number): {str(number + 1): 1} for number in range(4)})
    collection = task(tmp_path).load()
    assert collection.copies is None
    assert messages == []
    by_id = task(tmp_path, ignore_identical_ids=True).load()
    assert [by_id.own_documents(row) for row in range(4)] == [[f"en-d-{number}"] for number in range(4)]
    assert by_id.fingerprint != collection.fingerprint


def test_document_that_is_judged_relevant_stays(tmp_path):
    """By default only, because the judgement states that the document is an answer."""
    write_beir(tmp_path / "b", QUERIES, CORPUS, QRELS)
    own = task(tmp_path).load()
    assert {own.queries[row].id: own.own_documents(row) for row in range(5)} == {
        "en-q-own": ["en-d-own"],
        **{f"en-q-{key}": [] for key in ("judged", "only", "far", "near")},
    }


def test_query_without_other_answer_scores_zero(tmp_path, messages):
    write_beir(tmp_path / "b", QUERIES, CORPUS, QRELS)
    spec = task(tmp_path, ignore_identical_ids=True)
    shared = SharedPass(spec, spec.load())
    [message] = messages
    assert "1 of the queries have no relevant document but that with their own id" in message
    evaluate(TestEncoder(hashed()), mode(spec, "mono", shared))
    collection = shared.collection
    row = [query.id for query in collection.queries].index("en-q-only")
    pair = collection.qrels.offsets[row]
    assert shared.ranks.pool[pair] == shared.ranks.block[pair] == UNRETRIEVED
    stored = StoredRanks(collection.fingerprint, collection, shared.ranks)
    stored.write(tmp_path / "ranks.npz")
    assert np.array_equal(StoredRanks.read(tmp_path / "ranks.npz").ranks.pool, shared.ranks.pool)
    judged = SubsetQrels.from_collection(collection, Subset("en", None))
    assert Ranking.from_ranks(collection, shared.ranks, judged).average_precision()[row] == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize(
    ("query", "texts", "same"),
    [
        ("Is it?", ["Title", "is  it?\n"], True),  # ArguAna's documents have titles, which its queries lack
        ("Title", ["Title", "The body."], True),  # CQADupstack's queries are titles
        ("ﬁne", ["fine"], True),
        ("a query, cleaned", ["A Query (cleaned)."], True),
        ("C++", ["C"], False),
        ("?", ["!"], False),
        ("Rome", ["Rome is a city."], False),
    ],
)
def test_texts_are_compared_without_case_and_punctuation(query, texts, same):
    assert same_text(query, texts) is same


def test_titles_are_compared_apart(tmp_path):
    corpus = {
        "1": {"title": "T", "text": "a b"},
        "2": {"title": "c d", "text": "more"},
        "3": {"title": None, "text": "e"},
    }
    write_beir(
        tmp_path / "b", {"1": "a b", "2": "c d", "3": "f"}, corpus, {str(n): {str(n % 3 + 1): 1} for n in (1, 2, 3)}
    )
    collection = task(tmp_path).load()
    assert [collection.own_documents(row) for row in range(3)] == [["en-d-1"], ["en-d-2"], []]


# Several languages

TOPICS = {"en": ["river", "bridge", "castle"], "de": ["fluss", "steg", "burg"]}


@pytest.fixture
def translated(tmp_path):
    """A set and its translation: each query is the document "tN-pro", and its answer is "tN-con"."""
    for code, words in TOPICS.items():
        corpus = {f"t{n}-{side}": f"{word} {side} {code}" for n, word in enumerate(words) for side in ("pro", "con")}
        queries = {key: text for key, text in corpus.items() if key.endswith("pro")}
        write_beir(tmp_path / "b" / code, queries, corpus, {key: {key.replace("pro", "con"): 1} for key in queries})
    return tmp_path


def meaning(text, role):
    """Return a vector of the topic, the same in all languages, with a little of the side and of the language."""
    word, side, code = text.split()
    vector = np.zeros(6, np.float32)
    vector[TOPICS[code].index(word)] = 1
    vector[3:] = [0.3 * (side == "pro"), 0.3 * (side == "con"), 0.05 * (code == "de")]
    return vector


@pytest.mark.parametrize("name", ["mono", "cross", "multi"])
def test_translations_of_own_text_are_left_out(translated, name):
    """The translation of the query has its id as well, and would be above the answer."""
    source = {"path": "b/{language}", "languages": ["de", "en"], "parallel": "documents"}
    spec, model = task(translated, **source), TestEncoder(meaning)
    collection = spec.load()
    assert collection.own_documents(0) == ["de-d-t0-pro", "en-d-t0-pro"]
    ours = evaluate(model, mode(spec, name))
    assert {subset: scores["AP"] for subset, scores in ours.items()} == dict.fromkeys(ours, 1)
    searched = evaluate(SearchEncoderWrapper(model), mode(spec, name))
    for subset, scores in ours.items():
        assert {key: searched[subset][key] for key in KEYS} == pytest.approx(
            {key: scores[key] for key in KEYS}, abs=1e-5
        )
    kept = evaluate(model, mode(task(translated, **source, ignore_identical_ids=False), name))
    assert max(scores["AP"] for scores in kept.values()) < 0.6


def test_unrelated_folders_leave_out_own_language_only(translated):
    source = {"path": "b/{language}", "languages": ["de", "en"], "parallel": "none"}
    collection = task(translated, **source).load()
    assert [collection.own_documents(row) for row in (0, 3)] == [["de-d-t0-pro"], ["en-d-t0-pro"]]
    topics = task(translated, **{**source, "parallel": "queries"}).load()
    assert topics.own_documents(0) == ["de-d-t0-pro", "en-d-t0-pro"]


def test_changes_of_a_collection_keep_own_documents(translated):
    spec = task(translated, path="b/{language}", languages=["de", "en"], parallel="documents")
    collection = spec.load()
    assert collection.restrict(["en"]).own_documents(0) == ["en-d-t0-pro"]
    assert collection.narrow(["en"], ["de"]).own_documents(0) == ["de-d-t0-pro"]
    changed = collection.with_queries({"en-q-t0-pro": "other"})
    assert np.array_equal(changed.copies, collection.copies)
    assert len({c.fingerprint for c in (collection, collection.restrict(["en"]), changed)}) == 3


def test_ids_of_another_language_need_the_key(tmp_path):
    """English queries and Swahili documents cannot have equal texts; MTEB leaves out equal ids."""
    write_beir(tmp_path / "b" / "sw", {"1": "x"}, {"1": "x", "2": "y"}, {"1": {"2": 1}})
    source = {"path": "b/{language}", "languages": ["sw"], "query_language": "en", "parallel": "none"}
    assert task(tmp_path, **source).load().copies is None
    assert task(tmp_path, **source, ignore_identical_ids=True).load().own_documents(0) == ["sw-d-1"]


# `validate`


def test_own_documents_are_validated(tmp_path):
    corpus = {"1": "a", "2": "other", "3": "third"}
    write_beir(tmp_path / "b", {"1": "a", "2": "b", "3": "c"}, corpus, {"1": {"2": 1}, "2": {"3": 1}, "3": {"3": 1}})
    source = {"kind": "beir", "path": "b", "languages": ["en"]}

    def message(**keys):
        (tmp_path / "mine.yaml").write_text(json.dumps({"name": "mine", "source": {**source, **keys}}))
        validation = Validation(tmp_path / "mine.yaml")
        validation._schema()
        validation._data()
        return validation._own_documents()

    default = message()
    assert default.startswith(
        "1 queries are documents too, and do not find themselves; 1 queries have the id of a document"
    )
    assert "set `ignore_identical_ids: true`" in default
    assert message(ignore_identical_ids=True) == "3 queries are documents too, and do not find themselves"
    assert message(ignore_identical_ids=False) == "2 queries have the id of a document, which stays a candidate"
    write_beir(tmp_path / "b", {"q": "a"}, corpus, {"q": {"2": 1}})
    assert message() == "none"


def test_chunks_leave_out_own_documents_that_are_judged():
    generator = np.random.default_rng(1)
    collection = random_collection(generator, queries=8, documents=30)
    first = collection.qrels.documents[collection.qrels.offsets[:-1]]
    copies = np.stack([first, generator.integers(0, 30, 8)], axis=1).astype(np.int32)
    collection = replace(collection, copies=copies)
    scores = generator.standard_normal((8, 30)).astype(np.float32)
    expected, _ = rank(collection, Matrix(scores), confidences=False)
    assert (expected.pool[collection.qrels.offsets[:-1]] == UNRETRIEVED).all()
    assert ((expected.pool == UNRETRIEVED) == collection.own_pairs).all()
    found, _ = rank(collection, Chunked(scores, 7, off=0.5), confidences=False)
    for name in ("pool", "block", "top"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
    bias = Bias(collection, expected)
    assert bias.max_rank().max() == 30
    assert np.isnan(bias.rank_distance()).all()
