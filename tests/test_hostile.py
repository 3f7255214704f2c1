"""Hostile and damaged results, read by every command that reads results."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hbt_bench.cli.main import run as command
from hbt_bench.errors import OutputError
from hbt_bench.ranking.ranks import Ranks
from hbt_bench.reports.page import ReportRequest
from hbt_bench.results.ranks_file import StoredRanks
from hbt_bench.results.store import Result, find

FIXTURE = Path(__file__).parent / "fixtures" / "format-2"
MULTI = "CldrFactsMultilingualRetrieval_de_en.json"
FOLDER = Path("local__other") / "1"


def with_summary(path, change):
    """Change the second line, which has the summary. `change` returns text or edits the mapping in place."""
    first, summary, *rest = path.read_text().split("\n")
    content = json.loads(summary.removeprefix('  "hbt_bench": ').removesuffix(","))
    changed = change(content)
    text = changed if isinstance(changed, str) else json.dumps(content)
    path.write_text("\n".join([first, f'  "hbt_bench": {text},', *rest]))


def number(text):
    """Replace the first AP of the summary by the text of a number."""

    def change(summary):
        summary["values"]["AP"][0] = "HERE"
        return json.dumps(summary).replace('"HERE"', text)

    return lambda path: with_summary(path, change)


def field(key, value):
    return lambda path: with_summary(path, lambda summary: summary.__setitem__(key, value))


def inside(key, inner, value):
    return lambda path: with_summary(path, lambda summary: summary[key].__setitem__(inner, value))


def giant(start):
    def change(path):
        path.write_bytes(start)
        os.truncate(path, 1 << 40)  # a sparse file of a terabyte

    return change


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def device(path):
    path.unlink()
    path.symlink_to("/dev/zero")


HOSTILE = {
    "NaN": number("NaN"),
    "infinity": number("1e999"),
    "impossible score": number("5.04824"),
    "negative score": number("-0.2"),
    "number of a thousand digits": number("9" * 1000),
    "impossible rank distance": lambda path: with_summary(
        path, lambda summary: summary["values"].__setitem__("rank_distance", [1e300, 1e300])
    ),
    "interval upside down": inside("intervals", "AP", [0.9, 0.1]),
    "infinite interval": inside("intervals", "RR", [0.1, float("inf")]),
    "interval away from its value": inside("intervals", "AP", [0.01, 0.02]),
    "fewer scores than subsets": inside("values", "AP", [0.5]),
    "subset twice": inside("values", "subsets", ["de-multi", "de-multi"]),
    "no subsets": field("subsets", 0),
    "too many subsets": field("subsets", 10**300),
    "half a subset": field("subsets", 2.5),
    "negative parameters": field("parameters", -5),
    "too many parameters": field("parameters", 10**400),
    "NaN speed": field("speed", float("nan")),
    "impossible speed": field("speed", 1e300),
    "NaN alpha": field("training", {"strategy": "hybrid", "alpha": float("nan")}),
    "impossible steps": field("training", {"strategy": "hybrid", "steps": 1e300}),
    "list as init": field("training", {"strategy": "hybrid", "alpha": 0.5, "init": [1]}),
    "unpaired surrogate": field("model", "\ud800x"),
    "unpaired surrogate in a subset": inside("values", "subsets", ["de-multi", "\udfff"]),
    "unpaired surrogate in a prompt": field("prompts", {"query": "\ud800"}),
    "unpaired surrogate in a file": field("ranks", "\ud800.npz"),
    "empty signature": field("signature", "|\\|\\||"),
    "signature without data": field("signature", "task:cldr-facts-multi[de,en]|data:|model:m@1"),
    "nested summary": lambda path: with_summary(path, lambda about: "[" * 200_000),
    "nested file": lambda path: path.write_text("[" * 200_000),
    "nested and complete": lambda path: path.write_text('{"hbt_bench": ' + "[" * 5000 + "]" * 5000 + "}"),
    "giant": giant(b""),
    "giant summary": giant(b'{\n  "hbt_bench": {"format": 2,'),
    "pipe": pipe,
    "device": device,
}


@pytest.fixture
def soon():
    """Fail a test that waits for a pipe, or that reads a device to its end."""

    def stop(*_):
        raise TimeoutError("the command hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 60, 1)  # repeat, in case the first error counts as a damaged file
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(os.name != "posix", reason="pipes and alarms of POSIX")
def test_pipe_is_not_a_task_or_data(tmp_path, monkeypatch, capsys, soon):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    for name in ("fy.yaml", "fy.jsonl", "d/fy.yaml"):
        os.mkfifo(name)
    for arguments, code, message in (
        (["tasks", "new", "x", "--from", "fy.jsonl"], 2, "there is no file or folder fy.jsonl"),
        (["run", "--model", "bm25", "--tasks", "fy.yaml"], 2, "there is no task file fy.yaml"),
        (["tasks", "--task-dir", "d"], 0, "d/fy.yaml is not a file"),
    ):
        assert command(arguments) == code
        assert capsys.readouterr().err == f"hbt-bench: {message}\n"


@pytest.fixture
def results(tmp_path):
    """BM25, and another model whose multilingual result is to be spoiled."""
    shutil.copytree(FIXTURE, tmp_path / "results")
    other = tmp_path / "results" / FOLDER
    shutil.copytree(next(FIXTURE.glob("*/*")), other)
    for path in other.glob("Cldr*.json"):
        path.write_text(path.read_text().replace("hbt-bench/bm25", "local/other").replace("k0.9-b0.4", "1"))
    return tmp_path / "results"


def commands(results, tmp_path):
    folders = [str(next(results.glob("hbt-bench__bm25/*"))), str(results / FOLDER)]
    return [
        *(["leaderboard", str(results), "--format", style] for style in ("table", "json")),
        ["bias", str(results / FOLDER / MULTI)],
        ["bias", str(results / FOLDER / MULTI), "--format", "md"],
        ["show", str(results / FOLDER / MULTI)],
        ["compare", *folders, "--tasks", "cldr-facts-multi", "--languages", "de,en"],
        ["export", str(results), "--for", "hub", "--output", str(tmp_path / "hub")],
        ["report", str(results), "--output", str(tmp_path / "report.html")],
    ]


def test_the_results_are_good_before_they_are_spoiled(results, tmp_path, capsys):
    for arguments in commands(results, tmp_path):
        assert command(arguments) == 0, arguments
        assert "left out" not in capsys.readouterr().err
    rows = json.loads((command(["leaderboard", str(results), "--format", "json"]), capsys.readouterr().out)[1])
    assert [row["multi AP"] for row in rows] == [pytest.approx(0.6839, abs=5e-5)] * 2


@pytest.mark.skipif(os.name != "posix", reason="pipes and alarms of POSIX")
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_result_is_left_out_or_refused_in_one_sentence(case, results, tmp_path, capsys, soon):
    HOSTILE[case](results / FOLDER / MULTI)
    for arguments in commands(results, tmp_path):
        whole = arguments[0] in ("leaderboard", "report", "export")
        code = command(arguments)
        told = capsys.readouterr()
        assert code == 0 if whole else code in (2, 3, 5), (arguments, told)
        said = [line for line in told.err.splitlines() if MULTI in line]
        assert said, (arguments, told.err)
        assert all(line.startswith("hbt-bench: ") for line in told.err.splitlines())
        if "--format json" in " ".join(arguments):
            [bm25, other] = sorted(json.loads(told.out), key=lambda row: row["model"])
            assert bm25["multi AP"] == pytest.approx(0.6839, abs=5e-5)
            assert other.get("multi AP") is None
            assert other["mono AP"] == pytest.approx(0.9547, abs=5e-5)


@pytest.mark.skipif(os.name != "posix", reason="pipes and alarms of POSIX")
@pytest.mark.parametrize("content", ['{"task_name": "SciFact"}', "[1, 2]", "null", '"x"'])
def test_json_of_others_is_passed_over_by_all(content, results, tmp_path, capsys, soon):
    (results / FOLDER / "theirs.json").write_text(content)
    (results / FOLDER / "x.txt").write_text("[" * 200_000)
    for arguments in commands(results, tmp_path):
        assert command(arguments) == 0
        assert "theirs" not in capsys.readouterr().err


@pytest.mark.parametrize(("score", "reason"), [(0.5, None), (5.0, "AP"), (-0.1, "AP")])
def test_a_subset_with_the_name_of_a_measure_hides_no_score(results, score, reason):
    """MTEB's own tasks may call their subsets what they like; the scores of `AP` are still looked at."""
    path = results / FOLDER / MULTI
    content = json.loads(path.read_text())
    [entries] = content["scores"].values()
    entries[0] = {"hf_subset": "AP", "languages": entries[0]["languages"], "main_score": score, "AP": score}
    about = content["hbt_bench"]
    for key in ("values", "intervals", "shares", "ranks"):
        about.pop(key)
    content.pop("hbt_bench_intervals")
    path.write_text(json.dumps(content))
    if reason is None:
        assert Result.read(path).subsets["AP"] == {"AP": 0.5}
    else:
        with pytest.raises(OutputError, match=f"damaged .*{reason}"):
            Result.read(path)


def test_a_subset_that_is_there_twice_below_the_head(results):
    path = results / FOLDER / MULTI
    content = json.loads(path.read_text())
    [entries] = content["scores"].values()
    entries.append(entries[0])
    path.write_text(json.dumps(content))
    with pytest.raises(OutputError, match="is there twice"):
        Result.read(path)


def swapped(results):
    """The ranks of another model beside a result: of the same data, and whole."""
    ranks = next((results / FOLDER).glob("*.ranks.npz"))
    stored = StoredRanks.read(ranks)
    documents, qrels = len(stored.judgements.document_languages), stored.judgements.qrels
    pool, top = (stored.ranks.pool % documents + 1).astype(np.int32), stored.ranks.top.copy()
    for row, (start, stop) in enumerate(pairwise(qrels.offsets)):
        found, at = qrels.documents[start:stop], pool[start:stop]
        top[row] = np.setdiff1d(np.arange(documents), found)[: top.shape[1]]
        high = at <= top.shape[1]
        top[row, at[high] - 1] = found[high]
    replace(stored, ranks=Ranks(pool, stored.ranks.block, top)).write(ranks)


RANKS = {
    "of another model": swapped,
    "a pipe": lambda results: pipe(next((results / FOLDER).glob("*.ranks.npz"))),
    "a device": lambda results: device(next((results / FOLDER).glob("*.ranks.npz"))),
    "damaged": lambda results: next((results / FOLDER).glob("*.ranks.npz")).write_bytes(b"PK"),
}


@pytest.mark.skipif(os.name != "posix", reason="pipes and alarms of POSIX")
@pytest.mark.parametrize("case", RANKS)
def test_ranks_that_are_not_those_of_the_result(case, results, tmp_path, capsys, soon):
    """No number is made of them: the report has no closer look, and the rest is refused, or evaluated anew."""
    RANKS[case](results)
    result = Result.read(results / FOLDER / MULTI)
    signature = json.loads((results / FOLDER / MULTI).read_text())["hbt_bench"]["signature"]
    assert find(results / FOLDER / MULTI, signature) is None
    for arguments in commands(results, tmp_path):
        if arguments[0] in ("bias", "compare", "export", "report"):
            code = command(arguments)
            told = capsys.readouterr()
            assert code == 0 if arguments[0] == "report" else code in (3, 5), (arguments, told)
            said = [line for line in told.err.splitlines() if "ranks.npz" in line or MULTI in line]
            assert said, arguments
            assert all(line.startswith("hbt-bench: ") for line in told.err.splitlines())
    found = [Result.read(path) for path in (results / FOLDER).glob("Cldr*.json")]
    [board] = ReportRequest().content(found)["boards"]
    assert [row["closeup"] for row in board["rows"]] == [None]
    with pytest.raises(OutputError, match=r"ranks\.npz"):
        result.stored_ranks()


def test_a_pipe_in_the_place_of_the_description_of_a_model(results, tmp_path, capsys, soon):
    pipe(results / FOLDER / "model_meta.json")
    assert command(["export", str(results), "--for", "hub", "--output", str(tmp_path / "hub")]) == 5
    assert "model_meta.json (it is not a regular file)" in capsys.readouterr().err


def test_a_folder_that_cannot_be_read_is_told(results, capsys, monkeypatch):
    """Permissions do not hold for root, so the system's answer is made up."""
    scan = os.scandir

    def refused(path):
        if str(path).endswith("local__other"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert command(["leaderboard", str(results), "--format", "json"]) == 0
    told = capsys.readouterr()
    assert len(json.loads(told.out)) == 1
    assert told.err == f"hbt-bench: left out: cannot read {results / 'local__other'}: Permission denied\n"
