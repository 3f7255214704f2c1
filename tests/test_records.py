"""The reader of records: paths to fields, which tasks and recipes share."""

from __future__ import annotations

import pytest

from hbt_bench.data.records import first_value, values
from hbt_bench.training.sources import Records

RECORD = {
    "id": 7,
    "texts": {"en": "water", "de": None},
    "questions": [{"en": {"q": "A?"}}, {}, {"en": {"q": "B?"}}],
    "captions": ["first", "second"],
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("id", [7]),
        ("texts.{language}", ["water"]),
        ("texts.de", [None]),
        ("texts.fr", []),
        ("captions.1", ["second"]),
        ("captions.2", []),
        ("captions.-1", []),
        ("captions.²", []),  # a digit, but not a number
        ("captions.*", ["first", "second"]),
        ("questions.*.{language}.q", ["A?", None, "B?"]),  # missing members keep their position
        ("id.x", []),
        ("texts.*", []),
    ],
)
def test_path_leads_to_values(path, expected):
    assert list(values(RECORD, path, "en")) == expected
    assert first_value(RECORD, path, "en") == next(filter(None, expected), None)


def test_recipes_understand_the_same_paths():
    source = Records(query="q", passage="p.*.t", negative="n.*.t", language="en")
    record = {"q": "A?", "p": [{}, {"t": "yes"}], "n": [{"t": "no"}, {}, {"t": "never"}]}
    items = source.items("demo", [("demo:1", record)])
    assert [items.texts[number] for number in items.passages[0]] == ["yes"]
    assert [items.texts[number] for number in items.negatives[0, 0]] == ["no", "never"]
