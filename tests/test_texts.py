import mmap
import pickle

import numpy as np
import pytest

from hbt_bench.errors import OutputError
from hbt_bench.training import texts as module
from hbt_bench.training.items import Item
from hbt_bench.training.parallel import ParallelText
from hbt_bench.training.table import single_spaced
from hbt_bench.training.texts import Numbers, TextWriter

WORDS = ["Wer?", "", "日本語", "Wer?", "a" * 50]


def write(words):
    return TextWriter.write(words)


@pytest.fixture
def in_file(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_IN_MEMORY", 10)
    monkeypatch.setenv("HBT_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_texts_in_a_file_are_those_in_memory(in_file):
    texts = write(WORDS)
    assert not isinstance(texts._data, bytes)
    assert list(in_file.iterdir()) == []  # the file has no name, so a killed run leaves nothing
    assert (list(texts), len(texts), texts[np.int32(2)], texts[1:3]) == (WORDS, 5, "日本語", ("", "日本語"))
    assert list(texts.take(np.array([4, 0]))) == ["a" * 50, "Wer?"]
    assert list(pickle.loads(pickle.dumps(texts))) == WORDS


def test_notes_are_between_the_texts():
    writer = TextWriter()
    for text, note in (("7", "faq.jsonl:1"), ("8", ""), ("", "faq.jsonl:3")):
        writer.add(text, 0, note)
    texts = writer.done()
    assert list(texts) == ["7", "8", ""]
    assert [texts.note(number) for number in range(3)] == ["faq.jsonl:1", "", "faq.jsonl:3"]


def test_cache_folder_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(module, "_IN_MEMORY", 10)
    monkeypatch.setenv("HBT_BENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="set HBT_BENCH_CACHE"):
        write(WORDS)


def test_numbers_are_those_of_a_dictionary(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 7)
    hashes = np.random.default_rng(0).integers(-40, 40, size=500)
    known = {}
    expected = [known.setdefault(value, len(known)) for value in hashes.tolist()]
    numbers, first = Numbers.of_all(hashes)
    assert numbers.tolist() == expected
    assert hashes[first].tolist() == list(known)
    assert first.tolist() == sorted(first.tolist())


@pytest.mark.parametrize(
    ("text", "spaced"),
    [
        ("a b", "a b"),
        (" a", "a"),
        ("a  b", "a b"),
        ("a\u3000b\u00a0c", "a b c"),
        ("a\n", "a"),
        ("\u200f a", "\u200f a"),
    ],
)
def test_single_spaces(text, spaced):
    assert single_spaced(text) == spaced == " ".join(text.split())


def test_a_source_holds_numbers_alone(in_file):
    """Less than 100 bytes for each row, whatever the length of its texts."""
    rows = [Item(f"{n}", {"en": f"q{n % 9}"}, {"en": f"p{n} " * 99}, {"en": [f"n{n % 50}"]}) for n in range(400)]
    source = ParallelText.from_items("faq", rows)
    held = [*vars(source).values(), *source.negatives, *vars(source.texts).values(), *vars(source.ids).values()]
    assert all(
        isinstance(value, np.ndarray | mmap.mmap)
        for texts in (source.ids, source.texts)
        for value in vars(texts).values()
    )
    assert sum(value.nbytes for value in held if isinstance(value, np.ndarray)) < 400 * 100
    assert source.texts[int(source.passages[0, 399])] == ("p399 " * 99).strip()
