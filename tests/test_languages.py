"""Check the codes of languages, in all spellings, and the selection of languages."""

from __future__ import annotations

import pytest

from hbt_bench.errors import UsageError
from hbt_bench.languages import (
    LANGUAGES,
    find,
    from_mteb,
    general,
    get_language,
    match_labels,
    parse_code,
    read_label,
    select,
    tags,
)


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


@pytest.mark.parametrize(
    ("text", "code", "mteb"),
    [
        ("en", "en", "eng-Latn"),
        ("EN", "en", "eng-Latn"),
        ("eng", "en", "eng-Latn"),
        ("eng_Latn", "en", "eng-Latn"),
        ("en-US", "en-US", "eng-Latn"),
        ("en_US.UTF-8", "en-US", "eng-Latn"),
        ("es-419", "es-419", "spa-Latn"),
        ("pt-rBR", "pt-BR", "por-Latn"),
        ("zh-Hans", "zh", "zho-Hans"),
        ("zho_Hant", "zh-Hant", "zho-Hant"),
        ("zh-hani", "zh", "zho-Hans"),
        ("zh-CN", "zh-CN", "zho-Hans"),
        ("zh-TW", "zh-TW", "zho-Hant"),
        ("zh-Hant-HK", "zh-HK", "zho-Hant"),
        ("zh-Hans-TW", "zh-Hans-TW", "zho-Hans"),
        ("zh-yue", "yue", "yue-Hant"),
        ("zh-cmn-Hans", "cmn", "cmn-Hans"),
        ("b+sr+Latn", "sr-Latn", "srp-Latn"),
        ("sr_RS@latin", "sr-Latn-RS", "srp-Latn"),
        ("sr-ME", "sr-ME", "srp-Latn"),
        ("uz-AF", "uz-AF", "uzb-Arab"),
        ("sh", "sr-Latn", "srp-Latn"),
        ("ca_ES@valencia", "ca-ES-valencia", "cat-Latn"),
        ("de-1996", "de-1996", "deu-Latn"),
        ("en-u-ca-buddhist", "en", "eng-Latn"),
        ("iw", "he", "heb-Hebr"),
        ("in", "id", "ind-Latn"),
        ("ger", "de", "deu-Latn"),
        ("nb", "nb", "nob-Latn"),
        ("no", "no", "nor-Latn"),
        ("nno", "nn", "nno-Latn"),
        ("bho", "bho", "bho-Deva"),
        ("lat", "la", "lat-Latn"),
        ("san_Deva", "sa", "san-Deva"),
        ("tw", "ak", "twi-Latn"),
        ("aka", "aka", "aka-Latn"),
        ("kas_Deva", "ks-Deva", "kas-Deva"),
        ("ja-Hira", "ja", "jpn-Jpan"),
        ("ko-Kore", "ko", "kor-Hang"),
        ("akj-Latn", "akj-Latn", "akj-Latn"),
    ],
)
def test_tag_is_parsed_in_every_spelling(text, code, mteb):
    assert parse_code(text) == code
    assert get_language(code).mteb == mteb
    assert parse_code(code) == code  # a code is its own shortest form


@pytest.mark.parametrize(
    "text", ["", "e", "german", "xyz", "akj", "en-multi", "de-en", "en-XX-", "und", "en-Xxxx", "de-train"]
)
def test_other_text_is_no_code(text):
    assert parse_code(text) is None
    assert find(text) is None


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("pt-BR", "pt"),
        ("zh-TW", "zh-Hant"),
        ("zh-CN", "zh"),
        ("sr-ME", "sr-Latn"),
        ("cmn", "zh"),
        ("nb", "no"),
        ("arb-Latn", "ar-Latn"),
        ("ary", "ary"),
        ("en", "en"),
        ("ca-valencia", "ca"),
        ("akj-Latn", "akj-Latn"),
    ],
)
def test_general_code_has_no_region(code, expected):
    assert general(code) == expected


def test_variants_have_names_and_keep_their_class():
    assert get_language("zh-Hant").name == "Chinese (Traditional)"
    assert get_language("pt-BR").name == "Portuguese (Brazil)"
    assert get_language("sr-ME").name == "Serbian (Montenegro)"
    assert (get_language("zh-Hant").resources, get_language("zh-Hant").family) == (5, "Sino-Tibetan:Sinitic")
    assert (get_language("dee").name, get_language("dee").resources) == ("Dewoin", None)
    assert get_language("nyn").family == "Niger-Congo:Bantu"  # of MTEB's table, in the names of ours
    assert not get_language("dee").low_resource


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("en-US pt-BR", {"en": "en-US", "pt": "pt-BR"}),
        ("pt-BR pt-PT", {"pt-BR": "pt-BR", "pt-PT": "pt-PT"}),
        ("pt pt-BR", {"pt": "pt", "pt-BR": "pt-BR"}),
        ("zh-CN zh-TW", {"zh": "zh-CN", "zh-Hant": "zh-TW"}),
        ("zh-TW zh-HK", {"zh-HK": "zh-HK", "zh-TW": "zh-TW"}),
        ("zho_Hans zho_Hant", {"zh": "zho_Hans", "zh-Hant": "zho_Hant"}),
        ("cmn zho arb", {"ar": "arb", "zh": "zho"}),
        ("eng_Latn en EN", {"en": "en"}),
        ("English German klingon", {"de": "German", "en": "English"}),
        ("sr-Latn sr-Cyrl sr", {"sr": "sr", "sr-Latn": "sr-Latn"}),
        ("iw nb fil", {"he": "iw", "no": "nb", "tl": "fil"}),
        ("url pos dev nan NA doi en", {"en": "en"}),
        ("dee-Latn", {"dee": "dee-Latn"}),
        ("doc_de doc_fr id_de id_en to_do en_us de-de", {"de": "de-de", "en": "en_us"}),
        (
            "zh-cn zh_tw pt-br es-419 sr-latn-rs id-ID",
            {"es": "es-419", "id": "id-ID", "pt": "pt-br"}
            | {"sr-Latn": "sr-latn-rs"}
            | {"zh": "zh-cn", "zh-Hant": "zh_tw"},
        ),
    ],
)
def test_labels_of_a_data_set_have_general_codes(labels, expected):
    assert match_labels(labels.split()) == expected


def test_names_of_scripts_and_regions_are_labels():
    assert match_labels(["Traditional Chinese", "Simplified Chinese", "brazilian portuguese"]) == {
        "pt": "brazilian portuguese",
        "zh": "Simplified Chinese",
        "zh-Hant": "Traditional Chinese",
    }


def test_wanted_codes_of_labels_are_kept():
    assert match_labels(["pt-BR", "nb"], wanted=["pt-BR", "nb"]) == {"nb": "nb", "pt-BR": "pt-BR"}
    assert match_labels(["dee", "pos"], rare=True) == {"dee": "dee", "pos": "pos"}


@pytest.mark.parametrize("label", [None, 1, True, ["en"], {"en": "x"}, "nan", "train", "url", " "])
def test_other_values_are_no_labels(label):
    assert read_label(label) is None


def test_every_language_of_mteb_has_a_code():
    names = tags.names()
    assert len(names) > 7900
    for iso in names.keys() - {"und"}:
        code = parse_code(f"{iso}-Latn")
        assert get_language(code).mteb == f"{iso}-Latn"
        assert parse_code(code) == code


@pytest.mark.parametrize(
    ("task", "count"),
    [
        ("FloresBitextMining", 204),
        ("BelebeleRetrieval", 122),
        ("NTREXBitextMining", 121),
        ("Tatoeba", 113),
        ("MIRACLRetrieval", 18),
        ("MKQARetrieval", 27),
        ("IN22ConvBitextMining", 23),
        ("MLQARetrieval", 7),
    ],
)
def test_languages_of_multilingual_tasks_have_different_codes(task, count):
    import mteb

    labels = {label for pair in mteb.get_task(task).metadata.eval_langs.values() for label in pair}
    codes = {label: parse_code(label) for label in labels}
    assert len(codes) == len(set(codes.values())) == count
    same = {"kor-Kore": "kor-Hang", "jpn-Hira": "jpn-Jpan"}
    assert all(get_language(code).mteb == same.get(label, label) for label, code in codes.items())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("zho_Hant", ("zh-Hant",)),
        ("EN,pt_br", ("en", "pt-BR")),
        ("zh-Hans", ("zh",)),
        ("script:Hant", ("zh-Hant",)),
        ("family:Sinitic", ("zh", "zh-Hant")),
        ("low-resource", ("bho",)),
    ],
)
def test_select_takes_codes_in_any_spelling(words, expected):
    assert select(words.split(","), ("bho", "en", "pt-BR", "pt-PT", "zh", "zh-Hant"), "demo") == expected


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("pt", "'pt-BR' or 'pt-PT'"),
        ("en-GB", "'en'"),
        ("zh-TW", "'zh' or 'zh-Hant'"),
        ("Chinese (Traditional)", "'zh-Hant'"),
    ],
)
def test_selection_suggests_other_regions_and_scripts(word, hint):
    with pytest.raises(UsageError, match=f"demo has no language '.*'; did you mean {hint}?"):
        select([word], ("en", "pt-BR", "pt-PT", "zh", "zh-Hant"), "demo")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("zho_Hant", "unknown language code 'zho_Hant'; did you mean 'zh-Hant'?"),
        ("german", "unknown language code 'german'; did you mean 'de'?"),
        ("klingon", "unknown language code 'klingon'. A code is a BCP 47 tag of a language of ISO 639, such as bho,"),
        ("akj", "unknown language code 'akj': the usual script of Aka-Jeru is unknown, so add it: akj-Latn"),
    ],
)
def test_unknown_code_states_how_to_declare_a_language(code, message):
    with pytest.raises(UsageError) as caught:
        get_language(code)
    assert str(caught.value).startswith(message)


def test_mteb_knows_every_code():
    from mteb.languages import check_language_code

    for language in LANGUAGES.values():
        check_language_code(language.mteb)
    with pytest.raises(ValueError, match="xyz"):
        check_language_code("xyz-Latn")
