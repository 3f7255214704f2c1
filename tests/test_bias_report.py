"""The bias report in every format, its chart, and the command."""

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
from tests.factories import Matrix, aligned_bias, parallel_collection, plant_fixture, torch_random_model


def report(bias, collection=None):
    return BiasReport.from_bias(bias, "toy-multi", "local/toy@1", "task:toy-multi", collection)


def preferring(language=None, avoid=False, boost=9):
    """Return rankings that put the query's language first, or last, or always put `language` first."""
    collection = parallel_collection(12, extra=30)
    generator = np.random.default_rng(1)
    scores = generator.standard_normal((len(collection.queries), len(collection.documents)))
    for row, query in enumerate(collection.queries):
        block = collection.document_blocks[language or query.language]
        scores[row, block] += -boost if avoid else boost
    return collection, Bias(collection, rank(collection, Matrix(scores.astype(np.float32)), confidences=False)[0])


@pytest.mark.parametrize(
    ("ranking", "words"),
    [
        ({}, "prefers documents in the query's language: they fill 100% of the top 10, but 33%"),
        ({"language": "sw"}, "prefers documents in Swahili, whatever the query's language: they fill 100% of the top"),
        ({"avoid": True}, "avoids documents in the query's language: they fill 0% of the top 10, but 33%"),
        ({"boost": 0}, "no preference for a language in the top 10"),
    ],
)
def test_diagnosis_names_the_preferred_language(ranking, words):
    assert words in report(preferring(**ranking)[1]).diagnosis


def test_diagnosis_compares_distance_with_a_random_ranking():
    assert report(aligned_bias()).diagnosis.endswith("span 2 ranks, 12% of the 17 in a random ranking.")


def test_figures_have_intervals_and_a_worst_language():
    bias_report = report(preferring()[1])
    distance = bias_report.figure("rank_distance")
    assert distance.low < distance.value < distance.high
    assert distance.value == pytest.approx(np.mean(list(distance.languages.values())))
    assert distance.worst == max(distance.languages, key=distance.languages.get)
    recall = bias_report.figure("TLR@10")
    assert recall.worst == min(recall.languages, key=recall.languages.get)
    constant = report(aligned_bias()).figure("rank_distance")
    assert (constant.value, constant.low, constant.high) == (2, 2, 2)
    assert bias_report.notes[0].startswith("PEER@20 is left out. ")


def test_worst_questions_have_texts_and_ranks():
    collection, bias = preferring()
    worst = report(bias, collection).worst
    assert len(worst) == 10
    distances = bias.rank_distance()
    assert worst[0].rank_distance == distances.max()
    assert len({query.text.split()[-1] for query in worst}) == 10  # no question twice
    row = [query.id for query in collection.queries].index(worst[0].query)
    pairs = slice(collection.qrels.offsets[row], collection.qrels.offsets[row + 1])
    assert sorted(worst[0].ranks.values()) == sorted(bias.ranks.pool[pairs].tolist())
    assert worst[0].first_text == collection.documents[bias.ranks.top[row, 0]].text
    assert report(bias).worst == ()


def test_all_formats_have_the_same_numbers():
    collection, bias = preferring()
    bias_report = report(bias, collection)
    parsed = json.loads(bias_report.json())
    assert parsed["AP"]["gap"] == bias_report.gap.gap
    assert bias_report.gap_sentence in bias_report.markdown()
    assert parsed["diagnosis"] == bias_report.diagnosis
    assert parsed["measures"]["rank_distance"]["value"] == bias_report.figure("rank_distance").value
    assert parsed["top10_shares"] == np.eye(3).tolist()
    rows = list(csv.DictReader(io.StringIO(bias_report.by_language().csv())))
    everywhere = {(row["measure"], row["language"]): float(row["value"]) for row in rows}
    assert everywhere["rank_distance", "all"] == bias_report.figure("rank_distance").value
    assert everywhere["rank_distance", "sw"] == bias_report.figure("rank_distance").languages["sw"]
    markdown = bias_report.markdown()
    assert bias_report.diagnosis in markdown
    assert "| de | 100 | 0 | 0 |" in markdown
    assert "| fair | 33 | 33 | 33 |" in markdown


def test_names_are_escaped_in_markdown():
    collection, bias = preferring()
    named = {"model": "m[a](b)", "task": "t<!-- x -->[de,en]", "signature": "s`<b>`"}
    lines = dataclasses.replace(report(bias, collection), **named).markdown().splitlines()
    assert lines[0] == r"# Language bias of m\[a\](b) on t&lt;!-- x -->[de,en]"
    assert lines[-1] == "`s'‹b>'`"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return torch_random_model(tmp_path_factory.mktemp("models") / "tiny", seed=5)


def test_command_evaluates_a_model_or_reads_its_result(checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    arguments = ["--task", "cldr-facts-multi", "--languages", "de,en,sw", "--results", str(tmp_path)]
    assert command(["bias", str(checkpoint), *arguments]) == 0
    first = capsys.readouterr().out
    assert max(len(line) for line in first.splitlines()) <= 80
    assert "% of the top 10, by document language" in first
    assert "The 10 worst questions" in first
    below = first[first.index("The 10 worst questions") :]
    ranks = re.findall(r"rank distance [\d,]+: (.*?)\n +ranked first", below, re.DOTALL)
    assert len(ranks) == 10
    for line in (line for text in ranks for line in text.splitlines()):  # no line break between a language and its rank
        assert re.fullmatch(r"\s*(?:(?:de|en|sw)\u00a0[\d,]+\s*)+", line), line
    result = next(tmp_path.rglob("CldrFactsMultilingualRetrieval_de_en_sw.json"))
    assert command(["bias", str(result)]) == 0
    assert capsys.readouterr().out == first
    # the result has the same numbers under MTEB's keys
    entries = json.loads(result.read_text())["scores"]["test"]
    assert command(["bias", str(result), "--format", "json"]) == 0
    measures = json.loads(capsys.readouterr().out)["measures"]
    for entry in entries:
        code = entry["hf_subset"].removesuffix("-multi")
        assert entry["MRC@20"] == pytest.approx(measures["MRC@20"]["languages"][code], abs=1e-5)
        assert entry["remove_same_language"] == pytest.approx(
            measures["remove_same_language"]["languages"][code], abs=1e-5
        )


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<svg"), ("pdf", b"%PDF")])
def test_plot_is_written_in_every_format(checkpoint, tmp_path, ending, start):
    pytest.importorskip("altair", reason="the extra report is not installed")
    plot = tmp_path / f"bias.{ending}"
    arguments = ["--task", "cldr-facts-multi", "--languages", "de,en", "--results", str(tmp_path), "--plot", str(plot)]
    assert command(["bias", str(checkpoint), *arguments, "--format", "csv"]) == 0
    assert plot.read_bytes().startswith(start)


def test_chart_shows_the_numbers_of_the_report(tmp_path):
    pytest.importorskip("altair", reason="the extra report is not installed")
    from hbt_bench.reports import bias_chart
    from hbt_bench.reports.render import svg, write_chart

    shown = replace(report(preferring()[1]), model="a$\\frac{b$c\x1b <b>")
    chart = bias_chart.bias(shown)
    write_chart(chart, tmp_path / "bias.svg")
    text = (tmp_path / "bias.svg").read_text()
    assert "a$\\frac{b$c? &lt;b&gt; on toy-multi" in text
    shares = [value["share"] for value in chart.to_dict()["hconcat"][0]["data"]["values"]]
    assert np.reshape(shares, (3, 3)) == pytest.approx(100 * np.eye(3))
    assert f"mean {shown.figure('rank_distance').value:,.0f}" in text
    assert svg(chart) == text


@pytest.fixture
def grades(tmp_path):
    """A task file with each question in a single language, so no answer is a translation."""
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


def test_answers_without_translations_have_no_rank_distance(checkpoint, grades, tmp_path, capsys):
    pytest.importorskip("altair", reason="the extra report is not installed")
    plot = tmp_path / "bias.svg"
    arguments = ["--task", f"{grades}", "--results", str(tmp_path / "results"), "--plot", str(plot)]
    assert command(["bias", str(checkpoint), *arguments, "--format", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert "rank_distance" not in content["measures"]
    assert {"Max@R", "same_language_excess@10", "MRC@20"} & set(content["measures"]) == {
        "Max@R",
        "same_language_excess@10",
    }
    assert content["worst"] == []
    assert "span" not in content["diagnosis"]
    assert "rank_distance is left out. " in content["notes"][0]
    assert any(note.startswith("MRC@20 is left out. ") for note in content["notes"])
    assert "rank of the last answer by query language" in plot.read_text()


def test_documents_in_one_language_show_no_preference():
    collection = parallel_collection(12)
    english = [document for document in collection.documents if document.language == "en"]
    relevant = {query.id: {f"en-d{query.question[1:]}": 1} for query in collection.queries}
    only = Collection.from_records("only", list(collection.queries), english, relevant)
    scores = np.random.default_rng(2).standard_normal((len(only.queries), len(english))).astype(np.float32)
    bias_report = report(Bias(only, rank(only, Matrix(scores), confidences=False)[0]))
    assert bias_report.diagnosis.startswith("All documents are in English")
    assert bias_report.figure("same_language_excess@10") is None
    assert bias_report.figure("rank_distance") is None


def test_wrong_arguments_are_errors(checkpoint, tmp_path, capsys):
    assert command(["bias", str(checkpoint), "--task", "cldr-facts-mono", "--results", str(tmp_path)]) == 2
    assert "--task cldr-facts-mono" in capsys.readouterr().err
    assert command(["bias", str(tmp_path / "no.json"), "--results", str(tmp_path)]) == 2
    assert f"{tmp_path / 'no.json'}" in capsys.readouterr().err
    assert command(["bias", str(checkpoint), "--plot", str(tmp_path / "bias.gif")]) == 2
    assert ".png, .svg or .pdf, not as '.gif'" in capsys.readouterr().err


def test_ranks_of_another_model_are_refused(checkpoint, tmp_path, capsys):
    arguments = ["--task", "cldr-facts-multi", "--languages", "de,en", "--results", str(tmp_path), "--format", "csv"]
    assert command(["bias", str(checkpoint), *arguments]) == 0
    other = torch_random_model(tmp_path / "other", seed=6)
    assert command(["bias", str(other), *arguments]) == 0
    mine, theirs = sorted(tmp_path.rglob("*.ranks.npz"))
    mine.write_bytes(theirs.read_bytes())
    capsys.readouterr()
    assert command(["bias", str(next(mine.parent.glob("Cldr*.json"))), "--format", "csv"]) == 5
    assert "CldrFactsMultilingualRetrieval_de_en.json has AP" in capsys.readouterr().err


def test_one_language_has_no_bias(checkpoint, tmp_path, capsys):
    arguments = ["--task", "cldr-facts-multi", "--languages", "en", "--results", str(tmp_path)]
    assert command(["bias", str(checkpoint), *arguments]) == 2
    assert "two languages" in capsys.readouterr().err


def test_command_finds_the_result_of_a_model_that_is_not_here(tmp_path, capsys):
    plant_fixture(tmp_path, "org/elsewhere", "1", by=0)
    (tmp_path / "org_elsewhere").rename(tmp_path / "org__elsewhere")
    arguments = ["--task", "cldr-facts-multi", "--languages", "de,en", "--results", str(tmp_path)]
    for name in ("org/elsewhere", "elsewhere@1"):
        assert command(["bias", name, *arguments]) == 0
        assert "org/elsewhere@1 on cldr-facts-multi[de,en]" in capsys.readouterr().out


def test_chance_is_beside_every_figure():
    bias_report = report(preferring()[1])
    assert {figure.measure for figure in bias_report.figures if figure.chance is None} == set()
    # 126 documents, 3 of them relevant: 127 * 2/4
    assert bias_report.figure("rank_distance").chance == 63.5
    assert bias_report.figure("same_language_excess@10").chance == 0
    header = bias_report.summary().header
    rows = {row[0]: row for row in bias_report.summary().rows}
    assert rows["rank_distance ↓"][header.index("chance")] == "63.5"
    # the answers are farther apart than at random, because other languages are last
    assert bias_report.diagnosis.endswith("of the 64 in a random ranking. This is no better than chance.")
    assert json.loads(bias_report.json())["measures"]["rank_distance"]["chance"] == 63.5


def test_view_of_a_user_turns_the_arrows():
    bias = preferring()[1]
    user = BiasReport.from_bias(bias, "toy-multi", "m", "s", None, view="user")
    names = [row[0] for row in user.summary().rows]
    assert names[:3] == ["LPR ↑", "same_language_excess@10 ↑", "first_right_own ↑"]
    assert "rank_distance ↓" not in names
    assert user.diagnosis.startswith(
        "The first answer is in the query's language for 100% of the queries (33% by chance). The first document is an "
        "answer in the query's language for "
    )
    assert "LPR ↓" in [row[0] for row in report(bias).summary().rows]


def test_command_shows_view_and_groups(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    arguments = ["bias", "bm25", "--task", "cldr-facts-multi", "--languages", "de,en,sw", "--results", str(tmp_path)]
    assert command([*arguments, "--view", "user", "--by", "family"]) == 0
    output = " ".join(capsys.readouterr().out.split())  # narrow tables break their titles
    assert "The first answer is in the query's language for" in output
    assert "TLR@10 by family of the query and of the answers in other languages" in output
    assert "Hubs: the number of top 10s" in output
    assert command([*arguments, "--by", "script", "--format", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert {stratum["queries"] for stratum in content["strata"]} == {"Latn"}
    assert set(content["hubness"]) == {"skewness", "chance", "languages", "hubs", "never"}
    assert command([*arguments, "--by", "scripts"]) == 2
