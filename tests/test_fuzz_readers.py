"""Give damaged and hostile files to every reader; benchmarks/fuzz_readers.py makes them."""

from __future__ import annotations

import base64
import io
import json
import math
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz_readers import _RANKS, _RESULT, READERS, check, mutated
from hbt_bench.data.lareqa import read_lareqa
from hbt_bench.errors import DataError, ModelError, OutputError
from hbt_bench.identity.checkpoint import Checkpoint
from hbt_bench.results.ranks_file import StoredRanks
from hbt_bench.results.result import Result
from hbt_bench.studies.study_result import StudyResult


@pytest.mark.parametrize("name", READERS)
def test_valid_file_is_read(name):
    assert all(check(name, content) for content in READERS[name].valid)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(chance=st.randoms(use_true_random=False))
def test_damaged_file_is_read_or_refused(name, chance):
    check(name, mutated(chance, name))


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(name, content):
    check(name, content)


@pytest.mark.parametrize("number", ["1e999", "0.5", '"1"'])
def test_position_must_be_an_integer(tmp_path, number):
    content = READERS["LAReQA JSON"].valid[0].decode().replace("[0, 19]", f"[0, {number}]")
    (tmp_path / "en.json").write_text(content)
    with pytest.raises(DataError, match="is not a LAReQA file"):
        read_lareqa("x", {"en": tmp_path / "en.json"})


def with_summary_value(tmp_path, key, value):
    """Write a result with another value in its summary line and return its path."""
    first, summary, *rest = _RESULT.read_text().split("\n")
    about = json.loads(summary.removeprefix('  "hbt_bench": ').rstrip(","))
    about[key] = value
    path = tmp_path / "r.json"
    path.write_text("\n".join([first, f'  "hbt_bench": {json.dumps(about)},', *rest]))
    return path


@pytest.mark.parametrize("ranks", ["../../secret.npz", "/etc/passwd", "..", "a/b.npz", 7])
@pytest.mark.parametrize("measures", [None, ["AP"]])
def test_ranks_file_must_be_in_the_folder(tmp_path, ranks, measures):
    with pytest.raises(OutputError, match=r"damaged \(.*ranks: "):
        Result.read(with_summary_value(tmp_path, "ranks", ranks), measures)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", ["a"]),
        ("signature", 5),
        ("subsets", "two"),
        ("parameters", "many"),
        ("intervals", {"AP": ["low", "high"]}),
        ("values", {"subsets": ["de-multi", "en-multi"], "AP": ["0.5", 0.5]}),
        ("values", {"subsets": ["de-multi", "en-multi"], "AP": [True, 0.5]}),
        ("values", {"subsets": ["de-multi", "en-multi"], "AP": [10**400, 0.5]}),
        ("training", [1]),
    ],
)
def test_summary_value_of_another_type(tmp_path, key, value):
    with pytest.raises(OutputError, match="not a result of hbt-bench, or damaged"):
        Result.read(with_summary_value(tmp_path, key, value), ["AP"])


@pytest.mark.parametrize("measures", [None, ["AP"]])
@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ("!", "contributions to AP are not"),
        (5, "shares.AP: "),
        ("AAA", "contributions to AP are not"),
        ("AAAA", "contributions to AP are not"),  # three bytes; a number has four
        ("", "do not add up"),
        ("AAAAAA==", "do not add up"),
        (base64.b64encode(np.array([0.6, math.nan], "<f4").tobytes()).decode(), "do not add up"),
        (json.loads(_RESULT.read_text())["hbt_bench"]["shares"]["AP"][:400], "do not add up"),
        (json.loads(_RESULT.read_text())["hbt_bench"]["shares"]["rank_distance"], "do not add up"),
    ],
)
def test_contributions_must_match_scores(tmp_path, shares, message, measures):
    with pytest.raises(OutputError, match=message):
        Result.read(with_summary_value(tmp_path, "shares", {"AP": shares}), measures)


@pytest.mark.parametrize("measures", [None, ["AP"]])
def test_values_of_another_measure_are_refused(tmp_path, measures):
    values = json.loads(_RESULT.read_text())["hbt_bench"]["values"]
    with pytest.raises(OutputError, match="not a result of hbt-bench, or damaged"):
        Result.read(with_summary_value(tmp_path, "values", {**values, "AP": values["R@10"]}), measures)


def test_summary_must_match_the_scores(tmp_path):
    """The leaderboard reads the summary, and `compare` reads the scores, so both must agree."""
    values = json.loads(_RESULT.read_text())["hbt_bench"]["values"]
    for changed in (values["R@1"][::-1], [*values["R@1"][:-1], None]):
        path = with_summary_value(tmp_path, "values", {**values, "R@1": changed})
        with pytest.raises(OutputError, match="the summary has other scores"):
            Result.read(path)


def test_deeply_nested_result(tmp_path):
    (tmp_path / "r.json").write_text("[" * 200_000)
    with pytest.raises(OutputError, match="not a result of hbt-bench, or damaged"):
        Result.read(tmp_path / "r.json")


def changed_ranks(tmp_path, **changes):
    """Write a ranks file with changed arrays and return its path."""
    arrays = {**np.load(_RANKS), **changes}
    np.savez_compressed(tmp_path / "r.npz", **arrays)
    return tmp_path / "r.npz"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("offsets", lambda array: array[:-1], "offsets"),
        ("offsets", lambda array: array[::-1], "offsets"),
        ("documents", lambda array: array + 10_000, "judgements"),
        ("documents", lambda array: array - 1, "judgements"),
        ("grades", lambda array: array * 0, "judgements"),
        ("grades", lambda array: array[1:], "judgements"),
        ("pool", lambda array: array * 0, "ranks"),
        ("pool", lambda array: array + 10_000, "ranks"),
        ("block", lambda array: array + 10_000, "ranks"),
        ("block", lambda array: array * 0, "ranks"),
        ("block", lambda array: array[1:], "ranks"),
        ("pool", lambda array: array * 0 + 1, "ranks"),  # all ranks are 1, so AP would be above 1
        ("pool", lambda array: array[::-1], "best documents"),
        ("top", lambda array: array + 10_000, "best documents"),
        ("top", lambda array: array[:, ::-1], "best documents"),
        ("top", lambda array: array * 0, "best documents"),
        ("top", lambda array: array[0], "not of whole numbers"),
        ("pool", lambda array: array.astype(float), "not of whole numbers"),
        ("questions", lambda array: array - 1, "questions"),
        ("query_languages", lambda array: array[::-1], "languages"),
        ("document_languages", lambda array: array + 2, "languages"),
    ],
)
def test_inconsistent_ranks(tmp_path, name, change, message):
    path = changed_ranks(tmp_path, **{name: change(np.load(_RANKS)[name])})
    with pytest.raises(OutputError, match=message):
        StoredRanks.read(path)


def test_two_documents_of_a_language_share_a_rank(tmp_path):
    """Each query has a relevant document per language; here all documents are in the same language."""
    arrays = np.load(_RANKS)
    changes = {name: arrays[name] * 0 for name in ("query_languages", "document_languages")}
    StoredRanks.read(changed_ranks(tmp_path, **changes, block=arrays["pool"]))
    with pytest.raises(OutputError, match="its ranks contradict the rest"):
        StoredRanks.read(changed_ranks(tmp_path, **changes, block=arrays["pool"] * 0 + 1))


def test_ranks_larger_than_memory_limit(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((1 << 25,), np.int32))  # 128 MiB
    with zipfile.ZipFile(tmp_path / "r.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("pool.npy", buffer.getvalue())
    assert (tmp_path / "r.npz").stat().st_size < 200_000
    with pytest.raises(OutputError, match="would grow to 128 MiB"):
        StoredRanks.read(tmp_path / "r.npz")


def test_pickle_in_ranks_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("run").write_text, ("",))

    path = changed_ranks(tmp_path, pool=np.array([Trap()], dtype=object))
    with pytest.raises(OutputError, match="allow_pickle=False"):
        StoredRanks.read(path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", ["[" * 200_000, "{", "[]", '{"prompts": 3}'])
def test_damaged_model_configuration(tmp_path, content):
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / "config_sentence_transformers.json").write_text(content)
    with pytest.raises(ModelError, match="is damaged"):
        assert Checkpoint.from_folder(tmp_path).prompts


@pytest.mark.parametrize("text", ["", "[]", "[" * 200_000, '{"figures": [{"x": 1}]}'])
def test_damaged_study_result(text):
    with pytest.raises(OutputError, match="the result of the study is damaged"):
        StudyResult.read(text)


def test_json_without_figures_is_no_study_result():
    with pytest.raises(DataError, match="it has no figures: name a file of comparisons/"):
        StudyResult.read("{}")
