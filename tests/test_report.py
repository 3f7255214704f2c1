"""The results page: its values, its file, and the page in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import hbt_bench
from hbt_bench.cli.main import run as command
from hbt_bench.errors import UsageError
from hbt_bench.identity.task_name import MODES
from hbt_bench.reports.leaderboard_rows import LeaderboardRow, ResultFilter
from hbt_bench.reports.page import ReportRequest, results_page, sweep
from hbt_bench.reports.render import html, is_page
from hbt_bench.results.store import Result, read_all
from tests import browser
from tests.factories import FIXTURE, TestEncoder, hashed, plant_fixture

EVIL = "<img src=x onerror=alert(1)>"
TRAINED = {"init": "xlm-r", "steps": 600, "pairs_seen": 76800}
QUESTION = "</script><script>alert(2)</script><b onclick=alert(3)>متى ولدت؟</b> &amp; ${1}"


def all_results(folder):
    return [result for result in read_all(folder) if isinstance(result, Result)]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """50 models: BM25, a model whose name is markup, and a sweep over alpha with four seeds."""
    output = tmp_path_factory.mktemp("results")
    shutil.copytree(FIXTURE, output, dirs_exist_ok=True)
    plant_fixture(output, EVIL, "0000000000000001", 3)
    for number in range(48):
        strategy, alpha = ("hybrid", "mixed")[number % 2], (number // 2 % 6) / 5
        recipe = {"strategy": strategy, "alpha": alpha, "seed": number // 12, **TRAINED}
        if number == 47:
            # the end of the hybrid curve at alpha 1
            recipe = {"strategy": "monolingual", "alpha": 0.5, "seed": 1, **TRAINED}
        if number == 45:
            recipe = {**recipe, "steps": 99}  # another training, so not on the curve
        plant_fixture(output, f"local/{strategy}-{number:02}", f"{number + 16:016x}", number % 12, recipe)
    return output


@pytest.fixture(scope="module")
def content(results):
    return ReportRequest(baseline="bm25").content(all_results(results))


@pytest.fixture(scope="module")
def report(content, tmp_path_factory):
    pytest.importorskip("vl_convert", reason="the extra report is not installed")
    changed = json.loads(json.dumps(content))
    rows = changed["boards"][0]["rows"]
    evil = next(row for row in rows if row["label"].startswith(EVIL))
    evil["details"]["worst"][0]["text"] = QUESTION
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(results_page(changed, f"Report of {EVIL}"), encoding="utf-8")
    return path


# Values


def test_content_has_the_numbers_of_the_results(content):
    [board] = content["boards"]
    assert (board["collection"], board["languages"], len(board["rows"])) == ("cldr-facts[de,en]", ["de", "en"], 50)
    row = next(row for row in board["rows"] if row["label"] == "hbt-bench/bm25@k0.9-b0.4")
    result = Result.read(next(FIXTURE.rglob("*Multilingual*.json")))
    mono = Result.read(next(FIXTURE.rglob("*Monolingual*.json")))
    cross = Result.read(next(FIXTURE.rglob("*CrossLingual*.json")))
    assert row["values"]["multi:AP"] == pytest.approx(result.scores["AP"])
    assert row["signatures"]["multi"] == result.signature
    assert row["details"]["ap"] == [
        [mono.subsets["de"]["AP"], cross.subsets["de-en"]["AP"]],
        [cross.subsets["en-de"]["AP"], mono.subsets["en"]["AP"]],
    ]
    # the matrices of the result, written by the evaluation
    de, en = (result.subsets[f"{code}-multi"] for code in ("de", "en"))
    assert row["details"]["ranks"] == [[round(row["mean_rank_de"]), round(row["mean_rank_en"])] for row in (de, en)]
    assert row["details"]["shares"] == [
        [round(100 * row["top10_share_de"]), round(100 * row["top10_share_en"])] for row in (de, en)
    ]
    assert sum(row["details"]["distances"]) == pytest.approx(1, abs=0.005)
    assert row["details"]["mean"] == pytest.approx(result.scores["rank_distance"], abs=0.01)
    assert row["details"]["random"] == pytest.approx((364 + 1) * (2 - 1) / (2 + 1))
    distances = [query["rank_distance"] for query in row["details"]["worst"]]
    assert len(distances) == 10
    assert distances[0] == max(distances)


def test_pure_strategies_are_the_ends_of_a_sweep(content):
    [board] = content["boards"]
    points = [point for point in board["sweep"] if point["measure"] == "multi AP"]
    lines = {name: [point for point in points if point["line"] == name] for name in {point["line"] for point in points}}
    assert {name: len(line) for name, line in lines.items()} == {
        "hybrid, xlm-r, 600 steps of 128": 24 + 1,
        "mixed, xlm-r, 600 steps of 128": 22,
    }
    hybrid = lines["hybrid, xlm-r, 600 steps of 128"]
    assert [point["alpha"] for point in hybrid if point["strategy"] == "monolingual"] == [1.0]
    assert {point["alpha"] for point in hybrid} == {0, 0.2, 0.4, 0.6, 0.8, 1}
    for point in points:
        assert point["value"] == board["rows"][point["row"]]["values"]["multi:AP"]


def model(strategy, alpha, init="a", steps=10, pairs=80, data="d 1"):
    training = {"strategy": strategy, "alpha": alpha, "seed": 0, "init": init, "steps": steps, "pairs_seen": pairs}
    training["data"] = data
    return LeaderboardRow("x", "d", strategy, "1", "measured", values={("multi", "AP"): 0.5}, training=training)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([model("cross-lingual", 0.5), model("hybrid", 0.5), model("monolingual", 0.5)], [0.5, 0.0, 1.0]),
        ([model("hybrid", 0.5), model("hybrid", 0.25)], [0.5, 0.25]),
        ([model("hybrid", 0.5), model("hybrid", 0.5)], []),
        ([model("cross-lingual", 0.0), model("monolingual", 1.0)], []),  # both ends, but nothing between them
        ([model("hybrid", 0.5), model("monolingual", 1.0, init="b")], []),
        ([model("hybrid", 0.5), model("hybrid", 0.25, steps=20)], []),
        ([model("hybrid", 0.5), model("hybrid", 0.25, pairs=160)], []),
        ([model("hybrid", 0.5), model("hybrid", 0.25, data="d 2")], []),
        ([model("hybrid", 0.5), model("monolingual", 1.0, data="d 2")], []),
        ([model("mixed", 0.5), model("monolingual", 1.0)], []),
        ([LeaderboardRow("x", "d", "m", "1", "measured")], []),
    ],
)
def test_models_of_a_sweep(rows, expected):
    assert [point["alpha"] for point in sweep(rows)] == expected


def test_names_of_curves_differ_if_data_differ():
    rows = [model("hybrid", alpha, data=data) for data in ("d 1", None) for alpha in (0.25, 0.5)]
    rows += [model("mixed", alpha) for alpha in (0.25, 0.5)]
    assert [(point["line"], point["row"]) for point in sweep(rows)] == [
        ("hybrid, a, 10 steps of 8, data d 1", 0),
        ("hybrid, a, 10 steps of 8, data d 1", 1),
        ("hybrid, a, 10 steps of 8, data unknown", 2),
        ("hybrid, a, 10 steps of 8, data unknown", 3),
        ("mixed, a, 10 steps of 8", 4),
        ("mixed, a, 10 steps of 8", 5),
    ]


def test_answers_without_translations_have_no_distances():
    """SciFact has no rank distance, and bitext pools have no mono mode either."""
    published = all_results(Path(__file__).parents[1] / "results")
    request = ReportRequest(ResultFilter(tasks=("scifact-beir", "flores-ood")))
    boards = {board["collection"]: board for board in request.content(published)["boards"]}
    row = boards["scifact-beir"]["rows"][0]
    assert (row["details"]["distances"], list(row["details"]["worst"]), row["details"]["mean"]) == ([], [], None)
    assert row["values"]["mono:AP"] > 0.5
    assert all(row["values"].get("mono:AP") is None for row in boards["flores-ood[en,sw,yo]"]["rows"])


def test_comparison_uses_the_baseline(content):
    comparison = content["boards"][0]["comparison"]
    assert comparison["table"]["title"].startswith("Differences are from bm25.")
    assert comparison["notes"][-1] == "Only the best 10 of 50 models are compared."


def test_unknown_baseline_is_an_error(results):
    with pytest.raises(UsageError, match="baseline 'bm26'"):
        ReportRequest(baseline="bm26").content(all_results(results))
    with pytest.raises(UsageError, match=r"no model's name .* x"):
        ReportRequest(ResultFilter(models=("x",))).content(all_results(results))


def test_baseline_is_one_complete_model(tmp_path, messages):
    shutil.copytree(FIXTURE, tmp_path, dirs_exist_ok=True)
    for number in range(2):
        plant_fixture(tmp_path, "local/a", f"{number}" * 16, number)
    for path in tmp_path.glob("local_a/1*/*Mono*.json"):
        path.unlink()
    [board] = ReportRequest(baseline="local/a@11111111").content(all_results(tmp_path))["boards"]
    assert "no comparison with local/a@11111111 on cldr-facts[de,en], where it lacks a mode or its ranks" in messages
    assert "Differences are from local/a@11111111" not in board["comparison"]["table"]["title"]
    with pytest.raises(UsageError, match="2 models have the name of the baseline 'a': choose local/a@00000000 or"):
        ReportRequest(baseline="a").content(all_results(tmp_path))


def test_only_the_best_models_have_details(results, monkeypatch, messages):
    from hbt_bench.reports import page as module

    monkeypatch.setattr(module, "DETAILED", 3)
    [board] = ReportRequest().content(all_results(results))["boards"]
    assert [row["details"] is not None for row in board["rows"]] == [True] * 3 + [False] * 47
    assert any("cldr-facts[de,en]" in message and "the best 3 of 50 models" in message for message in messages)


def test_selected_languages_have_no_comparison(results):
    [board] = ReportRequest(ResultFilter(languages=("de",))).content(all_results(results))["boards"]
    assert board["comparison"] is None
    assert len(board["rows"]) == 50


def test_texts_of_other_data_are_left_out(tmp_path, monkeypatch, messages):
    shutil.copytree(FIXTURE, tmp_path / "results")
    stored = all_results(tmp_path / "results")
    data = stored[0].fields["data"]
    changed = [replace(result, signature=result.signature.replace(data, "f" * 16)) for result in stored]
    [board] = ReportRequest().content(changed)["boards"]
    assert not board["texts"]
    assert any(f"of data {'f' * 16}, but the data here are {data}" in message for message in messages)
    assert [row["details"] for row in board["rows"]] == [None]  # the ranks are of other data too


def test_results_without_ranks_have_no_details():
    unranked = [replace(result, ranks=None) for result in all_results(FIXTURE)]
    [board] = ReportRequest().content(unranked)["boards"]
    assert [row["details"] for row in board["rows"]] == [None]


def test_level_of_the_clusters_is_on_the_page(tmp_path, caplog):
    for number in (8, 16):
        encoder = TestEncoder(hashed(number), f"tests/hash{number}")
        hbt_bench.evaluate(encoder, "cldr-facts", tmp_path, languages=["de", "en"])
    for cluster, words in (("article", "clusters by territory"), ("question", "182 questions")):
        [board] = ReportRequest(cluster=cluster).content(all_results(tmp_path))["boards"]
        assert board["clusters"].endswith(words)
        assert f"bootstrap over {board['clusters']}," in board["comparison"]["table"]["title"]
    assert "cldr-facts[de,en] has no clusters by 'article': its usual level is used" in caplog.text


CHART_VALUES = {
    "tradeoff": [
        {"model": name, "measured": name < "b", "picked": name < "c", "distance": 9, **dict.fromkeys(MODES, 0.5)}
        | {"random_multi": 0.1, "random_distance": 12}
        for name in "abc"
    ]
    + [{"model": "d", "picked": True, "mono": 0.6, "multi": 0.4, "from_mono": 0.5, "from_multi": 0.1}],
    "distances": [{"model": name, "shares": [0.5] * 40, "pool": 80, "random": 1} for name in "ab"],
    "alpha": [
        {"line": "a", "strategy": "b", "alpha": alpha, "seed": seed, "measure": "mono AP", "value": 0.1 * seed}
        for alpha in (0, 0.5, 1)
        for seed in (1, 2)
    ],
}


@pytest.mark.parametrize(("name", "marks"), [("tradeoff", 9 + 1 + 2), ("distances", 3), ("alpha", 6 + 2)])
def test_chart_has_a_mark_per_value(name, marks):
    pytest.importorskip("altair", reason="the extra report is not installed")
    from hbt_bench.reports.charts import PAGE_CHARTS
    from hbt_bench.reports.render import svg

    chart = PAGE_CHARTS[name].draw(CHART_VALUES[name])
    if chart.to_dict().get("width") == "container":
        chart = chart.properties(width=300)
    drawn = svg(chart)
    assert len(re.findall(r'aria-roledescription="(?:point|rule|line mark|area mark|rule mark)"', drawn)) == marks
    assert drawn.count(">random ranking<") == (name != "alpha")  # the legend
    assert svg(chart) == drawn


def test_charts_get_the_values_of_the_content(content):
    pytest.importorskip("altair", reason="the extra report is not installed")
    from hbt_bench.reports.charts import PAGE_CHARTS

    [board] = content["boards"]
    values = {name: list(chart.values(board)) for name, chart in PAGE_CHARTS.items()}
    assert {name: len({value["row"] for value in records}) for name, records in values.items()} == {
        "tradeoff": 50,
        "distances": 50,
        "alpha": 47,
    }
    row = board["rows"][values["distances"][0]["row"]]
    assert values["distances"][0]["shares"] == row["details"]["distances"]
    assert values["tradeoff"][0] == {
        "row": 0,
        **{mode: board["rows"][0]["values"][f"{mode}:AP"] for mode in MODES},
        "distance": board["rows"][0]["values"]["multi:rank_distance"],
        **dict.fromkeys(("from_mono", "from_cross", "from_multi", "from_distance")),
        **{f"random_{name}": board["chance"][f"{name}:AP"] for name in ("cross", "multi")},
        "random_distance": board["chance"]["multi:rank_distance"],
    }
    details = row["details"]
    assert board["chance"]["multi:rank_distance"] == pytest.approx(details["random"])
    headings = {value["measure"] for value in values["alpha"]}
    assert f"multi AP (random ranking {board['chance']['multi:AP']:.4f})" in headings


def test_corrected_model_has_an_arrow_from_itself():
    pytest.importorskip("altair", reason="the extra report is not installed")
    from hbt_bench.reports.charts import PAGE_CHARTS

    revisions = {"1-bf16": 0.7, "1-bf16-center-on-own": 0.6, "1-center-on-own": 0.5}  # the last has no plain self
    rows = [
        {"label": f"me/a@{revision}", "incomplete": [], "values": {"mono:AP": ap, "multi:rank_distance": 9 * ap}}
        for revision, ap in revisions.items()
    ]
    plain, corrected, other = PAGE_CHARTS["tradeoff"].values({"rows": rows, "chance": {}})
    assert (corrected["from_mono"], corrected["from_distance"], corrected["from_multi"]) == (0.7, 9 * 0.7, None)
    assert plain["from_mono"] is other["from_mono"] is None


# The file


def test_page_contains_everything_it_shows(report, content):
    text = report.read_text()
    assert report.stat().st_size < 5_000_000
    assert "default-src 'none'; script-src 'sha256-" in text
    outside = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", outside)
    assert EVIL not in outside
    assert "&lt;img src=x onerror=alert(1)&gt;" in outside
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]
    assert "<" not in data
    assert json.loads(data)["boards"][0]["collection"] == content["boards"][0]["collection"]


def test_command_writes_the_page(tmp_path, capsys):
    pytest.importorskip("vl_convert", reason="the extra report is not installed")
    output = tmp_path / "report.html"
    assert command(["report", str(FIXTURE), "--output", str(output), "--title", "A & B"]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    assert "<title>A &amp; B</title>" in output.read_text()
    assert command(["report", str(tmp_path), "--output", str(output)]) == 5
    assert "there are no results" in capsys.readouterr().err


def test_file_of_another_program_is_not_replaced(tmp_path, capsys):
    output = tmp_path / "index.html"
    output.write_text('<!DOCTYPE html>\n<html lang="en"><head><title>My page</title></head></html>')
    before = output.read_bytes()
    assert command(["report", str(FIXTURE), "--output", str(output)]) == 5
    assert f"{output} is not a page of hbt-bench: choose another --output" in capsys.readouterr().err
    assert output.read_bytes() == before
    assert is_page(b"")
    assert is_page(html("study.html", title="t", question="q", answer="a", sections=[]).encode())


# A real browser


@pytest.fixture(scope="module")
def window():
    browser.require()
    with browser.chromium() as window:
        yield window


@pytest.fixture
def driver(window, report):
    """The page, opened again: a test does not see the picks or messages of another test."""
    for log in ("browser", "performance"):
        window.get_log(log)
    browser.open_report(window, report)
    return window


def names(driver):
    """Return the models of the leaderboard in order, without the hidden models."""
    return driver.execute_script(
        "return [...document.querySelectorAll('.leaderboard tbody tr')].filter(row => !row.hidden)"
        ".map(row => row.querySelector('th').textContent)"
    )


def select(driver, name, value):
    driver.execute_script(
        "const element = document.getElementById(arguments[0]); element.value = arguments[1];"
        "element.dispatchEvent(new Event('change'))",
        name,
        value,
    )


def test_page_logs_nothing_and_loads_nothing(driver, report):
    problems = [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert problems == []
    addresses = browser.requests(driver)
    assert addresses == [report.resolve().as_uri()]


def test_markup_in_texts_stays_text(driver, content):
    assert driver.execute_script("return document.querySelectorAll('#main img, #main script, #main b').length") == 0
    assert any(name.startswith(EVIL) for name in names(driver))
    index = next(index for index, row in enumerate(content["boards"][0]["rows"]) if row["label"].startswith(EVIL))
    select(driver, "model", str(index))
    assert driver.execute_script("return document.querySelector('#worst .text').textContent") == QUESTION
    assert driver.execute_script("return document.querySelector('#worst .text').dir") == "auto"
    assert driver.title == f"Report of {EVIL}"


def test_columns_sort_in_both_directions(driver, content):
    columns = content["boards"][0]["columns"]
    index = next(index for index, column in enumerate(columns) if column["name"] == "multi:rank_distance")
    values = {row["label"]: row["values"]["multi:rank_distance"] for row in content["boards"][0]["rows"]}
    button = driver.find_element("css selector", f'th[data-column="{index}"] button')
    button.click()
    low_first = [values[name] for name in names(driver)]
    assert low_first == sorted(values.values())
    assert button.find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    button.send_keys("\n")  # by keyboard
    assert [values[name] for name in names(driver)] == sorted(values.values(), reverse=True)
    assert driver.execute_script("return document.querySelectorAll('th[aria-sort]').length") == 1


def test_caption_names_order_and_measure_of_ranks(driver, content):
    """The ranks stay ranks by AP in the pool when the order changes."""
    caption = "return document.querySelector('.leaderboard caption').textContent"
    heading = driver.find_element("css selector", "th.rank button")
    assert heading.text == "rank by multi AP"
    ranks = {row["label"]: str(row["rank"] or "-") for row in content["boards"][0]["rows"]}
    for name, order in (("rank", "rank, ascending"), ("mono:AP", "mono AP ↑, descending")):
        columns = [column["name"] for column in content["boards"][0]["columns"]]
        button = driver.find_element("css selector", f'th[data-column="{columns.index(name)}"] button')
        driver.execute_script("arguments[0].click()", button)
        shown = driver.execute_script(caption)
        assert shown.startswith("Leaderboard of cldr-facts[de,en], sorted by ")
        assert shown.endswith("; ranks are by multi AP; 182 questions")
        assert order in shown
        cells = driver.execute_script(
            "return [...document.querySelectorAll('.leaderboard tbody tr')]"
            ".map(row => [row.querySelector('th').textContent, row.querySelectorAll('td')[1].textContent])"
        )
        assert dict(cells) == ranks


def test_models_are_filtered_by_name(driver):
    field = driver.find_element("id", "find")
    field.send_keys("HYBRID-0")
    assert sorted(name[:15] for name in names(driver)) == [f"local/hybrid-0{number}" for number in (0, 2, 4, 6, 8)]
    assert driver.execute_script("return document.getElementById('status').textContent") == "5 of 50 models."
    driver.execute_script(
        "const field = document.getElementById('find'); field.value = ''; field.dispatchEvent(new Event('input'))"
    )
    assert len(names(driver)) == 50


def test_heat_map_shows_the_numbers(driver, content):
    rows = content["boards"][0]["rows"]
    index, row = next((index, row) for index, row in enumerate(rows) if "bm25" in row["label"])
    select(driver, "model", str(index))
    for measure, digits in (("ap", 2), ("ranks", 0), ("shares", 0)):
        select(driver, "measure", measure)
        shown = driver.execute_script(
            "return [...document.querySelectorAll('.heat tbody tr')].map(row => "
            "[...row.querySelectorAll('td')].map(cell => cell.textContent))"
        )
        assert shown == [[f"{value:.{digits}f}" for value in line] for line in row["details"][measure]]
    colours = driver.execute_script(
        "return [...document.querySelectorAll('.heat td')].map(cell => cell.style.backgroundColor)"
    )
    assert len(set(colours)) > 1
    assert "hbt-bench/bm25" in driver.execute_script("return document.querySelector('.heat caption').textContent")


def marks(driver, chart, role):
    return driver.execute_script(
        "return document.querySelectorAll(`#${arguments[0]} [aria-roledescription='${arguments[1]}']`).length",
        chart,
        role,
    )


def test_charts_follow_the_picked_models(driver):
    assert marks(driver, "tradeoff", "point") == 3 * 50
    assert marks(driver, "distances", "line mark") == 3
    assert marks(driver, "alpha", "point") == 4 * 47  # 25 hybrid and 22 mixed models
    assert marks(driver, "alpha", "line mark") == 4 * 2
    boxes = driver.find_elements("css selector", ".leaderboard .pick input")
    picked = [box for box in boxes if box.is_selected()]
    assert len(picked) == 3
    picked[0].click()
    wait(driver, lambda: marks(driver, "distances", "line mark") == 2)
    others = [box for box in boxes if not box.is_selected()][:7]
    for box in others:
        box.click()
    assert [box.is_selected() for box in others] == [True] * 6 + [False]  # eight at most
    wait(driver, lambda: marks(driver, "distances", "line mark") == 8)


def wait(driver, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 20).until(lambda driver: condition())


def test_link_opens_the_signature(driver, content):
    link = driver.find_element("css selector", '.leaderboard a[href$="-multi"]')
    driver.execute_script("arguments[0].click()", link)
    target = driver.find_element("id", link.get_attribute("href").partition("#")[2])
    assert target.is_displayed()
    assert target.text.split()[-1].startswith("task:cldr-facts-multi[de,en]|")


def test_every_number_links_to_its_signature(driver, content):
    """Numbers are in the leaderboard, the heat map, the charts, the questions and the comparison."""
    rows = content["boards"][0]["rows"]
    index = next(index for index, row in enumerate(rows) if "bm25" in row["label"])
    select(driver, "model", str(index))
    unsigned = """
    return [...document.querySelectorAll(arguments[0])].filter((cell) => cell.checkVisibility()
      && /[0-9]/.test(cell.textContent) && !cell.querySelector('a[href^="#s-"]')).map((cell) => cell.textContent)
    """
    assert driver.execute_script(unsigned, ".leaderboard tbody td") == []
    multi = [["multi", "multi"], ["multi", "multi"]]
    modes_of_cells = {"ap": [["mono", "cross"], ["cross", "mono"]], "ranks": multi, "shares": multi}
    for measure, modes in modes_of_cells.items():
        select(driver, "measure", measure)
        assert driver.execute_script(unsigned, ".heat td") == []
        addresses = driver.execute_script(
            "return [...document.querySelectorAll('.heat tbody tr')].map(row => [...row.querySelectorAll('a')]"
            ".map(link => link.getAttribute('href')))"
        )
        assert addresses == [[f"#s-0-{index}-{mode}" for mode in line] for line in modes]
    targets = "return [...document.querySelectorAll(arguments[0])].map(link => link.getAttribute('href').slice(1))"
    links = {name: driver.execute_script(targets, f"{name} a") for name in SIGNED}
    assert len(links["#tradeoff-signed"]) == 3 * len(rows)
    assert len(links["#alpha-signed"]) == 3 * 47
    assert links["#model-signed"] == [f"s-0-{index}-{mode}" for mode in ("mono", "cross", "multi")]
    assert len(links[".comparison li:last-child"]) == 3 * 10
    assert links["#distances-signed"]
    for target in {target for targets in links.values() for target in targets}:
        _, _, row_index, mode = target.split("-")
        cell = driver.find_element("id", target).find_element("css selector", "code")
        assert cell.get_attribute("textContent") == rows[int(row_index)]["signatures"][mode]


SIGNED = ("#tradeoff-signed", "#distances-signed", "#alpha-signed", "#model-signed", ".comparison li:last-child")


def test_heat_map_colours_are_equal_for_all_models(driver, content):
    """The scale is 0 to 1 for AP, and 1 to the size of the pool for ranks."""
    colour = {}
    for index, row in enumerate(content["boards"][0]["rows"][:12]):
        select(driver, "model", str(index))
        for measure in ("ap", "ranks", "shares"):
            select(driver, "measure", measure)
            values = [value for line in row["details"][measure] for value in line]
            painted = driver.execute_script(
                "return [...document.querySelectorAll('.heat td')].map(cell => cell.style.backgroundColor)"
            )
            for value, shown in zip(values, painted, strict=True):
                assert colour.setdefault((measure, value), shown) == shown
    select(driver, "measure", "ap")
    ticks = "return [...document.querySelectorAll('#key span')]"
    key = f"{ticks}.map(tick => [tick.textContent, tick.style.backgroundColor])"
    ends = driver.execute_script(key)
    assert (ends[0], ends[-1]) == (["0.00", "rgb(0, 32, 77)"], ["1.00", "rgb(255, 234, 70)"])  # the ends of cividis
    select(driver, "measure", "ranks")
    assert [driver.execute_script(key)[end][0] for end in (0, -1)] == ["364", "1"]  # a low rank is good


def test_both_themes_have_enough_contrast(driver):
    """Text needs a contrast of at least 4.5 (WCAG 2.2, 1.4.3), in the cells of the heat map too."""
    contrast = """
    const linear = (part) => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    const light = (colour) => { const [r, g, b] = colour.match(/[0-9.]+/g).map(Number).map(linear);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const background = (element) => { for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (!/, 0\\)$|transparent/.test(colour)) return colour; } return 'rgb(255, 255, 255)'; };
    return [...document.querySelectorAll('td, th, p, figcaption, li, summary, button, select, small, caption')]
      .filter((element) => element.checkVisibility() && element.textContent.trim()).map((element) => {
        const [a, b] = [light(getComputedStyle(element).color), light(background(element))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); });
    """
    seen = set()
    for _ in range(2):
        driver.find_element("id", "theme").click()
        seen.add(driver.execute_script("return getComputedStyle(document.body).backgroundColor"))
        assert min(driver.execute_script(contrast)) >= 4.5
    assert len(seen) == 2


def test_controls_have_names_and_tables_captions(driver):
    unnamed = """
    return [...document.querySelectorAll('button, select, input')].filter((element) => element.checkVisibility() &&
      !element.labels?.length && !element.getAttribute('aria-label') && !element.textContent.trim()).length
    """
    assert driver.execute_script(unnamed) == 0
    for missing in (
        "table:not(:has(caption))",
        "th:not([scope])",
        "html:not([lang])",
        "#main > section:not([aria-labelledby])",
    ):
        assert driver.execute_script("return document.querySelectorAll(arguments[0]).length", missing) == 0, missing
    drawn = "return document.querySelectorAll('.chart[role=graphics-document][aria-label]').length"
    assert driver.execute_script(drawn) == 3


def test_phone_scrolls_only_inside_tables(driver):
    metrics = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    sizes = """
    return [...document.querySelectorAll('.chart svg text')].filter((text) => text.textContent.trim()).map((text) =>
      parseFloat(getComputedStyle(text).fontSize) * text.ownerSVGElement.getBoundingClientRect().width
      / text.ownerSVGElement.viewBox.baseVal.width)
    """
    widths = "return [...document.querySelectorAll('.chart svg')].map(svg => svg.getBoundingClientRect().width)"
    try:
        wait(driver, lambda: max(driver.execute_script(widths)) <= 390)  # drawn again for the width
        pixels = driver.execute_script(sizes)
        assert len(pixels) > 50
        assert min(pixels) >= 12
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_print_has_all_numbers_and_no_controls(driver):
    """Paper has light colours, and the leaderboards of all collections."""
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    a4 = {"width": 1046, "height": 718, "deviceScaleFactor": 1, "mobile": False}  # landscape, without its margins
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", a4)
    try:
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 1046
        assert driver.execute_script("return getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        assert not driver.find_element("id", "find").is_displayed()
        assert driver.find_element("css selector", ".leaderboard td.number").is_displayed()
        # the screen hides the leaderboards of other collections
        other = "const board = document.querySelector('.board').cloneNode(true); board.id = 'other';"
        driver.execute_script(f"{other} board.hidden = true; document.getElementById('main').append(board)")
        assert driver.find_element("id", "other").is_displayed()
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        assert not driver.find_element("id", "other").is_displayed()
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
