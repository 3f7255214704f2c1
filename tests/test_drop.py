"""The drop of a shifted task against the clean one."""

from __future__ import annotations

import json

import pytest

from hbt_bench.cli.main import run
from hbt_bench.reports.drop import Drop
from hbt_bench.results.result import Result


def test_the_drop_is_the_difference_of_the_results(tmp_path, capsys):
    pytest.importorskip("bm25s")
    base = ["run", "--model", "bm25", "--output", str(tmp_path), "--languages", "de,en"]
    assert run([*base, "--tasks", "cldr-facts-mono+keywords@0.3"]) == 0
    captured = capsys.readouterr()
    assert "AP drop" not in captured.out  # the clean task was not run yet
    folder = next(tmp_path.rglob("CldrFacts*.json")).parent
    assert (
        "hbt-bench: no drop for cldr-facts-mono[de,en]+keywords@0.3: there is no result of cldr-facts-mono[de,en] in "
        f"{folder}; run it too\n"
    ) in captured.err
    assert run([*base, "--tasks", "cldr-facts-mono"]) == 0
    capsys.readouterr()
    assert run([*base, "--tasks", "cldr-facts-mono+keywords@0.3", "--format", "json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["results"]
    results = {Result.read(path).task: Result.read(path) for path in tmp_path.rglob("CldrFacts*.json")}
    clean, shifted = results["cldr-facts-mono[de,en]"], results["cldr-facts-mono[de,en]+keywords@0.3"]
    assert entry["drop"]["AP"] == pytest.approx(clean.scores["AP"] - shifted.scores["AP"])
    assert entry["drop"]["AP"] != 0
    assert Drop.of(clean) == Drop()
    assert shifted.unshifted == clean.fields["data"]
    assert shifted.signature != clean.signature
    assert run([*base, "--tasks", "cldr-facts-mono+keywords@0.3"]) == 0
    assert "AP drop" in capsys.readouterr().out


@pytest.fixture
def pair(tmp_path):
    pytest.importorskip("bm25s")
    tasks = "cldr-facts-mono,cldr-facts-mono+keywords@0.3"
    assert run(["run", "--model", "bm25", "--output", str(tmp_path), "--languages", "de,en", "--tasks", tasks]) == 0
    return sorted(tmp_path.rglob("CldrFacts*.json"), key=lambda path: len(path.name))


@pytest.mark.parametrize(
    ("which", "change", "why"),
    [
        (
            0,
            lambda about: {"signature": about["signature"].replace("data:", "data:f")},
            "CLEAN is of other data (fDATA) than the queries were made of (DATA); run cldr-facts-mono[de,en] again "
            "with --overwrite",
        ),
        (
            0,
            lambda about: {"signature": about["signature"].replace("prompt:", "prompt:x")},
            "CLEAN is of other prompts; run cldr-facts-mono[de,en] with the same ones",
        ),
        (
            1,
            lambda about: {"clean": None},
            "it does not say which data its queries were made of; run it again with --overwrite",
        ),
    ],
)
def test_a_result_of_other_data_or_prompts_gives_no_drop(pair, capsys, which, change, why):
    clean, shifted = pair
    data = Result.read(clean).fields["data"]
    assert Drop.of(Result.read(shifted)).values["AP"] != 0
    content = json.loads(pair[which].read_text())
    content["hbt_bench"] |= change(content["hbt_bench"])
    del content["hbt_bench"]["check"]
    pair[which].write_text(json.dumps(content))
    assert Drop.of(Result.read(shifted)) == Drop(why=why.replace("CLEAN", clean.name).replace("DATA", data))


def test_the_measures_that_a_task_asks_for_are_printed(tmp_path, capsys):
    pytest.importorskip("bm25s")
    (tmp_path / "mine.yaml").write_text("name: mine\nextends: cldr-facts\nmeasures: [nDCG@10, R@100]\nexpect: {}\n")
    base = ["run", "--model", "bm25", "--output", str(tmp_path), "--languages", "de,en", "--tasks"]
    assert run([*base, f"{tmp_path}/mine.yaml"]) == 0
    head = capsys.readouterr().out.splitlines()[1:6]
    assert any("R@100" in line for line in head)
    result = next(Result.read(path) for path in tmp_path.rglob("MineMono*.json"))
    assert 0 < result.scores["R@100"] <= 1
    assert run([*base, "cldr-facts-mono"]) == 0
    assert "R@100" not in capsys.readouterr().out


def test_queries_and_documents_in_languages_of_their_own(tmp_path, capsys):
    pytest.importorskip("bm25s")
    options = ["--query-languages", "en", "--document-languages", "de,sw", "--format", "json"]
    assert run(["run", "--model", "bm25", "--output", str(tmp_path), "--tasks", "cldr-facts-multi", *options]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["results"]
    assert entry["task"] == "cldr-facts-multi[en>de,sw]"
    assert list(entry["subsets"]) == ["en-multi"]
    assert run(["run", "--model", "bm25", "--tasks", "cldr-facts", "--family", "Slavik"]) == 2
    assert "unknown family 'Slavik'; did you mean 'Slavic'?" in capsys.readouterr().err
