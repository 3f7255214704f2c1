"""Task names, taken apart and put together, and lists of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbt_bench.identity.task_name import MODES, TaskName, parse_names

EN, DE_EN = ("en",), ("de", "en")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("xquad-r", TaskName("xquad-r")),
        ("xquad-r-multi", TaskName("xquad-r", "multi")),
        ("xquad-r-context-mono", TaskName("xquad-r-context", "mono")),
        ("xquad-r[de,en]", TaskName("xquad-r", None, DE_EN, DE_EN)),
        ("xquad-r-multi[de,en]", TaskName("xquad-r", "multi", DE_EN, DE_EN)),
        ("xquad-r-multi[de,en>en]", TaskName("xquad-r", "multi", DE_EN, EN)),
        ("xquad-r-multi[low-resource]", TaskName("xquad-r", "multi", ("low-resource",), ("low-resource",))),
        ("xquad-r-cross+typos", TaskName("xquad-r", "cross", shifts=("typos",))),
        ("xquad-r-cross[en]+typos@0.2:7+keywords", TaskName("xquad-r", "cross", EN, EN, ("typos@0.2:7", "keywords"))),
        ("my-task.yaml[en]", TaskName("my-task.yaml", None, EN, EN)),
        ("SciFact", TaskName("SciFact")),
        ("xquad-r[]", TaskName("xquad-r", None, (), ())),
        ("xquad-r+", TaskName("xquad-r", shifts=("",))),
        # not of the form, so the text is the base
        ("", TaskName("")),
        ("-multi", TaskName("-multi")),
        ("xquad-r-multi[de", TaskName("xquad-r-multi[de")),
        ("xquad-r-multi[de]typos", TaskName("xquad-r-multi[de]typos")),
    ],
)
def test_task_name_is_parsed_and_formatted(text, name):
    assert TaskName.parse(text) == name
    assert str(name) == text


def test_blanks_and_empty_languages_are_dropped():
    assert str(TaskName.parse("xquad-r-multi[ de,,en > en ]")) == "xquad-r-multi[de,en>en]"


def test_parts_of_a_task_name():
    name = TaskName.parse("xquad-r-multi[de,en>en]+typos")
    assert name.collection == "xquad-r[de,en>en]+typos"
    assert name.mode_name == "xquad-r-multi"
    assert name.languages == "[de,en>en]"
    assert str(name.unshifted) == "xquad-r-multi[de,en>en]"
    assert str(name.unrestricted) == "xquad-r-multi+typos"


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("xquad-r-multi", "xquad-r-multi"),
        ("xquad-r-multi[en]", "xquad-r-multi[1 languages]"),
        ("xquad-r-multi[de,en]+typos", "xquad-r-multi[2 languages]+typos"),
        ("xquad-r-multi[de,en>en]", "xquad-r-multi[2>1 languages]"),
    ],
)
def test_languages_are_counted(text, counted):
    assert TaskName.parse(text).counted(" languages") == counted
    assert TaskName.parse(text).counted() == counted.replace(" languages", "")


bases = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True).filter(
    lambda base: not base.endswith(tuple(f"-{mode}" for mode in MODES))
)
codes = st.lists(st.from_regex(r"[a-z]{2,3}(-[A-Z][a-z]{3})?", fullmatch=True), max_size=3).map(tuple)
shifts = st.lists(st.from_regex(r"[a-z-]{1,8}(@0\.[0-9])?(:[0-9])?", fullmatch=True), max_size=2).map(tuple)
modes = st.sampled_from([None, *MODES])
names = st.builds(TaskName, bases, modes, shifts=shifts) | st.builds(TaskName, bases, modes, codes, codes, shifts)


@given(names)
def test_parse_reverses_format(name):
    assert TaskName.parse(str(name)) == name


@given(st.text())
def test_any_text_is_a_stable_name(text):
    name = TaskName.parse(text)
    assert TaskName.parse(str(name)) == name


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("xquad-r", ("xquad-r",)),
        ("xquad-r, mlqa-r-mono,", ("xquad-r", "mlqa-r-mono")),
        ("xquad-r[de,en],mlqa-r[de>en]", ("xquad-r[de,en]", "mlqa-r[de>en]")),
        (["a,b", " c "], ("a", "b", "c")),
        (iter(["a"]), ("a",)),
        ("", ()),
        ([",", " "], ()),
    ],
)
def test_names_are_split_at_commas(text, names):
    assert parse_names(text) == names
