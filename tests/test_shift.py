"""Query shift: the effect of each kind on several scripts, which depends only on query and seed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.data.query_shift import STRENGTHS, Shift, words
from hbt_bench.errors import UsageError
from hbt_bench.tasks.registry import TaskRegistry, select_tasks

TEXTS = {
    "de": "Wer hat die Brücke über den Fluss gebaut?",
    "en": "Who built the bridge over the river?",
    "zh": "谁建造了这座桥？",
    "th": "ใครสร้างสะพานข้ามแม่น้ำ",
    "ar": "مَنْ بَنَى الجِسْرَ؟",
    "ru": "Какой ёж построил мост?",
    "hi": "पुल किसने बनाया?",
}


def collection(texts=TEXTS, more=()):
    queries = [Query(f"{code}-1", code, text, "1") for code, text in texts.items()]
    queries += [Query(f"{code}-{number}", code, text, number) for code, number, text in more]
    documents = [Document(f"{code}-d", code, "x") for code in texts]
    relevant = {query.id: {document.id: 1 for document in documents} for query in queries}
    return Collection.from_records("demo", queries, documents, relevant)


def shifted(name, texts=TEXTS, more=()):
    return {
        query.id.removesuffix("-1"): query.text for query in Shift.parse(name).apply(collection(texts, more)).queries
    }


def test_words_joined_are_text():
    assert [piece for piece in words("Who's there?") if piece.strip()] == ["Who's", "there", "?"]
    assert words("谁建造了") == ["谁建", "造了"]
    assert words("สะพาน") == ["สะ", "พา", "น"]
    assert words("ラーメン屋") == ["ラー", "メン", "屋"]
    for text in TEXTS.values():
        assert "".join(words(text)) == text


def test_no_diacritics_removes_marks():
    texts = shifted("no-diacritics")
    assert texts["de"] == "Wer hat die Brucke uber den Fluss gebaut?"
    assert texts["ar"] == "من بنى الجسر؟"
    assert texts["ru"] == "Какой еж построил мост?"  # й is a letter, not an и with a mark
    assert texts["hi"] == TEXTS["hi"]  # vowel signs belong to the word
    assert texts["th"] == TEXTS["th"]
    assert shifted("no-diacritics", {"vi": "Ai đã xây cây cầu", "en": "x"})["vi"] == "Ai da xay cay cau"


def test_letters_without_marks_keep_normal_form():
    texts = {
        "hi": "ज\u093cमीन \u095b\u0958 \u0915\u093c",  # nukta, separate and in a composed character, which NFC splits
        "ar": "أين آخر سؤال إلى رأي شيئًا",  # hamza and madda make letters, the tanwin goes
        "uk": "їжак йде, ўсё ќ ѓ за́мок",
        "de": "Bru\u0308cke \u212b",  # decomposed, and a sign that NFC would replace
        "ko": "\u1112\u1161\u11ab",
    }
    shifted_texts = shifted("no-diacritics", texts)
    assert shifted_texts["hi"] == texts["hi"]
    assert shifted_texts["ar"] == "أين آخر سؤال إلى رأي شيئا"
    assert shifted_texts["uk"] == "їжак йде, ўсе ќ ѓ замок"
    assert shifted_texts["de"] == "Brucke A"
    assert shifted_texts["ko"] == texts["ko"]
    partly = shifted("no-diacritics@0.01", {"de": "e\u0301e\u0301e\u0301", "en": "é"})["de"]
    assert sorted(map(len, partly.split("e"))) == [0, 0, 1, 1]  # letters that keep their mark keep their form


def test_transliterated():
    texts = shifted("transliterated")
    assert texts["ru"] == "Kakoy ezh postroil most?"
    assert texts["en"] == TEXTS["en"]
    assert texts["de"].isascii()
    assert all(letter.isascii() for letter in texts["zh"][:-1])


def test_keywords_are_rare_words_in_order():
    more = [("en", "2", "Who built the river?"), ("en", "3", "Who over the river?")]
    assert shifted("keywords@0.3", {"en": TEXTS["en"], "de": TEXTS["de"]}, more)["en"] == "built bridge over"
    assert shifted("keywords@0.01", {"en": TEXTS["en"], "de": TEXTS["de"]}, more)["en"] == "bridge"
    assert shifted("keywords@0.5")["zh"] in ("谁建造了", "谁建这座", "造了这座", "谁建桥", "造了桥", "这座桥")


def test_truncated_queries_are_beginnings():
    assert shifted("truncated")["en"] == "Who built the"
    assert shifted("truncated@0.1")["en"] == "Who built the bridge over the"
    assert shifted("truncated@1")["en"] == "Who"
    for code, text in shifted("truncated").items():
        assert TEXTS[code].startswith(text)
        assert len(text) < len(TEXTS[code])


def test_code_switch_takes_words_of_parallel_query():
    texts = {"de": "eins zwei drei vier", "en": "one two three four"}
    assert shifted("code-switch@1", texts) == {"de": "one two three four", "en": "eins zwei drei vier"}
    half = shifted("code-switch", texts)["de"].split()
    assert sum(word in texts["en"].split() for word in half) == 2
    assert [
        word if word in texts["de"] else {"one": "eins", "two": "zwei", "three": "drei", "four": "vier"}[word]
        for word in half
    ] == texts["de"].split()
    mixed = shifted("code-switch", {"en": TEXTS["en"], "zh": TEXTS["zh"]})
    assert any("a" <= character <= "z" for character in mixed["zh"])
    with pytest.raises(UsageError, match="it takes words from the same question in another language"):
        Shift.parse("code-switch").apply(collection({"en": "one two"}))


def test_typos_change_share_of_letters():
    for code, text in shifted("typos@0.2").items():
        assert text != TEXTS[code]
        assert abs(len(text) - len(TEXTS[code])) <= 10
    assert shifted("typos@0.2:1")["en"] != shifted("typos@0.2:2")["en"]
    assert shifted("typos@0.2:1") == shifted("typos@0.2:1")


@pytest.mark.parametrize("kind", sorted(STRENGTHS))
def test_query_is_independent_of_other_languages(kind):
    if kind == "code-switch":
        return
    alone = {code: shifted(kind, {code: TEXTS[code], "de": TEXTS["de"]})[code] for code in ("ar", "ru")}
    assert alone == {code: shifted(kind)[code] for code in alone}


@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(st.text(min_size=1, max_size=30).filter(str.strip), min_size=2, max_size=4, unique=True),
    kind=st.sampled_from(sorted(STRENGTHS)),
    strength=st.sampled_from([0.05, 0.5, 1]),
)
def test_any_text_stays_valid_query(texts, kind, strength):
    codes = sorted(TEXTS)[: len(texts)]
    before = collection(dict(zip(codes, texts, strict=True)))
    try:
        after = Shift(kind, strength).apply(before)
    except UsageError:  # nothing to change
        return
    assert [query.id for query in after.queries] == [query.id for query in before.queries]
    assert all(query.text.strip() for query in after.queries)
    assert after.documents == before.documents
    assert after.fingerprint != before.fingerprint
    assert after.fingerprint == Shift(kind, strength).apply(before).fingerprint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("typo", "unknown query shift 'typo'; did you mean 'typos'?"),
        ("typos@2", "'typos@2': write typos@0.2 or typos@0.2:7"),
        ("typos@0", "'typos@0': write typos@0.2 or typos@0.2:7"),
        ("typos@x", "'typos@x': write typos@0.2 or typos@0.2:7"),
        ("", ", ".join(STRENGTHS)),
    ],
)
def test_mistyped_shift_is_refused(text, message):
    with pytest.raises(UsageError) as caught:
        Shift.parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["typos", "typos@0.2", "typos@0.2:7", "keywords:3", "no-diacritics"])
def test_shift_text_round_trips(text):
    assert str(Shift.parse(text)) == text


def test_code_switch_uses_languages_of_documents():
    """With English queries and German documents, the other words come from German queries that are not in the task."""
    (selection,) = select_tasks("cldr-facts-multi[en>de]+code-switch@1")
    spec = selection.spec
    mixed, unshifted = spec.load(), spec.unshifted.load()
    assert {query.language for query in mixed.queries} == {"en"}
    assert {document.language for document in mixed.documents} == {"de"}
    both = select_tasks("cldr-facts-multi[de,en]+code-switch@1")[0].spec.load()
    expected = {query.id: query.text for query in both.queries if query.language == "en"}
    assert {query.id: query.text for query in mixed.queries} == expected
    assert all(query.text != before.text for query, before in zip(mixed.queries, unshifted.queries, strict=True))
    assert mixed.unshifted == unshifted.fingerprint
    assert unshifted.unshifted is None


def test_shift_changes_name_and_data():
    selection = select_tasks("cldr-facts-multi[de,en]+typos@0.2")[0]
    spec = selection.spec
    assert spec.task_name("multi") == "cldr-facts-multi[de,en]+typos@0.2"
    assert spec.mteb_task_name("multi") == "CldrFactsMultilingualRetrieval_de_en_typos_at0.2"
    unshifted = TaskRegistry().specs["cldr-facts"].load(["de", "en"])
    shifted = spec.load()
    assert shifted.documents == unshifted.documents
    assert shifted.fingerprint != unshifted.fingerprint
    assert spec.unshifted.load().fingerprint == unshifted.fingerprint
    selections = select_tasks("cldr-facts-multi+typos,cldr-facts-multi,cldr-facts-mono+typos")
    assert [(selection.spec.name, selection.modes) for selection in selections] == [
        ("cldr-facts+typos", ("mono", "multi")),
        ("cldr-facts", ("multi",)),
    ]
