"""Signatures, written and read, and labels of prompts."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from hbt_bench.errors import UsageError
from hbt_bench.identity.signature import SAME_SCORES, Prompts, Signature, has_equal_scores, parse_fields

TEXT = (
    "task:xquad-r-multi[de,en]|text:sentence|data:be30ad47a30a1149|model:local/ckpt@9285d5c87e2fe26e|prompt:none"
    "|ties:docid-desc|hbt:0.0.1|mteb:2.1"
)


def test_signature_is_parsed_and_formatted():
    signature = Signature.parse(TEXT)
    assert (signature.task, signature.model) == ("xquad-r-multi[de,en]", "local/ckpt@9285d5c87e2fe26e")
    assert signature.versions == (("hbt", "0.0.1"), ("mteb", "2.1"))
    assert str(signature) == TEXT
    assert signature.fields == parse_fields(TEXT)


def test_installed_versions_are_the_default():
    signature = Signature("t", "sentence", "d", "m@1", "none")
    assert [name for name, _ in signature.versions] == ["hbt", "mteb"]
    assert Signature.parse(str(signature)) == signature


def test_separator_in_a_value_is_replaced():
    assert str(Signature("t", "sentence", "d", "a|b@1", "none")).startswith("task:t|text:sentence|data:d|model:a/b@1|")


def test_fields_of_other_versions_are_kept():
    assert str(Signature.parse(f"`{TEXT}|gpu:h100`")) == f"{TEXT}|gpu:h100"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "'nonsense' is not a signature"),
        ("task:xquad-r-multi|text:sentence", "the signature lacks data, model, prompt, ties"),
        (TEXT.replace("data:be30ad47a30a1149", "data:"), "the signature lacks data"),
    ],
)
def test_incomplete_signature_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        Signature.parse(text)


def test_label_depends_on_both_prompts():
    prompts = [Prompts("a", ""), Prompts("", "a"), Prompts("a", "b"), Prompts("ab", ""), Prompts("a ", "")]
    labels = {prompt.label for prompt in prompts}
    assert len(labels) == len(prompts)
    assert all(re.fullmatch("[0-9a-f]{8}", label) for label in labels)
    assert Prompts("query: ", "passage: ").label == "53483507"
    assert Prompts().label == "none"


def test_results_of_a_version_with_equal_scores_are_found():
    old, new, other = (TEXT.replace("hbt:0.0.1", f"hbt:{version}") for version in ("0.1.0", "0.2.0", "0.0.1"))
    assert has_equal_scores(old, new)
    assert has_equal_scores(other, other)
    assert not has_equal_scores(other, new)
    assert not has_equal_scores(old, new.replace("mteb:2.1", "mteb:2.2"))
    assert not has_equal_scores(old, new.replace("prompt:none", "prompt:1234abcd"))


def test_this_version_is_in_the_list_of_equal_scores():
    """A release extends the list, or begins a new list if it changes a score."""
    path = Path(__file__).parent.parent / "pyproject.toml"
    assert tomllib.loads(path.read_text("utf-8"))["project"]["version"] == SAME_SCORES[-1]
