"""The report: its values, its file, and the page in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hbt_bench.cli.main import run as command
from hbt_bench.errors import UsageError
from hbt_bench.reports import html
from hbt_bench.reports.charts import CHARTS
from hbt_bench.reports.page import ReportRequest
from hbt_bench.reports.row_builder import Choice
from hbt_bench.reports.rows import LeaderboardRow
from hbt_bench.reports.sweep import sweep
from hbt_bench.results.store import Result, read_all
from tests import browser
from tests.factories import FIXTURE, plant_fixture

EVIL = "<img src=x onerror=alert(1)>"
TRAINED = {"init": "xlm-r", "steps": 600, "pairs_seen": 76800}
QUESTION = "</script><script>alert(2)</script><b onclick=alert(3)>متى ولدت؟</b> &amp; ${1}"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """50 models: BM25, one with a name that is markup, and a sweep over alpha with four seeds, and one more."""
    output = tmp_path_factory.mktemp("results")
    shutil.copytree(FIXTURE, output, dirs_exist_ok=True)
    plant_fixture(output, EVIL, "0000000000000001", 3)
    for number in range(48):
        strategy, alpha = ("hybrid", "mixed")[number % 2], (number // 2 % 6) / 5
        recipe = {"strategy": strategy, "alpha": alpha, "seed": number // 12, **TRAINED}
        if number == 47:
            recipe = {"strategy": "monolingual", "alpha": 0.5, "seed": 1, **TRAINED}  # an end of hybrid's, at 1
        if number == 45:
            recipe = {**recipe, "steps": 99}  # trained in another way, so no point of the curve
        plant_fixture(output, f"local/{strategy}-{number:02}", f"{number + 16:016x}", number % 12, recipe)
    return output


@pytest.fixture(scope="module")
def content(results):
    return ReportRequest(baseline="bm25").content(one for one in read_all(results) if isinstance(one, Result))


@pytest.fixture(scope="module")
def report(content, tmp_path_factory):
    pytest.importorskip("vl_convert", reason="the extra report is not installed")
    changed = json.loads(json.dumps(content))
    rows = changed["boards"][0]["rows"]
    evil = next(row for row in rows if row["label"].startswith(EVIL))
    evil["closeup"]["worst"][0]["text"] = QUESTION
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(html.render(changed, f"Report of {EVIL}"), encoding="utf-8")
    return path


# Values


def test_values_are_those_of_the_results(content):
    [board] = content["boards"]
    assert (board["collection"], board["languages"], len(board["rows"])) == ("cldr-facts[de,en]", ["de", "en"], 50)
    row = next(row for row in board["rows"] if row["label"] == "hbt-bench/bm25@k0.9-b0.4")
    result = Result.read(next(FIXTURE.rglob("*Multilingual*.json")))
    mono = Result.read(next(FIXTURE.rglob("*Monolingual*.json")))
    cross = Result.read(next(FIXTURE.rglob("*CrossLingual*.json")))
    assert row["values"]["multi:AP"] == pytest.approx(result.scores["AP"])
    assert row["signatures"]["multi"] == result.signature
    assert row["closeup"]["ap"] == [
        [mono.subsets["de"]["AP"], cross.subsets["de-en"]["AP"]],
        [cross.subsets["en-de"]["AP"], mono.subsets["en"]["AP"]],
    ]
    # what `bias` wrote into the result when it was evaluated
    de, en = (result.subsets[f"{code}-multi"] for code in ("de", "en"))
    assert row["closeup"]["ranks"] == [[round(one["mean_rank_de"]), round(one["mean_rank_en"])] for one in (de, en)]
    assert row["closeup"]["shares"] == [
        [round(100 * one["top10_share_de"]), round(100 * one["top10_share_en"])] for one in (de, en)
    ]
    assert sum(row["closeup"]["distances"]) == pytest.approx(1, abs=0.005)
    assert row["closeup"]["mean"] == pytest.approx(result.scores["rank_distance"], abs=0.01)
    assert row["closeup"]["random"] == pytest.approx((364 + 1) * (2 - 1) / (2 + 1))
    assert len(row["closeup"]["worst"]) == 10
    assert row["closeup"]["worst"][0]["rank_distance"] == max(one["rank_distance"] for one in row["closeup"]["worst"])


def test_a_sweep_has_the_pure_strategies_at_its_ends(content):
    [board] = content["boards"]
    points = [point for point in board["sweep"] if point["measure"] == "multi AP"]
    lines = {name: [point for point in points if point["line"] == name] for name in {one["line"] for one in points}}
    assert {name: len(found) for name, found in lines.items()} == {
        "hybrid, xlm-r, 600 steps of 128": 24 + 1,
        "mixed, xlm-r, 600 steps of 128": 22,
    }
    hybrid = lines["hybrid, xlm-r, 600 steps of 128"]
    assert [(one["alpha"], one["strategy"]) for one in hybrid if one["strategy"] != "hybrid"] == [(1.0, "monolingual")]
    assert {one["alpha"] for one in hybrid} == {0, 0.2, 0.4, 0.6, 0.8, 1}
    for one in points:
        assert one["value"] == board["rows"][one["row"]]["values"]["multi:AP"]


def standing(strategy, alpha, init="a", steps=10, pairs=80, data="d 1"):
    training = {"strategy": strategy, "alpha": alpha, "seed": 0, "init": init, "steps": steps, "pairs_seen": pairs}
    training["data"] = data
    return LeaderboardRow("x", "d", strategy, "1", "measured", values={("multi", "AP"): 0.5}, training=training)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([standing("cross-lingual", 0.5), standing("hybrid", 0.5), standing("monolingual", 0.5)], [0.5, 0.0, 1.0]),
        ([standing("hybrid", 0.5), standing("hybrid", 0.25)], [0.5, 0.25]),
        ([standing("hybrid", 0.5), standing("hybrid", 0.5)], []),
        ([standing("cross-lingual", 0.0), standing("monolingual", 1.0)], []),  # two ends without a sweep between
        ([standing("hybrid", 0.5), standing("monolingual", 1.0, init="b")], []),
        ([standing("hybrid", 0.5), standing("hybrid", 0.25, steps=20)], []),
        ([standing("hybrid", 0.5), standing("hybrid", 0.25, pairs=160)], []),
        ([standing("hybrid", 0.5), standing("hybrid", 0.25, data="d 2")], []),
        ([standing("hybrid", 0.5), standing("monolingual", 1.0, data="d 2")], []),
        ([standing("mixed", 0.5), standing("monolingual", 1.0)], []),
        ([LeaderboardRow("x", "d", "m", "1", "measured")], []),
    ],
)
def test_what_makes_a_sweep(rows, expected):
    assert [point.alpha for point in sweep(rows)] == expected


def test_curves_that_differ_by_their_data_alone_are_told_apart():
    rows = [standing("hybrid", alpha, data=data) for data in ("d 1", None) for alpha in (0.25, 0.5)]
    rows += [standing("mixed", alpha) for alpha in (0.25, 0.5)]
    assert [(point.line, point.row) for point in sweep(rows)] == [
        ("hybrid, a, 10 steps of 8, data d 1", 0),
        ("hybrid, a, 10 steps of 8, data d 1", 1),
        ("hybrid, a, 10 steps of 8, data unknown", 2),
        ("hybrid, a, 10 steps of 8, data unknown", 3),
        ("mixed, a, 10 steps of 8", 4),
        ("mixed, a, 10 steps of 8", 5),
    ]


def test_answers_that_are_no_translations_have_no_distances():
    """SciFact, and bitext pools, whose results have no rank distance, or no mono mode."""
    found = [one for one in read_all(Path(__file__).parents[1] / "results") if isinstance(one, Result)]
    choice = Choice(tasks=("scifact-beir", "flores-ood"))
    boards = {board["collection"]: board for board in ReportRequest(choice).content(iter(found))["boards"]}
    row = boards["scifact-beir"]["rows"][0]
    assert (row["closeup"]["distances"], list(row["closeup"]["worst"]), row["closeup"]["mean"]) == ([], [], None)
    assert row["values"]["mono:AP"] > 0.5
    assert all(row["values"].get("mono:AP") is None for row in boards["flores-ood[en,sw,yo]"]["rows"])


def test_the_comparison_is_with_the_baseline(content):
    found = content["boards"][0]["comparison"]
    assert found["html"].startswith("<table>\n<caption>Differences are from bm25.")
    assert found["left"] == "Only the best 10 of 50 models are compared."


def test_a_baseline_that_is_not_there(results):
    found = [one for one in read_all(results) if isinstance(one, Result)]
    with pytest.raises(UsageError, match="the baseline 'bm26' is none of the models"):
        ReportRequest(baseline="bm26").content(found)
    with pytest.raises(UsageError, match="no model's name fits x"):
        ReportRequest(Choice(models=("x",))).content(found)


def test_only_the_best_are_looked_at_closely(results, monkeypatch, messages):
    from hbt_bench.reports import page as module

    monkeypatch.setattr(module, "CLOSEUPS", 3)
    found = [one for one in read_all(results) if isinstance(one, Result)]
    [board] = ReportRequest().content(found)["boards"]
    assert [row["closeup"] is not None for row in board["rows"]] == [True] * 3 + [False] * 47
    assert "matrices and questions on cldr-facts[de,en] are of the best 3 of 50 models" in messages


def test_some_languages_alone_have_no_comparison(results):
    found = [one for one in read_all(results) if isinstance(one, Result)]
    [board] = ReportRequest(choice=Choice(languages=("de",))).content(found)["boards"]
    assert board["comparison"] is None
    assert len(board["rows"]) == 50


def test_texts_of_other_data_are_left_out(tmp_path, monkeypatch, messages):
    shutil.copytree(FIXTURE, tmp_path / "results")
    found = [one for one in read_all(tmp_path / "results") if isinstance(one, Result)]
    data = found[0].fields["data"]
    others = [replace(one, signature=one.signature.replace(data, "f" * 16)) for one in found]
    [board] = ReportRequest().content(others)["boards"]
    assert not board["texts"]
    assert "the questions of cldr-facts[de,en] are left out: the data here are not those of the results" in messages
    assert [row["closeup"] for row in board["rows"]] == [None]  # its ranks are of other data too


def test_results_without_ranks_have_no_closer_look():
    found = [replace(one, ranks=None) for one in read_all(FIXTURE) if isinstance(one, Result)]
    [board] = ReportRequest().content(found)["boards"]
    assert [row["closeup"] for row in board["rows"]] == [None]


def test_every_plot_is_vega_lite():
    """Compiled and drawn by Vega outside of a browser, with a mark for each value."""
    vl_convert = pytest.importorskip("vl_convert", reason="the extra report is not installed")
    values = {
        "tradeoff": [
            {"model": name, "measured": name < "b", "picked": name < "c", "mono": 0.5, "cross": 0.2, "multi": 0.1}
            for name in "abc"
        ],
        "distances": [{"model": name, "distance": bar, "share": 0.5, "random": 1} for name in "ab" for bar in (0, 1)],
        "alpha": [
            {"line": "a", "strategy": "b", "alpha": alpha, "seed": seed, "measure": "mono AP", "value": 0.1 * seed}
            for alpha in (0, 0.5, 1)
            for seed in (1, 2)
        ],
    }
    marks = {"tradeoff": 6, "distances": 3, "alpha": 6 + 2}
    for name, make in CHARTS.items():
        spec = {
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
            **make(),
            "datasets": {"values": values[name]},
        }
        if spec.get("width") == "container":
            spec["width"] = 300
        svg = vl_convert.vegalite_to_svg(spec)
        drawn = re.findall(r'aria-roledescription="(?:point|rule|line mark|area mark|rule mark)"', svg)
        assert len(drawn) == marks[name], name


# The file


def test_the_file_holds_all_it_shows(report, content):
    text = report.read_text()
    assert report.stat().st_size < 5_000_000
    assert "default-src 'none'; script-src 'sha256-" in text
    outside = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", outside)
    assert EVIL not in outside
    assert "&lt;img src=x onerror=alert(1)&gt;" in outside
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]
    assert "<" not in data
    assert json.loads(data)["boards"][0]["data"] == content["boards"][0]["data"]


def test_the_command(tmp_path, capsys):
    pytest.importorskip("vl_convert", reason="the extra report is not installed")
    output = tmp_path / "report.html"
    assert command(["report", str(FIXTURE), "--output", str(output), "--title", "A & B"]) == 0
    told = capsys.readouterr()
    assert told.out == f"{output}\n"
    assert "<title>A &amp; B</title>" in output.read_text()
    assert command(["report", str(tmp_path), "--output", str(output)]) == 5
    assert "there are no results" in capsys.readouterr().err


# A real browser


@pytest.fixture(scope="module")
def window():
    browser.require()
    with browser.chromium() as window:
        yield window


@pytest.fixture
def driver(window, report):
    """The report, opened anew: no test sees what another one picked, nor its messages."""
    for log in ("browser", "performance"):
        window.get_log(log)
    browser.open_report(window, report)
    return window


def names(driver):
    """The models of the leaderboard as they stand, without those that are filtered out."""
    return driver.execute_script(
        "return [...document.querySelectorAll('.leaderboard tbody tr')].filter(row => !row.hidden)"
        ".map(row => row.querySelector('th').textContent)"
    )


def select(driver, name, value):
    driver.execute_script(
        "const one = document.getElementById(arguments[0]); one.value = arguments[1];"
        "one.dispatchEvent(new Event('change'))",
        name,
        value,
    )


def test_nothing_goes_wrong_and_nothing_leaves(driver, report):
    problems = [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert problems == []
    addresses = browser.requests(driver)
    assert addresses == [report.resolve().as_uri()]


def test_text_stays_text(driver, content):
    assert driver.execute_script("return document.querySelectorAll('#main img, #main script, #main b').length") == 0
    assert any(name.startswith(EVIL) for name in names(driver))
    place = next(at for at, row in enumerate(content["boards"][0]["rows"]) if row["label"].startswith(EVIL))
    select(driver, "model", str(place))
    assert driver.execute_script("return document.querySelector('#worst .text').textContent") == QUESTION
    assert driver.execute_script("return document.querySelector('#worst .text').dir") == "auto"
    assert driver.title == f"Report of {EVIL}"


def test_columns_sort_both_ways(driver, content):
    columns = content["boards"][0]["columns"]
    at = next(place for place, column in enumerate(columns) if column["name"] == "multi:rank_distance")
    values = {row["label"]: row["values"]["multi:rank_distance"] for row in content["boards"][0]["rows"]}
    button = driver.find_element("css selector", f'th[data-column="{at}"] button')
    button.click()
    low_first = [values[name] for name in names(driver)]
    assert low_first == sorted(values.values())
    assert button.find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    button.send_keys("\n")  # by keyboard
    assert [values[name] for name in names(driver)] == sorted(values.values(), reverse=True)
    assert driver.execute_script("return document.querySelectorAll('th[aria-sort]').length") == 1


def test_ranks_say_by_what_they_are_in_every_order(driver, content):
    """The ranks stay those by AP in the pool, and the caption says so, while it tells the order that is shown."""
    caption = "return document.querySelector('.leaderboard caption').textContent"
    heading = driver.find_element("css selector", "th.rank button")
    assert heading.text == "rank by multi AP"
    ranks = {row["label"]: str(row["rank"] or "-") for row in content["boards"][0]["rows"]}
    for name, order in (("rank", "rank, ascending"), ("mono:AP", "mono AP ↑, descending")):
        at = next(place for place, column in enumerate(content["boards"][0]["columns"]) if column["name"] == name)
        button = driver.find_element("css selector", f'th[data-column="{at}"] button')
        driver.execute_script("arguments[0].click()", button)
        shown = driver.execute_script(caption)
        assert shown.startswith("Leaderboard of cldr-facts[de,en], sorted by ")
        assert shown.endswith("; ranks are by multi AP")
        assert order in shown
        cells = driver.execute_script(
            "return [...document.querySelectorAll('.leaderboard tbody tr')]"
            ".map(row => [row.querySelector('th').textContent, row.querySelectorAll('td')[1].textContent])"
        )
        assert dict(cells) == ranks


def test_models_are_found_by_name(driver):
    field = driver.find_element("id", "find")
    field.send_keys("HYBRID-0")
    assert sorted(name[:15] for name in names(driver)) == [f"local/hybrid-0{number}" for number in (0, 2, 4, 6, 8)]
    assert driver.execute_script("return document.getElementById('status').textContent") == "5 of 50 models."
    driver.execute_script(
        "const one = document.getElementById('find'); one.value = ''; one.dispatchEvent(new Event('input'))"
    )
    assert len(names(driver)) == 50


def test_the_heat_map_has_the_numbers(driver, content):
    place, row = next((at, row) for at, row in enumerate(content["boards"][0]["rows"]) if "bm25" in row["label"])
    select(driver, "model", str(place))
    for measure, digits in (("ap", 2), ("ranks", 0), ("shares", 0)):
        select(driver, "measure", measure)
        shown = driver.execute_script(
            "return [...document.querySelectorAll('.heat tbody tr')].map(row => "
            "[...row.querySelectorAll('td')].map(cell => cell.textContent))"
        )
        assert shown == [[f"{value:.{digits}f}" for value in line] for line in row["closeup"][measure]]
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


def test_plots_follow_what_is_picked(driver):
    assert marks(driver, "tradeoff", "point") == 2 * 50
    assert marks(driver, "distances", "line mark") == 3
    assert marks(driver, "alpha", "point") == 4 * 47  # 25 of hybrid and 22 of mixed batches
    assert marks(driver, "alpha", "line mark") == 4 * 2
    boxes = driver.find_elements("css selector", ".leaderboard .pick input")
    chosen = [box for box in boxes if box.is_selected()]
    assert len(chosen) == 3
    chosen[0].click()
    wait(driver, lambda: marks(driver, "distances", "line mark") == 2)
    others = [box for box in boxes if not box.is_selected()][:7]
    for box in others:
        box.click()
    assert [box.is_selected() for box in others] == [True] * 6 + [False]  # eight at most
    wait(driver, lambda: marks(driver, "distances", "line mark") == 8)


def wait(driver, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 20).until(lambda one: condition())


def test_a_number_leads_to_its_signature(driver, content):
    link = driver.find_element("css selector", '.leaderboard a[href$="-multi"]')
    driver.execute_script("arguments[0].click()", link)
    target = driver.find_element("id", link.get_attribute("href").partition("#")[2])
    assert target.is_displayed()
    assert target.text.split()[-1].startswith("task:cldr-facts-multi[de,en]|")


def test_every_number_leads_to_its_signature(driver, content):
    """Cells of the leaderboard and of the heat map, the lists below plots, questions and comparison."""
    rows = content["boards"][0]["rows"]
    place = next(at for at, row in enumerate(rows) if "bm25" in row["label"])
    select(driver, "model", str(place))
    unsigned = """
    return [...document.querySelectorAll(arguments[0])].filter((cell) => cell.checkVisibility()
      && /[0-9]/.test(cell.textContent) && !cell.querySelector('a[href^="#s-"]')).map((cell) => cell.textContent)
    """
    assert driver.execute_script(unsigned, ".leaderboard tbody td") == []
    wanted = {"ap": [["mono", "cross"], ["cross", "mono"]], "ranks": [["multi"] * 2] * 2, "shares": [["multi"] * 2] * 2}
    for measure, modes in wanted.items():
        select(driver, "measure", measure)
        assert driver.execute_script(unsigned, ".heat td") == []
        found = driver.execute_script(
            "return [...document.querySelectorAll('.heat tbody tr')].map(row => [...row.querySelectorAll('a')]"
            ".map(link => link.getAttribute('href')))"
        )
        assert found == [[f"#s-0-{place}-{mode}" for mode in line] for line in modes]
    targets = "return [...document.querySelectorAll(arguments[0])].map(link => link.getAttribute('href').slice(1))"
    links = {name: driver.execute_script(targets, f"{name} a") for name in SIGNED}
    assert len(links["#tradeoff-signed"]) == 3 * len(rows)
    assert len(links["#alpha-signed"]) == 3 * 47
    assert links["#model-signed"] == [f"s-0-{place}-{mode}" for mode in ("mono", "cross", "multi")]
    assert len(links[".comparison li:last-child"]) == 3 * 10
    assert links["#distances-signed"]
    for one in {one for found in links.values() for one in found}:
        _, _, at, mode = one.split("-")
        cell = driver.find_element("id", one).find_element("css selector", "code")
        assert cell.get_attribute("textContent") == rows[int(at)]["signatures"][mode]


SIGNED = ("#tradeoff-signed", "#distances-signed", "#alpha-signed", "#model-signed", ".comparison li:last-child")


def test_colours_of_the_heat_map_are_the_same_for_all_models(driver, content):
    """One value has one colour whatever the model: 0 to 1 for AP, 1 to the size of the pool for ranks."""
    colour = {}
    for place, row in enumerate(content["boards"][0]["rows"][:12]):
        select(driver, "model", str(place))
        for measure in ("ap", "ranks", "shares"):
            select(driver, "measure", measure)
            values = [value for line in row["closeup"][measure] for value in line]
            painted = driver.execute_script(
                "return [...document.querySelectorAll('.heat td')].map(cell => cell.style.backgroundColor)"
            )
            for value, shown in zip(values, painted, strict=True):
                assert colour.setdefault((measure, value), shown) == shown
    select(driver, "measure", "ap")
    key = "return [...document.querySelectorAll('#key span')].map(one => [one.textContent, one.style.backgroundColor])"
    ends = driver.execute_script(key)
    assert (ends[0], ends[-1]) == (["0.00", "rgb(0, 32, 77)"], ["1.00", "rgb(255, 234, 70)"])  # those of cividis
    select(driver, "measure", "ranks")
    assert [driver.execute_script(key)[at][0] for at in (0, -1)] == ["364", "1"]  # a low rank is good


def test_both_themes_are_readable(driver):
    """Text on its ground has a contrast of 4.5 at least (WCAG 2.2, 1.4.3), in the cells of the heat map too."""
    contrast = """
    const linear = (part) => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    const light = (colour) => { const [r, g, b] = colour.match(/[0-9.]+/g).map(Number).map(linear);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const ground = (one) => { for (; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (!/, 0\\)$|transparent/.test(colour)) return colour; } return 'rgb(255, 255, 255)'; };
    return [...document.querySelectorAll('td, th, p, figcaption, li, summary, button, select, small, caption')]
      .filter((one) => one.checkVisibility() && one.textContent.trim()).map((one) => {
        const [a, b] = [light(getComputedStyle(one).color), light(ground(one))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); });
    """
    seen = set()
    for _ in range(2):
        driver.find_element("id", "theme").click()
        seen.add(driver.execute_script("return getComputedStyle(document.body).backgroundColor"))
        assert min(driver.execute_script(contrast)) >= 4.5
    assert len(seen) == 2


def test_controls_have_names_and_tables_have_captions(driver):
    unnamed = """
    return [...document.querySelectorAll('button, select, input')].filter((one) => one.checkVisibility() &&
      !one.labels?.length && !one.getAttribute('aria-label') && !one.textContent.trim()).length
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


def test_a_phone_scrolls_inside_tables_only(driver):
    metrics = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    sizes = """
    return [...document.querySelectorAll('.chart svg text')].filter((one) => one.textContent.trim()).map((one) =>
      parseFloat(getComputedStyle(one).fontSize) * one.ownerSVGElement.getBoundingClientRect().width
      / one.ownerSVGElement.viewBox.baseVal.width)
    """
    widths = "return [...document.querySelectorAll('.chart svg')].map(one => one.getBoundingClientRect().width)"
    try:
        wait(driver, lambda: max(driver.execute_script(widths)) <= 390)  # drawn anew for the width
        found = driver.execute_script(sizes)
        assert len(found) > 50
        assert min(found) >= 12
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_it_prints(driver):
    """Paper has light colours, all numbers and no controls."""
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    a4 = {"width": 1046, "height": 718, "deviceScaleFactor": 1, "mobile": False}  # landscape, without its margins
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", a4)
    try:
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 1046
        assert driver.execute_script("return getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        assert not driver.find_element("id", "find").is_displayed()
        assert driver.find_element("css selector", ".leaderboard td.number").is_displayed()
        # the leaderboards of other collections, which the screen hides, are on paper too
        other = "const one = document.querySelector('.board').cloneNode(true); one.id = 'other'; one.hidden = true;"
        driver.execute_script(f"{other} document.getElementById('main').append(one)")
        assert driver.find_element("id", "other").is_displayed()
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        assert not driver.find_element("id", "other").is_displayed()
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
