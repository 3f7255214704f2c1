"""Build models, collections, results and recipes for tests."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import string
import sys
import threading
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.measures.bias import Bias
from hbt_bench.measures.ranking import Ranking
from hbt_bench.measures.scores import bias_scores, retrieval_scores
from hbt_bench.ranking.ranks import Ranks, rank
from hbt_bench.ranking.subsets import judged_subsets
from hbt_bench.results.scores import Intervals
from hbt_bench.results.store import Result, StoredRanks, write

#: The languages of small collections and runs.
LANGUAGES = ("de", "en", "sw")


class TestEncoder:
    """An MTEB encoder that calls a function of text and role for each vector, and counts texts by role."""

    __test__ = False

    def __init__(self, vector, name="tests/encoder", revision="1"):
        from mteb.models import ModelMeta

        self.vector = vector
        self.mteb_model_meta = ModelMeta.create_empty({"name": name, "revision": revision})
        self.encoded = Counter()

    def encode(self, inputs, *, task_metadata, hf_split, hf_subset, prompt_type=None, **kwargs):
        texts = [text for batch in inputs for text in batch["text"]]
        role = prompt_type.value
        self.encoded[role] += len(texts)
        return np.stack([self.vector(text, role) for text in texts])

    def similarity(self, embeddings1, embeddings2):
        from mteb.similarity_functions import cos_sim

        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1, embeddings2):
        raise AssertionError("not for retrieval")


def hashed(dimensions=8):
    """Return a function that makes a vector of the text's hash: reproducible, and without meaning."""

    def vector(text, role):
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
        return np.random.default_rng(seed).standard_normal(dimensions).astype(np.float32)

    return vector


def torch_random_model(folder, seed):
    """Save a tiny sentence-transformers model with random static embeddings; return the folder."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    alphabet = {chr(code): code - 32 for code in range(32, 1200)}
    tokenizer = Tokenizer(models.WordLevel({**alphabet, "[UNK]": len(alphabet)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    weights = torch.randn(len(alphabet) + 1, 16, generator=torch.Generator().manual_seed(seed)).numpy()
    module = StaticEmbedding(tokenizer, embedding_weights=weights)
    SentenceTransformer(modules=[module], device="cpu", similarity_fn_name="cosine").save(
        str(folder), create_model_card=False
    )
    return folder


def plain_bert(folder):
    """Save a tiny BERT as transformers does, without the modules of sentence-transformers; return the folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = ["[PAD]", "[UNK]", *string.ascii_letters]
    words = models.WordLevel({token: row for row, token in enumerate(vocabulary)}, unk_token="[UNK]")
    tokenizer = Tokenizer(words)
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = BertConfig(vocab_size=len(vocabulary), **sizes)
    BertModel(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


class Matrix:
    """A scorer that reads a matrix."""

    def __init__(self, scores):
        self.matrix = scores

    def scores(self, rows):
        return self.matrix[rows]


def random_collection(generator, queries=20, documents=50, graded=False):
    """Return queries and documents in random languages, 1 to 6 relevant documents a query, ids in random order."""
    languages = ("ar", "de", "en", "zh")
    names = generator.permutation(documents)
    docs = [Document(f"d{name}", str(generator.choice(languages)), f"text {name}") for name in names]
    asks = [Query(f"q{row}", str(generator.choice(languages)), f"ask {row}", f"q{row}") for row in range(queries)]
    relevant = {}
    for query in asks:
        columns = generator.choice(documents, size=generator.integers(1, min(7, documents + 1)), replace=False)
        relevant[query.id] = {docs[d].id: int(generator.integers(1, 4)) if graded else 1 for d in columns}
    return Collection.from_records("random", asks, docs, relevant)


def random_scores(generator, collection, levels):
    """Return scores with `levels` distinct values (few levels make many ties), or any floats if it is None."""
    shape = (len(collection.queries), len(collection.documents))
    scores = generator.standard_normal(shape) if levels is None else generator.integers(0, levels, shape) - levels // 2
    return scores.astype(np.float32)


def parallel_collection(questions, languages=LANGUAGES, extra=0):
    """Return questions in all languages, one document each, and `extra` unrelated documents a language."""
    queries, documents, relevant = [], [], {}
    for question in range(questions):
        for code in languages:
            queries.append(Query(f"{code}-q{question:03d}", code, f"q {code} {question}", f"q{question:03d}"))
            documents.append(Document(f"{code}-d{question:03d}", code, f"d {code} {question}"))
            relevant[f"{code}-q{question:03d}"] = {f"{other}-d{question:03d}": 1 for other in languages}
    documents += [Document(f"{code}-x{n:03d}", code, f"x {code} {n}") for code in languages for n in range(extra)]
    return Collection.from_records("parallel", queries, documents, relevant)


def bias_of_orders(collection, orders):
    """Return the bias of rankings: one list of document ids a query, best first, in the collection's order."""
    column = {document.id: index for index, document in enumerate(collection.documents)}
    matrix = np.full((len(collection.queries), len(collection.documents)), -1000, np.float32)
    for row, order in enumerate(orders):
        for depth, name in enumerate(order):
            matrix[row, column[name]] = -depth
    return Bias(collection, rank(collection, Matrix(matrix), confidences=False)[0])


def six_queries():
    """Return the bias of six queries over nine documents: two questions in three languages, one other document each.

    The queries are de 0, de 1, en 0, en 1, sw 0, sw 1.
    """
    collection = parallel_collection(2, extra=1)
    orders = [
        # de 0: German first, the other languages at 4 and 9
        "de-d000 de-d001 de-x000 en-d000 en-d001 en-x000 sw-d001 sw-x000 sw-d000",
        # de 1: all three together at the top
        "de-d001 en-d001 sw-d001 de-d000 de-x000 en-d000 en-x000 sw-d000 sw-x000",
        # en 0: Swahili first, English at 2, German at 3
        "sw-d000 en-d000 de-d000 de-d001 de-x000 en-d001 en-x000 sw-d001 sw-x000",
        # en 1: at 5, 7 and 9
        "de-d000 en-d000 sw-d000 de-x000 de-d001 en-x000 en-d001 sw-x000 sw-d001",
        # sw 0: at 1, 2 and 9
        "en-d000 de-d000 de-d001 en-d001 de-x000 en-x000 sw-x000 sw-d001 sw-d000",
        # sw 1: as de 1
        "de-d001 en-d001 sw-d001 de-d000 de-x000 en-d000 en-x000 sw-d000 sw-x000",
    ]
    return bias_of_orders(collection, [order.split() for order in orders])


def aligned_bias(questions=7, extra=4):
    """Return the bias of a ranking blind to language: the answers first, their order changing with the question."""
    collection = parallel_collection(questions, extra=extra)
    orders = []
    for query in collection.queries:
        turn = int(query.question[1:]) % 3
        codes = LANGUAGES[turn:] + LANGUAGES[:turn]
        number = query.question[1:]
        rest = [document.id for document in collection.documents if number not in document.id.split("-d")]
        orders.append([f"{code}-d{number}" for code in codes] + rest)
    return bias_of_orders(collection, orders)


def first_articles(collection, articles):
    """Return the part about the first articles; a document's id is language-article-paragraph-sentence."""
    documents = [document for document in collection.documents if int(document.id.split("-")[1]) < articles]
    ids = {document.id for document in documents}
    relevant = {query.id: collection.relevant(row) for row, query in enumerate(collection.queries)}
    queries = [query for query in collection.queries if relevant[query.id].keys() <= ids]
    return Collection.from_records("part", queries, documents, {query.id: relevant[query.id] for query in queries})


class Threads:
    """The processes of a run, played by threads of this process."""

    def __init__(self, count):
        self.count = count
        self.barrier = threading.Barrier(count, timeout=20)
        self.values = [None] * count
        self.shared = []

    def run(self, work):
        def run_process(number):
            try:
                calls = {name: partial(getattr(self, name), number) for name in ("gather", "sum", "share")}
                return work(SimpleNamespace(rank=number, count=self.count, **calls))
            except BaseException:
                self.barrier.abort()  # so that the others do not wait for it
                raise

        with ThreadPoolExecutor(self.count) as threads:
            return list(threads.map(run_process, range(self.count)))

    def sum(self, number, counts):
        return np.sum(self.gather(number, counts), axis=0)

    def share(self, number, value, source):
        if number == source:
            self.shared.append(source)
        return self.gather(number, value)[source]

    def gather(self, number, value):
        self.values[number] = deepcopy(value)  # a real process sends a copy too
        self.barrier.wait()
        values = list(self.values)
        self.barrier.wait()
        return values


#: Runs command lines one after the other; prints exit code, output, errors and the slow libraries imported so far.
COMMANDS_SCRIPT = """
import contextlib, io, json, sys
from hbt_bench.cli.main import run
commands, slow = json.loads(sys.argv[1])
outcomes = []
for command in commands:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = run(command)
    outcomes.append([code, out.getvalue(), err.getvalue(), [name for name in slow if name in sys.modules]])
print(json.dumps(outcomes))
"""


def child_environment():
    """Return an environment that lets a child process import the same packages from any folder."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def evaluate(model, output, tasks="cldr-facts", languages=LANGUAGES, **options):
    """Evaluate a model on tasks and return the results."""
    from hbt_bench.mteb.models import ModelRequest
    from hbt_bench.results.evaluate import Evaluation
    from hbt_bench.tasks.registry import select_tasks

    return Evaluation(ModelRequest(str(model)), select_tasks(tasks), output, languages, **options).run()


def result_content(path):
    """Return a result's content without times, speed and device, which differ between equal runs."""
    content = json.loads(path.read_text(), parse_constant=str)  # NaN as text, to be equal to itself
    del content["hbt_bench"]["speed"]
    content = _without_device(content)
    return {key: value for key, value in content.items() if key not in {"evaluation_time", "date", "evaluation_phases"}}


def _without_device(value):
    if isinstance(value, dict):
        return {key: _without_device(item) for key, item in value.items() if key != "device"}
    return value


#: A recipe that trains in seconds.
SMALL = {
    "init": "tiny:1x32",
    "vocabulary": 600,
    "languages": ("de", "en", "sw"),
    "batch_size": 16,
    "steps": 12,
    "learning_rate": 1e-3,
    "save_every": 4,
    "guard": (),
}


def train(output, **changes):
    """Train by the small recipe with changes; options of `Training` may be among them."""
    from hbt_bench.log import show_progress
    from hbt_bench.training.recipe import Recipe
    from hbt_bench.training.run import Training

    options = {key: changes.pop(key) for key in ("resume", "overwrite", "folders") if key in changes}
    settings = {**SMALL, **changes}
    if not settings["init"].startswith(("static:", "tiny:")):
        settings.pop("vocabulary")  # a model has its tokenizer
    with show_progress(settings.pop("progress", lambda *rest: None)):
        return Training(Recipe(**settings), Path(output), **options).run()


def weights_hash(folder):
    """Return the hash of a model's weights."""
    return hashlib.sha256((Path(folder) / "model.safetensors").read_bytes()).hexdigest()


def hub_data_set(folder, configs):
    """Write a data set with configurations as on the hub: {config: {split: rows}}."""
    folder.mkdir()
    card = ["---", "configs:"]
    for config, splits in configs.items():
        card += [f"- config_name: {config}", "  data_files:"]
        for split, rows in splits.items():
            path = folder / config / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
            card += [f"  - split: {split}", f"    path: {config}/{split}.jsonl"]
    (folder / "README.md").write_text("\n".join([*card, "---"]))
    return folder


def retrieval_configs(prefix, split, queries, corpus, qrels):
    """Return the three configurations of a subset in MTEB's layout."""
    return {
        f"{prefix}-queries": {split: [{"_id": key, "text": text} for key, text in queries.items()]},
        f"{prefix}-corpus": {split: [{"_id": key, "title": "", "text": text} for key, text in corpus.items()]},
        f"{prefix}-qrels": {split: [{"query-id": q, "corpus-id": d, "score": grade} for q, d, grade in qrels]},
    }


def write_beir(folder, queries, corpus, qrels, split="test"):
    """Write a folder in BEIR's layout; a query or document is its text, or a mapping of fields."""

    def rows(entries):
        fields = ((key, value if isinstance(value, dict) else {"text": value}) for key, value in entries.items())
        return "".join(json.dumps({"_id": key, **value}) + "\n" for key, value in fields)

    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    (folder / "corpus.jsonl").write_text(rows(corpus))
    (folder / "queries.jsonl").write_text(rows(queries))
    lines = [f"{query}\t{document}\t{grade}" for query, grades in qrels.items() for document, grade in grades.items()]
    (folder / "qrels" / f"{split}.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n")


#: Stored results of BM25 on two languages of cldr-facts.
FIXTURE = Path(__file__).parent / "fixtures" / "format-2"
_DERIVED = ("format", "values", "intervals", "shares", "mteb_name")


@cache
def _moved(by):
    """Return the fixture with every rank `by` lower: the name and content of the ranks file, and each task.

    The last of the 364 documents become the first.
    """
    source = next(FIXTURE.glob("*/*"))
    path = next(source.glob("*.npz"))
    stored = StoredRanks.read(path)
    pool = ((stored.ranks.pool - 1 + by) % 364 + 1).astype(np.int32)
    answers = stored.judgements.qrels.documents.reshape(len(stored.ranks.top), -1)
    top = (
        np.array([np.setdiff1d(np.arange(24), relevant)[:20] for relevant in answers], np.int32)
        if by
        else stored.ranks.top
    )
    for row, relevant, ranks in zip(top, answers, pool.reshape(answers.shape), strict=True):
        row[ranks[ranks <= 20] - 1] = relevant[ranks <= 20]
    ranks = Ranks(pool, stored.ranks.block, top)
    tasks = []
    for file in sorted(source.glob("*Retrieval_de_en.json")):
        content = json.loads(file.read_text())
        about = {key: value for key, value in content.pop("hbt_bench").items() if key not in _DERIVED}
        result = Result.read(file)
        intervals = Intervals.from_ranks(stored.judgements, ranks, result.mode)
        for judged in judged_subsets(stored.judgements, result.mode):
            entry = next(entry for entry in content["scores"]["test"] if entry["hf_subset"] == judged.subset.name)
            scores = retrieval_scores(Ranking.from_ranks(stored.judgements, ranks, judged), result.mode)
            if result.mode == "multi":
                scores |= bias_scores(Bias(stored.judgements, ranks))[judged.subset.queries]
            entry |= {measure: round(value, 6) for measure, value in scores.items()}  # as MTEB writes them
        tasks.append((file.name, content, about, intervals))
    return path.name, StoredRanks(stored.data, stored.judgements, ranks), tasks


def unpacked(text):
    """Return the value of packed JSON in a page of a site."""
    return json.loads(zlib.decompress(base64.b64decode(text)))


def plant_fixture(output, model, revision, by, training=None):
    """Write the fixture's results under another name, with other ranks and the scores that follow from them."""
    folder = output / re.sub(r"\W", "_", model) / revision
    folder.mkdir(parents=True)
    name, stored, tasks = _moved(by)
    stored.write(folder / name)
    for task, content, about, intervals in tasks:
        signature = re.sub("model:[^|]*", f"model:{model}@{revision}", about["signature"])
        about = {**about, "model": model, "revision": revision, "signature": signature, "training": training or {}}
        write(folder / task, content, about, {"name": model, "revision": revision}, intervals)
