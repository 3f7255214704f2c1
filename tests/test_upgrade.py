"""Results of older versions get the clusters of the data; scores, contributions and signatures stay."""

from __future__ import annotations

import json
import shutil

import pytest

from hbt_bench.data.cldr import read
from hbt_bench.errors import OutputError
from hbt_bench.results.result import Result
from hbt_bench.results.schema import seal
from hbt_bench.results.upgrade import upgrade
from tests.factories import FIXTURE

MODES = ("Monolingual", "CrossLingual", "Multilingual")


@pytest.fixture
def older(tmp_path):
    """Return the results of BM25 on CLDR facts in two languages, which have no clusters, and their collection."""
    shutil.copytree(next(FIXTURE.glob("*/*")), tmp_path, dirs_exist_ok=True)
    collection = read("test", ["de", "en"])
    paths = [tmp_path / f"CldrFacts{mode}Retrieval_de_en.json" for mode in MODES]
    if Result.read(paths[0]).fields["data"] != collection.fingerprint:
        pytest.skip("the stored results are of another CLDR")
    return paths, collection


def test_scores_stay_and_intervals_are_over_clusters(older):
    paths, collection = older
    for path in paths:
        before, text = Result.read(path), json.loads(path.read_text())
        after = upgrade(before, collection)
        assert after.interval_signature == "level:territory|clusters:145|resamples:2000|seed:0"
        assert json.loads(path.read_text())["scores"] == text["scores"]
        assert (after.signature, after.encoded_contributions) == (before.signature, before.encoded_contributions)
        assert after.intervals.keys() == before.intervals.keys()
        assert after.intervals["AP"] == pytest.approx(after.computed_intervals().means["AP"], abs=1e-6)
        assert after.computed_intervals(cluster="question").means["AP"] == pytest.approx(
            before.intervals["AP"], abs=1e-6
        )
        assert upgrade(after, collection) is after


def test_intervals_without_ranks_come_from_contributions(older):
    """Both ways agree if all subsets have the same questions; a measure without contributions has no interval."""
    paths, collection = older
    for path in paths:
        exact = Result.read(path)
        whole = upgrade(exact, collection)
        shutil.copy(next(FIXTURE.rglob(path.name)), path)
        path.parent.joinpath(exact.ranks.name).rename(path.parent / "away")
        alone = upgrade(Result.read(path), collection)
        (path.parent / "away").rename(exact.ranks)
        assert set(alone.intervals) == set(alone.encoded_contributions)
        for measure, interval in alone.intervals.items():
            assert interval == pytest.approx(whole.intervals[measure], rel=1e-4)
        assert (alone.subset_intervals, alone.interval_signature) == ({}, whole.interval_signature)


def test_values_of_a_random_ranking_are_added_alone(older):
    """A result that has clusters keeps everything else, to the byte."""
    paths, collection = older
    whole = [upgrade(Result.read(path), collection) for path in paths]
    half_of_the_pool = (2 * 182 + 1) / 3  # two relevant documents, (N + 1)(n - 1)/(n + 1)
    assert whole[2].chance["rank_distance"] == pytest.approx(half_of_the_pool, abs=1e-6)
    assert whole[0].chance["R@10"] == pytest.approx(10 / 182, abs=1e-6)
    assert "rank_distance" not in whole[0].chance
    for result in whole:
        content = json.loads(result.path.read_text())
        summary = {key: value for key, value in content["hbt_bench"].items() if key not in ("chance", "check")}
        text = result.path.read_text()
        body = text.split("\n", 2)[2]
        rest = {key: value for key, value in content.items() if key != "hbt_bench"}
        line = json.dumps(seal(summary, rest), ensure_ascii=False)
        result.path.write_text(f'{{\n  "hbt_bench": {line},\n{body}')
        before = Result.read(result.path)
        assert (before.chance, before.intervals) == ({}, result.intervals)
        after = upgrade(before, collection)
        assert json.loads(text) == json.loads(result.path.read_text())
        assert result.path.read_text().split("\n", 2)[2] == body
        assert after.chance == result.chance


@pytest.mark.parametrize("indent", [None, 2])
def test_other_layout_of_the_json_is_read(older, indent):
    """A formatter of JSON keeps every value, but not the lines."""
    paths, collection = older
    content = json.loads(paths[2].read_text())
    paths[2].write_text(json.dumps(content, indent=indent))
    after = upgrade(Result.read(paths[2]), collection)
    assert after.chance["rank_distance"] == pytest.approx((2 * 182 + 1) / 3, abs=1e-6)
    assert after.interval_signature == "level:territory|clusters:145|resamples:2000|seed:0"
    assert json.loads(paths[2].read_text())["scores"] == content["scores"]


def test_other_data_are_refused(older):
    paths, _ = older
    with pytest.raises(OutputError, match="of other data than"):
        upgrade(Result.read(paths[0]), read("test", ["de", "sw"]))
