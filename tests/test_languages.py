"""Check the table of languages and the selection of languages."""

from __future__ import annotations

import pytest

from hbt_bench.errors import UsageError
from hbt_bench.languages import LANGUAGES, from_mteb, select


def test_language_table():
    assert len(LANGUAGES) == 317
    swahili = LANGUAGES["sw"]
    assert (swahili.mteb, swahili.resources, swahili.family) == ("swa-Latn", 2, "Niger-Congo:Bantu")
    assert len({language.iso639_3 for language in LANGUAGES.values()}) == len(LANGUAGES)
    assert {language.resources for language in LANGUAGES.values()} == {0, 1, 2, 3, 4, 5, None}


def test_low_resource_is_classes_0_to_2():
    assert [code for code in ("en", "hi", "el", "sw", "yo", "te", "si") if LANGUAGES[code].low_resource] == [
        "sw",
        "yo",
        "te",
        "si",
    ]


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("deu-Latn", "de"),
        ("arb_Arab", "ar"),
        ("arb_Latn", "ar-Latn"),
        ("swh", "sw"),
        ("zho-Hans", "zh"),
        ("zho-Hant", "zh-Hant"),
        ("kor-Kore", "ko"),
        ("jpn-Hira", "ja"),
        ("xyz-Latn", None),
        ("nob-Latn", "no"),
    ],
)
def test_from_mteb(label, code):
    assert from_mteb(label) == code


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["low-resource"], ("am", "sw", "yo", "zu")),
        (["script:Arab"], ("ar", "fa")),
        (["script:arab", "en"], ("ar", "en", "fa")),
        (["family:Bantu"], ("sw", "zu")),
        (["family:semitic"], ("am", "ar")),
        (["family:Niger-Congo"], ("sw", "yo", "zu")),
    ],
)
def test_select_by_group(wanted, expected):
    assert select(wanted, ("am", "ar", "en", "fa", "sw", "yo", "zu"), "demo") == expected


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("script:Arap", "unknown script 'Arap'; did you mean 'Arab'?"),
        ("family:Bantuu", "unknown family 'Bantuu'; did you mean 'Bantu'?"),
        ("script:Thai", "demo has no language of 'script:Thai' (it has de en)"),
        ("low-resource", "demo has no language of 'low-resource' (it has de en)"),
        ("low", "demo has no language 'low' (it has de en)"),
    ],
)
def test_unknown_group_is_wrong_usage(wanted, message):
    with pytest.raises(UsageError) as caught:
        select([wanted], ("de", "en"), "demo")
    assert str(caught.value) == message


def test_mteb_knows_every_code():
    from hbt_bench.checks.smoke import unknown_to_mteb

    assert unknown_to_mteb(language.mteb for language in LANGUAGES.values()) == []
    assert unknown_to_mteb(["xyz-Latn"]) == ["xyz-Latn"]
