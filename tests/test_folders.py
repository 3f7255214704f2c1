"""Folders of task files, plug-ins and suites: the broken ones are told, and the rest work."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from hbt_bench.checks.task_file import Validation
from hbt_bench.cli.main import run
from hbt_bench.errors import DataError, UsageError
from hbt_bench.reports.page import ReportRequest
from hbt_bench.results.store import Result, read_all
from hbt_bench.tasks import folders, registry
from hbt_bench.tasks.registry import definitions, select_tasks

TASK = """name: {name}
source:
  kind: jsonl
  path: data.jsonl
  languages: [en, de, sw]
  columns: {{id: id, query: 'x.{{language}}.q', document: 'x.{{language}}.d'}}
"""
ROWS = [
    {
        "id": 1,
        "x": {"en": {"q": "Who?", "d": "She."}, "de": {"q": "Wer?", "d": "Sie."}, "sw": {"q": "Nani?", "d": "Yeye."}},
    },
    {"id": 2, "x": {"en": {"q": "Where?", "d": "Here."}, "de": {"q": "Wo?", "d": "Hier."}}},
]


UNKNOWN = (
    "unknown task '{}'; `hbt-bench tasks` lists all, and --task-dir or HBT_BENCH_TASKS names a folder with your own"
)


@pytest.fixture(autouse=True)
def _forget():
    registry.forget()
    yield
    registry.forget()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.yaml").write_text(TASK.format(name="mine"))
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    return tmp_path


def test_a_task_file_by_its_path(folder):
    (selection,) = select_tasks(f"{folder}/mine.yaml")
    assert (selection.spec.name, selection.modes) == ("mine", ("mono", "cross", "multi"))
    collection = selection.spec.load()
    assert (len(collection.queries), len(collection.documents)) == (5, 5)
    assert collection.relevant(0) == {"de-d-1": 1, "en-d-1": 1, "sw-d-1": 1}
    part = select_tasks(f"{folder}/mine.yaml[en>de]")[0].spec
    assert part.task_name("cross") == "mine-cross[en>de]"
    assert part.mteb_task_name("cross") == "MineCrossLingualRetrieval_from_en_to_de"
    assert {query.language for query in part.load().queries} == {"en"}
    assert {document.language for document in part.load().documents} == {"de"}


@pytest.mark.parametrize("name", ["mine", "mine-multi", "mine-multi[de,en]+typos"])
def test_a_task_in_the_current_folder_is_not_looked_for_and_the_way_is_told(folder, monkeypatch, name):
    monkeypatch.chdir(folder)
    with pytest.raises(UsageError) as caught:
        select_tasks(name)
    assert str(caught.value) == (
        f"the file of the task '{name}' is in a folder that is not looked in: add --task-dir ., or name the folder in "
        "HBT_BENCH_TASKS"
    )


def test_a_broken_file_that_is_asked_for_is_told_once(folder, capsys):
    (folder / "broken.yaml").write_text("name: broken\nsuorce: {}\n")
    with pytest.raises(DataError, match=r"broken.yaml:2:1: unknown key 'suorce' in the file; did you mean 'source'"):
        select_tasks(str(folder / "broken.yaml"))
    assert capsys.readouterr().err == ""


def test_a_folder_with_a_broken_file(folder, capsys):
    (folder / "broken.yaml").write_text("name: broken\nsource: {kind: jsom}")
    (folder / "xquad-r.yaml").write_text(TASK.format(name="xquad-r"))
    registry.add(folder)
    assert "mine" in definitions()
    assert definitions()["xquad-r"].title == "XQuAD-R"
    said = capsys.readouterr().err
    assert f"{folder}/broken.yaml:2:10: unknown kind 'jsom'" in said
    assert f"{folder}/xquad-r.yaml: the name 'xquad-r' is taken by" in said
    with pytest.raises(DataError, match="unknown kind 'jsom'"):
        select_tasks("broken-multi")
    assert select_tasks("mine-multi")[0].modes == ("multi",)


TAKEN = "and results would overwrite each other: give this task another `mteb_name`"


def test_two_tasks_with_one_name_in_mteb_are_refused(folder, capsys):
    """`x-1` and `x1` would both be X1 in MTEB, and write the same files."""
    (folder / "x-1.yaml").write_text(TASK.format(name="x-1"))
    (folder / "x1.yaml").write_text(TASK.format(name="x1"))
    (folder / "y.yaml").write_text(TASK.format(name="y") + "mteb_name: xQUADr\n")
    registry.add(folder)
    assert {"x-1", "mine"} <= definitions().keys()
    assert {"x1", "y"}.isdisjoint(definitions())
    said = capsys.readouterr().err
    assert f"hbt-bench: {folder}/x1.yaml:1:1: the MTEB name 'X1' is that of {folder}/x-1.yaml, {TAKEN}\n" in said
    shipped = registry.shipped().documents["xquad-r"].path
    assert f"hbt-bench: {folder}/y.yaml:7:1: the MTEB name 'xQUADr' is that of {shipped}, {TAKEN}\n" in said
    with pytest.raises(DataError, match="the MTEB name 'X1' is that of"):
        select_tasks("x1")
    for name, other in (("x1", "x-1"), ("y", "xquad-r")):
        found = next(check for check in Validation(folder / f"{name}.yaml").run() if check.name == "name")
        mteb_name = {"x1": "X1", "y": "xQUADr"}[name]
        assert (found.status, found.message) == (
            "failed",
            f"the MTEB name '{mteb_name}' is that of the task '{other}', {TAKEN}",
        )


def test_a_task_that_extends_another_has_a_name_of_its_own_in_mteb(folder):
    (folder / "more.yaml").write_text("name: more\nextends: mine\n")
    (folder / "mine.yaml").write_text(TASK.format(name="mine") + "mteb_name: Special\n")
    registry.add(folder)
    assert (definitions()["mine"].mteb_name, definitions()["more"].mteb_name) == ("Special", "More")


def test_yml_is_yaml(folder, capsys):
    (folder / "other.yml").write_text(TASK.format(name="other"))
    (folder / "mine.yml").write_text(TASK.format(name="mine"))
    (folder / "suites").mkdir()
    (folder / "suites" / "two.yml").write_text("name: two\ndescription: Two.\ntasks: [mine, other]\n")
    registry.add(folder)
    assert {"other"} <= definitions().keys()
    assert registry.suites()["two"].tasks == ("mine", "other")
    assert f"{folder}/mine.yml has the name of {folder}/mine.yaml: remove one of the two\n" in capsys.readouterr().err


def test_a_folder_of_the_environment_that_is_not_there_is_told(folder, monkeypatch, capsys):
    (folder / "empty").mkdir()
    monkeypatch.setenv("HBT_BENCH_TASKS", f"{folder}/gone:{folder}:{folder}/empty")
    assert "mine" in definitions()
    assert capsys.readouterr().err == (
        f"hbt-bench: HBT_BENCH_TASKS names {folder}/gone, where there is no task file (*.yaml or *.yml)\n"
        f"hbt-bench: HBT_BENCH_TASKS names {folder}/empty, where there is no task file (*.yaml or *.yml)\n"
    )


def test_recipes_and_studies_beside_task_files_are_passed_over(folder, monkeypatch, capsys):
    (folder / "recipe.yaml").write_text("init: static:8\ndata: [{kind: cldr-facts}]\nsteps: 5\n")
    (folder / "study.yaml").write_text("name: study\nscales: {smoke: {}}\n")
    (folder / "misspelt.yaml").write_text("name: misspelt\nsuorce: {kind: jsonl}\n")
    registry.add(folder)
    known = registry.definitions()
    assert "mine" in known
    assert not {"recipe", "study", "misspelt"} & set(known)
    assert re.findall(r"(\w+)\.yaml", capsys.readouterr().err) == ["misspelt"]
    with pytest.raises(DataError, match="the key 'name' is missing"):  # one that was named is looked at
        select_tasks(str(folder / "recipe.yaml"))


def test_folders_come_from_the_environment_too(folder, monkeypatch):
    monkeypatch.setenv("HBT_BENCH_TASKS", str(folder))
    assert select_tasks("mine-mono")[0].spec.name == "mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./no.yaml", "there is no task file no.yaml"),
        ("suite:papr", "unknown suite 'papr'; did you mean 'paper'?"),
        ("suite:", "unknown suite ''"),
        ("xquad-r[xx]", "xquad-r has no language 'xx'"),
        ("xquad-r+typo", "unknown query shift 'typo'; did you mean 'typos'?"),
        ("SciFact+typos", "unknown task 'SciFact+typos'; did you mean 'SciFact'"),
    ],
)
def test_a_name_that_is_not_there(name, message):
    with pytest.raises(UsageError) as caught:
        select_tasks(name)
    assert str(caught.value).startswith(message)


def test_suites():
    assert set(registry.suites()) >= {
        "paper",
        "mlir",
        "low-resource",
        "beir",
        "nano-beir",
        "beir-pl",
        "beir-nl",
        "mtop",
    }
    stock = select_tasks("suite:beir,suite:nano-beir,suite:beir-pl,suite:beir-nl,suite:mtop")
    assert len(stock) == 15 + 13 + 13 + 15 + 2
    assert all(selection.spec is None for selection in stock)
    ours = {
        selection.spec.name.split("[")[0] for selection in select_tasks("suite:paper,suite:mlir,suite:low-resource")
    }
    assert ours >= {"xquad-r", "mlqa-r", "miracl", "belebele", "neuclir", "flores"}


def plugins(monkeypatch, **values):
    entries = [EntryPoint(name, value, folders.GROUP) for name, value in values.items()]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries if group == folders.GROUP else [])


def test_a_plug_in_brings_tasks_and_a_broken_one_does_not_disturb(folder, monkeypatch, capsys):
    package = folder / "demo_plugin_tasks"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "brought.yaml").write_text(TASK.format(name="brought"))
    (folder / "raising_plugin.py").write_text("raise RuntimeError('no luck')")
    monkeypatch.syspath_prepend(str(folder))
    (folder / "bare").mkdir()
    (folder / "bare" / "bare_plugin.py").write_text("")
    monkeypatch.syspath_prepend(str(folder / "bare"))
    plugins(
        monkeypatch,
        good="demo_plugin_tasks",
        bad="raising_plugin",
        gone="no_such_module_here",
        bare="bare_plugin",
    )
    assert select_tasks("brought-multi")[0].spec.name == "brought"
    assert "xquad-r" in definitions()
    said = capsys.readouterr().err
    assert "the plug-in 'bad' (raising_plugin) is left out: no luck" in said
    assert "the plug-in 'gone' (no_such_module_here) is left out: No module named 'no_such_module_here'" in said
    assert f"the plug-in 'bare' (bare_plugin) is left out: {folder}/bare has no task files (*.yaml or *.yml)" in said


def test_the_command_line_lists_and_shows_them(folder, capsys):
    assert run(["tasks", "--task-dir", str(folder), "--format", "csv"]) == 0
    assert "mine" in capsys.readouterr().out
    assert run(["tasks", "show", str(folder / "mine.yaml")]) == 0
    out = capsys.readouterr().out
    assert "mine-cross" in out
    assert "MineCrossLingualRetrieval" in out
    assert run(["tasks", "show", "suite:mtop"]) == 0
    assert capsys.readouterr().out == "MTOPDomainClassification\nMTOPIntentClassification\n"


@pytest.fixture
def own(folder, capsys):
    """Run a command line in a process of its own, as it were, on the results of BM25 on the folder's task."""
    pytest.importorskip("bm25s")
    results = folder / "results"

    def own(*arguments):
        registry.forget()
        code = run([str(argument) for argument in arguments])
        return (code, *capsys.readouterr())

    chosen = ["--tasks", folder / "mine.yaml", "--languages", "de,en"]
    assert own("run", "--model", "bm25", *chosen, "--output", results)[0] == 0
    return own


@pytest.mark.parametrize("named", ["file", "folder", "environment"])
def test_a_comparison_names_the_folder_of_a_task_in_its_advice(folder, own, monkeypatch, named):
    if named == "environment":
        monkeypatch.setenv("HBT_BENCH_TASKS", str(folder))
    tasks = {"file": [folder / "mine.yaml"], "folder": ["mine", "--task-dir", folder], "environment": ["mine"]}[named]
    arguments = ["--languages", "de,en", "--results", folder / "results"]
    code, out, err = own("compare", "bm25", "org/model", "--tasks", *tasks, *arguments)
    assert (code, out) == (3, "")
    assert err.endswith(
        f"run `hbt-bench run --model org/model --tasks mine --languages de,en --task-dir {folder} "
        f"--output {folder / 'results'}`\n"
    )


def test_bias_of_a_task_of_ones_own(folder, own):
    arguments = ["--languages", "de,en", "--results", folder / "results", "--format", "json"]
    by_name = own("bias", "bm25", "--task", "mine-multi", "--task-dir", folder, *arguments)
    assert by_name[::2] == (0, "")
    assert json.loads(by_name[1])["task"] == "mine-multi[de,en]"
    assert own("bias", "bm25", "--task", folder / "mine.yaml", *arguments) == by_name
    [path] = folder.rglob("MineMultilingualRetrieval_de_en.json")
    code, out, err = own("bias", path)
    assert (code, err) == (0, f"hbt-bench: the texts are left out: {UNKNOWN.format('mine-multi')}\n")
    assert "worst questions" not in out
    code, out, err = own("bias", path, "--task-dir", folder)
    assert (code, err) == (0, "")
    assert "The 2 worst questions" in out


def test_the_report_says_how_a_task_of_ones_own_is_found(folder, own, messages):
    found = [one for one in read_all(folder / "results") if isinstance(one, Result)]
    assert len(found) == 3
    registry.forget()
    [board] = ReportRequest().content(found)["boards"]
    missing = UNKNOWN.format("mine[de,en]")
    assert messages == [f"the questions and the comparison on mine[de,en] are left out: {missing}"]
    registry.add(folder)
    messages.clear()
    [board] = ReportRequest().content(found)["boards"]
    assert (messages, board["texts"]) == ([], True)


def _processor_seconds(*arguments):
    """What `hbt-bench tasks` takes of the processor, which other programs disturb less than the clock."""
    code = (
        "import sys; from hbt_bench.cli.main import run; run(['tasks', '--format', 'csv', *sys.argv[1:]]);"
        "assert not {'torch', 'mteb', 'datasets', 'pandas', 'sentence_transformers'} & set(sys.modules)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_five_hundred_task_files_are_listed_fast(folder):
    """1.7 times what the shipped ones alone take, when measured on an idle machine."""
    text = (Path(__file__).parents[1] / "tasks" / "mlqa-r.yaml").read_text()
    for number in range(500):
        name = f"task{number}"
        (folder / f"{name}.yaml").write_text(
            text.replace("name: mlqa-r\n", f"name: {name}\n").replace("MLQAR", f"T{number}")
        )
    out, _ = _processor_seconds("--task-dir", str(folder))
    assert out.count("task4") == 111
    alone = min(_processor_seconds()[1] for _ in range(2))
    many = min(_processor_seconds("--task-dir", str(folder))[1] for _ in range(2))
    assert many < 3 * alone + 0.1


def test_a_plug_in_that_is_one_module_or_a_function(folder, monkeypatch):
    """Of a module, the folder that it lies in; of a function, the folder that it returns."""
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / f"{name}.yaml").write_text(TASK.format(name=name))
        (folder / name / f"{name}_module.py").write_text(f"def find():\n    return {str(folder / name)!r}\n")
        monkeypatch.syspath_prepend(str(folder / name))
    plugins(monkeypatch, one="one_module", two="two_module:find")
    assert {"one", "two"} <= definitions().keys()
