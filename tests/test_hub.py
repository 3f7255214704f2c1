"""Data sets of the hub: what is read of them, on a stand-in, and what is said when they are out of reach."""

from __future__ import annotations

import pytest
from datasets import Dataset

from hbt_bench.errors import DataError
from hbt_bench.tasks.spec import TaskSpec

COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.fixture
def hub(monkeypatch):
    """A hub with one data set of three splits, one a language; it notes what is asked of it."""
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

    def load_dataset(path, config, *, split, revision):
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


def test_captions_by_image(hub):
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


def test_only_the_languages_that_are_asked_for(hub):
    assert spec().load(["en", "sw"]).languages == ("en", "sw")
    assert [split for _, _, split, _ in hub] == ["en", "sw"]


def test_what_is_not_there(hub):
    with pytest.raises(DataError) as caught:
        spec(languages=["en", "fr"]).load()
    assert str(caught.value).startswith(
        'cannot load the data set org/captions from the hub: Unknown split "fr"; connect'
    )
    with pytest.raises(DataError) as caught:
        spec(columns={"id": "image", "text": "caption.0"}).load()
    assert str(caught.value) == "org/captions[de] has no column 'caption' (it has image_id, captions, image)"
