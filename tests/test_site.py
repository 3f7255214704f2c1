"""The static site: its pages, links and tables, opened from a folder."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest

from hbt_bench.actions import readable
from hbt_bench.cli.main import run as command
from hbt_bench.ranking.ranks import UNRETRIEVED
from hbt_bench.reports.explorer import packed
from hbt_bench.reports.page import ReportRequest
from hbt_bench.reports.site import Site, _page_names
from tests import browser
from tests.factories import FIXTURE, plant_fixture, unpacked

#: A question with umlauts, which the search ignores.
QUESTION = "Äthiopien: In welcher Sprache arbeiten dort die Behörden?"
#: The text of each cell of each matrix.
TABLES = (
    "return [...document.querySelectorAll('.ranks')].map((table) => [...table.tBodies[0].rows]"
    ".map((row) => [...row.cells].map((cell) => cell.textContent)))"
)
LABELS = ("hbt-bench/bm25@k0.9-b0.4", "local/one@1", "local/two@2")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("vl_convert", reason="the extra report is not installed")
    root = tmp_path_factory.mktemp("site")
    shutil.copytree(FIXTURE, root / "results")
    plant_fixture(root / "results", "local/one", "1", 1)
    plant_fixture(root / "results", "local/two", "2", 3)
    assert command(["site", str(root / "results"), "--output", str(root / "public"), "--title", "Our models"]) == 0
    return root / "public"


def addresses(page):
    """Return the addresses of other files in a page."""
    return [text for text in re.findall(r'(?:href|src)="([^"]*)"', page.read_text()) if not text.startswith("#")]


def test_site_has_a_page_for_each_collection_and_model(site):
    files = sorted(path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file())
    models = [f"models/{label.replace('/', '_')}.html" for label in LABELS]
    collection = ["collections/cldr-facts_de_en.html", "csv/cldr-facts_de_en.csv"]
    assets = [f"assets/{name}.js" for name in ("charts", "questions", "report")]
    questions = [f"questions/cldr-facts_de_en{end}" for end in ("-0.js", ".html")]
    assert files == [*assets, *collection, "index.html", *models, *questions]
    for path in site.rglob("*.html"):
        text = path.read_text()
        assert "default-src 'none'; script-src 'self'; " in text
        assert "<title>" in text
        assert text.count("<script") == (2 if path.parent.name == "questions" else 3)  # data, charts, report


def test_page_of_questions_has_labels_and_is_small(site):
    page, part = site / "questions" / "cldr-facts_de_en.html", site / "questions" / "cldr-facts_de_en-0.js"
    text = page.read_text()
    labelled = re.findall(r"<label>[\w ]+<(?:select|input) id=\"(\w+)\"", text)
    assert labelled == ["find", "order", "measure", "model", "other", "ranks"]
    assert len(re.findall("<(?:select|input)", text)) == len(labelled)
    assert 'href="../collections/cldr-facts_de_en.html"' in text
    assert 'href="../questions/cldr-facts_de_en.html"' in (site / "collections" / "cldr-facts_de_en.html").read_text()
    assert page.stat().st_size < 60_000
    assert re.fullmatch(r'hbtBenchPart\(0,"[\w+/=]{2000,20000}"\)\n', part.read_text())


def test_links_are_relative_and_lead_to_files(site):
    for path in site.rglob("*.html"):
        found = addresses(path)
        assert len(found) > 5
        for address in found:
            assert (path.parent / unquote(address)).resolve().is_file(), (path, address)
            assert not re.match(r"/|\w+:", address)


def test_csv_has_the_rows_of_the_leaderboard(site):
    (path,) = (site / "csv").iterdir()
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(f"{row['model']}@{row['revision']}" for row in rows if row["source"] == "measured") == sorted(LABELS)
    assert {row["collection"] for row in rows} == {"cldr-facts[de,en]"}
    assert all(0 < float(row["multi AP"]) < 1 for row in rows)


def test_model_page_has_this_model_only(site):
    text = (site / "models" / "local_one@1.html").read_text()
    assert text.count('class="measured"') == 1
    assert "Signatures of all numbers (3)" in text


def test_later_site_removes_old_pages(site, tmp_path):
    public = shutil.copytree(site, tmp_path / "public")
    (public / "models" / "local_one@1.html").rename(public / "models" / "old.html")
    (public / "models" / "notes.txt").write_text("mine")
    (public / "questions" / "mine.js").write_text("mine()")
    content = ReportRequest().content(readable(site.parent / "results"))
    Site(content, "Our models").write(public)
    names = sorted(path.name for path in (site / "models").iterdir())
    assert sorted(path.name for path in (public / "models").iterdir()) == [*names, "notes.txt"]
    [board] = content["boards"]
    files = Site({**content, "boards": [board, board | {"data": "f" * 16}]}, "Our models").files()
    of_collections = [f"cldr-facts_de_en_data_{data}.html" for data in (board["data"], "f" * 16)]
    assert [name.partition("/")[2] for name in files if name.startswith("collections/")] == of_collections
    # this content has no questions
    assert [path.name for path in (public / "questions").iterdir()] == ["mine.js"]


@pytest.mark.parametrize("name", ["index.html", "notes.txt"])
def test_folder_of_another_program_is_not_used(tmp_path, capsys, name):
    (tmp_path / name).write_text("<p>mine</p>")
    assert command(["site", str(tmp_path), "--output", str(tmp_path)]) == 5
    assert "is not a site of hbt-bench" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "<p>mine</p>"


def test_page_names_are_safe_and_unique():
    names = _page_names(["a[de,en]+typos", "a_de_en_typos", "A/B", "a/b", "../..", ""])
    assert names["a[de,en]+typos"] == "a_de_en_typos"
    assert len({name.casefold() for name in names.values()}) == 6
    assert all(re.fullmatch(r"[A-Za-z0-9@=-][A-Za-z0-9.@=_-]*|_[0-9a-f]{8}", name) for name in names.values())


@pytest.fixture(scope="module")
def window():
    browser.require()
    with browser.chromium() as window:
        yield window


def test_questions_open_from_a_folder(site, window):
    """Search, order, ranks and permalinks work; a question loads its part."""
    from selenium.webdriver.support.ui import WebDriverWait

    page = site / "questions" / "cldr-facts_de_en.html"
    browser.open_report(window, page)
    run = window.execute_script
    assert len(run("return [...document.querySelectorAll('#list tbody tr')]")) == 50
    caption = run("return document.getElementById('caption').textContent")
    assert caption.startswith("182 of 182 questions, worst of the model first: mean multi AP over the versions")
    index = unpacked(json.loads(re.search(r'id="data">(.*?)</script>', page.read_text())[1])["index"])
    [question] = [number for number, versions in enumerate(index["questions"]) if versions[0][2] == QUESTION]
    window.find_element("id", "find").send_keys("BEHORDEN athiopien")
    [link] = window.find_elements("css selector", "#list tbody a")
    link.send_keys("\n")  # by keyboard
    part = unpacked(re.search('"(.*)"', (site / "questions" / "cldr-facts_de_en-0.js").read_text())[1])
    for within, name in enumerate(("pool", "block")):
        if name == "block":
            run(
                "const ranks = document.getElementById('ranks'); ranks.value = 'block';"
                "ranks.dispatchEvent(new Event('change'))"
            )
        expected = [
            [
                [code, *(f"{rank:,}" for rank in version[within]), f"{version[2][0]:.4f}", f"{version[2][1]:,.0f}"]
                for code, version in zip(("de", "en"), model, strict=True)
            ]
            for model in part[question]["models"]
        ]
        WebDriverWait(window, 10).until(lambda driver: driver.execute_script(TABLES))
        shown = run(TABLES)
        worst = [cell for table in shown for line in table for cell in line if cell.endswith(" worst")]
        assert [[[cell.removesuffix(" worst") for cell in line] for line in table] for table in shown] == expected
        assert len(worst) == len(LABELS)
    assert run("return document.activeElement.id") == "heading"
    link = window.current_url
    assert "ranks=block" in link
    window.get("about:blank")
    window.get(link)
    WebDriverWait(window, 10).until(lambda driver: driver.execute_script(TABLES))
    assert run(TABLES) == shown
    assert [entry for entry in window.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    assert {Path(url.partition("#")[0]).name for url in browser.requests(window) if "/public/" in url} == {
        "cldr-facts_de_en.html",
        "cldr-facts_de_en-0.js",
        "questions.js",
    }


def test_own_text_is_no_worst_rank_and_back_leads_to_the_list(site, tmp_path, window):
    from selenium.webdriver.support.ui import WebDriverWait

    pages = shutil.copytree(site, tmp_path / "public") / "questions"
    part = pages / "cldr-facts_de_en-0.js"
    start, text, end = re.fullmatch('(.*")(.*)(".*\n)', part.read_text()).groups()
    questions = unpacked(text)
    for question in questions:
        for versions in question["models"]:
            versions[0][0][0] = UNRETRIEVED
    part.write_text(f"{start}{packed(questions)}{end}")
    browser.open_report(window, pages / "cldr-facts_de_en.html")
    window.find_element("css selector", "#list tbody a").click()
    tables = WebDriverWait(window, 10).until(lambda driver: driver.execute_script(TABLES))
    assert [table[0][1] for table in tables] == ["own text"] * len(LABELS)
    assert [str(table).count(" worst'") for table in tables] == [1] * len(LABELS)
    window.back()
    WebDriverWait(window, 10).until(lambda driver: not driver.find_element("id", "question").is_displayed())


def test_pages_open_from_a_folder(site, window):
    """Permalinks, families and CSV work, and nothing is loaded but the files of the site."""
    window.get_log("performance")
    page = site / "collections" / "cldr-facts_de_en.html"
    browser.open_report(window, page)
    run = window.execute_script
    run(
        "const order = document.getElementById('order'); order.value = 'family';"
        "order.dispatchEvent(new Event('change'))"
    )
    heading = "return [...document.querySelectorAll('.heat thead tr')].map((row) => row.textContent)"
    assert run(heading) == ["Indo-European", "querydeen"]
    model = "const model = document.getElementById('model');"
    run(f"{model} model.value = model.options[1].value; model.dispatchEvent(new Event('change'))")
    chosen = run(f"{model} return model.selectedOptions[0].text")
    link = window.current_url
    assert "order=family" in link
    window.get("about:blank")
    window.get(link)
    assert run(f"{model} return model.selectedOptions[0].text") == chosen
    assert run(heading) == ["Indo-European", "querydeen"]
    run(
        "window.saved = []; const address = URL.createObjectURL.bind(URL);"
        "URL.createObjectURL = (blob) => { saved.push(blob); return address(blob); };"
        "document.querySelector('.heat + button.csv').click()"
    )
    text = window.execute_async_script("saved[0].text().then(arguments[0])")
    assert text.splitlines()[:3] == ['"","Indo-European",', '"query","de","en"', '"Indo-European",,']
    window.get(f"{page.resolve().as_uri()}#s-0-0-multi")
    window.refresh()
    assert window.find_element("id", "s-0-0-multi").is_displayed()
    problems = [entry for entry in window.get_log("browser") if entry["level"] == "SEVERE"]
    assert problems == []
    assert {Path(unquote(url)).parent.name for url in browser.requests(window) if "/public/" in url} == {
        "collections",
        "assets",
    }
