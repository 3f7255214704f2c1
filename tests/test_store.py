"""Check stored vectors: exact for the same request, a miss for any other request or a damaged file."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hbt_bench.distributed import ALONE
from hbt_bench.errors import OutputError
from hbt_bench.ranking.encode import Chunk, Encoding
from hbt_bench.ranking.store import EmbeddingStore

TEXTS = ["Berlin", "東京", ""]
VECTORS = np.array([[1.5, -2.0], [0.0, 3e-38], [np.pi, 1e30]], np.float32)
KEY = (TEXTS, "query", "de")


@pytest.fixture
def store(tmp_path):
    return EmbeddingStore(tmp_path / "embeddings", "local/a@1|none")


def files(store):
    return sorted(path for path in store.folder.rglob("*") if path.is_file())


def test_empty_store_is_a_miss(store):
    assert store.get(*KEY) is None
    assert not store.folder.exists()


def test_stored_vectors_are_read_unchanged(store):
    store.put(*KEY, VECTORS)
    vectors = EmbeddingStore(store.folder, store.identity).get(*KEY)
    assert vectors.dtype == np.float32
    assert vectors.tobytes() == VECTORS.tobytes()
    assert vectors.shape == (3, 2)
    vectors[0, 0] = 7  # a caller may change its copy
    assert store.get(*KEY)[0, 0] == 1.5
    store.put(*KEY, VECTORS.astype(np.float64))
    assert store.get(*KEY).tobytes() == VECTORS.tobytes()


def test_single_file_per_chunk(store):
    store.put(*KEY, VECTORS)
    store.put(*KEY, VECTORS)
    assert [path.suffix for path in files(store)] == [".safetensors"]


def test_safetensors_reads_a_file(store):
    from safetensors.numpy import load_file

    store.put(*KEY, VECTORS)
    [path] = files(store)
    assert load_file(path)["vectors"].tobytes() == VECTORS.tobytes()
    assert isinstance(store.get(*KEY), np.memmap)


def test_claim_excludes_other_runs_until_stored(store):
    other = EmbeddingStore(store.folder, store.identity)
    with store.claim(*KEY, wait=False) as first, other.claim(*KEY, wait=False) as second:
        assert (first, second) == (True, False)
        with other.claim(TEXTS, "document", "de", wait=False) as another:
            assert another
        store.put(*KEY, VECTORS)
    with other.claim(*KEY, wait=True) as free:
        assert free
    assert [path.suffix for path in files(store)] == [".safetensors"]


def test_claim_ends_with_an_error(store):
    with pytest.raises(ZeroDivisionError), store.claim(*KEY, wait=False):
        raise ZeroDivisionError
    with store.claim(*KEY, wait=False) as free:
        assert free


def test_concurrent_runs_share_chunks(store):
    """Each chunk is encoded once and every run gets it; a run that fails leaves its chunk to the others."""
    chunks = [Chunk("query", "en", (f"text {number}",)) for number in range(12)]
    encoded, failed = [], []

    class Slow:
        def encode(self, texts, role, language):
            time.sleep(0.01)
            if not failed:
                failed.append(texts)
                raise ZeroDivisionError
            encoded.append(texts)
            return np.array([[float(texts[0].split()[1]), 1.0]], np.float32)

    def run(_):
        try:
            return Encoding(Slow(), EmbeddingStore(store.folder, store.identity), ALONE, lambda n: None).run(chunks)
        except ZeroDivisionError:
            return None

    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(run, range(3)))
    assert sum(arrays is None for arrays in results) == 1
    for arrays in results:
        assert arrays is None or [vectors[0, 0] for vectors in arrays] == list(range(12))
    assert sorted(encoded) == sorted(chunk.texts for chunk in chunks)


def test_vectors_in_use_are_not_removed(store):
    store.put(*KEY, VECTORS)
    other = EmbeddingStore(store.folder, store.identity)
    with other.in_use():
        store.clear()
        assert store.get(*KEY) is not None
    leftover = store.folder / files(store)[0].parent.name / "users" / "of-a-killed-run.lock"
    leftover.touch()
    store.clear()
    assert store.get(*KEY) is None


def test_later_put_replaces_vectors(store):
    store.put(*KEY, VECTORS)
    store.put(*KEY, -VECTORS)
    assert (store.get(*KEY) == -VECTORS).all()


@pytest.mark.parametrize(
    "request_",
    [
        (TEXTS, "document", "de"),  # a query and a document of one text have different vectors
        (TEXTS, "query", "nl"),
        (TEXTS[::-1], "query", "de"),
        (TEXTS[:2], "query", "de"),
        ([*TEXTS, ""], "query", "de"),
        (["Berlin東", "京", ""], "query", "de"),
        (["Berlin", "東京 ", ""], "query", "de"),
        (["berlin", "東京", ""], "query", "de"),
        (["de", *TEXTS], "query", ""),
        (TEXTS, "queryd", "e"),
    ],
)
def test_other_request_is_a_miss(store, request_):
    store.put(*KEY, VECTORS)
    assert store.get(*request_) is None


@pytest.mark.parametrize("identity", ["local/a@2|none", "local/b@1|none", "local/a@1|5f3a0c11", "local/a@1", ""])
def test_other_model_or_prompt_is_a_miss(store, identity):
    store.put(*KEY, VECTORS)
    assert EmbeddingStore(store.folder, identity).get(*KEY) is None


def test_roles_have_separate_vectors(store):
    store.put(TEXTS, "query", "de", VECTORS)
    store.put(TEXTS, "document", "de", VECTORS + 1)
    assert (store.get(TEXTS, "query", "de") == VECTORS).all()
    assert (store.get(TEXTS, "document", "de") == VECTORS + 1).all()


def test_truncated_file_is_a_miss(store):
    store.put(*KEY, VECTORS)
    [path] = files(store)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        assert store.get(*KEY) is None, size
    path.write_bytes(content + b"\0")
    assert store.get(*KEY) is None
    path.write_bytes(content)
    assert (store.get(*KEY) == VECTORS).all()


def test_flipped_bit_is_a_miss(store):
    store.put(*KEY, VECTORS)
    [path] = files(store)
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), 7):  # every byte, and each position in a byte
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert store.get(*KEY) is None, bit


def test_damaged_file_is_replaced(store):
    store.put(*KEY, VECTORS)
    [path] = files(store)
    path.write_bytes(b"damaged")
    store.put(*KEY, VECTORS)
    assert (store.get(*KEY) == VECTORS).all()


def test_clear_removes_only_this_models_vectors(store):
    other = EmbeddingStore(store.folder, "local/b@1|none")
    store.put(*KEY, VECTORS)
    store.put(["x"], "document", "de", VECTORS[:1])
    other.put(*KEY, VECTORS)
    store.clear()
    assert store.get(*KEY) is None
    assert store.get(["x"], "document", "de") is None
    assert (other.get(*KEY) == VECTORS).all()
    assert len([path for path in files(store) if path.suffix == ".safetensors"]) == 1
    store.clear()  # clear an empty store without error


def test_cache_that_is_a_file_raises(tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    store = EmbeddingStore(tmp_path / "cache" / "embeddings", "local/a@1|none")
    assert store.get(*KEY) is None
    with pytest.raises(OutputError, match="a file is where a folder should be"):
        store.put(*KEY, VECTORS)
    with pytest.raises(OutputError, match="set HBT_BENCH_CACHE to another folder"):
        store.claim(*KEY, wait=False).__enter__()
