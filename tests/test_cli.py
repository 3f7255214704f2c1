"""Check the command line: start-up, listings, one line and an exit code for each mistake, interrupts, pipes."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from importlib.metadata import version

import click
import pytest

import hbt_bench.cli.tasks  # noqa: F401 -- a first import inside a test would keep the test's replacements
from hbt_bench.cli.main import cli, run
from hbt_bench.ranking import bm25
from hbt_bench.tasks.registry import TaskRegistry
from tests.factories import COMMANDS_SCRIPT, child_environment

#: Libraries that take seconds to import; no message about a mistake may wait for them.
SLOW = ("torch", "mteb", "sentence_transformers", "transformers", "datasets", "scipy")


@pytest.fixture
def hbt(capsys):
    """A function that runs a command line and returns exit code, stdout and stderr."""

    def hbt(*arguments):
        code = run([str(argument) for argument in arguments])
        return (code, *capsys.readouterr())

    return hbt


def fails(outcome, code):
    """Check that a command failed with `code` and one line, and return its message."""
    actual, out, err = outcome
    assert (actual, out) == (code, ""), err
    assert err.startswith("hbt-bench: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err.removeprefix("hbt-bench: ").removesuffix("\n")


# Start-up


def test_slow_libraries_load_with_the_model_only(tmp_path):
    (tmp_path / "ckpt").mkdir()
    model = ["run", "--model", "bm25"]
    commands = {
        ("--help",): 0,
        ("--version",): 0,
        ("run", "--help"): 0,
        ("data", "--help"): 0,
        ("tasks",): 0,
        ("tasks", "--format", "json"): 0,
        ("tasks", "show", "xquad-r"): 0,
        ("tsks",): 2,
        (*model, "--tasks", "xquad-r-mutli"): 2,
        (*model, "--tasks", "scifact"): 2,
        (*model, "--tasks", "xquad-r", "--languages", "german"): 2,
        (*model, "--tasks", "xquad-r", "--langauges", "de"): 2,
        (*model, "--tasks", "xquad-r", "--format", "jsn"): 2,
        ("run", "--model", "bm52", "--tasks", "xquad-r"): 2,
        ("run", "--model", str(tmp_path / "ckp"), "--tasks", "xquad-r"): 2,
        ("run", "--model", str(tmp_path / "ckpt"), "--tasks", "cldr-facts"): 4,
        (*model, "--tasks", "xquad-r", "--data-dir", str(tmp_path)): 3,
        (*model, "--tasks", "cldr-facts", "--output", __file__): 5,
        ("data", "verify", "xquad-r", "--data-dir", str(tmp_path)): 3,
        ("leaderboard", str(tmp_path / "missing")): 5,
    }
    arguments = json.dumps([[list(command) for command in commands], SLOW])
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS_SCRIPT, arguments],
        cwd=tmp_path,
        env=child_environment(),
        capture_output=True,
        check=True,
    )
    for (command, code), (actual, out, err, loaded) in zip(commands.items(), json.loads(done.stdout), strict=True):
        assert actual == code, (command, err)
        assert loaded == [], command
        assert bool(out) == (code == 0), command
        assert err.count("\n") == (code != 0), (command, err)


def test_help_lists_every_command_and_exit_code(hbt):
    code, out, err = hbt("--help")
    assert (code, err) == (0, "")
    for name in ("run", "tasks", "data", "leaderboard", "quickstart"):
        assert f"\n  {name} " in out
    text = " ".join(out.split())
    assert "0 done, 1 a defect of the program or of the installation, 2 wrong usage" in text
    assert "6 a process of a distributed run was lost" in text
    assert hbt("-h") == (0, out, "")


def commands(group=cli, prefix=()):
    """Return the words of every command, with those of command groups."""
    context = click.Context(group)
    words = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        words += [(*prefix, name), *(commands(command, (*prefix, name)) if isinstance(command, click.Group) else ())]
    return words


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_has_help_with_example(hbt, words):
    code, out, err = hbt(*words, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: hbt-bench {' '.join(words)} ")
    assert f"\n  hbt-bench {words[0]} " in out


@pytest.mark.parametrize(("arguments", "command"), [([], "run"), (["data"], "verify"), (["study"], "list")])
def test_missing_command_shows_help(hbt, arguments, command):
    """Since click 8.2 this is an error with the help as its message."""
    code, out, err = hbt(*arguments)
    lines = (out + err).splitlines()
    assert code in (0, 2)
    assert lines[0].startswith(" ".join(["Usage: hbt-bench", *arguments]))
    assert any(line.startswith(f"  {command} ") for line in lines)


def test_help_has_each_example_on_a_line(hbt):
    _, out, _ = hbt("run", "--help")
    assert "\n  hbt-bench run --model ckpt/ --tasks xquad-r-multi\n" in out


def test_version(hbt):
    assert hbt("--version") == (0, f"hbt-bench, version {version('hbt-bench')}\n", "")


def test_module_runs_like_command():
    done = subprocess.run(
        [sys.executable, "-m", "hbt_bench", "tsks"],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        "hbt-bench: no command 'tsks'; did you mean 'tasks'?\n",
    )


# Listings

ROWS = [
    ["cldr-facts", "mono, cross, multi", "20", "3640", "3640"],
    ["mlqa-r", "mono, cross, multi", "7", "4199", "20534"],
    ["mlqa-r-context", "mono, cross, multi", "7", "4199", "20534"],
    ["xquad-r", "mono, cross, multi", "11", "13090", "13014"],
    ["xquad-r-context", "mono, cross, multi", "11", "13090", "13014"],
]


def test_tasks_as_table(hbt):
    code, out, err = hbt("tasks")
    assert (code, err) == (0, "")
    shown = [line.split() for line in out.splitlines()]
    for row in ROWS:
        assert " ".join(row).split() in shown
    assert "--tasks xquad-r-multi" in out.splitlines()[-1]


def test_tasks_as_markdown(hbt):
    code, out, err = hbt("tasks", "--format", "md")
    assert (code, err) == (0, "")
    header, rule, *rows = out.splitlines()
    assert header == "| collection | modes | languages | queries | documents |"
    assert rule == "| --- | ---: | ---: | ---: | ---: |"
    assert len(rows) == len(TaskRegistry().specs)
    counted = [row for row in rows if "| - |" not in row]
    assert {"| " + " | ".join(row) + " |" for row in ROWS} <= set(counted)
    assert "| belebele | mono, cross, multi | 102 | 91800 | 49776 |" in counted  # 900 and 488 in each
    assert "| miracl | mono, multi | 18 | 13495 | 106332152 |" in counted
    # what cannot be counted before the data are there
    assert "| mkqa | mono, cross, multi | 24 | - | - |" in rows
    assert len(rows) - len(counted) == 13


def test_tasks_as_csv(hbt):
    code, out, err = hbt("tasks", "--format", "csv")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "collection,modes,languages,queries,documents"
    assert 'cldr-facts,"mono, cross, multi",20,3640,3640' in out.splitlines()
    assert 'neuclir,"mono, cross, multi",3,-,-' in out.splitlines()
    assert len(out.splitlines()) == 1 + len(TaskRegistry().specs)


def test_tasks_as_json(hbt):
    code, out, err = hbt("tasks", "--format", "json")
    assert (code, err) == (0, "")
    counted = [row for row in json.loads(out) if row["collection"] in {row[0] for row in ROWS}]
    shown = [[str(row[key]) for key in ("collection", "languages")] for row in counted]
    assert shown == [[row[0], row[2]] for row in ROWS]
    counts = [[str(row[key]) for key in ("queries", "documents")] for row in counted]
    assert counts == [list(row[3:]) for row in ROWS]


def test_show_task(hbt):
    code, out, err = hbt("tasks", "show", "mlqa-r")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    for expected in (
        ["mlqa-r-mono", "MLQARMonolingualRetrieval"],
        ["mlqa-r-cross", "MLQARCrossLingualRetrieval"],
        ["mlqa-r-multi", "MLQARMultilingualRetrieval"],
        ["licence", "cc-by-nc-4.0"],
        ["candidate", "sentence"],
        ["en", "1,148", "6,264"],
        ["zh", "504", "2,322"],
        ["820", "questions", "have", "4", "relevant", "documents"],
        ["lareqa/mlqa-r/vi.json", "1,807,239", "bytes", "sha256", "9d3baff6ba03e679…"],
    ):
        assert expected in lines
    assert "doi = {10.18653/v1/2020.emnlp-main.477}" in out


def test_show_single_mode(hbt):
    _, out, _ = hbt("tasks", "show", "cldr-facts-cross")
    assert "CldrFactsCrossLingualRetrieval" in out
    assert "CldrFactsMonolingualRetrieval" not in out


# Wrong usage


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("tsks", ["no command 'tsks'", "did you mean 'tasks'?"]),
        ("evaluate", ["no command 'evaluate'"]),
        ("--hlep", ["--hlep", "--help"]),
        ("data fecth xquad-r", ["fecth", "fetch"]),
        ("tasks shwo xquad-r", ["shwo", "show"]),
        ("tasks show xquad", ["unknown task 'xquad'", "did you mean 'xquad-r'"]),
        ("tasks show SciFact", ["unknown task 'SciFact'", "did you mean 'beir-scifact'"]),
        ("tasks --format xml", ["'xml'", "'table', 'md', 'csv', 'json'"]),
        ("data fetch mlqar", ["unknown task 'mlqar'", "did you mean 'mlqa-r'"]),
        ("data verify xquad-r --languages chinese", ["xquad-r has no language 'chinese'", "did you mean 'zh'?"]),
        ("run --tasks xquad-r", ["Missing option '--model': `hbt-bench run --help` has examples"]),
        ("run --model bm25", ["Missing option '--tasks': `hbt-bench run --help` has examples"]),
        ("run --model bm25 --tasks cldr-facts --languages en de", ["(de): `hbt-bench run --help` has examples"]),
        ("run --model bm25 --tasks zzzzzzzzz", ["--task-dir or HBT_BENCH_TASKS names a folder with your own"]),
        ("data verify zzzzzzzzz", ["--task-dir or HBT_BENCH_TASKS names a folder with your own"]),
        ("run --model bm25 --task xquad-r", ["--task", "--tasks"]),
        ("run --model bm25 --tasks xquad-r --langauges en", ["--langauges", "--languages"]),
        ("run --model bm25 --tasks xquad-r --format jsn", ["'jsn'", "'table', 'json'"]),
        ("run --model bm25 --tasks xquad-r --batch-size 0", ["--batch-size", "0"]),
        ("run --model bm25 --tasks xquad-r --batch-size many", ["--batch-size", "'many'"]),
        ("run --model bm25 --tasks xquad-r --data-dir missing", ["--data-dir", "'missing' does not exist"]),
        ("run --model bm25 --tasks xqad-r-multi", ["unknown task 'xqad-r-multi'", "did you mean 'xquad-r-multi'"]),
        ("run --model bm25 --tasks ,", ["no task given: name one, as in --tasks xquad-r-multi"]),
        ("run --model bm25 --tasks xquad-r --languages ,", ["--languages is empty. Give it a value, or leave it out."]),
        ("run --model bm25 --tasks xquad-r --script=", ["--script is empty."]),
        ("texts --tasks xquad-r --output t.parquet --languages=", ["--languages is empty."]),
        ("data fetch xquad-r --languages=", ["--languages is empty."]),
        ("leaderboard --models=", ["--models is empty."]),
        ("report --tasks=", ["--tasks is empty."]),
        ("compare a b --tasks xquad-r --measure=", ["--measure is empty."]),
        ("export --for queries --tasks=", ["--tasks is empty."]),
        ("export --for queries --measures=", ["--measures is empty."]),
        (
            "run --model ckpt --tasks xquad-r --timeout 5 --similarity dot",
            ["--similarity and --timeout is for a server"],
        ),
        ("run --model http://x --served-name x --tasks xquad-r --timeout nan", ["nan is not a finite number"]),
        ("compare a b --tasks xquad-r --margin inf", ["inf is not a finite number"]),
        (
            "run --model ckpt --tasks xquad-r --trust-remote-code",
            ["no effect on ckpt, which has no code: leave it out"],
        ),
        (
            "run --model bm25 --tasks cldr-facts,xquad-r --languages en,sw",
            ["xquad-r has no language 'sw'", "(it has ar de el en es hi ru th tr vi zh)"],
        ),
        ("run --model bm25 --tasks xquad-r --query-prompt q:", ["bm25 takes no prompts", "--query-prompt"]),
        ("run --model bm52 --tasks xquad-r", ["no model 'bm52'", "did you mean 'bm25'?"]),
        ("run --model ckp --tasks xquad-r", ["no model 'ckp'", "did you mean 'ckpt'?"]),
        ("run --model ./ckp --tasks xquad-r", ["no model './ckp'", "did you mean 'ckpt'?"]),
        ("run --model runs/ckpt-1O/ --tasks xquad-r", ["no model 'runs/ckpt-1O/'", "did you mean 'runs/ckpt-10'?"]),
        ("run --model ../nothing --tasks xquad-r", ["no model '../nothing': there is no such folder"]),
        ("run --model ~nobody-here/ckpt --tasks xquad-r", ["no model '~nobody-here/ckpt': there is no such folder"]),
        ("run --model a/b/c --tasks xquad-r", ["a hub name has the form organisation/model"]),
        ("run --model weights.safetensors --tasks xquad-r", ["no model 'weights.safetensors'"]),
    ],
)
def test_wrong_usage_is_one_line_with_fix(hbt, tmp_path, monkeypatch, arguments, parts):
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "ckpt", tmp_path / "runs" / "ckpt-10"):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    (tmp_path / "weights.safetensors").touch()
    message = fails(hbt(*arguments.split()), 2)
    for part in parts:
        assert part in message
    assert not (tmp_path / "results").exists()


# Models


def test_folder_without_model(hbt, tmp_path):
    message = fails(hbt("run", "--model", tmp_path, "--tasks", "cldr-facts", "--output", tmp_path / "out"), 4)
    assert message == (
        f"{tmp_path} holds no model: a sentence-transformers folder has a modules.json, a transformers folder "
        "a config.json"
    )


def test_damaged_model(hbt, tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["XLM')
    message = fails(hbt("run", "--model", tmp_path, "--tasks", "cldr-facts", "--output", tmp_path / "out"), 4)
    assert message.startswith(f"{tmp_path / 'config.json'} is damaged (Unterminated string")
    assert message.endswith("): save the model again")


# Data

URL = "https://raw.githubusercontent.com/google-research-datasets/lareqa/9bc8c7fb6dd8/xquad-r/en.json"
COMMANDS = pytest.mark.parametrize(
    "command", ["run --model bm25 --tasks xquad-r-mono", "data verify xquad-r", "data fetch xquad-r"]
)


@COMMANDS
@pytest.mark.parametrize("how", ["variable", "option"])
def test_missing_data(hbt, tmp_path, monkeypatch, command, how):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    arguments = [*command.split(), "--languages", "en"]
    if how == "variable":
        monkeypatch.setenv("HBT_BENCH_DATA", str(data))
    else:
        arguments += ["--data-dir", data]
    path = data / "lareqa" / "xquad-r" / "en.json"
    message = fails(hbt(*arguments), 3)
    assert message.startswith(f"{path} is missing; ")
    assert f"save {URL} as {path}" in message


def test_data_not_fetched_yet(hbt, tmp_path, monkeypatch):
    monkeypatch.setenv("HBT_BENCH_CACHE", str(tmp_path))
    path = tmp_path / "data" / "lareqa" / "xquad-r" / "en.json"
    message = fails(hbt("data", "verify", "xquad-r", "--languages", "en"), 3)
    assert message.startswith(f"{path} is missing; run `hbt-bench data fetch xquad-r`, or ")
    assert URL in message


@pytest.fixture
def copied(data_dir, tmp_path):
    """A copy of one real file, to be damaged."""
    path = tmp_path / "data" / "lareqa" / "xquad-r" / "en.json"
    path.parent.mkdir(parents=True)
    path.write_bytes((data_dir / "lareqa" / "xquad-r" / "en.json").read_bytes())
    return path


@COMMANDS
def test_changed_byte_fails_checksum(hbt, tmp_path, monkeypatch, copied, command):
    monkeypatch.chdir(tmp_path)
    content = bytearray(copied.read_bytes())
    content[300_000] ^= 1
    copied.write_bytes(content)
    message = fails(hbt(*command.split(), "--languages", "en", "--data-dir", tmp_path / "data"), 3)
    assert message.startswith(f"checksum mismatch: {copied} has sha256 ")
    assert ", expected 7b0954f39297" in message
    assert URL in message


@COMMANDS
def test_truncated_file_fails_size_check(hbt, tmp_path, monkeypatch, copied, command):
    monkeypatch.chdir(tmp_path)
    copied.write_bytes(copied.read_bytes()[:500_000])
    message = fails(hbt(*command.split(), "--languages", "en", "--data-dir", tmp_path / "data"), 3)
    assert message.startswith(f"size mismatch: {copied} has 500000 bytes, expected 628651")
    assert URL in message


def test_verify_good_data(hbt, data_dir):
    code, out, err = hbt("data", "verify", "xquad-r", "--data-dir", data_dir)
    assert (code, err) == (0, "")
    *files, summary = out.splitlines()
    assert files == [
        f"{code}  {data_dir / 'lareqa' / 'xquad-r' / f'{code}.json'}"
        for code in ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
    ]
    assert summary == "xquad-r: 13,090 queries, 13,014 documents, data be30ad47a30a1149"


def test_verify_single_language(hbt, copied, tmp_path, monkeypatch):
    monkeypatch.setenv("HBT_BENCH_DATA", str(tmp_path / "data"))
    code, out, err = hbt("data", "verify", "xquad-r-mono", "--languages", "en")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"en  {copied}"
    assert out.splitlines()[1].startswith("xquad-r: 1,190 queries, 1,180 documents, data ")


# Output


@pytest.mark.parametrize("below", ["", "deeper/results"])
def test_output_below_file_is_refused(hbt, tmp_path, below):
    (tmp_path / "file").write_text("here")
    output = tmp_path / "file" / below
    message = fails(hbt("run", "--model", "bm25", "--tasks", "cldr-facts", "--output", output), 5)
    assert message == (
        f"cannot write {output}: a file is where a folder should be; move it away or choose another --output"
    )
    assert (tmp_path / "file").read_text() == "here"


def test_leaderboard_of_missing_folder(hbt, tmp_path):
    message = fails(hbt("leaderboard", tmp_path / "missing"), 5)
    assert f"there is no folder {tmp_path / 'missing'}" in message
    assert "`hbt-bench run`" in message


# Pipes and interrupts


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
@pytest.mark.parametrize("arguments", ["--help", "tasks", "tasks --format json", "tasks show xquad-r"])
def test_closed_pipe_is_not_an_error(arguments):
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "hbt_bench", *arguments.split()],
            env=child_environment(),
            stdout=write_end,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")


LONG = "x" * 5000


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--model", LONG, "--tasks", "cldr-facts"],
        ["run", "--model", "bm25", "--tasks", LONG],
        ["run", "--model", "bm25", "--tasks", f"{LONG}.yaml"],
        ["leaderboard", LONG],
        ["bias", LONG],
        ["train", "--init", LONG],
        ["tasks", "validate", LONG],
        ["report", LONG],
        ["show", LONG],
    ],
)
def test_too_long_name_is_wrong_usage(hbt, arguments):
    code, out, err = hbt(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("hbt-bench: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, 5), (errno.ENOSPC, 5), (errno.ENAMETOOLONG, 2)])
def test_system_error_about_path_is_one_line(hbt, monkeypatch, number, code):
    def refused(self):
        raise OSError(number, os.strerror(number), "a\nb")

    monkeypatch.setattr(TaskRegistry, "tasks", property(refused))
    assert hbt("tasks", "show", "xquad-r") == (
        code,
        "",
        f"hbt-bench: {os.strerror(number)}: a b: name another path\n",
    )


def test_other_system_error_is_raised(monkeypatch):
    def broken(self):
        raise OSError(errno.ENOENT, "no such file")

    monkeypatch.setattr(TaskRegistry, "tasks", property(broken))
    with pytest.raises(FileNotFoundError):
        run(["tasks", "show", "xquad-r"])


def test_other_exit_is_raised(monkeypatch):
    def leave(self):
        sys.exit(3)

    monkeypatch.setattr(TaskRegistry, "tasks", property(leave))
    with pytest.raises(SystemExit) as caught:
        run(["tasks", "show", "xquad-r"])
    assert caught.value.code == 3


WAITING = """
import sys, time
from hbt_bench.cli.main import run
from hbt_bench.data import cldr

def read(*arguments):
    print("ready", flush=True)
    for _ in range(600):
        time.sleep(0.1)  # Python handles a signal when the current call ends

cldr.read = read
sys.exit(run(["run", "--model", "bm25", "--tasks", "cldr-facts", "--output", sys.argv[1]]))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_interrupt_is_one_line(tmp_path):
    command = [sys.executable, "-c", WAITING, str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=child_environment(), **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip() == "hbt-bench: interrupted; run the same command again to continue"


def test_interrupt_in_task_passes_through_mteb(hbt, tmp_path, monkeypatch):
    command = ["run", "--model", "bm25", "--tasks", "cldr-facts-mono", "--languages", "de,en", "--output", tmp_path]

    def interrupted(collection, parameters):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bm25, "scorers", interrupted)
        code, out, err = hbt(*command)
    assert (code, out) == (130, "")
    assert err.strip() == "hbt-bench: interrupted; run the same command again to continue"
    assert list(tmp_path.rglob("*.json")) == []

    code, out, _ = hbt(*command, "--format", "json")
    assert code == 0
    [result] = json.loads(out)["results"]
    assert result["task"] == "cldr-facts-mono[de,en]"
    assert set(result["subsets"]) == {"de", "en"}
    assert list(tmp_path.rglob("Cldr*.json")) == [
        tmp_path / "hbt-bench__bm25" / "k0.9-b0.4-t2" / f"{result['mteb_name']}.json"
    ]


#: Interrupts the import of a module, as a signal at that moment would.
EARLY = """
import sys
from importlib.abc import MetaPathFinder

module = sys.argv[1]

class Interrupted(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == module:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupted())
from hbt_bench.__main__ import main
sys.argv = ["hbt-bench", "tasks"]
main()
"""


@pytest.mark.parametrize("module", ["hbt_bench.cli.main", "click", "hbt_bench.tasks.registry"])
def test_interrupt_during_import_prints_no_traceback(module):
    command = [sys.executable, "-c", EARLY, module]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.strip() in ("", "hbt-bench: interrupted; run the same command again to continue")


#: Finishes a command, and is interrupted when the interpreter ends.
LATE = """
import atexit, os, signal, sys
from hbt_bench.__main__ import main
atexit.register(os.kill, os.getpid(), signal.SIGINT)
if sys.argv.pop() == "ignored":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("handler", "code"), [("usual", -signal.SIGINT), ("ignored", 0)])
def test_interrupt_at_exit_prints_no_traceback(handler, code):
    """A shell counts the end by a signal as 130; who started it in the background ignores the key, as before."""
    command = [sys.executable, "-c", LATE, "--version", handler]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")
