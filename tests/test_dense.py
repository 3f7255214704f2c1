"""Check that chunks of texts are encoded once, shared by processes and runs, and validated."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hbt_bench.distributed import ALONE
from hbt_bench.errors import ModelError
from hbt_bench.ranking.encode import Chunk, Encoding
from hbt_bench.ranking.store import EmbeddingStore
from tests.factories import Threads

#: Costs are 5, 40, 11, 40, 3, 22 and 6 characters, so the order by cost is 1, 3, 5, 2, 6, 0, 4.
CHUNKS = [
    Chunk("query", "en", ("a" * 5,)),
    Chunk("query", "de", ("b" * 30, "b" * 10)),
    Chunk("document", "en", ("c" * 11,)),
    Chunk("document", "de", ("d" * 20, "d" * 15, "d" * 5)),
    Chunk("document", "sw", ("e" * 3,)),
    Chunk("document", "en", ("f" * 22,)),
    Chunk("query", "sw", ("g" * 6,)),
]
#: For each chunk: length of each text, whether it is a query, and its language's first letter.
VECTORS = [[[len(text), chunk.role == "query", ord(chunk.language[0])] for text in chunk.texts] for chunk in CHUNKS]


class Model:
    """Vectors that depend on the request; `asked` records the texts."""

    def __init__(self):
        self.asked = []

    def encode(self, texts, role, language):
        self.asked.append(texts)
        return np.array([[len(text), role == "query", ord(language[0])] for text in texts], np.float64)


def store(folder):
    return EmbeddingStore(folder, "local/a@1|none")


def values(arrays):
    assert all(vectors.dtype == np.float32 for vectors in arrays)
    return [vectors.tolist() for vectors in arrays]


@pytest.mark.parametrize("stored", [False, True])
def test_single_process_encodes_chunks_in_order(tmp_path, stored):
    model, done = Model(), []
    folder = store(tmp_path) if stored else None
    assert values(Encoding(model, folder, ALONE, done.append).run(CHUNKS)) == VECTORS
    assert model.asked == [chunk.texts for chunk in CHUNKS]
    assert done == [1, 2, 1, 3, 1, 1, 1]
    again = Model()
    assert values(Encoding(again, folder, ALONE, done.append).run(CHUNKS)) == VECTORS
    assert len(again.asked) == (0 if stored else 7)
    assert sum(done) == 20  # stored texts count as done


@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("store_kind", ["none", "own", "shared"])
def test_processes_share_chunks_by_cost(tmp_path, count, store_kind):
    """Each process encodes its chunks and gets the others from a shared store, or else from their owner."""
    models, done = [Model() for _ in range(count)], [[] for _ in range(count)]
    stores = {
        "none": [None] * count,
        "own": [store(tmp_path / str(number)) for number in range(count)],
        "shared": [store(tmp_path)] * count,
    }[store_kind]

    def work(process):
        rank = process.rank
        return Encoding(models[rank], stores[rank], process, done[rank].append).run(CHUNKS)

    processes = Threads(count)
    for arrays in processes.run(work):
        assert values(arrays) == VECTORS
        assert store_kind == "none" or all(isinstance(vectors, np.memmap) for vectors in arrays)
    by_cost = [1, 3, 5, 2, 6, 0, 4]
    expected = [sorted(by_cost[number::count]) for number in range(count)]
    assert [model.asked for model in models] == [[CHUNKS[number].texts for number in numbers] for numbers in expected]
    assert [sum(texts) for texts in done] == [10] * count
    owners = [by_cost.index(number) % count for number in range(len(by_cost))]
    assert processes.shared == ([] if store_kind == "shared" else owners)
    for folder in filter(None, stores):
        assert all(folder.get(chunk.texts, chunk.role, chunk.language) is not None for chunk in CHUNKS)


def test_chunks_of_another_run_come_last(tmp_path):
    """Another run claims two chunks: this run encodes the others first, and reads the two."""
    mine, other = store(tmp_path), store(tmp_path)
    model, free = Model(), threading.Event()
    encode = model.encode

    def encode_and_signal(*key):
        encoded = encode(*key)
        if len(model.asked) == 5:
            free.set()
        return encoded

    model.encode = encode_and_signal
    with ThreadPoolExecutor(1) as thread:
        with claimed(other, CHUNKS[0]), claimed(other, CHUNKS[4]):
            running = thread.submit(Encoding(model, mine, ALONE, lambda texts: None).run, CHUNKS)
            assert free.wait(10)
            for number in (0, 4):
                other.put(CHUNKS[number].texts, CHUNKS[number].role, CHUNKS[number].language, np.array(VECTORS[number]))
        assert values(running.result(10)) == VECTORS
    assert model.asked == [CHUNKS[number].texts for number in (1, 2, 3, 5, 6)]


def claimed(folder, chunk):
    return folder.claim(chunk.texts, chunk.role, chunk.language, wait=False)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((3, 4)), "the model returned an array of shape (3, 4) for 2 texts"),
        (np.ones((1, 4)), "the model returned an array of shape (1, 4) for 2 texts"),
        (np.ones((2, 0)), "the model returned an array of shape (2, 0) for 2 texts"),
        (np.ones(2), "the model returned an array of shape (2,) for 2 texts"),
        (np.ones((2, 2, 2)), "the model returned an array of shape (2, 2, 2) for 2 texts"),
        (
            np.array([[1, 2], [3, np.nan]]),
            f"the model returned NaN or infinity for 1 of 2 texts, such as '{'y' * 60}': its weights are damaged or "
            "overflow in this precision",
        ),
        (np.array([[-np.inf, 2], [3, np.nan]]), "the model returned NaN or infinity for 2 of 2 texts, such as 'xx': i"),
    ],
)
def test_vectors_that_cannot_be_ranked_raise(tmp_path, stored, vectors, message):
    model = Model()
    model.encode = lambda texts, role, language: vectors
    folder = store(tmp_path) if stored else None
    with pytest.raises(ModelError) as caught:
        Encoding(model, folder, ALONE, lambda texts: None).run([Chunk("query", "en", ("xx", "y" * 70))])
    assert str(caught.value).startswith(message)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_vectors_of_a_single_dimension():
    model = Model()
    model.encode = lambda texts, role, language: np.array([[1.5], [2.5]])
    arrays = Encoding(model, None, ALONE, lambda texts: None).run([Chunk("query", "en", ("a", "b"))])
    assert values(arrays) == [[[1.5], [2.5]]]
