"""Chunks of texts are encoded once, by whichever process or run is at it, and checked before anything is ranked."""

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
#: Of each chunk: the length of each text, whether it is a query, and its language's first letter.
VECTORS = [[[len(text), chunk.role == "query", ord(chunk.language[0])] for text in chunk.texts] for chunk in CHUNKS]


class Model:
    """Vectors that tell what was asked; `asked` has it too."""

    def __init__(self):
        self.asked = []

    def encode(self, texts, role, language):
        self.asked.append(texts)
        return np.array([[len(text), role == "query", ord(language[0])] for text in texts], np.float64)


def store(folder):
    return EmbeddingStore(folder, "local/a@1|none")


def values(found):
    assert all(vectors.dtype == np.float32 for vectors in found)
    return [vectors.tolist() for vectors in found]


@pytest.mark.parametrize("stored", [False, True])
def test_one_process_encodes_everything_in_order(tmp_path, stored):
    model, done = Model(), []
    kept = store(tmp_path) if stored else None
    assert values(Encoding(model, kept, ALONE, done.append).run(CHUNKS)) == VECTORS
    assert model.asked == [chunk.texts for chunk in CHUNKS]
    assert done == [1, 2, 1, 3, 1, 1, 1]
    again = Model()
    assert values(Encoding(again, kept, ALONE, done.append).run(CHUNKS)) == VECTORS
    assert len(again.asked) == (0 if stored else 7)
    assert sum(done) == 20  # what is known counts as done


@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("kept", ["none", "own", "shared"])
def test_processes_share_the_work_by_what_it_costs(tmp_path, count, kept):
    """All get everything, of which each encoded its part: from a store that they share, else sent by its owner."""
    models, done = [Model() for _ in range(count)], [[] for _ in range(count)]
    stores = {
        "none": [None] * count,
        "own": [store(tmp_path / str(number)) for number in range(count)],
        "shared": [store(tmp_path)] * count,
    }[kept]

    def work(one):
        return Encoding(models[one.rank], stores[one.rank], one, done[one.rank].append).run(CHUNKS)

    together = Threads(count)
    for found in together.run(work):
        assert values(found) == VECTORS
        assert kept == "none" or all(isinstance(vectors, np.memmap) for vectors in found)
    by_cost = [1, 3, 5, 2, 6, 0, 4]
    expected = [sorted(by_cost[number::count]) for number in range(count)]
    assert [model.asked for model in models] == [[CHUNKS[number].texts for number in part] for part in expected]
    assert [sum(one) for one in done] == [10] * count
    assert together.shared == ([] if kept == "shared" else [number % count for number in by_cost_places(by_cost)])
    for one in {id(one): one for one in stores if one}.values():
        assert all(one.get(chunk.texts, chunk.role, chunk.language) is not None for chunk in CHUNKS)


def by_cost_places(by_cost):
    """Where chunk 0, 1, 2, ... stands in the order by cost."""
    return [by_cost.index(number) for number in range(len(by_cost))]


def test_what_another_run_encodes_is_waited_for_last(tmp_path):
    """Two chunks are claimed by another run: the others are encoded meanwhile, and those two never."""
    mine, other = store(tmp_path), store(tmp_path)
    model, free = Model(), threading.Event()
    encode = model.encode

    def encoded(*key):
        found = encode(*key)
        if len(model.asked) == 5:
            free.set()
        return found

    model.encode = encoded
    with ThreadPoolExecutor(1) as thread:
        with claimed(other, CHUNKS[0]), claimed(other, CHUNKS[4]):
            running = thread.submit(Encoding(model, mine, ALONE, lambda texts: None).run, CHUNKS)
            assert free.wait(10)
            for number in (0, 4):
                other.put(CHUNKS[number].texts, CHUNKS[number].role, CHUNKS[number].language, np.array(VECTORS[number]))
        assert values(running.result(10)) == VECTORS
    assert model.asked == [CHUNKS[number].texts for number in (1, 2, 3, 5, 6)]


def claimed(kept, chunk):
    return kept.claim(chunk.texts, chunk.role, chunk.language, wait=False)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((3, 4)), "the model returned an array of shape (3, 4) for 2 texts: it must be one vector a text"),
        (np.ones((1, 4)), "the model returned an array of shape (1, 4) for 2 texts: it must be one vector a text"),
        (np.ones((2, 0)), "the model returned an array of shape (2, 0) for 2 texts: it must be one vector a text"),
        (np.ones(2), "the model returned an array of shape (2,) for 2 texts: it must be one vector a text"),
        (np.ones((2, 2, 2)), "the model returned an array of shape (2, 2, 2) for 2 texts: it must be one vector a tex"),
        (
            np.array([[1, 2], [3, np.nan]]),
            f"the model returned NaN or infinity for 1 of 2 texts, such as '{'y' * 60}': its weights are damaged or "
            "overflow in this precision",
        ),
        (np.array([[-np.inf, 2], [3, np.nan]]), "the model returned NaN or infinity for 2 of 2 texts, such as 'xx': i"),
    ],
)
def test_vectors_that_cannot_be_ranked(tmp_path, stored, vectors, message):
    model = Model()
    model.encode = lambda texts, role, language: vectors
    kept = store(tmp_path) if stored else None
    with pytest.raises(ModelError) as caught:
        Encoding(model, kept, ALONE, lambda texts: None).run([Chunk("query", "en", ("xx", "y" * 70))])
    assert str(caught.value).startswith(message)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_one_dimension_is_enough():
    model = Model()
    model.encode = lambda texts, role, language: np.array([[1.5], [2.5]])
    [found] = Encoding(model, None, ALONE, lambda texts: None).run([Chunk("query", "en", ("a", "b"))])
    assert values([found]) == [[[1.5], [2.5]]]
