"""In Python, functions do the work of the commands, and objects have short descriptions, as text and for notebooks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import hbt_bench
from hbt_bench.cli.main import run
from hbt_bench.data.collection import Collection
from hbt_bench.errors import UsageError
from hbt_bench.measures.bias import Bias
from hbt_bench.reports.table import Table
from tests.factories import LANGUAGES, parallel_collection, torch_random_model

TASK = "cldr-facts-multi[de,en,sw]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of the results of two models."""
    folder = tmp_path_factory.mktemp("python") / "results"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HBT_BENCH_CACHE", str(folder.parent / "cache"))
        for seed in (1, 2):
            model = torch_random_model(folder.parent / f"model{seed}", seed=seed)
            hbt_bench.evaluate(str(model), TASK, folder)
    return folder


def printed(arguments, capsys):
    assert run([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def result_file(folder):
    return sorted(folder.glob("local__model1/*/CldrFactsMultilingual*.json"))[0]


def test_functions_return_what_commands_print(folder, capsys):
    path = result_file(folder)
    report = hbt_bench.bias(path)
    assert json.loads(report.json()) == json.loads(printed(["bias", path, "--format", "json"], capsys))
    by_name = hbt_bench.bias("model1", TASK, results=folder)
    assert by_name.json() == report.json()
    board = hbt_bench.leaderboard(folder, models="model1", sort="rank_distance")
    tables = printed(["leaderboard", folder, "--models", "model1", "--sort", "rank_distance", "--format", "md"], capsys)
    assert board.tables()[0].markdown() in tables
    assert [row.label.partition("@")[0] for row in board.rows] == ["local/model1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": "class"}, "by is 'class', but must be one of None, 'script', 'family', 'resources'"),
        ({"view": "User"}, "view is 'User', but must be one of 'fair', 'user'"),
        ({"task": "xquad-r-multi"}, r"is a result of cldr-facts-multi\[de,en,sw\], not of xquad-r-multi"),
        ({"languages": ["de", "en"]}, "has the languages de en sw, not only de en: leave the languages out"),
        ({"languages": "fr"}, "has no language 'fr'"),
    ],
)
def test_bias_of_a_result_refuses_another_request(folder, arguments, message):
    for source in (result_file(folder), hbt_bench.Result.read(result_file(folder))):
        with pytest.raises(UsageError, match=message):
            hbt_bench.bias(source, **arguments)


def test_bias_of_a_result_takes_its_own_task_and_languages(folder):
    path = result_file(folder)
    report = hbt_bench.bias(path).json()
    for task, languages in (("cldr-facts", "deu,en,sw"), ("cldr-facts-multi", ()), (TASK, ["sw", "en", "de"])):
        assert hbt_bench.bias(path, task, languages=languages).json() == report


def test_unknown_scale_of_a_study_is_refused():
    with pytest.raises(UsageError, match="scale is 'foo', but must be one of 'smoke', 'small', 'paper'"):
        hbt_bench.study("ood-low-resource", "foo")


def test_page_card_and_task_are_those_of_the_commands(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    hbt_bench.report(folder, "a.html", title="T", tasks=["cldr-facts"])
    printed(["report", folder, "--output", "b.html", "--title", "T", "--tasks", "cldr-facts"], capsys)
    assert Path("a.html").read_bytes() == Path("b.html").read_bytes()
    model = folder.parent / "model2"
    text = hbt_bench.card(model, folder).read_text()
    assert "model-index" in text
    printed(["card", model, "--results", folder], capsys)
    assert (model / "README.md").read_text() == text
    rows = [{"id": str(n), "query": f"question {n}?", "text": f"The answer is {n}.", "lang": "en"} for n in range(9)]
    Path("data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    draft = hbt_bench.draft_task("mine", "data.jsonl")
    text = draft.path.read_text()
    printed(["tasks", "new", "mine", "--from", "data.jsonl", "--overwrite"], capsys)
    assert draft.path.read_text() == text
    with pytest.raises(UsageError, match="delimiter"):
        hbt_bench.draft_task("mine", "data.jsonl", delimiter="two letters")


def test_exports_are_those_of_the_command(folder, tmp_path, capsys):
    made = hbt_bench.export(folder, "trec", tmp_path / "a", depth=5)
    printed(["export", "--for", "trec", folder, "--depth", 5, "--output", tmp_path / "b"], capsys)
    names = [path.relative_to(made) for path in sorted(made.rglob("*")) if path.is_file()]
    assert len(names) >= 4
    assert all((made / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
    with pytest.raises(UsageError, match="no layout 'hub'"):
        hbt_bench.export(folder, "hub")
    with pytest.raises(UsageError, match="--cluster is for --for queries"):
        hbt_bench.export(folder, "trec", cluster="article")
    for option in ("revision", "data_dir"):
        with pytest.raises(UsageError, match=f"--{option.replace('_', '-')} is for --for mteb-task"):
            hbt_bench.export(folder, "mteb-results", **{option: "abc"})
    with pytest.raises(UsageError, match="Add --hub ORG/NAME"):
        hbt_bench.export("xquad-r-multi", "mteb-task")


def test_training_is_that_of_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fields = {"strategy": "hybrid", "init": "static:8", "steps": 2, "batch_size": 8, "languages": ["de", "en"]}
    made = hbt_bench.train(**fields, vocabulary=400, guard=[])
    assert made == Path("hybrid-seed0")  # as the command names it
    flags = ["--strategy", "hybrid", "--init", "static:8", "--steps", 2, "--batch-size", 8, "--languages", "de,en"]
    printed(["train", *flags, "--vocabulary", 400, "--guard", "", "--output", "other"], capsys)
    weights = [next(path.rglob("model.safetensors")).read_bytes() for path in (made, Path("other"))]
    assert weights[0] == weights[1]


def test_plots_are_charts(folder):
    altair = pytest.importorskip("altair")
    report = hbt_bench.bias(result_file(folder))
    board = hbt_bench.leaderboard(folder)
    for shown in (report, board):
        chart = hbt_bench.plot(shown)
        assert isinstance(chart, altair.TopLevelMixin)
        assert "model1" in chart.to_json() or shown is report
    both = hbt_bench.leaderboard(folder)
    object.__setattr__(both, "boards", both.boards * 2)
    with pytest.raises(UsageError, match="a single collection"):
        hbt_bench.plot(both)


def test_descriptions_are_short(folder):
    selection = hbt_bench.select_tasks("cldr-facts")[0]
    collection = selection.spec.load(LANGUAGES)
    result = hbt_bench.leaderboard(folder).rows[0].sources["multi"][0]
    stored = result.stored_ranks()
    comparison = hbt_bench.compare(["model1", "model2"], TASK, results=folder, samples=99, resamples=50)
    shown = {
        repr(collection): "Collection('cldr-facts', 546 queries and 546 documents in 3 languages: de, en, sw)",
        repr(stored.judgements): "TextlessCollection(546 queries and 546 documents in 3 languages: de, en, sw)",
        repr(collection.qrels): "Qrels(1,638 judgements of 546 queries)",
        repr(stored.ranks): "Ranks(1,638 ranks of 546 queries)",
        repr(selection): "Selection(cldr-facts: mono, cross, multi)",
        repr(hbt_bench.leaderboard(folder)): "Leaderboard(cldr-facts[de,en,sw]: 2 models)",
        repr(comparison): "Comparison(model1 with model2)",
        repr(Table(("a", "b\nc"), [["1", "2"]])): "Table(a, b c)",
    }
    assert list(shown) == list(shown.values())
    scores = ", ".join(f"{name} {result.scores[name]:.4g}" for name in ("AP", "R@1", "R@10"))
    assert repr(result) == f"Result({TASK} of {result.label}: {scores})"
    others = (Bias(stored.judgements, stored.ranks), stored, hbt_bench.bias(result), comparison.systems)
    assert max(len(repr(value)) for value in others) < 800


def test_tables_for_notebooks_escape_foreign_text(folder):
    result = hbt_bench.Result.read(result_file(folder))
    object.__setattr__(result, "model", "<script>x</script>")
    report = hbt_bench.bias(result)
    table = Table(("<script>", "AP"), [["<script>", "0.1"]], title="<script>")
    collection = parallel_collection(2)
    object.__setattr__(collection, "name", "<script>")
    assert isinstance(collection, Collection)
    board = hbt_bench.leaderboard(folder)
    comparison = hbt_bench.compare(["model1", "model2"], TASK, results=folder, samples=99, resamples=50)
    for value in (result, report, table, collection, board, comparison):
        html = value._repr_html_()
        assert "<table" in html
        assert "<script" not in html
    assert f"{result.scores['AP']:.4f}" in result._repr_html_()
    assert comparison.conclusions[0][:-1] in board._repr_html_() + comparison._repr_html_()


def test_notebook_runs(tmp_path, monkeypatch):
    shell_module = pytest.importorskip("IPython.core.interactiveshell", reason="pip install ipykernel")
    path = Path(__file__).resolve().parent.parent / "examples" / "notebook.ipynb"
    if not path.is_file():
        pytest.skip("the examples are missing")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in cells), "clear the outputs before committing"
    shell = shell_module.InteractiveShell()
    shown = []
    for cell in cells:
        outcome = shell.run_cell("".join(cell["source"]), store_history=False)
        outcome.raise_error()
        if outcome.result is not None:
            shown.append(shell.display_formatter.format(outcome.result)[0])
    assert len(shown) == 8
    assert all("text/html" in data for data in shown[1:])
    texts = [data["text/plain"] for data in shown]
    assert texts[1].startswith("Result(cldr-facts-multi[de,en,sw] of me/hybrid@")
    assert texts[2].startswith("BiasReport(me/monolingual@")
    assert texts[4] == "Comparison(monolingual with hybrid)"
    assert texts[5] == "Leaderboard(cldr-facts[de,en,sw]: 2 models)"
    assert "difference" in texts[7]
