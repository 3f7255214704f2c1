"""The reader of records: paths to fields, which tasks and recipes share."""

from __future__ import annotations

import pytest

from hbt_bench.data.records import first_value, identifier, same_value, values
from hbt_bench.training.reading import read_items
from hbt_bench.training.records import Records

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
    items = read_items("demo", source, [("demo:1", record)])
    assert [items.texts[number] for number in items.passages[0]] == ["yes"]
    assert [items.texts[number] for number in items.negatives.values] == ["no", "never"]


def test_name_with_dots_is_a_path():
    """A table that is made of nested records has the paths of the records as names."""
    assert first_value({"question.en": "A?", "question": "B?"}, "question.{language}", "en") is None
    assert first_value({"question.en": "A?"}, "question.{language}", "en") == "A?"
    assert first_value({"texts": {"en.q": "A?"}}, "texts.{language}.q", "en") == "A?"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, "1"),
        (1.0, "1"),
        ("1.0", "1"),
        ("1", "1"),
        (-3.0, "-3"),
        ("1.5", "1.5"),
        ("1.00", "1.00"),
        ("v1.0", "v1.0"),
        ("01", "01"),
        (10**20, "100000000000000000000"),
        (1.5, None),
        (float("nan"), None),
        (float("inf"), None),
        (True, None),
        (None, None),
        ("", None),
        ([1], None),
    ],
)
def test_identifier_of_value(value, expected):
    assert identifier(value) == expected


@pytest.mark.parametrize(
    ("value", "wanted", "expected"),
    [
        ("1", 1, True),
        ("1.0", 1, True),
        (1, "1", True),
        ("0.5", 0.5, True),
        ("one", 1, False),
        ("", 0, False),
        ("True", True, True),
        ("false", False, True),
        ("1", True, False),
        (1, 1, True),
        ("a", "a", True),
        ("a", "A", False),
        (None, "None", False),
        (["1"], "1", False),
    ],
)
def test_cell_is_compared_with_value_of_yaml(value, wanted, expected):
    assert same_value(value, wanted) is expected
