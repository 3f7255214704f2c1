"""Test the drop of a score if queries are shifted."""

from __future__ import annotations

import json

import pytest

from hbt_bench.cli.main import run
from hbt_bench.results.drop import drop
from hbt_bench.results.result import Result


def test_drop_is_the_difference_of_two_results(tmp_path, capsys):
    pytest.importorskip("bm25s")
    base = ["run", "--model", "bm25", "--output", str(tmp_path), "--languages", "de,en"]
    assert run([*base, "--tasks", "cldr-facts-mono+keywords@0.3"]) == 0
    captured = capsys.readouterr()
    assert "AP drop" not in captured.out  # there is no result of the unshifted task yet
    folder = next(tmp_path.rglob("CldrFacts*.json")).parent
    assert (
        "hbt-bench: no drop for cldr-facts-mono[de,en]+keywords@0.3: there is no result of cldr-facts-mono[de,en] in "
        f"{folder}. Run cldr-facts-mono[de,en], too.\n"
    ) in captured.err
    assert run([*base, "--tasks", "cldr-facts-mono"]) == 0
    capsys.readouterr()
    assert run([*base, "--tasks", "cldr-facts-mono+keywords@0.3", "--format", "json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["results"]
    results = {Result.read(path).task: Result.read(path) for path in tmp_path.rglob("CldrFacts*.json")}
    unshifted, shifted = results["cldr-facts-mono[de,en]"], results["cldr-facts-mono[de,en]+keywords@0.3"]
    assert entry["drop"]["AP"] == pytest.approx(unshifted.scores["AP"] - shifted.scores["AP"])
    assert entry["drop"]["AP"] != 0
    assert drop(unshifted) == ({}, "")
    assert shifted.unshifted == unshifted.fields["data"]
    assert shifted.signature != unshifted.signature
    assert run([*base, "--tasks", "cldr-facts-mono+keywords@0.3"]) == 0
    assert "AP drop" in capsys.readouterr().out


@pytest.fixture
def pair(tmp_path):
    pytest.importorskip("bm25s")
    tasks = "cldr-facts-mono,cldr-facts-mono+keywords@0.3"
    assert run(["run", "--model", "bm25", "--output", str(tmp_path), "--languages", "de,en", "--tasks", tasks]) == 0
    return sorted(tmp_path.rglob("CldrFacts*.json"), key=lambda path: len(path.name))


@pytest.mark.parametrize(
    ("index", "change", "reason"),
    [
        (
            0,
            lambda summary: {"signature": summary["signature"].replace("data:", "data:f")},
            "UNSHIFTED is of data fDATA, but the queries were made from data DATA. Run cldr-facts-mono[de,en] again",
        ),
        (
            0,
            lambda summary: {"signature": summary["signature"].replace("prompt:", "prompt:x")},
            "UNSHIFTED has other prompts. Run cldr-facts-mono[de,en] with the same prompts",
        ),
        (
            1,
            lambda summary: {"clean": None},
            "the result does not name the data of its queries. Run it again with --overwrite",
        ),
    ],
)
def test_other_data_or_prompts_give_no_drop(pair, index, change, reason):
    unshifted, shifted = pair
    data = Result.read(unshifted).fields["data"]
    assert drop(Result.read(shifted))[0]["AP"] != 0
    content = json.loads(pair[index].read_text())
    content["hbt_bench"] |= change(content["hbt_bench"])
    del content["hbt_bench"]["check"]
    pair[index].write_text(json.dumps(content))
    drops, actual = drop(Result.read(shifted))
    assert drops == {}
    assert actual.startswith(reason.replace("UNSHIFTED", unshifted.name).replace("DATA", data))


def test_measures_of_a_task_are_printed(tmp_path, capsys):
    pytest.importorskip("bm25s")
    (tmp_path / "mine.yaml").write_text("name: mine\nextends: cldr-facts\nmeasures: [nDCG@10, R@100]\nexpect: {}\n")
    base = ["run", "--model", "bm25", "--output", str(tmp_path), "--languages", "de,en", "--tasks"]
    assert run([*base, f"{tmp_path}/mine.yaml"]) == 0
    header = capsys.readouterr().out.splitlines()[1:6]
    assert any("R@100" in line for line in header)
    result = next(Result.read(path) for path in tmp_path.rglob("MineMono*.json"))
    assert 0 < result.scores["R@100"] <= 1
    assert run([*base, "cldr-facts-mono"]) == 0
    assert "R@100" not in capsys.readouterr().out


def test_queries_and_documents_have_different_languages(tmp_path, capsys):
    pytest.importorskip("bm25s")
    options = ["--query-languages", "en", "--document-languages", "de,sw", "--format", "json"]
    assert run(["run", "--model", "bm25", "--output", str(tmp_path), "--tasks", "cldr-facts-multi", *options]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["results"]
    assert entry["task"] == "cldr-facts-multi[en>de,sw]"
    assert list(entry["subsets"]) == ["en-multi"]
    assert run(["run", "--model", "bm25", "--tasks", "cldr-facts", "--family", "Slavik"]) == 2
    assert "unknown family 'Slavik'; did you mean 'Slavic'" in capsys.readouterr().err
