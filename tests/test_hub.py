"""Data sets of the hub, with a stand-in: the rows that are read, and the errors."""

from __future__ import annotations

import pytest
from datasets import Dataset
from pydantic import ValidationError

from hbt_bench.errors import DataError
from hbt_bench.tasks.task import TaskSpec
from hbt_bench.training.sources import HubData

COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.fixture
def hub(monkeypatch):
    """A hub with a data set of three splits, a split per language; it returns the list of its requests."""
    asked = []
    splits = {
        "en": [
            {"image_id": "a", "captions": ["A cat.", "Cat."], "image": 1},
            {"image_id": "b", "captions": ["A dog."], "image": 2},
        ],
        "de": [
            {"image_id": "b", "captions": ["Ein Hund."], "image": 3},
            {"image_id": "a", "captions": ["Eine Katze."], "image": 4},
        ],
        "sw": [{"image_id": "a", "captions": ["Paka."], "image": 5}],
    }

    def load_dataset(path, config, *, split, revision, **options):
        asked.append((path, config, split, revision))
        if split not in splits:
            raise ValueError(f'Unknown split "{split}".\nMore lines.')
        return Dataset.from_list(splits[split])

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    return asked


def spec(**more):
    source = {
        "kind": "hub",
        "path": "org/captions",
        "revision": COMMIT,
        "split": "{language}",
        "languages": ["de", "en", "sw"],
    }
    return TaskSpec.model_validate(
        {"name": "captions", "source": {**source, "columns": {"id": "image_id", "text": "captions.0"}, **more}}
    )


def test_captions_are_matched_by_image(hub):
    collection = spec().load()
    texts = {document.id: document.text for document in collection.documents}
    assert texts == {"de-b": "Ein Hund.", "de-a": "Eine Katze.", "en-a": "A cat.", "en-b": "A dog.", "sw-a": "Paka."}
    answers = {
        query.text: sorted(texts[key] for key in collection.relevant(row))
        for row, query in enumerate(collection.queries)
    }
    assert answers["Paka."] == ["A cat.", "Eine Katze."]
    assert answers["Ein Hund."] == ["A dog."]
    assert hub == [("org/captions", None, code, COMMIT) for code in ("de", "en", "sw")]


def test_only_requested_languages_are_loaded(hub):
    assert spec().load(["en", "sw"]).languages == ("en", "sw")
    assert [split for _, _, split, _ in hub] == ["en", "sw"]


def test_missing_split_or_column_is_refused(hub):
    with pytest.raises(DataError) as caught:
        spec(languages=["en", "fr"]).load()
    assert str(caught.value).startswith("cannot load the data set org/captions from the hub ")
    assert 'Unknown split "fr")' in str(caught.value)
    with pytest.raises(DataError) as caught:
        spec(columns={"id": "image", "text": "caption.0"}).load()
    assert str(caught.value) == "org/captions[de] has no column 'caption' (it has image_id, captions, image)"


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_current_folder_never_replaces_hub(hub, tmp_path, monkeypatch, kind):
    """`datasets` reads a folder with the data set's name, whatever the commit."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()
    path = tmp_path / "org" / "captions"
    {"folder": path.mkdir, "file": path.touch, "link": lambda: path.symlink_to("nowhere")}[kind]()
    expected = "org/captions is a data set of the hub, but the current folder has a file or folder with that name"
    with pytest.raises(DataError, match=expected):
        spec().load()
    with pytest.raises(DataError, match=expected):
        HubData(kind="hub", dataset="org/captions", query="a", passage="b").read([tmp_path / "data"])
    assert hub == []


def test_datasets_would_read_the_current_folder(tmp_path, monkeypatch):
    """The reason for the check: if `datasets` changes, the check can be removed."""
    import datasets

    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "captions").mkdir(parents=True)
    (tmp_path / "org" / "captions" / "en.jsonl").write_text('{"text": "not of the hub"}\n')
    [row] = datasets.load_dataset("org/captions", split="train", revision=COMMIT, cache_dir=str(tmp_path / "cache"))
    assert row == {"text": "not of the hub"}


@pytest.mark.parametrize(
    "path", ["../captions", "./captions", "org/..", "org/.", "/org/captions", "captions", "org/a/b"]
)
def test_invalid_hub_names_are_refused(path):
    with pytest.raises(ValidationError, match="path"):
        spec(path=path)


def test_language_column_of_single_split(monkeypatch):
    rows = [{"lang": code, "n": str(n), "t": f"{code} {n}"} for code in ("en", "de") for n in range(2)]
    monkeypatch.setattr("datasets.load_dataset", lambda *arguments, **options: Dataset.from_list(rows))
    columns = {"id": "n", "text": "t", "language": "lang"}
    collection = spec(split="test", languages=["de", "en"], columns=columns).load()
    assert sorted(document.text for document in collection.documents) == ["de 0", "de 1", "en 0", "en 1"]
    columns = {"id": "t", "query": "n", "document": "lang"}
    collection = spec(split="test", languages=["sw"], columns=columns).load()
    assert {query.language for query in collection.queries} == {"sw"}
