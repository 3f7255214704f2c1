"""Pooled tasks of MTEB, on stand-ins with the layout of the hub's data sets that MTEB's loaders read."""

from __future__ import annotations

import zlib
from collections import Counter

import mteb
import numpy as np
import pytest

from hbt_bench.data import mteb_reader
from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.data.records import read_rows
from hbt_bench.errors import DataError, UsageError
from hbt_bench.measures.bias import Bias
from hbt_bench.measures.scores import bias_scores
from hbt_bench.mteb.tasks import ParallelRetrieval, SharedPass
from hbt_bench.tasks.registry import TaskRegistry, shipped_folder
from hbt_bench.tasks.task import TaskSpec
from tests.factories import TestEncoder, hashed, hub_data_set, retrieval_configs


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """Let the loaders find a task's data set in a folder."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")
    original = mteb_reader._task

    def put(configs):
        folder = hub_data_set(tmp_path / "data", configs)

        def task(name):
            copy = original(name)
            dataset = {**copy.metadata.dataset, "path": str(folder)}
            copy.metadata = copy.metadata.model_copy(update={"dataset": dataset})
            return copy

        monkeypatch.setattr(mteb_reader, "_task", task)
        return folder

    return put


def spec(**source):
    return TaskSpec.model_validate({"name": "pool", "source": {"kind": "mteb", **source}})


BELEBELE = {
    "deu_Latn": [("l2", 1, "Wo?", "Zwei."), ("l1", 1, "Wer?", "Eins."), ("l1", 2, "Wie?", "Eins.")],
    "eng_Latn": [("l1", 1, "Who?", "One."), ("l1", 2, "How?", "One."), ("l2", 1, "Where?", "Two.")],
    "swh_Latn": [("l1", 1, "Nani?", "Moja."), ("l1", 2, "Vipi?", "Moja."), ("l2", 1, "Wapi?", "Mbili.")],
}


@pytest.fixture
def belebele(stand_in):
    def rows(label):
        return [
            {"link": link, "question_number": number, "question": question, "flores_passage": passage, "dialect": label}
            for link, number, question, passage in BELEBELE[label]
        ]

    return stand_in({label: {"test": rows(label)} for label in BELEBELE})


def test_belebele_is_pooled_by_question_number(belebele):
    pool = spec(task="BelebeleRetrieval", parallel="documents", languages=["de", "en", "sw"]).load()
    names = {"de": "deu_Latn", "en": "eng_Latn", "sw": "swh_Latn"}
    queries, documents, relevant = [], {}, {}
    for code, label in names.items():
        for link, number, question, passage in BELEBELE[label]:
            queries.append(Query(f"{code}-q-{link}/{number}", code, question, f"{link}/{number}"))
            documents[f"{code}-d-{link}"] = Document(f"{code}-d-{link}", code, passage)
            relevant[f"{code}-q-{link}/{number}"] = {f"{other}-d-{link}": 1 for other in names}
    by_hand = Collection.from_records("pool", queries, documents.values(), relevant)
    assert pool.fingerprint == by_hand.fingerprint
    # German has its rows in another order, so that MTEB's numbers would pair other questions
    questions = {query.id: query.question for query in pool.queries}
    assert questions["de-q-l1/1"] == questions["en-q-l1/1"] == questions["sw-q-l1/1"] == "l1/1"


def test_pool_has_scores_of_mteb_subsets(belebele):
    pool = spec(task="BelebeleRetrieval", parallel="documents", languages=["de", "en"])
    model = TestEncoder(hashed())
    shared = SharedPass(pool, pool.load())
    mono = mteb.evaluate(model, ParallelRetrieval(shared, "mono"), cache=None, co2_tracker=False)
    ours = {entry["hf_subset"]: entry for entry in mono.task_results[0].scores["test"]}
    task = mteb_reader._task("BelebeleRetrieval")
    task.hf_subsets = ["deu_Latn-deu_Latn", "eng_Latn-eng_Latn"]
    theirs = {
        entry["hf_subset"]: entry
        for entry in mteb.evaluate(model, task, cache=None, co2_tracker=False).task_results[0].scores["test"]
    }
    for code, subset in (("de", "deu_Latn-deu_Latn"), ("en", "eng_Latn-eng_Latn")):
        for key in ("ndcg_at_10", "map_at_10", "recall_at_1", "mrr_at_10"):
            assert ours[code][key] == pytest.approx(theirs[subset][key], abs=1e-5)
    assert 0 < ours["de"]["ndcg_at_10"] < 1
    # MTEB lacks a pool of all languages with the bias
    multi = mteb.evaluate(model, ParallelRetrieval(shared, "multi"), cache=None, co2_tracker=False)
    assert {"rank_distance", "same_language_excess@10"} <= set(multi.task_results[0].scores["test"][0])


def test_only_requested_subsets_are_loaded(belebele):
    task = spec(task="BelebeleRetrieval", parallel="documents", languages=["de", "en", "sw"])
    (belebele / "swh_Latn" / "test.jsonl").unlink()
    assert task.load(["de", "en"]).languages == ("de", "en")
    with pytest.raises(DataError, match="cannot load the data set"):
        task.load(["de", "sw"])


def miracl(stand_in):
    return stand_in(
        retrieval_configs(
            "sw", "dev", {"1": "Nani?"}, {"1#0": "Moja.", "1#1": "Mbili."}, [("1", "1#0", 1), ("1", "1#1", 0)]
        )
        | retrieval_configs(
            "yo", "dev", {"1": "Tani?"}, {"1#0": "Kan.", "1#1": "Meji."}, [("1", "1#0", 1), ("1", "1#1", 1)]
        )
    )


def test_ids_of_miracl_are_unrelated_across_languages(stand_in):
    miracl(stand_in)
    task = spec(task="MIRACLRetrieval", split="dev", languages=["sw", "yo"])
    assert task.modes == ("mono", "multi")
    pool = task.load()
    assert not pool.parallel
    assert len(set(pool.questions.tolist())) == 2
    assert [pool.relevant(row) for row in range(2)] == [
        {"sw-d-1#0": 1},
        {"yo-d-1#0": 1, "yo-d-1#1": 1},
    ]
    shared = SharedPass(task, pool)
    results = mteb.evaluate(TestEncoder(hashed()), ParallelRetrieval(shared, "multi"), cache=None, co2_tracker=False)
    entry = {entry["hf_subset"]: entry for entry in results.task_results[0].scores["test"]}["yo-multi"]
    assert "rank_distance" not in entry
    assert "remove_same_language" not in entry
    assert "same_language_excess@10" in entry
    with pytest.raises(DataError, match="rank distance"):
        Bias(pool, shared.ranks).rank_distance()
    assert "rank_distance" not in bias_scores(Bias(pool, shared.ranks))["yo"]


def test_parallel_topics_share_documents(stand_in):
    stand_in(
        retrieval_configs("fas", "test", {"7": "A?", "8": "B?"}, {"x": "a", "y": "b"}, [("7", "x", 3), ("8", "y", 1)])
        | retrieval_configs("rus", "test", {"7": "C?"}, {"x": "c", "z": "d"}, [("7", "z", 1), ("7", "x", 0)])
    )
    pool = spec(task="NeuCLIR2023Retrieval", parallel="queries", languages={"fa": "fas", "ru": "rus"}).load()
    assert [(query.id, query.question) for query in pool.queries] == [
        ("fa-q-7", "7"),
        ("fa-q-8", "8"),
        ("ru-q-7", "7"),
    ]
    assert pool.relevant(0) == pool.relevant(2) == {"fa-d-x": 3, "ru-d-z": 1}
    assert not pool.parallel  # the documents are no translations


def test_neuclir_pool_equals_collection_by_hand(stand_in):
    """All Russian documents are judged 0 for topic 8, and its Russian version searches the pool all the same."""
    topics = {"fas": {"7": "A?", "8": "B?", "9": "C?"}, "rus": {"7": "D?", "8": "E?", "9": "F?"}, "zho": {"8": "G?"}}
    texts = {"fas": {"x": "a", "y": "b"}, "rus": {"x": "c", "z": "d"}, "zho": {"w": "e"}}
    grades = {
        "fas": [("7", "x", 3), ("7", "y", 0), ("8", "y", 1), ("9", "x", 0)],
        "rus": [("7", "z", 1), ("8", "x", 0), ("8", "z", 0), ("9", "z", 0)],
        "zho": [("8", "w", 2)],
    }
    stand_in(
        {
            k: v
            for code in topics
            for k, v in retrieval_configs(code, "test", topics[code], texts[code], grades[code]).items()
        }
    )
    codes = {"fas": "fa", "rus": "ru", "zho": "zh"}
    pool = spec(
        task="NeuCLIR2023Retrieval", parallel="queries", languages={"fa": "fas", "ru": "rus", "zh": "zho"}
    ).load()
    relevant = {"7": {"fa-d-x": 3, "ru-d-z": 1}, "8": {"fa-d-y": 1, "zh-d-w": 2}}
    queries = [
        Query(f"{codes[label]}-q-{topic}", codes[label], text, topic)
        for label in topics
        for topic, text in topics[label].items()
        if topic != "9"  # without an answer in any language
    ]
    documents = [
        Document(f"{codes[label]}-d-{key}", codes[label], text) for label in texts for key, text in texts[label].items()
    ]
    by_hand = Collection.from_records(
        "pool", queries, documents, {query.id: relevant[query.question] for query in queries}, parallel=False
    )
    assert [query.id for query in pool.queries] == ["fa-q-7", "fa-q-8", "ru-q-7", "ru-q-8", "zh-q-8"]
    assert pool.fingerprint == by_hand.fingerprint


@pytest.mark.parametrize("ignore", [True, False])
def test_own_documents_follow_the_task(stand_in, monkeypatch, ignore):
    """Every mono score is that of MTEB, whose rule is by id: text "2" is not the text of query "2"."""
    data = {}
    for code in ("sw", "yo"):
        texts = {str(number): f"{code} text {number}" for number in range(6)}
        queries = {"1": texts["1"], "2": f"{code} query", "3": texts["3"], "x": texts["5"]}
        qrels = [("1", "2", 1), ("2", "4", 1), ("3", "3", 1), ("3", "0", 1), ("x", "5", 1)]
        data |= retrieval_configs(code, "dev", queries, texts, qrels)
    stand_in(data)
    task = mteb_reader._task("MIRACLRetrieval")
    monkeypatch.setattr(type(task), "ignore_identical_ids", ignore)
    task.hf_subsets = ["sw", "yo"]
    source = {"task": "MIRACLRetrieval", "split": "dev", "languages": ["sw", "yo"]}
    pool, model = spec(**source), TestEncoder(hashed())
    shared = SharedPass(pool, pool.load())
    assert (shared.collection.copies is not None) is ignore
    ours, theirs = (
        {
            entry["hf_subset"]: entry
            for entries in mteb.evaluate(model, each, cache=None, co2_tracker=False).task_results[0].scores.values()
            for entry in entries
        }
        for each in (ParallelRetrieval(shared, "mono"), task)
    )
    for code in ("sw", "yo"):
        for key in ("ndcg_at_10", "map_at_10", "recall_at_1", "mrr_at_10"):
            assert ours[code][key] == pytest.approx(theirs[code][key], abs=1e-5)
    other = spec(**source, ignore_identical_ids=not ignore).load()
    assert (other.copies is not None) is not ignore


def mlqa(stand_in, question="a" * 40):
    parts = {}
    texts = {"deu": {"D1": "eins", "D2": "zwei"}, "eng": {"E1": "one", "E2": "two"}}
    questions = {"deu": "Wer?", "eng": "Who?"}
    answers = {"deu": "D1", "eng": "E1"}
    for documents in texts:
        for queries in questions:
            numbered = dict(zip(("0", "1"), reversed(texts[documents].values()), strict=True))
            key = next(key for key, text in numbered.items() if text == texts[documents][answers[documents]])
            if queries != documents:  # the corpora of subsets differ, and are numbered each for itself
                numbered, key = {"0": numbered[key]}, "0"
            parts |= retrieval_configs(
                f"{documents}-{queries}", "test", {question: questions[queries]}, numbered, [(question, key, 1)]
            )
    return stand_in(parts)


def test_language_pairs_of_mlqa(stand_in):
    mlqa(stand_in)
    source = {"task": "MLQARetrieval", "languages": ["de", "en"], "parallel": "documents", "split": "test"}
    with pytest.raises(DataError, match="`pairs: query-document` or `pairs: document-query`"):
        spec(**source).load()
    pool = spec(**source, pairs="document-query", id_digits=40).load()
    assert sorted(document.text for document in pool.documents) == ["eins", "one", "two", "zwei"]
    for row, query in enumerate(pool.queries):
        texts = {document.id: document.text for document in pool.documents}
        assert {texts[key] for key in pool.relevant(row)} == {"eins", "one"}
        assert query.text == {"de": "Wer?", "en": "Who?"}[query.language]


def test_renumbered_ids_are_refused(stand_in):
    mlqa(stand_in, question="17")
    source = {"task": "MLQARetrieval", "languages": ["de", "en"], "parallel": "documents", "split": "test"}
    with pytest.raises(DataError, match=r"MLQARetrieval has the query id '17', .* 40 hexadecimal digits"):
        spec(**source, pairs="document-query", id_digits=40).load()


def test_parts_without_shared_ids_are_refused(stand_in):
    stand_in(
        retrieval_configs("deu-deu", "test", {"1": "Wer?"}, {"0": "eins"}, [("1", "0", 1)])
        | retrieval_configs("deu-eng", "test", {"1": "Who?"}, {"0": "eins"}, [("1", "0", 1)])
        | retrieval_configs("eng-deu", "test", {"1": "Was?"}, {"0": "one"}, [("1", "0", 1)])
        | retrieval_configs("eng-eng", "test", {"1": "Who?"}, {"0": "one"}, [("1", "0", 1)])
    )
    source = {"task": "MLQARetrieval", "languages": ["de", "en"], "parallel": "documents", "split": "test"}
    with pytest.raises(DataError, match="pool has the query id '1' with two texts in 'de': its parts do not share ids"):
        spec(**source, pairs="document-query").load()


SENTENCES = {
    "deu_Latn": ["eins", "zwei", "drei", "vier"],
    "eng_Latn": ["one", "two", "three", "four"],
    "swh_Latn": ["moja", "mbili", "tatu", "nne"],
}


def flores(stand_in):
    rows = [dict(zip(SENTENCES, texts, strict=True)) for texts in zip(*SENTENCES.values(), strict=True)]
    return stand_in({"default": {"devtest": rows}})


def test_bitext_is_retrieval_of_translations(stand_in):
    flores(stand_in)
    pool = spec(task="FloresBitextMining", languages=["de", "en", "sw"], split="devtest").load()
    assert (len(pool.queries), len(pool.documents)) == (12, 12)
    assert pool.relevant(0) == {"en-0": 1, "sw-0": 1}
    assert pool.documents[pool.copies[0, 0]].text == pool.queries[0].text == "eins"


def test_bitext_pool_has_mteb_accuracy_and_f1(stand_in):
    flores(stand_in)
    task_spec = spec(task="FloresBitextMining", languages=["de", "en", "sw"], split="devtest")
    assert task_spec.modes == ("cross", "multi")
    # English words point at their German neighbours, so that the predictions are a permutation: there F1 is accuracy
    index = {text: number for texts in SENTENCES.values() for number, text in enumerate(texts)}
    moved = {"one": 1, "two": 0, "three": 2, "four": 3, "moja": 1, "mbili": 2, "tatu": 0, "nne": 3}

    def vector(text, role):
        return np.eye(4, dtype=np.float32)[moved.get(text, index[text])]

    model = TestEncoder(vector)
    shared = SharedPass(task_spec, task_spec.load())
    cross = mteb.evaluate(model, ParallelRetrieval(shared, "cross"), cache=None, co2_tracker=False)
    ours = {entry["hf_subset"]: entry["R@1"] for entry in cross.task_results[0].scores["test"]}
    task = mteb_reader._task("FloresBitextMining")
    task.hf_subsets = ["eng_Latn-deu_Latn", "swh_Latn-eng_Latn", "deu_Latn-swh_Latn"]
    encoder = TestEncoder(lambda text, role: vector(text, role))
    encoder.encode = lambda inputs, **kwargs: np.stack([vector(text, "") for batch in inputs for text in batch["text"]])
    theirs = mteb.evaluate(encoder, task, cache=None, co2_tracker=False).task_results[0].scores["devtest"]
    expected = {"eng_Latn-deu_Latn": 0.5, "swh_Latn-eng_Latn": 0.5, "deu_Latn-swh_Latn": 0.25}
    assert {entry["hf_subset"]: entry["f1"] for entry in theirs} == pytest.approx(expected)
    assert {entry["hf_subset"]: entry["accuracy"] for entry in theirs} == pytest.approx(expected)
    assert [ours["en-de"], ours["sw-en"], ours["de-sw"]] == list(expected.values())


def test_pairs_share_equal_english_sentences(stand_in):
    stand_in(
        {
            "deu-eng": {
                "test": [{"sentence1": "Hallo", "sentence2": "Hello"}, {"sentence1": "Ja", "sentence2": "Yes"}]
            },
            "swh-eng": {"test": [{"sentence1": "Habari", "sentence2": "Hello"}]},
        }
    )
    monkey = mteb_reader._task("Tatoeba")
    monkey.fast_loading = False
    pool = mteb_reader._bitext("pool", monkey, {"de": "deu-Latn", "en": "eng-Latn", "sw": "swh-Latn"}, "test")
    texts = {document.id: document.text for document in pool.documents}
    assert sorted(texts.values()) == ["Habari", "Hallo", "Hello", "Ja", "Yes"]
    answers = {query.text: {texts[key] for key in pool.relevant(row)} for row, query in enumerate(pool.queries)}
    assert answers["Hello"] == {"Hallo", "Habari"}
    assert answers["Habari"] == {"Hello", "Hallo"}  # by way of the English sentence that they share
    assert answers["Ja"] == {"Yes"}


@pytest.mark.parametrize(
    ("source", "error", "text"),
    [
        ({"task": "NoSuchTask"}, UsageError, "'NoSuchTask' not found"),
        ({"task": "XQuADRetrieval", "languages": ["sw"]}, DataError, "has no subset or language 'sw' for 'sw'"),
        ({"task": "XQuADRetrieval", "split": "test"}, DataError, r"has no split 'test' \(it has validation\)"),
        ({"task": "MTOPIntentClassification"}, DataError, "is a Classification task"),
    ],
)
def test_tasks_that_cannot_be_pooled(source, error, text):
    with pytest.raises(error, match=text):
        spec(**source).load()


def test_unreachable_data_is_one_sentence(stand_in, tmp_path):
    stand_in({})
    with pytest.raises(DataError) as caught:
        spec(task="XQuADRetrieval", languages=["de"]).load()
    assert str(caught.value).startswith(f"cannot load the data set {tmp_path}")
    assert "connect to the network once" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_languages_and_metadata_come_from_mteb():
    task = spec(task="XQuADRetrieval")
    assert task.languages == ("ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh")
    assert task.about.license == "cc-by-sa-4.0"
    assert "artetxe" in task.about.citation.lower()


#: Codes of ours with those of FLORES; the data of `tasks/ood/flores-ood.yaml`.
REAL = {"de": "deu_Latn", "en": "eng_Latn", "sw": "swh_Latn", "yo": "yor_Latn"}


@pytest.fixture
def real_flores(stand_in, data_dir):
    """1,545 sentences of FLORES-200 as MTEB's data set has them, and the same from the local copy's definition."""
    rows = [row.fields["texts"] for row in read_rows(data_dir / "ood" / "flores200-sib200.jsonl.gz")]
    stand_in({"default": {"devtest": [{label: row[code] for code, label in REAL.items()} for row in rows]}})
    return rows, flores_ood().load(list(REAL), data_dir)


def flores_ood():
    return TaskRegistry([shipped_folder() / "ood"]).specs["flores-ood"]


def bitext_scores(encode, pairs):
    """Return the scores of MTEB's bitext mining."""
    task = mteb_reader._task("FloresBitextMining")
    task.hf_subsets = ["-".join(REAL[code] for code in pair) for pair in pairs]
    encoder = TestEncoder(lambda text, role: encode(text))
    encoder.encode = lambda inputs, **kwargs: np.stack([encode(text) for batch in inputs for text in batch["text"]])
    entries = mteb.evaluate(encoder, task, cache=None, co2_tracker=False).task_results[0].scores["devtest"]
    return {entry["hf_subset"]: entry for entry in entries}


def cross_scores(spec, collection, encode):
    model = TestEncoder(lambda text, role: encode(text))
    cross = mteb.evaluate(
        model, ParallelRetrieval(SharedPass(spec, collection), "cross"), cache=None, co2_tracker=False
    )
    return {entry["hf_subset"]: entry["R@1"] for entry in cross.task_results[0].scores["test"]}


def test_pool_of_real_sentences_equals_local_copy(real_flores):
    _, local = real_flores
    pool = spec(task="FloresBitextMining", languages=list(REAL), split="devtest").load()
    assert (len(pool.queries), len(pool.documents)) == (4 * 1545, 4 * 1545)
    assert [query.text for query in pool.queries] == [query.text for query in local.queries]
    assert np.array_equal(pool.qrels.documents, local.qrels.documents)
    assert np.array_equal(pool.copies, local.copies)


def hashed_words(text):
    """Return hashed words, which match if a name or a number has the same spelling."""
    vector = np.full(512, 1e-3, dtype=np.float32)
    for word in text.casefold().split():
        vector[zlib.crc32(word.encode()) % 512] += 1
    return vector


def test_real_bitext_has_mteb_accuracy(real_flores):
    """Each direction's R@1 is the accuracy of MTEB's bitext mining, for an encoder that is sometimes right."""
    _, local = real_flores
    ours = cross_scores(flores_ood(), local, hashed_words)
    pairs = [("en", "de"), ("sw", "en"), ("de", "yo"), ("yo", "sw")]
    theirs = bitext_scores(hashed_words, pairs)
    for pair in pairs:
        accuracy = theirs["-".join(REAL[code] for code in pair)]["accuracy"]
        assert ours["-".join(pair)] == pytest.approx(accuracy, abs=1e-6)
        assert 0.01 < accuracy < 0.9


def test_real_bitext_has_mteb_f1(stand_in, data_dir):
    """MTEB's F1 is weighted over the predicted sentences: it is the accuracy when each is predicted once."""
    rows = [row.fields["texts"] for row in read_rows(data_dir / "ood" / "flores200-sib200.jsonl.gz")]
    counts = Counter(row[code] for row in rows for code in REAL)
    rows = [row for row in rows if all(counts[row[code]] == 1 for code in REAL)]  # equal sentences would tie
    assert len(rows) == 1499
    stand_in({"default": {"devtest": [{label: row[code] for code, label in REAL.items()} for row in rows]}})
    flores_spec = spec(task="FloresBitextMining", languages=list(REAL), split="devtest")
    chance = np.random.default_rng(6)
    points = chance.standard_normal((len(rows), 128)).astype(np.float32)
    points_of = {}
    for share, code in zip((0.0, 0.1, 0.3, 0.6), REAL, strict=True):
        order = np.arange(len(rows))
        moved = chance.choice(len(rows), round(share * len(rows)), replace=False)
        order[moved] = np.roll(moved, 1)
        for number, row in enumerate(rows):
            points_of[row[code]] = order[number]

    def encode(text):
        return points[points_of[text]]

    ours = cross_scores(flores_spec, flores_spec.load(), encode)
    pairs = [("de", "en"), ("en", "sw"), ("yo", "de")]
    theirs = bitext_scores(encode, pairs)
    expected = {("de", "en"): 0.9, ("yo", "de"): 0.4}
    for pair in pairs:
        f1 = theirs["-".join(REAL[code] for code in pair)]["f1"]
        assert ours["-".join(pair)] == pytest.approx(f1, abs=1e-6)
        assert f1 == pytest.approx(expected.get(pair, f1), abs=0.001)
