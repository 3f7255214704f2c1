"""Tasks by name, their definitions and golden counts, and what is said of a definition with a mistake in it."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys

import pytest
import yaml

from hbt_bench.data import cldr
from hbt_bench.errors import DataError, UsageError
from hbt_bench.identity.task_name import parse_names
from hbt_bench.languages import LANGUAGES
from hbt_bench.tasks import registry
from hbt_bench.tasks.registry import definitions, mteb_task_names, select_tasks, task_names

ALL = ("mono", "cross", "multi")
#: Each with its modes: no sentence is its own translation, and without parallel ids there is no cross-lingual mode.
MODES = {
    "beir-fiqa": ("mono",),
    "beir-nfcorpus": ("mono",),
    "beir-scidocs": ("mono",),
    "beir-scifact": ("mono",),
    "belebele": ALL,
    "ciral": ("cross", "multi"),
    "cldr-facts": ALL,
    "flores": ("cross", "multi"),
    "mintaka": ("mono", "multi"),
    "miracl": ("mono", "multi"),
    "miracl-hard": ("mono", "multi"),
    "mkqa": ALL,
    "mlqa-passages": ALL,
    "mlqa-r": ALL,
    "mlqa-r-context": ALL,
    "neuclir": ALL,
    "neuclir-2022": ALL,
    "ntrex": ("cross", "multi"),
    "tatoeba": ("cross", "multi"),
    "xm3600-captions": ("cross", "multi"),
    "xquad-passages": ALL,
    "xquad-r": ALL,
    "xquad-r-context": ALL,
}
SHIPPED = tuple(MODES)


def selected(names):
    return [(one.spec.name if one.spec else one.stock, one.modes) for one in select_tasks(names)]


# Names


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("xquad-r", ("xquad-r",)),
        ("xquad-r, mlqa-r-mono,", ("xquad-r", "mlqa-r-mono")),
        (["a,b", " c "], ("a", "b", "c")),
        (iter(["a"]), ("a",)),
        ("", ()),
        ([",", " "], ()),
    ],
)
def test_names_come_with_commas_or_one_by_one(given, names):
    assert parse_names(given) == names


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("xquad-r", [("xquad-r", ALL)]),
        ("xquad-r-multi", [("xquad-r", ("multi",))]),
        ("xquad-r-multi,xquad-r-mono", [("xquad-r", ("mono", "multi"))]),
        ("xquad-r-mono,xquad-r-mono", [("xquad-r", ("mono",))]),
        ("xquad-r-cross,xquad-r", [("xquad-r", ALL)]),
        # the modes of a collection share one pass, wherever they are named; collections keep their order
        ("mlqa-r-cross,xquad-r-mono,mlqa-r-mono", [("mlqa-r", ("mono", "cross")), ("xquad-r", ("mono",))]),
        ("xquad-r-context-mono,xquad-r", [("xquad-r-context", ("mono",)), ("xquad-r", ALL)]),
        (["SciFact", "cldr-facts"], [("SciFact", ()), ("cldr-facts", ALL)]),
        ("SciFact,XQuADRetrieval,SciFact", [("SciFact", ()), ("XQuADRetrieval", ())]),
    ],
)
def test_selection(names, expected):
    assert selected(names) == expected


def test_every_name():
    expected = {name for one in SHIPPED for name in (one, *(f"{one}-{mode}" for mode in MODES[one]))}
    assert set(task_names()) == expected
    assert {name: modes for name, (_, modes) in task_names().items()}["mlqa-r-context-cross"] == ("cross",)


def test_no_name_is_also_mtebs():
    ours = {spec.mteb_task_name(mode) for spec in definitions().values() for mode in spec.modes}
    assert len(ours) == sum(map(len, MODES.values()))
    assert not ours & mteb_task_names()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("xquadr-multi", "unknown task 'xquadr-multi'; did you mean 'xquad-r-multi'"),
        ("XQUAD-R", "unknown task 'XQUAD-R'; did you mean 'xquad-r'"),
        ("xquad-r-mutli", "unknown task 'xquad-r-mutli'; did you mean 'xquad-r-multi'"),
        ("xquad-r-", "unknown task 'xquad-r-'; did you mean 'xquad-r'"),
        ("cldr-fact", "unknown task 'cldr-fact'; did you mean 'cldr-facts'"),
        ("scifact", "unknown task 'scifact'; did you mean 'SciFact'"),
        (
            "zzzzzzzzz",
            "unknown task 'zzzzzzzzz'; `hbt-bench tasks` lists all, and --task-dir or HBT_BENCH_TASKS names a folder "
            "with your own",
        ),
        ("test", "unknown task 'test'"),  # a word in the sources of MTEB's tasks, and no task
    ],
)
def test_an_unknown_name(name, message):
    with pytest.raises(UsageError) as caught:
        select_tasks(["xquad-r", name])
    assert str(caught.value).startswith(message)


def test_a_task_whose_folder_is_not_looked_in():
    with pytest.raises(UsageError) as caught:
        select_tasks("flores-ood-multi[en,sw]")  # not "did you mean 'flores-multi'?", which has other data
    assert str(caught.value) == (
        "the file of the task 'flores-ood-multi[en,sw]' is in a folder that is not looked in: "
        f"add --task-dir {registry.shipped().path / 'ood'}, or name the folder in HBT_BENCH_TASKS"
    )


@pytest.mark.parametrize("names", ["", [], ",", ["", " , "]])
def test_no_name(names):
    with pytest.raises(UsageError) as caught:
        select_tasks(names)
    assert str(caught.value) == "no task given: name one, as in --tasks xquad-r-multi"


@pytest.mark.parametrize(
    ("languages", "message"),
    [
        (["en", "german"], "xquad-r has no language 'german'; did you mean 'de'?"),
        (["sw"], "xquad-r has no language 'sw' (it has ar de el en es hi ru th tr vi zh)"),
        (["EN"], "xquad-r has no language 'EN'; did you mean 'en'?"),
        (["Chinese"], "xquad-r has no language 'Chinese'; did you mean 'zh'?"),
        ([], "no language is left of xquad-r: name at least one of ar de el en es hi ru th tr vi zh"),
    ],
)
def test_an_unknown_language(languages, message):
    with pytest.raises(UsageError) as caught:
        definitions()["xquad-r"].select(languages)
    assert str(caught.value).startswith(message)


def test_languages_are_sorted_and_each_once():
    assert definitions()["xquad-r"].select(["zh", "en", "zh"]) == ("en", "zh")
    assert definitions()["mlqa-r"].select(None) == ("ar", "de", "en", "es", "hi", "vi", "zh")


@pytest.mark.parametrize(
    ("mode", "languages", "name", "mteb_name"),
    [
        ("mono", None, "xquad-r-mono", "XQuADRMonolingualRetrieval"),
        ("cross", None, "xquad-r-cross", "XQuADRCrossLingualRetrieval"),
        ("multi", None, "xquad-r-multi", "XQuADRMultilingualRetrieval"),
        ("multi", ("de", "en"), "xquad-r-multi[de,en]", "XQuADRMultilingualRetrieval_de_en"),
        ("mono", ("zh",), "xquad-r-mono[zh]", "XQuADRMonolingualRetrieval_zh"),
    ],
)
def test_names_of_modes_and_parts(mode, languages, name, mteb_name):
    spec = definitions()["xquad-r"]
    assert spec.task_name(mode, languages) == name
    assert spec.mteb_task_name(mode, languages) == mteb_name


def test_all_languages_are_no_part():
    spec = definitions()["xquad-r"]
    assert spec.task_name("multi", spec.languages) == "xquad-r-multi"
    assert spec.mteb_task_name("multi", spec.languages) == "XQuADRMultilingualRetrieval"


def test_the_file_of_ranks_belongs_to_all_modes():
    spec = definitions()["xquad-r"]
    assert spec.ranks_name() == "XQuADRRetrieval.ranks.npz"
    assert spec.ranks_name(("de", "en")) == "XQuADRRetrieval_de_en.ranks.npz"


# MTEB's own tasks

LOOK_UP = """
import json, sys
from hbt_bench.tasks.registry import mteb_task_names, select_tasks
names = ["SciFact", "MTOPIntentClassification", "BelebeleRetrieval", "mFollowIR"]
found = [selection.stock for selection in select_tasks(names)]
loaded = sorted({"mteb", "torch", "sentence_transformers", "datasets"} & set(sys.modules))
print(json.dumps([found, loaded, len(mteb_task_names())]))
"""


def test_mtebs_tasks_are_known_without_importing_it():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    out = subprocess.run([sys.executable, "-c", LOOK_UP], env=environment, capture_output=True, check=True).stdout
    found, loaded, count = json.loads(out)
    assert found == ["SciFact", "MTOPIntentClassification", "BelebeleRetrieval", "mFollowIR"]
    assert loaded == []
    assert count > 1000


def test_mtebs_tasks_are_those_that_mteb_registers():
    from mteb.get_tasks import _TASKS_REGISTRY

    assert mteb_task_names() == set(_TASKS_REGISTRY)


# Shipped definitions


def test_all_definitions_are_valid():
    assert tuple(sorted(definitions())) == SHIPPED
    for name, spec in definitions().items():
        assert spec.modes == MODES[name]
        assert set(spec.languages) <= set(LANGUAGES)
        assert spec.metadata.license
        assert "@" in spec.metadata.citation
        if spec.expect is not None and name != "ciral":  # whose queries are in English, and whose documents are not
            assert tuple(sorted(spec.expect.queries)) == tuple(sorted(spec.expect.documents)) == spec.languages


def test_a_definition_extends_another():
    whole, context = definitions()["xquad-r"], definitions()["xquad-r-context"]
    assert (whole.source.text, context.source.text) == ("sentence", "sentence+context")
    assert context.source.model_copy(update={"candidate": "sentence"}) == whole.source
    assert (context.name, context.title, context.mteb_name) == (
        "xquad-r-context",
        "XQuAD-R with context",
        "XQuADRContext",
    )
    assert (context.metadata, context.expect, context.description) == (
        whole.metadata,
        whole.expect,
        whole.description,
    )


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [
        ("xquad-r", "be30ad47a30a1149"),
        ("xquad-r-context", "c0fd0411b8448124"),
        ("mlqa-r", "2363ad7b53d9fbf2"),
        ("mlqa-r-context", "0518ca620035587e"),
    ],
)
def test_golden_counts_and_data_of_lareqa(data_dir, name, fingerprint):
    collection = definitions()[name].load(data_dir=data_dir)
    assert collection.fingerprint == fingerprint
    assert (len(collection.queries), len(collection.documents)) == (
        (13090, 13014) if name.startswith("xquad") else (4199, 20534)
    )


@pytest.mark.skipif(cldr.cldr_version() != "47", reason="the counts are those of CLDR 47")
def test_golden_counts_of_cldr_facts():
    collection = definitions()["cldr-facts"].load()
    assert len(collection.queries) == len(collection.documents) == 20 * 182


def test_a_part_reads_only_its_files(data_dir, tmp_path):
    spec = definitions()["mlqa-r"]
    for code in ("de", "vi"):
        path = tmp_path / "lareqa" / "mlqa-r" / f"{code}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((data_dir / "lareqa" / "mlqa-r" / f"{code}.json").read_bytes())
    part = spec.load(["vi", "de"], tmp_path)
    assert part.languages == ("de", "vi")
    assert (len(part.queries), len(part.documents)) == (512 + 511, 2362 + 2828)
    assert part.fingerprint == spec.load(data_dir=data_dir).restrict(["de", "vi"]).fingerprint
    with pytest.raises(DataError, match=r"mlqa-r/en\.json"):
        spec.load(["de", "en"], tmp_path)


def test_a_part_of_cldr_facts_is_its_restriction():
    spec = definitions()["cldr-facts"]
    assert spec.load(["sw", "am"]).fingerprint == spec.load().restrict(["am", "sw"]).fingerprint


@pytest.mark.parametrize(
    ("field", "key", "count", "message"),
    [
        ("queries", "ar", 516, "mlqa-r has 517 queries in ar where its definition expects 516"),
        ("queries", "ru", 1, "mlqa-r has 0 queries in ru where its definition expects 1"),
        ("documents", "zh", 2323, "mlqa-r has 2322 documents in zh where its definition expects 2323"),
        (
            "relevant",
            3,
            264,
            "mlqa-r has 263 questions with a number of relevant documents of 3 where its definition expects 264",
        ),
        (
            "relevant",
            4,
            None,
            "mlqa-r has 820 questions with a number of relevant documents of 4 where its definition expects 0",
        ),
    ],
)
def test_a_count_that_is_off(data_dir, field, key, count, message):
    spec = definitions()["mlqa-r"]
    counts = {**getattr(spec.expect, field), key: count}
    off = spec.expect.model_copy(update={field: {key: count for key, count in counts.items() if count is not None}})
    with pytest.raises(DataError) as caught:
        spec.model_copy(update={"expect": off}).load(data_dir=data_dir)
    assert str(caught.value) == f"{message}: the data or the reader changed"


def test_a_part_checks_its_counts_too(data_dir):
    spec = definitions()["mlqa-r"]
    off = spec.expect.model_copy(update={"documents": {**spec.expect.documents, "vi": 1, "en": 1}})
    spec = spec.model_copy(update={"expect": off})
    assert len(spec.load(["de"], data_dir).queries) == 512
    with pytest.raises(DataError, match="mlqa-r has 2828 documents in vi where its definition expects 1:"):
        spec.load(["de", "vi"], data_dir)


def test_counts_of_another_version_are_not_checked():
    spec = definitions()["cldr-facts"]
    counts = spec.expect.model_copy(update={"queries": {"en": 1}})
    assert spec.model_copy(update={"expect": counts.model_copy(update={"version": "1"})}).load(["en", "de"])
    here = counts.model_copy(update={"version": cldr.cldr_version()})
    with pytest.raises(DataError, match="cldr-facts has 182 queries in am where its definition expects 0"):
        spec.model_copy(update={"expect": here}).load()


# Mistakes in a definition

DEMO = {
    "name": "demo",
    "title": "Demo",
    "mteb_name": "Demo",
    "description": "A demo.",
    "source": {
        "kind": "lareqa",
        "candidate": "sentence",
        "path": "demo/{language}.json",
        "url": "https://example.org/{language}.json",
        "files": {"en": {"size": 1, "sha256": "0" * 64}, "de": {"size": 1, "sha256": "f" * 64}},
    },
    "metadata": {
        "reference": "https://example.org",
        "license": "cc-by-4.0",
        "date": ["2020-01-01", "2020-02-01"],
        "domains": ["Written"],
        "annotations_creators": "derived",
        "sample_creation": "found",
        "citation": "",
    },
}


@pytest.fixture
def define(tmp_path, monkeypatch):
    """Put definitions where the package looks for them, and return their folder."""
    folder = tmp_path / "definitions"
    folder.mkdir()
    monkeypatch.setattr(registry, "_FOLDERS", (tmp_path / "missing", folder))
    registry.forget()

    def define(**contents):
        for name, content in contents.items():
            text = content if isinstance(content, str) else yaml.safe_dump(content, allow_unicode=True)
            (folder / f"{name}.yaml").write_text(text)
        return folder

    yield define
    registry.forget()


def edited(*keys, value):
    """Return the demo with one value changed, or removed when it is None."""
    content = copy.deepcopy(DEMO)
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    if value is None:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    return content


def test_a_definition_of_ones_own(define):
    define(
        demo=DEMO,
        part={"extends": "demo", "name": "part", "mteb_name": "Part", "source": {"path": "x.{language}.json"}},
    )
    demo, part = definitions()["demo"], definitions()["part"]
    assert demo.languages == part.languages == ("de", "en")
    assert [one.path for one in demo.source.remote_files().values()] == ["demo/de.json", "demo/en.json"]
    assert [one.path for one in part.source.remote_files().values()] == ["x.de.json", "x.en.json"]
    assert part.source.url == "https://example.org/{language}.json"
    assert demo.source.remote_files()["de"].sha256 == "f" * 64
    assert selected("part,demo-mono") == [("part", ALL), ("demo", ("mono",))]


def test_one_language_has_one_mode(define):
    define(demo=edited("source", "files", "de", value=None))
    assert selected("demo") == [("demo", ("mono",))]
    assert set(task_names()) == {"demo", "demo-mono"}


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        (edited("colour", value="red"), "colour", "unknown key 'colour' in the file"),
        (edited("source", "mirror", value="x"), "mirror", "unknown key 'mirror' in source"),
        (
            edited("metadata", "licence", value="x"),
            "licence",
            "unknown key 'licence' in metadata; did you mean 'license'",
        ),
        (
            edited("source", "files", "en", "sha256", value=None),
            "en:",
            "the key 'sha256' is missing in source.files.en",
        ),
        (edited("source", "files", "en", "sha256", value="0" * 63), "sha256: '", "source.files.en.sha256: String"),
        (edited("source", "files", "en", "sha256", value="F" * 64), "sha256: F", "source.files.en.sha256: String"),
        (edited("source", "files", "en", "size", value=0), "size: 0", "source.files.en.size: must be greater than 0"),
        (edited("source", "path", value="../{language}.json"), "path", "source.path: must be relative"),
        (edited("source", "path", value="/etc/{language}"), "path", "source.path: must be relative"),
        (edited("source", "path", value="a/../../{language}"), "path", "source.path: must be relative"),
        (edited("source", "path", value="demo/en.json"), "path", "source.path: must be relative"),
        (
            edited("source", "path", value="{language}/{name}"),
            "path",
            "source.path: must have no placeholder but {language}",
        ),
        (edited("source", "url", value="https://example.org/"), "url", "source.url: must be relative"),
        (edited("source", "candidate", value="word"), "candidate", "source.candidate: must be 'sentence' or"),
        (edited("source", "kind", value="csw"), "kind", "unknown kind 'csw'; did you mean 'csv'"),
        (edited("source", "kind", value=None), "source", "the key 'kind' is missing in source"),
        (
            edited("source", "files", value={"xx": DEMO["source"]["files"]["en"]}),
            "files",
            "source.files: unknown language code 'xx'",
        ),
        (edited("mteb_name", value="De mo"), "mteb_name", "mteb_name: String should match pattern"),
        (edited("metadata", "date", value=["2020"]), "date", "the key '1' is missing in metadata.date"),
        (edited("expect", value={"queries": {"en": "many"}, "documents": {}, "relevant": {}}), "en: many", "expect"),
    ],
)
def test_a_mistake_is_told_with_its_line(define, content, place, reason):
    path = define(demo=content) / "demo.yaml"
    with pytest.raises(DataError) as caught:
        definitions()
    message = str(caught.value)
    assert "\n" not in message
    lines = path.read_text().splitlines()
    number, column = next((n, line.index(place)) for n, line in enumerate(lines, 1) if place in line)
    assert message.startswith(f"{path}:{number}:{column + 1}: {reason}")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name: [demo", "2:1: no YAML: did not find expected ',' or ']'"),
        ("name: !!python/object/apply:os.system [echo]", "1:7: the tag 'python/object/apply:os.system' is not allowed"),
        ("- name: demo", "1:1: a task file must be a mapping"),
        ("", "1:1: a task file must be a mapping"),
        ("name: other", "1:1: the name is 'other': it must be 'demo', like the file's"),
    ],
)
def test_no_definition(define, text, reason):
    folder = define(demo=text)
    with pytest.raises(DataError) as caught:
        definitions()
    assert str(caught.value).startswith(f"{folder / 'demo.yaml'}:{reason}")
    assert "\n" not in str(caught.value)


def test_a_yaml_error_names_the_line(define):
    folder = define(demo="name: demo\ntitle: Demo\nsource:\n  kind: lareqa\n   path: x\n")
    with pytest.raises(DataError) as caught:
        definitions()
    assert str(caught.value).startswith(f"{folder / 'demo.yaml'}:5:")


def test_a_file_that_is_no_text(define):
    (define() / "demo.yaml").write_bytes(b"name: demo\ntitle: \xff\xfe")
    with pytest.raises(DataError, match=r"demo\.yaml:2: not UTF-8"):
        definitions()


@pytest.mark.parametrize("parent", ["missing", "part", "other", ["demo"]])
def test_what_cannot_be_extended(define, parent):
    define(demo=DEMO, part={"extends": parent, "name": "part"}, other={"extends": "demo", "name": "other"})
    with pytest.raises(DataError) as caught:
        definitions()
    assert str(caught.value).endswith(f": '{parent}' is no complete definition that could be extended")


def test_an_installation_without_definitions(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "_FOLDERS", (tmp_path / "a", tmp_path / "b"))
    registry.forget()
    try:
        with pytest.raises(DataError, match="the task definitions are missing from this installation"):
            definitions()
    finally:
        monkeypatch.undo()
        registry.forget()
