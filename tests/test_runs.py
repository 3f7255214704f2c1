"""Runs of other systems: the same ranks as the engine, refused if they contradict themselves, and cut honestly."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pandas as pd
import pytest

import hbt_bench
from hbt_bench.cli.main import run as command
from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.data.run_files import read_run, table_hash, tables_from_frame, tables_from_mapping
from hbt_bench.errors import DataError, UsageError
from hbt_bench.measures.bias import Bias
from hbt_bench.measures.ranking import Ranking, RankingCut
from hbt_bench.measures.registry import MEASURES, Measure
from hbt_bench.measures.scores import ModeRanks, bias_scores
from hbt_bench.mteb.run_model import RunModel, RunRules
from hbt_bench.mteb.trec_check import check_with_trec_eval
from hbt_bench.ranking.ranks import BELOW_CUT, UNRETRIEVED, rank
from hbt_bench.ranking.run_ranks import RunRanks
from hbt_bench.results.ranks_file import StoredRanks
from hbt_bench.results.result import Result
from tests.factories import Matrix, TestEncoder, hashed, random_collection, random_scores

#: Two languages, because a full run has all pairs of queries and documents.
LANGUAGES = ("de", "en")

# Ranks


def entries(scores, collection, mode):
    """Return the entries of a full run of a score matrix."""
    rows, columns = (axis.ravel() for axis in np.indices(scores.shape))
    same = collection.query_languages[rows] == collection.document_languages[columns]
    chosen = {"multi": np.ones(len(rows), bool), "mono": same, "cross": ~same}[mode]
    return rows[chosen], columns[chosen], scores.ravel()[chosen].astype(np.float64)


def run_ranks(scores, collection, mode, depth=None):
    run = RunRanks(collection, mode, depth)
    run.add(*entries(scores, collection, mode))
    return run.ranks()


@pytest.mark.parametrize("seed", range(3))
def test_full_run_has_the_ranks_of_the_engine(seed):
    generator = np.random.default_rng(seed)
    collection = random_collection(generator)
    scores = random_scores(generator, collection, levels=7)  # with ties
    expected, _ = rank(collection, Matrix(scores), confidences=False)
    multi = run_ranks(scores, collection, "multi")
    assert np.array_equal(multi.pool, expected.pool)
    assert np.array_equal(multi.top, expected.top)
    assert (multi.block == BELOW_CUT).all()
    for mode in ("mono", "cross"):
        ranks = run_ranks(scores, collection, mode)
        known = ranks.block < BELOW_CUT
        assert np.array_equal(ranks.block[known], expected.block[known])
        same = (
            collection.query_languages[collection.qrels.queries]
            == (collection.document_languages[collection.qrels.documents])
        )
        assert np.array_equal(known, same if mode == "mono" else ~same)


@pytest.mark.parametrize("depth", [1, 3, 10, 20, 49, 50])
def test_every_measure_of_a_cut_run_is_equal_or_refused(depth):
    generator = np.random.default_rng(depth)
    collection = random_collection(generator, graded=True)
    scores = random_scores(generator, collection, levels=30)
    full = ModeRanks(collection, rank(collection, Matrix(scores), confidences=False)[0], "multi")
    cut = ModeRanks(collection, run_ranks(scores, collection, "multi", depth), "multi")
    measures = [*MEASURES, *(Measure.parse(f"{name}@{k}") for name in ("AP", "nDCG", "R", "RR") for k in (1, 10, 50))]
    refused = set()
    for measure in measures:
        if not measure.has_query_values:
            continue
        try:
            values = cut.values(measure)
        except DataError:
            refused.add(measure.name)
            continue
        for array, expected in zip(values, full.values(measure), strict=True):
            assert np.allclose(array, expected, rtol=0, atol=1e-12, equal_nan=True), measure.name
    assert ("AP" in refused) == (depth < 50)
    assert "nDCG@1" not in refused
    assert ("nDCG@10" in refused) == (depth < 10)
    assert ("MRC@20" in refused) == (depth < 20)
    bias = bias_scores(Bias(collection, cut.ranks))
    for language, expected in bias_scores(Bias(collection, full.ranks)).items():
        for name, value in bias[language].items():
            assert value == pytest.approx(expected[name], abs=1e-12), name


def test_limits_contain_the_value_and_are_reached():
    generator = np.random.default_rng(5)
    collection = random_collection(generator)
    scores = random_scores(generator, collection, levels=30)
    full = ModeRanks(collection, rank(collection, Matrix(scores), confidences=False)[0], "multi")
    cut = ModeRanks(collection, run_ranks(scores, collection, "multi", 10), "multi")
    for name in ("AP", "RR", "rank_distance"):
        measure = MEASURES[name]
        low, high = cut.limits(measure)
        for values, ranking in zip(full.values(measure), cut._rankings, strict=True):
            ends = measure.limits(ranking)
            known = np.isfinite(values)
            assert (ends[0][known] <= values[known] + 1e-12).all()
            assert (values[known] <= ends[1][known] + 1e-12).all()
        assert low < high


def test_limits_by_hand():
    # 3 relevant documents, found at rank 2; the cut is at 4, and the pool has 10 documents
    ranking = Ranking(
        np.array([2, BELOW_CUT, BELOW_CUT]), np.ones(3, int), np.zeros(3, int), 1, cut=RankingCut(4, np.array([4]), 10)
    )
    low, high = MEASURES["AP"].limits(ranking)
    assert low == pytest.approx([(1 / 2 + 2 / 9 + 3 / 10) / 3])
    assert high == pytest.approx([(1 / 2 + 2 / 5 + 3 / 6) / 3])
    assert [ends.tolist() for ends in MEASURES["rank_distance"].limits(ranking)] == [[4.0], [8.0]]
    nothing = Ranking(np.full(2, BELOW_CUT), np.ones(2, int), np.zeros(2, int), 1, cut=RankingCut(4, np.array([4]), 10))
    assert [ends.tolist() for ends in MEASURES["rank_distance"].limits(nothing)] == [[1.0], [5.0]]
    MEASURES["RR"].check_cut(ranking)  # the first relevant document is above the cut
    with pytest.raises(DataError, match="depends on ranks below 4, where the run was cut: 2 of 3"):
        MEASURES["AP"].check_cut(ranking)


def test_own_text_is_not_a_candidate():
    queries = [Query("q1", "en", "a", "1"), Query("q2", "en", "b", "2")]
    documents = [Document("q1", "en", "a"), Document("d2", "en", "x"), Document("d3", "en", "y")]
    relevant = {"q1": {"q1": 1, "d3": 1}, "q2": {"d2": 1}}
    own = {"q1": ["q1"]}
    collection = Collection.from_records("own", queries, documents, relevant, own_documents=own)
    run = RunRanks(collection, "multi")
    run.add(np.array([0, 0, 1, 1]), np.array([0, 2, 1, 0]), np.array([9.0, 5.0, 2.0, 1.0]))
    ranks = run.ranks()
    assert ranks.pool.tolist() == [UNRETRIEVED, 1, 1]
    assert ranks.cut.depth == 1  # two documents, less the document that was left out


# Reading

RUN = {"q1": {"d1": 2.5, "d2": 1.0}, "q2": {"d2": 0.25}}
TREC = "q1 Q0 d1 1 2.5 me\nq1 Q0 d2 2 1.0 me\nq2\tQ0\td2  1 0.25 me\n"


def test_all_formats_are_the_same_run(tmp_path):
    rows = [(query, document, score) for query, scores in RUN.items() for document, score in scores.items()]
    frame = pd.DataFrame(rows, columns=["q_id", "docno", "score"])
    (tmp_path / "run.trec").write_text(TREC)
    (tmp_path / "run.trec.gz").write_bytes(gzip.compress(TREC.encode()))
    (tmp_path / "run.json").write_text(json.dumps(RUN))
    frame.to_parquet(tmp_path / "run.parquet")
    tables = [read_run(tmp_path / name)[0] for name in ("run.trec", "run.trec.gz", "run.json", "run.parquet")]
    tables += [tables_from_mapping(RUN)[0], tables_from_frame(frame.iloc[::-1])]
    assert {table_hash({"": t[""].drop(columns="rank", errors="ignore")}, ()) for t in tables} == {
        table_hash(tables_from_mapping(RUN)[0], ())
    }
    predictions = {"mteb_model_meta": {"model_name": "org/m", "revision": "1"}, "en-multi": {"test": RUN}}
    by_subset, origin = tables_from_mapping(predictions)
    assert (list(by_subset), origin) == (["en-multi"], ("org/m", "1"))
    assert list(tables_from_mapping({"en": RUN, "de": RUN})[0]) == ["en", "de"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1 Q0 d1 1 nan me\n", r":1: the score of document 'd1' for query 'q1' is 'nan', not a finite"),
        ("q1 Q0 d1 1 2 me\nq1 Q0 d2 2 x me\n", r":2: the score of document 'd2' .* is 'x'"),
        ("q1 Q0 d1 1 2 me\nq1 Q0 d2 2\n", r":2: a line of a TREC run has six columns"),
        ("q1,d1,2\n", r":1: a line of a TREC run has six columns"),
        ("", "cannot read the run"),
    ],
)
def test_damaged_trec_run_is_refused_with_the_line(tmp_path, text, message):
    path = tmp_path / "run.trec"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_run(path)


def test_ids_that_look_like_missing_values_stay_texts(tmp_path):
    path = tmp_path / "run.trec"
    path.write_text("NA Q0 null 1 2 me\n007 Q0 1e5 1 2 me\n")
    table = read_run(path)[0][""]
    assert table[["query", "document"]].to_numpy().tolist() == [["NA", "null"], ["007", "1e5"]]


def test_content_that_is_no_run_is_refused(tmp_path):
    deeper = {"multi": {"q": {"d": 1.0}}, "mono": [1]}, {"mteb_model_meta": {}, "multi": {"test": [1]}}
    for content in ([1], {}, {"q": [1]}, *deeper):
        with pytest.raises(DataError):
            tables_from_mapping(content)
    with pytest.raises(DataError, match="lacks a column for score"):
        tables_from_frame(pd.DataFrame({"qid": ["q"], "docno": ["d"]}))
    with pytest.raises(DataError, match="several columns for the query: qid, query_id"):
        tables_from_frame(pd.DataFrame({"qid": ["q"], "query_id": ["q"], "docno": ["d"], "score": [1]}))
    with pytest.raises(DataError, match="rows without a subset"):
        tables_from_frame(pd.DataFrame({"qid": ["q", "r"], "docno": "d", "score": 1, "subset": ["multi", None]}))
    with pytest.raises(UsageError, match="there is no file"):
        read_run(tmp_path / "run.trec")
    (tmp_path / "run.json").write_text('{"q": {"d": 1.0}, "r": {"d": 1.0}, "q": {"e": 1.0}}')
    with pytest.raises(DataError, match="'q' is twice in an object"):
        read_run(tmp_path / "run.json")


# Rules


@pytest.fixture
def small():
    queries = [Query("q1", "en", "a", "1"), Query("q2", "de", "b", "1")]
    documents = [Document(f"d{number}", "en" if number < 3 else "de", f"t{number}") for number in range(6)]
    relevant = {"q1": {"d0": 1, "d3": 1}, "q2": {"d1": 1, "d4": 1}}
    return Collection.from_records("small", queries, documents, relevant)


def ranks_of(collection, frame, mode="multi", **rules):
    return RunModel({mode: tables_from_frame(frame)[""]}, "me/x", RunRules(**rules)).ranks_in(collection, mode)


def frame(*rows, columns=("query", "document", "score", "rank")):
    return pd.DataFrame(list(rows), columns=list(columns)[: len(rows[0])])


def test_ties_go_to_the_greater_id_and_ranks_may_decide(small):
    rows = [("q1", "d0", 1.0, 1), ("q1", "d3", 1.0, 2), ("q2", "d1", 1.0, 1)]
    assert ranks_of(small, frame(*rows)).pool.tolist() == [BELOW_CUT, 1, 1, 2]  # q2: d4 d1, q1: d3 d0
    assert ranks_of(small, frame(*rows), order="rank").pool.tolist() == [BELOW_CUT, 1, 2, 1]


@pytest.mark.parametrize(
    ("rows", "rules", "message"),
    [
        ([("q1", "d0", 1.0, 1), ("q1", "d3", 2.0, 2)], {}, "the ranks contradict the scores: for the query 'q1', 'd0'"),
        ([("q1", "d0", 1.0), ("q1", "d0", 2.0)], {}, "has the document 'd0' twice"),
        ([("q1", "x9", 1.0)], {}, "1 of 1 document ids in the run are not of small, such as 'x9'"),
        ([("q9", "d0", 1.0)], {}, "1 of 1 query ids in the run are not of small, such as 'q9'"),
        ([("q1", "d0", 1.0)], {}, "no ranking for 1 queries, such as 'q2'"),
        ([("q1", "d0", 1e300)], {}, "too great for single precision"),
        ([("q1", "d0", 1.0)], {"order": "rank"}, "has no column rank"),
        ([("q1", "d0", 1.0)], {"document_ids": "x/{id}"}, "1 of 1 document ids"),
    ],
)
def test_run_that_contradicts_itself_or_the_task_is_refused(small, rows, rules, message):
    with pytest.raises(DataError, match=message):
        ranks_of(small, frame(*rows), **rules)


def test_wrong_pattern_is_refused(small):
    for pattern in ("{name}", "{", "x"):
        with pytest.raises(UsageError, match="--query-ids"):
            ranks_of(small, frame(("q1", "d0", 1.0)), query_ids=pattern)


@pytest.mark.parametrize("rule", [{"missing": "ignore"}, {"order": "Rank"}, {"depth": 0}, {"depth": "10"}])
def test_rule_that_does_not_exist_is_refused(rule):
    with pytest.raises(UsageError, match=f"{next(iter(rule))} is {next(iter(rule.values()))!r}, but must be"):
        RunRules(**rule)


def test_run_within_languages_on_the_pool_is_logged(small, caplog):
    ranks_of(small, frame(("q1", "d0", 1.0), ("q1", "d3", 0.5), ("q2", "d4", 1.0)))
    assert "language of each query" not in caplog.text
    ranks_of(small, frame(("q1", "d0", 1.0), ("q2", "d4", 1.0)))
    assert "only documents in the language of each query" in caplog.text


def test_ids_by_pattern_and_missing_queries(small, caplog):
    run = frame(("en/q1", "row-3", 1.0))  # documents are sorted by language: d3, d4, d5, d0, d1, d2
    ranks = ranks_of(small, run, query_ids="{language}/{id}", document_ids="row-{row}", missing="empty")
    assert ranks.pool.tolist() == [BELOW_CUT, BELOW_CUT, BELOW_CUT, 1]
    assert ranks.cut.depth == 1
    assert ranks.top.shape == (2, 0)
    assert "no ranking for 1 queries" in caplog.text


def test_documents_of_another_mode_are_refused(small):
    run = frame(("q1", "d3", 1.0), ("q2", "d4", 1.0))
    with pytest.raises(DataError, match=r"'q1' \(en\) has the document 'd3' \(de\), which is no candidate in mono"):
        ranks_of(small, run, "mono")
    with pytest.raises(DataError, match=r"'q2' .* no candidate in cross"):
        ranks_of(small, run, "cross")


# trec_eval


def test_check_finds_a_rank_that_trec_eval_does_not_give(small):
    run = RunRanks(small, "multi")
    given = (np.array([0, 0, 1]), np.array([1, 2, 3]), np.array([2.0, 1.0, 1.0]))
    run.add(*given)
    ranks = run.ranks()
    check_with_trec_eval(small, ranks, "multi", [given])
    ranks.pool[ranks.pool == 1] = 2
    with pytest.raises(DataError, match=r"trec_eval gives .* but hbt-bench"):
        check_with_trec_eval(small, ranks, "multi", [given])


def predictions(path, system, subset):
    """Write the predictions of MTEB for a subset."""
    meta = {"model_name": system, "revision": "1"}
    path.write_text(json.dumps({"mteb_model_meta": meta, subset: {"test": {"q": {"d": 1.0}}}}))
    return path


def test_runs_that_do_not_fit_the_task_are_refused(tmp_path):
    def refused(run, error, message):
        with pytest.raises(error, match=message):
            hbt_bench.score(run, "cldr-facts-multi", tmp_path, name="me/x", languages=LANGUAGES)

    refused(7, UsageError, "the run is int: give a dict, a data frame, or paths of files")
    refused({"fr-multi": {"q": {"d": 1.0}}}, UsageError, "rankings of fr-multi, which the tasks do not have")
    first, second = (predictions(tmp_path / f"{name}.json", f"me/{name}", "de-multi") for name in "ab")
    refused([first, second], DataError, r"b.json: another file has rankings of de-multi, too")
    predictions(second, "me/b", "en-multi")
    refused([first, second], DataError, "the files are of different systems, me/a, me/b: score them singly")


# The whole way


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """An encoder's results on a collection of 2 languages, and its full run of each mode."""
    output = tmp_path_factory.mktemp("runs")
    encoder = TestEncoder(hashed(16), "tests/encoder")
    results = hbt_bench.evaluate(encoder, "cldr-facts", output, languages=LANGUAGES)
    collection = hbt_bench.select_tasks("cldr-facts")[0].spec.load(LANGUAGES)
    vectors = [
        np.stack([encoder.vector(text.text, "") for text in texts])
        for texts in (collection.queries, collection.documents)
    ]
    queries, documents = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in vectors)
    return output, results, collection, queries @ documents.T


def table(system, depth, mode="multi"):
    _, _, collection, scores = system
    rows, columns, values = entries(scores, collection, mode)
    names = np.array([query.id for query in collection.queries]), np.array([doc.id for doc in collection.documents])
    frame = pd.DataFrame({"qid": names[0][rows], "docno": names[1][columns], "score": values})
    best = frame.sort_values(["score", "docno"], ascending=False).groupby("qid", sort=False)
    return best.head(depth)


def test_full_run_has_the_ranks_and_scores_of_the_model(system):
    output, results, *_ = system
    [result] = hbt_bench.score(
        table(system, 10**6), "cldr-facts-multi", output, name="me/full", languages=LANGUAGES, verify=True
    )
    expected = StoredRanks.read(results[2].ranks).ranks
    ranks = result.stored_ranks().ranks
    assert np.array_equal(ranks.pool, expected.pool)
    assert np.array_equal(ranks.top, expected.top)
    assert result.depth == len(system[2].documents)
    assert result.limits == {}
    assert result.intervals == results[2].intervals
    for name, value in result.scores.items():
        assert value == pytest.approx(results[2].scores[name], abs=1e-6), name


def test_cut_run_on_the_command_line(system, tmp_path, capsys):
    output, results, *_ = system
    path = tmp_path / "run.parquet"
    table(system, 30).to_parquet(path)
    options = ["--tasks", "cldr-facts-multi", "--languages", "de,en", "--name", "me/cut", "--output", str(output)]
    assert command(["score", str(path), *options, "--verify", "--format", "json"]) == 0
    [entry] = json.loads(capsys.readouterr().out)["results"]
    assert entry["depth"] == 30
    assert "|depth:30|" in entry["signature"]
    assert entry["model"] == "me/cut"
    assert entry["revision"].startswith("run-")
    low, high = entry["limits"]["AP"]
    assert low < results[2].scores["AP"] < high
    for name, value in entry["scores"].items():
        assert value == pytest.approx(results[2].scores[name], abs=1e-6), name
    assert "AP" not in entry["scores"]
    assert {"nDCG@10", "R@10", "same_language_excess@10"} <= entry["scores"].keys()
    assert command(["verify", "--strict", str(output / entry["path"])]) == 0
    assert capsys.readouterr().out.startswith("1 results: 1 follow from their ranks")
    # the same command again reads the result
    assert command(["score", str(path), *options]) == 0
    assert "AP is between" in capsys.readouterr().out
    assert command(["leaderboard", str(output), "--format", "md"]) == 0
    assert "‡" in capsys.readouterr().out
    compared = ["me/cut", "tests/encoder", "--tasks", "cldr-facts-multi", "--languages", "de,en"]
    compared += ["--results", str(output), "--samples", "99", "--resamples", "99"]
    assert command(["compare", *compared]) == 3
    assert "me/cut: AP depends on ranks below 30" in capsys.readouterr().err
    assert command(["compare", *compared, "--measure", "AP@30"]) == 0
    assert "do not differ" in capsys.readouterr().out
    assert command(["bias", str(Result.read(output.joinpath(entry["path"])).path)]) == 0
    shown = capsys.readouterr().out
    assert "rank_distance is left out" in shown
    assert "AP by query language is open" in shown


def test_depth_above_the_rankings_is_logged(system, tmp_path, caplog):
    run = table(system, 10)
    options = {"name": "me/deep", "languages": ["de", "en"]}
    assert hbt_bench.score(run, "cldr-facts-multi", tmp_path, depth=10, **options)[0].depth == 10
    assert "the longest ranking" not in caplog.text
    assert hbt_bench.score(run, "cldr-facts-multi", tmp_path, depth=50, **options)[0].depth == 50
    assert "the longest ranking of mode multi has 10 documents, and the depth is 50: documents that" in caplog.text


def test_modes_of_a_run(system, tmp_path):
    output, results, *_ = system
    for mode in ("mono", "cross"):
        frame = table(system, 10**6, mode)
        frame.to_parquet(tmp_path / f"me.{mode}.parquet")
    paths = [tmp_path / "me.mono.parquet", tmp_path / "me.cross.parquet"]
    scored = hbt_bench.score(paths, "cldr-facts-mono,cldr-facts-cross", output, name="me/modes", languages=LANGUAGES)
    for result, expected in zip(scored, results, strict=False):
        assert result.scores["AP"] == pytest.approx(expected.scores["AP"], abs=1e-6)
    with pytest.raises(UsageError, match="may be of any mode"):
        hbt_bench.score(table(system, 5), "cldr-facts", output, name="me/x", languages=LANGUAGES)
    with pytest.raises(UsageError, match="no rankings of cldr-facts-multi"):
        hbt_bench.score(paths, "cldr-facts", output, name="me/x", languages=LANGUAGES)
    with pytest.raises(UsageError, match="rankings of the mode mono by its name"):
        hbt_bench.score(paths[0], "cldr-facts-multi", output, name="me/x", languages=LANGUAGES)
    for name in (None, " "):
        with pytest.raises(UsageError, match="does not state its system"):
            hbt_bench.score(table(system, 5), "cldr-facts-multi", output, name=name, languages=LANGUAGES)
    with pytest.raises(UsageError, match="a single collection"):
        hbt_bench.score(table(system, 5), "SciFact", output, name="me/x")
