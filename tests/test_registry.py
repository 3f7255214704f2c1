"""Task names, shipped definitions with their golden counts, and errors in definitions."""

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
from hbt_bench.languages import LANGUAGES
from hbt_bench.tasks import registry
from hbt_bench.tasks.registry import TaskRegistry, mteb_task_names, select_tasks, shipped_folder

ALL = ("mono", "cross", "multi")
#: A sentence is not its own translation (no mono), and the cross-lingual mode needs parallel ids.
NANO = [
    "arguana",
    "climate-fever",
    "dbpedia",
    "fever",
    "fiqa",
    "hotpotqa",
    "msmarco",
    "nfcorpus",
    "nq",
    "quora",
    "scidocs",
    "scifact",
    "touche",
]
MODES = {
    "afriqa": ("cross", "multi"),
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
    "mldr": ("mono", "multi"),
    "mlqa-passages": ALL,
    "mlqa-r": ALL,
    "mlqa-r-context": ALL,
    "mmarco": ALL,
    "mupler": ALL,
    **{f"nano-multi-{name}": ALL for name in sorted(NANO)},
    "neuclir": ALL,
    "neuclir-2022": ALL,
    "neuclirbench": ALL,
    "ntrex": ("cross", "multi"),
    "tatoeba": ("cross", "multi"),
    "webfaq": ("mono", "multi"),
    "xm3600-captions": ("cross", "multi"),
    "xpqa": ALL,
    "xquad-passages": ALL,
    "xquad-r": ALL,
    "xquad-r-context": ALL,
}
SHIPPED = tuple(MODES)


def selected(names, registry=None):
    selections = (registry or TaskRegistry()).select(names)
    return [(selection.spec.name if selection.spec else selection.stock, selection.modes) for selection in selections]


# Names


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("xquad-r", [("xquad-r", ALL)]),
        ("xquad-r-multi", [("xquad-r", ("multi",))]),
        ("xquad-r-multi,xquad-r-mono", [("xquad-r", ("mono", "multi"))]),
        ("xquad-r-mono,xquad-r-mono", [("xquad-r", ("mono",))]),
        ("xquad-r-cross,xquad-r", [("xquad-r", ALL)]),
        # the modes of a collection become one selection, and the collections keep their order
        ("mlqa-r-cross,xquad-r-mono,mlqa-r-mono", [("mlqa-r", ("mono", "cross")), ("xquad-r", ("mono",))]),
        ("xquad-r-context-mono,xquad-r", [("xquad-r-context", ("mono",)), ("xquad-r", ALL)]),
        (["SciFact", "cldr-facts"], [("SciFact", ()), ("cldr-facts", ALL)]),
        ("SciFact,XQuADRetrieval,SciFact", [("SciFact", ()), ("XQuADRetrieval", ())]),
    ],
)
def test_names_select_collections_and_modes(names, expected):
    assert selected(names) == expected


def test_task_names_of_shipped_definitions():
    tasks = TaskRegistry().tasks
    assert set(tasks) == {*SHIPPED, *(f"{name}-{mode}" for name in SHIPPED for mode in MODES[name])}
    assert tasks["mlqa-r-context-cross"][1] == ("cross",)


def test_mteb_names_are_unique():
    ours = {spec.mteb_task_name(mode) for spec in TaskRegistry().specs.values() for mode in spec.modes}
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
            "unknown task 'zzzzzzzzz'; `hbt-bench tasks` lists all, and --task-dir or HBT_BENCH_TASKS names a folder",
        ),
        ("test", "unknown task 'test'"),  # a word in the sources of MTEB's tasks, but not a task
    ],
)
def test_unknown_name_is_refused_with_suggestion(name, message):
    with pytest.raises(UsageError) as caught:
        select_tasks(["xquad-r", name])
    assert str(caught.value).startswith(message)


def test_error_names_folder_of_shipped_task():
    with pytest.raises(UsageError) as caught:
        select_tasks("flores-ood-multi[en,sw]")  # flores-multi is similar, but has other data
    assert "'flores-ood-multi[en,sw]' is in a folder that is not searched" in str(caught.value)
    assert f"--task-dir {shipped_folder() / 'ood'}" in str(caught.value)


@pytest.mark.parametrize("names", ["", [], ",", ["", " , "]])
def test_empty_names_are_refused(names):
    with pytest.raises(UsageError, match="no task given"):
        select_tasks(names)


@pytest.mark.parametrize(
    ("languages", "message"),
    [
        (["en", "german"], "xquad-r has no language 'german'; did you mean 'de'?"),
        (["sw"], "xquad-r has no language 'sw' (it has ar de el en es hi ru th tr vi zh)"),
        (["Chinese"], "xquad-r has no language 'Chinese'; did you mean 'zh'?"),
        ([], "no language is left of xquad-r: name at least one of ar de el en es hi ru th tr vi zh"),
    ],
)
def test_unknown_language_is_refused(languages, message):
    with pytest.raises(UsageError) as caught:
        TaskRegistry().specs["xquad-r"].select(languages)
    assert str(caught.value).startswith(message)


def test_selected_languages_are_sorted_and_unique():
    assert TaskRegistry().specs["xquad-r"].select(["zh", "en", "zh"]) == ("en", "zh")
    assert TaskRegistry().specs["mlqa-r"].select(None) == ("ar", "de", "en", "es", "hi", "vi", "zh")


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
def test_names_of_modes_and_languages(mode, languages, name, mteb_name):
    spec = TaskRegistry().specs["xquad-r"]
    assert spec.task_name(mode, languages) == name
    assert spec.mteb_task_name(mode, languages) == mteb_name


def test_all_languages_have_no_bracket():
    spec = TaskRegistry().specs["xquad-r"]
    assert spec.task_name("multi", spec.languages) == "xquad-r-multi"
    assert spec.mteb_task_name("multi", spec.languages) == "XQuADRMultilingualRetrieval"


def test_modes_share_a_ranks_file():
    spec = TaskRegistry().specs["xquad-r"]
    assert spec.ranks_name() == "XQuADRRetrieval.ranks.npz"
    assert spec.ranks_name(("de", "en")) == "XQuADRRetrieval_de_en.ranks.npz"


# MTEB's own tasks

LOOK_UP = """
import json, sys
from hbt_bench.tasks.registry import mteb_task_names, select_tasks
names = ["SciFact", "MTOPIntentClassification", "BelebeleRetrieval", "mFollowIR"]
stock = [selection.stock for selection in select_tasks(names)]
loaded = sorted({"mteb", "torch", "sentence_transformers", "datasets"} & set(sys.modules))
print(json.dumps([stock, loaded, len(mteb_task_names())]))
"""


def test_mteb_names_are_read_without_importing_mteb():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    out = subprocess.run([sys.executable, "-c", LOOK_UP], env=environment, capture_output=True, check=True).stdout
    stock, loaded, count = json.loads(out)
    assert stock == ["SciFact", "MTOPIntentClassification", "BelebeleRetrieval", "mFollowIR"]
    assert loaded == []
    assert count > 1000


def test_mteb_names_are_those_mteb_registers():
    from mteb.get_tasks import _TASKS_REGISTRY

    ours = {name for name, task in _TASKS_REGISTRY.items() if task.__module__.startswith("hbt_bench.")}
    assert mteb_task_names() == set(_TASKS_REGISTRY) - ours


# Shipped definitions


def test_shipped_definitions_are_complete():
    assert tuple(sorted(TaskRegistry().specs)) == SHIPPED
    for name, spec in TaskRegistry().specs.items():
        assert spec.modes == MODES[name]
        assert set(spec.languages) <= set(LANGUAGES)
        assert spec.metadata.license
        assert "@" in spec.metadata.citation
        if spec.expect is not None and name not in ("afriqa", "ciral"):  # queries and documents in other languages
            assert tuple(sorted(spec.expect.queries)) == tuple(sorted(spec.expect.documents)) == spec.languages


def test_definition_inherits_from_another():
    whole, context = TaskRegistry().specs["xquad-r"], TaskRegistry().specs["xquad-r-context"]
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
def test_lareqa_has_golden_counts_and_hash(data_dir, name, fingerprint):
    collection = TaskRegistry().specs[name].load(data_dir=data_dir)
    assert collection.fingerprint == fingerprint
    assert (len(collection.queries), len(collection.documents)) == (
        (13090, 13014) if name.startswith("xquad") else (4199, 20534)
    )


@pytest.mark.skipif(cldr.cldr_version() != "47", reason="the counts are those of CLDR 47")
def test_cldr_facts_has_golden_counts():
    collection = TaskRegistry().specs["cldr-facts"].load()
    assert len(collection.queries) == len(collection.documents) == 20 * 182


def test_only_files_of_chosen_languages_are_read(data_dir, tmp_path):
    spec = TaskRegistry().specs["mlqa-r"]
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


def test_chosen_languages_of_cldr_facts_are_a_restriction():
    spec = TaskRegistry().specs["cldr-facts"]
    assert spec.load(["sw", "am"]).fingerprint == spec.load().restrict(["am", "sw"]).fingerprint


@pytest.mark.parametrize(
    ("field", "key", "count", "message"),
    [
        ("queries", "ar", 516, "mlqa-r has 517 queries in ar, but its definition expects 516"),
        ("queries", "ru", 1, "mlqa-r has 0 queries in ru, but its definition expects 1"),
        ("documents", "zh", 2323, "mlqa-r has 2322 documents in zh, but its definition expects 2323"),
        (
            "relevant",
            3,
            264,
            "mlqa-r has 263 questions whose number of relevant documents is 3, but its definition expects 264",
        ),
        (
            "relevant",
            4,
            None,
            "mlqa-r has 820 questions whose number of relevant documents is 4, but its definition expects 0",
        ),
    ],
)
def test_wrong_count_is_named(data_dir, field, key, count, message):
    spec = TaskRegistry().specs["mlqa-r"]
    counts = {**getattr(spec.expect, field), key: count}
    wrong = spec.expect.model_copy(update={field: {key: count for key, count in counts.items() if count is not None}})
    with pytest.raises(DataError) as caught:
        spec.model_copy(update={"expect": wrong}).load(data_dir=data_dir)
    assert str(caught.value).startswith(f"{message}:")


def test_counts_of_chosen_languages_are_checked(data_dir):
    spec = TaskRegistry().specs["mlqa-r"]
    wrong = spec.expect.model_copy(update={"documents": {**spec.expect.documents, "vi": 1, "en": 1}})
    spec = spec.model_copy(update={"expect": wrong})
    assert len(spec.load(["de"], data_dir).queries) == 512
    with pytest.raises(DataError, match="mlqa-r has 2828 documents in vi, but its definition expects 1:"):
        spec.load(["de", "vi"], data_dir)


def test_counts_of_another_version_are_not_checked(messages):
    spec = TaskRegistry().specs["cldr-facts"]
    counts = spec.expect.model_copy(update={"queries": {"en": 1}})
    assert spec.model_copy(update={"expect": counts.model_copy(update={"version": "1"})}).load(["en", "de"])
    assert messages[-1].startswith(
        "cldr-facts: the counts in `expect` are not checked, because they hold for version 1"
    )
    installed = counts.model_copy(update={"version": cldr.cldr_version()})
    with pytest.raises(DataError, match="cldr-facts has 182 queries in am, but its definition expects 0"):
        spec.model_copy(update={"expect": installed}).load()


# Errors in a definition

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
def define(tmp_path):
    """Return a function that writes definitions and returns a registry with them as the shipped ones."""

    def define(**contents):
        for name, content in contents.items():
            text = content if isinstance(content, str) else yaml.safe_dump(content, allow_unicode=True)
            (tmp_path / f"{name}.yaml").write_text(text)
        return TaskRegistry(shipped=tmp_path)

    return define


def edited(*keys, value):
    """Return the demo with the value at `keys` changed, or removed if it is None."""
    content = copy.deepcopy(DEMO)
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    if value is None:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    return content


def test_registry_reads_given_definitions(define):
    registry = define(
        demo=DEMO,
        part={"extends": "demo", "name": "part", "mteb_name": "Part", "source": {"path": "x.{language}.json"}},
    )
    demo, part = registry.specs["demo"], registry.specs["part"]
    assert demo.languages == part.languages == ("de", "en")
    assert [file.path for file in demo.source.remote_files().values()] == ["demo/de.json", "demo/en.json"]
    assert [file.path for file in part.source.remote_files().values()] == ["x.de.json", "x.en.json"]
    assert part.source.url == "https://example.org/{language}.json"
    assert demo.source.remote_files()["de"].sha256 == "f" * 64
    assert selected("part,demo-mono", registry) == [("part", ALL), ("demo", ("mono",))]


def test_single_language_has_mono_mode_only(define):
    registry = define(demo=edited("source", "files", "de", value=None))
    assert selected("demo", registry) == [("demo", ("mono",))]
    assert set(registry.tasks) == {"demo", "demo-mono"}


@pytest.mark.parametrize(
    ("content", "marked", "reason"),
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
def test_error_has_line_and_column(define, tmp_path, content, marked, reason):
    registry = define(demo=content)
    with pytest.raises(DataError) as caught:
        registry.specs  # noqa: B018
    message = str(caught.value)
    assert "\n" not in message
    lines = (tmp_path / "demo.yaml").read_text().splitlines()
    number, column = next((n, line.index(marked)) for n, line in enumerate(lines, 1) if marked in line)
    assert message.startswith(f"{tmp_path / 'demo.yaml'}:{number}:{column + 1}: {reason}")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name: [demo", "2:1: "),
        ("name: !!python/object/apply:os.system [echo]", "1:7: the tag 'python/object/apply:os.system' is not allowed"),
        ("- name: demo", "1:1: the file must be a mapping"),
        ("", "1:1: the file is empty"),
        ("name: other", "1:1: the name is 'other': it must be 'demo'"),
        ("name: demo\ntitle: Demo\nsource:\n  kind: lareqa\n   path: x\n", "5:"),
    ],
)
def test_invalid_yaml_is_refused_with_line(define, tmp_path, text, reason):
    registry = define(demo=text)
    with pytest.raises(DataError) as caught:
        registry.specs  # noqa: B018
    assert str(caught.value).startswith(f"{tmp_path / 'demo.yaml'}:{reason}")
    assert "\n" not in str(caught.value)


def test_file_must_be_utf_8(define, tmp_path):
    (tmp_path / "demo.yaml").write_bytes(b"name: demo\ntitle: \xff\xfe")
    with pytest.raises(DataError, match=r"demo\.yaml:2: not UTF-8"):
        define().specs  # noqa: B018


@pytest.mark.parametrize("parent", ["missing", "part", "other", ["demo"]])
def test_only_complete_definitions_can_be_extended(define, parent):
    registry = define(demo=DEMO, part={"extends": parent, "name": "part"}, other={"extends": "demo", "name": "other"})
    with pytest.raises(DataError) as caught:
        registry.specs  # noqa: B018
    assert f"'{parent}' is not a complete definition" in str(caught.value)


def test_installation_without_definitions_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "_FOLDERS", (tmp_path / "a", tmp_path / "b"))
    with pytest.raises(DataError, match="the task definitions are missing from this installation"):
        TaskRegistry().specs  # noqa: B018


# One registry


def test_registries_do_not_share_tasks(tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine\nextends: cldr-facts\n")
    registry = TaskRegistry([tmp_path])
    assert "mine" in registry.specs
    assert "mine" not in TaskRegistry().specs


def test_changed_files_are_read_again(define):
    assert define(demo=DEMO).specs["demo"].title == "Demo"
    assert define(demo=edited("title", value="Changed")).specs["demo"].title == "Changed"


def test_unchanged_files_are_read_once(define):
    assert define(demo=DEMO).specs["demo"] is define().specs["demo"]
