"""The drop of a shifted task against the clean one."""

from __future__ import annotations

import json

import pytest

from hbt_bench.cli.main import run
from hbt_bench.reporting.drop import drop
from hbt_bench.reporting.result import Result


def test_the_drop_is_the_difference_of_the_results(tmp_path, capsys):
    pytest.importorskip("bm25s")
    base = ["run", "--model", "bm25", "--output", str(tmp_path), "--languages", "de,en"]
    assert run([*base, "--tasks", "cldr-facts-mono+keywords@0.3"]) == 0
    assert "AP drop" not in capsys.readouterr().out  # the clean task was not run yet
    assert run([*base, "--tasks", "cldr-facts-mono"]) == 0
    capsys.readouterr()
    assert run([*base, "--tasks", "cldr-facts-mono+keywords@0.3", "--format", "json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["results"]
    results = {Result.read(path).task: Result.read(path) for path in tmp_path.rglob("CldrFacts*.json")}
    clean, shifted = results["cldr-facts-mono[de,en]"], results["cldr-facts-mono[de,en]+keywords@0.3"]
    assert entry["drop"]["AP"] == pytest.approx(clean.scores["AP"] - shifted.scores["AP"])
    assert entry["drop"]["AP"] != 0
    assert drop(clean) == {}
    assert shifted.signature != clean.signature
    assert run([*base, "--tasks", "cldr-facts-mono+keywords@0.3"]) == 0
    assert "AP drop" in capsys.readouterr().out


def test_queries_and_documents_in_languages_of_their_own(tmp_path, capsys):
    pytest.importorskip("bm25s")
    options = ["--query-languages", "en", "--document-languages", "de,sw", "--format", "json"]
    assert run(["run", "--model", "bm25", "--output", str(tmp_path), "--tasks", "cldr-facts-multi", *options]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["results"]
    assert entry["task"] == "cldr-facts-multi[en>de,sw]"
    assert list(entry["subsets"]) == ["en-multi"]
    assert run(["run", "--model", "bm25", "--tasks", "cldr-facts", "--family", "Slavik"]) == 2
    assert "unknown family 'Slavik'; did you mean 'Slavic'?" in capsys.readouterr().err
