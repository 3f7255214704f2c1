"""The bias report: what it says, in every format, and where it gets it from."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from hbt_bench.cli.main import run as command
from hbt_bench.data.collection import Collection
from hbt_bench.measures.bias import Bias
from hbt_bench.ranking.ranks import rank
from hbt_bench.reports.bias import BiasReport
from hbt_bench.reports.plots import plot_bias
from tests.factories import Matrix, aligned_bias, parallel_collection, torch_random_model


def report(bias, collection=None):
    return BiasReport.of(bias, "toy-multi", "local/toy@1", "task:toy-multi", collection)


def preferring(language=None, avoid=False, boost=9):
    """Rankings that put the query's own language first (or last), or always one language."""
    collection = parallel_collection(12, extra=30)
    generator = np.random.default_rng(1)
    scores = generator.standard_normal((len(collection.queries), len(collection.documents)))
    for row, query in enumerate(collection.queries):
        block = collection.document_blocks[language or query.language]
        scores[row, block] += -boost if avoid else boost
    return collection, Bias(collection, rank(collection, Matrix(scores.astype(np.float32)), confidences=False)[0])


def test_the_diagnosis_names_what_is_preferred():
    assert report(preferring()[1]).diagnosis.startswith(
        "It prefers documents in the query's language: 100% of the top 10 where 33% would be fair; "
    )
    assert report(preferring("sw")[1]).diagnosis.startswith(
        "It prefers documents in Swahili, whatever the query's language: 100% of the top 10 where 33% would be fair; "
    )
    assert report(preferring(avoid=True)[1]).diagnosis.startswith(
        "It avoids documents in the query's language: 0% of the top 10 where 33% would be fair; "
    )
    neutral = report(preferring(boost=0)[1]).diagnosis
    assert neutral.startswith("It shows no preference for a language in the top 10; a question's answers lie ")
    assert report(aligned_bias()).diagnosis.endswith(
        "a question's answers lie 2 ranks apart, 12% of a random ranking's."
    )


def test_figures_have_intervals_over_questions_and_a_worst_language():
    found = report(preferring()[1])
    distance = found.figure("rank_distance")
    assert distance.low < distance.value < distance.high
    assert distance.value == pytest.approx(np.mean(list(distance.languages.values())))
    assert distance.worst == max(distance.languages, key=distance.languages.get)
    recall = found.figure("TLR@10")
    assert recall.worst == min(recall.languages, key=recall.languages.get)
    constant = report(aligned_bias()).figure("rank_distance")
    assert (constant.value, constant.low, constant.high) == (2, 2, 2)
    assert found.notes[0].startswith("PEER is left out. PEER needs several relevant documents in a language")


def test_the_worst_questions_have_texts_and_ranks():
    collection, bias = preferring()
    found = report(bias, collection).worst
    assert len(found) == 10
    distances = bias.rank_distance()
    assert found[0].rank_distance == distances.max()
    assert len({query.text.split()[-1] for query in found}) == 10  # each question once, in its worst language
    row = [query.id for query in collection.queries].index(found[0].query)
    pairs = slice(collection.qrels.offsets[row], collection.qrels.offsets[row + 1])
    assert sorted(found[0].ranks.values()) == sorted(bias.ranks.pool[pairs].tolist())
    assert found[0].first_text == collection.documents[bias.ranks.top[row, 0]].text
    assert report(bias).worst == ()


def test_every_format_says_the_same():
    collection, bias = preferring()
    found = report(bias, collection)
    parsed = json.loads(found.json())
    assert parsed["AP"]["gap"] == found.gap.gap
    assert found.gap_sentence in found.markdown()
    assert parsed["diagnosis"] == found.diagnosis
    assert parsed["measures"]["rank_distance"]["value"] == found.figure("rank_distance").value
    assert parsed["top10_shares"] == np.eye(3).tolist()
    rows = list(csv.DictReader(io.StringIO(found.by_language().csv())))
    everywhere = {(row["measure"], row["language"]): float(row["value"]) for row in rows}
    assert everywhere["rank_distance", "all"] == found.figure("rank_distance").value
    assert everywhere["rank_distance", "sw"] == found.figure("rank_distance").languages["sw"]
    markdown = found.markdown()
    assert found.diagnosis in markdown
    assert "| de | 100 | 0 | 0 |" in markdown
    assert "| fair | 33 | 33 | 33 |" in markdown


def test_names_are_no_markup_in_markdown():
    collection, bias = preferring()
    named = {"model": "m[a](b)", "task": "t<!-- x -->[de,en]", "signature": "s`<b>`"}
    lines = dataclasses.replace(report(bias, collection), **named).markdown().splitlines()
    assert lines[0] == r"# Language bias of m\[a\](b) on t&lt;!-- x -->[de,en]"
    assert lines[-1] == "`s'‹b>'`"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return torch_random_model(tmp_path_factory.mktemp("models") / "tiny", seed=5)


def test_the_command_evaluates_what_is_not_there_and_reads_what_is(checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    arguments = ["--task", "cldr-facts-multi", "--languages", "de,en,sw", "--results", str(tmp_path)]
    assert command(["bias", str(checkpoint), *arguments]) == 0
    first = capsys.readouterr().out
    assert max(len(line) for line in first.splitlines()) <= 80
    assert "% of the top 10, by language of the document" in first
    assert "The 10 worst questions" in first
    below = first[first.index("The 10 worst questions") :]
    ranks = re.findall(r"rank distance [\d,]+: (.*?)\n +first stood", below, re.DOTALL)
    assert len(ranks) == 10
    for line in (line for text in ranks for line in text.splitlines()):  # a language and its rank stay together
        assert re.fullmatch(r"\s*(?:(?:de|en|sw)\u00a0[\d,]+\s*)+", line), line
    result = next(tmp_path.rglob("CldrFactsMultilingualRetrieval_de_en_sw.json"))
    assert command(["bias", str(result)]) == 0
    assert capsys.readouterr().out == first
    # what MTEB's readers find in the result is what the report says
    entries = json.loads(result.read_text())["scores"]["test"]
    assert command(["bias", str(result), "--format", "json"]) == 0
    measures = json.loads(capsys.readouterr().out)["measures"]
    for entry in entries:
        code = entry["hf_subset"].removesuffix("-multi")
        assert entry["MRC@20"] == pytest.approx(measures["MRC@20"]["languages"][code], abs=1e-5)
        assert entry["remove_same_language"] == pytest.approx(
            measures["remove_same_language"]["languages"][code], abs=1e-5
        )


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_plots_are_written(checkpoint, tmp_path, capsys, ending):
    pytest.importorskip("matplotlib")
    plot = tmp_path / f"bias.{ending}"
    arguments = ["--task", "cldr-facts-multi", "--languages", "de,en", "--results", str(tmp_path), "--plot", str(plot)]
    assert command(["bias", str(checkpoint), *arguments, "--format", "csv"]) == 0
    start = plot.read_bytes()[:200]
    assert start.startswith(b"\x89PNG") if ending == "png" else b"<?xml" in start


def test_a_name_is_no_mathematics_in_a_plot(tmp_path):
    pytest.importorskip("matplotlib")
    found = replace(report(preferring()[1]), model="a$\\frac{b$c\x1b")
    plot_bias(found, tmp_path / "bias.svg")
    assert "a$\\frac{b$c? on toy-multi" in (tmp_path / "bias.svg").read_text()


@pytest.fixture
def grades(tmp_path):
    """A task file whose answers are no translations of one another: each question is asked in one language."""
    records = [
        {"id": f"{code}-{n}", "language": code, "query": f"question {n} {code}?", "document": f"answer {n} {code}."}
        for code in ("de", "en")
        for n in range(12)
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    task = tmp_path / "grades.yaml"
    task.write_text(
        "name: grades\ntitle: Grades\nmteb_name: Grades\ndescription: Questions.\nsource:\n  kind: jsonl\n"
        "  path: data.jsonl\n  languages: [de, en]\n"
        "  columns: {id: id, language: language, query: query, document: document}\n"
        "  parallel: false\n"
    )
    return task


def test_a_pool_without_translations_has_a_report_without_rank_distance(checkpoint, grades, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    plot = tmp_path / "bias.svg"
    arguments = ["--task", f"{grades}", "--results", str(tmp_path / "results"), "--plot", str(plot)]
    assert command(["bias", str(checkpoint), *arguments, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "rank_distance" not in found["measures"]
    assert {"Max@R", "same_language_excess@10", "MRC@20"} & set(found["measures"]) == {
        "Max@R",
        "same_language_excess@10",
    }
    assert found["worst"] == []
    assert "ranks apart" not in found["diagnosis"]
    assert "rank_distance is left out. rank distance compares the translations of an answer" in found["notes"][0]
    assert any("MRC@20 is left out. It applies to none of the queries." in note for note in found["notes"])
    assert "rank of the last answer by query language" in plot.read_text()


def test_documents_of_one_language_are_no_preference():
    collection = parallel_collection(12)
    english = [document for document in collection.documents if document.language == "en"]
    relevant = {query.id: {f"en-d{query.question[1:]}": 1} for query in collection.queries}
    only = Collection.from_records("only", list(collection.queries), english, relevant)
    scores = np.random.default_rng(2).standard_normal((len(only.queries), len(english))).astype(np.float32)
    found = report(Bias(only, rank(only, Matrix(scores), confidences=False)[0]))
    assert found.diagnosis == "All documents are in English, so none is preferred for its language."
    assert found.figure("same_language_excess@10") is None
    assert found.figure("rank_distance") is None


def test_wrong_requests_are_told(checkpoint, tmp_path, capsys):
    assert command(["bias", str(checkpoint), "--task", "cldr-facts-mono", "--results", str(tmp_path)]) == 2
    assert "is no multilingual task" in capsys.readouterr().err
    assert command(["bias", str(tmp_path / "no.json"), "--results", str(tmp_path)]) == 2
    assert f"there is no file {tmp_path / 'no.json'}: name a result" in capsys.readouterr().err
    assert command(["bias", str(checkpoint), "--plot", str(tmp_path / "bias.gif")]) == 2
    assert "a plot is written as .png or .svg" in capsys.readouterr().err


def test_ranks_of_another_model_are_not_reported(checkpoint, tmp_path, capsys):
    arguments = ["--task", "cldr-facts-multi", "--languages", "de,en", "--results", str(tmp_path), "--format", "csv"]
    assert command(["bias", str(checkpoint), *arguments]) == 0
    other = torch_random_model(tmp_path / "other", seed=6)
    assert command(["bias", str(other), *arguments]) == 0
    mine, theirs = sorted(tmp_path.rglob("*.ranks.npz"))
    mine.write_bytes(theirs.read_bytes())
    capsys.readouterr()
    assert command(["bias", str(next(mine.parent.glob("Cldr*.json"))), "--format", "csv"]) == 5
    assert "is not what CldrFactsMultilingualRetrieval_de_en.json was made from" in capsys.readouterr().err


def test_one_language_has_no_bias(checkpoint, tmp_path, capsys):
    arguments = ["--task", "cldr-facts-multi", "--languages", "en", "--results", str(tmp_path)]
    assert command(["bias", str(checkpoint), *arguments]) == 2
    assert "language bias needs two languages" in capsys.readouterr().err
