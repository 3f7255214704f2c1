"""Keys of a source that contradict the data or each other, and data that a source would read in silence."""

import json

import pytest

from hbt_bench.errors import DataError, UsageError
from hbt_bench.training.parallel import MISSING
from hbt_bench.training.recipe import Recipe
from tests.factories import hub_data_set


def texts(source, column="queries"):
    rows = getattr(source, column)
    return {
        code: [source.texts[number] for number in rows[row] if number != MISSING]
        for row, code in enumerate(source.languages)
    }


@pytest.fixture
def read(tmp_path):
    """A function that writes records into data.jsonl, and reads them by the keys of a source."""

    def read(records, **keys):
        (tmp_path / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        source = {"path": "data.jsonl", "query": "q", "passage": "p", **keys}
        return Recipe(data=[source]).data[0].read([tmp_path])

    return read


def flat(*labels):
    return [{"lang": label, "q": f"q{n} {label}", "p": f"p{n} {label}"} for n, label in enumerate(labels)]


def test_record_is_not_its_own_translation(read):
    message = r"data\.jsonl:1 has no texts by language, but `languages` names en and de: set `language_field: lang`"
    with pytest.raises(DataError, match=message):
        read(flat("en", "de"), languages=["en", "de"])
    assert texts(read(flat("en", "de"), languages=["en", "de"], language_field="lang")) == {
        "en": ["q0 en"],
        "de": ["q1 de"],
    }


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("language: en, language_field: lang", "`language: en` states that all records are in one language"),
        ("language: fr, languages: [en, de]", "so it takes no `languages`: leave one of them out"),
        ("kind: hub, dataset: a, configs: {en: x}, languages: [en]", "`configs` names the languages, so it takes no"),
        ("kind: hub, dataset: a, folders: {en: x}, language: en", "`folders` names the languages, so it takes no"),
        ("kind: hub, dataset: a, splits: {en: x}, language_field: l", "leave `language_field` out"),
        ("grade: label, passage: [[a], [b]]", "`grade` needs a single path in `passage`"),
        ("quoting: none", "quoting, delimiter and header are keys of tables, not of a.jsonl: leave them out"),
        ("path: a.parquet, header: [q, p]", "are keys of tables, not of a.parquet"),
        ("where: {label: null}", "`where: {label: null}` has no value to compare with: give a text, a number"),
        ("where: {label: [a, b]}", "`where: {label: ['a', 'b']}` has no value to compare with"),
    ],
)
def test_keys_that_contradict_each_other(tmp_path, keys, message):
    file = "" if "kind:" in keys or "path:" in keys else ", path: a.jsonl"
    passage = "" if "passage:" in keys else ", passage: p"
    (tmp_path / "r.yaml").write_text(f"data:\n  - {{query: q{passage}{file}, {keys}}}\n")
    with pytest.raises(DataError, match=r"r\.yaml:2:") as error:
        Recipe.read(tmp_path / "r.yaml")
    assert message in str(error.value)


def test_language_of_records_with_texts_by_language(read):
    records = [{"texts": {"en": {"q": "a", "p": "b"}, "de": {"q": "c", "p": "d"}}}]
    with pytest.raises(DataError, match=r"data\.jsonl:1 has texts by language, so it takes no `language: en`"):
        read(records, language="en")
    with pytest.raises(DataError, match=r"data\.jsonl:1 has texts by language, so it takes no `language_field: lang`"):
        read(records, language_field="lang")
    assert texts(read(records, languages=["en"])) == {"en": ["a"]}


@pytest.mark.parametrize("keys", [{"language": "en"}, {"languages": ["en"]}])
def test_field_with_another_language_is_reported(read, messages, keys):
    assert texts(read(flat("en", "de", "en-GB", "de", None, "pos"), **keys))["en"][1] == "q1 de"
    assert messages == [
        "data: 2 of 6 records have another language in 'lang' than that they are read in: 'de' (2). Set "
        "`language_field: lang` to read it"
    ]


def test_languages_of_query_and_passage(read, messages):
    """The language of a passage is that of the record, unless texts are by language."""
    read([{"lang": "en", "passage_lang": "de", "q": f"q{n}", "p": f"p{n}"} for n in range(2)], language_field="lang")
    assert len(messages) == 1
    assert "data: 2 of 2 records have another language in 'passage_lang' than that they are read in" in messages[0]
    assert 'write records with texts by language, such as {"texts"' in messages[0]
    with pytest.raises(DataError, match=r"data\.jsonl:1 has the code 'en-de': for texts in en and de, write records"):
        read(flat("en-de", "en-fr"), language_field="lang")
    mapped = read(flat("en-de", "en-fr"), language_field="lang", languages={"en": "en-de"})
    assert texts(mapped) == {"en": ["q0 en-de"]}
    assert read(flat("pt-br", "en-US", "en-DE"), language_field="lang").languages == ("en-DE", "en-US", "pt")


def test_missing_values_are_no_text(read):
    source = read([{"q": "a", "p": "b"}, {"q": "c", "p": float("nan")}], language="en")
    assert int(source.counts.sum()) == 1


def test_ids_that_contradict_row_numbers(tmp_path, messages):
    rows = {
        code: [{"uid": f"k{n}", "q": f"{code} q{n}", "p": f"{code} p{n}"} for n in range(3)] for code in ("en", "de")
    }
    rows["de"].reverse()
    hub_data_set(tmp_path / "h", {code: {"train": entries} for code, entries in rows.items()})
    source = {"kind": "hub", "dataset": "h", "configs": {"en": "en", "de": "de"}, "query": "q", "passage": "p"}

    def read(**keys):
        return Recipe(data=[{**source, "align": "row", **keys}]).data[0].read([tmp_path])

    with pytest.raises(DataError, match=r"the uid 'k2' is in row 2 of the first language and in row 0 of .*`id: none`"):
        read(id="uid")
    assert texts(read(id="none"))["de"] == ["de q2", "de q1", "de q0"]
    messages.clear()
    read(id="none", revision="v2")
    assert [line for line in messages if "revision" in line] == [
        f"h: `revision: v2` has no effect, because {tmp_path / 'h'} is a local folder"
    ]
    message = r"^h has several configurations \('en', 'de'\): name one for each language, as in `configs: {en: NAME}`"
    with pytest.raises(DataError, match=message):
        read(configs={}, align="id", language="en")


COLUMNS = [{"q_en": f"q{n}", "q_fr": f"f{n}", "p_en": f"p{n}", "n_en": f"n{n}"} for n in range(2)]


def test_text_of_several_languages(read):
    keys = {"query": "q_{language}", "languages": ["en", "fr"]}
    message = r"data\.jsonl:1: `passage: p_en` is the same text for en and fr: write a path with {language}"
    with pytest.raises(DataError, match=message):
        read(COLUMNS, passage="p_en", **keys)
    with pytest.raises(DataError, match=r"`negative: n_en` is the same text"):
        read(COLUMNS, passage="p_{language}", negative="n_en", **keys)


def test_language_without_columns(read, messages):
    keys = {"query": "q_{language}", "passage": "p_{language}"}
    message = "data has no text in 'q_sw' and 'p_sw', its `query` and `passage` in sw: leave sw out of `languages`"
    with pytest.raises(DataError, match=message):
        read(COLUMNS, languages=["en", "sw"], **keys)
    empty = [{**record, "q_sw": "", "p_sw": None} for record in COLUMNS]
    with pytest.raises(DataError, match=message):
        read(empty, languages=["en", "sw"], **keys)
    messages.clear()
    source = read(COLUMNS, languages=["en", "fr"], negative="n_{language}", **keys)
    assert source.counts.tolist() == [[2, 0], [2, 0]]
    assert messages == [
        "data has no text in 'p_fr', its `passage` in fr",
        "data has no text in 'n_fr', its `negative` in fr",
    ]


def test_spellings_of_a_code_are_a_language(read, messages):
    labels = ("EN", "en", "eng", "English", "de", "pt-BR", "pt-PT", "klingon")
    source = read(flat(*labels), language_field="lang")
    assert source.languages == ("de", "en", "pt-BR", "pt-PT")
    assert texts(source)["en"] == ["q0 EN", "q1 en", "q2 eng", "q3 English"]
    assert any(
        line.startswith("data: 'EN' (1) and 'en' (1) and 'eng' (1) and 'English' (1) are read as en")
        for line in messages
    )
    assert texts(read(flat(*labels), language_field="lang", languages={"en": "EN"}))["en"] == ["q0 EN"]
    record = {"texts": {"EN": {"q": "a", "p": "b"}, "en": {"q": "c", "p": "d"}}}
    with pytest.raises(DataError, match=r"data\.jsonl:1 has a language in two spellings \(EN, en\)"):
        read([record])


MARCO = {"passages": {"text": ["a", "b", "c"], "is_selected": [0, 1, None]}}
DOCUMENTS = {"docs": [{"text": "a", "score": 0}, {"text": "b", "score": 2}, {"text": "c", "score": None}]}
SINGLE = [{"q": f"q{n}", "p": "abc"[n], "label": f"{int(n == 1)}"} for n in range(3)]


@pytest.mark.parametrize(
    ("records", "passage", "grade"),
    [
        (SINGLE, "p", "label"),
        ([{"q": "q1", **MARCO}], "passages.text", "passages.is_selected"),
        ([{"q": "q1", **DOCUMENTS}], "docs", "docs.*.score"),
        ([{"q": "q1", **DOCUMENTS}], "docs.*.text", "docs.*.score"),
    ],
)
def test_grades_of_passages(read, messages, records, passage, grade):
    keys = {"passage": passage, "language": "en"}
    source = read(records, **keys)
    assert {*texts(source, "passages")["en"], *(source.texts[number] for number in source.more_passages.values)} == {
        *"abc"
    }
    assert messages == [
        f"data: passages are judged in '{grade}' ({2 if grade == 'label' else 1} with 0), and all are read as answers. "
        f"Set `grade: {grade}` to read those above 0 only"
    ]
    messages.clear()
    source = read(records, grade=grade, **keys)
    assert texts(source, "passages") == {"en": ["b"]}
    assert int(source.counts.sum()) == 1
    assert not len(source.more_passages.values)
    assert not [line for line in messages if "judged" in line]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"p": ["a", "b"], "g": [1, 0, 1]}, "has 2 passages and 3 grades in 'g'"),
        ({"p": "a", "g": "good"}, "the grade 'good' is not a whole number"),
        ({"p": "a", "g": 0}, "data has no item to train on: they have no `passage` with a `grade` above 0"),
        ({"p": "a"}, "data has no field 'g' for `grade`"),
    ],
)
def test_grades_that_cannot_be_read(read, record, message):
    with pytest.raises(DataError) as error:
        read([{"q": "q", **record}], grade="g", language="en")
    assert message in str(error.value)


def test_where_needs_no_report_of_grades(read, messages):
    assert len(read(SINGLE, language="en", where={"label": 1})) == 1
    assert messages == []


@pytest.mark.parametrize(
    "record",
    [{"q": "\ud800", "p": "b"}, {"q": "a", "p": ["b", "\ud800"]}, {"q": "a", "p": {"title": "\ud800", "text": "b"}}],
)
def test_text_that_cannot_be_encoded(read, record):
    with pytest.raises(DataError, match=r"data\.jsonl:2: '[qp]' contains an unpaired surrogate"):
        read([{"q": "x", "p": "y"}, record], language="en")
    with pytest.raises(DataError, match=r"data\.jsonl:1: 'id' contains an unpaired surrogate"):
        read([{"id": "\ud800", "q": "x", "p": "y"}], language="en")


def test_maximum_without_negatives_is_reported(read, messages):
    read(flat("en"), language="en", max_negatives=3)
    assert messages == ["data: `max_negatives` has no effect without `negative`, the field of the hard negatives"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": "4", "accumulation": "4"}, "`batch_size: 4` with `accumulation: 4` has a row in each part"),
        ({"batch_size": "1"}, "raise `batch_size`, lower `accumulation`, or give every source hard negatives"),
        ({"pivot": "fr"}, "`pivot: fr` has no effect without `distillation`"),
    ],
)
def test_recipe_that_trains_nothing(changes, message):
    with pytest.raises(UsageError) as error:
        Recipe.read(None, changes)
    assert message in str(error.value)
    negatives = [{"path": "a", "query": "q", "passage": "p", "negative": "n"}]
    assert Recipe(batch_size=1, data=negatives).batch_size == 1


@pytest.mark.parametrize("ending", ["parquet", "json", "squad.json"])
def test_other_files_have_the_same_records(tmp_path, ending):
    records = [{"id": f"q{n}", "question": f"who {n}?", "context": f"text {n // 2}"} for n in range(6)]
    path = tmp_path / f"data.{ending}"
    if ending == "parquet":
        from datasets import Dataset

        Dataset.from_list(records).to_parquet(path)
    elif ending == "json":
        path.write_text(json.dumps(records))
    else:
        paragraphs = [
            {"context": f"text {n}", "qas": [{"id": r["id"], "question": r["question"]} for r in records[2 * n :][:2]]}
            for n in range(3)
        ]
        paragraphs[0]["qas"].append({"id": "no", "question": "why?", "is_impossible": True})
        path.write_text(json.dumps({"version": "2", "data": [{"title": "t", "paragraphs": paragraphs}]}))
    spec = Recipe(data=[{"path": path.name, "language": "en", "query": "question", "passage": "context"}]).data[0]
    source = spec.read([tmp_path])
    assert source.ids == tuple(f"q{n}" for n in range(6))
    assert [source.texts[number] for number in source.passages[0]] == [f"text {n // 2}" for n in range(6)]
    assert [source.texts[number] for number in source.queries[0]] == [f"who {n}?" for n in range(6)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '{"id": 1}\n{"id": 2}\n', "write `.jsonl` for a file with an object on each line"),
        ("a.json", '[{"q": "a", "p": "b", "q": "c"}]', "not JSON: 'q' is twice in an object$"),
        ("a.json", '{"rows": []}', "neither a list of objects nor has `data`"),
        ("a.json", '["x"]', "neither a list of objects"),
        ("a.json", '{"data": ["x"]}', "neither a list of objects"),
        ("a.parquet", "no parquet", r"cannot load the data set .*a\.parquet"),
    ],
)
def test_other_files_that_are_damaged(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    spec = Recipe(data=[{"path": name, "language": "en", "query": "q", "passage": "p"}]).data[0]
    with pytest.raises(DataError, match=message):
        spec.read([tmp_path])


def test_codes_of_a_headerless_unquoted_table_are_mapped(tmp_path):
    rows = [("1", "cmn", 'who "Ann', "a girl"), ("1", "en", "who?", 'a "girl'), ("2", "cmn", "what", "tea")]
    (tmp_path / "t.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    spec = {"path": "t.tsv", "header": ["id", "lang", "q", "p"], "query": "q", "passage": "p", "quoting": "none"}
    keys = {"language_field": "lang", "languages": {"zh": "cmn", "en": "en"}, "parallel": True}
    source = Recipe(data=[{**spec, **keys}]).data[0].read([tmp_path])
    assert (source.languages, source.ids) == (("en", "zh"), ("1", "2"))
    assert source.texts[source.queries[1, 0]] == 'who "Ann'
    assert source.texts[source.passages[0, 0]] == 'a "girl'
