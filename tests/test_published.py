"""The published results: the tables in the READMEs are those that the results give, byte for byte."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from hbt_bench.cli.main import run as command
from hbt_bench.reporting.results import Result, read_all

ROOT = Path(__file__).resolve().parent.parent


if not (ROOT / "results").is_dir():
    pytest.skip("the published results are not here", allow_module_level=True)


def recipes():
    """The commands of `make results`: the options, and the file that each rewrites."""
    lines = re.findall(r"hbt-bench (leaderboard results .*--update (\S+))", (ROOT / "Makefile").read_text())
    return [(line.split(), name) for line, name in lines]


def test_make_results_rewrites_both():
    assert [name for _, name in recipes()] == ["README.md", "results/README.md"]


@pytest.mark.parametrize(("arguments", "name"), recipes(), ids=lambda value: value if isinstance(value, str) else "")
def test_tables_are_those_of_the_results(arguments, name, tmp_path, monkeypatch, capsys):
    copy = tmp_path / "README.md"
    shutil.copyfile(ROOT / name, copy)
    monkeypatch.chdir(ROOT)
    assert command([*arguments[:-1], str(copy)]) == 0
    assert copy.read_bytes() == (ROOT / name).read_bytes(), "run `make results`"
    assert "| 1 | hbt-bench/bm25@k0.9-b0.4 |" in copy.read_text()
    assert capsys.readouterr().err == ""


def test_stored_intervals_are_those_of_the_ranks():
    """What `make results` prints was computed from the ranks that are published beside the scores."""
    found = [one for one in read_all(ROOT / "results") if isinstance(one, Result) and one.place[1] == "multi"]
    assert len(found) == 12  # six collections, two models
    for result in found[:1]:
        made = result.computed_intervals()
        for measure, interval in result.intervals.items():
            assert made.means[measure] == pytest.approx(interval, abs=1e-5), measure
