"""Query shift: what each kind does to texts of several scripts, and that it depends on nothing but query and seed."""

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


def test_words_are_pieces_of_the_text():
    assert [piece for piece in words("Who's there?") if piece.strip()] == ["Who's", "there", "?"]
    assert words("谁建造了") == ["谁建", "造了"]
    assert words("สะพาน") == ["สะ", "พา", "น"]
    for text in TEXTS.values():
        assert "".join(words(text)) == text


def test_without_diacritics():
    found = shifted("no-diacritics")
    assert found["de"] == "Wer hat die Brucke uber den Fluss gebaut?"
    assert found["ar"] == "من بنى الجسر؟"
    assert found["ru"] == "Какой еж построил мост?"  # й is a letter, not an и with a mark
    assert found["hi"] == TEXTS["hi"]  # vowel signs are no ornament
    assert found["th"] == TEXTS["th"]
    assert shifted("no-diacritics", {"vi": "Ai đã xây cây cầu", "en": "x"})["vi"] == "Ai da xay cay cau"


def test_what_has_no_marks_to_lose_stays_as_it_is_written():
    texts = {
        "hi": "ज\u093cमीन \u095b\u0958 \u0915\u093c",  # nukta apart and in one character, which NFC takes apart
        "ar": "أين آخر سؤال إلى رأي شيئًا",  # hamza and madda make letters, the tanwin goes
        "uk": "їжак йде, ўсё ќ ѓ за́мок",
        "de": "Bru\u0308cke \u212b",  # decomposed, and a sign that NFC would replace
        "ko": "\u1112\u1161\u11ab",
    }
    found = shifted("no-diacritics", texts)
    assert found["hi"] == texts["hi"]
    assert found["ar"] == "أين آخر سؤال إلى رأي شيئا"
    assert found["uk"] == "їжак йде, ўсе ќ ѓ замок"
    assert found["de"] == "Brucke A"
    assert found["ko"] == texts["ko"]
    one = shifted("no-diacritics@0.01", {"de": "e\u0301e\u0301e\u0301", "en": "é"})["de"]
    assert sorted(map(len, one.split("e"))) == [0, 0, 1, 1]  # what keeps its mark keeps its form


def test_transliterated():
    found = shifted("transliterated")
    assert found["ru"] == "Kakoy ezh postroil most?"
    assert found["en"] == TEXTS["en"]
    assert found["de"].isascii()
    assert all(part.isascii() for part in found["zh"][:-1])


def test_keywords_are_the_rare_words_in_their_order():
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


def test_code_switch_takes_words_of_the_parallel_query():
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


def test_typos_touch_a_share_of_the_letters():
    for code, text in shifted("typos@0.2").items():
        assert text != TEXTS[code]
        assert abs(len(text) - len(TEXTS[code])) <= 10
    assert shifted("typos@0.2:1")["en"] != shifted("typos@0.2:2")["en"]
    assert shifted("typos@0.2:1") == shifted("typos@0.2:1")


@pytest.mark.parametrize("kind", sorted(STRENGTHS))
def test_a_query_does_not_depend_on_the_others_in_other_languages(kind):
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
def test_any_text_stays_a_query(texts, kind, strength):
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
def test_a_mistyped_shift(text, message):
    with pytest.raises(UsageError) as caught:
        Shift.parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["typos", "typos@0.2", "typos@0.2:7", "keywords:3", "no-diacritics"])
def test_a_shift_is_written_as_it_is_read(text):
    assert str(Shift.parse(text)) == text


def test_words_come_from_languages_that_only_documents_are_wanted_in():
    """English queries, German documents: the other words are those of German queries that are not asked themselves."""
    (selection,) = select_tasks("cldr-facts-multi[en>de]+code-switch@1")
    spec = selection.spec
    found, clean = spec.load(), spec.unshifted.load()
    assert {query.language for query in found.queries} == {"en"}
    assert {document.language for document in found.documents} == {"de"}
    both = select_tasks("cldr-facts-multi[de,en]+code-switch@1")[0].spec.load()
    expected = {query.id: query.text for query in both.queries if query.language == "en"}
    assert {query.id: query.text for query in found.queries} == expected
    assert all(query.text != before.text for query, before in zip(found.queries, clean.queries, strict=True))
    assert found.unshifted == clean.fingerprint
    assert clean.unshifted is None


def test_a_shift_is_part_of_the_name_and_of_the_data():
    selection = select_tasks("cldr-facts-multi[de,en]+typos@0.2")[0]
    spec = selection.spec
    assert spec.task_name("multi") == "cldr-facts-multi[de,en]+typos@0.2"
    assert spec.mteb_task_name("multi") == "CldrFactsMultilingualRetrieval_de_en_typos_at0.2"
    clean = TaskRegistry().specs["cldr-facts"].load(["de", "en"])
    shifted = spec.load()
    assert shifted.documents == clean.documents
    assert shifted.fingerprint != clean.fingerprint
    assert spec.unshifted.load().fingerprint == clean.fingerprint
    two = select_tasks("cldr-facts-multi+typos,cldr-facts-multi,cldr-facts-mono+typos")
    assert [(one.spec.name, one.modes) for one in two] == [
        ("cldr-facts+typos", ("mono", "multi")),
        ("cldr-facts", ("multi",)),
    ]
