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
}


@pytest.fixture
def soon():
    """Fail a test that reads a device to its end."""

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
        (["tasks", "new", "x", "--from", "fy.jsonl"], 2, "fy.jsonl is not a file or folder"),
        (["run", "--model", "bm25", "--tasks", "fy.yaml"], 2, "there is no task file fy.yaml"),
        (["tasks", "--task-dir", "d"], 0, "d/fy.yaml is not a file"),
    ):
        assert command(arguments) == code
        assert capsys.readouterr().err == f"hbt-bench: {message}\n"


@pytest.fixture
def results(tmp_path):
    """The results of BM25 and of another model; tests damage the multilingual result of the other model."""
    shutil.copytree(FIXTURE, tmp_path / "results")
    other = tmp_path / "results" / FOLDER
    shutil.copytree(next(FIXTURE.glob("*/*")), other)
    for path in other.glob("*.json"):
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
        ["export", str(results), "--for", "mteb-results", "--output", str(tmp_path / "mteb")],
        ["report", str(results), "--output", str(tmp_path / "report.html")],
    ]


def test_undamaged_results_are_read_without_warnings(results, tmp_path, capsys):
    for arguments in commands(results, tmp_path):
        assert command(arguments) == 0, arguments
        assert "left out" not in capsys.readouterr().err
    rows = json.loads((command(["leaderboard", str(results), "--format", "json"]), capsys.readouterr().out)[1])
    assert [row["multi AP"] for row in rows] == [pytest.approx(0.6839, abs=5e-5)] * 2


@pytest.mark.skipif(os.name != "posix", reason="pipes and alarms of POSIX")
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_result_is_left_out_or_refused(case, results, tmp_path, capsys, soon):
    HOSTILE[case](results / FOLDER / MULTI)
    for arguments in commands(results, tmp_path):
        reads_folder = arguments[0] in ("leaderboard", "report", "export")
        code = command(arguments)
        captured = capsys.readouterr()
        assert code == 0 if reads_folder else code in (2, 3, 5), (arguments, captured)
        messages = captured.err.splitlines()
        assert any(MULTI in message for message in messages), (arguments, messages)
        assert all(message.startswith("hbt-bench: ") for message in messages)
        if "--format json" in " ".join(arguments):
            [bm25, other] = sorted(json.loads(captured.out), key=lambda row: row["model"])
            assert bm25["multi AP"] == pytest.approx(0.6839, abs=5e-5)
            assert other.get("multi AP") is None
            assert other["mono AP"] == pytest.approx(0.9547, abs=5e-5)


@pytest.mark.skipif(os.name != "posix", reason="pipes and alarms of POSIX")
def test_json_of_other_programs_is_ignored(results, tmp_path, capsys, soon):
    for number, content in enumerate(('{"task_name": "SciFact"}', "[1, 2]", "null", '"x"')):
        (results / FOLDER / f"theirs-{number}.json").write_text(content)
    (results / FOLDER / "x.txt").write_text("[" * 200_000)
    for arguments in commands(results, tmp_path):
        assert command(arguments) == 0
        assert "theirs" not in capsys.readouterr().err


@pytest.mark.parametrize(("score", "reason"), [(0.5, None), (5.0, "AP"), (-0.1, "AP")])
def test_subset_named_like_a_measure_is_checked(results, score, reason):
    """MTEB's own tasks choose the names of their subsets."""
    path = results / FOLDER / MULTI
    content = json.loads(path.read_text())
    [entries] = content["scores"].values()
    entries[0] = {"hf_subset": "AP", "languages": entries[0]["languages"], "main_score": score, "AP": score}
    for key in ("values", "intervals", "shares", "ranks"):
        content["hbt_bench"].pop(key)
    content.pop("hbt_bench_intervals")
    path.write_text(json.dumps(content))
    if reason is None:
        assert Result.read(path).subsets["AP"] == {"AP": 0.5}
    else:
        with pytest.raises(OutputError, match=f"damaged .*{reason}"):
            Result.read(path)


def test_repeated_subset_in_the_scores_is_an_error(results):
    path = results / FOLDER / MULTI
    content = json.loads(path.read_text())
    [entries] = content["scores"].values()
    entries.append(entries[0])
    path.write_text(json.dumps(content))
    with pytest.raises(OutputError, match="twice"):
        Result.read(path)


def swapped(results):
    """Replace the ranks by complete ranks of another model on the same data."""
    ranks = next((results / FOLDER).glob("*.ranks.npz"))
    stored = StoredRanks.read(ranks)
    documents, qrels = len(stored.judgements.document_languages), stored.judgements.qrels
    pool, top = (stored.ranks.pool % documents + 1).astype(np.int32), stored.ranks.top.copy()
    for row, (start, stop) in enumerate(pairwise(qrels.offsets)):
        relevant, positions = qrels.documents[start:stop], pool[start:stop]
        top[row] = np.setdiff1d(np.arange(documents), relevant)[: top.shape[1]]
        high = positions <= top.shape[1]
        top[row, positions[high] - 1] = relevant[high]
    replace(stored, ranks=Ranks(pool, stored.ranks.block, top)).write(ranks)


RANKS = {
    "of another model": swapped,
    "damaged": lambda results: next((results / FOLDER).glob("*.ranks.npz")).write_bytes(b"PK"),
}


@pytest.mark.skipif(os.name != "posix", reason="pipes and alarms of POSIX")
@pytest.mark.parametrize("case", RANKS)
def test_wrong_ranks_are_never_used(case, results, tmp_path, capsys, soon):
    """The report has no details, other commands refuse the ranks, and `find` asks for a new evaluation."""
    RANKS[case](results)
    result = Result.read(results / FOLDER / MULTI)
    signature = json.loads((results / FOLDER / MULTI).read_text())["hbt_bench"]["signature"]
    assert find(results / FOLDER / MULTI, signature) is None
    for arguments in commands(results, tmp_path):
        if arguments[0] in ("bias", "compare", "report"):
            code = command(arguments)
            messages = capsys.readouterr().err.splitlines()
            assert code == 0 if arguments[0] == "report" else code in (3, 5), (arguments, messages)
            assert any("ranks.npz" in message or MULTI in message for message in messages), arguments
            assert all(message.startswith("hbt-bench: ") for message in messages)
    read = [Result.read(path) for path in (results / FOLDER).glob("Cldr*.json")]
    [board] = ReportRequest().content(read)["boards"]
    assert [row["details"] for row in board["rows"]] == [None]
    with pytest.raises(OutputError, match=r"ranks\.npz"):
        result.stored_ranks()


def test_unreadable_folder_is_named_in_a_warning(results, capsys, monkeypatch):
    """The error is simulated, because root may read all folders."""
    scan = os.scandir

    def refused(path):
        if str(path).endswith("local__other"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert command(["leaderboard", str(results), "--format", "json"]) == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)) == 1
    assert f"{results / 'local__other'}: Permission denied" in captured.err
