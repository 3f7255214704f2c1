import gzip
import json

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from hbt_bench.data import cldr
from hbt_bench.errors import DataError
from hbt_bench.training.parallel import MISSING
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.records import Part
from hbt_bench.training.sources import CldrFacts, FileData, HubData, SourceSpec, expand
from hbt_bench.training.strategies import BatchMix

RECORDS = [
    {"id": "a", "doc": "1", "kind": "x", "texts": {"en": {"q": "who?", "p": "Ann."}, "de": {"q": "wer?"}}},
    {"id": "b", "doc": "1", "kind": "y", "texts": {"en": {"q": "what?", "p": "Tea.", "n": ["Milk.", "Rum."]}}},
]


@pytest.fixture
def folder(tmp_path):
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(record) + "\n" for record in RECORDS)
    return tmp_path


def texts(source, column="queries"):
    rows = getattr(source, column)
    return {
        code: [source.texts[number] if number != MISSING else None for number in rows[row]]
        for row, code in enumerate(source.languages)
    }


def file(path="a.jsonl.gz", **options):
    return FileData(kind="file", path=path, **{"query": "q", "passage": "p", **options})


def test_parallel_records(folder):
    source = file().read([folder])
    assert source.name == "a"
    assert texts(source) == {"de": ["wer?", None], "en": ["who?", "what?"]}
    assert texts(source, "passages") == {"de": [None, None], "en": ["Ann.", "Tea."]}


def test_where_name_and_negatives(folder):
    source = file(where={"kind": "y"}, name="other", negative="n").read([folder])
    assert (source.name, source.ids) == ("other", ("b",))
    assert [source.texts[number] for number in source.negatives.values] == ["Milk.", "Rum."]


def test_list_of_negatives_is_several(tmp_path):
    rows = [f"q{n},p{n},a{n},{f'b{n}' if n % 2 else ''}\n" for n in range(4)]
    (tmp_path / "t.csv").write_text("q,p,n1,n2\n" + "".join(rows))
    source = file("t.csv", language="en", negative=("n1", "n2")).read([tmp_path])
    lists = [[source.texts[number] for number in source.negatives.of(np.array([item]))[0]] for item in range(4)]
    assert lists == [["a0"], ["a1", "b1"], ["a2"], ["a3", "b3"]]
    joined = file("t.csv", language="en", negative=(("n2", "n1"),)).read([tmp_path])
    assert [joined.texts[number] for number in joined.negatives.values] == ["a0", "b1 a1", "a2", "b3 a3"]


def test_list_of_answers_is_several_passages(tmp_path):
    """The answers of SQuAD, which repeat answers and may be missing."""
    rows = [{"q": f"q{n}", "answers": {"text": [f"a{n}", f"a{n}", f"b{n}"][:n], "start": [1, 1, 2]}} for n in range(4)]
    (tmp_path / "s.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = file("s.jsonl", language="en", passage="answers.text").read([tmp_path])
    assert texts(source, "passages")["en"] == [None, "a1", "a2", "a3"]
    assert [source.texts[number] for number in source.more_passages.values] == ["b3"]
    columns = file("s.jsonl", language="en", passage=(("answers.text.0",), ("answers.text.2",))).read([tmp_path])
    assert [columns.texts[number] for number in columns.more_passages.values] == ["b3"]


def test_items_without_text_are_counted(tmp_path, caplog):
    rows = [{"q": f"q{n}", "p": f"p{n}" if n % 2 else "", "n": [f"p{n}", "x"]} for n in range(6)]
    (tmp_path / "s.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = file("s.jsonl", language="en", negative="n").read([tmp_path])
    assert int(source.counts.sum()) == 3
    assert "s: 3 of 6 items are left out, because their `passage` 'p' is empty" in caplog.text
    assert "s: left out 3 hard negatives that equal a passage of their item" in caplog.text
    with pytest.raises(DataError, match=r"^s has no field 'n\.5' for `passage`"):
        file("s.jsonl", language="en", passage="n.5").read([tmp_path])


@pytest.mark.parametrize(("wanted", "items"), [(1, 2), ("1", 2), (1.0, 2), (0, 3), (True, 0), ("yes", 0)])
def test_where_compares_cells_with_numbers(tmp_path, wanted, items):
    (tmp_path / "t.tsv").write_text("q\tp\tlabel\n" + "".join(f"q{n}\tp{n}\t{n % 2}\n" for n in range(5)))
    spec = file("t.tsv", language="en", where={"label": wanted})
    if items:
        assert len(spec.read([tmp_path])) == items
    else:
        with pytest.raises(
            DataError, match=r"t has no record that fits: check `where` and `part` \(`label` is '0', '1'\)"
        ):
            spec.read([tmp_path])


def test_codes_of_the_data_become_ours(tmp_path, caplog):
    codes = ("eng_Latn", "zh-CN", "pt-BR", "pt-PT", "klingon")
    rows = [{"id": n, "texts": {code: {"q": f"{code} q{n}", "p": f"{code} p{n}"} for code in codes}} for n in range(3)]
    (tmp_path / "s.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert file("s.jsonl").read([tmp_path]).languages == ("en", "pt-BR", "pt-PT", "zh")
    assert "s: left out records in 'klingon' (3); map codes in the recipe" in caplog.text
    mapped = file("s.jsonl", languages={"en": "klingon", "pt": "pt-PT"}).read([tmp_path])
    assert texts(mapped)["en"] == ["klingon q0", "klingon q1", "klingon q2"]
    assert texts(mapped)["pt"] == ["pt-PT q0", "pt-PT q1", "pt-PT q2"]
    assert file("s.jsonl", languages=("eng", "zh_CN")).read([tmp_path]).languages == ("en", "zh-CN")
    assert "pt" in file("s.jsonl", languages=("en", "pt")).read([tmp_path]).languages
    with pytest.raises(DataError, match="s has no records in sw: the codes in the data are 'eng_Latn', 'zh-CN'"):
        file("s.jsonl", languages=("sw",)).read([tmp_path])


def test_records_without_a_language_are_counted(tmp_path, caplog):
    rows = [{"lang": (None, "eng", "deu", "zz")[n % 4], "q": f"q{n}", "p": f"p{n}"} for n in range(8)]
    (tmp_path / "s.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = file("s.jsonl", language_field="lang").read([tmp_path])
    assert (source.languages, int(source.counts.sum())) == (("de", "en"), 4)
    assert "s: left out records in 'zz' (2), no language (2)" in caplog.text
    file("s.jsonl", language_field="lang", languages=("en", "sw")).read([tmp_path])
    assert "s has no records in sw (the codes in the data are 'eng', 'deu', 'zz')" in caplog.text
    (tmp_path / "s.jsonl").write_text("\n".join(json.dumps(row | {"lang": None}) for row in rows))
    with pytest.raises(DataError, match="s has no record with a language: check `language_field`"):
        file("s.jsonl", language_field="lang").read([tmp_path])


def test_paths_with_the_codes_of_the_data(tmp_path):
    (tmp_path / "m.jsonl").write_text(json.dumps({"q_eng_Latn": "who?", "q_deu_Latn": "wer?"}))
    spec = file("m.jsonl", query="q_{language}", passage="q_{language}", languages=("eng_Latn", "deu_Latn"))
    assert texts(spec.read([tmp_path])) == {"de": ["wer?"], "en": ["who?"]}


@pytest.mark.parametrize("key", [{"language": "xx"}, {"languages": ("xx",)}, {"languages": {"xx": "en"}}])
def test_codes_in_recipes_are_checked(key):
    with pytest.raises(ValidationError, match="unknown language code 'xx'"):
        file(**key)


def test_younger_keys_do_not_change_old_digests():
    assert not {"max_negatives", "parallel", "quoting"} & set(file().model_dump())
    assert file(max_negatives=3, parallel=False).model_dump()["parallel"] is False
    mmarco = {
        "kind": "hub", "dataset": "unicamp-dl/mmarco", "revision": "x", "align": "row", "limit": 400000,
        "folders": {"en": "english", "ar": "arabic"}, "query": "query", "passage": "positive", "negative": "negative",
    }  # fmt: skip
    assert Recipe(data=[mmarco], steps=20000).digest == "2848e6df73135725"


def test_several_fields_are_joined(folder):
    source = file(query=("q", "p")).read([folder])
    assert texts(source)["en"] == ["who? Ann.", "what? Tea."]


def test_plain_sentences_and_their_successors(tmp_path):
    lines = [{"id": str(n), "doc": "d1" if n < 3 else "d2", "texts": {"en": f"s{n}", "de": f"t{n}"}} for n in range(5)]
    (tmp_path / "s.jsonl").write_text("\n".join(map(json.dumps, lines)))
    bitext = file("s.jsonl", query="text", passage="text").read([tmp_path])
    assert bitext.bitext
    assert bitext.counts.tolist() == [[0, 5], [5, 0]]
    following = file("s.jsonl", query="text", passage="text", next_in="doc").read([tmp_path])
    assert not following.bitext
    assert texts(following)["en"] == [f"s{n}" for n in range(5)]
    assert texts(following, "passages")["en"] == ["s1", "s2", None, "s4", None]


def test_no_record_follows_without_a_value(tmp_path, messages):
    lines = [{"doc": doc, "t": f"s{n}"} for n, doc in enumerate(["d", "d", None, "", "d", "d"])]
    (tmp_path / "s.jsonl").write_text("\n".join(map(json.dumps, lines)))
    source = file("s.jsonl", query="t", passage="t", language="en", next_in="doc").read([tmp_path])
    assert texts(source, "passages")["en"] == ["s1", None, None, None, "s5", None]
    assert messages == ["s: 2 of 6 records have no 'doc' (`next_in`), so no record follows them"]


def test_flat_records_with_language_field(tmp_path):
    (tmp_path / "t.csv").write_text("id,lang,q,p\n1,en,who?,Ann.\n1,de,wer?,Anna.\n2,en,what?,Tea.\n")
    source = file("t.csv", language_field="lang").read([tmp_path])
    assert source.ids == ("1", "2")
    assert texts(source)["de"] == ["wer?", None]
    separate = file("t.csv", language="en", id="none").read([tmp_path])
    assert len(separate) == 3


def test_fields_with_language_placeholder(tmp_path):
    (tmp_path / "m.jsonl").write_text(json.dumps({"queries": {"en": "who?", "de": "wer?"}, "answers": {"en": ["Ann"]}}))
    source = file("m.jsonl", query="queries.{language}", passage="answers.{language}.0", languages=("en", "de")).read(
        [tmp_path]
    )
    assert texts(source) == {"de": ["wer?"], "en": ["who?"]}
    assert texts(source, "passages") == {"de": [None], "en": ["Ann"]}


def test_records_without_id_are_separate_items(tmp_path):
    (tmp_path / "s.jsonl").write_text('{"id": null, "texts": {"en": {"q": "a", "p": "b"}}}\n' * 3)
    assert len(file("s.jsonl").read([tmp_path])) == 3


def test_only_named_languages_are_read(folder):
    assert file(languages=("en",)).read([folder]).languages == ("en",)


def test_parts_are_a_partition(tmp_path):
    lines = [{"id": str(n), "doc": f"d{n // 5}", "texts": {"en": {"q": f"q{n}", "p": f"p{n}"}}} for n in range(200)]
    (tmp_path / "s.jsonl").write_text("\n".join(map(json.dumps, lines)))
    halves = [file("s.jsonl", part=Part(by="doc", start=a, end=b)).read([tmp_path]) for a, b in ((0, 0.5), (0.5, 1))]
    ids = [set(half.ids) for half in halves]
    assert not ids[0] & ids[1]
    assert len(ids[0] | ids[1]) == 200
    assert 50 < len(ids[0]) < 150
    assert len({int(key) // 5 for key in ids[0]} & {int(key) // 5 for key in ids[1]}) == 0


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("[1]", {}, "s.jsonl:1: a line must be an object"),
        ("{", {}, "s.jsonl:1: not JSON"),
        ('{"q": "a"}\n{"q": "b", "p": {"q": "c", "q": "d"}}', {"language": "en"}, "s.jsonl:2: not JSON: 'q' is twice"),
        ('{"q": "x", "p": "y"}', {}, "`language` or `language_field`"),
        ('{"texts": {"xx": {"q": "x"}}}', {}, "has the unknown language code 'xx'"),
        ('{"texts": {"en": {"q": 3, "p": "y"}}}', {}, "has no text but int in q"),
        ('{"texts": {"en": {"q": "x", "p": "y", "n": [1]}}}', {"negative": "n"}, "something other than texts in n"),
        ('{"id": 1, "texts": {"en": {"q": "x", "p": "y"}}}\n' * 2, {}, "repeats the id '1' in 'en'"),
        (
            '{"texts": {"en": {"q": "x", "p": "y", "n": "z"}}}',
            {"negative": "m"},
            "s has no field 'm' for `negative` (it has q, p, n)",
        ),
        (
            '{"texts": {"en": {"q": "x", "p": "y"}}}',
            {"next_in": "doc"},
            "s has no field 'doc' for `next_in` (it has texts)",
        ),
        ('{"texts": {"en": {"q": "x", "p": "y"}}}', {"part": {"by": "dok"}}, "s.jsonl:1: no value at 'dok', by which"),
        (
            '{"id": 7, "doc": 1, "q": "x", "p": "y"}\n{"id": 8, "doc": null, "q": "x", "p": "y"}',
            {"language": "en", "part": {"by": "doc"}},
            "s.jsonl:2: no value at 'doc', by which `part` divides the rows",
        ),
        (
            '{"texts": {"en": {"q": "x", "p": "y"}}}',
            {"where": {"a": 1}},
            "s has no field 'a' for `where` (it has texts)",
        ),
        ("", {}, "s has no records"),
        ('{"q": "", "p": "y"}', {"language": "en"}, "s has no text in 'q', its `query`: the field is empty"),
        (
            '{"q": "x", "p": "y", "n": []}',
            {"language": "en", "negative": "n"},
            "s has no hard negative in 'n': check the name of the field, or leave `negative` out",
        ),
    ],
)
def test_bad_files_are_refused(tmp_path, content, options, message):
    (tmp_path / "s.jsonl").write_text(content)
    with pytest.raises(DataError) as error:
        file("s.jsonl", **options).read([tmp_path])
    assert message in str(error.value)


def test_titles_and_missing_ids_are_reported(tmp_path, caplog):
    caplog.set_level("INFO")
    passages = [{"title": "T", "text": "one"}, {"text": "two"}, {"title": "", "text": "three"}]
    rows = [{"id": n or None, "lang": "en", "q": f"q{n}", "p": passage} for n, passage in enumerate(passages)]
    (tmp_path / "s.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = file("s.jsonl", language_field="lang").read([tmp_path])
    assert texts(source, "passages") == {"en": ["T one", "two", "three"]}
    assert "s: titles in 'p' stand before their texts; name 'p.text' for the text alone" in caplog.text
    assert "s: 1 of 3 records have no 'id', so they are paired with no other record" in caplog.text


def test_missing_file_names_searched_folders(tmp_path):
    with pytest.raises(DataError, match=rf"no nowhere\.jsonl in {tmp_path}.* --data-dir"):
        file("nowhere.jsonl").read([tmp_path])


def test_truncated_archive_is_refused(folder):
    path = folder / "a.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match=r"a\.jsonl\.gz"):
        file().read([folder])


def hub_folder(tmp_path, rows_by_config):
    """A data set in the hub's form: a folder with a card that names its configurations."""
    configs = []
    for config, rows in rows_by_config.items():
        (tmp_path / "hub" / config).mkdir(parents=True)
        (tmp_path / "hub" / config / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
        configs.append({"config_name": config, "data_files": [{"split": "train", "path": f"{config}/train.jsonl"}]})
    (tmp_path / "hub" / "README.md").write_text("---\n" + json.dumps({"configs": configs}) + "\n---\n")
    return tmp_path


def test_hub_data_aligned_by_row(tmp_path):
    """The layout of mMARCO: a configuration per language, with translations in the same order."""
    folder = hub_folder(
        tmp_path,
        {
            "english": [{"id": n, "query": f"q{n}", "positive": f"p{n}", "negative": f"n{n}"} for n in range(3)],
            "german": [{"id": n, "query": f"f{n}", "positive": f"a{n}", "negative": f"m{n}"} for n in range(3)],
        },
    )
    spec = HubData(
        kind="hub", dataset="hub", configs={"en": "english", "de": "german"}, align="row",
        query="query", passage="positive", negative="negative", limit=2,
    )  # fmt: skip
    source = spec.read([folder])
    assert source.ids == ("0", "1")
    assert texts(source) == {"de": ["f0", "f1"], "en": ["q0", "q1"]}
    assert source.counts.tolist() == [[2, 2], [2, 2]]


def test_rows_that_are_aligned_take_no_parallel():
    with pytest.raises(
        ValidationError, match="`align: row` pairs the rows of all languages, so it takes no `parallel`"
    ):
        HubData(kind="hub", dataset="hub", align="row", parallel=True, query="q", passage="p")


def test_rows_of_different_number_are_reported(tmp_path, caplog):
    rows = {
        code: [{"q": f"{code} q{n}", "p": f"{code} p{n}"} for n in range(count)]
        for code, count in (("en", 3), ("de", 2))
    }
    folder = hub_folder(tmp_path, rows)
    source = HubData(
        kind="hub", dataset="hub", configs={"en": "en", "de": "de"}, align="row", query="q", passage="p"
    ).read([folder])
    assert source.counts.tolist() == [[2, 2], [2, 3]]
    assert "hub has different numbers of rows (3 in en, 2 in de), which `align: row` pairs by number" in caplog.text


def test_hub_data_without_ids_is_not_paired(tmp_path):
    rows = {code: [{"q": f"{code} q{n}", "p": f"{code} p{n}"} for n in range(8)] for code in ("en", "de")}
    folder = hub_folder(tmp_path, rows)
    spec = HubData(kind="hub", dataset="hub", configs={"en": "en", "de": "de"}, query="q", passage="p")
    source = spec.read([folder])
    assert source.counts.tolist() == [[8, 0], [0, 8]]
    assert BatchMix.from_strategy("monolingual", 0.5, "mixed", source).types
    message = (
        "hub has no pairs of two languages: no record has an id: set `id` to the field that translations share "
        r"\(the fields are q, p\), or "
        "`align: row` if the rows of all languages are translations in the same order"
    )
    with pytest.raises(DataError, match=f"^{message}$"):
        BatchMix.from_strategy("cross-lingual", 0.5, "mixed", source)


def test_hub_data_in_folders(tmp_path):
    """The layout of the hub's Parquet copies, without a card: a folder per configuration and split."""
    import pandas as pd

    for language in ("english", "german"):
        folder = tmp_path / "hub" / language / "partial-train"
        folder.mkdir(parents=True)
        rows = [{"query": f"{language} q{n}", "positive": f"{language} p{n}"} for n in range(2)]
        pd.DataFrame(rows).to_parquet(folder / "0000.parquet")
    spec = HubData(
        kind="hub", dataset="hub", folders={"en": "english", "de": "german"}, align="row",
        query="query", passage="positive",
    )  # fmt: skip
    source = spec.read([tmp_path])
    assert texts(source) == {"de": ["german q0", "german q1"], "en": ["english q0", "english q1"]}
    assert source.ids == ("0", "1")


def test_hub_data_by_id_and_by_column(tmp_path):
    """The layouts of XM3600 (a list of captions), Dolly (a single language) and MKQA (a column of languages)."""
    captions = hub_folder(tmp_path / "c", {"en": [{"image_id": "i", "captions": ["one", "two"]}],
                                           "sw": [{"image_id": "i", "captions": ["moja", "mbili"]}]})  # fmt: skip
    spec = HubData(kind="hub", dataset="hub", configs={"en": "en", "sw": "sw"}, id="image_id",
                   query="captions.0", passage="captions.1")  # fmt: skip
    source = spec.read([captions])
    assert texts(source, "passages") == {"en": ["two"], "sw": ["mbili"]}
    dolly = hub_folder(tmp_path / "d", {"default": [{"instruction": "Say", "context": "", "response": "Yes"}]})
    spec = HubData(kind="hub", dataset="hub", language="en", query=("instruction", "context"), passage="response")
    assert texts(spec.read([dolly])) == {"en": ["Say"]}
    mkqa = hub_folder(tmp_path / "m", {"default": [{"queries": {"en": "a", "de": "b"}, "example_id": 7}]})
    spec = HubData(kind="hub", dataset="hub", languages=("en", "de"), id="example_id",
                   query="queries.{language}", passage="queries.{language}")  # fmt: skip
    source = spec.read([mkqa])
    assert (source.ids, source.bitext) == (("7",), True)


def test_unloadable_hub_data_is_refused(tmp_path):
    (tmp_path / "hub").mkdir()
    with pytest.raises(DataError, match=r"^cannot load the data set .*hub \("):
        HubData(kind="hub", dataset="hub", query="q", passage="p").read([tmp_path])


def test_cldr_facts_lack_held_out_languages():
    source = CldrFacts(kind="cldr-facts").read([])
    assert not set(cldr.HELD_OUT) & set(source.languages)
    row = source.ids.index("currency-CH")
    en = source.languages.index("en")
    assert "Switzerland" in source.texts[source.queries[en, row]]
    assert "Swiss Franc" in source.texts[source.passages[en, row]]


def test_abbreviations_are_expanded():
    adapter = TypeAdapter(SourceSpec)
    assert isinstance(adapter.validate_python(expand("cldr-facts")), CldrFacts)
    assert isinstance(adapter.validate_python(expand({"path": "a", "query": "q", "passage": "p"})), FileData)
    with pytest.raises(ValidationError):
        adapter.validate_python(expand({"kind": "file", "path": "a", "query": "q", "passage": "p", "quary": "x"}))
    with pytest.raises(ValidationError, match="give one of"):
        HubData(kind="hub", dataset="d", query="q", passage="p", configs={"en": "a"}, splits={"en": "b"})


@pytest.mark.parametrize(
    ("path", "fields", "items", "languages", "pairs"),
    [
        ("train/mlqa-test.jsonl.gz", {"query": "question", "passage": "context"}, 9593, 6, 41316),
        ("train/tydiqa-goldp-train.jsonl.gz", {"query": "question", "passage": "answer_sentence"}, 8052, 3, 8052),
        ("train/xcopa.jsonl.gz", {"query": "question", "passage": "answer", "negative": "distractor"}, 600, 12, 86400),
        ("train/tatoeba-multi.jsonl.gz", {"query": "text", "passage": "text"}, 13604, 11, 64184),
        ("ood/ntrex128.jsonl.gz", {"query": "text", "passage": "text", "next_in": "doc"}, 1997, 30, 1874 * 900),
        (
            "seeds/dolly-15k.jsonl.gz",
            {"query": ("instruction", "context"), "passage": "response", "language": "en"},
            15011,
            1,
            15011,
        ),
    ],
)
def test_counts_of_real_files(data_dir, path, fields, items, languages, pairs):
    """Items, languages, and pairs of a query and a passage: counted from the files."""
    source = file(path, **fields).read([data_dir])
    assert (len(source), len(source.languages), int(source.counts.sum())) == (items, languages, pairs)


def test_translations_view_pairs_questions():
    source = CldrFacts(kind="cldr-facts", view="translations")
    read, facts = source.read([]), CldrFacts(kind="cldr-facts").read([])
    assert (source.label, read.name, read.bitext) == ("cldr-translations", "cldr-translations", True)
    assert read.ids == facts.ids
    assert texts(read) == texts(read, "passages") == texts(facts)
    assert read.counts.diagonal().sum() == 0  # a question is no translation of itself
