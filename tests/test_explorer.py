"""The questions of a collection: ranks, values and texts in the packed list and parts."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from hbt_bench.data.collection import Collection, TextlessCollection
from hbt_bench.errors import OutputError
from hbt_bench.measures.registry import MEASURES
from hbt_bench.measures.scores import ModeRanks
from hbt_bench.ranking.ranks import UNRETRIEVED, Ranks, rank
from hbt_bench.ranking.run_ranks import RunRanks
from hbt_bench.reports import explorer as module
from hbt_bench.reports.explorer import Explorer
from hbt_bench.results.ranks_file import Ids, StoredRanks
from tests.factories import Matrix, random_collection, random_scores, six_queries, unpacked


def result(collection, ranks, ids=None):
    """Return the parts of a result that the explorer reads."""
    return SimpleNamespace(ranks="file", stored_ranks=lambda: StoredRanks("data", collection, ranks, ids))


def whole(bias, *modes):
    return {mode: result(bias.judgements, bias.ranks) for mode in modes}


def run_of(bias, mode, depth):
    """Return the ranks of a run with the first documents of each ranking."""
    collection, run = bias.judgements, RunRanks(bias.judgements, mode, depth)
    documents = len(collection.documents)
    for row in range(len(collection.queries)):
        columns = bias.ranks.top[row].astype(np.int64)
        if mode == "mono":
            columns = columns[collection.document_languages[columns] == collection.query_languages[row]]
        run.add(np.full(len(columns), row), columns, documents - np.arange(len(columns), dtype=float))
    return run.ranks()


def mean_values(of_mode, measure):
    """Return the mean of each query over the subsets that have it, NaN for none."""
    values = [[] for _ in of_mode.judgements.questions]
    for judged, array in zip(of_mode.subsets, of_mode.values(measure), strict=True):
        for row, value in zip(judged.rows, array, strict=True):
            values[row].append(value)
    return [np.mean(each) if each else np.nan for each in values]


def test_index_has_versions_and_means():
    """By hand: the AP of the six queries is 11/18, 1; 1, 0.2730; 7/9, 1."""
    bias = six_queries()
    index = unpacked(Explorer.from_results([("one", whole(bias, "multi"))], bias.judgements).index())
    assert index["questions"] == [
        [[0, "de-q000", "q de 0"], [1, "en-q000", "q en 0"], [2, "sw-q000", "q sw 0"]],
        [[0, "de-q001", "q de 1"], [1, "en-q001", "q en 1"], [2, "sw-q001", "q sw 1"]],
    ]
    assert index["means"] == [[[0.7963, 0.7577], [6.0, 2.7]]]
    assert index["measures"] == [
        {"title": "multi AP", "decimals": 4, "lower": False},
        {"title": "rank distance", "decimals": 1, "lower": True},
    ]
    assert (index["languages"], index["models"], index["pool"]) == (["de", "en", "sw"], ["one"], 9)
    assert (index["parts"], index["by_pool"], index["graded"]) == ([0], True, False)


def test_part_has_ranks_and_values_of_versions():
    bias = six_queries()
    [part] = Explorer.from_results([("one", whole(bias, "multi", "mono"))], bias.judgements).parts()
    first, second = unpacked(part)
    assert first["documents"] == [[0, "de-d000"], [1, "en-d000"], [2, "sw-d000"]]
    assert first["versions"] == [[[0, 1, 2], [1, 1, 1]]] * 3
    assert first["models"] == [
        [
            [[1, 4, 9], [1, 1, 3], [0.6111, 8.0]],
            [[3, 2, 1], [1, 1, 1], [1.0, 2.0]],
            [[2, 1, 9], [1, 1, 3], [0.7778, 8.0]],
        ]
    ]
    assert second["models"][0][1] == [[5, 7, 9], [3, 3, 3], [0.273, 4.0]]


@pytest.mark.parametrize("mode", ["multi", "cross", "mono"])
def test_parts_decode_to_the_stored_ranks(monkeypatch, mode):
    """Graded, with several documents a language; the values are those of the registry."""
    monkeypatch.setattr(module, "PART_RANKS", 60)
    generator = np.random.default_rng(4)
    collection = random_collection(generator, graded=True)
    models = {name: rank(collection, Matrix(random_scores(generator, collection, 9)))[0] for name in "ab"}
    models["a"].pool[3] = models["a"].block[3] = UNRETRIEVED
    explorer = Explorer.from_results([(name, {mode: result(collection, each)}) for name, each in models.items()], None)
    index, parts = unpacked(explorer.index()), [unpacked(part) for part in explorer.parts()]
    assert len(parts) == len(index["parts"]) > 3
    assert [sum(map(len, parts[:number])) for number in range(len(parts))] == index["parts"]
    questions = [question for part in parts for question in part]
    order = np.argsort(collection.questions, kind="stable")
    for number, ranks in enumerate(models.values()):
        of_model = [version for question in questions for version in question["models"][number]]
        versions = dict(zip(order, of_model, strict=True))
        stored = [versions[row] for row in range(len(order))]
        assert [each for pool, _, _ in stored for each in pool] == ranks.pool.tolist()
        assert [each for _, block, _ in stored for each in block] == ranks.block.tolist()
        names = ["AP", "rank_distance"] if mode == "multi" else ["AP"]
        assert {len(values) for _, _, values in stored} == {len(names)}
        for position, name in enumerate(names):
            expected = mean_values(ModeRanks(collection, ranks, mode), MEASURES[name])
            values = np.array([each[2][position] for each in stored], float)
            np.testing.assert_allclose(values, expected, atol=0.5001 * 10 ** -MEASURES[name].decimals)
    assert index["graded"]
    grades = dict(zip(order, [each[1] for question in questions for each in question["versions"]], strict=True))
    assert [grade for row in range(len(order)) for grade in grades[row]] == collection.qrels.grades.tolist()


def test_cut_run_has_limits():
    """By hand, at depth 4: the third answer of de 0 is at rank 5 to 9, so its AP is 0.6111 to 0.7.

    That of sw 0 is 7/9 to 13/15.
    """
    bias = six_queries()
    results = {mode: result(bias.judgements, run_of(bias, mode, 4)) for mode in ("multi", "mono")}
    explorer = Explorer.from_results([("run", results), ("whole", whole(bias, "cross"))], bias.judgements)
    first, second = unpacked(explorer.parts()[0])
    # the run has no ranking among the documents of another language
    assert first["models"][0][0] == [[1, 4, -4], [1, 0, 0], [[0.6111, 0.7], [4.0, 8.0]]]
    assert first["models"][0][1] == [[3, 2, 1], [0, 1, 0], [1.0, 2.0]]
    assert second["models"][0][1][0] == [-4, -4, -4]
    assert first["models"][1][0] == [[1, 4, 9], [1, 1, 3], [0.6111, 8.0]]  # whole ranks are those of all modes
    assert unpacked(explorer.index())["means"][0][0][0] == [0.7963, 0.8556]


def test_texts_and_ids_may_be_missing():
    bias = six_queries()
    c = bias.judgements
    bare = TextlessCollection(c.languages, c.qrels, c.query_languages, c.questions, c.document_languages)
    ids = Ids([f"id{row}" for row in range(6)], {0: "first"})
    for known, names in ((ids, ["id1", "id3", "id5"]), (None, ["row 1", "row 3", "row 5"])):
        explorer = Explorer.from_results([("one", {"multi": result(bare, bias.ranks, known)})], None)
        questions = unpacked(explorer.index())["questions"]
        assert [version[1:] for version in questions[1]] == [[name, None] for name in names]
        assert unpacked(explorer.parts()[0])[0]["documents"][0] == [0, "first" if known else None]


def test_long_texts_are_cut():
    bias = six_queries()
    long = bias.judgements.with_queries({"de-q000": "w " * 1000})
    assert isinstance(long, Collection)
    index = unpacked(Explorer.from_results([("one", whole(bias, "multi"))], long).index())
    assert index["questions"][0][0][2] == ("w " * 200).rstrip() + " …"


def test_other_judgements_are_refused():
    bias = six_queries()
    qrels = replace(bias.judgements.qrels, documents=bias.judgements.qrels.documents[::-1].copy())
    other = replace(bias.judgements, qrels=qrels)
    ranks = Ranks(bias.ranks.pool, bias.ranks.block, bias.ranks.top)
    models = [("one", whole(bias, "multi")), ("two", {"multi": result(other, ranks)})]
    with pytest.raises(OutputError, match="the ranks of two have other judgements"):
        Explorer.from_results(models, None)
