"""Exported runs and tables of queries give our numbers in the tools of others."""

from __future__ import annotations

import gzip
import shutil

import numpy as np
import pandas as pd
import pytest

import hbt_bench
from hbt_bench.cli.main import run as command
from hbt_bench.errors import OutputError, UsageError
from hbt_bench.measures.registry import Measure
from hbt_bench.measures.scores import ModeRanks
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.results.store import Result
from tests.factories import FIXTURE, TestEncoder, hashed

LANGUAGES = ("de", "en")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Results of an encoder with kept runs of all documents, and their export."""
    from hbt_bench.mteb.given import GivenModel

    folder = tmp_path_factory.mktemp("export")
    model = GivenModel(TestEncoder(hashed(16), "tests/encoder"))
    tasks = hbt_bench.select_tasks("cldr-facts")
    results = Evaluation(model, tasks, folder / "results", LANGUAGES, keep_run=10**6).run()
    assert command(["export", str(folder / "results"), "--for", "trec", "--output", str(folder / "runs")]) == 0
    return folder, results


def read(path):
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    table = {}
    for line in text.splitlines():
        query, _, document, *numbers = line.split()
        table.setdefault(query, {})[document] = float(numbers[1]) if path.suffix == ".gz" else int(numbers[0])
    return table


@pytest.mark.parametrize("mode", ["mono", "cross", "multi"])
def test_pytrec_eval_gives_our_values_on_the_export(kept, mode):
    import pytrec_eval

    folder, results = kept
    result = next(result for result in results if result.mode == mode)
    target = folder / "runs" / result.path.relative_to(folder / "results").with_suffix("")
    stored = result.stored_ranks()
    ours = ModeRanks(stored.judgements, stored.ranks, mode)
    for judged, values, gains in zip(
        ours.subsets, ours.values(Measure.parse("AP")), ours.values(Measure.parse("nDCG@10")), strict=True
    ):
        run, qrels = (read(target / f"{judged.subset.name}{ending}") for ending in (".trec.gz", ".qrels"))
        theirs = pytrec_eval.RelevanceEvaluator(qrels, {"map", "ndcg_cut_10"}).evaluate(run)
        ids = [stored.ids.queries[row] for row in judged.rows]
        assert theirs.keys() == set(ids)
        assert [theirs[name]["map"] for name in ids] == pytest.approx(values.tolist(), abs=1e-6)
        assert [theirs[name]["ndcg_cut_10"] for name in ids] == pytest.approx(gains.tolist(), abs=1e-6)
    languages = dict(line.split("\t") for line in (target / "documents.tsv").read_text().splitlines())
    collection = hbt_bench.select_tasks("cldr-facts")[0].spec.load(LANGUAGES)
    assert languages.items() <= {document.id: document.language for document in collection.documents}.items()


def test_depth_without_documents_is_refused(kept, tmp_path):
    with pytest.raises(UsageError, match="depth is 0, but must be a whole number from 1"):
        hbt_bench.export(kept[0] / "results", "trec", tmp_path / "runs", depth=0)
    assert not (tmp_path / "runs").exists()


def test_exported_run_is_scored_with_the_same_ranks(kept):
    folder, results = kept
    target = folder / "runs" / results[2].path.relative_to(folder / "results").with_suffix("")
    paths = sorted(target.glob("*.trec.gz"))
    [scored] = hbt_bench.score(paths, "cldr-facts-multi", folder / "again", name="me/x", languages=LANGUAGES)
    assert np.array_equal(scored.stored_ranks().ranks.pool, results[2].stored_ranks().ranks.pool)


def test_stored_ranks_give_the_best_20_of_the_pool(kept, tmp_path, capsys):
    folder, _ = kept
    output = tmp_path / "results"
    hbt_bench.evaluate(TestEncoder(hashed(16), "tests/encoder"), "cldr-facts", output, languages=LANGUAGES)
    assert command(["export", str(output), "--for", "trec", "--depth", "20", "--output", str(tmp_path / "runs")]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("Run again with --keep-run") == 2  # mono and cross
    [path] = (tmp_path / "runs").glob("*/*/*Multilingual*/de-multi.trec.gz")
    [whole] = (folder / "runs").glob("*/*/*Multilingual*/de-multi.trec.gz")
    best = {query: list(documents) for query, documents in read(path).items()}
    assert best == {query: list(documents)[:20] for query, documents in read(whole).items()}
    assert command(["export", str(output), "--for", "trec", "--depth", "21", "--output", str(tmp_path / "more")]) == 5
    assert "has 20 documents of each query, not 21" in capsys.readouterr().err


def test_table_of_queries_has_the_scores_as_means(kept, tmp_path, capsys, caplog):
    folder, results = kept
    path = tmp_path / "queries.csv"
    options = ["--for", "queries", "--tasks", str(results[1].task), "--measures", "AP,nDCG@10", "--output", str(path)]
    assert command(["export", str(folder / "results"), *options]) == 0
    frame = pd.read_csv(path)
    assert list(frame.columns) == [
        *("model", "task", "mode", "subset", "query", "question", "level", "cluster"),
        *("query_language", "document_language", "measure", "value"),
    ]
    means = frame.groupby(["measure", "subset"])["value"].mean()
    for subset, scores in results[1].subsets.items():
        for measure in ("AP", "nDCG@10"):
            assert means[measure, subset] == pytest.approx(scores[measure], abs=1e-5)
    assert set(frame["document_language"]) == {"de", "en"}
    assert frame.groupby("question")["cluster"].nunique().max() == 1
    assert set(frame["level"]) == {"territory"}
    path = hbt_bench.export(folder / "results", "queries", path, measures="AP", cluster="question")
    assert set(pd.read_csv(path)["level"]) == {"question"}
    assert (pd.read_csv(path)["cluster"] == pd.read_csv(path)["question"]).all()
    hbt_bench.export(folder / "results", "queries", path, measures="AP", cluster="article")
    assert caplog.text.count("has no clusters by 'article': its usual level is used") == 1
    in_python = hbt_bench.load_queries(folder / "results", "AP", results[1].task)
    assert len(in_python) == len(frame) // 2
    assert set(hbt_bench.load_queries(folder / "results", "rank_distance")["mode"]) == {"multi"}
    caplog.clear()
    name = results[1].task.replace("cldr-facts-", "cldr-fact-")
    again = hbt_bench.load_queries(folder / "results", "AP,AP", [results[1].task, name])
    assert again.equals(in_python)
    assert f"no result in {folder / 'results'} is of {name}; did you mean '{results[1].task}'" in caplog.text
    with pytest.raises(OutputError, match=r"no result in .* is of cldr-fact-.*; did you mean"):
        hbt_bench.load_queries(folder / "results", "AP", name)
    collection = hbt_bench.load_queries(folder / "results", "AP", "cldr-facts")
    assert set(collection["mode"]) == {"mono", "cross", "multi"}
    assert command(["export", str(folder / "results"), "--for", "queries", "--output", "q.txt"]) == 2
    assert "neither .parquet nor .csv" in capsys.readouterr().err


def test_measure_of_another_mode_is_noted(kept, messages):
    folder, _ = kept
    frame = hbt_bench.load_queries(folder / "results", "AP,rank_distance", "cldr-facts-mono")
    assert set(frame["measure"]) == {"AP"}
    assert "no chosen task has rank_distance, which needs a multi task" in messages
    with pytest.raises(UsageError, match=r"no chosen task has rank_distance, .*: choose other --tasks or --measures"):
        hbt_bench.load_queries(folder / "results", "rank_distance", "cldr-facts-mono")


def test_results_without_values_of_queries_are_left_out(tmp_path, caplog):
    """The ranks of an older version have no ids, and a result is damaged."""
    shutil.copytree(FIXTURE, tmp_path / "old")
    [path] = tmp_path.rglob("*Multilingual*.json")
    path.write_text(path.read_text()[:-50])
    with pytest.raises(OutputError, match=r"no result in .* has values of these queries"):
        hbt_bench.load_queries(tmp_path / "old", "AP")
    assert caplog.text.count("is of an older version, without ids. Run again with --overwrite.") == 2
    assert f"left out: {path} is not a result of hbt-bench, or damaged" in caplog.text


def test_ids_are_beside_the_ranks(kept):
    _, results = kept
    stored = results[2].stored_ranks()
    collection = hbt_bench.select_tasks("cldr-facts")[0].spec.load(LANGUAGES)
    assert stored.ids.queries == [query.id for query in collection.queries]
    assert all(collection.documents[column].id == name for column, name in stored.ids.documents.items())
    named = {*stored.judgements.qrels.documents.tolist(), *stored.ranks.top.ravel().tolist()}
    assert stored.ids.documents.keys() == named
    assert Result.read(results[2].path).stored_ranks().ids == stored.ids
