"""What reaches a terminal: run under a real one, with names and texts that hold control codes."""

from __future__ import annotations

import io
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hbt_bench.cli.terminal import Terminal, one_line

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "tests" / "fixtures" / "format-2"
TITLE, CLIPBOARD, CLEAR = "\x1b]0;owned\x07", "\x1b]52;c;b3duZWQ=\x07", "\x1b[2J\x1b[1;1H"


class Tty(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("hostile", [TITLE, CLIPBOARD, CLEAR, "\x9b2J", "\x08" * 3, "\r", "\x07", "\x7f", "\x1b[6n"])
def test_control_codes_are_question_marks(hostile):
    stream = Tty()
    Terminal(stream).write(f"a{hostile}b")
    written = stream.getvalue()
    assert not any(code < " " or "\x7f" <= code <= "\x9f" for code in written)
    assert written[0] + written[-1] == "ab"
    assert "?" in written


def test_colours_line_ends_and_all_scripts_pass():
    text = "\x1b[1m\x1b[38;5;12mfett\x1b[0m\tक्\u200dष  👩\u200d🚀 ش\n"
    stream = Tty()
    guarded = Terminal(stream)
    guarded.writelines([text, "x\x1b\n"])
    assert stream.getvalue() == text + "x?\n"
    assert guarded.isatty()


def test_a_message_is_one_line():
    assert one_line("a\nb\x1b[2Jc\r\nd\x9b") == "a b?[2Jc d?"


def under_a_terminal(arguments):
    """What a command writes to a terminal, on both streams, and its exit code."""
    ours, theirs = pty.openpty()
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        "COLUMNS": "200",
        "TERM": "xterm",
    }
    command = [sys.executable, "-m", "hbt_bench", *map(str, arguments)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
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
    return process.wait(), written.decode()


@pytest.fixture
def hostile_results(tmp_path):
    """Results of a model whose name holds an escape sequence."""
    folder = tmp_path / "results"
    shutil.copytree(RESULTS, folder)
    for path in folder.rglob("*Retrieval*.json"):
        path.write_text(
            path.read_text().replace('"model": "hbt-bench/bm25"', '"model": ' + json.dumps(f"m{TITLE}{CLEAR}"), 1)
        )
    return folder


@pytest.mark.parametrize("command", [["leaderboard"], ["bias"]])
def test_the_name_of_a_model_sends_nothing_to_the_terminal(hostile_results, command):
    place = hostile_results
    if command == ["bias"]:
        place = next(hostile_results.rglob("*Multilingual*.json"))
    code, written = under_a_terminal([*command, place])
    assert code == 0, written
    assert "?]0;owned?" in written or "?]0;own" in written
    assert "\x1b]" not in written
    assert "\x1b[2J" not in written
    assert "\x07" not in written


def test_neither_does_a_name_in_a_message():
    code, written = under_a_terminal(["run", "--model", f"no/{TITLE}", "--tasks", "cldr-facts"])
    assert code == 2
    assert "\x1b" not in written
    assert "no/?]0;owned?" in written
