"""Check which texts the fields of a record give: single, joined, and several."""

import pytest

from hbt_bench.errors import DataError
from hbt_bench.training.fields import FieldReader

READER = FieldReader("demo", {})


@pytest.mark.parametrize(
    ("record", "entries", "texts"),
    [
        ({"n": "one"}, ["n"], ["one"]),
        ({"n": ["one", "two", "one", "", None]}, ["n"], ["one", "two"]),
        ({"n": []}, ["n"], []),
        ({"a": "one", "b": "two"}, ["a", "b"], ["one", "two"]),
        ({"a": "one", "b": ["two", "three"], "c": ""}, ["a", "b", "c", "d"], ["one", "two", "three"]),
        ({"n": [{"text": "one"}, {"text": "two", "title": "T"}]}, ["n"], ["one", "T two"]),
        ({"n": [{"text": "one", "title": "T"}]}, ["n.*.text"], ["one"]),
        ({"n": {"text": ["one", "two"], "answer_start": [1, 2]}}, ["n"], ["one", "two"]),
        ({"n": {"text": ["one", "two"], "title": ["S", "T"]}}, ["n"], ["S one", "T two"]),
        ({"n": {"text": ["one", "two"]}}, ["n.text"], ["one", "two"]),
        ({"t": "T", "n": ["one", "two"]}, [("t", "n")], ["T one", "T two"]),
        ({"t": ["S", "T"], "n": ["one", "two"]}, [("t", "n")], ["S one", "T two"]),
        ({"t": "T", "n": None}, [("t", "n")], []),  # a heading alone is not a text
        ({"t": "T", "n": "one", "m": "two"}, [("t", "n"), "m"], ["T one", "two"]),
        ({"texts": {"de": {"n": ["eins"]}}}, ["texts.{language}.n"], ["eins"]),
    ],
)
def test_several_texts(record, entries, texts):
    assert READER.several(record, entries, "de", "demo:1") == texts


def test_joined_texts():
    assert READER.joined({"t": "T", "x": ""}, ("t", "x"), "", "demo:1") == "T"
    assert READER.joined({"t": " T ", "x": "one"}, ("t", "x"), "", "demo:1") == "T one"
    assert READER.joined({"c": [None, {"x": "one"}, {"x": "two"}]}, "c.*.x", "", "demo:1") == "one"
    assert READER.several({"t": "T"}, [("t", "x")], "", "demo:1", complete=False) == ["T"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([3], "demo:1 has something other than texts in n"),
        (3, "demo:1 has no text but int in n"),
        ([{"contents": "x"}], r"demo:1 has a mapping in n \(contents\): name the field of the text, n\.\*\.FIELD"),
        ({"contents": "x"}, r"demo:1 has a mapping in n \(contents\): name the field of the text, n\.FIELD"),
    ],
)
def test_values_without_text(value, message):
    with pytest.raises(DataError, match=f"^{message}$"):
        READER.several({"n": value}, ["n"], "", "demo:1")


def test_lists_of_different_length_are_not_joined():
    with pytest.raises(DataError, match=r"^demo:1 has lists of different length in t and n, which are joined$"):
        READER.several({"t": ["S"], "n": ["one", "two"]}, [("t", "n")], "", "demo:1")


def test_query_is_one_text():
    with pytest.raises(DataError, match=r"^demo:1 has 2 texts in q: name a member, such as q\.0$"):
        READER.joined({"q": ["one", "two"]}, "q", "", "demo:1")
    assert READER.joined({"q": ["one"]}, "q", "", "demo:1") == "one"


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("sentence_1", "; did you mean 'sentence1'?"),
        ("id", " (it has sentence1, more)"),
        ("more.txt", "; did you mean 'text'?"),
        ("more.list.0.b", " (it has a)"),
    ],
)
def test_missing_field_suggests_names(path, hint):
    reader = FieldReader("demo", {"query": [path], "passage": ["sentence1"]})
    reader.watch({"sentence1": "x", "more": {"text": "y", "list": [{"a": 1}]}})
    with pytest.raises(DataError) as error:
        reader.check()
    assert str(error.value) == f"demo has no field '{path}' for `query`{hint}"


def test_empty_field_is_not_missing():
    reader = FieldReader("demo", {"query": ["q"]})
    reader.watch({"q": None})
    reader.check()


@pytest.mark.parametrize(
    ("cells", "refused"),
    [
        (["['one', \"two's\"]", "", "[]"], True),
        (['["one", "two"]'], True),
        (["['one']", "one"], False),
        (["[1]"], False),
        (["[citation needed]"], False),
        (["['one', nan]", '["two", null]'], True),
        (["['one'\n 'two']"], True),
        (["('one', 'two')"], True),
        (['[{"text": "one"}, {"text": "two", "title": "T"}]'], True),
        (["{'text': ['one'], 'answer_start': [3]}"], True),
        (["{'text': array(['one'], dtype=object), 'answer_start': array([3])}"], True),
        (['{"title": "T", "text": "a \\/ \\u00e9"}'], True),
        (['{"name": "get_weather", "parameters": {}}'], False),  # a passage that is JSON
        (["{text}", "(see one)", "[x for x in y]", "["], False),
    ],
)
def test_list_in_a_cell_is_not_a_text(cells, refused):
    reader = FieldReader("demo", {"negative": ["n"]})
    for cell in cells:
        reader.watch({"n": cell})
        reader.several({"n": cell}, ["n"], "", "demo:1")
    if refused:
        with pytest.raises(DataError, match=r"^demo has (lists|mappings) written as text in 'n', such as [\[({]"):
            reader.check()
    else:
        reader.check()


def test_some_lists_in_cells_are_reported(messages):
    reader = FieldReader("demo", {"negative": ["n"]})
    for cell in ("['one']", "two", "", "['three', nan]"):
        reader.watch({"n": cell})
        reader.several({"n": cell}, ["n"], "", "demo:1")
    reader.check()
    assert messages == [
        "demo has lists written as text in 'n', such as ['one'] (2 of 3 texts), and reads them as texts: write JSON "
        "lines with lists, or a column for each text"
    ]
