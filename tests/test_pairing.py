"""Check which records of two languages are versions of the same item."""

import random

import pytest

from hbt_bench.errors import DataError
from hbt_bench.training import pairing
from hbt_bench.training.pairing import ids_agree_by_chance, related
from hbt_bench.training.table import PASSAGE, QUERY, TableWriter

ENGLISH = ["parking", "refund", "breakfast", "luggage", "taxi", "pool", "invoice", "towel", "garden", "station"]
GERMAN = ["Rechnung", "Rad", "Handtuch", "Bahnhof", "Apotheke", "Strom", "Koffer", "Heizung", "Fenster", "Dach"]


def sentences(words, count, seed):
    """Return questions and answers of random words and lengths."""
    draw = random.Random(seed)
    return [
        (" ".join(draw.choices(words, k=draw.randint(2, 9))), " ".join(draw.choices(words, k=draw.randint(3, 20))))
        for _ in range(count)
    ]


def translated(texts):
    """Return a word by word translation, which keeps the order of lengths."""
    words = dict(zip(ENGLISH, GERMAN, strict=True))
    return [tuple(" ".join(words[word] for word in text.split()) for text in pair) for pair in texts]


def pieces(texts, language, ids):
    return [
        (key, f"{language}:{number}", language, q, a)
        for number, ((q, a), key) in enumerate(zip(texts, ids, strict=True))
    ]


def pair(name, records, parallel, advice):
    """Return the languages of each item's query, and why there are no pairs of two languages."""
    writer = TableWriter()
    for key, position, language, query, answer in records:
        writer.owner(key, position)
        writer.add(language, QUERY, query)
        writer.add(language, PASSAGE, answer)
    table, unpaired = pairing.pair(name, writer.done(), parallel, advice)
    codes = [set() for _ in table.names]
    for owner, language, role in zip(table.owner, table.language, table.role, strict=True):
        if role == QUERY:
            codes[owner].add(table.languages[language])
    return [tuple(sorted(each)) for each in codes], unpaired


languages = set


COUNTERS = [str(number) for number in range(40)]
HASHES = [f"{number * 7919:032x}" for number in range(40)]
ENGLISH_40, OTHER_40 = sentences(ENGLISH, 40, 1), sentences(GERMAN, 40, 2)


@pytest.mark.parametrize("ids", [COUNTERS, [f"q{key}" for key in COUNTERS], [f"train/{key}" for key in COUNTERS]])
def test_unrelated_texts_with_equal_row_numbers_stay_apart(ids):
    items, unpaired = pair("faq", [*pieces(ENGLISH_40, "en", ids), *pieces(OTHER_40, "de", ids)], None, "")
    assert (len(items), languages(items)) == (80, {("de",), ("en",)})
    assert "texts with the same id in 'de' and 'en' look unrelated: set `parallel: true`" in unpaired


def test_translations_with_row_numbers_are_pairs():
    both = [*pieces(ENGLISH_40, "en", COUNTERS), *pieces(translated(ENGLISH_40), "de", COUNTERS)]
    items, unpaired = pair("faq", both, None, "")
    assert (len(items), languages(items), unpaired) == (40, {("de", "en")}, "")


def test_ids_that_cannot_agree_by_chance_are_believed():
    items, unpaired = pair("faq", [*pieces(ENGLISH_40, "en", HASHES), *pieces(OTHER_40, "de", HASHES)], None, "")
    assert (len(items), languages(items), unpaired) == (40, {("de", "en")}, "")


@pytest.mark.parametrize(("parallel", "count"), [(True, 40), (False, 80)])
def test_recipe_decides_over_ids_and_texts(parallel, count):
    items, unpaired = pair(
        "faq", [*pieces(ENGLISH_40, "en", COUNTERS), *pieces(OTHER_40, "de", COUNTERS)], parallel, ""
    )
    assert (len(items), unpaired) == (count, "")


def test_records_without_ids_stay_apart():
    nothing = [None] * 40
    items, unpaired = pair("faq", [*pieces(ENGLISH_40, "en", nothing), *pieces(OTHER_40, "de", nothing)], None, "do it")
    assert (len(items), unpaired) == (80, "no record has an id: do it")
    with pytest.raises(DataError, match="faq has no ids, by which `parallel: true` pairs records"):
        pair("faq", pieces(ENGLISH_40, "en", nothing), True, "")


def test_ids_of_one_language_each():
    items, unpaired = pair(
        "faq",
        [*pieces(ENGLISH_40, "en", COUNTERS), *pieces(OTHER_40, "de", [f"de-{key}" for key in COUNTERS])],
        None,
        "do it",
    )
    assert (len(items), unpaired) == (80, "no id is in two languages: do it")


def test_one_language_needs_no_ids():
    assert pair("faq", pieces(ENGLISH_40, "en", [None] * 40), None, "")[1] == ""


def test_repeated_id_names_its_record():
    with pytest.raises(DataError, match=r"^en:1 repeats the id 'x' in 'en': set `id` to a field"):
        pair("faq", pieces(ENGLISH_40[:2], "en", ["x", "x"]), None, "")


@pytest.mark.parametrize(
    ("first", "second", "by_chance"),
    [
        (range(50), range(50), True),
        (range(1, 51), range(90), True),
        (range(0, 500, 10), range(0, 500, 7), True),  # two samples of row numbers
        ([10**9 + 7919 * n for n in range(50)], [10**9 + 7919 * n for n in range(50)], False),
        (
            [f"doc{n}-{k}" for n in range(10) for k in range(5)],
            [f"doc{n}-{k}" for n in range(10) for k in range(5)],
            True,
        ),
        ([f"{n * 7919:032x}" for n in range(50)], [f"{n * 7919:032x}" for n in range(50)], False),
        (["red", "green"], ["red", "green"], False),
    ],
)
def test_ids_that_row_numbers_could_be(first, second, by_chance):
    assert ids_agree_by_chance(map(str, first), map(str, second)) is by_chance


def test_random_texts_are_rarely_related():
    """One in a hundred pairs of unrelated texts may look related; of 60 pairs, more than four are very unlikely."""
    wrong = sum(related(sentences(ENGLISH, 20, seed), sentences(GERMAN, 20, 1000 + seed)) for seed in range(60))
    right = sum(related(texts := sentences(ENGLISH, 20, seed), translated(texts)) for seed in range(20))
    assert wrong <= 4
    assert right == 20


def test_shared_numbers_are_a_sign():
    years = [str(1900 + number * 3) for number in range(20)]
    texts = [([f"Was {year}?", "Ja."], [f"وقع {year}؟", "نعم."]) for year in years]
    assert related([tuple(first) for first, _ in texts], [tuple(second) for _, second in texts])
    mixed = [second for _, second in texts[7:] + texts[:7]]
    assert not related([tuple(first) for first, _ in texts], [tuple(second) for second in mixed])


@pytest.mark.parametrize(
    "name",
    [
        lambda n: f"{n}-0",
        lambda n: f"doc{n}_p0",
        lambda n: f"doc{n // 4}_p{n % 4}",
        lambda n: f"train-{n:05d}-of-00080",
        lambda n: f"{10 * n}",
        lambda n: f"{5000 * n + 3}",
        lambda n: f"{n * n}",
        lambda n: f"{n // 5 * 1000 + n % 5}",
        lambda n: f"{n // 5 * 10**6 + n % 5}",
        lambda n: f"{n // 10}.{n % 10}",
        lambda n: f"{n:04x}",
        lambda n: f"{n:04d}".translate(str.maketrans("0123456789", "abcdefghij")),
        lambda n: f"00000000-0000-0000-0000-{n:012d}",
    ],
)
def test_counters_of_every_form_need_related_texts(name):
    ids = [name(number) for number in range(40)]
    assert len(set(ids)) == 40
    items, unpaired = pair("faq", [*pieces(ENGLISH_40, "en", ids), *pieces(OTHER_40, "de", ids)], None, "")
    assert (len(items), "look unrelated" in unpaired) == (80, True)
    items, unpaired = pair(
        "faq", [*pieces(ENGLISH_40, "en", ids), *pieces(translated(ENGLISH_40), "de", ids)], None, ""
    )
    assert (len(items), languages(items), unpaired) == (40, {("de", "en")}, "")


@pytest.mark.parametrize(
    "name",
    [
        lambda draw: f"Q{draw.randrange(10**8)}",
        lambda draw: f"{draw.getrandbits(96):024x}",
        lambda draw: f"https://example.org/{draw.getrandbits(32):08x}/a",
        lambda draw: "".join(draw.choices("bcdfgklmnprst", k=7)),
    ],
)
def test_ids_with_much_information_are_believed(name):
    ids = [name(random.Random(number)) for number in range(40)]
    items, unpaired = pair("faq", [*pieces(ENGLISH_40, "en", ids), *pieces(OTHER_40, "de", ids)], None, "")
    assert (len(items), languages(items), unpaired) == (40, {("de", "en")}, "")


def test_too_few_ids_to_compare_are_reported(messages):
    few = COUNTERS[:4]
    items, unpaired = pair("faq", [*pieces(ENGLISH_40[:4], "en", few), *pieces(OTHER_40[:4], "de", few)], None, "")
    assert (len(items), unpaired) == (4, "")
    assert messages == [
        "faq: the 4 ids that 'de' and 'en' share are too few to compare their texts, and are taken for translations; "
        "`parallel: false` states that they are not"
    ]
