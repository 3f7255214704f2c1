"""Test comparisons: numbers from planted ranks, real evaluations, errors, and every format."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from scipy.special import stdtrit

import hbt_bench
from hbt_bench.cli.main import run
from hbt_bench.data.cldr import cldr_version
from hbt_bench.data.collection import TextlessCollection
from hbt_bench.data.judgements import Qrels
from hbt_bench.errors import DataError, ModelError, OutputError, UsageError
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.ranking.ranks import Ranks
from hbt_bench.reports.compare import compare
from hbt_bench.reports.table import Table
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.results.store import StoredRanks
from hbt_bench.tasks.registry import select_tasks
from tests.factories import torch_random_model

TASK = "cldr-facts-multi[de,en]"
FILE = "CldrFactsMultilingualRetrieval_de_en.json"
RANKS = "CldrFactsRetrieval_de_en.ranks.npz"

#: The ranks of the German and the English answer to three questions, in German and then in English. AP is 1, 1/2 and
#: 7/10 in German, 5/6, 1 and 7/24 in English; the rank distances are 1, 2, 4 and 2, 1, 2.
WORSE = [(1, 2), (2, 4), (1, 5), (1, 3), (1, 2), (4, 6)]
BEST = [(1, 2)] * 6


def plant(output, model, ranks, revision="1", languages=("de", "en"), **changes):
    """Write the result of a model that gives these ranks to the answers of n questions in two languages."""
    questions = len(ranks) // 2
    parts = {"task": TASK, "text": "sentence", "data": "d0", "model": f"{model}@{revision}", "prompt": "none"}
    parts |= {"ties": "docid-desc", "hbt": "0.1.0", "mteb": "2.26.24"} | changes.pop("signature", {})
    folder = output / model.replace("/", "__") / revision / changes.pop("experiment", "")
    numbers = np.arange(questions, dtype=np.int32)
    documents = np.stack([numbers, numbers + questions], axis=1)
    judgements = TextlessCollection(
        languages,
        Qrels(
            np.arange(2 * questions + 1) * 2,
            np.concatenate([documents, documents]).ravel(),
            np.ones(4 * questions, np.int16),
        ),
        np.repeat(np.arange(2, dtype=np.int16), questions),
        np.tile(numbers, 2),
        np.repeat(np.arange(2, dtype=np.int16), questions),
    )
    pool = np.array(ranks, np.int32).ravel()
    data = changes.pop("ranks_data", parts["data"])
    answers = np.concatenate([documents, documents])
    best = np.where(pool.reshape(-1, 2) == 1, answers, -1).max(axis=1)
    top = np.where(best < 0, 0, best).astype(np.int32)[:, None]  # another document if no answer is first
    StoredRanks(data, judgements, Ranks(pool, np.ones_like(pool), top)).write(folder / RANKS)
    about = {"task": TASK, "model": model, "revision": revision, "subsets": 2, "stock": False, "ranks": RANKS}
    if changes.pop("without_ranks", False):
        about["ranks"] = None
    about |= {"signature": "|".join(f"{key}:{value}" for key, value in parts.items())}
    entries = [{"hf_subset": f"{code}-multi"} | changes.pop("scores", {}) for code in languages]
    content = {"task_name": "CldrFactsMultilingualRetrieval_de_en", "scores": {"test": entries}}
    (folder / FILE).write_text(json.dumps(content | {"hbt_bench": about | changes}))
    (folder / "model_meta.json").write_text("{}")
    return folder


@pytest.fixture
def planted(tmp_path):
    """Return a folder with the results of two models on three questions in two languages."""
    plant(tmp_path, "local/worse", WORSE)
    plant(tmp_path, "local/best", BEST)
    return tmp_path


def on(output, models=("worse", "best"), tasks="cldr-facts-multi", **options):
    return compare(models, tasks, results=output, **{"languages": ("de", "en"), **options})


# Numbers


def test_values_and_differences_by_hand(planted):
    comparison = on(planted)
    first, second, third, fourth = comparison.rows
    assert [(row.measure, row.system) for row in comparison.rows] == [
        ("AP", "worse"),
        ("AP", "best"),
        ("rank_distance", "worse"),
        ("rank_distance", "best"),
    ]
    assert first.value == pytest.approx(((1 + 1 / 2 + 7 / 10) / 3 + (5 / 6 + 1 + 7 / 24) / 3) / 2)
    assert (second.value, fourth.value) == (1, 1)
    assert third.value == pytest.approx(((1 + 2 + 4) / 3 + (2 + 1 + 2) / 3) / 2)
    assert (first.difference, third.difference) == (None, None)
    assert second.interval == (1, 1)
    # over both languages the questions have AP 11/12, 3/4 and 119/240; the least and the greatest are the limits
    assert first.interval == pytest.approx((119 / 240, 11 / 12))

    gain = second.difference
    assert gain.value == pytest.approx(1 - first.value)
    # the resamples give 1/12 to 121/240, but the test of three questions cannot be significant
    assert gain.interval == pytest.approx((0, 121 / 240))
    assert (gain.p_raw, gain.p) == (2 / 8, 2 / 4)  # all 8 swaps are enumerated; Holm over 2 comparisons
    assert (gain.wins, gain.ties, gain.losses) == (3, 0, 0)
    differences = np.array([1 / 12, 1 / 4, 121 / 240])
    assert gain.effect_size == pytest.approx(differences.mean() / differences.std(ddof=1))

    shrunk = fourth.difference
    assert shrunk.value == -1
    assert (shrunk.wins, shrunk.ties, shrunk.losses) == (3, 0, 0)  # lower is better
    assert shrunk.effect_size == pytest.approx(-1 / np.array([0.5, 0.5, 2]).std(ddof=1))
    assert {row.verdict for row in comparison.rows} == {"baseline", "undecided"}


def test_conclusions_are_sentences_with_numbers(planted):
    assert on(planted).conclusions == [
        "best and worse do not differ significantly on cldr-facts-multi[de,en] AP: +0.2792 [0.0000, 0.5042], "
        "p = 0.5 (Holm, 2 comparisons)",
        "best and worse do not differ significantly on cldr-facts-multi[de,en] rank_distance: -1.0 [-2.0, 0.0], "
        "p = 0.5 (Holm, 2 comparisons)",
    ]
    plant(planted, "local/worse", [(2, 4)] * 20)
    plant(planted, "local/best", BEST[:2] * 10)
    assert on(planted).conclusions == [
        "best is better than worse on cldr-facts-multi[de,en] AP: +0.5000 [0.5000, 0.5000], "
        "p = 0.0039 (Holm, 2 comparisons)",
        "best is better than worse on cldr-facts-multi[de,en] rank_distance: -1.0 [-1.0, -1.0], "
        "p = 0.0039 (Holm, 2 comparisons)",
    ]
    assert on(planted, baseline="best", measures="rank_distance").conclusions == [
        "worse is worse than best on cldr-facts-multi[de,en] rank_distance: +1.0 [1.0, 1.0], "
        "p = 0.002 (Holm, 1 comparison)"
    ]


def test_rows_by_language_have_their_own_correction(planted):
    comparison = on(planted, measures="rank_distance", by_language=True)
    assert [(row.language, row.system) for row in comparison.language_rows] == [
        ("de", "worse"),
        ("de", "best"),
        ("en", "worse"),
        ("en", "best"),
    ]
    assert [row.value for row in comparison.language_rows] == pytest.approx([7 / 3, 1, 5 / 3, 1])
    german, english = (row.difference for row in comparison.language_rows if row.difference)
    assert (german.wins, german.ties, german.losses) == (2, 1, 0)
    # with probability 1/27, more than .025, a resample has the same question three times
    assert german.interval == pytest.approx((-3, 0))
    assert english.interval == pytest.approx((-1, 0))
    assert (german.p_raw, german.p, english.p) == (2 / 4, 1, 1)  # two questions differ, so 4 swaps; Holm over 2
    assert comparison.rows == on(planted, measures="rank_distance").rows
    assert comparison.rows[1].difference.p == 2 / 8
    assert "(over 2 in the tables by language)" in comparison.method()
    sentence = comparison.language_rows[1].conclusion("worse", 2)
    assert sentence.startswith(
        "best and worse do not differ significantly on cldr-facts-multi[de,en] rank_distance for quer"
    )


def test_baseline_can_be_any_model(planted):
    rows = on(planted, baseline="best", measures="AP").rows
    assert [row.verdict for row in rows] == ["undecided", "baseline"]
    assert rows[0].difference.value == pytest.approx(-on(planted, measures="AP").rows[1].difference.value)
    assert (rows[0].difference.wins, rows[0].difference.losses) == (0, 3)


def test_equal_results_have_no_difference(planted):
    comparison = on(planted, ("worse", "local/worse"))
    assert comparison.baseline == "local/worse@1 (1)"
    for row in comparison.rows[1::2]:
        gap = row.difference
        assert (gap.value, gap.interval, gap.p_raw, gap.p, gap.ties) == (0, (0, 0), 1, 1, 3)
        assert gap.effect_size == 0


def test_numbers_depend_only_on_the_seed(planted):
    generator = np.random.default_rng(1)
    for model in ("worse", "best"):
        plant(planted, f"local/{model}", generator.integers([1, 41], [41, 81], (80, 2)).tolist())
    assert on(planted).rows == on(planted).rows
    assert on(planted, seed=1).rows[1].difference.p != on(planted).rows[1].difference.p
    assert on(planted, seed=1).rows[1].difference.interval != on(planted).rows[1].difference.interval


def test_too_few_samples_are_noted(planted):
    assert on(planted).notes == ()
    assert on(planted, samples=30).notes == (
        "30 samples are too few: no difference can be significant in 2 comparisons",
    )


# Names of models


def test_models_are_found_by_name_revision_or_folder(planted):
    plant(planted, "local/worse", BEST, revision="2f")
    plant(planted, "org/worse", BEST, revision="3")
    with pytest.raises(UsageError, match=r"'worse' has several sets of results\..* local/worse@1, local/wor"):
        on(planted)
    for name, label in (
        ("local/worse@2", "worse"),
        ("worse@2f", "worse"),
        ("org/worse", "worse"),
        (str(planted / "local__worse" / "1"), "worse"),
        (planted / "org__worse", "worse"),
    ):
        assert on(planted, (name, "best")).baseline == label
    with pytest.raises(UsageError, match="has several sets of results"):
        on(planted, (planted / "local__worse", "best"))
    plant(planted, "best", BEST, revision="4")
    assert on(planted, ("local/worse@2", "best")).systems[1].folder == str(planted / "best" / "4")
    comparison = on(planted, ("worse@1", "worse@2f", "org/worse"))
    assert [system.label for system in comparison.systems] == ["worse@1", "worse@2f", "worse@3"]


def test_prompted_results_are_found_by_folder(planted):
    prompted = plant(planted, "local/worse", BEST, experiment="experiments/p", signature={"prompt": "0a1b2c3d"})
    comparison = on(planted, ("worse", prompted))
    labels = ["local/worse@1 prompt:none", "local/worse@1 prompt:0a1b2c3d"]
    assert [system.label for system in comparison.systems] == labels
    assert [system.prompt for system in comparison.systems] == ["none", "0a1b2c3d"]
    assert comparison.notes == ()


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        (["worse"], {}, "at least two models, but got 1"),
        (
            ["worse", "bets"],
            {},
            r"there is no result of bets on cldr-facts-multi\[de,en\] in .*; did you mean 'best'\?",
        ),
        (["worse", "best"], {"baseline": "bets"}, "the baseline 'bets' is not one of .*; did you mean 'best'"),
        (["worse", "best"], {"baseline": "org/x"}, r"the baseline 'org/x' is not one of .* \(worse, best\)"),
        (["worse", "best"], {"measures": "AQ"}, "unknown measure 'AQ'"),
        (["worse", "best"], {"tasks": "cldr-fact"}, "unknown task 'cldr-fact'; did you mean"),
        (["worse", "best"], {"tasks": "SciFact"}, "SciFact cannot be compared: it is MTEB's task"),
        (["worse", "best"], {"languages": ("dee",)}, "cldr-facts has no language 'dee'"),
        (["worse", "best"], {"samples": -5}, "samples is -5, but must be a whole number from 1"),
        (["worse", "best"], {"resamples": 0}, "resamples is 0, but must be a whole number from 1"),
        (["worse", "best"], {"seed": -1}, "seed is -1, but must be a whole number from 0"),
        (["worse", "best"], {"margin": -1.0}, "margin is -1.0, but must be a number above 0"),
    ],
)
def test_wrong_requests_are_usage_errors(planted, models, options, message):
    with pytest.raises(UsageError, match=message):
        on(planted, models, **options)


def test_rank_distance_needs_a_multilingual_task(tmp_path):
    for model in ("a", "b"):
        folder = plant(tmp_path, f"local/{model}", BEST)
        about = json.loads((folder / FILE).read_text().replace("-multi", "-mono"))
        (folder / "CldrFactsMonolingualRetrieval_de_en.json").write_text(json.dumps(about))
    assert [row.measure for row in on(tmp_path, ("a", "b"), "cldr-facts-mono").rows] == ["AP", "AP"]
    with pytest.raises(UsageError, match="rank_distance needs a multilingual task"):
        on(tmp_path, ("a", "b"), "cldr-facts-mono", measures="rank_distance")


# Refusals


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"signature": {"data": "d1"}},
            "worse and best cannot be compared on cldr-facts-multi[de,en]: their data differ (d0 and d1)",
        ),
        ({"signature": {"text": "context"}}, "their candidate texts differ (sentence and context)"),
        ({"signature": {"ties": "mteb"}}, "their tie rules differ (docid-desc and mteb)"),
        (
            {"subsets": 4},
            "the result of best on cldr-facts-multi[de,en] is incomplete (2 of 4 subsets). Run `hbt-bench",
        ),
        ({"without_ranks": True}, "the result of best on cldr-facts-multi[de,en] has no ranks"),
        (
            {"task": "cldr-facts-multi[de,sw]"},
            "is of cldr-facts-multi[de,sw], but cldr-facts-multi[de,en] was expected",
        ),
        ({"ranks_data": "d9"}, f"{RANKS} is of other data than {FILE} (d9, not d0). Run `hbt-bench"),
        ({"scores": {"AP": 0.5}}, f"{FILE} has AP 0.5, but {RANKS} gives 1."),
    ],
)
def test_results_that_cannot_be_compared(planted, changes, message):
    if "scores" in changes:  # in both languages
        folder = plant(planted, "local/best", BEST)
        (folder / FILE).write_text((folder / FILE).read_text().replace('-multi"}', '-multi", "AP": 0.5}'))
    else:
        plant(planted, "local/best", BEST, **changes)
    with pytest.raises(DataError, match=re.escape(message)):
        on(planted)


def test_different_versions_are_noted(planted):
    plant(planted, "local/best", BEST, signature={"mteb": "2.30.0"})
    assert on(planted).notes == (
        "the results were made by different versions of mteb: 2.26.24 for worse, 2.30.0 for best",
    )


def test_damaged_files_are_output_errors(planted):
    folder = plant(planted, "local/best", BEST)
    (folder / RANKS).write_bytes((folder / RANKS).read_bytes()[:-100])
    with pytest.raises(OutputError, match="cannot read the ranks"):
        on(planted)
    (folder / FILE).write_text("{")
    with pytest.raises(OutputError, match="is not a result of hbt-bench, or damaged"):
        on(planted)


def test_error_for_missing_result_has_the_command(planted, tmp_path):
    def message(*models, **options):
        with pytest.raises(DataError) as caught:
            on(planted, models, **options)
        return str(caught.value)

    assert message("worse", "org/model") == (
        f"there is no result of org/model on {TASK} in {planted}. Run "
        f"`hbt-bench run --model org/model --tasks cldr-facts-multi --languages de,en --output {planted}`."
    )
    assert message("worse", "bm25", tasks="cldr-facts-cross", languages=None).endswith(
        f"in {planted}. Run `hbt-bench run --model path/to/worse --tasks cldr-facts-cross --output {planted}`."
    )
    assert message("bm25", "worse").endswith(
        f"Run `hbt-bench run --model bm25 --tasks cldr-facts-multi --languages de,en --output {planted}`."
    )
    assert message("worse", "best", languages=None) == (
        f"there is no result of worse on cldr-facts-multi in {planted}, only with --languages de,en. Compare with "
        f"those, or run `hbt-bench run --model path/to/worse --tasks cldr-facts-multi --output {planted}`."
    )
    checkpoint = planted / "a model"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text("{}")
    assert message(checkpoint, "worse").endswith(
        f"`hbt-bench run --model '{checkpoint}' --tasks cldr-facts-multi --languages de,en --output {planted}`."
    )
    assert "`hbt-bench run --model bm25@k1.2-b0.75 --tasks" in message("bm25@k1.2-b0.75", "worse")
    plant(planted, "hbt-bench/bm25", BEST, revision="k0.9-b0.4-t2", languages=("de", "en"))
    plant(planted, "hbt-bench/bm25", BEST, revision="k1.5-b0.5-t2", languages=("de", "en"))
    for revision, model in (("k0.9-b0.4", "bm25"), ("k1.5-b0.5", "bm25@k1.5-b0.5")):
        text = message(f"bm25@{revision}", "worse", languages=None)
        assert f"or run `hbt-bench run --model {model} --tasks cldr-facts-multi --output" in text
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="holds no model"):
        on(planted, (tmp_path / "empty", "worse"))


# Formats


def test_json_has_everything(planted):
    comparison = on(planted, by_language=True)
    content = json.loads(comparison.json())
    assert len(content["rows"]) == len(comparison.rows) + len(comparison.language_rows)
    assert content["rows"][1] == {
        "task": TASK,
        "measure": "AP",
        "lower_is_better": False,
        "language": None,
        "system": "best",
        "baseline": "worse",
        "value": 1.0,
        "chance": pytest.approx((2.45 + (6 - 2.45) / 5) / 6),  # two of six documents; 2.45 = 1 + 1/2 + ... + 1/6
        "low": 1.0,
        "high": 1.0,
        "difference": pytest.approx(0.2791667),
        "difference_low": 0,
        "difference_high": pytest.approx(121 / 240),
        "p": 0.5,
        "p_raw": 0.25,
        "wins": 3,
        "ties": 0,
        "losses": 0,
        "effect_size": pytest.approx(1.3172754),
        "p_same": None,
        "margin": None,
        "shown": None,
        "verdict": "undecided",
    }
    assert content["rows"][0]["difference"] is None
    assert (content["comparisons"], content["language_comparisons"]) == (2, 4)
    assert (content["samples"], content["resamples"], content["seed"]) == (10_000, 2_000, 0)
    assert content["systems"][1]["signatures"][TASK].startswith(f"task:{TASK}|text:sentence|data:d0|model:local/best@1")
    assert content["systems"][1]["folder"] == str(planted / "local__best" / "1")


def test_margin_and_power(tmp_path):
    """Forty questions with equal ranks but for four, which differ both ways: the same within 0.2, not within 0.02."""
    worse = [(2, 4)] * 80
    best = [(1, 4), (2, 4), (3, 4), (2, 4)] * 2 + worse[8:]
    plant(tmp_path, "local/worse", worse)
    plant(tmp_path, "local/best", best)
    options = {"measures": "AP", "power": True}
    row = on(tmp_path, margin=0.2, **options).rows[1]
    assert row.verdict == "same"
    assert row.difference.p_same < 0.05
    error = row.difference.shown / (stdtrit(39, 0.975) + stdtrit(39, 0.8))
    low, high = row.difference.interval
    assert error == pytest.approx((high - low) / 2 / 1.96, rel=0.15)
    sentence = on(tmp_path, margin=0.2, **options).conclusions[0]
    assert "best and worse are the same within 0.2 on cldr-facts-multi" in sentence
    assert "shown from" in sentence
    assert on(tmp_path, margin=0.002, **options).rows[1].verdict == "undecided"
    note = "the margin is for measures up to 1, so rank_distance has no test of equality"
    assert note not in on(tmp_path, margin=0.2, **options).notes
    assert note in on(tmp_path, margin=5, measures="AP,rank_distance").notes


def test_csv_has_unrounded_numbers(planted):
    comparison = on(planted)
    rows = list(csv.DictReader(io.StringIO(comparison.csv())))
    for row, values in zip(rows, json.loads(comparison.json())["rows"], strict=True):
        assert row == {key: "" if value is None else str(value) for key, value in values.items()}
    assert float(rows[3]["difference"]) == -1.0
    assert rows[0]["difference"] == ""


def test_table_in_markdown_and_latex(planted):
    plant(planted, "local/worse", [(2, 4)] * 20)
    plant(planted, "local/best", BEST[:2] * 10)
    table = on(planted).table()
    assert table.markdown().splitlines() == [
        "| task | measure | system | value [95 %] | difference [95 %] | p | W/T/L | d |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
        "| cldr-facts-multi\\[de,en\\] | AP ↑ | worse | 0.5000 [0.5000, 0.5000] | - | - | - | - |",
        "| cldr-facts-multi\\[de,en\\] | AP ↑ | best | 1.0000 [1.0000, 1.0000] | **+0.5000 [0.5000, 0.5000]** | 0.0039 "
        "| 10/0/0 | - |",
        "| cldr-facts-multi\\[de,en\\] | AP ↑ | random ranking | 0.2231 | - | - | - | - |",
        "| cldr-facts-multi\\[de,en\\] | rank_distance ↓ | worse | 2.0 [2.0, 2.0] | - | - | - | - |",
        "| cldr-facts-multi\\[de,en\\] | rank_distance ↓ | best | 1.0 [1.0, 1.0] | **-1.0 [-1.0, -1.0]** | 0.0039 "
        "| 10/0/0 | - |",
        "| cldr-facts-multi\\[de,en\\] | rank_distance ↓ | random ranking | 7.0 | - | - | - | - |",
    ]
    latex = table.latex().splitlines()
    assert latex[0].startswith(
        "% Differences are from worse. 95 % intervals: bootstrap over 10 questions, 2,000 resamples."
    )
    assert latex[1:5] == [
        r"\begin{tabular}{lllrrrrr}",
        r"\toprule",
        r"task & measure & system & value [95 \%] & difference [95 \%] & p & W/T/L & d \\",
        r"\midrule",
    ]
    assert latex[-4:] == [
        r"cldr-facts-multi[de,en] & rank\_distance $\downarrow$ & best & 1.0 [1.0, 1.0] & "
        r"\textbf{$-$1.0 [$-$1.0, $-$1.0]} & 0.0039 & 10/0/0 & - \\",
        r"cldr-facts-multi[de,en] & rank\_distance $\downarrow$ & random ranking & 7.0 & - & - & - & - \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert "language" in on(planted, by_language=True).table().header


#: Characters that are commands in LaTeX, and how they are escaped.
SPECIAL = {
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
}


def test_latex_is_escaped():
    name = "".join(SPECIAL)
    table = Table((name, "p_1"), [[name, "-1"], ["[x]", "a-1"], ["* b", "-0.5 [-1, 2]"]], title="50 %\n\\input{x}")
    comment, *lines = table.latex().splitlines()
    assert comment == r"% 50 % \input{x}"  # a single line, so that all of it is commented out
    assert lines == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        "".join(SPECIAL.values()) + r" & p\_1 \\",
        r"\midrule",
        "".join(SPECIAL.values()) + r" & $-$1 \\",
        r"{}[x] & a-1 \\",  # without {} the bracket would be an argument of "\\\\"
        r"{}* b & $-$0.5 [$-$1, 2] \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_bold_cells_are_marked_in_each_format():
    table = Table(("a", "b"), [["1", "2"], ["3", "4"]], bold=frozenset({(1, 0)}))
    assert table.markdown().splitlines()[2:] == ["| 1 | 2 |", "| **3** | 4 |"]
    assert r"\textbf{3} & 4 \\" in table.latex()
    assert table.latex().count(r"\textbf") == 1


def test_latex_compiles(planted, tmp_path):
    pdflatex = shutil.which("pdflatex")
    if pdflatex is None:
        pytest.skip("needs pdflatex")
    table = Table(("".join(SPECIAL), "↑"), [["[" + "".join(SPECIAL) + "<>|", "-1 ↓"]], bold=frozenset({(0, 1)}))
    body = "\n\n".join([table.latex(), on(planted).table().latex()])
    text = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + body + "\n\\end{document}\n"
    (tmp_path / "table.tex").write_text(text)
    command = [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# The command line


@pytest.fixture
def hbt(capsys, planted, monkeypatch):
    """Return a function that runs `hbt-bench compare` on the planted results, in a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def hbt(*arguments):
        everything = [*arguments, "--tasks", "cldr-facts-multi", "--languages", "de,en", "--results", planted]
        code = run(["compare", *map(str, everything)])
        return (code, *capsys.readouterr())

    return hbt


def test_terminal_table_fits_80_columns(hbt):
    code, out, err = hbt("worse", "best")
    assert (code, err) == (0, "")
    lines = [line.rstrip() for line in out.splitlines()]
    assert max(map(len, lines)) <= 80
    assert lines[:9] == [
        "cldr-facts-multi[de,en], AP ↑",
        "system                     value        difference    p   W/T/L",
        "───────────────────────────────────────────────────────────────",
        "worse                     0.7208                 -    -       -",
        "                [0.4958, 0.9167]",
        "best                      1.0000           +0.2792  0.5   3/0/0",
        "                [1.0000, 1.0000]  [0.0000, 0.5042]       d 1.32",
        "random ranking            0.5267                 -    -       -",
        "",
    ]
    assert "- best and worse do not differ significantly on cldr-facts-multi[de,en]" in lines
    assert lines[-1].endswith("Seed 0.")


def test_numbers_are_whole_on_narrow_terminals(hbt, planted, monkeypatch):
    shutil.copytree(planted / "local__best", planted / "local__a-model-with-quite-a-long-name")
    path = planted / "local__a-model-with-quite-a-long-name" / "1" / FILE
    path.write_text(path.read_text().replace("local/best", "local/a-model-with-quite-a-long-name"))
    for columns in ("30", "60", "80"):
        monkeypatch.setenv("COLUMNS", columns)
        _, out, _ = hbt("worse", "a-model-with-quite-a-long-name", "--by-language")
        assert "[1.0000, 1.0000]  [0.0000, 0.5042]" in out
        assert "…" not in out
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 80


def test_command_prints_each_format(hbt, planted):
    for style, expected in (
        ("json", on(planted).json()),
        ("csv", on(planted).csv()),
        ("md", on(planted).table().markdown()),
        ("latex", on(planted).table().latex()),
    ):
        assert hbt("worse", "best", "--format", style) == (0, expected + "\n", "")


def test_command_passes_its_options(hbt, planted):
    options = ("--baseline", "best", "--measure", "AP,R@1", "--measure", "RR", "--seed", "3", "--format", "json")
    code, out, _ = hbt("worse", "best", *options, "--samples", "7", "--resamples", "50", "--by-language")
    expected = on(
        planted, baseline="best", measures=("AP", "R@1", "RR"), seed=3, samples=7, resamples=50, by_language=True
    )
    assert (code, json.loads(out)) == (0, json.loads(expected.json()))


def test_notes_of_pasted_formats_go_to_stderr(hbt, planted):
    plant(planted, "local/best", BEST, signature={"hbt": "9.9"})
    note = "the results were made by different versions of hbt-bench: 0.1.0 for worse, 9.9 for best"
    assert hbt("worse", "best", "--format", "csv")[2] == f"hbt-bench: {note}\n"
    code, out, err = hbt("worse", "best")
    assert (code, err) == (0, "")
    assert f"Note: {note}." in " ".join(out.split())


@pytest.mark.parametrize("option", ["--resamples", "--samples"])
def test_numbers_of_samples_are_limited(hbt, option):
    code, out, err = hbt("worse", "best", option, "1000000000000")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "1000000000000 is not in the range 1<=x<=10" in err


def test_errors_are_single_lines_with_exit_codes(hbt):
    code, out, err = hbt("worse", "bets")
    assert (code, out, err.count("\n")) == (2, "", 1)
    code, out, err = hbt("worse", "org/model")
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert hbt()[0] == 2


def test_command_imports_no_slow_library(planted):
    script = """
import sys
from hbt_bench.cli.main import run
code = run(sys.argv[1:])
slow = [name for name in ("torch", "mteb", "scipy", "transformers", "bm25s") if name in sys.modules]
sys.exit(f"{code} {slow}" if code or slow else 0)
"""
    arguments = ["worse", "best", "--tasks", "cldr-facts-multi", "--languages", "de,en", "--results", str(planted)]
    command = [sys.executable, "-c", script, "compare", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Real evaluations


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Evaluate BM25 and two models with random vectors in three languages; return the models and their results."""
    root = tmp_path_factory.mktemp("evaluated")
    models = [str(torch_random_model(root / name, seed)) for name, seed in (("first", 1), ("second", 2))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HBT_BENCH_CACHE", str(root / "cache"))
        for model in (*models, "bm25"):
            Evaluation(ModelRequest(model), select_tasks("cldr-facts"), root / "results", ("de", "en", "sw")).run()
    return ["bm25", *models], root / "results"


def test_values_equal_the_scores_of_results(evaluated):
    models, results = evaluated
    measures = ("AP", "RR", "nDCG@10", "R@1", "R@100", "P@10", "Success@10", "RR@10", "rank_distance")
    comparison = hbt_bench.compare(
        models, "cldr-facts", measures=measures, results=results, languages=("de", "en", "sw"), by_language=True
    )
    keys = {"P@10": "precision_at_10", "Success@10": "hit_rate_at_10", "RR@10": "mrr_at_10"}
    scores = {}
    for path in results.rglob("CldrFacts*.json"):
        result = hbt_bench.Result.read(path)
        scores[result.task, result.model.rpartition("/")[2]] = result
    assert len(comparison.rows) == 3 * (8 * 3) + 3
    for row in (*comparison.rows, *comparison.language_rows):
        result = scores[row.task, row.system]
        key = keys.get(row.measure, row.measure)
        expected = [
            subset[key] for name, subset in result.subsets.items() if row.language in (None, name.partition("-")[0])
        ]
        assert row.value == pytest.approx(np.mean(expected), abs=2e-6)
        rounding = 1e-15
        assert row.interval[0] - rounding <= row.value <= row.interval[1] + rounding
        assert row.interval[0] < row.interval[1] or row.value == 1


def test_single_language_has_no_rank_distance(evaluated, tmp_path):
    models = evaluated[0][:2]
    for model in models:
        Evaluation(ModelRequest(model), select_tasks("cldr-facts"), tmp_path, ("en",)).run()
    rows = compare(models, "cldr-facts", results=tmp_path, languages=("en",), by_language=True).rows
    assert [(row.task, row.measure) for row in rows[::2]] == [
        ("cldr-facts-mono[en]", "AP"),
        ("cldr-facts-multi[en]", "AP"),
    ]
    with pytest.raises(UsageError, match="nothing is left to compare"):
        compare(models, "cldr-facts-cross", results=tmp_path, languages=("en",))
    with pytest.raises(UsageError, match="nothing is left to compare"):
        compare(models, "cldr-facts-multi", None, "rank_distance", tmp_path, languages=("en",))


#: With CLDR 47, over 145 territories: task, measure, system, value, difference, p after Holm's correction, outcomes,
#: effect size.
GOLDEN = """
mono | AP ↑ | bm25 | 0.9553 [0.9364, 0.9727] | - | - | - | -
mono | AP ↑ | first | 0.3259 [0.2881, 0.3659] | -0.6294 [-0.6878, -0.5708] | 0.0008 | 1/7/174 | -2.14
mono | AP ↑ | second | 0.2803 [0.2435, 0.3203] | -0.6750 [-0.7312, -0.6187] | 0.0008 | 2/5/175 | -2.31
mono | AP ↑ | random ranking | 0.0318 | - | - | - | -
cross | AP ↑ | bm25 | 0.5123 [0.4549, 0.5708] | - | - | - | -
cross | AP ↑ | first | 0.0656 [0.0562, 0.0752] | -0.4467 [-0.5324, -0.3648] | 0.0008 | 35/0/147 | -1.18
cross | AP ↑ | second | 0.0694 [0.0589, 0.0810] | -0.4428 [-0.5271, -0.3620] | 0.0008 | 34/0/148 | -1.16
cross | AP ↑ | random ranking | 0.0318 | - | - | - | -
multi | AP ↑ | bm25 | 0.4991 [0.4687, 0.5320] | - | - | - | -
multi | AP ↑ | first | 0.1064 [0.0943, 0.1190] | -0.3927 [-0.4403, -0.3459] | 0.0008 | 2/0/180 | -1.67
multi | AP ↑ | second | 0.1010 [0.0887, 0.1144] | -0.3981 [-0.4444, -0.3502] | 0.0008 | 3/0/179 | -1.66
multi | AP ↑ | random ranking | 0.0162 | - | - | - | -
multi | rank_distance ↓ | bm25 | 257.3 [221.6, 292.9] | - | - | - | -
multi | rank_distance ↓ | first | 343.3 [328.4, 359.0] | +86.0 [29.9, 143.3] | 0.0008 | 59/0/123 | 0.34
multi | rank_distance ↓ | second | 321.0 [310.3, 331.7] | +63.7 [29.6, 97.4] | 0.0008 | 78/0/104 | 0.30
multi | rank_distance ↓ | random ranking | 273.5 | - | - | - | -
"""


def test_numbers_equal_the_golden_table(evaluated):
    models, results = evaluated
    if cldr_version() != "47":
        pytest.skip("the golden numbers are of CLDR 47")
    table = compare(models, "cldr-facts", results=results, languages=("de", "en", "sw")).table()
    table_text = "\n".join(" | ".join(row) for row in table.rows).replace("cldr-facts-", "").replace("[de,en,sw]", "")
    assert table_text == GOLDEN.strip()
