"""Result files of both formats: scores, intervals and contributions, from the whole file or from its summary."""

from __future__ import annotations

import json
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hbt_bench
from hbt_bench.cli.main import run as command
from hbt_bench.errors import OutputError
from hbt_bench.measures.registry import EXCESS
from hbt_bench.results.scores import Intervals
from hbt_bench.results.store import Result, StoredRanks, read_all, write

FIXTURES = Path(__file__).parent / "fixtures"
#: Keys of the summary that `write` adds.
DERIVED = ("format", "values", "intervals", "shares", "mteb_name")
OLD, NEW = FIXTURES / "format-1", FIXTURES / "format-2"


def read_results(folder):
    return [result for result in read_all(folder) if isinstance(result, Result)]


def test_both_formats_have_equal_scores():
    """BM25 on cldr-facts in German and English, evaluated by the version that wrote each format."""
    for old, new in zip(read_results(OLD), read_results(NEW), strict=True):
        assert (old.format, new.format) == (1, 2)
        assert old.task == new.task
        assert old.signature == new.signature
        assert old.complete
        assert {name: scores["AP"] for name, scores in old.subsets.items()} == {
            name: scores["AP"] for name, scores in new.subsets.items()
        }
        computed = old.computed_intervals()
        assert set(computed.means) == set(new.intervals)
        for measure, interval in new.intervals.items():
            assert computed.means[measure] == pytest.approx(interval, abs=1e-6)
            for name, bounds in new.subset_intervals[measure].items():
                assert computed.subsets[measure][name] == pytest.approx(bounds, abs=1e-6)
        for measure, contributions in computed.contributions.items():
            assert new.contributions(measure) == pytest.approx(contributions, rel=1e-6)
            assert contributions.sum() == pytest.approx(new.scores[measure], rel=1e-5)


def test_known_scores():
    """The first version of this program printed these numbers."""
    for folder in (OLD, NEW):
        scores = {result.mode: result.scores for result in read_results(folder)}
        assert scores["mono"]["AP"] == pytest.approx(0.9547, abs=5e-5)
        assert scores["cross"]["R@1"] == pytest.approx(0.4148, abs=5e-5)
        assert scores["multi"]["rank_distance"] == pytest.approx(137.6, abs=0.05)


def test_summary_is_enough_for_its_measures():
    path = next(NEW.rglob("*Multilingual*.json"))
    whole, summary = Result.read(path), Result.read(path, ("AP", "rank_distance"))
    assert set(summary.scores) == {"AP", "R@1", "R@10", "rank_distance", EXCESS}
    assert all(summary.scores[measure] == whole.scores[measure] for measure in summary.scores)
    assert (summary.intervals, summary.speed, summary.signature) == (whole.intervals, whole.speed, whole.signature)
    assert "ndcg_at_10" in Result.read(path, ("ndcg_at_10",)).scores
    assert Result.read(next(OLD.rglob("*Multilingual*.json")), ("AP",)).scores["R@100"] > 0


@pytest.mark.parametrize("length", [0.2, 0.9, 0.999])
def test_cut_file_is_damaged(tmp_path, length):
    path = tmp_path / "x.json"
    content = next(NEW.rglob("*Multilingual*.json")).read_bytes()
    path.write_bytes(content[: int(len(content) * length)])
    for measures in (None, ("AP",)):
        with pytest.raises(OutputError, match="damaged"):
            Result.read(path, measures)


def test_newer_format_asks_for_upgrade(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(next(NEW.rglob("*Mono*.json")).read_text().replace('"format": 2,', '"format": 9,', 1))
    for measures in (None, ("AP",)):
        with pytest.raises(OutputError, match="written by a newer hbt-bench"):
            Result.read(path, measures)


def test_mteb_reads_both_formats():
    from mteb.results import TaskResult

    for result in (*read_results(OLD), *read_results(NEW)):
        assert TaskResult.from_disk(result.path).get_score() == pytest.approx(result.scores["AP"], abs=1e-5)


def test_writing_twice_gives_equal_bytes(tmp_path):
    path = next(NEW.rglob("*Multilingual*.json"))
    content = json.loads(path.read_text())
    summary = {key: value for key, value in content["hbt_bench"].items() if key not in DERIVED}
    older = replace(Result.read(path).computed_intervals(), hierarchy=None)  # the file is older than the clusters
    write(tmp_path / "x.json", content, summary, {}, older)
    written = (tmp_path / "x.json").read_text()
    check = re.search(r', "check": \["[0-9a-f]{8}", "[0-9a-f]{8}"\]', written)
    assert written.replace(check[0], "") == path.read_text()  # written before there were checksums
    write(tmp_path / "y.json", content, {**summary, "speed": 1.0}, {}, older)
    assert check[0] in (tmp_path / "y.json").read_text()


@pytest.mark.parametrize("measures", [None, ["AP"]])
def test_changed_bit_never_changes_scores(tmp_path, measures):
    """A bit of the summary, or of the whole file if it is read: the result is read as it was written, or refused."""
    path = next(NEW.rglob("*Multilingual*.json"))
    content = json.loads(path.read_text())
    summary = {key: value for key, value in content.pop("hbt_bench").items() if key not in DERIVED}
    before = write(tmp_path / "x.json", content, summary, {}, Result.read(path).computed_intervals())
    whole = (tmp_path / "x.json").read_bytes()
    generator, refused = random.Random(3), 0
    end = len(whole) if measures is None else whole.index(b"\n", 3)
    for _ in range(400):
        changed, position = bytearray(whole), generator.randrange(end)
        changed[position] ^= 1 << generator.randrange(8)
        (tmp_path / "x.json").write_bytes(changed)
        try:
            after = Result.read(tmp_path / "x.json", measures)
        except OutputError:
            refused += 1
            continue
        if measures is None:
            assert after.as_json() == before.as_json(), position
            assert after.subset_intervals == before.subset_intervals, position
        assert after.subsets.by_subset("AP", before.subsets) == before.subsets.by_subset("AP", before.subsets), position
        assert (after.signature, after.intervals, after.encoded_contributions) == (
            before.signature, before.intervals, before.encoded_contributions
        ), position  # fmt: skip
    assert refused > 350


def test_intervals_of_chosen_subsets():
    result = next(result for result in read_results(NEW) if result.mode == "multi")
    intervals = result.computed_intervals(["de-multi"])
    assert set(intervals.subsets["AP"]) == {"de-multi"}
    assert intervals.contributions["AP"].sum() == pytest.approx(result.subsets["de-multi"]["AP"], abs=1e-5)
    low, high = intervals.means["AP"]
    assert low < result.subsets["de-multi"]["AP"] < high
    assert intervals.means["AP"] == pytest.approx(result.subset_intervals["AP"]["de-multi"], abs=0.01)


def test_interval_width_matches_normal_theory():
    """The standard error of a mean over questions, times 1.96 on each side."""
    result = next(result for result in read_results(NEW) if result.mode == "mono")
    contributions = result.contributions("AP")
    error = np.sqrt(len(contributions)) * contributions.std()
    low, high = result.intervals["AP"]
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.06)


def test_ranks_of_other_data_give_no_intervals(tmp_path, messages):
    shutil.copytree(OLD, tmp_path / "r")
    stored = next((tmp_path / "r").rglob("*.npz"))
    ranks = StoredRanks.read(stored)
    StoredRanks("other", ranks.judgements, ranks.ranks).write(stored)
    result = read_results(tmp_path / "r")[0]
    with pytest.raises(OutputError, match="of other data"):
        result.computed_intervals()
    frame = hbt_bench.load_results(tmp_path / "r")
    assert all("of other data" in message for message in messages)
    assert len(messages) == 3
    assert len(frame.attrs["left_out"]) == 3
    assert frame["low"].isna().all()
    assert Intervals().means == {}


# The data frame


def test_load_results_gives_long_form(tmp_path):
    new, old = hbt_bench.load_results(NEW), hbt_bench.load_results(str(OLD))
    for frame in (new, old):
        assert list(frame.columns) == ["model", "task", "mode", "subset", "measure", "value", "low", "high"]
        row = frame[(frame["mode"] == "multi") & (frame["subset"] == "all") & (frame["measure"] == "AP")].iloc[0]
        assert row["model"] == "hbt-bench/bm25@k0.9-b0.4"
        assert row["task"] == "cldr-facts-multi[de,en]"
        assert row["value"] == pytest.approx(0.6839, abs=5e-5)
        assert row["low"] < row["value"] < row["high"]
    row = new[(new["subset"] == "de-en") & (new["measure"] == "R@1")].iloc[0]
    assert row["low"] <= row["value"] <= row["high"]
    assert new[new["measure"] == "ndcg_at_10"]["low"].isna().all()
    assert new.attrs["signatures"]["hbt-bench/bm25@k0.9-b0.4"]["cldr-facts-multi[de,en]"].startswith("task:cldr-facts")
    assert hbt_bench.load_results(OLD, intervals=False)["low"].isna().all()
    with pytest.raises(OutputError, match="there is no folder"):
        hbt_bench.load_results(tmp_path / "none")


def test_incomplete_result_has_no_mean(tmp_path):
    shutil.copytree(NEW, tmp_path / "r")
    path = next((tmp_path / "r").rglob("*Mono*.json"))
    path.write_text(path.read_text().replace('"subsets": 2,', '"subsets": 3,', 1))
    frame = hbt_bench.load_results(tmp_path / "r")
    assert not len(frame[(frame["mode"] == "mono") & (frame["subset"] == "all")])
    assert len(frame[(frame["mode"] == "mono") & (frame["subset"] == "de")])


# Signatures explained


def test_show_file_and_signature(capsys):
    path = next(NEW.rglob("*Multilingual*.json"))
    assert command(["show", str(path)]) == 0
    out = capsys.readouterr().out
    assert "  $ hbt-bench run --model bm25@k0.9-b0.4 --tasks 'cldr-facts-multi[de,en]'\n" in out
    assert "  $ pip install 'hbt-bench[bm25]==0.1.0' mteb==" in out
    assert "rank_distance     137.6  [" in out
    assert command(["show", Result.read(path).signature, "--format", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["command"] == "hbt-bench run --model bm25@k0.9-b0.4 --tasks 'cldr-facts-multi[de,en]'"
    assert [part["field"] for part in content["parts"]] == [
        "task",
        "text",
        "data",
        "model",
        "prompt",
        "ties",
        "hbt",
        "mteb",
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model": "local/my-ckpt@0123456789abcdef"}, "hbt-bench run --model path/to/my-ckpt --tasks xquad-r-cross"),
        (
            {"model": "intfloat/multilingual-e5-base@d13f1b2", "prompt": "model"},
            "hbt-bench run --model intfloat/multilingual-e5-base --revision d13f1b2 --tasks xquad-r-cross",
        ),
        ({"task": "SciFact", "text": "mteb"}, "hbt-bench run --model bm25@k0.9-b0.4 --tasks SciFact"),
    ],
)
def test_signature_gives_its_command(changes, expected, capsys):
    fields = {"task": "xquad-r-cross", "text": "sentence", "data": "be30", "model": "hbt-bench/bm25@k0.9-b0.4"}
    fields |= {"prompt": "none", "ties": "docid-desc", "hbt": "0.1.0", "mteb": "2.26.24"} | changes
    assert command(["show", "|".join(f"{key}:{value}" for key, value in fields.items())]) == 0
    assert f"  $ {expected}\n" in capsys.readouterr().out


def test_command_has_prompts_given_by_hand(tmp_path, capsys):
    folder = tmp_path / "local__m" / "1" / "experiments" / "x"
    folder.mkdir(parents=True)
    source = next(NEW.rglob("*Mono*.json")).read_text().replace("prompt:none", "prompt:ab12cd34")
    (folder / "T.json").write_text(source.replace('"query": ""', '"query": "query: "', 1))
    assert command(["show", str(folder / "T.json")]) == 0
    assert "--tasks 'cldr-facts-mono[de,en]' --query-prompt 'query: ' --document-prompt ''\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nonsense", "'nonsense' is not a signature"),
        ("task:xquad-r-multi|text:sentence", "the signature lacks data, model, prompt, ties"),
        ("missing.json", "there is no file missing.json"),
    ],
)
def test_show_refuses_other_arguments(given, message, capsys):
    assert command(["show", given]) == 2
    assert message in capsys.readouterr().err
