"""The embedded collection cldr-facts: its facts, splits, sentences and errors."""

from __future__ import annotations

from collections import Counter
from string import Formatter

import babel
import pytest
from babel import Locale, core

from hbt_bench.data import cldr
from hbt_bench.data.cldr import HELD_OUT, LANGUAGES, RELATIONS, SPLITS, Fact, facts, read
from hbt_bench.data.collection import Collection
from hbt_bench.errors import UsageError

LOW_RESOURCE = {"am", "eu", "ha", "km", "ne", "sw", "ta", "yo", "zu"}
XQUAD_R = {"ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh"}

#: Counts and names may change with the release of CLDR; these are those of babel 2.18.
golden = pytest.mark.skipif(
    cldr.cldr_version() != "47", reason=f"the expected values are those of CLDR 47, not {cldr.cldr_version()}"
)


@pytest.fixture(scope="module")
def collections() -> dict[str, Collection]:
    return {split: read(split) for split in SPLITS}


@pytest.fixture(scope="module")
def texts(collections: dict[str, Collection]) -> dict[str, str]:
    queries = {query.id: query.text for collection in collections.values() for query in collection.queries}
    return queries | {document.id: document.text for c in collections.values() for document in c.documents}


def test_languages_are_xquad_r_and_low_resource() -> None:
    assert set(LANGUAGES) == XQUAD_R | LOW_RESOURCE
    assert len(LANGUAGES) == 20
    assert set(HELD_OUT) == {"el", "vi"}
    assert set(HELD_OUT) < set(LANGUAGES)


@golden
def test_counts_of_facts() -> None:
    assert Counter(fact.relation for fact in facts()) == {"currency": 247, "language": 142, "weekday": 241}
    assert Counter(fact.split for fact in facts()) == {"train": 381, "dev": 67, "test": 182}


@golden
@pytest.mark.parametrize(("split", "languages", "count"), [("train", 18, 381), ("dev", 20, 67), ("test", 20, 182)])
def test_counts_of_texts(collections: dict[str, Collection], split: str, languages: int, count: int) -> None:
    collection = collections[split]
    assert len(collection.languages) == languages
    assert len(collection.queries) == len(collection.documents) == languages * count
    assert all(block.stop - block.start == count for block in collection.query_blocks.values())
    assert all(block.stop - block.start == count for block in collection.document_blocks.values())


def test_facts_are_sorted_and_unique() -> None:
    ids = [fact.id for fact in facts()]
    assert ids == sorted(set(ids))
    assert {fact.relation for fact in facts()} == set(RELATIONS) == {"currency", "language", "weekday"}
    assert len(ids) > 500


def test_splits_share_no_fact(collections: dict[str, Collection]) -> None:
    seen: list[str] = []
    for split, collection in collections.items():
        expected = {fact.id for fact in facts() if fact.split == split}
        for language in collection.languages:
            assert {q.question for q in collection.queries[collection.query_blocks[language]]} == expected
        seen.extend(expected)
    assert sorted(seen) == [fact.id for fact in facts()]


def test_split_depends_only_on_id() -> None:
    assert Fact("currency", "CH", "CHF").split == Fact("currency", "CH", "EUR").split == "train"
    assert Fact("language", "NP", "ne").split == "train"
    assert Fact("weekday", "US", "sun").split == "train"
    assert Fact("currency", "GB", "GBP").split == "test"
    assert Fact("currency", "HU", "HUF").split == "dev"


def test_train_has_no_held_out_language(collections: dict[str, Collection]) -> None:
    train = collections["train"]
    assert set(train.languages) == set(LANGUAGES) - set(HELD_OUT)
    assert not {query.language for query in train.queries} & set(HELD_OUT)
    assert not {document.language for document in train.documents} & set(HELD_OUT)
    assert set(collections["dev"].languages) == set(collections["test"].languages) == set(LANGUAGES)


def test_relevant_documents_are_fact_in_all_languages(collections: dict[str, Collection]) -> None:
    for collection in collections.values():
        for row in range(0, len(collection.queries), 97):
            query = collection.queries[row]
            assert query.id == f"{query.language}-q-{query.question}"
            assert collection.relevant(row) == {f"{code}-d-{query.question}": 1 for code in collection.languages}
        assert len(collection.qrels.documents) == len(collection.queries) * len(collection.languages)


@golden
@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("en-q-currency-CH", "Switzerland: what money do people pay with there?"),
        ("en-d-currency-CH", "Switzerland: the official currency there is called Swiss Franc."),
        ("de-q-currency-CH", "Schweiz: Mit welchem Geld bezahlt man dort?"),
        ("de-d-currency-CH", "Schweiz: Die offizielle Währung heißt dort Schweizer Franken."),
        ("sw-q-currency-CH", "Uswisi: watu wa huko hulipa kwa pesa gani?"),
        ("sw-d-currency-CH", "Uswisi: sarafu rasmi ya huko inaitwa Faranga ya Uswisi."),
        ("zh-q-currency-CH", "瑞士：当地人买东西用什么钱？"),
        ("zh-d-currency-CH", "瑞士：那里的法定货币叫做瑞士法郎。"),
        ("es-q-currency-CH", "Suiza: ¿con qué dinero se paga allí?"),
        ("el-d-currency-GB", "Ηνωμένο Βασίλειο: το επίσημο νόμισμα εκεί ονομάζεται «Λίρα Στερλίνα Βρετανίας»."),
        ("ru-d-language-NP", "Непал: официальный язык там — непальский."),
        ("eu-d-language-NP", "Nepal: hango hizkuntza ofiziala nepalera da."),
        ("th-d-language-NP", "เนปาล: ภาษาทางการของที่นั่นคือภาษาเนปาล"),
        ("en-d-weekday-US", "United States: the first day of the week there is Sunday."),
        ("tr-d-weekday-US", "Amerika Birleşik Devletleri: Orada hafta Pazar günü başlar."),
        ("zu-d-weekday-US", "i-United States: iviki lapho liqala ngosuku olubizwa ngokuthi ISonto."),
    ],
)
def test_sentences(texts: dict[str, str], key: str, expected: str) -> None:
    assert texts[key] == expected


def test_every_sentence_has_cldr_names(texts: dict[str, str]) -> None:
    for language in LANGUAGES:
        locale = Locale(language)
        days = dict(zip(cldr._WEEKDAYS, (locale.days["format"]["wide"][day] for day in range(7)), strict=True))
        names = {"currency": locale.currencies, "language": locale.languages, "weekday": days}
        for fact in facts():
            if f"{language}-q-{fact.id}" not in texts:
                assert (language in HELD_OUT, fact.split) == (True, "train")
                continue
            territory, answer = locale.territories[fact.territory], names[fact.relation][fact.answer]
            assert territory != fact.territory
            assert answer != fact.answer
            assert territory in texts[f"{language}-q-{fact.id}"]
            assert territory in texts[f"{language}-d-{fact.id}"]
            assert answer in texts[f"{language}-d-{fact.id}"]


def test_texts_are_unique_within_language(texts: dict[str, str]) -> None:
    for language in LANGUAGES:
        every = [text.casefold() for key, text in texts.items() if key.startswith(f"{language}-")]
        assert len(every) == len(set(every)) >= 400


@golden
@pytest.mark.parametrize(
    ("fact", "answer"),
    [
        ("currency-CH", "CHF"),
        ("currency-HR", "EUR"),  # since 2023
        ("currency-BG", "BGN"),  # the euro came after the fixed day
        ("currency-PA", None),  # balboa and US dollar
        ("currency-EU", None),
        ("language-NP", "ne"),
        ("language-JP", "ja"),
        ("language-CH", None),  # four
        ("language-ZA", None),  # English, and ten regional ones
        ("weekday-US", "sun"),
        ("weekday-DE", "mon"),
        ("weekday-GB", "mon"),
        ("weekday-IN", "sun"),
        ("weekday-EG", "sat"),
        ("weekday-MV", "fri"),
        ("weekday-AO", None),  # its only likely locale inherits the week of Portugal
        ("weekday-AQ", None),  # no locale
    ],
)
def test_answers_of_facts(fact: str, answer: str | None) -> None:
    assert {item.id: item.answer for item in facts()}.get(fact) == answer


def test_read_restricts_to_languages() -> None:
    pair = read("dev", ["sw", "en"])
    assert pair.languages == ("en", "sw")
    assert set(pair.relevant(0)) == {f"{code}-d-{pair.queries[0].question}" for code in ("en", "sw")}
    assert read("dev", ["en", "sw"]).fingerprint == pair.fingerprint == read("dev").restrict(["en", "sw"]).fingerprint


def test_read_is_deterministic(collections: dict[str, Collection]) -> None:
    facts.cache_clear()
    cldr._names.cache_clear()
    again = {split: read(split) for split in SPLITS}
    assert {c.fingerprint for c in again.values()} == {c.fingerprint for c in collections.values()}
    assert len({c.fingerprint for c in again.values()}) == 3
    assert {c.name for c in again.values()} == {"cldr-facts"}


def test_reading_leaves_babel_unchanged() -> None:
    read("dev")
    assert Locale("en", "US").first_week_day == 6
    assert Locale("pt", "AO").first_week_day == Locale("pt", "PT").first_week_day == 6


def test_unknown_split_is_refused() -> None:
    with pytest.raises(UsageError, match="no split 'tests'; did you mean 'test'"):
        read("tests")


def test_unknown_language_is_refused() -> None:
    with pytest.raises(UsageError, match="no language 'swahili'; did you mean 'sw'"):
        read("test", ["swahili"])
    with pytest.raises(UsageError, match=r"cldr-facts \(train\) has no language 'el'"):
        read("train", ["el"])


def test_old_babel_gives_its_own_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(core, "get_cldr_version", raising=False)
    assert cldr.cldr_version() == f"babel-{babel.__version__}"


def test_templates_have_every_relation_and_placeholder() -> None:
    for code, relations in cldr._TEMPLATES.items():
        assert isinstance(code, str)  # `no` without quotation marks is false
        assert set(relations) == set(RELATIONS)
        for question, answer in relations.values():
            assert sorted(name for _, name, _, _ in Formatter().parse(question) if name) == ["territory"]
            assert sorted(name for _, name, _, _ in Formatter().parse(answer) if name) == ["answer", "territory"]
