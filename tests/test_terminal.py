"""Check the output on a pseudo-terminal, for names and texts with control codes."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from hbt_bench.cli.main import cli, run
from hbt_bench.cli.terminal import Terminal, progress_bars
from hbt_bench.log import counter
from hbt_bench.text import one_line, visible

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "tests" / "fixtures" / "format-2"
TITLE, CLIPBOARD, CLEAR = "\x1b]0;owned\x07", "\x1b]52;c;b3duZWQ=\x07", "\x1b[2J\x1b[1;1H"


class Tty(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("hostile", [TITLE, CLIPBOARD, CLEAR, "\x9b2J", "\x08" * 3, "\r", "\x07", "\x7f", "\x1b[6n"])
def test_control_codes_become_question_marks(hostile):
    stream = Tty()
    Terminal(stream).write(f"a{hostile}b")
    written = stream.getvalue()
    assert not any(code < " " or "\x7f" <= code <= "\x9f" for code in written)
    assert written[0] + written[-1] == "ab"
    assert "?" in written


def test_colours_line_ends_and_scripts_pass():
    text = "\x1b[1m\x1b[38;5;12mfett\x1b[0m\tक्\u200dष  👩\u200d🚀 ش\n"
    stream = Tty()
    guarded = Terminal(stream)
    guarded.writelines([text, "x\x1b\n"])
    assert stream.getvalue() == text + "x?\n"
    assert guarded.isatty()


@pytest.mark.parametrize("sign", "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
def test_direction_controls_become_question_marks(sign):
    stream = Tty()
    Terminal(stream).write(f"a{sign}b")
    assert stream.getvalue() == visible(f"a{sign}b") == one_line(f"a{sign}b") == "a?b"


def test_click_cannot_bypass_terminal(monkeypatch):
    """click writes to `buffer` if the encoding is ASCII."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="replace")
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", Terminal(stream))
    click.echo("é\x1b[2J", color=True)
    assert raw.getvalue() == b"??[2J\n"


def test_one_line_removes_line_breaks_and_codes():
    assert one_line("a\nb\x1b[2Jc\r\nd\x9b\te") == "a b?[2Jc d? e"


def environment(**more):
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "COLUMNS": "200"} | more


def under_a_terminal(arguments, **more):
    """Run a command on a pseudo-terminal; return its exit code and the output of both streams."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "hbt_bench", *map(str, arguments)]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(TERM="xterm", **more)
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:
            break
        if not part:
            break
        written += part
    os.close(ours)
    return process.wait(), written.decode(errors="replace")


@pytest.fixture
def hostile_results(tmp_path):
    """Results of a model with an escape sequence in its name."""
    folder = tmp_path / "results"
    shutil.copytree(RESULTS, folder)
    for path in folder.rglob("*Retrieval*.json"):
        path.write_text(
            path.read_text().replace('"model": "hbt-bench/bm25"', '"model": ' + json.dumps(f"m{TITLE}{CLEAR}"), 1)
        )
    return folder


@pytest.mark.parametrize("command", [["leaderboard"], ["bias"]])
def test_model_name_sends_no_control_code(hostile_results, command):
    path = hostile_results
    if command == ["bias"]:
        path = next(hostile_results.rglob("*Multilingual*.json"))
    code, written = under_a_terminal([*command, path])
    assert code == 0, written
    assert "?]0;owned?" in written or "?]0;own" in written
    assert "\x1b]" not in written
    assert "\x1b[2J" not in written
    assert "\x07" not in written


TASK = """
name: t
title: t
description: A task whose data file has a name that a terminal would obey.
source:
  kind: jsonl
  path: "{path}"
  languages: [de, en]
  columns: {{id: id, language: language, query: query, document: document}}
  parallel: false
metadata:
  reference: https://example.org
  license: mit
"""


def test_file_name_sends_no_control_code(tmp_path):
    (tmp_path / "t.yaml").write_text(TASK.format(path=r"a\x9b31mX\x9b2J\u202E.jsonl"))
    code, written = under_a_terminal(["run", "--model", "bm25", "--tasks", tmp_path / "t.yaml"])
    assert code == 3, written
    assert "is not a path in a folder" in written
    assert "a?31mX?2J?.jsonl" in written
    assert not {"\x9b", "\u202e"} & set(written)


def test_message_has_one_line_without_control_codes(monkeypatch, capsys):
    @click.command("warn")
    def warn():
        logging.getLogger("hbt_bench.data").warning("a\x9b2J/x\nis read")

    monkeypatch.setattr(cli, "get_command", lambda context, name: warn)
    assert run(["tasks"]) == 0
    assert capsys.readouterr().err == "hbt-bench: a?2J/x is read\n"
    logging.getLogger("hbt_bench.data").warning("after the command")
    assert capsys.readouterr().err == ""  # pytest's own handler has it


def test_bar_appears_on_terminal(monkeypatch):
    stream = Tty()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bars():
        count = counter("ranking queries", 2)
        count(1)
        count(1)
    assert "ranking queries" in stream.getvalue()
    assert "2/2" in stream.getvalue()
    assert "\x1b[2K" in stream.getvalue().rpartition("2/2")[2]  # the bar is gone


def test_no_bar_without_terminal(capsys):
    with progress_bars():
        counter("ranking queries", 2)(1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "more",
    [
        {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "POSIX"},
    ],
    ids=["ascii", "latin-1", "POSIX"],
)
@pytest.mark.parametrize("terminal", [True, False])
def test_unencodable_characters_are_replaced(terminal, more):
    command = ["leaderboard", RESULTS]
    if terminal:
        code, written = under_a_terminal(command, **more)
    else:
        command = [sys.executable, "-m", "hbt_bench", *command]
        done = subprocess.run(command, env=environment(**more), capture_output=True, check=False)
        code, written = done.returncode, done.stdout.decode("latin-1")
        assert b"Traceback" not in done.stderr
    assert code == 0, written
    assert "AP ?" in written


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_stream_does_not_stop_command(closed, tmp_path):
    marks = "<!-- leaderboard -->\n<!-- /leaderboard -->\n"
    (tmp_path / "x.md").write_text(marks)
    line = f"exec {sys.executable} -m hbt_bench leaderboard {RESULTS} --update {tmp_path / 'x.md'} {closed}"
    done = subprocess.run(["sh", "-c", line], env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "| hbt-bench/bm25@" in (tmp_path / "x.md").read_text()


def test_full_output_is_one_line():
    command = [sys.executable, "-m", "hbt_bench", "leaderboard", str(RESULTS)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command,
            env=environment() | {"PYTHONUNBUFFERED": ""},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 5
    assert done.stderr == "hbt-bench: cannot write the output: No space left on device: send it to another place\n"


def test_name_in_message_sends_no_control_code():
    code, written = under_a_terminal(["run", "--model", f"no/{TITLE}", "--tasks", "cldr-facts"])
    assert code == 2
    assert "\x1b" not in written
    assert "no/?]0;owned?" in written
