"""Folders of task files, plug-ins and suites. Broken files are logged, and the rest work."""

from __future__ import annotations

import json
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
from hbt_bench.tasks import folders
from hbt_bench.tasks.registry import TaskRegistry, select_tasks, shipped_folder

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


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.yaml").write_text(TASK.format(name="mine"))
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    return tmp_path


def test_task_file_is_selected_by_path(folder):
    [selection] = select_tasks(f"{folder}/mine.yaml")
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
def test_task_in_current_folder_must_be_named(folder, monkeypatch, name):
    monkeypatch.chdir(folder)
    with pytest.raises(UsageError, match=r"in a folder that is not searched: add --task-dir \."):
        select_tasks(name)


def test_broken_file_that_is_selected_raises(folder, messages):
    (folder / "broken.yaml").write_text("name: broken\nsuorce: {}\n")
    with pytest.raises(DataError, match=r"broken.yaml:2:1: unknown key 'suorce' in the file; did you mean 'source'"):
        select_tasks(str(folder / "broken.yaml"))
    assert messages == []


def test_broken_file_does_not_affect_the_others(folder, messages):
    (folder / "broken.yaml").write_text("name: broken\nsource: {kind: jsom}")
    (folder / "xquad-r.yaml").write_text(TASK.format(name="xquad-r"))
    registry = TaskRegistry([folder])
    assert "mine" in registry.specs
    assert registry.specs["xquad-r"].title == "XQuAD-R"
    assert any(message.startswith(f"{folder}/broken.yaml:2:10: unknown kind 'jsom'") for message in messages)
    assert any(message.startswith(f"{folder}/xquad-r.yaml: the name 'xquad-r' is taken by") for message in messages)
    with pytest.raises(DataError, match="unknown kind 'jsom'"):
        registry.select("broken-multi")
    assert registry.select("mine-multi")[0].modes == ("multi",)


def test_problems_are_logged_once(folder, messages):
    (folder / "broken.yaml").write_text("name: broken\nsource: {kind: jsom}")
    registry = TaskRegistry([folder])
    assert registry.specs
    assert registry.tasks
    assert len(messages) == 1


def test_mteb_names_must_be_unique(folder, messages):
    """`x-1` and `x1` would both be X1 in MTEB, and write the same files."""
    (folder / "x-1.yaml").write_text(TASK.format(name="x-1"))
    (folder / "x1.yaml").write_text(TASK.format(name="x1"))
    (folder / "y.yaml").write_text(TASK.format(name="y") + "mteb_name: xQUADr\n")
    registry = TaskRegistry([folder])
    assert {"x-1", "mine"} <= registry.specs.keys()
    assert {"x1", "y"}.isdisjoint(registry.specs)
    x1, y = messages
    assert x1.startswith(f"{folder}/x1.yaml:1:1: the MTEB name 'X1' is that of {folder}/x-1.yaml,")
    assert y.startswith(f"{folder}/y.yaml:7:1: the MTEB name 'xQUADr' is that of {shipped_folder() / 'xquad-r.yaml'},")
    with pytest.raises(DataError, match="the MTEB name 'X1' is that of"):
        registry.select("x1")


@pytest.mark.parametrize(("name", "mteb_name", "other"), [("x1", "X1", "x-1"), ("y", "xQUADr", "xquad-r")])
def test_validation_checks_mteb_names(folder, name, mteb_name, other):
    (folder / "x-1.yaml").write_text(TASK.format(name="x-1"))
    (folder / f"{name}.yaml").write_text(TASK.format(name=name) + f"mteb_name: {mteb_name}\n")
    check = next(check for check in Validation(folder / f"{name}.yaml").run() if check.name == "name")
    assert check.status == "failed"
    assert check.message.startswith(f"the MTEB name '{mteb_name}' is that of the task '{other}'")


def test_mteb_name_is_not_inherited(folder):
    (folder / "more.yaml").write_text("name: more\nextends: mine\n")
    (folder / "mine.yaml").write_text(TASK.format(name="mine") + "mteb_name: Special\n")
    specs = TaskRegistry([folder]).specs
    assert (specs["mine"].mteb_name, specs["more"].mteb_name) == ("Special", "More")


def test_yml_files_are_read(folder, messages):
    (folder / "other.yml").write_text(TASK.format(name="other"))
    (folder / "mine.yml").write_text(TASK.format(name="mine"))
    (folder / "suites").mkdir()
    (folder / "suites" / "two.yml").write_text("name: two\ndescription: Two.\ntasks: [mine, other]\n")
    registry = TaskRegistry([folder])
    assert "other" in registry.specs
    assert registry.suites["two"].tasks == ("mine", "other")
    assert any(f"{folder}/mine.yml has the name of {folder}/mine.yaml" in message for message in messages)


def test_missing_folders_of_environment_are_logged(folder, monkeypatch, messages):
    (folder / "empty").mkdir()
    monkeypatch.setenv("HBT_BENCH_TASKS", f"{folder}/gone:{folder}:{folder}/empty")
    assert "mine" in TaskRegistry().specs
    assert [message.partition(",")[0] for message in messages] == [
        f"HBT_BENCH_TASKS names {folder}/gone",
        f"HBT_BENCH_TASKS names {folder}/empty",
    ]


def test_recipes_and_studies_are_skipped(folder, messages):
    (folder / "recipe.yaml").write_text("init: static:8\ndata: [{kind: cldr-facts}]\nsteps: 5\n")
    (folder / "study.yaml").write_text("name: study\nscales: {smoke: {}}\n")
    (folder / "misspelt.yaml").write_text("name: misspelt\nsuorce: {kind: jsonl}\n")
    registry = TaskRegistry([folder])
    assert "mine" in registry.specs
    assert {"recipe", "study", "misspelt"}.isdisjoint(registry.specs)
    [message] = messages
    assert message.startswith(f"{folder}/misspelt.yaml")
    with pytest.raises(DataError, match="the key 'name' is missing"):  # because the file is selected
        select_tasks(str(folder / "recipe.yaml"))


def test_environment_names_folders(folder, monkeypatch):
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
def test_unknown_names_are_refused(name, message):
    with pytest.raises(UsageError) as caught:
        select_tasks(name)
    assert str(caught.value).startswith(message)


def test_shipped_suites_are_known():
    assert set(TaskRegistry().suites) >= {
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
    ours = {selection.spec.base for selection in select_tasks("suite:paper,suite:mlir,suite:low-resource")}
    assert ours >= {"xquad-r", "mlqa-r", "miracl", "belebele", "neuclir", "flores"}


def plugins(monkeypatch, **values):
    entries = [EntryPoint(name, value, folders.GROUP) for name, value in values.items()]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries if group == folders.GROUP else [])


def test_broken_plugin_does_not_affect_the_others(folder, monkeypatch, messages):
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
    registry = TaskRegistry()
    assert registry.select("brought-multi")[0].spec.name == "brought"
    assert "xquad-r" in registry.specs
    assert messages == [
        "the plug-in 'bad' (raising_plugin) is left out: no luck",
        "the plug-in 'gone' (no_such_module_here) is left out: No module named 'no_such_module_here'",
        f"the plug-in 'bare' (bare_plugin) is left out: {folder}/bare has no task files (*.yaml or *.yml)",
    ]


def test_tasks_of_a_folder_are_listed_and_shown(folder, capsys):
    assert run(["tasks", "--task-dir", str(folder), "--format", "csv"]) == 0
    assert "mine" in capsys.readouterr().out
    assert run(["tasks", "--task-dir", str(folder), "show", "mine-cross"]) == 0
    assert "mine-cross" in capsys.readouterr().out
    assert run(["tasks", "show", str(folder / "mine.yaml")]) == 0
    out = capsys.readouterr().out
    assert "mine-cross" in out
    assert "MineCrossLingualRetrieval" in out
    assert run(["tasks", "show", "suite:mtop"]) == 0
    assert capsys.readouterr().out == "MTOPDomainClassification\nMTOPIntentClassification\n"


@pytest.fixture
def own(folder, capsys):
    """Return a function that runs a command line. The folder has results of BM25 on its task."""
    pytest.importorskip("bm25s")
    results = folder / "results"

    def own(*arguments):
        code = run([str(argument) for argument in arguments])
        return (code, *capsys.readouterr())

    chosen = ["--tasks", folder / "mine.yaml", "--languages", "de,en"]
    assert own("run", "--model", "bm25", *chosen, "--output", results)[0] == 0
    return own


@pytest.mark.parametrize("named", ["file", "folder", "environment"])
def test_advice_of_comparison_names_the_task_folder(folder, own, monkeypatch, named):
    if named == "environment":
        monkeypatch.setenv("HBT_BENCH_TASKS", str(folder))
    tasks = {"file": [folder / "mine.yaml"], "folder": ["mine", "--task-dir", folder], "environment": ["mine"]}[named]
    arguments = ["--languages", "de,en", "--results", folder / "results"]
    code, out, err = own("compare", "bm25", "org/model", "--tasks", *tasks, *arguments)
    assert (code, out) == (3, "")
    assert err.endswith(
        f"Run `hbt-bench run --model org/model --tasks mine --languages de,en --task-dir {folder} "
        f"--output {folder / 'results'}`.\n"
    )


def test_bias_needs_the_folder_of_a_task(folder, own):
    arguments = ["--languages", "de,en", "--results", folder / "results", "--format", "json"]
    by_name = own("bias", "bm25", "--task", "mine-multi", "--task-dir", folder, *arguments)
    assert by_name[::2] == (0, "")
    assert json.loads(by_name[1])["task"] == "mine-multi[de,en]"
    assert own("bias", "bm25", "--task", folder / "mine.yaml", *arguments) == by_name
    [path] = folder.rglob("MineMultilingualRetrieval_de_en.json")
    code, out, err = own("bias", path)
    assert code == 0
    assert err.startswith("hbt-bench: the texts are left out: unknown task 'mine-multi'")
    assert "worst questions" not in out
    code, out, err = own("bias", path, "--task-dir", folder)
    assert (code, err) == (0, "")
    assert "The 2 worst questions" in out


def test_report_needs_the_folder_of_a_task(folder, own, messages):
    results = [result for result in read_all(folder / "results") if isinstance(result, Result)]
    assert len(results) == 3
    messages.clear()
    ReportRequest().content(results)
    assert len(messages) == 1
    assert "comparison on mine[de,en] are left out: unknown task 'mine[de,en]'" in messages[0]
    messages.clear()
    [board] = ReportRequest(registry=TaskRegistry([folder])).content(results)["boards"]
    assert (messages, board["texts"]) == ([], True)


def _processor_seconds(*arguments):
    """Return the stdout and the processor time of `hbt-bench tasks`. Other programs affect the clock more."""
    code = (
        "import sys; from hbt_bench.cli.main import run; run(['tasks', '--format', 'csv', *sys.argv[1:]]);"
        "assert not {'numpy', 'torch', 'mteb', 'datasets', 'pandas', 'sentence_transformers'} & set(sys.modules)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_many_task_files_are_listed_fast(folder):
    """500 more files take 2.3 times the processor time of the shipped files alone, measured on an idle machine."""
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


def test_plugin_can_be_module_or_function(folder, monkeypatch):
    """A module stands for its folder, and a function for the folder that it returns."""
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / f"{name}.yaml").write_text(TASK.format(name=name))
        (folder / name / f"{name}_module.py").write_text(f"def find():\n    return {str(folder / name)!r}\n")
        monkeypatch.syspath_prepend(str(folder / name))
    plugins(monkeypatch, one="one_module", two="two_module:find")
    assert {"one", "two"} <= TaskRegistry().specs.keys()
